//! Choosing and comparing: `if`, `default`, `coalesce`, `equals`, `greater`, `and`, …
//!
//! Strict types as observed on the original: conditions are booleans, never truthy texts; numbers and texts are not
//! compared with each other.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Eval, Evaluated, Given, HelperSpec, Kind, Lazy, PLAIN, RenderError, Signature, example};
use crate::template::kind_of;

/// `left right`.
const PAIR: Signature =
    Signature { min: 2, max: 2, names: &["left", "right"], kinds: &[Kind::Comparable, Kind::Comparable] };
/// Conditions.
const CONDITIONS: Signature =
    Signature { min: 1, max: usize::MAX, names: &["condition", "condition"], kinds: &[Kind::Boolean] };

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "if",
        gives: Kind::Any,
        arguments: Signature {
            min: 3,
            max: 3,
            names: &["condition", "then", "else"],
            kinds: &[Kind::Boolean, Kind::Any, Kind::Any],
        },
        summary: "the second argument when the condition is true, else the third; the other one is not evaluated",
        examples: &[
            example("{{if (eq trigger.body.Code 'INS') 'install' 'other'}}", r#"{"Code":"INS"}"#, r#""install""#),
            example("{{if false (json 'broken') 1}}", "{}", "1"),
        ],
        eval: Eval::Lazy(|lazy| if lazy.boolean(0)? { lazy.get(1) } else { lazy.get(2) }),
        ..PLAIN
    },
    HelperSpec {
        name: "default",
        gives: Kind::Any,
        arguments: Signature { min: 2, max: usize::MAX, names: &["value", "otherwise"], kinds: &[Kind::Any] },
        summary: "the first argument that is neither null nor blank text, else the last one",
        examples: &[
            example("{{default trigger.body.LastName 'unknown'}}", r#"{"LastName":"  "}"#, r#""unknown""#),
            example("{{default trigger.body.LastName 'unknown'}}", r#"{"LastName":"One"}"#, r#""One""#),
            example("{{default trigger.body.Score 7}}", r#"{"Score":0}"#, "0"),
        ],
        eval: Eval::Lazy(|lazy| first_that(lazy, |value| !is_blank(value))),
        ..PLAIN
    },
    HelperSpec {
        name: "coalesce",
        gives: Kind::Any,
        arguments: Signature { min: 1, max: usize::MAX, names: &["value", "otherwise"], kinds: &[Kind::Any] },
        summary: "the first argument that is not null; empty text counts as a value",
        examples: &[
            example("{{coalesce trigger.body.A trigger.body.B 'x'}}", r#"{"B":""}"#, r#""""#),
            example("{{coalesce trigger.body.A 'x'}}", "{}", r#""x""#),
        ],
        eval: Eval::Lazy(|lazy| first_that(lazy, |value| !value.is_null())),
        ..PLAIN
    },
    HelperSpec {
        name: "equals",
        gives: Kind::Boolean,
        aliases: &["eq"],
        arguments: Signature { min: 2, max: usize::MAX, names: &["left", "right"], kinds: &[Kind::Any] },
        summary: "whether all are the same: texts exactly, 1 and 1.0 are equal, 1 and '1' are not, objects in any order",
        examples: &[
            example("{{equals trigger.body.Code 'INS'}}", r#"{"Code":"INS"}"#, "true"),
            example("{{eq 1 1.0}}", "{}", "true"),
            example("{{eq 1 '1'}}", "{}", "false"),
            example("{{eq null ''}}", "{}", "false"),
        ],
        eval: Eval::Strict(|given| Ok(Value::Bool(equals(given)))),
        ..PLAIN
    },
    HelperSpec {
        name: "ne",
        gives: Kind::Boolean,
        arguments: Signature { min: 2, max: 2, names: &["left", "right"], kinds: &[Kind::Any] },
        summary: "the opposite of `equals`",
        examples: &[example("{{ne trigger.body.Code 'DNC'}}", r#"{"Code":"INS"}"#, "true")],
        eval: Eval::Strict(|given| Ok(Value::Bool(!equals(given)))),
        ..PLAIN
    },
    HelperSpec {
        name: "greater",
        gives: Kind::Boolean,
        aliases: &["gt"],
        arguments: PAIR,
        summary: "whether the first of two numbers or two texts is greater; texts as in a dictionary: a, A, b",
        examples: &[
            example("{{greater trigger.body.Score 10}}", r#"{"Score":42}"#, "true"),
            example("{{gt 'a' 'B'}}", "{}", "false"),
        ],
        eval: Eval::Strict(|given| Ok(Value::Bool(compare(given)? == Ordering::Greater))),
        ..PLAIN
    },
    HelperSpec {
        name: "greaterOrEquals",
        gives: Kind::Boolean,
        aliases: &["gte"],
        arguments: PAIR,
        summary: "whether the first of two numbers or two texts is greater or equal",
        examples: &[example("{{gte 2 2.0}}", "{}", "true")],
        eval: Eval::Strict(|given| Ok(Value::Bool(compare(given)? != Ordering::Less))),
        ..PLAIN
    },
    HelperSpec {
        name: "less",
        gives: Kind::Boolean,
        aliases: &["lt"],
        arguments: PAIR,
        summary: "whether the first of two numbers or two texts is less",
        examples: &[example("{{less trigger.body.Ratio 1}}", r#"{"Ratio":0.5}"#, "true")],
        eval: Eval::Strict(|given| Ok(Value::Bool(compare(given)? == Ordering::Less))),
        ..PLAIN
    },
    HelperSpec {
        name: "lessOrEquals",
        gives: Kind::Boolean,
        aliases: &["lte"],
        arguments: PAIR,
        summary: "whether the first of two numbers or two texts is less or equal",
        examples: &[example("{{lte 'a' 'A'}}", "{}", "true")],
        eval: Eval::Strict(|given| Ok(Value::Bool(compare(given)? != Ordering::Greater))),
        ..PLAIN
    },
    HelperSpec {
        name: "and",
        gives: Kind::Boolean,
        arguments: CONDITIONS,
        summary: "whether all are true; stops at the first that is false",
        examples: &[
            example("{{and (eq 1 1) (gt 2 1)}}", "{}", "true"),
            example("{{and false trigger.body.Missing}}", "{}", "false"),
        ],
        eval: Eval::Lazy(|lazy| until(lazy, false)),
        ..PLAIN
    },
    HelperSpec {
        name: "or",
        gives: Kind::Boolean,
        arguments: CONDITIONS,
        summary: "whether any is true; stops at the first that is true",
        examples: &[example("{{or true trigger.body.Missing}}", "{}", "true")],
        eval: Eval::Lazy(|lazy| until(lazy, true)),
        ..PLAIN
    },
    HelperSpec {
        name: "not",
        gives: Kind::Boolean,
        arguments: Signature { min: 1, max: 1, names: &["condition"], kinds: &[Kind::Boolean] },
        summary: "the opposite of a boolean",
        examples: &[example("{{not trigger.body.Consent}}", r#"{"Consent":false}"#, "true")],
        eval: Eval::Strict(|given| Ok(Value::Bool(!given.boolean(0)?))),
        ..PLAIN
    },
];

/// The first argument that `fits`, else the last one.
fn first_that<'e>(lazy: &Lazy<'e>, fits: fn(&Value) -> bool) -> Result<Evaluated<'e>, RenderError> {
    let last = lazy.arguments.len() - 1;
    for at in 0..last {
        let evaluated = lazy.get(at)?;
        if fits(&evaluated.value) {
            return Ok(evaluated);
        }
    }
    lazy.get(last)
}

fn until<'e>(lazy: &Lazy<'e>, wanted: bool) -> Result<Evaluated<'e>, RenderError> {
    for at in 0..lazy.arguments.len() {
        if lazy.boolean(at)? == wanted {
            return Ok(Evaluated::owned(Value::Bool(wanted)));
        }
    }
    Ok(Evaluated::owned(Value::Bool(!wanted)))
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

fn equals(given: &Given<'_>) -> bool {
    (1..given.len()).all(|at| same(given.value(0), given.value(at)))
}

/// Numbers by value at the top; inside lists and objects integers and floats stay apart, as observed.
pub(in crate::template) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right) == Some(Ordering::Equal),
        _ => left == right,
    }
}

/// Integers exactly, anything else as floats.
pub(super) fn order(left: &Number, right: &Number) -> Option<Ordering> {
    let integer = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn compare(given: &Given<'_>) -> Result<Ordering, RenderError> {
    let (left, right) = (given.value(0), given.value(1));
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right),
        (Value::String(left), Value::String(right)) => Some(collate(left, right)),
        _ => None,
    };
    ordering.ok_or_else(|| {
        given.fail(format_args!("wants two numbers or two texts, not {} and {}", kind_of(left), kind_of(right)))
    })
}

/// Dictionary order: letters first, and between texts that differ only in case the lower one.
fn collate(left: &str, right: &str) -> Ordering {
    let folded = left.to_lowercase().cmp(&right.to_lowercase());
    // Upper-case letters stand before lower-case ones in Unicode, so the tie is broken the other way round.
    folded.then_with(|| right.cmp(left))
}

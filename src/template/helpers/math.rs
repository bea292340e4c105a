//! Numbers: `add`, `sub`, `mul`, `div`, `mod`, `min`, `max`, `isInt`, `isFloat`.
//!
//! Integers stay integers and fail where they would overflow; one operand with a fraction makes the result one.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::conversion::read_number;
use super::culture;
use super::logical::order;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::template::kind_of;

/// Two numbers.
const PAIR: Signature = Signature { min: 2, max: 2, names: &["left", "right"], kinds: &[Kind::Number] };

/// Numbers, or one list of them.
const NUMBERS: Signature = Signature::takes(&["number", "number"], &[Kind::NumberOrList, Kind::Number]).many(1);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "add",
        gives: Kind::Number,
        arguments: PAIR,
        summary: "the sum of two numbers",
        examples: &[example("{{add trigger.body.n 1}}", r#"{"n":41}"#, "42"), example("{{add 1 2.0}}", "{}", "3.0")],
        eval: Eval::Strict(|given| calculate(given, i64::checked_add, |left, right| left + right)),
        ..PLAIN
    },
    HelperSpec {
        name: "sub",
        gives: Kind::Number,
        arguments: PAIR,
        summary: "the first number less the second",
        examples: &[example("{{sub 3 10}}", "{}", "-7")],
        eval: Eval::Strict(|given| calculate(given, i64::checked_sub, |left, right| left - right)),
        ..PLAIN
    },
    HelperSpec {
        name: "mul",
        gives: Kind::Number,
        arguments: PAIR,
        summary: "the product of two numbers",
        examples: &[example("{{mul trigger.body.Seats 9.5}}", r#"{"Seats":2}"#, "19.0")],
        eval: Eval::Strict(|given| calculate(given, i64::checked_mul, |left, right| left * right)),
        ..PLAIN
    },
    HelperSpec {
        name: "div",
        gives: Kind::Number,
        arguments: PAIR,
        summary: "the first number by the second; of integers the whole part; by zero fails",
        examples: &[example("{{div 10 4}}", "{}", "2"), example("{{div 10 4.0}}", "{}", "2.5")],
        eval: Eval::Strict(|given| {
            not_by_zero(given)?;
            calculate(given, i64::checked_div, |left, right| left / right)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "mod",
        gives: Kind::Number,
        arguments: PAIR,
        summary: "what remains of the first number by the second, with the sign of the first; by zero fails",
        examples: &[example("{{mod -7 3}}", "{}", "-1")],
        eval: Eval::Strict(|given| {
            not_by_zero(given)?;
            calculate(given, i64::checked_rem, |left, right| left % right)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "min",
        gives: Kind::Number,
        arguments: NUMBERS,
        summary: "the least of the numbers, or of one list of numbers",
        examples: &[
            example("{{min 3 1 2}}", "{}", "1"),
            example("{{min trigger.body.Prices}}", r#"{"Prices":[4.5,2]}"#, "2.0"),
        ],
        eval: Eval::Strict(|given| extreme(given, Ordering::Less)),
        ..PLAIN
    },
    HelperSpec {
        name: "max",
        gives: Kind::Number,
        arguments: NUMBERS,
        summary: "the greatest of the numbers, or of one list of numbers",
        notes: &["among numbers with a fraction the answer has one: `10.0`"],
        examples: &[example("{{max trigger.body.Score 10}}", r#"{"Score":7}"#, "10")],
        eval: Eval::Strict(|given| extreme(given, Ordering::Greater)),
        ..PLAIN
    },
    HelperSpec {
        name: "isInt",
        gives: Kind::Boolean,
        arguments: Signature::takes(&["text"], &[Kind::SolidText]),
        summary: "whether the text is a 32-bit integer; blanks around it and a sign are fine, a phone number is too long",
        examples: &[
            example("{{isInt trigger.body.Seats}}", r#"{"Seats":" 10 "}"#, "true"),
            example("{{isInt '1.0'}}", "{}", "false"),
        ],
        eval: Eval::Strict(|given| {
            let text = given.solid_text(0)?.trim();
            Ok(text.parse::<i32>().is_ok().into())
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "isFloat",
        gives: Kind::Boolean,
        arguments: Signature::takes(&["text", "culture"], &[Kind::SolidText, Kind::Culture]).optional(1),
        options: &["culture"],
        summary: "whether the text is a number, as `float` reads it",
        examples: &[
            example("{{isFloat trigger.body.Price}}", r#"{"Price":"10,000.5"}"#, "true"),
            example("{{isFloat '1.2.3'}}", "{}", "false"),
        ],
        eval: Eval::Strict(|given| {
            let culture = culture::of(given, 1)?;
            Ok(read_number(given.solid_text(0)?, culture).is_some().into())
        }),
        ..PLAIN
    },
];

fn not_by_zero(given: &Given<'_>) -> Result<(), RenderError> {
    if given.value(1).as_f64() == Some(0.0) {
        return Err(given.fail("cannot divide by zero"));
    }
    Ok(())
}

fn calculate(
    given: &Given<'_>,
    of_integers: fn(i64, i64) -> Option<i64>,
    of_floats: fn(f64, f64) -> f64,
) -> Result<Value, RenderError> {
    let number = |at: usize| match given.value(at) {
        Value::Number(number) => Ok(number),
        other => Err(given.wants(at, "a number", other)),
    };
    let (left, right) = (number(0)?, number(1)?);
    let result = match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => of_integers(left, right).map(Number::from),
        _ => left.as_f64().zip(right.as_f64()).and_then(|(left, right)| Number::from_f64(of_floats(left, right))),
    };
    result.map(Value::Number).ok_or_else(|| given.fail("leaves the range of numbers"))
}

/// The number that stands at one end; a fraction among integers makes all of them numbers with a fraction.
fn extreme(given: &Given<'_>, end: Ordering) -> Result<Value, RenderError> {
    let items: Vec<&Value> = match given.value(0) {
        Value::Array(items) if given.len() == 1 => items.iter().collect(),
        _ => (0..given.len()).map(|at| given.value(at)).collect(),
    };
    given.work(items.len())?;
    let mut best: Option<&Number> = None;
    let mut has_fraction = false;
    for item in items {
        let Value::Number(number) = item else {
            return Err(given.fail(format_args!("wants numbers alone, not {}", kind_of(item))));
        };
        has_fraction |= number.is_f64();
        if best.is_none_or(|best| order(number, best) == Some(end)) {
            best = Some(number);
        }
    }
    let best = best.ok_or_else(|| given.fail("wants at least one number"))?;
    if !has_fraction {
        return Ok(Value::Number(best.clone()));
    }
    let float = best.as_f64().and_then(Number::from_f64);
    float.map(Value::Number).ok_or_else(|| given.fail("leaves the range of numbers"))
}

//! Arithmetic: `add`, `sub`, `mul`, `div`, `mod`.
//!
//! Integers stay integers and fail where they would overflow; one operand with a fraction makes the result one.

use serde_json::{Number, Value};

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};

/// Two numbers.
const PAIR: Signature = Signature { min: 2, max: 2, names: &["left", "right"], kinds: &[Kind::Number] };

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "add",
        aliases: &[],
        arguments: PAIR,
        options: &[],
        summary: "the sum of two numbers",
        examples: &[example("{{add trigger.body.n 1}}", r#"{"n":41}"#, "42"), example("{{add 1 2.0}}", "{}", "3.0")],
        is_volatile: false,
        eval: Eval::Strict(|given| calculate(given, i64::checked_add, |left, right| left + right)),
    },
    HelperSpec {
        name: "sub",
        aliases: &[],
        arguments: PAIR,
        options: &[],
        summary: "the first number less the second",
        examples: &[example("{{sub 3 10}}", "{}", "-7")],
        is_volatile: false,
        eval: Eval::Strict(|given| calculate(given, i64::checked_sub, |left, right| left - right)),
    },
    HelperSpec {
        name: "mul",
        aliases: &[],
        arguments: PAIR,
        options: &[],
        summary: "the product of two numbers",
        examples: &[example("{{mul trigger.body.Seats 9.5}}", r#"{"Seats":2}"#, "19.0")],
        is_volatile: false,
        eval: Eval::Strict(|given| calculate(given, i64::checked_mul, |left, right| left * right)),
    },
    HelperSpec {
        name: "div",
        aliases: &[],
        arguments: PAIR,
        options: &[],
        summary: "the first number by the second; of integers the whole part; by zero fails",
        examples: &[example("{{div 10 4}}", "{}", "2"), example("{{div 10 4.0}}", "{}", "2.5")],
        is_volatile: false,
        eval: Eval::Strict(|given| {
            not_by_zero(given)?;
            calculate(given, i64::checked_div, |left, right| left / right)
        }),
    },
    HelperSpec {
        name: "mod",
        aliases: &[],
        arguments: PAIR,
        options: &[],
        summary: "what remains of the first number by the second, with the sign of the first; by zero fails",
        examples: &[example("{{mod -7 3}}", "{}", "-1")],
        is_volatile: false,
        eval: Eval::Strict(|given| {
            not_by_zero(given)?;
            calculate(given, i64::checked_rem, |left, right| left % right)
        }),
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

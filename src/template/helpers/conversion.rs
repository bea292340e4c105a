//! From one kind to another: `string`, `json`, `int`, `float`, `bool`, `base64`, `uriComponent`, …

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::{Destination, print};

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "string",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "the value as text: objects and lists as compact JSON, booleans `true` and `false`, null empty",
        examples: &[
            example("{{string trigger.body}}", r#"{"a":[1,2.5]}"#, r#""{\"a\":[1,2.5]}""#),
            example("{{string trigger.body.n}}", r#"{"n":1.0}"#, r#""1""#),
        ],
        is_volatile: false,
        eval: Eval::Strict(|given| given.made(print::plain(given.value(0)).into_owned())),
    },
    HelperSpec {
        name: "json",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Text] },
        options: &[],
        summary: "the value that a JSON text stands for; empty text gives null, null fails",
        examples: &[
            example("{{json trigger.body.Extra}}", r#"{"Extra":"{\"a\":1}"}"#, r#"{"a":1}"#),
            example("{{json ''}}", "{}", "null"),
        ],
        is_volatile: false,
        eval: Eval::Strict(json),
    },
    HelperSpec {
        name: "int",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "the value as an integer; texts may have blanks around them and commas inside, fractions fail",
        examples: &[example("{{int trigger.body.Seats}}", r#"{"Seats":" 1,000 "}"#, "1000")],
        is_volatile: false,
        eval: Eval::Strict(int),
    },
    HelperSpec {
        name: "float",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "the value as a number with a fraction; a comma groups digits, it is not a decimal point",
        examples: &[example("{{float trigger.body.Price}}", r#"{"Price":"10.50"}"#, "10.5")],
        is_volatile: false,
        eval: Eval::Strict(|given| float(given, parse_number(given)?)),
    },
    HelperSpec {
        name: "bool",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "`true` and `false` in any case as a boolean; numbers are true unless 0; anything else fails",
        examples: &[example("{{bool trigger.body.Consent}}", r#"{"Consent":"TRUE"}"#, "true")],
        is_volatile: false,
        eval: Eval::Strict(bool),
    },
    HelperSpec {
        name: "base64",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Container] },
        options: &[],
        summary: "a text, or the JSON of a list or an object, in base64",
        examples: &[example("{{base64 'user:p@ss'}}", "{}", r#""dXNlcjpwQHNz""#)],
        is_volatile: false,
        eval: Eval::Strict(base64),
    },
    HelperSpec {
        name: "uriComponent",
        aliases: &["encodeUriComponent"],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "the value percent-encoded for a part of a URL; in `url` it is not encoded again",
        examples: &[example("{{uriComponent 'a b&c'}}", "{}", r#""a%20b%26c""#)],
        is_volatile: false,
        eval: Eval::Escaped(Destination::Url, |given| {
            given.made(print::encode_url(&print::plain(given.value(0))).into_owned())
        }),
    },
];

/// A number, or the number that a text stands for; texts go through a double, as on the original.
fn parse_number(given: &Given<'_>) -> Result<f64, RenderError> {
    match given.value(0) {
        Value::Number(number) => number.as_f64().ok_or_else(|| given.fail("got a number out of range")),
        Value::Bool(value) => Ok(f64::from(u8::from(*value))),
        Value::String(text) => {
            let digits = text.trim().replace(',', "");
            let numeric = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let number = if numeric { digits.parse().ok() } else { None };
            number.ok_or_else(|| given.fail("got a text that is not a number"))
        }
        other => Err(given.wants(0, "a number or a text", other)),
    }
}

fn int(given: &Given<'_>) -> Result<Value, RenderError> {
    if let Some(value) = given.value(0).as_i64() {
        return Ok(value.into());
    }
    let value = parse_number(given)?;
    // 2^63: the first double that is no 64-bit integer.
    let limit = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 || !(-limit..limit).contains(&value) {
        return Err(given.fail("got a number that is not a 64-bit integer"));
    }
    Ok((value as i64).into())
}

fn float(given: &Given<'_>, value: f64) -> Result<Value, RenderError> {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| given.fail("got a number out of range"))
}

fn bool(given: &Given<'_>) -> Result<Value, RenderError> {
    match given.value(0) {
        Value::Bool(value) => Ok((*value).into()),
        Value::Number(number) => Ok((number.as_f64() != Some(0.0)).into()),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Ok(true.into()),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Ok(false.into()),
        other => Err(given.wants(0, "`true`, `false` or a number", other)),
    }
}

fn base64(given: &Given<'_>) -> Result<Value, RenderError> {
    match given.value(0) {
        value @ (Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            given.made(STANDARD.encode(print::plain(value).as_bytes()))
        }
        other => Err(given.wants(0, "a text, a list or an object", other)),
    }
}

fn json(given: &Given<'_>) -> Result<Value, RenderError> {
    let Value::String(text) = given.value(0) else { return Err(given.wants(0, "a text", given.value(0))) };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    // What follows the value is not looked at, as observed.
    let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
    first.transpose().map(Option::unwrap_or_default).map_err(|error| {
        // The parser's own message could repeat the text.
        given.fail(format_args!("got a text that is not JSON (line {}, column {})", error.line(), error.column()))
    })
}

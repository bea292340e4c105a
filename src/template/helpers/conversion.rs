//! From one kind to another: `string`, `json`, `int`, `float`, `bool`, `uriComponent`, …

use serde_json::{Number, Value};

use super::binary::{decode_component, held};
use super::culture::{self, Culture, ENGLISH};
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::template::{Destination, print};

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "string",
        gives: Kind::Text,
        arguments: Signature::takes(&["value"], &[Kind::Any]),
        summary: "the value as text: objects and lists as compact JSON, booleans `true` and `false`, null empty",
        notes: &["binary content gives the text that it holds"],
        examples: &[
            example("{{string trigger.body}}", r#"{"a":[1,2.5]}"#, r#""{\"a\":[1,2.5]}""#),
            example("{{string trigger.body.n}}", r#"{"n":1.0}"#, r#""1""#),
        ],
        eval: Eval::Strict(string),
        ..PLAIN
    },
    HelperSpec {
        name: "json",
        gives: Kind::Any,
        arguments: Signature::takes(&["text"], &[Kind::SolidText]),
        summary: "the value that a JSON text stands for; empty text gives null, null fails",
        examples: &[
            example("{{json trigger.body.Extra}}", r#"{"Extra":"{\"a\":1}"}"#, r#"{"a":1}"#),
            example("{{json ''}}", "{}", "null"),
        ],
        eval: Eval::Strict(json),
        ..PLAIN
    },
    HelperSpec {
        name: "int",
        gives: Kind::Integer,
        arguments: Signature::takes(&["value"], &[Kind::Numeric]),
        summary: "the value as an integer; texts may have blanks around them and commas inside, fractions fail",
        examples: &[example("{{int trigger.body.Seats}}", r#"{"Seats":" 1,000 "}"#, "1000")],
        eval: Eval::Strict(int),
        ..PLAIN
    },
    HelperSpec {
        name: "float",
        aliases: &["decimal"],
        gives: Kind::Number,
        arguments: Signature::takes(&["value", "culture"], &[Kind::Numeric, Kind::Culture]).optional(1),
        options: &["culture"],
        notes: &["`decimal` is the same: numbers have the 15 to 17 digits of a double"],
        summary: "the value as a number with a fraction; a comma groups digits unless the culture says otherwise",
        examples: &[
            example("{{float trigger.body.Price}}", r#"{"Price":"10.50"}"#, "10.5"),
            example("{{float trigger.body.Price 'de-DE'}}", r#"{"Price":"1.234,5"}"#, "1234.5"),
        ],
        eval: Eval::Strict(|given| float(given, parse_number(given, culture::of(given, 1)?)?)),
        ..PLAIN
    },
    HelperSpec {
        name: "bool",
        gives: Kind::Boolean,
        arguments: Signature::takes(&["value"], &[Kind::Numeric]),
        summary: "`true` and `false` in any case as a boolean; numbers are true unless 0; anything else fails",
        examples: &[example("{{bool trigger.body.Consent}}", r#"{"Consent":"TRUE"}"#, "true")],
        eval: Eval::Strict(bool),
        ..PLAIN
    },
    HelperSpec {
        name: "uriComponent",
        gives: Kind::Text,
        aliases: &["encodeUriComponent"],
        arguments: Signature::takes(&["value"], &[Kind::Any]),
        summary: "the value percent-encoded for a part of a URL; in `url` it is not encoded again",
        examples: &[example("{{uriComponent 'a b&c'}}", "{}", r#""a%20b%26c""#)],
        eval: Eval::Escaped(Destination::Url, |given| {
            given.made(print::encode_url(&print::plain(given.value(0))).into_owned())
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "uriComponentToString",
        aliases: &["decodeUriComponent"],
        gives: Kind::Text,
        arguments: Signature::takes(&["text"], &[Kind::SolidText]),
        summary: "the text that a percent-encoded one stands for; `+` is a blank, a `%` that encodes nothing stays",
        examples: &[example("{{uriComponentToString 'a%20b%26c'}}", "{}", r#""a b&c""#)],
        eval: Eval::Strict(|given| given.made(decode_component(given.solid_text(0)?))),
        ..PLAIN
    },
];

/// A number, or the number that a text stands for; texts go through a double, as on the original.
fn parse_number(given: &Given<'_>, culture: &Culture) -> Result<f64, RenderError> {
    match given.value(0) {
        Value::Number(number) => number.as_f64().ok_or_else(|| given.fail("got a number out of range")),
        Value::Bool(value) => Ok(f64::from(u8::from(*value))),
        Value::String(text) => read_number(text, culture).ok_or_else(|| given.fail("got a text that is not a number")),
        other => Err(given.wants(0, "a number or a text", other)),
    }
}

/// The number that a text stands for: blanks around it and signs between thousands are read over.
pub(super) fn read_number(text: &str, culture: &Culture) -> Option<f64> {
    // People type a plain blank where French prints a narrow one.
    let blanks: &[char] = if culture.group == "\u{202f}" { &[' ', '\u{a0}'] } else { &[] };
    let digits = text.trim().replace(culture.group, "").replace(blanks, "").replace(culture.point, ".");
    let is_plain = culture.point == "." || !text.contains('.') || culture.group == ".";
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if numeric && is_plain { digits.parse().ok() } else { None }
}

fn string(given: &Given<'_>) -> Result<Value, RenderError> {
    match held(given.value(0)) {
        Some(bytes) => given.made(String::from_utf8_lossy(&bytes).into_owned()),
        None => given.made(print::plain(given.value(0)).into_owned()),
    }
}

fn int(given: &Given<'_>) -> Result<Value, RenderError> {
    if let Some(value) = given.value(0).as_i64() {
        return Ok(value.into());
    }
    let value = parse_number(given, ENGLISH)?;
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

//! Base64, data URIs and binary content.
//!
//! Binary content is an object of `$content-type` and `$content` (base64), as Power Automate passes it on; `string`
//! and `base64` take what it holds.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::template::print;

/// Base64 as .NET reads it: with its padding, whatever the last bits are.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
/// The type of binary content that says none.
const OCTETS: &str = "application/octet-stream";

/// One text.
const TEXT: Signature = Signature::takes(&["text"], &[Kind::SolidText]);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "base64",
        gives: Kind::Text,
        arguments: Signature::takes(&["value"], &[Kind::Container]),
        summary: "a text, the JSON of a list or an object, or binary content in base64",
        examples: &[example("{{base64 'user:p@ss'}}", "{}", r#""dXNlcjpwQHNz""#)],
        eval: Eval::Strict(base64),
        ..PLAIN
    },
    HelperSpec {
        name: "base64ToString",
        aliases: &["decodeBase64"],
        gives: Kind::Text,
        arguments: TEXT,
        summary: "the text that base64 stands for; blanks inside are skipped, missing padding fails",
        examples: &[example("{{base64ToString 'aGVsbG8='}}", "{}", r#""hello""#)],
        eval: Eval::Strict(|given| given.made(lossy(&decoded(given)?))),
        ..PLAIN
    },
    HelperSpec {
        name: "base64ToBinary",
        gives: Kind::Object,
        arguments: TEXT,
        summary: "binary content of the base64, as an object of `$content-type` and `$content`",
        examples: &[example(
            "{{base64ToBinary 'aGVsbG8='}}",
            "{}",
            r#"{"$content-type":"application/octet-stream","$content":"aGVsbG8="}"#,
        )],
        eval: Eval::Strict(|given| content(given, OCTETS, &decoded(given)?)),
        ..PLAIN
    },
    HelperSpec {
        name: "binary",
        gives: Kind::Object,
        arguments: TEXT,
        summary: "binary content of the text, as an object of `$content-type` and `$content`",
        examples: &[example(
            "{{binary 'hello'}}",
            "{}",
            r#"{"$content-type":"application/octet-stream","$content":"aGVsbG8="}"#,
        )],
        eval: Eval::Strict(|given| content(given, OCTETS, given.solid_text(0)?.as_bytes())),
        ..PLAIN
    },
    HelperSpec {
        name: "dataUri",
        gives: Kind::Text,
        arguments: Signature::takes(&["value"], &[Kind::Any]),
        summary: "a data URI with the value in base64: a text as text/plain, binary content as what it is, else JSON",
        examples: &[example("{{dataUri 'hello'}}", "{}", r#""data:text/plain;charset=utf-8;base64,aGVsbG8=""#)],
        eval: Eval::Strict(data_uri),
        ..PLAIN
    },
    HelperSpec {
        name: "dataUriToString",
        gives: Kind::Text,
        arguments: TEXT,
        summary: "the text in a data URI",
        examples: &[example("{{dataUriToString 'data:,hello%20world'}}", "{}", r#""hello world""#)],
        eval: Eval::Strict(|given| given.made(lossy(&data(given)?.1))),
        ..PLAIN
    },
    HelperSpec {
        name: "dataUriToBinary",
        aliases: &["decodeDataUri"],
        gives: Kind::Object,
        arguments: TEXT,
        summary: "binary content of a data URI, as an object of `$content-type` and `$content`",
        examples: &[example(
            "{{dataUriToBinary 'data:text/plain;base64,aGVsbG8='}}",
            "{}",
            r#"{"$content-type":"text/plain","$content":"aGVsbG8="}"#,
        )],
        eval: Eval::Strict(|given| {
            let (kind, bytes) = data(given)?;
            content(given, kind, &bytes)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "uriComponentToBinary",
        gives: Kind::Object,
        arguments: TEXT,
        summary: "binary content of a percent-encoded text, as an object of `$content-type` and `$content`",
        examples: &[example(
            "{{uriComponentToBinary 'hell%6F'}}",
            "{}",
            r#"{"$content-type":"application/octet-stream","$content":"aGVsbG8="}"#,
        )],
        eval: Eval::Strict(|given| content(given, OCTETS, decode_component(given.solid_text(0)?).as_bytes())),
        ..PLAIN
    },
];

/// Bytes as text; what is no UTF-8 becomes U+FFFD, as there.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `%20` and `+` undone; a `%` that encodes nothing stays.
pub(super) fn decode_component(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// What binary content holds; `None` for everything that is none.
pub(super) fn held(value: &Value) -> Option<Vec<u8>> {
    let object = value.as_object().filter(|object| object.len() == 2)?;
    object.get("$content-type")?.as_str()?;
    LENIENT.decode(object.get("$content")?.as_str()?).ok()
}

fn content(given: &Given<'_>, kind: &str, bytes: &[u8]) -> Result<Value, RenderError> {
    let text = STANDARD.encode(bytes);
    given.fits(text.len())?;
    Ok(json!({ "$content-type": kind, "$content": text }))
}

fn decoded(given: &Given<'_>) -> Result<Vec<u8>, RenderError> {
    let text: String = given.solid_text(0)?.split_ascii_whitespace().collect();
    LENIENT.decode(text).map_err(|_| given.fail("got a text that is not base64"))
}

fn base64(given: &Given<'_>) -> Result<Value, RenderError> {
    match given.value(0) {
        value @ (Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            let bytes = held(value).unwrap_or_else(|| print::plain(value).as_bytes().to_vec());
            given.made(STANDARD.encode(bytes))
        }
        other => Err(given.wants(0, "a text, a list or an object", other)),
    }
}

fn data_uri(given: &Given<'_>) -> Result<Value, RenderError> {
    let value = given.value(0);
    let (kind, bytes) = match (value, held(value)) {
        (Value::Object(object), Some(bytes)) => {
            (object.get("$content-type").and_then(Value::as_str).unwrap_or(OCTETS), bytes)
        }
        (Value::String(text), _) => ("text/plain;charset=utf-8", text.as_bytes().to_vec()),
        (Value::Null, _) => return Err(given.wants(0, "a value", value)),
        (other, _) => ("application/json;charset=utf-8", other.to_string().into_bytes()),
    };
    given.made(format!("data:{kind};base64,{}", STANDARD.encode(bytes)))
}

/// The type and the bytes of a data URI.
fn data<'g>(given: &'g Given<'_>) -> Result<(&'g str, Vec<u8>), RenderError> {
    let text = given.solid_text(0)?;
    let not_one = || given.fail("got a text that is no data URI: they look like data:text/plain;base64,aGVsbG8=");
    let rest = text.get(..5).filter(|start| start.eq_ignore_ascii_case("data:")).map(|_| &text[5..]);
    let (kind, data) = rest.and_then(|rest| rest.split_once(',')).ok_or_else(not_one)?;
    let (kind, bytes) = match kind.strip_suffix(";base64") {
        Some(kind) => (kind, LENIENT.decode(data).map_err(|_| not_one())?),
        None => (kind, percent_decode_str(data).collect()),
    };
    Ok((if kind.is_empty() { "text/plain;charset=US-ASCII" } else { kind }, bytes))
}

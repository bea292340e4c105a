//! Lists, objects and texts as collections: `length`, `lookup`, …

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::eval::property;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "length",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        options: &[],
        summary: "the number of items of a list, or of UTF-16 units of a text; null fails",
        examples: &[
            example("{{length trigger.body.Tags}}", r#"{"Tags":["a","b"]}"#, "2"),
            example("{{length '😀'}}", "{}", "2"),
        ],
        is_volatile: false,
        eval: Eval::Strict(length),
    },
    HelperSpec {
        name: "lookup",
        aliases: &[],
        arguments: Signature { min: 2, max: 2, names: &["value", "key"], kinds: &[Kind::Any, Kind::Comparable] },
        options: &[],
        summary: "the property (ignoring case) or the item at a position; null when missing",
        examples: &[
            example("{{lookup (json trigger.body.Extra) 'size'}}", r#"{"Extra":"{\"Size\":7}"}"#, "7"),
            example("{{lookup trigger.body.Tags 1}}", r#"{"Tags":["a","b"]}"#, r#""b""#),
            example("{{lookup trigger.body.Tags 9}}", r#"{"Tags":["a","b"]}"#, "null"),
        ],
        is_volatile: false,
        eval: Eval::Strict(lookup),
    },
];

fn length(given: &Given<'_>) -> Result<Value, RenderError> {
    match given.value(0) {
        Value::Array(items) => Ok(items.len().into()),
        Value::String(text) => Ok(text.encode_utf16().count().into()),
        other => Err(given.wants(0, "a text or a list", other)),
    }
}

fn lookup(given: &Given<'_>) -> Result<Value, RenderError> {
    let key = match given.value(1) {
        Value::String(key) => key.clone(),
        Value::Number(key) => key.to_string(),
        Value::Null => return Ok(Value::Null),
        other => return Err(given.wants(1, "a name or a position", other)),
    };
    Ok(property(given.value(0), &key).cloned().unwrap_or_default())
}

//! Lists, objects and texts as collections: `length`, `lookup`, `contains`, `empty`, `first`, `join`, …

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::template::eval::property;
use crate::template::print;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "length",
        gives: Kind::Integer,
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        summary: "the number of items of a list, or of UTF-16 units of a text; null fails",
        examples: &[
            example("{{length trigger.body.Tags}}", r#"{"Tags":["a","b"]}"#, "2"),
            example("{{length '😀'}}", "{}", "2"),
        ],
        eval: Eval::Strict(length),
        ..PLAIN
    },
    HelperSpec {
        name: "lookup",
        gives: Kind::Any,
        arguments: Signature { min: 2, max: 2, names: &["value", "key"], kinds: &[Kind::Any, Kind::Comparable] },
        summary: "the property (ignoring case) or the item at a position; null when missing",
        examples: &[
            example("{{lookup (json trigger.body.Extra) 'size'}}", r#"{"Extra":"{\"Size\":7}"}"#, "7"),
            example("{{lookup trigger.body.Tags 1}}", r#"{"Tags":["a","b"]}"#, r#""b""#),
            example("{{lookup trigger.body.Tags 9}}", r#"{"Tags":["a","b"]}"#, "null"),
        ],
        eval: Eval::Strict(lookup),
        ..PLAIN
    },
    HelperSpec {
        name: "contains",
        gives: Kind::Boolean,
        arguments: Signature { min: 2, max: 2, names: &["value", "search"], kinds: &[Kind::Container, Kind::Any] },
        summary: "whether a text contains a text (case matters), a list an item, an object a key (case ignored)",
        examples: &[
            example("{{contains trigger.body.Title 'Backup'}}", r#"{"Title":"Contoso Backup"}"#, "true"),
            example("{{contains trigger.body.Tags 'hot'}}", r#"{"Tags":["new","hot"]}"#, "true"),
        ],
        eval: Eval::Strict(contains),
        ..PLAIN
    },
    HelperSpec {
        name: "empty",
        gives: Kind::Boolean,
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Container] },
        summary: "whether a text, a list or an object is empty, or null; blanks are not empty",
        examples: &[example("{{empty trigger.body.Email}}", "{}", "true"), example("{{empty ' '}}", "{}", "false")],
        eval: Eval::Strict(empty),
        ..PLAIN
    },
    HelperSpec {
        name: "first",
        gives: Kind::Any,
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        summary: "the first item of a list (null when empty) or the first character of a text",
        examples: &[example("{{first (split trigger.body.Source '|')}}", r#"{"Source":"a|b"}"#, r#""a""#)],
        eval: Eval::Strict(|given| end(given, <[Value]>::first, |text| text.chars().next())),
        ..PLAIN
    },
    HelperSpec {
        name: "last",
        gives: Kind::Any,
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        summary: "the last item of a list (null when empty) or the last character of a text",
        examples: &[example(
            "{{last (split trigger.body.Email '@')}}",
            r#"{"Email":"a@contoso.com"}"#,
            r#""contoso.com""#,
        )],
        eval: Eval::Strict(|given| end(given, <[Value]>::last, |text| text.chars().next_back())),
        ..PLAIN
    },
    HelperSpec {
        name: "join",
        gives: Kind::Text,
        arguments: Signature { min: 2, max: 2, names: &["list", "separator"], kinds: &[Kind::List, Kind::Text] },
        summary: "the items of a list as one text with the separator between them",
        examples: &[example("{{join trigger.body.Tags ', '}}", r#"{"Tags":["a",1,null,true]}"#, r#""a, 1, , true""#)],
        eval: Eval::Strict(join),
        ..PLAIN
    },
];

fn contains(given: &Given<'_>) -> Result<Value, RenderError> {
    match (given.value(0), given.value(1)) {
        (Value::String(text), Value::String(search)) => Ok(text.contains(search).into()),
        (Value::Array(items), search) => Ok(items.contains(search).into()),
        (object @ Value::Object(_), Value::String(key)) => Ok(property(object, key).is_some().into()),
        (Value::String(_) | Value::Object(_), other) => Err(given.wants(1, "a text", other)),
        (other, _) => Err(given.wants(0, "a text, a list or an object", other)),
    }
}

fn empty(given: &Given<'_>) -> Result<Value, RenderError> {
    match given.value(0) {
        Value::Null => Ok(true.into()),
        Value::String(text) => Ok(text.is_empty().into()),
        Value::Array(items) => Ok(items.is_empty().into()),
        Value::Object(object) => Ok(object.is_empty().into()),
        other => Err(given.wants(0, "a text, a list or an object", other)),
    }
}

/// One end of a list or a text.
fn end(
    given: &Given<'_>,
    of_list: fn(&[Value]) -> Option<&Value>,
    of_text: fn(&str) -> Option<char>,
) -> Result<Value, RenderError> {
    match given.value(0) {
        Value::Array(items) => Ok(of_list(items).cloned().unwrap_or_default()),
        Value::String(text) => Ok(of_text(text).map(String::from).unwrap_or_default().into()),
        other => Err(given.wants(0, "a text or a list", other)),
    }
}

fn join(given: &Given<'_>) -> Result<Value, RenderError> {
    let Value::Array(items) = given.value(0) else { return Err(given.wants(0, "a list", given.value(0))) };
    let separator = given.text(1)?;
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        let piece = print::plain(item);
        given.fits(text.len() + separator.len() + piece.len())?;
        if at > 0 {
            text.push_str(separator);
        }
        text.push_str(&piece);
    }
    Ok(Value::String(text))
}

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

//! Lists, objects and texts as collections: `length`, `lookup`, `contains`, `empty`, `first`, `join`, …

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::eval::property;
use crate::template::print;

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
    HelperSpec {
        name: "contains",
        aliases: &[],
        arguments: Signature { min: 2, max: 2, names: &["value", "search"], kinds: &[Kind::Container, Kind::Any] },
        options: &[],
        summary: "whether a text contains a text (case matters), a list an item, an object a key (case ignored)",
        examples: &[
            example("{{contains trigger.body.Title 'Backup'}}", r#"{"Title":"Contoso Backup"}"#, "true"),
            example("{{contains trigger.body.Tags 'hot'}}", r#"{"Tags":["new","hot"]}"#, "true"),
        ],
        is_volatile: false,
        eval: Eval::Strict(contains),
    },
    HelperSpec {
        name: "empty",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::Container] },
        options: &[],
        summary: "whether a text, a list or an object is empty, or null; blanks are not empty",
        examples: &[example("{{empty trigger.body.Email}}", "{}", "true"), example("{{empty ' '}}", "{}", "false")],
        is_volatile: false,
        eval: Eval::Strict(empty),
    },
    HelperSpec {
        name: "first",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        options: &[],
        summary: "the first item of a list (null when empty) or the first character of a text",
        examples: &[example("{{first (split trigger.body.Source '|')}}", r#"{"Source":"a|b"}"#, r#""a""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| end(given, <[Value]>::first, |text| text.chars().next())),
    },
    HelperSpec {
        name: "last",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["value"], kinds: &[Kind::TextOrList] },
        options: &[],
        summary: "the last item of a list (null when empty) or the last character of a text",
        examples: &[example(
            "{{last (split trigger.body.Email '@')}}",
            r#"{"Email":"a@contoso.com"}"#,
            r#""contoso.com""#,
        )],
        is_volatile: false,
        eval: Eval::Strict(|given| end(given, <[Value]>::last, |text| text.chars().next_back())),
    },
    HelperSpec {
        name: "join",
        aliases: &[],
        arguments: Signature { min: 2, max: 2, names: &["list", "separator"], kinds: &[Kind::List, Kind::Text] },
        options: &[],
        summary: "the items of a list as one text with the separator between them",
        examples: &[example("{{join trigger.body.Tags ', '}}", r#"{"Tags":["a",1,null,true]}"#, r#""a, 1, , true""#)],
        is_volatile: false,
        eval: Eval::Strict(join),
    },
    HelperSpec {
        name: "createArray",
        aliases: &[],
        arguments: Signature { min: 1, max: usize::MAX, names: &["item", "item"], kinds: &[Kind::Any] },
        options: &[],
        summary: "a list of the arguments",
        examples: &[example("{{createArray trigger.body.A 'b' 1}}", r#"{"A":"a"}"#, r#"["a","b",1]"#)],
        is_volatile: false,
        eval: Eval::Strict(create_array),
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

fn create_array(given: &Given<'_>) -> Result<Value, RenderError> {
    let mut bytes = 0;
    for at in 0..given.len() {
        bytes += weight(given.value(at));
        given.fits(bytes)?;
    }
    Ok((0..given.len()).map(|at| given.value(at).clone()).collect())
}

/// About how many bytes a value takes: a list that holds the body many times must not fill the memory.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 1,
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>() + 1,
        _ => 1,
    }
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

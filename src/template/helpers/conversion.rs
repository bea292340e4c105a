//! From one kind to another: `string`, `json`, …

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::print;

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
];

fn json(given: &Given<'_>) -> Result<Value, RenderError> {
    let Value::String(text) = given.value(0) else { return Err(given.wants(0, "a text", given.value(0))) };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| {
        // The parser's own message could repeat the text.
        given.fail(format_args!("got a text that is not JSON (line {}, column {})", error.line(), error.column()))
    })
}

//! Keys of actions: the schema of what a flow writes, and the rendered values of it, read without ever repeating them.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::run::Failure;
use crate::template::kind_of;

/// Reads rendered inputs into an action's keys. The failure names the key and what was wrong with it, never its value.
pub(super) fn read<T: DeserializeOwned>(inputs: &Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(inputs)
        .map_err(|error| Failure::terminal("wrong_type", format!("`{}`: {}", error.path(), error.inner())))
}

/// A scalar as text: numbers and booleans as JSON prints them. `None` for null; the error says what it is instead.
pub(super) fn scalar(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(format!("wants a text, the template gave {}; write {{{{string …}}}} for its JSON", kind_of(value)))
        }
    }
}

/// A text, after rendering: numbers and booleans are printed, lists and objects refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar(&Value::deserialize(deserializer)?).map(|text| Self(text.unwrap_or_default())).map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Names with texts, in the order of the file. A value that renders to null is left out; a list gives its name once
/// for each of its items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut pairs = Vec::new();
        match Value::deserialize(deserializer)? {
            Value::Null => {}
            Value::Object(entries) => {
                for (name, value) in entries {
                    let values = if let Value::Array(items) = value { items } else { vec![value] };
                    for value in &values {
                        let text = scalar(value).map_err(|why| D::Error::custom(format!("`{name}` {why}")))?;
                        pairs.extend(text.map(|text| (name.clone(), text)));
                    }
                }
            }
            other => return Err(D::Error::custom(format!("wants names with values, got {}", kind_of(&other)))),
        }
        Ok(Self(pairs))
    }
}

impl schemars::JsonSchema for Pairs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pairs".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let scalar = || serde_json::json!({ "type": ["string", "number", "boolean"] });
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "anyOf": [scalar(), { "type": "array", "items": scalar() }] }
        })
    }
}

/// Whether `name` may stand as a header's name (RFC 9110 `token`).
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// One line for a header: control characters, line and paragraph separators and bidirectional overrides become one
/// space each run, so that no value can start a header of its own or disguise one.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.chars() {
        let unsafe_character = character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if unsafe_character {
            gap = true;
            continue;
        }
        if gap && !line.is_empty() && !line.ends_with(' ') && character != ' ' {
            line.push(' ');
        }
        gap = false;
        line.push(character);
    }
    line.trim().to_owned()
}

/// Headers as they may be sent: values on one line. A bad name is the flow's fault and fails the action.
pub(super) fn headers(pairs: Pairs) -> Result<Vec<(String, String)>, Failure> {
    pairs
        .0
        .into_iter()
        .map(|(name, value)| {
            if is_header_name(&name) {
                Ok((name, one_line(&value)))
            } else {
                Err(Failure::terminal("bad_header", format!("`{name}` is not a header name")))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn header_values_are_one_line() {
        assert_eq!(one_line("evil\r\nBcc: v@x"), "evil Bcc: v@x");
        assert_eq!(one_line("a\u{2028}b\u{202e}c\0\u{7}d \n e"), "a b c d  e");
        assert_eq!(one_line("\r\n  plain 名 😀\t"), "plain 名 😀");
    }

    #[test]
    fn pairs_drop_null_and_repeat_lists() {
        let pairs: Pairs = read(&json!({"a": 1, "b": null, "c": ["x", null, true]})).expect("pairs");
        let want = [("a", "1"), ("c", "x"), ("c", "true")];
        assert_eq!(pairs.0, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn failures_name_the_key_and_never_the_value() {
        #[derive(Debug, Deserialize)]
        struct Keys {
            #[expect(dead_code, reason = "only its reading is tested")]
            subject: Text,
        }
        let failure = read::<Keys>(&json!({"subject": {"secret": "lead"}})).expect_err("an object is no text");
        assert_eq!(failure.code, "wrong_type");
        assert!(failure.message.starts_with("`subject`: wants a text"), "{}", failure.message);
        assert!(!failure.message.contains("lead"));
    }
}

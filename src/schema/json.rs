//! JSON as senders mean it: one reading or none. Nesting is counted before anything is built, a key that stands twice
//! in one object is refused (two readers would pick different values), and every refusal names line and column.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Nesting that the parser itself can do; a higher limit in the settings is cut to it.
const PARSER_DEPTH_MAX: usize = 127;

/// How [`Strict`] tells a duplicate key from a syntax error.
const DUPLICATE_KEY: &str = "a key stands twice in one object";

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// `invalid_json`, `json_too_deep` or `duplicate_json_key`.
    pub code: &'static str,
    /// JSON pointer of the value at which parsing stopped.
    pub pointer: String,
    /// One line with line and column, without any of the text.
    pub message: String,
}

/// Parses `text`, which must hold one JSON value and nothing else. `what` is what messages call it: `the body`.
pub fn parse(text: &str, what: &str, depth_max: usize) -> Result<Value, JsonError> {
    let depth_max = depth_max.min(PARSER_DEPTH_MAX);
    if let Some(offset) = too_deep_at(text.as_bytes(), depth_max) {
        let (line, column) = place(text, offset);
        let message = format!("the JSON is nested deeper than {depth_max} levels at line {line} column {column}");
        return Err(JsonError { code: "json_too_deep", pointer: String::new(), message });
    }
    let mut source = serde_json::Deserializer::from_str(text);
    match Strict::deserialize(&mut source).and_then(|value| source.end().map(|()| value)) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(explain(text, what, &error)),
    }
}

/// The byte offset of the first bracket that opens a level too many. Brackets inside texts do not count.
fn too_deep_at(text: &[u8], depth_max: usize) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.iter().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Some(offset);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What is wrong. The pointer takes a second pass, which only refused texts pay for.
fn explain(text: &str, what: &str, error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), characters(text, error.line(), error.column()));
    let whole = error.to_string();
    let reason = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(reason, _)| reason);
    let (code, message) = if error.is_data() {
        ("duplicate_json_key", format!("{DUPLICATE_KEY} at line {line} column {column}"))
    } else {
        ("invalid_json", format!("{what} is not JSON: {reason} at line {line} column {column}"))
    };
    JsonError { code, pointer: pointer(text), message }
}

/// The JSON pointer of the value at which parsing stopped.
fn pointer(text: &str) -> String {
    use serde_path_to_error::Segment;
    let mut source = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, Strict>(&mut source) else {
        return String::new();
    };
    let segments = error.path().iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    segments.collect()
}

/// One-based line and column in characters of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The parser counts columns in bytes; people count characters.
fn characters(text: &str, line: usize, column_bytes: usize) -> usize {
    let line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    line.get(..column_bytes).map_or(column_bytes, |before| before.chars().count())
}

/// A value none of whose objects has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(DUPLICATE_KEY));
            }
            let Strict(value) = map.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str, depth_max: usize) -> Result<Value, JsonError> {
        super::parse(text, "the body", depth_max)
    }

    fn refused(text: &str) -> JsonError {
        parse(text, 64).expect_err("must be refused")
    }

    #[test]
    fn values_keep_their_types() {
        let text = r#"{"a":[1,-2,1.5,9007199254740993,18446744073709551615,true,null,"x\u00e9"],"b":{}}"#;
        assert_eq!(parse(text, 64).expect("fits"), serde_json::from_str::<Value>(text).expect("same"));
    }

    #[test]
    fn a_broken_body_names_line_column_and_pointer() {
        let problem = refused("{\n  \"UserDetails\": {\n    \"FirstName\": \"é\" \"LastName\": 1\n  }\n}");
        assert_eq!(problem.code, "invalid_json");
        assert!(problem.message.contains("at line 3 column 22"), "{}", problem.message);
        assert_eq!(problem.pointer, "/UserDetails");
    }

    #[test]
    fn a_lone_surrogate_trailing_text_and_huge_numbers_are_not_json() {
        for text in [r#"{"a":"\ud800"}"#, "{} {}", "1e999", "{'a':1}", "nul", "[1,]", "\u{1}"] {
            assert_eq!(refused(text).code, "invalid_json", "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_object() {
        let problem = refused(r#"{"a":{"Email":"x@example.com","Email":"y@example.com"}}"#);
        assert_eq!((problem.code, problem.pointer.as_str()), ("duplicate_json_key", "/a"));
        assert!(!problem.message.contains("example.com"));
        assert!(parse(r#"{"a":{"x":1},"b":{"x":1}}"#, 64).is_ok());
    }

    #[test]
    fn nesting_is_counted_outside_texts_only() {
        assert!(parse(&format!("{}{}", "[".repeat(64), "]".repeat(64)), 64).is_ok());
        assert_eq!(refused(&format!("{}{}", "[".repeat(65), "]".repeat(65))).code, "json_too_deep");
        assert_eq!(refused(&"{\"a\":".repeat(100_000)).code, "json_too_deep");
        assert!(parse(&json!({"a": "[".repeat(200), "b": "\\\"[[["}).to_string(), 2).is_ok());
        assert!(refused("[1,\n  [2, [3]]]".replace("[3]", &"[".repeat(99)).as_str()).message.contains("line 2"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_as_the_crate_parses_it_or_refused(text in r#"[\[\]{}":,a0-9. \\u\n-]{0,40}"#) {
            if let Ok(value) = parse(&text, 64) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).expect("the crate accepts it too"));
            }
        }
    }
}

//! What the actions on records share: which record is meant, which fields are sent, in which order they come.

use serde_json::{Map, Value};

use super::input;
use crate::connectors::Target;
use crate::flow::catalogue::OwnFinding;
use crate::run::Failure;
use crate::template::kind_of;

/// The outputs of every action that writes a record.
pub(super) const WRITTEN: &[(&str, &str)] = &[
    ("id", "the record's id"),
    ("url", "where people see it, or null"),
    ("outcome", "`created`, `updated`, or `duplicate` when it was there already and stayed as it was"),
    ("record", "its fields as they were sent, or as the system gave them back"),
    ("raw", "the system's answer, or null"),
];

/// `id` or `key` of rendered inputs. Read from them as they are: a null is a value that is missing, not a key that is.
pub(super) fn target(inputs: &Value) -> Result<Target, Failure> {
    match (inputs.get("id"), inputs.get("key")) {
        (Some(id), None) => {
            let id = input::scalar(id).map_err(|why| wrong_type(&format!("`id` {why}")))?.unwrap_or_default();
            let id = id.trim();
            if id.is_empty() { Err(blank_key("`id`")) } else { Ok(Target::Id(id.to_owned())) }
        }
        (None, Some(Value::Object(key))) if !key.is_empty() => {
            for (field, value) in key {
                match value {
                    Value::Null => return Err(blank_key(&format!("`key.{field}`"))),
                    Value::String(text) if text.trim().is_empty() => {
                        return Err(blank_key(&format!("`key.{field}`")));
                    }
                    Value::Array(_) | Value::Object(_) => {
                        return Err(wrong_type(&format!("`key.{field}` wants a value, got {}", kind_of(value))));
                    }
                    _ => {}
                }
            }
            Ok(Target::Key(key.clone()))
        }
        (None, Some(Value::Object(_) | Value::Null)) => Err(blank_key("`key`")),
        (None, Some(other)) => Err(wrong_type(&format!("`key` wants field names with values, got {}", kind_of(other)))),
        _ => Err(Failure::terminal("missing_key", "one of `id` and `key` must say which record is meant")),
    }
}

/// A key without a value would fit any record, or make one that nobody finds again.
fn blank_key(what: &str) -> Failure {
    Failure::terminal("blank_key", format!("{what} has no value, so no record can be meant"))
}

fn wrong_type(message: &str) -> Failure {
    Failure::terminal("wrong_type", message)
}

/// The fields of rendered inputs: an object.
pub(super) fn object(name: &str, value: Value) -> Result<Map<String, Value>, Failure> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type(&format!("`{name}` wants field names with values, got {}", kind_of(&other)))),
    }
}

/// Fields that rendered to null are left out: the system's own defaults apply to them.
pub(super) fn without_nulls(fields: Map<String, Value>) -> Map<String, Value> {
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// What a change sends: no nulls, and no blank texts unless `send_blank`, so that an empty field of a lead does not wipe
/// what is known already.
pub(super) fn changes(fields: Map<String, Value>, send_blank: bool) -> Map<String, Value> {
    let is_blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    fields.into_iter().filter(|(_, value)| !value.is_null() && (send_blank || !is_blank(value))).collect()
}

/// What `check` says of `id` and `key`: exactly one of them, and a key that names a field.
pub(super) fn check_target(raw: &Value) -> Vec<OwnFinding> {
    let finding = |pointer: String, code, message: &str, help: &str| OwnFinding {
        pointer,
        code,
        message: message.to_owned(),
        help: Some(help.to_owned()),
    };
    match (raw.get("id"), raw.get("key")) {
        (Some(_), Some(_)) => {
            vec![finding("/key".into(), "both_keys", "`id` and `key` both say which record is meant", "remove one")]
        }
        (None, None) => vec![finding(
            String::new(),
            "missing_key",
            "nothing says which record is meant",
            "add  id: …  or  key: { field: value }",
        )],
        (None, Some(Value::Object(key))) if key.is_empty() => vec![finding(
            "/key".into(),
            "invalid_value",
            "`key` names no field, so every record would be meant",
            "write  key: { emailaddress1: \"{{trigger.body.UserDetails.Email}}\" }",
        )],
        (None, Some(Value::Object(key))) => check_values("key", key),
        _ => Vec::new(),
    }
}

/// Fields are compared with single values.
pub(super) fn check_values(name: &str, fields: &Map<String, Value>) -> Vec<OwnFinding> {
    let odd = fields.iter().filter(|(_, value)| value.is_array() || value.is_object());
    odd.map(|(field, value)| OwnFinding {
        pointer: crate::yaml::child(&format!("/{name}"), field),
        code: "wrong_type",
        message: format!("`{field}` is compared with one value, this is {}", kind_of(value)),
        help: None,
    })
    .collect()
}

/// One text, or several: `a, b`, or a list.
pub(super) fn words(value: Option<&Value>) -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).flat_map(split).collect(),
        _ => Vec::new(),
    }
}

/// `createdon desc` as a field and whether it goes down; the error says what it should be.
pub(super) fn order(word: &str) -> Result<(String, bool), String> {
    let mut parts = word.split_whitespace();
    let (field, way, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("asc"), parts.next());
    if let Some(plain) = field.strip_prefix(['-', '+']).filter(|_| rest.is_none()) {
        let way = if field.starts_with('-') { "desc" } else { "asc" };
        return Err(format!("write `{plain} {way}`"));
    }
    match way.to_ascii_lowercase().as_str() {
        _ if rest.is_some() || field.is_empty() => Err("write a field and, behind it, `asc` or `desc`".to_owned()),
        "asc" => Ok((field.to_owned(), false)),
        "desc" => Ok((field.to_owned(), true)),
        _ => Err(format!("write `{field} asc` or `{field} desc`")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_meant_by_its_id_or_by_a_whole_key() {
        assert_eq!(target(&json!({"id": " 7 "})), Ok(Target::Id("7".into())));
        assert_eq!(target(&json!({"id": 7})), Ok(Target::Id("7".into())));
        let key = Map::from_iter([("email".to_owned(), json!("a@b.example"))]);
        assert_eq!(target(&json!({"key": key})), Ok(Target::Key(key)));
        for (inputs, code) in [
            (json!({"id": null}), "blank_key"),
            (json!({"id": "  "}), "blank_key"),
            (json!({"id": {}}), "wrong_type"),
            (json!({"key": null}), "blank_key"),
            (json!({"key": {}}), "blank_key"),
            (json!({"key": {"a": 1, "b": null}}), "blank_key"),
            (json!({"key": {"a": ""}}), "blank_key"),
            (json!({"key": {"a": [1]}}), "wrong_type"),
            (json!({"key": "x"}), "wrong_type"),
            (json!({}), "missing_key"),
        ] {
            assert_eq!(target(&inputs).expect_err("refused").code, code, "{inputs}");
        }
    }

    #[test]
    fn blank_texts_are_sent_only_when_asked() {
        let fields =
            || Map::from_iter([("a", json!("")), ("b", json!(null)), ("c", json!(0))].map(|(k, v)| (k.into(), v)));
        assert_eq!(Value::Object(changes(fields(), false)), json!({"c": 0}));
        assert_eq!(Value::Object(changes(fields(), true)), json!({"a": "", "c": 0}));
        assert_eq!(Value::Object(without_nulls(fields())), json!({"a": "", "c": 0}));
    }

    #[test]
    fn one_of_id_and_key_is_told_before_a_run() {
        let codes = |raw: Value| -> Vec<&str> { check_target(&raw).into_iter().map(|found| found.code).collect() };
        assert_eq!(codes(json!({"id": "{{x}}"})), [""; 0]);
        assert_eq!(codes(json!({"key": {"a": "{{x}}"}})), [""; 0]);
        assert_eq!(codes(json!({"key": "{{x}}"})), [""; 0]);
        assert_eq!(codes(json!({})), ["missing_key"]);
        assert_eq!(codes(json!({"id": 1, "key": {"a": 1}})), ["both_keys"]);
        assert_eq!(codes(json!({"key": {}})), ["invalid_value"]);
        assert_eq!(codes(json!({"key": {"a": [1]}})), ["wrong_type"]);
    }

    #[test]
    fn orders_are_a_field_and_a_way() {
        assert_eq!(order("createdon"), Ok(("createdon".into(), false)));
        assert_eq!(order("createdon  DESC"), Ok(("createdon".into(), true)));
        assert_eq!(order("-createdon"), Err("write `createdon desc`".into()));
        for odd in ["", "a down", "a desc b"] {
            assert!(order(odd).is_err(), "{odd}");
        }
        assert_eq!(words(Some(&json!("a, b desc"))), ["a", "b desc"]);
        assert_eq!(words(Some(&json!(["a", "b,c"]))), ["a", "b", "c"]);
        assert!(words(None).is_empty());
    }
}

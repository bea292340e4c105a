//! The part of JSON Schema that schemars writes and the linter reads.

use serde_json::Value;

use crate::schema::types::types;
use crate::template::Destination;

/// The destination that a schema's `x-template` names.
pub(super) fn destination(schema: &Value) -> Option<Destination> {
    match schema.get("x-template")?.as_str()? {
        "html" => Some(Destination::Html),
        "url" => Some(Destination::Url),
        _ => Some(Destination::Plain),
    }
}

/// The values that `const` or `enum` allow; `None` when neither stands there.
pub(super) fn constant_list(schema: &Value) -> Option<Vec<&Value>> {
    match schema.get("const") {
        Some(constant) => Some(vec![constant]),
        None => Some(schema.get("enum")?.as_array()?.iter().collect()),
    }
}

/// Whether `schema` says that a value may be a map.
pub(super) fn accepts_map(schema: &Value) -> bool {
    types(schema).contains(&"object")
}

/// What a value is called where YAML is spoken of: JSON's objects are maps there.
pub(in crate::flow) fn kind_in_yaml(value: &Value) -> &'static str {
    if value.is_object() { "a map" } else { crate::template::kind_of(value) }
}

/// The types that `alternatives` allow, in words: `a text or a list`.
pub(super) fn expected_types(alternatives: &[&Value]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for schema in alternatives {
        let constants = constant_list(schema).unwrap_or_default();
        let of_constants = constants.iter().map(|constant| if constant.is_string() { "string" } else { "any" });
        for name in types(schema).into_iter().chain(of_constants) {
            let word = match name {
                "boolean" => "true or false",
                "integer" => "a whole number",
                "number" => "a number",
                "string" => "a text",
                "array" => "a list",
                "object" => "a map",
                _ => continue,
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "another value".to_owned(),
    }
}

/// What is wrong with the size of a text, list or map.
pub(super) fn size_problem(schema: &Value, value: &Value) -> Option<String> {
    let (size, least, most, what) = match value {
        Value::String(text) => (text.chars().count(), "minLength", "maxLength", "character"),
        Value::Array(items) => (items.len(), "minItems", "maxItems", "item"),
        Value::Object(entries) => (entries.len(), "minProperties", "maxProperties", "key"),
        _ => return None,
    };
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let size = size as u64;
    if bound(least).is_some_and(|least| size < least) {
        return Some(if size == 0 { "is empty".into() } else { format!("has fewer than {} {what}s", bound(least)?) });
    }
    let most = bound(most).filter(|most| size > *most)?;
    Some(if most == 0 { "must be empty".into() } else { format!("has more than {most} {what}s") })
}

/// What is wrong with the size of a number.
pub(super) fn range_problem(schema: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        return Some(format!("must be at least {least}, this is {value}"));
    }
    let most = bound("maximum").filter(|most| number > *most)?;
    Some(format!("must be at most {most}, this is {value}"))
}

//! What `leadflow settings` shows: every key, its value, and the place that it comes from. Secrets are `***`.

use serde_json::Value;

use super::load::{DEFAULTS_NAME, Origins};
use crate::yaml::{child, dotted};

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Words in the user's own keys (headers, query parameters) whose values are masked too.
const SECRET_WORDS: &[&str] = &["authorization", "cookie", "key", "token", "secret", "password", "signature"];

/// One line of `leadflow settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Dotted path: `connections.crm.type`.
    pub key: String,
    /// The value on one line.
    pub value: String,
    /// `leadflow.yaml:12`, or `default`.
    pub origin: String,
}

/// Every key that holds, in the order of the reference.
pub fn rows(origins: &Origins) -> Vec<Row> {
    let mut rows = Vec::new();
    walk(origins, "", &origins.value, &mut rows);
    rows
}

fn walk(origins: &Origins, pointer: &str, value: &Value, rows: &mut Vec<Row>) {
    if let Value::Object(entries) = value
        && !entries.is_empty()
    {
        for (key, value) in entries {
            walk(origins, &child(pointer, key), value, rows);
        }
        return;
    }
    let value = shown(origins, pointer, value);
    rows.push(Row { key: dotted(pointer), value, origin: origin(origins, pointer) });
}

fn shown(origins: &Origins, pointer: &str, value: &Value) -> String {
    let below = |set: &std::collections::BTreeSet<String>| set.iter().any(|at| is_at_or_below(pointer, at));
    let referenced = origins.references.iter().any(|at| is_at_or_below(at, pointer));
    let own_key = below(&origins.marks.free);
    let last = pointer.rsplit('/').next().unwrap_or_default().to_lowercase();
    let telling = own_key && SECRET_WORDS.iter().any(|word| last.contains(word));
    if !value.is_null() && (below(&origins.marks.secrets) || telling || (own_key && referenced)) {
        return MASK.into();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_at_or_below(pointer: &str, top: &str) -> bool {
    pointer.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn origin(origins: &Origins, pointer: &str) -> String {
    if origins.layers.layer(pointer) == 0 {
        return DEFAULTS_NAME.into();
    }
    let place = origins.layers.value_place(pointer);
    format!("{}:{}", place.file, place.line)
}

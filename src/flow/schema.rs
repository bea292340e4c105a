//! The schemas of the flow file: for the linter as they are declared, for editors in the form they do best with.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::catalogue::ActionSpec;
use super::format::{CommonKeys, FlowFile};

/// The schema of a flow file's top level, as the linter reads it.
pub(super) fn of_flow() -> Value {
    schemars::schema_for!(FlowFile).to_value()
}

/// The schema of an action of no known type: the common keys, and others that nobody can judge.
pub(super) fn of_any_action() -> Value {
    let mut schema = common().clone();
    schema["additionalProperties"] = Value::Bool(true);
    schema
}

/// The schema of an action: the common keys and those of its type, nothing else.
pub(super) fn of_action(spec: &ActionSpec) -> Value {
    let mut schema = common().clone();
    let own = spec.keys.as_value();
    for part in ["properties", "$defs"] {
        let mut merged: Map<String, Value> = schema[part].as_object().cloned().unwrap_or_default();
        merged.extend(own.get(part).and_then(Value::as_object).cloned().unwrap_or_default());
        schema[part] = Value::Object(merged);
    }
    let own_required = own.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let connection = spec.connection_required.then(|| json!("connection"));
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        for key in connection.into_iter().chain(own_required) {
            if !required.contains(&key) {
                required.push(key);
            }
        }
    }
    schema["additionalProperties"] = Value::Bool(false);
    schema
}

/// Whether `key` is one of the keys that every action has.
pub(super) fn is_common_key(key: &str) -> bool {
    common()["properties"].get(key).is_some()
}

fn common() -> &'static Value {
    static COMMON: OnceLock<Value> = OnceLock::new();
    COMMON.get_or_init(|| schemars::schema_for!(CommonKeys).to_value())
}

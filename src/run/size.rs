//! How large a value is, without writing it out.

use serde_json::Value;

/// The size of `value` as JSON in bytes, roughly, counted no further than `limit`.
pub fn size_of(value: &Value, limit: usize) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => {
            let mut sum = 2;
            for item in items {
                sum += size_of(item, limit) + 1;
                if sum > limit {
                    break;
                }
            }
            sum
        }
        Value::Object(entries) => {
            let mut sum = 2;
            for (key, item) in entries {
                sum += key.len() + 4 + size_of(item, limit);
                if sum > limit {
                    break;
                }
            }
            sum
        }
    }
}

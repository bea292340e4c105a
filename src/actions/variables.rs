//! What the three actions that change a variable share.

use serde_json::Value;

use crate::run::Failure;
use crate::run::variables::{Change, How};

/// What all of them are told.
#[derive(Debug, serde::Deserialize)]
struct Rendered {
    variable: String,
    #[serde(default)]
    value: Option<Value>,
}

/// The change that the rendered inputs of an action of type `kind` ask for.
pub fn read(kind: &str, inputs: &Value) -> Result<Change, Failure> {
    let Rendered { variable, value } = super::input::read(inputs)?;
    let how = match kind {
        "append_variable" => How::Append(value.unwrap_or_default()),
        // Absent is 1; null is a value that came out as null, and no number.
        "increment_variable" if inputs.get("value").is_none() => How::Increment(Value::from(1)),
        "increment_variable" => How::Increment(value.unwrap_or_default()),
        _ => How::Set(value.unwrap_or_default()),
    };
    Ok(Change { variable, how })
}

//! The `compose` action: builds a value that later actions use.

use serde_json::Value;

use super::{Action, Next, StartContext};
use crate::connectors::declared;
use crate::flow::catalogue::ActionSpec;
use crate::run::Failure;

/// The `compose` action.
#[derive(Debug, Clone, Copy)]
pub struct Compose;

/// What `compose` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Any value; texts in it may be templates. It is the action's outputs.
    #[schemars(required, extend("x-template" = "plain"))]
    inputs: Option<Value>,
}

impl Action for Compose {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "compose",
            summary: "builds a value that later actions use",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the value of `inputs`: `actions.NAME.outputs`, `actions.NAME.outputs.KEY`")],
            example: "name: full_name\ntype: compose\ninputs: \"{{trigger.body.UserDetails.FirstName}} {{trigger.body.UserDetails.LastName}}\"\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        Ok(Next::Done(keys.inputs.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_value_keeps_its_type() {
        for value in [json!(1.5), json!(null), json!({"a": [1]}), json!("x")] {
            let next = Compose.start(&json!({ "inputs": value }), &StartContext::for_tests());
            assert_eq!(next, Ok(Next::Done(value)));
        }
    }
}

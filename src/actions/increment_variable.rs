//! The `increment_variable` action: adds a number to a variable.

use serde_json::Value;

use super::{Action, Next, StartContext, variables};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;

/// The name of its type.
const KIND: &str = "increment_variable";

/// The `increment_variable` action.
#[derive(Debug, Clone, Copy)]
pub struct IncrementVariable;

/// What `increment_variable` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; `variables::read` reads them")]
struct Keys {
    /// The variable, one of `variables:` at the top of the flow.
    #[schemars(required, extend("x-fixed" = true))]
    variable: Option<String>,
    /// What is added; below zero it is taken away. Default: 1.
    #[schemars(extend("x-template" = "plain", "default" = 1))]
    value: Option<Value>,
}

impl Action for IncrementVariable {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "adds a number to a variable",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: count_attempt\ntype: increment_variable\nvariable: attempts\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        variables::read(KIND, inputs).map(Next::SetVariable)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::variables::{Change, How};

    #[test]
    fn it_asks_for_a_change() {
        let next = |inputs: Value| IncrementVariable.start(&inputs, &StartContext::for_tests());
        let change = |how| Ok(Next::SetVariable(Change { variable: "x".into(), how }));
        assert_eq!(next(json!({"variable": "x"})), change(How::Increment(json!(1))));
        assert_eq!(next(json!({"variable": "x", "value": -2})), change(How::Increment(json!(-2))));
        assert_eq!(
            next(json!({"variable": "x", "value": null})),
            change(How::Increment(json!(null))),
            "no number, told later"
        );
    }
}

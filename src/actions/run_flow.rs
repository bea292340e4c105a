//! The `run_flow` action: calls another flow and waits for what it responds.

use serde_json::Value;

use super::{Action, Next, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;

/// The name of its type.
pub const KIND: &str = "run_flow";

/// The `run_flow` action.
#[derive(Debug, Clone, Copy)]
pub struct RunFlow;

/// What `run_flow` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The other flow's name.
    #[schemars(required, length(min = 1), extend("x-fixed" = true))]
    flow: Option<String>,
    /// The body that its trigger gets: any value; texts in it may be templates.
    #[schemars(extend("x-template" = "plain"))]
    body: Option<Value>,
}

/// A call of another flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its name.
    pub flow: String,
    /// The body of its trigger.
    pub body: Value,
}

impl Action for RunFlow {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "calls another flow and waits until it responds or ends",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the `body` that the other flow responds with; null when it ends well without")],
            example: "name: score\ntype: run_flow\nflow: score-lead\nbody:\n  email: \"{{trigger.body.UserDetails.Email}}\"\n",
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
        Ok(Next::StartRun(Call { flow: keys.flow.unwrap_or_default(), body: keys.body.unwrap_or_default() }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_keeps_its_types() {
        let next = RunFlow.start(&json!({"flow": "b", "body": {"n": 1}}), &StartContext::for_tests());
        assert_eq!(next, Ok(Next::StartRun(Call { flow: "b".into(), body: json!({"n": 1}) })));
        let next = RunFlow.start(&json!({"flow": "b"}), &StartContext::for_tests());
        assert_eq!(next, Ok(Next::StartRun(Call { flow: "b".into(), body: Value::Null })));
    }
}

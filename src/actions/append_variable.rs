//! The `append_variable` action: adds to the end of a variable: an item to a list, text to a text.

use serde_json::Value;

use super::{Action, Next, StartContext, variables};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;

/// The name of its type.
const KIND: &str = "append_variable";

/// The `append_variable` action.
#[derive(Debug, Clone, Copy)]
pub struct AppendVariable;

/// What `append_variable` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; `variables::read` reads them")]
struct Keys {
    /// The variable, one of `variables:` at the top of the flow.
    #[schemars(required, extend("x-fixed" = true))]
    variable: Option<String>,
    /// One more item of a list, or text to write behind a text; texts in it may be templates.
    #[schemars(required, extend("x-template" = "plain"))]
    value: Option<Value>,
}

impl Action for AppendVariable {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "adds to the end of a variable: an item to a list, text to a text",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: collect_name\ntype: append_variable\nvariable: names\nvalue: \"{{trigger.body.UserDetails.FirstName}}\"\n",
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
        let next = |inputs: Value| AppendVariable.start(&inputs, &StartContext::for_tests());
        let change = |how| Ok(Next::SetVariable(Change { variable: "x".into(), how }));
        assert_eq!(next(json!({"variable": "x", "value": [1]})), change(How::Append(json!([1]))));
        assert_eq!(next(json!({"variable": "x", "value": null})), change(How::Append(json!(null))));
    }
}

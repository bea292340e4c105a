//! The `set_variable` action: gives a variable a value.

use serde_json::Value;

use super::{Action, Next, StartContext, variables};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;

/// The name of its type.
const KIND: &str = "set_variable";

/// The `set_variable` action.
#[derive(Debug, Clone, Copy)]
pub struct SetVariable;

/// What `set_variable` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; `variables::read` reads them")]
struct Keys {
    /// The variable, one of `variables:` at the top of the flow.
    #[schemars(required, extend("x-fixed" = true))]
    variable: Option<String>,
    /// Its new value, of the type that the initial value fixed; texts in it may be templates.
    #[schemars(required, extend("x-template" = "plain"))]
    value: Option<Value>,
}

impl Action for SetVariable {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "gives a variable a value",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: remember_country\ntype: set_variable\nvariable: country\nvalue: \"{{trigger.body.UserDetails.Country}}\"\n",
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
        let next = |inputs: Value| SetVariable.start(&inputs, &StartContext::for_tests());
        let change = |how| Ok(Next::SetVariable(Change { variable: "x".into(), how }));
        assert_eq!(next(json!({"variable": "x", "value": [1]})), change(How::Set(json!([1]))));
        assert_eq!(next(json!({"variable": "x", "value": null})), change(How::Set(json!(null))));
    }
}

//! The `select` action: one value for each item of a list.

use serde_json::Value;

use super::{Action, Next, PerItem, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;

/// The `select` action.
#[derive(Debug, Clone, Copy)]
pub struct Select;

/// What `select` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; the items are rendered one by one")]
struct Keys {
    /// A list, or a template that gives one; null is an empty one.
    #[schemars(required, schema_with = "super::list_or_template")]
    from: Option<Value>,
    /// What becomes of each item: any value; texts in it may be templates, with `item` and `item_index` in scope.
    #[schemars(required, extend("x-template" = "plain", "x-per-item" = true))]
    map: Option<Value>,
}

impl Action for Select {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "select",
            summary: "makes a list with one value for each item of another one",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the list, in the order of `from`")],
            example: "name: contacts\ntype: select\nfrom: \"{{trigger.body.Contacts}}\"\nmap:\n  number: \"{{item_index}}\"\n  email: \"{{toLower item.Email}}\"\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let per_item = PerItem::new(inputs);
        Ok(Next::Done((0..per_item.items().len()).map(|index| per_item.get("map", index).clone()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_gives_what_was_rendered_for_each_item() {
        let select = |inputs: Value| Select.start(&inputs, &StartContext::for_tests());
        let rendered = json!({"from": [1, 2], "map": "{{item}}", "per_item": {"map": ["a", "b"]}});
        assert_eq!(select(rendered), Ok(Next::Done(json!(["a", "b"]))));
        assert_eq!(select(json!({"from": [1, 2], "map": 7})), Ok(Next::Done(json!([7, 7]))), "a constant");
        assert_eq!(select(json!({"from": [], "map": 7})), Ok(Next::Done(json!([]))));
    }
}

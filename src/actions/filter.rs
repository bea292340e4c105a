//! The `filter` action: those items of a list that a condition is true for.

use serde_json::Value;

use super::{Action, Next, PerItem, StartContext};
use crate::flow::catalogue::{ActionSpec, OwnFinding};
use crate::flow::declared::declared;
use crate::run::Failure;
use crate::template::{Destination, Template, is_template, kind_of};

/// The `filter` action.
#[derive(Debug, Clone, Copy)]
pub struct Filter;

/// What `filter` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; the items are rendered one by one")]
struct Keys {
    /// A list, or a template that gives one; null is an empty one.
    #[schemars(required, schema_with = "super::list_or_template")]
    from: Option<Value>,
    /// Whether an item stays: a template that gives true or false, with `item` and `item_index` in scope.
    #[serde(rename = "where")]
    #[schemars(required, extend("type" = ["boolean", "string"], "x-template" = "plain", "x-per-item" = true))]
    condition: Option<Value>,
}

impl Action for Filter {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "filter",
            summary: "keeps the items of a list that a condition is true for",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the list of those items, in the order of `from`")],
            example: "name: decision_makers\ntype: filter\nfrom: \"{{trigger.body.Contacts}}\"\nwhere: \"{{equals item.Role 'Owner'}}\"\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: Some(check),
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let per_item = PerItem::new(inputs);
        let mut kept = Vec::new();
        for (index, item) in per_item.items().iter().enumerate() {
            match per_item.get("where", index) {
                Value::Bool(true) => kept.push(item.clone()),
                Value::Bool(false) => {}
                other => {
                    let message = format!("`where` must be true or false; for item {index} it is {}", kind_of(other));
                    return Err(Failure::terminal("not_a_boolean", message));
                }
            }
        }
        Ok(Next::Done(Value::Array(kept)))
    }
}

/// `where` is one expression: text never gives true or false.
fn check(raw: &Value) -> Vec<OwnFinding> {
    let Some(text) = raw.get("where").and_then(Value::as_str) else { return Vec::new() };
    let is_condition = is_template(text)
        // A template with a fault of its own is told by the compiler.
        && Template::compile(text, Destination::Plain).map_or(true, |template| template.is_lone_expression());
    let finding = || OwnFinding {
        pointer: "/where".into(),
        code: "not_a_boolean",
        message: "`where` is one expression that gives true or false, this is a text".into(),
        help: Some("write  where: \"{{equals item.NAME 'value'}}\"".into()),
    };
    (!is_condition).then(finding).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(inputs: &Value) -> Result<Value, String> {
        match Filter.start(inputs, &StartContext::for_tests()) {
            Ok(Next::Done(value)) => Ok(value),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.code),
        }
    }

    #[test]
    fn items_stay_whole_and_in_order() {
        let rendered = json!({"from": [{"a": 1}, 2, 3], "where": "{{…}}", "per_item": {"where": [true, false, true]}});
        assert_eq!(filter(&rendered), Ok(json!([{"a": 1}, 3])));
        assert_eq!(filter(&json!({"from": [1], "where": true})), Ok(json!([1])));
        assert_eq!(filter(&json!({"from": [], "where": true})), Ok(json!([])));
    }

    #[test]
    fn a_condition_is_never_truthy() {
        for value in [json!("true"), json!(1), json!(null), json!([])] {
            let rendered = json!({"from": [1], "where": "{{…}}", "per_item": {"where": [value]}});
            assert_eq!(filter(&rendered), Err("not_a_boolean".into()));
        }
    }

    #[test]
    fn text_in_its_place_is_told_before_it_runs() {
        let codes = |text: &str| check(&json!({ "where": text })).len();
        assert_eq!((codes("{{equals item.a 1}}"), codes("item.a"), codes("{{item.a}} x"), codes("{{")), (0, 1, 1, 0));
    }
}

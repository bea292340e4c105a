//! The `list_records` action: reads the records that fit.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{Action, Next, StartContext, records};
use crate::connectors::{self, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind, OwnFinding};
use crate::run::Failure;

/// Records that a list without `limit` gives at most.
pub const LIMIT_DEFAULT: usize = 100;
/// Most records of one list.
pub const LIMIT_MAX: usize = 1000;

/// The `list_records` action.
#[derive(Debug, Clone, Copy)]
pub struct ListRecords;

/// What `list_records` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The connection that keeps the records: a name under `connections:` in leadflow.yaml.
    #[expect(dead_code, reason = "declared here, resolved by the compiler")]
    #[schemars(extend("x-fixed" = true))]
    connection: Option<String>,
    /// The entity (a CRM table): `leads`.
    #[schemars(extend("x-fixed" = true, "minLength" = 1))]
    entity: String,
    /// Fields that must have these values, all of them; null: the field must be empty. Without it, every record fits.
    #[serde(default, rename = "where")]
    #[schemars(extend("x-template" = "plain", "type" = "object"))]
    filter: Option<Value>,
    /// The fields wanted: `name, city`, or a list. Default: all.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    select: Option<Value>,
    /// The order: `createdon desc`, or several (`city, createdon desc`, or a list). Default: the system's own.
    #[serde(default)]
    #[schemars(schema_with = "names")]
    order_by: Option<Value>,
    /// At most so many records, 1 to 1000. Default: 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000), extend("x-fixed" = true, "default" = 100))]
    limit: Option<usize>,
}

/// Names of fields: fixed, because a lead must not choose what is read.
fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-fixed": true, "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
    })
}

impl Action for ListRecords {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "list_records",
            summary: "reads the records that fit",
            keys: declared::<Keys>(),
            outputs: &[("records", "a list of their fields as the system gives them; empty when none fits")],
            example: "name: earlier_leads\ntype: list_records\nconnection: crm\nentity: leads\nwhere:\n  emailaddress1: \"{{trigger.body.UserDetails.Email}}\"\nselect: subject, createdon\norder_by: createdon desc\nlimit: 10\n",
            operation: Some(OperationKind::List),
            connection_required: true,
            blank_guard: None,
            leaves_the_machine: true,
            responds: false,
            check: Some(check),
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        let filter = keys.filter.map(|filter| records::object("where", filter)).transpose()?.unwrap_or_default();
        if let Some((field, _)) = filter.iter().find(|(_, value)| value.is_array() || value.is_object()) {
            let message = format!("`where.{field}` is compared with one value, the template gave a list or an object");
            return Err(Failure::terminal("wrong_type", message));
        }
        let order_by = records::words(keys.order_by.as_ref()).iter().map(|word| records::order(word)).collect();
        let order_by: Result<Vec<_>, String> = order_by;
        Ok(Next::Effect(Box::new(Operation::ListRecords(connectors::ListRecords {
            entity: keys.entity,
            filter,
            select: records::words(keys.select.as_ref()),
            order_by: order_by.map_err(|why| Failure::terminal("invalid_value", format!("`order_by`: {why}")))?,
            limit: keys.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
        }))))
    }
}

fn check(raw: &Value) -> Vec<OwnFinding> {
    let mut findings = match raw.get("where") {
        Some(Value::Object(filter)) => records::check_values("where", filter),
        _ => Vec::new(),
    };
    for word in records::words(raw.get("order_by")) {
        findings.extend(records::order(&word).err().map(|why| OwnFinding {
            pointer: "/order_by".into(),
            code: "invalid_value",
            message: format!("`{word}` is no order"),
            help: Some(why),
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(inputs: &Value) -> Result<connectors::ListRecords, Failure> {
        let Next::Effect(operation) = ListRecords.start(inputs, &StartContext::for_tests())? else {
            panic!("an effect")
        };
        let Operation::ListRecords(list) = *operation else { panic!("a list") };
        Ok(list)
    }

    #[test]
    fn a_list_has_its_defaults_and_its_order() {
        let list = start(&json!({"entity": "leads"})).expect("starts");
        assert_eq!((list.limit, list.filter.len(), list.select.len()), (LIMIT_DEFAULT, 0, 0));
        let list = start(&json!({"entity": "leads", "where": {"a": null, "b": 1}, "select": "a, b",
            "order_by": ["a", "b desc"], "limit": 3}))
        .expect("starts");
        assert_eq!(list.order_by, [("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!((list.select, list.limit), (vec!["a".to_owned(), "b".to_owned()], 3));
        assert_eq!(Value::Object(list.filter), json!({"a": null, "b": 1}));
        assert_eq!(start(&json!({"entity": "l", "where": {"a": [1]}})).expect_err("a list").code, "wrong_type");
    }

    #[test]
    fn an_order_of_another_language_is_told_with_the_right_form() {
        let found = check(&json!({"order_by": "-createdon", "where": {"a": {"gt": 1}}}));
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["wrong_type", "invalid_value"]);
        assert_eq!(found[1].help.as_deref(), Some("write `createdon desc`"));
        assert!(check(&json!({"order_by": "a, b desc", "where": {"a": 1}})).is_empty());
    }
}

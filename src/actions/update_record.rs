//! The `update_record` action: changes a record that is there.

use serde_json::Value;

use super::records::{self, WRITTEN};
use super::{Action, Next, StartContext};
use crate::connectors::{self, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind};
use crate::run::Failure;

/// The `update_record` action.
#[derive(Debug, Clone, Copy)]
pub struct UpdateRecord;

/// What `update_record` is told.
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
    /// The record's id in the system. Either this or `key`.
    #[expect(dead_code, reason = "read from the inputs, where null is a value")]
    #[schemars(extend("x-template" = "plain", "type" = ["string", "integer"]))]
    id: Option<Value>,
    /// The fields, with their values, by which the record is found: exactly one must have them. Either this or `id`.
    #[expect(dead_code, reason = "read from the inputs, where null is a value")]
    #[schemars(extend("x-template" = "plain", "type" = "object"))]
    key: Option<Value>,
    /// Field names with values. A field that renders to null is left as it is, one that renders to blank text too.
    #[schemars(extend("x-template" = "plain", "type" = "object"))]
    fields: Value,
    /// Whether blank texts are sent, which empties fields that had a value. Default: false.
    #[serde(default)]
    #[schemars(extend("x-fixed" = true, "default" = false))]
    send_blank: Option<bool>,
}

impl Action for UpdateRecord {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "update_record",
            summary: "changes a record that is there",
            keys: declared::<Keys>(),
            outputs: WRITTEN,
            example: "name: note_country\ntype: update_record\nconnection: crm\nentity: leads\nid: \"{{trigger.body.LeadId}}\"\nfields:\n  address1_country: \"{{trigger.body.UserDetails.Country}}\"\n",
            operation: Some(OperationKind::Update),
            connection_required: true,
            blank_guard: None,
            leaves_the_machine: true,
            responds: false,
            check: Some(records::check_target),
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        let fields = records::object("fields", keys.fields)?;
        Ok(Next::Effect(Box::new(Operation::UpdateRecord(connectors::UpdateRecord {
            entity: keys.entity,
            target: records::target(inputs)?,
            fields: records::changes(fields, keys.send_blank.unwrap_or_default()),
        }))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_leaves_out_what_is_empty() {
        let inputs = json!({"entity": "leads", "id": "7", "fields": {"a": null, "b": "", "c": 8}});
        let next = UpdateRecord.start(&inputs, &StartContext::for_tests()).expect("starts");
        let Next::Effect(operation) = next else { panic!("an effect") };
        let Operation::UpdateRecord(update) = *operation else { panic!("an update") };
        assert_eq!(Value::Object(update.fields), json!({"c": 8}));
        assert_eq!(update.target, connectors::Target::Id("7".into()));
    }
}

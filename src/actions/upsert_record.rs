//! The `upsert_record` action: changes a record, or makes it when it is not there.

use serde_json::Value;

use super::records::{self, WRITTEN};
use super::{Action, Next, StartContext};
use crate::connectors::{self, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind};
use crate::run::Failure;

/// The `upsert_record` action.
#[derive(Debug, Clone, Copy)]
pub struct UpsertRecord;

/// What `upsert_record` is told.
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
    /// The fields, with their values, by which the record is found; a new one gets them too. Either this or `id`.
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

impl Action for UpsertRecord {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "upsert_record",
            summary: "changes a record, or makes it when it is not there",
            keys: declared::<Keys>(),
            outputs: WRITTEN,
            example: "name: keep_contact\ntype: upsert_record\nconnection: crm\nentity: contacts\nkey:\n  emailaddress1: \"{{trigger.body.UserDetails.Email}}\"\nfields:\n  firstname: \"{{trigger.body.UserDetails.FirstName}}\"\n  lastname: \"{{trigger.body.UserDetails.LastName}}\"\n",
            operation: Some(OperationKind::Upsert),
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
        Ok(Next::Effect(Box::new(Operation::UpsertRecord(connectors::UpsertRecord {
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
    fn blank_texts_are_sent_when_asked() {
        let inputs = json!({"entity": "leads", "key": {"email": "a@b.example"}, "send_blank": true,
            "fields": {"a": null, "b": "", "c": 8}});
        let next = UpsertRecord.start(&inputs, &StartContext::for_tests()).expect("starts");
        let Next::Effect(operation) = next else { panic!("an effect") };
        let Operation::UpsertRecord(upsert) = *operation else { panic!("an upsert") };
        assert_eq!(Value::Object(upsert.fields), json!({"b": "", "c": 8}));
        let connectors::Target::Key(key) = upsert.target else { panic!("a key") };
        assert_eq!(Value::Object(key), json!({"email": "a@b.example"}));
    }
}

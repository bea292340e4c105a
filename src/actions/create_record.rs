//! The `create_record` action: makes a record in a CRM, once, and never an empty one.

use serde_json::Value;

use super::records::{self, WRITTEN};
use super::{Action, Next, StartContext};
use crate::connectors::{self, OnDuplicate, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind};
use crate::run::Failure;

/// The `create_record` action.
#[derive(Debug, Clone, Copy)]
pub struct CreateRecord;

/// What `create_record` is told.
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
    /// Field names with values. A value that is one expression keeps its JSON type; a field that renders to null is
    /// left out, blank text is sent.
    #[schemars(extend("x-template" = "plain", "type" = "object"))]
    fields: Value,
    /// What a duplicate means, where the system recognises one: `ok` (default) succeeds with the existing id,
    /// `update` changes the existing record, `fail` fails the action.
    #[serde(default)]
    on_duplicate: Option<OnDuplicate>,
}

impl Action for CreateRecord {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "create_record",
            summary: "makes a record in a CRM",
            keys: declared::<Keys>(),
            outputs: WRITTEN,
            example: "name: create_lead\ntype: create_record\nconnection: crm\nentity: leads\nfields:\n  subject: \"{{trigger.body.OfferTitle}}\"\n  emailaddress1: \"{{trigger.body.UserDetails.Email}}\"\n  leadsourcecode: 8\n",
            operation: Some(OperationKind::Create),
            connection_required: true,
            blank_guard: Some("fields"),
            leaves_the_machine: true,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        if cx.guard_blank {
            return Err(Failure::terminal(
                "blank_record",
                "every value that came with the lead is empty; constants and defaults do not make a lead",
            ));
        }
        let fields = records::without_nulls(records::object("fields", keys.fields)?);
        Ok(Next::Effect(Box::new(Operation::CreateRecord(connectors::CreateRecord {
            entity: keys.entity,
            fields,
            on_duplicate: keys.on_duplicate.unwrap_or_default(),
        }))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_left_out_and_blank_is_sent() {
        let inputs = json!({"entity": "leads", "fields": {"a": null, "b": "", "c": 8, "d": {"e": null}}});
        let next = CreateRecord.start(&inputs, &StartContext::for_tests()).expect("starts");
        let Next::Effect(operation) = next else { panic!("an effect") };
        let Operation::CreateRecord(create) = *operation else { panic!("a record") };
        assert_eq!(Value::Object(create.fields), json!({"b": "", "c": 8, "d": {"e": null}}));
        assert_eq!((create.entity.as_str(), create.on_duplicate), ("leads", OnDuplicate::Ok));
    }

    #[test]
    fn an_empty_lead_makes_no_record() {
        let cx = StartContext { guard_blank: true, ..StartContext::for_tests() };
        let failure = CreateRecord.start(&json!({"entity": "leads", "fields": {"x": 8}}), &cx).expect_err("blank");
        assert_eq!(failure.code, "blank_record");
        assert_eq!(failure.class, crate::run::Class::Terminal);
    }

    #[test]
    fn fields_must_be_an_object() {
        let inputs = json!({"entity": "leads", "fields": "x"});
        let failure = CreateRecord.start(&inputs, &StartContext::for_tests()).expect_err("a text");
        assert_eq!(failure.code, "wrong_type");
    }
}

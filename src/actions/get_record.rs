//! The `get_record` action: reads one record.

use serde_json::Value;

use super::{Action, Next, StartContext, records};
use crate::connectors::{self, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind};
use crate::run::Failure;

/// The `get_record` action.
#[derive(Debug, Clone, Copy)]
pub struct GetRecord;

/// What `get_record` is told.
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
}

impl Action for GetRecord {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "get_record",
            summary: "reads one record",
            keys: declared::<Keys>(),
            outputs: &[("record", "its fields as the system gives them; one that is not there fails as `not_found`")],
            example: "name: known_lead\ntype: get_record\nconnection: crm\nentity: leads\nkey:\n  emailaddress1: \"{{trigger.body.UserDetails.Email}}\"\n",
            operation: Some(OperationKind::Get),
            connection_required: true,
            blank_guard: None,
            leaves_the_machine: true,
            responds: false,
            check: Some(records::check_target),
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        let target = records::target(inputs)?;
        Ok(Next::Effect(Box::new(Operation::GetRecord(connectors::GetRecord { entity: keys.entity, target }))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_record_is_asked_for() {
        let next = GetRecord.start(&json!({"entity": "leads", "id": 7}), &StartContext::for_tests()).expect("starts");
        let wanted = connectors::GetRecord { entity: "leads".into(), target: connectors::Target::Id("7".into()) };
        assert_eq!(next, Next::Effect(Box::new(Operation::GetRecord(wanted))));
    }
}

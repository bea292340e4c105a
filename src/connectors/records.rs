//! The embedded record store: no account needed, browsable, written in the same transaction as the journal.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Connector, Dialect, OpContext, Opened, Operation, Outcome, Progress, Reach, Talk, declared, not_served, spec_once,
    unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::{Effect, Reply, Transport};
use crate::run::Failure;
use crate::store::RecordWrite;

/// The embedded record store.
#[derive(Debug, Clone, Copy)]
pub struct Records;

/// A connection of type `records`: nothing to set.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Connector for Records {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "records".into(),
            summary: "the embedded record store in the data folder (leadflow records list)".into(),
            settings: declared::<Settings>(),
            operations: vec![(OperationKind::Create, Repeat::Safe)],
        })
    }

    fn open(&self, settings: &Value, _: &Reach) -> Result<Opened, String> {
        super::read::<Settings>(settings)
            .map(|Settings {}| Opened { dialect: Arc::new(*self), transport: Transport::Embedded })
    }
}

impl Dialect for Records {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let Operation::CreateRecord(create) = operation else { return Err(not_served(cx.connection)) };
        Ok(Effect::Record(RecordWrite {
            connection: cx.connection.to_owned(),
            entity: create.entity.clone(),
            id: cx.key.uuid().to_string(),
            fields: Value::Object(create.fields.clone()),
            run_id: cx.run_id,
            created_at: cx.received_at,
        }))
    }

    /// The id is made of the idempotency key, so a repeat cannot make a second row: there is never a possible repeat,
    /// and `on_duplicate` has nothing to decide.
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, _: &mut Talk, reply: Reply) -> Progress {
        match (operation, reply) {
            (Operation::CreateRecord(create), Reply::Record) => Progress::Done(Ok(Outcome {
                outputs: json!({
                    "id": cx.key.uuid().to_string(), "url": null, "outcome": "created",
                    "record": create.fields, "raw": null,
                }),
                outcome: Some("created".into()),
                possible_repeat: false,
                writes: Vec::new(),
            })),
            (_, Reply::Failed(failure)) => Progress::Done(Err(failure)),
            _ => unexpected(),
        }
    }

    fn simulate(&self, _: &Operation, _: &OpContext<'_>, _: &Talk, _: &Effect) -> Reply {
        Reply::Record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::{CreateRecord, OnDuplicate, context_for_tests, talk_for_tests};
    use serde_json::Map;

    #[test]
    fn the_id_is_the_keys_and_a_repeat_is_the_same_write() {
        let cx = context_for_tests("crm");
        let operation = Operation::CreateRecord(CreateRecord {
            entity: "leads".into(),
            fields: Map::from_iter([("a".to_owned(), json!(1))]),
            on_duplicate: OnDuplicate::Fail,
        });
        let first = Records.start(&operation, &cx).expect("starts");
        assert_eq!(Ok(&first), Records.start(&operation, &cx).as_ref());
        let again = OpContext { possible_repeat: true, ..cx };
        let Progress::Done(Ok(outcome)) = Records.on_reply(&operation, &again, &mut talk_for_tests(), Reply::Record)
        else {
            panic!("done")
        };
        assert!(!outcome.possible_repeat);
        assert_eq!(outcome.outputs["id"], cx.key.uuid().to_string());
        assert_eq!(outcome.outputs["record"], json!({"a": 1}));
    }
}

//! The embedded record store: no account needed, browsable, written in the same transaction as the journal.

use serde_json::{Value, json};

use super::{Connector, OpContext, Operation, Outcome, Progress, Reach, declared, not_served, unexpected};
use crate::flow::catalogue::{ConnectorSpec, Repeat, Serves};
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
    fn spec(&self) -> ConnectorSpec {
        ConnectorSpec {
            kind: "records",
            summary: "the embedded record store in the data folder (leadflow records list)",
            settings: declared::<Settings>(),
            serves: Serves::Records,
            repeat: Repeat::Safe,
        }
    }

    fn connect(&self, settings: &Value, _: &Reach) -> Result<Transport, String> {
        super::read::<Settings>(settings).map(|Settings {}| Transport::Embedded)
    }

    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let Operation::CreateRecord(create) = operation else { return Err(not_served(cx.connection)) };
        Ok(Effect::Record(RecordWrite {
            connection: cx.connection.to_owned(),
            entity: create.entity.clone(),
            id: cx.key.uuid().to_string(),
            fields: create.fields.clone(),
            run_id: cx.run_id,
            created_at: cx.received_at,
        }))
    }

    /// The id is made of the idempotency key, so a repeat cannot make a second row: there is never a possible repeat,
    /// and `on_duplicate` has nothing to decide.
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, _: u32, reply: Reply) -> Progress {
        match (operation, reply) {
            (Operation::CreateRecord(create), Reply::Record) => Progress::Done(Ok(Outcome {
                outputs: json!({
                    "id": cx.key.uuid().to_string(), "url": null, "outcome": "created",
                    "record": create.fields, "raw": null,
                }),
                outcome: Some("created".into()),
                possible_repeat: false,
            })),
            (_, Reply::Failed(failure)) => Progress::Done(Err(failure)),
            _ => unexpected(),
        }
    }

    fn simulate(&self, _: &Operation, _: &OpContext<'_>, _: &Effect) -> Reply {
        Reply::Record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::{CreateRecord, OnDuplicate, context_for_tests};

    #[test]
    fn the_id_is_the_keys_and_a_repeat_is_the_same_write() {
        let cx = context_for_tests("crm");
        let operation = Operation::CreateRecord(CreateRecord {
            entity: "leads".into(),
            fields: json!({"a": 1}),
            on_duplicate: OnDuplicate::Fail,
        });
        let first = Records.start(&operation, &cx).expect("starts");
        assert_eq!(Ok(&first), Records.start(&operation, &cx).as_ref());
        let again = OpContext { possible_repeat: true, ..cx };
        let Progress::Done(Ok(outcome)) = Records.on_reply(&operation, &again, 0, Reply::Record) else {
            panic!("done")
        };
        assert!(!outcome.possible_repeat);
        assert_eq!(outcome.outputs["id"], cx.key.uuid().to_string());
        assert_eq!(outcome.outputs["record"], json!({"a": 1}));
    }
}

//! The embedded outbox: each mail an .eml file, nothing is sent.

use serde_json::Value;

use super::{Connector, OpContext, Operation, Progress, Reach, declared, smtp};
use crate::flow::catalogue::{ConnectorSpec, Repeat, Serves};
use crate::outbound::{Effect, Reply, Transport};
use crate::run::Failure;

/// The embedded outbox.
#[derive(Debug, Clone, Copy)]
pub struct Outbox;

/// A connection of type `outbox`: nothing to set.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Connector for Outbox {
    fn spec(&self) -> ConnectorSpec {
        ConnectorSpec {
            kind: "outbox",
            summary: "the embedded outbox: each mail an .eml file in the data folder, nothing is sent",
            settings: declared::<Settings>(),
            serves: Serves::Email,
            repeat: Repeat::Safe,
        }
    }

    fn connect(&self, settings: &Value, reach: &Reach) -> Result<Transport, String> {
        super::read::<Settings>(settings).map(|Settings {}| Transport::Outbox(reach.outbox.clone()))
    }

    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        smtp::message(operation, cx)
    }

    /// The file's name is made of the idempotency key: a repeat writes the same file again.
    fn on_reply(&self, _: &Operation, _: &OpContext<'_>, _: u32, reply: Reply) -> Progress {
        smtp::sent(reply, false)
    }

    fn simulate(&self, _: &Operation, cx: &OpContext<'_>, _: &Effect) -> Reply {
        smtp::simulated(cx)
    }
}

//! The embedded outbox: each mail an .eml file, nothing is sent.

use std::sync::Arc;

use serde_json::Value;

use super::{Connector, Dialect, OpContext, Opened, Operation, Progress, Reach, Talk, declared, smtp, spec_once};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
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
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "outbox".into(),
            summary: "the embedded outbox: each mail an .eml file in the data folder, nothing is sent".into(),
            settings: declared::<Settings>(),
            operations: vec![(OperationKind::Email, Repeat::Safe)],
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        super::read::<Settings>(settings)
            .map(|Settings {}| Opened { dialect: Arc::new(*self), transport: Transport::Outbox(reach.outbox.clone()) })
    }
}

impl Dialect for Outbox {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        smtp::message(operation, cx)
    }

    /// The file's name is made of the idempotency key: a repeat writes the same file again.
    fn on_reply(&self, _: &Operation, _: &OpContext<'_>, _: &mut Talk, reply: Reply) -> Progress {
        smtp::sent(reply, false)
    }

    fn simulate(&self, _: &Operation, cx: &OpContext<'_>, _: &Talk, _: &Effect) -> Reply {
        smtp::simulated(cx)
    }
}

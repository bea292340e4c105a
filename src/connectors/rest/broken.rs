//! A connector file that does not load and never did: its connections are there, and every lead waits for the file.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::connectors::{Connector, Dialect, OpContext, Opened, Operation, Progress, Reach, Talk};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::{Effect, Reply, Transport};
use crate::run::Failure;

/// The stand-in for a connector file with errors. Its settings cannot be checked, and it takes every operation.
#[derive(Debug)]
pub(super) struct Broken {
    spec: ConnectorSpec,
    file: String,
}

impl Broken {
    /// For the file `file`, which calls itself `kind`.
    pub(super) fn new(kind: &str, file: &str) -> Self {
        let open = json!({ "type": "object", "additionalProperties": true });
        let spec = ConnectorSpec {
            kind: kind.to_owned().into(),
            summary: format!("what {file} says once it has no errors").into(),
            settings: schemars::Schema::try_from(open).unwrap_or_default(),
            operations: OperationKind::ALL.map(|kind| (kind, Repeat::Unsafe)).to_vec(),
        };
        Self { spec, file: file.to_owned() }
    }
}

impl Connector for Broken {
    fn spec(&self) -> &ConnectorSpec {
        &self.spec
    }

    fn open(&self, _: &Value, _: &Reach) -> Result<Opened, String> {
        let dialect = Waiting { file: self.file.clone() };
        Ok(Opened { dialect: Arc::new(dialect), transport: Transport::Embedded })
    }
}

/// Says that the file must be mended; nothing is sent.
struct Waiting {
    file: String,
}

impl Waiting {
    fn failure(&self) -> Failure {
        let message = format!("{} has errors (leadflow check); mend it, and the run goes on", self.file);
        Failure::retryable("connector_broken", message)
    }
}

impl Dialect for Waiting {
    fn start(&self, _: &Operation, _: &OpContext<'_>) -> Result<Effect, Failure> {
        Err(self.failure())
    }

    fn on_reply(&self, _: &Operation, _: &OpContext<'_>, _: &mut Talk, _: Reply) -> Progress {
        Progress::Done(Err(self.failure()))
    }

    fn simulate(&self, _: &Operation, _: &OpContext<'_>, _: &Talk, _: &Effect) -> Reply {
        Reply::Failed(self.failure())
    }
}

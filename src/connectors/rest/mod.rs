//! Connectors that are one YAML file each: those of the catalogue, embedded, and the user's in `connectors/`.
//!
//! A file is checked and compiled once (`check`, `plan`); a connection of it speaks by the compiled file alone
//! (`speak`, `judge`). Promises: values of a lead are data, percent-encoded in paths, kept with their type in JSON, never
//! evaluated; a secret is put into a request when it is sent and not before; a file that does not load hurts only the
//! connections of its kind, and their leads are kept.

mod broken;
mod catalog;
mod check;
mod ended;
mod folder;
mod format;
mod judge;
mod plan;
mod scope;
mod settings;
mod shape;
mod speak;
#[cfg(test)]
mod speak_tests;
mod trial;

use std::sync::Arc;

use serde_json::Value;

use super::{Connector, Opened, Reach};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::flow::catalogue::ConnectorSpec;
use crate::outbound::Transport;
use crate::outbound::http::HttpTransport;
pub use catalog::{CATALOG, embedded};
pub use check::COMMON_KEYS;
pub use check::editor_schema;
pub use folder::{File, Loaded, load, paths};
use plan::Plan;
use settings::Ready;
use speak::Spoken;

/// A kind of connection that a connector file declares.
#[derive(Debug)]
pub struct Rest {
    plan: Arc<Plan>,
    spec: ConnectorSpec,
}

impl Rest {
    fn new(plan: Plan) -> Self {
        let spec = ConnectorSpec {
            kind: plan.kind.clone().into(),
            summary: plan.summary.clone().into(),
            settings: check::settings_schema(&plan),
            operations: plan.operations(),
        };
        Self { plan: Arc::new(plan), spec }
    }
}

impl Connector for Rest {
    fn spec(&self) -> &ConnectorSpec {
        &self.spec
    }

    fn concurrency(&self) -> Option<usize> {
        self.plan.concurrency
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let ready = Ready::new(&self.plan, settings, false)?;
        let spoken = Spoken::new(Arc::clone(&self.plan), &ready);
        let client = reach.http.clone().with_ca(&reach.ca);
        let transport = HttpTransport::connection(&client, ready.origin)?;
        let transport = transport.with_stand_ins(ready.stand_ins, ready.is_base_secret);
        Ok(Opened { dialect: Arc::new(spoken), transport: Transport::Http(Arc::new(transport)) })
    }
}

/// What became of a connector file.
#[derive(Debug)]
pub struct Compiled {
    /// Its name, as far as it is known.
    pub name: String,
    /// The connector; absent when a finding is an error.
    pub rest: Option<Rest>,
    /// Everything that was found, failed tests of the file among it.
    pub findings: Vec<Diagnostic>,
}

/// Checks, compiles and tests the connector file `file`.
pub fn compile(file: &str, text: &str) -> Compiled {
    let checked = check::check(file, text);
    let mut findings = checked.findings;
    let rest = checked.plan.map(Rest::new);
    if let (Some(rest), Some(doc)) = (&rest, &checked.doc) {
        findings.extend(trial::run(&rest.plan, doc));
    }
    let rest = rest.filter(|_| !has_errors(&findings));
    Compiled { name: checked.name, rest, findings }
}

//! What a run needs of the world, as values: the same actor serves leads and dry runs, only its ports differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::watch;

use super::answers::Answers;
use super::health::Health;
use super::lanes::Lanes;
use super::lease::LEASE_TTL;
use crate::clock::{Clock, Fut};
use crate::connectors::{Connector, Dialect, Opened};
use crate::flow::catalogue::{OperationKind, Repeat};
use crate::flow::format::OnUnknown;
use crate::flow::retry::RetryPolicy;
use crate::ids::RunId;
use crate::library::Library;
use crate::outbound::{Effects, Transport};
use crate::run::{Failure, RunStatus};
use crate::store::{RunCommit, Store, StoreResult, StoredRun};
use crate::template;
use crate::units::Rate;

/// A connection ready to be used.
pub struct OpenConnection {
    /// Its name in leadflow.yaml; empty for plain HTTP without a connection.
    pub name: String,
    /// What speaks to it.
    pub dialect: Arc<dyn Dialect>,
    /// What it can be asked for, and whether a repeat of that is harmless.
    pub operations: Vec<(OperationKind, Repeat)>,
    /// How to reach it.
    pub transport: Transport,
    /// Effects at once.
    pub concurrency: usize,
    /// Per try, for actions that say nothing themselves.
    pub timeout: Option<Duration>,
    /// Retry, for actions that say nothing themselves.
    pub retry: Option<RetryPolicy>,
    /// Calls in a time; several nodes share it.
    pub rate: Option<Rate>,
    /// What an unknown outcome means, for actions that say nothing themselves.
    pub on_unknown: Option<OnUnknown>,
    /// Tells its settings from others without telling them: what is known of it holds for these.
    pub settings_digest: String,
}

impl OpenConnection {
    /// Whether a repeat of `operation` may act twice.
    pub fn repeats_unsafely(&self, operation: OperationKind) -> bool {
        self.operations.iter().any(|(kind, repeat)| *kind == operation && *repeat == Repeat::Unsafe)
    }

    /// The connection `name` of the kind `connector`, with no wishes of its own.
    pub fn new(name: &str, connector: &dyn Connector, opened: Opened, concurrency: usize) -> Self {
        let declared = connector.spec().operations.iter();
        let operations =
            declared.map(|(kind, repeat)| (*kind, opened.dialect.repeat(*kind).unwrap_or(*repeat))).collect();
        Self {
            name: name.to_owned(),
            dialect: opened.dialect,
            operations,
            transport: opened.transport,
            concurrency,
            timeout: None,
            retry: None,
            rate: None,
            on_unknown: None,
            settings_digest: String::new(),
        }
    }
}

/// Connections by name. The name `""` is plain HTTP without a connection.
pub type Connections = BTreeMap<String, Arc<OpenConnection>>;

/// Where commits of a run go.
pub trait Journal: Send + Sync {
    /// Writes one commit; answers after the sync.
    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>>;
    /// How far a called run has come; `None`: it is not there.
    fn called(&self, run: RunId) -> Fut<'_, StoreResult<Option<CallEnd>>>;
    /// Whether other nodes work on the same runs.
    fn is_shared(&self) -> bool {
        false
    }
}

/// How far a called run has come.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEnd {
    /// Its status.
    pub status: RunStatus,
    /// Its code.
    pub code: Option<String>,
    /// What it responded, if it has.
    pub answer: Option<Value>,
}

/// The journal of real runs.
pub struct StoreJournal(pub Arc<dyn Store>);

impl Journal for StoreJournal {
    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        self.0.commit(commit)
    }

    fn called(&self, run: RunId) -> Fut<'_, StoreResult<Option<CallEnd>>> {
        Box::pin(async move {
            let stored = self.0.run(run).await?;
            Ok(stored.map(|StoredRun { run, .. }| CallEnd { status: run.status, code: run.code, answer: run.answer }))
        })
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
}

/// What a dry run or a test says an action answers instead of performing it.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mock {
    /// `succeeded` (default) or `failed`.
    #[serde(default)]
    pub status: MockStatus,
    /// Its outputs.
    #[serde(default)]
    pub outputs: Value,
    /// Its error.
    #[serde(default)]
    pub error: Option<MockError>,
}

/// How a mocked action ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MockStatus {
    /// With its outputs.
    #[default]
    Succeeded,
    /// With its error.
    Failed,
}

/// The error of a [`Mock`].
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockError {
    /// A code.
    pub code: String,
    /// One line.
    #[serde(default)]
    pub message: String,
}

/// Mocks by action name.
pub type Mocks = BTreeMap<String, Mock>;

impl Mock {
    /// What the mocked action ends with.
    pub fn result(&self) -> Result<Value, Failure> {
        match (&self.error, self.status) {
            (Some(error), _) => Err(Failure::terminal(error.code.clone(), error.message.clone())),
            (None, MockStatus::Failed) => Err(Failure::terminal("mocked", "mocked failure")),
            (None, MockStatus::Succeeded) => Ok(self.outputs.clone()),
        }
    }
}

/// Bounds of the engine, each with its unit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Effects at once for plain HTTP, per host, and for connections that say nothing.
    pub workers: usize,
    /// Runs in memory at once.
    pub active_runs_max: usize,
    /// Unfinished runs per flow, then 429.
    pub waiting_runs_per_flow_max: u64,
    /// Bytes of one action's outputs as JSON.
    pub outputs_bytes_max: usize,
    /// Items of one loop or list action.
    pub iterations_max: usize,
    /// Bounds of one template.
    pub template: template::Limits,
    /// Bounds of a request's body.
    pub body: crate::triggers::request::BodyLimits,
    /// Age at which an unfinished run ends as `timed_out`.
    pub run_duration: Duration,
    /// A run with nothing in flight whose next timer is further away than this leaves memory.
    pub keep_in_memory: Duration,
    /// How long a cancelled run waits for effects in flight.
    pub cancel_grace: Duration,
    /// How long the lease of a node stands without a heartbeat, on a store that several nodes share.
    pub lease_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 64,
            active_runs_max: 1024,
            waiting_runs_per_flow_max: 1_000_000,
            outputs_bytes_max: 1 << 20,
            iterations_max: 100_000,
            template: template::Limits::default(),
            body: crate::triggers::request::BodyLimits::default(),
            run_duration: Duration::from_hours(720),
            keep_in_memory: Duration::from_secs(1),
            cancel_grace: Duration::from_secs(5),
            lease_ttl: LEASE_TTL,
        }
    }
}

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// Running.
    No,
    /// No new effect starts; those in flight may finish.
    Finish,
    /// What is still in flight is given up; its outcome is unknown.
    GiveUp,
}

/// What a run needs of the world.
pub struct Ports {
    /// Where commits go.
    pub journal: Arc<dyn Journal>,
    /// What performs effects.
    pub effects: Arc<dyn Effects>,
    /// Flows that can be called.
    pub library: Arc<Library>,
    /// Connections, late-bound by name.
    pub connections: ArcSwap<Connections>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Slots and backlog of every connection.
    pub lanes: Arc<Lanes>,
    /// What is known of every connection.
    pub health: Arc<Health>,
    /// Requests that wait for `respond`.
    pub answers: Answers,
    /// Bounds; they may change while the engine runs: read them with [`Ports::limits`].
    pub bounds: ArcSwap<Limits>,
    /// `environment` in templates.
    pub environment: Value,
    /// Randomness for retry waits, in `0.0..1.0`.
    pub dice: fn() -> f64,
    /// Mocks; empty for real runs.
    pub mocks: Mocks,
    /// How far a shutdown has come.
    pub drain: watch::Receiver<Drain>,
}

/// What templates see beside the run and its flow, and their bounds.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// `environment` in templates.
    pub environment: &'a Value,
    /// Bounds of one template.
    pub limits: template::Limits,
}

impl Ports {
    /// The bounds that hold now.
    pub fn limits(&self) -> arc_swap::Guard<Arc<Limits>> {
        self.bounds.load()
    }

    /// What the templates of any run see.
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight { environment: &self.environment, limits: self.limits().template }
    }
}

/// Randomness from the operating system, in `0.0..1.0`; the middle if there is none.
pub fn system_dice() -> f64 {
    getrandom::u64().map_or(0.5, |bits| (bits >> 11) as f64 / (1_u64 << 53) as f64)
}

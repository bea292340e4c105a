//! Connectors: from an operation to effects, from replies to an outcome. They do no I/O and hold no secret.
//!
//! A [`Connector`] is a kind of system (`dataverse`); opened with the settings of one connection it gives a [`Dialect`],
//! which speaks, and a [`Transport`], which carries. A new kind is one file here and its line in [`Registry::builtin`].

mod api;
pub mod azure_table;
pub mod dataverse;
pub mod http;
pub mod live;
mod odata;
mod operation;
pub mod outbox;
mod outcome;
pub mod postgres;
pub mod records;
pub mod rest;
pub mod salesforce;
pub mod smtp;
pub mod sql;
pub mod sqlite;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Micros;
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
pub use crate::flow::declared::declared;
use crate::ids::{IdempotencyKey, RunId};
use crate::outbound::http::HttpClientSettings;
use crate::outbound::outbox::Outbox as OutboxFolder;
use crate::outbound::records::RecordReader;
use crate::outbound::{Effect, Reply, Transport};
use crate::run::Failure;
pub use live::Described;
pub use operation::{
    CreateRecord, GetRecord, HttpCall, ListRecords, OnDuplicate, Operation, SendEmail, Target, UpdateRecord,
    UpsertRecord,
};
pub use outcome::{Did, Outcome, Written, named, refused};

/// The kinds of connection that leadflow.yaml can name.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Vec<Arc<dyn Connector>>,
    /// The user's connector files.
    files: Vec<rest::File>,
}

impl Registry {
    /// The kinds that come with leadflow, in the order of the reference.
    pub fn builtin() -> &'static Arc<Self> {
        static BUILTIN: LazyLock<Arc<Registry>> = LazyLock::new(|| {
            let kinds: Vec<Arc<dyn Connector>> = vec![
                Arc::new(records::Records),
                Arc::new(outbox::Outbox),
                Arc::new(smtp::Smtp),
                Arc::new(http::Http::default()),
                Arc::new(dataverse::Dataverse),
                Arc::new(salesforce::Salesforce),
                Arc::new(azure_table::AzureTable),
                Arc::new(postgres::Postgres),
                Arc::new(sqlite::Sqlite),
            ];
            let kinds = kinds.into_iter().chain(rest::embedded()).collect();
            Arc::new(Registry { kinds, files: Vec::new() })
        });
        &BUILTIN
    }

    /// The kind `kind`.
    pub fn find(&self, kind: &str) -> Option<&Arc<dyn Connector>> {
        self.kinds.iter().find(|connector| connector.kind() == kind)
    }

    /// Every kind, in the order of the reference.
    pub fn all(&self) -> &[Arc<dyn Connector>] {
        &self.kinds
    }

    /// The kinds of these files too.
    #[must_use]
    pub fn with(&self, files: Vec<rest::File>) -> Self {
        let own = files.iter().map(rest::File::connector);
        Self { kinds: self.kinds.iter().cloned().chain(own).collect(), files }
    }

    /// The user's connector files.
    pub fn files(&self) -> &[rest::File] {
        &self.files
    }

    /// Every kind's declaration.
    pub fn specs(&self) -> Vec<ConnectorSpec> {
        self.kinds.iter().map(|connector| connector.spec().clone()).collect()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.kinds.iter().map(|connector| connector.kind())).finish()
    }
}

/// What a connection needs besides its own settings to reach the other side.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Timeouts, limits, certificate authorities and private addresses, as leadflow.yaml gives them.
    pub http: HttpClientSettings,
    /// Further certificate authorities of this connection: PEM texts.
    pub ca: Vec<Vec<u8>>,
    /// The one outbox of the process.
    pub outbox: Arc<OutboxFolder>,
    /// The embedded records of the process.
    pub records: Arc<RecordReader>,
    /// The folder of leadflow.yaml: relative paths of settings start there.
    pub folder: PathBuf,
    /// Effects of the connection at once: more connections to its system are of no use.
    pub concurrency: usize,
}

/// Effects at once, where nobody says anything.
const CONCURRENCY_DEFAULT: usize = 64;

impl Reach {
    /// All further certificate authorities: those of every connection and this one's.
    pub fn authorities(&self) -> Vec<Vec<u8>> {
        [self.http.ca.as_slice(), self.ca.as_slice()].concat()
    }

    /// The outbox below the data folder, the default client, no further authorities.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            http: HttpClientSettings::default(),
            ca: Vec::new(),
            outbox: Arc::new(OutboxFolder::open(data)),
            records: Arc::default(),
            folder: PathBuf::new(),
            concurrency: CONCURRENCY_DEFAULT,
        }
    }
}

/// Reads a connection's settings. The error names the key and never repeats a value: it may be a secret.
fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(settings).map_err(|error| {
        let path = error.path().to_string();
        if path == "." { "a key is missing or unknown".to_owned() } else { format!("`{path}` cannot be read") }
    })
}

/// A reply of another kind than the effect: a fault of ours, told as such.
fn unexpected() -> Progress {
    Progress::Done(Err(Failure::terminal("internal_error", "the reply does not belong to the effect")))
}

/// An operation of another kind than the connection serves: the compiler refuses it, a changed leadflow.yaml may not.
fn not_served(connection: &str) -> Failure {
    let message = format!("connection `{connection}` cannot do this; its type was changed in leadflow.yaml");
    Failure::terminal("wrong_connection", message)
}

/// What a connector may know of the run.
#[derive(Debug, Clone, Copy)]
pub struct OpContext<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The run.
    pub run_id: RunId,
    /// The idempotency key of the operation: the same for every try, and for every effect of a try.
    pub key: IdempotencyKey,
    /// When the run was received: stable across tries.
    pub received_at: Micros,
    /// Whether an earlier try's outcome was never known.
    pub possible_repeat: bool,
}

/// How far one try of an operation has come: a try may take several effects.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Which effect was answered, from 0.
    pub n: u32,
    /// The idempotency key of that effect.
    pub key: IdempotencyKey,
    /// What the dialect notes from one effect to the next: pages so far, the id of a duplicate. Null at first.
    pub notes: Value,
}

/// What a connector wants after a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Send another effect.
    Send(Effect),
    /// The operation has ended.
    Done(Result<Outcome, Failure>),
}

/// A kind of system.
pub trait Connector: Send + Sync {
    /// Its declaration.
    fn spec(&self) -> &ConnectorSpec;
    /// Its name: `kind` of its declaration.
    fn kind(&self) -> &str {
        &self.spec().kind
    }
    /// Requests at once that the system likes, where the connection does not say.
    fn concurrency(&self) -> Option<usize> {
        None
    }
    /// What speaks and what carries, for the connection that `settings` (secrets resolved) describe. Opens nothing yet.
    /// The error says what is wrong with the settings, without their values.
    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String>;
}

/// One connection of leadflow.yaml, ready to be spoken to.
pub struct Opened {
    /// What speaks.
    pub dialect: Arc<dyn Dialect>,
    /// What carries.
    pub transport: Transport,
}

/// How a connection is spoken to, its settings applied. Pure: the same operation gives the same effects.
pub trait Dialect: Send + Sync {
    /// The first effect of `operation`.
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure>;
    /// What follows from `reply`.
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress;
    /// What a dry run takes for the answer to `effect`, the `talk.n`-th of its try.
    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, talk: &Talk, effect: &Effect) -> Reply;

    /// Whether a repeat of `operation` is harmless on this very connection, where its settings decide that; `None`: as its
    /// kind declares.
    fn repeat(&self, operation: OperationKind) -> Option<Repeat> {
        let _ = operation;
        None
    }

    /// The cheapest call that proves that the connection lets us in, and changes nothing; `None`: there is none.
    fn login(&self) -> Option<Effect> {
        None
    }

    /// What the answer to [`Dialect::login`] says.
    fn logged_in(&self, reply: &Reply) -> Result<(), Failure> {
        live::logged_in(reply)
    }

    /// What to ask next about `entity` after the answers `so_far` (at first none), or what they say. Changes nothing.
    /// The error: an answer that cannot be read, or a failure among `so_far`.
    fn describe(&self, entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
        let _ = (entity, so_far);
        Ok(Described::Untold)
    }
}

/// Makes a declaration once: it holds a whole schema.
macro_rules! spec_once {
    ($make:expr) => {{
        static SPEC: std::sync::LazyLock<crate::flow::catalogue::ConnectorSpec> = std::sync::LazyLock::new(|| $make);
        &SPEC
    }};
}
pub(crate) use spec_once;

/// A context with a fixed run, for the connectors' own tests.
#[cfg(test)]
pub(crate) fn context_for_tests(connection: &str) -> OpContext<'_> {
    let run_id = RunId::from_bytes([7; 16]);
    let key = IdempotencyKey::new(run_id, "action", "", 0);
    OpContext { connection, run_id, key, received_at: 1_700_000_000_000_000, possible_repeat: false }
}

/// The talk at its first effect.
#[cfg(test)]
pub(crate) fn talk_for_tests() -> Talk {
    let key = IdempotencyKey::new(RunId::from_bytes([7; 16]), "action", "", 0);
    Talk { n: 0, key, notes: Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connector_is_declared_whole() {
        let registry = Registry::builtin();
        for connector in registry.all() {
            let spec = connector.spec();
            let settings = spec.settings.as_value();
            assert_eq!(settings["additionalProperties"], false, "{}: closed", spec.kind);
            let none = serde_json::Map::new();
            for (name, key) in settings["properties"].as_object().unwrap_or(&none) {
                assert!(key["description"].is_string(), "{}.{name}: documented", spec.kind);
                assert!(!key.to_string().contains("$ref"), "{}.{name}: inlined", spec.kind);
            }
            assert_eq!(registry.find(&spec.kind).map(|found| &found.spec().kind), Some(&spec.kind));
            assert!(!spec.operations.is_empty(), "{}: does something", spec.kind);
        }
        let smtp = &registry.find("smtp").expect("smtp").spec().settings;
        assert!(smtp.as_value()["properties"]["auth"].to_string().contains("\"x-secret\":true"));
    }

    #[test]
    fn connections_without_settings_connect_and_others_say_what_is_missing() {
        let data = tempfile::tempdir().expect("a folder");
        let reach = Reach::new(data.path());
        let connect = |kind: &str, settings: Value| {
            Registry::builtin().find(kind).expect("a connector").open(&settings, &reach).err()
        };
        for kind in ["records", "outbox", "http"] {
            assert_eq!(connect(kind, serde_json::json!({})), None, "{kind}");
        }
        assert!(connect("records", serde_json::json!({"x": 1})).is_some());
        assert!(connect("smtp", serde_json::json!({})).is_some());
        assert_eq!(connect("smtp", serde_json::json!({"host": "h", "from": "a@b.example"})), None);
        assert_eq!(std::fs::read_dir(data.path()).expect("a folder").count(), 0, "nothing on disk");
    }
}

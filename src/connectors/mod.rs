//! Connectors: from an operation to effects, from replies to an outcome. They do no I/O and hold no secret.
//!
//! A new kind of connection is one file here and its line in [`ALL`].

pub mod http;
pub mod outbox;
pub mod records;
pub mod smtp;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Micros;
use crate::flow::catalogue::ConnectorSpec;
pub use crate::flow::declared::declared;
use crate::ids::{IdempotencyKey, RunId};
use crate::outbound::http::HttpClientSettings;
use crate::outbound::outbox::Outbox as OutboxFolder;
use crate::outbound::{Attachment, Effect, HttpBody, Reply, Transport};
use crate::run::Failure;

/// Every connector type, in the order of the reference.
pub const ALL: &[&dyn Connector] = &[&records::Records, &outbox::Outbox, &smtp::Smtp, &http::Http];

/// The connector type `kind`.
pub fn find(kind: &str) -> Option<&'static dyn Connector> {
    static BY_KIND: LazyLock<HashMap<&str, &dyn Connector>> =
        LazyLock::new(|| ALL.iter().map(|connector| (connector.spec().kind, *connector)).collect());
    BY_KIND.get(kind).copied()
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
}

impl Reach {
    /// All further certificate authorities: those of every connection and this one's.
    pub fn authorities(&self) -> Vec<Vec<u8>> {
        [self.http.ca.as_slice(), self.ca.as_slice()].concat()
    }

    /// The outbox below the data folder, the default client, no further authorities.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { http: HttpClientSettings::default(), ca: Vec::new(), outbox: Arc::new(OutboxFolder::open(data)) }
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

/// What an action asks of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make a record.
    CreateRecord(CreateRecord),
    /// Send a mail.
    SendEmail(SendEmail),
    /// Call HTTP.
    Http(HttpCall),
}

/// Make a record.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRecord {
    /// The entity (a CRM table).
    pub entity: String,
    /// Its fields, nulls left out.
    pub fields: Value,
    /// What a duplicate means.
    pub on_duplicate: OnDuplicate,
}

/// What a duplicate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// The action succeeds with the existing id.
    #[default]
    Ok,
    /// The existing record is updated.
    Update,
    /// The action fails.
    Fail,
}

/// Send a mail.
#[derive(Debug, Clone, PartialEq)]
pub struct SendEmail {
    /// Sender; `None`: the connection's.
    pub from: Option<String>,
    /// Recipients, parsed addresses.
    pub to: Vec<String>,
    /// Copies.
    pub cc: Vec<String>,
    /// Blind copies.
    pub bcc: Vec<String>,
    /// Where answers go.
    pub reply_to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Text part.
    pub text: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// `low`, `normal`, `high`.
    pub importance: Option<String>,
    /// Attachments.
    pub attachments: Vec<Attachment>,
}

/// Call HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCall {
    /// Upper-case method.
    pub method: String,
    /// Absolute, or relative to the connection's base.
    pub url: String,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<HttpBody>,
    /// Whether the whole URL came from a value.
    pub url_from_value: bool,
}

/// What a connector may know of the run.
#[derive(Debug, Clone, Copy)]
pub struct OpContext<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The run.
    pub run_id: RunId,
    /// The run's idempotency key for this operation.
    pub key: IdempotencyKey,
    /// When the run was received: stable across tries.
    pub received_at: Micros,
    /// Whether an earlier try's outcome was never known.
    pub possible_repeat: bool,
}

/// What a connector wants after a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Send another effect.
    Send(Effect),
    /// The operation has ended.
    Done(Result<Outcome, Failure>),
}

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The action's outputs.
    pub outputs: Value,
    /// `created`, `duplicate`, …: shown beside the status.
    pub outcome: Option<String>,
    /// The other side may have acted twice.
    pub possible_repeat: bool,
}

/// A kind of system.
pub trait Connector: Send + Sync {
    /// Its declaration.
    fn spec(&self) -> ConnectorSpec;
    /// The way to the other side that `settings` (secrets resolved) describe. Opens nothing yet.
    /// The error says what is wrong with the settings, without their values.
    fn connect(&self, settings: &Value, reach: &Reach) -> Result<Transport, String>;
    /// The first effect of `operation`.
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure>;
    /// What follows from `reply` to the `n`-th effect (from 0).
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, n: u32, reply: Reply) -> Progress;
    /// What a dry run takes for the answer to `effect`.
    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, effect: &Effect) -> Reply;
}

/// A context with a fixed run, for the connectors' own tests.
#[cfg(test)]
pub(crate) fn context_for_tests(connection: &str) -> OpContext<'_> {
    let run_id = RunId::from_bytes([7; 16]);
    let key = IdempotencyKey::new(run_id, "action", "", 0);
    OpContext { connection, run_id, key, received_at: 1_700_000_000_000_000, possible_repeat: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connector_is_declared_whole() {
        for connector in ALL {
            let spec = connector.spec();
            let settings = spec.settings.as_value();
            assert_eq!(settings["additionalProperties"], false, "{}: closed", spec.kind);
            let none = serde_json::Map::new();
            for (name, key) in settings["properties"].as_object().unwrap_or(&none) {
                assert!(key["description"].is_string(), "{}.{name}: documented", spec.kind);
                assert!(!key.to_string().contains("$ref"), "{}.{name}: inlined", spec.kind);
            }
            assert_eq!(find(spec.kind).map(|found| found.spec().kind), Some(spec.kind));
        }
        let smtp = find("smtp").expect("smtp").spec().settings;
        assert!(smtp.as_value()["properties"]["auth"].to_string().contains("\"x-secret\":true"));
    }

    #[test]
    fn connections_without_settings_connect_and_others_say_what_is_missing() {
        let data = tempfile::tempdir().expect("a folder");
        let reach = Reach::new(data.path());
        let connect = |kind: &str, settings: Value| find(kind).expect("a connector").connect(&settings, &reach).err();
        for kind in ["records", "outbox", "http"] {
            assert_eq!(connect(kind, serde_json::json!({})), None, "{kind}");
        }
        assert!(connect("records", serde_json::json!({"x": 1})).is_some());
        assert!(connect("smtp", serde_json::json!({})).is_some());
        assert_eq!(connect("smtp", serde_json::json!({"host": "h", "from": "a@b.example"})), None);
        assert_eq!(std::fs::read_dir(data.path()).expect("a folder").count(), 0, "nothing on disk");
    }
}

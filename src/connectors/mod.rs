//! Connectors: from an operation to effects, from replies to an outcome. They do no I/O and hold no secret.
//!
//! A new kind of connection is one file here and its line in [`ALL`].

pub mod http;
pub mod outbox;
pub mod records;
pub mod smtp;

use serde_json::Value;

use crate::clock::Micros;
use crate::flow::catalogue::ConnectorSpec;
use crate::ids::{IdempotencyKey, RunId};
use crate::outbound::{Attachment, Effect, HttpBody, Reply};
use crate::run::Failure;

/// Every connector type, in the order of the reference.
pub const ALL: &[&dyn Connector] = &[&records::Records, &outbox::Outbox, &smtp::Smtp, &http::Http];

/// The connector type `kind`.
pub fn find(kind: &str) -> Option<&'static dyn Connector> {
    ALL.iter().copied().find(|connector| connector.spec().kind == kind)
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
    /// The first effect of `operation`.
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure>;
    /// What follows from `reply` to the `n`-th effect (from 0).
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, n: u32, reply: Reply) -> Progress;
    /// What a dry run takes for the answer to `effect`.
    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, effect: &Effect) -> Reply;
}

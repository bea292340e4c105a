//! Effects: the only module through which anything leaves the machine.
//!
//! Connectors describe effects and never hold a secret; [`Effects`] performs them and attaches credentials.
//! [`Real`] sends, `Recorded` writes down: that is what makes a dry run honest.

pub mod http;
pub mod mail;
pub mod outbox;
pub mod recorded;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Fut, Micros};
use crate::run::Failure;
use crate::store::RecordWrite;

/// Something to do to the outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An HTTP request.
    Http(HttpRequest),
    /// A mail.
    Email(Box<EmailMessage>),
    /// A write to the embedded records: done by the engine's commit, never by [`Effects::perform`].
    Record(RecordWrite),
}

/// An HTTP request, complete but for credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// Upper-case method.
    pub method: String,
    /// The absolute URL, or one relative to the connection's `base_url`.
    pub url: String,
    /// Query parameters to append, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Headers, credentials excluded.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<HttpBody>,
    /// Whether host or whole URL came from a value: then private addresses are refused and the connection's
    /// credentials are sent only to the connection's own origin.
    pub url_from_value: bool,
}

/// An HTTP body.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpBody {
    /// JSON built from YAML structure.
    Json(Value),
    /// Text as it is.
    Text(String),
}

/// A mail, complete: the same message gives the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailMessage {
    /// Sender; `None`: the connection's default.
    pub from: Option<String>,
    /// Recipients.
    pub to: Vec<String>,
    /// Copies.
    pub cc: Vec<String>,
    /// Blind copies: in the envelope, never in the headers.
    pub bcc: Vec<String>,
    /// Where answers go.
    pub reply_to: Vec<String>,
    /// Subject: one line.
    pub subject: String,
    /// Text part.
    pub text: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// `low`, `normal` or `high`.
    pub importance: Option<String>,
    /// Attachments.
    pub attachments: Vec<Attachment>,
    /// Derived from the idempotency key, without angle brackets.
    pub message_id: String,
    /// The `Date` header, and the outbox's folder: when the run was received.
    pub date: Micros,
}

/// A file in a mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name.
    pub name: String,
    /// Bytes.
    pub content: Vec<u8>,
    /// MIME type.
    pub content_type: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An HTTP answer, whatever its status.
    Http(HttpReply),
    /// The mail was taken: its Message-ID, and where it lies or what the server said.
    Email {
        /// Without angle brackets.
        message_id: String,
        /// The outbox file, or the server's last line.
        detail: String,
    },
    /// The record write is part of the next commit.
    Record,
    /// No answer. The class says whether anything may have been done.
    Failed(Failure),
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// JSON when it is JSON, else text; null when empty.
    pub body: Value,
    /// `Retry-After` in microseconds from now, both forms understood, clamped to 0..=1 day.
    pub retry_after: Option<Micros>,
}

/// One effect to perform.
pub struct Call<'a> {
    /// The action's name, for recordings.
    pub action: &'a str,
    /// The connection's name, for recordings.
    pub connection: &'a str,
    /// How to reach the other side.
    pub transport: &'a Transport,
    /// What to do.
    pub effect: &'a Effect,
    /// A deadline round the whole try.
    pub timeout: Duration,
    /// What a dry run takes for the answer.
    pub simulated: Reply,
}

/// How to reach the other side of a connection, credentials included.
#[derive(Clone)]
pub enum Transport {
    /// Nothing to reach: the embedded records.
    Embedded,
    /// HTTP with a connection's base, headers and credentials, or without any.
    Http(Arc<http::HttpTransport>),
    /// SMTP.
    Smtp(Arc<mail::SmtpTransport>),
    /// The outbox folder.
    Outbox(Arc<outbox::Outbox>),
}

/// Performs effects.
pub trait Effects: Send + Sync {
    /// Performs one effect. Never panics; every fault is a [`Reply::Failed`].
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply>;
    /// Told of every record write that the engine is about to commit.
    fn note_record(&self, action: &str, write: &RecordWrite) {
        let _ = (action, write);
    }
}

/// Sends for real.
#[derive(Debug, Default, Clone, Copy)]
pub struct Real;

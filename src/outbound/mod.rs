//! Effects: the only module through which anything leaves the machine.
//!
//! Connectors describe effects and never hold a secret; [`Effects`] performs them and attaches credentials.
//! [`Real`] sends, [`recorded::Recorded`] writes down: that is what makes a dry run honest.

pub mod auth;
pub mod faulty;
pub mod http;
pub mod mail;
pub mod outbox;
pub mod recorded;
pub mod records;
pub mod sql;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Fut, Micros};
use crate::run::Failure;
use crate::store::{RecordQuery, RecordRow, RecordWrite};

/// Something to do to the outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// An HTTP request.
    Http(HttpRequest),
    /// A mail.
    Email(Box<EmailMessage>),
    /// A write to the embedded records: done by the engine's commit, never by [`Effects::perform`].
    Record(RecordWrite),
    /// A look at the embedded records.
    ReadRecords(RecordQuery),
    /// Something to ask a database of.
    Sql(Box<sql::SqlRequest>),
    /// Log in, say goodbye: how a connection is tried that takes no harmless request. SMTP only.
    LogIn,
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
    /// The embedded records that fit.
    Records(Vec<RecordRow>),
    /// What a database answered.
    Sql(sql::SqlReply),
    /// The other side let us in.
    LoggedIn,
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
    /// Whether recordings hide what it carries.
    pub secure: bool,
    /// The iteration of the loops round it (`00000003.00000001`); empty outside every loop.
    pub idx: &'a str,
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
    /// Nothing to reach.
    Embedded,
    /// The embedded records.
    Records(Arc<records::RecordReader>),
    /// The tables of a database.
    Sql(Arc<sql::Database>),
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
    fn note_record(&self, action: &str, idx: &str, write: &RecordWrite, secure: bool) {
        let _ = (action, idx, write, secure);
    }
}

/// Sends for real.
#[derive(Debug, Default, Clone, Copy)]
pub struct Real;

impl Effects for Real {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(async move {
            match (call.effect, call.transport) {
                (Effect::Http(request), Transport::Http(http)) => http.send(request, call.timeout).await,
                (Effect::Email(message), Transport::Smtp(smtp)) => smtp.send(message, call.timeout).await,
                (Effect::LogIn, Transport::Smtp(smtp)) => smtp.try_login(call.timeout).await,
                (Effect::Email(message), Transport::Outbox(outbox)) => outbox.write(message, call.timeout).await,
                // Nothing to do here: the engine commits the write with its journal.
                (Effect::Record(_), Transport::Embedded | Transport::Records(_)) => Reply::Record,
                (Effect::ReadRecords(query), Transport::Records(records)) => records.read(query, call.timeout).await,
                (Effect::Sql(request), Transport::Sql(database)) => database.perform(request, call.timeout).await,
                _ => Reply::Failed(wrong_transport(call.connection)),
            }
        })
    }
}

impl Transport {
    /// Who sends mails that name nobody; `None` when it takes no mails.
    pub fn default_from(&self) -> Option<&str> {
        match self {
            Self::Smtp(smtp) => Some(smtp.default_from()),
            Self::Outbox(_) => Some(mail::OUTBOX_SENDER),
            Self::Embedded | Self::Records(_) | Self::Sql(_) | Self::Http(_) => None,
        }
    }
}

/// The certificates of PEM texts. A text without any is an error: the authority that somebody counts on is not there.
fn certificates(ca: &[Vec<u8>]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for pem in ca {
        let before = found.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            found.push(certificate.map_err(|_| "`ca` names a file whose PEM cannot be read")?);
        }
        if found.len() == before {
            return Err("`ca` names a file that holds no PEM certificate".into());
        }
    }
    Ok(found)
}

/// The connection's type was changed in leadflow.yaml while a run that uses it otherwise waited.
fn wrong_transport(connection: &str) -> Failure {
    let message = format!("connection `{connection}` cannot do this; its type was changed in leadflow.yaml");
    Failure::terminal("wrong_connection", message)
}

/// An error and everything under it. An I/O error hides what it wraps from `source`, so it is opened.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain: Vec<&'a (dyn Error + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        chain.push(cause);
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    chain
}

/// Whether a server showed an authority's certificate as its own. The type that says so is private to the TLS library.
fn is_authority_as_server(fault: &rustls::Error) -> bool {
    matches!(fault, rustls::Error::InvalidCertificate(_)) && format!("{fault:?}").contains("CaUsedAsEndEntity")
}

/// What a TLS fault means. A certificate does not repair itself by trying again; a broken handshake may.
fn tls_failure(fault: &rustls::Error, host: &str) -> Failure {
    use rustls::{CertificateError, Error};
    let why = match fault {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => "has expired",
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "is for another name",
        Error::InvalidCertificate(_) => "is not trusted; if it is your own authority, name its file under `ca`",
        _ => return Failure::retryable("tls_failed", format!("the TLS handshake with {host} failed")),
    };
    Failure::terminal("tls_certificate", format!("the certificate of {host} {why}"))
}

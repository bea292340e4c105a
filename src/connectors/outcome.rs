//! How an operation ends: outputs that are the same for every system, and what a status of HTTP means.

use serde_json::{Map, Value, json};

use super::Progress;
use crate::outbound::HttpReply;
use crate::run::Failure;
use crate::store::RecordWrite;

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The action's outputs.
    pub outputs: Value,
    /// `created`, `duplicate`, …: shown beside the status.
    pub outcome: Option<String>,
    /// The other side may have acted twice.
    pub possible_repeat: bool,
    /// Writes to the embedded records that belong to the commit of this end.
    pub writes: Vec<RecordWrite>,
}

impl Outcome {
    /// An end with these outputs and nothing else to tell.
    pub fn new(outputs: Value) -> Self {
        Self { outputs, outcome: None, possible_repeat: false, writes: Vec::new() }
    }

    /// The end of `get_record`.
    pub fn found(record: Value) -> Self {
        Self::new(Value::Object(Map::from_iter([("record".to_owned(), record)])))
    }

    /// The end of `list_records`.
    pub fn listed(records: Vec<Value>) -> Self {
        Self::new(Value::Object(Map::from_iter([("records".to_owned(), Value::Array(records))])))
    }

    /// The same end, flagged: an earlier try may have acted too.
    #[must_use]
    pub fn flagged(mut self, possible_repeat: bool) -> Self {
        self.possible_repeat = possible_repeat;
        self
    }
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// There is a new record.
    Created,
    /// A record that was there has new values.
    Updated,
    /// A record that was there has stayed as it was.
    Duplicate,
}

impl Did {
    /// `created`, `updated`, `duplicate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Duplicate => "duplicate",
        }
    }
}

/// The end of a write: the same outputs for every system.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What it did.
    pub did: Did,
    /// The record's id; `None` where the system gives none.
    pub id: Option<String>,
    /// Where people see it.
    pub url: Option<String>,
    /// Its fields as the system gave them back, else as they were sent.
    pub record: Value,
    /// The system's answer as it came; null when it gave none.
    pub raw: Value,
}

impl Written {
    /// The outcome: `id url outcome record raw`.
    pub fn outcome(self) -> Outcome {
        let did = self.did.as_str();
        let outputs = json!({
            "id": self.id, "url": self.url, "outcome": did, "record": self.record, "raw": self.raw,
        });
        Outcome { outcome: Some(did.to_owned()), ..Outcome::new(outputs) }
    }

    /// The end of the operation.
    pub fn done(self) -> Progress {
        Progress::Done(Ok(self.outcome()))
    }
}

/// What an HTTP status that is no success means for every API: 408 and 5xx may work later, 429 (and 503 that says
/// when) asks the whole connection to wait, 401 refuses the credentials, the rest never works. `said` is the system's
/// own word (a code or a message without lead data), if it has one.
pub fn refused(asked: &str, reply: &HttpReply, said: Option<&str>) -> Failure {
    let status = reply.status;
    let code = format!("http_{status}");
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    let message = format!("{asked} was answered with {}{said}", named(status));
    match status {
        429 => Failure::throttled(code, message, reply.retry_after),
        503 if reply.retry_after.is_some() => Failure::throttled(code, message, reply.retry_after),
        408 | 500..=599 => Failure { retry_after: reply.retry_after, ..Failure::retryable(code, message) },
        300..=399 => Failure::terminal(code, format!("{message}; redirects are not followed: write the final URL")),
        401 => Failure::credentials(code, format!("{message}; check the credentials (`auth` of the connection)")),
        403 => Failure::terminal(code, format!("{message}; check the credentials (`auth` of the connection)")),
        _ => Failure::terminal(code, message),
    }
}

/// `503 Service Unavailable`.
pub fn named(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Class;

    #[test]
    fn statuses_are_judged_the_same_for_every_api() {
        let judged = |status, retry_after| {
            let reply = HttpReply { status, headers: Vec::new(), body: Value::Null, retry_after };
            refused("POST to a.example", &reply, Some("QUOTA"))
        };
        for (status, retry_after, class) in [
            (429, None, Class::Throttled),
            (503, Some(7), Class::Throttled),
            (503, None, Class::Retryable),
            (408, None, Class::Retryable),
            (500, Some(7), Class::Retryable),
            (401, None, Class::Credentials),
            (403, None, Class::Terminal),
            (302, None, Class::Terminal),
            (400, None, Class::Terminal),
        ] {
            let failure = judged(status, retry_after);
            assert_eq!((failure.class, failure.retry_after), (class, retry_after), "{status}");
            assert_eq!(failure.code, format!("http_{status}"));
            assert!(failure.message.contains("QUOTA"), "{}", failure.message);
        }
    }

    #[test]
    fn every_system_gives_the_same_outputs() {
        let written =
            Written { did: Did::Duplicate, id: Some("7".into()), url: None, record: json!({"a": 1}), raw: Value::Null };
        let outcome = written.outcome();
        assert_eq!(
            outcome.outputs,
            json!({"id": "7", "url": null, "outcome": "duplicate", "record": {"a": 1}, "raw": null})
        );
        assert_eq!(outcome.outcome.as_deref(), Some("duplicate"));
    }
}

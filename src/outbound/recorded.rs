//! Recorded effects: a dry run writes down what would be sent and sends nothing.
//!
//! Promise: no socket, no name looked up, no byte on disk; what is written down is what [`super::Real`] would send, and
//! secrets are `***` in it. What `Real` refuses before it sends anything (a bad URL, a private address) fails here too.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::sql::{SqlRequest, Statement};
use super::{
    Call, Effect, Effects, EmailMessage, HttpBody, HttpRequest, Reply, Transport, http, mail, wrong_transport,
};
use crate::clock::Fut;
use crate::flow::secure::hide_effect;
use crate::run::Failure;
use crate::store::{RecordQuery, RecordWrite};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Words in a header's or parameter's name that tell of a secret.
const SECRET_WORDS: &[&str] = &["auth", "cookie", "key", "password", "secret", "signature", "token"];

/// Performs nothing, remembers everything.
#[derive(Debug, Default)]
pub struct Recorded {
    effects: Mutex<Vec<Value>>,
}

impl Recorded {
    /// Nothing recorded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was recorded, in order, as `dry-run --json` prints it under `effects`.
    pub fn effects_json(&self) -> Vec<Value> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, mut effect: Value, secure: bool) {
        if secure {
            hide_effect(&mut effect);
        }
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
    }
}

impl Effects for Recorded {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        let mut shown = match (call.effect, call.transport) {
            (Effect::Http(request), Transport::Http(http)) => show_http(call.action, request, http),
            (Effect::Email(message), Transport::Smtp(_) | Transport::Outbox(_)) => {
                show_email(call.action, message, call.transport.default_from().unwrap_or(mail::OUTBOX_SENDER))
            }
            // Told by `note_record` when the engine commits it.
            (Effect::Record(_), Transport::Embedded | Transport::Records(_)) => {
                return Box::pin(std::future::ready(Reply::Record));
            }
            (Effect::ReadRecords(query), Transport::Records(_)) => Ok(show_query(call.action, query)),
            (Effect::Sql(request), Transport::Sql(_)) => match show_sql(call.action, call.connection, request) {
                Some(shown) => Ok(shown),
                None => return Box::pin(std::future::ready(call.simulated)),
            },
            _ => Err(wrong_transport(call.connection)),
        };
        if let Ok(effect) = &mut shown {
            place(effect, call.idx);
        }
        let reply = match shown {
            Ok(effect) => {
                self.push(effect, call.secure);
                call.simulated
            }
            Err(failure) => Reply::Failed(failure),
        };
        Box::pin(std::future::ready(reply))
    }

    fn note_record(&self, action: &str, idx: &str, write: &RecordWrite, secure: bool) {
        let mut effect = json!({
            "action": action, "kind": "record", "connection": write.connection, "operation": write.mode.as_str(),
            "entity": write.entity, "id": write.id, "fields": write.fields,
        });
        place(&mut effect, idx);
        self.push(effect, secure);
    }
}

/// Inside loops, an effect says of which iteration it is, as an action does: `"index": [0, 2]`.
fn place(effect: &mut Value, idx: &str) {
    if !idx.is_empty() {
        effect["index"] = idx.split('.').filter_map(|number| number.parse::<u32>().ok()).collect();
    }
}

fn show_http(action: &str, request: &HttpRequest, transport: &http::HttpTransport) -> Result<Value, Failure> {
    let target = transport.target(request)?;
    let mut headers = Map::new();
    for (name, value) in &target.headers {
        let value = if is_secret(name) { HIDDEN } else { value };
        match headers.get_mut(name) {
            Some(Value::String(first)) => *first = format!("{first}, {value}"),
            _ => drop(headers.insert(name.clone(), value.into())),
        }
    }
    headers.extend(target.secret_names().map(|name| (name.to_owned(), HIDDEN.into())));
    let body = match &request.body {
        None => Value::Null,
        Some(HttpBody::Json(value)) => value.clone(),
        Some(HttpBody::Text(text)) => Value::String(text.clone()),
    };
    Ok(json!({
        "action": action, "kind": "http", "method": target.method, "url": transport.shown_url(&target), "headers": transport.stand_ins().hide_in(headers.into()),
        "body": transport.stand_ins().hide_in(body),
    }))
}

/// A look at embedded records: `get` for one that is meant, `list` for any that fit.
fn show_query(action: &str, query: &RecordQuery) -> Value {
    let mut shown = json!({
        "action": action, "kind": "record", "connection": query.connection,
        "operation": if query.is_list { "list" } else { "get" }, "entity": query.entity,
    });
    if let Some(id) = &query.id {
        shown["id"] = json!(id);
    }
    if !query.filter.is_empty() {
        shown["where"] = json!(query.filter);
    }
    shown
}

/// A statement; `None` for what only reads what a table is like.
fn show_sql(action: &str, connection: &str, request: &SqlRequest) -> Option<Value> {
    let SqlRequest::Run(run) = request else { return None };
    let (first, rest) = run.statements.split_first()?;
    let parameters = |statement: &Statement| -> Value {
        statement.parameters.iter().map(|parameter| parameter.value.clone()).collect()
    };
    let mut shown = json!({
        "action": action, "kind": "sql", "connection": connection, "operation": run.operation,
        "entity": run.entity, "statement": first.text, "parameters": parameters(first),
    });
    if !rest.is_empty() {
        let rest = rest.iter().map(|one| json!({ "statement": one.text, "parameters": parameters(one) }));
        shown["else"] = rest.collect();
    }
    Some(shown)
}

/// The mail is built as it would be sent, so that what cannot be sent fails.
fn show_email(action: &str, message: &EmailMessage, default_from: &str) -> Result<Value, Failure> {
    mail::build(message, default_from)?;
    let mut shown = json!({
        "action": action, "kind": "email", "from": message.from.as_deref().unwrap_or(default_from), "to": message.to,
        "cc": message.cc, "bcc": message.bcc, "subject": message.subject, "text": message.text, "html": message.html,
        "message_id": format!("<{}>", message.message_id),
    });
    // What few mails have stands there only when this one has it.
    if !message.reply_to.is_empty() {
        shown["reply_to"] = json!(message.reply_to);
    }
    if let Some(importance) = &message.importance {
        shown["importance"] = json!(importance);
    }
    if !message.attachments.is_empty() {
        let attachments = message
            .attachments
            .iter()
            .map(|file| json!({ "name": file.name, "content_type": file.content_type, "bytes": file.content.len() }));
        shown["attachments"] = attachments.collect();
    }
    Ok(shown)
}

/// Whether a header of this name may hold a secret, by its name.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name != "idempotency-key" && SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ids::RunId;
    use crate::outbound::http::{Credentials, HttpClientSettings, HttpTransport, Origin};
    use crate::outbound::outbox::Outbox;
    use crate::secret::Secret;

    fn call<'a>(transport: &'a Transport, effect: &'a Effect) -> Call<'a> {
        let simulated = Reply::Email { message_id: "simulated".into(), detail: String::new() };
        Call {
            action: "act",
            secure: false,
            idx: "",
            connection: "con",
            transport,
            effect,
            timeout: Duration::ZERO,
            simulated,
        }
    }

    #[tokio::test]
    async fn http_is_shown_whole_and_without_secrets() {
        let origin = Origin {
            base_url: Some("https://erp.example/v1".into()),
            headers: vec![("X-Api-Key".into(), "hunter2".into())],
            query: vec![("v".into(), "2".into())],
            auth: Credentials::Bearer { token: Secret::new("hunter2") },
        };
        let http = HttpTransport::connection(&HttpClientSettings::default(), origin).expect("settings");
        let transport = Transport::Http(Arc::new(http));
        let mut request = HttpRequest {
            method: "POST".into(),
            url: "leads".into(),
            query: vec![("q".into(), "a b".into())],
            headers: vec![("Idempotency-Key".into(), "k".into())],
            body: Some(HttpBody::Json(json!({"a": 1}))),
            url_from_value: false,
        };
        let recorded = Recorded::new();
        let effect = Effect::Http(request.clone());
        assert!(matches!(recorded.perform(call(&transport, &effect)).await, Reply::Email { .. }));
        assert_eq!(
            recorded.effects_json(),
            [json!({
                "action": "act", "kind": "http", "method": "POST", "url": "https://erp.example/v1/leads?q=a%20b&v=2",
                "headers": {"Idempotency-Key": "k", "X-Api-Key": "***", "Content-Type": "application/json", "Authorization": "***"},
                "body": {"a": 1},
            })]
        );
        request.url = "http://169.254.169.254/".into();
        request.url_from_value = true;
        let effect = Effect::Http(request);
        let Reply::Failed(failure) = recorded.perform(call(&transport, &effect)).await else { panic!("refused") };
        assert_eq!(failure.code, "private_address");
        assert_eq!(recorded.effects_json().len(), 1);
    }

    #[tokio::test]
    async fn mails_are_shown_and_not_written() {
        let data = tempfile::tempdir().expect("a folder");
        let transport = Transport::Outbox(Arc::new(Outbox::open(data.path())));
        let recorded = Recorded::new();
        let effect = Effect::Email(Box::new(mail::message_for_tests("k@leadflow")));
        recorded.perform(call(&transport, &effect)).await;
        assert_eq!(
            recorded.effects_json(),
            [json!({
                "action": "act", "kind": "email", "from": "leadflow@localhost", "to": ["to@contoso.example"], "cc": [],
                "bcc": [], "subject": "New lead", "text": "Hello", "html": null, "message_id": "<k@leadflow>",
            })]
        );
        assert_eq!(std::fs::read_dir(data.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn records_are_noted() {
        let write = RecordWrite {
            connection: "crm".into(),
            entity: "leads".into(),
            id: "1".into(),
            fields: json!({"a": 1}),
            run_id: RunId::from_bytes([1; 16]),
            mode: crate::store::RecordMode::Create,
            created_at: 0,
        };
        let recorded = Recorded::new();
        recorded.note_record("act", "", &write, false);
        assert_eq!(
            recorded.effects_json(),
            [json!({"action": "act", "kind": "record", "connection": "crm", "operation": "create", "entity": "leads",
                "id": "1", "fields": {"a": 1}})]
        );
        recorded.note_record("act", "", &write, true);
        let hidden = json!({"action": "act", "kind": "record", "connection": "crm", "operation": "create",
            "entity": "leads", "id": "***", "fields": "***"});
        assert_eq!(recorded.effects_json().pop(), Some(hidden), "what is secure tells only what happens");
    }
}

//! The tests of a connector file: an operation in, requests out; canned answers in, an outcome out. No I/O.

use std::sync::Arc;

use serde_json::{Value, json};

use super::format::{ClassWord, ExchangeFile, MailFile, OperationWord, TestFile};
use super::plan::Plan;
use super::settings::Ready;
use super::speak::Spoken;
use crate::connectors::{
    CreateRecord, Dialect, GetRecord, ListRecords, OpContext, Operation, Outcome, Progress, SendEmail, Talk, Target,
    UpdateRecord, UpsertRecord,
};
use crate::diagnostic::Diagnostic;
use crate::ids::{IdempotencyKey, RunId};
use crate::outbound::http::{HttpClientSettings, HttpTransport};
use crate::outbound::{Attachment, Effect, HttpBody, HttpReply, HttpRequest, Reply};
use crate::run::{Class, Failure};
use crate::template::equals;
use crate::yaml::{Doc, child, dotted};

/// When the run of a test was received: 14 November 2023, 22:13:20 UTC.
const RECEIVED_AT: crate::clock::Micros = 1_700_000_000_000_000;

/// The records that a list of a test wants, where it does not say.
const LIMIT_DEFAULT: usize = 100;

/// What is wrong with a test: where in it, and what.
struct Fault(String, String);

/// Runs every test of the file.
pub(super) fn run(plan: &Arc<Plan>, doc: &Doc) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (index, test) in plan.tests.iter().enumerate() {
        let pointer = format!("/tests/{index}");
        if let Err(Fault(below, message)) = one(plan, test) {
            let at = format!("{pointer}{below}");
            let message = format!("the test `{}` fails: {message}", test.name);
            findings.push(Diagnostic::new("connector_test", doc.key_place(&at), dotted(&at), message));
        }
    }
    findings
}

fn one(plan: &Arc<Plan>, test: &TestFile) -> Result<(), Fault> {
    let bad = |message: String| Fault("/settings".into(), message);
    let ready = Ready::new(plan, &Value::Object(test.settings.clone()), true).map_err(bad)?;
    let spoken = Spoken::new(Arc::clone(plan), &ready);
    let transport = HttpTransport::connection(&HttpClientSettings::default(), ready.origin).map_err(bad)?;
    let transport = transport.with_stand_ins(ready.stand_ins, false);
    let operation = operation(test)?;
    let run_id = RunId::from_bytes([7; 16]);
    let key = IdempotencyKey::new(run_id, "test", "", 0);
    let cx =
        OpContext { connection: "test", run_id, key, received_at: RECEIVED_AT, possible_repeat: test.possible_repeat };
    let mut talk = Talk { n: 0, key, notes: Value::Null };
    let mut progress = match spoken.start(&operation, &cx) {
        Ok(effect) => Progress::Send(effect),
        Err(failure) => Progress::Done(Err(failure)),
    };
    for (index, exchange) in test.calls.iter().enumerate() {
        let at = format!("/calls/{index}");
        let effect = match progress {
            Progress::Send(effect) => effect,
            Progress::Done(Ok(_)) => return Err(Fault(at, "the operation has ended before this request".into())),
            Progress::Done(Err(failure)) => {
                return Err(Fault(at, format!("it has failed before this request: {failure}")));
            }
        };
        let Effect::Http(request) = effect else { return Err(Fault(at, "the effect is no request".into())) };
        compare(exchange, &request, &transport, key)
            .map_err(|Fault(below, message)| Fault(format!("{at}{below}"), message))?;
        talk.n = u32::try_from(index).unwrap_or(u32::MAX);
        progress = spoken.on_reply(&operation, &cx, &mut talk, reply(exchange, key));
    }
    match progress {
        Progress::Send(Effect::Http(request)) => {
            let url = transport.target(&request).map(|target| target.url.to_string()).unwrap_or_default();
            Err(Fault("/calls".into(), format!("one more request is sent: {} {url}", request.method)))
        }
        Progress::Send(_) => Err(Fault("/calls".into(), "one more effect is sent".into())),
        Progress::Done(Ok(outcome)) => ended(test, &outcome, key),
        Progress::Done(Err(failure)) => failed(test, &failure),
    }
}

fn operation(test: &TestFile) -> Result<Operation, Fault> {
    let missing = |key: &str| Fault(String::new(), format!("it needs the key `{key}`"));
    let entity = || test.entity.clone().ok_or_else(|| missing("entity"));
    let target = || match (&test.id, &test.key) {
        (Some(id), _) => Ok(Target::Id(id.clone())),
        (None, Some(key)) => Ok(Target::Key(key.clone())),
        (None, None) => Err(missing("id")),
    };
    let fields = || test.fields.clone();
    Ok(match test.operation {
        OperationWord::CreateRecord => Operation::CreateRecord(CreateRecord {
            entity: entity()?,
            fields: fields(),
            on_duplicate: test.on_duplicate,
        }),
        OperationWord::UpdateRecord => {
            Operation::UpdateRecord(UpdateRecord { entity: entity()?, target: target()?, fields: fields() })
        }
        OperationWord::UpsertRecord => {
            Operation::UpsertRecord(UpsertRecord { entity: entity()?, target: target()?, fields: fields() })
        }
        OperationWord::GetRecord => Operation::GetRecord(GetRecord { entity: entity()?, target: target()? }),
        OperationWord::ListRecords => Operation::ListRecords(ListRecords {
            entity: entity()?,
            filter: test.filter.clone(),
            select: test.select.clone(),
            order_by: test.order_by.iter().map(|word| ordered(word)).collect(),
            limit: test.limit.unwrap_or(LIMIT_DEFAULT),
        }),
        OperationWord::SendEmail => Operation::SendEmail(mail(test.mail.as_ref().ok_or_else(|| missing("mail"))?)),
    })
}

/// `-created` is `created`, descending.
fn ordered(word: &str) -> (String, bool) {
    word.strip_prefix('-').map_or((word.to_owned(), false), |field| (field.to_owned(), true))
}

fn mail(mail: &MailFile) -> SendEmail {
    let attachments = mail.attachments.iter().map(|file| Attachment {
        name: file.name.clone(),
        content: file.content.clone().into_bytes(),
        content_type: file.content_type.clone(),
    });
    SendEmail {
        from: mail.from.clone(),
        to: mail.to.clone(),
        cc: mail.cc.clone(),
        bcc: mail.bcc.clone(),
        reply_to: mail.reply_to.clone(),
        subject: mail.subject.clone(),
        text: mail.text.clone(),
        html: mail.html.clone(),
        importance: mail.importance.clone(),
        attachments: attachments.collect(),
    }
}

fn reply(exchange: &ExchangeFile, key: IdempotencyKey) -> Reply {
    let Some(answer) = &exchange.answer else {
        return Reply::Failed(Failure::unknown("unknown_outcome", "the connection broke"));
    };
    let mut headers: Vec<(String, String)> =
        answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    if !headers.iter().any(|(name, _)| name == "content-type") && (answer.body.is_object() || answer.body.is_array()) {
        headers.push(("content-type".into(), "application/json".into()));
    }
    let seconds = headers.iter().find(|(name, _)| name == "retry-after").and_then(|(_, text)| text.parse::<i64>().ok());
    Reply::Http(HttpReply {
        status: answer.status.unwrap_or(200),
        headers,
        body: meant(&answer.body, key),
        retry_after: seconds.map(|seconds| seconds.saturating_mul(crate::clock::MICROS_PER_SEC)),
    })
}

fn compare(
    exchange: &ExchangeFile,
    sent: &HttpRequest,
    transport: &HttpTransport,
    key: IdempotencyKey,
) -> Result<(), Fault> {
    let wanted = &exchange.request;
    let fault = |key: &str, message: String| Err(Fault(child("/request", key), message));
    let reveal = |value: Value| transport.stand_ins().reveal_in(value);
    let target = transport.target(sent).map_err(|failure| Fault("/request".into(), failure.to_string()))?;
    if let Some(method) = wanted.method.as_ref().filter(|method| **method != sent.method) {
        return fault("method", format!("the method is {}, not {method}", sent.method));
    }
    let url = reveal(json!(target.url.as_str()));
    if let Some(wanted) = wanted.url.as_ref().map(|url| meant(&json!(url), key)).filter(|wanted| url != *wanted) {
        return fault("url", format!("the URL is {url}, not {wanted}"));
    }
    for (name, value) in &wanted.headers {
        let sent = target.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let sent = sent.map_or(Value::Null, |(_, value)| reveal(json!(value)));
        let value = &meant(value, key);
        if sent != *value {
            return fault("headers", format!("the header `{name}` is {sent}, not {value}"));
        }
    }
    let body = match &sent.body {
        None => Value::Null,
        Some(HttpBody::Json(value)) => reveal(value.clone()),
        Some(HttpBody::Text(text)) => reveal(json!(text)),
    };
    match wanted.body.as_ref().map(|body| meant(body, key)) {
        Some(wanted) if !same(&wanted, &body) => fault("body", format!("the body is {body}, not {wanted}")),
        _ => Ok(()),
    }
}

/// What is expected, with the operation's key in its places.
fn meant(value: &Value, key: IdempotencyKey) -> Value {
    match value {
        Value::String(text) => {
            json!(text.replace("$KEY", &key.hex()).replace("$UUID", &key.uuid().to_string()))
        }
        Value::Array(items) => items.iter().map(|item| meant(item, key)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| (name.clone(), meant(value, key)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// Equal values with equal types: 1 is no "1", 1.0 is 1.
fn same(one: &Value, other: &Value) -> bool {
    equals(one, other)
}

fn ended(test: &TestFile, outcome: &Outcome, key: IdempotencyKey) -> Result<(), Fault> {
    if let Some(failure) = &test.failure {
        return Err(Fault("/failure".into(), format!("it succeeds, where it should fail with {}", failure.code)));
    }
    for (name, wanted) in test.outputs.iter().flatten() {
        let value = outcome.outputs.get(name).unwrap_or(&Value::Null);
        let wanted = &meant(wanted, key);
        if !same(wanted, value) {
            return Err(Fault(child("/outputs", name), format!("`{name}` is {value}, not {wanted}")));
        }
    }
    match test.flagged {
        Some(wanted) if wanted != outcome.possible_repeat => {
            let flagged = outcome.possible_repeat;
            Err(Fault("/flagged".into(), format!("it is flagged as a possible repeat: {flagged}, not {wanted}")))
        }
        _ => Ok(()),
    }
}

fn failed(test: &TestFile, failure: &Failure) -> Result<(), Fault> {
    let Some(wanted) = &test.failure else {
        let at = if test.outputs.is_some() { "/outputs" } else { "" };
        return Err(Fault(at.into(), format!("it fails: {failure}")));
    };
    if wanted.code != failure.code {
        return Err(Fault("/failure/code".into(), format!("it fails with {failure}, not {}", wanted.code)));
    }
    if let Some(class) = wanted.class.filter(|class| class_of(*class) != failure.class) {
        return Err(Fault("/failure/class".into(), format!("the failure is {:?}, not {class:?}", failure.class)));
    }
    match wanted.message.as_ref().filter(|words| !failure.message.contains(words.as_str())) {
        Some(words) => Err(Fault("/failure/message".into(), format!("`{}` does not say `{words}`", failure.message))),
        None => Ok(()),
    }
}

fn class_of(word: ClassWord) -> Class {
    match word {
        ClassWord::Retryable => Class::Retryable,
        ClassWord::Throttled => Class::Throttled,
        ClassWord::Credentials => Class::Credentials,
        ClassWord::Unknown => Class::Unknown,
        ClassWord::TimedOut => Class::TimedOut,
        ClassWord::Terminal => Class::Terminal,
    }
}

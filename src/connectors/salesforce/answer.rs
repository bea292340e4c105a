//! What Salesforce says when it does not do what it is asked: lists of errors, each with a code.

use serde_json::Value;

use crate::connectors::api::Asked;
use crate::connectors::refused;
use crate::outbound::HttpReply;
use crate::run::{Class, Failure};

/// The credentials are not believed, whatever the status.
const CREDENTIALS: &[&str] = &["INVALID_SESSION_ID", "INVALID_AUTH_HEADER", "SESSION_EXPIRED"];

/// The whole org is to wait.
const THROTTLED: &[&str] = &["REQUEST_LIMIT_EXCEEDED", "TOO_MANY_REQUESTS", "SERVER_UNAVAILABLE"];

/// Nothing was done, and it may work later.
const LATER: &[&str] = &["UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT", "CANNOT_EXECUTE_REQUEST_AT_THIS_TIME"];

/// The record is not there.
const NOT_FOUND: &[&str] = &["NOT_FOUND", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"];

/// The record is there.
const DUPLICATES: &[&str] = &["DUPLICATES_DETECTED", "DUPLICATE_VALUE", "DUPLICATE_EXTERNAL_ID"];

/// The first error: its code and message.
pub(super) fn error(reply: &HttpReply) -> (&str, &Value) {
    let first = reply.body.get(0).unwrap_or(&Value::Null);
    (first["errorCode"].as_str().unwrap_or_default(), first)
}

pub(super) fn is_duplicate(reply: &HttpReply) -> bool {
    reply.status >= 400 && DUPLICATES.contains(&error(reply).0)
}

/// The id of the record that is there: of a duplicate rule the first match of the same object, of a unique field what
/// the message tells. Matches of other objects (a contact for a lead) are no record that could be taken for this one.
pub(super) fn existing(reply: &HttpReply, entity: &str) -> Option<String> {
    let (code, error) = error(reply);
    if code == "DUPLICATES_DETECTED" {
        let results = error["duplicateResult"]["matchResults"].as_array()?;
        let same = results.iter().filter(|result| is_of(&result["entityType"], entity));
        let mut records = same.filter_map(|result| result["matchRecords"].as_array()).flatten();
        return records.find_map(|matched| id(matched["record"]["Id"].as_str()?));
    }
    let message = error["message"].as_str()?;
    id(message.rsplit_once("record with id:")?.1)
}

fn is_of(kind: &Value, entity: &str) -> bool {
    kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(entity))
}

/// The id at the start of `text`.
fn id(text: &str) -> Option<String> {
    let id: String = text.trim().chars().take_while(char::is_ascii_alphanumeric).collect();
    matches!(id.len(), 15 | 18).then_some(id)
}

/// Why Salesforce did not do it.
pub(super) fn refusal(reply: &HttpReply, asked: Asked<'_>) -> Failure {
    if (200..=299).contains(&reply.status) {
        return asked.unexpected_answer();
    }
    if reply.status == 300 {
        return asked.bad_key("several records have this external id");
    }
    let (code, error) = error(reply);
    if NOT_FOUND.contains(&code) && asked.wants_a_record() {
        return asked.not_found();
    }
    if DUPLICATES.contains(&code) {
        return asked.duplicate("");
    }
    // `fields` names the fields; texts of validation rules may hold anything.
    let fields = error["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words = fields.chain(error["message"].as_str()).collect::<Vec<_>>().join(" ");
    let failure = refused(&asked.to_string(), reply, asked.said(code, &words).as_deref());
    let class = match code {
        _ if CREDENTIALS.contains(&code) => Class::Credentials,
        _ if THROTTLED.contains(&code) => Class::Throttled,
        _ if LATER.contains(&code) => Class::Retryable,
        _ => failure.class,
    };
    Failure { class, ..failure }
}

//! What the table service says when it does not do what it is asked: JSON, or XML where it did not get that far.

use serde_json::Value;

use crate::connectors::api::Asked;
use crate::connectors::refused;
use crate::outbound::HttpReply;
use crate::run::{Class, Failure};

/// The key or signature is not believed. The service says 403 to that.
const CREDENTIALS: &[&str] = &["AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"];

/// How the emulator says the same, under another code.
const NOT_BELIEVED: &str = "Server failed to authenticate the request";

/// The account is to wait.
const THROTTLED: &[&str] = &["ServerBusy"];

/// The code and message of a refusal.
pub(super) fn error(reply: &HttpReply) -> (&str, &str) {
    let json = &reply.body["odata.error"];
    let (code, message) = match json["code"].as_str() {
        Some(code) => (code, json["message"]["value"].as_str().unwrap_or_default()),
        None => {
            let xml = reply.body.as_str().unwrap_or_default();
            let code = between(xml, "<code>", "</code>").or_else(|| between(xml, "<Code>", "</Code>"));
            (code.unwrap_or_default(), xml)
        }
    };
    if message.contains(NOT_BELIEVED) { ("AuthenticationFailed", "") } else { (code, message) }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0)
}

/// Why the service did not do it.
pub(super) fn refusal(reply: &HttpReply, asked: Asked<'_>) -> Failure {
    if (200..=299).contains(&reply.status) {
        return asked.unexpected_answer();
    }
    let (code, message) = error(reply);
    if reply.status == 404 && code == "ResourceNotFound" {
        return asked.not_found();
    }
    let said = if code == "TableNotFound" {
        Some(format!("there is no table `{}`; leadflow makes none", asked.entity()))
    } else {
        asked.said(code, message)
    };
    classed(code, refused(&asked.to_string(), reply, said.as_deref()))
}

/// A failure with the class that the service's code gives it.
pub(super) fn classed(code: &str, failure: Failure) -> Failure {
    let class = match code {
        _ if CREDENTIALS.contains(&code) => Class::Credentials,
        _ if THROTTLED.contains(&code) => Class::Throttled,
        _ => failure.class,
    };
    Failure { class, ..failure }
}

/// Whether the service knows us, but does not let us do this.
pub(super) fn is_not_allowed(reply: &HttpReply) -> bool {
    let (code, _) = error(reply);
    reply.status == 403 && !code.is_empty() && !CREDENTIALS.contains(&code)
}

/// Whether `body` is a list of tables or of records.
pub(super) fn is_list(body: &Value) -> bool {
    body["value"].is_array()
}

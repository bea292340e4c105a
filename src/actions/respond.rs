//! The `respond` action: answers the request that started the run.

use serde_json::Value;

use super::input::{self, Pairs};
use super::{Action, Answer, Next, StartContext};
use crate::connectors::declared;
use crate::flow::catalogue::{ActionSpec, OwnFinding};
use crate::run::Failure;

/// The name of its type.
pub const KIND: &str = "respond";

/// The `respond` action.
#[derive(Debug, Clone, Copy)]
pub struct Respond;

/// What `respond` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// HTTP status: 2xx, 4xx or 5xx. Default 200.
    #[schemars(extend(
        "x-template" = "plain", "default" = 200,
        "anyOf" = [{"type": "integer", "minimum": 200, "maximum": 599}, {"type": "string", "pattern": "\\{\\{"}]
    ))]
    status: Option<Value>,
    /// Header names with values. Those that belong to the connection or to cookies are not sent.
    #[schemars(extend("x-template" = "plain"))]
    headers: Option<Pairs>,
    /// The body: JSON built from YAML, or text.
    #[schemars(extend("x-template" = "plain"))]
    body: Option<Value>,
    /// The request is answered 202 as soon as it is stored, with the URL of the answer to come in the header
    /// `location`. Default: false, the request waits.
    #[expect(dead_code, reason = "read when the flow is compiled: a request is answered before the action starts")]
    #[serde(rename = "async")]
    #[schemars(extend("x-fixed" = true, "default" = false))]
    asynchronous: Option<bool>,
}

impl Action for Respond {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "answers the request that started the run",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: answer\ntype: respond\nstatus: 200\nbody:\n  received: \"{{run.id}}\"\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: true,
            check: Some(check),
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = input::read(inputs)?;
        let status = status(keys.status.as_ref())
            .ok_or_else(|| Failure::terminal("bad_status", "`status` must be a number: 2xx, 4xx or 5xx"))?;
        let mut headers = input::headers(keys.headers.unwrap_or_default())?;
        headers.retain(|(name, _)| !is_dropped(name));
        Ok(Next::Answer(Answer { status, headers, body: keys.body.unwrap_or_default() }))
    }
}

/// A status that an answer may carry; absent or null: 200.
fn status(value: Option<&Value>) -> Option<u16> {
    let number = match value {
        None | Some(Value::Null) => 200,
        Some(Value::String(text)) => text.trim().parse().ok()?,
        Some(other) => other.as_u64()?,
    };
    u16::try_from(number).ok().filter(|status| matches!(status, 200..=299 | 400..=599))
}

/// Headers that Power Automate drops from a response, and those of the connection itself (RFC 9110, 7.6.1).
fn is_dropped(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if let Some(rest) = name.strip_prefix("content-") {
        return !matches!(rest, "disposition" | "encoding" | "type");
    }
    matches!(
        name.as_str(),
        "allow"
            | "connection"
            | "cookie"
            | "expires"
            | "keep-alive"
            | "last-modified"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn check(raw: &Value) -> Vec<OwnFinding> {
    let mut findings = super::http::check_headers(raw);
    if let Some(value @ Value::Number(_)) = raw.get("status")
        && status(Some(value)).is_none()
    {
        findings.push(OwnFinding {
            pointer: "/status".into(),
            code: "bad_status",
            message: format!("respond cannot answer {value}"),
            help: Some("write a status of 200 to 299 or 400 to 599".into()),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(inputs: &Value) -> Result<Answer, String> {
        match Respond.start(inputs, &StartContext::for_tests()) {
            Ok(Next::Answer(answer)) => Ok(answer),
            Ok(other) => Err(format!("{other:?}")),
            Err(failure) => Err(failure.code),
        }
    }

    #[test]
    fn status_is_200_unless_told_and_never_a_redirect() {
        assert_eq!(start(&json!({})).expect("answers").status, 200);
        assert_eq!(start(&json!({"status": "404"})).expect("answers").status, 404);
        for status in [json!(100), json!(302), json!(600), json!("x"), json!(200.5), json!([])] {
            assert_eq!(start(&json!({ "status": status })), Err("bad_status".into()));
        }
        assert_eq!(check(&json!({"status": 302}))[0].code, "bad_status");
        assert!(check(&json!({"status": "{{x}}"})).is_empty());
    }

    #[test]
    fn connection_and_cookie_headers_are_dropped() {
        let headers =
            json!({"X-A": "1\r\nSet-Cookie: b", "Set-Cookie": "c", "Content-Length": 5, "content-type": "text/plain"});
        let answer = start(&json!({ "headers": headers, "body": "hi" })).expect("answers");
        let want = [("X-A", "1 Set-Cookie: b"), ("content-type", "text/plain")];
        assert_eq!(answer.headers, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(start(&json!({"headers": {"a b": "x"}})), Err("bad_header".into()));
    }
}

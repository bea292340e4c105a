//! The `http` action: one request to any HTTP API.

use serde_json::Value;

use super::input::{self, Pairs, Text};
use super::{Action, Next, StartContext};
use crate::connectors::{HttpCall, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind, OwnFinding};
use crate::outbound::HttpBody;
use crate::run::Failure;

/// The `http` action.
#[derive(Debug, Clone, Copy)]
pub struct Http;

/// What `http` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// A connection of type `http`, for its base URL and credentials. Without one, `url` must be absolute.
    #[expect(dead_code, reason = "declared here, resolved by the compiler")]
    #[schemars(extend("x-fixed" = true))]
    connection: Option<String>,
    /// The method.
    #[schemars(extend("enum" = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]))]
    method: String,
    /// The URL: absolute, or relative to the connection's `base_url`. Rendered values are percent-encoded; a `url`
    /// that is one lone expression is a whole URL.
    #[schemars(required, extend("x-template" = "url"))]
    url: Option<Text>,
    /// Query parameters to add; each value is percent-encoded as it is sent. Null is left out, a list repeats its name.
    #[schemars(extend("x-template" = "plain"))]
    query: Option<Pairs>,
    /// Header names with values.
    #[schemars(extend("x-template" = "plain"))]
    headers: Option<Pairs>,
    /// The body: a text is sent as it is, everything else as JSON.
    #[schemars(extend("x-template" = "plain"))]
    body: Option<Value>,
}

impl Action for Http {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "http",
            summary: "sends one request to any HTTP API",
            keys: declared::<Keys>(),
            outputs: &[
                ("status_code", "the answer's status, 200 to 299: every other fails the action"),
                ("headers", "the answer's headers, names in lower case"),
                ("body", "JSON when the answer is JSON, else text; null when empty"),
            ],
            example: "name: tell_erp\ntype: http\nmethod: POST\nurl: https://erp.example.com/leads\nheaders:\n  X-Offer: \"{{trigger.body.OfferTitle}}\"\nbody:\n  email: \"{{trigger.body.UserDetails.Email}}\"\n",
            operation: Some(OperationKind::Http),
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: true,
            responds: false,
            check: Some(check),
        }
    }

    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = input::read(inputs)?;
        let url = keys.url.map(|text| text.0.trim().to_owned()).unwrap_or_default();
        if url.is_empty() {
            return Err(Failure::terminal("bad_url", "`url` is empty"));
        }
        if has_dot_segment(&url) {
            return Err(Failure::terminal(
                "unsafe_path",
                "a segment of the URL's path is `.` or `..`, which would reach another path",
            ));
        }
        Ok(Next::Effect(Box::new(Operation::Http(HttpCall {
            method: keys.method.to_ascii_uppercase(),
            url,
            query: keys.query.unwrap_or_default().0,
            headers: input::headers(keys.headers.unwrap_or_default())?,
            body: keys.body.and_then(body),
            url_from_value: cx.url_from_value,
        }))))
    }
}

fn body(value: Value) -> Option<HttpBody> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(HttpBody::Text(text)),
        other => Some(HttpBody::Json(other)),
    }
}

/// Whether a path segment is `.` or `..` as URL parsers see it: percent-encoded dots and backslashes count.
fn has_dot_segment(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}

fn check(raw: &Value) -> Vec<OwnFinding> {
    let mut findings = check_headers(raw);
    let url = raw.get("url").and_then(Value::as_str).unwrap_or_default().trim();
    // How a URL starts is known before the first lead, unless a template stands there.
    let start = url.split("{{").next().unwrap_or_default();
    let scheme = start.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let problem = match scheme.as_deref() {
        Some("http" | "https") => None,
        Some(_) => Some("the URL must start with https:// or http://"),
        None if raw.get("connection").is_none() && (url == start || start.starts_with('/')) => {
            Some("a relative URL needs a connection with `base_url`")
        }
        None => None,
    };
    findings.extend(problem.map(|message| OwnFinding {
        pointer: "/url".into(),
        code: "bad_url",
        message: message.into(),
        help: Some("write it whole: https://erp.example.com/leads".into()),
    }));
    findings
}

/// Header names are never templates, so a bad one can be told before the first lead.
pub(super) fn check_headers(raw: &Value) -> Vec<OwnFinding> {
    let names = raw.get("headers").and_then(Value::as_object).into_iter().flat_map(|headers| headers.keys());
    names
        .filter(|name| !input::is_header_name(name))
        .map(|name| OwnFinding {
            pointer: format!("/headers/{}", name.replace('~', "~0").replace('/', "~1")),
            code: "bad_header",
            message: format!("`{name}` is not a header name"),
            help: Some("a header name has letters, digits and hyphens only, and is never a template".into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(inputs: &Value) -> Result<HttpCall, String> {
        match Http.start(inputs, &StartContext::for_tests()) {
            Ok(Next::Effect(operation)) => match *operation {
                Operation::Http(call) => Ok(call),
                other => Err(format!("{other:?}")),
            },
            Ok(other) => Err(format!("{other:?}")),
            Err(failure) => Err(failure.code),
        }
    }

    #[test]
    fn a_call_is_built_from_rendered_keys() {
        let inputs = json!({"method": "POST", "url": " https://a.example/x ", "query": {"q": 1, "n": null},
            "headers": {"X-Name": "a\r\nX-Evil: 1"}, "body": {"a": 1}});
        let call = start(&inputs).expect("starts");
        assert_eq!(call.url, "https://a.example/x");
        assert_eq!(call.query, [("q".to_owned(), "1".to_owned())]);
        assert_eq!(call.headers, [("X-Name".to_owned(), "a X-Evil: 1".to_owned())]);
        assert_eq!(call.body, Some(HttpBody::Json(json!({"a": 1}))));
    }

    #[test]
    fn dot_segments_fail_in_every_spelling() {
        for url in ["https://a/x/../y", "x/..", "./x", "x/%2e%2E/y", "x\\..\\y", "https://a/.%2e"] {
            assert_eq!(start(&json!({"method": "GET", "url": url})), Err("unsafe_path".into()), "{url}");
        }
        for url in ["https://a/x..y/...", "x?file=../y", "x#/../"] {
            assert!(start(&json!({"method": "GET", "url": url})).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_empty_url_and_a_bad_header_fail() {
        assert_eq!(start(&json!({"method": "GET", "url": null})), Err("bad_url".into()));
        assert_eq!(check_headers(&json!({"headers": {"bad name": 1, "ok": 1}})).len(), 1);
    }

    #[test]
    fn a_url_that_cannot_work_is_told_before_the_first_lead() {
        let codes = |raw: Value| check(&raw).iter().map(|finding| finding.code).collect::<Vec<_>>();
        for url in ["ftp://a.example", "/leads", "leads/new", "/leads/{{trigger.body.Id}}", "ftp://{{trigger.body.H}}"]
        {
            assert_eq!(codes(json!({"url": url})), ["bad_url"], "{url}");
        }
        for url in ["https://a.example", "HTTP://a.example/{{x}}", "{{trigger.body.Url}}", "{{parameters.base}}/x"] {
            assert_eq!(codes(json!({"url": url})), [""; 0], "{url}");
        }
        assert_eq!(codes(json!({"url": "/leads", "connection": "erp"})), [""; 0]);
    }
}

//! Any HTTP API: base URL, headers and credentials for the `http` action.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Connector, Dialect, HttpCall, OpContext, Opened, Operation, Outcome, Progress, Reach, Talk, declared, not_served,
    refused, spec_once, unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::http::{Credentials, HttpTransport, Origin};
use crate::outbound::{Effect, HttpReply, HttpRequest, Reply, Transport};
use crate::run::{Class, Failure};

/// The header by which a receiver recognises a repeat.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Any HTTP API.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http {
    /// Whether the connection has credentials: a 401 then refuses them, and not only the request.
    authenticated: bool,
    /// Whether there is a base URL to try.
    has_base: bool,
}

/// A connection of type `http`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What relative URLs are appended to: `https://api.example.com/v1`. Headers, query and credentials of this
    /// connection go to its origin only.
    #[schemars(extend("x-unit" = "url"))]
    base_url: Option<String>,
    /// Headers of every request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Query parameters of every request.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// Credentials.
    #[serde(default)]
    auth: Credentials,
}

impl Http {
    /// Speaks plain HTTP for a connection of another kind; `authenticated`: it has credentials.
    pub(super) fn new(authenticated: bool) -> Self {
        Self { authenticated, has_base: true }
    }
}

impl Connector for Http {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "http".into(),
            summary: "any HTTP API".into(),
            settings: declared::<Settings>(),
            // The Idempotency-Key header goes with every request, but nobody knows whether the other side looks at it.
            operations: vec![(OperationKind::Http, Repeat::Unsafe)],
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let settings: Settings = super::read(settings)?;
        let authenticated = !matches!(settings.auth, Credentials::None);
        let has_base = settings.base_url.is_some();
        let origin = Origin {
            base_url: settings.base_url,
            headers: settings.headers.into_iter().collect(),
            query: settings.query.into_iter().collect(),
            auth: settings.auth,
        };
        let client = reach.http.clone().with_ca(&reach.ca);
        let transport = Transport::Http(Arc::new(HttpTransport::connection(&client, origin)?));
        Ok(Opened { dialect: Arc::new(Self { authenticated, has_base }), transport })
    }
}

impl Dialect for Http {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let Operation::Http(call) = operation else { return Err(not_served(cx.connection)) };
        let mut headers = call.headers.clone();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY)) {
            headers.push((IDEMPOTENCY_KEY.into(), cx.key.hex()));
        }
        Ok(Effect::Http(HttpRequest {
            method: call.method.clone(),
            url: call.url.clone(),
            query: call.query.clone(),
            headers,
            body: call.body.clone(),
            url_from_value: call.url_from_value,
        }))
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, _: &mut Talk, reply: Reply) -> Progress {
        match (operation, reply) {
            (Operation::Http(call), Reply::Http(reply)) => {
                Progress::Done(self.judge(&asked(call, cx), reply, cx.possible_repeat))
            }
            (_, Reply::Failed(failure)) => Progress::Done(Err(failure)),
            _ => unexpected(),
        }
    }

    fn simulate(&self, _: &Operation, _: &OpContext<'_>, _: &Talk, _: &Effect) -> Reply {
        Reply::Http(HttpReply { status: 200, headers: Vec::new(), body: Value::Null, retry_after: None })
    }

    /// A GET of the base URL: any API answers it somehow.
    fn login(&self) -> Option<Effect> {
        self.has_base.then(|| Effect::Http(get("")))
    }

    /// Nobody knows what an API says at its base, so only a refusal says something.
    fn logged_in(&self, reply: &Reply) -> Result<(), Failure> {
        match reply {
            Reply::Http(http) if matches!(http.status, 401 | 403) => Err(refused("the login", http, None)),
            Reply::Http(_) => Ok(()),
            other => super::live::logged_in(other),
        }
    }
}

impl Http {
    /// What serves the `http` actions of a connection of another kind.
    pub(super) const OF_AN_API: Self = Self { authenticated: true, has_base: true };
}

/// A GET without headers of its own.
pub(super) fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        url: url.into(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        url_from_value: false,
    }
}

/// What was asked of whom, for messages. Never the whole URL: its path and query may hold a lead's values, and a URL
/// that is a value may hold anything.
fn asked(call: &HttpCall, cx: &OpContext<'_>) -> String {
    let host = Url::parse(&call.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    match host {
        Some(host) if !call.url_from_value => format!("{} to {host}", call.method),
        _ if cx.connection.is_empty() => call.method.clone(),
        _ => format!("{} to connection `{}`", call.method, cx.connection),
    }
}

impl Http {
    fn judge(self, asked: &str, reply: HttpReply, possible_repeat: bool) -> Result<Outcome, Failure> {
        if (200..=299).contains(&reply.status) {
            return Ok(Outcome::new(outputs(reply)).flagged(possible_repeat));
        }
        let failure = refused(asked, &reply, None);
        Err(match failure.class {
            Class::Credentials if !self.authenticated => Failure { class: Class::Terminal, ..failure },
            _ => failure,
        })
    }
}

/// Cookies stay out: they are credentials of a session that nobody continues.
fn outputs(reply: HttpReply) -> Value {
    let mut headers = Map::new();
    for (name, value) in reply.headers.into_iter().filter(|(name, _)| name != "set-cookie") {
        match headers.get_mut(&name) {
            Some(Value::String(first)) => {
                first.push_str(", ");
                first.push_str(&value);
            }
            _ => {
                headers.insert(name, Value::String(value));
            }
        }
    }
    json!({ "status_code": reply.status, "headers": headers, "body": reply.body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::{context_for_tests, talk_for_tests};

    fn call(headers: &[(&str, &str)]) -> Operation {
        Operation::Http(HttpCall {
            method: "POST".into(),
            url: "https://a.example/".into(),
            query: Vec::new(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: None,
            url_from_value: false,
        })
    }

    fn answered(status: u16) -> Result<Outcome, Failure> {
        let headers = [("set-cookie", "a"), ("x", "1"), ("x", "2")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let reply = Reply::Http(HttpReply { status, headers, body: json!({"ok": true}), retry_after: Some(7) });
        match Http::default().on_reply(&call(&[]), &context_for_tests("erp"), &mut talk_for_tests(), reply) {
            Progress::Done(result) => result,
            Progress::Send(effect) => panic!("{effect:?}"),
        }
    }

    #[test]
    fn the_idempotency_key_goes_along_unless_the_flow_sets_its_own() {
        let cx = context_for_tests("erp");
        let headers = |call: &Operation| match Http::default().start(call, &cx).expect("starts") {
            Effect::Http(request) => request.headers,
            other => panic!("{other:?}"),
        };
        assert_eq!(headers(&call(&[])), [(IDEMPOTENCY_KEY.to_owned(), cx.key.hex())]);
        let own = call(&[("idempotency-key", "mine")]);
        assert_eq!(headers(&own), [("idempotency-key".to_owned(), "mine".to_owned())]);
    }

    #[test]
    fn messages_name_the_host_and_nothing_of_the_lead() {
        let cx = context_for_tests("erp");
        let asked = |url: &str, url_from_value| {
            asked(
                &HttpCall {
                    method: "PUT".into(),
                    url: url.into(),
                    query: Vec::new(),
                    headers: Vec::new(),
                    body: None,
                    url_from_value,
                },
                &cx,
            )
        };
        assert_eq!(asked("https://a.example/jane@b.example?q=1", false), "PUT to a.example");
        assert_eq!(asked("leads/jane@b.example", false), "PUT to connection `erp`");
        assert_eq!(asked("https://jane.example/", true), "PUT to connection `erp`");
    }

    #[test]
    fn statuses_are_judged() {
        let outcome = answered(201).expect("success");
        assert_eq!(outcome.outputs, json!({"status_code": 201, "headers": {"x": "1, 2"}, "body": {"ok": true}}));
        for status in [408, 500, 599] {
            let failure = answered(status).expect_err("a failure");
            assert_eq!((failure.code, failure.class), (format!("http_{status}"), Class::Retryable));
            assert_eq!(failure.retry_after, Some(7));
        }
        for status in [429, 503] {
            assert_eq!(answered(status).expect_err("a failure").class, Class::Throttled);
        }
        for status in [302, 304, 400, 401, 404, 409, 422] {
            let failure = answered(status).expect_err("a failure");
            assert_eq!((failure.code, failure.class), (format!("http_{status}"), Class::Terminal));
        }
    }
}

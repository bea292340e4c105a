//! The admin listener: health, readiness, metrics, an API to read, and the request to reload. It shows leads, so it answers only whoever
//! holds the token, or on loopback without one only requests that name this machine (a web page that rebinds its own
//! name to 127.0.0.1 does not).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::connections::{Listed, connections_json};
use super::metrics::Counted;
use super::problem::{Challenge, REQUEST_ID, Refusal, Reply, id_value, json_reply};
use super::{Shared, ingress, limits, target, view};
use crate::actions;
use crate::clock::rfc3339;
use crate::engine;
use crate::flow::Flow;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::secret::Secret;
use crate::store::{RunFilter, StoreError, TextId};

/// Runs on a page when the request does not say, and at most.
const PAGE_RUNS: usize = 50;
const PAGE_RUNS_MAX: usize = 500;

/// Findings that `/readyz` lists.
const READY_FINDINGS_MAX: usize = 20;

/// Answers one request.
pub(super) async fn handle(shared: Arc<Shared>, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let request_id = RunId::new(shared.deps.clock.now());
    let (head, _) = request.into_parts();
    let mut reply = match respond(&shared, peer, &head, request_id).await {
        Ok(reply) => reply,
        Err(refusal) => refusal.reply(request_id),
    };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn respond(shared: &Shared, peer: IpAddr, head: &Parts, request_id: RunId) -> Result<Reply, Refusal> {
    ingress::check_limits(shared, head)?;
    let path = head.uri.path();
    if path != "/healthz" {
        admit(shared, peer, head)?;
    }
    if path == "/api/v1/reload" {
        return reload(shared, head, request_id).await;
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Refusal::method_not_allowed("GET, HEAD".into()));
    }
    match path {
        "/healthz" => Ok(json_reply(StatusCode::OK, &json!({"status": "ok"}), request_id)),
        "/readyz" => Ok(ready(shared, request_id).await),
        "/metrics" => metrics(shared, request_id).await,
        "/api/v1/flows" => Ok(json_reply(StatusCode::OK, &view::flows_json(&shared.deps.library.live()), request_id)),
        "/api/v1/connections" => connections(shared, request_id).await,
        "/api/v1/runs" => runs(shared, head, request_id).await,
        _ => match path.strip_prefix("/api/v1/runs/") {
            Some(id) => run(shared, id, request_id).await,
            None => Err(Refusal::not_found()),
        },
    }
}

/// The token, or without one the name by which this machine is called.
fn admit(shared: &Shared, peer: IpAddr, head: &Parts) -> Result<(), Refusal> {
    let controls = shared.controls.now();
    let Some(token) = &controls.admin_token else {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        if host.is_some_and(is_loopback_host) {
            return Ok(());
        }
        let detail = "the admin listener answers only to localhost, 127.0.0.1 and [::1] unless admin.token is set";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "host_refused", detail));
    };
    let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    if given.is_some_and(|given| same(token, given)) {
        return Ok(());
    }
    if let Err(secs) = controls.failed_auth.take(limits::address_key(peer), shared.deps.clock.now()) {
        let detail = "too many requests with a wrong token came from this address";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail).retry_after(secs));
    }
    let detail = "the admin listener wants `authorization: Bearer TOKEN` with admin.token of leadflow.yaml";
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Err(Refusal { challenge: Some(Challenge::Bearer), ..refusal })
}

/// Looks at everything on disk. With `?wait=true`: 200 when what is on disk is what is live, else 409, with the findings;
/// without: 202 at once.
async fn reload(shared: &Shared, head: &Parts, request_id: RunId) -> Result<Reply, Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::method_not_allowed("POST".into()));
    }
    // A page from anywhere can make a browser post here; it cannot leave this header out.
    if head.headers.contains_key(ORIGIN) && shared.controls.now().admin_token.is_none() {
        let detail = "a web page may not do this; use the command line, or set admin.token";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "host_refused", detail));
    }
    let query = target::query(&head.uri);
    let wait = match query.as_slice() {
        [] => false,
        [(name, value)] if name == "wait" && matches!(value.as_str(), "true" | "false") => value == "true",
        _ => return Err(invalid("the only parameter is wait=true or wait=false".into())),
    };
    let verdict = shared.deps.reload.reload(wait).await;
    let status = match (verdict.waited, verdict.on_disk_is_live) {
        (false, _) => StatusCode::ACCEPTED,
        (true, true) => StatusCode::OK,
        (true, false) => StatusCode::CONFLICT,
    };
    Ok(json_reply(status, &view::verdict_json(&verdict), request_id))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn same(token: &Secret, given: &str) -> bool {
    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether a Host header names this machine by a name or address that no web page can take.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// 200 while leads can be stored here, 503 otherwise. Flows that are off are told, but do not take the node out of
/// service: the others still answer.
async fn ready(shared: &Shared, request_id: RunId) -> Reply {
    let store = shared.deps.store.ping().await;
    let draining = *shared.stop.borrow();
    let set = shared.deps.library.live();
    // One that is down keeps no lead from being stored: it is told, and the node stays in service.
    let connections = match listed(shared).await {
        Ok(listed) => connections_json(&listed, shared.deps.clock.now()),
        Err(_) => serde_json::Value::Null,
    };
    let lease = shared.deps.accept.lease();
    // A lost lease takes nobody out of service: what is stored here meanwhile is taken up by whoever may work.
    let is_ready = store.is_ok() && !draining;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if is_ready { "ready" } else { "not_ready" },
        "store": store.map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
        "lease": { "state": lease.state.as_str(), "owner": lease.owner, "lost": lease.lost },
        "draining": draining,
        "connections": connections,
        "generation": set.generation,
        "digest": set.digest,
        "loaded_at": rfc3339(set.loaded_at),
        "reload": view::reload_json(&set, READY_FINDINGS_MAX),
        "flows": {
            "live": set.flows.keys().collect::<Vec<_>>(),
            "off": set.off.iter().map(view::off_json).collect::<Vec<_>>(),
        },
    });
    json_reply(status, &body, request_id)
}

async fn metrics(shared: &Shared, request_id: RunId) -> Result<Reply, Refusal> {
    let runs = shared.deps.store.counts().await.map_err(|error| unreadable(&error))?;
    let lanes = shared.deps.store.lanes(shared.deps.clock.now()).await.map_err(|error| unreadable(&error))?;
    let connections = listed(shared).await?;
    let counted = Counted { runs, lanes, connections, lease: shared.deps.accept.lease() };
    let text = shared.metrics.render(&shared.deps.library, &counted, shared.deps.clock.now());
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    reply.headers_mut().insert(REQUEST_ID, id_value(request_id));
    Ok(reply)
}

async fn runs(shared: &Shared, head: &Parts, request_id: RunId) -> Result<Reply, Refusal> {
    let filter = run_filter(&target::query(&head.uri))?;
    let runs = shared.deps.store.list_runs(filter).await.map_err(|error| unreadable(&error))?;
    let states = shared.deps.store.connections().await.map_err(|error| unreadable(&error))?;
    let shown = view::run_list_json(&runs, &states, shared.deps.clock.now());
    Ok(json_reply(StatusCode::OK, &shown, request_id))
}

async fn connections(shared: &Shared, request_id: RunId) -> Result<Reply, Refusal> {
    let shown = connections_json(&listed(shared).await?, shared.deps.clock.now());
    Ok(json_reply(StatusCode::OK, &shown, request_id))
}

/// The connections of the settings as they stand.
async fn listed(shared: &Shared) -> Result<Vec<Listed>, Refusal> {
    let states = shared.deps.store.connections().await.map_err(|error| unreadable(&error))?;
    let waiting = shared.deps.store.waiting_runs().await.map_err(|error| unreadable(&error))?;
    Ok(super::connections::listed(&shared.controls.now().connections, &states, &waiting))
}

async fn run(shared: &Shared, part: &str, request_id: RunId) -> Result<Reply, Refusal> {
    let is_id_part = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let found = if is_id_part {
        shared.deps.store.find_runs(part, 2).await.map_err(|error| unreadable(&error))?
    } else {
        Vec::new()
    };
    let id = match found.as_slice() {
        [] => return Err(Refusal::not_found()),
        [id] => *id,
        _ => return Err(invalid("several runs have this id part; give more of it".into())),
    };
    let stored = shared.deps.store.run(id).await.map_err(|error| unreadable(&error))?;
    let stored = stored.ok_or_else(Refusal::not_found)?.hidden();
    let kinds = kinds(shared, stored.run.text_id).await?;
    let states = shared.deps.store.connections().await.map_err(|error| unreadable(&error))?;
    let shown = view::run_detail(&stored, &kinds, &states, shared.deps.clock.now());
    Ok(json_reply(StatusCode::OK, &shown, request_id))
}

/// Names and types of the actions of a run's pinned text; none when it cannot be read any more, which the view bears.
async fn kinds(shared: &Shared, text_id: TextId) -> Result<Vec<(String, String)>, Refusal> {
    let of = |flow: &Flow| flow.actions.iter().map(|action| (action.name.clone(), action.kind.clone())).collect();
    let set = shared.deps.library.live();
    if let Some(live) = set.flows.values().find(|live| live.text_id == text_id) {
        return Ok(of(&live.flow));
    }
    let text = shared.deps.store.text(text_id).await.map_err(|error| unreadable(&error))?;
    let flow = text.and_then(|text| engine::compile_pinned(&text.bundle, &actions::catalogue()).ok());
    Ok(flow.map(|flow| of(&flow)).unwrap_or_default())
}

/// `flow`, `status` (repeated or with commas), `limit`, `before`; anything else is a slip worth telling.
fn run_filter(query: &[(String, String)]) -> Result<RunFilter, Refusal> {
    let mut filter = RunFilter { limit: PAGE_RUNS, ..RunFilter::default() };
    for (name, value) in query {
        match name.as_str() {
            "flow" => filter.flow = Some(value.clone()),
            "status" => {
                for word in value.split(',') {
                    let status = RunStatus::parse(word).ok_or_else(|| {
                        let words: Vec<&str> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
                        invalid(format!("status is none of {}", words.join(", ")))
                    })?;
                    filter.statuses.push(status);
                }
            }
            "limit" => {
                filter.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=PAGE_RUNS_MAX).contains(limit))
                    .ok_or_else(|| invalid(format!("limit is a number from 1 to {PAGE_RUNS_MAX}")))?;
            }
            "before" => {
                let id = value.parse().map_err(|_| invalid("before is a whole run id".into()))?;
                filter.before = Some(id);
            }
            _ => return Err(invalid("known parameters are flow, status, limit and before".into())),
        }
    }
    Ok(filter)
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail)
}

fn unreadable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot be read");
    let detail = "the store cannot be read now; the log has the reason";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail).retry_after(ingress::RETRY_AFTER_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass_as_host() {
        for fine in ["localhost", "LOCALHOST:8081", "127.0.0.1:8081", "127.0.0.1", "[::1]:8081", "[::1]"] {
            assert!(is_loopback_host(fine), "{fine}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8081", "10.0.0.1", "", "[::2]"] {
            assert!(!is_loopback_host(bad), "{bad}");
        }
    }

    #[test]
    fn tokens_compare_whole() {
        let token = Secret::new("abc");
        assert!(same(&token, "abc"));
        assert!(!same(&token, "abcd") && !same(&token, "ab") && !same(&token, ""));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
    }

    #[test]
    fn a_filter_is_read_or_refused() {
        let read = |pairs: &[(&str, &str)]| {
            run_filter(&pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>())
        };
        let filter = read(&[("flow", "a"), ("status", "failed,held"), ("limit", "7")]).expect("fits");
        assert_eq!((filter.flow.as_deref(), filter.limit), (Some("a"), 7));
        assert_eq!(filter.statuses, [RunStatus::Failed, RunStatus::Held]);
        for bad in [("status", "dead"), ("limit", "0"), ("limit", "501"), ("before", "x"), ("page", "2")] {
            assert_eq!(read(&[bad]).expect_err("refused").code, "invalid_parameter");
        }
    }
}

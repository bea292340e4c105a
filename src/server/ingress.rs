//! The public listener: from a request to a stored run, in the order limits, authentication, path, method, rate,
//! body, accept. Nothing behind the authentication can be observed by somebody without a signature.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, EXPECT};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::{Body, Bytes, Incoming};
use serde_json::json;

use super::problem::{Refusal, Reply, json_reply};
use super::target::{self, Target};
use super::{Shared, address, answer, body, limits, poll};
use crate::engine::Accepted;
use crate::flow::Authentication;
use crate::ids::RunId;
use crate::library::LiveFlow;
use crate::run::TriggerData;
use crate::store::{RejectedCaps, RejectedRow};
use crate::triggers::{request, signature};

/// Seconds after which a sender may try again when we cannot store or too much waits.
pub(super) const RETRY_AFTER_SECS: u32 = 10;

/// Bytes that a header costs besides name and value: `: ` and the line's end.
const HEADER_OVERHEAD_BYTES: usize = 4;

/// Answers one request.
pub(super) async fn handle(shared: Arc<Shared>, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let request_id = RunId::new(shared.deps.clock.now());
    let (head, body) = request.into_parts();
    let reply = match respond(&shared, peer, &head, body, request_id).await {
        Ok(reply) => reply,
        Err(refusal) => refusal.reply(request_id),
    };
    shared.metrics.answered(reply.status().as_u16());
    reply
}

/// A request that may start a run, as far as its head tells.
struct Admitted {
    live: Arc<LiveFlow>,
    /// The decoded path behind the flow's name.
    rest: Vec<String>,
    /// The path's parameters.
    path: Vec<(String, String)>,
    /// The query without the signature.
    query: Vec<(String, String)>,
}

/// Where a request goes.
enum Routed {
    Health,
    Poll(poll::Poll),
    Lead(Admitted),
}

async fn respond(
    shared: &Shared,
    peer: IpAddr,
    head: &Parts,
    mut body: Incoming,
    request_id: RunId,
) -> Result<Reply, Refusal> {
    let routed = check_limits(shared, head).and_then(|()| match target::target(head.uri.path()) {
        Target::Health => read_only(&head.method).map(|()| Routed::Health),
        Target::Flow { name, rest } => match poll::asked(shared, head, name.as_deref(), rest.as_deref()) {
            Some(poll) => read_only(&head.method).map(|()| Routed::Poll(poll)),
            None => admit(shared, peer, head, name, rest).map(Routed::Lead),
        },
        Target::Unknown => Err(Refusal::not_found()),
    });
    match routed {
        Ok(Routed::Lead(admitted)) => {
            let received = receive(shared, &admitted, head, body, request_id).await;
            received.inspect_err(|refusal| log(refusal, &admitted.live.flow.name, request_id))
        }
        Ok(Routed::Poll(poll)) => poll::answer(shared, &poll, request_id).await,
        Ok(Routed::Health) => Ok(json_reply(StatusCode::OK, &json!({"status": "ok"}), request_id)),
        Err(refusal) => {
            // A sender that asked first (`expect`) waits for our word and has sent nothing yet.
            if !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
                body::discard(&mut body).await;
            }
            tracing::debug!(status = refusal.status.as_u16(), code = refusal.code, %peer, %request_id, "request refused");
            Err(refusal)
        }
    }
}

/// The URL's and the headers' size, on either listener.
pub(super) fn check_limits(shared: &Shared, head: &Parts) -> Result<(), Refusal> {
    let hot = shared.controls.now();
    let limits = &hot.limits;
    let url_bytes = head.uri.path_and_query().map_or(0, |url| url.as_str().len());
    if url_bytes > limits.url_bytes_max {
        let detail = format!("the URL is longer than limits.url ({} bytes)", limits.url_bytes_max);
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "url_too_long", detail));
    }
    let header_bytes: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES).sum();
    if header_bytes > limits.headers_bytes_max {
        let detail = format!("the headers are larger than limits.headers ({} bytes)", limits.headers_bytes_max);
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail));
    }
    Ok(())
}

/// What is only read.
fn read_only(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    Err(Refusal::method_not_allowed("GET, HEAD".into()))
}

/// Authentication, then path, method and rate. The signature is checked whether the flow exists or not, so that
/// neither the answer nor its time tells which.
fn admit(
    shared: &Shared,
    peer: IpAddr,
    head: &Parts,
    name: Option<String>,
    rest: Option<Vec<String>>,
) -> Result<Admitted, Refusal> {
    let (now, hot) = (shared.deps.clock.now(), shared.controls.now());
    let query = target::query(&head.uri);
    let name = name.unwrap_or_default();
    let slot = shared.deps.keys.verify(&name, &query, now);
    let set = shared.deps.library.live();
    let known = set.resolve(&name).filter(|(live, _)| match live.flow.trigger.authentication {
        Authentication::SignedUrl => slot.is_some(),
        Authentication::None => true,
    });
    let Some((live, is_alias)) = known else {
        let client = address::client(peer, &head.headers, &hot.trusted_proxies);
        return Err(match hot.failed_auth.take(limits::address_key(client), now) {
            Ok(()) => Refusal::unauthorized(),
            Err(secs) => {
                let detail = "too many requests with a wrong URL came from this address";
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail).retry_after(secs)
            }
        });
    };
    if let Some(slot) = slot {
        shared.deps.keys.note_used(&name, slot, now);
    }
    if is_alias && shared.metrics.alias_hit(&name) {
        tracing::warn!(alias = %name, flow = %live.flow.name, "a sender still uses the flow's old name");
    }
    let trigger = &live.flow.trigger;
    let rest = rest.ok_or_else(Refusal::not_found)?;
    let path = match &trigger.path {
        Some(pattern) => pattern.matches(&rest).ok_or_else(Refusal::not_found)?,
        None if rest.is_empty() => Vec::new(),
        None => return Err(Refusal::not_found()),
    };
    if !trigger.methods.iter().any(|method| method == head.method.as_str()) {
        return Err(Refusal::method_not_allowed(trigger.methods.join(", ")));
    }
    if let Some(buckets) = &hot.flow_rate
        && let Err(secs) = buckets.take(live.flow.name.clone(), now)
    {
        let detail = "more requests came for this flow than limits.rate_per_flow";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(secs));
    }
    Ok(Admitted { live: Arc::clone(live), rest, path, query: signature::strip(query) })
}

/// Reads the body and hands the request to the engine.
async fn receive(
    shared: &Shared,
    admitted: &Admitted,
    head: &Parts,
    body: Incoming,
    request_id: RunId,
) -> Result<Reply, Refusal> {
    let hot = shared.controls.now();
    let limits = &hot.limits;
    let raw = body::read(body, limits.body.body_bytes_max, limits.body_timeout).await?;
    let headers = stored_headers(head);
    let text = match request::decode(&headers, &raw, &limits.body) {
        Ok(text) => text,
        Err(problem) => return Err(keep(shared, admitted, head, &raw, problem, request_id).await),
    };
    let trigger = TriggerData {
        method: head.method.as_str().to_owned(),
        path: admitted.path.clone(),
        query: admitted.query.clone(),
        headers,
        body: text,
        ..TriggerData::default()
    };
    // A sender that hangs up drops this future; the engine finishes an accept that it has begun all the same.
    match shared.deps.accept.accept(Arc::clone(&admitted.live), trigger).await {
        Accepted::Refused(problem) => Err(keep(shared, admitted, head, &raw, problem, request_id).await),
        accepted => answer::of(shared, &admitted.live.flow, accepted, request_id).await,
    }
}

/// Puts a refused request into the rejected inbox, then says why it was refused. What is too large is not kept; what
/// cannot be kept is answered 503, so that the sender tries again.
async fn keep(
    shared: &Shared,
    admitted: &Admitted,
    head: &Parts,
    raw: &Bytes,
    problem: request::Problem,
    request_id: RunId,
) -> Refusal {
    if problem.status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() {
        return problem.into();
    }
    let mut headers = stored_headers(head);
    // Unpacked where possible, so that people can read it; then it is no longer encoded.
    let unpacked = request::unpack(&headers, raw, &shared.controls.now().limits.body).map(std::borrow::Cow::into_owned);
    if unpacked.is_ok() {
        headers.retain(|(name, _)| name != CONTENT_ENCODING.as_str());
    }
    let row = RejectedRow {
        id: request_id,
        flow: admitted.live.flow.name.clone(),
        received_at: shared.deps.clock.now(),
        code: problem.code.to_owned(),
        findings: problem.errors.clone(),
        method: head.method.as_str().to_owned(),
        path: admitted.rest.join("/"),
        query: admitted.query.clone(),
        headers,
        body: unpacked.unwrap_or_else(|_| raw.to_vec()),
        resubmitted_as: None,
    };
    match shared.deps.store.reject(row, RejectedCaps::default()).await {
        Ok(()) => {
            shared.metrics.kept_rejected();
            problem.into()
        }
        Err(error) => {
            tracing::error!(%error, %request_id, "a refused request could not be kept in the rejected inbox");
            answer::unavailable(shared)
        }
    }
}

fn stored_headers(head: &Parts) -> Vec<(String, String)> {
    request::safe_headers(head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// One line for a refusal behind the authentication; what strangers send must not fill the log. Paths and queries may
/// hold lead data: they stay out.
fn log(refusal: &Refusal, flow: &str, request_id: RunId) {
    let (status, code) = (refusal.status.as_u16(), refusal.code);
    if refusal.status.is_server_error() {
        tracing::warn!(status, code, flow, %request_id, "request failed");
    } else {
        tracing::info!(status, code, flow, %request_id, "request refused");
    }
}

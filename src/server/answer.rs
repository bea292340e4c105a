//! What the engine made of a request, as an HTTP answer. Never 2xx for what was not stored.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::ingress::RETRY_AFTER_SECS;
use super::problem::{REQUEST_ID, RUN_ID, Refusal, Reply, id_value, json_reply};
use super::{Shared, poll};
use crate::actions::Answer;
use crate::engine::{Accepted, Answered, Busy};
use crate::flow::Flow;
use crate::ids::RunId;

/// Run ids that the answer to a split request lists at most; the others are in the run history.
const RUN_IDS_MAX: usize = 1_000;

/// The answer to what became of a request to `flow`.
pub(super) async fn of(shared: &Shared, flow: &Flow, accepted: Accepted, request_id: RunId) -> Result<Reply, Refusal> {
    match accepted {
        Accepted::Run { run_id, answer: None } => {
            let reply = stored(StatusCode::ACCEPTED, "accepted", run_id, request_id);
            Ok(if flow.answers_later { poll::located(shared, reply, &flow.name, run_id) } else { reply })
        }
        Accepted::Run { run_id, answer: Some(answer) } => wait(shared, run_id, answer, request_id).await,
        Accepted::Skipped { run_id } => Ok(stored(StatusCode::OK, "skipped", run_id, request_id)),
        Accepted::TestSkipped { run_id } => Ok(stored(StatusCode::ACCEPTED, "skipped", run_id, request_id)),
        Accepted::Duplicate { run_id, duplicate_of } => {
            let body = json!({"run_id": run_id, "status": "accepted", "duplicate_of": duplicate_of});
            let reply = named(json_reply(StatusCode::ACCEPTED, &body, request_id), run_id);
            // The answer to the first one is the answer to the same lead.
            Ok(if flow.answers_later { poll::located(shared, reply, &flow.name, duplicate_of) } else { reply })
        }
        Accepted::Split { runs, skipped, duplicates } => Ok(split(&runs, skipped, duplicates, request_id)),
        Accepted::Refused(problem) => Err(problem.into()),
        Accepted::Busy(bound) => {
            let detail = match bound {
                Busy::WaitingRuns => "too many runs of this flow wait (limits.waiting_runs_per_flow)",
                Busy::Gate => "too many runs of this flow wait (concurrency.waiting of its trigger)",
            };
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_waiting", detail).retry_after(RETRY_AFTER_SECS))
        }
        Accepted::Unavailable(reason) => {
            tracing::error!(reason, %request_id, "cannot store requests now");
            Err(unavailable(shared))
        }
    }
}

/// The answer to a request that became several runs.
fn split(runs: &[RunId], skipped: usize, duplicates: usize, request_id: RunId) -> Reply {
    let first = runs.first().copied().unwrap_or(request_id);
    let (status, word) =
        if skipped == runs.len() { (StatusCode::OK, "skipped") } else { (StatusCode::ACCEPTED, "accepted") };
    let mut body = json!({"run_id": first, "status": word, "runs": runs.len()});
    for (name, count) in [("skipped", skipped), ("duplicates", duplicates)] {
        if count > 0 {
            body[name] = json!(count);
        }
    }
    body["run_ids"] = json!(&runs[..runs.len().min(RUN_IDS_MAX)]);
    named(json_reply(status, &body, request_id), first)
}

/// 503: nothing was stored, try again.
pub(super) fn unavailable(shared: &Shared) -> Refusal {
    let (code, detail) = if *shared.stop.borrow() {
        ("shutting_down", "the server is stopping; nothing was stored, send it again")
    } else {
        ("store_unavailable", "the store cannot write now; nothing was stored, send it again")
    };
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER_SECS)
}

fn stored(status: StatusCode, word: &str, run_id: RunId, request_id: RunId) -> Reply {
    named(json_reply(status, &json!({"run_id": run_id, "status": word}), request_id), run_id)
}

/// The answer with its run in the header.
pub(super) fn named(mut reply: Reply, run_id: RunId) -> Reply {
    reply.headers_mut().insert(RUN_ID, id_value(run_id));
    reply
}

/// Waits for `respond`. The run is stored: whatever ends the wait, it goes on.
async fn wait(
    shared: &Shared,
    run_id: RunId,
    answer: oneshot::Receiver<Answered>,
    request_id: RunId,
) -> Result<Reply, Refusal> {
    let wait_max = shared.controls.now().limits.respond_wait;
    match tokio::time::timeout(wait_max, answer).await {
        Ok(Ok(Answered::Respond(answer))) => responded(answer, run_id, request_id),
        Ok(Ok(Answered::EndedWithout)) => Ok(stored(StatusCode::ACCEPTED, "accepted", run_id, request_id)),
        Ok(Ok(Answered::FailedWithout)) => Err(no_response(run_id)),
        Ok(Err(_)) => {
            let detail = "the server is stopping; the request is stored and its run goes on";
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "respond_timeout", detail).run(run_id))
        }
        Err(_) => {
            let detail = format!("no answer within limits.respond_wait ({wait_max:?}); the run goes on");
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "respond_timeout", detail).run(run_id))
        }
    }
}

/// 502: the run ended badly and said nothing.
pub(super) fn no_response(run_id: RunId) -> Refusal {
    let detail = "the run failed before it reached respond; the run history has the reason";
    Refusal::new(StatusCode::BAD_GATEWAY, "no_response", detail).run(run_id)
}

/// What `respond` says: a JSON body, or the text itself where its content type is not JSON.
pub(super) fn responded(answer: Answer, run_id: RunId, request_id: RunId) -> Result<Reply, Refusal> {
    let status =
        StatusCode::from_u16(answer.status).ok().filter(|status| !status.is_informational()).ok_or_else(|| {
            let detail = "respond gave a status that is not an HTTP status; the run history shows it";
            Refusal::new(StatusCode::BAD_GATEWAY, "no_response", detail).run(run_id)
        })?;
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    for (name, value) in &answer.headers {
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) if !is_framing(&name) => {
                reply.headers_mut().append(name, value);
            }
            _ => tracing::warn!(%run_id, "respond gave a header that an answer cannot carry; it was left out"),
        }
    }
    reply.headers_mut().insert(RUN_ID, id_value(run_id));
    reply.headers_mut().insert(REQUEST_ID, id_value(request_id));
    if answer.body.is_null() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(reply);
    }
    let media = reply.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let is_json = media.to_str().is_ok_and(|media| media.to_ascii_lowercase().contains("json"));
    let body = match answer.body {
        Value::String(text) if !is_json => text,
        body => body.to_string(),
    };
    *reply.body_mut() = Full::new(Bytes::from(body));
    Ok(reply)
}

/// Headers that belong to the connection: hyper writes them.
fn is_framing(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name.as_str() == "keep-alive"
        || *name == RUN_ID
        || *name == REQUEST_ID
}

//! The answer of a flow with `respond` and `async: true`, asked for later: `GET /flows/NAME/runs/RUN_ID?sig=…`.
//!
//! The signature alone makes a request a poll: it is over flow and run id, with the signing key, in a domain of its own,
//! so that no sender's request can be one by accident. Everything else under that path is the trigger's, also where
//! its `path` is `runs/{id}`. The answer is read from the store: it survives restarts, and the flow's end.

use http::header::{LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::answer::{named, no_response, responded, unavailable};
use super::problem::{Refusal, Reply, json_reply};
use super::{Shared, target};
use crate::actions::Answer;
use crate::ids::RunId;
use crate::run::RunStatus;

/// The segment behind the flow's name.
const RUNS: &str = "runs";

/// Seconds after which asking again makes sense.
const POLL_AFTER_SECS: u32 = 2;

/// A poll with a right signature.
pub(super) struct Poll {
    flow: String,
    run_id: RunId,
}

/// The poll that a request is, if its path and its signature say so.
pub(super) fn asked(shared: &Shared, head: &Parts, name: Option<&str>, rest: Option<&[String]>) -> Option<Poll> {
    let (flow, [runs, id]) = (name?, rest?) else { return None };
    let run_id: RunId = id.parse().ok().filter(|_| runs == RUNS)?;
    let signed = shared.deps.keys.verify_status(flow, run_id, &target::query(&head.uri));
    signed.then(|| Poll { flow: flow.to_owned(), run_id })
}

/// `reply` with the URL under which the answer of `run_id` can be asked for.
pub(super) fn located(shared: &Shared, mut reply: Reply, flow: &str, run_id: RunId) -> Reply {
    let query = shared.deps.keys.status_query(flow, run_id);
    let url = format!("{}/flows/{flow}/{RUNS}/{run_id}?{query}", shared.base_url());
    match HeaderValue::try_from(url) {
        Ok(url) => {
            reply.headers_mut().insert(LOCATION, url);
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(POLL_AFTER_SECS));
        }
        Err(_) => tracing::error!("public_url holds characters that a header cannot carry; no location is sent"),
    }
    reply
}

/// What the run has said so far: 202 while it goes on, then what `respond` said. A run that ended well without it: 200.
pub(super) async fn answer(shared: &Shared, poll: &Poll, request_id: RunId) -> Result<Reply, Refusal> {
    let run_id = poll.run_id;
    let stored = shared.deps.store.run(run_id).await.map_err(|error| {
        tracing::error!(%error, %request_id, "cannot read a run whose answer is asked for");
        unavailable(shared)
    })?;
    let Some(run) = stored.map(|stored| stored.run).filter(|run| run.flow == poll.flow) else {
        let detail = "the run is not kept any more; retention in leadflow.yaml says for how long";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", detail));
    };
    let status = json!({"run_id": run_id, "status": run.status.as_str()});
    match (run.answer, run.status) {
        (Some(answer), _) => match serde_json::from_value::<Answer>(answer) {
            Ok(answer) => responded(answer, run_id, request_id),
            Err(error) => {
                tracing::error!(%run_id, kind = ?error.classify(), "a stored answer cannot be read");
                Err(no_response(run_id))
            }
        },
        (None, RunStatus::Succeeded | RunStatus::Skipped | RunStatus::Duplicate) => {
            Ok(named(json_reply(StatusCode::OK, &status, request_id), run_id))
        }
        (None, ended) if ended.is_final() => Err(no_response(run_id)),
        (None, _) => {
            let reply = named(json_reply(StatusCode::ACCEPTED, &status, request_id), run_id);
            Ok(located(shared, reply, &poll.flow, run_id))
        }
    }
}

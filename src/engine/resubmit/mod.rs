//! Resubmits, pure: from a stored run (or a rejected request) to the new run that repeats it, with its lineage.
//!
//! From the start: new idempotency keys, everything happens again. From an action: what succeeded is copied and not
//! repeated, in loops by iteration ([`seed`]), and the origin's keys are kept, because an outcome of the origin may be
//! unknown. Conditions of the trigger are not asked again: somebody decided that this lead runs.

mod seed;

use crate::clock::Micros;
use crate::flow::Flow;
use crate::ids::RunId;
use crate::run::TriggerData;
use crate::store::{NewRun, RejectedRow, RunRow, StoredRun, TextId};
use crate::triggers::request::{self, BodyLimits, Problem};

/// Why a run cannot be resubmitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResubmitError {
    /// The request does not fit the flow (any more).
    #[error("the request does not fit the flow: {}", .0.message)]
    Refused(Problem),
    /// The run has not ended: it will go on by itself.
    #[error("the run is {0}; it has not ended, so there is nothing to repeat (cancel it first)")]
    NotEnded(&'static str),
    /// No such action.
    #[error("flow `{flow}` has no action `{action}`; its actions: {known}")]
    UnknownAction {
        /// The flow.
        flow: String,
        /// The action asked for.
        action: String,
        /// Its actions.
        known: String,
    },
    /// The current text cannot take over what succeeded.
    #[error(
        "resubmit_shape_changed: action `{0}` would be taken over from the origin, but the current text has no such action of that type at that place; use --text original"
    )]
    ShapeChanged(String),
    /// The action has nothing to repeat.
    #[error(
        "`{0}` has nothing to repeat: it succeeded wherever it ran, or the branch that it stands in was not taken; resubmit from another action, or from the start"
    )]
    NotReached(String),
}

/// The text that the new run is pinned to.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Its id in the store.
    pub id: TextId,
}

/// A new run for the same request, from the start.
pub fn from_start(origin: &StoredRun, text: Text<'_>, now: Micros) -> Result<NewRun, ResubmitError> {
    ended(origin)?;
    let trigger = origin.run.trigger.clone().unwrap_or_else(empty_trigger);
    let run_id = RunId::new(now);
    let run = RunRow { origin_run: Some(origin.run.run_id), ..row(run_id, run_id, text, trigger, now)? };
    Ok(NewRun { run, steps: Vec::new(), records: Vec::new() })
}

/// A new run that repeats `action`, what depends on it and what did not succeed; the rest is copied ([`seed`]).
/// `origin_flow` is the flow that the origin ran on.
pub fn from_action(
    origin: &StoredRun,
    origin_flow: &Flow,
    text: Text<'_>,
    action: &str,
    now: Micros,
) -> Result<NewRun, ResubmitError> {
    ended(origin)?;
    let Some(from) = text.flow.plan.find(action) else {
        return Err(ResubmitError::UnknownAction {
            flow: text.flow.name.clone(),
            action: action.to_owned(),
            known: text.flow.plan.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", "),
        });
    };
    let steps = seed::rows(&origin.steps, origin_flow, text.flow, from, now)?;
    let trigger = origin.run.trigger.clone().unwrap_or_else(empty_trigger);
    let row = row(RunId::new(now), origin.run.key_run, text, trigger, now)?;
    Ok(NewRun { run: RunRow { origin_run: Some(origin.run.run_id), ..row }, steps, records: Vec::new() })
}

/// A run for a request that was refused before.
pub fn from_rejected(
    rejected: &RejectedRow,
    text: Text<'_>,
    limits: &BodyLimits,
    now: Micros,
) -> Result<NewRun, ResubmitError> {
    let body = request::decode(&rejected.headers, &rejected.body, limits).map_err(ResubmitError::Refused)?;
    let path = text.flow.trigger.path.as_ref().and_then(|pattern| {
        let segments: Vec<String> =
            rejected.path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        pattern.matches(&segments)
    });
    let trigger = TriggerData {
        method: rejected.method.clone(),
        path: path.unwrap_or_default(),
        query: rejected.query.clone(),
        headers: rejected.headers.clone(),
        body,
    };
    let run_id = RunId::new(now);
    Ok(NewRun { run: row(run_id, run_id, text, trigger, now)?, steps: Vec::new(), records: Vec::new() })
}

fn ended(origin: &StoredRun) -> Result<(), ResubmitError> {
    let status = origin.run.status;
    if status.is_final() { Ok(()) } else { Err(ResubmitError::NotEnded(status.as_str())) }
}

fn empty_trigger() -> TriggerData {
    TriggerData { method: "POST".into(), path: Vec::new(), query: Vec::new(), headers: Vec::new(), body: String::new() }
}

/// A queued, unowned row: whoever runs `serve` finds it.
fn row(
    run_id: RunId,
    key_run: RunId,
    text: Text<'_>,
    trigger: TriggerData,
    now: Micros,
) -> Result<RunRow, ResubmitError> {
    // It was taken in once, by whatever limits held then.
    let limits = BodyLimits { body_bytes_max: usize::MAX, unpacked_bytes_max: usize::MAX, json_depth_max: usize::MAX };
    let parsed = request::parse(text.flow, &trigger, &limits).map_err(ResubmitError::Refused)?;
    let mut row = RunRow::queued(run_id, text.flow.name.clone(), text.id, now, trigger);
    row.is_test = parsed.is_test;
    row.key_run = key_run;
    Ok(row)
}

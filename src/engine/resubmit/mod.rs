//! Resubmits, pure: from a stored run (or a rejected request) to the new run that repeats it, with its lineage.
//!
//! From the start: new idempotency keys, everything happens again. From an action: what succeeded is copied and not
//! repeated, in loops by iteration ([`seed`]), and the origin's keys are kept, because an outcome of the origin may be
//! unknown. Conditions of the trigger are not asked again: somebody decided that this lead runs.

mod seed;

use super::ports::Sight;
use super::split::{SplitFault, arrival, split};
use crate::clock::Micros;
use crate::flow::Flow;
use crate::ids::RunId;
use crate::run::{Identity, RunStatus, TriggerData};
use crate::store::{NewRun, RejectedRow, RunRow, StoredRun, TextId, gate_lane};
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
    /// What would have to be copied is gone.
    #[error(
        "the values of action `{0}` are secure and were deleted when the run ended, so it cannot be copied; resubmit from `{0}` or an action before it, or from the start"
    )]
    Forgotten(String),
    /// The action has nothing to repeat.
    #[error(
        "`{0}` has nothing to repeat: it succeeded wherever it ran, or the branch that it stands in was not taken; resubmit from another action, or from the start"
    )]
    NotReached(String),
    /// The current text splits requests, and the origin is a whole one; or the other way round.
    #[error(
        "resubmit_shape_changed: `split_on` of the trigger was added or removed since; resubmit from the start, or use --text original"
    )]
    SplitChanged,
    /// The request has no items.
    #[error("the request has no items to run: split_on gives an empty list")]
    NoItems,
    /// `split_on` could not be evaluated.
    #[error("split_on could not be evaluated: {0}")]
    Split(String),
}

/// The text that the new run is pinned to.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Its id in the store.
    pub id: TextId,
}

/// New runs for the same request, from the start: one, or one for each item where the text splits a request that was
/// not split before.
pub fn from_start(
    origin: &StoredRun,
    text: Text<'_>,
    sight: Sight<'_>,
    now: Micros,
) -> Result<Vec<NewRun>, ResubmitError> {
    ended(origin)?;
    let trigger = origin.run.trigger.clone().unwrap_or_default();
    let mut runs = all_of(text, trigger, sight, now)?;
    for new in &mut runs {
        new.run.origin_run = Some(origin.run.run_id);
    }
    Ok(runs)
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
    let trigger = origin.run.trigger.clone().unwrap_or_default();
    if text.flow.trigger.split_on.is_some() != trigger.item.is_some() {
        return Err(ResubmitError::SplitChanged);
    }
    let row = row(RunId::new(now), origin.run.key_run, text, trigger, now)?;
    Ok(NewRun { run: RunRow { origin_run: Some(origin.run.run_id), ..row }, steps, records: Vec::new() })
}

/// The runs of a request that was refused before.
pub fn from_rejected(
    rejected: &RejectedRow,
    text: Text<'_>,
    limits: &BodyLimits,
    sight: Sight<'_>,
    now: Micros,
) -> Result<Vec<NewRun>, ResubmitError> {
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
        ..TriggerData::default()
    };
    all_of(text, trigger, sight, now)
}

/// Every run of a request from the start. Conditions are not asked of a lead that somebody sends again; of the items of
/// a list they are, since nobody has chosen each of them.
fn all_of(text: Text<'_>, trigger: TriggerData, sight: Sight<'_>, now: Micros) -> Result<Vec<NewRun>, ResubmitError> {
    let run_id = RunId::new(now);
    if text.flow.trigger.split_on.is_none() || trigger.item.is_some() {
        return Ok(vec![NewRun {
            run: row(run_id, run_id, text, trigger, now)?,
            steps: Vec::new(),
            records: Vec::new(),
        }]);
    }
    let parsed = request::parse(text.flow, &trigger, &UNLIMITED).map_err(ResubmitError::Refused)?;
    let flow = text.flow.name.clone();
    let identity = Identity { run_id, flow, key_run: run_id, received_at: now, is_test: parsed.is_test, parent: None };
    let requests = split(text.flow, &identity, &trigger, &parsed.trigger, sight).map_err(|fault| match fault {
        SplitFault::Refused(problem) => ResubmitError::Refused(problem),
        SplitFault::Render(error) => ResubmitError::Split(error.message),
    })?;
    if requests.is_empty() {
        return Err(ResubmitError::NoItems);
    }
    let one = |request| {
        let mut new = arrival(text, request, &UNLIMITED, sight, now).map_err(ResubmitError::Refused)?.new;
        if !new.run.status.is_final() {
            new.run.lane = queue_of(text.flow);
        }
        Ok(new)
    };
    requests.into_iter().map(one).collect()
}

/// Where a run waits that nobody has claimed.
fn queue_of(flow: &Flow) -> String {
    flow.trigger.concurrency.map(|_| gate_lane(&flow.name)).unwrap_or_default()
}

/// It was taken in once, by whatever limits held then.
const UNLIMITED: BodyLimits =
    BodyLimits { body_bytes_max: usize::MAX, unpacked_bytes_max: usize::MAX, json_depth_max: usize::MAX };

fn ended(origin: &StoredRun) -> Result<(), ResubmitError> {
    let status = origin.run.status;
    let is_undecided = status == RunStatus::Held && origin.run.code.as_deref() == Some("unknown_outcome");
    if status.is_final() || is_undecided { Ok(()) } else { Err(ResubmitError::NotEnded(status.as_str())) }
}

/// A queued, unowned row: whoever runs `serve` finds it.
fn row(
    run_id: RunId,
    key_run: RunId,
    text: Text<'_>,
    trigger: TriggerData,
    now: Micros,
) -> Result<RunRow, ResubmitError> {
    let parsed = request::parse(text.flow, &trigger, &UNLIMITED).map_err(ResubmitError::Refused)?;
    let notes = parsed.notes;
    let mut row = RunRow::queued(run_id, text.flow.name.clone(), text.id, now, TriggerData { notes, ..trigger });
    row.lane = queue_of(text.flow);
    row.is_test = parsed.is_test;
    row.key_run = key_run;
    Ok(row)
}

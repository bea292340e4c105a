//! A request that brings a list: one run for each item, all stored in one commit or none.
//!
//! The runs are stored as queued and taken up by the claim loop, however many they are; conditions and duplicates are
//! decided for each item by itself.

use std::sync::Arc;

use serde_json::Value;

use super::accept::{full, unavailable};
use super::ports::Sight;
use super::resubmit::Text;
use super::scope::Values;
use super::verdict::{Verdict, judge};
use super::{Accepted, Busy, Engine, dedupe};
use crate::clock::Micros;
use crate::flow::Flow;
use crate::ids::RunId;
use crate::library::LiveFlow;
use crate::run::{Identity, RunStatus, TriggerData};
use crate::store::{Arrival, Gate, Intake, NewRun, RunRow, Taken};
use crate::template::RenderError;
use crate::triggers::items;
use crate::triggers::request::{self, BodyLimits, Parsed, Problem};

/// Items after which other tasks of the thread get a turn.
const ITEMS_A_TURN: usize = 256;

/// Why a request was not split.
#[derive(Debug)]
pub(super) enum SplitFault {
    /// It is no list, or too long a list: the request is refused.
    Refused(Problem),
    /// `split_on` could not be evaluated: the flow's fault, so the request is kept as a failed run.
    Render(RenderError),
}

/// The request of each item of a parsed request.
pub(super) fn split(
    flow: &Flow,
    identity: &Identity,
    data: &TriggerData,
    trigger: &Value,
    sight: Sight<'_>,
) -> Result<Vec<TriggerData>, SplitFault> {
    let Some(split_on) = &flow.trigger.split_on else { return Ok(vec![data.clone()]) };
    let list = |trigger: Value| {
        let values = Values::new(flow, identity, trigger);
        split_on.list.render(&values.seen(flow, sight, identity.received_at)).map_err(SplitFault::Render)
    };
    let seen = items::of_list(list(trigger.clone())?).map_err(SplitFault::Refused)?;
    // As they came, where the same path leads to the same items; else as they are seen.
    let raw = items::raw_body(flow, data).and_then(|body| {
        let mut trigger = trigger.clone();
        trigger["body"] = body;
        items::of_list(list(trigger).ok()?).ok().filter(|raw| raw.len() == seen.len())
    });
    let kept = raw.unwrap_or(seen);
    Ok(kept.iter().enumerate().map(|(index, item)| items::request_of(data, index, item)).collect())
}

impl Engine {
    /// Splits a request, and stores its runs.
    pub(super) async fn accept_items(
        self: &Arc<Self>,
        live: Arc<LiveFlow>,
        identity: Identity,
        data: TriggerData,
        parsed: Parsed,
    ) -> Accepted {
        let requests = match split(&live.flow, &identity, &data, &parsed.trigger, self.ports.sight()) {
            Ok(requests) if requests.is_empty() => {
                return self.ended(&live, identity, data, RunStatus::Skipped, "no_items").await;
            }
            Ok(requests) => requests,
            Err(SplitFault::Refused(problem)) => return Accepted::Refused(problem),
            Err(SplitFault::Render(error)) => {
                tracing::warn!(run = %identity.run_id, flow = %identity.flow, code = error.code, "split_on could not be evaluated");
                return self.ended(&live, identity, data, RunStatus::Failed, error.code).await;
            }
        };
        drop((data, parsed));
        match self.is_busy(&live.flow.name, requests.len()).await {
            Ok(true) => return Accepted::Busy(Busy::WaitingRuns),
            Ok(false) => {}
            Err(error) => return unavailable(&error),
        }
        let mut arrivals = Vec::with_capacity(requests.len());
        for (number, request) in requests.into_iter().enumerate() {
            let text = Text { flow: &live.flow, id: live.text_id };
            match arrival(text, request, &self.ports.limits().body, self.ports.sight(), identity.received_at) {
                Ok(arrival) => arrivals.push(arrival),
                Err(problem) => return Accepted::Refused(problem),
            }
            if number % ITEMS_A_TURN == ITEMS_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.store_items(&live, arrivals).await
    }

    async fn store_items(&self, live: &LiveFlow, arrivals: Vec<Arrival>) -> Accepted {
        let flow = &live.flow.name;
        let of = |arrival: &Arrival| (arrival.new.run.run_id, arrival.new.run.status);
        let runs: Vec<(RunId, RunStatus)> = arrivals.iter().map(of).collect();
        let taken = match self.store.take_in(arrivals).await {
            Ok(Intake::Taken(taken)) => taken,
            Ok(Intake::Full) => return full(),
            Err(error) => return unavailable(&error),
        };
        let skipped = runs.iter().filter(|(_, status)| *status == RunStatus::Skipped).count();
        let duplicates = taken.iter().filter(|one| matches!(one, Taken::Duplicate { .. })).count();
        let ended = runs.iter().filter(|(_, status)| status.is_final()).count();
        let begin = runs.len().saturating_sub(ended + duplicates);
        self.count_unfinished(flow, i64::try_from(begin).unwrap_or(i64::MAX));
        tracing::info!(%flow, runs = runs.len(), skipped, duplicates, "a request was split");
        if begin > 0 {
            self.wake.notify_one();
        }
        match (runs.as_slice(), taken.as_slice()) {
            (&[(run_id, _)], &[Taken::Duplicate { of }]) => Accepted::Duplicate { run_id, duplicate_of: of },
            (&[(run_id, RunStatus::Skipped)], _) => Accepted::Skipped { run_id },
            (&[(run_id, _)], _) => Accepted::Run { run_id, answer: None },
            _ => Accepted::Split { runs: runs.into_iter().map(|(run_id, _)| run_id).collect(), skipped, duplicates },
        }
    }
}

/// One item as it is to be stored: queued, or ended by the trigger.
pub(super) fn arrival(
    text: Text<'_>,
    mut request: TriggerData,
    limits: &BodyLimits,
    sight: Sight<'_>,
    received_at: Micros,
) -> Result<Arrival, Problem> {
    let flow = text.flow;
    let parsed = request::parse(flow, &request, limits)?;
    let run_id = RunId::new(received_at);
    let is_test = parsed.is_test;
    let identity = Identity { run_id, flow: flow.name.clone(), key_run: run_id, received_at, is_test, parent: None };
    let values = Values::new(flow, &identity, parsed.trigger);
    let ended = match judge(flow, &identity, &values, sight) {
        Verdict::Run => None,
        Verdict::TestLead => Some((RunStatus::Skipped, "test_lead")),
        Verdict::Condition(_) => Some((RunStatus::Skipped, "condition")),
        Verdict::Fault(error) => Some((RunStatus::Failed, error.code)),
    };
    let runs = ended.is_none();
    let key = if runs { dedupe::key(flow, &identity, &values, sight) } else { dedupe::Key::NotAsked };
    request.notes = parsed.notes.into_iter().chain(key.note()).collect();
    let mut run = RunRow::queued(run_id, flow.name.clone(), text.id, received_at, request);
    run.is_test = is_test;
    if let Some((status, code)) = ended {
        run.status = status;
        run.code = Some(code.to_owned());
        run.finished_at = Some(received_at);
    }
    Ok(Arrival {
        new: NewRun { run, steps: Vec::new(), records: Vec::new() },
        dedupe: key.to_store(),
        gate: gate(flow).filter(|_| runs),
    })
}

/// The gate of a flow, as the store takes it.
pub(super) fn gate(flow: &Flow) -> Option<Gate> {
    flow.trigger.concurrency.map(|bounds| Gate { runs: bounds.runs, waiting: bounds.waiting })
}

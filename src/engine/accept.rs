//! From a request to a stored run: parse, conditions, pure actions, one commit; only then the 202.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::actor::{Actor, Seed};
use super::lease::LeaseReport;
use super::scope::Values;
use super::split::gate;
use super::verdict::{Verdict, judge};
use super::{Accept, Accepted, Answered, Busy, Engine, Unfinished, dedupe};
use crate::clock::{Fut, micros};
use crate::ids::RunId;
use crate::library::LiveFlow;
use crate::run::{Identity, RunState, RunStatus, TriggerData};
use crate::store::{Arrival, DedupeKey, Intake, NewRun, RunCommit, RunRow, StoreError, Taken, gate_lane};
use crate::triggers::request::{self, Parsed};

/// The engine as the server sees it.
pub struct Acceptor(pub Arc<Engine>);

impl Accept for Acceptor {
    fn accept(&self, flow: Arc<LiveFlow>, trigger: TriggerData) -> Fut<'_, Accepted> {
        let engine = Arc::clone(&self.0);
        // A task of its own: a client that hangs up must not take a half-stored lead with it.
        Box::pin(async move {
            match tokio::spawn(async move { engine.accept(flow, trigger).await }).await {
                Ok(accepted) => accepted,
                Err(_) => Accepted::Unavailable("leadflow panicked while accepting".to_owned()),
            }
        })
    }

    fn lease(&self) -> LeaseReport {
        self.0.lease_report()
    }
}

impl Engine {
    async fn accept(self: &Arc<Self>, live: Arc<LiveFlow>, trigger: TriggerData) -> Accepted {
        if self.is_draining() {
            return Accepted::Unavailable("shutting down".to_owned());
        }
        let now = self.ports.clock.now();
        let parsed = match request::parse(&live.flow, &trigger, &self.ports.limits().body) {
            Ok(parsed) => parsed,
            Err(problem) => return Accepted::Refused(problem),
        };
        let run_id = RunId::new(now);
        let identity = Identity {
            run_id,
            flow: live.flow.name.clone(),
            key_run: run_id,
            received_at: now,
            is_test: parsed.is_test,
            parent: None,
        };
        if live.flow.trigger.split_on.is_some() {
            return self.accept_items(live, identity, trigger, parsed).await;
        }
        match self.is_busy(&live.flow.name, 1).await {
            Ok(true) => return Accepted::Busy(Busy::WaitingRuns),
            Ok(false) => {}
            Err(error) => return unavailable(&error),
        }
        self.accept_one(live, identity, trigger, parsed).await
    }

    async fn accept_one(
        self: &Arc<Self>,
        live: Arc<LiveFlow>,
        identity: Identity,
        mut trigger: TriggerData,
        parsed: Parsed,
    ) -> Accepted {
        trigger.notes = parsed.notes;
        let values = Values::new(&live.flow, &identity, parsed.trigger);
        let (status, code) = match judge(&live.flow, &identity, &values, self.ports.sight()) {
            Verdict::Run => return self.store_and_run(live, identity, trigger, values).await,
            Verdict::TestLead => (RunStatus::Skipped, "test_lead"),
            Verdict::Condition(_) => (RunStatus::Skipped, "condition"),
            Verdict::Fault(error) => {
                let (run, flow) = (identity.run_id, &identity.flow);
                tracing::warn!(%run, %flow, code = error.code, "a trigger condition could not be evaluated");
                (RunStatus::Failed, error.code)
            }
        };
        self.ended(&live, identity, trigger, status, code).await
    }

    /// Stores a run that never starts.
    pub(super) async fn ended(
        &self,
        live: &LiveFlow,
        identity: Identity,
        trigger: TriggerData,
        status: RunStatus,
        code: &str,
    ) -> Accepted {
        let run_id = identity.run_id;
        let mut run = new_row(live, &identity, trigger);
        run.status = status;
        run.code = Some(code.to_owned());
        run.finished_at = Some(identity.received_at);
        if let Err(error) = self.store.accept(NewRun { run, steps: Vec::new(), records: Vec::new() }).await {
            return unavailable(&error);
        }
        tracing::info!(run = %run_id, flow = %identity.flow, status = status.as_str(), code, "run ended");
        match status {
            RunStatus::Skipped if code == "test_lead" => Accepted::TestSkipped { run_id },
            RunStatus::Skipped => Accepted::Skipped { run_id },
            _ => Accepted::Run { run_id, answer: None },
        }
    }

    async fn store_and_run(
        self: &Arc<Self>,
        live: Arc<LiveFlow>,
        identity: Identity,
        mut trigger: TriggerData,
        values: Values,
    ) -> Accepted {
        let run_id = identity.run_id;
        let dedupe = self.dedupe_key(&live, &identity, &values, &mut trigger);
        let run = new_row(&live, &identity, trigger);
        let lease = self.lease();
        if !lease.is_trusted() {
            return self.store_queued(&live, run, dedupe).await;
        }
        let admits = self.active_runs() < self.ports.limits().active_runs_max;
        let (presence, cancel) = self.register(run_id, false);
        let answer = self.answer_of(&live, run_id);
        let mut actor = Actor::new(Seed {
            ports: Arc::clone(&self.ports),
            lease,
            flow: Arc::clone(&live.flow),
            identity,
            values,
            state: RunState::default(),
            epoch: FIRST_EPOCH,
            reserved: Vec::new(),
            answered: false,
            cancel,
            admits,
        });
        actor.accepting = true;
        actor.begin();
        let mut commit = actor.snapshot();
        let new = first_commit(run, &mut commit);
        let arrival = Arrival { new, dedupe, gate: gate(&live.flow) };
        let became = match self.store.take_in(vec![arrival]).await {
            Ok(Intake::Taken(taken)) => taken.into_iter().next(),
            Ok(Intake::Full) => {
                self.ports.answers.forget(run_id);
                return full();
            }
            Err(error) => {
                self.ports.answers.forget(run_id);
                // The answer may have been lost after the commit: then the run is ours, and nobody works on it yet.
                drop(presence);
                self.astray.store(true, Ordering::SeqCst);
                return unavailable(&error);
            }
        };
        match became {
            Some(Taken::Duplicate { of }) => {
                self.ports.answers.forget(run_id);
                return duplicate(&live, run_id, of);
            }
            Some(Taken::Waits) => {
                // It has not begun: what its actor did here is forgotten, and its request goes on waiting.
                drop((actor, presence));
                self.count_unfinished(&live.flow.name, 1);
                self.ports.lanes.add_backlog(&gate_lane(&live.flow.name));
                return Accepted::Run { run_id, answer };
            }
            Some(Taken::Stored) | None => {}
        }
        actor.committed(&commit);
        if !commit.status.is_final() {
            self.count_unfinished(&live.flow.name, 1);
        }
        if !commit.release {
            Self::spawn(actor, presence, true);
        } else if !commit.status.is_final() {
            self.wake.notify_one();
        }
        Accepted::Run { run_id, answer }
    }

    /// What recognises the same lead; a key that cannot be evaluated is noted.
    fn dedupe_key(
        &self,
        live: &LiveFlow,
        identity: &Identity,
        values: &Values,
        trigger: &mut TriggerData,
    ) -> Option<DedupeKey> {
        let key = dedupe::key(&live.flow, identity, values, self.ports.sight());
        if let Some(note) = key.note() {
            let (run, flow) = (identity.run_id, &identity.flow);
            tracing::warn!(%run, %flow, "a dedupe key could not be evaluated; the lead runs");
            trigger.notes.push(note);
        }
        key.to_store()
    }

    /// What the request of a flow that answers waits for.
    fn answer_of(&self, live: &LiveFlow, run: RunId) -> Option<oneshot::Receiver<Answered>> {
        let waits = live.flow.responds && !live.flow.answers_later;
        waits.then(|| self.ports.answers.wait_for(run))
    }

    /// Stores a run for whoever may work: this node does not know whether it may.
    async fn store_queued(&self, live: &LiveFlow, run: RunRow, dedupe: Option<DedupeKey>) -> Accepted {
        let run_id = run.run_id;
        let new = NewRun { run, steps: Vec::new(), records: Vec::new() };
        let taken = match self.store.take_in(vec![Arrival { new, dedupe, gate: gate(&live.flow) }]).await {
            Ok(Intake::Taken(taken)) => taken,
            Ok(Intake::Full) => return full(),
            Err(error) => return unavailable(&error),
        };
        if let Some(Taken::Duplicate { of }) = taken.first() {
            return duplicate(live, run_id, *of);
        }
        self.count_unfinished(&live.flow.name, 1);
        self.wake.notify_one();
        Accepted::Run { run_id, answer: None }
    }

    /// Whether the flow would have too many unfinished runs with `further` ones.
    pub(super) async fn is_busy(&self, flow: &str, further: usize) -> Result<bool, StoreError> {
        let limit = self.ports.limits().waiting_runs_per_flow_max;
        let further = further as u64;
        let fits = |runs: u64| runs.saturating_add(further) <= limit;
        let now = self.ports.clock.now();
        let known = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).get(flow).copied();
        if let Some(known) = known {
            let below = fits(u64::try_from(known.runs).unwrap_or_default());
            if below || now.saturating_sub(known.counted_at) < micros(RECOUNT_AFTER) {
                return Ok(!below);
            }
        }
        let count = self.store.unfinished(flow, limit).await?;
        let counted = Unfinished { runs: i64::try_from(count).unwrap_or(i64::MAX), counted_at: now };
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).insert(flow.to_owned(), counted);
        Ok(!fits(count))
    }
}

/// The run as its actor leaves it for the first commit.
fn first_commit(mut run: RunRow, commit: &mut RunCommit) -> NewRun {
    run.status = commit.status;
    run.code.clone_from(&commit.code);
    run.finished_at = commit.finished_at;
    run.lane.clone_from(&commit.lane);
    run.due_at = commit.due_at;
    run.owner = (!commit.release).then(|| commit.owner.clone());
    run.inflight = std::mem::take(&mut commit.inflight);
    run.answer = commit.answer.take();
    // The values of the steps are the large part: they move to the store, the actor needs only the rest.
    NewRun { run, steps: std::mem::take(&mut commit.steps), records: std::mem::take(&mut commit.records) }
}

/// How often a flow with too many unfinished runs is counted in the store: before somebody is turned away, the number
/// must be true.
const RECOUNT_AFTER: Duration = Duration::from_secs(1);

/// The epoch of a run that its acceptor works on.
const FIRST_EPOCH: i64 = 1;

/// Nothing was stored: the store cannot write now.
pub(super) fn unavailable(error: &StoreError) -> Accepted {
    Accepted::Unavailable(error.to_string())
}

/// Nothing was stored: too many runs wait at the flow's gate.
pub(super) fn full() -> Accepted {
    Accepted::Busy(Busy::Gate)
}

/// The same lead came before.
fn duplicate(live: &LiveFlow, run_id: RunId, of: RunId) -> Accepted {
    tracing::info!(run = %run_id, flow = %live.flow.name, duplicate_of = %of, "a duplicate");
    Accepted::Duplicate { run_id, duplicate_of: of }
}

/// The row of a run that has just come in.
pub(super) fn new_row(live: &LiveFlow, identity: &Identity, trigger: TriggerData) -> RunRow {
    let mut row = RunRow::queued(identity.run_id, identity.flow.clone(), live.text_id, identity.received_at, trigger);
    row.is_test = identity.is_test;
    row.epoch = FIRST_EPOCH;
    row
}

//! From a request to a stored run: parse, conditions, pure actions, one commit; only then the 202.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::actor::{Actor, Seed};
use super::scope::Values;
use super::verdict::{Verdict, judge};
use super::{Accept, Accepted, Engine, Unfinished};
use crate::clock::{Fut, micros};
use crate::ids::RunId;
use crate::library::LiveFlow;
use crate::run::{Identity, RunState, RunStatus, TriggerData};
use crate::store::{NewRun, RunRow, StoreError};
use crate::triggers::request;

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
        match self.is_busy(&live.flow.name).await {
            Ok(true) => return Accepted::Busy,
            Ok(false) => {}
            Err(error) => return Accepted::Unavailable(error.to_string()),
        }
        let run_id = RunId::new(now);
        let identity = Identity {
            run_id,
            flow: live.flow.name.clone(),
            key_run: run_id,
            received_at: now,
            is_test: parsed.is_test,
            parent: None,
        };
        let values = Values::new(&live.flow, &identity, parsed.trigger);
        let (status, code) = match judge(&live.flow, &identity, &values, &self.ports) {
            Verdict::Run => return self.store_and_run(live, identity, trigger, values).await,
            Verdict::TestLead => (RunStatus::Skipped, "test_lead"),
            Verdict::Condition(_) => (RunStatus::Skipped, "condition"),
            Verdict::Fault(error) => {
                tracing::warn!(run = %run_id, flow = %identity.flow, code = error.code, "a trigger condition could not be evaluated");
                (RunStatus::Failed, error.code)
            }
        };
        match self.store_ended(&live, identity, trigger, status, code).await {
            Err(error) => unavailable(&error),
            Ok(()) if code == "test_lead" => Accepted::TestSkipped { run_id },
            Ok(()) if status == RunStatus::Skipped => Accepted::Skipped { run_id },
            Ok(()) => Accepted::Run { run_id, answer: None },
        }
    }

    /// Stores a run that never starts.
    async fn store_ended(
        &self,
        live: &LiveFlow,
        identity: Identity,
        trigger: TriggerData,
        status: RunStatus,
        code: &str,
    ) -> Result<(), StoreError> {
        let mut run = new_row(live, &identity, trigger);
        run.status = status;
        run.code = Some(code.to_owned());
        run.finished_at = Some(identity.received_at);
        self.store.accept(NewRun { run, steps: Vec::new(), records: Vec::new() }).await?;
        tracing::info!(run = %identity.run_id, flow = %identity.flow, status = status.as_str(), code, "run ended");
        Ok(())
    }

    async fn store_and_run(
        self: &Arc<Self>,
        live: Arc<LiveFlow>,
        identity: Identity,
        trigger: TriggerData,
        values: Values,
    ) -> Accepted {
        let run_id = identity.run_id;
        let mut run = new_row(&live, &identity, trigger);
        let admits = self.active_runs() < self.ports.limits().active_runs_max;
        let (presence, cancel) = self.register(run_id, false);
        let answer = live.flow.responds.then(|| self.ports.answers.wait_for(run_id));
        let mut actor = Actor::new(Seed {
            ports: Arc::clone(&self.ports),
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
        run.status = commit.status;
        run.code.clone_from(&commit.code);
        run.finished_at = commit.finished_at;
        run.lane.clone_from(&commit.lane);
        run.due_at = commit.due_at;
        run.owner = (!commit.release).then(|| commit.owner.clone());
        run.inflight = std::mem::take(&mut commit.inflight);
        run.answer = commit.answer.take();
        // The values of the steps are the large part: they move to the store, the actor needs only the rest.
        let steps = std::mem::take(&mut commit.steps);
        let new = NewRun { run, steps, records: std::mem::take(&mut commit.records) };
        if let Err(error) = self.store.accept(new).await {
            self.ports.answers.forget(run_id);
            // The answer may have been lost after the commit: then the run is ours, and nobody works on it yet.
            drop(presence);
            self.astray.store(true, Ordering::SeqCst);
            return unavailable(&error);
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

    /// Whether the flow has too many unfinished runs.
    pub(super) async fn is_busy(&self, flow: &str) -> Result<bool, StoreError> {
        let limit = self.ports.limits().waiting_runs_per_flow_max;
        let now = self.ports.clock.now();
        let known = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).get(flow).copied();
        if let Some(known) = known {
            let below = u64::try_from(known.runs).unwrap_or_default() < limit;
            if below || now.saturating_sub(known.counted_at) < micros(RECOUNT_AFTER) {
                return Ok(!below);
            }
        }
        let count = self.store.unfinished(flow, limit).await?;
        let counted = Unfinished { runs: i64::try_from(count).unwrap_or(i64::MAX), counted_at: now };
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).insert(flow.to_owned(), counted);
        Ok(count >= limit)
    }
}

/// How often a flow with too many unfinished runs is counted in the store: before somebody is turned away, the number
/// must be true.
const RECOUNT_AFTER: Duration = Duration::from_secs(1);

/// The epoch of a run that its acceptor works on.
const FIRST_EPOCH: i64 = 1;

fn unavailable(error: &StoreError) -> Accepted {
    Accepted::Unavailable(error.to_string())
}

/// The row of a run that has just come in.
fn new_row(live: &LiveFlow, identity: &Identity, trigger: TriggerData) -> RunRow {
    let mut row = RunRow::queued(identity.run_id, identity.flow.clone(), live.text_id, identity.received_at, trigger);
    row.is_test = identity.is_test;
    row.epoch = FIRST_EPOCH;
    row
}

//! What an actor commits: the rows of what changed, the effects about to be sent, and who holds the run afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::lasting::NEVER;
use super::{Actor, Wanting};
use crate::actions::Answer;
use crate::actions::respond::KIND as RESPOND;
use crate::clock::{Micros, micros};
use crate::engine::Answered;
use crate::engine::lanes::Permit;
use crate::engine::ports::Drain;
use crate::flow::Action;
use crate::flow::plan::Kind;
use crate::run::advance::Event;
use crate::run::blocks::cause;
use crate::run::transition::StepEvent;
use crate::run::{RunStatus, Step, StepKey, StepStatus};
use crate::store::hidden::{SECURE_ANSWER, hide_answer};
use crate::store::{Inflight, RunCommit, StepIo, StepRow, StoreError};

/// The first wait before a commit that the store could not take is tried again; it doubles up to [`COMMIT_WAIT_MAX`].
const COMMIT_WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest such wait.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often a run that waits for a called one is looked at when no signal came.
const CALL_POLL: Duration = Duration::from_secs(60);

impl Actor {
    /// Commits everything since the last commit, launches what it names. `false`: stop, the run is not ours any more.
    pub(super) async fn commit(&mut self) -> bool {
        let commit = self.snapshot();
        let mut wait = COMMIT_WAIT_MIN;
        loop {
            if !self.may_commit().await {
                return false;
            }
            let lease = Arc::clone(&self.lease);
            let written = tokio::select! {
                biased;
                () = lease.lost() => continue,
                written = self.ports.journal.commit(commit.clone()) => written,
            };
            match written {
                Ok(()) => break,
                Err(StoreError::Fenced) => {
                    // Also when an earlier answer to this very commit was lost: then it is done.
                    tracing::warn!(run = %self.identity.run_id, "this run is not ours any more; stopping work on it");
                    self.ports.answers.forget(self.identity.run_id);
                    return false;
                }
                Err(error) if *self.ports.drain.borrow() == Drain::GiveUp => {
                    tracing::error!(run = %self.identity.run_id, %error, "stopping without a commit; the run resumes at the next start");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(run = %self.identity.run_id, %error, "cannot commit; trying again");
                    self.ports.clock.sleep_until(self.ports.clock.now() + micros(wait)).await;
                    wait = (wait * 2).min(COMMIT_WAIT_MAX);
                }
            }
        }
        self.committed(&commit);
        true
    }

    /// Waits until a commit may be tried; `false`: never, or it waited longer than a shutdown may.
    async fn may_commit(&mut self) -> bool {
        let (lease, mut drain) = (Arc::clone(&self.lease), self.ports.drain.clone());
        tokio::select! {
            biased;
            trusted = lease.trusted() => {
                if !trusted {
                    self.stop_without_commit();
                }
                trusted
            }
            _ = drain.wait_for(|phase| *phase == Drain::GiveUp) => {
                tracing::error!(run = %self.identity.run_id, "stopping without a commit: the lease is not trusted; the run is taken over");
                false
            }
        }
    }

    /// After a commit: remembers what is written, answers the request, launches effects.
    pub(in crate::engine) fn committed(&mut self, commit: &RunCommit) {
        // A long loop must not keep everything that it has done in memory.
        for key in std::mem::take(&mut self.unwritten) {
            if let Some(step) = self.state.steps.get_mut(&key).filter(|_| !key.idx.is_empty()) {
                step.inputs = None;
                step.tries = Vec::new();
            }
        }
        for key in std::mem::take(&mut self.leaving) {
            self.state.steps.remove(&key);
        }
        self.unwritten_bytes = 0;
        let plan = &self.flow.plan;
        self.pinned.extend(self.state.active.iter().filter(|key| plan.nodes[key.node].kind != Kind::Leaf).cloned());
        if let Some(answer) = self.answer.take() {
            self.ports.answers.resolve(self.identity.run_id, Answered::Respond(answer));
        }
        if commit.status.is_final() {
            let answered =
                if commit.status == RunStatus::Succeeded { Answered::EndedWithout } else { Answered::FailedWithout };
            self.ports.answers.resolve(self.identity.run_id, answered);
            log_outcome(&self.identity, commit, self.ports.clock.now());
        }
        if commit.release && *self.ports.drain.borrow() != Drain::No {
            self.ports.answers.forget(self.identity.run_id);
        }
        self.changed = false;
        self.accepting = false;
        self.to_start.extend(std::mem::take(&mut self.deferred));
        self.listen();
        if self.identity.parent.is_some() && commit.wakes.is_some() || !commit.starts.is_empty() {
            self.ports.lanes.wake();
        }
        self.done = commit.release;
        if commit.release && commit.status != RunStatus::Held && commit.due_at <= self.ports.clock.now() {
            self.ports.lanes.add_backlog(&commit.lane);
        }
        let admitted = std::mem::take(&mut self.admitted);
        self.launch(admitted);
    }

    /// Everything since the last commit, as one commit.
    pub(in crate::engine) fn snapshot(&mut self) -> RunCommit {
        let at = self.ports.clock.now();
        self.mark_sent(at);
        let inflight = self.inflight();
        let settled = self.state.settled;
        let (status, lane, due_at) = match settled {
            Some(status) => (status, String::new(), at),
            None => self.standing(at, &inflight),
        };
        let release = settled.is_some() || (inflight.is_empty() && !self.stays(at));
        RunCommit {
            run_id: self.identity.run_id,
            owner: self.lease.owner().to_owned(),
            epoch: self.epoch,
            status,
            code: self.code(status),
            finished_at: settled.map(|_| at),
            lane,
            due_at,
            release,
            inflight: if settled.is_some() { Vec::new() } else { inflight },
            answer: self.answer.as_ref().and_then(|answer| self.stored_answer(answer)),
            steps: self.rows(at),
            records: std::mem::take(&mut self.records),
            starts: std::mem::take(&mut self.starts),
            wakes: self.wakes(at),
        }
    }

    /// The answer as it is kept. One that is secure is given to whoever waits, and only its status is remembered; where
    /// somebody fetches it from the store (a run that called this one, a caller that asks later, the node to which the
    /// request came), there it stays, hidden
    /// from readers.
    fn stored_answer(&self, answer: &Answer) -> Option<serde_json::Value> {
        let mut stored = serde_json::to_value(answer).ok()?;
        if self.flow.actions.iter().any(|action| action.secure.inputs && action.kind == RESPOND) {
            stored[SECURE_ANSWER] = true.into();
            let run = self.identity.run_id;
            let fetched = self.ports.journal.is_shared() && !self.ports.answers.is_awaited(run);
            if self.identity.parent.is_none() && !self.flow.answers_later && !fetched {
                hide_answer(&mut stored);
            }
        }
        Some(stored)
    }

    /// The run that waits for this one, once there is something to tell it.
    fn wakes(&self, at: Micros) -> Option<(crate::ids::RunId, Micros)> {
        let told = self.answer.is_some() || self.state.settled.is_some();
        self.identity.parent.as_ref().filter(|_| told).map(|parent| (parent.run, at))
    }

    /// The tries that this commit names begin now.
    fn mark_sent(&mut self, at: Micros) {
        let keys: Vec<StepKey> = self.admitted.iter().map(|(wanting, _)| wanting.key.clone()).collect();
        for key in keys {
            self.apply(Event::Step { at, key, event: StepEvent::Send { at } });
        }
    }

    fn inflight(&self) -> Vec<Inflight> {
        let named = |key: &StepKey, attempt| Inflight {
            name: self.flow.actions[key.node].name.clone(),
            idx: key.idx.clone(),
            attempt,
        };
        let flying = self.flights.iter().map(|(key, flight)| named(key, flight.attempt));
        let admitted = self.admitted.iter().map(|(wanting, _): &(Wanting, Permit)| {
            named(&wanting.key, self.state.steps.get(&wanting.key).map_or(1, |step| step.attempt))
        });
        flying.chain(admitted).collect()
    }

    /// Status, lane and due time of a run that goes on.
    fn standing(&self, at: Micros, inflight: &[Inflight]) -> (RunStatus, String, Micros) {
        if let Some(flight) = self.flights.values().next() {
            return (RunStatus::Running, flight.permit.lane().to_owned(), at);
        }
        if let Some((_, permit)) = self.admitted.first() {
            return (RunStatus::Running, permit.lane().to_owned(), at);
        }
        debug_assert!(inflight.is_empty());
        if !(self.to_start.is_empty() && self.to_close.is_empty() && self.deferred.is_empty()) || self.look_at_calls {
            let status = if self.is_busy() { RunStatus::Running } else { RunStatus::Waiting };
            return (status, String::new(), at);
        }
        let begun = self.state.steps.values().any(|step| step.status.is_final() || step.status == StepStatus::Waiting);
        let status = if begun { RunStatus::Waiting } else { RunStatus::Queued };
        if let Some((lane, due_at)) = self.parking(at) {
            let look_at = if self.calls.is_empty() { NEVER } else { at.saturating_add(micros(CALL_POLL)) };
            return (status, lane, due_at.min(look_at));
        }
        if let Some(wanting) = self.wanting.first() {
            return (status, wanting.lane.clone(), at);
        }
        let timer = self.timers().min();
        if !self.calls.is_empty() {
            let look_at = at.saturating_add(micros(CALL_POLL));
            return (RunStatus::Waiting, String::new(), timer.map_or(look_at, |(due_at, _)| due_at.min(look_at)));
        }
        match (timer, &self.hold) {
            (Some((due_at, key)), _) => {
                let expires_at = self
                    .identity
                    .received_at
                    .saturating_add(micros(self.ports.limits().run_duration))
                    .saturating_add(1);
                (RunStatus::Waiting, self.timer_lane(key), due_at.min(expires_at.max(at)))
            }
            (None, Some((_, lane))) => (RunStatus::Held, lane.clone(), NEVER),
            // Nothing wanted, nothing awaited, not settled: cannot be, and must not spin.
            (None, None) => (RunStatus::Held, String::new(), NEVER),
        }
    }

    /// The lane in which a timer's run will wait: that of its connection for a retry, none for a delay.
    pub(super) fn timer_lane(&self, key: &StepKey) -> String {
        let retry = self.state.steps.get(key).is_some_and(|step| !step.tries.is_empty());
        let connection = self.flow.actions[key.node].connection.as_deref();
        connection.filter(|_| retry).unwrap_or_default().to_owned()
    }

    /// Whether a run with nothing in flight stays in memory: its next timer is near.
    pub(super) fn stays(&self, at: Micros) -> bool {
        if self.is_busy() {
            return true;
        }
        let near = at.saturating_add(micros(self.ports.limits().keep_in_memory));
        let timer = self.timers().map(|(due_at, _)| due_at).min();
        if self.wanting.is_empty()
            && self.patience.is_some_and(|until| at < until)
            && *self.ports.drain.borrow() == Drain::No
        {
            return true;
        }
        self.wanting.is_empty() && *self.ports.drain.borrow() == Drain::No && timer.is_some_and(|due| due <= near)
    }

    /// Why the run failed or is held.
    fn code(&self, status: RunStatus) -> Option<String> {
        match status {
            RunStatus::Failed | RunStatus::Succeeded | RunStatus::Cancelled if self.ending.is_some() => {
                self.ending.as_ref().and_then(|ending| ending.code.clone())
            }
            RunStatus::Failed => cause(&self.flow.plan, &self.state).map(|failure| failure.code),
            RunStatus::Held => Some(self.hold.as_ref().map_or("engine_fault", |(code, _)| *code).to_owned()),
            RunStatus::TimedOut => Some("run_duration".to_owned()),
            _ => None,
        }
    }

    /// Rows of ended steps not yet written, of waiting ones, of those whose inputs could not be rendered the same again,
    /// and of those that may have been sent and are not in flight: no commit names them any more, and whoever takes the
    /// run up next must know it.
    fn rows(&self, at: Micros) -> Vec<StepRow> {
        let admitted: BTreeSet<&StepKey> = self.admitted.iter().map(|(wanting, _)| &wanting.key).collect();
        let sending = |key: &StepKey| admitted.contains(key);
        let is_due = |key: &StepKey, step: &Step| match (self.flow.plan.nodes[key.node].kind, step.status) {
            (_, StepStatus::Waiting) => true,
            (Kind::Leaf, _) if sending(key) => self.flow.actions[key.node].volatile,
            (Kind::Leaf, _) => step.possible_repeat && !self.flights.contains_key(key),
            _ => !self.pinned.contains(key),
        };
        let working = self.waiting().filter(|(key, step)| is_due(key, step));
        let ended = self.unwritten.iter().filter_map(|key| Some((key, self.state.steps.get(key)?)));
        let row = |(key, step): (&StepKey, &Step)| {
            let mut row = row(&self.flow.actions[key.node], key, step);
            let wants_slot = row.status == StepStatus::Running && !sending(key);
            if wants_slot && self.flow.plan.nodes[key.node].kind == Kind::Leaf {
                // Its inputs are pinned and its next try has not begun.
                (row.status, row.due_at) = (StepStatus::Waiting, Some(at));
            }
            row
        };
        ended.chain(working).map(row).collect()
    }
}

fn row(action: &Action, key: &StepKey, step: &Step) -> StepRow {
    StepRow {
        idx: key.idx.clone(),
        name: action.name.clone(),
        status: step.status,
        attempt: step.attempt,
        due_at: step.due_at,
        started_at: step.started_at,
        finished_at: step.finished_at,
        outcome: step.outcome.clone(),
        possible_repeat: step.possible_repeat,
        io: StepIo {
            inputs: step.inputs.clone(),
            outputs: step.outputs.clone(),
            error: step.error.clone(),
            tries: step.tries.clone(),
            change: step.change,
            secure: action.secure,
            child: step.child,
        },
    }
}

/// One line per run outcome, without lead data.
pub(in crate::engine) fn log_outcome(identity: &crate::run::Identity, commit: &RunCommit, now: Micros) {
    let millis = now.saturating_sub(identity.received_at) / 1000;
    let (run, flow, status) = (&identity.run_id, &identity.flow, commit.status.as_str());
    match commit.code.as_deref() {
        Some(code) => tracing::warn!(%run, %flow, status, code, millis, "run ended"),
        None => tracing::info!(%run, %flow, status, millis, "run ended"),
    }
}

//! One actor per run: it alone changes the run's state, one commit at a time, and performs the run's effects.
//!
//! Promise: an effect starts only after the commit that names it in `inflight`; pure actions never commit alone; with
//! nothing in flight and nothing due soon the run goes back to the store and leaves memory.

mod calls;
mod commit;
mod containers;
mod data;
mod iterations;
mod lasting;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::Answered;
use super::lanes::Permit;
use super::lease::Lease;
use super::ports::{Drain, OpenConnection, Ports};
use super::scope::Values;
use crate::actions::Answer;
use crate::clock::{Micros, micros};
use crate::connectors::{Operation, Outcome};
use crate::flow::Flow;
use crate::flow::plan::Kind;
use crate::ids::RunId;
use crate::outbound::Effect;
use crate::run::advance::{Event, Todo, advance};
use crate::run::transition::{Illegal, StepEvent};
use crate::run::{Failure, Identity, RunState, RunStatus, Step, StepKey, StepStatus};
use crate::store::{NewRun, RecordWrite};

/// A started action that wants a slot of its lane.
struct Wanting {
    key: StepKey,
    lane: String,
    /// The one whose connector built the effect: it sends it too, whatever the settings say by then.
    connection: Arc<OpenConnection>,
    operation: Operation,
    effect: Effect,
}

/// A try in flight.
struct Flight {
    permit: Permit,
    attempt: u32,
    task: tokio::task::Id,
}

/// An early end.
struct Ending {
    /// When it stops waiting for effects in flight.
    at: Micros,
    /// The run's status then.
    status: RunStatus,
    /// The run's code then.
    code: Option<String>,
}

/// How a try ended.
type Landed = (StepKey, Result<Outcome, Failure>);

/// The actor of one run.
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, not a state in disguise")]
pub(super) struct Actor {
    ports: Arc<Ports>,
    /// Of the life in which it works: when that is over, so is it.
    lease: Arc<Lease>,
    flow: Arc<Flow>,
    pub(super) identity: Identity,
    values: Values,
    state: RunState,
    epoch: i64,
    /// Started and waiting for a slot.
    wanting: Vec<Wanting>,
    /// Allowed to be sent by the next commit.
    admitted: Vec<(Wanting, Permit)>,
    flights: BTreeMap<StepKey, Flight>,
    tasks: JoinSet<Landed>,
    /// Slots that a claim brought along.
    reserved: Vec<Permit>,
    /// Ended steps whose rows are not written yet, and the bytes of their values, about.
    unwritten: BTreeSet<StepKey>,
    unwritten_bytes: usize,
    /// Those of them that stand in an iteration that is over: once written, nobody asks for them again.
    leaving: Vec<StepKey>,
    /// What the ended iterations of loops at work gave.
    gathered: BTreeMap<StepKey, iterations::Gathered>,
    /// By node: whether its templates read `loops`. Empty in a flow without loops.
    reads_loops: Vec<bool>,
    /// Containers at work whose rows are written: what they decided is pinned.
    pinned: BTreeSet<StepKey>,
    /// Record writes for the next commit.
    records: Vec<RecordWrite>,
    /// The answer that `respond` gave, until it is committed; and whether it ever gave one.
    answer: Option<Answer>,
    answered: bool,
    /// Why the run is stopped until somebody acts: the code, and the lane that it waits for.
    hold: Option<(&'static str, String)>,
    /// The actions that it stops: their times do not count.
    held: BTreeSet<StepKey>,
    /// How the run ends early: cancelled, or by `terminate`.
    ending: Option<Ending>,
    cancel: watch::Receiver<bool>,
    /// Whether the word to cancel was taken.
    is_cancelling: bool,
    /// Actions that may start.
    to_start: VecDeque<StepKey>,
    /// Actions that wait until the run is stored: they call other runs.
    deferred: Vec<StepKey>,
    /// The run is not stored yet.
    pub(super) accepting: bool,
    /// Called runs that it waits for.
    calls: BTreeMap<StepKey, RunId>,
    /// Called runs that the next commit stores.
    starts: Vec<NewRun>,
    /// Signals of called runs on this node, not listened to yet.
    signals: Vec<oneshot::Receiver<Answered>>,
    /// Tasks that listen to them.
    listening: JoinSet<()>,
    /// Some called run has to be looked at.
    look_at_calls: bool,
    /// Until when the run stays in memory for a called one.
    patience: Option<Micros>,
    /// Containers in which everything has ended, and whether badly.
    to_close: VecDeque<(StepKey, bool)>,
    /// Something happened since the last commit.
    changed: bool,
    /// Whether effects may start here; otherwise the run is stored for whoever claims it.
    admits: bool,
    /// Nothing more to do here: the run has ended or was given back.
    done: bool,
}

/// What an actor is made of.
pub(super) struct Seed {
    pub(super) ports: Arc<Ports>,
    pub(super) lease: Arc<Lease>,
    pub(super) flow: Arc<Flow>,
    pub(super) identity: Identity,
    pub(super) values: Values,
    pub(super) state: RunState,
    pub(super) epoch: i64,
    pub(super) reserved: Vec<Permit>,
    pub(super) answered: bool,
    pub(super) cancel: watch::Receiver<bool>,
    pub(super) admits: bool,
}

/// What woke the actor.
enum Woken {
    Landed(StepKey, Result<Outcome, Failure>),
    Due,
    Cancel,
    Drain,
    Called,
    LeaseLost,
}

impl Actor {
    pub(super) fn new(seed: Seed) -> Self {
        let Seed { ports, lease, flow, identity, values, state, epoch, reserved, answered, cancel, admits } = seed;
        let reads_loops = iterations::readers(&flow);
        let pinned = state.active.iter().filter(|key| flow.plan.nodes[key.node].kind != Kind::Leaf).cloned().collect();
        Self {
            ports,
            lease,
            flow,
            identity,
            values,
            state,
            epoch,
            wanting: Vec::new(),
            admitted: Vec::new(),
            flights: BTreeMap::new(),
            tasks: JoinSet::new(),
            reserved,
            unwritten: BTreeSet::new(),
            unwritten_bytes: 0,
            leaving: Vec::new(),
            gathered: BTreeMap::new(),
            reads_loops,
            pinned,
            records: Vec::new(),
            answer: None,
            answered,
            hold: None,
            held: BTreeSet::new(),
            ending: None,
            cancel,
            is_cancelling: false,
            to_start: VecDeque::new(),
            to_close: VecDeque::new(),
            deferred: Vec::new(),
            accepting: false,
            calls: BTreeMap::new(),
            starts: Vec::new(),
            signals: Vec::new(),
            listening: JoinSet::new(),
            look_at_calls: false,
            patience: None,
            changed: false,
            admits,
            done: false,
        }
    }

    /// Takes the run as far as it goes without a commit: pure actions run, effects ask for slots.
    pub(super) fn begin(&mut self) {
        // Their rows are written.
        let known = std::mem::take(&mut self.state.ended);
        let at = self.ports.clock.now();
        if *self.cancel.borrow() {
            self.stop(RunStatus::Cancelled);
        } else if self.is_too_old(at) {
            self.stop(RunStatus::TimedOut);
        } else {
            self.terminate_again();
            self.hold_unknown_again();
            self.resume_calls();
            self.apply(Event::Begin { at });
            // What stands in iterations that are over has gone by now.
            for key in known {
                self.note(&key);
            }
            self.turn();
        }
        self.admit();
    }

    fn is_too_old(&self, now: Micros) -> bool {
        now.saturating_sub(self.identity.received_at) > micros(self.ports.limits().run_duration)
    }

    /// Runs until the run has ended or is given back. The first commit is done already when `committed`.
    /// Answers whether the run has ended.
    pub(super) async fn run(mut self, committed: bool) -> bool {
        self.look_at_calls().await;
        if !committed && !self.commit().await {
            return false;
        }
        while !self.done {
            match self.woken().await {
                Woken::Landed(key, result) => {
                    self.landed(key, result);
                    // Whatever else ended meanwhile folds into the same commit.
                    while let Some(joined) = self.tasks.try_join_next() {
                        let (key, result) = self.joined(joined);
                        self.landed(key, result);
                    }
                }
                Woken::Due => {}
                Woken::Cancel => {
                    self.is_cancelling = true;
                    // Somebody's word goes before the flow's own end.
                    self.end_early(RunStatus::Cancelled, None);
                }
                Woken::Drain => self.give_up_flights(),
                Woken::Called => self.look_at_calls = true,
                Woken::LeaseLost => {
                    self.stop_without_commit();
                    return false;
                }
            }
            self.look_at_calls().await;
            self.turn();
            if self.is_unchanged() {
                continue;
            }
            if !self.commit().await {
                return false;
            }
        }
        self.state.settled.is_some()
    }

    /// A wake that changed nothing needs no commit, as long as there is a reason to stay.
    fn is_unchanged(&self) -> bool {
        let idle = !self.changed && self.admitted.is_empty();
        idle && (!self.flights.is_empty() || self.stays(self.ports.clock.now()))
    }

    /// After something happened: timers, cancellation, admission.
    fn turn(&mut self) {
        if self.ending.is_none() {
            self.pump();
        }
        let now = self.ports.clock.now();
        // A run that always has something in flight is never claimed again: it grows old here.
        if self.ending.is_none() && self.state.settled.is_none() && self.is_too_old(now) {
            self.end_early(RunStatus::TimedOut, None);
        }
        match &self.ending {
            // What was in flight may have ended the run in its own way.
            Some(_) if self.state.settled.is_some() => {}
            Some(ending) if self.flights.is_empty() || now >= ending.at => {
                let status = ending.status;
                self.tasks.abort_all();
                self.flights.clear();
                self.stop(status);
            }
            Some(_) => {}
            None => self.admit(),
        }
    }

    /// No new effect from now on; those in flight may end within the grace time.
    fn end_early(&mut self, status: RunStatus, code: Option<String>) {
        let at = self.ports.clock.now() + micros(self.ports.limits().cancel_grace);
        let at = self.ending.as_ref().map_or(at, |ending| ending.at);
        self.ending = Some(Ending { at, status, code });
        self.to_start.clear();
        self.to_close.clear();
    }

    async fn woken(&mut self) -> Woken {
        let mut drain = self.ports.drain.clone();
        let phase = *drain.borrow_and_update();
        if phase == Drain::GiveUp {
            return Woken::Drain;
        }
        let due = self.next_due();
        let clock = Arc::clone(&self.ports.clock);
        // It may have come during a commit; and a run whose effects land all the time must hear it too.
        if !self.is_cancelling && *self.cancel.borrow() {
            return Woken::Cancel;
        }
        let is_cancelling = self.is_cancelling;
        // Also while a shutdown has begun: the next commit gives the run back.
        let busy = self.has_more() || self.changed;
        let lease = Arc::clone(&self.lease);
        tokio::select! {
            biased;
            () = lease.lost() => Woken::LeaseLost,
            Some(joined) = self.tasks.join_next() => {
                let (key, result) = self.joined(joined);
                Woken::Landed(key, result)
            }
            Ok(()) = self.cancel.changed(), if !is_cancelling => Woken::Cancel,
            // A phase between "running" and "give up" changes what `admit` allows, nothing else.
            Ok(()) = drain.changed() => if *drain.borrow() == Drain::GiveUp { Woken::Drain } else { Woken::Due },
            Some(_) = self.listening.join_next() => Woken::Called,
            // Others have their turn in between.
            () = tokio::task::yield_now(), if busy => Woken::Due,
            () = sleep_until(clock.as_ref(), due) => Woken::Due,
        }
    }

    /// Whether there is more to do at once than one commit takes.
    fn has_more(&self) -> bool {
        let idle =
            self.to_start.is_empty() && self.to_close.is_empty() && self.deferred.is_empty() && !self.look_at_calls;
        !idle && self.ending.is_none()
    }

    /// Whether it is done here.
    fn is_busy(&self) -> bool {
        self.has_more() && self.admits && *self.ports.drain.borrow() == Drain::No
    }

    /// The task's result; a panic is a failed step, found by its task.
    fn joined(&self, joined: Result<Landed, tokio::task::JoinError>) -> Landed {
        match joined {
            Ok(landed) => landed,
            Err(error) => {
                let found = self.flights.iter().find(|(_, flight)| flight.task == error.id());
                let key = found.map_or_else(|| StepKey::top(usize::MAX), |(key, _)| key.clone());
                // A runtime that ends takes its tasks with it: that is no answer.
                let failure = if error.is_cancelled() {
                    Failure::unknown("internal_error", "leadflow stopped while performing this action")
                } else {
                    Failure::terminal("internal_error", "leadflow panicked while performing this action")
                };
                (key, Err(failure))
            }
        }
    }

    fn landed(&mut self, key: StepKey, result: Result<Outcome, Failure>) {
        let Some(flight) = self.flights.remove(&key) else {
            return; // Given up before.
        };
        let at = self.ports.clock.now();
        match result {
            Ok(outcome) => {
                let flagged = outcome.possible_repeat;
                for write in outcome.writes {
                    self.keep_record(at, &key, write);
                }
                self.succeed(key, outcome.outputs, outcome.outcome, flagged);
            }
            Err(failure) => self.fail_or_retry(at, key, flight.permit.lane(), failure),
        }
    }

    /// The life is over: another one takes the run as it is in the store. What was in flight has an unknown outcome.
    fn stop_without_commit(&mut self) {
        tracing::warn!(run = %self.identity.run_id, "the lease is lost; stopping work on this run");
        self.tasks.abort_all();
        self.flights.clear();
        self.ports.answers.forget(self.identity.run_id);
    }

    fn give_up_flights(&mut self) {
        let at = self.ports.clock.now();
        self.tasks.abort_all();
        for key in std::mem::take(&mut self.flights).into_keys() {
            self.apply(Event::Step { at, key, event: StepEvent::Interrupt { at } });
        }
    }

    /// Applies an event; what may start now is queued, so that a long chain of pure actions needs no deep stack.
    fn apply(&mut self, event: Event) {
        self.changed = true;
        match advance(&self.flow.plan, &mut self.state, event) {
            Ok(todos) => {
                for key in std::mem::take(&mut self.state.ended) {
                    self.note(&key);
                    self.count_bytes(&key);
                    self.pinned.remove(&key);
                    self.unwritten.insert(key);
                }
                for todo in todos {
                    match todo {
                        Todo::Start(key) => self.to_start.push_back(key),
                        Todo::Ended { key, bad } => self.to_close.push_back((key, bad)),
                        Todo::Left { key, idx } => self.leave_iteration(&key, &idx),
                        Todo::WaitUntil(..) | Todo::Settle(_) => {}
                    }
                }
            }
            Err(illegal) => self.broken(&illegal),
        }
    }

    /// Starts everything that may start, closes what has ended and wakes every timer that has passed, until nothing
    /// follows or a commit is full.
    fn pump(&mut self) {
        while self.ending.is_none() && !self.is_commit_full() {
            if let Some(key) = self.to_start.pop_front() {
                if self.accepting && self.flow.actions[key.node].kind == crate::actions::run_flow::KIND {
                    self.deferred.push(key);
                } else {
                    self.start(&key);
                }
            } else if let Some((key, bad)) = self.to_close.pop_front() {
                self.close(&key, bad);
            } else {
                self.wake_due();
                if self.to_start.is_empty() && self.to_close.is_empty() {
                    return;
                }
            }
        }
    }

    /// A fault in the engine: the run is held, loudly; nothing is lost.
    fn broken(&mut self, illegal: &Illegal) {
        tracing::error!(run = %self.identity.run_id, flow = %self.identity.flow, %illegal, "engine fault: the run is held");
        self.hold = Some(("engine_fault", String::new()));
    }

    fn stop(&mut self, status: RunStatus) {
        self.wanting.clear();
        self.admitted.clear();
        let at = self.ports.clock.now();
        self.apply(Event::Stop { at, status });
    }

    /// Templates see what has ended.
    fn note(&mut self, key: &StepKey) {
        if let Some(step) = self.state.steps.get(key) {
            self.values.note(&self.flow.actions[key.node].name, &key.idx, step);
        }
    }

    /// Timers that have passed: a delay ends, a retry asks for a slot.
    fn wake_due(&mut self) {
        let now = self.ports.clock.now();
        let is_due = |step: &Step| step.status == StepStatus::Waiting && step.due_at.is_some_and(|at| at <= now);
        let mut due: Vec<StepKey> = self
            .waiting()
            .filter(|(key, step)| is_due(step) && !self.held.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        if !due.is_empty() {
            let admitted = self.admitted.iter().map(|(admitted, _)| admitted);
            let asked: BTreeSet<&StepKey> = self.wanting.iter().chain(admitted).map(|wanting| &wanting.key).collect();
            due.retain(|key| !asked.contains(key));
        }
        for key in due {
            if self.calls.contains_key(&key) {
                self.call_timed_out(&key);
            // Only an action that has begun a try waits for a retry; any other one waits for its own time.
            } else if self.state.steps.get(&key).is_some_and(|step| step.tries.is_empty()) {
                self.succeed(key, Value::Null, None, false);
            } else {
                self.prepare(&key);
            }
        }
    }

    /// Gives wanting actions their slots, as far as there are any.
    fn admit(&mut self) {
        if !self.admits || *self.ports.drain.borrow() != Drain::No || self.ending.is_some() {
            return;
        }
        for wanting in std::mem::take(&mut self.wanting) {
            let reserved = self.reserved.iter().position(|permit| permit.lane() == wanting.lane);
            let permit = match reserved {
                Some(index) => Some(self.reserved.swap_remove(index)),
                None => self.ports.lanes.try_enter(&wanting.lane),
            };
            match permit {
                Some(permit) => self.admitted.push((wanting, permit)),
                None => self.wanting.push(wanting),
            }
        }
        self.reserved.clear();
    }

    /// Actions that have begun and not ended.
    fn waiting(&self) -> impl Iterator<Item = (&StepKey, &Step)> {
        self.state.active.iter().filter_map(|key| Some((key, self.state.steps.get(key)?)))
    }

    /// Times that actions wait for.
    fn timers(&self) -> impl Iterator<Item = (Micros, &StepKey)> {
        let steps = self.waiting().filter(|(key, _)| !self.held.contains(*key));
        steps.filter_map(|(key, step)| Some((step.due_at?, key)))
    }

    /// When something is due without anything landing.
    fn next_due(&self) -> Option<Micros> {
        // The time of whoever wants a slot has come already: waking for it again would turn in circles.
        let is_wanting = |key: &StepKey| self.wanting.iter().any(|wanting| wanting.key == *key);
        let timers = self.timers().filter(|(_, key)| !is_wanting(key)).map(|(due_at, _)| due_at);
        // A wanting action looks for a slot again each time; the poll is only for what no signal tells.
        let now = self.ports.clock.now();
        let poll = (!self.wanting.is_empty()).then(|| now + micros(LANE_POLL));
        let patience = self.patience.filter(|until| !self.calls.is_empty() && *until > now);
        timers.chain(self.ending.as_ref().map(|ending| ending.at)).chain(poll).chain(patience).min()
    }
}

/// How often a run with effects in flight looks for a slot of another lane.
const LANE_POLL: Duration = Duration::from_millis(200);

async fn sleep_until(clock: &dyn crate::clock::Clock, due: Option<Micros>) {
    match due {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

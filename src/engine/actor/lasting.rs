//! What a run does about a try that failed: again later, wait for its connection, or stop until somebody decides.

use super::{Actor, Wanting};
use crate::clock::{Micros, micros};
use crate::engine::restore::UNKNOWN;
use crate::flow::Action;
use crate::flow::catalogue::{OperationKind, is_repeatable_method};
use crate::flow::format::OnUnknown;
use crate::run::advance::Event;
use crate::run::transition::StepEvent;
use crate::run::{Class, Failure, StepKey, StepStatus, retry};
use crate::store::connection_state::PAUSE_MIN;

/// The due time of what waits for somebody, not for a time.
pub(super) const NEVER: Micros = Micros::MAX;

/// The code of a run that stops because nobody knows whether an action was done.
const UNKNOWN_OUTCOME: &str = "unknown_outcome";

impl Actor {
    /// A try failed: another one follows if the failure's class and the policy allow it. One that only met a throttle or
    /// refused credentials did nothing and does not count: its run waits for the connection.
    pub(super) fn fail_or_retry(&mut self, at: Micros, key: StepKey, lane: &str, failure: Failure) {
        let event = match failure.class {
            Class::Terminal => StepEvent::Fail { at, failure },
            Class::Throttled => {
                let soonest = at.saturating_add(micros(PAUSE_MIN));
                let due_at = self.ports.lanes.shut_until(lane).unwrap_or(soonest).max(soonest);
                StepEvent::Postpone { at, due_at, failure }
            }
            // Behind those that wait already: another one finds out.
            Class::Credentials => StepEvent::Postpone { at, due_at: at, failure },
            Class::Unknown | Class::TimedOut if self.holds_unknown(&key) => {
                tracing::warn!(run = %self.identity.run_id, flow = %self.identity.flow, code = UNKNOWN_OUTCOME,
                    action = self.flow.actions[key.node].name, "held: nobody knows whether the action was done");
                self.hold_unknown(&key);
                StepEvent::Retry { at, due_at: NEVER, failure }
            }
            Class::Retryable | Class::Unknown | Class::TimedOut => self.again(at, &key, failure),
        };
        self.apply(Event::Step { at, key, event });
    }

    /// Another try, if the policy has one.
    fn again(&self, at: Micros, key: &StepKey, failure: Failure) -> StepEvent {
        let action = &self.flow.actions[key.node];
        let connection = self.ports.connections.load();
        let connection = connection.get(action.connection.as_deref().unwrap_or_default());
        let policy = action
            .retry
            .or_else(|| connection.and_then(|connection| connection.retry))
            .unwrap_or(self.flow.bundle.defaults.retry);
        let attempt = self.state.steps.get(key).map_or(1, |step| step.attempt);
        match retry::wait(&policy, attempt, (self.ports.dice)()) {
            Some(wait) => {
                let wait = micros(wait).max(failure.retry_after.unwrap_or(0));
                StepEvent::Retry { at, due_at: at.saturating_add(wait), failure }
            }
            None => StepEvent::Fail { at, failure },
        }
    }

    /// An admitted try is not sent: what its connection said meanwhile keeps everybody out.
    pub(super) fn put_off(&mut self, wanting: &Wanting, until: Micros) {
        let at = self.ports.clock.now();
        let failure = Failure::throttled("connection_waits", "not sent: the connection lets nobody in now", None);
        let event = StepEvent::Postpone { at, due_at: until, failure };
        self.apply(Event::Step { at, key: wanting.key.clone(), event });
    }

    /// Whether an unknown outcome of this action stops the run: somebody asked for that, and a repeat may act twice.
    fn holds_unknown(&self, key: &StepKey) -> bool {
        let action = &self.flow.actions[key.node];
        let connections = self.ports.connections.load();
        let Some(connection) = connections.get(action.connection.as_deref().unwrap_or_default()) else { return false };
        let is_asked = action.on_unknown.or(connection.on_unknown) == Some(OnUnknown::Hold);
        let operation = operation_of(action).is_some_and(|operation| connection.repeats_unsafely(operation));
        is_asked && operation && !self.only_reads(key, action)
    }

    /// Whether it is an HTTP call whose method may be repeated.
    fn only_reads(&self, key: &StepKey, action: &Action) -> bool {
        let inputs = self.state.steps.get(key).and_then(|step| step.inputs.as_ref());
        let method = inputs.and_then(|inputs| inputs.get("method")?.as_str());
        operation_of(action) == Some(OperationKind::Http) && is_repeatable_method(method.unwrap_or_default())
    }

    fn hold_unknown(&mut self, key: &StepKey) {
        let lane = self.flow.actions[key.node].connection.clone().unwrap_or_default();
        self.hold = Some((UNKNOWN_OUTCOME, lane));
        self.held.insert(key.clone());
    }

    /// The node died while a try was in flight, and nothing of the action was stored but that: it is held instead of
    /// being tried again, if somebody asked for that.
    pub(super) fn stays_unknown(&mut self, key: &StepKey) -> bool {
        let Some(step) = self.state.steps.get(key) else { return false };
        let unseen = step.tries.last().is_some_and(|last| last.outcome == UNKNOWN);
        if step.status != StepStatus::Running || !unseen || !self.holds_unknown(key) {
            return false;
        }
        let at = self.ports.clock.now();
        self.hold_unknown(key);
        self.apply(Event::Step { at, key: key.clone(), event: StepEvent::Wait { until: NEVER } });
        true
    }

    /// A run is taken up again: what stopped it stops it still, and so does a try that nobody saw end.
    pub(super) fn hold_unknown_again(&mut self) {
        let is_held = |key: &StepKey| {
            let Some(step) = self.state.steps.get(key).filter(|step| step.status == StepStatus::Waiting) else {
                return false;
            };
            let unseen = step.tries.last().is_some_and(|last| last.outcome == UNKNOWN);
            (unseen || (step.due_at == Some(NEVER) && !step.tries.is_empty())) && self.holds_unknown(key)
        };
        let held: Vec<StepKey> = self.state.active.iter().filter(|key| is_held(key)).cloned().collect();
        for key in held {
            if let Some(step) = self.state.steps.get_mut(&key) {
                step.due_at = Some(NEVER);
            }
            self.hold_unknown(&key);
        }
    }

    /// Where and when a run that waits for several things, or behind a shut gate, is to be looked at. Behind a gate it
    /// waits in that lane as long as nothing else is of interest; else in no lane, or what is shut would keep the rest
    /// waiting.
    pub(super) fn parking(&self, at: Micros) -> Option<(String, Micros)> {
        let wanting = self.wanting.iter().map(|wanting| (wanting.lane.clone(), at));
        let timers = self.timers().map(|(due_at, key)| (self.timer_lane(key), due_at));
        let wishes: Vec<(String, Micros)> = wanting.chain(timers).collect();
        let shut = |lane: &str| self.ports.lanes.shut_until(lane);
        let (first, _) = wishes.first()?;
        let is_one = self.calls.is_empty() && wishes.iter().all(|(lane, _)| lane == first);
        if is_one || !wishes.iter().any(|(lane, _)| shut(lane).is_some()) {
            return None;
        }
        let hopes = wishes.iter().map(|(lane, due_at)| shut(lane).map_or(*due_at, |until| until.max(*due_at)));
        Some((String::new(), hopes.min()?))
    }
}

/// What the action asks of its connection.
fn operation_of(action: &Action) -> Option<OperationKind> {
    OperationKind::ALL.into_iter().find(|operation| operation.action() == action.kind)
}

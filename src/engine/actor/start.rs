//! From a started action to what it wants: render, ask the action, ask the connector. Nothing here waits.

use std::sync::Arc;

use serde_json::Value;

use super::{Actor, Flight, Wanting, containers, data};
use crate::actions::{self, Next, StartContext};
use crate::clock::{Micros, micros};
use crate::connectors::{OpContext, Operation, Progress, Talk};
use crate::engine::lanes::Permit;
use crate::engine::perform::{Attempt, perform};
use crate::engine::scope::all_blank;
use crate::ids::IdempotencyKey;
use crate::outbound::{Effect, Reply};
use crate::run::advance::{Event, SKIPPED_BY_WHEN};
use crate::run::size::size_of;
use crate::run::transition::StepEvent;
use crate::run::{Class, Failure, StepKey, retry};
use crate::store::RecordWrite;
use crate::template::RenderError;

/// What rendering an action gave.
enum Rendered {
    Skip,
    Inputs { inputs: Value, guard_blank: bool },
}

impl Actor {
    /// Starts an action: its guard, its inputs, and what it wants.
    pub(super) fn start(&mut self, key: &StepKey) {
        let at = self.ports.clock.now();
        let is_container = self.flow.actions[key.node].control.is_some();
        let event = match self.render(key, at) {
            Ok(Rendered::Skip) => StepEvent::Skip { at, reason: SKIPPED_BY_WHEN },
            Ok(Rendered::Inputs { inputs, guard_blank }) => {
                self.apply(Event::Step { at, key: key.clone(), event: StepEvent::Start { at, inputs } });
                if !is_container {
                    self.proceed(key, guard_blank);
                }
                return;
            }
            Err(error) => StepEvent::Fail { at, failure: Failure::terminal(error.code, error.message) },
        };
        self.apply(Event::Step { at, key: key.clone(), event });
    }

    fn render(&self, key: &StepKey, at: Micros) -> Result<Rendered, RenderError> {
        let action = &self.flow.actions[key.node];
        let view = self.values.view(&self.flow, &self.ports, at, &self.place(key));
        let scope = view.scope();
        for guard in &action.when {
            if !guard.render_bool(&scope)? {
                return Ok(Rendered::Skip);
            }
        }
        if let Some(control) = &action.control {
            let inputs = containers::decide(control, &scope, at, self.ports.limits().iterations_max)?;
            return Ok(Rendered::Inputs { inputs, guard_blank: false });
        }
        let mut inputs = action.inputs.render(&scope)?;
        if action.takes_items {
            data::render_per_item(&mut inputs, &action.per_item, &scope, &self.ports.limits())?;
        }
        Ok(Rendered::Inputs { inputs, guard_blank: all_blank(&action.guard, &scope) })
    }

    /// A retry is due: the same inputs, the same request.
    pub(super) fn prepare(&mut self, key: &StepKey) {
        self.proceed(key, false);
    }

    /// From pinned inputs to the end of the action, a timer, or a wish for a slot.
    fn proceed(&mut self, key: &StepKey, guard_blank: bool) {
        let at = self.ports.clock.now();
        if let Some(mock) = self.ports.mocks.get(&self.flow.actions[key.node].name) {
            let result = mock.result();
            self.forget_per_item(key);
            return match result {
                Ok(outputs) => self.succeed(key.clone(), outputs, None, false),
                Err(failure) => self.fail(at, key, failure),
            };
        }
        let action = &self.flow.actions[key.node];
        let cx = StartContext {
            now: at,
            url_from_value: action.url_from_value,
            guard_blank,
            schema: action.schema.clone(),
            outputs_bytes_max: self.ports.limits().outputs_bytes_max,
        };
        let inputs = self.state.steps.get(key).and_then(|step| step.inputs.as_ref()).unwrap_or(&Value::Null);
        let next = match actions::find(&action.kind) {
            Some(kind) => actions::start(kind, &action.inputs, inputs, &cx),
            None => Err(Failure::terminal("unknown_action_type", format!("there is no action type {}", action.kind))),
        };
        self.forget_per_item(key);
        match next {
            Ok(Next::Done(outputs)) => self.succeed(key.clone(), outputs, None, false),
            Ok(Next::Effect(operation)) => self.want(key, *operation),
            Ok(Next::WaitUntil(until)) => {
                self.apply(Event::Step { at, key: key.clone(), event: StepEvent::Wait { until } });
            }
            Ok(Next::Answer(answer)) => {
                if self.answered {
                    let failure =
                        Failure::terminal("already_answered", "the request was answered by an earlier action");
                    return self.fail(at, key, failure);
                }
                self.answered = true;
                self.answer = Some(answer);
                self.succeed(key.clone(), Value::Null, None, false);
            }
            Ok(Next::SetVariable(change)) => self.change_variable(at, key, &change),
            Ok(Next::StartRun(call)) => self.call(key, &call),
            Ok(Next::Terminate(end)) => {
                self.succeed(key.clone(), Value::Null, None, false);
                self.end_early(end.run_status(), self.shown_code(key.node, end.code));
            }
            Err(failure) => self.fail(at, key, failure),
        }
    }

    /// An operation of a connection: embedded records are part of the commit, everything else asks for a slot.
    fn want(&mut self, key: &StepKey, operation: Operation) {
        let at = self.ports.clock.now();
        let name = self.flow.actions[key.node].connection.clone().unwrap_or_default();
        let Some(connection) = self.ports.connections.load().get(&name).cloned() else {
            self.hold = Some(("connection_missing", name));
            self.held.insert(key.clone());
            return;
        };
        let action = self.flow.actions[key.node].name.clone();
        let possible_repeat = self.state.steps.get(key).is_some_and(|step| step.possible_repeat);
        let cx = OpContext {
            connection: &name,
            run_id: self.identity.run_id,
            key: IdempotencyKey::new(self.identity.key_run, &action, &key.idx, 0),
            received_at: self.identity.received_at,
            possible_repeat,
        };
        let mut talk = Talk { n: 0, key: cx.key, notes: Value::Null };
        match connection.dialect.start(&operation, &cx) {
            Err(failure) => self.fail(at, key, failure),
            Ok(Effect::Record(write)) => match connection.dialect.on_reply(&operation, &cx, &mut talk, Reply::Record) {
                Progress::Done(Ok(outcome)) => {
                    let secure = self.flow.actions[key.node].secure.inputs;
                    self.ports.effects.note_record(&action, &key.idx, &write, secure);
                    self.records.push(write);
                    self.succeed(key.clone(), outcome.outputs, outcome.outcome, outcome.possible_repeat);
                }
                Progress::Done(Err(failure)) => self.fail(at, key, failure),
                Progress::Send(_) => {
                    let failure = Failure::terminal("internal_error", "a record write asked for another effect");
                    self.fail(at, key, failure);
                }
            },
            Ok(effect) => {
                let lane = lane_of(&name, &effect);
                self.wanting.push(Wanting { key: key.clone(), lane, connection, operation, effect });
            }
        }
    }

    /// A record that is written with the next commit, as of now.
    pub(super) fn keep_record(&mut self, at: Micros, key: &StepKey, write: RecordWrite) {
        let write = RecordWrite { created_at: at, ..write };
        let action = &self.flow.actions[key.node];
        self.ports.effects.note_record(&action.name, &key.idx, &write, action.secure.inputs);
        self.records.push(write);
    }

    pub(super) fn succeed(&mut self, key: StepKey, outputs: Value, outcome: Option<String>, possible_repeat: bool) {
        let at = self.ports.clock.now();
        let limit = self.ports.limits().outputs_bytes_max;
        let event = if size_of(&outputs, limit) > limit {
            let failure = Failure::terminal(
                "outputs_too_large",
                format!("the outputs are larger than {limit} bytes (limits.outputs); the action itself was done"),
            );
            StepEvent::Fail { at, failure }
        } else {
            StepEvent::Succeed { at, outputs, outcome, possible_repeat }
        };
        self.apply(Event::Step { at, key, event });
    }

    /// Starts the effects that the last commit named.
    pub(super) fn launch(&mut self, admitted: Vec<(Wanting, Permit)>) {
        for (wanting, permit) in admitted {
            let action = &self.flow.actions[wanting.key.node];
            let timeout = action.timeout.or(wanting.connection.timeout).unwrap_or(self.flow.bundle.defaults.timeout);
            let step = self.state.steps.get(&wanting.key);
            let attempt = Attempt {
                lease: Arc::clone(&self.lease),
                effects: Arc::clone(&self.ports.effects),
                connection: wanting.connection,
                action: action.name.clone(),
                secure: action.secure.inputs,
                identity: self.identity.clone(),
                idx: wanting.key.idx.clone(),
                operation: wanting.operation,
                effect: wanting.effect,
                timeout,
                possible_repeat: step.is_some_and(|step| step.possible_repeat),
            };
            let key = wanting.key.clone();
            let number = step.map_or(0, |step| step.attempt);
            let task = self.tasks.spawn(async move { (key, perform(attempt).await) }).id();
            self.flights.insert(wanting.key, Flight { permit, attempt: number, task });
        }
    }

    pub(super) fn fail(&mut self, at: Micros, key: &StepKey, failure: Failure) {
        self.apply(Event::Step { at, key: key.clone(), event: StepEvent::Fail { at, failure } });
    }

    /// A try failed: another one follows if the failure's class and the policy allow it.
    pub(super) fn fail_or_retry(&mut self, at: Micros, key: StepKey, failure: Failure) {
        let action = &self.flow.actions[key.node];
        let connection = self.ports.connections.load();
        let connection = connection.get(action.connection.as_deref().unwrap_or_default());
        let policy = action
            .retry
            .or_else(|| connection.and_then(|connection| connection.retry))
            .unwrap_or(self.flow.bundle.defaults.retry);
        let attempt = self.state.steps.get(&key).map_or(1, |step| step.attempt);
        let wait = match failure.class {
            Class::Terminal | Class::Credentials => None,
            Class::Retryable | Class::Throttled | Class::Unknown | Class::TimedOut => {
                retry::wait(&policy, attempt, (self.ports.dice)())
            }
        };
        let event = match wait {
            Some(wait) => {
                let wait = micros(wait).max(failure.retry_after.unwrap_or(0));
                StepEvent::Retry { at, due_at: at.saturating_add(wait), failure }
            }
            None => StepEvent::Fail { at, failure },
        };
        self.apply(Event::Step { at, key, event });
    }
}

/// The lane of an effect: its connection, or the host for plain HTTP, so that one dead host delays only its own runs.
fn lane_of(connection: &str, effect: &Effect) -> String {
    match effect {
        Effect::Http(request) if connection.is_empty() => {
            let host = url::Url::parse(&request.url).ok().and_then(|url| url.host_str().map(str::to_owned));
            format!("@{}", host.unwrap_or_default())
        }
        _ => connection.to_owned(),
    }
}

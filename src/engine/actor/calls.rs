//! Runs that call runs: the called run is stored in the commit that names it, so a call happens once; the caller waits
//! in the store, not in memory, and is woken by the called run's commit.

use serde_json::Value;

use super::Actor;
use crate::actions::run_flow::Call;
use crate::clock::{Micros, micros};
use crate::engine::ports::CallEnd;
use crate::engine::scope::Values;
use crate::engine::verdict::{Verdict, judge};
use crate::ids::RunId;
use crate::run::advance::Event;
use crate::run::transition::StepEvent;
use crate::run::{Class, Failure, Identity, Parent, RunStatus, StepKey, StepStatus, TriggerData};
use crate::store::{NewRun, RunRow, gate_lane};
use crate::triggers::request;

/// Most calls above a run: a chain of calls that is longer fails.
const CALL_DEPTH_MAX: u32 = 8;
/// The smallest HTTP status of a response that fails the calling action.
const FAILED_STATUS_MIN: u64 = 400;

impl Actor {
    /// Calls another flow: its run is stored with the next commit.
    pub(super) fn call(&mut self, key: &StepKey, call: &Call) {
        let at = self.ports.clock.now();
        match self.called(key, call, at) {
            Err(failure) => self.fail(at, key, failure),
            Ok(new) => {
                let run = new.run.run_id;
                let timeout = self.flow.actions[key.node].timeout;
                let until = timeout.map(|timeout| at.saturating_add(micros(timeout)));
                self.starts.push(new);
                self.wait_for(key.clone(), run);
                self.apply(Event::Step { at, key: key.clone(), event: StepEvent::Call { run, until } });
            }
        }
    }

    /// The run that a call makes.
    fn called(&self, key: &StepKey, call: &Call, at: Micros) -> Result<NewRun, Failure> {
        let depth = self.identity.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        if depth > CALL_DEPTH_MAX {
            let message = format!("flows call each other deeper than {CALL_DEPTH_MAX} levels");
            return Err(Failure::terminal("call_too_deep", message));
        }
        let live = self.ports.library.live();
        let Some((live, _)) = live.resolve(&call.flow) else {
            return Err(Failure::terminal("unknown_flow", format!("no flow `{}` is live", call.flow)));
        };
        if live.flow.trigger.split_on.is_some() {
            let message = format!("flow `{}` splits its requests into many runs: it has no one answer", call.flow);
            return Err(Failure::terminal("call_splits", message));
        }
        let trigger = TriggerData {
            method: live.flow.trigger.methods.first().cloned().unwrap_or_else(|| "POST".to_owned()),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: if call.body.is_null() { String::new() } else { call.body.to_string() },
            ..TriggerData::default()
        };
        let parsed = request::parse(&live.flow, &trigger, &self.ports.limits().body)
            .map_err(|problem| Failure::terminal(problem.code, format!("flow `{}` refuses the body", call.flow)))?;
        let run_id = RunId::new(at);
        let step = if key.idx.is_empty() { String::new() } else { format!("#{}", key.idx) };
        let step = format!("{}{step}", self.flow.actions[key.node].name);
        let parent = Parent { run: self.identity.run_id, step, depth };
        let identity = Identity {
            run_id,
            flow: live.flow.name.clone(),
            key_run: run_id,
            received_at: at,
            is_test: parsed.is_test || self.identity.is_test,
            parent: Some(parent.clone()),
        };
        let values = Values::new(&live.flow, &identity, parsed.trigger);
        let (status, code) = match judge(&live.flow, &identity, &values, self.ports.sight()) {
            Verdict::Run => (RunStatus::Queued, None),
            Verdict::TestLead => (RunStatus::Skipped, Some("test_lead")),
            Verdict::Condition(_) => (RunStatus::Skipped, Some("condition")),
            Verdict::Fault(error) => (RunStatus::Failed, Some(error.code)),
        };
        let mut run = RunRow::queued(run_id, identity.flow, live.text_id, at, trigger);
        run.status = status;
        run.code = code.map(str::to_owned);
        run.finished_at = status.is_final().then_some(at);
        if !status.is_final() && live.flow.trigger.concurrency.is_some() {
            run.lane = gate_lane(&live.flow.name);
        }
        run.is_test = identity.is_test;
        run.parent = Some(parent);
        Ok(NewRun { run, steps: Vec::new(), records: Vec::new() })
    }

    /// Waits for a called run: for a while in memory, then in the store.
    fn wait_for(&mut self, key: StepKey, run: RunId) {
        self.signals.push(self.ports.answers.wait_for(run));
        self.calls.insert(key, run);
        self.look_at_calls = true;
        self.patience = Some(self.ports.clock.now().saturating_add(micros(self.ports.limits().keep_in_memory)));
    }

    /// The calls of a run that is taken up again.
    pub(super) fn resume_calls(&mut self) {
        let waiting = self.waiting().filter(|(_, step)| step.status == StepStatus::Waiting);
        let calls: Vec<(StepKey, RunId)> = waiting.filter_map(|(key, step)| Some((key.clone(), step.child?))).collect();
        for (key, run) in calls {
            self.wait_for(key, run);
        }
    }

    /// Listens to called runs once they are stored.
    pub(super) fn listen(&mut self) {
        for signal in std::mem::take(&mut self.signals) {
            self.listening.spawn(async move {
                // Answered, ended, or handed to another life: the store says which.
                let _ = signal.await;
            });
        }
    }

    /// Looks at the called runs: those that responded or ended end their actions.
    pub(super) async fn look_at_calls(&mut self) {
        // What the next commit stores is not there yet.
        if !self.look_at_calls || !self.starts.is_empty() {
            return;
        }
        self.look_at_calls = false;
        for (key, run) in self.calls.clone() {
            match self.ports.journal.called(run).await {
                Ok(Some(end)) => {
                    if let Some(result) = result_of(end) {
                        self.call_ended(&key, result);
                    }
                }
                Ok(None) => {
                    let failure =
                        Failure::terminal("called_run_gone", format!("the called run {run} is not stored any more"));
                    self.call_ended(&key, Err(failure));
                }
                Err(error) => {
                    tracing::warn!(run = %self.identity.run_id, called = %run, %error, "cannot look at a called run now");
                    // The store's poll brings the run back.
                }
            }
        }
    }

    fn call_ended(&mut self, key: &StepKey, result: Result<Value, Failure>) {
        self.calls.remove(key);
        match result {
            Ok(outputs) => self.succeed(key.clone(), outputs, None, false),
            Err(failure) => self.fail(self.ports.clock.now(), key, failure),
        }
    }

    /// The called run took longer than the action's `timeout`; it goes on alone.
    pub(super) fn call_timed_out(&mut self, key: &StepKey) {
        self.calls.remove(key);
        let message = "the called flow did not respond within `timeout`; its run goes on";
        let failure = Failure { class: Class::TimedOut, ..Failure::terminal("timeout", message) };
        self.fail(self.ports.clock.now(), key, failure);
    }
}

/// What a called run gives its caller; `None`: nothing yet.
fn result_of(end: CallEnd) -> Option<Result<Value, Failure>> {
    if let Some(answer) = end.answer {
        let status = answer.get("status").and_then(Value::as_u64).unwrap_or_default();
        if status >= FAILED_STATUS_MIN {
            return Some(Err(Failure::terminal(
                format!("http_{status}"),
                format!("the called flow responded {status}"),
            )));
        }
        return Some(Ok(answer.get("body").cloned().unwrap_or_default()));
    }
    match end.status {
        RunStatus::Succeeded | RunStatus::Skipped | RunStatus::Duplicate => Some(Ok(Value::Null)),
        RunStatus::Failed | RunStatus::TimedOut | RunStatus::Cancelled => {
            let code = end.code.unwrap_or_else(|| end.status.as_str().to_owned());
            Some(Err(Failure::terminal(code, format!("the called flow {}", end.status.as_str()))))
        }
        RunStatus::Queued | RunStatus::Running | RunStatus::Waiting | RunStatus::Held => None,
    }
}

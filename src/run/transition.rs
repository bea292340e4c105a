//! One action: a handful of states, every legal move in one match. Total, pure, and tested over every pair.
//!
//! ```text
//! pending --start--> running --succeed--> succeeded      waiting --send----> running (next try)
//!    |--skip-----> skipped   |--fail-----> failed|timed_out  |--succeed-> succeeded (a delay has passed)
//!    |--fail-----> failed    |--retry----> waiting           |--fail----> failed
//!                            |--call-----> waiting (for the run that it called)
//!    |--cancel---> cancelled |--wait-----> waiting           |--cancel--> cancelled
//!                            |--close----> succeeded|failed (a container)
//!                            |--interrupt> waiting (the try does not count, its outcome is unknown)
//!                            |--postpone-> waiting (the try does not count, it did nothing)
//! ```

use serde_json::Value;

use super::{Class, Failure, Step, StepStatus, Try, retry::TRIES_KEPT_MAX};
use crate::clock::Micros;
use crate::ids::RunId;

/// Something that happened to an action.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEvent {
    /// Its inputs are rendered.
    Start {
        /// When.
        at: Micros,
        /// The rendered inputs.
        inputs: Value,
    },
    /// It will not run.
    Skip {
        /// When.
        at: Micros,
        /// `when` or `run_after`.
        reason: &'static str,
    },
    /// A try begins: from the commit that names it on, its effect may have been sent.
    Send {
        /// When.
        at: Micros,
    },
    /// It has ended well.
    Succeed {
        /// When.
        at: Micros,
        /// Its outputs.
        outputs: Value,
        /// `created`, `duplicate`, …
        outcome: Option<String>,
        /// The other side may have acted twice.
        possible_repeat: bool,
    },
    /// It has ended badly.
    Fail {
        /// When.
        at: Micros,
        /// Why.
        failure: Failure,
    },
    /// A container has ended: everything in it has.
    Close {
        /// When.
        at: Micros,
        /// What it gives, also when it failed.
        outputs: Value,
        /// `limit`, ….
        outcome: Option<String>,
        /// Why it failed; `None`: it ended well.
        failure: Option<Failure>,
    },
    /// A try failed and another one follows.
    Retry {
        /// When.
        at: Micros,
        /// When the next try is due.
        due_at: Micros,
        /// Why.
        failure: Failure,
    },
    /// A try was turned away before it did anything, for a reason that is not the run's: it does not count.
    Postpone {
        /// When.
        at: Micros,
        /// When the next try is due.
        due_at: Micros,
        /// Why.
        failure: Failure,
    },
    /// It waits for a time.
    Wait {
        /// Until when.
        until: Micros,
    },
    /// It called a run and waits for it.
    Call {
        /// The called run.
        run: RunId,
        /// Until when at most.
        until: Option<Micros>,
    },
    /// The node stopped, or died, while a try was in flight: the try does not count, its outcome is unknown.
    Interrupt {
        /// When.
        at: Micros,
    },
    /// The run is cancelled.
    Cancel {
        /// When.
        at: Micros,
    },
}

impl StepEvent {
    /// The event's name, for messages and the test table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Skip { .. } => "skip",
            Self::Send { .. } => "send",
            Self::Succeed { .. } => "succeed",
            Self::Fail { .. } => "fail",
            Self::Close { .. } => "close",
            Self::Retry { .. } => "retry",
            Self::Postpone { .. } => "postpone",
            Self::Wait { .. } => "wait",
            Self::Call { .. } => "call",
            Self::Interrupt { .. } => "interrupt",
            Self::Cancel { .. } => "cancel",
        }
    }
}

/// A move that cannot happen: a fault in the engine, never in a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an action that is {status} cannot {event}", status = .status.as_str())]
pub struct Illegal {
    /// The status.
    pub status: StepStatus,
    /// The event.
    pub event: &'static str,
}

/// The step after `event`.
pub fn next(mut step: Step, event: StepEvent) -> Result<Step, Illegal> {
    use StepStatus::{Cancelled, Failed, Pending, Running, Skipped, Succeeded, TimedOut, Waiting};
    let illegal = Illegal { status: step.status, event: event.name() };
    match (step.status, event) {
        (Pending, StepEvent::Start { at, inputs }) => {
            step.status = Running;
            step.started_at = Some(at);
            step.inputs = Some(inputs);
        }
        (Pending, StepEvent::Skip { at, reason }) => {
            step.status = Skipped;
            step.outcome = Some(reason.to_owned());
            step.finished_at = Some(at);
        }
        (Running | Waiting, StepEvent::Send { at }) if step.try_started_at.is_none() => {
            step.status = Running;
            step.attempt += 1;
            step.due_at = None;
            step.try_started_at = Some(at);
        }
        (Running | Waiting, StepEvent::Succeed { at, outputs, outcome, possible_repeat }) => {
            end_try(&mut step, at, "succeeded");
            end(&mut step, Succeeded, at);
            // What never left the machine was tried all the same: once.
            step.attempt = step.attempt.max(1);
            step.outputs = Some(outputs);
            step.outcome = outcome;
            step.error = None;
            // Whoever performed it was told of earlier tries, and knows whether they may have acted too.
            step.possible_repeat = possible_repeat;
        }
        (Pending | Running | Waiting, StepEvent::Fail { at, failure }) => {
            let status = if failure.class == Class::TimedOut { TimedOut } else { Failed };
            fail_try(&mut step, at, failure);
            end(&mut step, status, at);
        }
        (Running, StepEvent::Close { at, outputs, outcome, failure }) if step.try_started_at.is_none() => {
            end(&mut step, if failure.is_some() { Failed } else { Succeeded }, at);
            step.outputs = Some(outputs);
            step.outcome = outcome;
            step.error = failure;
        }
        (Running, StepEvent::Retry { at, due_at, failure }) => {
            wait_for_next(&mut step, at, due_at, failure);
        }
        (Running, StepEvent::Postpone { at, due_at, failure }) if step.try_started_at.is_some() => {
            wait_for_next(&mut step, at, due_at, failure);
            step.attempt = step.attempt.saturating_sub(1);
        }
        (Running, StepEvent::Wait { until }) if step.try_started_at.is_none() => {
            step.status = Waiting;
            step.due_at = Some(until);
        }
        (Running, StepEvent::Call { run, until }) if step.try_started_at.is_none() => {
            step.status = Waiting;
            step.due_at = until;
            step.child = Some(run);
        }
        (Running, StepEvent::Interrupt { at }) if step.try_started_at.is_some() => {
            end_try(&mut step, at, "unknown_outcome");
            step.possible_repeat = true;
            step.attempt = step.attempt.saturating_sub(1);
            step.status = Waiting;
            step.due_at = Some(at);
        }
        (Pending | Running | Waiting, StepEvent::Cancel { at }) => {
            step.possible_repeat |= step.try_started_at.is_some();
            end_try(&mut step, at, "cancelled");
            end(&mut step, Cancelled, at);
        }
        _ => return Err(illegal),
    }
    Ok(step)
}

fn end(step: &mut Step, status: StepStatus, at: Micros) {
    step.status = status;
    step.due_at = None;
    step.started_at.get_or_insert(at);
    step.finished_at = Some(at);
}

fn wait_for_next(step: &mut Step, at: Micros, due_at: Micros, failure: Failure) {
    fail_try(step, at, failure);
    step.status = StepStatus::Waiting;
    step.due_at = Some(due_at);
}

fn fail_try(step: &mut Step, at: Micros, failure: Failure) {
    if matches!(failure.class, Class::Unknown | Class::TimedOut) && step.try_started_at.is_some() {
        step.possible_repeat = true;
    }
    end_try(step, at, &failure.code);
    step.error = Some(failure);
}

fn end_try(step: &mut Step, at: Micros, outcome: &str) {
    if let Some(started_at) = step.try_started_at.take() {
        if step.tries.len() == TRIES_KEPT_MAX {
            step.tries.remove(0);
        }
        step.tries.push(Try { started_at, finished_at: at, outcome: outcome.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<StepEvent> {
        let failure = Failure::retryable("http_503", "busy");
        vec![
            StepEvent::Start { at: 1, inputs: Value::Null },
            StepEvent::Skip { at: 1, reason: "when" },
            StepEvent::Send { at: 2 },
            StepEvent::Succeed { at: 3, outputs: Value::Null, outcome: None, possible_repeat: false },
            StepEvent::Fail { at: 3, failure: failure.clone() },
            StepEvent::Close { at: 3, outputs: Value::Null, outcome: None, failure: None },
            StepEvent::Retry { at: 3, due_at: 9, failure: failure.clone() },
            StepEvent::Postpone { at: 3, due_at: 9, failure },
            StepEvent::Wait { until: 9 },
            StepEvent::Call { run: RunId::new(7), until: None },
            StepEvent::Interrupt { at: 4 },
            StepEvent::Cancel { at: 5 },
        ]
    }

    fn step(status: StepStatus, sent: bool) -> Step {
        Step { status, try_started_at: sent.then_some(2), attempt: u32::from(sent), ..Step::default() }
    }

    /// Every (state, event) pair: the table is the specification.
    #[test]
    fn every_pair() {
        let legal = [
            ("pending", false, "start", "running"),
            ("pending", false, "skip", "skipped"),
            ("pending", false, "fail", "failed"),
            ("pending", false, "cancel", "cancelled"),
            ("running", false, "send", "running"),
            ("running", false, "succeed", "succeeded"),
            ("running", false, "fail", "failed"),
            ("running", false, "close", "succeeded"),
            ("running", false, "retry", "waiting"),
            ("running", false, "wait", "waiting"),
            ("running", false, "call", "waiting"),
            ("running", false, "cancel", "cancelled"),
            ("running", true, "succeed", "succeeded"),
            ("running", true, "fail", "failed"),
            ("running", true, "retry", "waiting"),
            ("running", true, "postpone", "waiting"),
            ("running", true, "interrupt", "waiting"),
            ("running", true, "cancel", "cancelled"),
            ("waiting", false, "send", "running"),
            ("waiting", false, "succeed", "succeeded"),
            ("waiting", false, "fail", "failed"),
            ("waiting", false, "cancel", "cancelled"),
        ];
        for status in StepStatus::ALL {
            for sent in [false, true] {
                if sent && status != StepStatus::Running {
                    continue; // A try is in flight only while running.
                }
                for event in events() {
                    let name = event.name();
                    let want = legal
                        .iter()
                        .find(|row| row.0 == status.as_str() && row.1 == sent && row.2 == name)
                        .map(|row| row.3);
                    let got = next(step(status, sent), event).ok().map(|step| step.status.as_str());
                    assert_eq!(got, want, "{} (try in flight: {sent}) on {name}", status.as_str());
                }
            }
        }
    }

    #[test]
    fn final_states_never_move() {
        for status in StepStatus::ALL.into_iter().filter(|status| status.is_final()) {
            for event in events() {
                assert!(next(step(status, false), event).is_err());
            }
        }
    }

    #[test]
    fn a_container_that_failed_keeps_its_outputs() {
        let failure = Failure::terminal("x", "y");
        let event = StepEvent::Close { at: 3, outputs: Value::from(1), outcome: None, failure: Some(failure.clone()) };
        let closed = next(step(StepStatus::Running, false), event).expect("close");
        assert_eq!(
            (closed.status, closed.outputs, closed.error),
            (StepStatus::Failed, Some(Value::from(1)), Some(failure))
        );
    }

    #[test]
    fn an_interrupted_try_does_not_count_and_is_flagged() {
        let sent = next(step(StepStatus::Running, false), StepEvent::Send { at: 2 }).expect("send");
        assert_eq!(sent.attempt, 1);
        let back = next(sent, StepEvent::Interrupt { at: 3 }).expect("interrupt");
        assert_eq!((back.attempt, back.possible_repeat, back.due_at), (0, true, Some(3)));
    }

    #[test]
    fn a_timeout_ends_as_timed_out_and_may_have_acted() {
        let mut failure = Failure::unknown("timeout", "no answer in 2 m");
        failure.class = Class::TimedOut;
        let ended = next(step(StepStatus::Running, true), StepEvent::Fail { at: 3, failure }).expect("fail");
        assert_eq!((ended.status, ended.possible_repeat), (StepStatus::TimedOut, true));
    }
}

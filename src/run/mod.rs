//! The state of a run, and the two pure levels that change it: [`transition::next`] for one action,
//! [`advance::advance`] for the graph. Nothing here reads a clock, a store or a socket.

pub mod advance;
pub mod blocks;
pub mod retry;
pub mod size;
#[cfg(test)]
pub(crate) mod tests;
pub mod transition;
pub mod variables;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Micros;
use crate::flow::plan::NodeId;
pub use crate::flow::plan::StepStatus;
use crate::ids::RunId;
use crate::schema::BodyError;

/// The status of a run, as shown and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Stored, not started.
    Queued,
    /// A node works on it.
    Running,
    /// Nothing to do until a time: a retry or a delay.
    Waiting,
    /// Stopped until somebody acts; the run's `code` says why.
    Held,
    /// Ended well; handled failures included.
    Succeeded,
    /// The end of some branch failed.
    Failed,
    /// Older than `run_duration`.
    TimedOut,
    /// Cancelled by somebody.
    Cancelled,
    /// A trigger condition was false, or a test lead with `run: false`.
    Skipped,
    /// The same lead within the window.
    Duplicate,
}

impl RunStatus {
    /// All statuses, in the order of the reference.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Held,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Skipped,
        Self::Duplicate,
    ];

    /// Whether the run has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting | Self::Held)
    }

    /// As stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Duplicate => "duplicate",
        }
    }

    /// The status stored as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// Which action of a run, and which iteration of the loops round it: fixed width (`''`, `00000003`,
/// `00000003.00000001`), so that keys sort as iterations do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepKey {
    /// The node in the plan.
    pub node: NodeId,
    /// The loop vector.
    pub idx: String,
}

impl StepKey {
    /// The key of a node outside every loop.
    pub fn top(node: NodeId) -> Self {
        Self { node, idx: String::new() }
    }

    /// The index of iteration `number` of a loop whose own index is `outer`.
    pub fn iteration(outer: &str, number: u32) -> String {
        if outer.is_empty() { format!("{number:08}") } else { format!("{outer}.{number:08}") }
    }

    /// The index of the loop round the iteration `idx`, and the iteration's number.
    pub fn outer(idx: &str) -> (&str, u32) {
        let (outer, last) = idx.rsplit_once('.').unwrap_or(("", idx));
        (outer, last.parse().unwrap_or(0))
    }
}

/// Whether a failure may be repaired by trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It was not done, and may work later.
    Retryable,
    /// It was not done: the other side asks every run of the connection to wait.
    Throttled,
    /// It was not done: the other side refuses the credentials of the connection.
    Credentials,
    /// It may work later, and nobody knows whether it was done already.
    Unknown,
    /// It took too long; nobody knows whether it was done. Ends as `timed_out` when no retry is left.
    TimedOut,
    /// It will never work.
    Terminal,
}

/// Why an action failed. The message never repeats a lead's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// A stable code: of the catalogue, or of the other side.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// Whether another try may help.
    pub class: Class,
    /// What the other side asked us to wait, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Micros>,
    /// The action inside a container that failed first; `None`: the action itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Failure {
    /// A failure that no repeat repairs.
    pub fn terminal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), class: Class::Terminal, retry_after: None, action: None }
    }

    /// A failure before anything was done.
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), class: Class::Retryable, retry_after: None, action: None }
    }

    /// Nothing was done: the other side asks everybody to wait, `retry_after` microseconds if it says how long.
    pub fn throttled(code: impl Into<String>, message: impl Into<String>, retry_after: Option<Micros>) -> Self {
        Self { retry_after, class: Class::Throttled, ..Self::retryable(code, message) }
    }

    /// Nothing was done: the other side does not believe who we are.
    pub fn credentials(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: Class::Credentials, ..Self::retryable(code, message) }
    }

    /// Sent, and no answer.
    pub fn unknown(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), class: Class::Unknown, retry_after: None, action: None }
    }
}

/// One ended try of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it began.
    pub started_at: Micros,
    /// When it ended.
    pub finished_at: Micros,
    /// How: `succeeded`, or the failure's code (`http_503`).
    pub outcome: String,
}

/// The state of one action of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its status.
    pub status: StepStatus,
    /// Tries that were begun and count (a drain takes its try back).
    pub attempt: u32,
    /// When the next try or the end of the delay is due.
    pub due_at: Option<Micros>,
    /// When it first started.
    pub started_at: Option<Micros>,
    /// When it ended.
    pub finished_at: Option<Micros>,
    /// Its rendered inputs: pinned for all tries.
    pub inputs: Option<Value>,
    /// Its outputs.
    pub outputs: Option<Value>,
    /// Why it failed, or why the last try did.
    pub error: Option<Failure>,
    /// Why it was skipped: `when`, `run_after`; or `created`, `duplicate`, … of a record.
    pub outcome: Option<String>,
    /// Some try's outcome was never known: the other side may have acted twice.
    pub possible_repeat: bool,
    /// The tries so far (the last [`retry::TRIES_KEPT_MAX`]).
    pub tries: Vec<Try>,
    /// When the try in flight began.
    pub try_started_at: Option<Micros>,
    /// Its number among the run's changes of variables, from 1; `None`: it changed none.
    pub change: Option<u64>,
    /// The run that it called.
    pub child: Option<RunId>,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            status: StepStatus::Pending,
            attempt: 0,
            due_at: None,
            started_at: None,
            finished_at: None,
            inputs: None,
            outputs: None,
            error: None,
            outcome: None,
            possible_repeat: false,
            tries: Vec::new(),
            try_started_at: None,
            change: None,
            child: None,
        }
    }
}

/// The state of a run that `advance` works on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunState {
    /// Actions that have left [`StepStatus::Pending`].
    pub steps: BTreeMap<StepKey, Step>,
    /// Those of them that have not ended.
    pub active: BTreeSet<StepKey>,
    /// Actions that ended since somebody last took this list.
    pub ended: Vec<StepKey>,
    /// Actions that the engine was told to start and that have not begun.
    pub offered: BTreeSet<StepKey>,
    /// Containers at work.
    pub open: BTreeMap<StepKey, Open>,
    /// The final status, once settled.
    pub settled: Option<RunStatus>,
}

impl RunState {
    /// The state that stored steps describe.
    pub fn of(steps: BTreeMap<StepKey, Step>) -> Self {
        let active = steps.iter().filter(|(_, step)| !step.status.is_final()).map(|(key, _)| key.clone()).collect();
        let ended = steps.iter().filter(|(_, step)| step.status.is_final()).map(|(key, _)| key.clone()).collect();
        Self { steps, active, ended, ..Self::default() }
    }
}

/// How far a container at work has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    /// Iterations in all (`for_each`); other containers have one at a time.
    pub total: u32,
    /// The iteration to start next.
    pub next: u32,
    /// Iterations before `next` that have not started (after a restart).
    pub gaps: Vec<u32>,
    /// Iterations at work.
    pub running: u32,
    /// Some iteration ended badly.
    pub bad: bool,
    /// The failure in an ended iteration that came first, and when: their steps need not be kept for it.
    pub failure: Option<(Micros, Failure)>,
}

/// What a request brought: everything that templates see of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerData {
    /// Upper-case method.
    pub method: String,
    /// Path parameters.
    pub path: Vec<(String, String)>,
    /// Query parameters without the signature's, decoded.
    pub query: Vec<(String, String)>,
    /// Lower-case header names; without credentials and cookies.
    pub headers: Vec<(String, String)>,
    /// The raw body after content decoding, as it came. Always UTF-8 for an accepted run. With `split_on`: the item.
    pub body: String,
    /// Which item of the list it is, counted from 0, when the request was split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// What was odd about it and kept nothing from running: keys that differ only in case, a dedupe key that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<BodyError>,
}

/// The run that called a run by `run_flow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub run: RunId,
    /// The step that waits: the action's name, and `#` and the loop vector inside a loop.
    pub step: String,
    /// How many calls stand above the called run: 1 for the first.
    pub depth: u32,
}

/// The identity of a run, beside its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub run_id: RunId,
    /// The flow's name.
    pub flow: String,
    /// The run whose idempotency keys it uses: itself, or the origin of a resubmit from a failed action.
    pub key_run: RunId,
    /// When the request was received.
    pub received_at: Micros,
    /// Whether the lead is a test lead.
    pub is_test: bool,
    /// The run that called it.
    pub parent: Option<Parent>,
}

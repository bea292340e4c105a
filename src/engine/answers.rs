//! Requests that wait for their run's `respond`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Answered;
use super::ports::{CallEnd, Journal};
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::StoreResult;

/// Most requests that are looked after in one look at the store.
const LOOKED_AFTER_MAX: usize = 64;

/// Waiting requests, by run.
#[derive(Debug, Default)]
pub struct Answers {
    waiting: Mutex<HashMap<RunId, oneshot::Sender<Answered>>>,
}

impl Answers {
    /// Waits for the answer of `run`.
    pub fn wait_for(&self, run: RunId) -> oneshot::Receiver<Answered> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(run, sender);
        receiver
    }

    /// Answers `run`'s request, if somebody still waits for it.
    pub fn resolve(&self, run: RunId, answered: Answered) {
        if let Some(sender) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run) {
            // The client may have gone: the run goes on without it.
            let _ = sender.send(answered);
        }
    }

    /// Nobody will answer `run` in this life: it was not stored, or it is handed to another one.
    pub fn forget(&self, run: RunId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Whether the request of `run` waits here.
    pub fn is_awaited(&self, run: RunId) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run)
    }

    /// Runs whose requests wait and that do not fit `here`, at most `limit`.
    fn elsewhere(&self, here: impl Fn(RunId) -> bool, limit: usize) -> Vec<RunId> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.keys().copied().filter(|run| !here(*run)).take(limit).collect()
    }

    /// Lets the requests go whose runs do not fit `keep`.
    pub fn retain(&self, keep: impl Fn(RunId) -> bool) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| keep(*run));
    }
}

/// Requests that wait here for runs that another node took up: what those answered is in the store. `is_here` tells the
/// runs that this node works on: they answer by themselves.
pub(super) async fn fetch(
    answers: &Answers,
    journal: &dyn Journal,
    is_here: impl Fn(RunId) -> bool,
) -> StoreResult<()> {
    for run in answers.elsewhere(is_here, LOOKED_AFTER_MAX) {
        if let Some(answered) = journal.called(run).await?.and_then(answered) {
            answers.resolve(run, answered);
        }
    }
    Ok(())
}

/// What a run has answered; `None`: it may still do so.
fn answered(end: CallEnd) -> Option<Answered> {
    match (end.answer, end.status) {
        // One that cannot be read was written by another version: the run is known to have answered, and not what.
        (Some(answer), _) => Some(serde_json::from_value(answer).map_or(Answered::FailedWithout, Answered::Respond)),
        (None, RunStatus::Succeeded) => Some(Answered::EndedWithout),
        (None, status) => status.is_final().then_some(Answered::FailedWithout),
    }
}

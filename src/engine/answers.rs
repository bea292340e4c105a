//! Requests that wait for their run's `respond`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Answered;
use crate::ids::RunId;

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
}

impl Answers {
    /// Nobody will answer `run`: it was not stored.
    pub fn forget(&self, run: RunId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Lets the requests of `runs` go: those go on in another life.
    pub fn release(&self, runs: impl Fn(RunId) -> bool) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| !runs(*run));
    }
}

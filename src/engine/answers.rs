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

    /// Nobody will answer `run` in this life: it was not stored, or it is handed to another one.
    pub fn forget(&self, run: RunId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Lets the requests go whose runs do not fit `keep`.
    pub fn retain(&self, keep: impl Fn(RunId) -> bool) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| keep(*run));
    }
}

//! A store at the other end of a wire: calls take time, get lost on their way, or are performed and their answers are
//! lost. The instrument of the simulation of many nodes (`tests/it/simulation`), as [`faulty`](super::faulty) is that of
//! the fault sweep.
//!
//! The store behind it performs a call when its future is first polled, as [`memory`](super::memory) does.

use std::sync::Arc;
use std::time::Duration;

use super::{Store, StoreError, StoreResult};
use crate::clock::Fut;

/// Decides how each call fares.
pub trait Wire: Send + Sync + 'static {
    /// How a call of `verb` fares that begins now.
    fn passage(&self, verb: &'static str) -> Passage;
}

/// How a call fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// How long it takes to the store.
    pub there: Duration,
    /// Whether it arrives, and is performed.
    pub performed: bool,
    /// How long its answer takes, or its failure.
    pub back: Duration,
    /// Whether an answer arrives. Without one the call fails, and whoever asked does not know whether it was performed.
    pub answered: bool,
}

/// Wraps a store. A test instrument: nothing outside tests makes one.
#[derive(Debug)]
pub struct Wired<S: ?Sized, W> {
    wire: W,
    inner: Arc<S>,
}

impl<S: Store + ?Sized, W: Wire> Wired<S, W> {
    /// Reaches `inner` by `wire`.
    pub fn new(inner: Arc<S>, wire: W) -> Self {
        Self { wire, inner }
    }

    /// What is at the other end.
    pub(super) fn inner(&self) -> &S {
        &self.inner
    }

    /// Performs a call, as the wire lets it.
    pub(super) fn carry<'a, T: Send + 'a>(
        &'a self,
        verb: &'static str,
        call: Fut<'a, StoreResult<T>>,
    ) -> Fut<'a, StoreResult<T>> {
        Box::pin(async move {
            let passage = self.wire.passage(verb);
            rest(passage.there).await;
            let answer = if passage.performed { Some(call.await) } else { None };
            rest(passage.back).await;
            let lost = || StoreError::Unavailable("no answer from the store".to_owned());
            answer.filter(|_| passage.answered).unwrap_or_else(|| Err(lost()))
        })
    }
}

/// Time that is not there takes no turn of the runtime either.
async fn rest(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

//! Effects that break once, at a chosen place: for tests that sweep the fault over every effect of a run.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Call, Effects, Reply};
use crate::clock::Fut;
use crate::run::Failure;
use crate::store::RecordWrite;

/// When the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Before the effect: it is not performed, and that is known.
    Before,
    /// After the effect: it was performed, and its answer is lost.
    After,
}

/// Passes every effect on to `inner`, but the n-th.
#[derive(Debug)]
pub struct Faulty<E> {
    inner: E,
    nth: usize,
    strike: Strike,
    performed: AtomicUsize,
}

impl<E: Effects> Faulty<E> {
    /// Lets the `nth` effect (from 1) fail; 0 lets none fail.
    pub fn new(inner: E, nth: usize, strike: Strike) -> Self {
        Self { inner, nth, strike, performed: AtomicUsize::new(0) }
    }

    /// How many effects were asked for: a sweep ends when `nth` was never reached.
    pub fn performed(&self) -> usize {
        self.performed.load(Ordering::SeqCst)
    }

    /// What the effects go to.
    pub fn inner(&self) -> &E {
        &self.inner
    }
}

impl<E: Effects> Effects for Faulty<E> {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        let strikes = self.performed.fetch_add(1, Ordering::SeqCst) + 1 == self.nth;
        Box::pin(async move {
            match self.strike {
                _ if !strikes => self.inner.perform(call).await,
                Strike::Before => Reply::Failed(Failure::retryable("connect_failed", "a fault for a test")),
                Strike::After => {
                    self.inner.perform(call).await;
                    Reply::Failed(Failure::unknown("unknown_outcome", "a fault for a test"))
                }
            }
        })
    }

    fn note_record(&self, action: &str, idx: &str, write: &RecordWrite) {
        self.inner.note_record(action, idx, write);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::outbound::outbox::Outbox;
    use crate::outbound::recorded::Recorded;
    use crate::outbound::{Effect, Transport, mail};
    use crate::run::Class;

    #[tokio::test]
    async fn the_nth_effect_fails_before_or_after() {
        let transport = Transport::Outbox(Arc::new(Outbox::open("unused")));
        let effect = Effect::Email(Box::new(mail::message_for_tests("k@leadflow")));
        for (strike, class, seen) in [(Strike::Before, Class::Retryable, 2), (Strike::After, Class::Unknown, 3)] {
            let faulty = Faulty::new(Recorded::new(), 2, strike);
            let mut classes = Vec::new();
            for _ in 0..3 {
                let simulated = Reply::Email { message_id: "k@leadflow".into(), detail: String::new() };
                let call = Call {
                    action: "a",
                    idx: "",
                    connection: "c",
                    transport: &transport,
                    effect: &effect,
                    timeout: Duration::ZERO,
                    simulated,
                };
                classes.push(match faulty.perform(call).await {
                    Reply::Failed(failure) => Some(failure.class),
                    _ => None,
                });
            }
            assert_eq!(classes, [None, Some(class), None]);
            assert_eq!((faulty.inner().effects_json().len(), faulty.performed()), (seen, 3));
        }
    }
}

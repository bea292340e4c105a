//! A store that fails on purpose: the instrument of the fault sweep (`tests/it`).
//!
//! The n-th call, counted over all verbs, answers `Unavailable`: either without being performed, or although it was
//! performed, as when the answer was lost. Sweeping n from 1 until a scenario passes without reaching it proves that no
//! single fault of the store loses or doubles anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::wired::{Wire, Wired};
use super::{
    Arrival, CancelAnswer, ConnectionNote, ConnectionState, FlowText, Heartbeat, Intake, KeySlot, LaneState, LaneWant,
    Life, Live, LiveChange, NewRun, NodeRow, Noted, PruneBefore, RecordQuery, RecordRow, RejectedCaps, RejectedRow,
    Rescued, RunCommit, RunFilter, Store, StoreError, StoreResult, StoredRun, TextId,
};
use crate::clock::{Fut, Micros};
use crate::ids::RunId;
use crate::run::RunStatus;

/// Where the chosen call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailAt {
    /// It is not performed.
    Before,
    /// It is performed, and its answer is lost.
    After,
}

/// Wraps a store and fails one of its calls. A test instrument: nothing outside tests makes one.
#[derive(Debug)]
pub struct Faulty<S: ?Sized> {
    calls: AtomicU64,
    nth: u64,
    fail_at: FailAt,
    down: AtomicBool,
    crashes: bool,
    inner: Arc<S>,
}

impl<S: Store + ?Sized> Faulty<S> {
    /// Fails the `nth` call, counted from 1; 0 fails none.
    pub fn new(inner: Arc<S>, nth: u64, fail_at: FailAt) -> Self {
        Self { calls: AtomicU64::new(0), nth, fail_at, down: AtomicBool::new(false), crashes: false, inner }
    }

    /// As [`Faulty::new`], and after the chosen call nothing is performed any more: the process has died there.
    pub fn crashing(inner: Arc<S>, nth: u64, fail_at: FailAt) -> Self {
        Self { crashes: true, ..Self::new(inner, nth, fail_at) }
    }

    /// Whether nothing is performed now.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// Calls so far. Less than `nth` after a scenario: the sweep is over.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// From now on every call fails without being performed, until this is called with `false`.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a S) -> Fut<'a, StoreResult<T>>,
    ) -> Fut<'a, StoreResult<T>> {
        let chosen = self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.nth;
        let fault = || Err(StoreError::Unavailable("a fault of the test".to_owned()));
        if self.is_down() {
            return Box::pin(std::future::ready(fault()));
        }
        if chosen && self.crashes {
            self.set_down(true);
        }
        match (chosen, self.fail_at) {
            (false, _) => call(&self.inner),
            (true, FailAt::Before) => Box::pin(std::future::ready(fault())),
            (true, FailAt::After) => {
                let performed = call(&self.inner);
                Box::pin(async move {
                    drop(performed.await);
                    fault()
                })
            }
        }
    }
}

/// Each verb passes through [`Faulty::call`], or over the wire of a [`Wired`].
macro_rules! pass {
    ($($verb:ident($($name:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl<S: Store + ?Sized> Store for Faulty<S> {
            $(fn $verb(&self, $($name: $kind),*) -> Fut<'_, StoreResult<$answer>> {
                self.call(|store| store.$verb($($name),*))
            })*

            fn is_shared(&self) -> bool {
                self.inner.is_shared()
            }
        }

        impl<S: Store + ?Sized, W: Wire> Store for Wired<S, W> {
            $(fn $verb(&self, $($name: $kind),*) -> Fut<'_, StoreResult<$answer>> {
                self.carry(stringify!($verb), self.inner().$verb($($name),*))
            })*

            fn is_shared(&self) -> bool {
                self.inner().is_shared()
            }
        }
    };
}

pass! {
    accept(new: NewRun) -> ();
    take_in(arrivals: Vec<Arrival>) -> Intake;
    commit(commit: RunCommit) -> ();
    claim(owner: &str, wants: Vec<LaneWant>, now: Micros) -> Vec<StoredRun>;
    heartbeat(life: Life) -> Heartbeat;
    leave(owner: &str) -> ();
    rescue(owner: &str, now: Micros) -> Rescued;
    reject(row: RejectedRow, caps: RejectedCaps) -> ();
    mark_resubmitted(id: RunId, run: RunId) -> ();
    request_cancel(run: RunId, now: Micros) -> CancelAnswer;
    release_held(code: &str, lane: Option<&str>, now: Micros) -> u64;
    pin_text(text: FlowText, now: Micros) -> TextId;
    pin_texts(texts: Vec<FlowText>, now: Micros) -> Vec<TextId>;
    set_live(change: LiveChange) -> ();
    prune(before: PruneBefore) -> u64;
    meta_or_insert(key: &str, fresh: &str) -> String;
    set_meta(key: &str, value: &str) -> ();
    rotate_key(flow: &str, slot: &str, now: Micros) -> u32;
    touch_keys(used: Vec<(String, String, Micros)>) -> ();
    now() -> Micros;
    nodes() -> Vec<NodeRow>;
    note_connections(notes: Vec<ConnectionNote>) -> Vec<Noted>;
    probe_connection(connection: &str, settings_digest: &str, seq: i64, until: Micros) -> Option<ConnectionState>;
    connections() -> Vec<ConnectionState>;
    waiting_runs() -> Vec<(String, u64)>;
    run(run: RunId) -> Option<StoredRun>;
    find_runs(part: &str, limit: usize) -> Vec<RunId>;
    list_runs(filter: RunFilter) -> Vec<StoredRun>;
    cancel_requests(owner: &str) -> Vec<RunId>;
    owned(owner: &str, limit: usize) -> Vec<RunId>;
    lanes(now: Micros) -> Vec<LaneState>;
    unfinished(flow: &str, cap: u64) -> u64;
    text(id: TextId) -> Option<FlowText>;
    live() -> Live;
    list_rejected(flow: Option<&str>, limit: usize) -> Vec<RejectedRow>;
    find_rejected(part: &str, limit: usize) -> Vec<RejectedRow>;
    list_records(entity: Option<&str>, limit: usize) -> Vec<RecordRow>;
    read_records(query: RecordQuery) -> Vec<RecordRow>;
    find_records(part: &str, limit: usize) -> Vec<RecordRow>;
    keys() -> Vec<KeySlot>;
    meta(key: &str) -> Option<String>;
    changed_elsewhere() -> bool;
    ping() -> ();
    counts() -> Vec<(RunStatus, u64)>;
}

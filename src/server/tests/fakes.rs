//! A store and an engine in memory: only what the server asks of them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::clock::{Fut, Micros};
use crate::engine::lease::{LeaseReport, LeaseState};
use crate::engine::{Accept, Accepted};
use crate::ids::RunId;
use crate::library::{LiveFlow, Reload, Verdict};
use crate::run::{RunStatus, TriggerData};
use crate::store::*;

/// Holds the rejected inbox, the key slots and some runs; can be told to fail.
#[derive(Default)]
pub(super) struct FakeStore {
    pub(super) broken: AtomicBool,
    pub(super) signing_key: Mutex<Option<String>>,
    pub(super) rejected: Mutex<Vec<RejectedRow>>,
    pub(super) slots: Mutex<Vec<KeySlot>>,
    pub(super) touched: Mutex<Vec<(String, String, Micros)>>,
    pub(super) runs: Mutex<Vec<StoredRun>>,
    pub(super) connections: Mutex<Vec<ConnectionState>>,
}

impl FakeStore {
    fn answer<T: Send + 'static>(&self, value: impl FnOnce() -> T) -> Fut<'_, StoreResult<T>> {
        let broken = self.broken.load(Ordering::SeqCst);
        let answer = if broken { Err(StoreError::Unavailable("told to".into())) } else { Ok(value()) };
        Box::pin(std::future::ready(answer))
    }
}

fn unused<'a, T: Send + 'static>() -> Fut<'a, StoreResult<T>> {
    let error = StoreError::Unusable("the server has no business with this verb".into());
    Box::pin(std::future::ready(Err(error)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with the lock held")
}

impl Store for FakeStore {
    fn reject(&self, row: RejectedRow, _: RejectedCaps) -> Fut<'_, StoreResult<()>> {
        self.answer(|| lock(&self.rejected).push(row))
    }
    fn meta_or_insert(&self, _: &str, fresh: &str) -> Fut<'_, StoreResult<String>> {
        self.answer(|| lock(&self.signing_key).get_or_insert_with(|| fresh.to_owned()).clone())
    }
    fn meta(&self, _: &str) -> Fut<'_, StoreResult<Option<String>>> {
        self.answer(|| lock(&self.signing_key).clone())
    }
    fn touch_keys(&self, used: Vec<(String, String, Micros)>) -> Fut<'_, StoreResult<()>> {
        self.answer(|| lock(&self.touched).extend(used))
    }
    fn run(&self, run: RunId) -> Fut<'_, StoreResult<Option<StoredRun>>> {
        self.answer(|| lock(&self.runs).iter().find(|stored| stored.run.run_id == run).cloned())
    }
    fn find_runs(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let ids = lock(&self.runs).iter().map(|stored| stored.run.run_id).collect::<Vec<_>>();
        let fits = |id: &RunId| id.to_string().starts_with(part) || id.to_string().ends_with(part);
        let found = ids.into_iter().filter(fits).take(limit).collect();
        self.answer(|| found)
    }
    fn list_runs(&self, filter: RunFilter) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        let fits = |stored: &&StoredRun| filter.flow.as_ref().is_none_or(|flow| *flow == stored.run.flow);
        let found = lock(&self.runs).iter().filter(fits).take(filter.limit).cloned().collect();
        self.answer(|| found)
    }
    fn lanes(&self, _: Micros) -> Fut<'_, StoreResult<Vec<LaneState>>> {
        self.answer(Vec::new)
    }
    fn connections(&self) -> Fut<'_, StoreResult<Vec<ConnectionState>>> {
        self.answer(|| lock(&self.connections).clone())
    }
    fn waiting_runs(&self) -> Fut<'_, StoreResult<Vec<(String, u64)>>> {
        self.answer(|| vec![("crm".to_owned(), 2)])
    }
    fn keys(&self) -> Fut<'_, StoreResult<Vec<KeySlot>>> {
        self.answer(|| lock(&self.slots).clone())
    }
    fn ping(&self) -> Fut<'_, StoreResult<()>> {
        self.answer(|| ())
    }
    fn counts(&self) -> Fut<'_, StoreResult<Vec<(RunStatus, u64)>>> {
        self.answer(|| vec![(RunStatus::Waiting, 3)])
    }

    fn accept(&self, _: NewRun) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn take_in(&self, _: Vec<Arrival>) -> Fut<'_, StoreResult<Intake>> {
        unused()
    }
    fn commit(&self, _: RunCommit) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn claim(&self, _: &str, _: Vec<LaneWant>, _: Micros) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        unused()
    }
    fn heartbeat(&self, _: Life) -> Fut<'_, StoreResult<Heartbeat>> {
        unused()
    }
    fn leave(&self, _: &str) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn now(&self) -> Fut<'_, StoreResult<Micros>> {
        unused()
    }
    fn nodes(&self) -> Fut<'_, StoreResult<Vec<NodeRow>>> {
        unused()
    }
    fn rescue(&self, _: &str, _: Micros) -> Fut<'_, StoreResult<Rescued>> {
        unused()
    }
    fn mark_resubmitted(&self, _: RunId, _: RunId) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn note_connections(&self, _: Vec<ConnectionNote>) -> Fut<'_, StoreResult<Vec<Noted>>> {
        unused()
    }
    fn probe_connection(&self, _: &str, _: &str, _: i64, _: Micros) -> Fut<'_, StoreResult<Option<ConnectionState>>> {
        unused()
    }
    fn request_cancel(&self, _: RunId, _: Micros) -> Fut<'_, StoreResult<CancelAnswer>> {
        unused()
    }
    fn release_held(&self, _: &str, _: Option<&str>, _: Micros) -> Fut<'_, StoreResult<u64>> {
        unused()
    }
    fn pin_text(&self, _: FlowText, _: Micros) -> Fut<'_, StoreResult<TextId>> {
        unused()
    }
    fn pin_texts(&self, _: Vec<FlowText>, _: Micros) -> Fut<'_, StoreResult<Vec<TextId>>> {
        unused()
    }
    fn set_live(&self, _: LiveChange) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn live(&self) -> Fut<'_, StoreResult<Live>> {
        unused()
    }
    fn prune(&self, _: PruneBefore) -> Fut<'_, StoreResult<u64>> {
        unused()
    }
    fn set_meta(&self, _: &str, _: &str) -> Fut<'_, StoreResult<()>> {
        unused()
    }
    fn rotate_key(&self, _: &str, _: &str, _: Micros) -> Fut<'_, StoreResult<u32>> {
        unused()
    }
    fn cancel_requests(&self, _: &str) -> Fut<'_, StoreResult<Vec<RunId>>> {
        unused()
    }
    fn owned(&self, _: &str, _: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        unused()
    }
    fn unfinished(&self, _: &str, _: u64) -> Fut<'_, StoreResult<u64>> {
        unused()
    }
    fn text(&self, _: TextId) -> Fut<'_, StoreResult<Option<FlowText>>> {
        unused()
    }
    fn list_rejected(&self, _: Option<&str>, _: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        unused()
    }
    fn find_rejected(&self, _: &str, _: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        unused()
    }
    fn list_records(&self, _: Option<&str>, _: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        unused()
    }
    fn read_records(&self, _: RecordQuery) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        unused()
    }
    fn find_records(&self, _: &str, _: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        unused()
    }
    fn changed_elsewhere(&self) -> Fut<'_, StoreResult<bool>> {
        unused()
    }
}

/// Answers what it was told, else accepts; remembers what came.
#[derive(Default)]
pub(super) struct FakeEngine {
    pub(super) planned: Mutex<VecDeque<Accepted>>,
    pub(super) came: Mutex<Vec<(String, TriggerData)>>,
    /// Accepts that have begun; each waits for a permit of `gate` when there is one.
    pub(super) begun: AtomicUsize,
    pub(super) lease_lost: AtomicBool,
    pub(super) gate: Option<tokio::sync::Semaphore>,
}

impl Accept for FakeEngine {
    fn lease(&self) -> LeaseReport {
        let state = if self.lease_lost.load(Ordering::SeqCst) { LeaseState::Lost } else { LeaseState::Held };
        LeaseReport { state, owner: "host:1:a".to_owned(), lost: 3 }
    }

    fn accept(&self, flow: std::sync::Arc<LiveFlow>, trigger: TriggerData) -> Fut<'_, Accepted> {
        Box::pin(async move {
            self.begun.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.acquire().await.expect("open").forget();
            }
            lock(&self.came).push((flow.flow.name.clone(), trigger));
            let planned = lock(&self.planned).pop_front();
            planned.unwrap_or_else(|| Accepted::Run { run_id: RunId::new(1_700_000_000_000_000), answer: None })
        })
    }
}

/// Remembers who asked for a reload, and answers as it was told.
#[derive(Default)]
pub(super) struct FakeReload {
    pub(super) asked: Mutex<Vec<bool>>,
    pub(super) verdict: Mutex<Verdict>,
}

impl Reload for FakeReload {
    fn reload(&self, wait: bool) -> Fut<'_, Verdict> {
        lock(&self.asked).push(wait);
        let verdict = lock(&self.verdict).clone();
        Box::pin(std::future::ready(Verdict { waited: wait, ..verdict }))
    }
}

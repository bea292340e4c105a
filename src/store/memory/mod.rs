//! A store in memory with a time of its own: the instrument of the simulation of many nodes (`tests/it/simulation`).
//!
//! It keeps the promises of [`Store`] but for the disk, is shared by nodes of one process, never waits, and does the
//! same in the same order every time: what is due together is handed out in the order in which it came. It logs what
//! happens to each run, for whoever checks. Told to break a promise ([`Breach`]), it shows that the checks can fail.

mod connections;
mod keep;
mod nodes;
mod runs;
mod take;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Arrival, CancelAnswer, ConnectionNote, ConnectionState, FlowText, Heartbeat, Intake, KeySlot, LaneState, LaneWant,
    Life, Live, LiveChange, LiveRow, NewRun, NodeRow, Noted, Owner, PruneBefore, RecordQuery, RecordRow, RejectedCaps,
    RejectedRow, Rescued, RunCommit, RunFilter, RunRow, StepRow, Store, StoreResult, StoredRun, TextId,
};
use crate::clock::{Clock, Fut, Micros};
use crate::ids::RunId;
use crate::run::RunStatus;

/// A promise to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// A commit is written whoever makes it.
    Fence,
    /// A lease expires at half of its time, so that whoever holds it trusts it for too long.
    Lease,
    /// A rescue forgets which effects may have been sent.
    Inflight,
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// It was stored.
    Stored,
    /// A node took it.
    Claimed,
    /// It was taken from a life that was over.
    Rescued,
    /// A commit of it was written.
    Committed,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The store's time.
    pub at: Micros,
    /// What happened.
    pub happened: Happened,
    /// To which run.
    pub run: RunId,
    /// Who did it: the owner that a commit names; of everything else, who owns the run afterwards.
    pub owner: Option<Owner>,
    /// The run's epoch; of a commit, the one that it names.
    pub epoch: i64,
    /// Its status afterwards.
    pub status: RunStatus,
}

/// The store.
pub struct MemoryStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

/// A run and what hangs on it.
#[derive(Debug, Clone)]
struct Kept {
    row: RunRow,
    /// By (idx, name).
    steps: BTreeMap<(String, String), StepRow>,
    /// Of a run whose flow has a gate: whether it is inside.
    inside: Option<bool>,
    /// In which order runs came.
    number: u64,
}

/// A pinned text and when it was pinned last.
#[derive(Debug, Clone)]
struct Text {
    text: FlowText,
    pinned_at: Micros,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, Kept>,
    numbers: u64,
    records: Vec<RecordRow>,
    dedupe: BTreeMap<(String, [u8; 32]), (RunId, Micros)>,
    inside_max: BTreeMap<String, u32>,
    nodes: BTreeMap<Owner, NodeRow>,
    /// By id, which counts from 1.
    texts: BTreeMap<TextId, Text>,
    connections: BTreeMap<(String, String), ConnectionState>,
    live: BTreeMap<String, LiveRow>,
    generation: u64,
    rejected: BTreeMap<RunId, RejectedRow>,
    meta: BTreeMap<String, String>,
    keys: BTreeMap<(String, String), KeySlot>,
    log: Vec<Entry>,
    breach: Option<Breach>,
    /// The time of the verb at work.
    now: Micros,
}

impl MemoryStore {
    /// An empty store whose time is that of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// [`MemoryStore::new`], but for one promise that it breaks.
    pub fn breaking(clock: Arc<dyn Clock>, breach: Breach) -> Self {
        Self { state: Mutex::new(State { breach: Some(breach), ..State::default() }), clock }
    }

    /// What happened since the last call.
    pub fn take_log(&self) -> Vec<Entry> {
        std::mem::take(&mut self.lock().log)
    }

    /// Who owns a run now; `None`: nobody, or it is not there.
    pub fn owner_of(&self, run: RunId) -> Option<Owner> {
        self.lock().runs.get(&run).and_then(|kept| kept.row.owner.clone())
    }

    /// Every run with its steps, in the order in which they came.
    pub fn all_runs(&self) -> Vec<StoredRun> {
        let state = self.lock();
        let mut runs: Vec<&Kept> = state.runs.values().collect();
        runs.sort_by_key(|kept| kept.number);
        runs.into_iter().map(Kept::whole).collect()
    }

    /// How many runs have not ended.
    pub fn unfinished_runs(&self) -> usize {
        self.lock().runs.values().filter(|kept| kept.is_unfinished()).count()
    }

    /// The lives that have a row.
    pub fn lives(&self) -> Vec<Owner> {
        self.lock().nodes.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a verb is a fault of the instrument; the test that meets it fails anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut State) -> StoreResult<T> + Send + 'a,
    ) -> Fut<'a, StoreResult<T>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.now = self.clock.now();
            work(&mut state)
        })
    }

    fn read<'a, T: Send + 'a>(&'a self, read: impl FnOnce(&State) -> T + Send + 'a) -> Fut<'a, StoreResult<T>> {
        self.with(move |state| Ok(read(state)))
    }
}

impl Kept {
    fn whole(&self) -> StoredRun {
        StoredRun { run: self.row.clone(), steps: self.steps.values().cloned().collect() }
    }

    fn is_unfinished(&self) -> bool {
        self.row.finished_at.is_none()
    }

    /// Nobody works on it, and nothing but its time keeps it from being claimed.
    fn is_free(&self) -> bool {
        self.is_unfinished() && self.row.owner.is_none() && self.row.status != RunStatus::Held
    }
}

impl Store for MemoryStore {
    fn accept(&self, new: NewRun) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| state.accept(new))
    }

    fn take_in(&self, arrivals: Vec<Arrival>) -> Fut<'_, StoreResult<Intake>> {
        self.with(move |state| state.take_in(arrivals))
    }

    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| state.commit(commit))
    }

    fn claim(&self, owner: &str, wants: Vec<LaneWant>, now: Micros) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        let owner = owner.to_owned();
        self.with(move |state| Ok(state.claim(&owner, &wants, now)))
    }

    fn heartbeat(&self, life: Life) -> Fut<'_, StoreResult<Heartbeat>> {
        self.with(move |state| Ok(state.heartbeat(life)))
    }

    fn leave(&self, owner: &str) -> Fut<'_, StoreResult<()>> {
        let owner = owner.to_owned();
        self.with(move |state| {
            state.nodes.remove(&owner);
            Ok(())
        })
    }

    fn rescue(&self, owner: &str, now: Micros) -> Fut<'_, StoreResult<Rescued>> {
        let owner = owner.to_owned();
        self.with(move |state| Ok(state.rescue(&owner, now)))
    }

    fn reject(&self, row: RejectedRow, caps: RejectedCaps) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| {
            state.reject(row, caps);
            Ok(())
        })
    }

    fn mark_resubmitted(&self, id: RunId, run: RunId) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| {
            if let Some(row) = state.rejected.get_mut(&id) {
                row.resubmitted_as = Some(run);
            }
            Ok(())
        })
    }

    fn request_cancel(&self, run: RunId, now: Micros) -> Fut<'_, StoreResult<CancelAnswer>> {
        self.with(move |state| Ok(state.request_cancel(run, now)))
    }

    fn release_held(&self, code: &str, lane: Option<&str>, now: Micros) -> Fut<'_, StoreResult<u64>> {
        let (code, lane) = (code.to_owned(), lane.map(str::to_owned));
        self.with(move |state| Ok(state.release_held(&code, lane.as_deref(), now)))
    }

    fn pin_text(&self, text: FlowText, now: Micros) -> Fut<'_, StoreResult<TextId>> {
        self.with(move |state| Ok(state.pin(text, now)))
    }

    fn pin_texts(&self, texts: Vec<FlowText>, now: Micros) -> Fut<'_, StoreResult<Vec<TextId>>> {
        self.with(move |state| Ok(texts.into_iter().map(|text| state.pin(text, now)).collect()))
    }

    fn set_live(&self, change: LiveChange) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| {
            state.set_live(change);
            Ok(())
        })
    }

    fn prune(&self, before: PruneBefore) -> Fut<'_, StoreResult<u64>> {
        self.with(move |state| Ok(state.prune(&before)))
    }

    fn meta_or_insert(&self, key: &str, fresh: &str) -> Fut<'_, StoreResult<String>> {
        let (key, fresh) = (key.to_owned(), fresh.to_owned());
        self.with(move |state| Ok(state.meta.entry(key).or_insert(fresh).clone()))
    }

    fn set_meta(&self, key: &str, value: &str) -> Fut<'_, StoreResult<()>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.with(move |state| {
            state.meta.insert(key, value);
            Ok(())
        })
    }

    fn rotate_key(&self, flow: &str, slot: &str, now: Micros) -> Fut<'_, StoreResult<u32>> {
        let (flow, slot) = (flow.to_owned(), slot.to_owned());
        self.with(move |state| Ok(state.rotate_key(flow, slot, now)))
    }

    fn touch_keys(&self, used: Vec<(String, String, Micros)>) -> Fut<'_, StoreResult<()>> {
        self.with(move |state| {
            state.touch_keys(used);
            Ok(())
        })
    }

    fn note_connections(&self, notes: Vec<ConnectionNote>) -> Fut<'_, StoreResult<Vec<Noted>>> {
        self.with(move |state| Ok(state.note_connections(notes)))
    }

    fn probe_connection(
        &self,
        connection: &str,
        settings_digest: &str,
        seq: i64,
        until: Micros,
    ) -> Fut<'_, StoreResult<Option<ConnectionState>>> {
        let (connection, digest) = (connection.to_owned(), settings_digest.to_owned());
        self.with(move |state| Ok(state.probe_connection(&connection, &digest, seq, until)))
    }

    fn connections(&self) -> Fut<'_, StoreResult<Vec<ConnectionState>>> {
        self.read(State::connections)
    }

    fn waiting_runs(&self) -> Fut<'_, StoreResult<Vec<(String, u64)>>> {
        self.read(State::waiting_runs)
    }

    fn now(&self) -> Fut<'_, StoreResult<Micros>> {
        self.read(|state| state.now)
    }

    fn nodes(&self) -> Fut<'_, StoreResult<Vec<NodeRow>>> {
        self.read(|state| state.nodes.values().cloned().collect())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn run(&self, run: RunId) -> Fut<'_, StoreResult<Option<StoredRun>>> {
        self.read(move |state| state.runs.get(&run).map(Kept::whole))
    }

    fn find_runs(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let part = part.to_owned();
        self.read(move |state| keep::find(state.runs.keys(), &part, limit))
    }

    fn list_runs(&self, filter: RunFilter) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        self.read(move |state| state.list_runs(&filter))
    }

    fn cancel_requests(&self, owner: &str) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.read(move |state| state.owned_by(&owner, |row| row.cancel))
    }

    fn owned(&self, owner: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.read(move |state| {
            let mut found = state.owned_by(&owner, |_| true);
            found.truncate(limit);
            found
        })
    }

    fn lanes(&self, now: Micros) -> Fut<'_, StoreResult<Vec<LaneState>>> {
        self.read(move |state| state.lanes(now))
    }

    fn unfinished(&self, flow: &str, cap: u64) -> Fut<'_, StoreResult<u64>> {
        let flow = flow.to_owned();
        self.read(move |state| {
            let unfinished = state.runs.values().filter(|kept| kept.is_unfinished() && kept.row.flow == flow);
            (unfinished.count() as u64).min(cap)
        })
    }

    fn text(&self, id: TextId) -> Fut<'_, StoreResult<Option<FlowText>>> {
        self.read(move |state| state.texts.get(&id).map(|text| text.text.clone()))
    }

    fn live(&self) -> Fut<'_, StoreResult<Live>> {
        self.read(State::live)
    }

    fn list_rejected(&self, flow: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let flow = flow.map(str::to_owned);
        self.read(move |state| state.list_rejected(flow.as_deref(), limit))
    }

    fn find_rejected(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let part = part.to_owned();
        self.read(move |state| {
            let found = keep::find(state.rejected.keys(), &part, limit);
            found.iter().filter_map(|id| state.rejected.get(id)).cloned().collect()
        })
    }

    fn list_records(&self, entity: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let entity = entity.map(str::to_owned);
        let fits = move |record: &RecordRow| entity.as_ref().is_none_or(|entity| record.entity == *entity);
        self.read(move |state| state.newest_records(fits, limit))
    }

    fn read_records(&self, query: RecordQuery) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        self.read(move |state| state.pick_records(query))
    }

    fn find_records(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let part = part.to_lowercase();
        let fits = move |record: &RecordRow| {
            let id = record.id.to_lowercase();
            !part.is_empty() && (id.starts_with(&part) || id.ends_with(&part))
        };
        self.read(move |state| state.newest_records(fits, limit))
    }

    fn keys(&self) -> Fut<'_, StoreResult<Vec<KeySlot>>> {
        self.read(|state| state.keys.values().cloned().collect())
    }

    fn meta(&self, key: &str) -> Fut<'_, StoreResult<Option<String>>> {
        let key = key.to_owned();
        self.read(move |state| state.meta.get(&key).cloned())
    }

    fn changed_elsewhere(&self) -> Fut<'_, StoreResult<bool>> {
        self.read(|_| false)
    }

    fn ping(&self) -> Fut<'_, StoreResult<()>> {
        self.read(|_| ())
    }

    fn counts(&self) -> Fut<'_, StoreResult<Vec<(RunStatus, u64)>>> {
        self.read(|state| {
            let count = |status| state.runs.values().filter(|kept| kept.row.status == status).count() as u64;
            RunStatus::ALL.into_iter().map(|status| (status, count(status))).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn fresh() -> (MemoryStore, ()) {
        (MemoryStore::new(Arc::new(SystemClock)), ())
    }

    crate::store::conformance::conformance!(fresh());
}

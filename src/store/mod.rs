//! The durable record of everything: runs, steps, pinned texts, rejected requests, embedded records, keys.
//!
//! Promise: when a writing verb answers `Ok`, its effect is on disk (committed and synced) and a `kill -9` does not
//! undo it. Every write to a run is fenced by owner and epoch and changes one row or answers [`StoreError::Fenced`].
//! The verbs are shaped for several databases; `conformance` tests the promises against any of them.

#[cfg(test)]
mod conformance;
pub mod connection_state;
pub mod copy;
pub mod faulty;
mod find;
pub mod hidden;
mod intake;
mod lease;
mod live;
pub mod memory;
pub mod postgres;
mod records;
pub mod sqlite;
mod standing;
mod values;
pub mod wired;

pub use connection_state::{
    Block, BlockKind, Condition, ConnectionNote, ConnectionState, Noted, OTHER_SETTINGS_KEPT, PROBE_LEASE, Said, Times,
    Turn, Word,
};
pub use intake::{Arrival, DedupeKey, Gate, Intake, Taken, gate_lane, gated_flow};
pub use lease::{Heartbeat, Life, NodeRow, Rescued, STRIKES_MAX, SUSPECT_STRIKES, Term};
pub use live::{Live, LiveChange, LiveRow};
pub use records::{Picking, RecordMode, RecordQuery, RecordRow, RecordWrite, merge_fields};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Fut, Micros};
use crate::flow::secure::Secure;
use crate::ids::RunId;
use crate::run::{Failure, Parent, RunStatus, StepStatus, TriggerData, Try};
use crate::schema::BodyError;

/// Why a verb failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another owner or epoch holds the run: stop working on it.
    #[error("the run belongs to another owner")]
    Fenced,
    /// Cannot store now (full disk, read-only, queue full, database gone): the caller answers 503.
    #[error("the store cannot write now: {0}")]
    Unavailable(String),
    /// The database is newer than this binary, corrupt, or not ours.
    #[error("{0}")]
    Unusable(String),
}

/// What every verb answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// The id of a pinned flow text.
pub type TextId = i64;

/// The name of a node's life: unique for each start of `serve`.
pub type Owner = String;

/// An effect that may have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inflight {
    /// The action's name.
    pub name: String,
    /// The loop vector.
    pub idx: String,
    /// The try.
    pub attempt: u32,
}

/// One row of `runs`, without its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its id.
    pub run_id: RunId,
    /// The flow's name.
    pub flow: String,
    /// The pinned text.
    pub text_id: TextId,
    /// Its status.
    pub status: RunStatus,
    /// Why it is held, failed or skipped: a code.
    pub code: Option<String>,
    /// Whether the lead is a test lead.
    pub is_test: bool,
    /// When the request was received.
    pub received_at: Micros,
    /// When it ended; `None` exactly while unfinished.
    pub finished_at: Option<Micros>,
    /// The connection of the next effect; empty: none.
    pub lane: String,
    /// When it may be claimed.
    pub due_at: Micros,
    /// Who works on it; `None` when nobody does. Always `None` once finished.
    pub owner: Option<Owner>,
    /// Grows with every claim and rescue: the fence.
    pub epoch: i64,
    /// Rescues without progress.
    pub strikes: u32,
    /// Effects that may have been sent.
    pub inflight: Vec<Inflight>,
    /// Somebody asked to cancel it.
    pub cancel: bool,
    /// The run of which it is a duplicate.
    pub duplicate_of: Option<RunId>,
    /// The run that was resubmitted to make it.
    pub origin_run: Option<RunId>,
    /// The run whose idempotency keys it uses.
    pub key_run: RunId,
    /// The run that called it.
    pub parent: Option<Parent>,
    /// The answer that `respond` gave.
    pub answer: Option<Value>,
    /// What the request brought. Lists leave it out.
    pub trigger: Option<TriggerData>,
}

impl RunRow {
    /// The row of a run that waits to begin, due at once, under its own idempotency keys.
    pub fn queued(run_id: RunId, flow: String, text_id: TextId, received_at: Micros, trigger: TriggerData) -> Self {
        Self {
            run_id,
            flow,
            text_id,
            status: RunStatus::Queued,
            code: None,
            is_test: false,
            received_at,
            finished_at: None,
            lane: String::new(),
            due_at: received_at,
            owner: None,
            epoch: 0,
            strikes: 0,
            inflight: Vec::new(),
            cancel: false,
            duplicate_of: None,
            origin_run: None,
            key_run: run_id,
            parent: None,
            answer: None,
            trigger: Some(trigger),
        }
    }
}

/// One row of `steps`: an action that ended, or that waits with its inputs pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    /// The loop vector.
    pub idx: String,
    /// The action's name.
    pub name: String,
    /// Its status.
    pub status: StepStatus,
    /// Tries that count.
    pub attempt: u32,
    /// When the next try is due.
    pub due_at: Option<Micros>,
    /// When it first started.
    pub started_at: Option<Micros>,
    /// When it ended.
    pub finished_at: Option<Micros>,
    /// `created`, `when`, …
    pub outcome: Option<String>,
    /// The other side may have acted twice.
    pub possible_repeat: bool,
    /// Inputs, outputs, error and tries.
    pub io: StepIo,
}

/// The values of a step. The store moves values over 2 KiB to `payloads`; readers never notice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepIo {
    /// Rendered inputs.
    pub inputs: Option<Value>,
    /// Outputs.
    pub outputs: Option<Value>,
    /// The failure.
    pub error: Option<Failure>,
    /// The tries.
    pub tries: Vec<Try>,
    /// Its number among the run's changes of variables, from 1.
    #[serde(default)]
    pub change: Option<u64>,
    /// What of it is hidden: by whoever shows it while the run goes on, by the store once it has ended.
    #[serde(default)]
    pub secure: Secure,
    /// The run that it called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<RunId>,
}

/// A new run with everything that its first commit holds.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// The row; `trigger` must be there.
    pub run: RunRow,
    /// Steps that ended before the commit.
    pub steps: Vec<StepRow>,
    /// Records that they wrote.
    pub records: Vec<RecordWrite>,
}

/// One commit of a run that somebody works on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCommit {
    /// The run.
    pub run_id: RunId,
    /// Who commits.
    pub owner: Owner,
    /// The epoch under which it holds the run.
    pub epoch: i64,
    /// The new status.
    pub status: RunStatus,
    /// The new code.
    pub code: Option<String>,
    /// Set exactly when `status` is final.
    pub finished_at: Option<Micros>,
    /// The new lane.
    pub lane: String,
    /// When it may be claimed again, if released.
    pub due_at: Micros,
    /// Give the run back: owner becomes null. Implied by a final status.
    pub release: bool,
    /// Effects that may have been sent after this commit.
    pub inflight: Vec<Inflight>,
    /// Set when `respond` answered; `None` leaves it as it is.
    pub answer: Option<Value>,
    /// Steps to insert or replace.
    pub steps: Vec<StepRow>,
    /// Records to write.
    pub records: Vec<RecordWrite>,
    /// Runs that it calls: stored in the same commit, so that a call happens once.
    pub starts: Vec<NewRun>,
    /// The run that waits for this one, and the time from which it may be claimed if nobody works on it.
    pub wakes: Option<(RunId, Micros)>,
}

/// How many runs of a lane a node can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneWant {
    /// The lane.
    pub lane: String,
    /// At most so many.
    pub max: usize,
    /// Of a gate's lane: how many runs of the flow may be inside at once. `None`: any number.
    pub gate: Option<u32>,
}

/// What waits in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    /// The lane.
    pub lane: String,
    /// Unowned, unfinished runs that are due (counted up to 10,000).
    pub due: u64,
    /// When the next one that is not yet due will be.
    pub next_due_at: Option<Micros>,
    /// Of a gate's lane: how many runs of the flow are inside. 0 in every other lane.
    pub inside: u64,
    /// Of a gate's lane: how many may be inside, as the last run was told that had to wait.
    pub inside_max: Option<u32>,
}

/// A run with its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The row, with its trigger.
    pub run: RunRow,
    /// Its steps, by (idx, name).
    pub steps: Vec<StepRow>,
}

/// A pinned flow text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowText {
    /// SHA-256 of the bundle, hexadecimal.
    pub digest: String,
    /// The flow's name.
    pub flow: String,
    /// The bundle as JSON text.
    pub bundle: String,
}

/// A refused but authenticated request.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedRow {
    /// Its id: a time-ordered UUID.
    pub id: RunId,
    /// The flow's name.
    pub flow: String,
    /// When.
    pub received_at: Micros,
    /// Why: `invalid_json`, `schema_mismatch`, …
    pub code: String,
    /// Details.
    pub findings: Vec<BodyError>,
    /// Method.
    pub method: String,
    /// Relative path behind the flow's name.
    pub path: String,
    /// Query without the signature.
    pub query: Vec<(String, String)>,
    /// Headers without credentials.
    pub headers: Vec<(String, String)>,
    /// The raw bytes. Lists leave them empty.
    pub body: Vec<u8>,
    /// The run that a resubmit made.
    pub resubmitted_as: Option<RunId>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this flow.
    pub flow: Option<String>,
    /// With one of these statuses; empty: any.
    pub statuses: Vec<RunStatus>,
    /// Older than this run (the page's cursor).
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The request is stored; whoever works on the run will find it.
    Requested,
    /// The run had already ended.
    AlreadyFinished(RunStatus),
    /// No such run.
    Unknown,
}

/// What is too old, by kind; runs that ended (or requests received) before the time go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneBefore {
    /// Succeeded and skipped runs.
    pub succeeded: Micros,
    /// Failed, timed out and cancelled runs.
    pub failed: Micros,
    /// Rejected requests.
    pub rejected: Micros,
    /// Duplicates.
    pub duplicates: Micros,
    /// Keys that recognise duplicates, by the end of their window.
    pub dedupe: Micros,
    /// At most so many runs in one call, so that accepts are never kept waiting.
    pub rows_max: usize,
}

/// A signing-key slot of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// The flow's name.
    pub flow: String,
    /// `primary` or `secondary`.
    pub slot: String,
    /// Starts at 1; a rotation adds 1.
    pub version: u32,
    /// When this version was made.
    pub created_at: Micros,
    /// When it last let a request in.
    pub last_used_at: Option<Micros>,
}

/// Caps of the rejected inbox, per flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedCaps {
    /// Most requests kept; the oldest go first.
    pub count_max: u64,
    /// Most bytes of bodies kept.
    pub bytes_max: u64,
}

impl Default for RejectedCaps {
    fn default() -> Self {
        Self { count_max: 10_000, bytes_max: 256 << 20 }
    }
}

/// The verbs of the store.
pub trait Store: Send + Sync + 'static {
    // --- writes: each answers after the sync ---

    /// Stores a new run with everything it did before its first effect. A run with that id is there already: a repeat
    /// after a lost answer, which changes nothing and answers `Ok`. Dropping the future does not take the run back. A
    /// run in [`gate_lane`] waits at its flow's gate, however many do.
    fn accept(&self, new: NewRun) -> Fut<'_, StoreResult<()>>;
    /// Stores what one request brings, all of it or nothing. Who came first with a dedupe key is decided here, by a
    /// unique key: the others are stored as duplicates, without steps and records. A run that finds its gate full, or
    /// others waiting there, waits in [`gate_lane`]; when too many would wait, nothing is stored. A run with that id is
    /// there already: as for `accept`.
    fn take_in(&self, arrivals: Vec<Arrival>) -> Fut<'_, StoreResult<Intake>>;
    /// Writes one commit of a run. Answers [`StoreError::Fenced`] when owner or epoch do not match; nothing of it is
    /// written then. A repeat under the same epoch is harmless. A run that is to be cancelled is never put aside:
    /// released, it is due at once and in no lane, and `held` becomes `queued`.
    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>>;
    /// Takes due, unowned, unfinished runs that are not held: owner set, epoch + 1, status running. Oldest due first in
    /// each lane. From a gate's lane it takes no more than may be inside: they are inside from then on until they end,
    /// and stand in no lane (the answer names the one they waited in). A run that cannot be read is held as `unreadable` instead. When the future was dropped before its
    /// answer, the runs are given back.
    fn claim(&self, owner: &str, wants: Vec<LaneWant>, now: Micros) -> Fut<'_, StoreResult<Vec<StoredRun>>>;
    /// Begins a life, or keeps the lease of one that stands; see [`Life`]. It is decided in one transaction, so that a
    /// rescue takes a life's runs or its lease is kept, never both.
    fn heartbeat(&self, life: Life) -> Fut<'_, StoreResult<Heartbeat>>;
    /// Ends a life: whatever it still holds may be rescued at once.
    fn leave(&self, owner: &str) -> Fut<'_, StoreResult<()>>;
    /// Takes the runs of every life but `owner` that is over (its lease has expired by the database's time, or it has no
    /// row) in small batches: owner null, due at `now`, epoch + 1, strikes + 1; more than [`STRIKES_MAX`] strikes: held
    /// `poison`. A commit that ends a step sets strikes to 0. Any node may call it, and many at once.
    fn rescue(&self, owner: &str, now: Micros) -> Fut<'_, StoreResult<Rescued>>;
    /// Keeps a refused request and enforces the caps of its flow: the oldest go first, the newest always stays.
    fn reject(&self, row: RejectedRow, caps: RejectedCaps) -> Fut<'_, StoreResult<()>>;
    /// Notes that a rejected request was resubmitted.
    fn mark_resubmitted(&self, id: RunId, run: RunId) -> Fut<'_, StoreResult<()>>;
    /// Marks a run to be cancelled. An unowned run becomes due at once, in no lane (one may be paused) and not held, so
    /// that a worker finds it.
    fn request_cancel(&self, run: RunId, now: Micros) -> Fut<'_, StoreResult<CancelAnswer>>;
    /// Releases held runs whose code is `code` and, if given, whose lane is `lane`: due at once, strikes forgotten.
    /// Answers how many.
    fn release_held(&self, code: &str, lane: Option<&str>, now: Micros) -> Fut<'_, StoreResult<u64>>;
    /// Stores a flow text once; the id of the same digest ever after.
    fn pin_text(&self, text: FlowText, now: Micros) -> Fut<'_, StoreResult<TextId>>;
    /// [`Store::pin_text`] for several texts in one transaction; the ids in their order. Call it with slices: everybody
    /// else waits for as long as it takes.
    fn pin_texts(&self, texts: Vec<FlowText>, now: Micros) -> Fut<'_, StoreResult<Vec<TextId>>>;
    /// Changes what is live, in one transaction.
    fn set_live(&self, change: LiveChange) -> Fut<'_, StoreResult<()>>;
    /// Deletes what is too old; answers how many rows went. Steps and payloads go with their runs; a text goes when no
    /// run uses it, it is not live, and its flow pinned a later one. Embedded records stay.
    fn prune(&self, before: PruneBefore) -> Fut<'_, StoreResult<u64>>;
    /// The value of `key` in `meta`, stored as `fresh` when there is none yet.
    fn meta_or_insert(&self, key: &str, fresh: &str) -> Fut<'_, StoreResult<String>>;
    /// Stores `value` under `key` in `meta`, whatever was there.
    fn set_meta(&self, key: &str, value: &str) -> Fut<'_, StoreResult<()>>;
    /// Makes `slot` of `flow` one version newer; answers the new version. A slot that was never stored is at version 1,
    /// so its first rotation answers 2.
    fn rotate_key(&self, flow: &str, slot: &str, now: Micros) -> Fut<'_, StoreResult<u32>>;
    /// Notes when key slots last let a request in.
    fn touch_keys(&self, used: Vec<(String, String, Micros)>) -> Fut<'_, StoreResult<()>>;
    /// Applies each note to the row of its connection ([`ConnectionState::note`]), all in one transaction that holds
    /// the rows: notes of several nodes never undo each other. The rows after it, in the order of the notes.
    fn note_connections(&self, notes: Vec<ConnectionNote>) -> Fut<'_, StoreResult<Vec<Noted>>>;
    /// Takes the one probe of a blocked connection: nobody else probes before `until`. `None`: the row is not as it was
    /// at `seq` any more, or not blocked.
    fn probe_connection(
        &self,
        connection: &str,
        settings_digest: &str,
        seq: i64,
        until: Micros,
    ) -> Fut<'_, StoreResult<Option<ConnectionState>>>;

    // --- reads ---

    /// The database's time: every time that is stored is of it. A file's is the machine's.
    fn now(&self) -> Fut<'_, StoreResult<Micros>>;
    /// The lives that have a row, by name. A lease may have expired already.
    fn nodes(&self) -> Fut<'_, StoreResult<Vec<NodeRow>>>;
    /// Whether several processes may work on it at the same time: then each needs a lease with an end, and the time is
    /// the database's.
    fn is_shared(&self) -> bool {
        false
    }

    /// One run with its trigger and steps.
    fn run(&self, run: RunId) -> Fut<'_, StoreResult<Option<StoredRun>>>;
    /// Runs whose id starts or ends with `part` (hexadecimal, hyphens allowed); at most `limit`, newest first.
    fn find_runs(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>>;
    /// Runs without triggers, newest first, each with its steps (without their values). Of an action inside loops there
    /// is one step for each status that its iterations have.
    fn list_runs(&self, filter: RunFilter) -> Fut<'_, StoreResult<Vec<StoredRun>>>;
    /// Unfinished runs of any owner that somebody asked to cancel and that `owner` works on.
    fn cancel_requests(&self, owner: &str) -> Fut<'_, StoreResult<Vec<RunId>>>;
    /// Unfinished runs that `owner` holds: after an answer of the store was lost, some may have no actor. At most `limit`.
    fn owned(&self, owner: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>>;
    /// What waits, by lane.
    fn lanes(&self, now: Micros) -> Fut<'_, StoreResult<Vec<LaneState>>>;
    /// Unfinished runs of a flow (counted up to `cap`).
    fn unfinished(&self, flow: &str, cap: u64) -> Fut<'_, StoreResult<u64>>;
    /// What is known of connections, by name; of each first the settings that were seen last.
    fn connections(&self) -> Fut<'_, StoreResult<Vec<ConnectionState>>>;
    /// Runs that nobody works on and that are not held, by lane, due or not.
    fn waiting_runs(&self) -> Fut<'_, StoreResult<Vec<(String, u64)>>>;
    /// A pinned text.
    fn text(&self, id: TextId) -> Fut<'_, StoreResult<Option<FlowText>>>;
    /// What is live, or was when the last server stopped.
    fn live(&self) -> Fut<'_, StoreResult<Live>>;
    /// Rejected requests without bodies, newest first.
    fn list_rejected(&self, flow: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>>;
    /// Rejected requests whose id starts or ends with `part`, with bodies; at most `limit`.
    fn find_rejected(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>>;
    /// Embedded records, newest first.
    fn list_records(&self, entity: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>>;
    /// Embedded records that fit `query`, in its order: see [`Picking`]. Reads in slices, so a long table keeps nobody
    /// waiting.
    fn read_records(&self, query: RecordQuery) -> Fut<'_, StoreResult<Vec<RecordRow>>>;
    /// Embedded records whose id starts or ends with `part`; at most `limit`.
    fn find_records(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>>;
    /// All key slots.
    fn keys(&self) -> Fut<'_, StoreResult<Vec<KeySlot>>>;
    /// The value of `key` in `meta`.
    fn meta(&self, key: &str) -> Fut<'_, StoreResult<Option<String>>>;
    /// Whether another process changed the database since the last call.
    fn changed_elsewhere(&self) -> Fut<'_, StoreResult<bool>>;
    /// Whether a write would work now.
    fn ping(&self) -> Fut<'_, StoreResult<()>>;
    /// Counts of runs by status, for metrics (unfinished ones exact, finished ones since the oldest kept).
    fn counts(&self) -> Fut<'_, StoreResult<Vec<(RunStatus, u64)>>>;
}

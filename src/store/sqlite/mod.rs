//! The store on SQLite: WAL, `synchronous=FULL`, one writer thread, group commit.
//!
//! Promise: the promises of [`Store`], by one process that writes in groups (`writer`), short commands beside it that
//! write in transactions of their own, and any number of readers. The process lock ([`lock`]) proves that every other
//! node is dead: a server's life is alone here (`Term::Alone`), and needs no lease that ends.
//!
//! `open` and `migrate` bring the database up; `queue`, `writer` and `checkpoint` are its threads; `write`, `intake`,
//! `claim`, `lease`, `keep`, `live`, `connections` and `prune` hold the verbs that write, `read` and `browse` those that
//! read; `rows` maps values.

#![allow(clippy::doc_markdown, reason = "SQLite is the name of a thing, not of an item")]

mod browse;
pub mod care;
mod checkpoint;
mod claim;
mod connections;
mod intake;
mod keep;
mod lease;
mod live;
pub mod lock;
mod migrate;
mod open;
mod place;
pub(in crate::store) mod pour;
mod prune;
mod queue;
mod read;
mod readers;
mod records;
mod rows;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use self::checkpoint::Checkpointer;
pub use self::open::{Mode, OpenOptions, QUEUE_MAX};
use self::readers::Readers;
use self::writer::{Verb, Writer};
use super::find::{IdPart, newest};
use super::{
    Arrival, CancelAnswer, ConnectionNote, ConnectionState, FlowText, Heartbeat, Intake, KeySlot, LaneState, LaneWant,
    Life, Live, LiveChange, NewRun, NodeRow, Noted, PruneBefore, RecordQuery, RecordRow, RejectedCaps, RejectedRow,
    Rescued, RunCommit, RunFilter, Store, StoreError, StoreResult, StoredRun, TextId,
};
use crate::clock::{Clock as _, Fut, Micros, SystemClock};
use crate::ids::RunId;
use crate::run::RunStatus;

/// The store on SQLite. Dropping it serves what waits for the writer, then closes the database.
pub struct SqliteStore {
    // In the order in which they end: the writer serves its queue, then the checkpointer has nothing to hear.
    writer: Option<Writer>,
    _checkpointer: Option<Checkpointer>,
    readers: Arc<Readers>,
    data_version: AtomicI64,
}

impl SqliteStore {
    /// Opens the database for what `options` say. `Unusable`: it is missing (only a server makes one), newer than this
    /// binary, not ours, damaged, or on a network file system. Blocks for as long as a migration takes.
    pub fn open(options: OpenOptions) -> StoreResult<Self> {
        open::prepare(&options)?;
        let OpenOptions { path, mode, queue_max } = options;
        let checkpointer = (mode == Mode::Serve).then(|| Checkpointer::start(path.clone())).transpose()?;
        let activity = checkpointer.as_ref().map(Checkpointer::activity);
        let writer = (mode != Mode::Read).then(|| Writer::start(path.clone(), queue_max, activity)).transpose()?;
        Ok(Self {
            writer,
            _checkpointer: checkpointer,
            readers: Arc::new(Readers::new(path)),
            data_version: AtomicI64::new(i64::MIN),
        })
    }

    fn writer(&self) -> StoreResult<&Writer> {
        self.writer.as_ref().ok_or_else(|| StoreError::Unavailable("it is opened for reading".to_owned()))
    }

    fn write<V: Verb>(&self, verb: V) -> Fut<'_, StoreResult<V::Answer>> {
        Box::pin(async move { self.writer()?.write(verb).await })
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Fut<'_, StoreResult<T>> {
        Box::pin(self.readers.read(read))
    }

    async fn rescue_all(&self, owner: &str, now: Micros) -> StoreResult<Rescued> {
        let writer = self.writer()?;
        writer.write(lease::EndExpired { owner: owner.to_owned() }).await?;
        let mut rescued = Rescued::default();
        loop {
            let slice = writer.write(lease::RescueSlice { owner: owner.to_owned(), now }).await?;
            if slice.runs == 0 {
                return Ok(rescued);
            }
            rescued.runs += slice.runs;
            rescued.held += slice.held;
        }
    }

    async fn release_all(&self, code: &str, lane: Option<&str>, now: Micros) -> StoreResult<u64> {
        let writer = self.writer()?;
        let mut released = 0;
        loop {
            let slice = claim::ReleaseSlice { code: code.to_owned(), lane: lane.map(str::to_owned), now };
            match writer.write(slice).await? {
                0 => return Ok(released),
                runs => released += runs as u64,
            }
        }
    }

    async fn find_ids(&self, part: &str, limit: usize) -> StoreResult<Vec<RunId>> {
        let Some(part) = IdPart::parse(part) else { return Ok(Vec::new()) };
        let prefix = part.clone();
        let mut ids = self.readers.read(move |conn| read::prefixed(conn, &prefix, limit)).await?;
        let mut next = Some(RunId::from_bytes([0xFF; 16]));
        let mut ending = 0;
        while let Some(before) = next
            && ending < limit
        {
            let suffix = part.clone();
            let page = self.readers.read(move |conn| read::suffixed(conn, &suffix, before)).await?;
            ending += page.found.len();
            ids.extend(page.found);
            next = page.next;
        }
        newest(&mut ids, limit);
        Ok(ids)
    }

    async fn has_changed(&self) -> StoreResult<bool> {
        let writer = self.writer()?;
        let version = writer.write(keep::DataVersion).await?;
        let before = self.data_version.swap(version, Ordering::Relaxed);
        // A fresh connection counts anew, so its number says nothing about what it missed.
        Ok(writer.take_reopened() || (before != version && before != i64::MIN))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("writes", &self.writer.is_some()).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn accept(&self, new: NewRun) -> Fut<'_, StoreResult<()>> {
        self.write(write::Accept(new))
    }

    fn take_in(&self, arrivals: Vec<Arrival>) -> Fut<'_, StoreResult<Intake>> {
        self.write(intake::TakeIn(arrivals))
    }

    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        self.write(write::Commit(commit))
    }

    fn claim(&self, owner: &str, wants: Vec<LaneWant>, now: Micros) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        self.write(claim::Claim { owner: owner.to_owned(), wants, now })
    }

    fn heartbeat(&self, life: Life) -> Fut<'_, StoreResult<Heartbeat>> {
        self.write(lease::Beat(life))
    }

    fn leave(&self, owner: &str) -> Fut<'_, StoreResult<()>> {
        self.write(lease::Leave { owner: owner.to_owned() })
    }

    fn rescue(&self, owner: &str, now: Micros) -> Fut<'_, StoreResult<Rescued>> {
        let owner = owner.to_owned();
        Box::pin(async move { self.rescue_all(&owner, now).await })
    }

    fn reject(&self, row: RejectedRow, caps: RejectedCaps) -> Fut<'_, StoreResult<()>> {
        self.write(keep::Reject { row, caps })
    }

    fn mark_resubmitted(&self, id: RunId, run: RunId) -> Fut<'_, StoreResult<()>> {
        self.write(keep::MarkResubmitted { id, run })
    }

    fn request_cancel(&self, run: RunId, now: Micros) -> Fut<'_, StoreResult<CancelAnswer>> {
        self.write(write::RequestCancel { run, now })
    }

    fn release_held(&self, code: &str, lane: Option<&str>, now: Micros) -> Fut<'_, StoreResult<u64>> {
        let (code, lane) = (code.to_owned(), lane.map(str::to_owned));
        Box::pin(async move { self.release_all(&code, lane.as_deref(), now).await })
    }

    fn pin_text(&self, text: FlowText, now: Micros) -> Fut<'_, StoreResult<TextId>> {
        self.write(keep::PinText { text, now })
    }

    fn pin_texts(&self, texts: Vec<FlowText>, now: Micros) -> Fut<'_, StoreResult<Vec<TextId>>> {
        self.write(live::PinTexts { texts, now })
    }

    fn set_live(&self, change: LiveChange) -> Fut<'_, StoreResult<()>> {
        self.write(live::SetLive(change))
    }

    fn prune(&self, before: PruneBefore) -> Fut<'_, StoreResult<u64>> {
        Box::pin(async move { prune::prune(self.writer()?, before).await })
    }

    fn meta_or_insert(&self, key: &str, fresh: &str) -> Fut<'_, StoreResult<String>> {
        self.write(keep::MetaOrInsert { key: key.to_owned(), fresh: fresh.to_owned() })
    }

    fn set_meta(&self, key: &str, value: &str) -> Fut<'_, StoreResult<()>> {
        self.write(keep::SetMeta { key: key.to_owned(), value: value.to_owned() })
    }

    fn rotate_key(&self, flow: &str, slot: &str, now: Micros) -> Fut<'_, StoreResult<u32>> {
        self.write(keep::RotateKey { flow: flow.to_owned(), slot: slot.to_owned(), now })
    }

    fn touch_keys(&self, used: Vec<(String, String, Micros)>) -> Fut<'_, StoreResult<()>> {
        self.write(keep::TouchKeys(used))
    }

    fn now(&self) -> Fut<'_, StoreResult<Micros>> {
        Box::pin(std::future::ready(Ok(SystemClock.now())))
    }

    fn nodes(&self) -> Fut<'_, StoreResult<Vec<NodeRow>>> {
        self.read(lease::nodes)
    }

    fn note_connections(&self, notes: Vec<ConnectionNote>) -> Fut<'_, StoreResult<Vec<Noted>>> {
        self.write(connections::Note(notes))
    }

    fn probe_connection(
        &self,
        connection: &str,
        settings_digest: &str,
        seq: i64,
        until: Micros,
    ) -> Fut<'_, StoreResult<Option<ConnectionState>>> {
        let (connection, settings_digest) = (connection.to_owned(), settings_digest.to_owned());
        self.write(connections::Probe { connection, settings_digest, seq, until })
    }

    fn connections(&self) -> Fut<'_, StoreResult<Vec<ConnectionState>>> {
        self.read(connections::all)
    }

    fn waiting_runs(&self) -> Fut<'_, StoreResult<Vec<(String, u64)>>> {
        self.read(connections::waiting)
    }

    fn run(&self, run: RunId) -> Fut<'_, StoreResult<Option<StoredRun>>> {
        self.read(move |conn| read::stored_run(conn, run))
    }

    fn find_runs(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let part = part.to_owned();
        Box::pin(async move { self.find_ids(&part, limit).await })
    }

    fn list_runs(&self, filter: RunFilter) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        self.read(move |conn| read::list_runs(conn, &filter))
    }

    fn cancel_requests(&self, owner: &str) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.read(move |conn| read::cancel_requests(conn, &owner))
    }

    fn owned(&self, owner: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.read(move |conn| read::owned(conn, &owner, limit))
    }

    fn lanes(&self, now: Micros) -> Fut<'_, StoreResult<Vec<LaneState>>> {
        self.read(move |conn| read::lanes(conn, now))
    }

    fn unfinished(&self, flow: &str, cap: u64) -> Fut<'_, StoreResult<u64>> {
        let flow = flow.to_owned();
        self.read(move |conn| read::unfinished(conn, &flow, cap))
    }

    fn text(&self, id: TextId) -> Fut<'_, StoreResult<Option<FlowText>>> {
        self.read(move |conn| browse::text(conn, id))
    }

    fn live(&self) -> Fut<'_, StoreResult<Live>> {
        self.read(live::live)
    }

    fn list_rejected(&self, flow: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let flow = flow.map(str::to_owned);
        self.read(move |conn| browse::list_rejected(conn, flow.as_deref(), limit))
    }

    fn find_rejected(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let part = IdPart::parse(part);
        self.read(move |conn| part.map_or(Ok(Vec::new()), |part| browse::find_rejected(conn, &part, limit)))
    }

    fn list_records(&self, entity: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let entity = entity.map(str::to_owned);
        self.read(move |conn| browse::list_records(conn, entity.as_deref(), limit))
    }

    fn read_records(&self, query: RecordQuery) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        Box::pin(records::read(&self.readers, query))
    }

    fn find_records(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let part = part.to_owned();
        self.read(move |conn| browse::find_records(conn, &part, limit))
    }

    fn keys(&self) -> Fut<'_, StoreResult<Vec<KeySlot>>> {
        self.read(browse::keys)
    }

    fn meta(&self, key: &str) -> Fut<'_, StoreResult<Option<String>>> {
        let key = key.to_owned();
        self.read(move |conn| browse::meta(conn, &key))
    }

    fn changed_elsewhere(&self) -> Fut<'_, StoreResult<bool>> {
        Box::pin(self.has_changed())
    }

    fn ping(&self) -> Fut<'_, StoreResult<()>> {
        self.write(keep::Ping)
    }

    fn counts(&self) -> Fut<'_, StoreResult<Vec<(RunStatus, u64)>>> {
        self.read(read::counts)
    }
}

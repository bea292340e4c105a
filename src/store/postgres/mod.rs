//! The store on PostgreSQL: many nodes, one database.
//!
//! Promise: the promises of [`Store`](super::Store). Whatever happens to the database or the way to it (gone, failed over, read-only,
//! full, too slow, too many connections), every verb answers within some twenty seconds, an accept within
//! the ten of a writer, and the first that finds it well again succeeds: nothing needs a restart.
//!
//! `open` and `tls` lead to the database, `migrate` brings it up; `writer` and `queue` group what runs write and `group`
//! is the transaction of a group (with `columns`, `intake`, `gates` and `secure`); `claim`, `lease`, `keep`, `connections` and `prune` hold the
//! other verbs that write, `read` and `browse` those that read; `wake` tells other nodes; `rows` maps values;
//! `verbs` names each verb; `care` is for commands that look after a database.
//!
//! The store has a runtime of its own: its connections live as long as it does, whoever asks it from where.

#![allow(clippy::doc_markdown, reason = "PostgreSQL is the name of a thing, not of an item")]

mod browse;
pub mod care;
mod claim;
mod columns;
mod connections;
mod fault;
pub(in crate::store) mod fill;
mod gates;
mod group;
mod intake;
mod keep;
mod lease;
mod migrate;
mod open;
mod prune;
mod queue;
mod read;
mod records;
mod rows;
mod secure;
mod send;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod verbs;
mod wake;
mod writer;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::fault::{Done, answered, pool_error};
use self::group::{Outcome, Work};
pub use self::migrate::VERSION;
pub(crate) use self::open::address;
pub use self::open::{OpenOptions, POOL_DEFAULT, POOL_MIN, QUEUE_MAX, bad_url, place};
use self::wake::Wake;
use self::writer::Writers;
use super::find::{IdPart, newest};
use super::sqlite::Mode;
use super::{LaneWant, PruneBefore, Rescued, StoreError, StoreResult, StoredRun};
use crate::clock::{Fut, Micros};
use crate::ids::RunId;

/// For one call, the wait for a connection included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Threads that speak to the database.
const THREADS: usize = 2;

/// How long a store that is closed goes on to serve what waits.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is lent to one call.
type Lent = Arc<Object>;

/// The store on PostgreSQL. Dropping it serves what waits for the writers, then closes the connections.
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// `None` when it is opened for reading.
    writers: Option<Writers>,
    writing: Vec<JoinHandle<()>>,
    runtime: Option<Runtime>,
    handle: Handle,
}

/// What calls share.
struct Shared {
    pool: Pool,
    wake: Arc<Wake>,
    mode: Mode,
}

impl PostgresStore {
    /// Opens the database for what `options` say. `Unusable`: the URL is wrong, the database refuses us, is newer than
    /// this binary, not ours, or (for commands) not migrated. `Unavailable`: it does not answer. Blocks for as long as a
    /// migration takes.
    pub fn open(options: &OpenOptions) -> StoreResult<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("leadflow-store")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unusable(format!("cannot start the store's threads: {error}")))?;
        match Self::open_on(runtime.handle(), options) {
            Ok(mut store) => {
                store.runtime = Some(runtime);
                Ok(store)
            }
            Err(error) => {
                // Dropping it would wait, which whoever stands in a runtime of their own must not.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn open_on(handle: &Handle, options: &OpenOptions) -> StoreResult<Self> {
        let reach = open::Reach::new(options)?;
        let serves = options.mode == Mode::Serve;
        // One connection listens, on top of the pool.
        let pool = reach.pool(options.connections.max(POOL_MIN) - usize::from(serves))?;
        let wake = Wake::new();
        let shared = Arc::new(Shared { pool: pool.clone(), wake: Arc::clone(&wake), mode: options.mode });
        // Not `block_on`: whoever opens the store may stand in a runtime of their own.
        let (sender, prepared) = std::sync::mpsc::channel();
        handle.spawn(prepare(Arc::clone(&shared), serves.then_some(reach), sender));
        prepared.recv().unwrap_or_else(|_| Err(closed()))?;
        let (writers, writing) = match options.mode {
            Mode::Read => (None, Vec::new()),
            Mode::Serve | Mode::Write => {
                let (writers, tasks) = Writers::start(handle, &pool, &wake, QUEUE_MAX);
                (Some(writers), tasks)
            }
        };
        Ok(Self { shared, writers, writing, runtime: None, handle: handle.clone() })
    }

    fn writers(&self) -> StoreResult<&Writers> {
        self.writers.as_ref().ok_or_else(read_only)
    }

    async fn write(&self, work: Work) -> StoreResult<Outcome> {
        let leaves_work = work.leaves_work();
        let outcome = self.writers()?.write(&self.handle, work).await?;
        if leaves_work && self.shared.mode == Mode::Write {
            self.tell().await;
        }
        Ok(outcome)
    }

    /// Runs `work` on a connection of the pool, on the store's own runtime: dropping the future does not stop it.
    fn call<T, F>(&self, work: impl FnOnce(Lent) -> F + Send + 'static) -> Fut<'_, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = Done<T>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let task = self.handle.spawn(async move { shared.call(work).await });
            task.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    /// [`PostgresStore::call`] for a verb that writes.
    fn change<T, F>(&self, work: impl FnOnce(Lent) -> F + Send + 'static) -> Fut<'_, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = Done<T>> + Send + 'static,
    {
        if self.shared.mode == Mode::Read {
            return Box::pin(std::future::ready(Err(read_only())));
        }
        self.call(work)
    }

    /// Lets other nodes know that there is something to do. They find it without, later.
    async fn tell(&self) {
        match self.shared.mode {
            Mode::Serve => self.shared.wake.tell(),
            // The command may end before a task came to it.
            Mode::Write => {
                if let Err(error) = self.call(|conn| async move { wake::tell_now(&conn).await }).await {
                    tracing::debug!(%error, "cannot tell other nodes now");
                }
            }
            Mode::Read => {}
        }
    }

    async fn claim_all(&self, owner: String, wants: Vec<LaneWant>, now: Micros) -> StoreResult<Vec<StoredRun>> {
        if self.shared.mode == Mode::Read {
            return Err(read_only());
        }
        let shared = Arc::clone(&self.shared);
        let (waiter, answer) = oneshot::channel();
        self.handle.spawn(async move {
            let name = owner.clone();
            let claimed = shared.call(move |conn| async move { claim::claim(&conn, &name, &wants, now).await }).await;
            // Whoever asked has gone: without this, the runs would wait for the end of this node's life.
            if let Err(Ok(lost)) = waiter.send(claimed) {
                let runs: Vec<(RunId, i64)> = lost.iter().map(|stored| (stored.run.run_id, stored.run.epoch)).collect();
                let given = shared.call(move |conn| async move { claim::give_back(&conn, &owner, &runs).await }).await;
                if let Err(error) = given {
                    tracing::warn!(%error, "runs that nobody received stay claimed");
                }
            }
        });
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn rescue_all(&self, owner: &str, now: Micros) -> StoreResult<Rescued> {
        let name = owner.to_owned();
        self.change(move |conn| async move { lease::end_expired(&conn, &name).await }).await?;
        let mut rescued = Rescued::default();
        loop {
            let name = owner.to_owned();
            let slice = self.call(move |conn| async move { lease::rescue_slice(&conn, &name, now).await }).await?;
            if slice.runs == 0 {
                break;
            }
            rescued.runs += slice.runs;
            rescued.held += slice.held;
        }
        if rescued.runs > 0 {
            self.tell().await;
        }
        Ok(rescued)
    }

    async fn release_all(&self, code: &str, lane: Option<&str>, now: Micros) -> StoreResult<u64> {
        let mut released = 0;
        loop {
            let (code, lane) = (code.to_owned(), lane.map(str::to_owned));
            let slice = move |conn: Lent| async move { claim::release_slice(&conn, &code, lane.as_deref(), now).await };
            match self.change(slice).await? {
                0 => break,
                runs => released += runs,
            }
        }
        if released > 0 {
            self.tell().await;
        }
        Ok(released)
    }

    async fn prune_all(&self, before: PruneBefore) -> StoreResult<u64> {
        let mut gone = 0;
        while gone < before.rows_max {
            let rows = (before.rows_max - gone).min(prune::SLICE_ROWS);
            let limits = before.clone();
            let deleted = self.change(move |conn| async move { prune::slice(&conn, &limits, rows).await }).await?;
            gone += deleted;
            if deleted < rows {
                let limits = before.clone();
                gone += self.call(move |conn| async move { prune::texts(&conn, &limits).await }).await?;
                break;
            }
        }
        Ok(gone as u64)
    }

    async fn find_ids(&self, part: &str, limit: usize) -> StoreResult<Vec<RunId>> {
        let Some(part) = IdPart::parse(part) else { return Ok(Vec::new()) };
        let prefix = part.clone();
        let mut ids = self.call(move |conn| async move { read::prefixed(&conn, &prefix, limit).await }).await?;
        let mut next = Some(RunId::from_bytes([0xFF; 16]));
        let mut ending = 0;
        while let Some(before) = next
            && ending < limit
        {
            let suffix = part.clone();
            let page = self.call(move |conn| async move { read::suffixed(&conn, &suffix, before).await }).await?;
            ending += page.found.len();
            ids.extend(page.found);
            next = page.next;
        }
        newest(&mut ids, limit);
        Ok(ids)
    }
}

impl Shared {
    async fn call<T, F>(&self, work: impl FnOnce(Lent) -> F) -> StoreResult<T>
    where
        F: Future<Output = Done<T>>,
    {
        let conn = Arc::new(self.pool.get().await.map_err(|error| pool_error(&error))?);
        let done = timeout(CALL_TIMEOUT, work(Arc::clone(&conn))).await;
        if !matches!(done, Ok(Ok(_)))
            && let Some(conn) = Arc::into_inner(conn)
        {
            // A transaction may be open on it, or a statement under way: it is not lent again.
            drop(Object::take(conn));
        }
        match done {
            Ok(done) => answered(done),
            Err(_) => Err(StoreError::Unavailable("the database did not answer in time".to_owned())),
        }
    }
}

/// Brings the database to our version or refuses it, and listens.
async fn prepare(shared: Arc<Shared>, reach: Option<open::Reach>, ready: std::sync::mpsc::Sender<StoreResult<()>>) {
    let prepared = async {
        let conn = shared.pool.get().await.map_err(|error| open_error(&error))?;
        if reach.is_some() {
            migrate::migrate(&conn).await.inspect_err(|_| {
                // An open transaction must not go back to the pool: nothing else is opened after a refusal.
                shared.pool.close();
            })?;
            warn_of_no_sync(&conn).await;
        } else {
            migrate::require_current(&conn).await?;
        }
        Ok(())
    };
    let prepared = prepared.await;
    if prepared.is_ok()
        && let Some(reach) = reach
    {
        tokio::spawn(wake::work(Arc::clone(&shared.wake), reach));
        shared.wake.listening().await;
    }
    // Gone only with the thread that opens the store.
    let _ = ready.send(prepared);
}

fn open_error(error: &deadpool_postgres::PoolError) -> StoreError {
    match error {
        deadpool_postgres::PoolError::Backend(refusal) if fault::is_refusal(refusal) => {
            let said = refusal.as_db_error().map_or_else(String::new, |said| said.message().to_owned());
            StoreError::Unusable(format!("the database refuses store.url: {said}"))
        }
        error => pool_error(error),
    }
}

async fn warn_of_no_sync(conn: &Object) {
    if let Ok(row) = conn.query_one("SELECT current_setting('fsync')", &[]).await
        && row.try_get::<_, &str>(0).is_ok_and(|fsync| fsync == "off")
    {
        tracing::warn!("the database runs with fsync=off: a crash of its machine can lose what was accepted");
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

fn read_only() -> StoreError {
    StoreError::Unavailable("it is opened for reading".to_owned())
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(writers) = &self.writers {
            writers.close();
        }
        let (Some(runtime), writing) = (self.runtime.take(), std::mem::take(&mut self.writing)) else { return };
        // On a thread of its own: a runtime cannot be waited for from within another.
        let closing = std::thread::spawn(move || {
            runtime.block_on(async {
                for task in writing {
                    if timeout(CLOSE_TIMEOUT, task).await.is_err() {
                        tracing::warn!("the store closes although the database does not answer");
                        break;
                    }
                }
            });
            runtime.shutdown_background();
        });
        if closing.join().is_err() {
            tracing::error!("the store's threads ended by a panic");
        }
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("mode", &self.shared.mode).finish_non_exhaustive()
    }
}

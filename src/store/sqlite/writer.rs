//! The one thread that writes. Promise: a request is answered `Ok` only after the sync of the transaction that holds it.
//!
//! Group commit without a timer: whatever queued up during the last sync becomes one transaction. A request whose
//! statement fails never harms its neighbours: the group is rolled back and replayed one by one. When a commit or its
//! sync fails, everybody in the transaction is told so, and the next one starts on a fresh connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::checkpoint::Activity;
use super::queue::{Class, Job, Queue};
use super::{open, rows};
use crate::store::{StoreError, StoreResult};

/// Why a verb did not do its work.
pub(super) enum Fault {
    /// Refused before anything was written: the transaction goes on without it.
    Refused(StoreError),
    /// A statement failed.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// What a verb found, inside the transaction.
pub(super) type Applied<T> = Result<T, Fault>;

/// A writing verb.
pub(super) trait Verb: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;
    /// When it is served.
    const CLASS: Class;
    /// Does its work in the open transaction. Called again when the group is replayed.
    fn apply(&self, conn: &Connection) -> Applied<Self::Answer>;
    /// What to do when the work is on disk and nobody waits for the answer any more.
    fn undelivered(&self, answer: Self::Answer) -> Option<Box<dyn Job>> {
        drop(answer);
        None
    }
}

/// A verb and whoever waits for it.
pub(super) struct Request<V: Verb> {
    verb: V,
    answer: Option<StoreResult<V::Answer>>,
    waiter: Option<oneshot::Sender<StoreResult<V::Answer>>>,
}

impl<V: Verb> Request<V> {
    /// A request for which nobody waits.
    pub(super) fn unattended(verb: V) -> Box<dyn Job> {
        Box::new(Self { verb, answer: None, waiter: None })
    }
}

impl<V: Verb> Job for Request<V> {
    fn apply(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.answer = Some(match self.verb.apply(conn) {
            Ok(answer) => Ok(answer),
            Err(Fault::Refused(refusal)) => Err(refusal),
            Err(Fault::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&StoreError>) -> Option<Box<dyn Job>> {
        let waiter = self.waiter?;
        let answer = match (failure, self.answer) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(answer)) => answer,
            (None, None) => return None,
        };
        match waiter.send(answer) {
            Err(Ok(lost)) => self.verb.undelivered(lost),
            Ok(()) | Err(Err(_)) => None,
        }
    }
}

/// The handle of the writer's thread. Dropping it serves what waits, then ends the thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    reopened: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on the database at `path`, which is prepared.
    pub(super) fn start(path: PathBuf, queue_max: usize, activity: Option<Arc<Activity>>) -> StoreResult<Self> {
        let queue = Arc::new(Queue::new(queue_max));
        let reopened = Arc::new(AtomicBool::new(false));
        let conn = Some(open::writer(&path)?);
        let session = Session { path, conn, reopened: Arc::clone(&reopened), activity };
        let served = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("leadflow-writer".to_owned())
            .spawn(move || session.serve(&served))
            .map_err(|error| StoreError::Unusable(format!("cannot start the writer's thread: {error}")))?;
        Ok(Self { queue, reopened, thread: Some(thread) })
    }

    /// Queues `verb`, and resolves when it is on disk or has failed. Dropping the future does not take it back.
    pub(super) async fn write<V: Verb>(&self, verb: V) -> StoreResult<V::Answer> {
        let (waiter, answer) = oneshot::channel();
        self.queue.push(V::CLASS, Box::new(Request { verb, answer: None, waiter: Some(waiter) }))?;
        // The sender goes without an answer only when the verb panicked; its group was rolled back.
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the request broke the writer".to_owned())))
    }

    /// Whether the connection was replaced since the last call.
    pub(super) fn take_reopened(&self) -> bool {
        self.reopened.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

/// The thread's state.
struct Session {
    path: PathBuf,
    /// `None` after a fault that a fresh connection may heal.
    conn: Option<Connection>,
    reopened: Arc<AtomicBool>,
    activity: Option<Arc<Activity>>,
}

impl Session {
    fn serve(mut self, queue: &Queue) {
        while let Some(mut group) = queue.group() {
            let served = catch_unwind(AssertUnwindSafe(|| self.group(&mut group)));
            let Ok(failures) = served else {
                // The requests are dropped with the group: each waiter hears that the store is unavailable.
                tracing::error!("a panic in the store's writer; its transaction was rolled back");
                self.conn = None;
                continue;
            };
            for (job, failure) in group.into_iter().zip(failures) {
                if let Some(remedy) = job.answer(failure.as_ref()) {
                    queue.push_own(Class::Settle, remedy);
                }
            }
            if let Some(activity) = &self.activity {
                activity.note();
            }
        }
    }

    /// Commits the group; the failure of each request, in its place.
    fn group(&mut self, group: &mut [Box<dyn Job>]) -> Vec<Option<StoreError>> {
        match self.transaction(group) {
            Ok(()) => group.iter().map(|_| None).collect(),
            Err(Failed::Statement(error)) if group.len() == 1 => vec![Some(error)],
            Err(Failed::Statement(_)) => group
                .iter_mut()
                .map(|job| self.transaction(std::slice::from_mut(job)).err().map(Failed::error))
                .collect(),
            Err(Failed::Commit(error)) => vec![Some(error); group.len()],
        }
    }

    fn transaction(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let conn = self.connection().map_err(Failed::Commit)?;
        let result = commit(conn, jobs);
        if let Err((stage, error)) = result {
            // A transaction that some errors have already ended cannot be rolled back again: that is no new fault.
            let rolled_back = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
            let reopen = !rolled_back || stage == Stage::Commit || doubts_connection(&error);
            let failure = rows::store_error(&error);
            if reopen {
                tracing::warn!(error = %failure, "the store opens its database again after a failed write");
                self.conn = None;
            }
            return Err(match stage {
                Stage::Statement => Failed::Statement(failure),
                Stage::Begin | Stage::Commit => Failed::Commit(failure),
            });
        }
        Ok(())
    }

    fn connection(&mut self) -> StoreResult<&mut Connection> {
        match &mut self.conn {
            Some(conn) => Ok(conn),
            empty => {
                let conn = open::writer(&self.path)?;
                self.reopened.store(true, Ordering::Relaxed);
                Ok(empty.insert(conn))
            }
        }
    }
}

/// How far a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Statement,
    Commit,
}

/// A transaction that was rolled back.
enum Failed {
    /// One of its requests failed: the others may pass without it.
    Statement(StoreError),
    /// It could not be begun, committed or synced: nobody's fault.
    Commit(StoreError),
}

impl Failed {
    fn error(self) -> StoreError {
        match self {
            Self::Statement(error) | Self::Commit(error) => error,
        }
    }
}

fn commit(conn: &Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), (Stage, rusqlite::Error)> {
    let run = |sql, stage| {
        conn.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(|error| (stage, error))
    };
    run("BEGIN IMMEDIATE", Stage::Begin)?;
    for job in jobs {
        job.apply(conn).map_err(|error| (Stage::Statement, error))?;
    }
    run("COMMIT", Stage::Commit).map(drop)
}

/// Whether a fault may lie in the connection or the files under it, so that a fresh connection may do better.
fn doubts_connection(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

//! Moves the WAL into the database, off the writer's path: passive from [`PASSIVE_BYTES_MIN`], which never makes anybody
//! wait; forced and cut off from [`FORCED_BYTES_MIN`], when readers or a flood kept the passive ones from finishing.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::open;
use crate::store::{StoreError, StoreResult};

/// When so much of the WAL was not moved yet, what can be moved without waiting is moved.
const PASSIVE_BYTES_MIN: u64 = 16 << 20;

/// From this size of the WAL on, the writer waits for the checkpoint.
const FORCED_BYTES_MIN: u64 = 64 << 20;

/// How often the size is looked at while there are writes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a forced checkpoint waits for a reader to end, and the pause after one that did not succeed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the checkpointer that something was written.
pub(super) struct Activity {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    written: bool,
    closed: bool,
}

impl Activity {
    /// Something was written.
    pub(super) fn note(&self) {
        let mut state = self.lock();
        if !state.written {
            state.written = true;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits for a write; `false` when the store closes.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.written && !state.closed {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.written = false;
        !state.closed
    }

    /// Waits `pause`, or until the store closes.
    fn pause(&self, pause: Duration) {
        let state = self.lock();
        drop(self.wake.wait_timeout_while(state, pause, |state| !state.closed));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle of the checkpointer's thread.
pub(super) struct Checkpointer {
    activity: Arc<Activity>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread on the database at `path`.
    pub(super) fn start(path: PathBuf) -> StoreResult<Self> {
        let activity = Arc::new(Activity { state: Mutex::default(), wake: Condvar::new() });
        let heard = Arc::clone(&activity);
        let thread = std::thread::Builder::new()
            .name("leadflow-checkpoint".to_owned())
            .spawn(move || serve(&path, &heard))
            .map_err(|error| StoreError::Unusable(format!("cannot start the checkpointer's thread: {error}")))?;
        Ok(Self { activity, thread: Some(thread) })
    }

    /// Where the writer notes its writes.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.activity.lock().closed = true;
        self.activity.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's checkpointer ended by a panic");
        }
    }
}

fn serve(path: &std::path::Path, activity: &Activity) {
    let mut conn = None;
    while activity.wait() {
        let looked = match &conn {
            Some(conn) => look(conn),
            None => match open::checkpointer(path, PATIENCE) {
                Ok(fresh) => look(conn.insert(fresh)),
                Err(error) => {
                    tracing::warn!(%error, "the store cannot open its database for a checkpoint");
                    Ok(Looked::Stuck)
                }
            },
        };
        match looked {
            Ok(Looked::Fine) => activity.pause(LOOK_EVERY),
            Ok(Looked::Stuck) => activity.pause(PATIENCE),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint of the store failed; it is tried again");
                conn = None;
                activity.pause(PATIENCE);
            }
        }
    }
}

/// What a look at the WAL led to.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    /// Small enough, or moved.
    Fine,
    /// Somebody reads an old state: it is no use to come back at once.
    Stuck,
}

fn look(conn: &Connection) -> rusqlite::Result<Looked> {
    let page_bytes: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let size = |pages: i64| u64::try_from(pages * page_bytes).unwrap_or(0);
    let wal = checkpoint(conn, "NOOP")?;
    // A WAL that was moved entirely starts again with the next write: its size alone says nothing.
    let pending = wal.pages - wal.moved;
    let is_forced = pending > 0 && size(wal.pages) >= FORCED_BYTES_MIN;
    if is_forced || size(pending) >= PASSIVE_BYTES_MIN {
        checkpoint(conn, "PASSIVE")?;
    }
    // Behind a passive one, the forced one holds the writer up for the few pages that came meanwhile.
    let is_stuck = is_forced && checkpoint(conn, "TRUNCATE")?.busy;
    Ok(if is_stuck { Looked::Stuck } else { Looked::Fine })
}

/// What `wal_checkpoint` answers.
#[derive(Debug)]
struct Checkpoint {
    busy: bool,
    pages: i64,
    moved: i64,
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Checkpoint> {
    conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| Ok(Checkpoint { busy: row.get(0)?, pages: row.get(1)?, moved: row.get(2)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: u64) -> (tempfile::TempDir, Connection, Connection) {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("x.db");
        open::private_file(&path).expect("file");
        let writer = open::writer(&path).expect("opens");
        writer.execute_batch("CREATE TABLE t (b BLOB)").expect("table");
        writer.execute_batch("BEGIN").expect("begins");
        for _ in 0..bytes.div_ceil(1 << 20) {
            writer.execute("INSERT INTO t VALUES (zeroblob(1048576))", []).expect("insert");
        }
        writer.execute_batch("COMMIT").expect("commits");
        let checkpointer = open::checkpointer(&path, Duration::from_millis(10)).expect("opens");
        (folder, writer, checkpointer)
    }

    fn wal_bytes(folder: &tempfile::TempDir) -> u64 {
        std::fs::metadata(folder.path().join("x.db-wal")).expect("a WAL").len()
    }

    #[test]
    fn a_small_wal_is_left_alone_and_a_larger_one_is_moved() {
        let (_folder, _writer, conn) = filled(1 << 20);
        assert_eq!(look(&conn).expect("looks"), Looked::Fine);
        assert_eq!(checkpoint(&conn, "NOOP").expect("state").moved, 0);

        let (_folder, _writer, conn) = filled(PASSIVE_BYTES_MIN);
        assert_eq!(look(&conn).expect("looks"), Looked::Fine);
        let state = checkpoint(&conn, "NOOP").expect("state");
        assert_eq!(state.moved, state.pages);
    }

    #[test]
    fn a_huge_wal_is_cut_off_once_no_reader_is_in_the_way() {
        let (folder, writer, conn) = filled(FORCED_BYTES_MIN);
        let reader = open::reader(&folder.path().join("x.db")).expect("opens");
        reader.execute_batch("BEGIN; SELECT count(*) FROM t").expect("reads");
        writer.execute("INSERT INTO t VALUES (x'01')", []).expect("insert");
        assert_eq!(look(&conn).expect("looks"), Looked::Stuck);
        reader.execute_batch("COMMIT").expect("ends");
        assert_eq!(look(&conn).expect("looks"), Looked::Fine);
        assert_eq!(wal_bytes(&folder), 0);
    }
}

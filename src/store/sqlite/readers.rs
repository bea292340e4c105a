//! A few read-only connections, lent to short reads on blocking threads. WAL lets them read while the writer writes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{open, rows};
use crate::store::{StoreError, StoreResult};

/// Reads at once. More would only share two or three cores and hold more page caches.
const READERS_MAX: usize = 3;

/// The pool. Connections are opened when they are first needed.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

impl Readers {
    /// A pool for the database at `path`, which is prepared.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), free: Semaphore::new(READERS_MAX) }
    }

    /// Runs one read. A connection on which a read failed is not used again.
    pub(super) async fn read<T, F>(self: &Arc<Self>, read: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let _permit = self.free.acquire().await.map_err(|_| closed())?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let idle = pool.lock().pop();
            let conn = idle.map_or_else(|| open::reader(&pool.path), Ok)?;
            let answer = snapshot(&conn, read).map_err(|error| rows::store_error(&error))?;
            pool.lock().push(conn);
            Ok(answer)
        });
        done.await.unwrap_or_else(|_| Err(closed()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All statements of one read see the same state: a run with its steps is never half of one commit and half of another.
fn snapshot<T>(conn: &Connection, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let transaction = conn.unchecked_transaction()?;
    let answer = read(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}

fn closed() -> StoreError {
    StoreError::Unavailable("a read was broken off".to_owned())
}

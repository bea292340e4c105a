//! Opening: files private to their user, the pragmas that the promises rest on, and the refusals.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::rows::store_error;
use super::{migrate, place};
use crate::store::{StoreError, StoreResult};

/// How many requests may wait for the writer; the next one is refused at once.
pub const QUEUE_MAX: usize = 4_096;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept prepared per connection: more than there are.
const STATEMENTS_CACHED: usize = 128;

/// The WAL is cut back to this size when it starts again from its beginning.
const JOURNAL_BYTES_MAX: i64 = 16 << 20;

/// The writer's page cache: the right edges of all trees and the unfinished runs.
const WRITER_CACHE_KIB: i64 = 16 << 10;

/// What the store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A server: makes the file, migrates it, writes, and keeps the WAL short. The caller holds the folder's
    /// [`DataLock`](super::lock::DataLock).
    Serve,
    /// A command beside a server, or without one: each verb is a short transaction of its own. Never migrates.
    Write,
    /// A command that only reads, beside a server or without one. Every writing verb answers `Unavailable`.
    Read,
}

/// How to open the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// The database file; its folder holds the journal files too.
    pub path: PathBuf,
    /// What for.
    pub mode: Mode,
    /// Requests that may wait for the writer before the next is refused: [`QUEUE_MAX`].
    pub queue_max: usize,
}

impl OpenOptions {
    /// The database at `path`, for `mode`, with the default queue.
    pub fn new(path: impl Into<PathBuf>, mode: Mode) -> Self {
        Self { path: path.into(), mode, queue_max: QUEUE_MAX }
    }
}

/// Checks the place, makes what is to be made, and brings the database to our version or refuses it.
pub(super) fn prepare(options: &OpenOptions) -> StoreResult<()> {
    let folder = match options.path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if options.mode == Mode::Serve {
        private_folder(folder).map_err(|error| unusable("make the folder", folder, &error))?;
    }
    place::refuse_network(folder)?;
    if options.mode != Mode::Serve {
        if !options.path.exists() {
            return Err(StoreError::Unusable(format!(
                "there is no database at {}; run `leadflow serve` once, or name the folder with --data",
                options.path.display()
            )));
        }
        return migrate::require_current(&reader(&options.path)?);
    }
    private_file(&options.path).map_err(|error| unusable("make", &options.path, &error))?;
    let mut conn = connect(&options.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Before anything is changed: a database of another program is refused as it is.
    migrate::version(&conn)?;
    // Only a database without tables takes `auto_vacuum`; on every later start it changes nothing.
    batch(&conn, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL")?;
    migrate::migrate(&mut conn)
}

fn unusable(doing: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unusable(format!("cannot {doing} {}: {error}", path.display()))
}

/// Makes a folder that only its user can enter. One that exists is left as it is.
pub(super) fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes a file that only its user can read, and opens it. SQLite gives its journals the mode of the database.
pub(super) fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The connection of the writer. Checkpoints are somebody else's work: see `checkpoint`.
pub(super) fn writer(path: &Path) -> StoreResult<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let pragmas = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {JOURNAL_BYTES_MAX}; \
         PRAGMA cache_size = -{WRITER_CACHE_KIB}; PRAGMA temp_store = MEMORY"
    );
    batch(&conn, &pragmas)?;
    // SQLite refuses WAL by answering with another mode, not by an error.
    let mode: String =
        conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(|error| store_error(&error))?;
    if mode != "wal" {
        return Err(StoreError::Unusable(format!(
            "{} cannot be written with a write-ahead log (journal mode {mode}); choose a local folder with --data",
            path.display()
        )));
    }
    Ok(conn)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> StoreResult<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    batch(&conn, "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY")?;
    Ok(conn)
}

/// The connection of the checkpointer: it waits for readers and the writer no longer than `patience`.
pub(super) fn checkpointer(path: &Path, patience: Duration) -> StoreResult<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(patience).map_err(|error| store_error(&error))?;
    batch(&conn, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(conn)
}

fn connect(path: &Path, access: OpenFlags) -> StoreResult<Connection> {
    // Each connection stays on one thread at a time, so SQLite needs no mutex of its own.
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| StoreError::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(|error| store_error(&error))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(conn)
}

fn batch(conn: &Connection, sql: &str) -> StoreResult<()> {
    conn.execute_batch(sql).map_err(|error| store_error(&error))
}

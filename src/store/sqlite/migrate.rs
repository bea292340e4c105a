//! Brings a database to the version that this binary understands, or says why it cannot be used.
//!
//! `PRAGMA user_version` counts the migrations that were applied; each is one transaction with its own count, so a
//! crash between two of them is a start from the second.

use rusqlite::{Connection, TransactionBehavior};

use super::rows::store_error;
use crate::store::{StoreError, StoreResult};

/// Marks a file as ours in `PRAGMA application_id`: `LEAD` in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4C45_4144;

/// The migrations, oldest first; the n-th makes version n.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_initial.sql"),
    include_str!("../migrations/sqlite/0002_live.sql"),
    include_str!("../migrations/sqlite/0003_trigger.sql"),
    include_str!("../migrations/sqlite/0004_calls.sql"),
    include_str!("../migrations/sqlite/0005_connections.sql"),
];

/// The version that this binary reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing. A database that is not ours, or newer, is refused untouched.
pub(super) fn migrate(conn: &mut Connection) -> StoreResult<()> {
    let found = version(conn)?;
    for (done, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        apply(conn, done as i64 + 1, sql).map_err(|error| store_error(&error))?;
    }
    Ok(())
}

/// Refuses every version but our own: for commands that work beside a server, which never migrate.
pub(super) fn require_current(conn: &Connection) -> StoreResult<()> {
    match version(conn)? {
        VERSION => Ok(()),
        0 => Err(StoreError::Unusable("the database is empty; run `leadflow serve` once to set it up".to_owned())),
        found => Err(StoreError::Unusable(format!(
            "the database has version {found} and this leadflow needs version {VERSION}; run its `leadflow serve` once to migrate it"
        ))),
    }
}

/// The version of the database; 0 for one without tables. Refuses one that is newer or not ours.
pub(super) fn version(conn: &Connection) -> StoreResult<i64> {
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|error| store_error(&error))
    };
    let (ours, found) = (pragma("application_id")? == APPLICATION_ID, pragma("user_version")?);
    if !ours && !is_blank(conn)? {
        return Err(StoreError::Unusable(
            "the file is a database of another program; choose another --data".to_owned(),
        ));
    }
    if found > VERSION {
        return Err(StoreError::Unusable(format!(
            "the database was written by a newer leadflow (version {found}, this one understands {VERSION}); use the newer one"
        )));
    }
    Ok(if ours { found } else { 0 })
}

/// Whether nobody has put anything into the database yet: also after a crash before the first migration.
fn is_blank(conn: &Connection) -> StoreResult<bool> {
    conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
        .map_err(|error| store_error(&error))
}

fn apply(conn: &mut Connection, version: i64, sql: &str) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(sql)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", version)?;
    tx.commit()
}

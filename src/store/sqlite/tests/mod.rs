//! What only SQLite promises: the pragmas, the files, the group, the processes beside each other, the query plans.

mod beside;
mod group;
mod plans;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::queue::Class;
use super::writer::{Applied, Verb};
use super::*;

mod conformance {
    crate::store::conformance::conformance!(super::serving());
}

fn database(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data/leadflow.db")
}

fn opened(path: &Path, mode: Mode) -> StoreResult<SqliteStore> {
    SqliteStore::open(OpenOptions::new(path, mode))
}

fn serving() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temp folder");
    (opened(&database(&folder), Mode::Serve).expect("opens"), folder)
}

/// A verb made of a closure: reaches the writer's live connection.
struct Raw<F>(F);

impl<T, F> Verb for Raw<F>
where
    T: Send + 'static,
    F: Fn(&Connection) -> Applied<T> + Send + 'static,
{
    type Answer = T;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<T> {
        (self.0)(conn)
    }
}

impl SqliteStore {
    /// Runs `work` on the writer's connection, inside a group.
    async fn on_writer<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.writer()?.write(Raw(move |conn: &Connection| Ok(work(conn)?))).await
    }
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<String> {
    conn.pragma_query_value(None, name, |row| {
        let value: rusqlite::types::Value = row.get(0)?;
        Ok(match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        })
    })
}

#[tokio::test]
async fn the_writer_syncs_every_commit() {
    let (store, _folder) = serving();
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("auto_vacuum", "2"),
        ("wal_autocheckpoint", "0"),
        ("busy_timeout", "5000"),
        ("user_version", &migrate::VERSION.to_string()),
    ] {
        let found = store.on_writer(move |conn| pragma(conn, name)).await;
        assert_eq!(found.as_deref(), Ok(value), "{name}");
    }
}

//! Looking after a database: how it stands, whether it is whole, and a copy of it while a server writes.
//!
//! Promise: nothing here writes to the database; a backup is either whole under its name or not there.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::{migrate, open, rows::store_error};
use crate::store::{StoreError, StoreResult};

/// Faults that one check of the database's pages lists at most.
const FAULTS_MAX: usize = 100;

/// The tables whose rows are counted and copied; what a table refers to stands before it.
pub const TABLES: &[&str] = &[
    "meta",
    "keys",
    "flow_texts",
    "live",
    "runs",
    "steps",
    "payloads",
    "dedupe",
    "rejected",
    "records",
    "nodes",
    "connection_state",
];

/// Statements that find what no crash may leave behind: what they count, and what is wrong if there is any.
const RULES: &[(&str, &str)] = &[
    (
        "SELECT count(*) FROM runs WHERE finished_at IS NULL AND text_id NOT IN (SELECT text_id FROM flow_texts)",
        "unfinished runs whose flow text is gone: they are held as flow_text_unreadable when they are claimed",
    ),
    (
        "SELECT count(*) FROM runs WHERE substr(\"trigger\", 1, 1) = '@' AND NOT EXISTS (SELECT 1 FROM payloads p \
         WHERE p.run_id = runs.run_id AND p.n = CAST(substr(runs.\"trigger\", 2) AS INTEGER))",
        "runs whose request is not there",
    ),
    (
        "SELECT count(*) FROM runs WHERE substr(\"trigger\", 1, 1) <> '@' AND NOT json_valid(\"trigger\")",
        "runs whose request cannot be read",
    ),
    (
        "SELECT count(*) FROM steps WHERE substr(io, 1, 1) <> '@' AND NOT json_valid(io)",
        "steps whose values cannot be read",
    ),
    (
        "SELECT count(*) FROM live WHERE text_id NOT IN (SELECT text_id FROM flow_texts)",
        "live files whose text is gone: a broken file cannot serve its last good version",
    ),
    (
        "SELECT count(*) FROM gates g WHERE g.running <> (SELECT count(*) FROM runs r WHERE r.flow = g.flow AND \
         r.gate = 1 AND r.finished_at IS NULL) OR g.waiting <> (SELECT count(*) FROM runs r WHERE r.flow = g.flow AND \
         r.gate = 0 AND r.finished_at IS NULL)",
        "flows whose count of runs (`concurrency`) is wrong",
    ),
    (
        "SELECT count(*) FROM rejected_totals t WHERE t.requests <> (SELECT count(*) FROM rejected r WHERE \
         r.flow = t.flow)",
        "flows whose count of rejected requests is wrong",
    ),
];

/// How a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version of its tables.
    pub version: i64,
    /// The version that this binary reads and writes.
    pub understood: i64,
    /// Bytes of the database file.
    pub bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Rows by table, in the order of [`TABLES`]; empty when the version is not ours.
    pub rows: Vec<(&'static str, u64)>,
}

/// How the database at `path` stands. Answers for an older version too; refuses one that is newer or not ours.
pub fn standing(path: &Path) -> StoreResult<Standing> {
    let conn = open::reader(path)?;
    let version = migrate::version(&conn)?;
    let mut rows = Vec::new();
    if version == migrate::VERSION {
        for table in TABLES {
            rows.push((*table, number(&conn, &format!("SELECT count(*) FROM {table}"))?));
        }
    }
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let wal_bytes = size(&beside(path, "-wal"));
    Ok(Standing { version, understood: migrate::VERSION, bytes: size(path), wal_bytes, rows })
}

/// Everything that is wrong with the database at `path`, one line each; empty: it is whole. Reads every page.
pub fn faults(path: &Path) -> StoreResult<Vec<String>> {
    let conn = open::reader(path)?;
    let mut faults = pages(&conn)?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    migrate::require_current(&conn)?;
    let orphan: Option<String> = conn
        .query_row("PRAGMA foreign_key_check", [], |row| row.get(0))
        .optional()
        .map_err(|error| store_error(&error))?;
    faults.extend(orphan.map(|table| format!("{table}: rows whose run is gone")));
    for (count, fault) in RULES {
        let found = number(&conn, count)?;
        if found > 0 {
            faults.push(format!("{found} {fault}"));
        }
    }
    Ok(faults)
}

/// What SQLite itself finds: damaged pages, broken indexes, values that break a rule of their table.
fn pages(conn: &Connection) -> StoreResult<Vec<String>> {
    let read = || {
        let mut statement = conn.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<rusqlite::Result<Vec<String>>>()
    };
    match read() {
        Ok(lines) => Ok(lines.into_iter().filter(|line| line != "ok").collect()),
        // So damaged that it cannot even be walked.
        Err(error) => match store_error(&error) {
            StoreError::Unusable(message) => Ok(vec![message]),
            other => Err(other),
        },
    }
}

/// Writes a copy of the database at `path`, as it is at this moment, to `to`: beside a server or without one. The copy
/// is checked and synced before it gets its name. Answers its size in bytes. A file that is there is never replaced.
///
/// The write-ahead log cannot shrink while this runs: it needs room for the copy and for what is written meanwhile.
pub fn backup(path: &Path, to: &Path) -> StoreResult<u64> {
    if to.exists() {
        return Err(StoreError::Unusable(format!("{} is there already; choose another name", to.display())));
    }
    let part = beside(to, ".part");
    let written = write_copy(path, &part).and_then(|()| finish_copy(&part, to));
    if written.is_err() {
        // What is left of it is of no use, and the error says why it is there no more.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_copy(path: &Path, part: &Path) -> StoreResult<()> {
    let conn = open::reader(path)?;
    migrate::version(&conn)?;
    let cannot = |error: &std::io::Error| StoreError::Unavailable(format!("cannot write {}: {error}", part.display()));
    if part.exists() {
        fs::remove_file(part).map_err(|error| cannot(&error))?;
    }
    // SQLite takes an empty file for none, so the copy is private from its first byte on.
    open::private_file(part).map_err(|error| cannot(&error))?;
    let name = part.to_str().ok_or_else(|| StoreError::Unusable("the backup's name is not UTF-8".to_owned()))?;
    conn.pragma_update(None, "query_only", false).map_err(|error| store_error(&error))?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(|error| store_error(&error))?;
    Ok(())
}

fn finish_copy(part: &Path, to: &Path) -> StoreResult<u64> {
    let faults = faults(part)?;
    if let Some(fault) = faults.first() {
        return Err(StoreError::Unusable(format!("the copy is not whole ({fault}); run `leadflow store check`")));
    }
    let done = || {
        let file = fs::File::open(part)?;
        file.sync_all()?;
        fs::rename(part, to)?;
        if let Some(folder) = to.parent() {
            fs::File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
        }
        file.metadata().map(|file| file.len())
    };
    done().map_err(|error: std::io::Error| StoreError::Unavailable(format!("cannot write {}: {error}", to.display())))
}

/// Brings the database at `path` to the version of this binary; answers the version that it had. The caller holds the
/// folder's lock.
pub fn migrate(path: &Path) -> StoreResult<i64> {
    let had = migrate::version(&open::reader(path)?)?;
    let mut conn = open::writer(path)?;
    migrate::migrate(&mut conn)?;
    Ok(had)
}

fn number(conn: &Connection, sql: &str) -> StoreResult<u64> {
    conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned).map_err(|error| store_error(&error))
}

/// `leadflow.db` and `-wal` give `leadflow.db-wal`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store as _;
    use crate::store::sqlite::{Mode, OpenOptions, SqliteStore};

    fn stored() -> (tempfile::TempDir, PathBuf, SqliteStore) {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().join("leadflow.db");
        let store = SqliteStore::open(OpenOptions::new(&path, Mode::Serve)).expect("opens");
        (data, path, store)
    }

    #[tokio::test]
    async fn a_backup_beside_a_server_is_whole_and_never_replaces_a_file() {
        let (data, path, store) = stored();
        store.meta_or_insert("a", "1").await.expect("writes");
        let to = data.path().join("copy.db");
        let bytes = backup(&path, &to).expect("copies");
        assert_eq!(bytes, fs::metadata(&to).expect("there").len());
        store.meta_or_insert("b", "2").await.expect("the server goes on");
        assert_eq!(faults(&to).expect("reads"), Vec::<String>::new());
        let meta = standing(&to).expect("reads").rows;
        assert!(meta.contains(&("meta", 1)), "{meta:?}");
        assert!(backup(&path, &to).expect_err("it is there").to_string().contains("already"));
        let copy = SqliteStore::open(OpenOptions::new(&to, Mode::Serve)).expect("serves from it");
        assert_eq!(copy.meta("a").await.expect("reads").as_deref(), Some("1"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&to).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_backup_that_cannot_be_written_leaves_nothing() {
        let (data, path, store) = stored();
        drop(store);
        let to = data.path().join("no-such-folder").join("copy.db");
        assert!(backup(&path, &to).is_err());
        assert!(!beside(&to, ".part").exists());
    }

    #[tokio::test]
    async fn what_no_crash_may_leave_is_found() {
        let (_data, path, store) = stored();
        drop(store);
        assert_eq!(faults(&path).expect("reads"), Vec::<String>::new());
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch(
            "PRAGMA foreign_keys = OFF; INSERT INTO payloads VALUES (zeroblob(16), 1, x'00'); \
             INSERT INTO gates VALUES ('f', 3, 0, NULL); INSERT INTO live VALUES ('f.yaml', 'f', 9, 1, 0);",
        )
        .expect("breaks it");
        let found = faults(&path).expect("reads").join("\n");
        for word in ["payloads: rows whose run is gone", "`concurrency`", "last good version"] {
            assert!(found.contains(word), "{word}: {found}");
        }
    }

    #[test]
    fn damage_is_told_not_passed_on() {
        let (data, path, store) = stored();
        drop(store);
        let mut bytes = fs::read(&path).expect("reads");
        let end = bytes.len();
        bytes[4096..end].fill(0x5A);
        let broken = data.path().join("broken.db");
        fs::write(&broken, bytes).expect("writes");
        let found = faults(&broken);
        assert!(matches!(&found, Ok(faults) if !faults.is_empty()) || found.is_err(), "{found:?}");
        assert!(backup(&broken, &data.path().join("copy.db")).is_err());
    }
}

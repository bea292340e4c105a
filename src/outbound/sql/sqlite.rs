//! A SQLite file as a destination. It belongs to somebody else: nothing of it is set up or changed but rows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params_from_iter};
use serde_json::{Map, Number, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::faults;
use super::table::{Column, Kind, Table, TableName};
use super::{Run, SqlReply, Statement};
use crate::run::Failure;

/// Statements at once. SQLite lets one write at a time anyway.
const CONNECTIONS_MAX: usize = 4;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A SQLite file.
pub struct Sqlite {
    file: Arc<File>,
    free: Arc<Semaphore>,
}

struct File {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// The file at `path`, which must be there when it is first used.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = Arc::new(File { path: path.into(), idle: Mutex::default() });
        Self { file, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// What the table `name` is like; `None`: there is none.
    pub(super) async fn describe(&self, name: &TableName, timeout: Duration) -> Result<Option<Table>, Failure> {
        let name = name.clone();
        self.with(timeout, move |conn| describe(conn, &name)).await
    }

    /// Runs the statements of `run` in one transaction, until one gives rows.
    pub(super) async fn run(&self, run: &Run, timeout: Duration) -> Result<SqlReply, Failure> {
        let run = run.clone();
        self.with(timeout, move |conn| {
            let behaviour = if run.writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
            let transaction = conn.transaction_with_behavior(behaviour)?;
            let mut answer = (run.statements.len().saturating_sub(1), Vec::new());
            for (index, statement) in run.statements.iter().enumerate() {
                let rows = rows(&transaction, statement)?;
                if !rows.is_empty() {
                    answer = (index, rows);
                    break;
                }
            }
            transaction.commit()?;
            let (statement, rows) = answer;
            Ok(SqlReply::Rows { statement, rows, inserted: None })
        })
        .await
    }

    /// Runs `work` on a thread of its own. What takes too long is interrupted and undone, and its end is awaited: so it is
    /// always known what was done.
    async fn with<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + timeout;
        let permit = Arc::clone(&self.free).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(deadline, permit).await else {
            return Err(faults::unreachable("others are writing to it"));
        };
        let file = Arc::clone(&self.file);
        let (interrupt, interruptible) = tokio::sync::oneshot::channel();
        let mut task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut conn = file.connection()?;
            // Nobody listens any more only when the whole action is given up.
            drop(interrupt.send(conn.get_interrupt_handle()));
            let done = work(&mut conn);
            if done.is_ok() {
                file.idle().push(conn);
            }
            done.map_err(|error| faults::of_sqlite(&error))
        });
        let ended = match timeout_at(deadline, &mut task).await {
            Ok(ended) => ended,
            Err(_) => {
                if let Ok(handle) = interruptible.await {
                    handle.interrupt();
                }
                task.await
            }
        };
        ended.unwrap_or_else(|_| Err(Failure::terminal("internal_error", "a statement was broken off")))
    }
}

impl File {
    fn connection(&self) -> Result<Connection, Failure> {
        if let Some(conn) = self.idle().pop() {
            return Ok(conn);
        }
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let conn = Connection::open_with_flags(&self.path, access)?;
            conn.busy_timeout(BUSY_TIMEOUT)?;
            conn.pragma_update(None, "foreign_keys", true)?;
            Ok(conn)
        };
        open().map_err(|error: rusqlite::Error| faults::of_sqlite(&error))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that a statement gives, each an object of its columns.
fn rows(conn: &Connection, statement: &Statement) -> rusqlite::Result<Vec<Value>> {
    let mut prepared = conn.prepare_cached(&statement.text)?;
    let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let parameters = statement.parameters.iter().map(|parameter| Bound(&parameter.value));
    let mut found = prepared.query(params_from_iter(parameters))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut entries = Map::new();
        for (index, name) in names.iter().enumerate() {
            entries.insert(name.clone(), json(row.get_ref(index)?));
        }
        rows.push(Value::Object(entries));
    }
    Ok(rows)
}

/// A parameter.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(SqlValue::Null),
            Value::Bool(truth) => ToSqlOutput::Owned(SqlValue::Integer(i64::from(*truth))),
            Value::Number(number) => ToSqlOutput::Owned(match number.as_i64() {
                Some(whole) => SqlValue::Integer(whole),
                None => SqlValue::Real(number.as_f64().unwrap_or_default()),
            }),
            Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            other => ToSqlOutput::Owned(SqlValue::Text(other.to_string())),
        })
    }
}

/// A stored value. Bytes become hexadecimal text.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(whole) => whole.into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => hex::encode(bytes).into(),
    }
}

fn describe(conn: &Connection, name: &TableName) -> rusqlite::Result<Option<Table>> {
    let schema = name.schema.as_deref().unwrap_or("main");
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    // `hidden` 1 is a virtual table's own; 2 and 3 are computed.
    let mut told = conn.prepare_cached(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1, ?2) \
         WHERE hidden <> 1 ORDER BY cid",
    )?;
    let mut found = told.query((&name.table, schema))?;
    while let Some(row) = found.next()? {
        let (column, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let (pk, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
        if pk > 0 {
            primary.push((pk, column.clone()));
        }
        // An INTEGER PRIMARY KEY numbers itself.
        let is_rowid = pk == 1 && declared.eq_ignore_ascii_case("integer");
        columns.push(Column {
            kind: Kind::of_sqlite(&declared),
            length: length(&declared),
            type_name: declared,
            nullable: !row.get::<_, bool>(2)?,
            has_default: row.get::<_, bool>(3)? || is_rowid,
            generated: hidden != 0,
            name: column,
        });
    }
    if columns.is_empty() {
        return Ok(None);
    }
    primary.sort();
    let primary_key: Vec<String> = primary.into_iter().map(|(_, column)| column).collect();
    let mut unique = unique(conn, name, schema)?;
    if !primary_key.is_empty() && !unique.contains(&primary_key) {
        unique.push(primary_key.clone());
    }
    Ok(Some(Table { columns, primary_key, unique, is_assumed: false }))
}

/// The columns of each unique index that holds for every row.
fn unique(conn: &Connection, name: &TableName, schema: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    let indexes: Vec<String> = conn
        .prepare_cached("SELECT name FROM pragma_index_list(?1, ?2) WHERE \"unique\" AND NOT partial ORDER BY seq")?
        .query_map((&name.table, schema), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut unique = Vec::new();
    for index in indexes {
        let columns: Vec<Option<String>> = conn
            .prepare_cached("SELECT name FROM pragma_index_info(?1, ?2) ORDER BY seqno")?
            .query_map((index, schema), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        // An index over an expression has columns without names.
        unique.extend(columns.into_iter().collect::<Option<Vec<String>>>());
    }
    Ok(unique)
}

/// `varchar(50)`: 50. SQLite does not enforce it, but whoever wrote it meant it.
fn length(declared: &str) -> Option<u32> {
    let (word, rest) = declared.split_once('(')?;
    let is_text = word.to_ascii_uppercase().contains("CHAR");
    rest.trim_end_matches(')').trim().parse().ok().filter(|_| is_text)
}

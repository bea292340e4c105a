//! Tables of somebody else's database as destinations: PostgreSQL and SQLite.
//!
//! Connectors say what is to be done in SQL with parameters; nothing of a lead is ever part of a statement's text. What a
//! table is like is read once and remembered for [`TABLE_REMEMBERED`]. A statement is its own transaction: it was done,
//! or it was not, or (the connection broke behind it) nobody knows.

mod faults;
mod postgres;
mod sqlite;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Reply;
use crate::run::Failure;
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub(crate) use table::quoted;
pub use table::{Column, Kind, Table, TableName};

/// How long it is remembered what a table is like: a column that was added since is seen after it.
pub const TABLE_REMEMBERED: Duration = Duration::from_secs(60);

/// Most tables of one connection that are remembered; then all are forgotten.
const TABLES_MAX: usize = 1_000;

/// Something to ask a database of.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlRequest {
    /// What a table is like.
    Describe(TableName),
    /// Statements.
    Run(Run),
}

/// Statements, of which the first that gives rows is the last: all in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it is for, for recordings: `create`, `get`, …
    pub operation: &'static str,
    /// The entity as the flow names it.
    pub entity: String,
    /// The table, so that what is remembered of it can be forgotten.
    pub table: TableName,
    /// The statements: at least one. PostgreSQL takes exactly one.
    pub statements: Vec<Statement>,
    /// Whether they change anything: without an answer it is not known whether they did.
    pub writes: bool,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// SQL. On PostgreSQL it gives one column of JSON text, and perhaps a boolean: whether the row was inserted.
    pub text: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
}

/// A parameter: fitted to its column already.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The column that it is for.
    pub column: String,
    /// Null, a boolean, a number or a text.
    pub value: Value,
}

/// What a database answered.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlReply {
    /// What the table is like; `None`: there is none.
    Table(Option<Arc<Table>>),
    /// Rows, each an object.
    Rows {
        /// Which statement gave them, from 0; the last one when none did.
        statement: usize,
        /// The rows.
        rows: Vec<Value>,
        /// Whether they were inserted, where the statement tells.
        inserted: Option<bool>,
    },
}

/// A database with its connections.
pub struct Database {
    engine: Engine,
    tables: Mutex<HashMap<TableName, (Instant, Arc<Table>)>>,
}

enum Engine {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

impl Database {
    /// A PostgreSQL database.
    pub fn postgres(postgres: Postgres) -> Self {
        Self { engine: Engine::Postgres(postgres), tables: Mutex::default() }
    }

    /// A SQLite file.
    pub fn sqlite(sqlite: Sqlite) -> Self {
        Self { engine: Engine::Sqlite(sqlite), tables: Mutex::default() }
    }

    /// What `name` is like now, as the database says; `None`: there is no such table.
    pub async fn describe(&self, name: &TableName, timeout: Duration) -> Result<Option<Arc<Table>>, Failure> {
        let found = match &self.engine {
            Engine::Postgres(postgres) => postgres.describe(name, timeout).await?,
            Engine::Sqlite(sqlite) => sqlite.describe(name, timeout).await?,
        };
        let Some(table) = found.map(Arc::new) else { return Ok(None) };
        let mut tables = self.tables();
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(name.clone(), (Instant::now(), Arc::clone(&table)));
        Ok(Some(table))
    }

    pub(super) async fn perform(&self, request: &SqlRequest, timeout: Duration) -> Reply {
        let answer = match request {
            SqlRequest::Describe(name) => match self.remembered(name) {
                Some(table) => Ok(SqlReply::Table(Some(table))),
                None => self.describe(name, timeout).await.map(SqlReply::Table),
            },
            SqlRequest::Run(run) => {
                let answer = match &self.engine {
                    Engine::Postgres(postgres) => postgres.run(run, timeout).await,
                    Engine::Sqlite(sqlite) => sqlite.run(run, timeout).await,
                };
                // The table may have been changed: the next try looks again.
                if answer.is_err() {
                    self.tables().remove(&run.table);
                }
                answer
            }
        };
        answer.map_or_else(Reply::Failed, Reply::Sql)
    }

    fn remembered(&self, name: &TableName) -> Option<Arc<Table>> {
        let tables = self.tables();
        let (read_at, table) = tables.get(name)?;
        (read_at.elapsed() < TABLE_REMEMBERED).then(|| Arc::clone(table))
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, (Instant, Arc<Table>)>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

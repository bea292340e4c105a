//! Filling an empty database with what another one held: one transaction, and nothing is there unless all of it is.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::runtime::Runtime;

use super::care::TABLES;
use super::fault::{Done, Fault, pool_error};
use super::migrate;
use super::open::{OpenOptions, Reach};
use super::rows::get;
use crate::store::copy::{Batch, Copied};
use crate::store::{StoreError, StoreResult};

/// For one batch, and for the last count.
const BATCH_TIMEOUT: Duration = Duration::from_secs(600);

/// A database that is being filled. Dropped before [`Fill::finish`], it is as empty as it was.
pub(in crate::store) struct Fill {
    runtime: Runtime,
    conn: Object,
    /// By table: its columns and their types.
    types: BTreeMap<String, BTreeMap<String, String>>,
}

impl Fill {
    /// Brings the database to our version and begins; refuses one that holds anything.
    pub(in crate::store) fn begin(options: &OpenOptions) -> StoreResult<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unusable(format!("cannot start: {error}")))?;
        let pool = Reach::new(options)?.pool(1)?;
        let conn = runtime.block_on(async {
            let conn = pool.get().await.map_err(|error| pool_error(&error))?;
            migrate::migrate(&conn).await?;
            Ok::<_, StoreError>(conn)
        })?;
        let types = runtime.block_on(opened(&conn)).map_err(|fault| fault.store_error())?;
        Ok(Self { runtime, conn, types })
    }

    /// Writes one batch.
    pub(in crate::store) fn insert(&mut self, batch: &Batch) -> StoreResult<()> {
        let Some(types) = self.types.get(batch.table) else { return Err(unknown(batch.table, "the table")) };
        let (mut columns, mut read, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for column in &batch.columns {
            let kind = types.get(column).ok_or_else(|| unknown(batch.table, column))?;
            columns.push(format!("\"{column}\""));
            read.push(format!("\"{column}\" text"));
            taken.push(match kind.as_str() {
                "uuid" => format!("substr(\"{column}\", 3)::uuid"),
                kind => format!("\"{column}\"::{kind}"),
            });
        }
        if batch.table == "dedupe" {
            // A window that began before all that comes here: only its end counts.
            columns.push("began_at".to_owned());
            taken.push("0".to_owned());
        }
        let sql = format!(
            "INSERT INTO {} ({}) SELECT {} FROM json_to_recordset($1::text::json) AS rows ({})",
            batch.table,
            columns.join(", "),
            taken.join(", "),
            read.join(", "),
        );
        let written = self.runtime.block_on(self.conn.execute(&sql, &[&batch.json]));
        let written = written.map_err(|error| Fault::from(error).store_error())?;
        if written == batch.rows { Ok(()) } else { Err(wrong_count(batch.table, written, batch.rows)) }
    }

    /// How many runs of `flow` may be inside its gate.
    pub(in crate::store) fn gate(&mut self, flow: &str, inside_max: i64) -> StoreResult<()> {
        let sql = "INSERT INTO gates (flow, running, waiting, inside_max) VALUES ($1, 0, 0, $2) \
                   ON CONFLICT (flow) DO UPDATE SET inside_max = excluded.inside_max";
        let written = self.runtime.block_on(self.conn.execute(sql, &[&flow, &inside_max]));
        written.map(drop).map_err(|error| Fault::from(error).store_error())
    }

    /// Compares every table with what was `counted` at the source, and commits.
    pub(in crate::store) fn finish(self, counted: &[Copied]) -> StoreResult<()> {
        self.runtime.block_on(async {
            for Copied { table, rows } in counted {
                let found = count(&self.conn, table).await.map_err(|fault| fault.store_error())?;
                if found != *rows {
                    return Err(wrong_count(table, found, *rows));
                }
            }
            let next = "SELECT setval(pg_get_serial_sequence('flow_texts', 'text_id'), \
                        coalesce((SELECT max(text_id) FROM flow_texts), 0) + 1, false)";
            let done = async {
                self.conn.query_one(next, &[]).await?;
                self.conn.batch_execute("COMMIT").await
            };
            done.await.map_err(|error| Fault::from(error).store_error())
        })
    }
}

/// Begins the transaction; refuses a database with anything in it; the types of all columns.
async fn opened(conn: &Object) -> Done<BTreeMap<String, BTreeMap<String, String>>> {
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = {0}; SET LOCAL idle_in_transaction_session_timeout = {0}; \
         LOCK TABLE runs IN EXCLUSIVE MODE",
        BATCH_TIMEOUT.as_millis()
    );
    conn.batch_execute(&begin).await?;
    for table in TABLES.iter().filter(|table| **table != "meta") {
        if count(conn, table).await? > 0 {
            return Err(Fault::Refused(StoreError::Unusable(format!(
                "the database is not empty ({table}); name one that no leadflow has served from"
            ))));
        }
    }
    // What the migration itself noted stands in nobody's way.
    if count_where(conn, "meta", "k <> 'schema_version'").await? > 0 {
        return Err(Fault::Refused(StoreError::Unusable(
            "the database is not empty (meta): a leadflow has served from it; name another one".to_owned(),
        )));
    }
    let sql = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
               WHERE table_schema = current_schema()";
    let mut types: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for row in conn.query(sql, &[]).await? {
        types.entry(get(&row, 0)?).or_default().insert(get(&row, 1)?, get(&row, 2)?);
    }
    Ok(types)
}

async fn count(conn: &Object, table: &str) -> Done<u64> {
    let own = if table == "meta" { "k <> 'schema_version'" } else { "true" };
    count_where(conn, table, own).await
}

async fn count_where(conn: &Object, table: &str, condition: &str) -> Done<u64> {
    let row = conn.query_one(&format!("SELECT count(*) FROM {table} WHERE {condition}"), &[]).await?;
    Ok(get::<i64>(&row, 0)?.unsigned_abs())
}

fn unknown(table: &str, what: &str) -> StoreError {
    StoreError::Unusable(format!("{table}: {what} is not there on PostgreSQL; nothing was copied"))
}

fn wrong_count(table: &str, found: u64, wanted: u64) -> StoreError {
    StoreError::Unusable(format!("{table}: {found} rows arrived of {wanted}; nothing was copied"))
}

//! Looking after a database: how it stands, and its version.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio::time::timeout;

use super::fault::{Done, pool_error};
use super::open::{OpenOptions, Reach};
use super::rows::get;
use super::{VERSION, migrate};
use crate::store::{StoreError, StoreResult};

/// For one look; a migration has limits of its own.
const LOOK_TIMEOUT: Duration = Duration::from_secs(120);

/// The tables whose rows are counted.
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

/// How a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version of its tables; 0: there are none.
    pub version: i64,
    /// The version that this binary reads and writes.
    pub understood: i64,
    /// Bytes of its tables and indexes.
    pub bytes: u64,
    /// Rows by table; empty while there are none.
    pub rows: Vec<(&'static str, u64)>,
}

/// Looks at the database, whatever version of ours it has. Must not be called from within a runtime.
pub fn standing(options: &OpenOptions) -> StoreResult<Standing> {
    alone(options, async |conn| look(conn).await.map_err(|fault| fault.store_error()))
}

/// Brings the database to the version of this binary; the version that it had. Must not be called from within a runtime.
pub fn migrate(options: &OpenOptions) -> StoreResult<i64> {
    alone(options, async |conn| migrate::migrate(conn).await)
}

fn alone<T>(options: &OpenOptions, work: impl AsyncFnOnce(&Object) -> StoreResult<T>) -> StoreResult<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StoreError::Unusable(format!("cannot start: {error}")))?;
    let pool = Reach::new(options)?.pool(1)?;
    runtime.block_on(async {
        let conn = pool.get().await.map_err(|error| pool_error(&error))?;
        work(&conn).await
    })
}

async fn look(conn: &Object) -> Done<Standing> {
    let looked = async {
        let version = migrate::version(conn).await?;
        let mut standing = Standing { version, understood: VERSION, bytes: 0, rows: Vec::new() };
        if version == 0 {
            return Ok(standing);
        }
        conn.batch_execute(&format!("SET statement_timeout = {}", LOOK_TIMEOUT.as_millis())).await?;
        let size = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_catalog.pg_class \
                    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        standing.bytes = count(get(&conn.query_one(size, &[]).await?, 0)?);
        for table in TABLES {
            let rows = conn.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
            standing.rows.push((table, count(get(&rows, 0)?)));
        }
        Ok(standing)
    };
    let late = || super::fault::Fault::unavailable("the database did not answer in time");
    timeout(LOOK_TIMEOUT, looked).await.unwrap_or_else(|_| Err(late()))
}

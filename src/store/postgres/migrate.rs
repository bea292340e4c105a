//! Brings a database to the version that this binary understands, or says why it cannot be used.
//!
//! `schema_version` in `meta` counts the migrations that were applied. All that are missing are applied in one
//! transaction, under an advisory lock: of several nodes that start together one migrates and the others find it done.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::fault::Fault;
use super::open::SCHEMA;
use crate::store::{StoreError, StoreResult};

/// The migrations, oldest first; the n-th makes version n.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/postgres/0001_initial.sql")];

/// The version that this binary reads and writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// The tables by which a database that was never ours is told from one that is.
const TABLES: &[&str] = &["runs", "steps", "payloads", "flow_texts", "meta", "keys", "nodes", "gates"];

/// Where `meta` keeps the version.
const VERSION_META: &str = "schema_version";

/// The advisory lock of migrations: `LEADFLOW` in ASCII.
const LOCK: i64 = 0x4C45_4144_464C_4F57;

/// How long one node waits for another's migration.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How long one statement of a migration may take.
const STATEMENT_WAIT: Duration = Duration::from_secs(30 * 60);

/// Applies what is missing; the version that was found. A database that is not ours, or newer, is refused untouched.
pub(super) async fn migrate(conn: &ClientWrapper) -> StoreResult<i64> {
    let done = async {
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
             SELECT pg_advisory_xact_lock({LOCK}); SET LOCAL lock_timeout = DEFAULT",
            LOCK_WAIT.as_millis(),
            STATEMENT_WAIT.as_millis(),
        );
        conn.batch_execute(&begin).await?;
        let found = version(conn).await?;
        if found == VERSION {
            conn.batch_execute("COMMIT").await?;
            return Ok(found);
        }
        if found == 0 && schema(conn).await?.is_none() {
            conn.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA}")).await?;
        }
        for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            conn.batch_execute(sql).await?;
        }
        conn.execute(
            "INSERT INTO meta (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
            &[&VERSION_META, &VERSION.to_string()],
        )
        .await?;
        conn.batch_execute("COMMIT").await?;
        tracing::info!(from = found, to = VERSION, "the database was migrated");
        Ok(found)
    };
    done.await.map_err(|fault: Fault| refused(&fault))
}

/// Refuses every version but our own: for commands that work beside a server, which never migrate.
pub(super) async fn require_current(conn: &ClientWrapper) -> StoreResult<()> {
    match version(conn).await.map_err(|fault| refused(&fault))? {
        VERSION => Ok(()),
        0 => Err(StoreError::Unusable("the database is empty; run `leadflow serve` once to set it up".to_owned())),
        found => Err(StoreError::Unusable(format!(
            "the database has version {found} and this leadflow needs version {VERSION}; run its `leadflow store migrate`"
        ))),
    }
}

/// A right that is missing is not healed by waiting.
fn refused(fault: &Fault) -> StoreError {
    match fault {
        Fault::Sql(error) if super::fault::is_refusal(error) => {
            let message = error.as_db_error().map_or_else(String::new, |said| said.message().to_owned());
            StoreError::Unusable(format!(
                "the database refuses: {message}; give its user the right to create a schema (GRANT CREATE ON DATABASE), \
                 or make one for it and name it in store.url (options=-c%20search_path%3DNAME)"
            ))
        }
        fault => fault.store_error(),
    }
}

/// The schema in which the tables lie or will lie; `None`: it is not there yet.
async fn schema(conn: &ClientWrapper) -> Result<Option<String>, Fault> {
    Ok(conn.query_one("SELECT current_schema()::text", &[]).await?.try_get(0)?)
}

/// The version of the database; 0 for one without our tables. Refuses one that is newer or not ours.
pub(super) async fn version(conn: &ClientWrapper) -> Result<i64, Fault> {
    let unusable = |why: String| Err(Fault::Refused(StoreError::Unusable(why)));
    let Some(schema) = schema(conn).await? else {
        let path: String = conn.query_one("SELECT current_setting('search_path')", &[]).await?.try_get(0)?;
        if path == SCHEMA {
            return Ok(0);
        }
        return unusable(format!("there is no schema `{path}` in the database: create it, or change store.url"));
    };
    let encoding: String = conn.query_one("SELECT current_setting('server_encoding')", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        return unusable(format!("the database has the encoding {encoding}; leadflow needs one with UTF8"));
    }
    let found = conn
        .query(
            "SELECT relname::text FROM pg_catalog.pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relname::text = ANY ($1)",
            &[&TABLES],
        )
        .await?;
    let Some(first) = found.first() else { return Ok(0) };
    let foreign = format!(
        "schema `{schema}` has a table `{}` that is not leadflow's: give leadflow a schema of its own \
         (options=-c%20search_path%3DNAME in store.url), or a database",
        first.try_get::<_, &str>(0)?
    );
    let is_ours = found.len() == TABLES.len();
    let row = if is_ours {
        conn.query_opt("SELECT v::text FROM meta WHERE k::text = $1", &[&VERSION_META]).await?
    } else {
        None
    };
    let stored: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    match stored.and_then(|text| text.parse::<i64>().ok()) {
        None => unusable(foreign),
        Some(found) if found > VERSION => unusable(format!(
            "the database was written by a newer leadflow (version {found}, this one understands {VERSION}); use the newer one"
        )),
        Some(found) => Ok(found),
    }
}

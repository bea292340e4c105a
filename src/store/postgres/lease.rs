//! The verbs about lives: heartbeats, leaving, and the rescue of what a life that is over still holds. The database's
//! clock decides, so that nodes need not agree on the time.

use deadpool_postgres::ClientWrapper;

use super::fault::Done;
use super::rows::{get, run_status};
use crate::clock::{Micros, micros};
use crate::run::RunStatus;
use crate::store::standing::CODE_POISON;
use crate::store::{Heartbeat, Life, NodeRow, Rescued, STRIKES_MAX, Term};

/// The database's time, also within a transaction.
const SQL_NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Takes a slice of the runs of lives that are over. The limit is written out: for one that it does not know, the
/// planner would expect a tenth of the table. A walk over what is in work, which the bound on runs in memory keeps short.
pub(super) const SQL_RESCUE: &str = "WITH astray AS MATERIALIZED (SELECT run_id FROM runs \
       WHERE owner IS NOT NULL AND owner <> $1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE node_id = runs.owner) \
       LIMIT 64 FOR NO KEY UPDATE OF runs SKIP LOCKED) \
     UPDATE runs SET owner = NULL, due_at = $2, epoch = epoch + 1, strikes = strikes + 1, \
       status = CASE WHEN strikes >= $3 AND NOT cancel THEN 'held' ELSE 'queued' END, \
       code = CASE WHEN strikes >= $3 AND NOT cancel THEN $4 ELSE code END \
     FROM astray WHERE runs.run_id = astray.run_id RETURNING status";

/// [`Store::now`](crate::store::Store::now).
pub(super) async fn now(conn: &ClientWrapper) -> Done<Micros> {
    get(&conn.query_one(&conn.prepare_cached(SQL_NOW).await?, &[]).await?, 0)
}

/// [`Store::heartbeat`](crate::store::Store::heartbeat). An error leaves the transaction open.
pub(super) async fn beat(conn: &ClientWrapper, life: &Life) -> Done<Heartbeat> {
    let Life { owner, name, version, term, begins } = life;
    conn.batch_execute("BEGIN").await?;
    let now = now(conn).await?;
    let until = match term {
        Term::Alone => None,
        Term::For(term) => Some(now.saturating_add(micros(*term))),
    };
    let mut stands = false;
    if *begins {
        if until.is_none() {
            conn.execute(&conn.prepare_cached("DELETE FROM nodes WHERE node_id <> $1").await?, &[owner]).await?;
        }
        let begin = "INSERT INTO nodes (node_id, name, started_at, lease_until, version) VALUES ($1, $2, $3, $4, $5) \
                    ON CONFLICT (node_id) DO NOTHING";
        let made = conn.execute(&conn.prepare_cached(begin).await?, &[owner, name, &now, &until, version]).await?;
        // One that was made by this very heartbeat stands, even if it may end at once.
        stands = made > 0;
    }
    if !stands {
        let stood = match until {
            None => "SELECT 1 FROM nodes WHERE node_id = $1 AND lease_until IS NULL",
            // Waits for a rescue that is just ending this life, and finds no row then.
            Some(_) => {
                "UPDATE nodes SET lease_until = $2 \
                 WHERE node_id = $1 AND (lease_until IS NULL OR lease_until > $3) RETURNING 1"
            }
        };
        let statement = conn.prepare_cached(stood).await?;
        let found = match until {
            None => conn.query_opt(&statement, &[owner]).await?,
            Some(until) => conn.query_opt(&statement, &[owner, &until, &now]).await?,
        };
        stands = found.is_some();
    }
    conn.batch_execute("COMMIT").await?;
    Ok(Heartbeat { stands, now })
}

/// [`Store::leave`](crate::store::Store::leave).
pub(super) async fn leave(conn: &ClientWrapper, owner: &str) -> Done<()> {
    conn.execute(&conn.prepare_cached("DELETE FROM nodes WHERE node_id = $1").await?, &[&owner]).await?;
    Ok(())
}

/// Ends every other life whose lease has expired: from here on it cannot be renewed.
pub(super) async fn end_expired(conn: &ClientWrapper, owner: &str) -> Done<()> {
    let now = now(conn).await?;
    let end = conn.prepare_cached("DELETE FROM nodes WHERE node_id <> $1 AND lease_until <= $2").await?;
    conn.execute(&end, &[&owner, &now]).await?;
    Ok(())
}

/// One slice of [`Store::rescue`](crate::store::Store::rescue). A run that is to be cancelled is not held: cancelling
/// it starts nothing that could kill the process once more.
pub(super) async fn rescue_slice(conn: &ClientWrapper, owner: &str, now: Micros) -> Done<Rescued> {
    let statement = conn.prepare_cached(SQL_RESCUE).await?;
    let strikes = i64::from(STRIKES_MAX);
    let mut rescued = Rescued::default();
    for row in conn.query(&statement, &[&owner, &now, &strikes, &CODE_POISON]).await? {
        rescued.runs += 1;
        rescued.held += u64::from(run_status(&row, 0)? == RunStatus::Held);
    }
    Ok(rescued)
}

/// [`Store::nodes`](crate::store::Store::nodes).
pub(super) async fn nodes(conn: &ClientWrapper) -> Done<Vec<NodeRow>> {
    let sql = "SELECT node_id, name, started_at, lease_until, version FROM nodes ORDER BY node_id";
    let rows = conn.query(&conn.prepare_cached(sql).await?, &[]).await?;
    let node = |row| {
        Ok(NodeRow {
            owner: get(row, 0)?,
            name: get(row, 1)?,
            started_at: get(row, 2)?,
            lease_until: get(row, 3)?,
            version: get(row, 4)?,
        })
    };
    rows.iter().map(node).collect()
}

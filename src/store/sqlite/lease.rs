//! The verbs about lives: heartbeats, leaving, and the rescue of what a life that is over still holds.

use rusqlite::{Connection, OptionalExtension, params};

use super::claim::SLICE_ROWS;
use super::queue::Class;
use super::rows;
use super::writer::{Applied, Verb};
use crate::clock::{Clock as _, Micros, SystemClock, micros};
use crate::run::RunStatus;
use crate::store::standing::CODE_POISON;
use crate::store::{Heartbeat, Life, NodeRow, Owner, Rescued, STRIKES_MAX, Term};

/// Runs of lives that are over: a walk over what is in work, which the bound on runs in memory keeps short.
pub(super) const SQL_ASTRAY: &str = "SELECT run_id FROM runs INDEXED BY runs_owned \
     WHERE owner IS NOT NULL AND owner <> ?1 AND owner NOT IN (SELECT node_id FROM nodes) LIMIT ?2";

/// [`Store::heartbeat`](crate::store::Store::heartbeat).
pub(super) struct Beat(pub(super) Life);

impl Verb for Beat {
    type Answer = Heartbeat;
    const CLASS: Class = Class::Claim;

    fn apply(&self, conn: &Connection) -> Applied<Heartbeat> {
        let Life { owner, name, version, term, begins } = &self.0;
        let now = SystemClock.now();
        let until = match term {
            Term::Alone => None,
            Term::For(term) => Some(now.saturating_add(micros(*term))),
        };
        if *begins {
            if *term == Term::Alone {
                conn.prepare_cached("DELETE FROM nodes WHERE node_id <> ?1")?.execute([owner])?;
            }
            conn.prepare_cached(
                "INSERT INTO nodes (node_id, name, started_at, lease_until, version) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (node_id) DO NOTHING",
            )?
            .execute(params![owner, name, now, until, version])?;
        }
        let stands = match until {
            // Nothing to write: a server at rest leaves the disk alone.
            None => is_alone(conn, owner)?,
            Some(until) => renew(conn, owner, until, now, *begins)?,
        };
        Ok(Heartbeat { stands, now })
    }
}

/// Whether the lease stood, and now stands until `until`. One that was made by this very heartbeat may end at once.
fn renew(conn: &Connection, owner: &str, until: Micros, now: Micros, begins: bool) -> rusqlite::Result<bool> {
    let renewed = conn
        .prepare_cached(
            "UPDATE nodes SET lease_until = ?2 \
             WHERE node_id = ?1 AND (lease_until IS NULL OR lease_until > ?3 OR (?4 AND started_at = ?3))",
        )?
        .execute((owner, until, now, begins))?;
    Ok(renewed > 0)
}

fn is_alone(conn: &Connection, owner: &str) -> rusqlite::Result<bool> {
    let found = conn
        .prepare_cached("SELECT 1 FROM nodes WHERE node_id = ?1 AND lease_until IS NULL")?
        .query_row([owner], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// [`Store::leave`](crate::store::Store::leave).
pub(super) struct Leave {
    /// The life that ends.
    pub(super) owner: Owner,
}

impl Verb for Leave {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        conn.prepare_cached("DELETE FROM nodes WHERE node_id = ?1")?.execute([&self.owner])?;
        Ok(())
    }
}

/// Ends every other life whose lease has expired: from here on it cannot be renewed.
pub(super) struct EndExpired {
    /// The life that asks.
    pub(super) owner: Owner,
}

impl Verb for EndExpired {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        conn.prepare_cached("DELETE FROM nodes WHERE node_id <> ?1 AND lease_until <= ?2")?
            .execute((&self.owner, SystemClock.now()))?;
        Ok(())
    }
}

/// One slice of [`Store::rescue`](crate::store::Store::rescue). A run that is to be cancelled is not held: cancelling
/// it starts nothing that could kill the process once more.
pub(super) struct RescueSlice {
    /// The life whose runs are left alone.
    pub(super) owner: Owner,
    /// When the others become due.
    pub(super) now: Micros,
}

impl Verb for RescueSlice {
    type Answer = Rescued;
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<Rescued> {
        let mut statement = conn.prepare_cached(&format!(
            "UPDATE runs SET owner = NULL, due_at = ?5, epoch = epoch + 1, strikes = strikes + 1, \
               status = iif(strikes >= ?3 AND NOT cancel, 'held', 'queued'), \
               code = iif(strikes >= ?3 AND NOT cancel, ?4, code) \
             WHERE run_id IN ({SQL_ASTRAY}) \
             RETURNING status"
        ))?;
        let mut rescued = Rescued::default();
        let parameters = params![self.owner, SLICE_ROWS as i64, STRIKES_MAX, CODE_POISON, self.now];
        for status in statement.query_map(parameters, |row| rows::run_status(row, 0))? {
            rescued.runs += 1;
            rescued.held += u64::from(status? == RunStatus::Held);
        }
        Ok(rescued)
    }
}

/// [`Store::nodes`](crate::store::Store::nodes).
pub(super) fn nodes(conn: &Connection) -> rusqlite::Result<Vec<NodeRow>> {
    conn.prepare_cached("SELECT node_id, name, started_at, lease_until, version FROM nodes ORDER BY node_id")?
        .query_map([], |row| {
            Ok(NodeRow {
                owner: row.get(0)?,
                name: row.get(1)?,
                started_at: row.get(2)?,
                lease_until: row.get(3)?,
                version: row.get(4)?,
            })
        })?
        .collect()
}

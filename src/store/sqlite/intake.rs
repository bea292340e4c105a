//! The verb that takes a request in: duplicates, the gate, and every run of it in one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::Class;
use super::rows;
use super::write::insert_run;
use super::writer::{Applied, Verb};
use crate::ids::RunId;
use crate::store::standing::{self, Passage, Standing};
use crate::store::{Arrival, DedupeKey, Gate, Intake, NewRun, Taken};

/// [`Store::take_in`](crate::store::Store::take_in).
pub(super) struct TakeIn(pub(super) Vec<Arrival>);

impl Verb for TakeIn {
    type Answer = Intake;
    const CLASS: Class = Class::Accept;

    fn apply(&self, conn: &Connection) -> Applied<Intake> {
        let may_be_refused = self.0.iter().any(|arrival| arrival.gate.is_some());
        if !may_be_refused {
            return Ok(Intake::Taken(self.take(conn)?.unwrap_or_default()));
        }
        // All or none: what was written before the gate was found full goes, and its neighbours in the group stay.
        conn.prepare_cached("SAVEPOINT intake")?.execute([])?;
        let taken = self.take(conn)?;
        if taken.is_none() {
            conn.prepare_cached("ROLLBACK TO intake")?.execute([])?;
        }
        conn.prepare_cached("RELEASE intake")?.execute([])?;
        Ok(taken.map_or(Intake::Full, Intake::Taken))
    }
}

impl TakeIn {
    /// What became of each; `None`: the gate is full.
    fn take(&self, conn: &Connection) -> rusqlite::Result<Option<Vec<Taken>>> {
        let firsts = self.firsts(conn)?;
        let mut taken = Vec::with_capacity(self.0.len());
        for (arrival, first) in self.0.iter().zip(firsts) {
            let new = &arrival.new;
            let (standing, became) = match (first, arrival.gate) {
                (Some(of), _) => (Standing::Duplicate(of), Taken::Duplicate { of }),
                (None, None) => (Standing::plain(&new.run), Taken::Stored),
                (None, Some(gate)) => match pass(conn, new, gate)? {
                    Passage::Inside => (Standing::Inside, Taken::Stored),
                    Passage::Waits => (Standing::Waits, Taken::Waits),
                    Passage::Full => return Ok(None),
                },
            };
            insert_run(conn, new, standing)?;
            if let (Standing::Waits, Some(gate)) = (standing, arrival.gate) {
                conn.prepare_cached("UPDATE gates SET inside_max = ?2 WHERE flow = ?1 AND inside_max IS NOT ?2")?
                    .execute((&new.run.flow, gate.runs))?;
            }
            taken.push(became);
        }
        Ok(Some(taken))
    }

    /// For each arrival the run that came first with its key, unless it is the first itself. In the order of the keys,
    /// so that two databases' transactions never wait for each other in a circle; of equal keys the earlier arrival is
    /// the first.
    fn firsts(&self, conn: &Connection) -> rusqlite::Result<Vec<Option<RunId>>> {
        let mut keyed: Vec<(DedupeKey, usize)> =
            self.0.iter().enumerate().filter_map(|(at, arrival)| Some((arrival.dedupe?, at))).collect();
        keyed.sort_by_key(|(key, at)| (key.hash, *at));
        let mut firsts = vec![None; self.0.len()];
        for (key, at) in keyed {
            firsts[at] = first_with(conn, &self.0[at].new, key)?;
        }
        Ok(firsts)
    }
}

/// The other run that holds the key, if one does within its window. A repeat of the same run holds it itself.
fn first_with(conn: &Connection, new: &NewRun, key: DedupeKey) -> rusqlite::Result<Option<RunId>> {
    let held = conn
        .prepare_cached(
            "INSERT INTO dedupe (flow, key_hash, run_id, expires_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (flow, key_hash) DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at \
             WHERE dedupe.expires_at <= ?5 OR dedupe.run_id = excluded.run_id RETURNING run_id",
        )?
        .query_row(
            params![new.run.flow, key.hash, new.run.run_id.bytes(), key.expires_at, new.run.received_at],
            |row| rows::run_id(row, 0),
        )
        .optional()?;
    if held.is_some() {
        return Ok(None);
    }
    conn.prepare_cached("SELECT run_id FROM dedupe WHERE flow = ?1 AND key_hash = ?2")?
        .query_row(params![new.run.flow, key.hash], |row| rows::run_id(row, 0))
        .optional()
}

/// What the gate says to the run, as its counters stand.
fn pass(conn: &Connection, new: &NewRun, gate: Gate) -> rusqlite::Result<Passage> {
    let (running, waiting): (i64, i64) = conn
        .prepare_cached("SELECT running, waiting FROM gates WHERE flow = ?1")?
        .query_row([&new.run.flow], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or_default();
    Ok(standing::pass(gate, running, waiting))
}

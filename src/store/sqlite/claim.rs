//! The verbs that hand runs out and let them go: claim, release.

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::{Class, Job};
use super::writer::{Applied, Request, Verb};
use super::{read, rows};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::standing::CODE_UNREADABLE;
use crate::store::{LaneWant, Owner, SUSPECT_STRIKES, StoredRun, gated_flow};

/// Runs that one slice of maintenance touches: about a millisecond.
pub(super) const SLICE_ROWS: usize = 64;

/// What may be claimed, oldest due first, without suspects.
pub(super) const SQL_DUE: &str = "SELECT run_id FROM runs INDEXED BY runs_due \
     WHERE lane = ?1 AND due_at <= ?2 AND finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes < ?4 \
     ORDER BY due_at, rowid LIMIT ?3";

/// The suspect that is due first. The number of strikes is written out, as in the index that serves it.
pub(super) const SQL_SUSPECT: &str = "SELECT run_id FROM runs INDEXED BY runs_suspect \
     WHERE lane = ?1 AND due_at <= ?2 AND finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes >= 3 \
     ORDER BY due_at, rowid LIMIT 1";

/// Whether a suspect is in work.
pub(super) const SQL_SUSPECT_IN_WORK: &str = "SELECT EXISTS (SELECT 1 FROM runs INDEXED BY runs_suspect_owned \
     WHERE owner IS NOT NULL AND finished_at IS NULL AND strikes >= 3)";

const _: () = assert!(SUSPECT_STRIKES == 3, "the suspects' indexes and queries have the number written out");

/// [`Store::claim`](crate::store::Store::claim).
pub(super) struct Claim {
    /// Who takes them.
    pub(super) owner: Owner,
    /// From which lanes, how many.
    pub(super) wants: Vec<LaneWant>,
    /// What is due.
    pub(super) now: Micros,
}

impl Verb for Claim {
    type Answer = Vec<StoredRun>;
    const CLASS: Class = Class::Claim;

    fn apply(&self, conn: &Connection) -> Applied<Vec<StoredRun>> {
        let mut claimed = Vec::new();
        let mut suspect_in_work: bool = conn.prepare_cached(SQL_SUSPECT_IN_WORK)?.query_row([], |row| row.get(0))?;
        for want in &self.wants {
            let max = room(conn, want)?;
            if max == 0 {
                continue;
            }
            let mut due: Vec<RunId> = conn
                .prepare_cached(SQL_DUE)?
                .query_map(params![want.lane, self.now, max as i64, SUSPECT_STRIKES], |row| rows::run_id(row, 0))?
                .collect::<Result<_, _>>()?;
            if !suspect_in_work {
                let suspect = conn
                    .prepare_cached(SQL_SUSPECT)?
                    .query_row(params![want.lane, self.now], |row| rows::run_id(row, 0))
                    .optional()?;
                if let Some(suspect) = suspect {
                    suspect_in_work = true;
                    // Ahead of the others: a slot is always left for it, or a long queue would starve it.
                    due.truncate(max - 1);
                    due.push(suspect);
                }
            }
            for run in due {
                claimed.extend(self.take(conn, run)?);
            }
        }
        Ok(claimed)
    }

    /// Whoever asked has gone: without this, the runs would wait for the next start.
    fn undelivered(&self, runs: Vec<StoredRun>) -> Option<Box<dyn Job>> {
        let runs: Vec<(RunId, i64)> = runs.iter().map(|stored| (stored.run.run_id, stored.run.epoch)).collect();
        (!runs.is_empty()).then(|| Request::unattended(Return { owner: self.owner.clone(), runs }))
    }
}

/// How many runs may be taken from the lane now.
fn room(conn: &Connection, want: &LaneWant) -> rusqlite::Result<usize> {
    let (Some(flow), Some(inside_max)) = (gated_flow(&want.lane), want.gate) else { return Ok(want.max) };
    let inside: Option<i64> = conn
        .prepare_cached("SELECT running FROM gates WHERE flow = ?1")?
        .query_row([flow], |row| row.get(0))
        .optional()?;
    let free = i64::from(inside_max).saturating_sub(inside.unwrap_or(0));
    Ok(want.max.min(usize::try_from(free).unwrap_or(0)))
}

impl Claim {
    fn take(&self, conn: &Connection, run: RunId) -> rusqlite::Result<Option<StoredRun>> {
        let mut stored = match read::stored_run(conn, run) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            Err(rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)) => {
                tracing::error!(%run, "a stored run cannot be read; it is held as `{CODE_UNREADABLE}`");
                conn.prepare_cached("UPDATE runs SET status = 'held', code = ?2 WHERE run_id = ?1")?
                    .execute((run.bytes(), CODE_UNREADABLE))?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Once inside, a run is in no lane: whatever becomes of this claim, it needs no second passage.
        conn.prepare_cached(
            "UPDATE runs SET owner = ?2, epoch = epoch + 1, status = 'running', \
               lane = iif(gate = 0 AND ?3, '', lane), gate = iif(gate = 0 AND ?3, 1, gate) WHERE run_id = ?1",
        )?
        .execute((run.bytes(), &self.owner, gated_flow(&stored.run.lane).is_some()))?;
        stored.run.owner = Some(self.owner.clone());
        stored.run.epoch += 1;
        stored.run.status = RunStatus::Running;
        Ok(Some(stored))
    }
}

/// Gives claimed runs back that nobody received.
struct Return {
    owner: Owner,
    runs: Vec<(RunId, i64)>,
}

impl Verb for Return {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        for (run, epoch) in &self.runs {
            conn.prepare_cached(
                "UPDATE runs SET owner = NULL, status = 'queued' WHERE run_id = ?1 AND owner = ?2 AND epoch = ?3",
            )?
            .execute((run.bytes(), &self.owner, epoch))?;
        }
        Ok(())
    }
}

/// One slice of [`Store::release_held`](crate::store::Store::release_held); answers how many runs it released. Whoever
/// releases a run trusts it again: its strikes are forgotten.
pub(super) struct ReleaseSlice {
    /// Why they are held.
    pub(super) code: String,
    /// In which lane; `None`: in any.
    pub(super) lane: Option<String>,
    /// When they become due.
    pub(super) now: Micros,
}

impl Verb for ReleaseSlice {
    type Answer = usize;
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<usize> {
        let parameters = params![self.code, self.lane, self.now, SLICE_ROWS as i64];
        Ok(conn
            .prepare_cached(
                "UPDATE runs SET status = 'queued', code = NULL, due_at = ?3, strikes = 0 \
                 WHERE run_id IN (SELECT run_id FROM runs INDEXED BY runs_status \
                                  WHERE status = 'held' AND code = ?1 AND owner IS NULL AND (?2 IS NULL OR lane = ?2) \
                                  ORDER BY run_id LIMIT ?4)",
            )?
            .execute(parameters)?)
    }
}

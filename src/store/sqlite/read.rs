//! The reading queries about runs. Each is short, and long walks are paged by run id, so that no read keeps the WAL long.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, IO_COLUMN, RUN_COLUMNS, STEP_COLUMNS};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::find::{IdPart, newest};
use crate::store::{LaneState, RunFilter, StepIo, StepRow, StoredRun};

/// Due runs of a lane are counted up to this.
const DUE_COUNTED_MAX: i64 = 10_000;

/// Ids that one page of a walk over all runs looks at: some ten milliseconds.
const WALK_ROWS: usize = 100_000;

/// The lanes in which something waits, one step from lane to lane whatever waits in them.
pub(super) const SQL_LANES: &str = "WITH RECURSIVE lanes (lane) AS ( \
       SELECT min(lane) FROM runs INDEXED BY runs_due \
       WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' \
     UNION ALL \
       SELECT (SELECT min(runs.lane) FROM runs INDEXED BY runs_due WHERE runs.lane > lanes.lane \
               AND finished_at IS NULL AND owner IS NULL AND status <> 'held') \
       FROM lanes WHERE lanes.lane IS NOT NULL) \
     SELECT lane, \
       (SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_due WHERE runs.lane = lanes.lane AND due_at <= ?1 \
         AND finished_at IS NULL AND owner IS NULL AND status <> 'held' LIMIT ?2)), \
       (SELECT min(due_at) FROM runs INDEXED BY runs_due WHERE runs.lane = lanes.lane AND due_at > ?1 \
         AND finished_at IS NULL AND owner IS NULL AND status <> 'held'), \
       coalesce((SELECT running FROM gates WHERE substr(lanes.lane, 1, 1) = '=' AND flow = substr(lanes.lane, 2)), 0), \
       (SELECT inside_max FROM gates WHERE substr(lanes.lane, 1, 1) = '=' AND flow = substr(lanes.lane, 2)) \
     FROM lanes WHERE lane IS NOT NULL";

/// A page of all runs.
pub(super) const SQL_LIST: &str = "SELECT run_id FROM runs WHERE run_id < ?1 ORDER BY run_id DESC LIMIT ?2";

/// A page of the runs with one status.
pub(super) const SQL_LIST_STATUS: &str = "SELECT run_id FROM runs INDEXED BY runs_status \
     WHERE status = ?3 AND run_id < ?1 ORDER BY run_id DESC LIMIT ?2";

/// A page of the runs of a flow with one status.
pub(super) const SQL_LIST_FLOW: &str = "SELECT run_id FROM runs INDEXED BY runs_flow \
     WHERE flow = ?4 AND status = ?3 AND run_id < ?1 ORDER BY run_id DESC LIMIT ?2";

/// Unfinished runs of a flow.
pub(super) const SQL_UNFINISHED: &str = "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_flow \
     WHERE flow = ?1 AND status IN ('queued', 'running', 'waiting', 'held') LIMIT ?2)";

/// Cancel requests for the runs of an owner.
pub(super) const SQL_CANCEL_REQUESTS: &str =
    "SELECT run_id FROM runs INDEXED BY runs_owned WHERE owner = ?1 AND cancel = 1";

/// Runs of an owner.
pub(super) const SQL_OWNED: &str = "SELECT run_id FROM runs INDEXED BY runs_owned WHERE owner = ?1 LIMIT ?2";

/// Runs by status.
pub(super) const SQL_COUNTS: &str = "SELECT status, count(*) FROM runs INDEXED BY runs_status GROUP BY status";

/// One run with its trigger and steps.
pub(super) fn stored_run(conn: &Connection, run: RunId) -> rusqlite::Result<Option<StoredRun>> {
    let row = conn
        .prepare_cached(&format!("SELECT {RUN_COLUMNS}, \"trigger\" FROM runs WHERE run_id = ?1"))?
        .query_row([run.bytes()], |row| rows::run_row(conn, row, true))
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(StoredRun { run: row, steps: steps(conn, run)? }))
}

fn steps(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<StepRow>> {
    conn.prepare_cached(&format!("SELECT {STEP_COLUMNS}, io FROM steps WHERE run_id = ?1 ORDER BY idx, name"))?
        .query_map([run.bytes()], |row| rows::step_row(row, rows::io(conn, run, row, IO_COLUMN)?))?
        .collect()
}

/// The steps of a run in a list: iterations are counted together, or one long loop would outweigh the whole list.
fn listed_steps(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<StepRow>> {
    conn.prepare_cached(&format!(
        "SELECT {STEP_COLUMNS} FROM steps WHERE run_id = ?1 AND idx = '' \
         UNION ALL \
         SELECT min(idx), name, status, max(attempt), min(due_at), min(started_at), max(finished_at), NULL, \
           max(flags) FROM steps WHERE run_id = ?1 AND idx > '' GROUP BY name, status \
         ORDER BY 1, 2"
    ))?
    .query_map([run.bytes()], |row| rows::step_row(row, StepIo::default()))?
    .collect()
}

/// [`Store::list_runs`](crate::store::Store::list_runs).
pub(super) fn list_runs(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<StoredRun>> {
    let mut ids = Vec::new();
    if filter.flow.is_none() && filter.statuses.is_empty() {
        ids = page(conn, filter, None)?;
    } else {
        let statuses = if filter.statuses.is_empty() { &RunStatus::ALL[..] } else { &filter.statuses };
        // Each status is a range of an index in the order wanted: the newest of all are among the newest of each.
        for status in statuses {
            ids.extend(page(conn, filter, Some(*status))?);
        }
        newest(&mut ids, filter.limit);
    }
    let mut statement = conn.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?1"))?;
    let mut runs = Vec::with_capacity(ids.len());
    for id in ids {
        let run = statement.query_row([id.bytes()], |row| rows::run_row(conn, row, false)).optional()?;
        if let Some(run) = run {
            runs.push(StoredRun { run, steps: listed_steps(conn, id)? });
        }
    }
    Ok(runs)
}

fn page(conn: &Connection, filter: &RunFilter, status: Option<RunStatus>) -> rusqlite::Result<Vec<RunId>> {
    let before = filter.before.unwrap_or(RunId::from_bytes([0xFF; 16]));
    let (before, limit) = (before.bytes(), filter.limit as i64);
    let id = |row: &rusqlite::Row<'_>| rows::run_id(row, 0);
    match (status.map(RunStatus::as_str), &filter.flow) {
        (None, _) => conn.prepare_cached(SQL_LIST)?.query_map(params![before, limit], id)?.collect(),
        (Some(status), None) => {
            conn.prepare_cached(SQL_LIST_STATUS)?.query_map(params![before, limit, status], id)?.collect()
        }
        (Some(status), Some(flow)) => {
            conn.prepare_cached(SQL_LIST_FLOW)?.query_map(params![before, limit, status, flow], id)?.collect()
        }
    }
}

/// The runs that start with `part`, newest first.
pub(super) fn prefixed(conn: &Connection, part: &IdPart, limit: usize) -> rusqlite::Result<Vec<RunId>> {
    let (low, high) = part.range();
    conn.prepare_cached("SELECT run_id FROM runs WHERE run_id BETWEEN ?1 AND ?2 ORDER BY run_id DESC LIMIT ?3")?
        .query_map(params![low.bytes(), high.bytes(), limit as i64], |row| rows::run_id(row, 0))?
        .collect()
}

/// One page of the walk over all runs for those that end with `part`.
pub(super) struct SuffixPage {
    /// What was found, newest first.
    pub(super) found: Vec<RunId>,
    /// Where the next page goes on; `None` at the end.
    pub(super) next: Option<RunId>,
}

/// Looks at the runs older than `before` for those that end with `part`.
pub(super) fn suffixed(conn: &Connection, part: &IdPart, before: RunId) -> rusqlite::Result<SuffixPage> {
    let mut statement = conn.prepare_cached(SQL_LIST)?;
    let mut rows = statement.query(params![before.bytes(), WALK_ROWS as i64])?;
    let (mut found, mut seen, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let id = rows::run_id(row, 0)?;
        seen += 1;
        last = Some(id);
        if part.ends(id) {
            found.push(id);
        }
    }
    Ok(SuffixPage { found, next: last.filter(|_| seen == WALK_ROWS) })
}

/// [`Store::lanes`](crate::store::Store::lanes).
pub(super) fn lanes(conn: &Connection, now: Micros) -> rusqlite::Result<Vec<LaneState>> {
    conn.prepare_cached(SQL_LANES)?
        .query_map((now, DUE_COUNTED_MAX), |row| {
            let count = |at: usize| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0));
            let (lane, due, next_due_at) = (row.get(0)?, count(1)?, row.get(2)?);
            Ok(LaneState { lane, due, next_due_at, inside: count(3)?, inside_max: row.get(4)? })
        })?
        .collect()
}

/// [`Store::unfinished`](crate::store::Store::unfinished).
pub(super) fn unfinished(conn: &Connection, flow: &str, cap: u64) -> rusqlite::Result<u64> {
    let cap = i64::try_from(cap).unwrap_or(i64::MAX);
    conn.prepare_cached(SQL_UNFINISHED)?.query_row((flow, cap), |row| Ok(row.get::<_, i64>(0)? as u64))
}

/// [`Store::cancel_requests`](crate::store::Store::cancel_requests).
pub(super) fn cancel_requests(conn: &Connection, owner: &str) -> rusqlite::Result<Vec<RunId>> {
    conn.prepare_cached(SQL_CANCEL_REQUESTS)?.query_map([owner], |row| rows::run_id(row, 0))?.collect()
}

/// [`Store::owned`](crate::store::Store::owned).
pub(super) fn owned(conn: &Connection, owner: &str, limit: usize) -> rusqlite::Result<Vec<RunId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(SQL_OWNED)?.query_map((owner, limit), |row| rows::run_id(row, 0))?.collect()
}

/// [`Store::counts`](crate::store::Store::counts).
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<Vec<(RunStatus, u64)>> {
    conn.prepare_cached(SQL_COUNTS)?
        .query_map([], |row| Ok((rows::run_status(row, 0)?, row.get::<_, i64>(1)? as u64)))?
        .collect()
}

//! The reading queries about runs. All statements of one read see the same state: a run with its steps is never half of
//! one commit and half of another.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;

use super::fault::Done;
use super::rows::{self, Payloads, RUN_COLUMNS, STEP_COLUMNS, count, get, run_id, run_status, uuid};
use super::send::query;
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::find::IdPart;
use crate::store::values;
use crate::store::{LaneState, RunFilter, StepIo, StepRow, StoredRun};

/// Begins a read of several statements.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Due runs of a lane are counted up to this.
const DUE_COUNTED_MAX: i64 = 10_000;

/// Ids that one page of a walk over all runs looks at: some ten milliseconds.
const WALK_ROWS: i64 = 20_000;

/// The lanes in which something waits, one step from lane to lane whatever waits in them.
pub(super) const SQL_LANES: &str = "WITH RECURSIVE lanes (lane) AS ( \
       (SELECT lane FROM runs WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' ORDER BY lane LIMIT 1) \
     UNION ALL \
       SELECT (SELECT runs.lane FROM runs WHERE runs.lane > lanes.lane \
               AND finished_at IS NULL AND owner IS NULL AND status <> 'held' ORDER BY runs.lane LIMIT 1) \
       FROM lanes WHERE lanes.lane IS NOT NULL) \
     SELECT lane, \
       (SELECT count(*) FROM (SELECT 1 FROM runs WHERE runs.lane = lanes.lane AND due_at <= $1 \
         AND finished_at IS NULL AND owner IS NULL AND status <> 'held' LIMIT $2) AS due), \
       (SELECT due_at FROM runs WHERE runs.lane = lanes.lane AND due_at > $1 \
         AND finished_at IS NULL AND owner IS NULL AND status <> 'held' ORDER BY due_at LIMIT 1), \
       coalesce((SELECT running FROM gates WHERE left(lanes.lane, 1) = '=' AND flow = substr(lanes.lane, 2)), 0), \
       (SELECT inside_max FROM gates WHERE left(lanes.lane, 1) = '=' AND flow = substr(lanes.lane, 2)) \
     FROM lanes WHERE lane IS NOT NULL";

/// A page of all runs.
pub(super) const SQL_LIST: &str = "SELECT run_id FROM runs WHERE run_id < $1 ORDER BY run_id DESC LIMIT $2";

/// A page of the runs with some statuses. Each status is a range of an index in the order wanted: the newest of all are
/// among the newest of each.
pub(super) const SQL_LIST_STATUS: &str = "SELECT page.run_id FROM unnest($3::text[]) AS s (status) \
     CROSS JOIN LATERAL (SELECT run_id FROM runs WHERE runs.status = s.status COLLATE \"C\" AND run_id < $1 \
       ORDER BY run_id DESC LIMIT $2) AS page ORDER BY page.run_id DESC LIMIT $2";

/// A page of the runs of a flow with some statuses.
pub(super) const SQL_LIST_FLOW: &str = "SELECT page.run_id FROM unnest($3::text[]) AS s (status) \
     CROSS JOIN LATERAL (SELECT run_id FROM runs WHERE flow = $4 AND runs.status = s.status COLLATE \"C\" \
       AND run_id < $1 ORDER BY run_id DESC LIMIT $2) AS page ORDER BY page.run_id DESC LIMIT $2";

/// Unfinished runs of a flow.
pub(super) const SQL_UNFINISHED: &str = "SELECT count(*) FROM (SELECT 1 FROM runs \
     WHERE flow = $1 AND status IN ('queued', 'running', 'waiting', 'held') LIMIT $2) AS unfinished";

/// Cancel requests for the runs of an owner.
pub(super) const SQL_CANCEL_REQUESTS: &str = "SELECT run_id FROM runs WHERE owner = $1 AND cancel";

/// Runs of an owner.
pub(super) const SQL_OWNED: &str = "SELECT run_id FROM runs WHERE owner = $1 LIMIT $2";

/// Runs by status.
pub(super) const SQL_COUNTS: &str = "SELECT status, count(*) FROM runs GROUP BY status";

/// The runs whose ids lie in a range.
pub(super) const SQL_PREFIXED: &str =
    "SELECT run_id FROM runs WHERE run_id BETWEEN $1 AND $2 ORDER BY run_id DESC LIMIT $3";

/// Of a page of all runs: those that end with the digits, how many there are, and the oldest.
const SQL_SUFFIXED: &str = "WITH page AS MATERIALIZED \
       (SELECT run_id FROM runs WHERE run_id < $1 ORDER BY run_id DESC LIMIT $2) \
     SELECT array(SELECT run_id FROM page WHERE right(replace(run_id::text, '-', ''), length($3)) = $3), \
       (SELECT count(*) FROM page), (SELECT run_id FROM page ORDER BY run_id LIMIT 1)";

/// One run with its trigger and steps.
pub(super) async fn stored_run(conn: &ClientWrapper, run: RunId) -> Done<Option<StoredRun>> {
    let id = uuid(run);
    let runs = format!("SELECT {RUN_COLUMNS}, \"trigger\" FROM runs WHERE run_id = $1");
    let steps = format!("SELECT {STEP_COLUMNS}, io FROM steps WHERE run_id = $1 ORDER BY idx, name");
    let payloads = format!("SELECT {} FROM payloads WHERE run_id = $1", Payloads::COLUMNS);
    let (runs, steps, payloads) =
        (conn.prepare_cached(&runs).await?, conn.prepare_cached(&steps).await?, conn.prepare_cached(&payloads).await?);
    let (begun, runs, steps, payloads, ended) = tokio::join!(
        biased;
        conn.batch_execute(BEGIN),
        query(conn, &runs, vec![&id]),
        query(conn, &steps, vec![&id]),
        query(conn, &payloads, vec![&id]),
        conn.batch_execute("COMMIT"),
    );
    begun?;
    let (row, steps, payloads) = (runs?, steps?, Payloads::read(&payloads?)?);
    ended?;
    let Some(row) = row.first() else { return Ok(None) };
    let steps: Done<Vec<StepRow>> = steps.iter().map(|row| rows::step_row(row, rows::io(row, &payloads)?)).collect();
    Ok(Some(StoredRun { run: rows::run_row(row, &payloads, true)?, steps: steps? }))
}

/// [`Store::list_runs`](crate::store::Store::list_runs).
pub(super) async fn list_runs(conn: &ClientWrapper, filter: &RunFilter) -> Done<Vec<StoredRun>> {
    conn.batch_execute(BEGIN).await?;
    let ids = page(conn, filter).await?;
    let runs = format!("SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id DESC");
    // Iterations are counted together, or one long loop would outweigh the whole list.
    let steps = format!(
        "SELECT {STEP_COLUMNS} FROM steps WHERE run_id = ANY ($1::uuid[]) AND idx = '' \
         UNION ALL \
         SELECT run_id, min(idx), name, status, max(attempt), min(due_at), min(started_at), max(finished_at), NULL, \
           max(flags) FROM steps WHERE run_id = ANY ($1::uuid[]) AND idx > '' GROUP BY run_id, name, status \
         ORDER BY 1, 2, 3"
    );
    let (runs, steps) = (conn.prepare_cached(&runs).await?, conn.prepare_cached(&steps).await?);
    let (runs, steps) = tokio::join!(biased; query(conn, &runs, vec![&ids]), query(conn, &steps, vec![&ids]));
    let (runs, mut steps_of) = (runs?, BTreeMap::<RunId, Vec<StepRow>>::new());
    for row in &steps? {
        steps_of.entry(run_id(row, 0)?).or_default().push(rows::step_row(row, StepIo::default())?);
    }
    let payloads = answers(conn, &runs).await?;
    conn.batch_execute("COMMIT").await?;
    runs.iter()
        .map(|row| {
            let run = rows::run_row(row, &payloads, false)?;
            let steps = steps_of.remove(&run.run_id).unwrap_or_default();
            Ok(StoredRun { run, steps })
        })
        .collect()
}

/// The payloads of the answers in these rows.
async fn answers(conn: &ClientWrapper, runs: &[tokio_postgres::Row]) -> Done<Payloads> {
    let (mut ids, mut numbers) = (Vec::new(), Vec::new());
    for row in runs {
        if let Some(n) = get::<Option<&str>>(row, 18)?.map(values::reference).transpose()?.flatten() {
            ids.push(uuid(run_id(row, 0)?));
            numbers.push(n);
        }
    }
    if ids.is_empty() {
        return Ok(Payloads::default());
    }
    let sql = format!(
        "SELECT {} FROM payloads JOIN unnest($1::uuid[], $2::bigint[]) AS u (run_id, n) USING (run_id, n)",
        Payloads::COLUMNS
    );
    Payloads::read(&conn.query(&conn.prepare_cached(&sql).await?, &[&ids, &numbers]).await?)
}

async fn page(conn: &ClientWrapper, filter: &RunFilter) -> Done<Vec<uuid::Uuid>> {
    let before = uuid(filter.before.unwrap_or(RunId::from_bytes([0xFF; 16])));
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let mut statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    if statuses.is_empty() {
        statuses = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
    }
    statuses.sort_unstable();
    statuses.dedup();
    let rows = match &filter.flow {
        None if filter.statuses.is_empty() => {
            conn.query(&conn.prepare_cached(SQL_LIST).await?, &[&before, &limit]).await?
        }
        None => conn.query(&conn.prepare_cached(SQL_LIST_STATUS).await?, &[&before, &limit, &statuses]).await?,
        Some(flow) => {
            conn.query(&conn.prepare_cached(SQL_LIST_FLOW).await?, &[&before, &limit, &statuses, flow]).await?
        }
    };
    rows.iter().map(|row| get(row, 0)).collect()
}

/// The runs that start with `part`, newest first.
pub(super) async fn prefixed(conn: &ClientWrapper, part: &IdPart, limit: usize) -> Done<Vec<RunId>> {
    let (low, high) = part.range();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement = conn.prepare_cached(SQL_PREFIXED).await?;
    let rows = conn.query(&statement, &[&uuid(low), &uuid(high), &limit]).await?;
    rows.iter().map(|row| run_id(row, 0)).collect()
}

/// One page of the walk over all runs for those that end with `part`.
pub(super) struct SuffixPage {
    /// What was found.
    pub(super) found: Vec<RunId>,
    /// Where the next page goes on; `None` at the end.
    pub(super) next: Option<RunId>,
}

/// Looks at the runs older than `before` for those that end with `part`.
pub(super) async fn suffixed(conn: &ClientWrapper, part: &IdPart, before: RunId) -> Done<SuffixPage> {
    let statement = conn.prepare_cached(SQL_SUFFIXED).await?;
    let row = conn.query_one(&statement, &[&uuid(before), &WALK_ROWS, &part.digits()]).await?;
    let found: Vec<uuid::Uuid> = get(&row, 0)?;
    let found = found.into_iter().map(|id| RunId::from_bytes(id.into_bytes())).collect();
    let next = rows::run_id_or_null(&row, 2)?.filter(|_| count(&row, 1).is_ok_and(|seen| seen == WALK_ROWS as u64));
    Ok(SuffixPage { found, next })
}

/// [`Store::lanes`](crate::store::Store::lanes).
pub(super) async fn lanes(conn: &ClientWrapper, now: Micros) -> Done<Vec<LaneState>> {
    let statement = conn.prepare_cached(SQL_LANES).await?;
    let rows = conn.query(&statement, &[&now, &DUE_COUNTED_MAX]).await?;
    let lane = |row| {
        let inside_max: Option<i64> = get(row, 4)?;
        Ok(LaneState {
            lane: get(row, 0)?,
            due: count(row, 1)?,
            next_due_at: get(row, 2)?,
            inside: count(row, 3)?,
            inside_max: inside_max.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        })
    };
    rows.iter().map(lane).collect()
}

/// [`Store::unfinished`](crate::store::Store::unfinished).
pub(super) async fn unfinished(conn: &ClientWrapper, flow: &str, cap: u64) -> Done<u64> {
    let cap = i64::try_from(cap).unwrap_or(i64::MAX);
    count(&conn.query_one(&conn.prepare_cached(SQL_UNFINISHED).await?, &[&flow, &cap]).await?, 0)
}

/// [`Store::cancel_requests`](crate::store::Store::cancel_requests).
pub(super) async fn cancel_requests(conn: &ClientWrapper, owner: &str) -> Done<Vec<RunId>> {
    let rows = conn.query(&conn.prepare_cached(SQL_CANCEL_REQUESTS).await?, &[&owner]).await?;
    rows.iter().map(|row| run_id(row, 0)).collect()
}

/// [`Store::owned`](crate::store::Store::owned).
pub(super) async fn owned(conn: &ClientWrapper, owner: &str, limit: usize) -> Done<Vec<RunId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = conn.query(&conn.prepare_cached(SQL_OWNED).await?, &[&owner, &limit]).await?;
    rows.iter().map(|row| run_id(row, 0)).collect()
}

/// [`Store::counts`](crate::store::Store::counts).
pub(super) async fn counts(conn: &ClientWrapper) -> Done<Vec<(RunStatus, u64)>> {
    let rows = conn.query(&conn.prepare_cached(SQL_COUNTS).await?, &[]).await?;
    rows.iter().map(|row| Ok((run_status(row, 0)?, count(row, 1)?))).collect()
}

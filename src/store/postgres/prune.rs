//! Retention, in slices that never keep a lead waiting. Rows that another node is just deleting are passed over.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

use super::fault::Done;
use super::rows::count;
use crate::clock::Micros;
use crate::run::RunStatus;
use crate::store::PruneBefore;

/// Runs that one slice deletes, with all that hangs on them.
pub(super) const SLICE_ROWS: usize = 64;

/// Deletes ended runs of one status with their steps and payloads.
pub(super) const SQL_RUNS: &str = "WITH old AS MATERIALIZED (SELECT run_id FROM runs \
       WHERE status = $1 AND finished_at IS NOT NULL AND finished_at < $2 \
       ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED), \
     gone AS (DELETE FROM runs USING old WHERE runs.run_id = old.run_id RETURNING runs.run_id), \
     their_steps AS (DELETE FROM steps USING gone WHERE steps.run_id = gone.run_id), \
     their_payloads AS (DELETE FROM payloads USING gone WHERE payloads.run_id = gone.run_id) \
     SELECT count(*) FROM gone";

const SQL_REJECTED: &str = "WITH gone AS (DELETE FROM rejected WHERE id IN (SELECT id FROM rejected \
       WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1) \
     SELECT count(*) FROM gone";

const SQL_DEDUPE: &str = "WITH gone AS (DELETE FROM dedupe WHERE ctid = ANY (array(SELECT ctid FROM dedupe \
       WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING 1) \
     SELECT count(*) FROM gone";

/// Texts that no run uses and that are not live. The text that a flow pinned last stays: it may be on its way to become
/// live.
const SQL_TEXTS: &str = "DELETE FROM flow_texts WHERE pinned_at < $1 \
     AND EXISTS (SELECT 1 FROM flow_texts AS newer \
                 WHERE newer.flow = flow_texts.flow AND newer.pinned_at > flow_texts.pinned_at) \
     AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.text_id = flow_texts.text_id) \
     AND NOT EXISTS (SELECT 1 FROM live WHERE live.text_id = flow_texts.text_id)";

/// One slice of at most `rows`; answers how many rows it deleted, less than `rows` when nothing is left.
pub(super) async fn slice(conn: &ClientWrapper, before: &PruneBefore, rows: usize) -> Done<usize> {
    let ends = [
        (RunStatus::Succeeded, before.succeeded),
        (RunStatus::Skipped, before.succeeded),
        (RunStatus::Failed, before.failed),
        (RunStatus::TimedOut, before.failed),
        (RunStatus::Cancelled, before.failed),
        (RunStatus::Duplicate, before.duplicates),
    ];
    let mut gone = 0;
    for (status, before) in ends {
        let left = left(rows, gone);
        gone += delete(conn, SQL_RUNS, &[&status.as_str(), &before, &left]).await?;
    }
    gone += delete(conn, SQL_REJECTED, &[&before.rejected, &left(rows, gone)]).await?;
    gone += delete(conn, SQL_DEDUPE, &[&before.dedupe, &left(rows, gone)]).await?;
    Ok(gone)
}

fn left(rows: usize, gone: usize) -> i64 {
    i64::try_from(rows.saturating_sub(gone)).unwrap_or(0)
}

async fn delete(conn: &ClientWrapper, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Done<usize> {
    let row = conn.query_one(&conn.prepare_cached(sql).await?, values).await?;
    Ok(usize::try_from(count(&row, 0)?).unwrap_or(usize::MAX))
}

/// Deletes texts that nothing uses; answers how many.
pub(super) async fn texts(conn: &ClientWrapper, before: &PruneBefore) -> Done<usize> {
    let oldest: Micros = before.succeeded.min(before.failed).min(before.duplicates).min(before.rejected);
    let gone = conn.execute(&conn.prepare_cached(SQL_TEXTS).await?, &[&oldest]).await?;
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}

//! Retention, in slices that never keep a lead waiting. Rows that another node is just deleting are passed over.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::fault::Done;
use super::rows::{count, get};
use crate::clock::Micros;
use crate::run::RunStatus;
use crate::store::PruneBefore;

/// Runs that one slice deletes, with all that hangs on them.
pub(super) const SLICE_ROWS: usize = 64;

/// Ended runs of one status, oldest end first.
pub(super) const SQL_OLD: &str = "SELECT run_id FROM runs \
     WHERE status = $1 AND finished_at IS NOT NULL AND finished_at < $2 \
     ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED";

/// Deletes runs with all that hangs on them: three statements, each of which knows that it is about a few runs.
pub(super) const SQL_DELETE: [&str; 3] = [
    "DELETE FROM steps WHERE run_id = ANY ($1::uuid[])",
    "DELETE FROM payloads WHERE run_id = ANY ($1::uuid[])",
    "DELETE FROM runs WHERE run_id = ANY ($1::uuid[])",
];

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

/// One slice of at most `rows`; answers how many rows it deleted, less than `rows` when nothing is left. An error leaves a
/// transaction open.
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
    let old = conn.prepare_cached(SQL_OLD).await?;
    for (status, before) in ends {
        conn.batch_execute("BEGIN").await?;
        let found = conn.query(&old, &[&status.as_str(), &before, &left(rows, gone)]).await?;
        let runs: Vec<Uuid> = found.iter().map(|row| get(row, 0)).collect::<Done<_>>()?;
        for delete in SQL_DELETE.iter().filter(|_| !runs.is_empty()) {
            conn.execute(&conn.prepare_cached(delete).await?, &[&runs]).await?;
        }
        conn.batch_execute("COMMIT").await?;
        gone += runs.len();
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

//! Retention, in slices that never keep a lead waiting.

use rusqlite::{Connection, params};

use super::queue::Class;
use super::writer::{Applied, Verb, Writer};
use crate::clock::Micros;
use crate::run::RunStatus;
use crate::store::{PruneBefore, StoreResult};

/// Runs that one slice deletes, with all that hangs on them: about a millisecond.
const SLICE_ROWS: usize = 32;

/// Free pages that are kept for what comes next instead of being given back to the file system.
const FREE_PAGES_KEPT: i64 = 1_024;

/// Pages that one slice gives back.
const VACUUM_PAGES: i64 = 128;

/// At most so many slices of giving back after one prune.
const VACUUM_SLICES_MAX: usize = 64;

/// Deletes what is too old, at most `rows_max` rows; answers how many went. Steps and payloads go with their runs.
pub(super) async fn prune(writer: &Writer, before: PruneBefore) -> StoreResult<u64> {
    let mut gone = 0;
    while gone < before.rows_max {
        let slice = (before.rows_max - gone).min(SLICE_ROWS);
        let deleted = writer.write(PruneSlice { before: before.clone(), rows: slice }).await?;
        gone += deleted;
        if deleted < slice {
            let oldest = before.succeeded.min(before.failed).min(before.duplicates).min(before.rejected);
            gone += writer.write(PruneTexts { before: oldest }).await?;
            break;
        }
    }
    if gone > 0 {
        for _ in 0..VACUUM_SLICES_MAX {
            if writer.write(Vacuum).await? <= FREE_PAGES_KEPT {
                break;
            }
        }
    }
    Ok(gone as u64)
}

/// One slice; answers how many rows it deleted, less than `rows` when nothing is left.
struct PruneSlice {
    before: PruneBefore,
    rows: usize,
}

impl Verb for PruneSlice {
    type Answer = usize;
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<usize> {
        let mut gone = 0;
        for (status, before) in self.ends() {
            gone += conn
                .prepare_cached(
                    "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs INDEXED BY runs_ended \
                     WHERE status = ?1 AND finished_at IS NOT NULL AND finished_at < ?2 ORDER BY finished_at LIMIT ?3)",
                )?
                .execute(params![status.as_str(), before, (self.rows - gone) as i64])?;
        }
        gone += conn
            .prepare_cached(
                "DELETE FROM rejected WHERE id IN (SELECT id FROM rejected INDEXED BY rejected_received \
                 WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
            )?
            .execute(params![self.before.rejected, (self.rows - gone) as i64])?;
        gone += conn
            .prepare_cached(
                "DELETE FROM dedupe WHERE (flow, key_hash) IN (SELECT flow, key_hash FROM dedupe \
                 INDEXED BY dedupe_expires WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            )?
            .execute(params![self.before.dedupe, (self.rows - gone) as i64])?;
        Ok(gone)
    }
}

impl PruneSlice {
    fn ends(&self) -> [(RunStatus, Micros); 6] {
        [
            (RunStatus::Succeeded, self.before.succeeded),
            (RunStatus::Skipped, self.before.succeeded),
            (RunStatus::Failed, self.before.failed),
            (RunStatus::TimedOut, self.before.failed),
            (RunStatus::Cancelled, self.before.failed),
            (RunStatus::Duplicate, self.before.duplicates),
        ]
    }
}

/// Deletes texts that no run uses and that are not live. The text that a flow pinned last stays: it may be on its way
/// to become live.
struct PruneTexts {
    before: Micros,
}

impl Verb for PruneTexts {
    type Answer = usize;
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<usize> {
        Ok(conn
            .prepare_cached(
                "DELETE FROM flow_texts WHERE pinned_at < ?1 \
                 AND EXISTS (SELECT 1 FROM flow_texts AS newer \
                             WHERE newer.flow = flow_texts.flow AND newer.pinned_at > flow_texts.pinned_at) \
                 AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.text_id = flow_texts.text_id) \
                 AND NOT EXISTS (SELECT 1 FROM live WHERE live.text_id = flow_texts.text_id)",
            )?
            .execute([self.before])?)
    }
}

/// Gives some free pages back to the file system; answers how many are left.
struct Vacuum;

impl Verb for Vacuum {
    type Answer = i64;
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<i64> {
        let free = |conn: &Connection| conn.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0));
        let before: i64 = free(conn)?;
        if before <= FREE_PAGES_KEPT {
            return Ok(before);
        }
        // The pragma gives back one page at each step: one step alone would leave the rest.
        let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(free(conn)?)
    }
}

//! Retention: what is too old goes, in small batches that never keep an accept waiting.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::ports::Drain;
use crate::clock::micros;
use crate::store::PruneBefore;

/// How often old rows are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Runs deleted in one slice at the writer.
const PRUNE_ROWS_MAX: usize = 200;

/// How long ended runs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Succeeded and skipped runs.
    pub succeeded: Duration,
    /// Failed, timed out and cancelled runs.
    pub failed: Duration,
    /// Rejected requests.
    pub rejected: Duration,
    /// Duplicates.
    pub duplicates: Duration,
}

/// Works until the engine drains.
pub(super) async fn work(engine: Arc<Engine>) {
    let mut drain = engine.ports.drain.clone();
    while *drain.borrow_and_update() == Drain::No {
        prune(&engine).await;
        let until = engine.ports.clock.now() + micros(PRUNE_EVERY);
        tokio::select! {
            biased;
            _ = drain.changed() => {}
            () = engine.ports.clock.sleep_until(until) => {}
        }
    }
}

async fn prune(engine: &Engine) {
    let now = engine.ports.clock.now();
    let retention = engine.retention.load();
    let before = PruneBefore {
        succeeded: now - micros(retention.succeeded),
        failed: now - micros(retention.failed),
        rejected: now - micros(retention.rejected),
        duplicates: now - micros(retention.duplicates),
        dedupe: now,
        rows_max: PRUNE_ROWS_MAX,
    };
    let mut total = 0;
    while !engine.is_draining() {
        match engine.store.prune(before.clone()).await {
            Ok(0) => break,
            Ok(rows) => total += rows,
            Err(error) => {
                tracing::warn!(%error, "cannot prune old runs now");
                break;
            }
        }
    }
    if total > 0 {
        tracing::info!(rows = total, "pruned what is older than the retention");
    }
}

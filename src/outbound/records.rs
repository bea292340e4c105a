//! The embedded records, read on behalf of runs. Writes are no effects: they are part of a run's commit.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Reply;
use crate::run::Failure;
use crate::store::{RecordQuery, Store, StoreError};

/// Reads the embedded records of this process's store, once it is open.
#[derive(Default)]
pub struct RecordReader {
    store: OnceLock<Arc<dyn Store>>,
}

impl RecordReader {
    /// From now on reads come from `store`. A second call changes nothing: there is one store.
    pub fn read_from(&self, store: Arc<dyn Store>) {
        self.store.get_or_init(|| store);
    }

    /// What fits `query`. A store that cannot read now may later.
    pub(super) async fn read(&self, query: &RecordQuery, timeout: Duration) -> Reply {
        let failed = |why: &str| {
            Reply::Failed(Failure::retryable("store_failed", format!("the embedded records could not be read: {why}")))
        };
        let Some(store) = self.store.get() else { return failed("the store is not open") };
        match tokio::time::timeout(timeout, store.read_records(query.clone())).await {
            Ok(Ok(rows)) => Reply::Records(rows),
            Ok(Err(StoreError::Unavailable(why) | StoreError::Unusable(why))) => failed(&why),
            Ok(Err(StoreError::Fenced)) => failed("the run belongs to another owner"),
            Err(_) => failed("it took too long"),
        }
    }
}

impl std::fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordReader").field("is_open", &self.store.get().is_some()).finish()
    }
}

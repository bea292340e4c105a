//! Moving house: everything that a SQLite database holds, into a PostgreSQL database that holds nothing yet.
//!
//! Promise: all of it or nothing, in one transaction; the source is only read, from one snapshot, and stays as it is.
//! The counts of every table are compared before the commit. Runs go on under the new roof where they were: what was in
//! flight is marked as such, and whoever serves there rescues it. Nobody may serve from the source meanwhile.

use std::path::Path;

use super::postgres::OpenOptions;
use super::postgres::fill::Fill;
use super::sqlite::{care, pour};
use super::{StoreError, StoreResult};

/// What a table is copied as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
}

/// Rows of one table, on their way.
#[derive(Debug)]
pub(super) struct Batch {
    /// The table.
    pub(super) table: &'static str,
    /// Its columns.
    pub(super) columns: Vec<String>,
    /// How many rows there are.
    pub(super) rows: u64,
    /// They, as a JSON list of objects; bytes are text: `\x` and hexadecimal digits.
    pub(super) json: String,
}

/// Copies the database at `path` to the one that `to` names, which is brought to the version of this binary first.
/// `progress` hears how many rows of how many are there. Must not be called from within a runtime.
pub fn sqlite_to_postgres(
    path: &Path,
    to: &OpenOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> StoreResult<Vec<Copied>> {
    if let Some(fault) = care::faults(path)?.first() {
        return Err(StoreError::Unusable(format!("the database is not whole ({fault}); see `leadflow store check`")));
    }
    let counted = pour::counts(path)?;
    let total = counted.iter().map(|copied| copied.rows).sum();
    let mut fill = Fill::begin(to)?;
    let mut done = 0;
    progress(done, total);
    pour::pour(path, &mut |batch| {
        fill.insert(&batch)?;
        done += batch.rows;
        progress(done, total);
        Ok(())
    })?;
    for (flow, inside_max) in pour::gates(path)? {
        fill.gate(&flow, inside_max)?;
    }
    fill.finish(&counted)?;
    Ok(counted)
}

//! The embedded records: written within the transaction of a run's commit, read in slices.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::browse::{RECORD_COLUMNS, record_row};
use super::readers::Readers;
use super::rows::{self, json};
use crate::store::{Picking, RecordMode, RecordQuery, RecordRow, RecordWrite, StoreResult, merge_fields};

/// Rows that one slice of a read looks at: some milliseconds.
const SLICE_ROWS: usize = 2_000;

/// Writes records, in their order: a later one of the same commit sees the earlier ones.
pub(super) fn write(conn: &Connection, records: &[RecordWrite]) -> rusqlite::Result<()> {
    for record in records {
        if record.mode == RecordMode::Create || !change(conn, record)? && record.mode == RecordMode::Upsert {
            insert(conn, record)?;
        }
    }
    Ok(())
}

fn insert(conn: &Connection, record: &RecordWrite) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO records (connection, entity, id, fields, run_id, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (connection, entity, id) DO NOTHING",
    )?
    .execute(params![
        record.connection,
        record.entity,
        record.id,
        json(&record.fields)?,
        record.run_id.bytes(),
        record.created_at,
    ])
    .map(drop)
}

/// Changes the record, if it is there. Nobody else writes meanwhile: this is the one writing transaction.
fn change(conn: &Connection, record: &RecordWrite) -> rusqlite::Result<bool> {
    let stored: Option<String> = conn
        .prepare_cached("SELECT fields FROM records WHERE connection = ?1 AND entity = ?2 AND id = ?3")?
        .query_row((&record.connection, &record.entity, &record.id), |row| row.get(0))
        .optional()?;
    let Some(stored) = stored else { return Ok(false) };
    let before: serde_json::Value = rows::from_json(0, &stored)?;
    let mut fields = before.clone();
    merge_fields(&mut fields, &record.fields);
    // A repeat, or a lead that brings nothing new, leaves the time of the last change as it is.
    if fields != before {
        conn.prepare_cached(
            "UPDATE records SET fields = ?4, updated_at = max(updated_at, ?5) \
             WHERE connection = ?1 AND entity = ?2 AND id = ?3",
        )?
        .execute(params![record.connection, record.entity, record.id, json(&fields)?, record.created_at])?;
    }
    Ok(true)
}

/// [`Store::read_records`](crate::store::Store::read_records).
pub(super) async fn read(readers: &Arc<Readers>, query: RecordQuery) -> StoreResult<Vec<RecordRow>> {
    let mut picking = Picking::new(query.clone());
    if let Some(id) = query.id.clone() {
        let row = readers.read(move |conn| one(conn, &query, &id)).await?;
        if let Some(row) = row {
            picking.look_at(row);
        }
        return Ok(picking.rows());
    }
    let mut before = i64::MAX;
    while !picking.is_full() {
        let query = query.clone();
        let slice = readers.read(move |conn| slice(conn, &query, before)).await?;
        let is_last = slice.len() < SLICE_ROWS;
        for (rowid, row) in slice {
            before = rowid;
            picking.look_at(row);
        }
        if is_last {
            break;
        }
    }
    Ok(picking.rows())
}

fn one(conn: &Connection, query: &RecordQuery, id: &str) -> rusqlite::Result<Option<RecordRow>> {
    conn.prepare_cached(&format!(
        "SELECT {RECORD_COLUMNS} FROM records WHERE connection = ?1 AND entity = ?2 AND id = ?3"
    ))?
    .query_row((&query.connection, &query.entity, id), record_row)
    .optional()
}

/// The `+` keeps the planner on the index of entities, which gives the rows in their order.
fn slice(conn: &Connection, query: &RecordQuery, before: i64) -> rusqlite::Result<Vec<(i64, RecordRow)>> {
    conn.prepare_cached(&format!(
        "SELECT {RECORD_COLUMNS}, rowid FROM records \
         WHERE entity = ?2 AND +connection = ?1 AND rowid < ?3 ORDER BY rowid DESC LIMIT {SLICE_ROWS}"
    ))?
    .query_map((&query.connection, &query.entity, before), |row| Ok((row.get(7)?, record_row(row)?)))?
    .collect()
}

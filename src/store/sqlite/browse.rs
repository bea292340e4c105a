//! The reading queries about everything beside runs: rejected requests, records, texts, keys, meta.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows;
use crate::store::find::IdPart;
use crate::store::{FlowText, KeySlot, RecordRow, RejectedRow, TextId};

const REJECTED_COLUMNS: &str = "id, flow, received_at, code, findings, method, path, query, headers, resubmitted_as";

pub(super) const RECORD_COLUMNS: &str = "connection, entity, id, fields, run_id, created_at, updated_at";

/// [`Store::text`](crate::store::Store::text).
pub(super) fn text(conn: &Connection, id: TextId) -> rusqlite::Result<Option<FlowText>> {
    conn.prepare_cached("SELECT digest, flow, bundle FROM flow_texts WHERE text_id = ?1")?
        .query_row([id], |row| Ok(FlowText { digest: row.get(0)?, flow: row.get(1)?, bundle: row.get(2)? }))
        .optional()
}

/// [`Store::list_rejected`](crate::store::Store::list_rejected).
pub(super) fn list_rejected(conn: &Connection, flow: Option<&str>, limit: usize) -> rusqlite::Result<Vec<RejectedRow>> {
    let filter = if flow.is_some() { "flow = ?1" } else { "?1 IS NULL" };
    conn.prepare_cached(&format!(
        "SELECT {REJECTED_COLUMNS}, x'' FROM rejected WHERE {filter} ORDER BY id DESC LIMIT ?2"
    ))?
    .query_map(params![flow, limit as i64], rejected_row)?
    .collect()
}

/// [`Store::find_rejected`](crate::store::Store::find_rejected). The inbox is capped, so a walk over its ids is short.
pub(super) fn find_rejected(conn: &Connection, part: &IdPart, limit: usize) -> rusqlite::Result<Vec<RejectedRow>> {
    let (low, high) = part.range();
    let mut ids = Vec::new();
    let mut walk = conn.prepare_cached("SELECT id FROM rejected ORDER BY id DESC")?;
    let mut walked = walk.query([])?;
    while let Some(row) = walked.next()? {
        let id = rows::run_id(row, 0)?;
        if ids.len() < limit && ((low..=high).contains(&id) || part.ends(id)) {
            ids.push(id);
        }
    }
    let mut one = conn.prepare_cached(&format!("SELECT {REJECTED_COLUMNS}, body FROM rejected WHERE id = ?1"))?;
    ids.into_iter().map(|id| one.query_row([id.bytes()], rejected_row)).collect()
}

fn rejected_row(row: &Row<'_>) -> rusqlite::Result<RejectedRow> {
    Ok(RejectedRow {
        id: rows::run_id(row, 0)?,
        flow: row.get(1)?,
        received_at: row.get(2)?,
        code: row.get(3)?,
        findings: rows::from_json(4, rows::text(row, 4)?)?,
        method: row.get(5)?,
        path: row.get(6)?,
        query: rows::from_json(7, rows::text(row, 7)?)?,
        headers: rows::from_json(8, rows::text(row, 8)?)?,
        resubmitted_as: rows::run_id_or_null(row, 9)?,
        body: row.get(10)?,
    })
}

/// [`Store::list_records`](crate::store::Store::list_records).
pub(super) fn list_records(conn: &Connection, entity: Option<&str>, limit: usize) -> rusqlite::Result<Vec<RecordRow>> {
    let filter = if entity.is_some() { "entity = ?1" } else { "?1 IS NULL" };
    conn.prepare_cached(&format!("SELECT {RECORD_COLUMNS} FROM records WHERE {filter} ORDER BY rowid DESC LIMIT ?2"))?
        .query_map(params![entity, limit as i64], record_row)?
        .collect()
}

/// [`Store::find_records`](crate::store::Store::find_records).
pub(super) fn find_records(conn: &Connection, part: &str, limit: usize) -> rusqlite::Result<Vec<RecordRow>> {
    if part.is_empty() {
        return Ok(Vec::new());
    }
    // Not LIKE: `%` and `_` in a part are themselves. The ids alone are read first, from the index that holds them.
    conn.prepare_cached(&format!(
        "SELECT {RECORD_COLUMNS} FROM records WHERE rowid IN (SELECT rowid FROM records \
         WHERE substr(lower(id), 1, length(?1)) = lower(?1) OR substr(lower(id), -length(?1)) = lower(?1)) \
         ORDER BY rowid DESC LIMIT ?2"
    ))?
    .query_map(params![part, limit as i64], record_row)?
    .collect()
}

pub(super) fn record_row(row: &Row<'_>) -> rusqlite::Result<RecordRow> {
    Ok(RecordRow {
        connection: row.get(0)?,
        entity: row.get(1)?,
        id: row.get(2)?,
        fields: rows::from_json(3, rows::text(row, 3)?)?,
        run_id: rows::run_id(row, 4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

/// [`Store::keys`](crate::store::Store::keys).
pub(super) fn keys(conn: &Connection) -> rusqlite::Result<Vec<KeySlot>> {
    conn.prepare_cached("SELECT flow, slot, version, created_at, last_used_at FROM keys ORDER BY flow, slot")?
        .query_map([], |row| {
            Ok(KeySlot {
                flow: row.get(0)?,
                slot: row.get(1)?,
                version: row.get(2)?,
                created_at: row.get(3)?,
                last_used_at: row.get(4)?,
            })
        })?
        .collect()
}

/// [`Store::meta`](crate::store::Store::meta).
pub(super) fn meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT v FROM meta WHERE k = ?1")?.query_row([key], |row| row.get(0)).optional()
}

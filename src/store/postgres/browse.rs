//! The reading queries about everything beside runs: rejected requests, records, texts, keys, meta.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::fault::Done;
use super::rows::{get, run_id, run_id_or_null, small, uuid};
use crate::store::find::IdPart;
use crate::store::{FlowText, KeySlot, RecordRow, RejectedRow, TextId, values};

const REJECTED_COLUMNS: &str = "id, flow, received_at, code, findings, method, path, query, headers, resubmitted_as";

pub(super) const RECORD_COLUMNS: &str = "connection, entity, id, fields, run_id, created_at, updated_at";

/// [`Store::text`](crate::store::Store::text).
pub(super) async fn text(conn: &ClientWrapper, id: TextId) -> Done<Option<FlowText>> {
    let statement = conn.prepare_cached("SELECT digest, flow, bundle FROM flow_texts WHERE text_id = $1").await?;
    let row = conn.query_opt(&statement, &[&id]).await?;
    row.map(|row| Ok(FlowText { digest: get(&row, 0)?, flow: get(&row, 1)?, bundle: get(&row, 2)? })).transpose()
}

/// [`Store::list_rejected`](crate::store::Store::list_rejected).
pub(super) async fn list_rejected(conn: &ClientWrapper, flow: Option<&str>, limit: usize) -> Done<Vec<RejectedRow>> {
    let filter = if flow.is_some() { "flow = $1" } else { "$1::text IS NULL" };
    let sql = format!("SELECT {REJECTED_COLUMNS}, ''::bytea FROM rejected WHERE {filter} ORDER BY id DESC LIMIT $2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.query(&conn.prepare_cached(&sql).await?, &[&flow, &limit]).await?.iter().map(rejected_row).collect()
}

/// [`Store::find_rejected`](crate::store::Store::find_rejected). The inbox is capped, so a walk over its ids is short.
pub(super) async fn find_rejected(conn: &ClientWrapper, part: &IdPart, limit: usize) -> Done<Vec<RejectedRow>> {
    let (low, high) = part.range();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {REJECTED_COLUMNS}, body FROM rejected WHERE id IN (SELECT id FROM rejected \
           WHERE id BETWEEN $1 AND $2 OR right(replace(id::text, '-', ''), length($3)) = $3 \
           ORDER BY id DESC LIMIT $4) ORDER BY id DESC"
    );
    let rows =
        conn.query(&conn.prepare_cached(&sql).await?, &[&uuid(low), &uuid(high), &part.digits(), &limit]).await?;
    rows.iter().map(rejected_row).collect()
}

fn rejected_row(row: &Row) -> Done<RejectedRow> {
    Ok(RejectedRow {
        id: run_id(row, 0)?,
        flow: get(row, 1)?,
        received_at: get(row, 2)?,
        code: get(row, 3)?,
        findings: values::from_json(get(row, 4)?)?,
        method: get(row, 5)?,
        path: values::from_json(get(row, 6)?)?,
        query: values::from_json(get(row, 7)?)?,
        headers: values::from_json(get(row, 8)?)?,
        resubmitted_as: run_id_or_null(row, 9)?,
        body: get(row, 10)?,
    })
}

/// [`Store::list_records`](crate::store::Store::list_records).
pub(super) async fn list_records(conn: &ClientWrapper, entity: Option<&str>, limit: usize) -> Done<Vec<RecordRow>> {
    let filter = if entity.is_some() { "entity = $1" } else { "$1::text IS NULL" };
    let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE {filter} ORDER BY seq DESC LIMIT $2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.query(&conn.prepare_cached(&sql).await?, &[&entity, &limit]).await?.iter().map(record_row).collect()
}

/// [`Store::find_records`](crate::store::Store::find_records).
pub(super) async fn find_records(conn: &ClientWrapper, part: &str, limit: usize) -> Done<Vec<RecordRow>> {
    if part.is_empty() {
        return Ok(Vec::new());
    }
    // Not LIKE: `%` and `_` in a part are themselves.
    let sql = format!(
        "SELECT {RECORD_COLUMNS} FROM records \
         WHERE left(lower(id), length($1)) = lower($1) OR right(lower(id), length($1)) = lower($1) \
         ORDER BY seq DESC LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.query(&conn.prepare_cached(&sql).await?, &[&part, &limit]).await?.iter().map(record_row).collect()
}

pub(super) fn record_row(row: &Row) -> Done<RecordRow> {
    Ok(RecordRow {
        connection: get(row, 0)?,
        entity: get(row, 1)?,
        id: get(row, 2)?,
        fields: values::from_json(get(row, 3)?)?,
        run_id: run_id(row, 4)?,
        created_at: get(row, 5)?,
        updated_at: get(row, 6)?,
    })
}

/// [`Store::keys`](crate::store::Store::keys).
pub(super) async fn keys(conn: &ClientWrapper) -> Done<Vec<KeySlot>> {
    let sql = "SELECT flow, slot, version, created_at, last_used_at FROM keys ORDER BY flow, slot";
    let slot = |row: &Row| {
        Ok(KeySlot {
            flow: get(row, 0)?,
            slot: get(row, 1)?,
            version: small(row, 2)?,
            created_at: get(row, 3)?,
            last_used_at: get(row, 4)?,
        })
    };
    conn.query(&conn.prepare_cached(sql).await?, &[]).await?.iter().map(slot).collect()
}

/// [`Store::meta`](crate::store::Store::meta).
pub(super) async fn meta(conn: &ClientWrapper, key: &str) -> Done<Option<String>> {
    let statement = conn.prepare_cached("SELECT v FROM meta WHERE k = $1").await?;
    conn.query_opt(&statement, &[&key]).await?.map(|row| get(&row, 0)).transpose()
}

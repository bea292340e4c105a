//! The embedded records: changed within the transaction of a group, read in slices.
//!
//! Fields are merged here and not by the database, whose own JSON refuses texts that a lead may hold. Rows are taken in
//! the order of their keys, so that groups of several nodes wait for each other and not in a circle.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::PostgresStore;
use super::browse::{RECORD_COLUMNS, record_row};
use super::columns::{RecordColumns, SQL_INSERT_RECORDS};
use super::fault::Done;
use super::rows::{get, uuid};
use crate::clock::Micros;
use crate::store::values::{from_json, json};
use crate::store::{Picking, RecordMode, RecordQuery, RecordRow, RecordWrite, StoreResult, merge_fields};

/// Rows that one slice of a read looks at: some milliseconds.
const SLICE_ROWS: usize = 2_000;

const SQL_LOCK: &str = "SELECT r.connection, r.entity, r.id, r.fields FROM records r \
     JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (connection, entity, id) \
       ON (r.connection, r.entity, r.id) = (k.connection, k.entity, k.id) \
     ORDER BY r.connection, r.entity, r.id FOR UPDATE OF r";

const SQL_CHANGE: &str = "UPDATE records r SET fields = k.fields, updated_at = greatest(r.updated_at, k.at) \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS k (connection, entity, id, fields, at) \
     WHERE (r.connection, r.entity, r.id) = (k.connection, k.entity, k.id)";

/// A record's connection, entity and id.
type Key = (String, String, String);

/// What a group changes, by record.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<Key, Change>);

/// The changes of one record, in their order, as one.
struct Change {
    /// What a record that is there gets.
    fields: Value,
    /// What a new one is made of, by whom and when; `None`: none is made.
    fresh: Option<(Value, Uuid, Micros)>,
    /// When the last one was.
    at: Micros,
}

impl Changes {
    /// Adds those of `writes` that are changes.
    pub(super) fn push(&mut self, writes: &[RecordWrite]) {
        for write in writes.iter().filter(|write| write.mode != RecordMode::Create) {
            let key = (write.connection.clone(), write.entity.clone(), write.id.clone());
            let nothing =
                || Change { fields: Value::Object(serde_json::Map::new()), fresh: None, at: write.created_at };
            let change = self.0.entry(key).or_insert_with(nothing);
            merge_fields(&mut change.fields, &write.fields);
            change.at = change.at.max(write.created_at);
            match &mut change.fresh {
                Some((fresh, ..)) => merge_fields(fresh, &write.fields),
                None if write.mode == RecordMode::Upsert => {
                    change.fresh = Some((write.fields.clone(), uuid(write.run_id), write.created_at));
                }
                None => {}
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes what is new, `created` first, and changes what is there.
    pub(super) async fn apply(&self, conn: &ClientWrapper, mut created: RecordColumns) -> Done<()> {
        for ((connection, entity, id), change) in &self.0 {
            let Some((fields, run_id, at)) = &change.fresh else { continue };
            created.connection.push(connection.clone());
            created.entity.push(entity.clone());
            created.id.push(id.clone());
            created.fields.push(json(fields)?);
            created.run_id.push(*run_id);
            created.created_at.push(*at);
        }
        if !created.id.is_empty() {
            conn.execute(&conn.prepare_cached(SQL_INSERT_RECORDS).await?, &created.parameters()).await?;
        }
        let (mut connections, mut entities, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for (connection, entity, id) in self.0.keys() {
            connections.push(connection);
            entities.push(entity);
            ids.push(id);
        }
        let rows = conn.query(&conn.prepare_cached(SQL_LOCK).await?, &[&connections, &entities, &ids]).await?;
        let changed = rows.iter().map(|row| self.changed(row)).collect::<Done<Vec<_>>>()?;
        let changed: Vec<(Key, String, Micros)> = changed.into_iter().flatten().collect();
        if changed.is_empty() {
            return Ok(());
        }
        let connections: Vec<&str> = changed.iter().map(|(key, ..)| key.0.as_str()).collect();
        let entities: Vec<&str> = changed.iter().map(|(key, ..)| key.1.as_str()).collect();
        let ids: Vec<&str> = changed.iter().map(|(key, ..)| key.2.as_str()).collect();
        let fields: Vec<&str> = changed.iter().map(|(_, fields, _)| fields.as_str()).collect();
        let at: Vec<Micros> = changed.iter().map(|(.., at)| *at).collect();
        let change = conn.prepare_cached(SQL_CHANGE).await?;
        conn.execute(&change, &[&connections, &entities, &ids, &fields, &at]).await?;
        Ok(())
    }

    /// The new fields of a row; `None`: a repeat, or nothing new, which leaves the time of the last change as it is.
    fn changed(&self, row: &Row) -> Done<Option<(Key, String, Micros)>> {
        let key: Key = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        let Some(change) = self.0.get(&key) else { return Ok(None) };
        let before: Value = from_json(get(row, 3)?)?;
        let mut fields = before.clone();
        merge_fields(&mut fields, &change.fields);
        Ok(if fields == before { None } else { Some((key, json(&fields)?, change.at)) })
    }
}

/// [`Store::read_records`](crate::store::Store::read_records).
pub(super) async fn read(store: &PostgresStore, query: RecordQuery) -> StoreResult<Vec<RecordRow>> {
    let mut picking = Picking::new(query.clone());
    let mut before = i64::MAX;
    while !picking.is_full() {
        let query = query.clone();
        let slice = store.call(move |conn| async move { slice(&conn, &query, before).await }).await?;
        let is_last = slice.len() < SLICE_ROWS;
        for (seq, row) in slice {
            before = seq;
            picking.look_at(row);
        }
        if is_last {
            break;
        }
    }
    Ok(picking.rows())
}

async fn slice(conn: &ClientWrapper, query: &RecordQuery, before: i64) -> Done<Vec<(i64, RecordRow)>> {
    let id = if query.id.is_some() { "id = $4" } else { "$4::text IS NULL" };
    let sql = format!(
        "SELECT {RECORD_COLUMNS}, seq FROM records \
         WHERE entity = $2 AND connection = $1 AND seq < $3 AND {id} ORDER BY seq DESC LIMIT {SLICE_ROWS}"
    );
    let statement = conn.prepare_cached(&sql).await?;
    let rows = conn.query(&statement, &[&query.connection, &query.entity, &before, &query.id]).await?;
    rows.iter().map(|row| Ok((get(row, 7)?, record_row(row)?))).collect()
}

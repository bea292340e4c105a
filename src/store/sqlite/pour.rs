//! Every row of a database, table by table, for whoever moves it elsewhere. Read only, from one snapshot.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value};

use super::{care, migrate, open, rows::store_error};
use crate::store::copy::{Batch, Copied};
use crate::store::{StoreError, StoreResult};

/// Rows of one batch at most.
const BATCH_ROWS_MAX: u64 = 1_000;

/// Bytes of one batch, about: one more row may come on top.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The tables that are moved, in an order in which they can be written. Lives of nodes stay behind; what triggers count
/// is counted anew.
fn tables() -> impl Iterator<Item = &'static str> {
    care::TABLES.iter().copied().filter(|table| *table != "nodes")
}

/// How many rows each table has.
pub(in crate::store) fn counts(path: &Path) -> StoreResult<Vec<Copied>> {
    let conn = open::reader(path)?;
    migrate::require_current(&conn)?;
    tables()
        .map(|table| {
            let rows = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
            let rows = rows.map_err(|error| store_error(&error))?.unsigned_abs();
            Ok(Copied { table: table.to_owned(), rows })
        })
        .collect()
}

/// Hands every row to `each`, in batches.
pub(in crate::store) fn pour(path: &Path, each: &mut dyn FnMut(Batch) -> StoreResult<()>) -> StoreResult<()> {
    let conn = open::reader(path)?;
    // One snapshot: the tables fit each other whatever a command beside changes.
    let snapshot = conn.unchecked_transaction().map_err(|error| store_error(&error))?;
    for table in tables() {
        pour_table(&snapshot, table, each)?;
    }
    Ok(())
}

/// Of flows that bound their runs: how many may be inside.
pub(in crate::store) fn gates(path: &Path) -> StoreResult<Vec<(String, i64)>> {
    let read = |conn: &Connection| -> rusqlite::Result<Vec<(String, i64)>> {
        let mut statement = conn.prepare("SELECT flow, inside_max FROM gates WHERE inside_max IS NOT NULL")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    read(&open::reader(path)?).map_err(|error| store_error(&error))
}

fn pour_table(
    conn: &Connection,
    table: &'static str,
    each: &mut dyn FnMut(Batch) -> StoreResult<()>,
) -> StoreResult<()> {
    let fault = |error: rusqlite::Error| store_error(&error);
    // Records keep the order in which they were made.
    let order = if table == "records" { " ORDER BY rowid" } else { "" };
    let mut statement = conn.prepare(&format!("SELECT * FROM {table}{order}")).map_err(fault)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([]).map_err(fault)?;
    let (mut json, mut count) = (String::new(), 0);
    let mut flush = |json: &mut String, count: &mut u64| {
        let text = format!("[{}]", std::mem::take(json));
        each(Batch { table, columns: columns.clone(), rows: std::mem::take(count), json: text })
    };
    while let Some(row) = rows.next().map_err(fault)? {
        if count > 0 {
            json.push(',');
        }
        json.push_str(&object(row, &columns)?.to_string());
        count += 1;
        if count == BATCH_ROWS_MAX || json.len() >= BATCH_BYTES_MAX {
            flush(&mut json, &mut count)?;
        }
    }
    if count > 0 { flush(&mut json, &mut count) } else { Ok(()) }
}

fn object(row: &Row<'_>, columns: &[String]) -> StoreResult<Value> {
    let mut object = Map::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let value = match row.get_ref(at).map_err(|error| store_error(&error))? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => text.into(),
                Err(_) => return Err(StoreError::Unusable(format!("{column} holds a text that is not UTF-8"))),
            },
            ValueRef::Blob(bytes) => format!("\\x{}", hex::encode(bytes)).into(),
        };
        object.insert(column.clone(), value);
    }
    Ok(Value::Object(object))
}

//! `leadflow records`: what flows wrote into the embedded record store.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::{Global, Records};
use super::{Exit, context, output};
use crate::clock;
use crate::store::RecordRow;

/// Characters of a record's fields in the table.
const FIELDS_CHARS_MAX: usize = 80;

/// Candidates that an ambiguous id lists at most.
const CANDIDATES_MAX: usize = 10;

pub(super) fn run(global: &Global, command: Records) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &["/data", "/store/url"])?;
    let store = context::store_to_read(&settings)?;
    match command {
        Records::List { entity, limit, json } => {
            let rows = context::block_on(store.list_records(entity.as_deref(), limit))??;
            if json {
                output::json(&Value::Array(rows.iter().map(record_json).collect()));
            } else {
                output::answer(&list(&rows));
            }
        }
        Records::Show { id, json } => {
            let mut rows = context::block_on(store.find_records(&id, CANDIDATES_MAX + 1))??;
            let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            context::one_of(&id, &ids, "record")?;
            let row = rows.remove(0);
            if json {
                output::json(&record_json(&row));
            } else {
                output::answer(&show(&row));
            }
        }
    }
    Ok(Exit::Fine)
}

fn record_json(row: &RecordRow) -> Value {
    json!({
        "id": row.id,
        "entity": row.entity,
        "fields": row.fields,
        "run_id": row.run_id,
        "created_at": clock::rfc3339(row.created_at),
        "updated_at": clock::rfc3339(row.updated_at),
        "connection": row.connection,
    })
}

fn list(rows: &[RecordRow]) -> String {
    if rows.is_empty() {
        return "no records yet: post a lead (leadflow send FLOW)\n".into();
    }
    let mut cells = vec![["id", "entity", "run", "created", "fields"].map(str::to_owned).to_vec()];
    for row in rows {
        cells.push(vec![
            tail(&row.id).to_owned(),
            format!("{}/{}", row.connection, row.entity),
            row.run_id.short(),
            clock::human(row.created_at),
            output::one_line(&row.fields.to_string(), FIELDS_CHARS_MAX),
        ]);
    }
    output::table(&cells, "", |_, cell| cell.to_owned())
}

/// The last eight characters of an id, as tables show them.
fn tail(id: &str) -> &str {
    let start = id.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
    &id[start..]
}

fn show(row: &RecordRow) -> String {
    let mut text = format!("record {}  {}/{}  run {}\n", row.id, row.connection, row.entity, row.run_id);
    let _ = writeln!(text, "created {}", clock::human(row.created_at));
    if row.updated_at != row.created_at {
        let _ = writeln!(text, "updated {}", clock::human(row.updated_at));
    }
    let empty = serde_json::Map::new();
    let fields = row.fields.as_object().unwrap_or(&empty);
    let cells: Vec<Vec<String>> = fields.iter().map(|(key, value)| vec![key.clone(), value.to_string()]).collect();
    text.push_str(&output::table(&cells, "  ", |_, cell| cell.to_owned()));
    text
}

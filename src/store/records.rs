//! Embedded records: what is written, what is asked for, and what fits. Pure: the same for every database.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::clock::{Micros, rfc3339};
use crate::ids::RunId;

/// A write to the embedded `records`: in the same transaction as the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWrite {
    /// The connection's name.
    pub connection: String,
    /// The entity.
    pub entity: String,
    /// The record's id.
    pub id: String,
    /// The fields.
    pub fields: Value,
    /// The run that wrote it.
    pub run_id: RunId,
    /// When.
    pub created_at: Micros,
    /// What becomes of a record with that id.
    pub mode: RecordMode,
}

/// What a write does when the id is there, and when it is not. Each is harmless when it is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordMode {
    /// Makes it; one that is there stays as it is.
    Create,
    /// Changes the named fields of one that is there; none is made.
    Update,
    /// Makes it, or changes the named fields of one that is there.
    Upsert,
}

impl RecordMode {
    /// `create`, `update`, `upsert`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Upsert => "upsert",
        }
    }
}

/// One embedded record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRow {
    /// The connection's name.
    pub connection: String,
    /// The entity.
    pub entity: String,
    /// Its id.
    pub id: String,
    /// Its fields.
    pub fields: Value,
    /// The run that made it.
    pub run_id: RunId,
    /// When it was created.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
}

impl From<RecordWrite> for RecordRow {
    fn from(write: RecordWrite) -> Self {
        let RecordWrite { connection, entity, id, fields, run_id, created_at, mode: _ } = write;
        Self { connection, entity, id, fields, run_id, created_at, updated_at: created_at }
    }
}

impl RecordRow {
    /// Sets the named fields. A repeat, or a write that brings nothing new, leaves the time of the last change as it is.
    pub fn change(&mut self, write: &RecordWrite) {
        let mut fields = self.fields.clone();
        merge_fields(&mut fields, &write.fields);
        if fields != self.fields {
            self.updated_at = self.updated_at.max(write.created_at);
            self.fields = fields;
        }
    }

    /// What a flow sees of it: `id`, its fields, and its times where no field has their names.
    pub fn seen(&self) -> Map<String, Value> {
        let mut seen = Map::from_iter([("id".to_owned(), Value::String(self.id.clone()))]);
        for (name, value) in self.fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "id") {
            seen.insert(name.clone(), value.clone());
        }
        for (name, at) in [("created_at", self.created_at), ("updated_at", self.updated_at)] {
            seen.entry(name).or_insert_with(|| Value::String(rfc3339(at)));
        }
        seen
    }
}

/// Sets the named fields of a record, whole values: nothing is merged below them.
pub fn merge_fields(fields: &mut Value, changes: &Value) {
    let Value::Object(changes) = changes else { return };
    match fields {
        Value::Object(fields) => fields.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone()))),
        other => *other = Value::Object(changes.clone()),
    }
}

/// Which embedded records are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordQuery {
    /// The connection's name.
    pub connection: String,
    /// The entity.
    pub entity: String,
    /// Only the one with this id.
    pub id: Option<String>,
    /// What must be seen in it, by name; null: nothing.
    pub filter: Map<String, Value>,
    /// The order: a name of what is seen, and whether it goes down. What has no value comes last. Then the newest first.
    pub order_by: Vec<(String, bool)>,
    /// At most so many.
    pub limit: usize,
    /// Whether any that fit are wanted, and not a certain one: only for telling.
    pub is_list: bool,
}

/// Picks what fits a query out of rows that come newest first, holding no more than it must.
#[derive(Debug)]
pub struct Picking {
    query: RecordQuery,
    picked: Vec<(Vec<Value>, RecordRow)>,
}

impl Picking {
    /// Nothing looked at yet.
    pub fn new(query: RecordQuery) -> Self {
        Self { query, picked: Vec::new() }
    }

    /// Whether nothing that comes later can be picked.
    pub fn is_full(&self) -> bool {
        self.query.order_by.is_empty() && self.picked.len() >= self.query.limit
    }

    /// Looks at the next row.
    pub fn look_at(&mut self, row: RecordRow) {
        if self.is_full() {
            return;
        }
        let seen = row.seen();
        let is_null = |name: &String| seen.get(name).is_none_or(Value::is_null);
        let fits = |(name, wanted): (&String, &Value)| match wanted {
            Value::Null => is_null(name),
            wanted => seen.get(name).is_some_and(|value| equal(value, wanted)),
        };
        if !self.query.filter.iter().all(fits) {
            return;
        }
        let place = |(name, _): &(String, bool)| seen.get(name).cloned().unwrap_or(Value::Null);
        let place = self.query.order_by.iter().map(place).collect();
        self.picked.push((place, row));
        if self.picked.len() >= self.query.limit.saturating_mul(2).max(1000) {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let order = &self.query.order_by;
        self.picked.sort_by(|(a, _), (b, _)| {
            let pairs = a.iter().zip(b).zip(order).map(|((a, b), (_, down))| compare(a, b, *down));
            pairs.fold(Ordering::Equal, Ordering::then)
        });
        self.picked.truncate(self.query.limit);
    }

    /// What was picked, in order.
    pub fn rows(mut self) -> Vec<RecordRow> {
        self.sort();
        self.picked.into_iter().map(|(_, row)| row).collect()
    }
}

/// Numbers are equal by their value: `1` and `1.0`.
fn equal(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

/// Nothing comes last, whichever way it goes; booleans before numbers before texts before the rest.
fn compare(a: &Value, b: &Value, down: bool) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Bool(_) => 0,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        Value::Array(_) | Value::Object(_) => 3,
        Value::Null => 4,
    };
    if a.is_null() || b.is_null() {
        return a.is_null().cmp(&b.is_null());
    }
    let order = match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    };
    if down { order.reverse() } else { order }
}

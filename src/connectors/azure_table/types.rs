//! Keys and types of Azure tables: what may be a key, and how a JSON value becomes a property that keeps its type.

use serde_json::{Map, Value, json};

use super::PARTITION;
use crate::connectors::api::Asked;
use crate::connectors::{OpContext, Target};
use crate::run::Failure;

/// The longest key: 1 KiB in UTF-16.
const KEY_UNITS_MAX: usize = 512;

/// How a property's type is told beside it.
const TYPE: &str = "@odata.type";

/// What tells a record from all others of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    partition: String,
    row: String,
    /// Whether the row's key is the run's own.
    pub(super) is_own: bool,
}

impl Keys {
    /// Those of a record to be made: its own fields, else ours.
    pub(super) fn of_new(fields: &Map<String, Value>, cx: &OpContext<'_>, asked: Asked<'_>) -> Result<Self, Failure> {
        let own = cx.key.hex();
        let keys = Self {
            partition: part(fields, "PartitionKey", PARTITION, asked)?,
            row: part(fields, "RowKey", &own, asked)?,
            is_own: !fields.contains_key("RowKey"),
        };
        keys.checked(asked)
    }

    /// Those of a record that the flow means: the id `PARTITION/ROW`, or a key of both; the partition may be left out.
    pub(super) fn of(target: &Target, asked: Asked<'_>) -> Result<Self, Failure> {
        let wants = "an id is PARTITION/ROW, and `key` holds PartitionKey and RowKey";
        let (partition, row) = match target {
            Target::Id(id) => {
                let (partition, row) = id.split_once('/').ok_or_else(|| asked.bad_key(wants))?;
                (partition.to_owned(), row.to_owned())
            }
            Target::Key(key) => {
                let known = key.keys().all(|field| field == "PartitionKey" || field == "RowKey");
                if !known || !key.contains_key("RowKey") {
                    return Err(asked.bad_key(wants));
                }
                (part(key, "PartitionKey", PARTITION, asked)?, part(key, "RowKey", "", asked)?)
            }
        };
        Self { partition, row, is_own: false }.checked(asked)
    }

    /// What the service refuses in a key, told before anything is sent.
    fn checked(self, asked: Asked<'_>) -> Result<Self, Failure> {
        for key in [&self.partition, &self.row] {
            if key.chars().any(|c| "/\\#?".contains(c) || c.is_control()) {
                return Err(asked.bad_key("PartitionKey and RowKey may hold no / \\ # ? and no control characters"));
            }
            if key.encode_utf16().count() > KEY_UNITS_MAX {
                return Err(asked.bad_key("PartitionKey and RowKey have 512 characters at most"));
            }
        }
        Ok(self)
    }

    /// The record's id: neither part can hold the slash between them.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.partition, self.row)
    }

    /// As properties.
    pub(super) fn fields(&self) -> Map<String, Value> {
        Map::from_iter([("PartitionKey".to_owned(), json!(self.partition)), ("RowKey".to_owned(), json!(self.row))])
    }
}

/// Keys are texts: numbers become one.
fn part(fields: &Map<String, Value>, name: &str, default: &str, asked: Asked<'_>) -> Result<String, Failure> {
    match fields.get(name) {
        None => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(asked.bad_key("PartitionKey and RowKey are texts")),
    }
}

/// The properties of a record, with `keys`. Whole numbers that need it are `Edm.Int64`, fractions always `Edm.Double`;
/// lists and objects, which tables do not have, become JSON text. A flow's own `NAME@odata.type` wins.
pub(super) fn typed(fields: &Map<String, Value>, keys: Option<&Keys>) -> Value {
    let mut typed = Map::new();
    for (name, value) in fields {
        let annotation = format!("{name}{TYPE}");
        let is_annotated = fields.contains_key(&annotation);
        let (value, kind) = match value {
            Value::Number(number) if !is_annotated => match number.as_i64() {
                Some(whole) if i32::try_from(whole).is_ok() => (value.clone(), None),
                Some(whole) => (json!(whole.to_string()), Some("Edm.Int64")),
                None => (value.clone(), Some("Edm.Double")),
            },
            Value::Array(_) | Value::Object(_) => (json!(value.to_string()), None),
            _ => (value.clone(), None),
        };
        if let Some(kind) = kind {
            typed.insert(annotation, json!(kind));
        }
        typed.insert(name.clone(), value);
    }
    typed.extend(keys.map(Keys::fields).unwrap_or_default());
    Value::Object(typed)
}

/// A record as the service gave it, its types read and the service's own words left out.
pub(super) fn untyped(mut record: Map<String, Value>) -> Value {
    let kinds: Vec<(String, Value)> =
        record.iter().filter_map(|(name, kind)| Some((name.strip_suffix(TYPE)?.to_owned(), kind.clone()))).collect();
    for (name, kind) in kinds {
        record.remove(&format!("{name}{TYPE}"));
        let whole = record.get(&name).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
        if let Some(whole) = whole.filter(|_| kind == "Edm.Int64") {
            record.insert(name, json!(whole));
        }
    }
    record.retain(|name, _| !name.starts_with("odata."));
    Value::Object(record)
}

//! Tables of items, for `csv_table` and `html_table`: which columns there are, and what stands in each cell.

use std::collections::HashSet;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::{PerItem, StartContext};
use crate::flow::catalogue::OwnFinding;
use crate::run::Failure;
use crate::template::{is_template, kind_of};

/// Most columns of a table.
const COLUMNS_MAX: usize = 1000;

/// The keys of both kinds of table.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; the items are rendered one by one")]
pub(super) struct Keys {
    /// A list, or a template that gives one; null is an empty one.
    #[schemars(required, schema_with = "super::list_or_template")]
    from: Option<Value>,
    /// The columns: names of the items' keys, or `{header, value}` with a template as the value, in which `item` and
    /// `item_index` are in scope. Without it: all keys of the items, in the order in which they come up.
    #[serde(default)]
    #[schemars(schema_with = "columns")]
    columns: Option<Value>,
}

fn columns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": COLUMNS_MAX,
        "x-per-item": true,
        "items": {
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["header", "value"],
                    "properties": {
                        "header": { "type": "string", "x-fixed": true, "description": "What stands over the column." },
                        "value": { "x-template": "plain", "description": "What stands in its cells." },
                    },
                },
            ],
        },
    })
}

/// A column's name is a constant: a template belongs into `value`.
pub(super) fn check(raw: &Value) -> Vec<OwnFinding> {
    let columns = raw.get("columns").and_then(Value::as_array).into_iter().flatten().enumerate();
    let templates = columns.filter(|(_, column)| column.as_str().is_some_and(is_template));
    let finding = |(index, _)| OwnFinding {
        pointer: format!("/columns/{index}"),
        code: "not_fixed",
        message: "the name of a column is a constant".into(),
        help: Some("write  - { header: NAME, value: \"{{item.NAME}}\" }".into()),
    };
    templates.map(finding).collect()
}

/// Where the cells of a column come from.
enum Source<'a> {
    /// A key of each item.
    Key(&'a str),
    /// The `value` of the column at this place, rendered for each item.
    Column(usize),
}

/// A table that is being written.
pub(super) struct Table<'a> {
    per_item: PerItem<'a>,
    columns: Vec<(&'a str, Source<'a>)>,
}

impl<'a> Table<'a> {
    /// The table that rendered inputs describe.
    pub(super) fn new(inputs: &'a Value) -> Result<Self, Failure> {
        let per_item = PerItem::new(inputs);
        let columns = match inputs.get("columns").and_then(Value::as_array) {
            Some(written) => written.iter().enumerate().map(column).collect(),
            None => keys(per_item.items())?.into_iter().map(|key| (key, Source::Key(key))).collect(),
        };
        Ok(Self { per_item, columns })
    }

    /// What stands over the columns.
    pub(super) fn headers(&self) -> impl Iterator<Item = &'a str> {
        self.columns.iter().map(|(header, _)| *header)
    }

    /// How many rows there are below the headers.
    pub(super) fn rows(&self) -> usize {
        self.per_item.items().len()
    }

    /// The cells of a row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = &Value> {
        let item = self.per_item.items().get(row).unwrap_or(&Value::Null);
        self.columns.iter().map(move |(_, source)| match source {
            Source::Key(key) => member(item, key),
            Source::Column(column) => {
                let columns = self.per_item.get("columns", row);
                columns.get(column).and_then(|column| column.get("value")).unwrap_or(&Value::Null)
            }
        })
    }
}

fn column((index, written): (usize, &Value)) -> (&str, Source<'_>) {
    match written.as_str() {
        Some(name) => (name, Source::Key(name)),
        None => (written.get("header").and_then(Value::as_str).unwrap_or_default(), Source::Column(index)),
    }
}

/// The keys of all items, each where it first comes up.
fn keys(items: &[Value]) -> Result<Vec<&str>, Failure> {
    let (mut seen, mut keys) = (HashSet::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let Some(item) = item.as_object() else {
            let message =
                format!("item {index} of `from` is {}; without `columns` each item must be an object", kind_of(item));
            return Err(Failure::terminal("wrong_type", message));
        };
        keys.extend(item.keys().map(String::as_str).filter(|key| seen.insert(*key)));
        if keys.len() > COLUMNS_MAX {
            let message = format!("the items have more than {COLUMNS_MAX} different keys; name the `columns`");
            return Err(Failure::terminal("too_many_items", message));
        }
    }
    Ok(keys)
}

/// The value of a key, ignoring case where no key is spelled the same; null where there is none.
fn member<'a>(item: &'a Value, key: &str) -> &'a Value {
    let Some(item) = item.as_object() else { return &Value::Null };
    let ignoring_case = || item.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
    item.get(key).or_else(ignoring_case).unwrap_or(&Value::Null)
}

/// Refuses a text that has grown too large, before it grows further.
pub(super) fn bounded(text: &str, cx: &StartContext) -> Result<(), Failure> {
    let limit = cx.outputs_bytes_max;
    if text.len() <= limit {
        return Ok(());
    }
    Err(Failure::terminal("outputs_too_large", format!("the table is larger than {limit} bytes (limits.outputs)")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(inputs: &Value) -> Vec<Vec<Value>> {
        let table = Table::new(inputs).unwrap_or_else(|failure| panic!("{failure}"));
        let rows = (0..table.rows()).map(|row| table.row(row).cloned().collect());
        std::iter::once(table.headers().map(Value::from).collect()).chain(rows).collect()
    }

    #[test]
    fn without_columns_all_keys_are_columns_in_the_order_in_which_they_come_up() {
        let inputs = json!({"from": [{"b": 1}, {"a": 2, "b": 3}]});
        assert_eq!(cells(&inputs), [[json!("b"), json!("a")], [json!(1), json!(null)], [json!(3), json!(2)]]);
        assert_eq!(cells(&json!({"from": []})), [Vec::<Value>::new()]);
        assert_eq!(Table::new(&json!({"from": [1]})).err().map(|failure| failure.code), Some("wrong_type".into()));
    }

    #[test]
    fn columns_are_names_and_values_and_an_empty_list_keeps_its_headers() {
        let columns = json!(["Name", {"header": "No.", "value": "{{item_index}}"}]);
        let rendered = json!([["Name", {"header": "No.", "value": 0}], ["Name", {"header": "No.", "value": 1}]]);
        let inputs = json!({"from": [{"name": "x"}, 5], "columns": columns, "per_item": {"columns": rendered}});
        assert_eq!(cells(&inputs), [[json!("Name"), json!("No.")], [json!("x"), json!(0)], [json!(null), json!(1)]]);
        assert_eq!(cells(&json!({"from": [], "columns": columns})), [[json!("Name"), json!("No.")]]);
    }

    #[test]
    fn keys_without_end_are_refused() {
        let items: Vec<Value> = (0..=COLUMNS_MAX).map(|index| json!({ format!("k{index}"): 1 })).collect();
        let failure = Table::new(&json!({ "from": items })).err().map(|failure| failure.code);
        assert_eq!(failure, Some("too_many_items".into()));
    }

    #[test]
    fn a_template_is_no_name() {
        let found = check(&json!({"columns": ["a", "{{item.b}}", {"header": "c", "value": "{{item.c}}"}]}));
        assert_eq!(found.iter().map(|one| one.pointer.as_str()).collect::<Vec<_>>(), ["/columns/1"]);
    }
}

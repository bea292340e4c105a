//! Statements: every name quoted, every value a parameter. Pure.
//!
//! On PostgreSQL a row comes back as one JSON text, so that the server writes every type that it has.

use std::fmt::Write as _;

use serde_json::Value;

use super::Flavour;
use crate::outbound::sql::{Parameter, Statement, TableName, quoted};

/// The name of the row within a statement: one that no table's column has.
const ROW: &str = "leadflow_row";

/// A statement that is being written.
pub(super) struct Writer {
    flavour: Flavour,
    table: String,
    text: String,
    parameters: Vec<Parameter>,
}

impl Writer {
    pub(super) fn new(flavour: Flavour, table: &TableName) -> Self {
        Self { flavour, table: table.quoted(), text: String::new(), parameters: Vec::new() }
    }

    /// Makes a row. One that conflicts with another gives no row.
    pub(super) fn insert(mut self, values: &[Parameter]) -> Statement {
        self.insert_into(values);
        // SQLite has no such clause behind DEFAULT VALUES.
        if self.flavour == Flavour::Postgres || !values.is_empty() {
            self.text.push_str(" ON CONFLICT DO NOTHING");
        }
        self.returning()
    }

    /// Changes the rows that fit.
    pub(super) fn update(mut self, values: &[Parameter], fitting: &[Parameter]) -> Statement {
        let _ = write!(self.text, "UPDATE {} AS {ROW} SET ", self.table);
        for (index, value) in values.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let place = self.place(value);
            let _ = write!(self.text, "{comma}{} = {place}", quoted(&value.column));
        }
        self.filter(&[fitting]);
        self.returning()
    }

    /// Makes a row, or changes the one with the same `key`; on SQLite in two statements, of which the first changes.
    pub(super) fn upsert(mut self, key: &[Parameter], values: &[Parameter]) -> Vec<Statement> {
        let all: Vec<Parameter> = key.iter().chain(values).cloned().collect();
        if self.flavour == Flavour::Sqlite {
            let fresh = || Self { text: String::new(), parameters: Vec::new(), table: self.table.clone(), ..self };
            let change =
                if values.is_empty() { fresh().select(&[], &[key], &[], 1) } else { fresh().update(values, key) };
            let mut make = fresh();
            make.insert_into(&all);
            return vec![change, make.returning()];
        }
        self.insert_into(&all);
        let names: Vec<String> = key.iter().map(|part| quoted(&part.column)).collect();
        let _ = write!(self.text, " ON CONFLICT ({}) DO UPDATE SET ", names.join(", "));
        // Something must be set, or a row that is there gives nothing.
        let changed = if values.is_empty() { key } else { values };
        let sets: Vec<String> = changed
            .iter()
            .map(|value| quoted(&value.column))
            .map(|column| format!("{column} = EXCLUDED.{column}"))
            .collect();
        self.text.push_str(&sets.join(", "));
        let _ = write!(self.text, " RETURNING row_to_json({ROW})::text, ({ROW}.xmax = 0)");
        vec![self.done()]
    }

    /// Reads at most `limit` rows that fit one of the groups: the `columns`, or all when none is named.
    pub(super) fn select(
        mut self,
        columns: &[&str],
        groups: &[&[Parameter]],
        order: &[(&str, bool)],
        limit: usize,
    ) -> Statement {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
        if self.flavour == Flavour::Postgres {
            let _ = write!(self.text, "SELECT row_to_json({ROW})::text FROM (");
        }
        let _ = write!(self.text, "SELECT {columns} FROM {}", self.table);
        self.filter(groups);
        for (index, (column, down)) in order.iter().enumerate() {
            let word = if index > 0 { "," } else { " ORDER BY" };
            let way = if *down { "DESC" } else { "ASC" };
            let _ = write!(self.text, "{word} {} {way} NULLS LAST", quoted(column));
        }
        let _ = write!(self.text, " LIMIT {limit}");
        if self.flavour == Flavour::Postgres {
            let _ = write!(self.text, ") AS {ROW}");
        }
        self.done()
    }

    fn insert_into(&mut self, values: &[Parameter]) {
        let _ = write!(self.text, "INSERT INTO {} AS {ROW} ", self.table);
        if values.is_empty() {
            self.text.push_str("DEFAULT VALUES");
            return;
        }
        let names: Vec<String> = values.iter().map(|value| quoted(&value.column)).collect();
        let places: Vec<String> = values.iter().map(|value| self.place(value)).collect();
        let _ = write!(self.text, "({}) VALUES ({})", names.join(", "), places.join(", "));
    }

    /// Rows that have all values of one of the groups; null: no value.
    fn filter(&mut self, groups: &[&[Parameter]]) {
        let groups: Vec<String> = groups
            .iter()
            .filter(|group| !group.is_empty())
            .map(|group| {
                let parts: Vec<String> = group
                    .iter()
                    .map(|part| match part.value {
                        Value::Null => format!("{} IS NULL", quoted(&part.column)),
                        _ => format!("{} = {}", quoted(&part.column), self.place(part)),
                    })
                    .collect();
                parts.join(" AND ")
            })
            .collect();
        match groups.as_slice() {
            [] => {}
            [one] => drop(write!(self.text, " WHERE {one}")),
            several => drop(write!(self.text, " WHERE ({})", several.join(") OR ("))),
        }
    }

    fn returning(mut self) -> Statement {
        match self.flavour {
            Flavour::Postgres => drop(write!(self.text, " RETURNING row_to_json({ROW})::text")),
            Flavour::Sqlite => self.text.push_str(" RETURNING *"),
        }
        self.done()
    }

    /// Where a value stands.
    fn place(&mut self, value: &Parameter) -> String {
        self.parameters.push(value.clone());
        let sign = match self.flavour {
            Flavour::Postgres => '$',
            Flavour::Sqlite => '?',
        };
        format!("{sign}{}", self.parameters.len())
    }

    fn done(self) -> Statement {
        Statement { text: self.text, parameters: self.parameters }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn writer(flavour: Flavour) -> Writer {
        Writer::new(flavour, &TableName { schema: Some("crm".into()), table: "le\"ads".into() })
    }

    fn parameters(pairs: &[(&str, Value)]) -> Vec<Parameter> {
        pairs.iter().map(|(column, value)| Parameter { column: (*column).into(), value: value.clone() }).collect()
    }

    #[test]
    fn postgres_is_spoken_with_json_rows() {
        let (key, values) =
            (parameters(&[("email", json!("x"))]), parameters(&[("a b", json!(1)), ("c", json!(null))]));
        let new = || writer(Flavour::Postgres);
        assert_eq!(
            new().insert(&values).text,
            "INSERT INTO \"crm\".\"le\"\"ads\" AS leadflow_row (\"a b\", \"c\") VALUES ($1, $2) \
             ON CONFLICT DO NOTHING RETURNING row_to_json(leadflow_row)::text"
        );
        assert_eq!(
            new().update(&values, &key).text,
            "UPDATE \"crm\".\"le\"\"ads\" AS leadflow_row SET \"a b\" = $1, \"c\" = $2 WHERE \"email\" = $3 \
             RETURNING row_to_json(leadflow_row)::text"
        );
        let upsert = new().upsert(&key, &values);
        assert_eq!(
            upsert[0].text,
            "INSERT INTO \"crm\".\"le\"\"ads\" AS leadflow_row (\"email\", \"a b\", \"c\") VALUES ($1, $2, $3) \
             ON CONFLICT (\"email\") DO UPDATE SET \"a b\" = EXCLUDED.\"a b\", \"c\" = EXCLUDED.\"c\" \
             RETURNING row_to_json(leadflow_row)::text, (leadflow_row.xmax = 0)"
        );
        let list = new().select(&["a b"], &[&values], &[("c", true), ("a b", false)], 5);
        assert_eq!(
            list.text,
            "SELECT row_to_json(leadflow_row)::text FROM (SELECT \"a b\" FROM \"crm\".\"le\"\"ads\" \
             WHERE \"a b\" = $1 AND \"c\" IS NULL ORDER BY \"c\" DESC NULLS LAST, \"a b\" ASC NULLS LAST LIMIT 5) \
             AS leadflow_row"
        );
        assert_eq!(list.parameters, parameters(&[("a b", json!(1))]));
    }

    #[test]
    fn sqlite_is_spoken_in_its_own_words() {
        let (key, values) = (parameters(&[("email", json!("x"))]), parameters(&[("n", json!(1))]));
        let new = || writer(Flavour::Sqlite);
        let upsert: Vec<String> = new().upsert(&key, &values).into_iter().map(|statement| statement.text).collect();
        assert_eq!(
            upsert,
            [
                "UPDATE \"crm\".\"le\"\"ads\" AS leadflow_row SET \"n\" = ?1 WHERE \"email\" = ?2 RETURNING *",
                "INSERT INTO \"crm\".\"le\"\"ads\" AS leadflow_row (\"email\", \"n\") VALUES (?1, ?2) RETURNING *",
            ]
        );
        assert_eq!(
            new().select(&[], &[&key, &values], &[], 2).text,
            "SELECT * FROM \"crm\".\"le\"\"ads\" WHERE (\"email\" = ?1) OR (\"n\" = ?2) LIMIT 2"
        );
        assert_eq!(
            new().insert(&[]).text,
            "INSERT INTO \"crm\".\"le\"\"ads\" AS leadflow_row DEFAULT VALUES RETURNING *"
        );
    }

    #[test]
    fn a_value_is_never_part_of_the_text() {
        for evil in ["' or 1=1 --", "\"; drop table leads; --", "$1", "?1", "\\'", "名\u{202e}"] {
            let values = parameters(&[("a", json!(evil))]);
            for flavour in [Flavour::Postgres, Flavour::Sqlite] {
                let insert = writer(flavour).insert(&values);
                let select = writer(flavour).select(&[], &[&values], &[], 1);
                assert_eq!(insert.text, writer(flavour).insert(&parameters(&[("a", json!("x"))])).text);
                assert_eq!(select.text, writer(flavour).select(&[], &[&parameters(&[("a", json!("x"))])], &[], 1).text);
                assert_eq!(insert.parameters, values);
            }
        }
    }
}

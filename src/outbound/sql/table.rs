//! What a table is like, in words that both databases share.

use serde::{Deserialize, Serialize};

/// A table, perhaps in a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema; `None`: where the database looks by itself.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

impl TableName {
    /// `leads` or `sales.leads`; a table without a schema is looked for in `schema`. `None`: it names no table.
    pub fn parse(entity: &str, schema: Option<&str>) -> Option<Self> {
        let (named, table) = match entity.split_once('.') {
            Some((named, table)) => (Some(named), table),
            None => (schema, entity),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains(['\0', '.']);
        (is_name(table) && named.is_none_or(is_name))
            .then(|| Self { schema: named.map(str::to_owned), table: table.to_owned() })
    }

    /// As it stands in a statement.
    pub fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.table)),
            None => quoted(&self.table),
        }
    }
}

/// A name as it stands in a statement: whatever is in it, it stays one name.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What a table is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// The columns of its primary key; empty: it has none.
    pub primary_key: Vec<String>,
    /// The columns of each unique index that holds for every row, the primary key included.
    pub unique: Vec<Vec<String>>,
    /// Whether nothing is known of it: a dry run.
    #[serde(default)]
    pub is_assumed: bool,
}

impl Table {
    /// The column `name`: an exact match wins, else one that differs only in case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let same = |column: &&Column| column.name.eq_ignore_ascii_case(name);
        self.columns.iter().find(|column| column.name == name).or_else(|| self.columns.iter().find(same))
    }

    /// Whether at most one row can have the same values in `columns`.
    pub fn is_unique(&self, columns: &[String]) -> bool {
        self.unique.iter().any(|unique| unique.iter().all(|column| columns.contains(column)))
    }

    /// Whether a unique index is over exactly `columns`.
    pub fn has_index(&self, columns: &[String]) -> bool {
        self.unique
            .iter()
            .any(|unique| unique.len() == columns.len() && unique.iter().all(|column| columns.contains(column)))
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the database writes it.
    pub type_name: String,
    /// What kind of values it takes.
    pub kind: Kind,
    /// Whether it may be empty.
    pub nullable: bool,
    /// Whether it has a value by itself when none is given.
    pub has_default: bool,
    /// Whether it takes no value: the database computes it.
    pub generated: bool,
    /// Most characters of a text.
    pub length: Option<u32>,
}

/// What kind of values a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Whole numbers of so many bits.
    Integer(u8),
    /// Floating point numbers.
    Float,
    /// Decimal numbers.
    Numeric,
    /// True and false.
    Boolean,
    /// Text.
    Text,
    /// A moment.
    Timestamp,
    /// A date and a time of no zone: UTC is meant.
    LocalTimestamp,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A UUID.
    Uuid,
    /// JSON.
    Json,
    /// Bytes.
    Binary,
    /// A list.
    Array,
    /// Anything else: the database reads it from text.
    Other,
}

impl Kind {
    /// The kind of PostgreSQL's type `name` (as `format_type` writes it) of the category `category`.
    pub fn of_postgres(name: &str, category: &str) -> Self {
        match name {
            _ if category == "A" => Self::Array,
            "smallint" => Self::Integer(16),
            "integer" => Self::Integer(32),
            "bigint" => Self::Integer(64),
            "real" | "double precision" => Self::Float,
            "numeric" => Self::Numeric,
            "boolean" => Self::Boolean,
            "timestamp with time zone" => Self::Timestamp,
            "timestamp without time zone" => Self::LocalTimestamp,
            "date" => Self::Date,
            "time without time zone" | "time with time zone" => Self::Time,
            "uuid" => Self::Uuid,
            "json" | "jsonb" => Self::Json,
            "bytea" => Self::Binary,
            _ if category == "S" => Self::Text,
            _ => Self::Other,
        }
    }

    /// The kind of a column that SQLite declares as `declared`: by what people mean, then by SQLite's own affinity.
    pub fn of_sqlite(declared: &str) -> Self {
        let word = declared.split('(').next().unwrap_or_default().trim().to_ascii_uppercase();
        match word.as_str() {
            "BOOLEAN" | "BOOL" => return Self::Boolean,
            "DATETIME" | "TIMESTAMP" => return Self::Timestamp,
            "DATE" => return Self::Date,
            "TIME" => return Self::Time,
            "UUID" | "GUID" => return Self::Uuid,
            "JSON" | "JSONB" => return Self::Json,
            "DECIMAL" | "NUMERIC" => return Self::Numeric,
            _ => {}
        }
        let holds = |words: &[&str]| words.iter().any(|part| word.contains(part));
        match () {
            () if holds(&["INT"]) => Self::Integer(64),
            () if holds(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if holds(&["BLOB"]) => Self::Binary,
            () if holds(&["REAL", "FLOA", "DOUB"]) => Self::Float,
            () => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_with_or_without_its_schema_and_stays_one_name() {
        let name = |entity: &str| TableName::parse(entity, Some("crm")).map(|name| name.quoted());
        assert_eq!(name("leads").as_deref(), Some("\"crm\".\"leads\""));
        assert_eq!(name("sales.Leads 2").as_deref(), Some("\"sales\".\"Leads 2\""));
        assert_eq!(name("l\"; drop table x; --").as_deref(), Some("\"crm\".\"l\"\"; drop table x; --\""));
        for odd in ["", ".", "a.", ".a", "a.b.c", "a\0"] {
            assert_eq!(name(odd), None, "{odd:?}");
        }
        assert_eq!(TableName::parse("leads", None).map(|name| name.quoted()).as_deref(), Some("\"leads\""));
    }

    #[test]
    fn types_are_known_by_their_names() {
        for (name, category, kind) in [
            ("integer", "N", Kind::Integer(32)),
            ("character varying", "S", Kind::Text),
            ("citext", "S", Kind::Text),
            ("timestamp with time zone", "D", Kind::Timestamp),
            ("text[]", "A", Kind::Array),
            ("lead_state", "E", Kind::Other),
        ] {
            assert_eq!(Kind::of_postgres(name, category), kind, "{name}");
        }
        for (declared, kind) in [
            ("INTEGER", Kind::Integer(64)),
            ("varchar(50)", Kind::Text),
            ("", Kind::Other),
            ("DECIMAL(10,2)", Kind::Numeric),
            ("datetime", Kind::Timestamp),
            ("DOUBLE PRECISION", Kind::Float),
            ("BLOB", Kind::Binary),
        ] {
            assert_eq!(Kind::of_sqlite(declared), kind, "{declared}");
        }
    }

    #[test]
    fn unique_columns_are_known() {
        let table = Table {
            columns: Vec::new(),
            primary_key: vec!["id".into()],
            unique: vec![vec!["id".into()], vec!["a".into(), "b".into()]],
            is_assumed: false,
        };
        let columns = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        assert!(table.is_unique(&columns(&["id", "x"])) && table.is_unique(&columns(&["b", "a"])));
        assert!(!table.is_unique(&columns(&["a"])) && !table.has_index(&columns(&["id", "x"])));
        assert!(table.has_index(&columns(&["b", "a"])));
    }
}

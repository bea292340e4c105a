//! Records in the tables of a database: what PostgreSQL and SQLite share. An entity is a table, a field is a column.
//!
//! First the table is asked what it is like (remembered for a minute); then one statement does the work, with every value
//! a parameter and every name one that the table has. A create that is repeated is recognised by the column
//! [`KEY_COLUMN`], where the table has one, or by a unique index over what the lead brings.

mod statements;
mod steps;
mod values;

use serde_json::{Map, Value};

use super::live::{EntityShape, FieldKind, FieldShape, Need};
use super::{Described, Dialect, OpContext, Operation, Progress, Talk, Target, not_served, unexpected};
use crate::flow::catalogue::{OperationKind, Repeat};
use crate::outbound::sql::{Column, Kind, SqlReply, SqlRequest, Table, TableName};
use crate::outbound::{Effect, Reply};
use crate::run::Failure;

/// The column in which a create leaves its idempotency key, where a table has it: `leadflow_key uuid unique`.
pub const KEY_COLUMN: &str = "leadflow_key";

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// PostgreSQL's.
    Postgres,
    /// SQLite's.
    Sqlite,
}

/// Speaks to the tables of one connection.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    /// Whose SQL.
    pub(super) flavour: Flavour,
    /// Where tables lie that name no schema.
    pub(super) schema: Option<String>,
}

/// What a connection to tables can be asked for. A create is recognised where the table lets us: the page of the connector
/// says how; without that, a repeat whose first outcome is unknown is flagged.
pub(super) fn operations() -> Vec<(OperationKind, Repeat)> {
    let repeat = |operation| match operation {
        OperationKind::Create => Repeat::Recognised,
        _ => Repeat::Safe,
    };
    OperationKind::RECORDS.map(|operation| (operation, repeat(operation))).to_vec()
}

impl Sql {
    fn table_name(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<TableName, Failure> {
        let entity = operation.entity().ok_or_else(|| not_served(cx.connection))?;
        TableName::parse(entity, self.schema.as_deref())
            .ok_or_else(|| Failure::terminal("unknown_entity", "`entity` is `table` or `schema.table`".to_owned()))
    }
}

impl Dialect for Sql {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let name = self.table_name(operation, cx)?;
        Ok(Effect::Sql(Box::new(SqlRequest::Describe(name))))
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress {
        let next = match reply {
            Reply::Sql(SqlReply::Table(None)) => Err(Failure::terminal(
                "unknown_entity",
                format!("there is no table `{}` that the connection may see", operation.entity().unwrap_or_default()),
            )),
            Reply::Sql(SqlReply::Table(Some(table))) => self.table_name(operation, cx).and_then(|name| {
                steps::begin(&steps::Given { flavour: self.flavour, operation, cx, table: &table, name: &name }, talk)
            }),
            Reply::Sql(SqlReply::Rows { statement, rows, inserted }) => {
                self.table_name(operation, cx).and_then(|name| {
                    let (step, table) = steps::recall(talk)?;
                    let given = steps::Given { flavour: self.flavour, operation, cx, table: &table, name: &name };
                    let rows = rows.into_iter().map(|row| values::seen(&table, row)).collect();
                    steps::answered(&given, talk, step, steps::Answer { statement, rows, inserted })
                })
            }
            Reply::Failed(failure) => Err(failure),
            _ => return unexpected(),
        };
        next.unwrap_or_else(|failure| Progress::Done(Err(failure)))
    }

    /// A table that nobody has: whoever is told so was let in.
    fn login(&self) -> Option<Effect> {
        let name = TableName { schema: None, table: "leadflow asks whether it is let in".to_owned() };
        Some(Effect::Sql(Box::new(SqlRequest::Describe(name))))
    }

    fn logged_in(&self, reply: &Reply) -> Result<(), Failure> {
        match reply {
            Reply::Sql(_) => Ok(()),
            Reply::Failed(failure) => Err(failure.clone()),
            _ => Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
        }
    }

    fn describe(&self, entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
        let Some(name) = TableName::parse(entity, self.schema.as_deref()) else {
            return Ok(Described::NoEntity(Vec::new()));
        };
        match so_far.last() {
            None => Ok(Described::Ask(Effect::Sql(Box::new(SqlRequest::Describe(name))))),
            Some(Reply::Sql(SqlReply::Table(Some(table)))) => Ok(Described::Shape(shape(table))),
            Some(Reply::Sql(SqlReply::Table(None))) => Ok(Described::NoEntity(Vec::new())),
            Some(Reply::Failed(failure)) => Err(failure.clone()),
            Some(_) => Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
        }
    }

    /// A dry run takes the table for one that has every column that is named, and `id`. It takes a record that is meant for
    /// one that is there, one to upsert for one that is not, and a list for one record that fits.
    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, _: &Talk, effect: &Effect) -> Reply {
        let Effect::Sql(request) = effect else { return Reply::Record };
        let (named, key) = named(operation);
        if matches!(**request, SqlRequest::Describe(_)) {
            return Reply::Sql(SqlReply::Table(Some(std::sync::Arc::new(assumed(&named, key)))));
        }
        let mut row = Map::new();
        match operation {
            Operation::UpdateRecord(update) => add_target(&mut row, &update.target),
            Operation::UpsertRecord(upsert) => add_target(&mut row, &upsert.target),
            Operation::GetRecord(get) => add_target(&mut row, &get.target),
            _ => {}
        }
        row.entry("id").or_insert_with(|| Value::String(cx.key.uuid().to_string()));
        row.extend(named);
        let statement = match &**request {
            SqlRequest::Run(run) => run.statements.len().saturating_sub(1),
            SqlRequest::Describe(_) => 0,
        };
        let inserted = matches!(operation, Operation::UpsertRecord(_)).then_some(true);
        Reply::Sql(SqlReply::Rows { statement, rows: vec![Value::Object(row)], inserted })
    }
}

fn add_target(row: &mut Map<String, Value>, target: &Target) {
    match target {
        Target::Id(id) => drop(row.insert("id".to_owned(), Value::String(id.clone()))),
        Target::Key(key) => row.extend(key.clone()),
    }
}

/// The table in the words of `check --live`.
fn shape(table: &Table) -> EntityShape {
    let field = |column: &Column| {
        let kind = match column.kind {
            Kind::Integer(_) => FieldKind::Integer,
            Kind::Float | Kind::Numeric => FieldKind::Number,
            Kind::Boolean => FieldKind::Boolean,
            Kind::Text => FieldKind::Text,
            Kind::Date => FieldKind::Date,
            Kind::Timestamp | Kind::LocalTimestamp => FieldKind::Timestamp,
            Kind::Time | Kind::Uuid | Kind::Json | Kind::Binary | Kind::Array | Kind::Other => FieldKind::Other,
        };
        let is_needed = !(column.nullable || column.has_default || column.generated);
        FieldShape {
            need: if is_needed { Need::Required } else { Need::Optional },
            chars_max: column.length.map(|length| length as usize),
            on_create: !column.generated,
            on_update: !column.generated,
            ..FieldShape::new(column.name.clone(), kind)
        }
    };
    EntityShape { fields: table.columns.iter().map(field).collect(), is_open: false, case_matters: false }
}

/// The columns that `operation` names, with their values, and those of its key.
fn named(operation: &Operation) -> (Map<String, Value>, Vec<String>) {
    let of = |target: &Target, fields: &Map<String, Value>| {
        let Target::Key(key) = target else { return (fields.clone(), Vec::new()) };
        let named = key.iter().chain(fields).map(|(name, value)| (name.clone(), value.clone())).collect();
        (named, key.keys().cloned().collect())
    };
    match operation {
        Operation::CreateRecord(create) => (create.fields.clone(), Vec::new()),
        Operation::UpdateRecord(update) => of(&update.target, &update.fields),
        Operation::UpsertRecord(upsert) => of(&upsert.target, &upsert.fields),
        Operation::GetRecord(get) => of(&get.target, &Map::new()),
        Operation::ListRecords(list) => {
            let mut named = list.filter.clone();
            for name in list.select.iter().chain(list.order_by.iter().map(|(name, _)| name)) {
                named.entry(name.as_str()).or_insert(Value::Null);
            }
            (named, Vec::new())
        }
        Operation::SendEmail(_) | Operation::Http(_) => (Map::new(), Vec::new()),
    }
}

/// A table that has these columns and `id`.
fn assumed(named: &Map<String, Value>, key: Vec<String>) -> Table {
    let column = |name: &str| Column {
        name: name.to_owned(),
        type_name: String::new(),
        kind: Kind::Other,
        nullable: true,
        has_default: true,
        generated: false,
        length: None,
    };
    let others = named.keys().filter(|name| *name != "id").map(|name| column(name));
    let id = vec!["id".to_owned()];
    let unique = [id.clone(), key].into_iter().filter(|columns| !columns.is_empty()).collect();
    Table { columns: std::iter::once(column("id")).chain(others).collect(), primary_key: id, unique, is_assumed: true }
}

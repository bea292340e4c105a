//! An operation as steps: what is asked of the table next, and what an answer means. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::statements::Writer;
use super::{Flavour, KEY_COLUMN, values};
use crate::connectors::{
    CreateRecord, Did, ListRecords, OnDuplicate, OpContext, Operation, Outcome, Progress, Talk, Target, UpsertRecord,
    Written,
};
use crate::outbound::Effect;
use crate::outbound::sql::{Kind, Parameter, Run, SqlRequest, Statement, Table, TableName};
use crate::run::Failure;

/// What every step needs.
pub(super) struct Given<'a> {
    pub(super) flavour: Flavour,
    pub(super) operation: &'a Operation,
    pub(super) cx: &'a OpContext<'a>,
    pub(super) table: &'a Table,
    pub(super) name: &'a TableName,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Whether an earlier try of this create has left its row.
    Own,
    /// To make the row.
    Insert,
    /// The row that stands in the way of a new one.
    Existing,
    /// To change the row that stands in the way.
    Overwrite,
    /// The one row that an update means by a key that is not unique.
    Meant,
    /// To change the row.
    Update,
    /// To change or make the row.
    Upsert,
    /// The row.
    Get,
    /// The rows.
    List,
}

/// The rows that came.
pub(super) struct Answer {
    pub(super) statement: usize,
    pub(super) rows: Vec<Map<String, Value>>,
    pub(super) inserted: Option<bool>,
}

/// What a try notes from one effect to the next.
#[derive(Serialize, Deserialize)]
struct Notes {
    step: Step,
    table: Table,
}

type Next = Result<Progress, Failure>;

/// What was asked last, and of which table.
pub(super) fn recall(talk: &Talk) -> Result<(Step, Table), Failure> {
    let notes: Result<Notes, _> = serde_json::from_value(talk.notes.clone());
    let lost = |_| Failure::terminal("internal_error", "the answer belongs to no question");
    notes.map(|notes| (notes.step, notes.table)).map_err(lost)
}

/// The first question, now that the table is known.
pub(super) fn begin(given: &Given<'_>, talk: &mut Talk) -> Next {
    match given.operation {
        Operation::CreateRecord(create) => {
            let own = given.own_key()?;
            match own.filter(|_| given.cx.possible_repeat) {
                Some(own) => Ok(given.look(talk, Step::Own, &[&[own]])),
                None => given.insert(talk, create),
            }
        }
        Operation::UpdateRecord(update) => {
            let fitting = given.fitting(&update.target)?;
            let fields = given.parameters(&update.fields)?;
            if fields.is_empty() || !given.is_unique(&fitting) {
                return Ok(given.look(talk, Step::Meant, &[&fitting]));
            }
            Ok(given.change(talk, Step::Update, &fields, &fitting))
        }
        Operation::UpsertRecord(upsert) => given.upsert(talk, upsert),
        Operation::GetRecord(get) => {
            let fitting = given.fitting(&get.target)?;
            Ok(given.look(talk, Step::Get, &[&fitting]))
        }
        Operation::ListRecords(list) => given.list(talk, list),
        Operation::SendEmail(_) | Operation::Http(_) => Err(crate::connectors::not_served(given.cx.connection)),
    }
}

/// What follows from the answer to `step`.
pub(super) fn answered(given: &Given<'_>, talk: &mut Talk, step: Step, answer: Answer) -> Next {
    let Answer { statement, mut rows, inserted } = answer;
    let outcome = match (given.operation, step) {
        (Operation::CreateRecord(create), Step::Own) => match rows.pop() {
            Some(row) => given.wrote(Did::Created, row),
            None => return given.insert(talk, create),
        },
        (Operation::CreateRecord(_), Step::Insert) => match rows.pop() {
            Some(row) => {
                // Without a key nobody knows whether an earlier try has left a row too.
                let flagged = given.cx.possible_repeat && given.own_key()?.is_none();
                given.wrote(Did::Created, row).flagged(flagged)
            }
            None => return given.look_for_existing(talk),
        },
        (Operation::CreateRecord(create), Step::Existing) => return given.existing(talk, create, rows),
        (Operation::CreateRecord(create), Step::Overwrite) => match rows.pop() {
            Some(row) => given.wrote(Did::Updated, row),
            // It went away meanwhile, and is in nobody's way any more.
            None => return given.insert(talk, create),
        },
        (Operation::UpdateRecord(update), Step::Meant) => {
            let row = given.only(rows)?;
            let fields = given.parameters(&update.fields)?;
            if fields.is_empty() {
                given.wrote(Did::Updated, row)
            } else {
                let fitting = match given.key_of(&row) {
                    Some(key) => key,
                    None => given.fitting(&update.target)?,
                };
                return Ok(given.change(talk, Step::Update, &fields, &fitting));
            }
        }
        (Operation::UpdateRecord(_), Step::Update) => given.wrote(Did::Updated, given.only(rows)?),
        (Operation::UpsertRecord(_), Step::Upsert) => {
            let did = if inserted.unwrap_or(statement > 0) { Did::Created } else { Did::Updated };
            given.wrote(did, given.only(rows)?)
        }
        (Operation::GetRecord(_), Step::Get) => Outcome::found(Value::Object(given.only(rows)?)),
        (Operation::ListRecords(_), Step::List) => Outcome::listed(rows.into_iter().map(Value::Object).collect()),
        _ => return Err(Failure::terminal("internal_error", "the answer belongs to another question")),
    };
    Ok(Progress::Done(Ok(outcome)))
}

impl Given<'_> {
    fn entity(&self) -> &str {
        self.operation.entity().unwrap_or_default()
    }

    fn writer(&self) -> Writer {
        Writer::new(self.flavour, self.name)
    }

    fn parameters(&self, fields: &Map<String, Value>) -> Result<Vec<Parameter>, Failure> {
        values::parameters(self.table, self.entity(), fields)
    }

    /// Asks, and notes what was asked.
    fn send(&self, talk: &mut Talk, step: Step, statements: Vec<Statement>) -> Progress {
        talk.notes = json!(Notes { step, table: self.table.clone() });
        Progress::Send(Effect::Sql(Box::new(SqlRequest::Run(Run {
            operation: match step {
                Step::Insert => "create",
                Step::Overwrite | Step::Update => "update",
                Step::Upsert => "upsert",
                Step::List => "list",
                Step::Own | Step::Existing | Step::Meant | Step::Get => "get",
            },
            entity: self.entity().to_owned(),
            table: self.name.clone(),
            statements,
            writes: matches!(step, Step::Insert | Step::Overwrite | Step::Update | Step::Upsert),
        }))))
    }

    /// Looks for rows that fit one of the groups: one is meant, two are enough to know that it is not alone. Of unique
    /// indexes there is at most one for each.
    fn look(&self, talk: &mut Talk, step: Step, groups: &[&[Parameter]]) -> Progress {
        self.send(talk, step, vec![self.writer().select(&[], groups, &[], groups.len().max(2))])
    }

    fn change(&self, talk: &mut Talk, step: Step, fields: &[Parameter], fitting: &[Parameter]) -> Progress {
        self.send(talk, step, vec![self.writer().update(fields, fitting)])
    }

    /// The key that this create leaves in its row, where the table has a column for it.
    fn own_key(&self) -> Result<Option<Parameter>, Failure> {
        let column = self.table.columns.iter().find(|column| column.name == KEY_COLUMN && !column.generated);
        let Some(column) = column.filter(|column| matches!(column.kind, Kind::Uuid | Kind::Text | Kind::Other)) else {
            return Ok(None);
        };
        let key = Value::String(self.cx.key.uuid().to_string());
        Ok(Some(Parameter { column: column.name.clone(), value: values::fit(column, &key)? }))
    }

    /// The row of a create: its fields, and the key.
    fn row(&self, create: &CreateRecord) -> Result<Vec<Parameter>, Failure> {
        let mut row = self.parameters(&create.fields)?;
        if !row.iter().any(|value| value.column == KEY_COLUMN) {
            row.extend(self.own_key()?);
        }
        Ok(row)
    }

    fn insert(&self, talk: &mut Talk, create: &CreateRecord) -> Next {
        let row = self.row(create)?;
        Ok(self.send(talk, Step::Insert, vec![self.writer().insert(&row)]))
    }

    /// A new row was refused: by which one of those that share a unique value?
    fn look_for_existing(&self, talk: &mut Talk) -> Next {
        let Operation::CreateRecord(create) = self.operation else {
            return Err(Failure::terminal("internal_error", "only a create conflicts"));
        };
        let row = self.row(create)?;
        let groups: Vec<Vec<Parameter>> = self
            .table
            .unique
            .iter()
            .filter_map(|columns| {
                let value =
                    |column: &String| row.iter().find(|value| value.column == *column && !value.value.is_null());
                columns.iter().map(|column| value(column).cloned()).collect()
            })
            .collect();
        if groups.is_empty() {
            return self.existing(talk, create, Vec::new());
        }
        let groups: Vec<&[Parameter]> = groups.iter().map(Vec::as_slice).collect();
        Ok(self.look(talk, Step::Existing, &groups))
    }

    /// What a duplicate means: our own row of an earlier try is no duplicate.
    fn existing(&self, talk: &mut Talk, create: &CreateRecord, mut rows: Vec<Map<String, Value>>) -> Next {
        let own_key = self.own_key()?;
        let is_own = |row: &Map<String, Value>| {
            own_key.as_ref().is_some_and(|own| row.get(KEY_COLUMN).is_some_and(|key| *key == own.value))
        };
        if let Some(own) = rows.iter().position(is_own) {
            return Ok(Progress::Done(Ok(self.wrote(Did::Created, rows.swap_remove(own)))));
        }
        let row = if rows.is_empty() { None } else { Some(rows.swap_remove(0)) };
        if self.cx.possible_repeat && own_key.is_none() {
            // It may be our own: nobody knows.
            let row = row.unwrap_or_else(|| create.fields.clone());
            return Ok(Progress::Done(Ok(self.wrote(Did::Created, row).flagged(true))));
        }
        match (create.on_duplicate, row) {
            (OnDuplicate::Fail, _) => {
                let message = format!("a record of `{}` with the same key is there already", self.entity());
                Err(Failure::terminal("duplicate", message))
            }
            (OnDuplicate::Update, Some(row)) => {
                let fields = self.parameters(&create.fields)?;
                match self.key_of(&row) {
                    Some(key) if !fields.is_empty() => Ok(self.change(talk, Step::Overwrite, &fields, &key)),
                    _ => Ok(Progress::Done(Ok(self.wrote(Did::Duplicate, row)))),
                }
            }
            (_, row) => {
                Ok(Progress::Done(Ok(self.wrote(Did::Duplicate, row.unwrap_or_else(|| create.fields.clone())))))
            }
        }
    }

    fn upsert(&self, talk: &mut Talk, upsert: &UpsertRecord) -> Next {
        let key = self.fitting(&upsert.target)?;
        let columns: Vec<String> = key.iter().map(|part| part.column.clone()).collect();
        if !self.table.has_index(&columns) {
            let message = format!(
                "the table `{}` has no unique index over exactly {}, so two leads at once would make two records",
                self.entity(),
                columns.join(", ")
            );
            return Err(Failure::terminal("bad_key", message));
        }
        let mut fields = self.parameters(&upsert.fields)?;
        fields.retain(|field| !columns.contains(&field.column));
        Ok(self.send(talk, Step::Upsert, self.writer().upsert(&key, &fields)))
    }

    fn list(&self, talk: &mut Talk, list: &ListRecords) -> Next {
        let column = |name: &String| values::column(self.table, &list.entity, name).map(|column| column.name.as_str());
        let fitting = self.parameters_to_compare(&list.filter)?;
        let select = list.select.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let order = list.order_by.iter().map(|(name, down)| Ok((column(name)?, *down)));
        let order = order.collect::<Result<Vec<_>, Failure>>()?;
        Ok(self.send(talk, Step::List, vec![self.writer().select(&select, &[&fitting], &order, list.limit)]))
    }

    /// What a target's row must have.
    fn fitting(&self, target: &Target) -> Result<Vec<Parameter>, Failure> {
        match target {
            Target::Key(key) => self.parameters_to_compare(key),
            Target::Id(id) => {
                let [primary] = self.table.primary_key.as_slice() else {
                    let message = format!(
                        "the table `{}` has no primary key of one column: name the record by `key`",
                        self.entity()
                    );
                    return Err(Failure::terminal("bad_key", message));
                };
                let column = values::column(self.table, self.entity(), primary)?;
                Ok(vec![Parameter { column: primary.clone(), value: values::fit(column, &Value::String(id.clone()))? }])
            }
        }
    }

    /// Values to compare with: of computed columns too.
    fn parameters_to_compare(&self, fields: &Map<String, Value>) -> Result<Vec<Parameter>, Failure> {
        let parameter = |(name, value): (&String, &Value)| {
            let column = values::column(self.table, self.entity(), name)?;
            Ok(Parameter { column: column.name.clone(), value: values::fit(column, value)? })
        };
        fields.iter().map(parameter).collect()
    }

    fn is_unique(&self, fitting: &[Parameter]) -> bool {
        let columns: Vec<String> = fitting.iter().map(|part| part.column.clone()).collect();
        self.table.is_unique(&columns)
    }

    /// What names `row` alone: its primary key, or the first unique index that it has all values of.
    fn key_of(&self, row: &Map<String, Value>) -> Option<Vec<Parameter>> {
        let primary = Some(&self.table.primary_key).filter(|columns| !columns.is_empty());
        primary.into_iter().chain(&self.table.unique).find_map(|columns| {
            let value = |column: &String| {
                let value = row.get(column).filter(|value| !value.is_null())?;
                Some(Parameter { column: column.clone(), value: values::fit(self.table.column(column)?, value).ok()? })
            };
            columns.iter().map(value).collect()
        })
    }

    /// The one row that is meant.
    fn only(&self, mut rows: Vec<Map<String, Value>>) -> Result<Map<String, Value>, Failure> {
        if rows.len() > 1 {
            let message = format!("several records of `{}` fit the key; none was taken", self.entity());
            return Err(Failure::terminal("ambiguous_key", message));
        }
        let missing = || Failure::terminal("not_found", format!("no record of `{}` has this id or key", self.entity()));
        rows.pop().ok_or_else(missing)
    }

    /// The end of a write.
    fn wrote(&self, did: Did, row: Map<String, Value>) -> Outcome {
        let part = |column: &String| match row.get(column)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let parts: Option<Vec<String>> = self.table.primary_key.iter().map(part).collect();
        let id = parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join(","));
        Written { did, id, url: None, record: Value::Object(row), raw: Value::Null }.outcome()
    }
}

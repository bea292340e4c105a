//! The embedded record store: no account needed, browsable, written in the same transaction as the journal.
//!
//! A create is a write and nothing else. The other operations look first, and what they write belongs to the commit of
//! their end: a repeat looks again and finds either nothing done or everything. Two runs that make the record of the same
//! key at the same moment name it by the same id, so there is one in the end.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Connector, Dialect, Did, GetRecord, ListRecords, OpContext, Opened, Operation, Outcome, Progress, Reach, Talk,
    Target, UpdateRecord, UpsertRecord, Written, declared, not_served, spec_once, unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::ids;
use crate::outbound::{Effect, Reply, Transport};
use crate::run::Failure;
use crate::store::{RecordMode, RecordQuery, RecordRow, RecordWrite, merge_fields};

/// The embedded record store.
#[derive(Debug, Clone, Copy)]
pub struct Records;

/// A connection of type `records`: nothing to set.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl Connector for Records {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "records".into(),
            summary: "the embedded record store in the data folder (leadflow records list)".into(),
            settings: declared::<Settings>(),
            operations: OperationKind::RECORDS.map(|operation| (operation, Repeat::Safe)).to_vec(),
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        super::read::<Settings>(settings).map(|Settings {}| Opened {
            dialect: Arc::new(*self),
            transport: Transport::Records(Arc::clone(&reach.records)),
        })
    }
}

impl Dialect for Records {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        Ok(match operation {
            Operation::CreateRecord(create) => {
                let id = cx.key.uuid().to_string();
                Effect::Record(write(cx, &create.entity, id, create.fields.clone(), RecordMode::Create))
            }
            Operation::UpdateRecord(UpdateRecord { entity, target, .. })
            | Operation::UpsertRecord(UpsertRecord { entity, target, .. })
            | Operation::GetRecord(GetRecord { entity, target }) => Effect::ReadRecords(one(cx, entity, target)),
            Operation::ListRecords(list) => Effect::ReadRecords(any(cx, list)),
            Operation::SendEmail(_) | Operation::Http(_) => return Err(not_served(cx.connection)),
        })
    }

    /// The id of a new record is made of the idempotency key, so a repeat cannot make a second row: there is never a
    /// possible repeat, and `on_duplicate` has nothing to decide.
    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, _: &mut Talk, reply: Reply) -> Progress {
        let end = match (operation, reply) {
            (Operation::CreateRecord(create), Reply::Record) => {
                Ok(written(Did::Created, cx.key.uuid().to_string(), create.fields.clone()))
            }
            (Operation::UpdateRecord(update), Reply::Records(rows)) => update_one(update, cx, rows),
            (Operation::UpsertRecord(upsert), Reply::Records(rows)) => upsert_one(upsert, cx, rows),
            (Operation::GetRecord(get), Reply::Records(rows)) => only(rows, &get.entity)
                .and_then(|row| row.ok_or_else(|| not_found(&get.entity)))
                .map(|row| Outcome::found(Value::Object(row.seen()))),
            (Operation::ListRecords(list), Reply::Records(rows)) => {
                Ok(Outcome::listed(rows.into_iter().map(|row| chosen(row.seen(), &list.select)).collect()))
            }
            (_, Reply::Failed(failure)) => Err(failure),
            _ => return unexpected(),
        };
        Progress::Done(end)
    }

    /// A dry run takes a record that is meant for one that is there, one to upsert for one that is not, and a list for
    /// one record that fits.
    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, _: &Talk, effect: &Effect) -> Reply {
        let Effect::ReadRecords(query) = effect else { return Reply::Record };
        if matches!(operation, Operation::UpsertRecord(_)) {
            return Reply::Records(Vec::new());
        }
        Reply::Records(vec![RecordRow {
            connection: query.connection.clone(),
            entity: query.entity.clone(),
            id: query.id.clone().unwrap_or_else(|| cx.key.uuid().to_string()),
            fields: Value::Object(query.filter.clone()),
            run_id: cx.run_id,
            created_at: cx.received_at,
            updated_at: cx.received_at,
        }])
    }
}

fn write(cx: &OpContext<'_>, entity: &str, id: String, fields: Map<String, Value>, mode: RecordMode) -> RecordWrite {
    RecordWrite {
        connection: cx.connection.to_owned(),
        entity: entity.to_owned(),
        id,
        fields: Value::Object(fields),
        run_id: cx.run_id,
        created_at: cx.received_at,
        mode,
    }
}

fn written(did: Did, id: String, fields: Map<String, Value>) -> Outcome {
    Written { did, id: Some(id), url: None, record: Value::Object(fields), raw: Value::Null }.outcome()
}

/// The query for one record: two are asked for, so that a key that fits several is noticed.
fn one(cx: &OpContext<'_>, entity: &str, target: &Target) -> RecordQuery {
    let (id, filter) = match target {
        Target::Id(id) => (Some(id.clone()), Map::new()),
        Target::Key(key) => (None, key.clone()),
    };
    query(cx, entity, id, filter, 2)
}

fn any(cx: &OpContext<'_>, list: &ListRecords) -> RecordQuery {
    let query = query(cx, &list.entity, None, list.filter.clone(), list.limit);
    RecordQuery { order_by: list.order_by.clone(), is_list: true, ..query }
}

fn query(
    cx: &OpContext<'_>,
    entity: &str,
    id: Option<String>,
    mut filter: Map<String, Value>,
    limit: usize,
) -> RecordQuery {
    // `id` among the fields is the record's own: it needs no walk over all of them.
    let named = match filter.get("id") {
        Some(Value::String(named)) if id.is_none() => Some(named.clone()),
        _ => None,
    };
    if named.is_some() {
        filter.shift_remove("id");
    }
    RecordQuery {
        connection: cx.connection.to_owned(),
        entity: entity.to_owned(),
        id: id.or(named),
        filter,
        order_by: Vec::new(),
        limit,
        is_list: false,
    }
}

/// The one row that is there, if any; several are a failure.
fn only(mut rows: Vec<RecordRow>, entity: &str) -> Result<Option<RecordRow>, Failure> {
    if rows.len() > 1 {
        let message = format!("several records of `{entity}` fit the key; none was taken");
        return Err(Failure::terminal("ambiguous_key", message));
    }
    Ok(rows.pop())
}

fn not_found(entity: &str) -> Failure {
    Failure::terminal("not_found", format!("no record of `{entity}` has this id or key"))
}

fn update_one(update: &UpdateRecord, cx: &OpContext<'_>, rows: Vec<RecordRow>) -> Result<Outcome, Failure> {
    let row = only(rows, &update.entity)?.ok_or_else(|| not_found(&update.entity))?;
    let write = write(cx, &update.entity, row.id.clone(), update.fields.clone(), RecordMode::Update);
    Ok(changed(row, &update.fields, write))
}

fn upsert_one(upsert: &UpsertRecord, cx: &OpContext<'_>, rows: Vec<RecordRow>) -> Result<Outcome, Failure> {
    let entity = &upsert.entity;
    if let Some(row) = only(rows, entity)? {
        let write = write(cx, entity, row.id.clone(), upsert.fields.clone(), RecordMode::Upsert);
        return Ok(changed(row, &upsert.fields, write));
    }
    let (id, mut fields) = match &upsert.target {
        Target::Id(id) => (id.clone(), Map::new()),
        Target::Key(key) => (id_of(cx.connection, entity, key), key.clone()),
    };
    fields.shift_remove("id");
    fields.extend(upsert.fields.clone());
    let write = write(cx, entity, id.clone(), fields.clone(), RecordMode::Upsert);
    Ok(Outcome { writes: vec![write], ..written(Did::Created, id, fields) })
}

/// The end of a change of `row`: its fields as they will be.
fn changed(row: RecordRow, changes: &Map<String, Value>, write: RecordWrite) -> Outcome {
    let mut fields = row.fields;
    merge_fields(&mut fields, &Value::Object(changes.clone()));
    let fields = fields.as_object().cloned().unwrap_or_default();
    Outcome { writes: vec![write], ..written(Did::Updated, row.id, fields) }
}

/// The id of a record that an upsert makes: the same for the same key, whoever makes it. A key that names an id means it.
fn id_of(connection: &str, entity: &str, key: &Map<String, Value>) -> String {
    if let Some(Value::String(id)) = key.get("id") {
        return id.clone();
    }
    let mut fields: Vec<(&String, String)> = key.iter().map(|(field, value)| (field, value.to_string())).collect();
    fields.sort();
    let parts = fields.iter().flat_map(|(field, value)| [field.as_str(), value.as_str()]);
    let parts: Vec<&str> = [connection, entity].into_iter().chain(parts).collect();
    ids::named_uuid(&parts).to_string()
}

/// The chosen fields, null where the record has none; all of them when none is chosen.
fn chosen(mut seen: Map<String, Value>, select: &[String]) -> Value {
    if select.is_empty() {
        return Value::Object(seen);
    }
    select.iter().map(|name| (name.clone(), seen.remove(name).unwrap_or(Value::Null))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connectors::{CreateRecord, OnDuplicate, context_for_tests, talk_for_tests};

    fn row(id: &str, fields: Value) -> RecordRow {
        let run_id = crate::ids::RunId::from_bytes([1; 16]);
        let (connection, entity) = ("crm".to_owned(), "leads".to_owned());
        RecordRow { connection, entity, id: id.to_owned(), fields, run_id, created_at: 0, updated_at: 0 }
    }

    fn key(value: &Value) -> Target {
        Target::Key(value.as_object().expect("an object").clone())
    }

    fn end(operation: &Operation, rows: Vec<RecordRow>) -> Result<Outcome, Failure> {
        let (cx, mut talk) = (context_for_tests("crm"), talk_for_tests());
        match Records.on_reply(operation, &cx, &mut talk, Reply::Records(rows)) {
            Progress::Done(end) => end,
            Progress::Send(effect) => panic!("{effect:?}"),
        }
    }

    fn upsert(key: Target, fields: &Value) -> Operation {
        let fields = fields.as_object().expect("an object").clone();
        Operation::UpsertRecord(UpsertRecord { entity: "leads".into(), target: key, fields })
    }

    #[test]
    fn the_id_is_the_keys_and_a_repeat_is_the_same_write() {
        let cx = context_for_tests("crm");
        let operation = Operation::CreateRecord(CreateRecord {
            entity: "leads".into(),
            fields: Map::from_iter([("a".to_owned(), json!(1))]),
            on_duplicate: OnDuplicate::Fail,
        });
        let first = Records.start(&operation, &cx).expect("starts");
        assert_eq!(Ok(&first), Records.start(&operation, &cx).as_ref());
        let again = OpContext { possible_repeat: true, ..cx };
        let Progress::Done(Ok(outcome)) = Records.on_reply(&operation, &again, &mut talk_for_tests(), Reply::Record)
        else {
            panic!("done")
        };
        assert!(!outcome.possible_repeat);
        assert_eq!(outcome.outputs["id"], cx.key.uuid().to_string());
        assert_eq!(outcome.outputs["record"], json!({"a": 1}));
    }

    #[test]
    fn an_upsert_changes_the_one_that_is_there() {
        let operation = upsert(key(&json!({"email": "x"})), &json!({"n": 2}));
        let outcome = end(&operation, vec![row("7", json!({"email": "x", "n": 1, "m": 3}))]).expect("ends");
        assert_eq!(outcome.outcome.as_deref(), Some("updated"));
        assert_eq!(outcome.outputs["record"], json!({"email": "x", "n": 2, "m": 3}));
        assert_eq!((outcome.writes[0].id.as_str(), &outcome.writes[0].fields), ("7", &json!({"n": 2})));
        let two = vec![row("7", json!({})), row("8", json!({}))];
        assert_eq!(end(&operation, two).expect_err("which one?").code, "ambiguous_key");
    }

    #[test]
    fn upserts_of_one_key_make_the_same_record_whoever_comes_first() {
        let made = |key, fields: &Value| end(&upsert(key, fields), Vec::new()).expect("ends");
        let first = made(key(&json!({"email": "x", "kind": 1})), &json!({"n": 1}));
        assert_eq!(first.outcome.as_deref(), Some("created"));
        assert_eq!(first.writes[0].fields, json!({"email": "x", "kind": 1, "n": 1}));
        let second = made(key(&json!({"kind": 1, "email": "x"})), &json!({"n": 2}));
        assert_eq!(first.outputs["id"], second.outputs["id"], "the order of the fields does not matter");
        for other in [json!({"email": "x", "kind": "1"}), json!({"email": "x"}), json!({"kind": 1, "email": "X"})] {
            assert_ne!(made(key(&other), &json!({})).outputs["id"], first.outputs["id"], "{other}");
        }
        assert_eq!(made(Target::Id("own".into()), &json!({"n": 1})).outputs["id"], "own");
    }

    #[test]
    fn what_is_not_there_is_not_found_and_a_list_is_empty() {
        let update = Operation::UpdateRecord(UpdateRecord {
            entity: "leads".into(),
            target: Target::Id("7".into()),
            fields: Map::new(),
        });
        assert_eq!(end(&update, Vec::new()).expect_err("nothing").code, "not_found");
        let get = Operation::GetRecord(GetRecord { entity: "leads".into(), target: Target::Id("7".into()) });
        assert_eq!(end(&get, Vec::new()).expect_err("nothing").code, "not_found");
        let list = |select: &[&str]| {
            Operation::ListRecords(ListRecords {
                entity: "leads".into(),
                filter: Map::new(),
                select: select.iter().map(|name| (*name).to_owned()).collect(),
                order_by: Vec::new(),
                limit: 9,
            })
        };
        assert_eq!(end(&list(&[]), Vec::new()).expect("ends").outputs, json!({"records": []}));
        let rows = vec![row("7", json!({"a": 1, "b": 2}))];
        assert_eq!(
            end(&list(&["b", "id", "c"]), rows).expect("ends").outputs,
            json!({"records": [
            {"b": 2, "id": "7", "c": null}]})
        );
    }

    #[test]
    fn a_dry_run_finds_one_record_and_upserts_a_new_one() {
        let cx = context_for_tests("crm");
        let simulated = |operation: &Operation| {
            let effect = Records.start(operation, &cx).expect("starts");
            match Records.simulate(operation, &cx, &talk_for_tests(), &effect) {
                Reply::Records(rows) => rows,
                other => panic!("{other:?}"),
            }
        };
        let target = key(&json!({"email": "x"}));
        assert!(simulated(&upsert(target.clone(), &json!({}))).is_empty());
        let rows = simulated(&Operation::GetRecord(GetRecord { entity: "leads".into(), target }));
        assert_eq!(rows[0].fields, json!({"email": "x"}));
    }
}

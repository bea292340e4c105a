//! Embedded records: written with the journal, read by what they hold.

use serde_json::{Map, Value, json};

use super::{ME, accepted, at, commit, owned, record};
use crate::ids::RunId;
use crate::store::{RecordMode, RecordQuery, RecordRow, RecordWrite, Store};

/// A write of `mode` at the second `second`.
fn write(run: RunId, id: &str, fields: Value, mode: RecordMode, second: i64) -> RecordWrite {
    RecordWrite { mode, created_at: at(second), ..record(run, id, fields) }
}

/// Commits `writes` as one commit of `run`.
async fn committed(store: &dyn Store, run: RunId, writes: Vec<RecordWrite>) {
    let mut change = commit(run);
    change.records = writes;
    store.commit(change).await.expect("commits");
}

async fn read(store: &dyn Store, filter: Value, order_by: &[(&str, bool)], limit: usize) -> Vec<RecordRow> {
    let filter: Map<String, Value> = filter.as_object().cloned().unwrap_or_default();
    let order_by = order_by.iter().map(|(name, down)| ((*name).to_owned(), *down)).collect();
    let (connection, entity) = ("crm".to_owned(), "lead".to_owned());
    let query = RecordQuery { connection, entity, id: None, filter, order_by, limit, is_list: true };
    store.read_records(query).await.expect("reads")
}

fn ids(rows: &[RecordRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

pub(crate) async fn a_record_is_changed_field_by_field(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let nested = json!({"name": "Contoso", "at": {"city": "Berlin", "zip": "1"}});
    let update = |fields, second| write(run, "r1", fields, RecordMode::Update, second);
    committed(store, run, vec![write(run, "r1", nested, RecordMode::Create, 1)]).await;
    committed(store, run, vec![update(json!({"phone": "7", "at": {"city": "Bonn"}}), 2)]).await;
    let rows = read(store, json!({}), &[], 9).await;
    assert_eq!(rows[0].fields, json!({"name": "Contoso", "at": {"city": "Bonn"}, "phone": "7"}), "whole values");
    assert_eq!((rows[0].created_at, rows[0].updated_at), (at(1), at(2)));
    // Again, and with nothing new: as it was.
    committed(store, run, vec![update(json!({"phone": "7"}), 3), update(json!({}), 4)]).await;
    assert_eq!(read(store, json!({}), &[], 9).await, rows);
    // One that is not there is not made, nor is it found under another entity.
    let mut other = update(json!({"phone": "8"}), 5);
    other.entity = "contact".to_owned();
    committed(store, run, vec![other, write(run, "r2", json!({}), RecordMode::Update, 5)]).await;
    assert_eq!(store.list_records(None, 9).await.expect("lists"), rows);
}

pub(crate) async fn a_record_is_made_or_changed(store: &dyn Store) {
    let first = accepted(store, owned(0, ME)).await;
    let second = accepted(store, owned(1, ME)).await;
    let upsert = |run, fields, when| write(run, "k", fields, RecordMode::Upsert, when);
    committed(store, first, vec![upsert(first, json!({"email": "a", "n": 1}), 2)]).await;
    // Another run that saw nothing at the same moment: one record in the end, with what both brought.
    committed(store, second, vec![upsert(second, json!({"email": "a", "m": 2}), 1)]).await;
    let rows = read(store, json!({}), &[], 9).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].fields, json!({"email": "a", "n": 1, "m": 2}));
    assert_eq!((rows[0].run_id, rows[0].created_at, rows[0].updated_at), (first, at(2), at(2)), "time goes forward");
    // Several of one commit, in their order.
    committed(store, first, vec![upsert(first, json!({"n": 3}), 3), upsert(first, json!({"n": 4}), 4)]).await;
    let rows = read(store, json!({}), &[], 9).await;
    assert_eq!((&rows[0].fields["n"], rows[0].updated_at), (&json!(4), at(4)));
}

pub(crate) async fn records_are_read_by_what_they_hold(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let mut writes: Vec<RecordWrite> = [
        json!({"email": "a@b.example", "n": 1, "city": null}),
        json!({"email": "A@b.example", "n": 2.5, "ok": true}),
        json!({"email": "' or 1=1 --", "n": 10, "city": "Bonn"}),
        json!({"email": "a@b.example", "n": "1", "city": ""}),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, fields)| write(run, &format!("r{index}"), fields, RecordMode::Create, index as i64))
    .collect();
    let mut elsewhere = writes[0].clone();
    elsewhere.connection = "other".to_owned();
    writes.push(elsewhere);
    committed(store, run, writes).await;
    for (filter, found) in [
        (json!({}), vec!["r3", "r2", "r1", "r0"]),
        (json!({"email": "a@b.example"}), vec!["r3", "r0"]),
        (json!({"email": "a@b.example", "n": 1.0}), vec!["r0"]),
        (json!({"email": "' or 1=1 --"}), vec!["r2"]),
        (json!({"ok": true}), vec!["r1"]),
        (json!({"city": null}), vec!["r1", "r0"]),
        (json!({"id": "r2"}), vec!["r2"]),
        (json!({"email": "nobody"}), vec![]),
        (json!({"') or 1=1 --": "x"}), vec![]),
    ] {
        assert_eq!(ids(&read(store, filter.clone(), &[], 9).await), found, "{filter}");
    }
    assert_eq!(ids(&read(store, json!({}), &[], 2).await), ["r3", "r2"]);
    assert_eq!(ids(&read(store, json!({}), &[("n", false)], 9).await), ["r0", "r1", "r2", "r3"], "numbers, then texts");
    assert_eq!(ids(&read(store, json!({}), &[("city", true)], 2).await), ["r2", "r3"], "nothing comes last");
    assert_eq!(ids(&read(store, json!({}), &[("email", false), ("created_at", false)], 3).await), ["r2", "r1", "r0"]);
    let query = RecordQuery {
        connection: "crm".to_owned(),
        entity: "lead".to_owned(),
        id: Some("r2".to_owned()),
        filter: Map::new(),
        order_by: Vec::new(),
        limit: 1,
        is_list: false,
    };
    let rows = store.read_records(query.clone()).await.expect("reads");
    assert_eq!(rows[0].seen()["created_at"], crate::clock::rfc3339(at(2)));
    assert_eq!(ids(&rows), ["r2"]);
    let none = RecordQuery { entity: "contact".to_owned(), ..query };
    assert_eq!(store.read_records(none).await.expect("reads"), []);
}

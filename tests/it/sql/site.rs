//! A database with its connection, and operations on it as the engine performs them.

use std::path::PathBuf;
use std::time::Duration;

use leadflow::connectors::{
    CreateRecord, GetRecord, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome, Progress, Reach,
    Registry, Talk, Target, UpdateRecord, UpsertRecord,
};
use leadflow::ids::{IdempotencyKey, RunId};
use leadflow::outbound::{Call, Effects, Real};
use leadflow::run::Failure;
use serde_json::{Map, Value, json};

use crate::support::postgres::Server;

/// Long enough to never matter on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Postgres,
    Sqlite,
}

/// A database of its own with its connection.
pub(super) struct Site {
    pub(super) engine: Engine,
    opened: Opened,
    /// The database's name, or the file.
    pub(super) place: String,
    _folder: Option<tempfile::TempDir>,
}

impl Site {
    /// One on each engine, set up by `sql`.
    pub(super) fn both(sql: &str) -> [Self; 2] {
        [Self::new(Engine::Postgres, sql), Self::new(Engine::Sqlite, sql)]
    }

    pub(super) fn new(engine: Engine, sql: &str) -> Self {
        match engine {
            Engine::Postgres => {
                let server = Server::shared();
                let place = server.fresh_database();
                server.execute(&place, sql);
                let opened = open("postgres", &json!({"url": server.url(&place)}));
                Self { engine, opened, place, _folder: None }
            }
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("crm.db");
                rusqlite::Connection::open(&path).expect("opens").execute_batch(sql).expect("sets up");
                let place = path.to_str().expect("utf-8").to_owned();
                let opened = open("sqlite", &json!({"path": place}));
                Self { engine, opened, place, _folder: Some(folder) }
            }
        }
    }

    /// The same database, reached another way.
    pub(super) fn reached(kind: &str, settings: &Value, reach: &Reach, place: &str) -> Self {
        let engine = if kind == "postgres" { Engine::Postgres } else { Engine::Sqlite };
        let connector = Registry::builtin().find(kind).expect("the connector");
        let opened = connector.open(settings, reach).expect("settings");
        Self { engine, opened, place: place.to_owned(), _folder: None }
    }

    /// The first column of what `sql` gives.
    pub(super) fn sql(&self, sql: &str) -> Vec<String> {
        match self.engine {
            Engine::Postgres => Server::shared().execute(&self.place, sql),
            Engine::Sqlite => {
                let conn = rusqlite::Connection::open(PathBuf::from(&self.place)).expect("opens");
                let mut statement = conn.prepare(sql).expect("prepares");
                let text = |row: &rusqlite::Row<'_>| {
                    row.get_ref(0).map(|value| match value {
                        rusqlite::types::ValueRef::Null => String::new(),
                        rusqlite::types::ValueRef::Integer(whole) => whole.to_string(),
                        rusqlite::types::ValueRef::Real(number) => number.to_string(),
                        rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => {
                            String::from_utf8_lossy(text).into_owned()
                        }
                    })
                };
                statement.query_map([], text).expect("runs").map(|row| row.expect("a row")).collect()
            }
        }
    }

    /// How many rows `table` has.
    pub(super) fn count(&self, table: &str) -> String {
        self.sql(&format!("select count(*) from {table}")).remove(0)
    }

    /// One try of the operation of the run `run`, as the engine makes it.
    pub(super) async fn attempt(
        &self,
        operation: &Operation,
        run: u8,
        possible_repeat: bool,
        timeout: Duration,
    ) -> Result<Outcome, Failure> {
        let run_id = RunId::from_bytes([run; 16]);
        let key = |n| IdempotencyKey::new(run_id, "write", "", n);
        let cx = OpContext { connection: "crm", run_id, key: key(0), received_at: 0, possible_repeat };
        let mut talk = Talk { n: 0, key: key(0), notes: Value::Null };
        let mut effect = self.opened.dialect.start(operation, &cx)?;
        for n in 0..50 {
            (talk.n, talk.key) = (n, key(n));
            let simulated = self.opened.dialect.simulate(operation, &cx, &talk, &effect);
            let call = Call {
                action: "write",
                secure: false,
                idx: "",
                connection: "crm",
                transport: &self.opened.transport,
                effect: &effect,
                timeout,
                simulated,
            };
            let reply = Real.perform(call).await;
            match self.opened.dialect.on_reply(operation, &cx, &mut talk, reply) {
                Progress::Send(next) => effect = next,
                Progress::Done(end) => return end,
            }
        }
        panic!("it never ends")
    }

    /// A first try of the run `run`.
    pub(super) async fn run(&self, operation: &Operation, run: u8) -> Result<Outcome, Failure> {
        self.attempt(operation, run, false, LONG).await
    }

    /// A try behind one whose outcome is unknown.
    pub(super) async fn again(&self, operation: &Operation, run: u8) -> Result<Outcome, Failure> {
        self.attempt(operation, run, true, LONG).await
    }
}

fn open(kind: &str, settings: &Value) -> Opened {
    let connector = Registry::builtin().find(kind).expect("the connector");
    connector.open(settings, &Reach::new("unused")).expect("settings")
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

pub(super) fn create(entity: &str, fields: &Value, on_duplicate: OnDuplicate) -> Operation {
    Operation::CreateRecord(CreateRecord { entity: entity.into(), fields: map(fields), on_duplicate })
}

pub(super) fn id(id: &str) -> Target {
    Target::Id(id.into())
}

pub(super) fn key(value: &Value) -> Target {
    Target::Key(map(value))
}

pub(super) fn update(entity: &str, target: Target, fields: &Value) -> Operation {
    Operation::UpdateRecord(UpdateRecord { entity: entity.into(), target, fields: map(fields) })
}

pub(super) fn upsert(entity: &str, target: Target, fields: &Value) -> Operation {
    Operation::UpsertRecord(UpsertRecord { entity: entity.into(), target, fields: map(fields) })
}

pub(super) fn get(entity: &str, target: Target) -> Operation {
    Operation::GetRecord(GetRecord { entity: entity.into(), target })
}

pub(super) fn list(
    entity: &str,
    filter: &Value,
    select: &[&str],
    order_by: &[(&str, bool)],
    limit: usize,
) -> Operation {
    Operation::ListRecords(ListRecords {
        entity: entity.into(),
        filter: map(filter),
        select: select.iter().map(|name| (*name).to_owned()).collect(),
        order_by: order_by.iter().map(|(name, down)| ((*name).to_owned(), *down)).collect(),
        limit,
    })
}

/// `created`, `updated`, `duplicate`.
pub(super) fn did(outcome: &Outcome) -> &str {
    outcome.outcome.as_deref().unwrap_or("nothing")
}

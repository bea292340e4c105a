//! Both stores through their trait, and runs that are stored, claimed and ended without an engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leadflow::clock::Micros;
use leadflow::ids::RunId;
use leadflow::run::{RunStatus, StepStatus, TriggerData};
use leadflow::secret::Secret;
use leadflow::store::postgres::{OpenOptions as PostgresOptions, PostgresStore};
use leadflow::store::sqlite::{Mode, OpenOptions as SqliteOptions, SqliteStore};
use leadflow::store::{LaneWant, NewRun, RunCommit, RunRow, StepIo, StepRow, Store, StoredRun};
use serde_json::json;
use tokio::task::JoinSet;

use crate::postgres::Server as Postgres;

/// How the tables name them.
pub(crate) const SQLITE: &str = "SQLite";
/// See [`SQLITE`].
pub(crate) const POSTGRES: &str = "PostgreSQL";

/// The lane of all runs.
pub(crate) const LANE: &str = "crm";
/// The flow of all runs.
pub(crate) const FLOW: &str = "full";
/// Writes in flight at once: fewer than a store lets wait before it refuses.
const WRITES_MAX: usize = 1_024;

/// A store as claimers share it.
pub(crate) type Shared = Arc<dyn Store>;

/// Where a database of the throw-away server is.
pub(crate) fn url(postgres: &Postgres, database: &str) -> String {
    format!("{}?sslmode=disable", postgres.url(database))
}

/// A node's store on a database of the throw-away server; the first makes the tables.
pub(crate) fn on_postgres(postgres: &Postgres, database: &str) -> Shared {
    let options = PostgresOptions::new(Secret::new(url(postgres, database)), Mode::Serve);
    Arc::new(PostgresStore::open(&options).expect("the store opens"))
}

/// A node's store in a file; the first makes it.
pub(crate) fn on_sqlite(file: &Path) -> Shared {
    Arc::new(SqliteStore::open(SqliteOptions::new(file, Mode::Serve)).expect("the store opens"))
}

/// Removes a database and writes out what is left, so that neither costs the next measurement anything.
pub(crate) fn remove(postgres: &Postgres, database: &str) {
    postgres.execute("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    postgres.execute("postgres", "CHECKPOINT");
}

/// Stores so many runs that wait, due at `now`.
pub(crate) async fn store_queued(store: &Shared, count: usize, now: Micros) {
    let mut left = count;
    while left > 0 {
        let slice = left.min(WRITES_MAX);
        let mut accepts = JoinSet::new();
        for _ in 0..slice {
            let store = Arc::clone(store);
            accepts.spawn(async move { store.accept(queued(now)).await });
        }
        for answer in accepts.join_all().await {
            answer.expect("stored");
        }
        left -= slice;
    }
}

fn queued(now: Micros) -> NewRun {
    let trigger = TriggerData {
        method: "POST".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: include_str!("../../examples/lead.json").to_owned(),
        ..TriggerData::default()
    };
    let mut run = RunRow::queued(RunId::new(now), FLOW.to_owned(), 1, now, trigger);
    LANE.clone_into(&mut run.lane);
    NewRun { run, steps: Vec::new(), records: Vec::new() }
}

/// Claims at most so many runs; they, and how long it took.
pub(crate) async fn claim(store: &Shared, owner: &str, max: usize, now: Micros) -> (Vec<StoredRun>, Duration) {
    let want = LaneWant { lane: LANE.to_owned(), max, gate: None };
    let began = Instant::now();
    let runs = store.claim(owner, vec![want], now).await.expect("claimed");
    (runs, began.elapsed())
}

/// Commits claimed runs to their end, all at once, each with one step.
pub(crate) async fn end_all(store: &Shared, runs: Vec<StoredRun>, now: Micros) {
    let mut commits = JoinSet::new();
    for stored in runs {
        let store = Arc::clone(store);
        commits.spawn(async move { store.commit(end_of(stored, now)).await });
    }
    for answer in commits.join_all().await {
        answer.expect("committed");
    }
}

fn end_of(stored: StoredRun, now: Micros) -> RunCommit {
    RunCommit {
        run_id: stored.run.run_id,
        owner: stored.run.owner.expect("it is claimed"),
        epoch: stored.run.epoch,
        status: RunStatus::Succeeded,
        code: None,
        finished_at: Some(now),
        lane: LANE.to_owned(),
        due_at: now,
        release: true,
        inflight: Vec::new(),
        answer: None,
        steps: vec![sent(now)],
        records: Vec::new(),
        starts: Vec::new(),
        wakes: None,
    }
}

fn sent(now: Micros) -> StepRow {
    StepRow {
        idx: String::new(),
        name: "create_lead".to_owned(),
        status: StepStatus::Succeeded,
        attempt: 1,
        due_at: None,
        started_at: Some(now),
        finished_at: Some(now),
        outcome: Some("created".to_owned()),
        possible_repeat: false,
        io: StepIo {
            inputs: Some(json!({"entity": "leads", "fields": {"lastname": "Doe", "subject": "Contoso backup"}})),
            outputs: Some(json!({"id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"})),
            ..StepIo::default()
        },
    }
}

/// Sorted times, and the one below which a share of them stayed, in microseconds.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn micros(&self, share: f64) -> f64 {
        let index = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000_000.0)
    }
}

/// Where the stores' callers run; the stores bring threads of their own.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

//! Variables are exact whatever dies: the process is killed before or behind its n-th store call, for n = 1, 2, … until a
//! run ends without reaching it; another life ends the run, and its variables hold every change once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leadflow::actions;
use leadflow::clock::{Fut, SystemClock};
use leadflow::engine::ports::{Connections, Limits};
use leadflow::engine::{Accept, Accepted, Acceptor, Config, Engine, Retention};
use leadflow::flow::{Bundle, Defaults, Environment, Flow, compile};
use leadflow::library::{Library, LiveFlow};
use leadflow::outbound::{Call, Effect, Effects, HttpBody, HttpReply, Reply};
use leadflow::run::TriggerData;
use leadflow::store::faulty::{FailAt, Faulty};
use leadflow::store::sqlite::{Mode, OpenOptions, SqliteStore};
use leadflow::store::{FlowText, RunFilter, Store};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::PATIENCE;
use crate::support::rig::embedded;

/// Items of the loop.
const ITEMS: u64 = 4;

const FLOW: &str = r#"
name: counted
variables: { count: 0, log: "", seen: [] }
trigger: { type: request }
actions:
  - name: each
    type: for_each
    items: [1, 2, 3, 4]
    concurrency: 2
    actions:
      - { name: tell, type: http, connection: api, method: POST, url: /x, body: { item: "{{item}}", before: "{{variables.log}}" } }
      - { name: count, type: increment_variable, variable: count }
      - { name: note, type: append_variable, variable: log, value: "{{item}}" }
      - { name: see, type: append_variable, variable: seen, value: "{{item}}" }
      - { name: again, type: set_variable, variable: seen, value: "{{variables.seen}}" }
  - { name: tell_all, type: http, connection: api, method: POST, url: /y, body: { all: "{{variables}}" } }
  - { name: count_all, type: increment_variable, variable: count, value: 100 }
  - { name: keep, type: create_record, connection: crm, entity: totals, fields: { log: "{{variables.log}}", all: "{{variables}}" } }
"#;

/// Takes every request and remembers its bodies by idempotency key.
#[derive(Default)]
struct OtherSide(Mutex<BTreeMap<String, Vec<Value>>>);

/// Shares it between lives.
struct Shared(Arc<OtherSide>);

impl Effects for Shared {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        if let Effect::Http(request) = call.effect {
            let key = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
            let (_, key) = key.expect("a key");
            let Some(HttpBody::Json(body)) = &request.body else { panic!("a JSON body: {:?}", request.body) };
            self.0.0.lock().expect("lock").entry(key.clone()).or_default().push(body.clone());
        }
        let reply = HttpReply { status: 200, headers: Vec::new(), body: Value::Null, retry_after: None };
        Box::pin(std::future::ready(Reply::Http(reply)))
    }
}

fn flow() -> Flow {
    let catalogue = actions::catalogue();
    let connections = BTreeMap::from([("crm".to_owned(), "records".to_owned()), ("api".to_owned(), "http".to_owned())]);
    let bundle = Bundle {
        file: "counted.yaml".into(),
        text: FLOW.into(),
        schemas: BTreeMap::new(),
        blueprint: None,
        parameters: json!({}),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections: Some(&connections),
        connections_decided: &[],
        schemas_known: &[],
        blueprints_known: &[],
        actions_per_flow_max: 500,
        nesting_max: 8,
    };
    let compiled = compile(bundle, &environment);
    compiled.flow.unwrap_or_else(|| panic!("{:?}", compiled.findings))
}

fn connections() -> Connections {
    [("crm", "records"), ("api", "http")]
        .map(|(name, kind)| (name.to_owned(), Arc::new(embedded(name, kind, 4))))
        .into()
}

fn engine(store: Arc<dyn Store>, other_side: &Arc<OtherSide>, owner: &str) -> Arc<Engine> {
    let hour = Duration::from_secs(3600);
    Engine::new(Config {
        library: Arc::new(Library::default()),
        store,
        effects: Arc::new(Shared(Arc::clone(other_side))),
        connections: connections(),
        clock: Arc::new(SystemClock),
        limits: Limits::default(),
        retention: Retention { succeeded: hour, failed: hour, rejected: hour, duplicates: hour },
        environment: None,
        catalogue: Arc::new(actions::catalogue()),
        owner: owner.into(),
    })
}

/// A life: starts, posts the lead where nobody did, and lives until the run has ended.
async fn live(store: Arc<dyn Store>, inner: &SqliteStore, other_side: &Arc<OtherSide>, owner: &str) {
    let engine = engine(store, other_side, owner);
    if engine.start().await.is_err() {
        // Dead before it began.
        std::future::pending::<()>().await;
    }
    let flow = Arc::new(flow());
    let bundle = serde_json::to_string(&flow.bundle).expect("JSON");
    let text = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle };
    let text_id = inner.pin_text(text, 1).await.expect("pinned");
    if ended(inner).await.is_none() {
        let trigger = TriggerData { method: "POST".into(), body: "{}".into(), ..TriggerData::default() };
        let accepted = Acceptor(Arc::clone(&engine)).accept(Arc::new(LiveFlow { flow, text_id }), trigger).await;
        if matches!(accepted, Accepted::Unavailable(_)) {
            std::future::pending::<()>().await;
        }
        assert!(matches!(accepted, Accepted::Run { .. }), "{accepted:?}");
    }
    while ended(inner).await != Some(true) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether the run has ended; `None`: there is none.
async fn ended(store: &SqliteStore) -> Option<bool> {
    let runs = store.list_runs(RunFilter { limit: 9, ..RunFilter::default() }).await.expect("runs");
    assert!(runs.len() <= 1, "one lead, one run: {runs:#?}");
    runs.first().map(|run| run.run.status.is_final())
}

/// Kills the first life at its `nth` store call; whether it came that far.
fn play(fail_at: FailAt, nth: u64) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let options = OpenOptions::new(folder.path().join("leadflow.db"), Mode::Serve);
    let inner: Arc<SqliteStore> = Arc::new(SqliteStore::open(options).expect("a store"));
    let other_side = Arc::new(OtherSide::default());
    let faulty = Arc::new(Faulty::crashing(Arc::clone(&inner), nth, fail_at));
    let deadline = Instant::now() + PATIENCE;
    let first = runtime();
    first.block_on(async {
        let killed = async {
            while !faulty.is_down() {
                assert!(Instant::now() < deadline, "{fail_at:?} {nth}: neither killed nor ended");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = live(Arc::clone(&faulty) as Arc<dyn Store>, &inner, &other_side, "first") => {}
            () = killed => {}
        }
    });
    // Its tasks die where they stand.
    drop(first);
    let reached = faulty.is_down();
    let second = runtime();
    second.block_on(async {
        let life = live(Arc::clone(&inner) as Arc<dyn Store>, &inner, &other_side, "second");
        tokio::time::timeout(PATIENCE, life)
            .await
            .unwrap_or_else(|_| panic!("{fail_at:?} {nth}: the run does not end"));
        account_for(&inner, &other_side, &format!("{fail_at:?} {nth}")).await;
    });
    reached
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Each change once, in one order: the text, the list and the number tell the same story, and so do the stored steps.
async fn account_for(store: &SqliteStore, other_side: &OtherSide, at: &str) {
    let records = store.list_records(None, 9).await.expect("records");
    let [record] = records.as_slice() else { panic!("{at}: one record: {records:#?}") };
    let all = &record.fields["all"];
    let mut digits: Vec<char> = all["log"].as_str().expect("a text").chars().collect();
    let mut seen: Vec<u64> = all["seen"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
    digits.sort_unstable();
    seen.sort_unstable();
    assert_eq!((all["count"].as_u64(), digits.len(), seen.len()), (Some(ITEMS + 100), 4, 4), "{at}: {all}");
    assert_eq!((digits, seen), (vec!['1', '2', '3', '4'], vec![1, 2, 3, 4]), "{at}");
    let runs = store.list_runs(RunFilter { limit: 9, ..RunFilter::default() }).await.expect("runs");
    let run = store.run(runs[0].run.run_id).await.expect("read").expect("the run");
    assert_eq!(run.run.status.as_str(), "succeeded", "{at}: {:?}", run.run);
    let mut numbers: Vec<u64> = run.steps.iter().filter_map(|step| step.io.change).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=4 * ITEMS + 1).collect::<Vec<_>>(), "{at}: each change has its own number");
    let mut notes: Vec<_> = run.steps.iter().filter(|step| step.name == "note").collect();
    notes.sort_by_key(|step| step.io.change);
    let told: String =
        notes.iter().filter_map(|step| step.io.inputs.as_ref()?["value"].as_u64()).map(|n| n.to_string()).collect();
    assert_eq!(all["log"], told.as_str(), "{at}: the journal tells the same order");
    for (key, bodies) in other_side.0.lock().expect("lock").iter() {
        assert!(bodies.iter().all(|body| body == &bodies[0]), "{at}: {key} was sent with other bytes: {bodies:#?}");
    }
}

fn sweep(fail_at: FailAt) {
    let mut nth = 1;
    while play(fail_at, nth) {
        nth += 1;
        assert!(nth < 300, "the sweep does not end");
    }
    assert!(nth > 5, "the sweep reached something: {nth}");
}

#[test]
fn killed_before_any_store_call() {
    sweep(FailAt::Before);
}

#[test]
fn killed_behind_any_store_call() {
    sweep(FailAt::After);
}

//! Any single fault loses nothing: the n-th store call, or the n-th effect, fails (before it is done, or after, as when the
//! answer is lost), for n = 1, 2, … until a scenario passes without reaching it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leadflow::actions;
use leadflow::clock::{Fut, SystemClock};
use leadflow::engine::ports::{Connections, Limits};
use leadflow::engine::{Accept, Accepted, Acceptor, Config, Engine, Retention};
use leadflow::flow::Flow;
use leadflow::library::LiveFlow;
use leadflow::outbound::faulty::{Faulty as FaultyEffects, Strike};
use leadflow::outbound::{Call, Effect, Effects, HttpReply, Reply};
use leadflow::run::TriggerData;
use leadflow::store::faulty::{FailAt, Faulty as FaultyStore};
use leadflow::store::sqlite::{Mode, OpenOptions, SqliteStore};
use leadflow::store::{FlowText, RunFilter, Store, StoredRun};
use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::rig::{compiled, embedded};

const FLOW: &str = "name: swept\ntrigger:\n  type: request\nactions:\n  - name: keep\n    type: create_record\n    connection: crm\n    entity: leads\n    fields: { n: '{{trigger.body.n}}' }\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    retry: { policy: fixed, count: 5, interval: 5ms }\n    body: { id: '{{actions.keep.outputs.id}}' }\n  - name: tell_again\n    type: http\n    connection: api\n    method: POST\n    url: /y\n    retry: { policy: fixed, count: 5, interval: 5ms }\n    body: { at: '{{utcNow}}' }\n";

/// What the trigger of a swept flow says, the bodies that are posted, and how many runs must come of them.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    trigger: &'static str,
    bodies: &'static [&'static str],
    /// `None`: a lead whose answer was lost is sent again and is another lead.
    runs: Option<usize>,
}

const PLAIN: Scenario = Scenario { trigger: "", bodies: &["{\"n\": 1}"], runs: None };

/// One at a time, and each once.
const GATED: Scenario = Scenario {
    trigger: "  dedupe: { key: ['{{trigger.body.n}}'] }\n  concurrency: { runs: 1 }\n",
    bodies: &["{\"n\": 1}", "{\"n\": 2}", "{\"n\": 1}"],
    runs: Some(2),
};

/// All items or none.
const SPLIT: Scenario = Scenario {
    trigger: "  split_on: '{{trigger.body}}'\n  dedupe: { key: ['{{trigger.body.n}}'] }\n",
    bodies: &["[{\"n\": 1}, {\"n\": 2}, {\"n\": 1}]"],
    runs: Some(2),
};

/// Takes every request and remembers it by its idempotency key; what no commit has named yet does not reach it.
struct OtherSide {
    store: Arc<SqliteStore>,
    bodies: Mutex<BTreeMap<String, Vec<Value>>>,
}

impl OtherSide {
    async fn take(&self, call: Call<'_>) -> Reply {
        let filter = RunFilter { limit: 1000, ..RunFilter::default() };
        let runs = self.store.list_runs(filter).await.expect("runs");
        let is_named = runs.iter().any(|run| run.run.inflight.iter().any(|inflight| inflight.name == call.action));
        assert!(is_named, "{} was sent before a commit named it: {runs:#?}", call.action);
        if let Effect::Http(request) = call.effect {
            let key = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
            let key = key.map(|(_, value)| value.clone()).expect("a key");
            let body = match &request.body {
                Some(leadflow::outbound::HttpBody::Json(body)) => body.clone(),
                other => panic!("a JSON body: {other:?}"),
            };
            self.bodies.lock().expect("lock").entry(key).or_default().push(body);
        }
        Reply::Http(HttpReply { status: 200, headers: Vec::new(), body: Value::Null, retry_after: None })
    }
}

/// Shares the other side between the fault and the test.
struct Shared(Arc<OtherSide>);

impl Effects for Shared {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(self.0.take(call))
    }
}

fn flow(scenario: Scenario) -> Flow {
    compiled(&FLOW.replace("  type: request\n", &format!("  type: request\n{}", scenario.trigger)))
}

fn connections() -> Connections {
    [("crm", "records"), ("api", "http")]
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), Arc::new(embedded(name, kind, 4))))
        .collect()
}

fn trigger(body: &str) -> TriggerData {
    TriggerData {
        method: "POST".into(),
        path: Vec::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: body.into(),
        ..TriggerData::default()
    }
}

/// What the fault hits.
#[derive(Debug, Clone, Copy)]
enum Target {
    Store(FailAt),
    Effect(Strike),
}

/// Plays the leads through; whether the fault was reached.
async fn play(scenario: Scenario, target: Target, nth: usize) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let options = OpenOptions::new(folder.path().join("leadflow.db"), Mode::Serve);
    let inner: Arc<SqliteStore> = Arc::new(SqliteStore::open(options).expect("a store"));
    let flow = Arc::new(flow(scenario));
    let bundle = serde_json::to_string(&flow.bundle).expect("JSON");
    let text = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle };
    let text_id = inner.pin_text(text, 1).await.expect("pinned");
    let (store_nth, fail_at) = match target {
        Target::Store(at) => (nth as u64, at),
        Target::Effect(_) => (0, FailAt::Before),
    };
    let (effect_nth, strike) = match target {
        Target::Effect(strike) => (nth, strike),
        Target::Store(_) => (0, Strike::Before),
    };
    let store = Arc::new(FaultyStore::new(Arc::clone(&inner), store_nth, fail_at));
    let other_side = Arc::new(OtherSide { store: Arc::clone(&inner), bodies: Mutex::default() });
    let effects = Arc::new(FaultyEffects::new(Shared(Arc::clone(&other_side)), effect_nth, strike));
    let engine = Engine::new(Config {
        library: std::sync::Arc::new(leadflow::library::Library::default()),
        store: Arc::clone(&store) as Arc<dyn Store>,
        effects: Arc::clone(&effects) as Arc<dyn Effects>,
        connections: connections(),
        clock: Arc::new(SystemClock),
        limits: Limits::default(),
        retention: Retention {
            succeeded: Duration::from_secs(3600),
            failed: Duration::from_secs(3600),
            rejected: Duration::from_secs(3600),
            duplicates: Duration::from_secs(3600),
        },
        environment: None,
        catalogue: Arc::new(actions::catalogue()),
        owner: "sweep".into(),
    });
    while engine.start().await.is_err() {}
    let live = Arc::new(LiveFlow { flow, text_id });
    let acceptor = Acceptor(Arc::clone(&engine));
    // A client that gets a 503 posts again.
    for body in scenario.bodies {
        loop {
            match acceptor.accept(Arc::clone(&live), trigger(body)).await {
                Accepted::Run { .. } | Accepted::Duplicate { .. } | Accepted::Split { .. } => break,
                Accepted::Unavailable(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let mut runs = until_ended(inner.as_ref()).await;
    runs.retain(|run| run.run.duplicate_of.is_none());
    assert!(scenario.runs.is_none_or(|wanted| wanted == runs.len()), "{target:?} {nth}: {runs:#?}");
    assert!(runs.iter().all(|run| run.run.status.as_str() == "succeeded"), "{target:?} {nth}: {runs:#?}");
    let records = inner.list_records(None, 1000).await.expect("records");
    assert_eq!(records.len(), runs.len(), "{target:?} {nth}: one record for each run");
    let bodies = other_side.bodies.lock().expect("lock").clone();
    assert_eq!(bodies.len(), runs.len() * 2, "{target:?} {nth}: two keys for each run");
    for sent in bodies.values() {
        assert!(sent.iter().all(|body| *body == sent[0]), "{target:?} {nth}: a repeat sends the same bytes");
    }
    engine.drain(Duration::from_secs(5)).await;
    match target {
        Target::Store(_) => store.calls() >= nth as u64,
        Target::Effect(_) => effects.performed() >= nth,
    }
}

async fn until_ended(store: &dyn Store) -> Vec<StoredRun> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let filter = RunFilter { limit: 1000, ..RunFilter::default() };
        let runs = store.list_runs(filter).await.expect("runs");
        if !runs.is_empty() && runs.iter().all(|run| run.run.status.is_final()) {
            return runs;
        }
        assert!(Instant::now() < deadline, "runs do not end: {runs:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sweeps `n` until a scenario passes without reaching it.
fn sweep(scenario: Scenario, target: Target) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut n = 1;
    while runtime.block_on(play(scenario, target, n)) {
        n += 1;
        assert!(n < 500, "the sweep does not end");
    }
    assert!(n > 2, "the sweep reached something: {n}");
}

#[test]
fn a_store_call_that_fails() {
    sweep(PLAIN, Target::Store(FailAt::Before));
}

#[test]
fn a_store_call_whose_answer_is_lost() {
    sweep(PLAIN, Target::Store(FailAt::After));
}

#[test]
fn an_effect_that_fails() {
    sweep(PLAIN, Target::Effect(Strike::Before));
}

#[test]
fn an_effect_whose_answer_is_lost() {
    sweep(PLAIN, Target::Effect(Strike::After));
}

#[test]
fn a_store_call_that_fails_while_leads_are_told_apart_and_wait() {
    sweep(GATED, Target::Store(FailAt::Before));
}

#[test]
fn a_lost_answer_while_leads_are_told_apart_and_wait() {
    sweep(GATED, Target::Store(FailAt::After));
}

#[test]
fn a_store_call_that_fails_while_a_request_is_split() {
    sweep(SPLIT, Target::Store(FailAt::Before));
}

#[test]
fn a_lost_answer_while_a_request_is_split() {
    sweep(SPLIT, Target::Store(FailAt::After));
}

//! An engine of its own in the test's process: on a real store, with a clock that can be moved and another side that
//! remembers what it was sent. One rig outlives many lives of the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leadflow::actions;
use leadflow::clock::{Clock, Fut, Micros, SystemClock, micros};
use leadflow::connectors::{Opened, Reach, Registry};
use leadflow::engine::ports::{Connections, Limits, OpenConnection};
use leadflow::engine::{Accept, Accepted, Acceptor, Config, Engine, Retention};
use leadflow::flow::{Bundle, Defaults, Environment, Flow, compile};
use leadflow::ids::RunId;
use leadflow::library::LiveFlow;
use leadflow::outbound::{Call, Effect, Effects, HttpBody, HttpReply, Reply, Transport};
use leadflow::run::TriggerData;
use leadflow::store::sqlite::{Mode, OpenOptions, SqliteStore};
use leadflow::store::{FlowText, RunFilter, Store, StoredRun, TextId};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::PATIENCE;

/// The machine's clock, moved forward at will: durable waits pass without anybody waiting.
#[derive(Debug, Default)]
pub(crate) struct Travel {
    ahead: AtomicI64,
}

/// How often a sleeper looks whether the clock was moved.
const LOOK: Duration = Duration::from_millis(5);

impl Travel {
    /// Moves the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for Travel {
    fn now(&self) -> Micros {
        SystemClock.now() + self.ahead.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, at: Micros) -> Fut<'_, ()> {
        Box::pin(async move {
            while self.now() < at {
                let left = Duration::from_micros(u64::try_from(at - self.now()).unwrap_or(1));
                tokio::time::sleep(left.min(LOOK)).await;
            }
        })
    }
}

/// One request as the other side saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) action: String,
    pub(crate) idx: String,
    pub(crate) key: String,
    pub(crate) body: Value,
}

/// Answers 200, to `/fail` and to what is broken 400, and remembers what came, in order. What no commit has named does
/// not reach it.
pub(crate) struct OtherSide {
    store: Arc<SqliteStore>,
    sent: Mutex<Vec<Sent>>,
    /// Requests at work now, and at most so far.
    at_work: Mutex<(usize, usize)>,
    /// The first so many requests are answered together.
    pub(crate) together: AtomicUsize,
    /// Bodies `n` that it refuses.
    broken: Mutex<Vec<Value>>,
    takes: Duration,
}

impl OtherSide {
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("lock").clone()
    }

    /// From now on it refuses these `n`, and no others.
    pub(crate) fn refuse(&self, broken: &[Value]) {
        *self.broken.lock().expect("lock") = broken.to_vec();
    }

    /// Forgets what was sent; what it was.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().expect("lock"))
    }

    /// Requests at the same time, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.at_work.lock().expect("lock").1
    }

    /// The bodies under each key.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<Sent>> {
        let mut by_key: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        for sent in self.sent() {
            by_key.entry(sent.key.clone()).or_default().push(sent);
        }
        by_key
    }

    async fn take(&self, call: Call<'_>) -> Reply {
        let Effect::Http(request) = call.effect else { panic!("an HTTP request") };
        let is_named = |run: &StoredRun| {
            run.run.inflight.iter().any(|flight| flight.name == call.action && flight.idx == call.idx)
        };
        let filter = RunFilter { limit: 100, ..RunFilter::default() };
        // A life that ends breaks its reads off: nobody answers any more.
        let Ok(runs) = self.store.list_runs(filter).await else { return std::future::pending().await };
        assert!(runs.iter().any(is_named), "{}[{}] was sent before a commit named it", call.action, call.idx);
        let key = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
        let body = match &request.body {
            Some(HttpBody::Json(body)) => body.clone(),
            _ => Value::Null,
        };
        let key = key.map(|(_, value)| value.clone()).expect("a key");
        let sent = Sent { action: call.action.to_owned(), idx: call.idx.to_owned(), key, body: body.clone() };
        self.sent.lock().expect("lock").push(sent);
        {
            let mut at_work = self.at_work.lock().expect("lock");
            at_work.0 += 1;
            at_work.1 = at_work.1.max(at_work.0);
        }
        while self.sent.lock().expect("lock").len() < self.together.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        self.at_work.lock().expect("lock").0 -= 1;
        let is_broken = self.broken.lock().expect("lock").contains(&body["n"]);
        let status = if is_broken || request.url.contains("/fail") { 400 } else { 200 };
        Reply::Http(HttpReply { status, headers: Vec::new(), body, retry_after: None })
    }
}

/// Shares the other side between lives.
pub(crate) struct Shared(pub(crate) Arc<OtherSide>);

impl Effects for Shared {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(self.0.take(call))
    }
}

/// What outlives the engine.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) flow: Arc<Flow>,
    text_id: TextId,
    pub(crate) clock: Arc<Travel>,
    pub(crate) other_side: Arc<OtherSide>,
    pub(crate) limits: Limits,
    /// Slots of the connection `api`.
    pub(crate) slots: usize,
    /// Settings of the connection `api`.
    pub(crate) settings: Value,
    /// What else the connection `api` is opened with.
    pub(crate) shape: fn(&mut OpenConnection),
    lives: AtomicI64,
}

/// One life of the engine: what it started dies with the runtime.
pub(crate) struct Life {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Arc<Engine>,
}

/// Compiles the text of a flow.
pub(crate) fn compiled(text: &str) -> Flow {
    let catalogue = actions::catalogue();
    let connections = BTreeMap::from([("crm".to_owned(), "records".to_owned()), ("api".to_owned(), "http".to_owned())]);
    let bundle = Bundle {
        file: "rig.yaml".into(),
        text: text.into(),
        blueprint: None,
        schemas: BTreeMap::new(),
        parameters: serde_json::json!({}),
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

impl Rig {
    pub(crate) fn new(text: &str) -> Self {
        Self::slow(text, Duration::ZERO)
    }

    /// A rig whose other side takes its time.
    pub(crate) fn slow(text: &str, takes: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = OpenOptions::new(folder.path().join("leadflow.db"), Mode::Serve);
        let store = Arc::new(SqliteStore::open(options).expect("a store"));
        let flow = Arc::new(compiled(text));
        let bundle = serde_json::to_string(&flow.bundle).expect("JSON");
        let pinned = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle };
        let text_id = alone(store.pin_text(pinned, 1)).expect("pinned");
        let other_side = OtherSide {
            store: Arc::clone(&store),
            sent: Mutex::default(),
            at_work: Mutex::default(),
            broken: Mutex::default(),
            together: AtomicUsize::new(0),
            takes,
        };
        Self {
            folder,
            store,
            flow,
            text_id,
            clock: Arc::default(),
            other_side: Arc::new(other_side),
            limits: Limits::default(),
            slots: 4,
            settings: serde_json::json!({}),
            shape: |_| {},
            lives: AtomicI64::new(0),
        }
    }

    /// The store as a command beside the server opens it: the engine finds what it changes.
    pub(crate) fn beside(&self) -> SqliteStore {
        let options = OpenOptions::new(self.folder.path().join("leadflow.db"), Mode::Write);
        SqliteStore::open(options).expect("a store")
    }

    /// The text in the store.
    pub(crate) fn text_id(&self) -> TextId {
        self.text_id
    }

    fn connections(&self) -> Connections {
        let mut api = opened("api", "http", &self.settings, self.slots);
        (self.shape)(&mut api);
        let plain = embedded("", "http", self.slots);
        let all = [embedded("crm", "records", self.slots), api, plain];
        all.into_iter().map(|open| (open.name.clone(), Arc::new(open))).collect()
    }

    /// An engine that works.
    pub(crate) fn live(&self) -> Life {
        self.live_on(Arc::clone(&self.store) as Arc<dyn Store>, Arc::new(Shared(Arc::clone(&self.other_side))))
    }

    /// An engine on another form of the store and of the effects.
    pub(crate) fn live_on(&self, store: Arc<dyn Store>, effects: Arc<dyn Effects>) -> Life {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let hour = Duration::from_secs(3600);
        let engine = Engine::new(Config {
            library: Arc::default(),
            store,
            effects,
            connections: self.connections(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            limits: self.limits.clone(),
            retention: Retention { succeeded: hour * 999, failed: hour * 999, rejected: hour, duplicates: hour },
            environment: None,
            catalogue: Arc::new(actions::catalogue()),
            owner: format!("life {}", self.lives.fetch_add(1, Ordering::SeqCst)),
        });
        // A store that has died answers no start either; a fault of one call is no reason to give up.
        runtime.block_on(async {
            for _ in 0..3 {
                if engine.start().await.is_ok() {
                    return;
                }
            }
        });
        Life { runtime, engine }
    }

    /// Every run with its steps.
    pub(crate) fn runs(&self) -> Vec<StoredRun> {
        alone(async {
            let filter = RunFilter { limit: 100, ..RunFilter::default() };
            let mut runs = Vec::new();
            for listed in self.store.list_runs(filter).await.expect("runs") {
                runs.extend(self.store.run(listed.run.run_id).await.expect("a run"));
            }
            runs
        })
    }

    /// `who group`, or the kind, of the records that a run wrote, sorted.
    pub(crate) fn records(&self, run: RunId) -> Vec<String> {
        let rows = alone(self.store.list_records(None, 100_000)).expect("records");
        let text = |fields: &Value, name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<String> = rows
            .iter()
            .filter(|row| row.run_id == run)
            .map(|row| {
                format!("{}{} {}", text(&row.fields, "who"), text(&row.fields, "kind"), text(&row.fields, "group"))
            })
            .collect();
        found.sort();
        found
    }
}

impl Life {
    /// Posts `body` once.
    pub(crate) fn post(&self, rig: &Rig, body: &Value) -> Accepted {
        let acceptor = Acceptor(Arc::clone(&self.engine));
        let live = Arc::new(LiveFlow { flow: Arc::clone(&rig.flow), text_id: rig.text_id });
        let trigger = TriggerData { method: "POST".into(), body: body.to_string(), ..TriggerData::default() };
        self.runtime.block_on(acceptor.accept(live, trigger))
    }

    /// Posts `body`, which must be taken; the run.
    pub(crate) fn accepted(&self, rig: &Rig, body: &Value) -> RunId {
        match self.post(rig, body) {
            Accepted::Run { run_id, .. } => run_id,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until `holds` says so of a run.
    pub(crate) fn until(&self, rig: &Rig, run: RunId, holds: impl Fn(&StoredRun) -> bool) -> StoredRun {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stored = self.runtime.block_on(rig.store.run(run)).expect("read").expect("the run");
            if holds(&stored) {
                return stored;
            }
            assert!(Instant::now() < deadline, "waited in vain: {:#?}", stored.run);
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a run has ended.
    pub(crate) fn ended(&self, rig: &Rig, run: RunId) -> StoredRun {
        self.until(rig, run, |stored| stored.run.status.is_final())
    }

    /// SIGTERM: finish or hand back.
    pub(crate) fn drain(self, grace: Duration) {
        self.runtime.block_on(self.engine.drain(grace));
        self.runtime.shutdown_background();
    }

    /// kill -9: nothing is finished and nothing is said.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Waits for `future` outside every life.
pub(crate) fn alone<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Statuses by action and index: what must be the same whatever happens on the way.
pub(crate) fn statuses(stored: &StoredRun) -> BTreeMap<(String, String), &'static str> {
    stored.steps.iter().map(|step| ((step.name.clone(), step.idx.clone()), step.status.as_str())).collect()
}

/// A connection whose effects never reach a transport.
pub(crate) fn embedded(name: &str, kind: &str, concurrency: usize) -> OpenConnection {
    opened(name, kind, &serde_json::json!({}), concurrency)
}

fn opened(name: &str, kind: &str, settings: &Value, concurrency: usize) -> OpenConnection {
    let connector = Registry::builtin().find(kind).expect("a connector");
    let opened = connector.open(settings, &Reach::new("unused")).expect("settings that fit");
    let opened = Opened { transport: Transport::Embedded, ..opened };
    OpenConnection::new(name, connector.as_ref(), opened, concurrency)
}

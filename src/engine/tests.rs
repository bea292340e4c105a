//! What a running engine holds on to: runs in memory, and a store that is down.

use crate::actions;
use crate::clock::SystemClock;
use crate::outbound::Real;
use crate::store::faulty::{FailAt, Faulty};
use crate::store::sqlite::{Mode, OpenOptions, SqliteStore};

use super::*;

/// An engine without connections on a fresh store that can be switched off.
fn engine(folder: &tempfile::TempDir, limits: Limits) -> (Arc<Engine>, Arc<Faulty<SqliteStore>>) {
    let options = OpenOptions::new(folder.path().join("leadflow.db"), Mode::Serve);
    let inner = Arc::new(SqliteStore::open(options).expect("a store"));
    let store = Arc::new(Faulty::new(inner, 0, FailAt::Before));
    let day = Duration::from_secs(24 * 3600);
    let engine = Engine::new(Config {
        library: std::sync::Arc::new(crate::library::Library::default()),
        store: Arc::clone(&store) as Arc<dyn Store>,
        effects: Arc::new(Real),
        connections: Connections::new(),
        clock: Arc::new(SystemClock),
        limits,
        retention: Retention { succeeded: day, failed: day, rejected: day, duplicates: day },
        environment: None,
        catalogue: Arc::new(actions::catalogue()),
        owner: "test".into(),
    });
    (engine, store)
}

/// A run is given back, claimed again at once, and only then does its first actor go.
#[tokio::test]
async fn an_actor_that_goes_does_not_take_its_successor_out_of_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, _store) = engine(&folder, Limits::default());
    let run = RunId::from_bytes([7; 16]);
    let (first, _) = engine.register(run, false);
    let (second, cancelled) = engine.register(run, false);
    drop(first);
    assert!(engine.is_active(run), "or it would get a second actor, and a drain would not wait for it");
    engine.cancel_active(run);
    assert!(*cancelled.borrow(), "a cancel reaches the actor that is there");
    drop(second);
    assert_eq!(engine.active_runs(), 0);
}

#[tokio::test]
async fn a_store_that_is_down_is_not_asked_without_a_pause() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, store) = engine(&folder, Limits::default());
    engine.start().await.expect("started");
    store.set_down(true);
    let before = store.calls();
    for _ in 0..10 {
        engine.wake.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = store.calls() - before;
    assert!(asked < 10, "{asked} calls in a second");
    store.set_down(false);
    engine.drain(Duration::from_secs(1)).await;
}

/// Runs of a dead destination end without being counted here when another process ends them.
#[tokio::test]
async fn nobody_is_turned_away_by_a_count_that_is_not_true_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, _store) = engine(&folder, Limits { waiting_runs_per_flow_max: 2, ..Limits::default() });
    assert!(!engine.is_busy("offer", 1).await.expect("counted"));
    for _ in 0..5 {
        engine.count_unfinished("offer", 1);
    }
    assert!(engine.is_busy("offer", 1).await.expect("counted"));
    let counted = engine.unfinished.lock().expect("lock").get_mut("offer").map(|count| count.counted_at = 0);
    assert!(counted.is_some());
    assert!(!engine.is_busy("offer", 1).await.expect("counted"), "the store has none");
}

/// A run may end before the accept that stored it has counted it.
#[tokio::test]
async fn the_order_of_counting_does_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, _store) = engine(&folder, Limits::default());
    engine.is_busy("offer", 1).await.expect("counted");
    engine.count_unfinished("offer", -1);
    engine.count_unfinished("offer", 1);
    assert_eq!(engine.unfinished.lock().expect("lock")["offer"].runs, 0);
}

/// Taking it up again could panic for ever, and nobody would see it.
#[tokio::test]
async fn a_run_whose_actor_panicked_is_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, store) = engine(&folder, Limits::default());
    let now = engine.ports.clock.now();
    let run_id = RunId::new(now);
    let trigger = TriggerData {
        method: "POST".into(),
        path: vec![],
        query: vec![],
        headers: vec![],
        body: String::new(),
        ..TriggerData::default()
    };
    let mut run = crate::store::RunRow::queued(run_id, "offer".into(), 1, now, trigger);
    (run.status, run.owner, run.epoch) = (crate::run::RunStatus::Running, Some("test".into()), 1);
    store.accept(crate::store::NewRun { run, steps: vec![], records: vec![] }).await.expect("stored");
    let (presence, _cancel) = engine.register(run_id, false);
    let actor = tokio::spawn(async move {
        let _here = presence;
        panic!("a fault of the test");
    });
    assert!(actor.await.is_err());
    engine.start().await.expect("started");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let stored = store.run(run_id).await.expect("read").expect("the run").run;
        if stored.status == crate::run::RunStatus::Held {
            assert_eq!((stored.code.as_deref(), stored.owner), (Some("engine_fault"), None));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{stored:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.drain(Duration::from_secs(1)).await;
}

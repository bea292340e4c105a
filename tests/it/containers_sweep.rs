//! Every container, and a fault or a death at every journal write and at every effect, before it and after it: the run
//! ends as if nothing had happened, every effect was sent under its own key, and what was decided stays decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leadflow::clock::{Clock, Fut, micros, rfc3339};
use leadflow::engine::Accepted;
use leadflow::outbound::faulty::{Faulty as FaultyEffects, Strike};
use leadflow::outbound::{Call, Effects, Reply};
use leadflow::store::faulty::{FailAt, Faulty};
use leadflow::store::sqlite::SqliteStore;
use leadflow::store::{Store, StoredRun};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::rig::{Life, OtherSide, Rig, Shared, statuses};

const FLOW: &str = include_str!("../data/every_container.yaml");

/// Effects of one run: `in_time`, four `tell`, three `ask`, refused, handle, left, right.
const EFFECTS: usize = 12;

/// How far the clock moves as soon as the lead is taken: whoever reads it again decides otherwise.
const LATER: Duration = Duration::from_secs(2 * 3600);

fn lead(rig: &Rig) -> Value {
    let before = rfc3339(rig.clock.now() + micros(Duration::from_secs(1800)));
    json!({
        "before": before,
        "kind": "contact",
        "groups": [{ "name": "red", "members": ["ada", "bob", "cy"] }, { "name": "blue", "members": ["dee"] }],
    })
}

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A store call fails.
    Store(FailAt),
    /// The process dies at a store call.
    Death(FailAt),
    /// An effect fails.
    Effect(Strike),
    /// The process dies at an effect.
    DeathAtEffect(Strike),
}

/// Dies at the n-th effect: from then on nothing is answered.
struct Deadly {
    inner: Shared,
    nth: usize,
    strike: Strike,
    performed: AtomicUsize,
    dead: AtomicBool,
}

impl Effects for Deadly {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        let strikes = self.performed.fetch_add(1, Ordering::SeqCst) + 1 == self.nth;
        Box::pin(async move {
            if self.dead.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if strikes && self.strike == Strike::Before {
                self.dead.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            let reply = self.inner.perform(call).await;
            if strikes {
                self.dead.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            reply
        })
    }
}

/// The parts of a life that may break.
struct Broken {
    store: Arc<Faulty<SqliteStore>>,
    effects: Arc<FaultyEffects<Shared>>,
    deadly: Arc<Deadly>,
}

impl Broken {
    fn new(rig: &Rig, fault: Fault, nth: usize) -> Self {
        let inner = Arc::clone(&rig.store);
        let shared = || Shared(Arc::clone(&rig.other_side));
        let store = match fault {
            Fault::Store(at) => Faulty::new(inner, nth as u64, at),
            Fault::Death(at) => Faulty::crashing(inner, nth as u64, at),
            Fault::Effect(_) | Fault::DeathAtEffect(_) => Faulty::new(inner, 0, FailAt::Before),
        };
        let (effect_nth, effect_strike) = match fault {
            Fault::Effect(strike) => (nth, strike),
            _ => (0, Strike::Before),
        };
        let (death_nth, death_strike) = match fault {
            Fault::DeathAtEffect(strike) => (nth, strike),
            _ => (0, Strike::Before),
        };
        let deadly = Deadly {
            inner: shared(),
            nth: death_nth,
            strike: death_strike,
            performed: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
        };
        Self {
            store: Arc::new(store),
            effects: Arc::new(FaultyEffects::new(shared(), effect_nth, effect_strike)),
            deadly: Arc::new(deadly),
        }
    }

    fn live(&self, rig: &Rig, fault: Fault) -> Life {
        let effects: Arc<dyn Effects> = match fault {
            Fault::DeathAtEffect(_) => Arc::clone(&self.deadly) as Arc<dyn Effects>,
            _ => Arc::clone(&self.effects) as Arc<dyn Effects>,
        };
        rig.live_on(Arc::clone(&self.store) as Arc<dyn Store>, effects)
    }

    fn is_dead(&self) -> bool {
        self.store.is_down() || self.deadly.dead.load(Ordering::SeqCst)
    }

    /// Whether the fault was reached.
    fn struck(&self, fault: Fault, nth: usize) -> bool {
        match fault {
            Fault::Store(_) | Fault::Death(_) => self.store.calls() >= nth as u64,
            Fault::Effect(_) => self.effects.performed() >= nth,
            Fault::DeathAtEffect(_) => self.deadly.performed.load(Ordering::SeqCst) >= nth,
        }
    }
}

/// Posts until the lead is taken or the process has died; whether it was taken.
fn post(rig: &Rig, life: &Life, broken: &Broken) -> bool {
    loop {
        match life.post(rig, &lead(rig)) {
            Accepted::Run { .. } => return true,
            Accepted::Unavailable(_) if broken.is_dead() => return false,
            Accepted::Unavailable(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn finals(rig: &Rig) -> Option<Vec<StoredRun>> {
    let runs = rig.runs();
    (!runs.is_empty() && runs.iter().all(|run| run.run.status.is_final())).then_some(runs)
}

/// Plays one lead through, in a second life if the first one dies; whether the fault was reached.
fn play(fault: Fault, nth: usize) -> bool {
    let rig = Rig::new(FLOW);
    let broken = Broken::new(&rig, fault, nth);
    let mut life = broken.live(&rig, fault);
    let mut taken = post(&rig, &life, &broken);
    rig.clock.advance(LATER);
    let deadline = Instant::now() + PATIENCE;
    let mut second = false;
    let runs = loop {
        if broken.is_dead() && !second {
            life.kill();
            rig.clock.advance(LATER);
            life = rig.live();
            second = true;
            if !taken {
                // No answer: the client posts again.
                life.accepted(&rig, &lead(&rig));
                taken = true;
                rig.clock.advance(LATER);
            }
        }
        if let Some(runs) = finals(&rig) {
            break runs;
        }
        assert!(Instant::now() < deadline, "{fault:?} {nth}: {:#?}", rig.runs());
        std::thread::sleep(Duration::from_millis(2));
    };
    let struck = broken.struck(fault, nth);
    for run in &runs {
        judge(&rig, run, &format!("{fault:?} {nth}"));
    }
    keys(&rig.other_side, runs.len(), &format!("{fault:?} {nth}"));
    life.drain(Duration::from_secs(5));
    struck
}

/// The run ended as it must.
fn judge(rig: &Rig, run: &StoredRun, what: &str) {
    assert_eq!((run.run.status.as_str(), run.run.code.as_deref()), ("cancelled", Some("enough")), "{what}: {run:#?}");
    let found = statuses(run);
    let of = |name: &str, idx: &str| found.get(&(name.to_owned(), idx.to_owned())).copied();
    let top = [
        ("by_clock", "succeeded"),
        ("in_time", "succeeded"),
        ("too_late", "skipped"),
        ("by_kind", "succeeded"),
        ("of_other", "skipped"),
        ("of_lead", "succeeded"),
        ("groups", "succeeded"),
        ("poll", "succeeded"),
        ("deliver", "failed"),
        ("refused", "failed"),
        ("after_refused", "skipped"),
        ("handle", "succeeded"),
        ("left", "succeeded"),
        ("right", "succeeded"),
        ("join", "succeeded"),
        ("enough", "succeeded"),
        ("never", "cancelled"),
    ];
    for (name, status) in top {
        assert_eq!(of(name, ""), Some(status), "{what}: {name}\n{found:#?}");
    }
    let inside = [("members", 2), ("group_done", 2), ("keep", 4), ("tell", 4), ("ask", 3), ("pause", 3)];
    for (name, number) in inside {
        let all: Vec<_> = found.iter().filter(|((found, _), _)| found == name).collect();
        assert!(all.len() == number && all.iter().all(|(_, status)| **status == "succeeded"), "{what}: {all:?}");
    }
    assert_eq!(found.len(), top.len() + 18, "{what}: {found:#?}");
    let joined = run.steps.iter().find(|step| step.name == "join").and_then(|step| step.io.outputs.clone());
    assert_eq!(joined, Some(json!("red,blue")), "{what}: outputs in the order of the items");
    let records = rig.records(run.run.run_id);
    let expected = ["ada red", "bob red", "contact ", "cy red", "dee blue"];
    assert_eq!(records, expected.map(str::to_owned), "{what}: one record for each iteration");
}

/// Every effect was sent, each under a key of its own, and a repeat is the same.
fn keys(other_side: &OtherSide, runs: usize, what: &str) {
    let by_key = other_side.by_key();
    assert_eq!(by_key.len(), runs * EFFECTS, "{what}: {by_key:#?}");
    let mut of_iteration: BTreeMap<(String, String), BTreeSet<&String>> = BTreeMap::new();
    for (key, sent) in &by_key {
        assert!(sent.iter().all(|one| *one == sent[0]), "{what}: a repeat sends the same bytes: {sent:#?}");
        of_iteration.entry((sent[0].action.clone(), sent[0].idx.clone())).or_default().insert(key);
    }
    assert_eq!(of_iteration.len(), EFFECTS, "{what}");
    assert!(of_iteration.values().all(|keys| keys.len() == runs), "{what}: {of_iteration:#?}");
}

/// Sweeps `n` until a play passes without reaching it.
fn sweep(fault: Fault) {
    let mut n = 1;
    while play(fault, n) {
        n += 1;
        assert!(n < 500, "the sweep does not end");
    }
    assert!(n > EFFECTS, "the sweep reached something: {n}");
}

#[test]
fn a_store_call_that_fails() {
    sweep(Fault::Store(FailAt::Before));
}

#[test]
fn a_store_call_whose_answer_is_lost() {
    sweep(Fault::Store(FailAt::After));
}

#[test]
fn a_death_before_any_store_call() {
    sweep(Fault::Death(FailAt::Before));
}

#[test]
fn a_death_after_any_store_call() {
    sweep(Fault::Death(FailAt::After));
}

#[test]
fn an_effect_that_fails() {
    sweep(Fault::Effect(Strike::Before));
}

#[test]
fn an_effect_whose_answer_is_lost() {
    sweep(Fault::Effect(Strike::After));
}

#[test]
fn a_death_before_any_effect() {
    sweep(Fault::DeathAtEffect(Strike::Before));
}

#[test]
fn a_death_after_any_effect() {
    sweep(Fault::DeathAtEffect(Strike::After));
}

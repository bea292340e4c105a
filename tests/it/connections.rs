//! Connections in trouble: throttled, down, refused. Their runs wait and lose nothing; everybody else goes on. Each test
//! has an engine of its own, a clock that is moved, and another side that says what it is told to.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leadflow::clock::{Clock, Fut, Micros, micros};
use leadflow::engine::resubmit::{Text, from_action};
use leadflow::flow::OnUnknown;
use leadflow::ids::RunId;
use leadflow::outbound::{Call, Effect, Effects, HttpBody, HttpReply, Reply};
use leadflow::run::{Failure, RunStatus};
use leadflow::store::{BlockKind, ConnectionState, Store, StoredRun};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::rig::{Life, Rig, Travel, alone};

/// A lead with `host` calls that host without a connection; every other one calls the connection `api`.
const FLOW: &str = r#"
name: rig
trigger:
  type: request
actions:
  - name: call
    type: http
    when: "{{empty trigger.body.host}}"
    connection: api
    method: POST
    url: /x
    body: { n: "{{trigger.body.n}}" }
    retry: { policy: none }
  - name: other
    type: http
    when: "{{not (empty trigger.body.host)}}"
    method: POST
    url: "https://{{trigger.body.host}}/x"
    body: { n: "{{trigger.body.n}}" }
    retry: { policy: none }
"#;

/// A minute and an hour: the tests' own time is short beside them.
const PENALTY: Duration = Duration::from_secs(3600);

/// What the other side does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    Status(u16),
    Throttle(Option<Duration>),
    /// Acts, and its answer is lost.
    Lose,
    /// Never answers.
    Silent,
}

/// The other side: in one mood for every host, and it remembers who called it, and when.
struct Side {
    clock: Arc<Travel>,
    mood: Mutex<Mood>,
    calls: Mutex<Vec<(Micros, Value)>>,
    at_once: Mutex<(usize, usize)>,
}

impl Side {
    fn new(rig: &Rig, mood: Mood) -> Arc<Self> {
        let (calls, at_once) = Default::default();
        Arc::new(Self { clock: Arc::clone(&rig.clock), mood: Mutex::new(mood), calls, at_once })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().expect("lock") = mood;
    }

    fn calls(&self) -> Vec<(Micros, Value)> {
        self.calls.lock().expect("lock").clone()
    }

    async fn answer(&self, call: Call<'_>) -> Reply {
        let Effect::Http(request) = call.effect else { panic!("an HTTP request") };
        let Some(HttpBody::Json(body)) = &request.body else { panic!("a body") };
        self.calls.lock().expect("lock").push((self.clock.now(), body["n"].clone()));
        {
            let mut at_once = self.at_once.lock().expect("lock");
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        tokio::task::yield_now().await;
        self.at_once.lock().expect("lock").0 -= 1;
        let http = |status, retry_after: Option<Duration>| {
            let retry_after = retry_after.map(micros);
            Reply::Http(HttpReply { status, headers: Vec::new(), body: Value::Null, retry_after })
        };
        let mood = if request.url.contains("well.example") { Mood::Fine } else { *self.mood.lock().expect("lock") };
        match mood {
            Mood::Fine => http(200, None),
            Mood::Status(status) => http(status, None),
            Mood::Throttle(wait) => http(429, wait),
            Mood::Lose => Reply::Failed(Failure::unknown("unknown_outcome", "the answer was lost")),
            Mood::Silent => std::future::pending().await,
        }
    }
}

/// Shares the other side between lives.
struct Shared(Arc<Side>);

impl Effects for Shared {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(self.0.answer(call))
    }
}

fn live(rig: &Rig, side: &Arc<Side>) -> Life {
    rig.live_on(Arc::clone(&rig.store) as Arc<dyn Store>, Arc::new(Shared(Arc::clone(side))))
}

fn post(life: &Life, rig: &Rig, n: u32) -> RunId {
    life.accepted(rig, &json!({ "n": n }))
}

/// A lead for a host without a connection; waits for its end.
fn other(life: &Life, rig: &Rig, host: &str) {
    let run = life.accepted(rig, &json!({ "n": 0, "host": host }));
    assert_eq!(life.ended(rig, run).run.status, RunStatus::Succeeded);
}

fn state(rig: &Rig) -> ConnectionState {
    let states = alone(rig.store.connections()).expect("states");
    states.into_iter().find(|state| state.connection == "api").expect("the state of `api`")
}

/// Waits until `found` finds something.
fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn attempts(stored: &StoredRun) -> u32 {
    stored.steps.iter().find(|step| step.name == "call").map_or(0, |step| step.attempt)
}

/// Every run ends well, with its first try that counts.
fn all_succeed_at_once(life: &Life, rig: &Rig, runs: &[RunId]) {
    for run in runs {
        let ended = life.ended(rig, *run);
        assert_eq!((ended.run.status, attempts(&ended)), (RunStatus::Succeeded, 1), "{:#?}", ended.steps);
    }
}

/// Moves the clock to the next probe.
fn pass_to_probe(rig: &Rig) {
    let next = state(rig).block.expect("blocked").next_probe_at;
    let left = u64::try_from(next - rig.clock.now()).unwrap_or(0);
    rig.clock.advance(Duration::from_micros(left + 1));
}

#[test]
fn nobody_calls_a_throttled_connection_before_its_time_not_even_after_a_restart() {
    let mut rig = Rig::new(FLOW);
    rig.slots = 1;
    let side = Side::new(&rig, Mood::Throttle(Some(PENALTY)));
    let life = live(&rig, &side);
    let runs: Vec<RunId> = (1..=20).map(|n| post(&life, &rig, n)).collect();
    until("the pause is kept", || (state(&rig).paused_until > 0).then_some(()));
    assert_eq!(side.calls().len(), 1, "one of them heard it, for all");
    side.set(Mood::Fine);
    other(&life, &rig, "well.example");
    life.kill();

    let life = live(&rig, &side);
    let late = post(&life, &rig, 21);
    other(&life, &rig, "well.example");
    rig.clock.advance(PENALTY / 2);
    other(&life, &rig, "well.example");
    let to_api = || side.calls().iter().filter(|(_, n)| *n != json!(0)).count();
    assert_eq!(to_api(), 1, "no call inside the window");
    let waiting = alone(rig.store.waiting_runs()).expect("counts");
    assert_eq!(waiting.iter().find(|(lane, _)| lane == "api"), Some(&("api".to_owned(), 21)));

    rig.clock.advance(PENALTY / 2);
    all_succeed_at_once(&life, &rig, &runs);
    all_succeed_at_once(&life, &rig, &[late]);
    assert_eq!(to_api(), 22);
    assert_eq!(side.at_once.lock().expect("lock").1, 1, "within its slots");
    let after = state(&rig);
    assert_eq!((after.times.throttled, after.pauses), (1, 0));
    life.drain(Duration::from_secs(5));
}

#[test]
fn throttles_without_a_time_grow_and_never_use_up_a_retry() {
    let rig = Rig::new(FLOW);
    let side = Side::new(&rig, Mood::Throttle(None));
    let life = live(&rig, &side);
    let run = post(&life, &rig, 1);
    for pauses in 1..=8 {
        until("the next pause", || {
            (state(&rig).pauses == pauses && side.calls().len() == pauses as usize).then_some(())
        });
        let left = u64::try_from(state(&rig).paused_until - rig.clock.now()).unwrap_or(0);
        rig.clock.advance(Duration::from_micros(left));
    }
    side.set(Mood::Fine);
    rig.clock.advance(PENALTY);
    let ended = life.ended(&rig, run);
    assert_eq!((ended.run.status, attempts(&ended)), (RunStatus::Succeeded, 1));
    life.drain(Duration::from_secs(5));
}

#[test]
fn a_host_without_a_connection_is_paused_too() {
    let mut rig = Rig::new(FLOW);
    rig.slots = 1;
    let side = Side::new(&rig, Mood::Throttle(Some(PENALTY)));
    let life = live(&rig, &side);
    let to = |host: &str| life.accepted(&rig, &json!({ "n": 1, "host": host }));
    let runs = [to("slow.example"), to("slow.example"), to("slow.example")];
    life.until(&rig, runs[0], |stored| stored.steps.iter().any(|step| !step.io.tries.is_empty()));
    side.set(Mood::Fine);
    other(&life, &rig, "well.example");
    assert_eq!(side.calls().iter().filter(|(_, n)| *n == json!(1)).count(), 1);
    rig.clock.advance(PENALTY + Duration::from_secs(1));
    for run in runs {
        assert_eq!(life.ended(&rig, run).run.status, RunStatus::Succeeded);
    }
    life.drain(Duration::from_secs(5));
}

#[test]
fn a_dead_connection_costs_one_probe_at_a_time_while_leads_are_accepted() {
    let flow = FLOW.replacen("retry: { policy: none }", "retry: { policy: fixed, count: 50, interval: 1s }", 1);
    let rig = Rig::new(&flow);
    let side = Side::new(&rig, Mood::Status(503));
    let life = live(&rig, &side);
    let mut runs: Vec<RunId> = (1..=20).map(|n| post(&life, &rig, n)).collect();
    until("the breaker opens", || {
        rig.clock.advance(Duration::from_millis(100));
        state(&rig).block.filter(|block| block.kind == BlockKind::Open)
    });
    // What was under way when it opened ends, and nothing follows.
    until("nothing is under way", || {
        let runs = rig.runs();
        runs.iter().all(|stored| stored.run.inflight.is_empty()).then_some(())
    });
    let mut waits = Vec::new();
    for probes in 0..8 {
        let before = until("the last probe is noted", || state(&rig).block.filter(|block| block.probes == probes));
        let calls = side.calls().len();
        runs.push(post(&life, &rig, 100 + probes));
        other(&life, &rig, "well.example");
        assert_eq!(side.calls().len(), calls + 1, "only the other host was called");
        pass_to_probe(&rig);
        let after = until("a probe", || state(&rig).block.filter(|block| block.probes == probes + 1));
        assert_eq!(side.calls().len(), calls + 2, "one probe, not more");
        assert_eq!(after.since, before.since);
        let (tried_at, _) = side.calls().pop().expect("a probe");
        waits.push((after.next_probe_at - tried_at) / 1_000_000);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
    side.set(Mood::Fine);
    pass_to_probe(&rig);
    for run in &runs {
        let ended = life.until(&rig, *run, |stored| {
            rig.clock.advance(Duration::from_millis(10));
            stored.run.status.is_final()
        });
        assert_eq!(ended.run.status, RunStatus::Succeeded);
    }
    let after = state(&rig);
    assert_eq!((after.block, after.failures, after.times.opened), (None, 0, 1));
    life.drain(Duration::from_secs(5));
}

/// A connection with credentials.
fn with_credentials() -> Rig {
    let mut rig = Rig::new(FLOW);
    rig.settings = json!({ "base_url": "https://api.example", "auth": { "type": "bearer", "token": "old" } });
    rig.shape = |open| "old".clone_into(&mut open.settings_digest);
    rig
}

#[test]
fn refused_credentials_hold_every_run_and_fail_none() {
    let rig = with_credentials();
    let side = Side::new(&rig, Mood::Status(401));
    let life = live(&rig, &side);
    let runs: Vec<RunId> = (1..=20).map(|n| post(&life, &rig, n)).collect();
    until("it is held", || state(&rig).block.filter(|block| block.kind == BlockKind::Held));
    until("all wait", || {
        let all = rig.runs();
        all.iter().all(|stored| stored.run.owner.is_none() && !stored.run.status.is_final()).then_some(())
    });
    let calls = side.calls().len();
    assert!(calls <= rig.slots, "{calls} runs found out");
    for probes in 1..=3 {
        pass_to_probe(&rig);
        until("a probe", || state(&rig).block.filter(|block| block.probes == probes));
        assert_eq!(side.calls().len(), calls + probes as usize);
    }
    assert_eq!(state(&rig).times.held, 1, "told once");
    side.set(Mood::Fine);
    pass_to_probe(&rig);
    all_succeed_at_once(&life, &rig, &runs);
    assert_eq!(state(&rig).block, None);
    life.drain(Duration::from_secs(5));
}

#[test]
fn new_settings_let_held_runs_go_on_at_once() {
    let mut rig = with_credentials();
    let side = Side::new(&rig, Mood::Status(401));
    let life = live(&rig, &side);
    let runs: Vec<RunId> = (1..=5).map(|n| post(&life, &rig, n)).collect();
    until("it is held", || state(&rig).block);
    life.drain(Duration::from_secs(5));
    side.set(Mood::Fine);
    rig.shape = |open| "new".clone_into(&mut open.settings_digest);
    let life = live(&rig, &side);
    all_succeed_at_once(&life, &rig, &runs);
    assert_eq!(state(&rig).settings_digest, "new");
    life.drain(Duration::from_secs(5));
}

#[test]
fn an_unknown_outcome_is_held_where_somebody_asked_for_it() {
    let mut rig = Rig::new(FLOW);
    rig.shape = |open| open.on_unknown = Some(OnUnknown::Hold);
    let side = Side::new(&rig, Mood::Lose);
    let life = live(&rig, &side);
    let run = post(&life, &rig, 1);
    let held = life.until(&rig, run, |stored| stored.run.status == RunStatus::Held);
    assert_eq!(held.run.code.as_deref(), Some("unknown_outcome"));
    assert!(held.steps.iter().any(|step| step.name == "call" && step.possible_repeat));
    rig.clock.advance(PENALTY);
    other(&life, &rig, "well.example");
    assert_eq!(side.calls().iter().filter(|(_, n)| *n == json!(1)).count(), 1, "nobody repeats it");

    side.set(Mood::Fine);
    let text = Text { flow: &rig.flow, id: rig.text_id() };
    let new = from_action(&held, &rig.flow, text, "call", rig.clock.now()).expect("it can be decided");
    let again = new.run.run_id;
    alone(rig.beside().accept(new)).expect("stored");
    assert_eq!(life.ended(&rig, again).run.status, RunStatus::Succeeded);
    alone(rig.beside().request_cancel(run, rig.clock.now())).expect("asked");
    assert_eq!(life.ended(&rig, run).run.status, RunStatus::Cancelled);
    life.drain(Duration::from_secs(5));
}

#[test]
fn a_try_that_nobody_saw_end_is_held_too_and_a_harmless_one_is_repeated() {
    let get = FLOW.replacen("method: POST", "method: PUT", 1);
    for (flow, is_held) in [(FLOW, true), (get.as_str(), false)] {
        let mut rig = Rig::new(flow);
        rig.shape = |open| open.on_unknown = Some(OnUnknown::Hold);
        let side = Side::new(&rig, Mood::Silent);
        let life = live(&rig, &side);
        let run = post(&life, &rig, 1);
        until("it is sent", || (side.calls().len() == 1).then_some(()));
        life.kill();
        side.set(Mood::Fine);
        let life = live(&rig, &side);
        let want = if is_held { RunStatus::Held } else { RunStatus::Succeeded };
        let found = life.until(&rig, run, |stored| stored.run.status == want);
        assert_eq!(side.calls().len(), if is_held { 1 } else { 2 });
        assert!(found.steps.iter().any(|step| step.name == "call" && step.possible_repeat));
        life.drain(Duration::from_secs(5));
    }
}

/// Two branches at once, of which one needs a connection that is paused.
#[test]
fn a_paused_connection_does_not_keep_a_run_from_its_other_work() {
    let flow = FLOW
        .replace("    when: \"{{empty trigger.body.host}}\"\n", "")
        .replace("    when: \"{{not (empty trigger.body.host)}}\"\n", "    run_after: {}\n");
    let rig = Rig::new(&flow.replacen("https://{{trigger.body.host}}/x", "https://well.example/x", 1));
    let side = Side::new(&rig, Mood::Throttle(Some(PENALTY)));
    let life = live(&rig, &side);
    let first = post(&life, &rig, 1);
    until("the pause is kept", || (state(&rig).paused_until > 0).then_some(()));
    let second = post(&life, &rig, 2);
    for run in [first, second] {
        life.until(&rig, run, |stored| {
            stored.steps.iter().any(|step| step.name == "other" && step.status.is_final()) && stored.run.owner.is_none()
        });
    }
    side.set(Mood::Fine);
    rig.clock.advance(PENALTY);
    all_succeed_at_once(&life, &rig, &[first, second]);
    life.drain(Duration::from_secs(5));
}

/// With a rate, tries are spread out, and a backlog drains at that rate.
#[test]
fn a_rate_spreads_the_tries() {
    let mut rig = Rig::new(FLOW);
    rig.shape = |open| open.rate = Some(leadflow::units::Rate { per_second: 0.1 });
    let side = Side::new(&rig, Mood::Fine);
    let life = live(&rig, &side);
    let runs: Vec<RunId> = (1..=4).map(|n| post(&life, &rig, n)).collect();
    for run in &runs {
        life.until(&rig, *run, |stored| {
            rig.clock.advance(Duration::from_millis(500));
            stored.run.status == RunStatus::Succeeded
        });
    }
    let mut at: Vec<Micros> = side.calls().into_iter().map(|(at, _)| at).collect();
    at.sort_unstable();
    // The clock is moved between a slot and its call, so single gaps are blurred by a few of its steps.
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 5_000_000), "{at:?}");
    assert!(at[3] - at[0] >= 25_000_000, "{at:?}");
    life.drain(Duration::from_secs(5));
}

//! Containers live long: loops of many iterations, delays of days, a cancel, a drain, an age limit and kill -9 in the
//! middle of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use leadflow::engine::ports::Limits;
use leadflow::store::{Store, StoredRun};
use serde_json::{Value, json};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::rig::{Rig, alone};
use crate::support::{Workspace, wire};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `actions` of a flow named `long`, indented as a list.
fn flow(actions: &str) -> String {
    format!("name: long\ntrigger:\n  type: request\nactions:\n{actions}")
}

fn items(number: usize) -> Value {
    json!({ "items": (0..number).collect::<Vec<_>>() })
}

/// How many actions named `name` ended with each status.
fn tally(run: &StoredRun, name: &str) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for step in run.steps.iter().filter(|step| step.name == name) {
        *tally.entry(step.status.as_str()).or_default() += 1;
    }
    tally
}

const PURE: &str = "  - name: each\n    type: for_each\n    items: '{{trigger.body.items}}'\n    actions:\n      - name: double\n        type: compose\n        inputs: '{{mul item 2}}'\n  - name: count\n    type: compose\n    inputs: '{{length actions.each.outputs}}'\n";

const RECORDS: &str = "  - name: each\n    type: for_each\n    items: '{{trigger.body.items}}'\n    actions:\n      - name: keep\n        type: create_record\n        connection: crm\n        entity: lines\n        fields: { who: '{{string item}}' }\n";

const CALLS: &str = "  - name: each\n    type: for_each\n    concurrency: 50\n    items: '{{trigger.body.items}}'\n    actions:\n      - name: tell\n        type: http\n        connection: api\n        method: POST\n        url: /x\n        body: { n: '{{item}}' }\n      - name: answer\n        type: compose\n        inputs: '{{actions.tell.outputs.body.n}}'\n";

const PAUSES: &str = "  - name: each\n    type: for_each\n    items: '{{trigger.body.items}}'\n    actions:\n      - name: tell\n        type: http\n        connection: api\n        method: POST\n        url: /x\n        body: { n: '{{item}}' }\n      - name: pause\n        type: delay\n        for: 3d\n";

/// The accept answers after its first commit, although the flow begins with a hundred thousand iterations.
#[test]
fn a_long_pure_loop_is_taken_in_pieces() {
    let rig = Rig::new(&flow(PURE));
    let life = rig.live();
    let run = life.accepted(&rig, &items(100_000));
    let taken = alone(rig.store.run(run)).expect("read").expect("the run");
    assert!(!taken.run.status.is_final(), "the 202 does not wait for the end of the loop");
    let ended = life.ended(&rig, run);
    assert_eq!(ended.run.status.as_str(), "succeeded");
    assert_eq!(tally(&ended, "double"), BTreeMap::from([("succeeded", 100_000)]));
    let count = ended.steps.iter().find(|step| step.name == "count").and_then(|step| step.io.outputs.clone());
    assert_eq!(count, Some(json!(100_000)));
    life.drain(DAY);
}

#[test]
fn a_loop_over_too_many_items_fails_before_it_begins() {
    let mut rig = Rig::new(&flow(PURE));
    rig.limits.iterations_max = 3;
    let life = rig.live();
    let run = life.accepted(&rig, &items(4));
    let each = life.ended(&rig, run).steps.into_iter().find(|step| step.name == "each").expect("each");
    let error = each.io.error.expect("an error");
    assert!(error.code == "too_many_items" && error.message.contains("limits.iterations"), "{error}");
    let run = life.accepted(&rig, &items(3));
    assert_eq!(life.ended(&rig, run).run.status.as_str(), "succeeded");
    life.drain(DAY);
}

#[test]
fn a_long_loop_of_records_survives_deaths() {
    let rig = Rig::new(&flow(RECORDS));
    let mut life = rig.live();
    let run = life.accepted(&rig, &items(10_000));
    for share in 1..4 {
        life.until(&rig, run, |_| {
            alone(rig.store.list_records(None, 100_000)).expect("records").len() >= share * 2_000
        });
        life.kill();
        life = rig.live();
    }
    let ended = life.ended(&rig, run);
    assert_eq!(ended.run.status.as_str(), "succeeded");
    assert_eq!(tally(&ended, "keep"), BTreeMap::from([("succeeded", 10_000)]));
    assert_eq!(rig.records(run).len(), 10_000);
    life.drain(DAY);
}

/// Slots are used up and never exceeded, and what the loop gives stands in the order of the items.
#[test]
fn fifty_iterations_at_once_use_the_slots_of_their_lane() {
    for (slots, most) in [(64, 50), (8, 8)] {
        let mut rig = Rig::new(&flow(CALLS));
        rig.slots = slots;
        rig.other_side.together.store(most, Ordering::SeqCst);
        let life = rig.live();
        let run = life.accepted(&rig, &items(200));
        let ended = life.ended(&rig, run);
        assert_eq!(ended.run.status.as_str(), "succeeded", "{:#?}", ended.run);
        let outputs = ended.steps.iter().find(|step| step.name == "each").and_then(|step| step.io.outputs.clone());
        assert_eq!(outputs, Some((0..200).collect::<Value>()), "in the order of the items");
        assert_eq!(rig.other_side.most_at_once(), most);
        assert_eq!(rig.other_side.by_key().len(), 200, "a key for each iteration");
        assert_eq!(rig.other_side.sent().len(), 200, "nothing is sent twice");
        life.drain(DAY);
    }
}

/// Three days pass three times; between them the run is nowhere but in the store, and each time another life goes on.
#[test]
fn a_delay_of_days_inside_a_loop_survives() {
    let rig = Rig::new(&flow(PAUSES));
    let mut life = rig.live();
    let run = life.accepted(&rig, &items(3));
    for number in 0..3 {
        let waiting = life.until(&rig, run, |stored| {
            stored.run.status.as_str() == "waiting" && rig.other_side.sent().len() == number + 1
        });
        assert_eq!(waiting.run.owner, None, "a run that waits for days is not in memory");
        life.kill();
        rig.clock.advance(DAY * 2);
        life = rig.live();
        let still = alone(rig.store.run(run)).expect("read").expect("the run");
        assert_eq!((still.run.due_at, still.run.status.as_str()), (waiting.run.due_at, "waiting"));
        rig.clock.advance(DAY);
        life.kill();
        life = rig.live();
    }
    let ended = life.ended(&rig, run);
    assert_eq!(ended.run.status.as_str(), "succeeded", "{:#?}", ended.run);
    assert_eq!(tally(&ended, "pause"), BTreeMap::from([("succeeded", 3)]));
    assert_eq!((rig.other_side.sent().len(), rig.other_side.by_key().len()), (3, 3), "each call once");
    life.drain(DAY);
}

#[test]
fn a_cancel_in_the_middle_of_a_loop_ends_it() {
    let rig = Rig::slow(&flow(CALLS), Duration::from_millis(30));
    let life = rig.live();
    let run = life.accepted(&rig, &items(5_000));
    life.until(&rig, run, |stored| tally(stored, "tell").contains_key("succeeded"));
    let now = leadflow::clock::Clock::now(rig.clock.as_ref());
    alone(rig.beside().request_cancel(run, now)).expect("asked");
    let ended = life.ended(&rig, run);
    assert_eq!(ended.run.status.as_str(), "cancelled");
    let open = ended.steps.iter().filter(|step| !step.status.is_final()).count();
    assert_eq!(open, 0, "no action is left open: {:#?}", ended.steps);
    assert_eq!(tally(&ended, "each"), BTreeMap::from([("cancelled", 1)]));
    let done = tally(&ended, "tell")["succeeded"];
    assert!(rig.other_side.sent().len() < 5_000 && done > 0, "{done}");
    life.drain(DAY);
}

/// Nothing counts twice: what was in flight ended within the grace time, the rest goes on in the next life.
#[test]
fn a_drain_in_the_middle_of_a_loop_hands_it_back() {
    let rig = Rig::slow(&flow(CALLS), Duration::from_millis(30));
    let mut life = rig.live();
    let run = life.accepted(&rig, &items(60));
    for _ in 0..3 {
        let before = rig.other_side.sent().len();
        life.until(&rig, run, |_| rig.other_side.sent().len() > before);
        life.drain(DAY);
        let between = alone(rig.store.run(run)).expect("read").expect("the run");
        assert!(between.run.inflight.is_empty() && between.run.owner.is_none(), "{:#?}", between.run);
        life = rig.live();
    }
    let ended = life.ended(&rig, run);
    assert_eq!(ended.run.status.as_str(), "succeeded");
    assert_eq!(rig.other_side.sent().len(), 60, "nothing is sent twice");
    assert!(ended.steps.iter().all(|step| !step.possible_repeat && step.attempt <= 1));
    life.drain(DAY);
}

/// A pure loop stops at a piece's end too, and goes on there.
#[test]
fn a_drain_in_the_middle_of_a_pure_loop_hands_it_back() {
    let rig = Rig::new(&flow(RECORDS));
    let mut life = rig.live();
    let run = life.accepted(&rig, &items(5_000));
    life.drain(DAY);
    let between = alone(rig.store.run(run)).expect("read").expect("the run");
    let done = tally(&between, "keep").values().sum::<usize>();
    assert!(between.run.owner.is_none() && (500..5_000).contains(&done), "{done}");
    life = rig.live();
    assert_eq!(life.ended(&rig, run).run.status.as_str(), "succeeded");
    assert_eq!(rig.records(run).len(), 5_000);
    life.drain(DAY);
}

/// A loop that always has something in flight is never claimed again: it grows old all the same.
#[test]
fn a_run_grows_too_old_in_the_middle_of_a_loop() {
    let mut rig = Rig::slow(&flow(CALLS), Duration::from_millis(10));
    rig.limits = Limits { run_duration: DAY, ..Limits::default() };
    let life = rig.live();
    let run = life.accepted(&rig, &items(2_000));
    life.until(&rig, run, |_| rig.other_side.sent().len() > 5);
    rig.clock.advance(DAY * 2);
    let ended = life.ended(&rig, run);
    assert_eq!((ended.run.status.as_str(), ended.run.code.as_deref()), ("timed_out", Some("run_duration")));
    assert!(rig.other_side.sent().len() < 2_000);
    assert!(ended.steps.iter().all(|step| step.status.is_final()));
    life.drain(DAY);
}

/// Rounds of kill and restart of the real binary; `LEADFLOW_CRASH_ROUNDS` sets another number.
const ROUNDS_DEFAULT: u64 = 12;

/// kill -9 of the real program at any instant of a flow with every container, again and again.
#[test]
fn the_binary_is_killed_again_and_again() {
    let other = FakeHttp::start(|_, request| {
        std::thread::sleep(Duration::from_millis(3));
        if request.json()["n"] == "refused" { Act::Answer(400, "{}") } else { Act::Answer(200, "{}") }
    });
    let workspace = Workspace::empty();
    workspace.write("flows/every.yaml", include_str!("../data/every_container.yaml"));
    let api =
        format!("connections:\n  crm: {{ type: records }}\n  api: {{ type: http, base_url: '{}' }}\n", other.url());
    workspace.write("leadflow.yaml", &api);
    let lead = json!({
        "before": "2999-01-01T00:00:00Z", "kind": "lead",
        "groups": [{ "name": "red", "members": ["ada", "bob", "cy"] }, { "name": "blue", "members": ["dee"] }],
    });
    let rounds =
        std::env::var("LEADFLOW_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().expect("a number of rounds"));
    let mut accepted = 0;
    for round in 0..rounds {
        let server = workspace.serve();
        // Killed more often before it moves, a run would rightly be held as poison.
        if round % 6 == 5 {
            workspace.until_ended();
        }
        accepted += (0..3).filter(|_| wire::post(server.url("every"), &lead.to_string()).is_ok()).count();
        // The moment of the kill is what varies.
        std::thread::sleep(Duration::from_micros(2_000 + round * 7_919 % 60_000));
        server.kill();
    }
    let server = workspace.serve();
    let runs = workspace.until_ended();
    assert!(runs.len() >= accepted && accepted > 0);
    let ids: BTreeSet<&str> = runs.iter().filter_map(|run| run["run_id"].as_str()).collect();
    for run in &runs {
        assert_eq!(run["status"], "cancelled", "{run:#}");
        let actions = &run["actions"];
        for (name, status) in [
            ("in_time", "succeeded"),
            ("of_lead", "succeeded"),
            ("tell", "succeeded"),
            ("ask", "succeeded"),
            ("deliver", "failed"),
            ("join", "succeeded"),
            ("never", "cancelled"),
        ] {
            assert_eq!(actions[name], status, "{name} {run:#}");
        }
    }
    let records = workspace.json(&["records", "list", "--json", "--limit", "100000"]);
    assert_eq!(records.as_array().expect("records").len(), ids.len() * 5, "five records for each run");
    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in other.requests() {
        let key = request.header("idempotency-key").expect("a key").to_owned();
        bodies.entry(key).or_default().insert(request.json().to_string());
    }
    assert_eq!(bodies.len(), ids.len() * 12, "a key for each effect of each iteration of each run");
    assert!(bodies.values().all(|bodies| bodies.len() == 1), "a repeat is the same: {bodies:#?}");
    drop(server);
}

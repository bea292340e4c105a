//! `concurrency`: at most so many runs of a flow at once, the others wait in the store, and no slot is lost or leaked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{PATIENCE, Server, Workspace, wire};

fn workspace(other_side: &FakeHttp, concurrency: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/queue.yaml", &flow(concurrency));
    workspace.write(
        "leadflow.yaml",
        &format!(
            "connections: {{ api: {{ type: http, base_url: '{}' }}, crm: {{ type: records }} }}\nshutdown_grace: 1s\n",
            other_side.url()
        ),
    );
    workspace
}

fn flow(concurrency: &str) -> String {
    format!(
        "name: queue\ntrigger: {{ type: request{concurrency} }}\nactions:\n  \
         - {{ name: tell, type: http, connection: api, method: POST, url: /x, body: {{ n: '{{{{trigger.body.n}}}}' }}, \
         retry: {{ policy: fixed, count: 50, interval: 100ms }} }}\n  \
         - {{ name: keep, type: create_record, connection: crm, entity: leads, fields: {{ n: '{{{{trigger.body.n}}}}' }} }}\n"
    )
}

fn post(server: &Server, number: usize) -> wire::Answer {
    wire::post(server.url("queue"), &format!("{{\"n\": {number}}}")).expect("an answer")
}

/// The numbers in the order in which they arrived at the other side.
fn arrived(other_side: &FakeHttp) -> Vec<u64> {
    other_side.requests().iter().map(|request| request.json()["n"].as_u64().expect("a number")).collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A door before the other side: shut until it is opened.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    moved: Condvar,
}

impl Door {
    fn pass(&self) {
        let open = self.open.lock().expect("lock");
        drop(self.moved.wait_while(open, |open| !*open).expect("lock"));
    }

    fn open(&self) {
        *self.open.lock().expect("lock") = true;
        self.moved.notify_all();
    }
}

fn behind(door: &Arc<Door>) -> FakeHttp {
    let door = Arc::clone(door);
    FakeHttp::start(move |_, _| {
        door.pass();
        Act::Answer(200, "{}")
    })
}

#[test]
fn one_at_a_time_is_in_order_and_never_two() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let meters = (Arc::clone(&now), Arc::clone(&most));
    let other_side = FakeHttp::start(move |number, _| {
        meters.1.fetch_max(meters.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        meters.0.fetch_sub(1, Ordering::SeqCst);
        // Every third request fails: the slot is held while the run waits for its retry.
        if number % 3 == 1 { Act::Answer(503, "{}") } else { Act::Answer(200, "{}") }
    });
    let workspace = workspace(&other_side, ", concurrency: { runs: 1 }");
    let server = workspace.serve();
    for number in 0..20 {
        assert_eq!(post(&server, number).status, 202);
    }
    let runs = workspace.until_ended();
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let mut order = arrived(&other_side);
    order.dedup();
    assert_eq!(order, (0..20).collect::<Vec<u64>>(), "in the order in which they came, retries in between");
}

#[test]
fn as_many_as_it_says_work_at_once_and_the_rest_has_a_bound() {
    let door = Arc::new(Door::default());
    let other_side = behind(&door);
    let workspace = workspace(&other_side, ", concurrency: { runs: 3, waiting: 4 }");
    let server = workspace.serve();
    for number in 0..7 {
        assert_eq!(post(&server, number).status, 202, "{number}");
    }
    let refused = post(&server, 7);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"too_many_waiting".into()));
    assert!(refused.headers["retry-after"].parse::<u32>().expect("seconds") > 0);
    until("three at the other side", || other_side.requests().len() == 3);
    let statuses = |status: &str| workspace.json(&["runs", "list", "--json", "--status", status]);
    assert_eq!(statuses("queued").as_array().expect("a list").len(), 4);
    // A waiting run that is cancelled makes room.
    let last = statuses("queued")[0]["run_id"].as_str().expect("an id").to_owned();
    workspace.expect(0, &["runs", "cancel", &last]);
    until("cancelled", || workspace.show(&last)["status"] == "cancelled");
    assert_eq!(post(&server, 8).status, 202);
    assert_eq!(post(&server, 9).status, 429);
    assert_eq!(other_side.requests().len(), 3, "nobody got in meanwhile");
    door.open();
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 8);
    assert_eq!(runs.iter().filter(|run| run["status"] == "succeeded").count(), 7);
    for number in 10..13 {
        assert_eq!(post(&server, number).status, 202);
    }
    workspace.until_ended();
}

#[test]
fn a_kill_leaves_the_slot_with_its_run_and_the_others_in_their_order() {
    let door = Arc::new(Door::default());
    let other_side = behind(&door);
    let workspace = workspace(&other_side, ", concurrency: { runs: 1 }");
    let server = workspace.serve();
    for number in 0..6 {
        assert_eq!(post(&server, number).status, 202);
    }
    until("the first at the other side", || other_side.requests().len() == 1);
    server.kill();
    let server = workspace.serve();
    until("the first once more", || other_side.requests().len() == 2);
    assert_eq!(arrived(&other_side), [0, 0], "whoever was inside goes on");
    server.kill();
    // Nobody but the store knows the bound of a flow that is off.
    workspace.write("flows/queue.yaml", &format!("enabled: false\n{}", flow(", concurrency: { runs: 1 }")));
    let _server = workspace.serve();
    until("the first a third time", || other_side.requests().len() == 3);
    door.open();
    workspace.until_ended();
    let mut order = arrived(&other_side);
    order.dedup();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_bound_that_is_raised_or_gone_lets_the_waiting_in() {
    for (concurrency, wanted) in [(", concurrency: { runs: 4 }", 4), ("", 6)] {
        let door = Arc::new(Door::default());
        let other_side = behind(&door);
        let workspace = workspace(&other_side, ", concurrency: { runs: 1 }");
        let server = workspace.serve();
        for number in 0..6 {
            assert_eq!(post(&server, number).status, 202);
        }
        until("the first at the other side", || other_side.requests().len() == 1);
        assert_eq!(server.terminate(), Some(0));
        workspace.write("flows/queue.yaml", &flow(concurrency));
        let _server = workspace.serve();
        // The first one was given up and comes again.
        until("as many as now may", || other_side.requests().len() == wanted + 1);
        door.open();
        workspace.until_ended();
    }
}

#[test]
fn a_resubmit_waits_its_turn_and_a_request_for_its_answer() {
    let door = Arc::new(Door::default());
    let other_side = behind(&door);
    let workspace = workspace(&other_side, ", concurrency: { runs: 1 }");
    workspace.write(
        "flows/asked.yaml",
        "name: asked\ntrigger: { type: request, concurrency: { runs: 1 } }\nactions:\n  \
         - { name: tell, type: http, connection: api, method: POST, url: /x, body: { n: 1 } }\n  \
         - { name: answer, type: respond, body: { n: '{{trigger.body.n}}' } }\n",
    );
    let server = workspace.serve();
    let url = server.url("asked").to_owned();
    let asking: Vec<_> = (0..3)
        .map(|number| {
            let url = url.clone();
            std::thread::spawn(move || wire::post(&url, &format!("{{\"n\": {number}}}")).expect("an answer").json())
        })
        .collect();
    until("all three are stored", || workspace.runs().len() == 3);
    assert_eq!(post(&server, 7).status, 202);
    until("one of each flow", || other_side.requests().len() == 2);
    door.open();
    let mut answers: Vec<Value> = asking.into_iter().map(|one| one.join().expect("a client")["n"].clone()).collect();
    answers.sort_by_key(Value::as_u64);
    assert_eq!(answers, [0, 1, 2]);
    let runs = workspace.until_ended();
    let queue = runs.iter().find(|run| run["flow"] == "queue").expect("a run");
    workspace.expect(0, &["runs", "resubmit", queue["run_id"].as_str().expect("an id")]);
    assert!(workspace.until_ended().iter().all(|run| run["status"] == "succeeded"));
    assert_eq!(arrived(&other_side).iter().filter(|number| **number == 7).count(), 2);
}

/// A slot that leaked would stop the flow; one that was lost would let too many in.
#[test]
fn whatever_is_killed_every_run_ends_and_the_bound_holds() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let meters = (Arc::clone(&now), Arc::clone(&most));
    let other_side = FakeHttp::start(move |_, _| {
        meters.1.fetch_max(meters.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        meters.0.fetch_sub(1, Ordering::SeqCst);
        Act::Answer(200, "{}")
    });
    let workspace = workspace(&other_side, ", concurrency: { runs: 2 }");
    let mut number = 0;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..10 {
        let server = workspace.serve();
        // Killed more often before it moves, a run would rightly be held as poison.
        if round % 6 == 5 {
            workspace.until_ended();
        }
        for _ in 0..8 {
            assert_eq!(post(&server, number).status, 202);
            number += 1;
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(seed % 30_000));
        server.kill();
        // What a dead server sent may still be on its way: it is not counted against the next one.
        until("the other side is idle", || now.load(Ordering::SeqCst) == 0);
    }
    let server = workspace.serve();
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), number);
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?} at once");
    assert_eq!(
        workspace.json(&["records", "list", "--json", "--limit", "1000"]).as_array().expect("a list").len(),
        number
    );
    assert_eq!(post(&server, number).status, 202);
    workspace.until_ended();
}

/// A called run waits at the gate of its flow like any other; its caller waits for it.
#[test]
fn a_called_run_waits_its_turn() {
    let door = Arc::new(Door::default());
    let other_side = behind(&door);
    let workspace = workspace(&other_side, ", concurrency: { runs: 1 }");
    workspace.write(
        "flows/caller.yaml",
        "name: caller\ntrigger: { type: request }\nactions:\n  \
         - { name: call, type: run_flow, flow: queue, body: { n: '{{trigger.body.n}}' } }\n",
    );
    let server = workspace.serve();
    for number in 0..4 {
        let body = format!("{{\"n\": {number}}}");
        assert_eq!(wire::post(server.url("caller"), &body).expect("an answer").status, 202);
    }
    until("all are called", || workspace.runs().iter().filter(|run| run["flow"] == "queue").count() == 4);
    until("the first at the other side", || other_side.requests().len() == 1);
    assert_eq!(workspace.json(&["runs", "list", "--json", "--status", "queued"]).as_array().expect("a list").len(), 3);
    door.open();
    let runs = workspace.until_ended();
    assert!(runs.len() == 8 && runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
}

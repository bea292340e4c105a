//! kill -9 at any instant loses nothing: numbered leads, a server killed again and again, and an account of every lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::fake_http::FakeHttp;
use crate::support::{Workspace, files, wire};

/// Rounds of kill and restart; `LEADFLOW_CRASH_ROUNDS` sets another number.
const ROUNDS_DEFAULT: u64 = 50;
/// Every so many lives nobody is killed before what was there has ended. On a slow machine a run could be killed so often
/// before it moves that it is rightly held as poison (more than eight times), which is not what is shown here.
const QUIET_EVERY: u64 = 6;
/// Clients that post at the same time.
const CLIENTS: u64 = 4;

const FLOW: &str = r#"
name: numbered
trigger:
  type: request
actions:
  - name: keep
    type: create_record
    connection: crm
    entity: leads
    fields:
      number: "{{trigger.body.number}}"
  - name: tell
    type: http
    connection: api
    method: POST
    url: /leads
    body: { number: "{{trigger.body.number}}" }
  - name: write
    type: send_email
    connection: mail
    run_after: {}
    to: sales@contoso.com
    subject: "Lead {{trigger.body.number}}"
    body: "Number {{trigger.body.number}}"
"#;

fn settings(crm: &FakeHttp) -> String {
    format!(
        "connections:\n  crm: {{ type: records }}\n  mail: {{ type: outbox }}\n  api: {{ type: http, base_url: '{}' }}\n",
        crm.url()
    )
}

fn rounds() -> u64 {
    std::env::var("LEADFLOW_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().expect("a number of rounds"))
}

/// Posts numbered leads until told to stop; the numbers that got a 2xx.
fn post_until(url: &str, next: &AtomicU64, stop: &AtomicBool, accepted: &Mutex<BTreeSet<u64>>) {
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        // No answer means that the lead may or may not be there: only a 2xx is a promise.
        if let Ok(answer) = wire::post(url, &format!("{{\"number\":{number}}}")) {
            assert_eq!(answer.status, 202, "{answer:?}");
            accepted.lock().expect("lock").insert(number);
        }
    }
}

#[test]
fn every_accepted_lead_has_exactly_one_record_whatever_is_killed() {
    let crm = FakeHttp::willing();
    let workspace = Workspace::empty();
    workspace.write("flows/numbered.yaml", FLOW);
    workspace.write("leadflow.yaml", &settings(&crm));
    let next = Arc::new(AtomicU64::new(0));
    let accepted: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds() {
        let server = workspace.serve();
        if round % QUIET_EVERY == QUIET_EVERY - 1 {
            workspace.until_ended();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (url, next) = (server.url("numbered").to_owned(), Arc::clone(&next));
                let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
                std::thread::spawn(move || post_until(&url, &next, &stop, &accepted))
            })
            .collect();
        // The moment of the kill is what varies; xorshift keeps it different in each round.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(5_000 + seed % 150_000));
        stop.store(true, Ordering::SeqCst);
        server.kill();
        for client in clients {
            client.join().expect("client");
        }
    }
    let server = workspace.serve();
    let runs = workspace.until_ended();
    let accepted = accepted.lock().expect("lock").clone();
    assert!(accepted.len() > rounds() as usize, "the test posted something: {}", accepted.len());
    assert!(runs.len() >= accepted.len());
    let bad: Vec<_> = runs.iter().filter(|run| run["status"] != "succeeded").collect();
    assert!(bad.is_empty(), "every run succeeds: {bad:#?}");
    account_for(&workspace, &crm, &accepted, runs.len());
    drop(server);
}

/// Records, calls and mails against the accepted leads.
fn account_for(workspace: &Workspace, crm: &FakeHttp, accepted: &BTreeSet<u64>, runs: usize) {
    let listed = workspace.json(&["records", "list", "--json", "--limit", "1000000"]);
    let mut records: BTreeMap<u64, usize> = BTreeMap::new();
    for record in listed.as_array().expect("records") {
        *records.entry(record["fields"]["number"].as_u64().expect("a number")).or_default() += 1;
    }
    assert!(records.values().all(|count| *count == 1), "no lead has two records");
    assert_eq!(records.len(), runs, "each run made its record");
    let lost: Vec<_> = accepted.iter().filter(|number| !records.contains_key(number)).collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    // The other side may be called twice, but always under the key under which it recognises the repeat.
    let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for request in crm.requests() {
        let number = request.json()["number"].as_u64().expect("a number");
        keys.entry(number).or_default().insert(request.header("idempotency-key").expect("a key").to_owned());
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "one idempotency key for each lead");
    assert_eq!(keys.len(), runs, "each run called the other side");
    assert_eq!(files(&workspace.path().join("leadflow-data/outbox"), "eml").len(), runs, "one mail for each run");
}

#[test]
fn a_second_server_on_the_same_folder_names_the_holder() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    let output = workspace.run(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&server.pid().to_string()), "{message}");
}

#[test]
fn a_restart_is_quick_and_resumes_at_the_first_unfinished_action() {
    let crm = FakeHttp::start(|number, _| {
        use crate::support::fake_http::Act;
        if number == 0 { Act::Answer(503, "{}") } else { Act::Answer(201, "{\"id\":\"7\"}") }
    });
    let workspace = Workspace::empty();
    let flow =
        FLOW.replace("    url: /leads\n", "    url: /leads\n    retry: { policy: fixed, count: 5, interval: 3s }\n");
    workspace.write("flows/numbered.yaml", &flow);
    workspace.write("leadflow.yaml", &settings(&crm));
    let server = workspace.serve();
    let answer = wire::post(server.url("numbered"), "{\"number\":1}").expect("an answer");
    assert_eq!(answer.status, 202);
    let deadline = Instant::now() + crate::support::PATIENCE;
    while workspace.runs()[0]["status"] != "waiting" {
        assert!(Instant::now() < deadline, "{:#?}", workspace.runs());
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    let _server = workspace.serve();
    let runs = workspace.until_ended();
    assert_eq!(runs[0]["status"], "succeeded");
    let id = runs[0]["run_id"].as_str().expect("an id");
    let run = workspace.show(id);
    let actions = run["actions"].as_array().expect("actions");
    let tell = actions.iter().find(|action| action["name"] == "tell").expect("tell");
    assert_eq!(tell["attempts"], 2, "{tell:#}");
    assert_eq!(crm.requests().len(), 2, "the first try is not repeated after the restart");
    assert_eq!(workspace.json(&["records", "list", "--json"]).as_array().expect("records").len(), 1);
}

/// The other side has the request, and nobody saw its answer: that is sent again under its key, and said.
#[test]
fn what_was_in_flight_at_a_kill_is_sent_again_and_flagged() {
    let crm = FakeHttp::start(|number, _| {
        if number == 0 {
            std::thread::sleep(Duration::from_secs(30));
        }
        crate::support::fake_http::Act::Answer(200, "{}")
    });
    let workspace = Workspace::empty();
    workspace.write("flows/numbered.yaml", FLOW);
    workspace.write("leadflow.yaml", &settings(&crm));
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("numbered"), "{\"number\":1}").expect("an answer").status, 202);
    let deadline = Instant::now() + crate::support::PATIENCE;
    while crm.requests().is_empty() {
        assert!(Instant::now() < deadline, "{:#?}", workspace.runs());
        std::thread::sleep(Duration::from_millis(10));
    }
    server.kill();
    let _server = workspace.serve();
    let runs = workspace.until_ended();
    let run = workspace.show(runs[0]["run_id"].as_str().expect("an id"));
    let actions = run["actions"].as_array().expect("actions");
    let tell = actions.iter().find(|action| action["name"] == "tell").expect("tell");
    assert_eq!((&tell["status"], &tell["possible_repeat"]), (&"succeeded".into(), &true.into()), "{run:#}");
    let keys: Vec<_> = crm.requests().iter().map(|sent| sent.header("idempotency-key").map(str::to_owned)).collect();
    assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

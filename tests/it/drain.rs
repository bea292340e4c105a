//! SIGTERM: what is in flight may finish, what cannot is handed back uncounted, and the process ends well.

use std::time::{Duration, Instant};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{PATIENCE, Workspace, wire};

const FLOW: &str = r#"
name: slow
trigger:
  type: request
actions:
  - name: tell
    type: http
    connection: api
    method: POST
    url: /leads
    body: { number: "{{trigger.body.number}}" }
"#;

fn workspace(crm: &FakeHttp, grace: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/slow.yaml", FLOW);
    let settings =
        format!("shutdown_grace: {grace}\nconnections:\n  api: {{ type: http, base_url: '{}' }}\n", crm.url());
    workspace.write("leadflow.yaml", &settings);
    workspace
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn effects_in_flight_finish_within_the_grace_time() {
    let crm = FakeHttp::start(|_, _| {
        std::thread::sleep(Duration::from_millis(600));
        Act::Answer(200, "{}")
    });
    let workspace = workspace(&crm, "20s");
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("slow"), "{\"number\":1}").expect("an answer").status, 202);
    until("the call", || crm.requests().len() == 1);
    assert_eq!(server.terminate(), Some(0));
    let runs = workspace.runs();
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#?}");
}

#[test]
fn what_outlives_the_grace_time_is_handed_back_uncounted_and_flagged() {
    let crm = FakeHttp::start(|number, _| {
        if number == 0 {
            std::thread::sleep(Duration::from_secs(30));
        }
        Act::Answer(200, "{}")
    });
    let workspace = workspace(&crm, "300ms");
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("slow"), "{\"number\":1}").expect("an answer").status, 202);
    until("the call", || crm.requests().len() == 1);
    assert_eq!(server.terminate(), Some(0));
    let id = workspace.runs()[0]["run_id"].as_str().expect("an id").to_owned();
    let run = workspace.show(&id);
    assert_eq!(run["status"], "waiting", "{run:#}");
    assert_eq!(run["actions"][0]["attempts"], 0, "{run:#}");
    assert_eq!(run["actions"][0]["possible_repeat"], true, "{run:#}");
    let _server = workspace.serve();
    assert_eq!(workspace.until_ended()[0]["status"], "succeeded");
    let keys: Vec<_> =
        crm.requests().iter().map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys[0], keys[1], "the repeat carries the same key");
}

/// The run waits for an hour in the store; the request that waits for its answer must hear so at once, not be cut off.
#[test]
fn a_request_that_waits_for_respond_is_answered_before_the_end() {
    let workspace = Workspace::empty();
    workspace.write(
        "flows/late.yaml",
        "name: late\ntrigger: { type: request }\nactions:\n  - { name: wait, type: delay, for: 1h }\n  \
         - { name: answer, type: respond, status: 200 }\n",
    );
    let server = workspace.serve();
    let url = server.url("late").to_owned();
    let client = std::thread::spawn(move || wire::post(&url, "{}").expect("an answer"));
    until("the run", || workspace.runs().first().is_some_and(|run| run["status"] == "waiting"));
    let begun = Instant::now();
    assert_eq!(server.terminate(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "nothing was in flight: {:?}", begun.elapsed());
    let answer = client.join().expect("the client");
    assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("respond_timeout")));
    assert!(answer.headers.contains_key("x-leadflow-run-id"), "{answer:?}");
}

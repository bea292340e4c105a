//! `respond` with `async: true`: the request is answered at once, and the answer is asked for later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Server, Workspace, wire};

const FLOW: &str = r#"
name: later
trigger: { type: request, dedupe: { key: ["{{trigger.body.id}}"] } }
actions:
  - { name: wait, type: delay, for: 2s }
  - name: answer
    type: respond
    async: true
    status: 201
    headers: { x-done: "{{trigger.body.id}}", set-cookie: "a=b", content-length: "7" }
    body: { id: "{{trigger.body.id}}" }
  - { name: afterwards, type: delay, for: 1h }
"#;

const ENDS: &str = r#"
name: ends
trigger: { type: request }
actions:
  - { name: check, type: compose, inputs: "{{int trigger.body.n}}" }
  - { name: answer, type: respond, async: true, when: "{{eq 1 2}}" }
"#;

fn workspace() -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/later.yaml", FLOW);
    workspace.write("flows/ends.yaml", ENDS);
    workspace
}

fn post(server: &Server, flow: &str, body: &str) -> wire::Answer {
    let answer = wire::post(server.url(flow), body).expect("an answer");
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

fn get(url: &str) -> wire::Answer {
    wire::send("GET", url, &[], b"").expect("an answer")
}

/// The same URL at another server of the same data folder.
fn at(server: &Server, url: &str) -> String {
    let (address, _) = wire::split(server.url("later"));
    format!("http://{address}{}", wire::split(url).1)
}

/// Polls as long as it is told to.
fn polled(url: &str) -> wire::Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(url);
        if answer.status != 202 {
            return answer;
        }
        assert_eq!(answer.headers["location"], url, "it says where to go on");
        assert!(answer.headers["retry-after"].parse::<u32>().expect("seconds") > 0);
        assert!(Instant::now() < deadline, "{answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_answer_is_polled_for_and_survives_a_kill() {
    let workspace = workspace();
    let server = workspace.serve();
    let told = post(&server, "later", r#"{"id": "7"}"#);
    let run_id = told.json()["run_id"].as_str().expect("an id").to_owned();
    assert_eq!(told.json(), json!({"run_id": run_id, "status": "accepted"}));
    let location = told.headers["location"].clone();
    let (address, path) = wire::split(&location);
    assert_eq!(address, wire::split(server.url("later")).0);
    assert!(path.starts_with(&format!("/flows/later/runs/{run_id}?sig=")), "{location}");
    let early = get(&location);
    assert_eq!((early.status, &early.json()["run_id"]), (202, &json!(run_id)));
    assert!(["waiting", "running"].contains(&early.json()["status"].as_str().expect("text")), "{early:?}");
    server.kill();

    let server = workspace.serve();
    let answer = polled(&at(&server, &location));
    assert_eq!((answer.status, answer.json()), (201, json!({"id": "7"})));
    assert_eq!(
        (answer.headers["x-done"].as_str(), answer.headers["x-leadflow-run-id"].as_str()),
        ("7", run_id.as_str())
    );
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(workspace.show(&run_id)["status"], "waiting", "the run goes on behind its answer");
    // Again, by HEAD, and after the next start, when the flow is gone.
    let head = wire::send("HEAD", &at(&server, &location), &[], b"").expect("an answer");
    assert_eq!((head.status, head.body.len()), (201, 0));
    assert_eq!(server.terminate(), Some(0));
    std::fs::remove_file(workspace.path().join("flows/later.yaml")).expect("removed");
    let server = workspace.serve();
    let (address, _) = wire::split(server.url("ends"));
    assert_eq!(get(&format!("http://{address}{path}")).json(), json!({"id": "7"}));
}

#[test]
fn a_run_that_ends_without_an_answer_says_how() {
    let workspace = workspace();
    let server = workspace.serve();
    let good = post(&server, "ends", r#"{"n": "1"}"#);
    let bad = post(&server, "ends", r#"{"n": "x"}"#);
    let ended = polled(&good.headers["location"]);
    assert_eq!((ended.status, &ended.json()["status"]), (200, &json!("succeeded")));
    let failed = polled(&bad.headers["location"]);
    assert_eq!((failed.status, &failed.json()["code"]), (502, &json!("no_response")));
    assert_eq!(failed.headers["x-leadflow-run-id"], bad.headers["x-leadflow-run-id"]);
}

#[test]
fn the_signature_is_for_one_run_and_for_reading() {
    let workspace = workspace();
    let server = workspace.serve();
    let first = post(&server, "later", r#"{"id": "1"}"#).headers["location"].clone();
    let second = post(&server, "later", r#"{"id": "2"}"#).headers["location"].clone();
    let (path, signature) = first.split_once('?').expect("a query");
    let other = second.split_once('?').expect("a query").0;
    let flow_query = server.url("later").split_once('?').expect("a query").1;
    for url in [
        path.to_owned(),
        format!("{path}?sig=x"),
        format!("{first}&{signature}"),
        format!("{other}?{signature}"),
        first.replace("/flows/later/", "/flows/ends/"),
        first.replace("/flows/later/", "/flows/nobody/"),
        format!("{}?{signature}", server.url("later").split_once('?').expect("a query").0),
    ] {
        let answer = get(&url);
        assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("unauthorized")), "{url}");
    }
    // The flow's own signature reads nobody's answer.
    assert_eq!(get(&format!("{path}?{flow_query}")).status, 404);
    let posted = wire::post(&first, r#"{"id": "3"}"#).expect("an answer");
    assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET, HEAD"));
    assert_eq!(workspace.runs().len(), 2);
    // A rotation is for the URL that lets in; whoever waits for an answer still gets it.
    workspace.expect(0, &["url", "later", "--rotate", "primary"]);
    assert_eq!(polled(&first).json(), json!({"id": "1"}));
}

#[test]
fn a_duplicate_is_shown_the_way_to_the_first_answer() {
    let workspace = workspace();
    let server = workspace.serve();
    let first = post(&server, "later", r#"{"id": "7"}"#);
    let second = post(&server, "later", r#"{"id": "7"}"#);
    assert_eq!(second.json()["duplicate_of"], first.json()["run_id"]);
    assert_eq!(second.headers["location"], first.headers["location"]);
}

/// A flow that answers `GET …/runs/{id}` itself keeps every request that is not signed as a poll.
#[test]
fn a_path_of_the_same_shape_is_the_triggers_own() {
    let workspace = workspace();
    let flow = "name: shelf\ntrigger:\n  type: request\n  method: GET\n  path: 'runs/{id}'\n  authentication: none\n\
                actions:\n  - { name: answer, type: respond, async: true, body: { shelf: '{{trigger.path.id}}', sig: '{{trigger.query.sig}}' } }\n";
    workspace.write("flows/shelf.yaml", flow);
    let server = workspace.serve();
    let base = server.url("shelf").replace("{id}", "");
    let own = get(&format!("{base}42?sig=x"));
    assert_eq!(own.status, 202);
    let location = own.headers["location"].clone();
    assert_eq!(polled(&location).json()["shelf"], "42");
    let run = own.json()["run_id"].as_str().expect("an id").to_owned();
    let again = get(&format!("{base}{run}"));
    assert_eq!(again.status, 202, "without the signature it is a request like any other");
    assert_ne!(again.json()["run_id"], run.as_str());
    assert_eq!(polled(&again.headers["location"]).json()["shelf"], run.as_str());
}

#[test]
fn the_location_is_the_address_that_senders_use() {
    let workspace = workspace();
    workspace.write("leadflow.yaml", "public_url: https://leads.contoso.com/in/\n");
    let server = workspace.serve_with(&["--public-url", "https://leads.contoso.com/in/"]);
    let run = workspace.expect(0, &["url", "ends"]);
    assert!(run.starts_with("https://leads.contoso.com/in/flows/ends?"), "{run}");
    let holder: Value = serde_json::from_str(
        &std::fs::read_to_string(workspace.path().join("leadflow-data/serve.lock")).unwrap_or_default(),
    )
    .unwrap_or_default();
    let Some(address) = holder["public"].as_str() else {
        panic!("the lock file names the address: {holder} {}", server.announced);
    };
    let query = run.trim().split_once('?').expect("a query").1;
    let told = wire::post(&format!("http://{address}/flows/ends?{query}"), r#"{"n": 1}"#).expect("an answer");
    let location = &told.headers["location"];
    assert!(location.starts_with("https://leads.contoso.com/in/flows/ends/runs/"), "{location}");
    let path = location.strip_prefix("https://leads.contoso.com/in").expect("checked");
    assert_eq!(polled_at(&format!("http://{address}{path}")), 200);
}

fn polled_at(url: &str) -> u16 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = get(url).status;
        if status != 202 {
            return status;
        }
        assert!(Instant::now() < deadline, "no end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

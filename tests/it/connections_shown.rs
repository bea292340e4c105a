//! How a connection in trouble looks to whoever asks: the command line, the admin listener, the runs that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{PATIENCE, Server, Workspace, wire};

const FLOW: &str = "name: tell\ntrigger:\n  type: request\nactions:\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    body: { n: '{{trigger.body.n}}' }\n";

fn serve(api: &FakeHttp, own: &str) -> (Workspace, Server) {
    let workspace = Workspace::empty();
    workspace.write("flows/tell.yaml", FLOW);
    let settings = format!("connections:\n  api: {{ type: http, base_url: '{}', {own} }}\n", api.url());
    workspace.write("leadflow.yaml", &settings);
    let server = workspace.serve();
    (workspace, server)
}

fn until(what: &str, found: impl Fn() -> Option<Value>) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_connection_in_trouble_is_shown_wherever_somebody_asks() {
    let status = Arc::new(AtomicU16::new(401));
    let answers = Arc::clone(&status);
    let api = FakeHttp::start(move |_, _| Act::Answer(answers.load(Ordering::SeqCst), "{}"));
    let (workspace, server) = serve(&api, "auth: { type: bearer, token: t }");
    let listed = || workspace.json(&["connections", "--json"])[0].clone();
    assert_eq!((listed()["state"].as_str(), listed()["type"].as_str()), (Some("ok"), Some("http")));

    assert_eq!(wire::post(server.url("tell"), "{\"n\":1}").expect("an answer").status, 202);
    let held = until("it is held", || Some(listed()).filter(|one| one["state"] == "held" && one["waiting_runs"] == 1));
    assert_eq!((held["code"].as_str(), held["last_error"]["code"].as_str()), (Some("http_401"), Some("http_401")));
    assert_eq!(held["last_success_at"], Value::Null);

    let shown = workspace.expect(0, &["connections"]);
    assert!(shown.contains("held: credentials refused (http_401) since"), "{shown}");
    let shown = workspace.expect(0, &["runs", "show", "last"]);
    assert!(shown.contains("waits: api held: credentials refused (http_401) since"), "{shown}");
    let runs = workspace.expect(0, &["runs", "list"]);
    assert!(runs.contains("(api held: credentials refused (http_401)"), "{runs}");
    let run = &workspace.runs()[0];
    assert_eq!(
        (run["waiting_for"]["connection"].as_str(), run["waiting_for"]["state"].as_str()),
        (Some("api"), Some("held"))
    );
    assert!(run["status"] == "waiting" || run["status"] == "queued", "{run:#}");

    let ask = |path: &str| {
        let answer =
            wire::send("GET", &format!("http://{}{path}", server.address("admin")), &[], b"").expect("an answer");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let (_, metrics) = ask("/metrics");
    assert!(metrics.contains("leadflow_connection_state{connection=\"api\",state=\"held\"} 1"), "{metrics}");
    assert!(
        metrics.contains("leadflow_connection_transitions_total{connection=\"api\",state=\"held\"} 1"),
        "{metrics}"
    );
    let (_, of_api) = ask("/api/v1/connections");
    assert!(of_api.contains("\"held\""), "{of_api}");
    let (status_code, ready) = ask("/readyz");
    assert!(status_code == 200 && ready.contains("\"held\""), "{ready}");

    // A restart asks again at once.
    status.store(200, Ordering::SeqCst);
    assert_eq!(server.terminate(), Some(0));
    let server = workspace.serve();
    until("it works", || Some(listed()).filter(|one| one["state"] == "ok" && one["last_success_at"].is_string()));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_run_that_nobody_can_decide_says_how_to_go_on() {
    let api = FakeHttp::start(|n, _| if n < 2 { Act::Hang } else { Act::Answer(200, "{}") });
    let (workspace, server) = serve(&api, "on_unknown: hold");
    let is_held = || until("it is held", || workspace.runs().first().filter(|run| run["status"] == "held").cloned());
    assert_eq!(wire::post(server.url("tell"), "{\"n\":1}").expect("an answer").status, 202);
    is_held();
    let shown = workspace.expect(0, &["runs", "show", "last"]);
    assert!(
        shown.contains("possible repeat") && shown.contains("--from tell") && shown.contains("runs cancel"),
        "{shown}"
    );

    let first = workspace.runs()[0]["run_id"].as_str().expect("an id").to_owned();
    workspace.expect(0, &["runs", "cancel", &first]);
    until("it is cancelled", || Some(workspace.show(&first)).filter(|run| run["status"] == "cancelled"));

    assert_eq!(wire::post(server.url("tell"), "{\"n\":2}").expect("an answer").status, 202);
    let second = is_held()["run_id"].as_str().expect("an id").to_owned();
    workspace.expect(0, &["runs", "resubmit", &second, "--from", "tell"]);
    until("it is done", || workspace.runs().first().filter(|run| run["status"] == "succeeded").cloned());
    until("the held one is over", || Some(workspace.show(&second)).filter(|run| run["status"] == "cancelled"));
    assert_eq!(server.terminate(), Some(0));
}

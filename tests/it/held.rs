//! Runs whose connection was taken out of leadflow.yaml: held, at rest, and on their way again when it is back.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{PATIENCE, Server, Workspace, wire};

const FLOW: &str = "name: tell\ntrigger:\n  type: request\nactions:\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    retry: { policy: fixed, count: 1000, interval: 1200ms }\n    body: { n: '{{trigger.body.n}}' }\n";

fn until(workspace: &Workspace, status: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = workspace.runs();
        if runs[0]["status"] == status {
            return workspace.show("last");
        }
        assert!(Instant::now() < deadline, "no run is {status}: {runs:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Clock ticks of CPU that a process has used.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_retry_whose_connection_is_gone_is_held_at_rest_and_goes_on_when_it_is_back() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let api = FakeHttp::start(move |_, _| Act::Answer(if gate.load(Ordering::SeqCst) { 200 } else { 503 }, "{}"));
    let with =
        format!("connections:\n  crm: {{ type: records }}\n  api: {{ type: http, base_url: '{}' }}\n", api.url());
    let workspace = Workspace::empty();
    workspace.write("flows/tell.yaml", FLOW);
    workspace.write("leadflow.yaml", &with);
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("tell"), "{\"n\":1}").expect("an answer").status, 202);
    until(&workspace, "waiting");
    assert_eq!(server.terminate(), Some(0));
    let tries = workspace.show("last")["actions"][0]["attempts"].clone();

    workspace.write("leadflow.yaml", "connections:\n  crm: { type: records }\n");
    let server = workspace.serve();
    let held = until(&workspace, "held");
    assert_eq!(held["code"], "connection_missing", "{held:#}");
    let before = cpu_ticks(&server);
    std::thread::sleep(Duration::from_secs(1));
    let used = cpu_ticks(&server) - before;
    assert!(used < 50, "a held run costs {used} ticks in a second");
    assert_eq!(server.terminate(), Some(0));

    open.store(true, Ordering::SeqCst);
    workspace.write("leadflow.yaml", &with);
    let _server = workspace.serve();
    let ended = until(&workspace, "succeeded");
    let tries = tries.as_u64().expect("a number") + 1;
    assert_eq!(ended["actions"][0]["attempts"], tries, "held time is no try: {ended:#}");
}

#[test]
fn a_held_run_can_be_cancelled_beside_the_server() {
    let api = FakeHttp::start(|_, _| Act::Answer(503, "{}"));
    let workspace = Workspace::empty();
    workspace.write("flows/tell.yaml", FLOW);
    workspace.write(
        "leadflow.yaml",
        &format!("connections:\n  crm: {{ type: records }}\n  api: {{ type: http, base_url: '{}' }}\n", api.url()),
    );
    let server = workspace.serve();
    wire::post(server.url("tell"), "{\"n\":1}").expect("an answer");
    until(&workspace, "waiting");
    assert_eq!(server.terminate(), Some(0));
    workspace.write("leadflow.yaml", "connections:\n  crm: { type: records }\n");
    let _server = workspace.serve();
    until(&workspace, "held");
    workspace.expect(0, &["runs", "cancel", "last"]);
    let cancelled = until(&workspace, "cancelled");
    assert_eq!(cancelled["actions"][0]["status"], "cancelled", "{cancelled:#}");
}

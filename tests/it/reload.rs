//! Flows reload while the server runs: each kind of edit, seen from outside.

use std::fs;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::support::{PATIENCE, Server, Workspace, wire};

const QUICK: &str = "reload: { poll: 1s, quiet: 50ms, unload_after: 500ms, empty_folder_grace: 1h }\n";

fn flow(name: &str, answer: u32) -> String {
    format!(
        "name: {name}\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: say\n    type: respond\n    status: 200\n    body: {{ said: {answer} }}\n"
    )
}

/// What `name` answers; `None`: nothing that it says.
fn said(server: &Server, name: &str) -> Option<u64> {
    let reply = wire::post(&format!("http://{}/flows/{name}", server.address("public")), "{}").expect("an answer");
    assert!(matches!(reply.status, 200 | 401), "{reply:?}");
    serde_json::from_slice::<Value>(&reply.body).ok()?.get("said")?.as_u64()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_good_edit_is_live_and_a_bad_one_keeps_the_last_good_version_over_a_restart_too() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", QUICK);
    workspace.write("flows/a.yaml", &flow("a", 1));
    let server = workspace.serve();
    assert_eq!(said(&server, "a"), Some(1));
    workspace.write("flows/a.yaml", &flow("a", 2));
    until("the edit is live", || said(&server, "a") == Some(2));
    workspace.write("flows/b.yaml", &flow("b", 1));
    until("the new flow is live", || said(&server, "b") == Some(1));
    workspace.write("flows/a.yaml", "name: a\ntrigger: {");
    workspace.write("flows/b.yaml", &flow("b", 2));
    until("the other edit is live", || said(&server, "b") == Some(2));
    assert_eq!(said(&server, "a"), Some(2));
    assert_eq!(server.terminate(), Some(0));

    let server = workspace.serve();
    assert_eq!(said(&server, "a"), Some(2), "{}", server.announced);
    fs::remove_file(workspace.path().join("flows/b.yaml")).expect("remove");
    until("the flow is unloaded", || said(&server, "b").is_none());
    assert_eq!(said(&server, "a"), Some(2));
}

#[test]
fn settings_are_taken_over_while_the_server_runs() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", QUICK);
    let speaking = flow("a", 1).replace("said: 1", "said: \"{{parameters.x}}\"");
    workspace.write("flows/a.yaml", &speaking);
    let server = workspace.serve();
    assert_eq!(said(&server, "a"), None, "the parameter is not known");
    workspace.write("leadflow.yaml", &format!("{QUICK}parameters: {{ x: 7 }}\n"));
    until("the parameter is known", || said(&server, "a") == Some(7));
    workspace.write("leadflow.yaml", "parameters: [");
    workspace.write("flows/b.yaml", &flow("b", 1));
    until("flows go on to reload", || said(&server, "b") == Some(1));
    assert_eq!(said(&server, "a"), Some(7));
}

#[cfg(unix)]
#[test]
fn a_hangup_reloads_and_never_stops_the_server() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", "reload: { poll: 1h, quiet: 50ms }\n");
    workspace.write("flows/a.yaml", &flow("a", 1));
    let server = workspace.serve();
    workspace.write("flows/a.yaml", &flow("a", 2));
    let status = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().expect("kill");
    assert!(status.success());
    until("the edit is live", || said(&server, "a") == Some(2));
}

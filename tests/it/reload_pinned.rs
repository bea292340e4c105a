//! Runs stay on the text that they started with, over reloads and over restarts.

use crate::support::live::EVENTS_ONLY;
use crate::support::{Server, Workspace, until, wire};

/// Waits until somebody lets it go on, then keeps what it was told to say.
fn waiting(said: &str) -> String {
    format!(
        "name: waiting\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: wait\n    type: delay\n    for: 8s\n  - name: keep\n    type: create_record\n    connection: crm\n    entity: leads\n    fields: {{ n: '{{{{trigger.body.n}}}}', said: {said} }}\n"
    )
}

fn post(server: &Server, number: u32) {
    let url = format!("http://{}/flows/waiting", server.public());
    assert_eq!(wire::post(&url, &format!("{{\"n\":{number}}}")).expect("an answer").status, 202);
}

fn is_waiting(workspace: &Workspace, runs: usize) -> bool {
    let found = workspace.runs();
    found.len() == runs && found.iter().all(|run| run["status"] == "waiting")
}

fn reload(workspace: &Workspace, server: &Server, text: &str) {
    let before = server.told("waiting", "digest");
    workspace.write("flows/waiting.yaml", text);
    assert_eq!(server.reload(), (true, Vec::new()));
    assert_ne!(server.told("waiting", "digest"), before);
}

#[test]
fn a_run_that_waits_ends_on_its_own_text_after_a_reload_and_a_restart() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", EVENTS_ONLY);
    workspace.write("flows/waiting.yaml", &waiting("one"));
    let server = workspace.serve();
    post(&server, 1);
    until("the first run waits", || is_waiting(&workspace, 1));
    reload(&workspace, &server, &waiting("two"));
    post(&server, 2);
    until("both runs wait", || is_waiting(&workspace, 2));
    // The actions after the delay have other names, and then the flow is gone: neither is any matter to them.
    reload(&workspace, &server, &waiting("three").replace("name: keep", "name: store"));
    server.kill();
    std::fs::remove_file(workspace.path().join("flows/waiting.yaml")).expect("remove");
    workspace.write("flows/other.yaml", &waiting("four").replace("name: waiting", "name: other"));
    let _server = workspace.serve();
    let runs = workspace.until_ended();
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    let records = workspace.json(&["records", "list", "--json"]);
    let records = records.as_array().expect("records").iter();
    let mut kept: Vec<(u64, String)> = records
        .map(|record| {
            let fields = &record["fields"];
            (fields["n"].as_u64().expect("a number"), fields["said"].as_str().expect("text").to_owned())
        })
        .collect();
    kept.sort();
    assert_eq!(kept, [(1, "one".to_owned()), (2, "two".to_owned())]);
}

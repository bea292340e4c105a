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

#[test]
fn what_is_live_can_be_asked_for_and_waited_for() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", "reload: { poll: 1h, quiet: 50ms, unload_after: 1h }\n");
    workspace.write("flows/a.yaml", &flow("a", 1));
    workspace.write("flows/b.yaml", &flow("b", 1));
    assert_eq!(workspace.run(&["reload", "--wait"]).status.code(), Some(2), "no server runs");
    let server = workspace.serve();
    let said_first = workspace.expect(0, &["reload", "--wait"]);
    assert!(said_first.starts_with("what is on disk is live: generation 1,"), "{said_first}");

    workspace.write("flows/a.yaml", &flow("a", 2));
    fs::remove_file(workspace.path().join("flows/b.yaml")).expect("remove");
    workspace.expect(0, &["reload", "--wait"]);
    assert_eq!((said(&server, "a"), said(&server, "b")), (Some(2), None), "gone at once, because somebody asked");

    workspace.write("flows/a.yaml", &flow("a", 3).replace("status:", "statu:"));
    let output = workspace.run(&["reload", "--wait"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("error[unknown_key] flows/a.yaml:8:5") && out.contains("NOT live"), "{out}{err}");
    assert_eq!(said(&server, "a"), Some(2));

    let listed = workspace.expect(0, &["flows"]);
    assert!(listed.starts_with("live: NOT all that is on disk   generation ") && listed.contains("OLD"), "{listed}");
    let listed = workspace.json(&["flows", "--json"]);
    assert_eq!((&listed[0]["live"], &listed[0]["standing"]), (&true.into(), &"kept_back".into()), "{listed:#}");
    let admin = format!("http://{}", server.address("admin"));
    let get = |path: &str| wire::send("GET", &format!("{admin}{path}"), &[], b"").expect("an answer");
    let generation = get("/api/v1/flows").json()["generation"].as_u64().expect("a number");
    let ready = get("/readyz").json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["reload"]["findings"][0]["code"], "unknown_key", "{ready:#}");
    let metrics = String::from_utf8(get("/metrics").body).expect("text");
    let kept_back = "leadflow_reload_kept_back_files 1";
    assert!(metrics.lines().any(|found| found == kept_back), "{kept_back} is not in\n{metrics}");
    assert_eq!(server.terminate(), Some(0));

    let server = workspace.serve();
    let old = server.announced.lines().find(|line| line.contains("  OLD  ")).expect("told loudly");
    assert!(old.contains("flows/a.yaml:8:5 unknown_key"), "{}", server.announced);
    workspace.write("flows/a.yaml", &flow("a", 4));
    let said_last = workspace.expect(0, &["reload", "--wait"]);
    let next = format!("generation {},", generation + 1);
    assert!(said_last.contains(&next), "generations go on over a restart: {said_last}");
}

#[test]
fn settings_that_need_a_restart_and_settings_that_do_not_check_are_told() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", QUICK);
    workspace.write("flows/a.yaml", &flow("a", 1));
    let server = workspace.serve();
    for (text, code) in [("data: elsewhere\n", "needs_restart"), ("colour: red\n", "unknown_key")] {
        workspace.write("leadflow.yaml", &format!("{QUICK}{text}"));
        let admin = format!("http://{}/api/v1/reload?wait=true", server.address("admin"));
        let answer = wire::send("POST", &admin, &[], b"").expect("an answer");
        assert_eq!(answer.status, 409, "{answer:?}");
        assert_eq!(answer.json()["findings"][0]["code"], code);
    }
    workspace.write("leadflow.yaml", QUICK);
    workspace.expect(0, &["reload", "--wait"]);
    assert_eq!(said(&server, "a"), Some(1));
}

#[test]
fn a_difference_is_told_in_the_words_of_the_file() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", "reload: { poll: 1h, quiet: 1h }\n");
    for name in ["a", "b", "c", "d"] {
        workspace.write(&format!("flows/{name}.yaml"), &flow(name, 1));
    }
    let server = workspace.serve();
    let same = workspace.expect(0, &["diff"]);
    assert!(same.starts_with("no difference in 4 files; live: generation 1"), "{same}");
    workspace.write("flows/a.yaml", &flow("a", 2));
    workspace.write("flows/b.yaml", &format!("# only a comment\n{}", flow("b", 1)));
    fs::remove_file(workspace.path().join("flows/c.yaml")).expect("remove");
    workspace.write("flows/e.yaml", &flow("e", 1));
    let told = workspace.expect(0, &["diff"]);
    for line in [
        "~ a  flows/a.yaml  action say: body.said",
        "    say.body.said: 1 -> 2",
        "~ b  flows/b.yaml  comments or layout only: no effect",
        "- c  flows/c.yaml  gone",
        "+ e  flows/e.yaml  new",
    ] {
        assert!(told.lines().any(|found| found == line), "{line} is not in\n{told}");
    }
    workspace.write("flows/d.yaml", "name: d\n");
    let told = workspace.expect(1, &["diff"]);
    assert!(told.contains("! d  flows/d.yaml  does not check: the last good version is live"), "{told}");
    drop(server);
    let json = workspace.json_of(1, &["diff", "--json"]);
    assert_eq!((&json["server_runs"], &json["flows"][0]["difference"]), (&false.into(), &"changed".into()));
}

//! What an operator sees of a run with containers: the failed action at once, folded iterations, and the way on.

use serde_json::{Value, json};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{Workspace, wire};

const FLOW: &str = r#"
name: shown
trigger:
  type: request
actions:
  - name: keep
    type: compose
    inputs: kept
  - name: each_contact
    type: for_each
    items: "{{trigger.body.contacts}}"
    actions:
      - name: known
        type: condition
        if: "{{greater item 0}}"
        then:
          - name: push
            type: http
            connection: api
            method: POST
            url: /contacts
            retry: { policy: none }
            body: { n: "{{item}}" }
        else:
          - name: forget
            type: compose
            inputs: "{{item}}"
  - name: nothing
    type: for_each
    run_after: {}
    items: []
    actions:
      - name: never
        type: compose
        inputs: never
"#;

/// A hundred and twenty contacts, three of which the other side refuses.
fn workspace() -> (Workspace, FakeHttp) {
    let other = FakeHttp::start(|_, request| {
        let refused = [17, 40, 99].contains(&request.json()["n"].as_i64().unwrap_or_default());
        if refused { Act::Answer(422, "{}") } else { Act::Answer(200, "{}") }
    });
    let workspace = Workspace::empty();
    workspace.write("flows/shown.yaml", FLOW);
    workspace.write("leadflow.yaml", &format!("connections:\n  api: {{ type: http, base_url: '{}' }}\n", other.url()));
    (workspace, other)
}

fn lead() -> Value {
    json!({ "contacts": (0..120).collect::<Vec<_>>() })
}

#[test]
fn the_failed_iterations_of_a_long_loop_are_found_at_once() {
    let (workspace, _other) = workspace();
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("shown"), &lead().to_string()).expect("an answer").status, 202);
    let runs = workspace.until_ended();
    let expected = json!({
        "keep": "succeeded", "each_contact": "failed", "known": "failed", "push": "failed", "forget": "succeeded",
        "nothing": "succeeded",
    });
    assert_eq!(runs[0]["actions"], expected, "the worst of all iterations");
    let text = workspace.expect(1, &["runs", "show", "last"]);
    let lines: Vec<&str> = text.lines().collect();
    let find = |needle: &str| {
        lines.iter().position(|line| line.contains(needle)).unwrap_or_else(|| panic!("no `{needle}` in\n{text}"))
    };
    let line = lines[find("each_contact")];
    assert!(line.contains("FAIL") && line.contains("for_each, 3 of 120 iterations failed"), "{text}");
    assert!(line.contains("http_422") && line.contains("(action push)"), "{text}");
    for number in [17, 40, 99] {
        let line = lines[find(&format!("[{number}] push"))];
        assert!(line.contains("FAIL") && line.contains("http_422"), "{text}");
    }
    assert!(!text.contains("[18] push"), "{text}");
    assert!(text.contains("… 116 more iterations (--json lists them)"), "{text}");
    assert!(text.contains("not taken: forget"), "{text}");
    let advice = lines.last().expect("a line");
    assert!(advice.contains("runs resubmit") && advice.contains("--from push   (keep"), "{text}");
    assert!(lines.len() < 60, "it fits a screen: {text}");

    let run = workspace.show("last");
    let actions = run["actions"].as_array().expect("actions");
    let of = |name: &str| actions.iter().filter(|action| action["name"] == name).collect::<Vec<_>>();
    assert_eq!(of("push").len(), 120);
    assert_eq!((&of("push")[17]["index"], &of("push")[17]["status"]), (&json!([17]), &json!("failed")));
    assert_eq!(of("each_contact")[0]["error"]["action"], "push");
    assert_eq!(of("never")[0]["status"], "skipped", "its loop never turned");

    // The advice works: only the refused ones are sent again.
    let words: Vec<&str> = advice.split_whitespace().skip_while(|word| *word != "leadflow").skip(1).take(5).collect();
    workspace.expect(0, &words);
    drop(server);
}

#[test]
fn a_dry_run_is_indented_and_folded() {
    let (workspace, other) = workspace();
    workspace.write("lead.json", &lead().to_string());
    let text = workspace.expect(0, &["dry-run", "shown", "--lead", "lead.json"]);
    for wanted in [
        "1 keep",
        "2 each_contact",
        "for_each, 120 iterations",
        "    [0] forget",
        "not taken: push",
        "    [1] push",
        "… 118 more iterations (--json lists them)",
        "would make 119 HTTP calls",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
    assert_eq!(text.matches("POST ").count(), 1, "each iteration has its own effects: {text}");
    let shown = workspace.json(&["dry-run", "shown", "--lead", "lead.json", "--json"]);
    assert_eq!(shown["effects"][0]["index"], json!([1]));
    assert_eq!(shown["effects"].as_array().map(Vec::len), Some(119));

    workspace.write("mocks.json", r#"{"push": {"outputs": {"status_code": 200, "headers": {}, "body": "mocked"}}}"#);
    let mocked = workspace.json(&["dry-run", "shown", "--lead", "lead.json", "--mocks", "mocks.json", "--json"]);
    let pushed = mocked["actions"].as_array().expect("actions").iter().filter(|one| one["outputs"]["body"] == "mocked");
    assert_eq!(pushed.count(), 119, "a mock answers in each iteration");
    workspace.write("mocks.json", r#"{"each_contact": {"outputs": []}}"#);
    let refused = workspace.run(&["dry-run", "shown", "--lead", "lead.json", "--mocks", "mocks.json"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && message.contains("`each_contact` holds actions"), "{message}");
    assert_eq!(other.requests().len(), 0, "nothing is sent");
}

/// Every limit has its own name and says where it is set.
#[test]
fn limits_of_flows_and_runs_are_clear() {
    let workspace = Workspace::empty();
    workspace.write("flows/many.yaml", "name: many\ntrigger:\n  type: request\nactions:\n  - name: a\n    type: compose\n    inputs: 1\n  - name: s\n    type: scope\n    actions:\n      - name: t\n        type: scope\n        actions:\n          - name: b\n            type: compose\n            inputs: 2\n");
    let checked = |limits: &str| {
        workspace.write("leadflow.yaml", &format!("limits: {{ {limits} }}\n"));
        let output = workspace.run(&["check", "flows/many.yaml"]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(checked("actions_per_flow: 4, nesting: 2").0, Some(0));
    let (code, text) = checked("actions_per_flow: 3");
    assert!(code == Some(1) && text.contains("too_many_actions") && text.contains("limits.actions_per_flow"), "{text}");
    let (code, text) = checked("nesting: 1");
    assert!(code == Some(1) && text.contains("too_deep") && text.contains("limits.nesting"), "{text}");

    workspace.write("flows/many.yaml", "name: many\ntrigger:\n  type: request\nactions:\n  - name: each\n    type: for_each\n    items: '{{trigger.body}}'\n    actions:\n      - name: one\n        type: compose\n        inputs: '{{item}}'\n  - name: read\n    type: compose\n    inputs: '{{length actions.each.outputs}}'\n");
    workspace.write("leadflow.yaml", "limits: { outputs: 1KiB }\n");
    let dry = |status: i32| {
        let output = workspace.run(&["dry-run", "many", "--lead", "lead.json", "--json"]);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        shown["actions"][0]["error"].clone()
    };
    workspace.write("lead.json", &json!(["x".repeat(600), "y".repeat(600)]).to_string());
    let error = dry(1);
    assert!(error["code"] == "outputs_too_large" && error["message"].to_string().contains("limits.outputs"), "{error}");
    workspace.write("lead.json", "[1, 2, 3]");
    assert_eq!(dry(0), Value::Null);
}

//! Flows that call flows: the same by dry run and for real, and over a kill -9 while the caller waits.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Workspace, wire};

const CALLER: &str = r#"
name: caller
trigger: { type: request }
actions:
  - name: each
    type: for_each
    items: "{{trigger.body.numbers}}"
    concurrency: 3
    actions:
      - { name: ask, type: run_flow, flow: doubler, body: { n: "{{item}}" } }
  - { name: sum, type: compose, inputs: "{{actions.each.outputs}}" }
"#;

const DOUBLER: &str = r#"
name: doubler
trigger:
  type: request
  schema: { type: object, required: [n], properties: { n: { type: integer } } }
actions:
  - { name: pause, type: delay, for: WAIT }
  - { name: keep, type: create_record, connection: crm, entity: numbers, fields: { n: "{{trigger.body.n}}" } }
  - { name: say, type: respond, body: "{{mul trigger.body.n 2}}" }
  - { name: after, type: compose, inputs: done }
"#;

fn workspace(wait: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/caller.yaml", CALLER);
    workspace.write("flows/doubler.yaml", &DOUBLER.replace("WAIT", wait));
    workspace.write("lead.json", r#"{"numbers": [1, 2, 3, 4]}"#);
    workspace
}

fn output(run: &Value, name: &str) -> Value {
    let actions = run["actions"].as_array().expect("actions");
    actions.iter().find(|action| action["name"] == name).expect("the action")["outputs"].clone()
}

#[test]
fn a_call_gives_what_the_other_flow_responds_by_dry_run_and_for_real() {
    let workspace = workspace("10ms");
    let dry = workspace.json(&["dry-run", "caller", "--lead", "lead.json", "--json"]);
    assert_eq!((&dry["run"]["status"], output(&dry, "sum")), (&json!("succeeded"), json!([2, 4, 6, 8])));
    assert_eq!(dry["effects"].as_array().expect("effects").len(), 4, "what the called flow does is shown");
    let server = workspace.serve();
    wire::post(server.url("caller"), r#"{"numbers": [1, 2, 3, 4]}"#).expect("accepted");
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 5);
    let caller = runs.iter().find(|run| run["flow"] == "caller").expect("the caller");
    let shown = workspace.show(caller["run_id"].as_str().expect("an id"));
    assert_eq!((&shown["status"], output(&shown, "sum")), (&json!("succeeded"), json!([2, 4, 6, 8])));
    assert_eq!(workspace.json(&["records", "list", "--json"]).as_array().expect("records").len(), 4);
}

#[test]
fn a_caller_that_waits_survives_a_kill_and_calls_once() {
    let workspace = workspace("2s");
    let server = workspace.serve();
    wire::post(server.url("caller"), r#"{"numbers": [5, 6, 7, 8, 9]}"#).expect("accepted");
    let deadline = Instant::now() + PATIENCE;
    while workspace.runs().len() < 4 {
        assert!(Instant::now() < deadline, "the calls are made");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    let server = workspace.serve();
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 6, "each number is called for once");
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:?}");
    assert_eq!(workspace.json(&["records", "list", "--json"]).as_array().expect("records").len(), 5);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_refused_body_and_a_failed_flow_fail_the_call_with_their_code() {
    let workspace = workspace("10ms");
    workspace.write("lead.json", r#"{"numbers": ["x"]}"#);
    let dry = workspace.expect(1, &["dry-run", "caller", "--lead", "lead.json", "--json"]);
    let dry: Value = serde_json::from_str(&dry).expect("JSON");
    let ask = dry["actions"].as_array().expect("actions").iter().find(|action| action["name"] == "ask").expect("ask");
    assert_eq!((&ask["status"], &ask["error"]["code"]), (&json!("failed"), &json!("schema_mismatch")));
    workspace.write(
        "flows/doubler.yaml",
        &DOUBLER.replace("WAIT", "10ms").replace("{{mul trigger.body.n 2}}", "{{int 'x'}}"),
    );
    workspace.write("lead.json", r#"{"numbers": [1]}"#);
    let dry = workspace.expect(1, &["dry-run", "caller", "--lead", "lead.json", "--json"]);
    let dry: Value = serde_json::from_str(&dry).expect("JSON");
    let ask = dry["actions"].as_array().expect("actions").iter().find(|action| action["name"] == "ask").expect("ask");
    assert_eq!((&ask["status"], &ask["error"]["code"]), (&json!("failed"), &json!("template_failed")));
}

#[test]
fn a_call_that_cannot_hold_is_told_before_it_runs() {
    let workspace = workspace("10ms");
    assert_eq!(workspace.expect(0, &["check"]).matches("error").count(), 0);
    let split =
        DOUBLER.replace("WAIT", "10ms").replace("type: request\n", "type: request\n  split_on: \"{{trigger.body}}\"\n");
    let split = split.replace("  schema: { type: object, required: [n], properties: { n: { type: integer } } }\n", "");
    workspace.write(
        "flows/doubler.yaml",
        &split.replace("  - { name: say, type: respond, body: \"{{mul trigger.body.n 2}}\" }\n", ""),
    );
    let told = workspace.expect(1, &["check"]);
    assert!(told.contains("error[call_splits] flows/caller.yaml:10:"), "{told}");
    workspace.write(
        "flows/doubler.yaml",
        "trigger: { type: request }\nactions:\n  - { name: back, type: run_flow, flow: caller }\n",
    );
    let told = workspace.expect(1, &["check"]);
    assert!(told.contains("flows call each other in a circle: caller -> doubler -> caller"), "{told}");
}

//! A flow for each construct, run for real by the real program and by its dry run: the same statuses, outputs and errors,
//! and those that stand in `tests/data/constructs/NAME.expected` (`UPDATE=1` writes them again).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::{Workspace, files, project};

/// Values that differ from run to run.
const NOT_TOLD: &[&str] = &["create_record"];

/// `name[0,2] status (outcome) outputs, error`: one line for each action, sorted, as two runs may end iterations in
/// another order.
fn told(run_status: &Value, actions: &Value) -> String {
    let mut lines = BTreeSet::new();
    for action in actions.as_array().expect("actions") {
        let index = action.get("index").map(Value::to_string).unwrap_or_default();
        let word = |key: &str| action[key].as_str().unwrap_or_default().to_owned();
        let mut line = format!("{}{index} {}", word("name"), word("status"));
        if !action["outputs"].is_null() && !NOT_TOLD.contains(&word("type").as_str()) {
            let _ = write!(line, " {}", action["outputs"]);
        }
        if let Some(code) = action["error"]["code"].as_str() {
            let place = action["error"]["action"].as_str().map(|action| format!(" in {action}"));
            let _ = write!(line, " {code}{}", place.unwrap_or_default());
        }
        lines.insert(line);
    }
    let lines: Vec<String> = lines.into_iter().collect();
    format!("run {}\n{}\n", run_status.as_str().unwrap_or_default(), lines.join("\n"))
}

#[test]
fn each_construct_does_the_same_for_real_and_dry() {
    let folder = project().join("tests/data/constructs");
    let flows = files(&folder, "yaml");
    assert!(flows.len() >= 9, "{flows:?}");
    let workspace = Workspace::empty();
    for flow in &flows {
        let name = flow.file_name().expect("a name").to_string_lossy();
        workspace.write(&format!("flows/{name}"), &fs::read_to_string(flow).expect("a flow"));
    }
    let server = workspace.serve();
    for flow in &flows {
        let name = flow.file_stem().expect("a name").to_string_lossy().into_owned();
        let lead = flow.with_extension("json");
        let lead_path = lead.to_str().expect("UTF-8");
        workspace.run(&["send", &name, "--lead", lead_path, "--wait"]);
        let run = workspace.show("last");
        assert_eq!(run["flow"], name.as_str());
        let real = told(&run["status"], &run["actions"]);
        let output = workspace.run(&["dry-run", &name, "--lead", lead_path, "--json"]);
        let dry: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let dry = told(&dry["run"]["status"], &dry["actions"]);
        let expected = flow.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &real).expect("written");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(real, expected, "{name}, for real");
        assert_eq!(dry, expected, "{name}, dry");
    }
    drop(server);
}

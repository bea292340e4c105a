//! What the README tells a newcomer to type works as it stands.

use std::fs;

use crate::support::{Workspace, copy_folder, project};

/// The fenced blocks of `language`, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(project().join("README.md")).expect("README.md");
    let mut blocks = Vec::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        match &mut current {
            None if line == format!("```{language}") => current = Some(String::new()),
            Some(_) if line == "```" => blocks.extend(current.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    blocks
}

#[test]
fn its_flows_check_without_a_finding() {
    let flows = blocks("yaml");
    assert!(!flows.is_empty(), "the README shows a flow");
    for flow in flows {
        let workspace = Workspace::empty();
        workspace.write("flows/readme.yaml", &flow);
        copy_folder(&project().join("blueprints"), &workspace.path().join("blueprints"));
        let findings = workspace.json(&["check", "--strict", "--format", "json"]);
        let worse = findings.as_array().expect("a list").iter().filter(|finding| finding["severity"] != "note").count();
        assert_eq!(worse, 0, "{findings:#}\n{flow}");
    }
}

#[test]
fn its_settings_check() {
    let settings = blocks("yaml title=\"leadflow.yaml\"");
    assert!(!settings.is_empty(), "the README shows settings");
    for text in settings {
        let workspace = Workspace::cloned();
        workspace.write("leadflow.yaml", &text);
        workspace.expect(0, &["check"]);
    }
}

#[test]
fn its_commands_run_in_a_fresh_clone() {
    let workspace = Workspace::cloned();
    let _server = workspace.serve();
    let mut ran = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let command = line.split(" #").next().unwrap_or(line).trim();
        let Some(arguments) = command.strip_prefix("leadflow ") else { continue };
        workspace.expect(0, &arguments.split_whitespace().collect::<Vec<_>>());
        ran += 1;
    }
    assert!(ran >= 5, "the README has commands to run");
}

#[test]
fn its_first_screen_names_the_two_commands() {
    let first = &blocks("sh")[0];
    assert!(first.contains("cargo run --release -- serve") && first.contains("bash tests/run.sh"), "{first}");
    assert!(project().join("tests/run.sh").exists());
}

/// "Going live": the example settings, copied as it says, hold together with the flows of the repository.
#[test]
fn its_way_to_production_checks() {
    let workspace = Workspace::cloned();
    for (from, to) in [("leadflow.yaml", "leadflow.yaml"), ("leadflow.production.yaml", "leadflow.production.yaml")] {
        let text = fs::read_to_string(project().join("examples").join(from)).expect("an example");
        workspace.write(to, &text);
    }
    workspace.expect(0, &["check"]);
    workspace.expect(0, &["check", "--env", "production"]);
    assert!(workspace.expect(0, &["settings", "--env", "production"]).contains("leadflow.production.yaml"));
}

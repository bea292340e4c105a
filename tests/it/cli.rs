//! The command line as a user meets it: words, exit codes, outputs.

use serde_json::Value;

use crate::support::{Workspace, project, sample};

/// A command that is refused: what it says on standard error, after exit code 2.
fn refused(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.run(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "an error is no answer");
    text
}

#[test]
fn a_bare_command_prints_ten_lines() {
    assert_eq!(refused(&Workspace::empty(), &[]).lines().count(), 10);
}

#[test]
fn wrong_verbs_get_the_right_one() {
    let workspace = Workspace::empty();
    for (verb, right) in [("validate", "check"), ("run", "serve"), ("start", "serve"), ("init", "new")] {
        let text = refused(&workspace, &[verb, "x"]);
        assert!(text.contains(&format!("there is no `{verb}`; did you mean `leadflow {right}`?")), "{text}");
    }
}

#[test]
fn commands_of_later_versions_say_so() {
    let workspace = Workspace::empty();
    let lines: &[&[&str]] =
        &[&["new", "contoso"], &["test"], &["import", "a.zip"], &["alerts"], &["selftest"], &["runs", "export"]];
    for line in lines {
        let text = refused(&workspace, line);
        assert!(text.contains("comes with a later version"), "{line:?}: {text}");
    }
}

#[test]
fn help_has_examples() {
    let workspace = Workspace::empty();
    for line in [vec!["--help"], vec!["serve", "--help"], vec!["dry-run", "--help"], vec!["url", "--help"]] {
        let text = workspace.expect(0, &line);
        assert!(text.contains("Examples:") && text.contains("leadflow "), "{line:?}: {text}");
    }
    assert_eq!(workspace.expect(0, &["--version"]), format!("leadflow {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn reading_without_a_store_says_what_to_do() {
    let workspace = Workspace::cloned();
    let lines: &[&[&str]] = &[
        &["runs", "list"],
        &["runs", "show", "last"],
        &["runs", "cancel", "last"],
        &["runs", "rejected", "list"],
        &["records", "list"],
        &["url", "contoso-backup"],
        &["send", "contoso-backup"],
    ];
    for line in lines {
        let text = refused(&workspace, line);
        assert!(text.contains("no store yet") && text.contains("leadflow serve"), "{line:?}: {text}");
    }
    assert!(!workspace.path().join("leadflow-data").exists(), "reading makes nothing");
}

#[test]
fn the_environment_is_checked_first() {
    let workspace = Workspace::cloned();
    assert!(refused(&workspace, &["settings", "--config", "nowhere.yaml"]).contains("nowhere.yaml"));
    assert!(refused(&workspace, &["settings", "--env", "staging"]).contains("leadflow.staging.yaml"));
    assert!(refused(&workspace, &["check", "nowhere.yaml"]).contains("nowhere.yaml"));
    let text = refused(&workspace, &["dry-run", "contoso-bakup", "--lead", "examples/lead.json"]);
    assert!(text.contains("contoso-bakup") && text.contains("contoso-backup"), "{text}");
    assert!(refused(&workspace, &["dry-run", "contoso-backup", "--lead", "nowhere.json"]).contains("nowhere.json"));
}

#[test]
fn explain_lists_and_explains() {
    let workspace = Workspace::empty();
    let all = workspace.expect(0, &["explain"]);
    for doc in leadflow::diagnostic::codes::CODES {
        assert!(all.contains(doc.code), "{} is not listed", doc.code);
        assert!(workspace_free_explain(doc.code).contains(doc.summary));
    }
    for spec in leadflow::actions::catalogue().actions {
        let text = workspace.expect(0, &["explain", spec.kind]);
        assert!(text.contains("keys") && text.contains("example"), "{text}");
    }
    let helper = workspace.expect(0, &["explain", "formatdatetime"]);
    for part in ["{{formatDateTime time [format] [culture]}}", "arguments", "tz='…'", "gives a text", "cultures: en-US"]
    {
        assert!(helper.contains(part), "{part}: {helper}");
    }
    assert!(workspace.expect(0, &["explain", "guid"]).contains("kept before they are first sent"));
    assert!(workspace.expect(0, &["explain", "coalesce"]).contains("is not evaluated"));
    assert!(workspace.expect(0, &["explain", "range"]).contains("at most 100,000"));
    assert!(workspace.expect(0, &["explain", "triggerBody"]).contains("trigger.body"));
    assert!(workspace.expect(0, &["explain", "xpath"]).contains("not part of the language"));
    assert!(workspace.expect(0, &["explain", "each"]).contains("{{#each list}}"));
    assert!(refused(&workspace, &["explain", "unknwon_key"]).contains("did you mean `unknown_key`?"));
}

/// The catalogue's own text: one process a code would take minutes.
fn workspace_free_explain(code: &str) -> &'static str {
    leadflow::diagnostic::codes::find(code).map(|doc| doc.summary).expect("listed")
}

#[test]
fn completions_and_schemas_are_printed() {
    let workspace = Workspace::empty();
    assert!(workspace.expect(0, &["completions", "bash"]).contains("leadflow"));
    for of in ["flow", "settings"] {
        let schema = workspace.json(&["schema", of]);
        assert!(schema["properties"].is_object(), "{schema}");
    }
}

#[test]
fn the_flows_of_the_repository_are_exemplary() {
    let workspace = Workspace::cloned();
    let findings = workspace.json(&["check", "--strict", "--format", "json"]);
    let worse: Vec<&Value> =
        findings.as_array().expect("a list").iter().filter(|finding| finding["severity"] != "note").collect();
    assert!(worse.is_empty(), "{worse:#?}");
    assert!(workspace.expect(0, &["check"]).contains("4 files"));
    let flows = workspace.json(&["flows", "--json"]);
    let names: Vec<&str> = flows.as_array().expect("a list").iter().filter_map(|flow| flow["name"].as_str()).collect();
    assert_eq!(names, ["contoso-backup", "contoso-crm-suite", "fabrikam-analytics", "webhook-to-http"]);
}

#[test]
fn findings_are_shown_with_line_and_fix_and_exit_code() {
    let workspace = Workspace::cloned();
    workspace.write("leadflow.yaml", "publik_url: https://a.example\n");
    let text = workspace.expect(1, &["check"]);
    assert!(text.contains("error[unknown_key] leadflow.yaml:1:1"), "{text}");
    assert!(text.contains("did you mean `public_url`?") && text.contains("publik_url: https://a.example"), "{text}");
    assert!(text.contains(" findings in ") && text.contains(": 1 error, "), "{text}");
    let github = workspace.expect(1, &["check", "--format", "github"]);
    assert!(github.starts_with("::error file=leadflow.yaml,line=1"), "{github}");
    // Every command that needs settings refuses, and says why.
    assert_eq!(workspace.run(&["flows"]).status.code(), Some(1));
    // A warning alone is fine until --strict.
    workspace.write("leadflow.yaml", "signing_key: hunter2\n");
    workspace.expect(0, &["check", "leadflow.yaml"]);
    workspace.expect(1, &["check", "--strict", "leadflow.yaml"]);
}

#[test]
fn settings_show_every_key_with_its_place() {
    let workspace = Workspace::cloned();
    workspace.write("leadflow.yaml", "public_url: https://leads.contoso.com/\nadmin:\n  token: ${env:TOKEN}\n");
    workspace.write("leadflow.staging.yaml", "log: { level: debug }\n");
    let output = workspace.command(&["settings"]).env("LEADFLOW_ENV", "staging").env("TOKEN", "t0psecret").output();
    let text = String::from_utf8(output.expect("the binary runs").stdout).expect("text");
    let line =
        |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}: {text}"));
    assert!(line("public_url").ends_with("leadflow.yaml:1"));
    assert!(line("admin.token").contains("***") && line("admin.token").ends_with("leadflow.yaml:3"));
    assert!(line("log.level").contains("debug") && line("log.level").ends_with("leadflow.staging.yaml:1"));
    assert!(line("admin.listen").ends_with("default"));
    assert!(!text.contains("t0psecret"));
}

#[test]
fn a_dry_run_shows_what_would_be_sent() {
    let workspace = Workspace::cloned();
    let text = workspace.expect(0, &["dry-run", "contoso-backup", "--lead", "examples/lead.json"]);
    for part in [
        "contoso-backup  dry run: nothing is sent, nothing is stored",
        "body fits marketplace-lead.json   test lead: no",
        "1 create_lead",
        "\"Test Microsoft (INS)\"",
        "2 notify_sales",
        "    To: sales@contoso.com",
        "    | Some One, Contoso",
        "received but not used: UserDetails.Phone",
        "succeeded: would create 1 record, send 1 mail",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let shown = workspace.json(&["dry-run", "contoso-backup", "--sample", "examples/lead.json", "--json"]);
    assert_eq!(shown["run"]["status"], "succeeded");
    assert_eq!(shown["trigger"]["body"]["ActionCode"], "INS");
    let keys: Vec<&String> = shown["actions"][0].as_object().expect("an action").keys().collect();
    assert_eq!(keys, ["name", "type", "status", "inputs", "outputs", "attempts", "error"]);
    assert_eq!(shown["effects"][0]["kind"], "record");
    assert_eq!(shown["effects"][1]["to"], serde_json::json!(["sales@contoso.com"]));
    assert!(!workspace.path().join("leadflow-data").exists(), "a dry run leaves no trace");
}

#[test]
fn a_dry_run_says_why_a_lead_is_refused() {
    let workspace = Workspace::cloned();
    workspace.write("bad.json", "{\"UserDetails\": 5}");
    let output = workspace.run(&["dry-run", "contoso-backup", "--lead", "bad.json", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["run"]["status"], "rejected");
    assert_eq!(shown["trigger"]["findings"][0]["pointer"], "/UserDetails");
    assert_eq!(shown["effects"], serde_json::json!([]));
}

#[test]
fn a_dry_run_shows_every_part_of_a_mail_and_why_a_lead_is_skipped() {
    let workspace = Workspace::empty();
    workspace.write(
        "flows/a.yaml",
        "trigger: {type: request, conditions: [\"{{eq trigger.body.a 1}}\"]}\nactions:\n  - name: tell\n    \
         type: send_email\n    connection: mail\n    to: a@b.example\n    reply_to: c@d.example\n    importance: high\n    \
         subject: s\n    html: <b>x</b>\n    attachments: [{name: x.txt, content: abc, content_type: text/plain}]\n",
    );
    workspace.write("one.json", "{\"a\": 1}");
    workspace.write("two.json", "{\"a\": 2}");
    let sent = workspace.expect(0, &["dry-run", "a", "--lead", "one.json"]);
    let parts = ["Reply-To: c@d.example", "Importance: high", "| <b>x</b>", "attached: x.txt (text/plain, 3 bytes)"];
    for part in parts {
        assert!(sent.contains(part), "no {part:?} in\n{sent}");
    }
    let skipped = workspace.expect(0, &["dry-run", "a", "--lead", "two.json"]);
    assert!(skipped.contains("condition 1 of the trigger is false"), "{skipped}");
}

#[test]
fn every_clash_of_names_is_told_beside_other_errors() {
    let workspace = Workspace::empty();
    let rest = "trigger: {type: request}\nactions: [{name: a, type: compose, inputs: x}]\n";
    workspace.write("flows/a.yaml", &format!("shema: x\n{rest}"));
    workspace.write("flows/b.yaml", &format!("name: a\naliases: [c, a-old]\n{rest}"));
    workspace.write("flows/c.yaml", &format!("aliases: [x, a-old]\n{rest}"));
    let findings: Value = serde_json::from_slice(&workspace.run(&["check", "--format", "json"]).stdout).expect("JSON");
    let clashes: Vec<(&str, &str)> = findings
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["code"] == "duplicate_flow")
        .filter_map(|finding| Some((finding["file"].as_str()?, finding["path"].as_str()?)))
        .collect();
    assert_eq!(clashes, [("flows/b.yaml", "name"), ("flows/c.yaml", "name"), ("flows/c.yaml", "aliases[1]")]);
}

#[test]
fn a_dry_run_says_why_a_condition_cannot_be_evaluated() {
    let workspace = Workspace::empty();
    workspace.write(
        "flows/picky.yaml",
        "trigger: { type: request, conditions: ['{{gt trigger.body.n 1}}'] }\n\
         actions:\n  - { name: keep, type: compose, inputs: 1 }\n",
    );
    workspace.write("lead.json", "{\"n\": \"many\"}");
    let output = workspace.run(&["dry-run", "picky", "--lead", "lead.json", "--json"]);
    let dry: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &dry["run"]["status"]), (Some(1), &"failed".into()), "{dry:#}");
    let message = dry["trigger"]["findings"][0]["message"].as_str().expect("a reason");
    assert!(message.contains("condition"), "{message}");
}

#[test]
fn mocks_answer_in_the_place_of_actions() {
    let workspace = Workspace::cloned();
    workspace.write(
        "mocks.json",
        r#"{"create_lead": {"status": "failed", "error": {"code": "http_503", "message": "down"}}}"#,
    );
    let line = ["dry-run", "contoso-backup", "--lead", "examples/lead.json", "--mocks", "mocks.json", "--json"];
    let output = workspace.run(&line);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["actions"][0]["error"]["code"], "http_503");
    assert_eq!(shown["actions"][1]["status"], "succeeded", "the mail stands beside the CRM");
    workspace.write("mocks.json", r#"{"create_laed": {}}"#);
    assert!(refused(&workspace, &line).contains("create_laed"));
    workspace.write("mocks.json", r#"{"create_lead": {"status": "fine"}}"#);
    assert!(refused(&workspace, &line).contains("unknown variant `fine`"));
}

#[test]
fn a_lead_is_sent_and_everything_about_it_is_shown() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    assert!(server.announced.contains("4 flows live") && server.announced.contains("no leadflow.yaml: defaults"));
    assert!(
        server.announced.contains(&format!("curl -sS --json @examples/lead.json '{}'", server.url("contoso-backup")))
    );
    assert!(server.announced.contains("NOT SENT") && server.announced.contains("loopback only"));

    let text = workspace.expect(0, &["send", "contoso-backup", "--wait"]);
    assert!(text.starts_with("202 {"), "{text}");
    assert!(text.contains("lead  INS \"Test Microsoft\" from AzureMarketplace   test lead: no"), "{text}");
    assert!(text.contains("ok    create_lead") && text.contains("ok    notify_sales"), "{text}");

    let runs = workspace.runs();
    let keys: Vec<&String> = runs[0].as_object().expect("a run").keys().collect();
    let wanted =
        ["run_id", "flow", "status", "is_test", "received_at", "finished_at", "duplicate_of", "waiting_for", "actions"];
    assert_eq!(keys, wanted);
    let id = runs[0]["run_id"].as_str().expect("an id");
    for part in ["last", id, &id[..20], &id[id.len() - 8..]] {
        let shown = workspace.json(&["runs", "show", part, "--json"]);
        assert_eq!(shown["run_id"], id);
        assert_eq!(shown["actions"][0]["type"], "create_record");
    }
    assert!(refused(&workspace, &["runs", "show", "zebra"]).contains("zebra"));
    let records = workspace.json(&["records", "list", "--json"]);
    assert_eq!(records[0]["fields"]["subject"], "Test Microsoft (INS)");
    assert_eq!(records[0]["run_id"], id);

    workspace.expect(0, &["send", "contoso-crm-suite", "--lead", "examples/lead-do-not-contact.json", "--wait"]);
    assert_eq!(workspace.runs()[0]["actions"]["notify_sales"], "skipped", "nobody is mailed about a DNC lead");
    let first = &id[..1];
    assert!(refused(&workspace, &["runs", "show", first]).contains("fits several runs"));

    workspace.expect(0, &["runs", "resubmit", id, "--from", "notify_sales"]);
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 3);
    assert_eq!(workspace.json(&["records", "list", "--json"]).as_array().map(Vec::len), Some(2), "no second record");
    assert_eq!(workspace.run(&["runs", "cancel", id]).status.code(), Some(1), "it had ended");
}

#[test]
fn urls_are_complete_and_rotate_by_slot() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    let base = server.url("contoso-backup").split("/flows/").next().expect("a base").to_owned();
    let url = |further: &[&str]| {
        let mut line = vec!["url", "contoso-backup", "--base", base.as_str()];
        line.extend(further);
        workspace.expect(0, &line).trim_end().to_owned()
    };
    assert_eq!(url(&[]), server.url("contoso-backup"));
    let followed = workspace.expect(0, &["url", "contoso-backup"]);
    assert_eq!(followed.trim_end(), server.url("contoso-backup"), "the address of the running server");
    assert!(refused(&workspace, &["url", "contoso-backup", "--base", "nonsense"]).contains("nonsense"));
    let secondary = url(&["--slot", "secondary"]);
    assert_ne!(secondary, url(&[]));
    assert!(url(&["--expires", "90d"]).contains("se="));
    let rotated = url(&["--rotate", "primary"]);
    assert_ne!(rotated, server.url("contoso-backup"));
    assert_eq!(rotated, url(&[]));
    assert_eq!(secondary, url(&["--slot", "secondary"]), "the other slot stays");
    let all = workspace.expect(0, &["url", "--all"]);
    assert_eq!(all.lines().count(), 4, "{all}");
}

#[test]
fn a_refused_request_is_kept_and_taken_in_later() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    workspace.write("bad.json", &sample().replace("\"INS\"", "7"));
    assert_eq!(workspace.run(&["send", "contoso-backup", "--lead", "bad.json"]).status.code(), Some(1));
    let rejected = workspace.json(&["runs", "rejected", "list", "--json"]);
    assert_eq!(rejected[0]["flow"], "contoso-backup");
    assert_eq!(rejected[0]["errors"][0]["pointer"], "/ActionCode");
    let shown = workspace.expect(0, &["runs", "rejected", "show", "last"]);
    assert!(shown.contains("\"ActionCode\": 7"), "{shown}");
    workspace.expect(1, &["runs", "rejected", "resubmit", "last"]);
    let schema = project().join("schemas/marketplace-lead.json");
    let open = std::fs::read_to_string(schema).expect("the schema").replace(
        "\"id\": \"/properties/ActionCode\",\n      \"type\": \"string\"",
        "\"id\": \"/properties/ActionCode\"",
    );
    workspace.write("schemas/marketplace-lead.json", &open);
    workspace.expect(0, &["runs", "rejected", "resubmit", "last"]);
    assert_eq!(workspace.until_ended()[0]["status"], "succeeded");
    drop(server);
}

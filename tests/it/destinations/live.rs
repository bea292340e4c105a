//! `check --live` against systems that tell of their fields.

use serde_json::{Value, json};

use super::systems::{AzureTable, Dataverse, Salesforce};
use super::{Destination, Line, fresh_mark};
use crate::support::Workspace;

/// A workspace with one flow of one action, and the connection `crm`.
fn workspace(system: &dyn Destination, right: bool, action: &str) -> Workspace {
    let workspace = Workspace::empty();
    let mut connection = system.settings(&system.place(), right);
    connection["type"] = json!(system.kind());
    workspace.write("leadflow.yaml", &format!("connections:\n  crm: {connection}\n"));
    let flow = format!(
        "trigger: {{ type: request, authentication: none }}\nparameters: {{ rating: Boiling }}\nactions:\n  - name: lead\n    \
         connection: crm\n{action}"
    );
    workspace.write("flows/offer.yaml", &flow);
    workspace
}

/// Code, line and column of each finding, in the order of the file.
fn found(workspace: &Workspace, code: i32) -> Vec<(String, u64, u64)> {
    let findings = workspace.json_of(code, &["check", "--live", "--format", "json"]);
    let mut found: Vec<(String, u64, u64)> = findings
        .as_array()
        .expect("findings")
        .iter()
        // The secrets of counterparts are no secrets, and what is only worth knowing is not what these tests are about.
        .filter(|finding| finding["code"] != "literal_secret" && finding["severity"] != "note")
        .map(|finding| {
            let number = |key: &str| finding[key].as_u64().unwrap_or_else(|| panic!("{finding}"));
            (finding["code"].as_str().expect("a code").to_owned(), number("line"), number("column"))
        })
        .collect();
    found.sort_by_key(|(code, line, _)| (*line, code.clone()));
    found
}

fn expected(list: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    list.iter().map(|(code, line, column)| ((*code).to_owned(), *line, *column)).collect()
}

fn count(system: &dyn Destination, mark: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { Line::straight(system).await.marked(system, mark).await.len() })
}

#[test]
fn dataverse_tells_every_fault_of_a_mapping_with_its_place() {
    let mark = fresh_mark();
    let long = "x".repeat(51);
    let action = format!(
        "    type: create_record\n    entity: leads\n    fields:\n      emailadress1: \"{mark}\"\n      firstname: {long}\n      \
         leadsourcecode: Web\n      revenue: \"{{{{trigger.body.a}}}} euro\"\n      donotemail: 1\n      createdon: \"2026-11-21T09:00:00Z\"\n      \
         ParentAccountId: \"/accounts(1)\"\n      lastname: \"{{{{trigger.body.b}}}}\"\n"
    );
    let workspace = workspace(&Dataverse, true, &action);
    let findings = found(&workspace, 1);
    assert_eq!(
        findings,
        expected(&[
            ("missing_field", 8, 5),
            ("unknown_field", 9, 7),
            ("too_long_for_field", 10, 18),
            ("wrong_field_type", 11, 23),
            ("wrong_field_type", 12, 16),
            ("wrong_field_type", 13, 19),
            ("read_only_field", 14, 7),
            ("unknown_field", 15, 7),
        ])
    );
    let text = workspace.expect(1, &["check", "--live"]);
    for said in
        ["did you mean `emailaddress1`?", "write 8 (its label is Web)", "did you mean `parentaccountid@odata.bind`?"]
    {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert_eq!(count(&Dataverse, &mark), 0, "nothing was made");
}

#[test]
fn a_fitting_mapping_has_no_finding_and_a_wrong_entity_has_one() {
    let fields = "    fields: { subject: x, leadsourcecode: 8, lastname: \"{{trigger.body.b}}\" }\n";
    let fitting = workspace(&Dataverse, true, &format!("    type: create_record\n    entity: leads\n{fields}"));
    assert_eq!(found(&fitting, 0), []);
    let wrong = workspace(&Dataverse, true, &format!("    type: create_record\n    entity: lead\n{fields}"));
    assert_eq!(found(&wrong, 1), expected(&[("unknown_entity", 7, 13)]));
    assert!(wrong.expect(1, &["check", "--live"]).contains("did you mean `leads`?"));
}

#[test]
fn salesforce_tells_choices_and_what_is_missing() {
    let system = Salesforce { has_key_field: true };
    let action = "    type: create_record\n    entity: Lead\n    fields:\n      lastname: Doe\n      \
        Rating: \"{{parameters.rating}}\"\n      AnnualRevenue: \"1\"\n";
    let workspace = workspace(&system, true, action);
    let expected = expected(&[("missing_field", 8, 5), ("unknown_choice", 10, 15), ("wrong_field_type", 11, 22)]);
    assert_eq!(found(&workspace, 1), expected);
    assert!(workspace.expect(1, &["check", "--live"]).contains("there are: Hot, Warm, Cold"));
}

#[test]
fn a_refused_login_is_one_finding_at_the_connection() {
    let action = |entity: &str| format!("    type: create_record\n    entity: {entity}\n    fields: {{ a: b }}\n");
    let systems: [(&dyn Destination, &str); 3] =
        [(&Dataverse, "leads"), (&Salesforce { has_key_field: false }, "Lead"), (&AzureTable, "leads")];
    for (system, entity) in systems {
        let workspace = workspace(system, false, &action(entity));
        let findings: Value = workspace.json_of(1, &["check", "--live", "--format", "json"]);
        let errors: Vec<&Value> =
            findings.as_array().expect("findings").iter().filter(|finding| finding["severity"] == "error").collect();
        let [finding] = errors.as_slice() else { panic!("{findings:#}") };
        assert_eq!((&finding["code"], &finding["path"]), (&json!("login_failed"), &json!("connections.crm")));
        assert!(finding["line"] == 2 && finding["file"].as_str().is_some_and(|file| file.ends_with("leadflow.yaml")));
        let message = finding["message"].as_str().expect("a message");
        assert!(!message.contains("wrong-token") && !message.contains("d3Jvbmc"), "{message}");
    }
}

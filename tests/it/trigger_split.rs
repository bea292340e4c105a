//! `split_on`: one request, one run for each item of its list, all stored together or none.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Workspace, wire};

const FLOW: &str = r#"
name: batch
trigger:
  type: request
  split_on: "{{trigger.body.leads}}"
  conditions: "{{ne trigger.body.Code 'DNC'}}"
  dedupe: { key: ["{{trigger.body.Email}}"] }
actions:
  - name: keep
    type: create_record
    connection: crm
    entity: leads
    fields: { email: "{{trigger.body.Email}}", from: "{{trigger.query.from}}", beside: "{{trigger.body.beside}}" }
"#;

fn workspace(flow: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/batch.yaml", flow);
    workspace
}

/// What became of each run, by id.
fn statuses(workspace: &Workspace) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    workspace.until_ended().iter().map(|run| (text(&run["run_id"]), text(&run["status"]))).collect()
}

fn records(workspace: &Workspace) -> Vec<Value> {
    let listed = workspace.json(&["records", "list", "--json", "--limit", "100000"]);
    listed.as_array().expect("a list").iter().map(|record| record["fields"].clone()).collect()
}

#[test]
fn each_item_is_a_run_of_its_own() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let url = format!("{}&from=partner", server.url("batch"));
    let body = json!({"beside": "lost", "leads": [
        {"Email": "a@b.c"}, {"Email": "d@e.f", "Code": "DNC"}, {"Email": "a@b.c"}, {"Email": "g@h.i"}, {"Email": ""}, {},
    ]});
    let answer = wire::post(&url, &body.to_string()).expect("an answer");
    assert_eq!(answer.status, 202);
    let told = answer.json();
    let ids: Vec<&str> = told["run_ids"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    assert_eq!((&told["status"], &told["runs"], ids.len()), (&json!("accepted"), &json!(6), 6));
    assert_eq!((&told["skipped"], &told["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!((told["run_id"].as_str(), answer.headers["x-leadflow-run-id"].as_str()), (Some(ids[0]), ids[0]));

    let statuses = statuses(&workspace);
    let of: Vec<&str> = ids.iter().map(|id| statuses[*id].as_str()).collect();
    // The last two have nothing that makes a record: they fail, and blank leads do not swallow each other.
    assert_eq!(of[..4], ["succeeded", "skipped", "duplicate", "succeeded"]);
    let mut kept = records(&workspace);
    kept.sort_by_key(|fields| fields["email"].to_string());
    let record = |email: &str| json!({"email": email, "from": "partner"});
    assert_eq!(
        kept.iter().filter(|fields| fields["email"] != "").collect::<Vec<_>>()[..2],
        [&record("a@b.c"), &record("g@h.i")]
    );
    let third = workspace.show(ids[2]);
    assert_eq!((&third["duplicate_of"], &third["trigger"]["item"]), (&json!(ids[0]), &json!(2)));
    assert_eq!(third["trigger"]["body"], json!({"Email": "a@b.c"}));
}

#[test]
fn a_single_item_is_answered_like_a_single_lead() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let post = |body: &str| wire::post(server.url("batch"), body).expect("an answer");
    let first = post(r#"{"leads": [{"Email": "a@b.c"}]}"#);
    let run_id = first.json()["run_id"].clone();
    assert_eq!((first.status, first.json()), (202, json!({"run_id": run_id, "status": "accepted"})));
    assert_eq!(post(r#"{"leads": [{"Email": "a@b.c"}]}"#).json()["duplicate_of"], run_id);
    let skipped = post(r#"{"leads": [{"Code": "DNC"}]}"#);
    assert_eq!((skipped.status, &skipped.json()["status"]), (200, &json!("skipped")));
    let skipped = post(r#"{"leads": [{"Code": "DNC"}, {"Code": "DNC"}]}"#);
    assert_eq!(
        (skipped.status, &skipped.json()["status"], &skipped.json()["runs"]),
        (200, &json!("skipped"), &json!(2))
    );
}

#[test]
fn without_items_nothing_runs_and_it_is_kept() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    for body in [r#"{"leads": []}"#, r#"{"leads": null}"#, "{}"] {
        let answer = wire::post(server.url("batch"), body).expect("an answer");
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("skipped")), "{body}");
        let run = workspace.show("last");
        assert_eq!((&run["status"], &run["code"]), (&json!("skipped"), &json!("no_items")));
    }
    let again = workspace.run(&["runs", "resubmit", "last"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("no items"), "{again:?}");
    assert_eq!(workspace.runs().len(), 3);
}

#[test]
fn what_is_no_list_is_refused_and_can_be_sent_again_when_the_flow_is_mended() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let body = r#"{"leads": {"all": [{"Email": "a@b.c"}, {"Email": "d@e.f"}, {"Code": "DNC"}]}}"#;
    let answer = wire::post(server.url("batch"), body).expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("split_not_a_list")));
    assert!(!answer.json().to_string().contains("a@b.c"));
    assert!(workspace.runs().is_empty());
    workspace.write("flows/batch.yaml", &FLOW.replace("body.leads", "body.leads.all"));
    let made = workspace.expect(0, &["runs", "rejected", "resubmit", "last"]);
    assert!(made.contains("3 runs made of"), "{made}");
    let statuses = statuses(&workspace);
    let count = |wanted: &str| statuses.values().filter(|status| *status == wanted).count();
    assert_eq!((count("succeeded"), count("skipped")), (2, 1));
    assert_eq!(records(&workspace).len(), 2);
}

const SCHEMA: &str = r"  schema:
    type: object
    required: [Leads]
    properties:
      Leads: { type: array, items: { type: object, properties: { Mail: { type: string } } } }
";

#[test]
fn the_schema_is_of_the_whole_body_and_folds_each_item_again() {
    let flow = |mail: &str| {
        let schema = SCHEMA.replace("Mail", mail);
        format!(
            "name: batch\ntrigger:\n  type: request\n{schema}  split_on: \"{{{{trigger.body.Leads}}}}\"\nactions:\n  \
             - {{ name: keep, type: compose, inputs: \"{{{{trigger.body}}}}\" }}\n"
        )
    };
    let workspace = workspace(&flow("Mail"));
    let server = workspace.serve();
    let refused = wire::post(server.url("batch"), r#"{"leads": [{"mail": "a"}, {"mail": 7}]}"#).expect("an answer");
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (400, &json!("/Leads/1/Mail")));
    assert_eq!(
        wire::post(server.url("batch"), r#"{"leads": [{"mail": "a", "x": null}]}"#).expect("an answer").status,
        202
    );
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!(run["trigger"]["body"], json!({"mail": "a", "x": null}), "kept as it came");
    assert_eq!(run["actions"][0]["outputs"], json!({"Mail": "a", "x": null}), "seen as the schema spells it");
    // The item alone is repeated, on the schema as it is now.
    workspace.write("flows/batch.yaml", &flow("MAIL"));
    workspace.expect(0, &["runs", "resubmit", "last"]);
    workspace.until_ended();
    let again = workspace.show("last");
    assert_eq!(again["actions"][0]["outputs"], json!({"MAIL": "a", "x": null}));
    assert_eq!((&again["origin_run"], workspace.runs().len()), (&run["run_id"], 2));
}

#[test]
fn all_are_stored_or_none() {
    let flow = "name: batch\ntrigger:\n  type: request\n  split_on: \"{{trigger.body}}\"\n  \
                concurrency: { runs: 1, waiting: 5 }\nactions:\n  - { name: wait, type: delay, for: 1h }\n";
    let workspace = workspace(flow);
    let server = workspace.serve();
    let list = |count: usize| Value::from(vec![1; count]).to_string();
    let refused = wire::post(server.url("batch"), &list(7)).expect("an answer");
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too_many_waiting")));
    assert!(workspace.runs().is_empty());
    assert_eq!(wire::post(server.url("batch"), &list(6)).expect("an answer").status, 202);
    assert_eq!(wire::post(server.url("batch"), &list(1)).expect("an answer").status, 429);
    assert_eq!(workspace.runs().len(), 6);
}

/// More than an answer lists.
const COUNT: usize = 3_000;

#[test]
fn many_items_survive_a_kill() {
    let flow = "name: batch\ntrigger: { type: request, split_on: \"{{trigger.body}}\" }\nactions:\n  \
                - { name: keep, type: create_record, connection: crm, entity: n, fields: { n: \"{{trigger.body}}\" } }\n";
    let workspace = workspace(flow);
    let server = workspace.serve();
    let answer =
        wire::post(server.url("batch"), &json!((0..COUNT).collect::<Vec<_>>()).to_string()).expect("an answer");
    server.kill();
    assert_eq!((answer.status, &answer.json()["runs"]), (202, &json!(COUNT)));
    assert_eq!(answer.json()["run_ids"].as_array().expect("ids").len(), 1_000, "the first ones are named");
    let _server = workspace.serve();
    assert!(statuses(&workspace).values().all(|status| status == "succeeded"));
    let mut numbers: Vec<u64> = records(&workspace).iter().filter_map(|fields| fields["n"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT as u64).collect::<Vec<_>>());
}

#[test]
fn a_dry_run_shows_the_first_item() {
    let workspace = workspace(FLOW);
    let lead = workspace.write("lead.json", r#"{"leads": [{"Email": "a@b.c", "Phone": "1"}, {"Email": "d@e.f"}]}"#);
    let lead = lead.to_str().expect("UTF-8");
    let dry = workspace.json(&["dry-run", "batch", "--lead", lead, "--json"]);
    assert_eq!((&dry["trigger"]["items"], &dry["trigger"]["body"]["Email"]), (&json!(2), &json!("a@b.c")));
    assert_eq!((&dry["run"]["status"], dry["effects"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)));
    let shown = workspace.expect(0, &["dry-run", "batch", "--lead", lead]);
    assert!(shown.contains("split_on: 2 runs; this is the first one") && shown.contains("not used: Phone"), "{shown}");
    workspace.write("lead.json", r#"{"leads": "x"}"#);
    assert!(workspace.expect(1, &["dry-run", "batch", "--lead", lead]).contains("split_not_a_list"));
    workspace.write("lead.json", r#"{"leads": []}"#);
    assert!(workspace.expect(0, &["dry-run", "batch", "--lead", lead]).contains("split_on gives no items"));
}

#[test]
fn an_action_of_one_item_is_repeated_alone() {
    let flow = "name: batch\ntrigger: { type: request, split_on: \"{{trigger.body}}\" }\nactions:\n  \
                - { name: first, type: create_record, connection: crm, entity: n, fields: { n: \"{{trigger.body.n}}\" } }\n  \
                - { name: second, type: compose, inputs: \"{{int trigger.body.n}}\" }\n";
    let workspace = workspace(flow);
    let server = workspace.serve();
    wire::post(server.url("batch"), r#"[{"n": "1"}, {"n": "x"}]"#).expect("an answer");
    let failed = statuses(&workspace).into_iter().find(|(_, status)| status == "failed").expect("the second one").0;
    workspace.write("flows/batch.yaml", &flow.replace("int trigger", "string trigger"));
    workspace.expect(0, &["runs", "resubmit", &failed, "--from", "second"]);
    assert_eq!(statuses(&workspace).len(), 3);
    let again = workspace.show("last");
    assert_eq!((&again["status"], &again["actions"][1]["outputs"]), (&json!("succeeded"), &json!("x")));
    assert_eq!(records(&workspace).len(), 2, "the record was made once");
    workspace.write("flows/batch.yaml", &flow.replace(", split_on: \"{{trigger.body}}\"", ""));
    let refused = workspace.run(&["runs", "resubmit", &failed, "--from", "second"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("resubmit_shape_changed"), "{refused:?}");
}

/// A call waits for one run.
#[test]
fn a_flow_that_splits_cannot_be_called() {
    let workspace = workspace(FLOW);
    workspace.write(
        "flows/caller.yaml",
        "name: caller\ntrigger: { type: request }\nactions:\n  \
         - { name: call, type: run_flow, flow: batch, body: { leads: [{ Email: a@b.c }] } }\n",
    );
    let told = workspace.expect(1, &["check"]);
    assert!(told.contains("error[call_splits] flows/caller.yaml:4:"), "{told}");
}

//! Data actions, variables and secure values through the real program: a dry run tells what a real run does, and nobody
//! who reads a run sees what is secure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{Workspace, files, wire};

const FLOW: &str = r#"
name: data
variables: { count: 0, total: 0.5, log: "", names: [], last: null }
trigger: { type: request }
actions:
  - { name: parsed, type: parse_json, content: "{{trigger.body.Details}}", schema: details.json }
  - { name: people, type: select, from: "{{trigger.body.People}}", map: { n: "{{item_index}}", name: "{{toUpper item.Name}}", seats: "{{item.seats}}" } }
  - { name: many, type: filter, from: "{{actions.people.outputs}}", where: "{{greater item.seats actions.parsed.outputs.least}}" }
  - { name: fixed, type: select, from: [1, 2], map: same }
  - { name: csv, type: csv_table, from: "{{actions.people.outputs}}", columns: [name, { header: "Seats, all", value: "{{add item.seats 1}}" }] }
  - { name: csv_all, type: csv_table, from: "{{trigger.body.People}}" }
  - { name: csv_none, type: csv_table, from: "{{trigger.body.Nobody}}", columns: [a, b] }
  - { name: table, type: html_table, from: "{{trigger.body.People}}", columns: [Name] }
  - name: each
    type: for_each
    items: "{{actions.people.outputs}}"
    actions:
      - { name: count, type: increment_variable, variable: Count }
      - { name: sum, type: increment_variable, variable: total, value: "{{item.seats}}" }
      - { name: note, type: append_variable, variable: log, value: "{{item.name}};" }
      - { name: keep_name, type: append_variable, variable: names, value: { name: "{{item.name}}", number: "{{variables.count}}" } }
      - { name: last, type: set_variable, variable: last, value: "{{item}}" }
  - { name: seen, type: compose, inputs: "{{variables}}" }
  - { name: mail, type: send_email, connection: mail, to: sales@contoso.com, subject: x, html: "<p>{{variables.log}}</p>{{actions.table.outputs}}" }
"#;

const LEAD: &str = r#"{"Details": "{\"least\": 2}", "People": [
    {"Name": "Ada <b>", "seats": 3}, {"name": "=Bob", "seats": 1}, {"Name": "Cy, \"x\"", "seats": 5}]}"#;

fn workspace(flow: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/data.yaml", flow);
    let schema = r#"{"type": "object", "required": ["least"], "properties": {"least": {"type": "integer"}}}"#;
    workspace.write("schemas/details.json", schema);
    workspace.write("lead.json", LEAD);
    workspace
}

/// What each action of a run, or of a dry run, gave: by its name and the iteration that it stands in.
fn outcomes(run: &Value) -> BTreeMap<String, (Value, Value, Value)> {
    let actions = run["actions"].as_array().expect("actions").iter();
    let key = |action: &Value| format!("{}{}", action["name"].as_str().expect("a name"), action["index"]);
    actions
        .map(|one| (key(one), (one["status"].clone(), one["outputs"].clone(), one["error"]["code"].clone())))
        .collect()
}

#[test]
fn a_dry_run_gives_what_a_real_run_gives() {
    let workspace = workspace(FLOW);
    let dry = workspace.json(&["dry-run", "data", "--lead", "lead.json", "--json"]);
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("data"), LEAD).expect("an answer").status, 202);
    workspace.until_ended();
    let run = workspace.show("last");
    let (mut real, mut told) = (outcomes(&run), outcomes(&dry));
    let output = |name: &str| told[&format!("{name}null")].1.clone();
    assert_eq!(output("people")[1], json!({"n": 1, "name": "=BOB", "seats": 1}));
    assert_eq!(output("many").as_array().map(Vec::len), Some(2));
    assert_eq!(output("fixed"), json!(["same", "same"]));
    assert_eq!(output("csv"), "name,\"Seats, all\"\r\nADA <B>,4\r\n'=BOB,2\r\n\"CY, \"\"X\"\"\",6\r\n");
    assert_eq!(
        output("csv_all"),
        "Name,seats,name\r\nAda <b>,3,Ada <b>\r\n=Bob,1,=Bob\r\n\"Cy, \"\"x\"\"\",5,\"Cy, \"\"x\"\"\"\r\n"
            .replace("=Bob", "'=Bob")
    );
    assert_eq!(output("csv_none"), "a,b\r\n");
    let variables = json!({"count": 3, "total": 9.5, "log": "ADA <B>;=BOB;CY, \"X\";", "last": {"n": 2, "name": "CY, \"X\"", "seats": 5},
        "names": [{"name": "ADA <B>", "number": 1}, {"name": "=BOB", "number": 2}, {"name": "CY, \"X\"", "number": 3}]});
    assert_eq!(output("seen"), variables);
    assert_eq!(dry["variables"], variables);
    let html =
        dry["effects"].as_array().and_then(|all| all.last()).map(|mail| mail["html"].clone()).unwrap_or_default();
    let html = html.as_str().expect("html");
    assert!(html.contains("<td>Ada &lt;b&gt;</td>") && html.starts_with("<p>ADA &lt;B&gt;;"), "{html}");
    // A Message-ID is of its run.
    for outcomes in [&mut real, &mut told] {
        outcomes.remove("mailnull").expect("the mail");
    }
    assert_eq!(real, told);
    assert_eq!(run["status"], "succeeded");
    let people = &run["actions"][1];
    assert_eq!(people["inputs"]["map"]["name"], "{{toUpper item.Name}}", "the history shows what is written");
    assert!(people["inputs"].get("per_item").is_none(), "{people}");
}

#[test]
fn what_fails_fails_with_its_code_in_both() {
    let cases = [
        ("- { name: a, type: parse_json, content: '{{trigger.body.Text}}', schema: details.json }", "invalid_json"),
        ("- { name: a, type: parse_json, content: { least: x }, schema: details.json }", "schema_mismatch"),
        ("- { name: a, type: select, from: '{{trigger.body.Text}}', map: 1 }", "not_a_list"),
        ("- { name: a, type: filter, from: [1], where: '{{item}}' }", "not_a_boolean"),
        ("- { name: a, type: csv_table, from: [1] }", "wrong_type"),
        ("- { name: a, type: set_variable, variable: number, value: '{{trigger.body.Text}}' }", "variable_type"),
        (
            "- { name: a, type: increment_variable, variable: number, value: '{{trigger.body.Big}}' }",
            "variable_overflow",
        ),
        ("- { name: a, type: append_variable, variable: long, value: '{{trigger.body.Text}}' }", "variable_too_large"),
        ("- { name: a, type: select, from: [1, 2, 3, 4], map: 1 }", "too_many_items"),
    ];
    for (action, code) in cases {
        let flow = format!(
            "name: data\nvariables: {{ number: 1, long: '{}' }}\ntrigger: {{ type: request }}\nactions:\n  {action}\n",
            "x".repeat(1000)
        );
        let workspace = workspace(&flow);
        workspace.write("leadflow.yaml", "limits: { outputs: 1KiB, iterations: 3 }\n");
        let lead = json!({ "Text": "Ada Lovelace ".repeat(10), "Big": i64::MAX }).to_string();
        workspace.write("lead.json", &lead);
        let dry = workspace.run(&["dry-run", "data", "--lead", "lead.json", "--json"]);
        let dry: Value = serde_json::from_slice(&dry.stdout).unwrap_or_else(|_| panic!("{action}: {dry:?}"));
        let server = workspace.serve();
        wire::post(server.url("data"), &lead).expect("an answer");
        workspace.until_ended();
        let run = workspace.show("last");
        assert_eq!(run["actions"][0]["error"]["code"], code, "{action}: {run:#}");
        assert_eq!(run["actions"][0]["error"], dry["actions"][0]["error"], "{action}");
        assert!(!run["actions"][0]["error"].to_string().contains("Lovelace"), "{action}: no error repeats a lead");
    }
}

const SECRET: &str = "S3CRET-7f2c";

const SECURE: &str = r#"
name: secure
variables: { token: "", open: "" }
trigger: { type: request }
actions:
  - { name: login, type: http, connection: api, method: POST, url: /login, secure: [outputs] }
  - { name: token, type: compose, inputs: "{{actions.login.outputs.body.token}}" }
  - { name: keep, type: set_variable, variable: token, value: "{{actions.token.outputs}}" }
  - { name: fine, type: set_variable, variable: open, value: seen }
  - { name: rows, type: select, from: [1, 2], map: "{{variables.token}} {{item}}" }
  - name: each
    type: for_each
    items: "{{actions.rows.outputs}}"
    actions:
      - { name: one, type: compose, inputs: "{{item}}" }
  - { name: call, type: http, connection: api, method: POST, url: /leads, body: { token: "{{variables.token}}", rows: "{{actions.each.outputs}}" } }
  - { name: after, type: compose, inputs: "{{actions.call.outputs.body.ok}}" }
"#;

/// The other side: a login with a token, and whatever `lead` says to the rest.
fn api(status: u16) -> FakeHttp {
    let long: &'static str =
        Box::leak(format!("{{\"token\":\"{SECRET}\",\"pad\":\"{}\"}}", "x".repeat(4000)).into_boxed_str());
    FakeHttp::start(
        move |_, request| {
            if request.body.is_empty() { Act::Answer(200, long) } else { Act::Answer(status, "{\"ok\":true}") }
        },
    )
}

fn secure_workspace(api: &FakeHttp) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/secure.yaml", SECURE);
    workspace.write("lead.json", "{}");
    workspace.write("leadflow.yaml", &format!("connections:\n  api: {{ type: http, base_url: '{}' }}\n", api.url()));
    workspace
}

/// How many rows of the store hold the secret.
fn rows_with_secret(workspace: &Workspace) -> i64 {
    let store = rusqlite::Connection::open(workspace.path().join("leadflow-data/leadflow.db")).expect("the store");
    let query = "SELECT (SELECT count(*) FROM steps WHERE instr(io, ?1)) + (SELECT count(*) FROM payloads WHERE instr(bytes, ?1)) \
                 + (SELECT count(*) FROM runs WHERE instr(coalesce(answer, ''), ?1))";
    store.query_row(query, [SECRET], |row| row.get(0)).expect("a count")
}

#[test]
fn nobody_sees_what_is_secure() {
    let api = api(200);
    let workspace = secure_workspace(&api);
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("secure"), "{}").expect("an answer").status, 202);
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let sent = api.requests();
    assert_eq!(
        sent[1].json()["rows"],
        json!([format!("{SECRET} 1"), format!("{SECRET} 2")]),
        "it was used all the same"
    );
    let texts = [run.to_string(), workspace.expect(0, &["runs", "show", "last"])];
    assert!(texts.iter().all(|text| !text.contains(SECRET) && text.contains("***")), "{texts:?}");
    let action =
        |name: &str| run["actions"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).expect(name);
    assert_eq!(action("call")["inputs"], "***");
    assert_eq!(action("call")["outputs"]["body"], json!({"ok": true}), "what came back was not marked");
    assert_eq!(action("after")["outputs"], true);
    assert_eq!(action("fine")["inputs"]["value"], "seen");
    assert_eq!(action("login")["status"], "succeeded");
    drop(server);
    assert_eq!(rows_with_secret(&workspace), 0, "the store forgets it with the end of the run");
    assert!(files(workspace.path(), "eml").is_empty());
}

#[test]
fn a_dry_run_hides_it_too() {
    let api = api(200);
    let workspace = secure_workspace(&api);
    let mocks = json!({"login": {"outputs": {"body": {"token": SECRET}}}}).to_string();
    workspace.write("mocks.json", &mocks);
    let arguments = ["dry-run", "secure", "--lead", "lead.json", "--mocks", "mocks.json"];
    let text = workspace.expect(0, &arguments);
    assert!(!text.contains(SECRET) && text.contains("***"), "{text}");
    let dry = workspace.json(&[&arguments[..], &["--json"]].concat());
    assert!(!dry.to_string().contains(SECRET), "{dry:#}");
    assert_eq!(dry["variables"], json!({"token": "***", "open": "seen"}));
    let effect = &dry["effects"][0];
    assert_eq!(
        (&effect["action"], &effect["method"], &effect["url"], &effect["body"]),
        (&json!("call"), &json!("POST"), &json!("***"), &json!("***"))
    );
}

#[test]
fn a_failed_run_is_not_repeated_from_the_middle_without_its_secret() {
    let api = api(400);
    let workspace = secure_workspace(&api);
    let server = workspace.serve();
    wire::post(server.url("secure"), "{}").expect("an answer");
    workspace.until_ended();
    assert_eq!(workspace.show("last")["status"], "failed");
    let refused = workspace.run(&["runs", "resubmit", "last", "--from", "call"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("`login`") && told.contains("secure"), "{told}");
    workspace.expect(0, &["runs", "resubmit", "last", "--from", "login"]);
    workspace.until_ended();
    assert_eq!(api.requests().iter().filter(|request| request.body.is_empty()).count(), 2);
}

#[test]
fn a_resubmit_from_an_action_has_the_variables_that_were_copied() {
    let api = FakeHttp::start(|number, _| Act::Answer(if number == 0 { 400 } else { 200 }, "{}"));
    let workspace = Workspace::empty();
    workspace.write(
        "flows/data.yaml",
        r#"
name: data
variables: { log: "" }
trigger: { type: request }
actions:
  - { name: first, type: append_variable, variable: log, value: a }
  - { name: second, type: append_variable, variable: log, value: b }
  - { name: tell, type: http, connection: api, method: POST, url: /x, body: { log: "{{variables.log}}" } }
  - { name: third, type: append_variable, variable: log, value: c }
  - { name: seen, type: compose, inputs: "{{variables.log}}" }
"#,
    );
    workspace.write("leadflow.yaml", &format!("connections:\n  api: {{ type: http, base_url: '{}' }}\n", api.url()));
    let server = workspace.serve();
    wire::post(server.url("data"), "{}").expect("an answer");
    workspace.until_ended();
    workspace.expect(0, &["runs", "resubmit", "last", "--from", "tell"]);
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(run["actions"][4]["outputs"], "abc");
    assert_eq!(api.requests()[1].json(), json!({"log": "ab"}));
}

#[test]
fn a_secure_answer_reaches_the_caller_and_nobody_else() {
    let api = api(200);
    let workspace = secure_workspace(&api);
    let flow = SECURE.replace("secure\nvariables", "answers\nvariables")
        + "  - { name: answer, type: respond, status: 200, body: { token: \"{{variables.token}}\" } }\n";
    workspace.write("flows/answers.yaml", &flow);
    let server = workspace.serve();
    let answer = wire::post(server.url("answers"), "{}").expect("an answer");
    assert!(answer.status == 200 && String::from_utf8_lossy(&answer.body).contains(SECRET), "{answer:?}");
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!((&run["answer"]["status"], &run["answer"]["body"]), (&json!(200), &json!("***")), "{run:#}");
    assert!(!run.to_string().contains(SECRET));
    drop(server);
    assert_eq!(rows_with_secret(&workspace), 0);
}

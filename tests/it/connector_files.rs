//! The user's connector files with the real binary: checked, used, changed and broken while a server runs.

use std::fs;

use serde_json::json;

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::live::EVENTS_ONLY;
use crate::support::{Server, Workspace, until, wire};

const FLOW: &str = "\
name: tell
trigger: { type: request, authentication: none }
actions:
  - name: keep
    type: create_record
    connection: crm
    entity: leads
    retry: { policy: fixed, count: 50, interval: 100ms }
    fields: { email: \"{{trigger.body.email}}\" }
";

fn connector(path: &str) -> String {
    format!(
        "\
summary: the CRM of a test
settings:
  url: {{ type: url, required: true, description: Its address. }}
base_url: \"{{{{settings.url}}}}\"
operations:
  create:
    repeat: recognised
    path: {path}
    headers: {{ X-Key: \"{{{{operation.key}}}}\" }}
    body: {{ data: \"{{{{record}}}}\" }}
    id: \"{{{{answer.body.id}}}}\"
answers:
  - {{ status: 409, means: duplicate, id: \"{{{{answer.body.id}}}}\", ours: true }}
tests:
  - name: it goes there
    settings: {{ url: http://a.example }}
    operation: create_record
    entity: leads
    calls:
      - request: {{ url: \"http://a.example{path}\" }}
        answer: {{ status: 201, body: {{ id: 1 }} }}
    outputs: {{ id: \"1\" }}
"
    )
}

fn workspace(api: &FakeHttp) -> Workspace {
    let workspace = Workspace::empty();
    let connections = format!("connections:\n  crm: {{ type: contoso, url: '{}' }}\n", api.url());
    workspace.write("leadflow.yaml", &format!("{EVENTS_ONLY}{connections}"));
    workspace.write("flows/tell.yaml", FLOW);
    workspace
}

fn post(server: &Server) {
    let answer = wire::post(server.url("tell"), "{\"email\":\"a@b.example\"}").expect("an answer");
    assert_eq!(answer.status, 202);
}

#[test]
fn check_tells_of_connector_files_with_places_and_runs_their_tests() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", "connections:\n  crm: { type: contoso, url: 'http://a.example' }\n");
    workspace.write("flows/tell.yaml", FLOW);
    workspace.write("connectors/contoso.yaml", &connector("/leads"));
    workspace.expect(0, &["check"]);
    workspace.write(
        "connectors/contoso.yaml",
        &connector("/leads").replace("outputs: { id: \"1\" }", "outputs: { id: \"2\" }"),
    );
    let told = workspace.json_of(1, &["check", "--format", "json"]);
    assert_eq!((&told[0]["code"], &told[0]["file"]), (&json!("connector_test"), &json!("connectors/contoso.yaml")));
    assert_eq!(told[0]["line"], 22, "{told:#}");
    workspace.write("connectors/contoso.yaml", &connector("/leads").replace("summary", "sumary"));
    workspace.write("connectors/smtp.yaml", &connector("/leads"));
    let told = workspace.json_of(1, &["check", "--format", "json"]);
    let all = told.as_array().expect("a list").iter();
    let codes: Vec<_> = all.filter(|one| one["severity"] == "error").map(|one| one["code"].clone()).collect();
    assert_eq!(codes, ["unknown_key", "connector_clash"], "{told:#}");
    // One file alone.
    let told = workspace.json_of(1, &["check", "connectors/smtp.yaml", "--format", "json"]);
    assert_eq!(told.as_array().expect("a list").len(), 1, "{told:#}");
}

#[test]
fn a_change_is_taken_while_the_server_runs_and_a_broken_file_keeps_the_old_one() {
    let api = FakeHttp::start(|_, _| Act::Answer(201, "{\"id\": 7}"));
    let workspace = workspace(&api);
    workspace.write("connectors/contoso.yaml", &connector("/one"));
    let server = workspace.serve();
    let sent = |count: usize| until("the lead arrives", || api.requests().len() >= count);
    post(&server);
    sent(1);
    assert_eq!(api.requests()[0].json(), json!({"data": {"email": "a@b.example"}}));
    workspace.write("connectors/contoso.yaml", &connector("/two").replace("data:", "lead:"));
    assert_eq!(server.reload(), (true, Vec::new()));
    post(&server);
    sent(2);
    assert_eq!(api.requests()[1].json(), json!({"lead": {"email": "a@b.example"}}));
    workspace.write("connectors/contoso.yaml", &connector("/three").replace("path:", "pth:"));
    let (is_live, codes) = server.reload();
    assert!(!is_live && codes.contains(&"unknown_key".to_owned()), "{codes:?}");
    post(&server);
    sent(3);
    assert_eq!(api.requests()[2].json(), json!({"lead": {"email": "a@b.example"}}), "as it was");
    // A file that is new, and a clash: what is there goes on.
    workspace.write("connectors/contoso.yaml", &connector("/two"));
    workspace.write("connectors/other.yaml", &format!("name: contoso\n{}", connector("/x")));
    let (is_live, codes) = server.reload();
    assert_eq!((is_live, codes), (false, vec!["connector_clash".to_owned()]));
    fs::remove_file(workspace.path().join("connectors/other.yaml")).expect("remove");
    assert_eq!(server.reload(), (true, Vec::new()));
    let runs = workspace.until_ended();
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
}

#[test]
fn a_file_that_never_was_good_keeps_its_leads_waiting_and_nobody_else() {
    let api = FakeHttp::start(|_, _| Act::Answer(201, "{\"id\": 7}"));
    let workspace = workspace(&api);
    workspace.write("connectors/contoso.yaml", "summary: [");
    let server = workspace.serve();
    post(&server);
    let waits =
        || workspace.runs().first().map(|run| workspace.show(run["run_id"].as_str().expect("an id")).to_string());
    until("the run says what it waits for", || waits().is_some_and(|run| run.contains("connector_broken")));
    assert_eq!(api.requests().len(), 0);
    workspace.write("connectors/contoso.yaml", &connector("/one"));
    assert_eq!(server.reload(), (true, Vec::new()));
    let runs = workspace.until_ended();
    assert_eq!((runs[0]["status"].clone(), api.requests().len()), (json!("succeeded"), 1));
}

/// The answer is lost after the other side has acted; the next try is recognised: one record, and no flag.
#[test]
fn an_answer_that_is_lost_is_recognised_on_the_repeat() {
    let api = FakeHttp::start(|number, _| match number {
        0 => Act::Hang,
        _ => Act::Answer(409, "{\"id\": 7}"),
    });
    let workspace = workspace(&api);
    workspace.write("connectors/contoso.yaml", &connector("/one"));
    let server = workspace.serve();
    post(&server);
    let runs = workspace.until_ended();
    let run = workspace.show(runs[0]["run_id"].as_str().expect("an id"));
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let keys: Vec<_> = api.requests().iter().map(|one| one.header("x-key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1], "the same key");
    let outputs = &run["actions"][0]["outputs"];
    assert_eq!((&outputs["id"], &outputs["outcome"]), (&json!("7"), &json!("created")), "{run:#}");
}

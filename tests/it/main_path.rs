//! The main job as a newcomer lives it: clone, serve, post the published lead, see a record and a mail.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::{PATIENCE, Workspace, files, sample, wire};

fn action<'a>(run: &'a Value, name: &str) -> &'a Value {
    let actions = run["actions"].as_array().expect("actions");
    actions.iter().find(|action| action["name"] == name).unwrap_or_else(|| panic!("no action {name}: {run:#}"))
}

fn until_status(workspace: &Workspace, status: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = workspace.runs();
        if let Some(run) = runs.iter().find(|run| run["status"] == status) {
            return workspace.show(run["run_id"].as_str().expect("an id"));
        }
        assert!(Instant::now() < deadline, "no run is {status}: {runs:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stranger_posts_the_published_lead_and_sees_a_record_and_a_mail() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    for flow in files(&workspace.path().join("flows"), "yaml") {
        let name = flow.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(server.url(&name).contains("sig="), "{}", server.announced);
    }
    assert!(server.announced.contains("curl -sS --json @examples/lead.json"), "{}", server.announced);
    assert!(server.announced.contains("NOT SENT"), "{}", server.announced);

    let answer = wire::post(server.url("contoso-backup"), &sample()).expect("an answer");
    assert_eq!(answer.status, 202);
    let run_id = answer.json()["run_id"].as_str().expect("a run id").to_owned();
    assert_eq!(answer.headers["x-leadflow-run-id"], run_id);
    assert_eq!(answer.json()["status"], "accepted");

    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!((&run["run_id"], &run["status"]), (&json!(run_id), &json!("succeeded")), "{run:#}");
    assert_eq!(action(&run, "create_lead")["outputs"]["outcome"], "created");
    let records = workspace.json(&["records", "list", "--json"]);
    assert_eq!(records[0]["fields"]["lastname"], "One");
    assert_eq!(records[0]["fields"]["leadsourcecode"], 8);
    assert_eq!(records[0]["run_id"], json!(run_id));
    assert_eq!(records[0]["id"], action(&run, "create_lead")["outputs"]["id"]);
    let mails = files(&workspace.path().join("leadflow-data/outbox"), "eml");
    let mail = fs::read_to_string(&mails[0]).expect("a mail");
    assert!(mail.contains("To: sales@contoso.com") && mail.contains("someone@contoso.com"), "{mail}");
    let text = workspace.expect(0, &["runs", "show", "last"]);
    assert!(text.contains("create_lead") && text.contains("notify_sales"), "{text}");
}

#[test]
fn send_posts_the_sample_and_shows_the_run() {
    let workspace = Workspace::cloned();
    let _server = workspace.serve();
    let text = workspace.expect(0, &["send", "contoso-backup", "--wait"]);
    assert!(text.contains("202") && text.contains("succeeded"), "{text}");
}

/// The sample with its keys spelled by `spell`.
fn spelled(value: &Value, spell: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (spell(key), spelled(value, spell))).collect())
        }
        other => other.clone(),
    }
}

fn camel(key: &str) -> String {
    let mut letters = key.chars();
    letters.next().map(|first| first.to_lowercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

/// Effects without what must differ from run to run.
fn effects(workspace: &Workspace, lead: &Value) -> Value {
    workspace.write("lead.json", &lead.to_string());
    let dry = workspace.json(&["dry-run", "contoso-backup", "--lead", "lead.json", "--json"]);
    assert_eq!(dry["run"]["status"], "succeeded", "{dry:#}");
    let mut effects = dry["effects"].clone();
    for effect in effects.as_array_mut().expect("effects") {
        let effect = effect.as_object_mut().expect("an effect");
        effect.remove("id");
        effect.remove("message_id");
    }
    effects
}

#[test]
fn every_spelling_of_the_keys_gives_the_same_record_and_the_same_mail() {
    let workspace = Workspace::cloned();
    let lead: Value = serde_json::from_str(&sample()).expect("JSON");
    let pascal = effects(&workspace, &lead);
    assert_eq!(pascal.as_array().expect("effects").len(), 2);
    let mixed = |key: &str| if key.len().is_multiple_of(2) { key.to_uppercase() } else { camel(key) };
    for (name, spell) in
        [("camel", &camel as &dyn Fn(&str) -> String), ("lower", &str::to_lowercase), ("mixed", &mixed)]
    {
        assert_eq!(effects(&workspace, &spelled(&lead, spell)), pascal, "{name}");
    }
}

#[test]
fn a_null_in_any_field_does_not_lose_the_lead() {
    let workspace = Workspace::cloned();
    let lead: Value = serde_json::from_str(&sample()).expect("JSON");
    let root: Vec<String> = lead.as_object().expect("an object").keys().map(|key| format!("/{key}")).collect();
    let user = lead["UserDetails"].as_object().expect("an object").keys().map(|key| format!("/UserDetails/{key}"));
    for pointer in root.into_iter().chain(user) {
        let mut changed = lead.clone();
        *changed.pointer_mut(&pointer).expect("a field") = Value::Null;
        assert!(!effects(&workspace, &changed).as_array().expect("effects").is_empty(), "{pointer}");
    }
}

#[test]
fn an_empty_lead_makes_no_record_but_a_failed_run_that_says_why() {
    let workspace = Workspace::cloned();
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("contoso-backup"), "{}").expect("an answer").status, 202);
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!(run["status"], "failed");
    assert_eq!(action(&run, "create_lead")["error"]["code"], "blank_record");
    assert_eq!(workspace.json(&["records", "list", "--json"]), json!([]));
}

#[test]
fn a_refused_request_waits_in_the_inbox_until_the_flow_is_fixed() {
    let workspace = Workspace::empty();
    let flow = |kind: &str| {
        format!(
            "name: strict\ntrigger:\n  type: request\n  schema:\n    type: object\n    properties:\n      phone: {{ type: {kind} }}\nactions:\n  - name: keep\n    type: create_record\n    connection: crm\n    entity: leads\n    fields: {{ phone: '{{{{trigger.body.phone}}}}' }}\n"
        )
    };
    workspace.write("flows/strict.yaml", &flow("string"));
    let server = workspace.serve();
    let answer = wire::post(server.url("strict"), "{\"phone\": 16175555555}").expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("schema_mismatch")));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/phone");
    assert!(!String::from_utf8_lossy(&answer.body).contains("16175555555"), "no lead data in an answer");

    let rejected = workspace.json(&["runs", "rejected", "list", "--json"]);
    let id = rejected[0]["id"].as_str().expect("an id").to_owned();
    assert!(workspace.expect(0, &["runs", "rejected", "show", &id]).contains("16175555555"));
    workspace.expect(1, &["runs", "rejected", "resubmit", &id]);
    workspace.write("flows/strict.yaml", &flow("integer"));
    workspace.expect(0, &["runs", "rejected", "resubmit", &id]);
    assert_eq!(workspace.until_ended()[0]["status"], "succeeded");
    assert_eq!(workspace.json(&["records", "list", "--json"])[0]["fields"]["phone"], 16_175_555_555_u64);
}

/// A flow whose second action fails as long as the other side says so.
fn two_actions(title: &str) -> String {
    format!(
        "name: two\ntrigger:\n  type: request\nactions:\n  - name: keep\n    type: create_record\n    connection: crm\n    entity: leads\n    fields: {{ n: '{{{{trigger.body.n}}}}' }}\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    retry: {{ policy: fixed, count: 1000, interval: 100ms }}\n    body: {{ title: {title}, record: '{{{{actions.keep.outputs.id}}}}' }}\n"
    )
}

fn settings(api: &FakeHttp) -> String {
    format!("connections:\n  crm: {{ type: records }}\n  api: {{ type: http, base_url: '{}' }}\n", api.url())
}

#[test]
fn a_run_ends_on_the_text_that_it_started_with() {
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gate = std::sync::Arc::clone(&open);
    let api = FakeHttp::start(move |_, _| {
        if gate.load(std::sync::atomic::Ordering::SeqCst) { Act::Answer(200, "{}") } else { Act::Answer(503, "{}") }
    });
    let workspace = Workspace::empty();
    workspace.write("flows/two.yaml", &two_actions("old"));
    workspace.write("leadflow.yaml", &settings(&api));
    let server = workspace.serve();
    assert_eq!(wire::post(server.url("two"), "{\"n\":1}").expect("an answer").status, 202);
    let deadline = Instant::now() + PATIENCE;
    while api.requests().is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    server.kill();
    workspace.write(
        "flows/two.yaml",
        "name: two\ntrigger:\n  type: request\nactions:\n  - name: other\n    type: compose\n    inputs: 1\n",
    );
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let _server = workspace.serve();
    assert_eq!(workspace.until_ended()[0]["status"], "succeeded");
    assert_eq!(api.requests().last().expect("a request").json()["title"], "old");
}

#[test]
fn a_failed_action_is_repeated_without_repeating_what_succeeded() {
    let api = FakeHttp::start(|number, _| if number == 0 { Act::Answer(422, "{}") } else { Act::Answer(200, "{}") });
    let workspace = Workspace::empty();
    workspace.write("flows/two.yaml", &two_actions("t"));
    workspace.write("leadflow.yaml", &settings(&api));
    let server = workspace.serve();
    wire::post(server.url("two"), "{\"n\":1}").expect("an answer");
    let failed = until_status(&workspace, "failed");
    assert_eq!(action(&failed, "tell")["error"]["code"], "http_422");
    let id = failed["run_id"].as_str().expect("an id");
    workspace.expect(0, &["runs", "resubmit", id, "--from", "tell"]);
    let ended = until_status(&workspace, "succeeded");
    assert_eq!(ended["origin_run"], failed["run_id"], "{ended:#}");
    let requests = api.requests();
    assert_eq!(requests[0].json(), requests[1].json(), "the same record id, the same bytes");
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    assert_eq!(workspace.json(&["records", "list", "--json"]).as_array().expect("records").len(), 1);
    // From the start everything happens again, under new keys.
    workspace.expect(0, &["runs", "resubmit", id]);
    workspace.until_ended();
    let deadline = Instant::now() + PATIENCE;
    while api.requests().len() < 3 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_ne!(api.requests()[2].header("idempotency-key"), requests[0].header("idempotency-key"));
}

#[test]
fn a_waiting_run_can_be_cancelled_from_the_command_line() {
    let api = FakeHttp::start(|_, _| Act::Answer(503, "{}"));
    let workspace = Workspace::empty();
    workspace.write("flows/two.yaml", &two_actions("t").replace("100ms", "1h"));
    workspace.write("leadflow.yaml", &settings(&api));
    let server = workspace.serve();
    wire::post(server.url("two"), "{\"n\":1}").expect("an answer");
    let waiting = until_status(&workspace, "waiting");
    workspace.expect(0, &["runs", "cancel", waiting["run_id"].as_str().expect("an id")]);
    let cancelled = until_status(&workspace, "cancelled");
    assert_eq!(action(&cancelled, "keep")["status"], "succeeded");
    assert_eq!(action(&cancelled, "tell")["status"], "cancelled");
}

#[test]
fn a_dead_destination_delays_only_its_own_runs() {
    let dead = FakeHttp::start(|_, _| {
        std::thread::sleep(Duration::from_secs(120));
        Act::Hang
    });
    let alive = FakeHttp::willing();
    let workspace = Workspace::empty();
    for (name, connection) in [("dead", "dead"), ("alive", "alive")] {
        workspace.write(
            &format!("flows/{name}.yaml"),
            &format!("name: {name}\ntrigger:\n  type: request\nactions:\n  - name: tell\n    type: http\n    connection: {connection}\n    method: POST\n    url: /x\n    body: '{{{{trigger.body}}}}'\n"),
        );
    }
    workspace.write(
        "leadflow.yaml",
        &format!("shutdown_grace: 100ms\nlimits: {{ workers: 4 }}\nconnections:\n  dead: {{ type: http, base_url: '{}' }}\n  alive: {{ type: http, base_url: '{}' }}\n", dead.url(), alive.url()),
    );
    let server = workspace.serve();
    for number in 0..40 {
        let body = format!("{{\"n\":{number}}}");
        assert_eq!(wire::post(server.url("dead"), &body).expect("an answer").status, 202);
        assert_eq!(wire::post(server.url("alive"), &body).expect("an answer").status, 202);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = workspace.runs();
        let done = runs.iter().filter(|run| run["flow"] == "alive" && run["status"] == "succeeded").count();
        if done == 40 {
            assert!(runs.iter().filter(|run| run["flow"] == "dead").all(|run| run["finished_at"].is_null()));
            break;
        }
        assert!(Instant::now() < deadline, "{done} of 40 ended beside the dead destination");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(dead.requests().len() <= 4, "the dead destination gets no more than its slots");
}

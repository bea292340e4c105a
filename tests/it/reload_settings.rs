//! What flows depend on, and what becomes of names, files and folders, while requests come in: schemas, blueprints,
//! leadflow.yaml with its parameters, connections and secret files; clashes, moves, absences, cold starts.

use std::fs;

use crate::support::fake_http::FakeHttp;
use crate::support::live::{EVENTS_ONLY, account};
use crate::support::traffic::{Traffic, answering};
use crate::support::{Server, Workspace, until, wire};

/// Requests that must be answered before the next edit.
const SEEN: usize = 10;

/// A flow that refuses what does not fit `lead.json`.
const STRICT: &str = "name: strict\ntrigger:\n  type: request\n  authentication: none\n  schema: lead.json\n  validation: strict\nactions:\n  - name: say\n    type: respond\n    status: 200\n    body: { said: taken }\n";

fn requires(key: &str) -> String {
    format!("{{\"type\":\"object\",\"required\":[\"{key}\"]}}")
}

fn status(server: &Server, flow: &str, body: &str) -> u16 {
    wire::post(&format!("http://{}/flows/{flow}", server.public()), body).expect("an answer").status
}

/// A workspace with one flow that is not concerned, and traffic on it.
fn begin(flows: &[(&str, &str)]) -> (Workspace, Server, Traffic) {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", EVENTS_ONLY);
    workspace.write("flows/still.yaml", &answering("still", "still"));
    for (file, text) in flows {
        workspace.write(file, text);
    }
    let server = workspace.serve();
    let traffic = Traffic::start(server.public());
    allow(&traffic, &[]);
    (workspace, server, traffic)
}

/// What may be answered besides `still`.
fn allow(traffic: &Traffic, names: &[(&str, &[&str])]) {
    let owned = |answers: &[&str]| answers.iter().map(|answer| (*answer).to_owned()).collect();
    let names = names.iter().map(|(name, answers)| (*name, owned(answers)));
    traffic.allow(names.chain([("still", vec!["still".to_owned()])]));
}

#[test]
fn a_schema_that_changes_changes_its_flows_and_a_broken_one_does_not() {
    let (workspace, server, traffic) = begin(&[("flows/strict.yaml", STRICT), ("schemas/lead.json", &requires("a"))]);
    assert_eq!((status(&server, "strict", "{\"a\":1}"), status(&server, "strict", "{\"b\":1}")), (200, 400));
    let pinned = server.told("strict", "digest");
    workspace.write("schemas/lead.json", &requires("b"));
    until("the new schema holds", || status(&server, "strict", "{\"b\":1}") == 200);
    assert_eq!(status(&server, "strict", "{\"a\":1}"), 400);
    assert_ne!(server.told("strict", "digest"), pinned);
    let schema = workspace.path().join("schemas/lead.json");
    for broken in [b"{\"type\":".as_slice(), b"{\"type\": \"nothing\"}", b"\xff\xfe"] {
        fs::write(&schema, broken).expect("write");
        assert!(!server.reload().0, "{}", String::from_utf8_lossy(broken));
        assert_eq!((status(&server, "strict", "{\"b\":1}"), status(&server, "strict", "{\"a\":1}")), (200, 400));
        assert!(!server.reload().0, "it is still so: {}", String::from_utf8_lossy(broken));
    }
    fs::remove_file(&schema).expect("remove");
    assert!(!server.reload().0, "a schema that is gone");
    assert_eq!(status(&server, "strict", "{\"b\":1}"), 200);
    workspace.write("schemas/lead.json", &requires("c"));
    until("the mended schema holds", || status(&server, "strict", "{\"c\":1}") == 200);
    assert_eq!(server.reload(), (true, Vec::new()));
    traffic.see(SEEN);
    account(&workspace, traffic);
}

#[test]
fn a_blueprint_that_changes_changes_its_flows_and_a_broken_one_does_not() {
    let body = |said: &str| {
        let flow = answering("x", said);
        flow.split_once('\n').expect("lines").1.to_owned()
    };
    let (workspace, server, traffic) =
        begin(&[("blueprints/offer.yaml", &body("one")), ("flows/a.yaml", "name: a\nblueprint: offer\n")]);
    allow(&traffic, &[("a", &["one"])]);
    traffic.see(SEEN);
    allow(&traffic, &[("a", &["one", "two"])]);
    workspace.write("blueprints/offer.yaml", &body("two"));
    until("the new blueprint holds", || server.said("a").as_deref() == Some("two"));
    allow(&traffic, &[("a", &["two"])]);
    for broken in ["", "trigger: [", "actions: 7\n"] {
        workspace.write("blueprints/offer.yaml", broken);
        assert!(!server.reload().0, "{broken:?}");
        traffic.see(SEEN);
    }
    fs::remove_file(workspace.path().join("blueprints/offer.yaml")).expect("remove");
    assert!(!server.reload().0, "a blueprint that is gone");
    traffic.see(SEEN);
    allow(&traffic, &[("a", &["two", "three"])]);
    workspace.write("blueprints/offer.yaml", &body("three"));
    until("the mended blueprint holds", || server.said("a").as_deref() == Some("three"));
    assert_eq!(server.reload(), (true, Vec::new()));
    account(&workspace, traffic);
}

#[test]
fn parameters_change_and_settings_that_do_not_check_change_nothing() {
    let (workspace, server, traffic) = begin(&[]);
    let settings = |rest: &str| workspace.write("leadflow.yaml", &format!("{EVENTS_ONLY}{rest}"));
    settings("parameters: { p: 1 }\n");
    workspace.write("flows/a.yaml", &answering("a", "{{parameters.p}}"));
    until("the parameter is known", || server.said("a").as_deref() == Some("1"));
    allow(&traffic, &[("a", &["1", "2"])]);
    settings("parameters: { p: 2 }\n");
    until("the new parameter holds", || server.said("a").as_deref() == Some("2"));
    allow(&traffic, &[("a", &["2"])]);
    for broken in ["parameters: [\n", "parameterz: { p: 3 }\n", "limits: { body: many }\n", "parameters: {}\n"] {
        settings(broken);
        assert!(!server.reload().0, "{broken}");
        traffic.see(SEEN);
    }
    fs::remove_file(workspace.path().join("leadflow.yaml")).expect("remove");
    server.reload();
    traffic.see(SEEN);
    allow(&traffic, &[("a", &["2", "4"])]);
    settings("parameters: { p: 4 }\n");
    until("the mended settings hold", || server.said("a").as_deref() == Some("4"));
    assert_eq!(server.reload(), (true, Vec::new()));
    account(&workspace, traffic);
}

#[test]
fn listeners_and_the_data_folder_wait_for_a_restart_and_it_is_said() {
    let (workspace, server, traffic) = begin(&[]);
    let (public, admin) = (server.public(), server.address("admin"));
    workspace.write("leadflow.yaml", &format!("{EVENTS_ONLY}data: elsewhere\nlog: {{ format: json }}\n"));
    let (is_live, findings) = server.reload();
    assert!(!is_live && findings.iter().all(|code| code == "needs_restart") && !findings.is_empty(), "{findings:?}");
    traffic.see(SEEN);
    assert_eq!((server.public(), server.address("admin")), (public, admin));
    workspace.write("leadflow.yaml", EVENTS_ONLY);
    assert_eq!(server.reload(), (true, Vec::new()));
    account(&workspace, traffic);
}

#[test]
fn a_connection_and_its_secret_file_change_for_the_next_request() {
    let (one, other) = (FakeHttp::willing(), FakeHttp::willing());
    let tell = "name: tell\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    body: { n: '{{trigger.body.n}}' }\n";
    let settings = |api: &FakeHttp| {
        format!(
            "{EVENTS_ONLY}connections:\n  api: {{ type: http, base_url: '{}', auth: {{ type: bearer, token: '${{file:token}}' }} }}\n",
            api.url()
        )
    };
    let workspace = Workspace::empty();
    workspace.write("token", "first");
    workspace.write("leadflow.yaml", &settings(&one));
    workspace.write("flows/tell.yaml", tell);
    let server = workspace.serve();
    let arrives = |at: &FakeHttp, token: &str| {
        let before = at.requests().len();
        assert_eq!(status(&server, "tell", "{\"n\":1}"), 202);
        until("the lead arrives", || at.requests().len() > before);
        let requests = at.requests();
        let sent = requests.last().expect("a request").header("authorization").map(str::to_owned);
        assert_eq!(sent, Some(format!("Bearer {token}")));
    };
    arrives(&one, "first");
    workspace.write("token", "second");
    assert_eq!(server.reload(), (true, Vec::new()));
    arrives(&one, "second");
    workspace.write("leadflow.yaml", &settings(&other));
    assert_eq!(server.reload(), (true, Vec::new()));
    arrives(&other, "second");
    fs::remove_file(workspace.path().join("token")).expect("remove");
    assert!(!server.reload().0);
    arrives(&other, "second");
}

#[test]
fn of_two_files_with_one_name_the_live_one_keeps_it() {
    let (workspace, server, traffic) = begin(&[("flows/m.yaml", &answering("x", "one"))]);
    allow(&traffic, &[("x", &["one"])]);
    workspace.write("flows/a.yaml", &answering("x", "two"));
    assert_eq!(server.reload(), (false, vec!["duplicate_flow".to_owned()]));
    traffic.see(SEEN);
    // Saved by a program that removes and creates: the name goes to nobody meanwhile.
    allow(&traffic, &[("x", &["one", "three"])]);
    fs::remove_file(workspace.path().join("flows/m.yaml")).expect("remove");
    until("it is missed", || server.told("x", "standing") == "vanished");
    workspace.write("flows/m.yaml", &answering("x", "three"));
    until("it is back", || server.said("x").as_deref() == Some("three"));
    allow(&traffic, &[("x", &["three", "two"])]);
    fs::remove_file(workspace.path().join("flows/m.yaml")).expect("remove");
    assert_eq!(server.reload(), (true, Vec::new()));
    assert_eq!(server.said("x").as_deref(), Some("two"), "the one that waited");
    account(&workspace, traffic);
}

#[test]
fn a_file_that_is_renamed_or_moved_between_folders_is_the_same_flow() {
    let (workspace, server, traffic) = begin(&[("flows/x.yaml", &answering("x", "one"))]);
    allow(&traffic, &[("x", &["one"])]);
    let mut at = workspace.path().join("flows/x.yaml");
    for to in ["flows/y.yaml", "flows/below/y.yaml", "flows/below/further/y.yml", "flows/x.yaml"] {
        let path = workspace.path().join(to);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::rename(&at, &path).expect("rename");
        at = path;
        until("it is told where it is", || server.told("x", "file") == to && server.told("x", "standing") == "current");
        traffic.see(SEEN);
    }
    // Renamed and broken at once: the last good version goes with it.
    let path = workspace.path().join("flows/z.yaml");
    fs::write(&path, format!("{}colour: red\n", answering("x", "two"))).expect("write");
    fs::remove_file(&at).expect("remove");
    assert_eq!(server.reload(), (false, vec!["unknown_key".to_owned()]));
    assert_eq!((server.told("x", "file"), server.told("x", "standing")), ("flows/z.yaml".into(), "kept_back".into()));
    traffic.see(SEEN);
    account(&workspace, traffic);
}

#[test]
fn a_vanished_file_unloads_after_a_second_look_and_an_emptied_folder_not_at_once() {
    let (workspace, server, traffic) = begin(&[
        ("flows/x.yaml", &answering("x", "x")),
        ("flows/below/a.yaml", &answering("a", "a")),
        ("flows/below/b.yaml", &answering("b", "b")),
    ]);
    let at = |path: &str| workspace.path().join(path);
    allow(&traffic, &[("x", &["x"]), ("a", &["a"]), ("b", &["b"])]);
    traffic.see(SEEN);
    fs::remove_file(at("flows/below/a.yaml")).expect("remove");
    fs::remove_file(at("flows/below/b.yaml")).expect("remove");
    let (is_live, findings) = server.reload();
    assert!(!is_live && findings.iter().all(|code| code == "folder_emptied"), "{findings:?}");
    traffic.see(SEEN);
    fs::rename(at("flows"), at("away")).expect("away");
    assert!(!server.reload().0, "a folder that is not there");
    traffic.see(SEEN);
    fs::rename(at("away"), at("flows")).expect("back");
    workspace.write("flows/below/a.yaml", &answering("a", "a"));
    workspace.write("flows/below/b.yaml", &answering("b", "b"));
    assert_eq!(server.reload(), (true, Vec::new()));
    traffic.see(SEEN);
    allow(&traffic, &[("a", &["a"]), ("b", &["b"])]);
    fs::remove_file(at("flows/x.yaml")).expect("remove");
    until("it is missed", || server.told("x", "standing") == "vanished");
    assert_eq!(server.said("x").as_deref(), Some("x"), "one look is not enough");
    assert_eq!(server.reload(), (true, Vec::new()), "whoever asks is the second look");
    assert_eq!(server.said("x"), None);
    account(&workspace, traffic);
}

#[test]
fn a_cold_start_serves_the_last_good_version_and_says_so() {
    let (workspace, server, traffic) = begin(&[("flows/x.yaml", &answering("x", "one"))]);
    let generation = server.flows()["generation"].clone();
    workspace.write("flows/x.yaml", "name: x\ntrigger: [\n");
    workspace.write("flows/new.yaml", "name: new\ncolour: red\n");
    assert!(!server.reload().0);
    account(&workspace, traffic);
    server.kill();
    let server = workspace.serve();
    assert_eq!(server.said("x").as_deref(), Some("one"));
    assert_eq!(server.told("x", "standing"), "kept_back");
    assert_eq!(server.flows()["generation"], generation);
    assert_eq!(server.told("new", "state"), "off", "never good: only its own flow is off");
    assert!(server.announced.contains("flows/x.yaml"), "it is said: {}", server.announced);
    assert_eq!(server.said("still").as_deref(), Some("still"));
}

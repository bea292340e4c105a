//! What the tests of a file cannot say of its dialect: purity, dry runs, secrets, hostile values, bounds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Rest, check};
use crate::connectors::{
    Connector, CreateRecord, Dialect, ListRecords, OnDuplicate, OpContext, Operation, Progress, Reach, Registry,
    Target, UpdateRecord, context_for_tests, talk_for_tests,
};
use crate::outbound::{Effect, HttpReply, HttpRequest, Reply};
use crate::run::{Class, Failure};

const FILE: &str = "\
name: contoso
summary: x
settings:
  token: { type: secret, required: true, description: x. }
base_url: https://a.example
operations:
  create:
    path: /{{entity}}
    headers: { X-Token: \"{{settings.token}}\" }
    body: { t: \"{{settings.token}}\", data: \"{{record}}\" }
    id: \"{{answer.body.id}}\"
    simulated: { body: { id: \"{{operation.uuid}}\" } }
  update:
    path: /{{entity}}/{{id}}
  list:
    path: /{{entity}}
    query: { at: \"{{page}}\" }
    records: \"{{answer.body.items}}\"
    next: \"{{count}}\"
";

fn dialect() -> Arc<dyn Dialect> {
    let checked = check::check("contoso.yaml", FILE);
    assert_eq!(checked.findings, []);
    let rest = Rest::new(checked.plan.expect("compiles"));
    let data = tempfile::tempdir().expect("a folder");
    let opened = rest.open(&json!({"token": "hunter2"}), &Reach::new(data.path()));
    opened.unwrap_or_else(|message| panic!("{message}")).dialect
}

fn create(entity: &str, fields: &Value) -> Operation {
    let fields = fields.as_object().cloned().unwrap_or_default();
    Operation::CreateRecord(CreateRecord { entity: entity.into(), fields, on_duplicate: OnDuplicate::Ok })
}

fn request(effect: Result<Effect, Failure>) -> HttpRequest {
    match effect.expect("starts") {
        Effect::Http(request) => request,
        other => panic!("{other:?}"),
    }
}

fn answer(body: Value) -> Reply {
    Reply::Http(HttpReply { status: 200, headers: Vec::new(), body, retry_after: None })
}

#[test]
fn every_try_sends_the_same_and_no_effect_holds_a_secret() {
    let (dialect, cx) = (dialect(), context_for_tests("crm"));
    let operation = create("leads", &json!({"a": 1, "b": "{{settings.token}}"}));
    let first = dialect.start(&operation, &cx).expect("starts");
    let again = OpContext { possible_repeat: true, ..cx };
    assert_eq!(dialect.start(&operation, &again).as_ref(), Ok(&first));
    assert!(!format!("{first:?}").contains("hunter2"));
    assert!(format!("{first:?}").contains("{{settings.token}}"), "a value is never a template");
    let simulated = dialect.simulate(&operation, &cx, &talk_for_tests(), &first);
    let Progress::Done(Ok(outcome)) = dialect.on_reply(&operation, &cx, &mut talk_for_tests(), simulated) else {
        panic!("done")
    };
    assert_eq!(outcome.outputs["id"], cx.key.uuid().to_string());
}

#[test]
fn values_cannot_leave_their_place_in_a_path() {
    let (dialect, cx) = (dialect(), context_for_tests("crm"));
    let update = |id: &str| {
        let target = Target::Id(id.into());
        Operation::UpdateRecord(UpdateRecord { entity: "leads".into(), target, fields: Map::new() })
    };
    for (id, url) in [
        ("a/b?c#d", "/leads/a%2Fb%3Fc%23d"),
        ("') or 1=1", "/leads/%27%29%20or%201%3D1"),
        ("名", "/leads/%E5%90%8D"),
        ("https://evil.example/", "/leads/https%3A%2F%2Fevil.example%2F"),
    ] {
        assert_eq!(request(dialect.start(&update(id), &cx)).url, url);
    }
    assert_eq!(dialect.start(&update(".."), &cx).expect_err("refused").code, "unsafe_path");
    let by_key = UpdateRecord {
        entity: "leads".into(),
        target: Target::Key(Map::from_iter([("a".to_owned(), json!(1))])),
        fields: Map::new(),
    };
    let refused = dialect.start(&Operation::UpdateRecord(by_key), &cx).expect_err("there is no `find`");
    assert_eq!((refused.code.as_str(), refused.class), ("bad_key", Class::Terminal));
}

#[test]
fn a_list_without_an_end_ends_and_keeps_its_limit() {
    let (dialect, cx) = (dialect(), context_for_tests("crm"));
    let list = |limit| {
        let (filter, select, order_by) = Default::default();
        Operation::ListRecords(ListRecords { entity: "leads".into(), filter, select, order_by, limit })
    };
    let pages = |limit: usize| {
        let (operation, mut talk) = (list(limit), talk_for_tests());
        for n in 0..100 {
            talk.n = n;
            match dialect.on_reply(&operation, &cx, &mut talk, answer(json!({"items": [1, 2, 3]}))) {
                Progress::Send(Effect::Http(request)) => {
                    assert_eq!(request.query, [("at".to_owned(), ((n + 1) * 3).to_string())]);
                }
                Progress::Done(Ok(outcome)) => return (n + 1, outcome.outputs["records"].as_array().map(Vec::len)),
                other => panic!("{other:?}"),
            }
        }
        panic!("it never ends")
    };
    assert_eq!(pages(4), (2, Some(4)));
    assert_eq!(pages(1000), (40, Some(120)));
}

#[test]
fn a_read_that_got_no_answer_has_done_nothing() {
    let (dialect, cx) = (dialect(), context_for_tests("crm"));
    let (filter, select, order_by) = Default::default();
    let list = ListRecords { entity: "leads".into(), filter, select, order_by, limit: 1 };
    let no_answer = || Reply::Failed(Failure::unknown("unknown_outcome", "x"));
    let class = |operation: &Operation| match dialect.on_reply(operation, &cx, &mut talk_for_tests(), no_answer()) {
        Progress::Done(Err(failure)) => failure.class,
        other => panic!("{other:?}"),
    };
    assert_eq!(class(&Operation::ListRecords(list)), Class::Retryable);
    assert_eq!(class(&create("leads", &json!({"a": 1}))), Class::Unknown);
}

/// A dry run knows no secrets: the connections of the pages open all the same.
#[test]
fn a_url_that_is_not_known_does_not_keep_a_dry_run_from_opening() {
    let data = tempfile::tempdir().expect("a folder");
    let slack = Registry::builtin().find("slack").expect("slack");
    let open = |url: &str| slack.open(&json!({ "url": url }), &Reach::new(data.path())).err();
    assert_eq!(open("${env:SLACK_URL}"), None);
    assert_eq!(open("https://hooks.slack.com/services/x"), None);
    assert!(open("hooks.slack.com").is_some());
}

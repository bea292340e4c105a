//! Canned answers in the shapes of the Table service's documentation
//! (<https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes>, `insert-entity`,
//! `query-timeout-and-pagination`).

use serde_json::{Value, json};

use super::*;
use crate::connectors::{GetRecord, Target, UpsertRecord, context_for_tests, talk_for_tests};
use crate::run::Class;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("an object") };
    fields
}

fn answer(status: u16, headers: &[(&str, &str)], body: Value) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Reply::Http(HttpReply { status, headers, body, retry_after: None })
}

fn error(status: u16, code: &str) -> Reply {
    let message = json!({"lang": "en-US", "value": "Doe is said here"});
    answer(status, &[], json!({"odata.error": {"code": code, "message": message}}))
}

fn etag() -> Reply {
    answer(204, &[("etag", "W/\"datetime'2026'\"")], Value::Null)
}

fn create(fields: Value, on_duplicate: OnDuplicate) -> Operation {
    Operation::CreateRecord(CreateRecord { entity: "leads".into(), fields: object(fields), on_duplicate })
}

fn ended(operation: &Operation, again: bool, replies: Vec<Reply>) -> (Result<Outcome, Failure>, Vec<String>) {
    let cx = OpContext { possible_repeat: again, ..context_for_tests("crm") };
    let mut talk = talk_for_tests();
    let show = |effect: Effect| match effect {
        Effect::Http(request) => format!("{} {}", request.method, request.url),
        other => panic!("{other:?}"),
    };
    let mut asked = match Service.start(operation, &cx) {
        Ok(effect) => vec![show(effect)],
        Err(failure) => return (Err(failure), Vec::new()),
    };
    for reply in replies {
        match Service.on_reply(operation, &cx, &mut talk, reply) {
            Progress::Done(result) => return (result, asked),
            Progress::Send(effect) => asked.push(show(effect)),
        }
        talk.n += 1;
    }
    panic!("no end: {asked:?}")
}

#[test]
fn properties_keep_their_types() {
    let fields =
        object(json!({"Whole": 7, "Big": 9_007_199_254_740_993_i64, "Share": 3.0, "Agreed": true, "Text": "7",
        "When": "2026-11-21T09:00:00Z", "When@odata.type": "Edm.DateTime", "List": [1]}));
    let typed = typed(&fields, None);
    assert_eq!((&typed["Whole"], typed.get("Whole@odata.type")), (&json!(7), None));
    assert_eq!((&typed["Big"], &typed["Big@odata.type"]), (&json!("9007199254740993"), &json!("Edm.Int64")));
    assert_eq!(typed["Share@odata.type"], "Edm.Double");
    assert_eq!((&typed["When@odata.type"], &typed["List"]), (&json!("Edm.DateTime"), &json!("[1]")));
    let read = untyped(object(
        json!({"odata.etag": "W/", "Big@odata.type": "Edm.Int64", "Big": "9007199254740993", "Text": "7"}),
    ));
    assert_eq!(read, json!({"Big": 9_007_199_254_740_993_i64, "Text": "7"}));
}

#[test]
fn the_row_key_is_ours_unless_the_flow_has_one() {
    let key = context_for_tests("crm").key.hex();
    let exists = || error(409, "EntityAlreadyExists");
    let ours = create(json!({"Name": "Doe"}), OnDuplicate::Fail);
    let (outcome, asked) = ended(&ours, true, vec![exists()]);
    let outcome = outcome.expect("ours");
    assert_eq!(asked, ["POST leads"]);
    assert_eq!(outcome.outputs["id"], format!("leadflow/{key}"));
    assert_eq!((outcome.outcome.as_deref(), outcome.possible_repeat), (Some("created"), false));

    let theirs = |on_duplicate| create(json!({"PartitionKey": "o'n", "RowKey": 7, "Name": "Doe"}), on_duplicate);
    let outcome = ended(&theirs(OnDuplicate::Fail), true, vec![exists()]).0.expect("perhaps ours");
    assert_eq!((outcome.outcome.as_deref(), outcome.possible_repeat), (Some("created"), true));
    let outcome = ended(&theirs(OnDuplicate::Ok), false, vec![exists()]).0.expect("a duplicate");
    assert_eq!((outcome.outcome.as_deref(), &outcome.outputs["id"]), (Some("duplicate"), &json!("o'n/7")));
    let (outcome, asked) = ended(&theirs(OnDuplicate::Update), false, vec![exists(), etag()]);
    assert_eq!(asked[1], "MERGE leads(PartitionKey='o%27%27n',RowKey='7')");
    assert_eq!(outcome.expect("updated").outcome.as_deref(), Some("updated"));
    assert_eq!(ended(&theirs(OnDuplicate::Fail), false, vec![exists()]).0.expect_err("fails").code, "duplicate");
}

#[test]
fn keys_that_the_service_refuses_are_refused_here() {
    for evil in ["a/b", "a\\b", "a#b", "a?b", "a\u{7}b", "x".repeat(513).as_str()] {
        let failure = ended(&create(json!({ "RowKey": evil }), OnDuplicate::Ok), false, vec![]).0.expect_err("no key");
        assert_eq!((failure.code.as_str(), failure.class), ("bad_key", Class::Terminal), "{evil}");
    }
    let get = |target| Operation::GetRecord(GetRecord { entity: "leads".into(), target });
    assert_eq!(ended(&get(Target::Id("no-slash".into())), false, vec![]).0.expect_err("no id").code, "bad_key");
    let other = Target::Key(object(json!({"Email": "a"})));
    assert_eq!(ended(&get(other), false, vec![]).0.expect_err("no key").code, "bad_key");
}

#[test]
fn an_upsert_knows_whether_it_created() {
    let target = Target::Id("p/r".into());
    let upsert =
        Operation::UpsertRecord(UpsertRecord { entity: "leads".into(), target, fields: object(json!({"a": 1})) });
    let did = |replies| ended(&upsert, false, replies).0.expect("done").outcome;
    assert_eq!(did(vec![etag()]).as_deref(), Some("updated"));
    let made = || answer(201, &[], json!({"PartitionKey": "p", "RowKey": "r", "a": 1}));
    assert_eq!(did(vec![error(404, "ResourceNotFound"), made()]).as_deref(), Some("created"));
    let raced = vec![error(404, "ResourceNotFound"), error(409, "EntityAlreadyExists"), etag()];
    assert_eq!(did(raced).as_deref(), Some("updated"));
    let failure = ended(&upsert, false, vec![error(404, "TableNotFound")]).0.expect_err("no table");
    assert!(failure.code == "http_404" && failure.message.contains("no table `leads`"), "{failure:?}");
}

#[test]
fn codes_decide_in_json_and_xml() {
    let operation = create(json!({"Name": "Doe"}), OnDuplicate::Ok);
    let xml = "<?xml version=\"1.0\"?><error xmlns=\"…\"><code>AuthenticationFailed</code><message>…</message></error>";
    for (reply, class) in [
        (answer(403, &[], json!(xml)), Class::Credentials),
        (error(403, "AuthorizationPermissionMismatch"), Class::Terminal),
        (error(503, "ServerBusy"), Class::Throttled),
        (error(500, "OperationTimedOut"), Class::Retryable),
        (error(400, "PropertyValueTooLarge"), Class::Terminal),
    ] {
        let failure = ended(&operation, false, vec![reply]).0.expect_err("refused");
        assert_eq!(failure.class, class, "{failure:?}");
        assert!(!failure.message.contains("Doe"), "{}", failure.message);
    }
    for page in [json!("<html>"), json!({}), Value::Null] {
        let failure = ended(&operation, false, vec![answer(200, &[], page)]).0.expect_err("no answer");
        assert_eq!((failure.code.as_str(), failure.class), ("unexpected_answer", Class::Unknown));
    }
}

#[test]
fn lists_follow_the_marks_of_the_service() {
    let list = |filter: Value, limit| {
        let order_by = Vec::new();
        Operation::ListRecords(ListRecords {
            entity: "leads".into(),
            filter: object(filter),
            select: Vec::new(),
            order_by,
            limit,
        })
    };
    let mark = [("x-ms-continuation-nextpartitionkey", "1!8!bGVhZA--"), ("x-ms-continuation-nextrowkey", "1!4!YQ--")];
    let page =
        |headers: &[(&str, &str)]| answer(200, headers, json!({"value": [{"PartitionKey": "p", "RowKey": "r"}]}));
    let (outcome, asked) = ended(&list(json!({"Name": "O'Neil"}), 5), false, vec![page(&mark), page(&[])]);
    assert_eq!(asked[0], "GET leads()?$top=5&$filter=Name%20eq%20%27O%27%27Neil%27");
    assert!(
        asked[1].contains("$top=4") && asked[1].ends_with("&NextPartitionKey=1%218%21bGVhZA--&NextRowKey=1%214%21YQ--"),
        "{asked:?}"
    );
    assert_eq!(outcome.expect("a list").outputs["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(ended(&list(json!({"Name": null}), 5), false, vec![]).0.expect_err("null").code, "bad_key");
}

//! Canned answers in the shapes of Salesforce's REST API Developer Guide
//! (<https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>, `dome_upsert.htm`,
//! `dome_query.htm`) and, for duplicate rules, of its SOAP `DuplicateResult`, which REST gives as JSON.

use serde_json::{Value, json};

use super::*;
use crate::connectors::{GetRecord, UpdateRecord, UpsertRecord, context_for_tests, talk_for_tests};
use crate::run::Class;

const ID: &str = "00Q5g00000ABCDEAA4";

fn org(external_id_field: Option<&str>) -> Org {
    Org {
        site: "https://contoso.my.salesforce.com".into(),
        path: "/services/data/v62.0/".into(),
        external_id_field: external_id_field.map(str::to_owned),
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("an object") };
    fields
}

fn answer(status: u16, body: Value) -> Reply {
    Reply::Http(HttpReply { status, headers: Vec::new(), body, retry_after: None })
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    answer(status, json!([{"errorCode": code, "message": message, "fields": []}]))
}

fn create(on_duplicate: OnDuplicate) -> Operation {
    let fields = object(json!({"LastName": "Doe", "Company": "Contoso"}));
    Operation::CreateRecord(CreateRecord { entity: "Lead".into(), fields, on_duplicate })
}

/// What an operation comes to with these answers, and its effects.
fn ended(
    org: &Org,
    operation: &Operation,
    again: bool,
    replies: Vec<Reply>,
) -> (Result<Outcome, Failure>, Vec<String>) {
    let cx = OpContext { possible_repeat: again, ..context_for_tests("crm") };
    let mut talk = talk_for_tests();
    let show = |effect: Effect| match effect {
        Effect::Http(request) => format!("{} {}", request.method, request.url),
        other => panic!("{other:?}"),
    };
    let mut asked = match org.start(operation, &cx) {
        Ok(effect) => vec![show(effect)],
        Err(failure) => return (Err(failure), Vec::new()),
    };
    for reply in replies {
        match org.on_reply(operation, &cx, &mut talk, reply) {
            Progress::Done(result) => return (result, asked),
            Progress::Send(effect) => asked.push(show(effect)),
        }
        talk.n += 1;
    }
    panic!("no end: {asked:?}")
}

#[test]
fn a_create_is_an_upsert_where_a_field_holds_our_key() {
    let made = || answer(201, json!({"id": ID, "success": true, "errors": []}));
    let (outcome, asked) = ended(&org(None), &create(OnDuplicate::Ok), false, vec![made()]);
    assert_eq!(asked, ["POST sobjects/Lead"]);
    let outcome = outcome.expect("created");
    assert_eq!(outcome.outputs["url"], format!("https://contoso.my.salesforce.com/lightning/r/Lead/{ID}/view"));
    assert!(ended(&org(None), &create(OnDuplicate::Ok), true, vec![made()]).0.expect("created").possible_repeat);

    let own = org(Some("Leadflow_Key__c"));
    let key = context_for_tests("crm").key.hex();
    for (status, created) in [(201, true), (200, false)] {
        let reply = answer(status, json!({"id": ID, "success": true, "errors": [], "created": created}));
        let (outcome, asked) = ended(&own, &create(OnDuplicate::Ok), true, vec![reply]);
        assert_eq!(asked, [format!("PATCH sobjects/Lead/Leadflow_Key__c/{key}")]);
        let outcome = outcome.expect("ours");
        assert_eq!((outcome.outcome.as_deref(), outcome.possible_repeat), (Some("created"), false));
    }
    assert_eq!(own.repeat(OperationKind::Create), Some(Repeat::Recognised));
    assert_eq!((org(None).repeat(OperationKind::Create), own.repeat(OperationKind::Http)), (None, None));
    // Old versions answer 204 and no id.
    let replies = vec![answer(204, Value::Null), answer(200, json!({"Id": ID, "LastName": "Doe"}))];
    let outcome = ended(&own, &create(OnDuplicate::Ok), false, replies).0.expect("ours");
    assert_eq!(outcome.outputs["id"], ID);
}

#[test]
fn duplicates_tell_which_record_is_there() {
    let rule = |kind: &str| {
        answer(
            400,
            json!([{"errorCode": "DUPLICATES_DETECTED", "message": "Use one of these records?", "duplicateResult": {
            "allowSave": true, "duplicateRule": "Standard_Lead_Duplicate_Rule", "matchResults": [{
                "entityType": kind, "matchEngine": "FuzzyMatchEngine", "size": 1, "success": true, "errors": [],
                "matchRecords": [{"matchConfidence": 100.0, "additionalInformation": [], "fieldDiffs": [],
                    "record": {"attributes": {"type": kind, "url": "/services/data/v62.0/sobjects/…"}, "Id": ID}}]}]}}]),
        )
    };
    let unique = || {
        error(
            400,
            "DUPLICATE_VALUE",
            &format!("duplicate value found: Key__c duplicates value on record with id: {ID}"),
        )
    };
    for reply in [rule("Lead"), unique()] {
        let outcome = ended(&org(None), &create(OnDuplicate::Ok), false, vec![reply.clone()]).0.expect("a duplicate");
        assert_eq!((outcome.outcome.as_deref(), &outcome.outputs["id"]), (Some("duplicate"), &json!(ID)));
        let replies = vec![reply.clone(), answer(204, Value::Null)];
        let (outcome, asked) = ended(&org(None), &create(OnDuplicate::Update), false, replies);
        assert_eq!(asked[1], format!("PATCH sobjects/Lead/{ID}"));
        assert_eq!(outcome.expect("updated").outcome.as_deref(), Some("updated"));
        let failure = ended(&org(None), &create(OnDuplicate::Fail), false, vec![reply.clone()]).0.expect_err("fails");
        assert_eq!((failure.code.as_str(), failure.class), ("duplicate", Class::Terminal));
        // Behind an unknown try it may be what that try made, even where duplicates fail.
        let outcome = ended(&org(None), &create(OnDuplicate::Fail), true, vec![reply]).0.expect("perhaps ours");
        assert_eq!((outcome.outcome.as_deref(), outcome.possible_repeat), (Some("created"), true));
    }
    // A contact is no lead that could be updated.
    let failure = ended(&org(None), &create(OnDuplicate::Update), false, vec![rule("Contact")]).0.expect_err("which?");
    assert_eq!(failure.code, "duplicate");
}

#[test]
fn codes_decide_what_becomes_of_a_refusal() {
    for (status, code, class) in [
        (401, "INVALID_SESSION_ID", Class::Credentials),
        (403, "REQUEST_LIMIT_EXCEEDED", Class::Throttled),
        (400, "UNABLE_TO_LOCK_ROW", Class::Retryable),
        (400, "REQUIRED_FIELD_MISSING", Class::Terminal),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", Class::Terminal),
        (500, "UNKNOWN_EXCEPTION", Class::Retryable),
    ] {
        let failure =
            ended(&org(None), &create(OnDuplicate::Ok), false, vec![error(status, code, "Doe")]).0.expect_err(code);
        assert_eq!((failure.code.as_str(), failure.class), (format!("http_{status}").as_str(), class), "{code}");
        assert!(failure.message.contains(code) && !failure.message.contains("Doe"), "{}", failure.message);
    }
    let missing = json!([{"errorCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [Company]", "fields": ["Company"]}]);
    let failure =
        ended(&org(None), &create(OnDuplicate::Ok), false, vec![answer(400, missing)]).0.expect_err("missing");
    assert!(failure.message.contains("(field `Company`)"), "{}", failure.message);
    for page in [json!("<html>"), json!({}), json!({"id": null})] {
        let failure =
            ended(&org(None), &create(OnDuplicate::Ok), false, vec![answer(200, page)]).0.expect_err("no answer");
        assert_eq!((failure.code.as_str(), failure.class), ("unexpected_answer", Class::Unknown));
    }
}

#[test]
fn values_never_end_their_literal_nor_their_segment() {
    let key = |value: Value| Target::Key(object(json!({ "Ext__c": value })));
    let get = |value: Value| Operation::GetRecord(GetRecord { entity: "Lead".into(), target: key(value) });
    let found = || answer(200, json!({"totalSize": 1, "done": true, "records": [{"Id": ID}]}));
    let record = || answer(200, json!({"attributes": {"type": "Lead"}, "Id": ID, "LastName": "Doe"}));
    let (outcome, asked) = ended(&org(None), &get(json!("o'x\\' OR Name != null\n")), false, vec![found(), record()]);
    let soql = encoded("SELECT Id FROM Lead WHERE Ext__c = 'o\\'x\\\\\\' OR Name != null\\n' LIMIT 2");
    assert_eq!(asked, [format!("GET query?q={soql}"), format!("GET sobjects/Lead/{ID}")]);
    assert_eq!(outcome.expect("found").outputs["record"], json!({"Id": ID, "LastName": "Doe"}));

    let upsert = |value: Value| {
        Operation::UpsertRecord(UpsertRecord { entity: "Lead".into(), target: key(value), fields: Map::new() })
    };
    let reply = || answer(201, json!({"id": ID, "success": true, "errors": [], "created": true}));
    let (_, asked) = ended(&org(None), &upsert(json!("a/../b?x=1")), false, vec![reply()]);
    assert_eq!(asked, ["PATCH sobjects/Lead/Ext__c/a%2F..%2Fb%3Fx%3D1"]);
    for evil in [json!(".."), json!("."), json!(" "), json!([1])] {
        assert_eq!(
            ended(&org(None), &upsert(evil.clone()), false, vec![]).0.expect_err("no key").code,
            "bad_key",
            "{evil}"
        );
    }
    let update = Operation::UpdateRecord(UpdateRecord {
        entity: "Lead".into(),
        target: Target::Id("../Account/x".into()),
        fields: Map::new(),
    });
    assert_eq!(ended(&org(None), &update, false, vec![]).0.expect_err("no id").code, "bad_key");
}

#[test]
fn an_update_by_key_changes_one_record_or_none() {
    let target = Target::Key(object(json!({"Email": "a@b.example"})));
    let update = Operation::UpdateRecord(UpdateRecord {
        entity: "Lead".into(),
        target,
        fields: object(json!({"Rating": "Hot"})),
    });
    let found = |ids: &[&str]| {
        let records: Vec<Value> = ids.iter().map(|id| json!({ "Id": id })).collect();
        answer(200, json!({"totalSize": ids.len(), "done": true, "records": records}))
    };
    let (outcome, asked) = ended(&org(None), &update, false, vec![found(&[ID]), answer(204, Value::Null)]);
    assert_eq!(asked[1], format!("PATCH sobjects/Lead/{ID}"));
    assert_eq!(outcome.expect("updated").outputs["id"], ID);
    assert_eq!(ended(&org(None), &update, false, vec![found(&[])]).0.expect_err("none").code, "not_found");
    assert_eq!(ended(&org(None), &update, false, vec![found(&[ID, ID])]).0.expect_err("two").code, "bad_key");
}

#[test]
fn lists_follow_pages_below_the_same_address() {
    let list = |select: &[&str], limit| {
        Operation::ListRecords(ListRecords {
            entity: "Lead".into(),
            filter: object(json!({"CreatedDate": "2026-11-21T09:00:00Z", "Name": "2026-11-21", "Fax": null})),
            select: select.iter().map(|&field| field.to_owned()).collect(),
            order_by: vec![("CreatedDate".into(), true)],
            limit,
        })
    };
    let page = |next: Value| {
        answer(
            200,
            json!({"totalSize": 4, "done": next.is_null(), "nextRecordsUrl": next,
        "records": [{"attributes": {"type": "Lead"}, "Id": "1"}, {"Id": "2"}]}),
        )
    };
    let next = json!("/services/data/v62.0/query/01gD0000002HU6KIAW-2");
    let (outcome, asked) = ended(&org(None), &list(&["Id"], 10), false, vec![page(next), page(Value::Null)]);
    let soql = "SELECT Id FROM Lead WHERE CreatedDate = 2026-11-21T09:00:00Z AND Name = '2026-11-21' AND Fax = null ORDER BY CreatedDate DESC LIMIT 10";
    assert_eq!(asked, [format!("GET query?q={}", encoded(soql)), "GET query/01gD0000002HU6KIAW-2".to_owned()]);
    let records = outcome.expect("a list").outputs["records"].clone();
    assert_eq!(records, json!([{"Id": "1"}, {"Id": "2"}, {"Id": "1"}, {"Id": "2"}]));
    let elsewhere = page(json!("https://evil.example/query/1"));
    assert_eq!(
        ended(&org(None), &list(&["Id"], 10), false, vec![elsewhere]).0.expect_err("elsewhere").code,
        "unexpected_answer"
    );
    assert_eq!(ended(&org(None), &list(&[], 201), false, vec![]).0.expect_err("too many").code, "bad_key");
}

#[test]
fn a_dry_run_gets_answers_of_the_same_form() {
    let (org, cx) = (org(Some("Key__c")), context_for_tests("crm"));
    let key = Target::Key(object(json!({"Email": "a"})));
    for operation in [
        create(OnDuplicate::Fail),
        Operation::GetRecord(GetRecord { entity: "Lead".into(), target: key.clone() }),
        Operation::UpdateRecord(UpdateRecord { entity: "Lead".into(), target: key, fields: Map::new() }),
    ] {
        let mut effect = org.start(&operation, &cx).expect("starts");
        let mut talk = talk_for_tests();
        let result = loop {
            let reply = org.simulate(&operation, &cx, &talk, &effect);
            match org.on_reply(&operation, &cx, &mut talk, reply) {
                Progress::Send(next) => effect = next,
                Progress::Done(result) => break result,
            }
            talk.n += 1;
        };
        assert!(result.is_ok(), "{result:?}");
    }
}

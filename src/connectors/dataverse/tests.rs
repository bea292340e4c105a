//! Canned answers in the shapes of Microsoft's documentation of the Web API
//! (<https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-entity-web-api>,
//! `…/perform-conditional-operations-using-web-api`, `…/manage-duplicate-detection-create-update`).

use serde_json::{Value, json};

use super::*;
use crate::connectors::{GetRecord, UpdateRecord, UpsertRecord, context_for_tests, talk_for_tests};
use crate::run::Class;

fn org() -> Organisation {
    let org = "https://contoso.crm4.dynamics.com".to_owned();
    Organisation { base: format!("{org}/api/data/v9.2"), org }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("an object") };
    fields
}

fn answer(status: u16, body: Value) -> Reply {
    Reply::Http(HttpReply { status, headers: Vec::new(), body, retry_after: None })
}

fn refused_with(status: u16, code: &str, message: &str) -> Reply {
    answer(status, json!({"error": {"code": code, "message": message}}))
}

fn create(on_duplicate: OnDuplicate) -> Operation {
    let fields = object(json!({"subject": "x", "lastname": "Doe", "leadsourcecode": 8,
        "parentaccountid@odata.bind": "/accounts(00000000-0000-0000-0000-000000000001)"}));
    Operation::CreateRecord(CreateRecord { entity: "leads".into(), fields, on_duplicate })
}

fn sent(operation: &Operation) -> crate::outbound::HttpRequest {
    match org().start(operation, &context_for_tests("crm")).expect("starts") {
        Effect::Http(request) => request,
        other => panic!("{other:?}"),
    }
}

/// What an operation comes to with these answers, and the URLs of the effects after the first.
fn ended(operation: &Operation, replies: Vec<Reply>) -> (Result<Outcome, Failure>, Vec<String>) {
    let (cx, mut talk, mut urls) = (context_for_tests("crm"), talk_for_tests(), Vec::new());
    for reply in replies {
        match org().on_reply(operation, &cx, &mut talk, reply) {
            Progress::Done(result) => return (result, urls),
            Progress::Send(Effect::Http(request)) => urls.push(format!("{} {}", request.method, request.url)),
            Progress::Send(other) => panic!("{other:?}"),
        }
        talk.n += 1;
    }
    panic!("no end: {urls:?}")
}

#[test]
fn a_create_is_conditional_under_our_own_id() {
    let request = sent(&create(OnDuplicate::Ok));
    let id = context_for_tests("crm").key.uuid();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("PATCH", format!("leads({id})").as_str()));
    let has = |name: &str, value: &str| request.headers.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("If-None-Match", "*") && has("Prefer", "return=representation"));
    assert!(!request.headers.iter().any(|(name, _)| name.starts_with("MSCRM")), "a lead that resembles one is kept");
    for on_duplicate in [OnDuplicate::Fail, OnDuplicate::Update] {
        let header = ("MSCRM.SuppressDuplicateDetection".to_owned(), "false".to_owned());
        assert!(sent(&create(on_duplicate)).headers.contains(&header), "{on_duplicate:?}");
    }
    let Some(crate::outbound::HttpBody::Json(body)) = request.body else { panic!("JSON") };
    assert_eq!(body["leadsourcecode"], 8);
    assert_eq!(body["parentaccountid@odata.bind"], "/accounts(00000000-0000-0000-0000-000000000001)");
}

#[test]
fn a_new_record_has_an_id_and_an_address_for_people() {
    let id = context_for_tests("crm").key.uuid().to_string();
    let body = json!({"@odata.context": "…/$metadata#leads/$entity", "@odata.etag": "W/\"536530\"", "leadid": id,
        "subject": "x", "_ownerid_value": id, "masterid": id});
    let (outcome, _) = ended(&create(OnDuplicate::Ok), vec![answer(201, body)]);
    let outputs = outcome.expect("created").outputs;
    assert_eq!((&outputs["id"], &outputs["outcome"]), (&json!(id), &json!("created")));
    let url = format!("https://contoso.crm4.dynamics.com/main.aspx?etn=lead&id={id}&pagetype=entityrecord");
    assert_eq!(outputs["url"], url);
    assert!(outputs["record"].get("@odata.context").is_none() && outputs["raw"]["@odata.context"].is_string());

    let headers = vec![("odata-entityid".to_owned(), format!("https://x/api/data/v9.2/leads({id})"))];
    let bare = Reply::Http(HttpReply { status: 204, headers, body: Value::Null, retry_after: None });
    let outputs = ended(&create(OnDuplicate::Ok), vec![bare]).0.expect("created").outputs;
    assert_eq!((&outputs["id"], &outputs["record"]["lastname"]), (&json!(id), &json!("Doe")));
}

#[test]
fn our_own_record_is_created_and_anothers_is_a_duplicate() {
    let id = context_for_tests("crm").key.uuid().to_string();
    let taken = || refused_with(412, "", "A record with matching key values already exists.");
    let rule = || {
        refused_with(
            500,
            RULE_MATCHED,
            "A record was not created or updated because a duplicate of the current record already exists.",
        )
    };
    let ours = || answer(200, json!({"@odata.context": "…", "leadid": id, "subject": "x"}));
    let nobody = || refused_with(404, "0x80040217", "lead With Id = … Does Not Exist");
    for first in [taken(), rule()] {
        let (outcome, asked) = ended(&create(OnDuplicate::Fail), vec![first, ours()]);
        assert_eq!(asked, [format!("GET leads({id})")]);
        let outcome = outcome.expect("ours");
        assert_eq!((outcome.outputs["outcome"].as_str(), outcome.possible_repeat), (Some("created"), false));
    }
    let outcome = ended(&create(OnDuplicate::Ok), vec![taken(), nobody()]).0.expect("a duplicate");
    assert_eq!((&outcome.outputs["outcome"], &outcome.outputs["id"]), (&json!("duplicate"), &Value::Null));
    for on_duplicate in [OnDuplicate::Fail, OnDuplicate::Update] {
        let failure = ended(&create(on_duplicate), vec![rule(), nobody()]).0.expect_err("a duplicate");
        assert_eq!((failure.code.as_str(), failure.class), ("duplicate", Class::Terminal));
        assert!(failure.message.contains("duplicate detection rule"), "{}", failure.message);
    }
    // The answer to the read may be lost as well: then it is asked again, and nothing is taken for known.
    let failure = ended(&create(OnDuplicate::Ok), vec![taken(), refused_with(503, "", "")]).0.expect_err("no answer");
    assert_eq!(failure.class, Class::Retryable);
}

#[test]
fn refusals_tell_codes_and_our_fields_only() {
    let message = "Error identified in Payload provided by the user for Entity :'leads': Doe is no lastname";
    let failure = ended(&create(OnDuplicate::Ok), vec![refused_with(400, "0x80048d19", message)]).0.expect_err("bad");
    assert_eq!((failure.code.as_str(), failure.class), ("http_400", Class::Terminal));
    assert!(failure.message.contains("0x80048d19 (field `lastname`)") && !failure.message.contains("Doe"));
    let failure = ended(&create(OnDuplicate::Ok), vec![refused_with(404, NO_ENTITY_SET, "")]).0.expect_err("bad");
    assert_eq!(failure.code, "http_404");
    assert!(failure.message.contains("entity set `leads`"), "{}", failure.message);
    let throttled = Reply::Http(HttpReply {
        status: 429,
        headers: Vec::new(),
        body: json!({"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit of 6000"}}),
        retry_after: Some(5),
    });
    let failure = ended(&create(OnDuplicate::Ok), vec![throttled]).0.expect_err("throttled");
    assert_eq!((failure.class, failure.retry_after), (Class::Throttled, Some(5)));
    assert_eq!(
        ended(&create(OnDuplicate::Ok), vec![refused_with(401, "", "")]).0.expect_err("401").class,
        Class::Credentials
    );
    for page in [json!("<html>"), json!({}), Value::Null] {
        let failure = ended(&create(OnDuplicate::Ok), vec![answer(200, page)]).0.expect_err("no answer");
        assert_eq!((failure.code.as_str(), failure.class), ("unexpected_answer", Class::Unknown));
    }
}

#[test]
fn keys_are_escaped_and_updates_never_create() {
    let target = Target::Key(object(json!({"emailaddress1": "o'neil@x.example", "n": 7})));
    let entity = "leads".to_owned();
    let upsert = sent(&Operation::UpsertRecord(UpsertRecord {
        entity: entity.clone(),
        target: target.clone(),
        fields: Map::new(),
    }));
    assert_eq!(upsert.url, "leads(emailaddress1='o%27%27neil%40x.example',n=7)");
    assert!(!upsert.headers.iter().any(|(name, _)| name.starts_with("If-")));
    let update = sent(&Operation::UpdateRecord(UpdateRecord { entity: entity.clone(), target, fields: Map::new() }));
    assert!(update.headers.contains(&("If-Match".into(), "*".into())));
    for id in ["1) or (1", "leads", ""] {
        let get = Operation::GetRecord(GetRecord { entity: entity.clone(), target: Target::Id(id.into()) });
        assert_eq!(org().start(&get, &context_for_tests("crm")).expect_err("no id").code, "bad_key", "{id}");
    }
    let get =
        Operation::GetRecord(GetRecord { entity, target: Target::Id("{6F1ED002-AB5C-4A5C-9F1D-0A5D6A2F3B4C}".into()) });
    assert_eq!(sent(&get).url, "leads(6F1ED002-AB5C-4A5C-9F1D-0A5D6A2F3B4C)");
    assert_eq!(ended(&get, vec![refused_with(404, "0x80040217", "")]).0.expect_err("gone").code, "not_found");
}

#[test]
fn an_upsert_tells_whether_it_created() {
    let id = "6f1ed002-ab5c-4a5c-9f1d-0a5d6a2f3b4c";
    let target = Target::Key(object(json!({"code": "a"})));
    let entity = "opportunities".to_owned();
    let upsert = Operation::UpsertRecord(UpsertRecord { entity, target, fields: object(json!({"name": "x"})) });
    for (status, did) in [(201, "created"), (200, "updated")] {
        let body = json!({"@odata.context": "…", "opportunityid": id, "_accountid_value": "7eb682f1-ca75-e511-80d4-00155d2a68d1",
            "accountid": "7eb682f1-ca75-e511-80d4-00155d2a68d1"});
        let outputs = ended(&upsert, vec![answer(status, body)]).0.expect("done").outputs;
        assert_eq!((outputs["outcome"].as_str(), outputs["id"].as_str()), (Some(did), Some(id)));
        assert!(outputs["url"].as_str().is_some_and(|url| url.contains("etn=opportunity&")), "{outputs}");
    }
}

#[test]
fn lists_are_read_page_by_page_below_the_same_address() {
    let list = |limit| {
        Operation::ListRecords(ListRecords {
            entity: "leads".into(),
            filter: object(json!({"lastname": "O'Neil", "_ownerid_value": "6f1ed002-ab5c-4a5c-9f1d-0a5d6a2f3b4c"})),
            select: vec!["subject".into(), "leadid".into()],
            order_by: vec![("createdon".into(), true), ("subject".into(), false)],
            limit,
        })
    };
    let url = sent(&list(10)).url;
    assert!(url.starts_with("leads?$filter=lastname%20eq%20%27O%27%27Neil%27%20and%20_ownerid_value%20eq%206f1ed002-"));
    assert!(url.ends_with("&$select=subject,leadid&$orderby=createdon%20desc,subject&$top=10"), "{url}");
    assert!(!sent(&list(6000)).url.contains("$top"));
    let page = |link: &str| {
        answer(
            200,
            json!({"@odata.context": "…", "value": [{"subject": "a"}, {"subject": "b"}], "@odata.nextLink": link}),
        )
    };
    let next = "https://contoso.crm4.dynamics.com/api/data/v9.2/leads?$skiptoken=2";
    let (outcome, asked) = ended(&list(3), vec![page(next), page(next)]);
    assert_eq!(asked, ["GET leads?$skiptoken=2"]);
    assert_eq!(outcome.expect("a list").outputs["records"].as_array().map(Vec::len), Some(3));
    let (outcome, _) = ended(&list(3), vec![page("https://evil.example/leads")]);
    assert_eq!(outcome.expect_err("elsewhere").code, "unexpected_answer");
}

#[test]
fn settings_are_an_address_and_a_version() {
    let reach = Reach::new("unused");
    let open = |settings: Value| Dataverse.open(&settings, &reach).err();
    assert_eq!(open(json!({"url": "https://contoso.crm4.dynamics.com/"})), None);
    assert!(open(json!({"url": "contoso"})).is_some_and(|error| error.contains("`url`")));
    assert!(
        open(json!({"url": "https://x.example", "api_version": "9/../x"}))
            .is_some_and(|error| error.contains("api_version"))
    );
}

#[test]
fn a_dry_run_gets_answers_of_the_same_form() {
    let (cx, talk) = (context_for_tests("crm"), talk_for_tests());
    for operation in [
        create(OnDuplicate::Fail),
        Operation::GetRecord(GetRecord { entity: "leads".into(), target: Target::Key(object(json!({"a": 1}))) }),
    ] {
        let effect = org().start(&operation, &cx).expect("starts");
        let reply = org().simulate(&operation, &cx, &talk, &effect);
        assert!(ended(&operation, vec![reply]).0.is_ok());
    }
}

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::flow::plan::Plan;
use crate::flow::{Authentication, Bundle, Defaults, TestLeads, Trigger};

fn flow(trigger: Trigger) -> Flow {
    Flow {
        name: "a".into(),
        description: None,
        enabled: true,
        aliases: Vec::new(),
        parameters: json!({}),
        variables: Vec::new(),
        trigger,
        plan: Plan::default(),
        actions: Vec::new(),
        responds: false,
        answers_later: false,
        digest: String::new(),
        bundle: Bundle {
            file: String::new(),
            text: String::new(),
            blueprint: None,
            schemas: std::collections::BTreeMap::new(),
            parameters: json!({}),
            defaults: Defaults { timeout: Duration::from_secs(1), ..Defaults::default() },
        },
    }
}

fn trigger() -> Trigger {
    Trigger {
        methods: vec!["POST".into()],
        path: None,
        authentication: Authentication::None,
        validation: Validation::Lenient,
        schema: None,
        conditions: Vec::new(),
        test_leads: TestLeads::default(),
        split_on: None,
        dedupe: None,
        concurrency: None,
    }
}

fn data(body: &str) -> TriggerData {
    TriggerData {
        method: "POST".into(),
        path: vec![("id".into(), "7".into())],
        query: vec![("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())],
        headers: vec![("content-type".into(), "application/json".into()), ("x-a".into(), "1".into())],
        body: body.into(),
        ..TriggerData::default()
    }
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.into(), value.into())]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).expect("in memory");
    packer.finish().expect("in memory")
}

fn refused<T: std::fmt::Debug>(result: Result<T, Problem>) -> (u16, &'static str) {
    let problem = result.expect_err("must be refused");
    (problem.status, problem.code)
}

const LIMITS: BodyLimits = BodyLimits { body_bytes_max: 1024, unpacked_bytes_max: 4096, json_depth_max: 8 };

#[test]
fn plain_gzip_and_identity_bodies_decode() {
    assert_eq!(decode(&[], b"{}", &LIMITS).expect("plain"), "{}");
    assert_eq!(decode(&header("content-encoding", "identity"), b"{}", &LIMITS).expect("identity"), "{}");
    for name in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
        let headers = header("Content-Encoding", name);
        assert_eq!(decode(&headers, &gzip(b"{}"), &LIMITS).expect(name), "{}");
    }
    let twice = [gzip(b"[1,"), gzip(b"2]")].concat();
    assert_eq!(decode(&header("content-encoding", "gzip"), &twice, &LIMITS).expect("members"), "[1,2]");
}

#[test]
fn other_encodings_are_415_and_broken_gzip_is_400() {
    for name in ["br", "deflate", "gzip, gzip", "zstd"] {
        assert_eq!(refused(decode(&header("content-encoding", name), b"x", &LIMITS)), (415, "unsupported_encoding"));
    }
    let whole = gzip(b"{\"a\": 1}");
    let headers = header("content-encoding", "gzip");
    assert_eq!(refused(decode(&headers, &whole[..whole.len() - 4], &LIMITS)), (400, "invalid_gzip"));
    assert_eq!(refused(decode(&headers, b"{}", &LIMITS)), (400, "invalid_gzip"));
}

#[test]
fn a_gzip_bomb_is_413_and_the_limit_itself_is_not() {
    let headers = header("content-encoding", "gzip");
    assert_eq!(refused(decode(&headers, &gzip(&vec![b' '; 50 << 20]), &LIMITS)), (413, "body_too_large"));
    assert_eq!(decode(&headers, &gzip(&[b' '; 4096]), &LIMITS).expect("just fits").len(), 4096);
}

#[test]
fn charsets_and_invalid_utf8_are_told_apart() {
    let typed = |value| header("content-type", value);
    for fine in ["application/json", "application/json; charset=utf-8", "text/plain; Charset=\"UTF-8\"", "", "nonsense"]
    {
        assert!(decode(&typed(fine), "\"é\"".as_bytes(), &LIMITS).is_ok(), "{fine}");
    }
    let latin = typed("application/json; charset=iso-8859-1");
    assert_eq!(refused(decode(&latin, b"\"\xe9\"", &LIMITS)), (415, "unsupported_charset"));
    assert_eq!(decode(&latin, b"\"e\"", &LIMITS).expect("ascii is ascii"), "\"e\"");
    let problem = decode(&[], b"{\"a\": \"\xe9\"}", &LIMITS).expect_err("latin-1");
    assert_eq!((problem.status, problem.code), (400, "invalid_utf8"));
    assert!(problem.message.contains("offset 7"), "{}", problem.message);
    for utf16 in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"{\0}\0", b"\0{\0}"] {
        let problem = decode(&[], utf16, &LIMITS).expect_err("UTF-16");
        assert_eq!(problem.code, "invalid_utf8");
        assert!(problem.message.contains("UTF-16"));
    }
}

/// A flow that splits `Leads`, whose items have an `Email`.
fn splitting(path: Option<Vec<String>>) -> Flow {
    let schema = json!({"properties": {"Leads": {"items": {"properties": {"Email": {"type": "string"}}}}}});
    let list = crate::template::Template::compile("{{trigger.body.leads}}", crate::template::Destination::Plain);
    let split_on = crate::flow::SplitOn { list: list.expect("a template"), path, item_schema: None };
    let schema = crate::schema::BodySchema::compile("leads.json", &schema).expect("a schema");
    flow(Trigger { schema: Some(Arc::new(schema)), split_on: Some(split_on), ..trigger() })
}

#[test]
fn a_stored_item_is_folded_where_it_stood() {
    let item = |body: &str| TriggerData { item: Some(3), ..data(body) };
    let seen = |flow: &Flow, body: &str| parse(flow, &item(body), &LIMITS).expect("fits").trigger["body"].clone();
    let by_path = splitting(Some(vec!["leads".into()]));
    assert_eq!(seen(&by_path, r#"{"email": "a", "EMAIL": null}"#), json!({"Email": "a"}));
    for odd in ["null", "7", "[]", "{}", "[1, [2]]"] {
        assert_eq!(seen(&by_path, odd), serde_json::from_str::<serde_json::Value>(odd).expect("JSON"));
    }
    let by_helper = splitting(None);
    assert_eq!(seen(&by_helper, r#"{"email": "a"}"#), json!({"email": "a"}), "kept as it is seen");
    assert!(parse(&by_path, &item("{"), &LIMITS).is_err());
}

#[test]
fn items_are_lists_of_a_bounded_length() {
    use crate::triggers::items::{ITEMS_MAX, of_list};
    assert_eq!(of_list(json!(null)), Ok(Vec::new()));
    assert_eq!(of_list(json!([1, null])).map(|items| items.len()), Ok(2));
    assert_eq!(refused(of_list(json!({"a": 1}))), (400, "split_not_a_list"));
    assert_eq!(of_list(vec![0; ITEMS_MAX].into()).map(|items| items.len()), Ok(ITEMS_MAX));
    assert_eq!(refused(of_list(vec![0; ITEMS_MAX + 1].into())), (400, "split_too_long"));
}

#[test]
fn forms_are_objects_and_parts_are_415_unless_they_are_json_after_all() {
    let mut request = data("a=1&b=2");
    request.headers = header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(refused(parse(&flow(trigger()), &request, &LIMITS)), (415, "unsupported_media_type"));
    request.headers = header("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8");
    let form = parse(&flow(trigger()), &request, &LIMITS).expect("a form");
    assert_eq!(form.trigger["body"], json!({"a": "1", "b": "2"}));
    for media in ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
        request.headers = header("content-type", media);
        request.body = "{\"a\": 1}".into();
        assert_eq!(parse(&flow(trigger()), &request, &LIMITS).expect("JSON").trigger["body"], json!({"a": 1}));
    }
    // Many programs say so of everything: broken JSON is no form.
    request.body = "{\"a\": ".into();
    assert_eq!(refused(parse(&flow(trigger()), &request, &LIMITS)), (400, "invalid_json"));
    let binary = decode(&header("content-type", "multipart/form-data; boundary=x"), b"--x\r\n\xff", &LIMITS);
    assert_eq!(refused(binary), (415, "unsupported_media_type"));
}

#[test]
fn the_trigger_has_the_documented_shape() {
    let mut request = data("\u{feff}{\"Email\": \"x\"}");
    request.headers.push(("x-a".into(), "2".into()));
    let parsed = parse(&flow(trigger()), &request, &LIMITS).expect("fits");
    assert_eq!(
        parsed.trigger,
        json!({
            "method": "POST", "path": {"id": "7"}, "query": {"a": ["1", "3"], "b": "2"},
            "headers": {"content-type": "application/json", "x-a": "1, 2"}, "body": {"Email": "x"}
        })
    );
    assert!(!parsed.is_test);
}

#[test]
fn an_empty_body_is_null_without_a_schema() {
    for empty in ["", "\u{feff}", " \r\n"] {
        let parsed = parse(&flow(trigger()), &data(empty), &LIMITS).expect("null");
        assert_eq!(parsed.trigger["body"], Value::Null);
    }
}

#[test]
fn the_marker_is_found_in_any_text_but_not_in_keys() {
    let is_test = |body: &str| parse(&flow(trigger()), &data(body), &LIMITS).expect("fits").is_test;
    assert!(is_test(r#"{"a":[{"b":"x MSFT_TEST_123"}]}"#));
    assert!(is_test(r#""\u004dSFT_TEST""#));
    assert!(!is_test(r#"{"MSFT_TEST":"x","a":"msft_test"}"#));
    let unmarked = Trigger { test_leads: TestLeads { marker: String::new(), run: true }, ..trigger() };
    assert!(!parse(&flow(unmarked), &data("\"x\""), &LIMITS).expect("fits").is_test);
}

#[test]
fn stored_headers_hold_no_credential_and_no_signature() {
    let long = vec![b'x'; 20_000];
    let come: [(&str, &[u8]); 9] = [
        ("Content-Type", b"application/json"),
        ("Authorization", b"Bearer x"),
        ("Cookie", b"a=b"),
        ("Proxy-Authorization", b"x"),
        ("X-API-Key", b"x"),
        ("X-Auth-Token", b"x"),
        ("X-Original-URL", b"/flows/a?sv=1&sig=abc"),
        ("X-Latin", b"caf\xe9"),
        ("X-Long", &long),
    ];
    let kept = safe_headers(come.into_iter());
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "x-original-url", "x-latin", "x-long"]);
    assert_eq!(kept[1].1, "/flows/a?sv=1&sig=***");
    assert_eq!(kept[3].1.len(), HEADER_VALUE_BYTES_MAX);
    assert!(safe_headers(std::iter::repeat_n(("a", &b"b"[..]), 500)).len() <= HEADERS_STORED_MAX);
}

#[test]
fn a_schema_refuses_an_empty_body_except_where_a_method_has_none() {
    let source = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let schema = Arc::new(crate::schema::BodySchema::compile("x.json", &source).expect("compiles"));
    let strict = || flow(Trigger { schema: Some(schema.clone()), ..trigger() });
    assert_eq!(refused(parse(&strict(), &data(""), &LIMITS)), (400, "empty_body"));
    let get = TriggerData { method: "GET".into(), ..data("") };
    assert_eq!(parse(&strict(), &get, &LIMITS).expect("null").trigger["body"], Value::Null);
    let problem = parse(&strict(), &data("{\"a\": 1617}"), &LIMITS).expect_err("wrong type");
    assert_eq!((problem.status, problem.code), (400, "schema_mismatch"));
    assert!(!problem.errors.is_empty() && !format!("{problem:?}").contains("1617"));
    let lax = flow(Trigger { schema: Some(schema.clone()), validation: Validation::None, ..trigger() });
    assert!(parse(&lax, &data(""), &LIMITS).is_ok());
}

/// Whoever reads the answer finds what is wrong in one place, whatever it is.
#[test]
fn every_bad_body_names_its_errors() {
    let problem = Problem::new(400, "invalid_utf8", "the body is not UTF-8");
    assert_eq!(problem.errors, [BodyError { pointer: String::new(), message: "the body is not UTF-8".into() }]);
    assert!(Problem::new(415, "unsupported_encoding", "send it plain").errors.is_empty());
}

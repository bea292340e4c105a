//! Every row of the table of answers.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::*;
use crate::actions;
use crate::engine::{Accepted, Answered};
use crate::ids::RunId;
use crate::schema::BodyError;
use crate::store::KeySlot;
use crate::triggers::request::Problem;

const RUN: i64 = 1_700_000_000_000_000;

fn plan(site: &Site, accepted: Accepted) {
    site.engine.planned.lock().expect("no panic").push_back(accepted);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).expect("in memory");
    packer.finish().expect("in memory")
}

#[tokio::test]
async fn a_stored_run_is_202_with_its_id() {
    let site = Site::start().await;
    let answer = site.post("signed", "{}").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), json!({"run_id": answer.headers["x-leadflow-run-id"], "status": "accepted"}));
    assert!(answer.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn the_engine_gets_the_request_without_signature_and_credentials() {
    let site = Site::start().await;
    let url = format!("{}&b=2&a=1&b=%33", site.url("signed"));
    let headers = "Authorization: Bearer x\r\nX-Source: partner\r\ncontent-encoding: gzip\r\n";
    assert_eq!(site.send("POST", &url, headers, gzip(b"{\"a\": 1}")).await.status, 202);
    let came = site.engine.came.lock().expect("no panic").remove(0);
    assert_eq!(came.0, "signed");
    let names: Vec<&str> = came.1.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "x-source", "content-encoding", "content-length"]);
    let query: Vec<(&str, &str)> = came.1.query.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(query, [("b", "2"), ("a", "1"), ("b", "3")]);
    assert_eq!((came.1.method.as_str(), came.1.body.as_str()), ("POST", "{\"a\": 1}"));
}

#[tokio::test]
async fn skipped_leads_are_200_and_skipped_test_leads_202() {
    let site = Site::start().await;
    let run_id = RunId::new(RUN);
    plan(&site, Accepted::Skipped { run_id });
    plan(&site, Accepted::TestSkipped { run_id });
    let skipped = site.post("signed", "{}").await;
    assert_eq!((skipped.status, skipped.json()["status"].as_str()), (200, Some("skipped")));
    assert_eq!(skipped.json()["run_id"], run_id.to_string());
    assert_eq!(site.post("signed", "{}").await.status, 202);
}

#[tokio::test]
async fn busy_is_429_and_no_store_is_503_each_with_retry_after() {
    let site = Site::start().await;
    plan(&site, Accepted::Busy(crate::engine::Busy::WaitingRuns));
    plan(&site, Accepted::Unavailable("disk full".into()));
    let busy = site.post("signed", "{}").await;
    assert_eq!((busy.status, busy.code().as_str()), (429, "too_many_waiting"));
    let unavailable = site.post("signed", "{}").await;
    assert_eq!((unavailable.status, unavailable.code().as_str()), (503, "store_unavailable"));
    for answer in [busy, unavailable] {
        assert!(answer.headers["retry-after"].parse::<u64>().expect("seconds") > 0);
        assert!(!answer.headers.contains_key("x-leadflow-run-id") && !answer.body.contains("disk"));
    }
}

#[tokio::test]
async fn nobody_can_tell_an_unknown_flow_from_a_wrong_signature() {
    let site = Site::start().await;
    let stranger = site.url("stranger");
    let wrong = site.url("signed").replace("sig=", "sig=A");
    let mut answers = Vec::new();
    for (method, url) in [
        ("POST", "/flows/signed"),
        ("POST", wrong.as_str()),
        ("POST", stranger.as_str()),
        ("POST", "/flows/nobody"),
        ("POST", "/flows/signed/../open"),
        ("POST", "/flows/%ff?sv=1&sig=x"),
        ("GET", "/flows/signed"),
        ("OPTIONS", "/flows/nobody/deep/path"),
    ] {
        let mut answer = site.send(method, url, "", "x").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{method} {url}");
        let id = answer.headers.remove("x-request-id").expect("an id");
        answer.headers.remove("date");
        answer.body = answer.body.replace(&id, "");
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert!(site.engine.came.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn both_slots_and_old_names_work_and_a_retired_version_does_not() {
    let site = Site::start().await;
    let secondary = format!("/flows/signed?{}", site.keys.url_query("signed", "secondary", None));
    let primary = site.url("signed");
    for url in [&primary, &secondary, &site.url("old")] {
        assert_eq!(site.send("POST", url, "", "{}").await.status, 202, "{url}");
    }
    let slot = KeySlot { flow: "signed".into(), slot: "primary".into(), version: 2, created_at: 0, last_used_at: None };
    site.store.slots.lock().expect("no panic").push(slot);
    site.keys.reload(site.store.as_ref()).await.expect("reads");
    assert_eq!(site.send("POST", &primary, "", "{}").await.status, 401);
    assert_eq!(site.send("POST", &secondary, "", "{}").await.status, 202);
    assert_eq!(site.post("signed", "{}").await.status, 202);
    assert!(site.url("signed").contains("sv=2"));
    let metrics = site.admin("/metrics", "").await.body;
    assert!(metrics.contains("leadflow_alias_requests_total{alias=\"old\"} 1"), "{metrics}");
    // The times of use reach the store at the end, if not before.
    site.stop.send_replace(true);
    site.running.await.expect("no panic");
    let touched = site.store.touched.lock().expect("no panic");
    let mut used: Vec<(&str, &str)> = touched.iter().map(|(flow, slot, _)| (flow.as_str(), slot.as_str())).collect();
    used.sort_unstable();
    assert_eq!(used, [("old", "primary"), ("signed", "primary"), ("signed", "secondary")]);
}

#[tokio::test]
async fn an_open_flow_needs_no_signature() {
    let site = Site::start().await;
    assert_eq!(site.send("POST", "/flows/open/", "", "").await.status, 202);
}

#[tokio::test]
async fn paths_and_methods_are_checked_behind_the_authentication() {
    let site = Site::start().await;
    let orders = |path: &str| site.url("orders").replace("/flows/orders", &format!("/flows/orders{path}"));
    let fits = site.send("GET", &orders("/customers/a%2Fb"), "", "").await;
    assert_eq!(fits.status, 202);
    let path = site.engine.came.lock().expect("no panic")[0].1.path.clone();
    assert_eq!(path, [("id".to_owned(), "a/b".to_owned())]);
    for bad in ["", "/customers", "/customers/1/2", "/customers/%ff"] {
        assert_eq!(site.send("GET", &orders(bad), "", "").await.code(), "not_found", "{bad}");
    }
    let method = site.send("POST", &orders("/customers/1"), "", "{}").await;
    assert_eq!((method.status, method.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(method.headers["allow"], "GET, PUT");
    for method in ["OPTIONS", "HEAD", "post"] {
        let raw = format!("{method} {} HTTP/1.1\r\nhost: x\r\n\r\n", site.url("signed"));
        let mut stream = TcpStream::connect(site.public).await.expect("connects");
        stream.write_all(raw.as_bytes()).await.expect("sends");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("answers");
        assert_eq!(&head, b"HTTP/1.1 405", "{method}");
    }
}

#[tokio::test]
async fn outside_flows_there_is_health_and_404() {
    let site = Site::start().await;
    let health = site.send("GET", "/healthz", "", "").await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    assert_eq!(site.send("POST", "/healthz", "", "").await.headers["allow"], "GET, HEAD");
    for path in ["/", "/flows", "/flows/", "/metrics", "/readyz", "/api/v1/runs", "/x/../flows/open"] {
        let answer = site.send("GET", path, "", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn refused_bodies_are_kept_before_they_are_answered() {
    let site = Site::start().await;
    let errors = vec![BodyError { pointer: "/UserDetails/Phone".into(), message: "not a text".into() }];
    let problem = Problem { status: 400, code: "schema_mismatch", message: "does not fit".into(), errors };
    plan(&site, Accepted::Refused(problem));
    let url = format!("{}&a=1", site.url("signed"));
    let answer = site.send("POST", &url, "content-encoding: gzip\r\ncookie: x=y\r\n", gzip(b"{\"a\":1}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "schema_mismatch"));
    assert_eq!(answer.json()["errors"], json!([{"pointer": "/UserDetails/Phone", "message": "not a text"}]));
    let row = site.store.rejected.lock().expect("no panic").remove(0);
    assert_eq!(row.id.to_string(), answer.headers["x-request-id"]);
    assert_eq!((row.flow.as_str(), row.code.as_str(), row.method.as_str()), ("signed", "schema_mismatch", "POST"));
    assert_eq!(row.body, b"{\"a\":1}");
    assert_eq!(row.query, [("a".to_owned(), "1".to_owned())]);
    assert!(row.headers.iter().all(|(name, _)| name != "content-encoding" && name != "cookie"));
    assert_eq!(row.findings[0].pointer, "/UserDetails/Phone");
}

#[tokio::test]
async fn undecodable_bodies_are_kept_as_they_came() {
    let site = Site::start().await;
    for (headers, body, status, code) in [
        ("", &b"{\"a\":\"\xe9\"}"[..], 400, "invalid_utf8"),
        ("content-encoding: br\r\n", b"xx", 415, "unsupported_encoding"),
        ("content-encoding: gzip\r\n", b"not gzip", 400, "invalid_gzip"),
        ("content-type: application/json; charset=latin1\r\n", b"\"\xe9\"", 415, "unsupported_charset"),
        ("content-type: multipart/form-data; boundary=x\r\n", b"--x\r\n\xff", 415, "unsupported_media_type"),
    ] {
        let answer = site.send("POST", &site.url("signed"), headers, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        let row = site.store.rejected.lock().expect("no panic").remove(0);
        assert_eq!((row.body.as_slice(), row.code.as_str()), (body, code));
    }
    assert!(site.engine.came.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_cannot_be_kept_is_503() {
    let site = Site::start().await;
    site.store.broken.store(true, Ordering::SeqCst);
    let answer = site.post("signed", b"\xff").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
}

#[tokio::test]
async fn a_refusal_repeats_nothing_of_the_lead() {
    let site = Site::start().await;
    let answer = site.post("signed", b"{\"Email\": \"someone@contoso.com\", \"x\": \"\xff\"}").await;
    assert_eq!(answer.status, 400);
    assert!(!answer.body.contains("contoso"), "{}", answer.body);
}

#[tokio::test]
async fn rates_per_flow_and_per_address_are_429() {
    let mut config = config();
    config.limits.rate_per_flow = Some(Rate { per_second: 0.001 });
    config.limits.failed_auth_per_address = Rate { per_second: 0.001 };
    let site = Site::with(config, FakeEngine::default()).await;
    assert_eq!(site.post("signed", "{}").await.status, 202);
    let limited = site.post("signed", "{}").await;
    assert_eq!((limited.status, limited.code().as_str()), (429, "rate_limited"));
    assert_eq!(limited.headers["retry-after"], "1000");
    assert_eq!(site.send("POST", "/flows/open", "", "{}").await.status, 202);

    assert_eq!(site.send("POST", "/flows/nobody", "", "").await.status, 401);
    let failed = site.send("POST", "/flows/nobody", "x-forwarded-for: 9.9.9.9\r\n", "").await;
    assert_eq!((failed.status, failed.code().as_str()), (429, "too_many_failures"));
    // Whoever knows the URL gets in, whatever neighbours behind the same address do.
    assert_eq!(site.send("POST", &site.url("old"), "", "{}").await.status, 429);
    let orders = site.url("orders").replace("/flows/orders", "/flows/orders/customers/1");
    assert_eq!(site.send("PUT", &orders, "", "{}").await.status, 202);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_rate() {
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.0/8".into()];
    config.limits.failed_auth_per_address = Rate { per_second: 0.001 };
    let site = Site::with(config, FakeEngine::default()).await;
    for (client, status) in [("9.9.9.9", 401), ("9.9.9.9", 429), ("8.8.8.8", 401), ("1.1.1.1, 8.8.8.8", 429)] {
        let header = format!("x-forwarded-for: {client}\r\n");
        assert_eq!(site.send("POST", "/flows/nobody", &header, "").await.status, status, "{client}");
    }
}

fn planned_answer(site: &Site, answered: Option<Answered>) -> Option<oneshot::Sender<Answered>> {
    let (sender, answer) = oneshot::channel();
    plan(site, Accepted::Run { run_id: RunId::new(RUN), answer: Some(answer) });
    match answered {
        Some(answered) => {
            sender.send(answered).expect("the receiver is held");
            None
        }
        None => Some(sender),
    }
}

fn respond(status: u16, headers: &[(&str, &str)], body: Value) -> Answered {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answered::Respond(actions::Answer { status, headers, body })
}

#[tokio::test]
async fn respond_says_what_is_answered() {
    let site = Site::start().await;
    planned_answer(&site, Some(respond(201, &[("x-a", "1"), ("content-length", "9")], json!({"b": [1]}))));
    let answer = site.post("signed", "{}").await;
    assert_eq!((answer.status, answer.json()), (201, json!({"b": [1]})));
    assert_eq!((answer.headers["x-a"].as_str(), answer.headers["content-type"].as_str()), ("1", "application/json"));
    assert!(answer.headers.contains_key("x-leadflow-run-id") && answer.headers.contains_key("x-request-id"));

    planned_answer(&site, Some(respond(200, &[("Content-Type", "text/plain")], json!("plain \"text\""))));
    assert_eq!(site.post("signed", "{}").await.body, "plain \"text\"");
    planned_answer(&site, Some(respond(200, &[], json!("text"))));
    assert_eq!(site.post("signed", "{}").await.body, "\"text\"");
    planned_answer(&site, Some(respond(204, &[], json!({"dropped": true}))));
    assert_eq!(site.post("signed", "{}").await.body, "");
    planned_answer(&site, Some(respond(404, &[("bad name", "x"), ("x-bad", "a\r\nb: c")], Value::Null)));
    let answer = site.post("signed", "{}").await;
    assert_eq!((answer.status, answer.headers.get("b")), (404, None));
    planned_answer(&site, Some(respond(99, &[], Value::Null)));
    assert_eq!(site.post("signed", "{}").await.code(), "no_response");
}

#[tokio::test]
async fn without_an_answer_it_is_202_502_or_504_and_the_run_is_named() {
    let site = Site::start().await;
    planned_answer(&site, Some(Answered::EndedWithout));
    assert_eq!(site.post("signed", "{}").await.status, 202);
    planned_answer(&site, Some(Answered::FailedWithout));
    let failed = site.post("signed", "{}").await;
    assert_eq!((failed.status, failed.code().as_str()), (502, "no_response"));
    let sender = planned_answer(&site, None);
    let late = site.post("signed", "{}").await;
    assert_eq!((late.status, late.code().as_str()), (504, "respond_timeout"));
    drop(sender);
    drop(planned_answer(&site, None));
    let drained = site.post("signed", "{}").await;
    assert_eq!((drained.status, drained.code().as_str()), (504, "respond_timeout"));
    for answer in [failed, late, drained] {
        assert_eq!(answer.headers["x-leadflow-run-id"].len(), 36);
    }
}

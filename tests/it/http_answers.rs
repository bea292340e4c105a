//! The table of answers (README, "HTTP"), row by row, from the real binary over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::wire::{self, Answer};
use crate::support::{Server, Workspace, sample};

/// Actions that are pure, so that each row is about its answer alone.
const FLOWS: &[(&str, &str)] = &[
    (
        "lead",
        "trigger: { type: request, schema: marketplace-lead.json }\n\
         actions:\n  - { name: keep, type: compose, inputs: '{{trigger.body.OfferTitle}}' }\n",
    ),
    (
        "picky",
        "trigger:\n  type: request\n  conditions: ['{{eq trigger.body.take true}}']\n\
         actions:\n  - { name: keep, type: compose, inputs: 1 }\n",
    ),
    (
        "tests",
        "trigger:\n  type: request\n  test_leads: { marker: MSFT_TEST, run: false }\n\
         actions:\n  - { name: keep, type: compose, inputs: 1 }\n",
    ),
    (
        "orders",
        "trigger:\n  type: request\n  method: [GET, PUT]\n  path: 'customers/{id}'\n  authentication: none\n\
         actions:\n  - name: answer\n    type: respond\n    status: 201\n    headers: { x-customer: '{{trigger.path.id}}' }\n    \
         body: { page: '{{trigger.query.page}}' }\n",
    ),
    (
        "broken",
        "trigger: { type: request }\nactions:\n  - { name: fail, type: http, url: 'http://127.0.0.1:9/x', method: GET, \
         retry: { policy: none } }\n  - { name: answer, type: respond, status: 200 }\n",
    ),
    (
        "quiet",
        "trigger: { type: request }\nactions:\n  - { name: answer, type: respond, when: '{{eq 1 2}}', status: 200 }\n",
    ),
    (
        "slow",
        "trigger: { type: request }\nactions:\n  - { name: wait, type: delay, for: 1h }\n  \
         - { name: answer, type: respond, status: 200 }\n",
    ),
    ("off", "enabled: false\ntrigger: { type: request }\nactions:\n  - { name: keep, type: compose, inputs: 1 }\n"),
];

const SETTINGS: &str = "limits: { body: 4KiB, body_unpacked: 8KiB, headers: 8KiB, url: 2KiB, body_timeout: 1s, \
                        header_timeout: 2s, respond_wait: 2s, failed_auth_per_address: 1000/s }\n";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn site() -> (Workspace, Server) {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", SETTINGS);
    for (name, text) in FLOWS {
        workspace.write(&format!("flows/{name}.yaml"), &format!("name: {name}\n{text}"));
    }
    let server = workspace.serve();
    (workspace, server)
}

fn send(method: &str, url: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    wire::send(method, url, headers, body).expect("an answer")
}

/// A problem document: its status, its code, and no lead data.
fn problem(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
    let body = answer.json();
    for key in ["type", "title", "status", "detail", "code", "request_id"] {
        assert!(!body[key].is_null(), "{key} is not in {body}");
    }
    assert_eq!(body["status"], answer.status);
    assert!(!body.to_string().contains("contoso.com"), "lead data in {body}");
    (answer.status, body["code"].as_str().expect("text").to_owned())
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(problem(answer), (status, code.to_owned()));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).expect("in memory");
    packed.finish().expect("in memory")
}

#[test]
fn what_is_stored_is_2xx_and_named() {
    let (workspace, server) = site();
    let accepted = send("POST", server.url("lead"), &[], sample().as_bytes());
    assert_eq!(accepted.status, 202);
    let run_id = accepted.json()["run_id"].as_str().expect("text").to_owned();
    assert_eq!(accepted.json(), json!({"run_id": run_id, "status": "accepted"}));
    assert_eq!(accepted.headers["x-leadflow-run-id"], run_id);

    let skipped = send("POST", server.url("picky"), &[], b"{\"take\": false}");
    assert_eq!((skipped.status, &skipped.json()["status"]), (200, &json!("skipped")));
    assert_eq!(send("POST", server.url("picky"), &[], b"{\"take\": true}").status, 202);
    assert_eq!(send("POST", server.url("tests"), &[], b"{\"a\": \"MSFT_TEST_1\"}").status, 202);
    let statuses: Vec<Value> = workspace.until_ended().iter().map(|run| run["status"].clone()).collect();
    assert_eq!(statuses, ["skipped", "succeeded", "skipped", "succeeded"]);
}

#[test]
fn leads_are_taken_in_every_dress() {
    let (_workspace, server) = site();
    let url = server.url("lead");
    let lead = sample();
    let marked = format!("\u{feff}{lead}");
    let packed = gzip(lead.as_bytes());
    let rows: &[(Headers, &[u8])] = &[
        (&[], lead.as_bytes()),
        (&[("content-type", "text/plain; charset=UTF-8")], lead.as_bytes()),
        (&[("content-type", "application/x-www-form-urlencoded")], lead.as_bytes()),
        (&[("content-type", "application/json; charset=us-ascii")], lead.as_bytes()),
        (&[("content-type", "application/json")], marked.as_bytes()),
        (&[("content-encoding", "gzip")], &packed),
    ];
    for (headers, body) in rows {
        assert_eq!(send("POST", url, headers, body).status, 202, "{headers:?}");
    }
}

#[test]
fn respond_answers_for_itself() {
    let (_workspace, server) = site();
    let url = server.url("orders").replace("{id}", "a%2Fb");
    let answer = send("PUT", &format!("{url}?page=2"), &[], b"");
    assert_eq!((answer.status, answer.json()), (201, json!({"page": "2"})));
    assert_eq!(answer.headers["x-customer"], "a/b");
    assert!(answer.headers.contains_key("x-leadflow-run-id"));

    let failed = send("POST", server.url("broken"), &[], b"{}");
    is(&failed, 502, "no_response");
    assert!(failed.headers.contains_key("x-leadflow-run-id"));
    assert_eq!(send("POST", server.url("quiet"), &[], b"{}").status, 202);
    let late = send("POST", server.url("slow"), &[], b"{}");
    is(&late, 504, "respond_timeout");
    assert!(late.headers.contains_key("x-leadflow-run-id"));
}

#[test]
fn bodies_that_do_not_fit_are_refused_with_their_place_and_kept() {
    let (workspace, server) = site();
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let wrong = sample().replace("\"someone@contoso.com\"", "17");
    let rows: &[(Headers, &[u8], u16, &str)] = &[
        (&[], b"{\n  \"a\": }", 400, "invalid_json"),
        (&[], b"{\"a\": \"\\ud800\"}", 400, "invalid_json"),
        (&[], b"{\"a\": 1, \"a\": 2}", 400, "duplicate_json_key"),
        (&[], deep.as_bytes(), 400, "json_too_deep"),
        (&[], b"{\"a\": \"\xe9\"}", 400, "invalid_utf8"),
        (&[], b"\xff\xfe{\0}\0", 400, "invalid_utf8"),
        (&[], b"", 400, "empty_body"),
        (&[], wrong.as_bytes(), 400, "schema_mismatch"),
        (&[("content-encoding", "gzip")], b"{}", 400, "invalid_gzip"),
        (&[("content-encoding", "br")], b"{}", 415, "unsupported_encoding"),
        (&[("content-type", "application/json; charset=latin1")], b"\"\xe9\"", 415, "unsupported_charset"),
        (&[("content-type", "application/x-www-form-urlencoded")], b"{\"a\": }", 400, "invalid_json"),
        (&[("content-type", "application/x-www-form-urlencoded")], b"Email=%E9", 400, "invalid_utf8"),
        (&[("content-type", "multipart/form-data; boundary=x")], b"--x--", 415, "unsupported_media_type"),
    ];
    for (headers, body, status, code) in rows {
        is(&send("POST", server.url("lead"), headers, body), *status, code);
    }
    let broken = send("POST", server.url("lead"), &[], b"{\n  \"a\": }").json();
    assert!(broken["detail"].as_str().expect("text").contains("line 2 column"), "{broken}");
    let mismatch = send("POST", server.url("lead"), &[], wrong.as_bytes()).json();
    assert_eq!(mismatch["errors"][0]["pointer"], "/UserDetails/Email", "{mismatch}");
    let kept = workspace.json(&["runs", "rejected", "list", "--json"]);
    assert_eq!(kept.as_array().expect("a list").len(), rows.len() + 2);
    assert!(workspace.runs().is_empty());
}

#[test]
fn strangers_learn_nothing() {
    let (_workspace, server) = site();
    let good = server.url("lead").to_owned();
    let base = good.split("/flows/").next().expect("a base").to_owned();
    let mut seen = Vec::new();
    for url in [
        format!("{base}/flows/lead"),
        format!("{good}x"),
        good.replace("sv=1", "sv=2"),
        good.replace("/flows/lead", "/flows/picky"),
        good.replace("/flows/lead", "/flows/nobody"),
        good.replace("/flows/lead", "/flows/off"),
        format!("{base}/flows/../healthz"),
    ] {
        for method in ["POST", "GET", "OPTIONS"] {
            let answer = send(method, &url, &[], b"{}");
            is(&answer, 401, "unauthorized");
            let mut body = answer.json();
            body["request_id"] = Value::Null;
            let mut headers = answer.headers.clone();
            headers.retain(|name, _| name != "x-request-id" && name != "date");
            seen.push((headers, body));
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    // Parameters may come in any order, with others between them; a trailing slash is ignored.
    let (path, query) = good.split_once('?').expect("a query");
    let (version, signature) = query.split_once('&').expect("two parameters");
    let other = format!("{path}/?{signature}&utm=1&{version}");
    assert_eq!(send("POST", &other, &[], sample().as_bytes()).status, 202);
}

#[test]
fn sizes_methods_and_paths_have_their_own_answers() {
    let (_workspace, server) = site();
    let url = server.url("lead");
    let (address, path) = wire::split(url);
    let base = format!("http://{address}");
    let method = send("GET", url, &[], b"");
    is(&method, 405, "method_not_allowed");
    assert_eq!(method.headers["allow"], "POST");
    is(&send("POST", &url.replace('?', "/deeper?"), &[], b"{}"), 404, "not_found");
    is(&send("GET", &format!("{base}/"), &[], b""), 404, "not_found");
    is(&send("GET", &format!("{base}/metrics"), &[], b""), 404, "not_found");
    assert_eq!(send("GET", &format!("{base}/healthz"), &[], b"").status, 200);

    is(&send("POST", url, &[], &[b' '; 4097]), 413, "body_too_large");
    is(&send("POST", url, &[("content-encoding", "gzip")], &gzip(&[b' '; 9000])), 413, "body_too_large");
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunked = wire::raw(address, format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).expect("an answer");
    is(&chunked, 413, "body_too_large");
    is(&send("POST", &format!("{url}&x={}", "y".repeat(2048)), &[], b"{}"), 414, "url_too_long");
    is(&send("POST", url, &[("x-large", &"y".repeat(9000))], b"{}"), 431, "headers_too_large");

    let stalled = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{{");
    is(&wire::raw(address, stalled.as_bytes()).expect("an answer"), 408, "request_timeout");
}

/// Whether the server ends a connection that sends `begin` and then nothing.
fn is_ended(address: SocketAddr, begin: &str) -> bool {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(begin.as_bytes()).expect("sends");
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn silence_ends_a_connection() {
    let (_workspace, server) = site();
    let (address, _) = wire::split(server.url("lead"));
    for begin in ["", "P", "POST /flows/lead HTTP/1.1\r\nhost:", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        assert!(is_ended(address, begin), "{begin:?} keeps a connection");
    }
}

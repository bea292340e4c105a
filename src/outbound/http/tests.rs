//! Requests over real sockets against a server that does what each test tells it to.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::secret::Secret;

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// What the server does after it has read a request.
#[derive(Clone)]
enum Then {
    /// Writes these bytes and closes.
    Answer(Vec<u8>),
    /// Writes a head, then bytes without end.
    Endless,
    /// Closes without a word.
    Drop,
    /// Says nothing and keeps the connection.
    Silence,
}

struct Server {
    address: std::net::SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: tokio::sync::mpsc::UnboundedReceiver<String>,
}

async fn serve(then: Then) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream, then.clone(), seen.clone()));
        }
    });
    Server { address, connections, requests }
}

async fn answer(mut stream: TcpStream, then: Then, seen: tokio::sync::mpsc::UnboundedSender<String>) {
    let request = read_request(&mut stream).await;
    let _nobody_looks = seen.send(request);
    match then {
        Then::Answer(bytes) => stream.write_all(&bytes).await.expect("the client reads"),
        Then::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
            stream.write_all(head).await.expect("the client reads");
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
        Then::Drop => {}
        Then::Silence => std::future::pending().await,
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let head_end = text.find("\r\n\r\n");
        let length = |head: &str| {
            let line =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            line.unwrap_or(0_usize)
        };
        if read == 0 || head_end.is_some_and(|end| bytes.len() >= end + 4 + length(&text[..end])) {
            return text;
        }
    }
}

fn get(url: String) -> HttpRequest {
    HttpRequest { method: "GET".into(), url, query: Vec::new(), headers: Vec::new(), body: None, url_from_value: false }
}

fn anonymous() -> HttpTransport {
    HttpTransport::anonymous(&HttpClientSettings::default()).expect("a transport")
}

async fn ask(then: Then) -> Reply {
    let server = serve(then).await;
    anonymous().send(&get(format!("http://{}/?secret=hunter2", server.address)), LONG).await
}

fn raw(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => {
            assert!(!failure.message.contains("hunter2") && !failure.message.contains("http:"), "{}", failure.message);
            failure
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_goes_out_whole_and_its_answer_comes_back() {
    let mut server =
        serve(Then::Answer(raw("201 Created", "Content-Type: application/json\r\nX-A: 1\r\n", b"{\"id\":7}"))).await;
    let origin = Origin {
        base_url: Some(format!("http://{}/v1", server.address)),
        headers: vec![("X-Tenant".into(), "t".into())],
        query: vec![("v".into(), "2".into())],
        auth: Credentials::Basic { username: "lead".into(), password: Secret::new("secret") },
    };
    let transport = HttpTransport::connection(&HttpClientSettings::default(), origin).expect("a transport");
    let request = HttpRequest {
        method: "POST".into(),
        url: "/leads".into(),
        headers: vec![("X-Name".into(), "Jürgen".into())],
        body: Some(HttpBody::Json(json!({"name": "O'Brien & \"Söhne\""}))),
        ..get(String::new())
    };
    let Reply::Http(reply) = transport.send(&request, LONG).await else { panic!("an answer") };
    assert_eq!((reply.status, &reply.body), (201, &json!({"id": 7})));
    assert!(reply.headers.contains(&("x-a".into(), "1".into())));
    let seen = server.requests.recv().await.expect("a request");
    assert!(seen.starts_with("POST /v1/leads?v=2 HTTP/1.1\r\n"), "{seen}");
    for line in
        ["authorization: Basic bGVhZDpzZWNyZXQ=", "x-tenant: t", "x-name: Jürgen", "content-type: application/json"]
    {
        assert!(seen.contains(&format!("{line}\r\n")), "{line} in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\n{\"name\":\"O'Brien & \\\"Söhne\\\"\"}"), "{seen}");
}

#[tokio::test]
async fn every_status_is_an_answer_and_no_redirect_is_followed() {
    for (status, want) in [("302 Found", 302), ("404 Not Found", 404), ("503 Service Unavailable", 503)] {
        let server = serve(Then::Answer(raw(status, "Location: /elsewhere\r\nRetry-After: 7\r\n", b""))).await;
        let reply = anonymous().send(&get(format!("http://{}/", server.address)), LONG).await;
        let Reply::Http(reply) = reply else { panic!("an answer") };
        assert_eq!((reply.status, reply.retry_after, reply.body), (want, Some(7_000_000), Value::Null));
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown() {
    let dropped = failure(ask(Then::Drop).await);
    assert_eq!((dropped.code.as_str(), dropped.class), ("unknown_outcome", Class::Unknown));
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let cut = failure(ask(Then::Answer(cut)).await);
    assert_eq!((cut.code.as_str(), cut.class), ("unknown_outcome", Class::Unknown));
}

#[tokio::test]
async fn an_error_status_counts_though_its_body_broke_off() {
    let cut = b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let Reply::Http(reply) = ask(Then::Answer(cut)).await else { panic!("an answer") };
    assert_eq!((reply.status, reply.body), (503, Value::Null));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = serve(Then::Silence).await;
    let request = get(format!("http://{}/", server.address));
    let late = failure(anonymous().send(&request, Duration::from_millis(200)).await);
    assert_eq!((late.code.as_str(), late.class), ("timeout", Class::TimedOut));
}

#[tokio::test]
async fn what_was_never_sent_is_retryable() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let refused = failure(anonymous().send(&get(format!("http://{free}/?secret=hunter2")), LONG).await);
    assert_eq!((refused.code.as_str(), refused.class), ("connect_failed", Class::Retryable));
    assert!(refused.message.contains("127.0.0.1 refuses the connection"), "{}", refused.message);
    let nowhere = failure(anonymous().send(&get("http://leadflow.invalid/?secret=hunter2".into()), LONG).await);
    assert_eq!((nowhere.code.as_str(), nowhere.class), ("dns_failed", Class::Retryable));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mail_server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"220 no TLS here\r\n").await.expect("the client reads");
        read_request(&mut stream).await
    });
    let plain = failure(anonymous().send(&get(format!("https://{address}/?secret=hunter2")), LONG).await);
    mail_server.abort();
    assert_eq!((plain.code.as_str(), plain.class), ("tls_failed", Class::Retryable));
}

#[tokio::test]
async fn a_value_cannot_reach_a_private_address() {
    let server = serve(Then::Answer(raw("200 OK", "", b"inside"))).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0x7f.1", "127.0.0.1."] {
        let request = HttpRequest { url_from_value: true, ..get(format!("http://{host}:{port}/")) };
        let refused = failure(anonymous().send(&request, LONG).await);
        assert_eq!((refused.code.as_str(), refused.class), ("private_address", Class::Terminal), "{host}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    for allowed in ["127.0.0.0/8", "localhost"] {
        let allow_private = AllowPrivate::parse(&[allowed.to_owned()]).expect("a list");
        let settings = HttpClientSettings { allow_private, ..HttpClientSettings::default() };
        let transport = HttpTransport::anonymous(&settings).expect("a transport");
        let request = HttpRequest { url_from_value: true, ..get(format!("http://localhost:{port}/")) };
        assert!(matches!(transport.send(&request, LONG).await, Reply::Http(_)), "{allowed}");
    }
}

#[tokio::test]
async fn answers_are_capped_after_unpacking() {
    let long = failure(ask(Then::Endless).await);
    assert_eq!((long.code.as_str(), long.class), ("response_too_long", Class::Terminal));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 1 << 20]).expect("packed");
    packed.write_all(b"{\"a\":1}").expect("packed");
    let packed = packed.finish().expect("packed");
    let headers = "content-encoding: gzip\r\ncontent-type: application/json\r\n";
    for (bytes_max, fits) in [(2 << 20, true), (1 << 20, false)] {
        let server = serve(Then::Answer(raw("200 OK", headers, &packed))).await;
        let settings = HttpClientSettings { response_bytes_max: bytes_max, ..HttpClientSettings::default() };
        let transport = HttpTransport::anonymous(&settings).expect("a transport");
        match transport.send(&get(format!("http://{}/", server.address)), LONG).await {
            Reply::Http(reply) => assert!(fits && reply.body == json!({"a": 1})),
            other => assert!(!fits && failure(other).code == "response_too_long"),
        }
    }
}

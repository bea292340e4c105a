//! Silent, slow and large clients, on both listeners.

use std::io::Write as _;
use std::time::Instant;

use super::*;

/// Far above every timeout of the test's settings, no more than the patience of [`read_answer`].
const SOON: Duration = Duration::from_secs(20);

/// Whether the server closes the connection by itself.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    // A reset is a close too.
    closed.is_ok()
}

#[tokio::test]
async fn silent_clients_are_closed_on_both_listeners() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    for address in [site.public, site.admin] {
        for begin in ["", "P", "POST /flows/open HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(begin.as_bytes()).await.expect("sends");
            assert!(is_closed(&mut stream).await, "{begin:?} keeps a connection open");
        }
    }
}

#[tokio::test]
async fn a_head_that_begins_and_stays_away_is_408_and_silence_is_closed_without_a_word() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    for address in [site.public, site.admin] {
        for (begin, answered) in [("", false), ("P", true), ("POST /flows/open HTTP/1.1\r\nhost: x\r\n", true)] {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(begin.as_bytes()).await.expect("sends");
            let mut rest = Vec::new();
            tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("closed").expect("no reset");
            let text = String::from_utf8(rest).expect("text");
            assert_eq!(text.starts_with("HTTP/1.1 408 "), answered, "{begin:?}: {text}");
            assert_eq!(text.contains("\"code\":\"request_timeout\""), answered, "{text}");
        }
        let mut idle = TcpStream::connect(address).await.expect("connects");
        idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sends");
        let mut rest = Vec::new();
        tokio::time::timeout(SOON, idle.read_to_end(&mut rest)).await.expect("closed").expect("no reset");
        let text = String::from_utf8(rest).expect("text");
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.matches("HTTP/1.1 ").count() == 1,
            "an idle connection ends in silence: {text}"
        );
    }
}

#[tokio::test]
async fn dripping_headers_are_closed() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    for address in [site.public, site.admin] {
        let (mut reader, mut writer) = TcpStream::connect(address).await.expect("connects").into_split();
        let drip = tokio::spawn(async move {
            let mut drops = b"GET /healthz HTTP/1.1\r\nx-drip: ".iter().chain(std::iter::repeat(&b'x'));
            // Ends when the server has closed: that is what is tested.
            while writer.write_all(&[*drops.next().expect("endless")]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(SOON, reader.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a dripping header keeps a connection open");
        tokio::time::timeout(SOON, drip).await.expect("the drip ends").expect("no panic");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_used_ones_are_kept() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    let mut stream = TcpStream::connect(site.public).await.expect("connects");
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
        assert_eq!(read_answer(&mut stream).await.expect("answers").status, 200);
    }
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn bodies_that_stall_or_drip_are_408() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    let head = |length| format!("POST {} HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n", site.url("signed"));
    let mut stream = TcpStream::connect(site.public).await.expect("connects");
    stream.write_all((head("content-length: 10") + "{").as_bytes()).await.expect("sends");
    let stalled = read_answer(&mut stream).await.expect("answers");
    assert_eq!((stalled.status, stalled.code().as_str()), (408, "request_timeout"));
    assert!(is_closed(&mut stream).await);

    let stream = TcpStream::connect(site.public).await.expect("connects");
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head("transfer-encoding: chunked").as_bytes()).await.expect("sends");
    let drip = tokio::spawn(async move {
        while writer.write_all(b"1\r\n \r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, reader.read_buf(&mut bytes)).await.expect("answers in time");
    assert!(read.is_ok() && bytes.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&bytes));
    drop(reader);
    tokio::time::timeout(SOON, drip).await.expect("the drip ends").expect("no panic");
    assert!(site.engine.came.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn large_bodies_are_413_announced_chunked_and_packed() {
    let site = Site::start().await;
    assert_eq!(site.post("signed", vec![b' '; 1000]).await.status, 202);
    let announced = site.post("signed", vec![b' '; 1001]).await;
    assert_eq!((announced.status, announced.code().as_str()), (413, "body_too_large"));
    assert_eq!(site.post("signed", vec![b' '; 3 << 20]).await.status, 413);

    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", site.url("signed"));
    let chunk = format!("1f4\r\n{}\r\n", " ".repeat(500));
    assert_eq!(site.raw(format!("{head}{chunk}{chunk}0\r\n\r\n")).await.status, 202);
    let chunked = site.raw(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!((chunked.status, chunked.code().as_str()), (413, "body_too_large"));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 200_000]).expect("in memory");
    let bomb = gzip.finish().expect("in memory");
    assert!(bomb.len() < 1000);
    let packed = site.send("POST", &site.url("signed"), "content-encoding: gzip\r\n", bomb).await;
    assert_eq!((packed.status, packed.code().as_str()), (413, "body_too_large"));
    assert!(site.store.rejected.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_sender_that_asks_first_is_answered_at_once() {
    let site = Site::start().await;
    let head = |url: &str, length| {
        format!("POST {url} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    assert_eq!(site.raw(head("/flows/nobody", 10)).await.status, 401);
    let mut stream = TcpStream::connect(site.public).await.expect("connects");
    stream.write_all(head(&site.url("signed"), 2).as_bytes()).await.expect("sends");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("answers");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.expect("sends");
    assert_eq!(read_answer(&mut stream).await.expect("answers").status, 202);
}

#[tokio::test]
async fn long_urls_are_414_and_large_headers_431_before_anything_else() {
    let site = Site::start().await;
    let long = format!("/flows/nobody?x={}", "y".repeat(1024));
    let url = site.send("POST", &long, "", "{}").await;
    assert_eq!((url.status, url.code().as_str()), (414, "url_too_long"));
    let large = format!("x-large: {}\r\n", "y".repeat(5000));
    let headers = site.send("POST", "/flows/nobody", &large, "{}").await;
    assert_eq!((headers.status, headers.code().as_str()), (431, "headers_too_large"));
    let huge = format!("x-huge: {}\r\n", "y".repeat(100_000));
    assert_eq!(site.send("POST", "/flows/nobody", &huge, "{}").await.status, 431);
    assert_eq!(site.admin(&long, "").await.status, 414);
    assert_eq!(site.admin("/readyz", &large).await.status, 431);
}

#[tokio::test]
async fn a_broken_request_is_400() {
    let site = Site::start().await;
    assert_eq!(site.raw("nonsense\r\n\r\n").await.status, 400);
    let both = "POST /flows/open HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}";
    assert_eq!(site.raw(both).await.status, 400);
    let chunked = "POST /flows/open HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(site.raw(chunked).await.code(), "incomplete_body");
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_is_free() {
    let mut config = config();
    config.limits.connections_max = 2;
    let site = Site::with(config, FakeEngine::default()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(site.public).await.expect("connects");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
        assert_eq!(read_answer(&mut stream).await.expect("answers").status, 200);
        held.push(stream);
    }
    let mut third = TcpStream::connect(site.public).await.expect("the backlog takes it");
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), third.read(&mut byte)).await;
    assert!(early.is_err(), "a connection over the limit was served");
    // The other listener has a limit of its own.
    assert_eq!(site.admin("/healthz", "").await.status, 200);
    held.pop();
    assert_eq!(read_answer(&mut third).await.expect("answers").status, 200);
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed() {
    let site = Site::with(hurried(), FakeEngine::default()).await;
    let mut stream = TcpStream::connect(site.public).await.expect("connects");
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let begun = Instant::now();
    // Answers fill the buffers of both sides, then the server's write stalls; then it closes and our write fails.
    while stream.write_all(&request).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server feeds a client that does not read");
    }
}

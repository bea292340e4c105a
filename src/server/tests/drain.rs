//! Stopping: nothing new, nothing in flight lost.

use std::sync::atomic::Ordering;

use super::*;
use crate::engine::Accepted;

async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    let wait = async {
        while !true_now() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}

fn gated() -> FakeEngine {
    FakeEngine { gate: Some(tokio::sync::Semaphore::new(0)), ..FakeEngine::default() }
}

async fn begin(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(site.public).await.expect("connects");
    let request = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}", site.url("signed"));
    stream.write_all(request.as_bytes()).await.expect("sends");
    stream
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_refuses_the_rest() {
    let site = Site::with(config(), gated()).await;
    let mut idle = TcpStream::connect(site.public).await.expect("connects");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
    assert_eq!(read_answer(&mut idle).await.expect("answers").status, 200);
    let mut silent = TcpStream::connect(site.public).await.expect("connects");
    let mut flying = begin(&site).await;
    until("the accept", || site.engine.begun.load(Ordering::SeqCst) == 1).await;

    site.stop.send_replace(true);
    assert!(read_answer(&mut idle).await.is_none());
    assert!(read_answer(&mut silent).await.is_none());
    assert!(TcpStream::connect(site.public).await.is_err(), "a stopped listener still accepts");
    let ready = site.admin("/readyz", "").await;
    assert_eq!((ready.status, ready.json()["draining"].as_bool()), (503, Some(true)));

    site.engine.gate.as_ref().expect("gated").add_permits(1);
    assert_eq!(read_answer(&mut flying).await.expect("answers").status, 202);
    tokio::time::timeout(Duration::from_secs(10), site.running).await.expect("ends").expect("no panic");
    assert!(TcpStream::connect(site.admin).await.is_err());
}

#[tokio::test]
async fn a_store_that_stops_says_shutting_down() {
    let site = Site::with(config(), gated()).await;
    site.engine.planned.lock().expect("no panic").push_back(Accepted::Unavailable("draining".into()));
    let mut flying = begin(&site).await;
    until("the accept", || site.engine.begun.load(Ordering::SeqCst) == 1).await;
    site.stop.send_replace(true);
    site.engine.gate.as_ref().expect("gated").add_permits(1);
    let answer = read_answer(&mut flying).await.expect("answers");
    assert_eq!((answer.status, answer.code().as_str()), (503, "shutting_down"));
}

#[tokio::test]
async fn the_grace_ends_what_does_not_end() {
    let mut config = config();
    config.shutdown_grace = Duration::from_millis(50);
    let site = Site::with(config, gated()).await;
    let _flying = begin(&site).await;
    until("the accept", || site.engine.begun.load(Ordering::SeqCst) == 1).await;
    site.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), site.running).await.expect("ends").expect("no panic");
}

//! The admin listener.

use std::sync::atomic::Ordering;

use super::*;
use crate::ids::RunId;
use crate::run::{RunStatus, TriggerData};
use crate::store::{RunRow, StoredRun};

fn run(flow: &str, at: i64) -> StoredRun {
    let trigger = TriggerData { method: "POST".into(), body: "{}".into(), ..TriggerData::default() };
    let row = RunRow::queued(RunId::new(at), flow.into(), 1, at, trigger);
    let run = RunRow { status: RunStatus::Succeeded, finished_at: Some(at + 5), epoch: 1, trigger: None, ..row };
    StoredRun { run, steps: Vec::new() }
}

#[tokio::test]
async fn readiness_follows_the_store() {
    let site = Site::start().await;
    let ready = site.admin("/readyz", "").await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    assert_eq!(ready.json()["flows"]["live"], json!(["open", "orders", "signed"]));
    site.store.broken.store(true, Ordering::SeqCst);
    let broken = site.admin("/readyz", "").await;
    assert_eq!((broken.status, broken.json()["status"].as_str()), (503, Some("not_ready")));
    assert_eq!(site.admin("/healthz", "").await.status, 200);
    assert_eq!(site.admin("/metrics", "").await.code(), "store_unavailable");
}

#[tokio::test]
async fn metrics_count_answers_by_status() {
    let site = Site::start().await;
    site.post("signed", "{}").await;
    site.send("POST", "/flows/nobody", "", "").await;
    let page = site.admin("/metrics", "").await;
    assert!(page.headers["content-type"].starts_with("text/plain; version=0.0.4"));
    for line in [
        "leadflow_requests_total{answer=\"202\"} 1",
        "leadflow_requests_total{answer=\"401\"} 1",
        "leadflow_active_runs 3",
    ] {
        assert!(page.body.lines().any(|found| found == line), "{line} is not in\n{}", page.body);
    }
}

#[tokio::test]
async fn runs_and_flows_are_listed_without_urls() {
    let site = Site::start().await;
    let runs = [run("signed", 3_000_000), run("open", 2_000_000)];
    let id = runs[0].run.run_id.to_string();
    site.store.runs.lock().expect("no panic").extend(runs);
    assert_eq!(site.admin("/api/v1/runs", "").await.json().as_array().expect("list").len(), 2);
    assert_eq!(site.admin("/api/v1/runs?flow=open", "").await.json()[0]["flow"], "open");
    assert_eq!(site.admin(&format!("/api/v1/runs/{id}"), "").await.json()["run_id"], id);
    assert_eq!(site.admin(&format!("/api/v1/runs/{}", &id[28..]), "").await.json()["run_id"], id);
    assert_eq!(site.admin("/api/v1/runs/0", "").await.code(), "invalid_parameter");
    for unknown in ["/api/v1/runs/ffff", "/api/v1/runs/x", "/api/v1/runs/", "/api/v2/runs", "/flows/open"] {
        assert_eq!(site.admin(unknown, "").await.status, 404, "{unknown}");
    }
    let flows = site.admin("/api/v1/flows", "").await;
    assert_eq!(flows.json()["flows"][2]["name"], "signed");
    assert!(!flows.body.contains("sig="));
    assert_eq!(flows.headers["cache-control"], "no-store");
    let post = exchange(site.admin, b"POST /api/v1/runs HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET, HEAD"));
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_answered() {
    let site = Site::start().await;
    let rebound = site.admin("/api/v1/runs", "host: evil.example:8081\r\n").await;
    assert_eq!((rebound.status, rebound.code().as_str()), (403, "host_refused"));
    assert_eq!(site.admin("/readyz", "host: [::1]:8081\r\n").await.status, 200);
    assert_eq!(site.admin("/healthz", "host: evil.example\r\n").await.status, 200);
}

#[tokio::test]
async fn a_token_is_wanted_when_it_is_set() {
    let mut config = config();
    config.admin_token = Some(Secret::new("correct horse"));
    config.limits.failed_auth_per_address = Rate { per_second: 2.0 };
    let site = Site::with(config, FakeEngine::default()).await;
    for path in ["/readyz", "/metrics"] {
        let answer = site.admin(path, "").await;
        assert_eq!((answer.status, answer.headers["www-authenticate"].as_str()), (401, "Bearer"));
    }
    let wrong = site.admin("/metrics", "authorization: Bearer wrong\r\n").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (429, "too_many_failures"));
    assert!(!wrong.body.contains("horse"));
    let right = "host: anything.example\r\nauthorization: Bearer correct horse\r\n";
    for path in ["/readyz", "/metrics", "/api/v1/flows", "/api/v1/runs"] {
        assert_eq!(site.admin(path, right).await.status, 200, "{path}");
    }
    assert_eq!(site.admin("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn what_would_be_open_to_everybody_does_not_start() {
    let bind = async |config: Config| {
        let store: Arc<dyn Store> = Arc::new(FakeStore::default());
        let keys = Arc::new(KeyRing::load(store.as_ref(), None).await.expect("a working store"));
        let (library, accept) = (Arc::new(Library::default()), Arc::new(FakeEngine::default()));
        let deps = Deps {
            library,
            accept,
            store,
            keys,
            clock: Arc::new(SystemClock),
            reload: Arc::new(FakeReload::default()),
        };
        Server::bind(config, deps).await.map(|_| ()).map_err(|error| error.to_string())
    };
    let wide = "0.0.0.0:0".parse().expect("address");
    let refused = bind(Config { admin_listen: wide, ..config() }).await.expect_err("no token");
    assert!(refused.contains("admin.token: ${env:LEADFLOW_ADMIN_TOKEN}"), "{refused}");
    let empty = bind(Config { admin_token: Some(Secret::new(" ")), ..config() }).await.expect_err("empty token");
    assert!(empty.contains("admin.token"), "{empty}");
    bind(Config { admin_listen: wide, admin_token: Some(Secret::new("x")), ..config() }).await.expect("a token");
    bind(Config { public_listen: wide, ..config() }).await.expect("the public listener may be public");
    let proxies = bind(Config { trusted_proxies: vec!["nobody".into()], ..config() }).await.expect_err("no network");
    assert!(proxies.contains("public.trusted_proxies"), "{proxies}");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
    let address = taken.local_addr().expect("bound");
    let busy = bind(Config { public_listen: address, ..config() }).await.expect_err("taken");
    assert!(busy.contains(&address.to_string()) && busy.contains("public.listen"), "{busy}");
}

#[tokio::test]
async fn a_reload_is_asked_for_and_answered() {
    let site = Site::start().await;
    let post = async |query: &str, headers: &str| {
        let head = format!(
            "POST /api/v1/reload{query} HTTP/1.1
host: localhost
{headers}"
        );
        exchange(
            site.admin,
            format!(
                "{head}content-length: 0
connection: close

"
            )
            .as_bytes(),
        )
        .await
    };
    let verdict = |on_disk_is_live| crate::library::Verdict { generation: 7, on_disk_is_live, ..Default::default() };
    *site.reload.verdict.lock().expect("no panic") = verdict(true);
    let answer = post("", "").await;
    assert_eq!((answer.status, &answer.json()["on_disk_is_live"]), (202, &Value::Null));
    let answer = post("?wait=true", "").await;
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(7)));
    *site.reload.verdict.lock().expect("no panic") = verdict(false);
    assert_eq!(post("?wait=true", "").await.status, 409);
    assert_eq!(post("?wait=maybe", "").await.status, 400);
    assert_eq!(post("", "origin: https://evil.example\r\n").await.status, 403, "a web page may not");
    assert_eq!(*site.reload.asked.lock().expect("no panic"), [false, true, true]);
}

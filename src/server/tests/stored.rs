//! The server on the real store: what must be on disk is.

use std::path::Path;

use super::*;
use crate::store::sqlite::{Mode, OpenOptions, SqliteStore};

fn open(folder: &Path, mode: Mode) -> SqliteStore {
    SqliteStore::open(OpenOptions::new(folder.join("leadflow.db"), mode)).expect("opens")
}

#[tokio::test]
async fn a_refused_request_is_in_the_inbox_as_it_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::on(open(folder.path(), Mode::Serve), config(), FakeEngine::default()).await;
    let answer = site.post("signed", b"{\"a\": \"\xe9\"}").await;
    assert_eq!(answer.code(), "invalid_utf8");
    let id = answer.json()["request_id"].as_str().expect("an id").to_owned();
    let reader = open(folder.path(), Mode::Read);
    let rows = reader.find_rejected(&id, 2).await.expect("reads");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].code.as_str(), rows[0].body.as_slice()), ("invalid_utf8", &b"{\"a\": \"\xe9\"}"[..]));
}

#[tokio::test]
async fn urls_outlive_a_restart_and_a_rotation_keeps_the_other_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::on(open(folder.path(), Mode::Serve), config(), FakeEngine::default()).await;
    let primary = site.url("signed");
    assert_eq!(site.send("POST", &primary, "", "{}").await.status, 202);
    site.stop.send_replace(true);
    site.running.await.expect("no panic");
    let slots = site.store.keys().await.expect("reads");
    assert!(slots.len() == 1 && slots[0].slot == "primary" && slots[0].last_used_at.is_some(), "{slots:?}");
    drop((site.store, site.engine, site.keys));

    let site = Site::on(open(folder.path(), Mode::Serve), config(), FakeEngine::default()).await;
    assert_eq!(site.url("signed"), primary);
    // A command beside the server reads the same key and writes the rotation.
    let command = open(folder.path(), Mode::Write);
    let beside = KeyRing::load(&open(folder.path(), Mode::Read), None).await.expect("reads");
    assert_eq!(format!("/flows/signed?{}", beside.url_query("signed", "primary", None)), primary);
    assert_eq!(command.rotate_key("signed", "primary", 1).await.expect("writes"), 2);
    site.keys.reload(site.store.as_ref()).await.expect("reads");
    assert_eq!(site.send("POST", &primary, "", "{}").await.status, 401);
    assert_eq!(site.post("signed", "{}").await.status, 202);
    let secondary = format!("/flows/signed?{}", site.keys.url_query("signed", "secondary", None));
    assert_eq!(site.send("POST", &secondary, "", "{}").await.status, 202);
}

#[tokio::test]
async fn a_configured_key_wins_over_the_stored_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Mode::Serve);
    let stored = KeyRing::load(&store, None).await.expect("makes a key");
    let configured = KeyRing::load(&store, Some(Secret::new("mine"))).await.expect("reads");
    assert_ne!(stored.url_query("a", "primary", None), configured.url_query("a", "primary", None));
    assert!(!format!("{stored:?} {configured:?}").contains("mine"));
}

#[tokio::test]
async fn readiness_and_metrics_come_from_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::on(open(folder.path(), Mode::Serve), config(), FakeEngine::default()).await;
    assert_eq!(site.admin("/readyz", "").await.status, 200);
    assert!(site.admin("/metrics", "").await.body.contains("leadflow_runs{status=\"failed\"} 0"));
    assert_eq!(site.admin("/api/v1/runs?status=failed", "").await.json(), json!([]));
}

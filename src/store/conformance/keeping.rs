//! Rejected requests, texts, meta, keys, retention.

use serde_json::json;

use super::{ME, T0, accepted, all_accepted, at, ended, owned, queued, record, step, stored};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::{RunStatus, StepStatus};
use crate::schema::BodyError;
use crate::store::{FlowText, Live, LiveChange, LiveRow, PruneBefore, RejectedCaps, RejectedRow, Store};

fn rejected(seconds: i64, flow: &str, body: &[u8]) -> RejectedRow {
    RejectedRow {
        id: RunId::new(at(seconds)),
        flow: flow.to_owned(),
        received_at: at(seconds),
        code: "invalid_json".to_owned(),
        findings: vec![BodyError { pointer: "/a/0".to_owned(), message: "line 1 column 2".to_owned() }],
        method: "POST".to_owned(),
        path: "/x".to_owned(),
        query: vec![("a".to_owned(), "1".to_owned())],
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: body.to_vec(),
        resubmitted_as: None,
    }
}

async fn inbox(store: &dyn Store, flow: &str) -> Vec<RunId> {
    let rows = store.list_rejected(Some(flow), 1_000).await.expect("lists");
    rows.into_iter().map(|row| row.id).collect()
}

pub(crate) async fn rejected_requests_come_back_and_are_marked(store: &dyn Store) {
    let mut first = rejected(0, "leads", b"{\xFF\x00");
    let second = rejected(1, "other", b"");
    for row in [&first, &second] {
        store.reject(row.clone(), RejectedCaps::default()).await.expect("keeps");
    }
    let run = RunId::new(at(5));
    store.mark_resubmitted(first.id, run).await.expect("marks");
    first.resubmitted_as = Some(run);
    let text = first.id.to_string();
    for part in [text.as_str(), &text[..13], &text[20..]] {
        assert_eq!(store.find_rejected(part, 9).await, Ok(vec![first.clone()]), "{part}");
    }
    assert_eq!(store.find_rejected("zz", 9).await, Ok(Vec::new()));
    let without_body = RejectedRow { body: Vec::new(), ..first };
    assert_eq!(store.list_rejected(None, 9).await, Ok(vec![second, without_body.clone()]), "newest first");
    assert_eq!(store.list_rejected(Some("leads"), 9).await, Ok(vec![without_body]));
    assert_eq!(store.list_rejected(None, 1).await.expect("lists").len(), 1);
}

pub(crate) async fn the_inbox_of_a_flow_is_capped(store: &dyn Store) {
    let caps = RejectedCaps { count_max: 3, bytes_max: 100 };
    let mut ids = Vec::new();
    for seconds in 0..5 {
        let row = rejected(seconds, "leads", &[b'x'; 10]);
        ids.push(row.id);
        store.reject(row, caps).await.expect("keeps");
    }
    store.reject(rejected(6, "other", &[b'x'; 90]), caps).await.expect("keeps");
    ids.reverse();
    assert_eq!(inbox(store, "leads").await, ids[..3], "the oldest go first, by count");
    assert_eq!(inbox(store, "other").await.len(), 1, "each flow for itself");
    let large = rejected(7, "leads", &[b'x'; 85]);
    store.reject(large.clone(), caps).await.expect("keeps");
    assert_eq!(inbox(store, "leads").await, [large.id, ids[0]], "and by bytes");
    let huge = rejected(8, "leads", &[b'x'; 500]);
    store.reject(huge.clone(), caps).await.expect("keeps");
    assert_eq!(inbox(store, "leads").await, [huge.id], "the newest stays, however large");
}

pub(crate) async fn a_text_is_pinned_once(store: &dyn Store) {
    let text = |digest: &str| FlowText {
        digest: digest.to_owned(),
        flow: "leads".to_owned(),
        bundle: format!("{{\"flow\":\"{digest}\"}}"),
    };
    let first = store.pin_text(text("aa"), at(0)).await.expect("pins");
    let second = store.pin_text(text("bb"), at(1)).await.expect("pins");
    assert_ne!(first, second);
    assert_eq!(store.pin_text(text("aa"), at(2)).await, Ok(first));
    assert_eq!(store.text(second).await, Ok(Some(text("bb"))));
    assert_eq!(store.text(second + 100).await, Ok(None));
}

fn flow_text(digest: &str, flow: &str) -> FlowText {
    FlowText { digest: digest.to_owned(), flow: flow.to_owned(), bundle: "{}".to_owned() }
}

pub(crate) async fn texts_are_pinned_together(store: &dyn Store) {
    let known = store.pin_text(flow_text("bb", "leads"), at(0)).await.expect("pins");
    let texts = ["aa", "bb", "cc", "aa"].map(|digest| flow_text(digest, "leads")).to_vec();
    let ids = store.pin_texts(texts, at(1)).await.expect("pins");
    assert_eq!((ids.len(), ids[1], ids[0]), (4, known, ids[3]), "in their order, each once");
    assert_eq!(store.text(ids[2]).await.expect("reads").map(|text| text.digest).as_deref(), Some("cc"));
    assert_eq!(store.pin_texts(Vec::new(), at(2)).await, Ok(Vec::new()));
}

fn live_row(file: &str, text_id: i64, digest: &str, generation: u64) -> LiveRow {
    let (flow, digest) = ("leads".to_owned(), digest.to_owned());
    LiveRow { file: file.to_owned(), flow, text_id, digest, generation, loaded_at: at(generation as i64) }
}

pub(crate) async fn what_is_live_is_kept_by_file(store: &dyn Store) {
    assert_eq!(store.live().await, Ok(Live::default()));
    let ids = store.pin_texts(vec![flow_text("aa", "leads"), flow_text("bb", "leads")], at(0)).await.expect("pins");
    let (a, b) = (live_row("flows/a.yaml", ids[0], "aa", 1), live_row("flows/b.yaml", ids[1], "bb", 1));
    let gone = LiveRow { file: "flows/gone.yaml".to_owned(), text_id: 999, ..a.clone() };
    let put = vec![b.clone(), a.clone(), gone];
    store.set_live(LiveChange { generation: 1, put, remove: Vec::new() }).await.expect("stores");
    let live = store.live().await.expect("reads");
    assert_eq!(live, Live { generation: 1, rows: vec![a.clone(), b] }, "a row without its text is left out");
    let a = live_row("flows/a.yaml", ids[1], "bb", 2);
    let remove = vec!["flows/b.yaml".to_owned(), a.file.clone(), "flows/none.yaml".to_owned()];
    store.set_live(LiveChange { generation: 2, put: vec![a.clone()], remove }).await.expect("stores");
    assert_eq!(store.live().await, Ok(Live { generation: 2, rows: vec![a] }), "what is put stays");
}

pub(crate) async fn the_generation_never_goes_back(store: &dyn Store) {
    for (generation, stored) in [(7, 7), (10, 10), (9, 10)] {
        store.set_live(LiveChange { generation, ..LiveChange::default() }).await.expect("stores");
        assert_eq!(store.live().await.expect("reads").generation, stored);
    }
}

pub(crate) async fn retention_keeps_what_is_live(store: &dyn Store) {
    let live = store.pin_text(flow_text("aa", "leads"), at(0)).await.expect("pins");
    let old = store.pin_text(flow_text("bb", "leads"), at(1)).await.expect("pins");
    store.pin_text(flow_text("cc", "leads"), at(2)).await.expect("pins");
    let put = vec![live_row("flows/a.yaml", live, "aa", 1)];
    store.set_live(LiveChange { generation: 1, put, remove: Vec::new() }).await.expect("stores");
    assert_eq!(store.prune(before(at(9_000))).await, Ok(1));
    assert!(store.text(live).await.expect("reads").is_some(), "a later pin of the flow does not make it less live");
    assert!(store.text(old).await.expect("reads").is_none());
}

pub(crate) async fn meta_is_stored_once(store: &dyn Store) {
    assert_eq!(store.meta("signing_key").await, Ok(None));
    let (first, second) =
        tokio::join!(store.meta_or_insert("signing_key", "one"), store.meta_or_insert("signing_key", "two"));
    assert_eq!(first, second, "whoever comes second gets what the first stored");
    assert_eq!(store.meta("signing_key").await.expect("reads"), first.ok());
}

pub(crate) async fn meta_can_be_replaced(store: &dyn Store) {
    for value in ["one", "two", "two"] {
        assert_eq!(store.set_meta("refresh_token/a", value).await, Ok(()));
        assert_eq!(store.meta("refresh_token/a").await, Ok(Some(value.to_owned())));
    }
    assert_eq!(store.meta("refresh_token/b").await, Ok(None), "another key is another value");
}

pub(crate) async fn a_rotation_makes_a_slot_one_version_newer(store: &dyn Store) {
    assert_eq!(store.keys().await, Ok(Vec::new()));
    assert_eq!(store.rotate_key("leads", "primary", at(1)).await, Ok(2), "a missing slot is at version 1");
    assert_eq!(store.rotate_key("leads", "primary", at(2)).await, Ok(3));
    assert_eq!(store.rotate_key("leads", "secondary", at(3)).await, Ok(2));
    let keys = store.keys().await.expect("reads");
    let slots: Vec<_> = keys.iter().map(|key| (key.slot.as_str(), key.version, key.created_at)).collect();
    assert_eq!(slots, [("primary", 3, at(2)), ("secondary", 2, at(3))]);
}

pub(crate) async fn keys_remember_their_last_use(store: &dyn Store) {
    let used = |slot: &str, seconds| ("leads".to_owned(), slot.to_owned(), at(seconds));
    store.touch_keys(vec![used("primary", 5), used("secondary", 6)]).await.expect("notes");
    store.touch_keys(vec![used("primary", 3)]).await.expect("notes");
    let keys = store.keys().await.expect("reads");
    let slots: Vec<_> = keys.iter().map(|key| (key.version, key.last_used_at)).collect();
    assert_eq!(slots, [(1, Some(at(5))), (1, Some(at(6)))], "the latest use counts, whatever order they come in");
    store.rotate_key("leads", "primary", at(9)).await.expect("rotates");
    assert_eq!(store.keys().await.expect("reads")[0].last_used_at, None, "the new version was never used");
}

fn before(all: Micros) -> PruneBefore {
    PruneBefore { succeeded: all, failed: all, rejected: all, duplicates: all, dedupe: all, rows_max: 1_000 }
}

pub(crate) async fn retention_goes_by_kind_and_takes_everything_along(store: &dyn Store) {
    let kinds =
        [RunStatus::Succeeded, RunStatus::Skipped, RunStatus::Failed, RunStatus::TimedOut, RunStatus::Cancelled];
    let mut runs = Vec::new();
    for (seconds, status) in (0..).zip(kinds.into_iter().chain([RunStatus::Duplicate])) {
        let mut new = ended(seconds, status);
        new.steps = vec![step("a", StepStatus::Succeeded)];
        new.steps[0].io.outputs = Some(json!("x".repeat(5_000)));
        new.records = vec![record(new.run.run_id, &format!("r{seconds}"), json!({}))];
        runs.push(accepted(store, new).await);
    }
    runs.push(accepted(store, queued(6)).await);
    runs.push(accepted(store, owned(7, ME)).await);
    store.reject(rejected(0, "leads", b"x"), RejectedCaps::default()).await.expect("keeps");
    store.reject(rejected(50, "leads", b"x"), RejectedCaps::default()).await.expect("keeps");

    let late = at(40);
    assert_eq!(store.prune(PruneBefore { succeeded: at(1), ..before(T0) }).await, Ok(1), "older than, not as old as");
    assert_eq!(store.prune(PruneBefore { succeeded: late, ..before(T0) }).await, Ok(1));
    assert_eq!(store.prune(PruneBefore { duplicates: late, ..before(T0) }).await, Ok(1));
    assert_eq!(store.prune(PruneBefore { failed: late, ..before(T0) }).await, Ok(3));
    assert_eq!(store.prune(PruneBefore { rejected: late, ..before(T0) }).await, Ok(1));
    for run in &runs[..6] {
        assert_eq!(store.run(*run).await, Ok(None));
    }
    assert_eq!(store.prune(before(at(9_000))).await, Ok(1), "unfinished runs stay, however old; the last request goes");
    stored(store, runs[6]).await;
    stored(store, runs[7]).await;
    assert_eq!(store.list_records(None, 99).await.expect("lists").len(), 6, "records outlive their runs");
}

pub(crate) async fn retention_keeps_to_its_budget(store: &dyn Store) {
    all_accepted(store, (0..100).map(|seconds| ended(seconds, RunStatus::Succeeded))).await;
    let budget = |rows_max| PruneBefore { rows_max, ..before(at(9_000)) };
    assert_eq!(store.prune(budget(70)).await, Ok(70));
    assert_eq!(store.prune(budget(70)).await, Ok(30));
    assert_eq!(store.prune(budget(70)).await, Ok(0));
}

pub(crate) async fn retention_takes_texts_that_nothing_uses(store: &dyn Store) {
    let text = |digest: &str, flow: &str| FlowText {
        digest: digest.to_owned(),
        flow: flow.to_owned(),
        bundle: "{}".to_owned(),
    };
    let used = store.pin_text(text("aa", "leads"), at(0)).await.expect("pins");
    let unused = store.pin_text(text("bb", "leads"), at(1)).await.expect("pins");
    let back = store.pin_text(text("cc", "leads"), at(2)).await.expect("pins");
    let live = store.pin_text(text("dd", "leads"), at(3)).await.expect("pins");
    let quiet = store.pin_text(text("ee", "quiet"), at(0)).await.expect("pins");
    store.pin_text(text("cc", "leads"), at(4)).await.expect("pins");
    let mut new = queued(5);
    new.run.text_id = used;
    accepted(store, new).await;
    assert_eq!(store.prune(before(at(3))).await, Ok(1));
    let mut kept = Vec::new();
    for id in [used, unused, back, live, quiet] {
        kept.push(store.text(id).await.expect("reads").is_some());
    }
    assert_eq!(kept, [true, false, true, true, true], "used, unused, pinned last, too young, the only one of its flow");
}

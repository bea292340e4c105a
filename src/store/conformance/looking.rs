//! Finding, listing, counting.

use serde_json::json;

use super::{ME, accepted, ended, owned, queued, record, step};
use crate::ids::RunId;
use crate::run::{RunStatus, StepStatus};
use crate::store::{NewRun, RunFilter, StepIo, Store};

async fn listed(store: &dyn Store, filter: RunFilter) -> Vec<RunId> {
    let runs = store.list_runs(filter).await.expect("lists");
    runs.into_iter().map(|stored| stored.run.run_id).collect()
}

fn of_flow(mut new: NewRun, flow: &str) -> NewRun {
    flow.clone_into(&mut new.run.flow);
    new
}

pub(crate) async fn runs_are_found_by_either_end_of_their_id(store: &dyn Store) {
    let ids = ["018bcfe5-6800-7000-8000-0000000000ab", "018bcfe5-6bff-7000-8000-00000000f0ab"];
    for id in ids {
        let mut new = queued(0);
        new.run.run_id = id.parse().expect("an id");
        accepted(store, new).await;
    }
    let [older, newer] = ids.map(|id| id.parse::<RunId>().expect("an id"));
    for (part, found) in [
        ("018bcfe5", vec![newer, older]),
        ("018BCFE5-68", vec![older]),
        ("018bcfe56", vec![newer, older]),
        ("ab", vec![newer, older]),
        ("0ab", vec![newer, older]),
        ("f0ab", vec![newer]),
        ("00ab", vec![older]),
        (ids[0], vec![older]),
        ("cfe5", vec![]),
        ("", vec![]),
        ("not an id", vec![]),
    ] {
        assert_eq!(store.find_runs(part, 9).await, Ok(found), "{part}");
    }
    assert_eq!(store.find_runs("ab", 1).await, Ok(vec![newer]));
}

pub(crate) async fn lists_are_newest_first_and_paged(store: &dyn Store) {
    let mut all = Vec::new();
    for seconds in 0..6 {
        let (flow, status) = if seconds % 2 == 0 { ("a", RunStatus::Failed) } else { ("b", RunStatus::Succeeded) };
        all.push(accepted(store, of_flow(ended(seconds, status), flow)).await);
    }
    all.push(accepted(store, of_flow(queued(6), "a")).await);
    all.reverse();
    let pick = |places: &[usize]| places.iter().map(|at| all[*at]).collect::<Vec<_>>();
    let filter = |flow: Option<&str>, statuses: &[RunStatus]| RunFilter {
        flow: flow.map(str::to_owned),
        statuses: statuses.to_vec(),
        before: None,
        limit: 9,
    };
    let (failed, queued) = (RunStatus::Failed, RunStatus::Queued);
    assert_eq!(listed(store, filter(None, &[])).await, all);
    assert_eq!(listed(store, filter(Some("a"), &[])).await, pick(&[0, 2, 4, 6]));
    assert_eq!(listed(store, filter(None, &[failed])).await, pick(&[2, 4, 6]));
    assert_eq!(listed(store, filter(None, &[failed, queued, failed])).await, pick(&[0, 2, 4, 6]));
    assert_eq!(listed(store, filter(Some("a"), &[RunStatus::Succeeded])).await, []);
    assert_eq!(listed(store, filter(Some("none"), &[])).await, []);
    for (flow, statuses) in [(None, &[][..]), (Some("a"), &[]), (None, &[failed, queued]), (Some("a"), &[failed])] {
        let whole = listed(store, filter(flow, statuses)).await;
        let mut paged = Vec::new();
        loop {
            let page = RunFilter { before: paged.last().copied(), limit: 2, ..filter(flow, statuses) };
            let page = listed(store, page).await;
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, whole, "{flow:?} {statuses:?}");
    }
}

pub(crate) async fn lists_leave_values_out(store: &dyn Store) {
    let mut new = queued(0);
    new.steps = vec![step("b", StepStatus::Waiting), step("a", StepStatus::Succeeded)];
    accepted(store, new.clone()).await;
    let listed = store.list_runs(RunFilter { limit: 1, ..RunFilter::default() }).await.expect("lists").remove(0);
    new.run.trigger = None;
    assert_eq!(listed.run, new.run);
    new.steps.reverse();
    for step in &mut new.steps {
        step.io = StepIo::default();
    }
    assert_eq!(listed.steps, new.steps, "by (idx, name)");
}

pub(crate) async fn records_are_found_and_listed(store: &dyn Store) {
    let mut new = owned(0, ME);
    let run = new.run.run_id;
    let mut mail = record(run, "0192aaaa-0000-8000-8000-00000000beef", json!({"n": 2}));
    mail.entity = "contact".to_owned();
    new.records = vec![record(run, "0192aaaa-0000-8000-8000-0000000000ff", json!({"n": 1})), mail, {
        record(run, "50%_off", json!({"n": [3]}))
    }];
    accepted(store, new).await;
    let n = |records: Vec<crate::store::RecordRow>| -> Vec<String> {
        records.into_iter().map(|record| record.fields["n"].to_string()).collect()
    };
    assert_eq!(n(store.list_records(None, 9).await.expect("lists")), ["[3]", "2", "1"], "newest first");
    assert_eq!(n(store.list_records(None, 2).await.expect("lists")), ["[3]", "2"]);
    assert_eq!(n(store.list_records(Some("lead"), 9).await.expect("lists")), ["[3]", "1"]);
    for (part, found) in [
        ("0192aaaa", vec!["2", "1"]),
        ("BEEF", vec!["2"]),
        ("00ff", vec!["1"]),
        ("50%", vec!["[3]"]),
        ("%", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(n(store.find_records(part, 9).await.expect("finds")), found, "{part}");
    }
}

pub(crate) async fn counts_and_unfinished_agree_with_the_runs(store: &dyn Store) {
    for seconds in 0..3 {
        accepted(store, queued(seconds)).await;
    }
    accepted(store, of_flow(queued(3), "other")).await;
    accepted(store, owned(4, ME)).await;
    accepted(store, ended(5, RunStatus::Succeeded)).await;
    assert_eq!(store.unfinished("leads", 100).await, Ok(4));
    assert_eq!(store.unfinished("leads", 2).await, Ok(2));
    assert_eq!(store.unfinished("none", 100).await, Ok(0));
    let mut counts = store.counts().await.expect("counts");
    counts.retain(|(_, runs)| *runs > 0);
    counts.sort_by_key(|(status, _)| status.as_str());
    assert_eq!(counts, [(RunStatus::Queued, 4), (RunStatus::Running, 1), (RunStatus::Succeeded, 1)]);
}

pub(crate) async fn a_store_at_rest_is_well(store: &dyn Store) {
    store.ping().await.expect("writes");
    store.ping().await.expect("writes again");
    store.changed_elsewhere().await.expect("answers");
    accepted(store, queued(0)).await;
    assert_eq!(store.changed_elsewhere().await, Ok(false), "what it does itself is not elsewhere");
}

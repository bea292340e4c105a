//! Accept, commit, the fence, and values of any size.

use serde_json::json;

use super::{ME, accepted, at, commit, ended, owned, queued, record, step, stored, trigger};
use crate::flow::secure::Secure;
use crate::ids::RunId;
use crate::run::{Parent, RunStatus, StepStatus};
use crate::store::{Inflight, Store, StoreError, StoredRun};

pub(crate) async fn what_was_accepted_is_read_back_whole(store: &dyn Store) {
    let mut new = owned(0, ME);
    new.run.code = Some("note".to_owned());
    new.run.is_test = true;
    new.run.strikes = 1;
    new.run.cancel = true;
    new.run.duplicate_of = Some(RunId::new(at(1)));
    new.run.origin_run = Some(RunId::new(at(2)));
    new.run.key_run = RunId::new(at(3));
    new.run.parent = Some(Parent { run: RunId::new(at(4)), step: "call#00000001".to_owned(), depth: 2 });
    new.run.answer = Some(json!({"status": 201, "body": "@5"}));
    new.run.trigger = Some(trigger("{\"name\":\"Žofie \\u0000 \u{1F600}\"}\n"));
    new.steps = vec![step("a", StepStatus::Succeeded), step("b", StepStatus::Waiting)];
    let run = accepted(store, new.clone()).await;
    assert_eq!(stored(store, run).await, StoredRun { run: new.run, steps: new.steps });
    assert_eq!(store.run(RunId::new(at(9))).await, Ok(None));
}

pub(crate) async fn an_accept_may_be_repeated(store: &dyn Store) {
    let new = owned(0, ME);
    let run = accepted(store, new.clone()).await;
    let mut moved_on = commit(run);
    moved_on.status = RunStatus::Succeeded;
    moved_on.finished_at = Some(at(5));
    store.commit(moved_on).await.expect("commits");
    store.accept(new).await.expect("a repeat after a lost answer");
    assert_eq!(stored(store, run).await.run.status, RunStatus::Succeeded, "a repeat changes nothing");
}

pub(crate) async fn a_run_that_is_not_consistent_is_refused_alone(store: &dyn Store) {
    let mut unfinished_but_ended = queued(0);
    unfinished_but_ended.run.finished_at = Some(at(1));
    let mut finished_but_owned = ended(1, RunStatus::Failed);
    finished_but_owned.run.owner = Some(ME.to_owned());
    let good = queued(2);
    let good_id = good.run.run_id;
    let (first, second, third) =
        tokio::join!(store.accept(unfinished_but_ended), store.accept(good), store.accept(finished_but_owned));
    assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
    assert_eq!(second, Ok(()), "a bad request never fails its neighbours");
    assert!(matches!(third, Err(StoreError::Unavailable(_))), "{third:?}");
    assert_eq!(stored(store, good_id).await.run.status, RunStatus::Queued);
    assert_eq!(
        store.list_runs(crate::store::RunFilter { limit: 9, ..Default::default() }).await.expect("lists").len(),
        1
    );
}

/// Small and large, committed before and with the end; what another step holds too stays there.
pub(crate) async fn secure_values_go_when_the_run_ends(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let (large, shared) = (json!("s".repeat(5_000)), json!("t".repeat(5_000)));
    let with = |name: &str, inputs: &serde_json::Value, outputs: &serde_json::Value, secure: Secure| {
        let mut step = step(name, StepStatus::Succeeded);
        (step.io.inputs, step.io.outputs, step.io.secure) = (Some(inputs.clone()), Some(outputs.clone()), secure);
        step
    };
    let both = Secure { inputs: true, outputs: true, error: true };
    let outputs = Secure { outputs: true, ..Secure::default() };
    let mut first = commit(run);
    first.steps = vec![
        with("a", &large, &json!("small"), both),
        with("b", &shared, &large, outputs),
        with("c", &shared, &json!(null), both),
    ];
    store.commit(first.clone()).await.expect("commits");
    assert_eq!(stored(store, run).await.steps, first.steps, "whoever goes on with the run needs them");
    let mut last = commit(run);
    (last.status, last.finished_at) = (RunStatus::Failed, Some(at(5)));
    last.steps = vec![with("d", &json!([1]), &large, both)];
    store.commit(last).await.expect("commits");
    let steps = stored(store, run).await.steps;
    let io: Vec<_> = steps.iter().map(|step| (step.io.inputs.clone(), step.io.outputs.clone())).collect();
    let mask = || Some(json!("***"));
    let kept = (Some(shared.clone()), mask());
    assert_eq!(io, [(mask(), mask()), kept, (mask(), Some(json!(null))), (mask(), mask())]);
    let errors = steps.iter().map(|step| step.io.error.as_ref().map(|error| error.message.as_str()));
    assert_eq!(errors.collect::<Vec<_>>(), [Some("***"), Some("the CRM is down"), Some("***"), Some("***")]);
}

pub(crate) async fn large_values_come_back_as_they_went(store: &dyn Store) {
    for (round, bytes) in [2_046, 2_047, 2_048, 2_049, 100_000, 1 << 20].into_iter().enumerate() {
        let large = json!("x".repeat(bytes));
        let mut new = owned(i64::try_from(round).expect("small"), ME);
        new.run.trigger = Some(trigger(&large.to_string()));
        new.run.answer = Some(large.clone());
        let mut step = step("a", StepStatus::Succeeded);
        step.io.inputs = Some(large.clone());
        step.io.outputs = Some(large.clone());
        new.steps = vec![step.clone()];
        let run = accepted(store, new.clone()).await;
        assert_eq!(stored(store, run).await, StoredRun { run: new.run.clone(), steps: new.steps }, "{bytes} bytes");

        let mut later = commit(run);
        later.answer = Some(json!([large]));
        step.io.outputs = Some(json!({ "again": large }));
        later.steps = vec![step.clone()];
        store.commit(later.clone()).await.expect("commits");
        let after = stored(store, run).await;
        assert_eq!((after.run.answer, after.steps), (later.answer, vec![step]), "{bytes} bytes");
    }
}

pub(crate) async fn a_commit_changes_what_it_says(store: &dyn Store) {
    let mut new = owned(0, ME);
    new.steps = vec![step("a", StepStatus::Waiting)];
    let run = accepted(store, new.clone()).await;
    let mut change = commit(run);
    change.status = RunStatus::Waiting;
    change.code = Some("retry".to_owned());
    change.lane = "mail".to_owned();
    change.due_at = at(60);
    change.inflight = vec![Inflight { name: "b".to_owned(), idx: "00000003".to_owned(), attempt: 4 }];
    change.answer = Some(json!(null));
    change.steps = vec![step("a", StepStatus::Failed), step("b", StepStatus::Running)];
    store.commit(change.clone()).await.expect("commits");

    let mut expected = new.run;
    expected.status = RunStatus::Waiting;
    expected.code.clone_from(&change.code);
    expected.lane.clone_from(&change.lane);
    expected.due_at = at(60);
    expected.inflight.clone_from(&change.inflight);
    expected.answer.clone_from(&change.answer);
    assert_eq!(stored(store, run).await, StoredRun { run: expected.clone(), steps: change.steps });

    let mut release = commit(run);
    release.release = true;
    store.commit(release).await.expect("commits");
    let after = stored(store, run).await.run;
    assert_eq!((after.owner, after.epoch, after.answer), (None, 1, expected.answer), "no answer leaves the old one");
}

pub(crate) async fn a_final_commit_releases_the_run(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let mut end = commit(run);
    end.status = RunStatus::Failed;
    end.finished_at = Some(at(7));
    end.inflight = vec![Inflight { name: "b".to_owned(), idx: String::new(), attempt: 1 }];
    store.commit(end.clone()).await.expect("commits");
    let after = stored(store, run).await.run;
    assert_eq!((after.owner, after.finished_at, after.inflight), (None, Some(at(7)), Vec::new()));
    assert_eq!(store.commit(end).await, Err(StoreError::Fenced), "nobody owns it any more");
}

pub(crate) async fn a_fenced_commit_writes_nothing(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let before = stored(store, run).await;
    let mut full = commit(run);
    full.status = RunStatus::Succeeded;
    full.finished_at = Some(at(1));
    full.steps = vec![step("a", StepStatus::Succeeded)];
    full.records = vec![record(run, "r1", json!({}))];
    let mut other_owner = full.clone();
    other_owner.owner = "node-2".to_owned();
    let mut other_epoch = full.clone();
    other_epoch.epoch = 2;
    let mut other_run = full.clone();
    other_run.run_id = RunId::new(at(9));
    for fenced in [other_owner, other_epoch, other_run] {
        assert_eq!(store.commit(fenced).await, Err(StoreError::Fenced));
    }
    assert_eq!(stored(store, run).await, before);
    assert_eq!(store.list_records(None, 9).await, Ok(Vec::new()));
}

pub(crate) async fn a_commit_may_be_repeated(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let mut change = commit(run);
    change.steps = vec![step("a", StepStatus::Succeeded)];
    change.records = vec![record(run, "r1", json!({"n": 1}))];
    store.commit(change.clone()).await.expect("commits");
    let once = stored(store, run).await;
    store.commit(change).await.expect("a repeat after a lost answer");
    assert_eq!(stored(store, run).await, once);
    assert_eq!(store.list_records(None, 9).await.expect("lists").len(), 1);
}

pub(crate) async fn a_record_is_written_once(store: &dyn Store) {
    let mut new = owned(0, ME);
    let run = new.run.run_id;
    new.records =
        vec![record(run, "r1", json!({"company": "Contoso"})), record(run, "r1", json!({"company": "other"}))];
    accepted(store, new).await;
    let mut change = commit(run);
    change.records = vec![record(run, "r1", json!({"company": "third"}))];
    store.commit(change).await.expect("commits");
    let records = store.list_records(None, 9).await.expect("lists");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].fields, json!({"company": "Contoso"}));
    assert_eq!((records[0].run_id, records[0].created_at, records[0].updated_at), (run, at(1), at(1)));
}

pub(crate) async fn a_called_run_is_stored_with_the_commit_that_calls_it(store: &dyn Store) {
    let caller = accepted(store, owned(0, ME)).await;
    let mut child = queued(1);
    child.run.parent = Some(Parent { run: caller, step: "call".to_owned(), depth: 1 });
    let mut fenced = commit(caller);
    (fenced.epoch, fenced.starts) = (7, vec![child.clone()]);
    assert_eq!(store.commit(fenced).await, Err(StoreError::Fenced));
    assert_eq!(store.run(child.run.run_id).await, Ok(None), "nothing of a fenced commit is written");
    let calls = crate::store::RunCommit { starts: vec![child.clone()], ..commit(caller) };
    store.commit(calls.clone()).await.expect("commits");
    store.commit(calls).await.expect("a repeat after a lost answer");
    assert_eq!(stored(store, child.run.run_id).await.run, child.run);
}

pub(crate) async fn a_called_run_wakes_its_caller_when_nobody_works_on_it(store: &dyn Store) {
    let (waiting, working) = (accepted(store, owned(0, ME)).await, accepted(store, owned(1, ME)).await);
    let mut waits = commit(waiting);
    (waits.status, waits.lane, waits.due_at, waits.release) = (RunStatus::Waiting, String::new(), at(900), true);
    store.commit(waits).await.expect("commits");
    for (second, caller) in [(2, waiting), (3, working)] {
        let child = accepted(store, owned(second, ME)).await;
        let mut ends = commit(child);
        (ends.status, ends.finished_at, ends.wakes) = (RunStatus::Succeeded, Some(at(5)), Some((caller, at(5))));
        store.commit(ends).await.expect("commits");
    }
    assert_eq!(stored(store, waiting).await.run.due_at, at(5));
    let untouched = stored(store, working).await.run;
    assert_eq!(untouched.owner.as_deref(), Some(ME));
    assert_ne!(untouched.due_at, at(5), "whoever works on it looks by itself");
}

//! Claim, rescue, cancel, release, lanes.

use super::{ME, accepted, all_accepted, at, claimed, commit, ended, owned, queued, step, stored};
use crate::ids::RunId;
use crate::run::{RunStatus, StepStatus};
use crate::store::{CancelAnswer, LaneState, LaneWant, NewRun, Rescued, STRIKES_MAX, SUSPECT_STRIKES, Store};

fn in_lane(mut new: NewRun, lane: &str, due_seconds: i64) -> NewRun {
    lane.clone_into(&mut new.run.lane);
    new.run.due_at = at(due_seconds);
    new
}

fn held(seconds: i64, code: &str, lane: &str) -> NewRun {
    let mut new = in_lane(queued(seconds), lane, seconds);
    new.run.status = RunStatus::Held;
    new.run.code = Some(code.to_owned());
    new
}

pub(crate) async fn claims_take_the_oldest_due_of_each_lane(store: &dyn Store) {
    let late = accepted(store, in_lane(queued(0), "crm", 30)).await;
    let early = accepted(store, in_lane(queued(1), "crm", 10)).await;
    let middle = accepted(store, in_lane(queued(2), "crm", 20)).await;
    let mail = accepted(store, in_lane(queued(3), "mail", 5)).await;
    let future = accepted(store, in_lane(queued(4), "crm", 100)).await;
    let wants = [("crm", 2), ("mail", 5), ("none", 5)];
    let wants = wants.map(|(lane, max)| LaneWant { lane: lane.to_owned(), max, gate: None }).to_vec();
    let first = store.claim(ME, wants, at(50)).await.expect("claims");
    let ids: Vec<RunId> = first.iter().map(|stored| stored.run.run_id).collect();
    assert_eq!(ids, [early, middle, mail]);
    assert_eq!(claimed(store, "crm", 9, at(50)).await, [late]);
    assert_eq!(claimed(store, "crm", 9, at(99)).await, []);
    assert_eq!(claimed(store, "crm", 9, at(100)).await, [future], "due means due");
}

pub(crate) async fn what_is_not_free_is_not_claimed(store: &dyn Store) {
    accepted(store, owned(0, "node-2")).await;
    accepted(store, ended(1, RunStatus::Succeeded)).await;
    accepted(store, held(2, "poison", "crm")).await;
    assert_eq!(claimed(store, "crm", 9, at(99)).await, []);
    let free = accepted(store, queued(3)).await;
    assert_eq!(claimed(store, "crm", 0, at(99)).await, []);
    assert_eq!(claimed(store, "crm", 9, at(99)).await, [free]);
    assert_eq!(claimed(store, "crm", 9, at(99)).await, [], "taken");
}

pub(crate) async fn a_claimed_run_brings_trigger_and_steps(store: &dyn Store) {
    let mut new = queued(0);
    new.steps = vec![step("a", StepStatus::Succeeded), step("b", StepStatus::Waiting)];
    let run = accepted(store, new.clone()).await;
    let want = LaneWant { lane: "crm".to_owned(), max: 1, gate: None };
    let claimed = store.claim(ME, vec![want], at(1)).await.expect("claims").remove(0);
    assert_eq!(claimed.steps, new.steps);
    assert_eq!(claimed.run.trigger, new.run.trigger);
    let (owner, epoch, status) = (claimed.run.owner.clone(), claimed.run.epoch, claimed.run.status);
    assert_eq!((owner.as_deref(), epoch, status), (Some(ME), 1, RunStatus::Running));
    assert_eq!(claimed, stored(store, run).await, "as stored");
}

pub(crate) async fn a_rescue_takes_the_runs_of_the_dead(store: &dyn Store) {
    let dead = all_accepted(store, (0..150).map(|seconds| in_lane(owned(seconds, "dead"), "crm", 9_000))).await;
    let mine = accepted(store, owned(200, ME)).await;
    let free = accepted(store, in_lane(queued(201), "crm", 9_000)).await;
    accepted(store, ended(202, RunStatus::Failed)).await;
    assert_eq!(store.rescue(ME, at(300)).await, Ok(Rescued { runs: 150, held: 0 }));
    let run = stored(store, dead[7]).await.run;
    assert_eq!((run.owner, run.epoch, run.strikes, run.due_at), (None, 2, 1, at(300)));
    assert_eq!(run.inflight.len(), 1, "what may have been sent stays known");
    assert_eq!(stored(store, mine).await.run.epoch, 1);
    assert_eq!(stored(store, free).await.run.due_at, at(9_000));
    assert_eq!(store.rescue(ME, at(301)).await, Ok(Rescued::default()));
    assert_eq!(claimed(store, "crm", 500, at(300)).await.len(), 150);
}

/// Crashes `times` times: claimed by a node, taken back by the next.
async fn crash(store: &dyn Store, times: std::ops::Range<u32>) -> Rescued {
    let mut last = Rescued::default();
    for round in times {
        let want = LaneWant { lane: "crm".to_owned(), max: 9, gate: None };
        store.claim(&format!("node-{round}"), vec![want], at(1_000)).await.expect("claims");
        last = store.rescue(&format!("node-{}", round + 1), at(1_000)).await.expect("rescues");
    }
    last
}

pub(crate) async fn a_run_without_progress_is_held_as_poison(store: &dyn Store) {
    let run = accepted(store, queued(0)).await;
    assert_eq!(crash(store, 0..STRIKES_MAX).await, Rescued { runs: 1, held: 0 });
    assert_eq!(crash(store, STRIKES_MAX..STRIKES_MAX + 1).await, Rescued { runs: 1, held: 1 });
    let held = stored(store, run).await.run;
    assert_eq!((held.status, held.code.as_deref(), held.owner), (RunStatus::Held, Some("poison"), None));
    assert_eq!(claimed(store, "crm", 9, at(2_000)).await, []);
    assert_eq!(store.release_held("poison", None, at(1_000)).await, Ok(1));
    assert_eq!(crash(store, 20..21).await, Rescued { runs: 1, held: 0 }, "released, it is trusted again");
}

pub(crate) async fn suspects_work_one_at_a_time(store: &dyn Store) {
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(accepted(store, queued(number)).await);
    }
    crash(store, 0..SUSPECT_STRIKES).await;
    let fresh = accepted(store, queued(9)).await;
    let mut first = claimed(store, "crm", 9, at(2_000)).await;
    first.sort_unstable();
    assert_eq!(first.len(), 2, "one suspect beside the fresh run");
    assert!(first.contains(&fresh));
    assert_eq!(claimed(store, "crm", 9, at(2_000)).await, [], "the others wait for it");
    let suspect = *first.iter().find(|run| **run != fresh).expect("the suspect");
    let mut end = commit(suspect);
    end.epoch = stored(store, suspect).await.run.epoch;
    (end.status, end.finished_at, end.release) = (RunStatus::Succeeded, Some(at(2_001)), true);
    store.commit(end).await.expect("commits");
    let next = claimed(store, "crm", 9, at(2_002)).await;
    assert!(next.len() == 1 && runs.contains(&next[0]) && next[0] != suspect);
}

pub(crate) async fn progress_forgives_strikes(store: &dyn Store) {
    let run = accepted(store, queued(0)).await;
    crash(store, 0..STRIKES_MAX).await;
    assert_eq!(claimed(store, "crm", 9, at(1_000)).await, [run]);
    let mut waiting = commit(run);
    waiting.epoch = stored(store, run).await.run.epoch;
    waiting.steps = vec![step("a", StepStatus::Waiting)];
    store.commit(waiting.clone()).await.expect("commits");
    assert_eq!(stored(store, run).await.run.strikes, STRIKES_MAX, "a step that waits is no progress");
    waiting.steps = vec![step("a", StepStatus::Failed)];
    store.commit(waiting).await.expect("commits");
    assert_eq!(stored(store, run).await.run.strikes, 0);
}

pub(crate) async fn a_cancel_reaches_whoever_works_on_the_run(store: &dyn Store) {
    let run = accepted(store, owned(0, ME)).await;
    let over = accepted(store, ended(1, RunStatus::TimedOut)).await;
    assert_eq!(store.cancel_requests(ME).await, Ok(Vec::new()));
    assert_eq!(store.request_cancel(run, at(5)).await, Ok(CancelAnswer::Requested));
    assert_eq!(store.request_cancel(run, at(6)).await, Ok(CancelAnswer::Requested), "twice is once");
    assert_eq!(store.request_cancel(over, at(5)).await, Ok(CancelAnswer::AlreadyFinished(RunStatus::TimedOut)));
    assert_eq!(store.request_cancel(RunId::new(at(9)), at(5)).await, Ok(CancelAnswer::Unknown));
    assert_eq!(store.cancel_requests(ME).await, Ok(vec![run]));
    assert_eq!(store.cancel_requests("node-2").await, Ok(Vec::new()));
    let mut end = commit(run);
    end.status = RunStatus::Cancelled;
    end.finished_at = Some(at(7));
    store.commit(end).await.expect("commits: the request does not fence");
    assert_eq!(store.cancel_requests(ME).await, Ok(Vec::new()));
}

/// Ids of everything that can be claimed now, in whatever lane.
async fn claimable(store: &dyn Store, now: i64) -> Vec<RunId> {
    let lanes = store.lanes(at(now)).await.expect("lanes");
    let wants = lanes.into_iter().map(|state| LaneWant { lane: state.lane, max: 9, gate: None }).collect();
    let runs = store.claim(ME, wants, at(now)).await.expect("claims");
    runs.into_iter().map(|stored| stored.run.run_id).collect()
}

pub(crate) async fn a_cancel_wakes_what_nobody_works_on(store: &dyn Store) {
    let waiting = accepted(store, in_lane(queued(0), "crm", 9_000)).await;
    let aside = accepted(store, held(1, "connection_missing", "mail")).await;
    for run in [waiting, aside] {
        assert_eq!(store.request_cancel(run, at(5)).await, Ok(CancelAnswer::Requested));
    }
    assert!(
        store
            .list_runs(crate::store::RunFilter { statuses: vec![RunStatus::Held], limit: 9, ..Default::default() })
            .await
            .expect("lists")
            .is_empty()
    );
    let mut found = claimable(store, 5).await;
    found.sort_unstable();
    assert_eq!(found, [waiting, aside]);
    assert!(stored(store, aside).await.run.cancel);
}

pub(crate) async fn a_cancelled_run_is_never_put_aside(store: &dyn Store) {
    let put_aside = accepted(store, owned(0, ME)).await;
    let put_off = accepted(store, owned(1, ME)).await;
    let dying = accepted(store, {
        let mut new = owned(2, "dead");
        new.run.strikes = STRIKES_MAX;
        new
    })
    .await;
    for run in [put_aside, put_off, dying] {
        store.request_cancel(run, at(5)).await.expect("requests");
    }
    let mut hold = commit(put_aside);
    (hold.status, hold.code, hold.release) = (RunStatus::Held, Some("poison".to_owned()), true);
    store.commit(hold).await.expect("commits");
    let mut wait = commit(put_off);
    (wait.status, wait.due_at, wait.release) = (RunStatus::Waiting, at(9_000), true);
    store.commit(wait).await.expect("commits");
    assert_eq!(store.rescue(ME, at(5)).await, Ok(Rescued { runs: 1, held: 0 }));
    let mut found = claimable(store, 5).await;
    found.sort_unstable();
    assert_eq!(found, [put_aside, put_off, dying]);
}

pub(crate) async fn held_runs_are_released_by_code_and_lane(store: &dyn Store) {
    all_accepted(store, (0..130).map(|seconds| held(seconds, "connection_missing", "crm"))).await;
    let mail = accepted(store, held(200, "connection_missing", "mail")).await;
    let poison = accepted(store, held(201, "poison", "crm")).await;
    assert_eq!(store.release_held("connection_missing", Some("crm"), at(300)).await, Ok(130));
    assert_eq!(claimed(store, "crm", 500, at(299)).await, [], "due when released");
    assert_eq!(claimed(store, "crm", 500, at(300)).await.len(), 130);
    assert_eq!(store.release_held("connection_missing", None, at(300)).await, Ok(1));
    assert_eq!(claimed(store, "mail", 500, at(300)).await, [mail]);
    assert_eq!(stored(store, mail).await.run.code, None);
    assert_eq!(stored(store, poison).await.run.status, RunStatus::Held);
}

pub(crate) async fn lanes_tell_what_waits(store: &dyn Store) {
    assert_eq!(store.lanes(at(0)).await, Ok(Vec::new()));
    accepted(store, in_lane(queued(0), "", 3)).await;
    accepted(store, in_lane(queued(1), "crm", 10)).await;
    accepted(store, in_lane(queued(2), "crm", 20)).await;
    accepted(store, in_lane(queued(3), "crm", 40)).await;
    accepted(store, in_lane(queued(4), "crm", 30)).await;
    accepted(store, in_lane(queued(5), "mail", 50)).await;
    accepted(store, in_lane(owned(6, ME), "busy", 1)).await;
    accepted(store, held(7, "poison", "aside")).await;
    accepted(store, in_lane(ended(8, RunStatus::Failed), "over", 1)).await;
    let state = |lane: &str, due, next: Option<i64>| LaneState {
        lane: lane.to_owned(),
        due,
        next_due_at: next.map(at),
        inside: 0,
        inside_max: None,
    };
    let mut lanes = store.lanes(at(20)).await.expect("lanes");
    lanes.sort_by(|a, b| a.lane.cmp(&b.lane));
    assert_eq!(lanes, [state("", 1, None), state("crm", 2, Some(30)), state("mail", 0, Some(50))]);
}

//! Taking a request in: all or none, duplicates, the gate.

use super::{ME, accepted, all_accepted, at, commit, joined, owned, queued, record, step, stored};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::{RunStatus, StepStatus};
use crate::store::{
    Arrival, DedupeKey, Gate, Intake, LaneWant, NewRun, PruneBefore, Store, Taken, gate_lane, gated_flow,
};

const ONE: Gate = Gate { runs: 1, waiting: 2 };

fn plain(new: NewRun) -> Arrival {
    Arrival { new, dedupe: None, gate: None }
}

fn keyed(new: NewRun, key: u8, expires_at: Micros) -> Arrival {
    Arrival { dedupe: Some(DedupeKey { hash: [key; 32], expires_at }), ..plain(new) }
}

fn gated(new: NewRun, gate: Gate) -> Arrival {
    Arrival { gate: Some(gate), ..plain(new) }
}

async fn taken(store: &dyn Store, arrivals: Vec<Arrival>) -> Vec<Taken> {
    match store.take_in(arrivals).await.expect("takes in") {
        Intake::Taken(taken) => taken,
        Intake::Full => panic!("the gate is full"),
    }
}

/// Claims from the gate of `leads`; their ids.
async fn passed(store: &dyn Store, gate: Option<u32>) -> Vec<RunId> {
    let want = LaneWant { lane: gate_lane("leads"), max: 9, gate };
    let runs = store.claim(ME, vec![want], at(1_000)).await.expect("claims");
    runs.into_iter().map(|stored| stored.run.run_id).collect()
}

async fn end(store: &dyn Store, run: RunId) {
    let mut end = commit(run);
    let stored = stored(store, run).await.run;
    (end.epoch, end.owner) = (stored.epoch, stored.owner.expect("somebody works on it"));
    (end.status, end.finished_at, end.release) = (RunStatus::Succeeded, Some(at(900)), true);
    store.commit(end).await.expect("commits");
}

pub(crate) async fn the_runs_of_one_request_are_stored_together(store: &dyn Store) {
    let runs: Vec<NewRun> = (0..300).map(queued).collect();
    let became = taken(store, runs.iter().cloned().map(plain).collect()).await;
    assert_eq!(became, vec![Taken::Stored; 300]);
    for new in [&runs[0], &runs[299]] {
        assert_eq!(stored(store, new.run.run_id).await.run, new.run);
    }
    assert_eq!(taken(store, vec![plain(runs[7].clone())]).await, [Taken::Stored], "a repeat changes nothing");
    assert_eq!(store.unfinished("leads", 1_000).await, Ok(300));
}

pub(crate) async fn the_first_with_a_key_runs_and_the_others_are_its_duplicates(store: &dyn Store) {
    let arrivals: Vec<Arrival> = (0..50).map(|second| keyed(owned(second, ME), 1, at(600))).collect();
    let ids: Vec<RunId> = arrivals.iter().map(|arrival| arrival.new.run.run_id).collect();
    let writes = arrivals.into_iter().map(|arrival| store.take_in(vec![arrival])).collect();
    let mut firsts = Vec::new();
    for (run, answer) in ids.into_iter().zip(joined(writes, || ()).await) {
        match answer.expect("takes in") {
            Intake::Taken(taken) if taken == [Taken::Stored] => firsts.push((run, None)),
            Intake::Taken(taken) => match taken.as_slice() {
                [Taken::Duplicate { of }] => firsts.push((run, Some(*of))),
                other => panic!("{other:?}"),
            },
            Intake::Full => panic!("there is no gate"),
        }
    }
    let first: Vec<RunId> = firsts.iter().filter(|(_, of)| of.is_none()).map(|(run, _)| *run).collect();
    assert_eq!(first.len(), 1, "one of 50 runs");
    for (run, of) in firsts.into_iter().filter(|(_, of)| of.is_some()) {
        assert_eq!(of, Some(first[0]));
        let run = stored(store, run).await.run;
        assert_eq!((run.status, run.duplicate_of), (RunStatus::Duplicate, Some(first[0])));
        assert!(run.finished_at == Some(run.received_at) && run.owner.is_none() && run.inflight.is_empty());
    }
}

pub(crate) async fn a_duplicate_writes_nothing_but_itself(store: &dyn Store) {
    let mut second = owned(1, ME);
    second.steps = vec![step("a", StepStatus::Succeeded)];
    second.records = vec![record(second.run.run_id, "r1", serde_json::json!({"a": 1}))];
    let run = second.run.run_id;
    let first = owned(0, ME);
    let of = first.run.run_id;
    let became = taken(store, vec![keyed(first, 1, at(600)), keyed(second, 1, at(600))]).await;
    assert_eq!(became, [Taken::Stored, Taken::Duplicate { of }]);
    let kept = stored(store, run).await;
    assert!(kept.steps.is_empty() && kept.run.trigger.is_some(), "{kept:?}");
    assert_eq!(store.list_records(None, 9).await.expect("lists"), []);
}

pub(crate) async fn the_window_counts_from_the_first_lead_and_for_its_flow(store: &dyn Store) {
    let first = queued(0);
    let of = first.run.run_id;
    assert_eq!(taken(store, vec![keyed(first.clone(), 1, at(60))]).await, [Taken::Stored]);
    assert_eq!(taken(store, vec![keyed(first, 1, at(60))]).await, [Taken::Stored], "it is no duplicate of itself");
    assert_eq!(taken(store, vec![keyed(queued(59), 1, at(119))]).await, [Taken::Duplicate { of }]);
    assert_eq!(taken(store, vec![keyed(queued(1), 2, at(61))]).await, [Taken::Stored], "another key");
    let mut other = queued(1);
    other.run.flow = "others".to_owned();
    assert_eq!(taken(store, vec![keyed(other, 1, at(61))]).await, [Taken::Stored], "another flow");
    let next = queued(60);
    let next_id = next.run.run_id;
    assert_eq!(taken(store, vec![keyed(next, 1, at(120))]).await, [Taken::Stored], "the window is over");
    assert_eq!(taken(store, vec![keyed(queued(61), 1, at(121))]).await, [Taken::Duplicate { of: next_id }]);
    let never = PruneBefore { succeeded: 0, failed: 0, rejected: 0, duplicates: 0, dedupe: at(70), rows_max: 100 };
    assert_eq!(store.prune(never.clone()).await, Ok(2), "two keys whose window is over");
    assert_eq!(store.prune(never).await, Ok(0));
    assert_eq!(taken(store, vec![keyed(queued(62), 1, at(122))]).await, [Taken::Duplicate { of: next_id }]);
}

pub(crate) async fn a_gate_lets_in_as_many_as_it_says_in_their_order(store: &dyn Store) {
    let inside = owned(0, ME);
    let first = inside.run.run_id;
    assert_eq!(taken(store, vec![gated(inside, ONE)]).await, [Taken::Stored]);
    let mut waiting = Vec::new();
    for second in [1, 2] {
        let mut new = owned(second, ME);
        new.steps = vec![step("a", StepStatus::Succeeded)];
        waiting.push(new.run.run_id);
        assert_eq!(taken(store, vec![gated(new, ONE)]).await, [Taken::Waits]);
    }
    let third = owned(3, ME);
    let refused = third.run.run_id;
    assert_eq!(store.take_in(vec![gated(third, ONE)]).await, Ok(Intake::Full));
    assert_eq!(store.run(refused).await, Ok(None), "nothing of it is stored");
    let outside = stored(store, waiting[0]).await;
    assert_eq!((outside.run.status, outside.run.owner.as_deref()), (RunStatus::Queued, None));
    assert!(outside.run.lane == gate_lane("leads") && outside.steps.is_empty() && outside.run.inflight.is_empty());

    assert_eq!(passed(store, Some(1)).await, [], "somebody is inside");
    let lanes = store.lanes(at(1_000)).await.expect("lanes");
    let gate = lanes.iter().find(|lane| gated_flow(&lane.lane) == Some("leads")).expect("the gate's lane");
    assert_eq!((gate.due, gate.inside, gate.inside_max), (2, 1, Some(1)));
    end(store, first).await;
    assert_eq!(passed(store, Some(1)).await, [waiting[0]]);
    assert_eq!(stored(store, waiting[0]).await.run.lane, "");
    assert_eq!(passed(store, Some(1)).await, []);
    assert_eq!(passed(store, None).await, [waiting[1]], "a gate that is gone lets everybody in");
}

pub(crate) async fn a_slot_outlives_a_crash_and_is_free_at_the_end(store: &dyn Store) {
    let inside = owned(0, "dead");
    let (first, epoch) = (inside.run.run_id, 2);
    taken(store, vec![gated(inside, ONE), gated(owned(1, "dead"), ONE)]).await;
    store.rescue(ME, at(10)).await.expect("rescues");
    assert_eq!(passed(store, Some(1)).await, [], "whoever was inside still is");
    assert_eq!(stored(store, first).await.run.epoch, epoch);
    let want = LaneWant { lane: "crm".to_owned(), max: 9, gate: None };
    assert_eq!(store.claim(ME, vec![want], at(20)).await.expect("claims").len(), 1, "and needs no second passage");
    // A run that came in and died before its first commit is in no lane, so that it does not wait for itself.
    end(store, first).await;
    let second = passed(store, Some(1)).await;
    store.rescue("node-3", at(30)).await.expect("rescues");
    assert_eq!(passed(store, Some(1)).await, []);
    let want = LaneWant { lane: String::new(), max: 9, gate: None };
    let again = store.claim(ME, vec![want], at(40)).await.expect("claims");
    assert_eq!(again.iter().map(|stored| stored.run.run_id).collect::<Vec<_>>(), second);
    end(store, second[0]).await;
    assert_eq!(taken(store, vec![gated(owned(50, ME), ONE)]).await, [Taken::Stored], "the slot is free again");
}

pub(crate) async fn nobody_overtakes_whoever_waits_at_the_gate(store: &dyn Store) {
    let two = Gate { runs: 2, waiting: 9 };
    let mut resubmitted = queued(0);
    resubmitted.run.lane = gate_lane("leads");
    resubmitted.steps = vec![step("a", StepStatus::Succeeded)];
    let first = accepted(store, resubmitted).await;
    let fresh = owned(1, ME);
    let second = fresh.run.run_id;
    assert_eq!(taken(store, vec![gated(fresh, two)]).await, [Taken::Waits]);
    assert_eq!(stored(store, first).await.steps.len(), 1, "what a resubmit copies is kept");
    assert_eq!(passed(store, Some(2)).await, [first, second]);
    let ended = {
        let mut new = owned(2, ME);
        (new.run.status, new.run.finished_at, new.run.owner) = (RunStatus::Succeeded, Some(at(2)), None);
        new.run.inflight.clear();
        new
    };
    assert_eq!(taken(store, vec![gated(ended.clone(), two)]).await, [Taken::Waits], "not even a run without effects");
    end(store, first).await;
    end(store, second).await;
    assert_eq!(passed(store, Some(2)).await, [ended.run.run_id]);
    assert_eq!(taken(store, vec![gated(owned(9, ME), two)]).await, [Taken::Stored]);
}

pub(crate) async fn a_cancelled_run_leaves_the_gate(store: &dyn Store) {
    let inside = owned(0, ME);
    let first = inside.run.run_id;
    taken(store, vec![gated(inside, ONE)]).await;
    let waits = queued(1);
    let second = waits.run.run_id;
    assert_eq!(taken(store, vec![gated(waits, ONE)]).await, [Taken::Waits]);
    store.request_cancel(second, at(5)).await.expect("requests");
    let want = LaneWant { lane: String::new(), max: 9, gate: None };
    assert_eq!(store.claim(ME, vec![want], at(6)).await.expect("claims").len(), 1, "it waits for nobody");
    end(store, second).await;
    assert_eq!(passed(store, Some(1)).await, []);
    end(store, first).await;
    assert_eq!(taken(store, vec![gated(owned(9, ME), ONE)]).await, [Taken::Stored]);
}

pub(crate) async fn a_list_that_does_not_fit_the_gate_leaves_nothing_behind(store: &dyn Store) {
    all_accepted(store, [queued(0)]).await;
    let list = |key| (1..5).map(move |second| Arrival { gate: Some(ONE), ..keyed(queued(second), key, at(60)) });
    let mut keys = 0;
    let arrivals: Vec<Arrival> = list(0)
        .map(|mut arrival| {
            keys += 1;
            arrival.dedupe = Some(DedupeKey { hash: [keys; 32], expires_at: at(60) });
            arrival
        })
        .collect();
    assert_eq!(store.take_in(arrivals).await, Ok(Intake::Full), "one inside, two wait, the fourth does not fit");
    assert_eq!(store.unfinished("leads", 9).await, Ok(1));
    let became = taken(store, vec![keyed(queued(6), 1, at(66))]).await;
    assert_eq!(became, [Taken::Stored], "its keys are not taken either");
    let same: Vec<Arrival> = list(9).collect();
    let of = same[0].new.run.run_id;
    let duplicate = Taken::Duplicate { of };
    assert_eq!(taken(store, same).await, [Taken::Stored, duplicate, duplicate, duplicate], "duplicates do not wait");
}

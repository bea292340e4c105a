//! Several nodes on one database: each run is claimed once, first means first, a gate is one gate.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::run::RunStatus;
use crate::store::conformance::{accepted, all_accepted, at, commit, joined, owned, queued, stored};
use crate::store::{Arrival, CancelAnswer, DedupeKey, Gate, Intake, NewRun, SUSPECT_STRIKES, Taken, gate_lane};

/// Two nodes on one database.
fn two() -> (PostgresStore, PostgresStore, String) {
    let (first, url) = serving();
    (first, serve(&url), url)
}

fn want(lane: &str, max: usize, gate: Option<u32>) -> Vec<LaneWant> {
    vec![LaneWant { lane: lane.to_owned(), max, gate }]
}

async fn claims(store: &PostgresStore, owner: &str) -> Vec<RunId> {
    let mut all = Vec::new();
    loop {
        let claimed = store.claim(owner, want("crm", 7, None), at(9_000)).await.expect("claims");
        if claimed.is_empty() {
            return all;
        }
        all.extend(claimed.into_iter().map(|stored| stored.run.run_id));
    }
}

#[tokio::test]
async fn two_nodes_claim_every_run_once() {
    let (one, two, _url) = two();
    let all = all_accepted(&one, (0..500).map(queued)).await;
    let (first, second) = tokio::join!(claims(&one, "node-1"), claims(&two, "node-2"));
    let claimed: HashSet<RunId> = first.iter().chain(&second).copied().collect();
    assert_eq!((first.len() + second.len(), claimed.len()), (all.len(), all.len()));
    // What the other was just taking was passed over: a last look finds nothing left.
    assert_eq!(claims(&one, "node-1").await, []);
}

fn keyed(second: i64, key: u8) -> Arrival {
    let dedupe = Some(DedupeKey { hash: [key; 32], expires_at: at(9_000) });
    Arrival { new: queued(second), dedupe, gate: None }
}

#[tokio::test]
async fn one_lead_is_the_first_of_all_nodes() {
    let (one, two, _url) = two();
    // The same 40 keys at once on both, in opposite orders, three times.
    let mut writes = Vec::new();
    for round in 0..3 {
        for key in 0..40_u8 {
            writes.push(one.take_in(vec![keyed(round * 100 + i64::from(key), key), keyed(5_000, 39 - key)]));
            writes.push(two.take_in(vec![keyed(round * 100 + i64::from(key), 39 - key), keyed(6_000, key)]));
        }
    }
    let mut firsts: BTreeMap<RunId, usize> = BTreeMap::new();
    let mut stored = 0;
    for answer in joined(writes, || ()).await {
        let Intake::Taken(taken) = answer.expect("takes in") else { panic!("there is no gate") };
        for became in taken {
            match became {
                Taken::Stored => stored += 1,
                Taken::Duplicate { of } => *firsts.entry(of).or_default() += 1,
                Taken::Waits => panic!("there is no gate"),
            }
        }
    }
    assert_eq!((stored, firsts.len()), (40, 40), "each key has one first");
    assert_eq!(firsts.values().sum::<usize>(), 3 * 40 * 4 - 40);
}

#[tokio::test]
async fn a_gate_is_one_gate_for_all_nodes() {
    let (one, two, _url) = two();
    let gate = Gate { runs: 3, waiting: 30 };
    let arrival = |new: NewRun| Arrival { new, dedupe: None, gate: Some(gate) };
    let mut writes = Vec::new();
    for second in 0..25 {
        writes.push(one.take_in(vec![arrival(owned(second, "node-1"))]));
        writes.push(two.take_in(vec![arrival(owned(second, "node-2"))]));
    }
    let mut became = BTreeMap::new();
    for answer in joined(writes, || ()).await {
        let name = match answer.expect("takes in") {
            Intake::Taken(taken) => format!("{:?}", taken[0]),
            Intake::Full => "Full".to_owned(),
        };
        *became.entry(name).or_insert(0) += 1;
    }
    let expected = [("Full", 17), ("Stored", 3), ("Waits", 30)].map(|(name, runs)| (name.to_owned(), runs));
    assert_eq!(became, BTreeMap::from(expected));
    // Two more slots: both nodes want them all.
    let lane = gate_lane("leads");
    let (first, second) = tokio::join!(
        one.claim("node-1", want(&lane, 9, Some(5)), at(9_000)),
        two.claim("node-2", want(&lane, 9, Some(5)), at(9_000)),
    );
    assert_eq!(first.expect("claims").len() + second.expect("claims").len(), 2);
}

#[tokio::test]
async fn a_suspect_works_alone_in_the_whole_cluster() {
    let (one, two, url) = two();
    all_accepted(&one, (0..6).map(queued)).await;
    sql(&url, &format!("UPDATE runs SET strikes = {SUSPECT_STRIKES}"));
    let (first, second) = tokio::join!(
        one.claim("node-1", want("crm", 9, None), at(9_000)),
        two.claim("node-2", want("crm", 9, None), at(9_000)),
    );
    let mut claimed = first.expect("claims").len() + second.expect("claims").len();
    // Both may have looked while the other was choosing.
    if claimed == 0 {
        claimed = one.claim("node-1", want("crm", 9, None), at(9_000)).await.expect("claims").len();
    }
    assert_eq!(claimed, 1);
    assert_eq!(two.claim("node-2", want("crm", 9, None), at(9_000)).await.expect("claims"), []);
}

#[tokio::test]
async fn a_caller_that_another_node_is_about_to_give_back_is_woken() {
    let (one, two, _url) = two();
    let caller = accepted(&two, owned(0, "node-2")).await;
    let child = accepted(&one, owned(1, "node-1")).await;
    let mut ends = commit(child);
    (ends.owner, ends.status, ends.finished_at) = ("node-1".to_owned(), RunStatus::Succeeded, Some(at(5)));
    ends.wakes = Some((caller, at(5)));
    one.commit(ends).await.expect("commits");
    // It did not see the end, and waits for it.
    let mut waits = commit(caller);
    (waits.owner, waits.status, waits.due_at, waits.release) = ("node-2".to_owned(), RunStatus::Waiting, at(900), true);
    waits.lane = String::new();
    two.commit(waits.clone()).await.expect("commits");
    assert_eq!(stored(&two, caller).await.run.due_at, at(5));
    let again = two.claim("node-2", want("", 9, None), at(6)).await.expect("claims").remove(0).run;
    waits.epoch = again.epoch;
    two.commit(waits).await.expect("commits");
    assert_eq!(stored(&two, caller).await.run.due_at, at(900), "once");
}

#[tokio::test]
async fn a_node_hears_of_work_that_another_stored() {
    let (one, two, url) = two();
    accepted(&one, queued(0)).await;
    eventually("it hears", async || two.changed_elsewhere().await.expect("answers").then_some(())).await;
    assert_eq!(two.changed_elsewhere().await, Ok(false), "once");
    assert_eq!(one.changed_elsewhere().await, Ok(false), "not of itself");
    let run = accepted(&one, owned(1, "node-1")).await;
    let command = opened(&url, Mode::Write).expect("opens beside");
    assert_eq!(command.request_cancel(run, at(2)).await, Ok(CancelAnswer::Requested));
    drop(command);
    eventually("it hears of commands", async || one.changed_elsewhere().await.expect("answers").then_some(())).await;
    assert_eq!(one.cancel_requests("node-1").await, Ok(vec![run]));
    assert!(stored(&two, run).await.run.cancel);
}

#[tokio::test]
async fn pruning_on_two_nodes_counts_every_run_once() {
    let (one, two, _url) = two();
    all_accepted(&one, (0..150).map(|second| crate::store::conformance::ended(second, RunStatus::Succeeded))).await;
    let all = at(9_000);
    let old = PruneBefore { succeeded: all, failed: 0, rejected: 0, duplicates: 0, dedupe: 0, rows_max: 1_000 };
    let (first, second) = tokio::join!(one.prune(old.clone()), two.prune(old.clone()));
    let rest = one.prune(old).await.expect("prunes");
    assert_eq!(first.expect("prunes") + second.expect("prunes") + rest, 150);
}

//! The promises of [`Store`], tested against any implementation of it.
//!
//! A promise is an async function that takes a fresh, empty store. An implementation calls
//! [`conformance!`](crate::store::conformance::conformance) with an expression that makes one, and gets a test for each.

mod connections;
mod handing_out;
mod keeping;
mod leases;
mod looking;
mod records;
mod running;
mod taking_in;

pub(crate) use connections::*;
pub(crate) use handing_out::*;
pub(crate) use keeping::*;
pub(crate) use leases::*;
pub(crate) use looking::*;
pub(crate) use records::*;
pub(crate) use running::*;
pub(crate) use taking_in::*;

use std::future::poll_fn;
use std::task::Poll;

use serde_json::{Value, json};

use super::{
    Inflight, LaneWant, NewRun, RecordMode, RecordWrite, RunCommit, RunRow, StepIo, StepRow, Store, StoredRun,
};
use crate::clock::{Fut, MICROS_PER_SEC, Micros};
use crate::flow::secure::Secure;
use crate::ids::RunId;
use crate::run::{Failure, RunStatus, StepStatus, TriggerData, Try};

/// One test for each promise. `$open` makes a fresh store and whatever must live as long as it.
macro_rules! conformance {
    ($open:expr) => {
        $crate::store::conformance::conformance! { $open =>
            what_was_accepted_is_read_back_whole
            an_accept_may_be_repeated
            a_run_that_is_not_consistent_is_refused_alone
            large_values_come_back_as_they_went
            secure_values_go_when_the_run_ends
            a_commit_changes_what_it_says
            a_final_commit_releases_the_run
            a_fenced_commit_writes_nothing
            a_commit_may_be_repeated
            a_record_is_written_once
            a_record_is_changed_field_by_field
            a_record_is_made_or_changed
            records_are_read_by_what_they_hold
            a_called_run_is_stored_with_the_commit_that_calls_it
            a_called_run_wakes_its_caller_when_nobody_works_on_it
            claims_take_the_oldest_due_of_each_lane
            what_is_not_free_is_not_claimed
            a_claimed_run_brings_trigger_and_steps
            a_rescue_takes_the_runs_of_the_dead
            a_lease_stands_until_it_expires
            a_rescue_leaves_the_living_alone
            a_life_that_was_taken_does_not_come_back
            a_life_that_is_alone_ends_every_other
            what_a_life_leaves_is_rescued_at_once
            nodes_are_shown
            a_run_without_progress_is_held_as_poison
            progress_forgives_strikes
            suspects_work_one_at_a_time
            a_cancel_reaches_whoever_works_on_the_run
            a_cancel_wakes_what_nobody_works_on
            a_cancelled_run_is_never_put_aside
            held_runs_are_released_by_code_and_lane
            lanes_tell_what_waits
            rejected_requests_come_back_and_are_marked
            the_inbox_of_a_flow_is_capped
            a_text_is_pinned_once
            texts_are_pinned_together
            what_is_live_is_kept_by_file
            the_generation_never_goes_back
            retention_keeps_what_is_live
            meta_is_stored_once
            meta_can_be_replaced
            a_rotation_makes_a_slot_one_version_newer
            keys_remember_their_last_use
            retention_goes_by_kind_and_takes_everything_along
            retention_keeps_to_its_budget
            retention_takes_texts_that_nothing_uses
            runs_are_found_by_either_end_of_their_id
            lists_are_newest_first_and_paged
            lists_leave_values_out
            records_are_found_and_listed
            counts_and_unfinished_agree_with_the_runs
            the_runs_of_one_request_are_stored_together
            the_first_with_a_key_runs_and_the_others_are_its_duplicates
            a_duplicate_writes_nothing_but_itself
            the_window_counts_from_the_first_lead_and_for_its_flow
            a_gate_lets_in_as_many_as_it_says_in_their_order
            a_slot_outlives_a_crash_and_is_free_at_the_end
            nobody_overtakes_whoever_waits_at_the_gate
            a_cancelled_run_leaves_the_gate
            a_list_that_does_not_fit_the_gate_leaves_nothing_behind
            the_state_of_a_connection_is_kept_by_its_settings
            notes_from_several_nodes_are_all_counted
            one_node_probes
            what_waits_is_counted_by_lane
            a_store_at_rest_is_well
        }
    };
    ($open:expr => $($promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            let (store, _alive) = $open;
            $crate::store::conformance::$promise(&store).await;
        })*
    };
}
pub(crate) use conformance;

/// When everything in the suite begins.
pub(crate) const T0: Micros = 1_700_000_000 * MICROS_PER_SEC;

/// The node of most of the suite.
pub(crate) const ME: &str = "node-1";

/// A moment, in seconds from [`T0`].
pub(crate) fn at(seconds: i64) -> Micros {
    T0 + seconds * MICROS_PER_SEC
}

/// An unowned run of flow `leads`, received and due at `seconds`, without steps.
pub(crate) fn queued(seconds: i64) -> NewRun {
    let run_id = RunId::new(at(seconds));
    let trigger = trigger(r#"{"Company":"Contoso"}"#);
    let mut run = RunRow::queued(run_id, "leads".to_owned(), 1, at(seconds), trigger);
    run.lane = "crm".to_owned();
    NewRun { run, steps: Vec::new(), records: Vec::new() }
}

/// A run that `owner` works on since its first commit.
pub(crate) fn owned(seconds: i64, owner: &str) -> NewRun {
    let mut new = queued(seconds);
    new.run.status = RunStatus::Running;
    new.run.owner = Some(owner.to_owned());
    new.run.epoch = 1;
    new.run.inflight = vec![Inflight { name: "create".to_owned(), idx: String::new(), attempt: 1 }];
    new
}

/// A run that ended with `status` at `seconds`.
pub(crate) fn ended(seconds: i64, status: RunStatus) -> NewRun {
    let mut new = queued(seconds);
    new.run.status = status;
    new.run.finished_at = Some(at(seconds));
    new
}

/// What a request brought.
pub(crate) fn trigger(body: &str) -> TriggerData {
    TriggerData {
        method: "POST".to_owned(),
        path: vec![("offer".to_owned(), "backup".to_owned())],
        query: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_owned(),
        ..TriggerData::default()
    }
}

/// A commit by [`ME`] at epoch 1 that leaves the run running.
pub(crate) fn commit(run: RunId) -> RunCommit {
    RunCommit {
        run_id: run,
        owner: ME.to_owned(),
        epoch: 1,
        status: RunStatus::Running,
        code: None,
        finished_at: None,
        lane: "crm".to_owned(),
        due_at: T0,
        release: false,
        inflight: Vec::new(),
        answer: None,
        steps: Vec::new(),
        records: Vec::new(),
        starts: Vec::new(),
        wakes: None,
    }
}

/// A step with every column filled.
pub(crate) fn step(name: &str, status: StepStatus) -> StepRow {
    StepRow {
        idx: String::new(),
        name: name.to_owned(),
        status,
        attempt: 2,
        due_at: Some(at(9)),
        started_at: Some(at(1)),
        finished_at: status.is_final().then(|| at(2)),
        outcome: Some("created".to_owned()),
        possible_repeat: true,
        io: StepIo {
            child: Some(RunId::new(at(4))),
            inputs: Some(json!({"entity": "lead", "fields": {"company": "Contoso", "@": 5, "inputs_at": 7}})),
            outputs: Some(Value::Null),
            error: Some(Failure { retry_after: Some(5), ..Failure::retryable("http_503", "the CRM is down") }),
            tries: vec![Try { started_at: at(1), finished_at: at(2), outcome: "http_503".to_owned() }],
            change: Some(3),
            secure: Secure::default(),
        },
    }
}

/// A record that `run` writes.
pub(crate) fn record(run: RunId, id: &str, fields: Value) -> RecordWrite {
    RecordWrite {
        connection: "crm".to_owned(),
        entity: "lead".to_owned(),
        id: id.to_owned(),
        fields,
        run_id: run,
        created_at: at(1),
        mode: RecordMode::Create,
    }
}

/// Stores `new` and answers its id.
pub(crate) async fn accepted(store: &dyn Store, new: NewRun) -> RunId {
    let run = new.run.run_id;
    store.accept(new).await.expect("accepts");
    run
}

/// Stores all of them at once, so that a store that groups its writes may; their ids, in order.
pub(crate) async fn all_accepted(store: &dyn Store, runs: impl IntoIterator<Item = NewRun>) -> Vec<RunId> {
    let mut ids = Vec::new();
    let mut writes = Vec::new();
    for new in runs {
        ids.push(new.run.run_id);
        writes.push(store.accept(new));
    }
    for answer in joined(writes, || ()).await {
        answer.expect("accepts");
    }
    ids
}

/// Starts all futures in their order, calls `between`, and waits for all; their answers, in order.
pub(crate) async fn joined<T>(mut futures: Vec<Fut<'_, T>>, between: impl FnOnce()) -> Vec<T> {
    let mut started = Vec::new();
    for future in &mut futures {
        started.push(poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await);
    }
    between();
    let mut answers = Vec::new();
    for (future, state) in futures.into_iter().zip(started) {
        answers.push(match state {
            Poll::Ready(answer) => answer,
            Poll::Pending => future.await,
        });
    }
    answers
}

/// A run that must be there.
pub(crate) async fn stored(store: &dyn Store, run: RunId) -> StoredRun {
    store.run(run).await.expect("reads").expect("is there")
}

/// Claims up to `max` runs of `lane` for [`ME`]; their ids.
pub(crate) async fn claimed(store: &dyn Store, lane: &str, max: usize, now: Micros) -> Vec<RunId> {
    let want = LaneWant { lane: lane.to_owned(), max, gate: None };
    let runs = store.claim(ME, vec![want], now).await.expect("claims");
    runs.into_iter().map(|stored| stored.run.run_id).collect()
}

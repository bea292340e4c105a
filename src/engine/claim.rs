//! Takes runs that are due from the store, lane by lane, as far as slots are free; finds what other processes asked for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::actor::{Actor, Seed};
use super::lanes::Permit;
use super::lease::Lease;
use super::ports::Drain;
use super::scope::Values;
use super::texts::TextError;
use super::{Engine, answers, restore};
use crate::clock::{Micros, micros};
use crate::run::RunStatus;
use crate::store::{LaneState, LaneWant, RunCommit, StoreResult, StoredRun, gated_flow};
use crate::triggers::request::{self, BodyLimits};

/// Most runs of one lane in one claim.
const CLAIM_LANE_MAX: usize = 64;
/// Most runs without an actor that are looked at together.
const ASTRAY_MAX: usize = 10_000;
/// How often the store is asked whether another process changed it.
const FOREIGN_POLL: Duration = Duration::from_millis(250);
/// How often lanes are counted when nothing else asks for it: the truth behind every signal.
const FULL_POLL: Duration = Duration::from_secs(5);

/// Works until the engine drains.
pub(super) async fn work(engine: Arc<Engine>) {
    let mut drain = engine.ports.drain.clone();
    let mut next_pass: Micros = 0;
    let mut faults = 0_u32;
    while *drain.borrow_and_update() == Drain::No {
        let now = engine.ports.clock.now();
        let lease = engine.lease();
        if !lease.is_trusted() {
            // Whoever does not know whether it may work takes no work.
            tokio::select! {
                biased;
                _ = drain.changed() => {}
                () = engine.ports.clock.sleep_until(now + micros(FOREIGN_POLL)) => {}
            }
            next_pass = 0;
            continue;
        }
        let looked = look(&engine, &lease, now >= next_pass).await;
        match looked {
            Ok(next) => {
                faults = 0;
                next_pass = next.unwrap_or(next_pass);
            }
            Err(error) => {
                faults += 1;
                if faults.is_power_of_two() {
                    tracing::error!(%error, faults, "cannot read the store; trying again");
                }
                // Whoever wants to be claimed waits as well, or a store that is down would be asked without a pause.
                let until = engine.ports.clock.now() + micros(FOREIGN_POLL) * i64::from(faults.min(20));
                tokio::select! {
                    biased;
                    _ = drain.changed() => {}
                    () = engine.ports.clock.sleep_until(until) => {}
                }
                continue;
            }
        }
        let until = (engine.ports.clock.now() + micros(FOREIGN_POLL)).min(next_pass.max(now + 1));
        tokio::select! {
            biased;
            _ = drain.changed() => {}
            () = engine.wake.notified() => next_pass = 0,
            () = engine.ports.clock.sleep_until(until) => {}
        }
    }
}

/// One look: foreign changes, cancels, and (when `due`, or something changed) a pass over the lanes. Answers when the
/// next pass is due, if one was made.
async fn look(engine: &Arc<Engine>, lease: &Arc<Lease>, due: bool) -> StoreResult<Option<Micros>> {
    let changed = engine.store.changed_elsewhere().await?;
    engine.ports.health.exchange(changed).await?;
    if due || changed {
        for run in engine.store.cancel_requests(lease.owner()).await? {
            engine.cancel_active(run);
        }
    }
    if engine.store.is_shared() {
        let (answers, journal) = (&engine.ports.answers, engine.ports.journal.as_ref());
        answers::fetch(answers, journal, |run| engine.is_active(run)).await?;
    }
    if engine.astray.swap(false, Ordering::SeqCst)
        && let Err(error) = find_astray(engine, lease).await
    {
        engine.astray.store(true, Ordering::SeqCst);
        return Err(error);
    }
    if due || changed { pass(engine, lease).await.map(Some) } else { Ok(None) }
}

/// Gives actors to runs that are ours and have none, because the answer to the accept or claim was lost.
async fn find_astray(engine: &Arc<Engine>, lease: &Arc<Lease>) -> StoreResult<()> {
    for run in engine.store.owned(lease.owner(), ASTRAY_MAX).await? {
        if engine.is_active(run) {
            continue;
        }
        let Some(stored) = engine.store.run(run).await? else { continue };
        let ours = stored.run.owner.as_deref() == Some(lease.owner());
        if ours && engine.panicked.lock().unwrap_or_else(PoisonError::into_inner).remove(&run) {
            tracing::error!(%run, flow = %stored.run.flow, "held: leadflow panicked while working on this run");
            close(engine, lease, &stored, RunStatus::Held, "engine_fault").await;
        } else if ours && !engine.is_active(run) {
            tracing::warn!(%run, flow = %stored.run.flow, "taking up a run whose answer from the store was lost");
            take_up(engine, lease, stored, Vec::new()).await;
        }
    }
    Ok(())
}

/// One pass over the lanes.
async fn pass(engine: &Arc<Engine>, lease: &Arc<Lease>) -> StoreResult<Micros> {
    let now = engine.ports.clock.now();
    let lanes = engine.store.lanes(now).await?;
    let mut room = engine.ports.limits().active_runs_max.saturating_sub(engine.active_runs());
    let mut permits: Vec<Permit> = Vec::new();
    let mut wants = Vec::new();
    for lane in lanes.iter().filter(|lane| lane.due > 0) {
        let due = usize::try_from(lane.due).unwrap_or(usize::MAX);
        if let Some(flow) = gated_flow(&lane.lane) {
            let gate = engine.inside_max(flow, lane);
            let free = gate.map_or(u64::MAX, |most| u64::from(most).saturating_sub(lane.inside));
            let max = due.min(CLAIM_LANE_MAX).min(room).min(usize::try_from(free).unwrap_or(usize::MAX));
            room -= max;
            if max > 0 {
                wants.push(LaneWant { lane: lane.lane.clone(), max, gate });
            }
            continue;
        }
        engine.ports.health.probe(&lane.lane).await?;
        let taken = engine.ports.lanes.reserve(&lane.lane, due.min(CLAIM_LANE_MAX).min(room));
        room -= taken.len();
        if !taken.is_empty() {
            wants.push(LaneWant { lane: lane.lane.clone(), max: taken.len(), gate: None });
            permits.extend(taken);
        }
    }
    if wants.is_empty() {
        return Ok(settle_backlogs(engine, &lanes, &[], now));
    }
    let claimed = match engine.store.claim(lease.owner(), wants, now).await {
        Ok(claimed) => claimed,
        Err(error) => {
            engine.astray.store(true, Ordering::SeqCst);
            return Err(error);
        }
    };
    let next = settle_backlogs(engine, &lanes, &claimed, now);
    for stored in claimed {
        let permit = permits.iter().position(|permit| permit.lane() == stored.run.lane);
        let reserved = permit.map(|index| permits.swap_remove(index)).into_iter().collect();
        take_up(engine, lease, stored, reserved).await;
    }
    permits.into_iter().for_each(Permit::unused);
    Ok(next)
}

/// Notes what is left in each lane; answers when the next pass is due.
fn settle_backlogs(engine: &Engine, lanes: &[LaneState], claimed: &[StoredRun], now: Micros) -> Micros {
    let taken = |lane: &str| claimed.iter().filter(|stored| stored.run.lane == lane).count();
    let left = |lane: &LaneState| lane.due.saturating_sub(taken(&lane.lane) as u64);
    let backlogs: Vec<(String, u64)> = lanes.iter().map(|lane| (lane.lane.clone(), left(lane))).collect();
    engine.ports.lanes.set_backlogs(&backlogs);
    // A full batch that left something: there may be slots for more right now.
    if lanes.iter().any(|lane| left(lane) > 0 && taken(&lane.lane) == CLAIM_LANE_MAX) {
        engine.wake.notify_one();
    }
    let next = lanes.iter().filter_map(|lane| lane.next_due_at).min().unwrap_or(Micros::MAX);
    let ready = engine.ports.lanes.ready_at().unwrap_or(Micros::MAX);
    next.min(ready).min(now + micros(FULL_POLL))
}

impl Engine {
    /// How many runs of `flow` may be inside its gate: as it is loaded; of a flow that is not, as it was.
    fn inside_max(&self, flow: &str, lane: &LaneState) -> Option<u32> {
        let known = self.gates.lock().unwrap_or_else(PoisonError::into_inner).get(flow).copied();
        known.unwrap_or(lane.inside_max)
    }
}

/// Gives a claimed run its actor, or holds it when its text cannot be read.
async fn take_up(engine: &Arc<Engine>, lease: &Arc<Lease>, mut stored: StoredRun, reserved: Vec<Permit>) {
    let run_id = stored.run.run_id;
    let flow = match engine.texts.get(engine.store.as_ref(), stored.run.text_id).await {
        Ok(flow) => flow,
        Err(TextError::Unreadable(why)) => {
            tracing::error!(run = %run_id, flow = %stored.run.flow, why, "held: this version cannot read the run's flow text");
            return close(engine, lease, &stored, RunStatus::Held, "flow_text_unreadable").await;
        }
        Err(TextError::Store(error)) => {
            // Nobody works on the run: give it back for the next pass.
            tracing::warn!(run = %run_id, %error, "cannot read the flow text now");
            return close(engine, lease, &stored, RunStatus::Waiting, "store_unavailable").await;
        }
    };
    let Some(trigger) = stored.run.trigger.as_ref() else {
        return close(engine, lease, &stored, RunStatus::Held, "engine_fault").await;
    };
    // It was accepted once: today's limits on bodies do not apply to it.
    let limits = BodyLimits { json_depth_max: usize::MAX, ..BodyLimits::default() };
    let parsed = match request::parse(&flow, trigger, &limits) {
        Ok(parsed) => parsed,
        Err(problem) => {
            tracing::error!(run = %run_id, code = problem.code, "a stored request does not parse any more");
            return close(engine, lease, &stored, RunStatus::Failed, problem.code).await;
        }
    };
    let (presence, cancel) = engine.register(run_id, stored.run.cancel);
    let identity = restore::identity(&stored.run);
    let mut values = Values::new(&flow, &identity, parsed.trigger);
    for failure in values.replay(restore::changes(&stored, &flow)) {
        // Only after a resubmit on another text: its copied changes may name what is not there any more.
        tracing::warn!(run = %run_id, code = failure.code, "a copied change of a variable does not fit the flow any more");
    }
    let mut actor = Actor::new(Seed {
        ports: Arc::clone(&engine.ports),
        lease: Arc::clone(lease),
        values,
        identity,
        state: restore::state(&mut stored, &flow, engine.ports.clock.now()),
        flow,
        epoch: stored.run.epoch,
        reserved,
        answered: stored.run.answer.is_some(),
        cancel,
        admits: true,
    });
    actor.begin();
    Engine::spawn(actor, presence, false);
}

/// Ends or parks a claimed run that gets no actor.
async fn close(engine: &Arc<Engine>, lease: &Lease, stored: &StoredRun, status: RunStatus, code: &str) {
    let now = engine.ports.clock.now();
    let held = status == RunStatus::Held;
    let commit = RunCommit {
        run_id: stored.run.run_id,
        owner: lease.owner().to_owned(),
        epoch: stored.run.epoch,
        status,
        code: Some(code.to_owned()),
        finished_at: status.is_final().then_some(now),
        // A run that came through its gate never goes back to it.
        lane: if gated_flow(&stored.run.lane).is_some() { String::new() } else { stored.run.lane.clone() },
        due_at: if held { Micros::MAX } else { now + micros(FULL_POLL) },
        release: true,
        inflight: if status.is_final() { Vec::new() } else { stored.run.inflight.clone() },
        answer: None,
        steps: Vec::new(),
        records: Vec::new(),
        starts: Vec::new(),
        wakes: stored.run.parent.as_ref().filter(|_| status.is_final()).map(|parent| (parent.run, now)),
    };
    if let Err(error) = engine.store.commit(commit).await {
        tracing::warn!(run = %stored.run.run_id, %error, "cannot give a claimed run back; looking again soon");
        engine.astray.store(true, Ordering::SeqCst);
    }
}

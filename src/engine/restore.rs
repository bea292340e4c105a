//! From stored rows back to the state of a run: what may have been sent is flagged, never guessed.

use std::collections::{BTreeMap, HashMap};

use crate::actions::variables;
use crate::clock::Micros;
use crate::flow::Flow;
use crate::flow::plan::{Kind, NodeId, Plan};
use crate::run::variables::Change;
use crate::run::{Identity, RunState, Step, StepKey, StepStatus, Try};
use crate::store::{RunRow, StepRow, StoredRun};

/// The outcome of a try that nobody saw end.
pub(super) const UNKNOWN: &str = "unknown_outcome";

/// The identity of a stored run.
pub(super) fn identity(run: &RunRow) -> Identity {
    Identity {
        run_id: run.run_id,
        flow: run.flow.clone(),
        key_run: run.key_run,
        received_at: run.received_at,
        is_test: run.is_test,
        parent: run.parent.clone(),
    }
}

/// What the stored steps made of the run's variables, each change with its number. Asked before [`state`], which drops
/// what stands in iterations that are over.
pub(super) fn changes(stored: &StoredRun, flow: &Flow) -> Vec<(u64, Change)> {
    let kinds: HashMap<&str, &str> =
        flow.actions.iter().map(|action| (action.name.as_str(), action.kind.as_str())).collect();
    let changed = stored.steps.iter().filter_map(|row| Some((row.io.change?, row)));
    let change = |(number, row): (u64, &StepRow)| {
        let kind = kinds.get(row.name.as_str())?;
        // A resubmit refuses to copy a change whose value is gone; every other one was read before.
        Some((number, variables::read(kind, row.io.inputs.as_ref()?).ok()?))
    };
    changed.filter_map(change).collect()
}

/// The state of a stored run, whose steps it takes. Steps of actions that the pinned text does not have cannot exist
/// and are left out; so is what stands in iterations that nobody asks for any more.
pub(super) fn state(stored: &mut StoredRun, flow: &Flow, now: Micros) -> RunState {
    let nodes: HashMap<&str, NodeId> =
        flow.plan.nodes.iter().enumerate().map(|(id, node)| (node.name.as_str(), id)).collect();
    let mut steps = BTreeMap::new();
    for row in std::mem::take(&mut stored.steps) {
        if let Some(node) = nodes.get(row.name.as_str()).copied() {
            let is_leaf = flow.plan.nodes[node].kind == Kind::Leaf;
            steps.insert(StepKey { node, idx: row.idx.clone() }, step(row, is_leaf, now));
        }
    }
    if flow.plan.has_loops() {
        drop_what_is_over(&mut steps, &flow.plan);
    }
    for flight in &stored.run.inflight {
        let Some(node) = nodes.get(flight.name.as_str()).copied() else { continue };
        let step = steps.entry(StepKey { node, idx: flight.idx.clone() }).or_default();
        if step.status.is_final() {
            continue;
        }
        step.possible_repeat = true;
        step.tries.push(Try { started_at: now, finished_at: now, outcome: UNKNOWN.to_owned() });
        if step.status == StepStatus::Waiting {
            step.due_at = Some(now);
        }
    }
    RunState::of(steps)
}

/// Nobody asks for what stands in a loop that has ended, nor in an `until` before its last iteration.
fn drop_what_is_over(steps: &mut BTreeMap<StepKey, Step>, plan: &Plan) {
    let nearest: Vec<Option<NodeId>> = (0..plan.nodes.len()).map(|node| plan.loops(node).pop()).collect();
    let mut at_work: HashMap<StepKey, u32> = HashMap::new();
    for (key, step) in &*steps {
        if plan.nodes[key.node].kind.is_loop() && !step.status.is_final() {
            at_work.insert(key.clone(), 0);
        }
    }
    let round_of = |key: &StepKey| {
        let (outer, number) = StepKey::outer(&key.idx);
        Some((StepKey { node: nearest[key.node]?, idx: outer.to_owned() }, number))
    };
    for (of_loop, number) in steps.keys().filter_map(round_of) {
        if let Some(last) = at_work.get_mut(&of_loop) {
            *last = number.max(*last);
        }
    }
    steps.retain(|key, _| match round_of(key) {
        None => true,
        Some((of_loop, number)) => {
            at_work.get(&of_loop).is_some_and(|last| plan.nodes[of_loop.node].kind != Kind::Until || number == *last)
        }
    });
}

fn step(row: StepRow, is_leaf: bool, now: Micros) -> Step {
    // A running row is there only to pin its inputs: its try is named in `inflight`, and the next one is due. A
    // container goes on where it was.
    let was_running = is_leaf && row.status == StepStatus::Running;
    Step {
        status: if was_running { StepStatus::Waiting } else { row.status },
        attempt: if was_running { row.attempt.saturating_sub(1) } else { row.attempt },
        due_at: if was_running { Some(now) } else { row.due_at },
        started_at: row.started_at,
        finished_at: row.finished_at,
        inputs: row.io.inputs,
        outputs: row.io.outputs,
        error: row.io.error,
        outcome: row.outcome,
        possible_repeat: row.possible_repeat,
        tries: row.io.tries,
        try_started_at: None,
        change: row.io.change,
        child: row.io.child,
    }
}

//! Blocks of actions: one pass over a block says who starts and who is skipped; containers open blocks, count
//! iterations and end when what they opened has ended. Pure; one event touches one block.
//!
//! What of a container runs is decided once, by its pinned inputs: `{"if": true}`, `{"branch": 2}`, `{"items": […]}`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::advance::{SKIPPED_BY_BRANCH, SKIPPED_BY_RUN_AFTER, SKIPPED_BY_WHEN, Todo};
use super::transition::{Illegal, StepEvent, next};
use super::{Failure, Open, RunState, Step, StepKey, StepStatus};
use crate::clock::Micros;
use crate::flow::plan::{Kind, NodeId, Plan};

/// What of a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// This block, once; `None`: nothing.
    Once(Option<u16>),
    /// Its block, so many times.
    Times(u32),
    /// Its block, until somebody says that it is enough.
    Rounds,
}

/// What the pinned inputs of a container open.
pub(super) fn opening(kind: Kind, inputs: Option<&Value>) -> Opening {
    let key = |name: &str| inputs.and_then(|inputs| inputs.get(name));
    match kind {
        Kind::Leaf => Opening::Once(None),
        Kind::Scope => Opening::Once(Some(0)),
        Kind::If => Opening::Once(Some(u16::from(key("if") != Some(&Value::Bool(true))))),
        Kind::Switch => Opening::Once(key("branch").and_then(Value::as_u64).and_then(|branch| branch.try_into().ok())),
        Kind::Each { .. } => {
            let items = key("items").and_then(Value::as_array).map_or(0, Vec::len);
            Opening::Times(u32::try_from(items).unwrap_or(u32::MAX))
        }
        Kind::Until => Opening::Rounds,
    }
}

/// One event's way through the run.
pub(super) struct Walk<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a mut RunState,
    pub(super) at: Micros,
    pub(super) todos: &'a mut Vec<Todo>,
}

impl Walk<'_> {
    /// Keeps a step that has changed.
    pub(super) fn put(&mut self, key: StepKey, step: Step) {
        self.run.offered.remove(&key);
        if step.status.is_final() {
            self.run.active.remove(&key);
            self.run.open.remove(&key);
            self.run.ended.push(key.clone());
        } else {
            self.run.active.insert(key.clone());
        }
        self.run.steps.insert(key, step);
    }

    /// Starts or skips what can be decided in a block. One pass in the order of the file reaches the fixpoint, because
    /// every edge points backwards.
    pub(super) fn spread(&mut self, parent: Option<NodeId>, block: u16, idx: &str) -> Result<(), Illegal> {
        let plan = self.plan;
        for id in plan.block(parent, block).iter().copied() {
            let key = StepKey { node: id, idx: idx.to_owned() };
            if self.status(&key) != StepStatus::Pending || self.run.offered.contains(&key) {
                continue;
            }
            let after = &plan.nodes[id].after;
            let at = |before: NodeId| StepKey { node: before, idx: idx.to_owned() };
            if !after.iter().all(|(before, _)| self.status(&at(*before)).is_final()) {
                continue;
            }
            if after.iter().all(|(before, statuses)| statuses.contains(as_seen(self.run, &at(*before)))) {
                self.run.offered.insert(key.clone());
                self.todos.push(Todo::Start(key));
            } else {
                self.skip(key.clone(), SKIPPED_BY_RUN_AFTER)?;
                self.skip_inside(&key)?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, key: StepKey, reason: &'static str) -> Result<(), Illegal> {
        let step = self.run.steps.remove(&key).unwrap_or_default();
        let at = self.at;
        self.put(key, next(step, StepEvent::Skip { at, reason })?);
        Ok(())
    }

    /// Skips what has not begun in a container that ended. What stands in a loop that never turned has no step.
    pub(super) fn skip_inside(&mut self, key: &StepKey) -> Result<(), Illegal> {
        if self.plan.nodes[key.node].kind.is_loop() {
            return Ok(());
        }
        let plan = self.plan;
        for (_, nodes) in plan.blocks_of(key.node) {
            self.skip_block(nodes, &key.idx)?;
        }
        Ok(())
    }

    fn skip_block(&mut self, nodes: &[NodeId], idx: &str) -> Result<(), Illegal> {
        for node in nodes {
            let key = StepKey { node: *node, idx: idx.to_owned() };
            if self.status(&key) == StepStatus::Pending {
                self.skip(key.clone(), SKIPPED_BY_BRANCH)?;
                self.skip_inside(&key)?;
            }
        }
        Ok(())
    }

    /// A container has started: what its inputs chose begins, the rest is skipped.
    pub(super) fn open(&mut self, key: &StepKey) -> Result<(), Illegal> {
        match self.opening(key) {
            Opening::Once(chosen) => {
                self.run.open.insert(key.clone(), Open { running: 1, ..Open::default() });
                self.run_block(key, chosen)
            }
            Opening::Times(total) => {
                self.run.open.insert(key.clone(), Open { total, ..Open::default() });
                self.start_iterations(key)
            }
            Opening::Rounds => {
                self.run.open.insert(key.clone(), Open::default());
                self.again(key)
            }
        }
    }

    fn opening(&self, key: &StepKey) -> Opening {
        opening(self.plan.nodes[key.node].kind, self.run.steps.get(key).and_then(|step| step.inputs.as_ref()))
    }

    fn run_block(&mut self, key: &StepKey, chosen: Option<u16>) -> Result<(), Illegal> {
        let plan = self.plan;
        for (number, nodes) in plan.blocks_of(key.node) {
            if Some(number) == chosen {
                self.spread(Some(key.node), number, &key.idx)?;
            } else {
                self.skip_block(nodes, &key.idx)?;
            }
        }
        let ended = chosen.is_none_or(|number| self.has_ended(Some(key.node), number, &key.idx));
        if ended {
            let bad = chosen.is_some_and(|number| self.is_bad(Some(key.node), number, &key.idx));
            self.todos.push(Todo::Ended { key: key.clone(), bad });
        }
        Ok(())
    }

    /// The next iteration of an `until`.
    pub(super) fn again(&mut self, key: &StepKey) -> Result<(), Illegal> {
        let open = self.run.open.entry(key.clone()).or_default();
        let number = open.next;
        open.next += 1;
        open.running = 1;
        self.round(key, number)
    }

    fn round(&mut self, key: &StepKey, number: u32) -> Result<(), Illegal> {
        let idx = StepKey::iteration(&key.idx, number);
        self.spread(Some(key.node), 0, &idx)?;
        if self.has_ended(Some(key.node), 0, &idx) {
            let bad = self.is_bad(Some(key.node), 0, &idx);
            self.todos.push(Todo::Ended { key: key.clone(), bad });
        }
        Ok(())
    }

    /// Starts iterations of a `for_each` up to its concurrency.
    fn start_iterations(&mut self, key: &StepKey) -> Result<(), Illegal> {
        let Kind::Each { concurrency } = self.plan.nodes[key.node].kind else { return Ok(()) };
        while let Some(open) = self.run.open.get_mut(key) {
            let more = !open.gaps.is_empty() || open.next < open.total;
            if !more || open.running >= concurrency.max(1) {
                if !more && open.running == 0 {
                    let bad = open.bad;
                    self.todos.push(Todo::Ended { key: key.clone(), bad });
                }
                return Ok(());
            }
            let number = open.gaps.pop().unwrap_or_else(|| {
                open.next += 1;
                open.next - 1
            });
            let idx = StepKey::iteration(&key.idx, number);
            open.running += 1;
            self.spread(Some(key.node), 0, &idx)?;
            if self.has_ended(Some(key.node), 0, &idx) {
                self.iteration_ended(key, &idx);
            }
        }
        Ok(())
    }

    fn iteration_ended(&mut self, key: &StepKey, idx: &str) {
        let causes = causes(self.plan, self.run, self.plan.block(Some(key.node), 0), idx);
        let failure = failure_of(self.plan, self.run, &causes, idx);
        if let Some(open) = self.run.open.get_mut(key) {
            open.running = open.running.saturating_sub(1);
            open.bad |= !causes.is_empty();
            let is_first = |at| open.failure.as_ref().is_none_or(|(known, _)| at < *known);
            if let Some((at, failure)) = failure.filter(|(at, _)| is_first(*at)) {
                open.failure = Some((at, failure));
            }
        }
        self.todos.push(Todo::Left { key: key.clone(), idx: idx.to_owned() });
    }

    /// An action has ended: its block goes on, and with the last one of the block the container does.
    pub(super) fn left(&mut self, key: &StepKey) -> Result<(), Illegal> {
        let node = &self.plan.nodes[key.node];
        let (parent, block) = (node.parent, node.block);
        self.spread(parent, block, &key.idx)?;
        let Some(parent) = parent else { return Ok(()) };
        let kind = self.plan.nodes[parent].kind;
        let outer = if kind.is_loop() { StepKey::outer(&key.idx).0 } else { &key.idx };
        let container = StepKey { node: parent, idx: outer.to_owned() };
        if !self.run.open.contains_key(&container) || !self.has_ended(Some(parent), block, &key.idx) {
            return Ok(());
        }
        if matches!(kind, Kind::Each { .. }) {
            self.iteration_ended(&container, &key.idx);
            return self.start_iterations(&container);
        }
        let bad = self.is_bad(Some(parent), block, &key.idx);
        self.todos.push(Todo::Ended { key: container, bad });
        Ok(())
    }

    /// A container that was at work when the run was last seen: its iterations are counted again from their steps.
    pub(super) fn reopen(&mut self, key: &StepKey) -> Result<(), Illegal> {
        let chosen = match self.opening(key) {
            Opening::Once(chosen) => {
                self.run.open.insert(key.clone(), Open { running: 1, ..Open::default() });
                return self.run_block(key, chosen);
            }
            Opening::Times(total) => Some(total),
            Opening::Rounds => None,
        };
        let begun = self.begun(key);
        let next = begun.last().map_or(0, |last| last + 1);
        let Some(total) = chosen else {
            self.run.open.insert(key.clone(), Open { next: next.max(1), running: 1, ..Open::default() });
            return self.round(key, next.saturating_sub(1));
        };
        let mut gaps: Vec<u32> = (0..next).filter(|number| begun.binary_search(number).is_err()).collect();
        // The last one is taken first.
        gaps.reverse();
        self.run.open.insert(key.clone(), Open { total, next, gaps, ..Open::default() });
        for number in begun {
            let idx = StepKey::iteration(&key.idx, number);
            if let Some(open) = self.run.open.get_mut(key) {
                open.running += 1;
            }
            self.spread(Some(key.node), 0, &idx)?;
            if self.has_ended(Some(key.node), 0, &idx) {
                self.iteration_ended(key, &idx);
            }
        }
        self.start_iterations(key)
    }

    /// The iterations of a loop that have steps, in order.
    fn begun(&self, key: &StepKey) -> Vec<u32> {
        let mut begun = Vec::new();
        let first = StepKey::iteration(&key.idx, 0);
        for node in self.plan.block(Some(key.node), 0) {
            let from = StepKey { node: *node, idx: first.clone() };
            let own = |other: &&StepKey| other.node == *node && StepKey::outer(&other.idx).0 == key.idx;
            begun.extend(
                self.run.steps.range(from..).map(|(key, _)| key).take_while(own).map(|key| StepKey::outer(&key.idx).1),
            );
        }
        begun.sort_unstable();
        begun.dedup();
        begun
    }

    /// Cancels everything that has not ended. What stands in a loop and has not begun has no step.
    pub(super) fn stop(&mut self) -> Result<(), Illegal> {
        let outside = (0..self.plan.nodes.len()).filter(|id| self.plan.loops(*id).is_empty()).map(StepKey::top);
        let keys: Vec<StepKey> = outside.chain(self.run.active.iter().cloned()).collect();
        for key in keys {
            if !self.status(&key).is_final() {
                let step = self.run.steps.remove(&key).unwrap_or_default();
                let at = self.at;
                self.put(key, next(step, StepEvent::Cancel { at })?);
            }
        }
        self.run.offered.clear();
        self.run.open.clear();
        Ok(())
    }

    fn status(&self, key: &StepKey) -> StepStatus {
        self.run.steps.get(key).map_or(StepStatus::Pending, |step| step.status)
    }

    /// Whether every action of a block has ended.
    pub(super) fn has_ended(&self, parent: Option<NodeId>, block: u16, idx: &str) -> bool {
        let ended = |id: &NodeId| self.status(&StepKey { node: *id, idx: idx.to_owned() }).is_final();
        self.plan.block(parent, block).iter().all(ended)
    }

    /// Whether the end of some branch of a block that has ended failed. A skipped end takes the status of what it
    /// waited for.
    pub(super) fn is_bad(&self, parent: Option<NodeId>, block: u16, idx: &str) -> bool {
        !causes(self.plan, self.run, self.plan.block(parent, block), idx).is_empty()
    }
}

/// The actions that made a block end badly, in order: those at the end of a branch that failed, and those that made an
/// end be skipped. A failure that another action handled is none of them.
pub fn causes(plan: &Plan, run: &RunState, nodes: &[NodeId], idx: &str) -> Vec<NodeId> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<NodeId> = plan.ends(nodes).collect();
    let mut causes = Vec::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        match as_seen(run, &StepKey { node: id, idx: idx.to_owned() }) {
            StepStatus::Succeeded => {}
            StepStatus::Skipped => open.extend(plan.nodes[id].after.iter().map(|(before, _)| *before)),
            _ => causes.push(id),
        }
    }
    causes.sort_unstable();
    causes
}

/// The status that waiting actions see: an action that its own `when` turned off counts as succeeded.
fn as_seen(run: &RunState, key: &StepKey) -> StepStatus {
    match run.steps.get(key) {
        Some(step) if step.status == StepStatus::Skipped && step.outcome.as_deref() == Some(SKIPPED_BY_WHEN) => {
            StepStatus::Succeeded
        }
        Some(step) => step.status,
        None => StepStatus::Pending,
    }
}

/// Why the run failed: the first failure that nobody handled.
pub fn cause(plan: &Plan, run: &RunState) -> Option<Failure> {
    failure_of(plan, run, &causes(plan, run, plan.block(None, 0), ""), "").map(|(_, failure)| failure)
}

/// Why a container at work failed: the failure in it that came first and that nobody handled, with the name of the
/// action. Of an `until`, the last iteration is looked at: a bad one ends it.
pub fn first_failure(plan: &Plan, run: &RunState, key: &StepKey) -> Option<Failure> {
    let open = run.open.get(key);
    let idx = match plan.nodes[key.node].kind {
        Kind::Each { .. } => return open.and_then(|open| open.failure.as_ref()).map(|(_, failure)| failure.clone()),
        Kind::Until => StepKey::iteration(&key.idx, open.map_or(1, |open| open.next).saturating_sub(1)),
        Kind::Leaf | Kind::If | Kind::Switch | Kind::Scope => key.idx.clone(),
    };
    let failures =
        plan.blocks_of(key.node).filter_map(|(_, nodes)| failure_of(plan, run, &causes(plan, run, nodes, &idx), &idx));
    failures.min_by_key(|(at, _)| *at).map(|(_, failure)| failure)
}

/// The failure of the first of `nodes` that ended, and when it did.
fn failure_of(plan: &Plan, run: &RunState, nodes: &[NodeId], idx: &str) -> Option<(Micros, Failure)> {
    let steps = nodes.iter().filter_map(|id| Some((*id, run.steps.get(&StepKey { node: *id, idx: idx.to_owned() })?)));
    let failed =
        steps.filter_map(|(id, step)| Some((step.finished_at.unwrap_or(Micros::MAX), id, step.error.as_ref()?)));
    let (at, id, failure) = failed.min_by_key(|(at, id, _)| (*at, *id))?;
    let action = failure.action.clone().unwrap_or_else(|| plan.nodes[id].name.clone());
    Some((at, Failure { action: Some(action), ..Failure::terminal(failure.code.clone(), failure.message.clone()) }))
}

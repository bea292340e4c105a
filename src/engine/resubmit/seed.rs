//! What a resubmit from an action takes over from its origin, and what it does again. Pure.
//!
//! Walked block by block on the text of the new run. An action stands *as it was* when it succeeded, when its own `when`
//! turned it off, or when another action handled its failure, and everything that it waits for stands as it was too.
//! Everything else is done again; the action asked for, in any case.
//!
//! - **Inside a loop** it is done again only in the iterations in which it did not succeed.
//! - **Containers round it**, and any container that did not end well, are open again: their row is copied as running,
//!   with what they decided (branch, items); in them the same rule holds. What waits for such a container is done again.
//! - **A container asked for** is open again like that: what succeeded in it is kept, the rest repeats. What it decided is
//!   not decided again; a resubmit from the start does that.
//! - An `until` that is open again goes on with its last iteration and has its whole `timeout` again; one that reached
//!   its limit begins anew.
//! - A container that waits for something that is done again begins anew: its items or its branch may change.
//! - `terminate` is never taken over: it would end the new run before it began.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;

use super::ResubmitError;
use crate::actions::terminate;
use crate::clock::Micros;
use crate::flow::Flow;
use crate::flow::control::Control;
use crate::flow::plan::{Kind, NodeId, Plan, StepStatus};
use crate::run::advance::{SKIPPED_BY_BRANCH, SKIPPED_BY_WHEN};
use crate::run::blocks::causes;
use crate::run::{RunState, Step, StepKey};
use crate::store::StepRow;

/// The rows of a new run on `flow` that does `from` again; `origin` are the rows of a run on `origin_flow`.
pub(super) fn rows(
    origin: &[StepRow],
    origin_flow: &Flow,
    flow: &Flow,
    from: NodeId,
    now: Micros,
) -> Result<Vec<StepRow>, ResubmitError> {
    let by_name: HashMap<&str, NodeId> =
        flow.plan.nodes.iter().enumerate().map(|(id, node)| (node.name.as_str(), id)).collect();
    let mut rows: BTreeMap<StepKey, &StepRow> = BTreeMap::new();
    let mut run = RunState::default();
    for row in origin {
        let Some(node) = by_name.get(row.name.as_str()) else { continue };
        let key = StepKey { node: *node, idx: row.idx.clone() };
        let step = Step { status: row.status, outcome: row.outcome.clone(), ..Step::default() };
        run.steps.insert(key.clone(), step);
        rows.insert(key, row);
    }
    let mut seed = Seed {
        flow,
        plan: &flow.plan,
        from,
        round_from: flow.plan.containers(from).collect(),
        in_loop: !flow.plan.loops(from).is_empty(),
        now,
        rows,
        run,
        kept: Vec::new(),
        again: HashSet::new(),
        reached: false,
    };
    seed.block(None, 0, "");
    if !seed.reached {
        return Err(ResubmitError::NotReached(flow.actions[from].name.clone()));
    }
    let (kept, again) = (std::mem::take(&mut seed.kept), std::mem::take(&mut seed.again));
    for row in origin.iter().filter(|row| is_done(row) && !by_name.contains_key(row.name.as_str())) {
        // What has gone from the text is missed, unless it stood in something that begins anew.
        let round = origin_flow.plan.find(&row.name).into_iter().flat_map(|node| origin_flow.plan.containers(node));
        let mut names = round.map(|container| origin_flow.plan.nodes[container].name.as_str());
        if !names.any(|name| again.contains(name)) {
            return Err(ResubmitError::ShapeChanged(row.name.clone()));
        }
    }
    for row in &kept {
        same_shape(origin_flow, flow, row)?;
    }
    Ok(kept)
}

/// Succeeded, or turned off by its own `when`.
fn is_done(row: &StepRow) -> bool {
    row.status == StepStatus::Succeeded
        || (row.status == StepStatus::Skipped && row.outcome.as_deref() == Some(SKIPPED_BY_WHEN))
}

/// Skipped because its branch was not taken: the branch is pinned.
fn by_branch(row: &StepRow) -> bool {
    row.outcome.as_deref() == Some(SKIPPED_BY_BRANCH)
}

/// What is taken over keeps name, type and container in both texts; a `switch` that is open again keeps its cases, as its
/// branch is pinned by number.
fn same_shape(origin_flow: &Flow, flow: &Flow, row: &StepRow) -> Result<(), ResubmitError> {
    let shape = |flow: &Flow| {
        let node = flow.plan.find(&row.name)?;
        let place = |id: NodeId| {
            let node = &flow.plan.nodes[id];
            (node.parent.map(|parent| flow.plan.nodes[parent].name.clone()), node.block, flow.actions[id].kind.clone())
        };
        let cases = match (&flow.actions[node].control, row.status) {
            (Some(Control::Switch { cases, .. }), StepStatus::Running) => cases.clone(),
            _ => Vec::new(),
        };
        Some((place(node), flow.plan.containers(node).map(place).collect::<Vec<_>>(), cases))
    };
    match (shape(origin_flow), shape(flow)) {
        (Some(before), Some(now)) if before == now => Ok(()),
        _ => Err(ResubmitError::ShapeChanged(row.name.clone())),
    }
}

/// What becomes of an action in the new run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its row and everything in it are copied.
    Kept,
    /// It was skipped and will be again, for the same reason: nothing needs to be copied.
    SkippedAgain,
    /// A container that goes on: its row is copied as running.
    Open,
    /// It begins anew.
    Again,
}

struct Seed<'a> {
    flow: &'a Flow,
    plan: &'a Plan,
    from: NodeId,
    /// The containers round `from`.
    round_from: HashSet<NodeId>,
    in_loop: bool,
    now: Micros,
    rows: BTreeMap<StepKey, &'a StepRow>,
    /// Statuses of the origin, for the graph rule.
    run: RunState,
    kept: Vec<StepRow>,
    /// Containers that begin anew.
    again: HashSet<&'a str>,
    /// Whether `from` is done again somewhere, or something that it waits for.
    reached: bool,
}

impl Seed<'_> {
    /// Decides about a block. In the order of the file: every edge points backwards.
    fn block(&mut self, parent: Option<NodeId>, number: u16, idx: &str) {
        let plan = self.plan;
        let nodes = plan.block(parent, number);
        let unhandled: HashSet<NodeId> = causes(plan, &self.run, nodes, idx).into_iter().collect();
        let mut changed: HashSet<NodeId> = HashSet::new();
        for node in nodes {
            let waits_for_changed = plan.nodes[*node].after.iter().any(|(before, _)| changed.contains(before));
            let key = StepKey { node: *node, idx: idx.to_owned() };
            let fate = if waits_for_changed { Fate::Again } else { self.fate(&key, unhandled.contains(node)) };
            if matches!(fate, Fate::Open | Fate::Again) {
                changed.insert(*node);
            }
            self.settle(&key, fate);
        }
    }

    fn fate(&self, key: &StepKey, unhandled: bool) -> Fate {
        let Some(row) = self.rows.get(key) else { return Fate::Again };
        let is_container = self.plan.nodes[key.node].kind != Kind::Leaf;
        let opens = is_container && row.io.inputs.is_some() && !is_at_limit(row);
        let is_asked_for = key.node == self.from && !(self.in_loop && is_done(row));
        let holds_it = self.round_from.contains(&key.node) && self.holds_what_repeats(key);
        let is_terminate = self.flow.actions[key.node].kind == terminate::KIND;
        match row.status {
            StepStatus::Skipped if by_branch(row) => Fate::SkippedAgain,
            StepStatus::Skipped if !is_done(row) && !is_asked_for => Fate::SkippedAgain,
            _ if (is_asked_for || holds_it) && opens => Fate::Open,
            _ if is_asked_for || is_terminate => Fate::Again,
            _ if is_done(row) => Fate::Kept,
            StepStatus::Failed | StepStatus::TimedOut if !unhandled => Fate::Kept,
            _ if opens => Fate::Open,
            _ => Fate::Again,
        }
    }

    /// Whether the action asked for is done again somewhere in this container: where it ran and did not succeed, or was
    /// not reached because of a failure before it.
    fn holds_what_repeats(&self, key: &StepKey) -> bool {
        let is_in = |idx: &str| is_within(idx, &key.idx);
        let first = StepKey { node: self.from, idx: key.idx.clone() };
        let all = self.rows.range(first..).take_while(|(other, _)| other.node == self.from && is_in(&other.idx));
        let mut all = all.map(|(_, row)| row).peekable();
        let none = all.peek().is_none();
        let of_container = self.rows.get(key).is_some_and(|row| !is_done(row));
        (none && of_container) || all.any(|row| !(by_branch(row) || (self.in_loop && is_done(row))))
    }

    fn settle(&mut self, key: &StepKey, fate: Fate) {
        let name = self.plan.nodes[key.node].name.as_str();
        let concerns = key.node == self.from || self.round_from.contains(&key.node);
        match fate {
            Fate::SkippedAgain => {}
            Fate::Again => {
                self.again.insert(name);
                self.reached |= concerns;
            }
            Fate::Kept => {
                self.copy(key);
                self.copy_inside(key);
            }
            Fate::Open => {
                // One that was stopped in the middle has iterations that never began.
                let stopped = self.rows.get(key).is_some_and(|row| row.status == StepStatus::Cancelled);
                self.reached |= key.node == self.from || (concerns && stopped);
                self.reopen(key);
                self.inside(key);
            }
        }
    }

    fn copy(&mut self, key: &StepKey) {
        let is_terminate = self.flow.actions[key.node].kind == terminate::KIND;
        if let Some(row) = self.rows.get(key).filter(|row| row.status.is_final() && !is_terminate) {
            self.kept.push((*row).clone());
        }
    }

    /// Everything that stands in a container, or in one iteration of it, that is kept.
    fn copy_inside(&mut self, key: &StepKey) {
        if self.plan.nodes[key.node].kind == Kind::Leaf {
            return;
        }
        let is_in = |idx: &str| is_within(idx, &key.idx);
        let is_inside = |other: &StepKey| self.plan.containers(other.node).any(|one| one == key.node);
        let keys: Vec<StepKey> =
            self.rows.keys().filter(|other| is_in(&other.idx) && is_inside(other)).cloned().collect();
        for key in keys {
            self.copy(&key);
        }
    }

    /// Copies the row of a container as one that is at work, with what it decided.
    fn reopen(&mut self, key: &StepKey) {
        let Some(row) = self.rows.get(key) else { return };
        let mut open = (*row).clone();
        (open.status, open.finished_at, open.outcome) = (StepStatus::Running, None, None);
        (open.io.outputs, open.io.error) = (None, None);
        if self.plan.nodes[key.node].kind == Kind::Until
            && let Some(inputs) = &mut open.io.inputs
            && let Some(deadline) = inputs.get("deadline").and_then(serde_json::Value::as_i64)
        {
            let timeout = deadline.saturating_sub(row.started_at.unwrap_or(deadline));
            inputs["deadline"] = json!(self.now.saturating_add(timeout));
        }
        self.kept.push(open);
    }

    /// Decides about what runs in a container that is open again.
    fn inside(&mut self, key: &StepKey) {
        let plan = self.plan;
        if !plan.nodes[key.node].kind.is_loop() {
            for (number, _) in plan.blocks_of(key.node) {
                self.block(Some(key.node), number, &key.idx);
            }
            return;
        }
        let within = if key.idx.is_empty() { String::new() } else { format!("{}.", key.idx) };
        let depth = key.idx.matches('.').count() + usize::from(!key.idx.is_empty());
        let is_turn = |idx: &&String| idx.starts_with(&within) && !idx.is_empty() && idx.matches('.').count() == depth;
        let mut turns: Vec<String> = plan
            .turn(key.node)
            .iter()
            .flat_map(|node| self.rows.range(StepKey::top(*node)..).take_while(|(other, _)| other.node == *node))
            .map(|(other, _)| &other.idx)
            .filter(is_turn)
            .cloned()
            .collect();
        turns.sort_unstable();
        turns.dedup();
        // Of an `until` only the last iteration goes on.
        let over = if plan.nodes[key.node].kind == Kind::Until { turns.len().saturating_sub(1) } else { 0 };
        for idx in turns.drain(..over) {
            self.copy_inside(&StepKey { node: key.node, idx });
        }
        for idx in turns {
            self.block(Some(key.node), 0, &idx);
        }
    }
}

/// Whether the iteration `idx` is `outer`, or stands in it.
fn is_within(idx: &str, outer: &str) -> bool {
    outer.is_empty() || idx.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// An `until` that ran out of iterations or time.
fn is_at_limit(row: &StepRow) -> bool {
    row.io.error.as_ref().is_some_and(|error| error.code == "until_limit" && error.action.is_none())
}

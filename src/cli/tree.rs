//! The actions of a run as they stand in its flow: what stands in a container is indented, iterations are folded.
//!
//! Of a loop with more than a few iterations only the first ones and those that did not end well are listed; `--json` has
//! all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::output;
use crate::flow::Flow;
use crate::flow::plan::{Kind, NodeId};
use crate::run::advance::SKIPPED_BY_BRANCH;
use crate::run::blocks::causes;
use crate::run::{RunState, Step, StepKey, StepStatus};

/// A loop with no more iterations than this is listed whole.
const WHOLE_MAX: usize = 3;
/// Iterations of one loop that are listed because they did not end well, at most.
const BAD_SHOWN_MAX: usize = 5;

/// One action of a run, and whatever the caller knows of it.
pub(super) struct Row<'a, T> {
    pub(super) name: &'a str,
    /// The loop vector, as in step keys.
    pub(super) idx: String,
    pub(super) status: StepStatus,
    pub(super) outcome: Option<&'a str>,
    pub(super) of: &'a T,
}

/// One line.
pub(super) enum Entry<'a, T> {
    /// An action; `of` is `None` for one that was not reached.
    Action {
        /// Indentation, iteration and name.
        label: String,
        node: NodeId,
        /// `for_each, 3 of 120 iterations failed`; empty for leaves.
        container: String,
        of: Option<&'a T>,
    },
    /// Something left out, in short.
    Note(String),
}

/// The lines of a run, in the order of the flow. `first` iterations of each loop are listed in any case.
pub(super) fn entries<'a, T>(flow: &Flow, rows: Vec<Row<'a, T>>, first: usize) -> Vec<Entry<'a, T>> {
    let mut tree = Tree { flow, first, rows: BTreeMap::new(), run: RunState::default(), entries: Vec::new() };
    for row in rows {
        let Some(node) = flow.plan.find(row.name) else { continue };
        let key = StepKey { node, idx: row.idx };
        let step = Step { status: row.status, outcome: row.outcome.map(str::to_owned), ..Step::default() };
        tree.run.steps.insert(key.clone(), step);
        tree.rows.insert(key, row.of);
    }
    tree.block(None, 0, "", 0);
    tree.entries
}

/// `[0,2] `: the iteration, as people read it.
fn iteration(idx: &str) -> String {
    let numbers: Vec<&str> = idx
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| part.trim_start_matches('0'))
        .map(|part| if part.is_empty() { "0" } else { part })
        .collect();
    if numbers.is_empty() { String::new() } else { format!("[{}] ", numbers.join(",")) }
}

struct Tree<'a, 'f, T> {
    flow: &'f Flow,
    first: usize,
    rows: BTreeMap<StepKey, &'a T>,
    run: RunState,
    entries: Vec<Entry<'a, T>>,
}

impl<T> Tree<'_, '_, T> {
    fn block(&mut self, parent: Option<NodeId>, number: u16, idx: &str, depth: usize) {
        let flow = self.flow;
        for node in flow.plan.block(parent, number) {
            let key = StepKey { node: *node, idx: idx.to_owned() };
            let kind = flow.plan.nodes[*node].kind;
            let turns = if kind.is_loop() { self.turns(&key) } else { Vec::new() };
            let container = if kind == Kind::Leaf { String::new() } else { self.container(&key, &turns) };
            let label = format!("{}{}{}", "  ".repeat(depth), iteration(idx), flow.plan.nodes[*node].name);
            self.entries.push(Entry::Action { label, node: *node, container, of: self.rows.get(&key).copied() });
            let ran = self.run.steps.get(&key).is_some_and(|step| step.status != StepStatus::Skipped);
            if ran && kind.is_loop() {
                self.loop_of(&key, &turns, depth + 1);
            } else if ran {
                self.blocks(&key, depth + 1);
            }
        }
    }

    fn blocks(&mut self, key: &StepKey, depth: usize) {
        let flow = self.flow;
        for (number, nodes) in flow.plan.blocks_of(key.node) {
            let step = |node: &NodeId| self.run.steps.get(&StepKey { node: *node, idx: key.idx.clone() });
            let is_off =
                |node: &NodeId| step(node).is_some_and(|step| step.outcome.as_deref() == Some(SKIPPED_BY_BRANCH));
            if nodes.iter().all(is_off) {
                let names: Vec<&str> = nodes.iter().map(|node| flow.plan.nodes[*node].name.as_str()).collect();
                self.entries.push(Entry::Note(format!("{}not taken: {}", "  ".repeat(depth), names.join(", "))));
            } else {
                self.block(Some(key.node), number, &key.idx, depth);
            }
        }
    }

    /// The iterations that have steps: their index, and whether they ended well.
    fn turns(&self, key: &StepKey) -> Vec<(String, bool)> {
        let own = |idx: &str| !idx.is_empty() && StepKey::outer(idx).0 == key.idx;
        let steps = self.flow.plan.turn(key.node).iter().flat_map(|node| {
            let first = StepKey { node: *node, idx: StepKey::iteration(&key.idx, 0) };
            self.run.steps.range(first..).take_while(move |(other, _)| other.node == *node && own(&other.idx))
        });
        let mut turns: BTreeMap<&str, bool> = BTreeMap::new();
        for (other, step) in steps {
            *turns.entry(&other.idx).or_insert(true) &= step.status.is_final();
        }
        let nodes = self.flow.plan.block(Some(key.node), 0);
        let is_well = |idx: &str, ended: bool| ended && causes(&self.flow.plan, &self.run, nodes, idx).is_empty();
        turns.into_iter().map(|(idx, ended)| (idx.to_owned(), is_well(idx, ended))).collect()
    }

    fn container(&self, key: &StepKey, turns: &[(String, bool)]) -> String {
        let kind = &self.flow.actions[key.node].kind;
        if !self.flow.plan.nodes[key.node].kind.is_loop() || !self.run.steps.contains_key(key) {
            return kind.clone();
        }
        let bad = turns.iter().filter(|(_, well)| !well).count();
        let ended = self.run.steps.get(key).is_some_and(|step| step.status.is_final());
        let total = output::count(turns.len(), "iteration");
        match bad {
            0 => format!("{kind}, {total}"),
            _ if ended => format!("{kind}, {bad} of {total} failed"),
            _ => format!("{kind}, {bad} of {total} at work or failed"),
        }
    }

    fn loop_of(&mut self, key: &StepKey, turns: &[(String, bool)], depth: usize) {
        let bad = turns.iter().enumerate().filter(|(_, (_, well))| !well).map(|(at, _)| at).take(BAD_SHOWN_MAX);
        let shown: BTreeSet<usize> =
            if turns.len() <= WHOLE_MAX { (0..turns.len()).collect() } else { (0..self.first).chain(bad).collect() };
        for at in &shown {
            self.block(Some(key.node), 0, &turns[*at].0, depth);
        }
        let left = || turns.iter().enumerate().filter(|(at, _)| !shown.contains(at));
        let number = left().count();
        if number > 0 {
            let bad = left().filter(|(_, (_, well))| !well).count();
            let failed = if bad > 0 { format!(", {bad} of them failed") } else { String::new() };
            let more = output::count(number, "more iteration");
            self.entries.push(Entry::Note(format!("{}… {more}{failed} (--json lists them)", "  ".repeat(depth))));
        }
    }
}

//! Long loops: committed in pieces; of iterations that are over, what the loop gives is gathered, everything else leaves
//! memory.
//!
//! Promise: the memory of a run grows with its items and with what works at the same time, not with the number of
//! actions that a loop has done: those are in the store.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Actor;
use super::start::size_of;
use crate::flow::Flow;
use crate::run::StepKey;

/// Ended actions that one commit takes at most, about: a loop over pure actions is committed in pieces.
const STEPS_PER_COMMIT: usize = 500;
/// Bytes of inputs and outputs that one commit takes at most, about.
const BYTES_PER_COMMIT: usize = 4 << 20;

/// The outputs of the last action of each ended iteration of a `for_each`.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    outputs: BTreeMap<u32, Value>,
    bytes: usize,
    /// Together they are larger than a loop may give: nothing is kept then.
    is_too_large: bool,
}

impl Gathered {
    fn add(&mut self, number: u32, outputs: Value, limit: usize) {
        self.bytes += size_of(&outputs, limit) + 1;
        self.is_too_large |= self.bytes > limit;
        if self.is_too_large {
            self.outputs.clear();
        } else {
            self.outputs.insert(number, outputs);
        }
    }
}

/// By node: whether its templates read `loops`. Empty in a flow without loops.
pub(super) fn readers(flow: &Flow) -> Vec<bool> {
    if !flow.plan.has_loops() {
        return Vec::new();
    }
    let reads = |action: &crate::flow::Action| {
        let mut reads = false;
        action.each_template(&mut |template| {
            reads |= template.paths().iter().any(|path| path.root.eq_ignore_ascii_case("loops"));
        });
        reads
    };
    flow.actions.iter().map(reads).collect()
}

impl Actor {
    /// Whether the next commit takes no more: the rest follows in another one.
    pub(super) fn is_commit_full(&self) -> bool {
        self.unwritten.len() >= STEPS_PER_COMMIT || self.unwritten_bytes >= BYTES_PER_COMMIT
    }

    /// Counts the values of a step that has ended.
    pub(super) fn count_bytes(&mut self, key: &StepKey) {
        let Some(step) = self.state.steps.get(key) else { return };
        let values = step.inputs.iter().chain(&step.outputs);
        self.unwritten_bytes += values.map(|value| size_of(value, BYTES_PER_COMMIT)).sum::<usize>();
    }

    /// An iteration of a `for_each` is over.
    pub(super) fn leave_iteration(&mut self, key: &StepKey, idx: &str) {
        if let Some(last) = self.flow.plan.block(Some(key.node), 0).last() {
            let last = StepKey { node: *last, idx: idx.to_owned() };
            let outputs = self.state.steps.get(&last).and_then(|step| step.outputs.clone()).unwrap_or_default();
            let limit = self.ports.limits().outputs_bytes_max;
            self.gathered.entry(key.clone()).or_default().add(StepKey::outer(idx).1, outputs, limit);
        }
        self.forget_iteration(key, idx);
    }

    /// Nobody reads what stands in an iteration that is over any more: it goes, as soon as it is written.
    pub(super) fn forget_iteration(&mut self, key: &StepKey, idx: &str) {
        self.values.leave(idx);
        for node in self.flow.plan.turn(key.node) {
            let inner = StepKey { node: *node, idx: idx.to_owned() };
            if self.unwritten.contains(&inner) {
                self.leaving.push(inner);
            } else {
                self.state.steps.remove(&inner);
            }
        }
    }

    /// The outputs of the last action of each iteration, in the order of the items; `None`: too large.
    pub(super) fn collected(&self, key: &StepKey) -> Option<Value> {
        let Some(gathered) = self.gathered.get(key) else { return Some(Value::Array(Vec::new())) };
        (!gathered.is_too_large).then(|| gathered.outputs.values().cloned().collect())
    }
}

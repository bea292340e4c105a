//! The meaning of a plan, by recursion over its definition: no events, no state, no order.

use std::collections::BTreeMap;

use super::player::{Act, act, rounds};
use crate::flow::plan::{Kind, NodeId, Plan, StepStatus};
use crate::run::{RunStatus, StepKey};

/// How one step ended: its status, and whether it counts as succeeded although it was skipped.
type Ended = (StepStatus, bool);

/// The final status of every step and of the run.
pub(crate) fn outcome(plan: &Plan, seed: u64) -> (BTreeMap<StepKey, StepStatus>, RunStatus) {
    let mut reference = Reference { plan, seed, ended: BTreeMap::new() };
    let bad = reference.block(None, 0, "");
    let statuses = reference.ended.into_iter().map(|(key, (status, _))| (key, status)).collect();
    (statuses, if bad { RunStatus::Failed } else { RunStatus::Succeeded })
}

struct Reference<'a> {
    plan: &'a Plan,
    seed: u64,
    ended: BTreeMap<StepKey, Ended>,
}

impl Reference<'_> {
    fn nodes_in(&self, parent: Option<NodeId>, block: Option<u16>) -> Vec<NodeId> {
        let nodes = self.plan.nodes.iter().enumerate();
        let inside = nodes.filter(|(_, node)| node.parent == parent && block.is_none_or(|block| node.block == block));
        inside.map(|(id, _)| id).collect()
    }

    fn seen(&self, id: NodeId, idx: &str) -> StepStatus {
        let (status, by_when) = self.ended[&StepKey { node: id, idx: idx.to_owned() }];
        if by_when { StepStatus::Succeeded } else { status }
    }

    /// Runs a block; whether it ended badly.
    fn block(&mut self, parent: Option<NodeId>, block: u16, idx: &str) -> bool {
        let nodes = self.nodes_in(parent, Some(block));
        for id in &nodes {
            let after = &self.plan.nodes[*id].after;
            let met = after.iter().all(|(before, set)| set.contains(self.seen(*before, idx)));
            let key = StepKey { node: *id, idx: idx.to_owned() };
            let ended = if met { self.run(&key) } else { self.skipped(&key) };
            self.ended.insert(key, ended);
        }
        let is_end = |id: &NodeId| {
            nodes.iter().all(|other| self.plan.nodes[*other].after.iter().all(|(before, _)| before != id))
        };
        nodes.iter().filter(|id| is_end(id)).any(|id| self.is_bad(*id, idx))
    }

    /// A skipped end takes the status of what it waited for.
    fn is_bad(&self, id: NodeId, idx: &str) -> bool {
        match self.seen(id, idx) {
            StepStatus::Succeeded => false,
            StepStatus::Skipped => self.plan.nodes[id].after.iter().any(|(before, _)| self.is_bad(*before, idx)),
            _ => true,
        }
    }

    fn skipped(&mut self, key: &StepKey) -> Ended {
        self.skip_inside(key);
        (StepStatus::Skipped, false)
    }

    /// What stands in a container that did not run is skipped with it; a loop that never turned has no steps inside.
    fn skip_inside(&mut self, key: &StepKey) {
        if !self.plan.nodes[key.node].kind.is_loop() {
            for id in self.nodes_in(Some(key.node), None) {
                self.skip(id, &key.idx);
            }
        }
    }

    fn skip(&mut self, id: NodeId, idx: &str) {
        let key = StepKey { node: id, idx: idx.to_owned() };
        let ended = self.skipped(&key);
        self.ended.insert(key, ended);
    }

    fn run(&mut self, key: &StepKey) -> Ended {
        let kind = self.plan.nodes[key.node].kind;
        let (act, number) = act(self.seed, key);
        if matches!(act, Act::Off | Act::Broken) {
            self.skip_inside(key);
            return if act == Act::Off { (StepStatus::Skipped, true) } else { (StepStatus::Failed, false) };
        }
        let id = Some(key.node);
        let bad = match kind {
            Kind::Leaf => {
                return match act {
                    Act::Fails => (StepStatus::Failed, false),
                    Act::Slow => (StepStatus::TimedOut, false),
                    _ => (StepStatus::Succeeded, false),
                };
            }
            Kind::If => self.choose(key, u16::from(number % 2 == 1)),
            Kind::Switch => self.choose(key, u16::try_from(number).expect("small").min(super::player::CASES)),
            Kind::Scope => self.choose(key, 0),
            Kind::Each { .. } => {
                let turns = 0..u32::try_from(number).expect("small");
                let bad: Vec<bool> = turns.map(|turn| self.block(id, 0, &StepKey::iteration(&key.idx, turn))).collect();
                bad.contains(&true)
            }
            Kind::Until => {
                let mut turns = 0..rounds(number);
                let bad = turns.any(|turn| self.block(id, 0, &StepKey::iteration(&key.idx, turn)));
                bad || act == Act::Fails
            }
        };
        (if bad { StepStatus::Failed } else { StepStatus::Succeeded }, false)
    }

    fn choose(&mut self, key: &StepKey, block: u16) -> bool {
        for id in self.nodes_in(Some(key.node), None) {
            if self.plan.nodes[id].block != block {
                self.skip(id, &key.idx);
            }
        }
        self.block(Some(key.node), block, &key.idx)
    }
}

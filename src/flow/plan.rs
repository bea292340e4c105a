//! The plan of a flow: an arena of nodes with `after` edges, containers with numbered blocks. What `advance` walks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Index of a node in [`Plan::nodes`] and of its action in `Flow::actions`.
pub type NodeId = usize;

/// The status of one action of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not started.
    Pending,
    /// Started; an attempt may be in flight.
    Running,
    /// Waits for a time: its next try, or the end of a delay.
    Waiting,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Not run: its `when` was false, or its `run_after` was not met.
    Skipped,
    /// Its last try took too long.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
}

impl StepStatus {
    /// All statuses.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Skipped,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// Whether the action has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Waiting)
    }

    /// As stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status stored as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What a node is. Containers hold blocks of nodes, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One action.
    Leaf,
    /// `condition`: block 0 is `then`, block 1 is `else`.
    If,
    /// `switch`: one block for each case, the last one is `default`.
    Switch,
    /// `for_each`: its block runs once for each item.
    Each {
        /// Iterations at once.
        concurrency: u32,
    },
    /// `until`: its block runs until the condition is true.
    Until,
    /// `scope`: its block runs once.
    Scope,
}

impl Kind {
    /// Whether its block runs in iterations, each with its own index in the keys of its steps.
    pub fn is_loop(self) -> bool {
        matches!(self, Self::Each { .. } | Self::Until)
    }
}

/// A set of statuses that an edge accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusSet {
    bits: u8,
}

impl StatusSet {
    /// The default of an edge: only success.
    pub fn succeeded() -> Self {
        Self::default().with(StepStatus::Succeeded)
    }

    /// Adds `status`.
    #[must_use]
    pub fn with(mut self, status: StepStatus) -> Self {
        self.bits |= 1 << status as u8;
        self
    }

    /// Whether `status` is in it.
    pub fn contains(self, status: StepStatus) -> bool {
        self.bits & (1 << status as u8) != 0
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The action's name.
    pub name: String,
    /// The container that it stands in; `None`: the flow itself.
    pub parent: Option<NodeId>,
    /// The block of that container.
    pub block: u16,
    /// It starts when each of these nodes of its block has ended with one of the statuses. Empty: at once.
    pub after: Vec<(NodeId, StatusSet)>,
    /// What it is.
    pub kind: Kind,
}

/// The graph of a flow. Nodes stand in the order of the file: every edge points backwards, and a container stands
/// before what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The nodes of each block, in order. A block without nodes is not listed.
    blocks: BTreeMap<(Option<NodeId>, u16), Vec<NodeId>>,
    /// What has a step in each iteration of a loop: everything in it, without what stands in a loop further inside.
    turns: BTreeMap<NodeId, Vec<NodeId>>,
}

impl Plan {
    /// The graph of `nodes`.
    pub fn new(nodes: Vec<Node>) -> Self {
        let mut blocks: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in nodes.iter().enumerate() {
            blocks.entry((node.parent, node.block)).or_default().push(id);
        }
        let mut plan = Self { nodes, blocks, turns: BTreeMap::new() };
        for id in 0..plan.nodes.len() {
            if let Some(nearest) = plan.loops(id).last() {
                plan.turns.entry(*nearest).or_default().push(id);
            }
        }
        plan
    }

    /// The node named `name`.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The nodes of a block, in order.
    pub fn block(&self, parent: Option<NodeId>, number: u16) -> &[NodeId] {
        self.blocks.get(&(parent, number)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The blocks of a container, with their numbers.
    pub fn blocks_of(&self, parent: NodeId) -> impl Iterator<Item = (u16, &[NodeId])> {
        self.blocks
            .range((Some(parent), 0)..=(Some(parent), u16::MAX))
            .map(|((_, number), nodes)| (*number, &nodes[..]))
    }

    /// The nodes of a block that no other one waits for: the ends of its branches.
    pub fn ends<'a>(&'a self, block: &'a [NodeId]) -> impl Iterator<Item = NodeId> + 'a {
        let awaited =
            |id: NodeId| block.iter().any(|other| self.nodes[*other].after.iter().any(|(before, _)| *before == id));
        block.iter().copied().filter(move |id| !awaited(*id))
    }

    /// The containers round a node, innermost first.
    pub fn containers(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.nodes.get(node).and_then(|node| node.parent), |parent| self.nodes[*parent].parent)
    }

    /// What has a step in each iteration of a loop, in order; loops further inside it have their own.
    pub fn turn(&self, of_loop: NodeId) -> &[NodeId] {
        self.turns.get(&of_loop).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether there is a loop at all.
    pub fn has_loops(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The loops round a node, outermost first: what the parts of its steps' index count.
    pub fn loops(&self, node: NodeId) -> Vec<NodeId> {
        let mut loops: Vec<NodeId> =
            self.containers(node).filter(|container| self.nodes[*container].kind.is_loop()).collect();
        loops.reverse();
        loops
    }
}

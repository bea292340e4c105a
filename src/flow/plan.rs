//! The plan of a flow: an arena of nodes with `after` edges. What `advance` walks.

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

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One action.
    Leaf,
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
    /// It starts when each of these nodes has ended with one of the statuses. Empty: at once.
    pub after: Vec<(NodeId, StatusSet)>,
    /// What it is.
    pub kind: Kind,
}

/// The graph of a flow. Nodes stand in the order of the file, so every edge points backwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Node>,
}

impl Plan {
    /// The node named `name`.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Nodes that no other node waits for: the ends of the branches.
    pub fn ends(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.nodes.len())
            .filter(|id| !self.nodes.iter().any(|node| node.after.iter().any(|(before, _)| before == id)))
    }
}

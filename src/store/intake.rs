//! What a request brings to the store at once: one run, or one for each item of a list; with the keys that tell a
//! repeated lead and the gate that bounds how many runs of a flow work at the same time.

use crate::clock::Micros;
use crate::ids::RunId;

use super::NewRun;

/// What a gate's lane begins with. No connection and no host lane does.
const GATE_MARK: char = '=';

/// The lane in which runs of `flow` wait that have never been inside its gate.
pub fn gate_lane(flow: &str) -> String {
    format!("{GATE_MARK}{flow}")
}

/// The flow whose gate the lane is of; `None`: it is a connection's lane.
pub fn gated_flow(lane: &str) -> Option<&str> {
    lane.strip_prefix(GATE_MARK)
}

/// One run that a request brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The run as it is stored when nothing keeps it out.
    pub new: NewRun,
    /// Recognises the same lead; `None`: not deduplicated.
    pub dedupe: Option<DedupeKey>,
    /// How many runs of its flow may be inside at once; `None`: any number.
    pub gate: Option<Gate>,
}

/// What the same lead has in common within the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupeKey {
    /// The hash of the rendered key: the key itself is lead data and is not kept.
    pub hash: [u8; 32],
    /// When the window ends that begins with this lead.
    pub expires_at: Micros,
}

/// The bounds of a flow's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Runs inside at once: from their first claim to their end.
    pub runs: u32,
    /// Runs that may wait outside.
    pub waiting: u64,
}

/// What became of all arrivals of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intake {
    /// All of them are stored; what became of each, in order.
    Taken(Vec<Taken>),
    /// More would wait at the gate than may: nothing of it is stored.
    Full,
}

/// What became of one arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Stored as it came.
    Stored,
    /// Stored as queued, without steps, in its gate's lane: it has not begun.
    Waits,
    /// Stored as a duplicate, which has ended.
    Duplicate {
        /// The first run with the key.
        of: RunId,
    },
}

//! How a new run is stored, once dedupe and gate have spoken. Pure; every database uses it.

use super::{Gate, RunRow, gate_lane, gated_flow};
use crate::ids::RunId;
use crate::run::RunStatus;

/// The code of a run that is held after too many rescues without progress.
pub(super) const CODE_POISON: &str = "poison";

/// The code of a run that is held because its row cannot be understood: it must not keep its lane from being claimed.
pub(super) const CODE_UNREADABLE: &str = "unreadable";

/// How a new run is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it is; no gate bounds it.
    AsItIs,
    /// As it is, inside its gate.
    Inside,
    /// As it is, waiting in its gate's lane.
    AtGate,
    /// Before its gate: what it did already is forgotten, it begins when it is claimed.
    Waits,
    /// Ended, as a duplicate of this run.
    Duplicate(RunId),
}

impl Standing {
    /// Of a run that nobody decides upon.
    pub(super) fn plain(run: &RunRow) -> Self {
        if gated_flow(&run.lane) == Some(&run.flow) { Self::AtGate } else { Self::AsItIs }
    }

    /// The column `gate`: 0 waits before it, 1 is inside.
    pub(super) fn gate(self) -> Option<i64> {
        match self {
            Self::AtGate | Self::Waits => Some(0),
            Self::Inside => Some(1),
            Self::AsItIs | Self::Duplicate(_) => None,
        }
    }

    /// Whether the run is stored with what it did before its first commit.
    pub(super) fn keeps_steps(self) -> bool {
        !matches!(self, Self::Duplicate(_) | Self::Waits)
    }

    /// The row without what belongs to a run that has begun; `None`: as it is.
    pub(super) fn row(self, run: &RunRow) -> Option<RunRow> {
        let untouched = RunRow {
            status: RunStatus::Queued,
            code: None,
            finished_at: None,
            lane: String::new(),
            due_at: run.received_at,
            owner: None,
            inflight: Vec::new(),
            answer: None,
            ..run.clone()
        };
        match self {
            Self::AsItIs | Self::Inside | Self::AtGate => None,
            Self::Waits => Some(RunRow { lane: gate_lane(&run.flow), ..untouched }),
            Self::Duplicate(of) => Some(RunRow {
                status: RunStatus::Duplicate,
                finished_at: Some(run.received_at),
                duplicate_of: Some(of),
                ..untouched
            }),
        }
    }
}

/// What a gate says to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    Inside,
    Waits,
    Full,
}

/// What `gate` says to one more run while `running` are inside and `waiting` before it. Nobody overtakes whoever waits.
pub(super) fn pass(gate: Gate, running: i64, waiting: i64) -> Passage {
    let (running, waiting) = (u64::try_from(running).unwrap_or(0), u64::try_from(waiting).unwrap_or(0));
    if waiting == 0 && running < u64::from(gate.runs) {
        Passage::Inside
    } else if waiting < gate.waiting {
        Passage::Waits
    } else {
        Passage::Full
    }
}

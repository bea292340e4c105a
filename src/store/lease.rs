//! Who works on a store: one row a life, which stands for as long as its lease, by the database's time. Whoever finds
//! that a life is over takes its runs.

use std::time::Duration;

use super::Owner;
use crate::clock::Micros;

/// One life of a node, as its heartbeat tells the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its name: unique for each life.
    pub owner: Owner,
    /// What people call the node.
    pub name: String,
    /// The version of leadflow that it runs.
    pub version: String,
    /// For how long this heartbeat keeps its lease.
    pub term: Term,
    /// Whether it begins, so that its row may be made. Later heartbeats never make one: a row that is gone was taken.
    pub begins: bool,
}

/// For how long a heartbeat keeps a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Until it is taken: a lock of the process proves that nobody else works on this store. When such a life begins,
    /// every other one is over.
    Alone,
    /// From the heartbeat, by the database's time. The lease has expired when so much has passed.
    For(Duration),
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether the lease stands. One that has expired, was taken, or was never begun, is not renewed.
    pub stands: bool,
    /// The database's time, somewhere between question and answer.
    pub now: Micros,
}

/// One row of `nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The name of the life.
    pub owner: Owner,
    /// What people call the node.
    pub name: String,
    /// When the life began.
    pub started_at: Micros,
    /// When its lease expires, by the database's time; `None`: it is alone ([`Term::Alone`]).
    pub lease_until: Option<Micros>,
    /// The version of leadflow that it runs.
    pub version: String,
}

/// What a rescue found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Runs taken back from lives that are over.
    pub runs: u64,
    /// Of these, held as `poison` after too many rescues without progress.
    pub held: u64,
}

/// Rescues without progress from which on a run is a suspect: it is claimed only while no other suspect is in work, so
/// that a run which kills its process does not take the strikes of its neighbours with it.
pub const SUSPECT_STRIKES: u32 = 3;

/// Rescues without progress after which a run is held as `poison`. High enough that a machine which is killed again and
/// again from outside, faster than it can work, holds nobody who is only unlucky.
pub const STRIKES_MAX: u32 = 8;

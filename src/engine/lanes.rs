//! Lanes: one for each connection, with slots for effects and a count of what waits in the store. A destination that is
//! down fills its own lane and delays nobody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::{gate_lane, gated_flow};

/// Slots in use and runs that wait in the store, by lane.
#[derive(Debug)]
pub struct Lanes {
    by_name: Mutex<HashMap<String, Lane>>,
    default_slots: AtomicUsize,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    slots: Option<usize>,
    used: usize,
    backlog: u64,
}

/// One slot of a lane; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    lanes: Arc<Lanes>,
    lane: String,
    quiet: bool,
}

impl Permit {
    /// The lane that it is of.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// Gives a slot back that a claim had no run for: nobody needs to be told, or the claim would wake itself for ever.
    pub fn unused(mut self) {
        self.quiet = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        let mut waiting = false;
        if let Some(lane) = lanes.get_mut(&self.lane) {
            lane.used = lane.used.saturating_sub(1);
            waiting = lane.backlog > 0;
            // Lanes of plain HTTP are named by host: an idle one is forgotten, so that their number stays bounded.
            if lane.used == 0 && lane.backlog == 0 && lane.slots.is_none() {
                lanes.remove(&self.lane);
            }
        }
        drop(lanes);
        if waiting && !self.quiet {
            self.lanes.wake.notify_one();
        }
    }
}

impl Lanes {
    /// Something is due that did not come from outside: a claim may look at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// No lanes in use; lanes that are not [`Lanes::set_slots`] have `default_slots`. `wake` is told when a slot of a
    /// lane with a backlog becomes free, and when a backlog grows.
    pub fn new(default_slots: usize, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { by_name: Mutex::default(), default_slots: AtomicUsize::new(default_slots.max(1)), wake })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fixes the number of slots of a lane.
    pub fn set_slots(&self, lane: &str, slots: usize) {
        self.lock().entry(lane.to_owned()).or_default().slots = Some(slots.max(1));
    }

    /// Changes the number of slots of lanes that have no number of their own.
    pub fn set_default_slots(&self, slots: usize) {
        self.default_slots.store(slots.max(1), Ordering::Relaxed);
    }

    /// A slot for a run that comes fresh: refused while others wait in the store, or it would overtake them for ever.
    pub fn try_enter(self: &Arc<Self>, lane: &str) -> Option<Permit> {
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        if entry.backlog > 0 || entry.used >= entry.slots.unwrap_or_else(|| self.default_slots.load(Ordering::Relaxed))
        {
            return None;
        }
        entry.used += 1;
        Some(Permit { lanes: Arc::clone(self), lane: lane.to_owned(), quiet: false })
    }

    /// Up to `wanted` slots for runs that are about to be claimed from the lane's backlog.
    pub fn reserve(self: &Arc<Self>, lane: &str, wanted: usize) -> Vec<Permit> {
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        let free = entry
            .slots
            .unwrap_or_else(|| self.default_slots.load(Ordering::Relaxed))
            .saturating_sub(entry.used)
            .min(wanted);
        entry.used += free;
        (0..free).map(|_| Permit { lanes: Arc::clone(self), lane: lane.to_owned(), quiet: false }).collect()
    }

    /// A run that is due now was stored for this lane without an owner.
    pub fn add_backlog(&self, lane: &str) {
        self.lock().entry(lane.to_owned()).or_default().backlog += 1;
        self.wake.notify_one();
    }

    /// The store was counted: so many are due in each lane, and none in lanes that are not named.
    pub fn set_backlogs(&self, counted: &[(String, u64)]) {
        let mut lanes = self.lock();
        for lane in lanes.values_mut() {
            lane.backlog = 0;
        }
        for (name, backlog) in counted {
            lanes.entry(name.clone()).or_default().backlog = *backlog;
        }
        lanes.retain(|_, lane| lane.slots.is_some() || lane.used > 0 || lane.backlog > 0);
    }

    /// Whether anybody waits in the store for a slot.
    pub fn has_backlog(&self) -> bool {
        // Whoever waits at a gate waits for a run of its flow to end, which is told separately.
        self.lock().iter().any(|(name, lane)| lane.backlog > 0 && gated_flow(name).is_none())
    }

    /// Whether a run waits at the gate of `flow`.
    pub fn waits_at_gate(&self, flow: &str) -> bool {
        self.lock().get(&gate_lane(flow)).is_some_and(|lane| lane.backlog > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_keeps_fresh_runs_out_and_lets_claims_in() {
        let lanes = Lanes::new(2, Arc::default());
        let first = lanes.try_enter("crm").expect("free");
        lanes.add_backlog("crm");
        assert!(lanes.try_enter("crm").is_none());
        assert_eq!(lanes.reserve("crm", 5).len(), 1);
        lanes.set_backlogs(&[]);
        assert!(lanes.try_enter("crm").is_some());
        drop(first);
        assert!(lanes.try_enter("mail").is_some());
    }

    #[test]
    fn idle_host_lanes_are_forgotten() {
        let lanes = Lanes::new(2, Arc::default());
        drop(lanes.try_enter("@example.com"));
        assert!(lanes.lock().is_empty());
    }
}

//! Lanes: one for each connection, with slots for effects, a rate, a gate, and a count of what waits in the store. A
//! destination that is down fills its own lane and delays nobody else.
//!
//! The gate is what is known of the connection ([`super::health`]): shut for everybody until a time (throttled), or for
//! everybody but one probe at a time (down, held). What waits behind it waits in the store and costs nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, MICROS_PER_SEC, Micros, micros};
use crate::store::{gate_lane, gated_flow};
use crate::units::Rate;

/// A rate lets through at once what it lets through in this time, and never less than one: tries are spread out instead
/// of coming in bursts.
const RATE_BURST: Duration = Duration::from_millis(100);
/// How long a run that has something else to do too looks away from a gate whose probe is under way.
const PROBE_LOOK: Duration = Duration::from_secs(1);

/// Slots in use and runs that wait in the store, by lane.
pub struct Lanes {
    by_name: Mutex<HashMap<String, Lane>>,
    default_slots: AtomicUsize,
    /// Nodes that share every rate.
    nodes: AtomicUsize,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
}

/// Who is let into a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// Everybody.
    #[default]
    Open,
    /// Nobody before that time.
    Until(Micros),
    /// Only a probe, the next one from that time on.
    Probe(Micros),
}

/// How far a probe has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Probing {
    #[default]
    No,
    /// This node may probe; nobody has a slot for it yet.
    Granted,
    /// A permit for it is out.
    Out,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    slots: Option<usize>,
    used: usize,
    backlog: u64,
    gate: Gate,
    probing: Probing,
    bucket: Option<Bucket>,
}

/// The tokens of a rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    /// Below zero when a try made more calls than one.
    tokens: f64,
    at: Micros,
}

impl Bucket {
    fn new(rate: Rate, now: Micros) -> Self {
        Self { rate, tokens: 1.0, at: now }
    }

    fn per_second(&self, nodes: usize) -> f64 {
        self.rate.per_second / nodes.max(1) as f64
    }

    fn refill(&mut self, nodes: usize, now: Micros) {
        let passed = now.saturating_sub(self.at).max(0) as f64 / MICROS_PER_SEC as f64;
        let most = (self.per_second(nodes) * RATE_BURST.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + passed * self.per_second(nodes)).min(most);
        self.at = self.at.max(now);
    }

    /// When the next token is there.
    fn ready_at(&self, nodes: usize) -> Micros {
        let missing = (1.0 - self.tokens).max(0.0) / self.per_second(nodes);
        self.at.saturating_add((missing * MICROS_PER_SEC as f64).ceil() as Micros)
    }
}

impl Lane {
    fn is_shut(&self, now: Micros) -> bool {
        match self.gate {
            Gate::Open => false,
            Gate::Until(at) => now < at,
            Gate::Probe(_) => true,
        }
    }

    /// Whether nothing about it needs to be remembered.
    fn is_idle(&self, now: Micros) -> bool {
        self.slots.is_none() && self.used == 0 && self.backlog == 0 && !self.is_shut(now)
    }

    /// How many of `wanted` may enter now, as far as slots and rate go.
    fn free(&mut self, wanted: usize, default_slots: usize, nodes: usize, now: Micros) -> usize {
        let free = self.slots.unwrap_or(default_slots).saturating_sub(self.used).min(wanted);
        match &mut self.bucket {
            None => free,
            Some(bucket) => {
                bucket.refill(nodes, now);
                free.min(bucket.tokens.max(0.0) as usize)
            }
        }
    }

    fn enter(&mut self, number: usize) {
        self.used += number;
        if let Some(bucket) = &mut self.bucket {
            bucket.tokens -= number as f64;
        }
    }
}

/// One slot of a lane; given back when dropped.
pub struct Permit {
    lanes: Arc<Lanes>,
    lane: String,
    quiet: bool,
    probe: bool,
    launched: bool,
}

impl Permit {
    /// The lane that it is of.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// Whether it is for a probe.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Its effect is sent: what the rate gave for it is spent.
    pub fn launched(&mut self) {
        self.launched = true;
    }

    /// Gives a slot back that a claim had no run for: nobody needs to be told, or the claim would wake itself for ever.
    pub fn unused(mut self) {
        self.quiet = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.lanes.clock.now();
        let mut lanes = self.lanes.lock();
        let mut waiting = false;
        if let Some(lane) = lanes.get_mut(&self.lane) {
            lane.used = lane.used.saturating_sub(1);
            if let Some(bucket) = lane.bucket.as_mut().filter(|_| !self.launched) {
                bucket.tokens += 1.0;
            }
            if self.probe && lane.probing == Probing::Out {
                // Nobody told how it went, so nothing was found out: another run may probe.
                lane.probing = Probing::No;
                lane.gate = Gate::Probe(if self.quiet { now.saturating_add(micros(PROBE_LOOK)) } else { now });
                waiting = lane.backlog > 0;
            } else {
                waiting = lane.backlog > 0 && !lane.is_shut(now);
            }
            // Lanes of plain HTTP are named by host: an idle one is forgotten, so that their number stays bounded.
            if lane.is_idle(now) {
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
    pub fn new(default_slots: usize, clock: Arc<dyn Clock>, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            by_name: Mutex::default(),
            default_slots: AtomicUsize::new(default_slots.max(1)),
            nodes: AtomicUsize::new(1),
            clock,
            wake,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fixes the number of slots of a lane, and how often it may be entered.
    pub fn set_bounds(&self, lane: &str, slots: usize, rate: Option<Rate>) {
        let now = self.clock.now();
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        entry.slots = Some(slots.max(1));
        if entry.bucket.map(|bucket| bucket.rate) != rate {
            entry.bucket = rate.map(|rate| Bucket::new(rate, now));
        }
    }

    /// Changes the number of slots of lanes that have no number of their own.
    pub fn set_default_slots(&self, slots: usize) {
        self.default_slots.store(slots.max(1), Ordering::Relaxed);
    }

    /// Whether some lane has a rate, which nodes share.
    pub fn has_rates(&self) -> bool {
        self.lock().values().any(|lane| lane.bucket.is_some())
    }

    /// So many nodes live: each keeps to its share of every rate.
    pub fn set_nodes(&self, nodes: usize) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    fn shares(&self) -> (usize, usize) {
        (self.default_slots.load(Ordering::Relaxed), self.nodes.load(Ordering::Relaxed))
    }

    fn permit(self: &Arc<Self>, lane: &str, probe: bool) -> Permit {
        Permit { lanes: Arc::clone(self), lane: lane.to_owned(), quiet: false, probe, launched: false }
    }

    /// A slot for a run that comes fresh: refused while others wait in the store, or it would overtake them for ever;
    /// and while the gate is shut.
    pub fn try_enter(self: &Arc<Self>, lane: &str) -> Option<Permit> {
        let (now, (default_slots, nodes)) = (self.clock.now(), self.shares());
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        if entry.backlog > 0 || entry.is_shut(now) || entry.free(1, default_slots, nodes, now) == 0 {
            return None;
        }
        entry.enter(1);
        Some(self.permit(lane, false))
    }

    /// Up to `wanted` slots for runs that are about to be claimed from the lane's backlog. Behind a shut gate: one for a
    /// probe that was granted, else none.
    pub fn reserve(self: &Arc<Self>, lane: &str, wanted: usize) -> Vec<Permit> {
        let (now, (default_slots, nodes)) = (self.clock.now(), self.shares());
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        let probe = entry.is_shut(now);
        let wanted = match (probe, entry.probing) {
            (false, _) => wanted,
            (true, Probing::Granted) => wanted.min(1),
            (true, _) => 0,
        };
        let free = entry.free(wanted, default_slots, nodes, now);
        if probe && free > 0 {
            entry.probing = Probing::Out;
        }
        entry.enter(free);
        (0..free).map(|_| self.permit(lane, probe)).collect()
    }

    /// A try makes one more call than the one that its slot is for.
    pub fn charge(&self, lane: &str) {
        let now = self.clock.now();
        let nodes = self.nodes.load(Ordering::Relaxed);
        if let Some(bucket) = self.lock().get_mut(lane).and_then(|lane| lane.bucket.as_mut()) {
            bucket.refill(nodes, now);
            bucket.tokens -= 1.0;
        }
    }

    /// What is known of the connection has changed. `probed`: a probe has told how it went.
    pub fn set_gate(&self, lane: &str, gate: Gate, probed: bool) {
        let now = self.clock.now();
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        entry.gate = gate;
        if probed || !matches!(gate, Gate::Probe(_)) {
            entry.probing = Probing::No;
        }
        let waiting = entry.backlog > 0;
        if entry.is_idle(now) {
            lanes.remove(lane);
        }
        drop(lanes);
        if waiting {
            self.wake.notify_one();
        }
    }

    /// Whether a probe could start now, for which something waits.
    pub fn wants_probe(&self, lane: &str) -> bool {
        let now = self.clock.now();
        self.lock()
            .get(lane)
            .is_some_and(|lane| lane.probing == Probing::No && matches!(lane.gate, Gate::Probe(at) if at <= now))
    }

    /// This node may send one probe.
    pub fn grant_probe(&self, lane: &str) {
        if let Some(lane) = self.lock().get_mut(lane).filter(|lane| matches!(lane.gate, Gate::Probe(_))) {
            lane.probing = Probing::Granted;
        }
    }

    /// Until when a fresh run has nothing to hope for from this lane because its gate is shut; `None`: it is open.
    pub fn shut_until(&self, lane: &str) -> Option<Micros> {
        let now = self.clock.now();
        let lanes = self.lock();
        match lanes.get(lane)?.gate {
            Gate::Open => None,
            Gate::Until(at) => (now < at).then_some(at),
            Gate::Probe(at) => Some(at.max(now.saturating_add(micros(PROBE_LOOK)))),
        }
    }

    /// When the next lane in which something waits lets somebody in that it does not let in now. Slots that become free
    /// are told at once instead.
    pub fn ready_at(&self) -> Option<Micros> {
        let now = self.clock.now();
        let (_, nodes) = self.shares();
        let mut lanes = self.lock();
        let waiting = lanes.values_mut().filter(|lane| lane.backlog > 0);
        let ready = waiting.filter_map(|lane| match (lane.gate, &mut lane.bucket) {
            (Gate::Until(at), _) if now < at => Some(at),
            (Gate::Probe(at), _) => (lane.probing != Probing::Out).then_some(at),
            (_, Some(bucket)) => {
                bucket.refill(nodes, now);
                (bucket.tokens < 1.0).then(|| bucket.ready_at(nodes))
            }
            (_, None) => None,
        });
        ready.min()
    }

    /// A run that is due now was stored for this lane without an owner.
    pub fn add_backlog(&self, lane: &str) {
        let now = self.clock.now();
        let mut lanes = self.lock();
        let entry = lanes.entry(lane.to_owned()).or_default();
        entry.backlog += 1;
        // Behind a shut gate the next look has its time already, unless this is the first one that waits there.
        let is_told = entry.is_shut(now) && entry.backlog > 1;
        drop(lanes);
        if !is_told {
            self.wake.notify_one();
        }
    }

    /// The store was counted: so many are due in each lane, and none in lanes that are not named.
    pub fn set_backlogs(&self, counted: &[(String, u64)]) {
        let now = self.clock.now();
        let mut lanes = self.lock();
        for lane in lanes.values_mut() {
            lane.backlog = 0;
        }
        for (name, backlog) in counted {
            lanes.entry(name.clone()).or_default().backlog = *backlog;
        }
        lanes.retain(|_, lane| !lane.is_idle(now));
    }

    /// Whether anybody waits in the store for a slot.
    pub fn has_backlog(&self) -> bool {
        let now = self.clock.now();
        // Whoever waits at a gate waits for a run of its flow to end, which is told separately.
        self.lock().iter().any(|(name, lane)| lane.backlog > 0 && !lane.is_shut(now) && gated_flow(name).is_none())
    }

    /// Whether a run waits at the gate of `flow`.
    pub fn waits_at_gate(&self, flow: &str) -> bool {
        self.lock().get(&gate_lane(flow)).is_some_and(|lane| lane.backlog > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn lanes(slots: usize) -> (Arc<Lanes>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(0));
        (Lanes::new(slots, Arc::clone(&clock) as Arc<dyn Clock>, Arc::default()), clock)
    }

    const SEC: Micros = MICROS_PER_SEC;

    #[test]
    fn a_backlog_keeps_fresh_runs_out_and_lets_claims_in() {
        let (lanes, _) = lanes(2);
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
        let (lanes, clock) = lanes(2);
        drop(lanes.try_enter("@example.com"));
        assert!(lanes.lock().is_empty());
        lanes.set_gate("@example.com", Gate::Until(SEC), false);
        drop(lanes.try_enter("@example.com"));
        assert!(!lanes.lock().is_empty(), "its pause is known");
        clock.advance(Duration::from_secs(1));
        drop(lanes.try_enter("@example.com").expect("the pause is over"));
        assert!(lanes.lock().is_empty());
    }

    #[test]
    fn a_pause_keeps_everybody_out_until_it_ends() {
        let (lanes, clock) = lanes(8);
        lanes.set_backlogs(&[("crm".into(), 20)]);
        lanes.set_gate("crm", Gate::Until(3 * SEC), false);
        assert!(lanes.reserve("crm", 20).is_empty() && lanes.try_enter("crm").is_none());
        assert!(lanes.try_enter("mail").is_some(), "others are not touched");
        assert_eq!((lanes.ready_at(), lanes.shut_until("crm")), (Some(3 * SEC), Some(3 * SEC)));
        assert!(!lanes.has_backlog(), "nobody waits for a slot");
        clock.advance(Duration::from_secs(3));
        assert_eq!((lanes.ready_at(), lanes.shut_until("crm")), (None, None));
        assert_eq!(lanes.reserve("crm", 20).len(), 8, "within its slots");
    }

    #[test]
    fn one_probe_at_a_time_and_one_that_tried_nothing_is_given_back() {
        let (lanes, clock) = lanes(8);
        lanes.set_backlogs(&[("crm".into(), 20)]);
        lanes.set_gate("crm", Gate::Probe(2 * SEC), false);
        assert!(!lanes.wants_probe("crm"));
        assert_eq!(lanes.ready_at(), Some(2 * SEC));
        clock.advance(Duration::from_secs(2));
        assert!(lanes.wants_probe("crm"));
        assert!(lanes.reserve("crm", 20).is_empty(), "not granted");
        lanes.grant_probe("crm");
        let mut probe = lanes.reserve("crm", 20);
        assert!(probe.len() == 1 && probe[0].is_probe());
        assert!(!lanes.wants_probe("crm") && lanes.reserve("crm", 20).is_empty() && lanes.ready_at().is_none());
        drop(probe.pop());
        assert!(lanes.wants_probe("crm"), "nobody told how it went");

        lanes.grant_probe("crm");
        let probe = lanes.reserve("crm", 20).pop().expect("a probe");
        lanes.set_gate("crm", Gate::Probe(9 * SEC), true);
        drop(probe);
        assert_eq!((lanes.wants_probe("crm"), lanes.ready_at()), (false, Some(9 * SEC)));
        lanes.set_gate("crm", Gate::Open, false);
        assert_eq!(lanes.reserve("crm", 20).len(), 8);
    }

    #[test]
    fn a_rate_spreads_tries_and_nodes_share_it() {
        let (lanes, clock) = lanes(8);
        lanes.set_bounds("crm", 8, Some(Rate { per_second: 2.0 }));
        lanes.set_backlogs(&[("crm".into(), 20)]);
        let enter = || {
            let mut permits = lanes.reserve("crm", 20);
            permits.iter_mut().for_each(Permit::launched);
            permits.len()
        };
        assert_eq!((enter(), enter()), (1, 0));
        assert_eq!(lanes.ready_at(), Some(SEC / 2));
        clock.advance(Duration::from_secs(10));
        assert_eq!((enter(), enter()), (1, 0), "idle time saves nothing up");
        lanes.set_nodes(4);
        assert_eq!(lanes.ready_at(), Some(12 * SEC));
        clock.advance(Duration::from_secs(2));
        drop(lanes.reserve("crm", 1));
        assert_eq!(enter(), 1, "what was not sent was not spent");
        lanes.charge("crm");
        clock.advance(Duration::from_secs(2));
        assert_eq!(enter(), 0, "the last try made two calls");
        lanes.set_bounds("crm", 8, None);
        assert_eq!(enter(), 8);
    }
}

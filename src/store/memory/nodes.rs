//! Lives and leases.

use super::{Breach, Happened, State};
use crate::clock::{Micros, micros};
use crate::run::RunStatus;
use crate::store::{Heartbeat, Life, NodeRow, Owner, Rescued, STRIKES_MAX, Term};

/// By how much a lease is too short where that promise is broken.
const LEASE_BROKEN_PARTS: u32 = 2;

impl State {
    pub(super) fn heartbeat(&mut self, life: Life) -> Heartbeat {
        let now = self.now;
        let until = match life.term {
            Term::Alone => None,
            Term::For(ttl) if self.breach == Some(Breach::Lease) => Some(now + micros(ttl / LEASE_BROKEN_PARTS)),
            Term::For(ttl) => Some(now + micros(ttl)),
        };
        if life.begins {
            if life.term == Term::Alone {
                self.nodes.retain(|owner, _| *owner == life.owner);
            }
            if !self.nodes.contains_key(&life.owner) {
                let Life { owner, name, version, .. } = life;
                let row = NodeRow { owner: owner.clone(), name, started_at: now, lease_until: until, version };
                self.nodes.insert(owner, row);
                return Heartbeat { stands: true, now };
            }
        }
        let stands = match self.nodes.get_mut(&life.owner) {
            Some(node) if node.lease_until.is_none_or(|until| until > now) => {
                node.lease_until = until;
                true
            }
            _ => false,
        };
        Heartbeat { stands, now }
    }

    pub(super) fn rescue(&mut self, owner: &str, due_at: Micros) -> Rescued {
        let now = self.now;
        self.nodes.retain(|life, node| life == owner || node.lease_until.is_none_or(|until| until > now));
        let is_over = |life: &Owner| life != owner && !self.nodes.contains_key(life);
        let over = self.runs.values().filter(|kept| kept.row.owner.as_ref().is_some_and(is_over));
        let mut over: Vec<_> = over.map(|kept| (kept.number, kept.row.run_id)).collect();
        over.sort_unstable();
        let mut rescued = Rescued::default();
        for (_, run) in over {
            let Some(kept) = self.runs.get_mut(&run) else { continue };
            let row = &mut kept.row;
            let is_held = row.strikes >= STRIKES_MAX && !row.cancel;
            (row.owner, row.due_at) = (None, due_at);
            (row.epoch, row.strikes) = (row.epoch + 1, row.strikes + 1);
            row.status = if is_held { RunStatus::Held } else { RunStatus::Queued };
            if is_held {
                row.code = Some("poison".to_owned());
            }
            if self.breach == Some(Breach::Inflight) {
                row.inflight.clear();
            }
            rescued.runs += 1;
            rescued.held += u64::from(is_held);
            self.note(Happened::Rescued, run);
        }
        rescued
    }
}

//! What must hold, whatever happens: looked at while it happens, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use leadflow::engine::Accepted;
use leadflow::ids::RunId;
use leadflow::run::{RunStatus, StepStatus};
use leadflow::store::StoredRun;
use leadflow::store::memory::{Entry, Happened};

use super::other_side::Sent;
use super::world::STEPS;

/// What is known of a run.
struct Seen {
    number: usize,
    owner: Option<String>,
    epoch: i64,
    ended: bool,
}

/// Follows the store's log.
#[derive(Default)]
pub(super) struct Check {
    runs: BTreeMap<RunId, Seen>,
    /// Who committed under each epoch of a run.
    by_epoch: BTreeMap<(RunId, i64), String>,
    pub(super) faults: Vec<String>,
    /// Effects that were done again.
    pub(super) repeats: usize,
}

impl Check {
    /// The run's number, in the order in which runs were stored.
    pub(super) fn number(&self, run: RunId) -> usize {
        self.runs.get(&run).map_or(0, |seen| seen.number)
    }

    /// One line of the log.
    pub(super) fn follow(&mut self, entry: &Entry) {
        let number = self.runs.len() + 1;
        let seen = self.runs.entry(entry.run).or_insert(Seen { number, owner: None, epoch: 0, ended: false });
        let number = seen.number;
        let mut fault = |text: String| self.faults.push(format!("run {number}: {text}; {entry:?}"));
        if seen.ended {
            fault("something happened after its end".to_owned());
        }
        match entry.happened {
            Happened::Committed => {
                if entry.owner != seen.owner || entry.epoch != seen.epoch {
                    fault(format!("a commit while it belonged to {:?} in epoch {}", seen.owner, seen.epoch));
                }
                let owner = entry.owner.clone().unwrap_or_default();
                let first = self.by_epoch.entry((entry.run, entry.epoch)).or_insert_with(|| owner.clone());
                if *first != owner {
                    fault(format!("two owners in one epoch: {first} and {owner}"));
                }
            }
            Happened::Claimed | Happened::Rescued => {
                if entry.epoch <= seen.epoch {
                    fault(format!("the epoch did not grow from {}", seen.epoch));
                }
            }
            Happened::Stored => {}
        }
        // A commit does not say whether it gave the run back: whoever has it next is told by a claim.
        if entry.happened != Happened::Committed {
            seen.owner.clone_from(&entry.owner);
        }
        seen.epoch = entry.epoch.max(seen.epoch);
        seen.ended = entry.status.is_final();
    }

    /// At the end: every run has ended well, and did everything at least once.
    pub(super) fn runs(&mut self, runs: &[StoredRun], ledger: &[Sent]) {
        let mut performed: BTreeMap<(RunId, &str, &str), usize> = BTreeMap::new();
        for sent in ledger.iter().filter(|sent| sent.performed) {
            *performed.entry((sent.run, sent.action.as_str(), sent.idx.as_str())).or_default() += 1;
        }
        for stored in runs {
            let (run, number) = (stored.run.run_id, self.number(stored.run.run_id));
            if stored.run.status != RunStatus::Succeeded {
                self.faults.push(format!("run {number} did not end: {:?}", stored.run));
            }
            for step in &stored.steps {
                let times = performed.get(&(run, step.name.as_str(), step.idx.as_str())).copied().unwrap_or(0);
                self.repeats += times.saturating_sub(1);
                let is_sent = step.name.starts_with("send");
                if is_sent && step.status == StepStatus::Succeeded && times == 0 {
                    self.faults.push(format!("run {number}: {} was never done", step.name));
                }
                if times > 1 && !step.possible_repeat {
                    self.faults.push(format!("run {number}: {} was done {times} times without a mark", step.name));
                }
            }
            let steps = STEPS.iter().find(|(flow, _)| *flow == stored.run.flow).map_or(0, |(_, steps)| *steps);
            if stored.run.status == RunStatus::Succeeded && stored.steps.len() != steps {
                self.faults.push(format!("run {number} ended with {} steps", stored.steps.len()));
            }
        }
    }

    /// At the end: who was told that a lead is stored was told the truth.
    pub(super) fn answers(&mut self, answers: &[(usize, Accepted)], runs: &[StoredRun]) {
        let stored: BTreeSet<RunId> = runs.iter().map(|stored| stored.run.run_id).collect();
        for (lead, accepted) in answers {
            let is_true = match accepted {
                Accepted::Run { run_id, .. } => stored.contains(run_id),
                other => matches!(other, Accepted::Unavailable(_)),
            };
            if !is_true {
                self.faults.push(format!("lead {lead}: {accepted:?}"));
            }
        }
    }

    /// At the end: the lives that have a row are those of the nodes, and nothing belongs to anybody.
    pub(super) fn leases(&mut self, held: &[Option<String>], lives: &[String]) {
        let held: BTreeSet<Option<&str>> = held.iter().map(Option::as_deref).collect();
        let lives: BTreeSet<Option<&str>> = lives.iter().map(|life| Some(life.as_str())).collect();
        if held != lives {
            self.faults.push(format!("leases are stuck: nodes hold {held:?}, the store has {lives:?}"));
        }
    }
}

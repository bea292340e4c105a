//! Runs at work: commits, claims, cancels, and what waits.

use std::collections::BTreeMap;

use super::{Breach, Entry, Happened, Kept, State};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::{
    CancelAnswer, LaneState, LaneWant, RunCommit, RunFilter, RunRow, SUSPECT_STRIKES, StepIo, StepRow, StoreError,
    StoreResult, StoredRun, gated_flow,
};

impl Kept {
    /// Blots out what is secure.
    pub(super) fn forget_secure(&mut self) {
        self.steps.values_mut().for_each(|step| step.io.hide());
    }
}

impl State {
    /// Logs what happened to a run.
    pub(super) fn note(&mut self, happened: Happened, run: RunId) {
        let Some(Kept { row, .. }) = self.runs.get(&run) else { return };
        let entry =
            Entry { at: self.now, happened, run, owner: row.owner.clone(), epoch: row.epoch, status: row.status };
        self.log.push(entry);
    }

    pub(super) fn commit(&mut self, commit: RunCommit) -> StoreResult<()> {
        let is_broken = self.breach == Some(Breach::Fence);
        let Some(kept) = self.runs.get_mut(&commit.run_id) else { return Err(StoreError::Fenced) };
        let row = &mut kept.row;
        let is_theirs = row.owner.as_ref() == Some(&commit.owner) && row.epoch == commit.epoch;
        if !is_theirs && !is_broken {
            return Err(StoreError::Fenced);
        }
        let is_final = commit.status.is_final();
        let releases = commit.release || is_final;
        // A run that is to be cancelled is never put aside.
        let is_put_aside = row.cancel && commit.status == RunStatus::Held;
        row.status = if is_put_aside { RunStatus::Queued } else { commit.status };
        row.code = if is_put_aside { None } else { commit.code };
        row.finished_at = commit.finished_at;
        row.lane = if row.cancel && releases { String::new() } else { commit.lane };
        row.due_at = if row.cancel && releases { commit.due_at.min(row.received_at) } else { commit.due_at };
        row.inflight = if is_final { Vec::new() } else { commit.inflight };
        row.answer = commit.answer.or(row.answer.take());
        if releases {
            row.owner = None;
        }
        if commit.steps.iter().any(|step| step.status.is_final()) {
            row.strikes = 0;
        }
        for step in commit.steps {
            kept.steps.insert((step.idx.clone(), step.name.clone()), step);
        }
        if is_final {
            kept.forget_secure();
        }
        let status = kept.row.status;
        self.log.push(Entry {
            at: self.now,
            happened: Happened::Committed,
            run: commit.run_id,
            owner: Some(commit.owner),
            epoch: commit.epoch,
            status,
        });
        self.write_records(commit.records);
        for start in commit.starts {
            self.accept(start)?;
        }
        if let Some((parent, at)) = commit.wakes
            && let Some(parent) = self.runs.get_mut(&parent).filter(|parent| parent.is_free())
        {
            parent.row.due_at = parent.row.due_at.min(at);
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, owner: &str, wants: &[LaneWant], now: Micros) -> Vec<StoredRun> {
        let is_suspect = |row: &RunRow| row.strikes >= SUSPECT_STRIKES;
        let mut suspect_in_work = self.runs.values().any(|kept| kept.row.owner.is_some() && is_suspect(&kept.row));
        let mut claimed = Vec::new();
        for want in wants {
            let gate = gated_flow(&want.lane);
            let free = |(flow, inside_max)| u64::from(inside_max).saturating_sub(self.at_gate(flow, true));
            let max = want.max.min(gate.zip(want.gate).map_or(usize::MAX, |gate| free(gate) as usize));
            if max == 0 {
                continue;
            }
            let due = self.runs.values().filter(|kept| kept.is_free() && kept.row.lane == want.lane);
            let mut due: Vec<_> = due
                .filter(|kept| kept.row.due_at <= now)
                .map(|kept| (kept.row.due_at, kept.number, kept.row.run_id, is_suspect(&kept.row)))
                .collect();
            due.sort_unstable();
            let suspect = due.iter().find(|(.., suspect)| *suspect).copied().filter(|_| !suspect_in_work);
            due.retain(|(.., suspect)| !suspect);
            due.truncate(max);
            if let Some(suspect) = suspect {
                suspect_in_work = true;
                // A slot is always left for it.
                due.truncate(max - 1);
                due.push(suspect);
            }
            for (_, _, run, _) in due {
                claimed.extend(self.take_up(owner, run, gate.is_some()));
            }
        }
        claimed
    }

    /// The answer names the lane in which the run waited; it is in none afterwards if that was its gate's.
    fn take_up(&mut self, owner: &str, run: RunId, at_gate: bool) -> Option<StoredRun> {
        let kept = self.runs.get_mut(&run)?;
        kept.row.owner = Some(owner.to_owned());
        kept.row.epoch += 1;
        kept.row.status = RunStatus::Running;
        let answer = kept.whole();
        if at_gate && kept.inside == Some(false) {
            kept.inside = Some(true);
            kept.row.lane.clear();
        }
        self.note(Happened::Claimed, run);
        Some(answer)
    }

    pub(super) fn request_cancel(&mut self, run: RunId, now: Micros) -> CancelAnswer {
        let Some(kept) = self.runs.get_mut(&run) else { return CancelAnswer::Unknown };
        let row = &mut kept.row;
        if row.status.is_final() {
            return CancelAnswer::AlreadyFinished(row.status);
        }
        row.cancel = true;
        if row.owner.is_none() {
            row.due_at = now;
            row.lane.clear();
            if row.status == RunStatus::Held {
                (row.status, row.code) = (RunStatus::Queued, None);
            }
        }
        CancelAnswer::Requested
    }

    pub(super) fn release_held(&mut self, code: &str, lane: Option<&str>, now: Micros) -> u64 {
        let mut released = 0;
        for Kept { row, .. } in self.runs.values_mut() {
            let fits = row.status == RunStatus::Held && row.code.as_deref() == Some(code) && row.owner.is_none();
            if fits && lane.is_none_or(|lane| row.lane == lane) {
                (row.status, row.code, row.due_at, row.strikes) = (RunStatus::Queued, None, now, 0);
                released += 1;
            }
        }
        released
    }

    pub(super) fn owned_by(&self, owner: &str, fits: impl Fn(&RunRow) -> bool) -> Vec<RunId> {
        let theirs = |kept: &&Kept| kept.row.owner.as_deref() == Some(owner) && fits(&kept.row);
        let mut found: Vec<_> = self.runs.values().filter(theirs).map(|kept| (kept.number, kept.row.run_id)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, run)| run).collect()
    }

    pub(super) fn lanes(&self, now: Micros) -> Vec<LaneState> {
        let mut lanes: BTreeMap<&str, LaneState> = BTreeMap::new();
        for Kept { row, .. } in self.runs.values().filter(|kept| kept.is_free()) {
            let lane = lanes.entry(&row.lane).or_insert_with(|| {
                let flow = gated_flow(&row.lane);
                LaneState {
                    lane: row.lane.clone(),
                    due: 0,
                    next_due_at: None,
                    inside: flow.map_or(0, |flow| self.at_gate(flow, true)),
                    inside_max: flow.and_then(|flow| self.inside_max.get(flow)).copied(),
                }
            });
            if row.due_at <= now {
                lane.due += 1;
            } else {
                lane.next_due_at = Some(lane.next_due_at.map_or(row.due_at, |due_at| due_at.min(row.due_at)));
            }
        }
        lanes.into_values().collect()
    }

    pub(super) fn list_runs(&self, filter: &RunFilter) -> Vec<StoredRun> {
        let fits = |row: &RunRow| {
            filter.flow.as_ref().is_none_or(|flow| row.flow == *flow)
                && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
                && filter.before.is_none_or(|before| row.run_id < before)
        };
        let found = self.runs.values().rev().filter(|kept| fits(&kept.row)).take(filter.limit);
        found.map(|kept| StoredRun { run: RunRow { trigger: None, ..kept.row.clone() }, steps: listed(kept) }).collect()
    }
}

/// Steps without their values; of iterations, one for each action and status.
fn listed(kept: &Kept) -> Vec<StepRow> {
    let mut together: BTreeMap<(&str, &str, &str), StepRow> = BTreeMap::new();
    for step in kept.steps.values() {
        let is_iteration = !step.idx.is_empty();
        let key = (if is_iteration { "*" } else { "" }, step.name.as_str(), step.status.as_str());
        let seen = together.entry(key).or_insert_with(|| StepRow { io: StepIo::default(), ..step.clone() });
        if is_iteration {
            seen.attempt = seen.attempt.max(step.attempt);
            seen.due_at = [seen.due_at, step.due_at].into_iter().flatten().min();
            seen.started_at = [seen.started_at, step.started_at].into_iter().flatten().min();
            seen.finished_at = seen.finished_at.max(step.finished_at);
            seen.outcome = None;
            seen.possible_repeat |= step.possible_repeat;
        }
    }
    let mut steps: Vec<StepRow> = together.into_values().collect();
    steps.sort_by(|a, b| (&a.idx, &a.name).cmp(&(&b.idx, &b.name)));
    steps
}

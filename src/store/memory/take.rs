//! Taking in: new runs, duplicates, gates.

use super::{Happened, Kept, State};
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::{
    Arrival, DedupeKey, Gate, Intake, NewRun, RecordMode, RecordRow, RecordWrite, RunRow, StoreError, StoreResult,
    Taken, gate_lane, gated_flow,
};

impl State {
    pub(super) fn accept(&mut self, new: NewRun) -> StoreResult<()> {
        let inside = (gated_flow(&new.run.lane) == Some(&new.run.flow)).then_some(false);
        self.insert(new, inside)
    }

    /// All of it or nothing.
    pub(super) fn take_in(&mut self, arrivals: Vec<Arrival>) -> StoreResult<Intake> {
        let before = (self.dedupe.clone(), self.inside_max.clone(), self.log.len());
        let ids: Vec<RunId> = arrivals.iter().map(|arrival| arrival.new.run.run_id).collect();
        let known: Vec<bool> = ids.iter().map(|id| self.runs.contains_key(id)).collect();
        let taken = self.take(arrivals);
        if !matches!(taken, Ok(Some(_))) {
            for (id, _) in ids.iter().zip(known).filter(|(_, known)| !known) {
                self.runs.remove(id);
            }
            self.log.truncate(before.2);
            (self.dedupe, self.inside_max) = (before.0, before.1);
        }
        Ok(taken?.map_or(Intake::Full, Intake::Taken))
    }

    /// `None`: the gate is full.
    fn take(&mut self, arrivals: Vec<Arrival>) -> StoreResult<Option<Vec<Taken>>> {
        let mut taken = Vec::with_capacity(arrivals.len());
        for Arrival { mut new, dedupe, gate } in arrivals {
            let first = dedupe.and_then(|key| self.first_with(&new.run, key));
            let (became, inside) = match (first, gate) {
                (Some(of), _) => {
                    begin_anew(&mut new);
                    (new.run.status, new.run.duplicate_of) = (RunStatus::Duplicate, Some(of));
                    new.run.finished_at = Some(new.run.received_at);
                    (Taken::Duplicate { of }, None)
                }
                (None, None) => (Taken::Stored, None),
                (None, Some(gate)) => match self.pass(&new.run.flow, gate) {
                    None => return Ok(None),
                    Some(true) => (Taken::Stored, Some(true)),
                    Some(false) => {
                        begin_anew(&mut new);
                        new.run.lane = gate_lane(&new.run.flow);
                        self.inside_max.insert(new.run.flow.clone(), gate.runs);
                        (Taken::Waits, Some(false))
                    }
                },
            };
            self.insert(new, inside)?;
            taken.push(became);
        }
        Ok(Some(taken))
    }

    /// The other run that holds the key, if one does within its window.
    fn first_with(&mut self, run: &RunRow, key: DedupeKey) -> Option<RunId> {
        let held = self.dedupe.entry((run.flow.clone(), key.hash)).or_insert((run.run_id, key.expires_at));
        if held.0 == run.run_id || held.1 <= run.received_at {
            *held = (run.run_id, key.expires_at);
            return None;
        }
        Some(held.0)
    }

    /// Whether a run may go inside; `None`: not even wait. Nobody overtakes whoever waits already.
    fn pass(&self, flow: &str, gate: Gate) -> Option<bool> {
        let waiting = self.at_gate(flow, false);
        if waiting == 0 && self.at_gate(flow, true) < u64::from(gate.runs) {
            return Some(true);
        }
        (waiting < gate.waiting).then_some(false)
    }

    /// Unfinished runs of a flow inside its gate, or before it.
    pub(super) fn at_gate(&self, flow: &str, inside: bool) -> u64 {
        let there = |kept: &&Kept| kept.is_unfinished() && kept.inside == Some(inside) && kept.row.flow == flow;
        self.runs.values().filter(there).count() as u64
    }

    /// Stores a run. One that is there already stays as it is.
    pub(super) fn insert(&mut self, new: NewRun, inside: Option<bool>) -> StoreResult<()> {
        let NewRun { run: row, steps, records } = new;
        let (run, is_final) = (row.run_id, row.status.is_final());
        let is_consistent = row.finished_at.is_some() == is_final
            && (!is_final || row.owner.is_none())
            && (!is_final || row.inflight.is_empty());
        if !is_consistent {
            return Err(StoreError::Unavailable("a run that is not consistent".to_owned()));
        }
        if self.runs.contains_key(&run) {
            return Ok(());
        }
        self.numbers += 1;
        let steps = steps.into_iter().map(|step| ((step.idx.clone(), step.name.clone()), step)).collect();
        let mut kept = Kept { row, steps, inside, number: self.numbers };
        if is_final {
            kept.forget_secure();
        }
        self.runs.insert(run, kept);
        self.write_records(records);
        self.note(Happened::Stored, run);
        Ok(())
    }

    pub(super) fn write_records(&mut self, records: Vec<RecordWrite>) {
        for write in records {
            let same = |row: &&mut RecordRow| {
                (&row.connection, &row.entity, &row.id) == (&write.connection, &write.entity, &write.id)
            };
            match self.records.iter_mut().find(same) {
                Some(row) if write.mode != RecordMode::Create => row.change(&write),
                None if write.mode != RecordMode::Update => self.records.push(RecordRow::from(write)),
                _ => {}
            }
        }
    }
}

/// What it did already is forgotten.
fn begin_anew(new: &mut NewRun) {
    let run = &mut new.run;
    (run.status, run.code, run.finished_at, run.owner, run.answer) = (RunStatus::Queued, None, None, None, None);
    run.due_at = run.received_at;
    run.lane.clear();
    run.inflight.clear();
    new.steps.clear();
    new.records.clear();
}

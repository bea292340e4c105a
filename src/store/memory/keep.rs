//! Everything beside runs: rejected requests, texts, what is live, keys, records; and retention.

use super::{Kept, State, Text};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::{
    FlowText, KeySlot, Live, LiveChange, LiveRow, Picking, PruneBefore, RecordQuery, RecordRow, RejectedCaps,
    RejectedRow, TextId,
};

/// Hexadecimal digits of a whole id.
const ID_DIGITS: usize = 32;

/// Ids that start or end with `part`, newest first.
pub(super) fn find<'a>(ids: impl DoubleEndedIterator<Item = &'a RunId>, part: &str, limit: usize) -> Vec<RunId> {
    let part: String = part.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
    if !(1..=ID_DIGITS).contains(&part.len()) || !part.chars().all(|c| c.is_ascii_hexdigit()) {
        return Vec::new();
    }
    let fits = |id: &&RunId| {
        let digits = id.to_string().replace('-', "");
        digits.starts_with(&part) || digits.ends_with(&part)
    };
    ids.rev().filter(fits).take(limit).copied().collect()
}

impl State {
    pub(super) fn reject(&mut self, row: RejectedRow, caps: RejectedCaps) {
        let (newest, flow) = (row.id, row.flow.clone());
        self.rejected.entry(newest).or_insert(row);
        loop {
            let of_flow = || self.rejected.values().filter(|row| row.flow == flow);
            let (count, bytes) = (of_flow().count() as u64, of_flow().map(|row| row.body.len() as u64).sum::<u64>());
            let oldest = of_flow().map(|row| row.id).find(|id| *id != newest);
            match oldest {
                Some(oldest) if count > caps.count_max || bytes > caps.bytes_max => self.rejected.remove(&oldest),
                _ => return,
            };
        }
    }

    pub(super) fn list_rejected(&self, flow: Option<&str>, limit: usize) -> Vec<RejectedRow> {
        let found = self.rejected.values().rev().filter(|row| flow.is_none_or(|flow| row.flow == flow));
        found.take(limit).map(|row| RejectedRow { body: Vec::new(), ..row.clone() }).collect()
    }

    pub(super) fn pin(&mut self, text: FlowText, now: Micros) -> TextId {
        if let Some((id, known)) = self.texts.iter_mut().find(|(_, known)| known.text.digest == text.digest) {
            known.pinned_at = known.pinned_at.max(now);
            return *id;
        }
        let id = self.texts.last_key_value().map_or(0, |(id, _)| *id) + 1;
        self.texts.insert(id, Text { text, pinned_at: now });
        id
    }

    pub(super) fn set_live(&mut self, change: LiveChange) {
        for file in &change.remove {
            self.live.remove(file);
        }
        self.live.extend(change.put.into_iter().map(|row| (row.file.clone(), row)));
        self.generation = self.generation.max(change.generation);
    }

    pub(super) fn live(&self) -> Live {
        let with_digest = |row: &LiveRow| {
            let digest = self.texts.get(&row.text_id)?.text.digest.clone();
            Some(LiveRow { digest, ..row.clone() })
        };
        Live { generation: self.generation, rows: self.live.values().filter_map(with_digest).collect() }
    }

    pub(super) fn rotate_key(&mut self, flow: String, slot: String, now: Micros) -> u32 {
        let key = self.slot(flow, slot, now);
        (key.version, key.created_at, key.last_used_at) = (key.version + 1, now, None);
        key.version
    }

    pub(super) fn touch_keys(&mut self, used: Vec<(String, String, Micros)>) {
        for (flow, slot, at) in used {
            let key = self.slot(flow, slot, at);
            key.last_used_at = key.last_used_at.max(Some(at));
        }
    }

    /// A slot that was never stored is at version 1.
    fn slot(&mut self, flow: String, slot: String, now: Micros) -> &mut KeySlot {
        let fresh = KeySlot { flow: flow.clone(), slot: slot.clone(), version: 1, created_at: now, last_used_at: None };
        self.keys.entry((flow, slot)).or_insert(fresh)
    }

    pub(super) fn pick_records(&self, query: RecordQuery) -> Vec<RecordRow> {
        let (connection, entity, id) = (query.connection.clone(), query.entity.clone(), query.id.clone());
        let fits = |row: &&RecordRow| {
            row.connection == connection && row.entity == entity && id.as_ref().is_none_or(|id| row.id == *id)
        };
        let mut picking = Picking::new(query);
        self.records.iter().rev().filter(fits).for_each(|row| picking.look_at(row.clone()));
        picking.rows()
    }

    pub(super) fn newest_records(&self, fits: impl Fn(&RecordRow) -> bool, limit: usize) -> Vec<RecordRow> {
        self.records.iter().rev().filter(|record| fits(record)).take(limit).cloned().collect()
    }

    pub(super) fn prune(&mut self, before: &PruneBefore) -> u64 {
        let is_old = |kept: &Kept| {
            let limit = match kept.row.status {
                RunStatus::Succeeded | RunStatus::Skipped => before.succeeded,
                RunStatus::Duplicate => before.duplicates,
                _ => before.failed,
            };
            kept.row.finished_at.is_some_and(|at| at < limit)
        };
        let mut left = before.rows_max;
        let mut old: Vec<_> = self.runs.values().filter(|kept| is_old(kept)).map(|kept| kept.row.run_id).collect();
        old.truncate(left);
        left -= old.len();
        for run in &old {
            self.runs.remove(run);
        }
        self.rejected.retain(|_, row| !take_one(&mut left, row.received_at < before.rejected));
        self.dedupe.retain(|_, (_, expires_at)| !take_one(&mut left, *expires_at < before.dedupe));
        if left > 0 {
            let oldest = before.succeeded.min(before.failed).min(before.duplicates).min(before.rejected);
            let unused = self.unused_texts(oldest);
            left -= unused.len().min(left);
            for id in &unused {
                self.texts.remove(id);
            }
        }
        (before.rows_max - left) as u64
    }

    /// Texts that no run uses and that are not live, but for the one that each flow pinned last.
    fn unused_texts(&self, before: Micros) -> Vec<TextId> {
        let is_newer = |old: &Text, new: &Text| new.text.flow == old.text.flow && new.pinned_at > old.pinned_at;
        let is_unused = |id: TextId, text: &Text| {
            text.pinned_at < before
                && self.texts.values().any(|newer| is_newer(text, newer))
                && !self.runs.values().any(|kept| kept.row.text_id == id)
                && !self.live.values().any(|row| row.text_id == id)
        };
        self.texts.iter().filter(|(id, text)| is_unused(**id, text)).map(|(id, _)| *id).collect()
    }
}

/// Whether something goes that may, as long as the budget lasts.
fn take_one(left: &mut usize, may_go: bool) -> bool {
    let goes = may_go && *left > 0;
    *left -= usize::from(goes);
    goes
}

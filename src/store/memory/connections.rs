//! The state of connections.

use super::State;
use crate::clock::{Micros, micros};
use crate::store::{ConnectionNote, ConnectionState, Noted, OTHER_SETTINGS_KEPT, Word};

impl State {
    pub(super) fn note_connections(&mut self, notes: Vec<ConnectionNote>) -> Vec<Noted> {
        let mut rows = Vec::with_capacity(notes.len());
        for ConnectionNote { connection, settings_digest, at, word } in notes {
            let fresh = || ConnectionState::new(&connection, &settings_digest);
            let state = self.connections.entry((connection.clone(), settings_digest.clone())).or_insert_with(fresh);
            let turn = state.note(at, &word);
            rows.push(Noted { state: state.clone(), turn });
            if word == Word::Seen {
                let oldest = at.saturating_sub(micros(OTHER_SETTINGS_KEPT));
                self.connections.retain(|(name, digest), state| {
                    *name != connection || *digest == settings_digest || state.seen_at >= oldest
                });
            }
        }
        rows
    }

    pub(super) fn probe_connection(
        &mut self,
        connection: &str,
        settings_digest: &str,
        seq: i64,
        until: Micros,
    ) -> Option<ConnectionState> {
        let state = self.connections.get_mut(&(connection.to_owned(), settings_digest.to_owned()))?;
        let block = state.block.as_mut().filter(|_| state.seq == seq)?;
        block.next_probe_at = until;
        state.seq += 1;
        Some(state.clone())
    }

    pub(super) fn connections(&self) -> Vec<ConnectionState> {
        let mut all: Vec<ConnectionState> = self.connections.values().cloned().collect();
        all.sort_by(|a, b| a.connection.cmp(&b.connection).then(b.seen_at.cmp(&a.seen_at)));
        all
    }

    pub(super) fn waiting_runs(&self) -> Vec<(String, u64)> {
        let mut by_lane = std::collections::BTreeMap::<String, u64>::new();
        let waiting = self.runs.values().map(|kept| &kept.row).filter(|row| {
            row.finished_at.is_none() && row.owner.is_none() && row.status != crate::run::RunStatus::Held
        });
        for row in waiting {
            *by_lane.entry(row.lane.clone()).or_default() += 1;
        }
        by_lane.into_iter().collect()
    }
}

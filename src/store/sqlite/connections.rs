//! The state of connections: notes are applied to their rows here, in the one transaction that writes.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::queue::Class;
use super::rows;
use super::writer::{Applied, Verb};
use crate::clock::{Micros, micros};
use crate::store::{Block, BlockKind, ConnectionNote, ConnectionState, Noted, OTHER_SETTINGS_KEPT, Times, Word};

const COLUMNS: &str = "connection, settings_digest, seq, seen_at, paused_until, pauses, breaker, failures, held_code, \
     blocked_since, probes, next_probe_at, last_ok_at, last_error_at, last_error, throttled_times, opened_times, \
     held_times";

/// What waits in each lane, due or not. Asked by people and monitors only: it walks the whole index.
pub(super) const SQL_WAITING: &str = "SELECT lane, count(*) FROM runs INDEXED BY runs_due \
     WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' GROUP BY lane";

/// [`Store::note_connections`](crate::store::Store::note_connections).
pub(super) struct Note(pub(super) Vec<ConnectionNote>);

impl Verb for Note {
    type Answer = Vec<Noted>;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<Vec<Noted>> {
        let mut noted = Vec::with_capacity(self.0.len());
        for note in &self.0 {
            let known = one(conn, &note.connection, &note.settings_digest)?;
            let mut state = known.unwrap_or_else(|| ConnectionState::new(&note.connection, &note.settings_digest));
            let turn = state.note(note.at, &note.word);
            put(conn, &state)?;
            if note.word == Word::Seen {
                conn.prepare_cached(
                    "DELETE FROM connection_state WHERE connection = ?1 AND settings_digest <> ?2 AND seen_at < ?3",
                )?
                .execute(params![
                    note.connection,
                    note.settings_digest,
                    note.at.saturating_sub(micros(OTHER_SETTINGS_KEPT))
                ])?;
            }
            noted.push(Noted { state, turn });
        }
        Ok(noted)
    }
}

/// [`Store::probe_connection`](crate::store::Store::probe_connection).
pub(super) struct Probe {
    /// The connection.
    pub(super) connection: String,
    /// Its settings.
    pub(super) settings_digest: String,
    /// The row as it was seen.
    pub(super) seq: i64,
    /// Until when nobody else probes.
    pub(super) until: Micros,
}

impl Verb for Probe {
    type Answer = Option<ConnectionState>;
    const CLASS: Class = Class::Claim;

    fn apply(&self, conn: &Connection) -> Applied<Option<ConnectionState>> {
        let changed = conn
            .prepare_cached(
                "UPDATE connection_state SET seq = seq + 1, next_probe_at = ?4 \
                 WHERE connection = ?1 AND settings_digest = ?2 AND seq = ?3 AND breaker <> 'closed'",
            )?
            .execute(params![self.connection, self.settings_digest, self.seq, self.until])?;
        Ok(if changed == 0 { None } else { one(conn, &self.connection, &self.settings_digest)? })
    }
}

/// [`Store::connections`](crate::store::Store::connections).
pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<ConnectionState>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM connection_state ORDER BY connection, seen_at DESC"))?
        .query_map([], state)?
        .collect()
}

/// [`Store::waiting_runs`](crate::store::Store::waiting_runs).
pub(super) fn waiting(conn: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    conn.prepare_cached(SQL_WAITING)?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
        .collect()
}

fn one(conn: &Connection, connection: &str, digest: &str) -> rusqlite::Result<Option<ConnectionState>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM connection_state WHERE connection = ?1 AND settings_digest = ?2"
    ))?
    .query_row([connection, digest], state)
    .optional()
}

fn put(conn: &Connection, state: &ConnectionState) -> Applied<()> {
    let block = state.block.as_ref();
    let error = state.last_error.as_ref();
    conn.prepare_cached(&format!(
        "INSERT OR REPLACE INTO connection_state ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
    ))?
    .execute(params![
        state.connection,
        state.settings_digest,
        state.seq,
        state.seen_at,
        state.paused_until,
        state.pauses,
        block.map_or("closed", |block| block.kind.as_str()),
        state.failures,
        block.map(|block| &block.code),
        block.map(|block| block.since),
        block.map_or(0, |block| block.probes),
        block.map(|block| block.next_probe_at),
        state.last_ok_at,
        error.map(|(at, _)| at),
        error.map(|(_, said)| rows::json(said)).transpose()?,
        state.times.throttled as i64,
        state.times.opened as i64,
        state.times.held as i64,
    ])?;
    Ok(())
}

fn state(row: &Row<'_>) -> rusqlite::Result<ConnectionState> {
    let kind = match row.get_ref(6)?.as_str()? {
        "open" => Some(BlockKind::Open),
        "held" => Some(BlockKind::Held),
        _ => None,
    };
    let block = match kind {
        None => None,
        Some(kind) => Some(Block {
            kind,
            code: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            since: row.get(9)?,
            probes: row.get(10)?,
            next_probe_at: row.get::<_, Option<Micros>>(11)?.unwrap_or_default(),
        }),
    };
    let last_error = match row.get::<_, Option<Micros>>(13)? {
        None => None,
        Some(at) => Some((at, rows::from_json(14, rows::text(row, 14)?)?)),
    };
    let times = |at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
    Ok(ConnectionState {
        connection: row.get(0)?,
        settings_digest: row.get(1)?,
        seq: row.get(2)?,
        seen_at: row.get(3)?,
        paused_until: row.get(4)?,
        pauses: row.get(5)?,
        failures: row.get(7)?,
        block,
        last_ok_at: row.get(12)?,
        last_error,
        times: Times { throttled: times(15)?, opened: times(16)?, held: times(17)? },
    })
}

//! The state of connections: a note is applied to its row while the row is locked, so that nodes never undo each other.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::fault::Done;
use super::rows::{count, get, small};
use crate::clock::{Micros, micros};
use crate::store::values::{self, json};
use crate::store::{Block, BlockKind, ConnectionNote, ConnectionState, Noted, OTHER_SETTINGS_KEPT, Times, Word};

const COLUMNS: &str = "connection, settings_digest, seq, seen_at, paused_until, pauses, breaker, failures, held_code, \
     blocked_since, probes, next_probe_at, last_ok_at, last_error_at, last_error, throttled_times, opened_times, \
     held_times";

/// What waits in each lane, due or not. Asked by people and monitors only: it walks the whole index.
pub(super) const SQL_WAITING: &str = "SELECT lane, count(*) FROM runs \
     WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' GROUP BY lane ORDER BY lane";

/// Makes the row of a connection of which nothing is known: there must be something to lock.
const SQL_MAKE: &str = "INSERT INTO connection_state (connection, settings_digest, seq, seen_at, paused_until, pauses, \
     breaker, failures, probes, throttled_times, opened_times, held_times) \
     VALUES ($1, $2, 0, 0, 0, 0, 'closed', 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING";

const SQL_PUT: &str = "UPDATE connection_state SET seq = $3, seen_at = $4, paused_until = $5, pauses = $6, breaker = $7, \
     failures = $8, held_code = $9, blocked_since = $10, probes = $11, next_probe_at = $12, last_ok_at = $13, \
     last_error_at = $14, last_error = $15, throttled_times = $16, opened_times = $17, held_times = $18 \
     WHERE connection = $1 AND settings_digest = $2";

/// Forgets what was known under settings that no node has had for long.
const SQL_FORGET: &str = "DELETE FROM connection_state WHERE ctid = ANY (array(SELECT ctid FROM connection_state \
     WHERE connection = $1 AND settings_digest <> $2 AND seen_at < $3 FOR UPDATE SKIP LOCKED))";

/// [`Store::note_connections`](crate::store::Store::note_connections). An error leaves the transaction open.
pub(super) async fn note(conn: &ClientWrapper, notes: &[ConnectionNote]) -> Done<Vec<Noted>> {
    conn.batch_execute("BEGIN").await?;
    // In one order on every node, so that none waits for another in a circle.
    let names: BTreeSet<(&str, &str)> = notes.iter().map(|note| (&*note.connection, &*note.settings_digest)).collect();
    let make = conn.prepare_cached(SQL_MAKE).await?;
    let lock =
        format!("SELECT {COLUMNS} FROM connection_state WHERE connection = $1 AND settings_digest = $2 FOR UPDATE");
    let lock = conn.prepare_cached(&lock).await?;
    let mut states = BTreeMap::new();
    for name in names {
        conn.execute(&make, &[&name.0, &name.1]).await?;
        let row = conn.query_one(&lock, &[&name.0, &name.1]).await?;
        states.insert(name, state(&row)?);
    }
    let mut answers = Vec::with_capacity(notes.len());
    let mut seen: BTreeMap<(&str, &str), Micros> = BTreeMap::new();
    for note in notes {
        let name = (&*note.connection, &*note.settings_digest);
        let Some(state) = states.get_mut(&name) else { continue };
        let turn = state.note(note.at, &note.word);
        if note.word == Word::Seen {
            seen.insert(name, note.at);
        }
        answers.push(Noted { state: state.clone(), turn });
    }
    for state in states.values() {
        put(conn, state).await?;
    }
    let forget = conn.prepare_cached(SQL_FORGET).await?;
    for ((connection, digest), at) in seen {
        let before = at.saturating_sub(micros(OTHER_SETTINGS_KEPT));
        conn.execute(&forget, &[&connection, &digest, &before]).await?;
    }
    conn.batch_execute("COMMIT").await?;
    Ok(answers)
}

/// [`Store::probe_connection`](crate::store::Store::probe_connection).
pub(super) async fn probe(
    conn: &ClientWrapper,
    connection: &str,
    digest: &str,
    seq: i64,
    until: Micros,
) -> Done<Option<ConnectionState>> {
    let sql = format!(
        "UPDATE connection_state SET seq = seq + 1, next_probe_at = $4 \
         WHERE connection = $1 AND settings_digest = $2 AND seq = $3 AND breaker <> 'closed' RETURNING {COLUMNS}"
    );
    let row = conn.query_opt(&conn.prepare_cached(&sql).await?, &[&connection, &digest, &seq, &until]).await?;
    row.as_ref().map(state).transpose()
}

/// [`Store::connections`](crate::store::Store::connections).
pub(super) async fn all(conn: &ClientWrapper) -> Done<Vec<ConnectionState>> {
    let sql = format!("SELECT {COLUMNS} FROM connection_state ORDER BY connection, seen_at DESC");
    conn.query(&conn.prepare_cached(&sql).await?, &[]).await?.iter().map(state).collect()
}

/// [`Store::waiting_runs`](crate::store::Store::waiting_runs).
pub(super) async fn waiting(conn: &ClientWrapper) -> Done<Vec<(String, u64)>> {
    let rows = conn.query(&conn.prepare_cached(SQL_WAITING).await?, &[]).await?;
    rows.iter().map(|row| Ok((get(row, 0)?, count(row, 1)?))).collect()
}

async fn put(conn: &ClientWrapper, state: &ConnectionState) -> Done<()> {
    let block = state.block.as_ref();
    let error = state.last_error.as_ref();
    let put = conn.prepare_cached(SQL_PUT).await?;
    conn.execute(
        &put,
        &[
            &state.connection,
            &state.settings_digest,
            &state.seq,
            &state.seen_at,
            &state.paused_until,
            &i64::from(state.pauses),
            &block.map_or("closed", |block| block.kind.as_str()),
            &i64::from(state.failures),
            &block.map(|block| &*block.code),
            &block.map(|block| block.since),
            &i64::from(block.map_or(0, |block| block.probes)),
            &block.map(|block| block.next_probe_at),
            &state.last_ok_at,
            &error.map(|(at, _)| *at),
            &error.map(|(_, said)| json(said)).transpose()?,
            &(state.times.throttled as i64),
            &(state.times.opened as i64),
            &(state.times.held as i64),
        ],
    )
    .await?;
    Ok(())
}

fn state(row: &Row) -> Done<ConnectionState> {
    let kind = match get(row, 6)? {
        "open" => Some(BlockKind::Open),
        "held" => Some(BlockKind::Held),
        _ => None,
    };
    let block = match kind {
        None => None,
        Some(kind) => Some(Block {
            kind,
            code: get::<Option<String>>(row, 8)?.unwrap_or_default(),
            since: get(row, 9)?,
            probes: small(row, 10)?,
            next_probe_at: get::<Option<Micros>>(row, 11)?.unwrap_or_default(),
        }),
    };
    let last_error = match get::<Option<Micros>>(row, 13)? {
        None => None,
        Some(at) => Some((at, values::from_json(get(row, 14)?)?)),
    };
    Ok(ConnectionState {
        connection: get(row, 0)?,
        settings_digest: get(row, 1)?,
        seq: get(row, 2)?,
        seen_at: get(row, 3)?,
        paused_until: get(row, 4)?,
        pauses: small(row, 5)?,
        failures: small(row, 7)?,
        block,
        last_ok_at: get(row, 12)?,
        last_error,
        times: Times { throttled: count(row, 15)?, opened: count(row, 16)?, held: count(row, 17)? },
    })
}

//! The verbs that write everything beside runs: rejected requests, pinned texts, keys, meta, and the checks.

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::Class;
use super::rows::json;
use super::writer::{Applied, Verb};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::store::{FlowText, RejectedCaps, RejectedRow, TextId};

/// [`Store::reject`](crate::store::Store::reject).
pub(super) struct Reject {
    /// The request.
    pub(super) row: RejectedRow,
    /// What its flow may keep.
    pub(super) caps: RejectedCaps,
}

impl Verb for Reject {
    type Answer = ();
    const CLASS: Class = Class::Accept;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        let row = &self.row;
        conn.prepare_cached(
            "INSERT INTO rejected (id, flow, received_at, code, findings, method, path, query, headers, \
             resubmitted_as, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            row.id.bytes(),
            row.flow,
            row.received_at,
            row.code,
            json(&row.findings)?,
            row.method,
            row.path,
            json(&row.query)?,
            json(&row.headers)?,
            row.resubmitted_as.as_ref().map(RunId::bytes),
            row.body,
        ])?;
        while self.is_over(conn)? {
            conn.prepare_cached(
                "DELETE FROM rejected WHERE id = (SELECT id FROM rejected WHERE flow = ?1 AND id <> ?2 ORDER BY id LIMIT 1)",
            )?
            .execute((&row.flow, row.id.bytes()))?;
        }
        Ok(())
    }
}

impl Reject {
    /// Whether something older than this request must go. The request itself always stays.
    fn is_over(&self, conn: &Connection) -> rusqlite::Result<bool> {
        let (requests, bytes): (i64, i64) = conn
            .prepare_cached("SELECT requests, bytes FROM rejected_totals WHERE flow = ?1")?
            .query_row([&self.row.flow], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(requests > 1 && (requests as u64 > self.caps.count_max || bytes as u64 > self.caps.bytes_max))
    }
}

/// [`Store::mark_resubmitted`](crate::store::Store::mark_resubmitted).
pub(super) struct MarkResubmitted {
    /// The rejected request.
    pub(super) id: RunId,
    /// The run that was made of it.
    pub(super) run: RunId,
}

impl Verb for MarkResubmitted {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        conn.prepare_cached("UPDATE rejected SET resubmitted_as = ?2 WHERE id = ?1")?
            .execute((self.id.bytes(), self.run.bytes()))?;
        Ok(())
    }
}

/// [`Store::pin_text`](crate::store::Store::pin_text). The latest pin of a flow tells `prune` which text is live.
pub(super) struct PinText {
    /// The text.
    pub(super) text: FlowText,
    /// When it is pinned.
    pub(super) now: Micros,
}

impl Verb for PinText {
    type Answer = TextId;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<TextId> {
        pin(conn, &self.text, self.now)
    }
}

/// Stores a text once; its id.
pub(super) fn pin(conn: &Connection, text: &FlowText, now: Micros) -> Applied<TextId> {
    Ok(conn
        .prepare_cached(
            "INSERT INTO flow_texts (digest, flow, bundle, pinned_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (digest) DO UPDATE SET pinned_at = max(pinned_at, excluded.pinned_at) RETURNING text_id",
        )?
        .query_row(params![text.digest, text.flow, text.bundle, now], |row| row.get(0))?)
}

/// [`Store::meta_or_insert`](crate::store::Store::meta_or_insert).
pub(super) struct MetaOrInsert {
    /// The key.
    pub(super) key: String,
    /// Its value if there is none.
    pub(super) fresh: String,
}

impl Verb for MetaOrInsert {
    type Answer = String;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<String> {
        conn.prepare_cached("INSERT INTO meta (k, v) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute((&self.key, &self.fresh))?;
        Ok(conn.prepare_cached("SELECT v FROM meta WHERE k = ?1")?.query_row([&self.key], |row| row.get(0))?)
    }
}

/// [`Store::set_meta`](crate::store::Store::set_meta).
pub(super) struct SetMeta {
    /// The key.
    pub(super) key: String,
    /// Its value from now on.
    pub(super) value: String,
}

impl Verb for SetMeta {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        conn.prepare_cached("INSERT INTO meta (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v")?
            .execute((&self.key, &self.value))?;
        Ok(())
    }
}

/// [`Store::rotate_key`](crate::store::Store::rotate_key).
pub(super) struct RotateKey {
    /// The flow.
    pub(super) flow: String,
    /// The slot.
    pub(super) slot: String,
    /// When.
    pub(super) now: Micros,
}

impl Verb for RotateKey {
    type Answer = u32;
    const CLASS: Class = Class::Settle;

    /// A slot without a row is at version 1 and in use, so its first rotation makes version 2.
    fn apply(&self, conn: &Connection) -> Applied<u32> {
        Ok(conn
            .prepare_cached(
                "INSERT INTO keys (flow, slot, version, created_at) VALUES (?1, ?2, 2, ?3) \
                 ON CONFLICT (flow, slot) DO UPDATE SET version = version + 1, created_at = excluded.created_at, \
                 last_used_at = NULL RETURNING version",
            )?
            .query_row((&self.flow, &self.slot, self.now), |row| row.get(0))?)
    }
}

/// [`Store::touch_keys`](crate::store::Store::touch_keys).
pub(super) struct TouchKeys(pub(super) Vec<(String, String, Micros)>);

impl Verb for TouchKeys {
    type Answer = ();
    const CLASS: Class = Class::Maintain;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        for (flow, slot, at) in &self.0 {
            conn.prepare_cached(
                "INSERT INTO keys (flow, slot, version, created_at, last_used_at) VALUES (?1, ?2, 1, ?3, ?3) \
                 ON CONFLICT (flow, slot) DO UPDATE \
                 SET last_used_at = max(coalesce(last_used_at, excluded.last_used_at), excluded.last_used_at)",
            )?
            .execute((flow, slot, at))?;
        }
        Ok(())
    }
}

/// [`Store::ping`](crate::store::Store::ping): really writes, since a full disk shows itself in nothing else.
pub(super) struct Ping;

impl Verb for Ping {
    type Answer = ();
    const CLASS: Class = Class::Claim;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        conn.prepare_cached(
            "INSERT INTO meta (k, v) VALUES ('store_ping', '1') ON CONFLICT (k) DO UPDATE SET v = v + 1",
        )?
        .execute([])?;
        Ok(())
    }
}

/// The number by which the writer's connection tells that another process changed the database.
pub(super) struct DataVersion;

impl Verb for DataVersion {
    type Answer = i64;
    const CLASS: Class = Class::Claim;

    fn apply(&self, conn: &Connection) -> Applied<i64> {
        let version = conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0)).optional()?;
        Ok(version.unwrap_or(0))
    }
}

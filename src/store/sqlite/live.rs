//! What is live: the last good version of each flow file, and the texts that are pinned for it.

use rusqlite::{Connection, OptionalExtension, params};

use super::keep;
use super::queue::Class;
use super::writer::{Applied, Verb};
use crate::clock::Micros;
use crate::store::{FlowText, Live, LiveChange, LiveRow, TextId};

/// Where `meta` keeps the generation: rows alone would forget a generation that only removed some.
const GENERATION_META: &str = "live_generation";

/// [`Store::pin_texts`](crate::store::Store::pin_texts).
pub(super) struct PinTexts {
    /// The texts.
    pub(super) texts: Vec<FlowText>,
    /// When they are pinned.
    pub(super) now: Micros,
}

impl Verb for PinTexts {
    type Answer = Vec<TextId>;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<Vec<TextId>> {
        self.texts.iter().map(|text| keep::pin(conn, text, self.now)).collect()
    }
}

/// [`Store::set_live`](crate::store::Store::set_live).
pub(super) struct SetLive(pub(super) LiveChange);

impl Verb for SetLive {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        let change = &self.0;
        for file in &change.remove {
            conn.prepare_cached("DELETE FROM live WHERE file = ?1")?.execute([file])?;
        }
        for row in &change.put {
            conn.prepare_cached(
                "INSERT INTO live (file, flow, text_id, generation, loaded_at) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (file) DO UPDATE SET flow = excluded.flow, text_id = excluded.text_id, \
                 generation = excluded.generation, loaded_at = excluded.loaded_at",
            )?
            .execute(params![row.file, row.flow, row.text_id, row.generation as i64, row.loaded_at])?;
        }
        conn.prepare_cached(
            "INSERT INTO meta (k, v) VALUES (?1, ?2) \
             ON CONFLICT (k) DO UPDATE SET v = max(CAST(v AS INTEGER), CAST(excluded.v AS INTEGER))",
        )?
        .execute(params![GENERATION_META, change.generation.to_string()])?;
        Ok(())
    }
}

/// [`Store::live`](crate::store::Store::live).
pub(super) fn live(conn: &Connection) -> rusqlite::Result<Live> {
    let generation: Option<String> = conn
        .prepare_cached("SELECT v FROM meta WHERE k = ?1")?
        .query_row([GENERATION_META], |row| row.get(0))
        .optional()?;
    let rows: Vec<LiveRow> = conn
        .prepare_cached(
            "SELECT live.file, live.flow, live.text_id, flow_texts.digest, live.generation, live.loaded_at \
             FROM live JOIN flow_texts USING (text_id) ORDER BY live.file",
        )?
        .query_map([], |row| {
            Ok(LiveRow {
                file: row.get(0)?,
                flow: row.get(1)?,
                text_id: row.get(2)?,
                digest: row.get(3)?,
                generation: row.get::<_, i64>(4)? as u64,
                loaded_at: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let of_rows = rows.iter().map(|row| row.generation).max().unwrap_or(0);
    let stored = generation.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Live { generation: of_rows.max(stored), rows })
}

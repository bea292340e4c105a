//! The verbs that write everything beside runs: rejected requests, pinned texts, what is live, keys, meta, the check.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;

use super::fault::{Done, Fault};
use super::rows::{get, small, uuid};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::store::values::json;
use crate::store::{FlowText, Live, LiveChange, LiveRow, RejectedCaps, RejectedRow, TextId};

/// Where `meta` keeps the generation: rows alone would forget a generation that only removed some.
const GENERATION_META: &str = "live_generation";

async fn execute(conn: &ClientWrapper, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Done<u64> {
    Ok(conn.execute(&conn.prepare_cached(sql).await?, values).await?)
}

/// [`Store::reject`](crate::store::Store::reject). An error leaves the transaction open. The path is kept as JSON, since
/// PostgreSQL's texts cannot hold what a path may: a character zero.
pub(super) async fn reject(conn: &ClientWrapper, row: &RejectedRow, caps: RejectedCaps) -> Done<()> {
    conn.batch_execute("BEGIN").await?;
    execute(
        conn,
        "INSERT INTO rejected (id, flow, received_at, code, findings, method, path, query, headers, resubmitted_as, \
         body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
        &[
            &uuid(row.id),
            &row.flow,
            &row.received_at,
            &row.code,
            &json(&row.findings)?,
            &row.method,
            &json(&row.path)?,
            &json(&row.query)?,
            &json(&row.headers)?,
            &row.resubmitted_as.map(uuid),
            &row.body,
        ],
    )
    .await?;
    while is_over(conn, row, caps).await? {
        let oldest = "DELETE FROM rejected WHERE id = (SELECT id FROM rejected WHERE flow = $1 AND id <> $2 ORDER BY id LIMIT 1)";
        if execute(conn, oldest, &[&row.flow, &uuid(row.id)]).await? == 0 {
            break;
        }
    }
    Ok(conn.batch_execute("COMMIT").await?)
}

/// Whether something older than this request must go. The request itself always stays.
async fn is_over(conn: &ClientWrapper, row: &RejectedRow, caps: RejectedCaps) -> Done<bool> {
    let sql = "SELECT requests, bytes FROM rejected_totals WHERE flow = $1";
    let Some(totals) = conn.query_opt(&conn.prepare_cached(sql).await?, &[&row.flow]).await? else { return Ok(false) };
    let (requests, bytes): (i64, i64) = (get(&totals, 0)?, get(&totals, 1)?);
    Ok(requests > 1 && (requests as u64 > caps.count_max || bytes as u64 > caps.bytes_max))
}

/// [`Store::mark_resubmitted`](crate::store::Store::mark_resubmitted).
pub(super) async fn mark_resubmitted(conn: &ClientWrapper, id: RunId, run: RunId) -> Done<()> {
    let sql = "UPDATE rejected SET resubmitted_as = $2 WHERE id = $1";
    execute(conn, sql, &[&uuid(id), &uuid(run)]).await.map(drop)
}

/// [`Store::pin_texts`](crate::store::Store::pin_texts). The latest pin of a flow tells `prune` which text is live.
pub(super) async fn pin_texts(conn: &ClientWrapper, texts: &[FlowText], now: Micros) -> Done<Vec<TextId>> {
    // One statement writes each row once, and in the order of the digests, so that nodes do not wait in a circle.
    let by_digest: BTreeMap<&str, &FlowText> = texts.iter().map(|text| (&*text.digest, text)).collect();
    let digests: Vec<&str> = by_digest.keys().copied().collect();
    let flows: Vec<&str> = by_digest.values().map(|text| &*text.flow).collect();
    let bundles: Vec<&str> = by_digest.values().map(|text| &*text.bundle).collect();
    let sql = "INSERT INTO flow_texts (digest, flow, bundle, pinned_at) \
               SELECT digest, flow, bundle, $4 FROM unnest($1::text[], $2::text[], $3::text[]) AS t (digest, flow, bundle) \
               ON CONFLICT (digest) DO UPDATE SET pinned_at = greatest(flow_texts.pinned_at, excluded.pinned_at) \
               RETURNING digest, text_id";
    let mut ids: HashMap<String, TextId> = HashMap::new();
    for row in conn.query(&conn.prepare_cached(sql).await?, &[&digests, &flows, &bundles, &now]).await? {
        ids.insert(get(&row, 0)?, get(&row, 1)?);
    }
    let id =
        |text: &FlowText| ids.get(&text.digest).copied().ok_or_else(|| Fault::unavailable("a text was not stored"));
    texts.iter().map(id).collect()
}

/// [`Store::set_live`](crate::store::Store::set_live). An error leaves the transaction open.
pub(super) async fn set_live(conn: &ClientWrapper, change: &LiveChange) -> Done<()> {
    conn.batch_execute("BEGIN").await?;
    // First, so that nodes which change what is live do so one after the other.
    let generation = "INSERT INTO meta (k, v) VALUES ($1, $2) \
                      ON CONFLICT (k) DO UPDATE SET v = greatest(meta.v::bigint, excluded.v::bigint)::text";
    execute(conn, generation, &[&GENERATION_META, &change.generation.to_string()]).await?;
    execute(conn, "DELETE FROM live WHERE file = ANY ($1::text[])", &[&change.remove]).await?;
    let rows: BTreeMap<&str, &LiveRow> = change.put.iter().map(|row| (&*row.file, row)).collect();
    let files: Vec<&str> = rows.keys().copied().collect();
    let flows: Vec<&str> = rows.values().map(|row| &*row.flow).collect();
    let texts: Vec<TextId> = rows.values().map(|row| row.text_id).collect();
    let generations: Vec<i64> = rows.values().map(|row| row.generation as i64).collect();
    let loaded: Vec<Micros> = rows.values().map(|row| row.loaded_at).collect();
    let put = "INSERT INTO live (file, flow, text_id, generation, loaded_at) \
               SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
               ON CONFLICT (file) DO UPDATE SET flow = excluded.flow, text_id = excluded.text_id, \
                 generation = excluded.generation, loaded_at = excluded.loaded_at";
    execute(conn, put, &[&files, &flows, &texts, &generations, &loaded]).await?;
    Ok(conn.batch_execute("COMMIT").await?)
}

/// [`Store::live`](crate::store::Store::live).
pub(super) async fn live(conn: &ClientWrapper) -> Done<Live> {
    let sql = "SELECT live.file, live.flow, live.text_id, flow_texts.digest, live.generation, live.loaded_at \
               FROM live JOIN flow_texts USING (text_id) ORDER BY live.file";
    let stored = super::browse::meta(conn, GENERATION_META).await?;
    let rows = conn.query(&conn.prepare_cached(sql).await?, &[]).await?;
    let row = |row| {
        Ok(LiveRow {
            file: get(row, 0)?,
            flow: get(row, 1)?,
            text_id: get(row, 2)?,
            digest: get(row, 3)?,
            generation: get::<i64>(row, 4)? as u64,
            loaded_at: get(row, 5)?,
        })
    };
    let rows: Vec<LiveRow> = rows.iter().map(row).collect::<Done<_>>()?;
    let of_rows = rows.iter().map(|row| row.generation).max().unwrap_or(0);
    let stored = stored.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Live { generation: of_rows.max(stored), rows })
}

/// [`Store::meta_or_insert`](crate::store::Store::meta_or_insert).
pub(super) async fn meta_or_insert(conn: &ClientWrapper, key: &str, fresh: &str) -> Done<String> {
    execute(conn, "INSERT INTO meta (k, v) VALUES ($1, $2) ON CONFLICT DO NOTHING", &[&key, &fresh]).await?;
    let stored = super::browse::meta(conn, key).await?;
    stored.ok_or_else(|| Fault::unavailable("a value was removed while it was read"))
}

/// [`Store::set_meta`](crate::store::Store::set_meta).
pub(super) async fn set_meta(conn: &ClientWrapper, key: &str, value: &str) -> Done<()> {
    let sql = "INSERT INTO meta (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
    execute(conn, sql, &[&key, &value]).await.map(drop)
}

/// [`Store::rotate_key`](crate::store::Store::rotate_key). A slot without a row is at version 1 and in use, so its first
/// rotation makes version 2.
pub(super) async fn rotate_key(conn: &ClientWrapper, flow: &str, slot: &str, now: Micros) -> Done<u32> {
    let sql = "INSERT INTO keys (flow, slot, version, created_at) VALUES ($1, $2, 2, $3) \
               ON CONFLICT (flow, slot) DO UPDATE SET version = keys.version + 1, created_at = excluded.created_at, \
                 last_used_at = NULL RETURNING version";
    small(&conn.query_one(&conn.prepare_cached(sql).await?, &[&flow, &slot, &now]).await?, 0)
}

/// [`Store::touch_keys`](crate::store::Store::touch_keys).
pub(super) async fn touch_keys(conn: &ClientWrapper, used: &[(String, String, Micros)]) -> Done<()> {
    let mut last: BTreeMap<(&str, &str), Micros> = BTreeMap::new();
    for (flow, slot, at) in used {
        last.entry((flow, slot)).and_modify(|known| *known = (*known).max(*at)).or_insert(*at);
    }
    let flows: Vec<&str> = last.keys().map(|(flow, _)| *flow).collect();
    let slots: Vec<&str> = last.keys().map(|(_, slot)| *slot).collect();
    let times: Vec<Micros> = last.values().copied().collect();
    let sql = "INSERT INTO keys (flow, slot, version, created_at, last_used_at) \
               SELECT flow, slot, 1, at, at FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u (flow, slot, at) \
               ON CONFLICT (flow, slot) DO UPDATE \
               SET last_used_at = greatest(keys.last_used_at, excluded.last_used_at)";
    execute(conn, sql, &[&flows, &slots, &times]).await.map(drop)
}

/// [`Store::ping`](crate::store::Store::ping): really writes, since a full disk shows itself in nothing else.
pub(super) async fn ping(conn: &ClientWrapper) -> Done<()> {
    let sql = "INSERT INTO meta (k, v) VALUES ('store_ping', '1') \
               ON CONFLICT (k) DO UPDATE SET v = (meta.v::bigint + 1)::text";
    execute(conn, sql, &[]).await.map(drop)
}

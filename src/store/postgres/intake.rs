//! Who came first with a key: duplicates among the leads of a group and of all other nodes.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::ClientWrapper;

use super::fault::Done;
use super::rows::{get, run_id, uuid};
use super::send::query;
use crate::clock::Micros;
use crate::ids::RunId;
use crate::store::Arrival;

/// Takes keys that are free or whose window is over; a repeat of the same run holds its own. Keys come sorted, so that
/// two nodes never wait for each other in a circle. A key that is held stays locked all the same, until the end of the
/// transaction.
const SQL_TAKE_KEYS: &str = "INSERT INTO dedupe (flow, key_hash, run_id, began_at, expires_at) \
     SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::bigint[], $5::bigint[]) \
     ON CONFLICT (flow, key_hash) DO UPDATE \
     SET run_id = excluded.run_id, began_at = excluded.began_at, expires_at = excluded.expires_at \
     WHERE dedupe.expires_at <= excluded.began_at OR dedupe.run_id = excluded.run_id";

/// Who holds the keys.
pub(super) const SQL_HOLDERS: &str = "SELECT dedupe.flow, dedupe.key_hash, dedupe.run_id, dedupe.expires_at \
     FROM unnest($1::text[], $2::bytea[]) AS k (flow, key_hash) \
     JOIN dedupe ON dedupe.flow = k.flow AND dedupe.key_hash = k.key_hash";

/// A key, its flow first.
type Key<'a> = (&'a str, [u8; 32]);

/// Who holds each key, and until when.
type Holders = HashMap<(String, [u8; 32]), (RunId, Micros)>;

/// A run that came with a key.
#[derive(Debug, Clone, Copy)]
struct Bid {
    run: RunId,
    received_at: Micros,
    expires_at: Micros,
}

/// For each run with a key the run that came first with it, unless it is the first itself. Of equal keys in `arrivals`
/// the earlier one is the first.
pub(super) async fn duplicates(conn: &ClientWrapper, arrivals: &[&Arrival]) -> Done<HashMap<RunId, RunId>> {
    let mut bids: BTreeMap<Key<'_>, Vec<Bid>> = BTreeMap::new();
    for Arrival { new, dedupe, .. } in arrivals {
        let Some(key) = dedupe else { continue };
        let bid = Bid { run: new.run.run_id, received_at: new.run.received_at, expires_at: key.expires_at };
        bids.entry((&new.run.flow, key.hash)).or_default().push(bid);
    }
    let mut duplicates = HashMap::new();
    // Almost always one round: another is needed when a window of this very group is over for a later lead of it.
    while !bids.is_empty() {
        let holders = take(conn, &bids).await?;
        bids.retain(|key, bids| {
            let Some(&(holder, expires_at)) = holders.get(&(key.0.to_owned(), key.1)) else { return false };
            let mut is_first = true;
            while let Some(bid) = bids.first().copied() {
                let is_over = expires_at <= bid.received_at && bid.run != holder;
                if is_over && !is_first {
                    return true;
                }
                if bid.run != holder {
                    duplicates.insert(bid.run, holder);
                }
                is_first = false;
                bids.remove(0);
            }
            false
        });
    }
    Ok(duplicates)
}

/// Bids for each key with its first run; who holds it then, and until when.
async fn take(conn: &ClientWrapper, bids: &BTreeMap<Key<'_>, Vec<Bid>>) -> Done<Holders> {
    let (mut flows, mut hashes, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut began, mut expires) = (Vec::new(), Vec::new());
    for ((flow, hash), bids) in bids {
        let Some(first) = bids.first() else { continue };
        flows.push(*flow);
        hashes.push(hash.to_vec());
        runs.push(uuid(first.run));
        began.push(first.received_at);
        expires.push(first.expires_at);
    }
    let (insert, holders) = (conn.prepare_cached(SQL_TAKE_KEYS).await?, conn.prepare_cached(SQL_HOLDERS).await?);
    let (inserted, rows) = tokio::join!(
        biased;
        query(conn, &insert, vec![&flows, &hashes, &runs, &began, &expires]),
        query(conn, &holders, vec![&flows, &hashes]),
    );
    inserted?;
    let mut held = HashMap::new();
    for row in &rows? {
        let (flow, hash): (&str, &[u8]) = (get(row, 0)?, get(row, 1)?);
        let Ok(hash) = <[u8; 32]>::try_from(hash) else { continue };
        held.insert((flow.to_owned(), hash), (run_id(row, 2)?, get(row, 3)?));
    }
    Ok(held)
}

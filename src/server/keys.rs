//! The signing key and the live versions of every flow's slots, ready for the hot path: a request reads one pointer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Micros;
use crate::ids::RunId;
use crate::secret::Secret;
use crate::store::{KeySlot, Store, StoreError, StoreResult};
use crate::triggers::signature::{self, SLOTS};

/// Where the store keeps the signing key.
pub const SIGNING_KEY_META: &str = "signing_key";

/// Bytes of a fresh signing key.
const KEY_BYTES: usize = 32;

/// Signs and verifies URLs. A slot that the store does not know is at version 1, so that every flow has two live slots
/// from its first minute.
#[derive(Debug)]
pub struct KeyRing {
    live: ArcSwap<Keys>,
    used: Mutex<HashMap<String, [Option<Micros>; SLOTS.len()]>>,
}

#[derive(Debug)]
struct Keys {
    key: Secret,
    versions: HashMap<String, [u32; SLOTS.len()]>,
}

impl Keys {
    fn new(key: Secret, slots: Vec<KeySlot>) -> Self {
        let mut versions: HashMap<String, [u32; SLOTS.len()]> = HashMap::new();
        for KeySlot { flow, slot, version, .. } in slots {
            if let Some(at) = SLOTS.iter().position(|name| *name == slot) {
                versions.entry(flow).or_insert([1; SLOTS.len()])[at] = version;
            }
        }
        Self { key, versions }
    }

    fn versions(&self, flow: &str) -> [u32; SLOTS.len()] {
        self.versions.get(flow).copied().unwrap_or([1; SLOTS.len()])
    }
}

impl KeyRing {
    /// Reads the key and the slots from `store`; makes a key on the first start. `configured` is `signing_key` of
    /// leadflow.yaml and wins over the store's.
    pub async fn load(store: &dyn Store, configured: Option<Secret>) -> StoreResult<Self> {
        let key = match configured {
            Some(key) => key,
            None => Secret::new(stored_key(store).await?),
        };
        let keys = Keys::new(key, store.keys().await?);
        Ok(Self { live: ArcSwap::from_pointee(keys), used: Mutex::default() })
    }

    /// Reads the slots again: after a rotation, here or by another process. The key stays as it is.
    pub async fn reload(&self, store: &dyn Store) -> StoreResult<()> {
        let slots = store.keys().await?;
        let key = self.live.load().key.clone();
        self.live.store(Arc::new(Keys::new(key, slots)));
        Ok(())
    }

    /// Signs and verifies with another key from now on: `configured`, or the store's where the settings name none.
    pub async fn set_key(&self, store: &dyn Store, configured: Option<Secret>) -> StoreResult<()> {
        let key = match configured {
            Some(key) => key,
            None => Secret::new(stored_key(store).await?),
        };
        self.live.store(Arc::new(Keys::new(key, store.keys().await?)));
        Ok(())
    }

    /// The query of the signed URL of `flow`, which is the name in the URL: a flow's own or one of its aliases.
    pub fn url_query(&self, flow: &str, slot: &str, expires_at: Option<Micros>) -> String {
        let keys = self.live.load();
        let at = SLOTS.iter().position(|name| *name == slot).unwrap_or(0);
        signature::query(&keys.key, flow, SLOTS[at], keys.versions(flow)[at], expires_at)
    }

    /// The slot of `flow` (the name in the URL) whose signature `query` carries. Nothing is noted.
    pub fn verify(&self, flow: &str, query: &[(String, String)], now: Micros) -> Option<&'static str> {
        let keys = self.live.load();
        let versions = keys.versions(flow);
        let live: [(&'static str, u32); SLOTS.len()] = std::array::from_fn(|at| (SLOTS[at], versions[at]));
        signature::verify(&keys.key, flow, &live, query, now)
    }

    /// The query of the URL under which the answer of `run` of `flow` can be asked for. A rotation leaves it alive: it
    /// shows one answer and lets nobody post.
    pub fn status_query(&self, flow: &str, run: RunId) -> String {
        signature::status_query(&self.live.load().key, flow, run)
    }

    /// Whether `query` is that of [`KeyRing::status_query`].
    pub fn verify_status(&self, flow: &str, run: RunId, query: &[(String, String)]) -> bool {
        signature::verify_status(&self.live.load().key, flow, run, query)
    }

    /// Notes that `slot` of `flow` let a request in. In memory; [`KeyRing::flush_used`] stores it.
    pub fn note_used(&self, flow: &str, slot: &str, now: Micros) {
        let Some(at) = SLOTS.iter().position(|name| *name == slot) else { return };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // The usual request finds its flow there: no copy of the name.
        if !used.contains_key(flow) {
            used.insert(flow.to_owned(), [None; SLOTS.len()]);
        }
        if let Some(slots) = used.get_mut(flow) {
            slots[at] = Some(now);
        }
    }

    /// Stores what was noted since the last time. What cannot be stored is noted again.
    pub async fn flush_used(&self, store: &dyn Store) -> StoreResult<()> {
        let noted = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let rows: Vec<(String, String, Micros)> = noted
            .iter()
            .flat_map(|(flow, slots)| {
                SLOTS.iter().zip(slots).filter_map(|(slot, at)| Some((flow.clone(), (*slot).to_owned(), (*at)?)))
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let result = store.touch_keys(rows).await;
        if result.is_err() {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (flow, slots) in noted {
                let newer = used.entry(flow).or_default();
                for (newer, older) in newer.iter_mut().zip(slots) {
                    *newer = (*newer).max(older);
                }
            }
        }
        result
    }
}

/// Reads before it writes, because commands read the key beside a running server, from a store that they cannot write.
async fn stored_key(store: &dyn Store) -> StoreResult<String> {
    match store.meta(SIGNING_KEY_META).await? {
        Some(key) => Ok(key),
        None => store.meta_or_insert(SIGNING_KEY_META, &fresh_key()?).await,
    }
}

/// A new key: 32 random bytes as text.
fn fresh_key() -> StoreResult<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Unusable(format!("no random numbers for a signing key: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

//! Run ids and idempotency keys: what makes a run findable and a repeat recognisable. And chance, for both and others.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Micros;

/// The id of a run: a `UUIDv7`, so that key order is time order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id for a run received at `now`.
    pub fn new(now: Micros) -> Self {
        let secs = u64::try_from(now.div_euclid(1_000_000)).unwrap_or(0);
        let nanos = u32::try_from(now.rem_euclid(1_000_000)).unwrap_or(0) * 1000;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, secs, nanos)))
    }

    /// The sixteen bytes, as stored.
    pub fn bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An id read back from the store.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The last eight characters: what tables show.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

impl serde::Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The stable key of one request of one action of one run. It never depends on the attempt or the node,
/// so a repeat after a crash carries the same key as the request that may have been sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey([u8; 32]);

impl IdempotencyKey {
    /// The key for `(key_run, action name, loop index, sub-request)`.
    pub fn new(key_run: RunId, name: &str, idx: &str, sub_request: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"leadflow:1\0");
        hash.update(key_run.bytes());
        for part in [name, idx] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(sub_request.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// 32 hexadecimal characters: for headers and Message-IDs.
    pub fn hex(&self) -> String {
        hex::encode(&self.0[..16])
    }

    /// A UUID (version 8) made of the key: a client-made record id.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// The UUID (version 8) that `parts` make: the same for the same parts.
pub fn named_uuid(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"leadflow:name\0");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// 128 random bits from the operating system.
pub fn random() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

/// The random UUID (version 4) that `bits` make.
pub fn guid(bits: u128) -> Uuid {
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_part_and_agree_by_content() {
        let run = RunId::new(1_000_000);
        let key = |name, idx, sub| IdempotencyKey::new(run, name, idx, sub);
        assert_eq!(key("a", "", 0), key("a", "", 0));
        assert_ne!(key("a", "", 0), key("a", "", 1));
        assert_ne!(key("a", "b", 0), key("ab", "", 0));
        assert_ne!(key("a", "", 0), IdempotencyKey::new(RunId::new(1_000_000), "a", "", 0));
    }

    #[test]
    fn run_ids_sort_by_time() {
        assert!(RunId::new(1_000_000) < RunId::new(2_000_000));
        let id = RunId::new(1_700_000_000_000_000);
        assert_eq!(id.to_string().parse::<RunId>().expect("round trip"), id);
    }
}

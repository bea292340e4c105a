//! Signed URLs: HMAC-SHA-256 over flow, slot, version and optional expiry. Two live slots per flow, so that a rotation
//! never loses a lead; compared in constant time.

use crate::clock::Micros;
use crate::secret::Secret;

/// The slots of a flow.
pub const SLOTS: [&str; 2] = ["primary", "secondary"];

/// The query of a signed URL: `sv=1&sig=…`, with `se=UNIX_SECONDS` before `sig` when it expires.
pub fn query(key: &Secret, flow: &str, slot: &str, version: u32, expires_at: Option<Micros>) -> String {
    let _ = (key, flow, slot, version, expires_at);
    unimplemented!()
}

/// The slot whose signature `query` carries, if any. `versions` are the live (slot, version) pairs.
/// Takes the same time whether and where it fails.
pub fn verify<'a>(
    key: &Secret,
    flow: &str,
    versions: &[(&'a str, u32)],
    query: &[(String, String)],
    now: Micros,
) -> Option<&'a str> {
    let _ = (key, flow, versions, query, now);
    unimplemented!()
}

//! What tells that a lead came before: the hash of the rendered key. One rule for real and for dry runs.
//!
//! Values are compared with their types and as they are rendered: `"1"` is not `1`, `"a "` not `"a"`; the order of an
//! object's keys does not matter, and neither does whether a number is written `1` or `1.0`.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::ports::Sight;
use super::scope::{Values, is_blank};
use crate::clock::micros;
use crate::flow::Flow;
use crate::run::Identity;
use crate::schema::BodyError;
use crate::store::DedupeKey;
use crate::template::RenderError;

/// Separates these hashes from every other use of the function, and this encoding from later ones.
const DOMAIN: &[u8] = b"leadflow:dedupe:1";

/// The key of a lead.
pub(super) enum Key {
    /// The flow takes every lead for a new one.
    NotAsked,
    /// A part is null or blank: blank leads must not swallow each other.
    Blank(Vec<Value>),
    /// Leads with this key are the same within the window.
    Known(Vec<Value>, DedupeKey),
    /// It could not be evaluated: the lead runs, since a lead must never be lost.
    Fault(RenderError),
}

impl Key {
    /// What the store is told.
    pub(super) fn to_store(&self) -> Option<DedupeKey> {
        if let Self::Known(_, key) = self { Some(*key) } else { None }
    }

    /// What the run is told.
    pub(super) fn note(&self) -> Option<BodyError> {
        let Self::Fault(error) = self else { return None };
        let message = format!("not deduplicated: the key could not be evaluated: {} ({})", error.message, error.code);
        Some(BodyError { pointer: String::new(), message })
    }
}

/// Renders the key of the lead in `values`.
pub(super) fn key(flow: &Flow, identity: &Identity, values: &Values, sight: Sight<'_>) -> Key {
    let Some(dedupe) = &flow.trigger.dedupe else { return Key::NotAsked };
    let scope = values.seen(flow, sight, identity.received_at);
    let parts: Vec<Value> = match dedupe.key.iter().map(|part| part.render(&scope)).collect() {
        Ok(parts) => parts,
        Err(error) => return Key::Fault(error),
    };
    if parts.iter().any(is_blank) {
        return Key::Blank(parts);
    }
    let expires_at = identity.received_at.saturating_add(micros(dedupe.window));
    let hash = hash(&parts);
    Key::Known(parts, DedupeKey { hash, expires_at })
}

fn hash(parts: &[Value]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(DOMAIN).map(<[u8]>::to_vec).chain(parts.iter().map(|part| canonical(part).into())) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// JSON text that is the same for the same value.
fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                Value::Object(Map::from_iter(entries))
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Number(number) => whole(number).map_or_else(|| value.clone(), Value::from),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// The integer that a number with a fraction of zero is, where a double holds it exactly.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn same(a: &Value, b: &Value) -> bool {
        hash(a.as_array().expect("a list")) == hash(b.as_array().expect("a list"))
    }

    #[test]
    fn keys_agree_by_value_and_differ_by_type_and_place() {
        assert!(same(&json!([{"a": 1, "b": [2.0]}]), &json!([{"b": [2], "a": 1.0}])));
        assert!(same(&json!(["a", 1]), &json!(["a", 1])));
        for (a, b) in [
            (json!(["1"]), json!([1])),
            (json!(["a "]), json!(["a"])),
            (json!(["a"]), json!(["A"])),
            (json!(["a", "b"]), json!(["b", "a"])),
            (json!(["ab", "c"]), json!(["a", "bc"])),
            (json!(["a,b"]), json!(["a", "b"])),
            (json!([[1, 2]]), json!([[2, 1]])),
            (json!([1.5]), json!([1])),
            (json!([9_007_199_254_740_993_i64]), json!([9_007_199_254_740_992_i64])),
            (json!([true]), json!(["true"])),
        ] {
            assert!(!same(&a, &b), "{a} {b}");
        }
    }
}

//! Signed URLs: HMAC-SHA-256 over flow, slot, version and optional expiry. Two live slots per flow, so that a rotation
//! never loses a lead; compared in constant time.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::clock::{MICROS_PER_SEC, Micros};
use crate::ids::RunId;
use crate::secret::Secret;

/// The slots of a flow.
pub const SLOTS: [&str; 2] = ["primary", "secondary"];

/// The query parameters that belong to the signature: version, expiry in Unix seconds, signature.
const VERSION: &str = "sv";
const EXPIRY: &str = "se";
const SIGNATURE: &str = "sig";

/// Separates these signatures from every other use of the key, and this encoding from later ones.
const DOMAIN: &[u8] = b"leadflow:signed_url:1";
const STATUS_DOMAIN: &[u8] = b"leadflow:status_url:1";

/// The query of a signed URL: `sv=1&sig=…`, with `se=UNIX_SECONDS` before `sig` when it expires.
pub fn query(key: &Secret, flow: &str, slot: &str, version: u32, expires_at: Option<Micros>) -> String {
    let expiry_secs = expires_at.map(|at| at.div_euclid(MICROS_PER_SEC));
    let sig = URL_SAFE_NO_PAD.encode(sign(key, flow, slot, version, expiry_secs));
    match expiry_secs {
        Some(secs) => format!("{VERSION}={version}&{EXPIRY}={secs}&{SIGNATURE}={sig}"),
        None => format!("{VERSION}={version}&{SIGNATURE}={sig}"),
    }
}

/// The slot whose signature `query` carries, if any. `versions` are the live (slot, version) pairs.
/// Takes the same time whether and where it fails.
///
/// Parameters that are not the signature's may stand anywhere; one of the signature's that stands twice is refused,
/// because a proxy and we might not read the same one.
pub fn verify<'a>(
    key: &Secret,
    flow: &str,
    versions: &[(&'a str, u32)],
    query: &[(String, String)],
    now: Micros,
) -> Option<&'a str> {
    let given = Given::read(query);
    let mut found = None;
    for &(slot, version) in versions {
        let expected = sign(key, flow, slot, version, given.expiry_secs);
        let fits = expected.ct_eq(&given.signature) & Choice::from(u8::from(given.version == Some(version)));
        if bool::from(fits) {
            found = Some(slot);
        }
    }
    let expired = given.expiry_secs.is_some_and(|secs| now >= secs.saturating_mul(MICROS_PER_SEC));
    found.filter(|_| given.well_formed && !expired)
}

/// The query of the URL under which the answer of one run can be asked for: `sig=…`. It lets nobody post.
pub fn status_query(key: &Secret, flow: &str, run: RunId) -> String {
    format!("{SIGNATURE}={}", URL_SAFE_NO_PAD.encode(sign_status(key, flow, run)))
}

/// Whether `query` carries the signature of [`status_query`]. Takes the same time whether and where it fails.
pub fn verify_status(key: &Secret, flow: &str, run: RunId, query: &[(String, String)]) -> bool {
    let given = Given::read(query);
    let fits = sign_status(key, flow, run).ct_eq(&given.signature);
    bool::from(fits) && given.well_formed
}

/// Whether a query parameter belongs to the signature.
pub fn is_parameter(name: &str) -> bool {
    matches!(name, VERSION | EXPIRY | SIGNATURE)
}

/// Takes the signature's parameters out of `query`, so that neither history nor templates see a signature. A query
/// without a signature is left alone: `se` may then be the sender's own.
pub fn strip(mut query: Vec<(String, String)>) -> Vec<(String, String)> {
    if query.iter().any(|(name, _)| name == SIGNATURE) {
        query.retain(|(name, _)| !is_parameter(name));
    }
    query
}

/// `text` with the value of every `sig` parameter replaced by `***`, also in a URL that is itself percent-encoded.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut copied = 0;
    while let Some((start, end)) = next_signature(text, copied) {
        clean.push_str(&text[copied..start]);
        clean.push_str("***");
        copied = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

/// The byte range of the next signature's value at or behind `from`.
fn next_signature(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(found) = bytes[at..].windows(3).position(|window| window.eq_ignore_ascii_case(b"sig")) {
        let name = at + found;
        let rest = &bytes[name + 3..];
        let sign_bytes = if rest.starts_with(b"=") {
            1
        } else if rest.len() >= 3 && rest[..3].eq_ignore_ascii_case(b"%3d") {
            3
        } else {
            0
        };
        // `design=` is not a signature; `%26sig` is.
        let whole = name == 0 || !bytes[name - 1].is_ascii_alphabetic();
        if sign_bytes > 0 && whole {
            let start = name + 3 + sign_bytes;
            let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
            return Some((start, end));
        }
        at = name + 3;
    }
    None
}

/// What a query says of its signature. Nothing here decides early: a malformed query is compared like any other.
struct Given {
    version: Option<u32>,
    expiry_secs: Option<i64>,
    signature: [u8; 32],
    well_formed: bool,
}

impl Given {
    fn read(query: &[(String, String)]) -> Self {
        let one = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            (values.next(), values.next().is_none())
        };
        let ((version, one_version), (expiry, one_expiry), (signature, one_signature)) =
            (one(VERSION), one(EXPIRY), one(SIGNATURE));
        let expiry_secs = expiry.and_then(|text| text.parse().ok());
        let decoded = signature.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok());
        Self {
            version: version.and_then(|text| text.parse().ok()),
            expiry_secs,
            well_formed: one_version
                && one_expiry
                && one_signature
                && decoded.is_some()
                && expiry.is_some() == expiry_secs.is_some(),
            signature: decoded.unwrap_or_default(),
        }
    }
}

/// Each text is preceded by its length, so that no two different (flow, slot, version, expiry) encode alike.
fn sign(key: &Secret, flow: &str, slot: &str, version: u32, expiry_secs: Option<i64>) -> [u8; 32] {
    let mut mac = mac(key, &[DOMAIN, flow.as_bytes(), slot.as_bytes()]);
    mac.update(&version.to_be_bytes());
    if let Some(secs) = expiry_secs {
        mac.update(&secs.to_be_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn sign_status(key: &Secret, flow: &str, run: RunId) -> [u8; 32] {
    mac(key, &[STATUS_DOMAIN, flow.as_bytes(), run.bytes()]).finalize().into_bytes().into()
}

fn mac(key: &Secret, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_700_000_000 * MICROS_PER_SEC;
    const LIVE: [(&str, u32); 2] = [("primary", 2), ("secondary", 1)];

    fn key() -> Secret {
        Secret::new("a signing key")
    }

    fn pairs(query: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    fn check(flow: &str, query: &str) -> Option<&'static str> {
        verify(&key(), flow, &LIVE, &pairs(query), NOW)
    }

    #[test]
    fn both_live_slots_let_in_and_say_which() {
        assert_eq!(check("a", &query(&key(), "a", "primary", 2, None)), Some("primary"));
        assert_eq!(check("a", &query(&key(), "a", "secondary", 1, None)), Some("secondary"));
    }

    #[test]
    fn the_query_has_the_documented_shape() {
        let plain = query(&key(), "a", "primary", 1, None);
        assert!(plain.starts_with("sv=1&sig="), "{plain}");
        assert_eq!(plain.len(), "sv=1&sig=".len() + 43);
        let expiring = query(&key(), "a", "primary", 1, Some(NOW + 5));
        assert!(expiring.starts_with("sv=1&se=1700000000&sig="), "{expiring}");
    }

    #[test]
    fn wrong_flow_slot_version_or_key_stays_out() {
        assert_eq!(check("b", &query(&key(), "a", "primary", 2, None)), None);
        assert_eq!(check("a", &query(&key(), "a", "primary", 1, None)), None);
        assert_eq!(check("a", &query(&key(), "a", "secondary", 2, None)), None);
        assert_eq!(check("a", &query(&Secret::new("another"), "a", "primary", 2, None)), None);
        // The old version's signature under the new version's number.
        let old = query(&key(), "a", "primary", 1, None).replace("sv=1", "sv=2");
        assert_eq!(check("a", &old), None);
    }

    #[test]
    fn an_expiry_is_kept_to_and_signed() {
        let later = NOW + 60 * MICROS_PER_SEC;
        let good = query(&key(), "a", "primary", 2, Some(later));
        assert_eq!(check("a", &good), Some("primary"));
        assert_eq!(verify(&key(), "a", &LIVE, &pairs(&good), later), None);
        assert_eq!(check("a", &good.replace("se=17", "se=18")), None);
        assert_eq!(check("a", &good.replace("se=1700000060&", "")), None);
        let endless = query(&key(), "a", "primary", 2, None);
        assert_eq!(check("a", &format!("{endless}&se=1800000000")), None);
        assert_eq!(check("a", &format!("{endless}&se=soon")), None);
    }

    #[test]
    fn order_and_strangers_do_not_matter_but_doubles_do() {
        let good = query(&key(), "a", "primary", 2, None);
        let (version, signature) = good.split_once('&').expect("two parameters");
        assert_eq!(check("a", &format!("x=1&{signature}&y=2&{version}&x=3")), Some("primary"));
        assert_eq!(check("a", &format!("{good}&{signature}")), None);
        assert_eq!(check("a", &format!("{good}&sig=x")), None);
        assert_eq!(check("a", &format!("{good}&sv=2")), None);
    }

    #[test]
    fn anything_tampered_with_stays_out() {
        let good = query(&key(), "a", "primary", 2, None);
        for at in "sv=2&sig=".len()..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bytes).expect("ascii");
            assert_eq!(check("a", &bad), None, "byte {at}");
        }
        for bad in ["", "sv=2", "sv=2&sig=", "sig=AAAA", "sv=x&sig=AAAA", &format!("{good}A"), &format!("{good}=")] {
            assert_eq!(check("a", bad), None, "{bad}");
        }
    }

    #[test]
    fn no_two_names_sign_alike() {
        assert_ne!(sign(&key(), "ab", "c", 1, None), sign(&key(), "a", "bc", 1, None));
        assert_ne!(sign(&key(), "a", "b", 0, Some(0)), sign(&key(), "a", "b", 0, None));
    }

    #[test]
    fn a_status_url_is_for_one_run_and_lets_nobody_post() {
        let (run, other) = (RunId::from_bytes([7; 16]), RunId::from_bytes([8; 16]));
        let good = status_query(&key(), "a", run);
        let fits = |flow: &str, run, query: &str| verify_status(&key(), flow, run, &pairs(query));
        assert!(fits("a", run, &good) && fits("a", run, &format!("x=1&{good}")));
        assert!(!fits("b", run, &good) && !fits("a", other, &good));
        assert!(!fits("a", run, "") && !fits("a", run, &format!("{good}&sig=x")) && !fits("a", run, "sig=x"));
        assert!(!verify_status(&Secret::new("another"), "a", run, &pairs(&good)));
        assert_eq!(check("a", &format!("sv=2&{good}")), None);
        assert!(!fits("a", run, &query(&key(), "a", "primary", 2, None)));
    }

    #[test]
    fn strip_takes_only_a_signature_away() {
        assert_eq!(strip(pairs("a=1&sv=1&se=2&sig=x")), pairs("a=1"));
        assert_eq!(strip(pairs("a=1&se=south-east")), pairs("a=1&se=south-east"));
    }

    #[test]
    fn redact_hides_signatures_and_nothing_else() {
        assert_eq!(redact("/flows/a?sv=1&sig=Zk3v-_9&x=1"), "/flows/a?sv=1&sig=***&x=1");
        assert_eq!(
            redact("https://h/?u=%2Fflows%3Fsv%3D1%26sig%3DZk3v%26x"),
            "https://h/?u=%2Fflows%3Fsv%3D1%26sig%3D***%26x"
        );
        assert_eq!(redact("?SIG=abc"), "?SIG=***");
        assert_eq!(redact("?design=abc&s=1 sig"), "?design=abc&s=1 sig");
        assert_eq!(redact("sig=a sig=b"), "sig=*** sig=***");
    }
}

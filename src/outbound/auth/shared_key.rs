//! Azure Storage tables: each request is signed with the account's key.
//!
//! What is signed: method, MD5 and type of the body, date, and the resource. The date must be within a quarter of an
//! hour of the server's, so it follows the `Date` of the server's answers.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::Url;

use super::settings::is_unresolved;
use crate::clock::{Micros, micros};
use crate::run::Failure;
use crate::secret::Secret;

/// From this difference on, a refusal may be the clock's fault: the request is signed once more with the server's time.
const SKEW_MIN: std::time::Duration = std::time::Duration::from_secs(60);

/// An account and its key.
pub(in crate::outbound) struct SharedKey {
    account: String,
    /// `None`: the variable that holds it is not set.
    key: Option<Vec<u8>>,
    /// How far the server's clock is ahead of ours, in microseconds.
    ahead: AtomicI64,
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

impl SharedKey {
    /// Reads the key (base64). The error names the setting, never its value.
    pub(in crate::outbound) fn new(account: &str, key: &Secret) -> Result<Self, String> {
        let text = key.expose().trim();
        let key = if is_unresolved(text) {
            None
        } else {
            let key = STANDARD.decode(text).map_err(|_| "`auth.key` is not base64; copy the account's key as it is")?;
            Some(key)
        };
        Ok(Self { account: account.trim().to_owned(), key, ahead: AtomicI64::new(0) })
    }

    /// Date and signature of one request, made at `now`.
    pub(in crate::outbound) fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &[(String, String)],
        now: Micros,
    ) -> Result<(String, Secret), Failure> {
        let date = http_date(now.saturating_add(self.ahead.load(Ordering::Relaxed)));
        let header = |name: &str| {
            let found = headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value.as_str())
        };
        let resource = self.resource(url);
        let text = format!("{method}\n{}\n{}\n{date}\n{resource}", header("content-md5"), header("content-type"));
        let unset = || Failure::credentials("bad_credentials", "the variable of `key` under `auth` is not set");
        let key = self.key.as_ref().ok_or_else(unset)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key)
            .map_err(|_| Failure::credentials("bad_credentials", "`key` under `auth` cannot sign"))?;
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Ok((date, Secret::new(format!("SharedKey {}:{signature}", self.account))))
    }

    /// The account and the path as it is sent; of the query, `comp` only.
    fn resource(&self, url: &Url) -> String {
        let comp = url.query_pairs().find(|(name, _)| name == "comp");
        let comp = comp.map(|(_, value)| format!("?comp={value}")).unwrap_or_default();
        format!("/{}{}{comp}", self.account, url.path())
    }

    /// After a refusal that says `server`'s time: whether signing again with that time may help.
    pub(in crate::outbound) fn learn(&self, server: Option<Micros>, now: Micros) -> bool {
        let Some(server) = server else { return false };
        let ahead = server.saturating_sub(now);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        ahead.saturating_sub(before).saturating_abs() >= micros(SKEW_MIN)
    }
}

/// `Fri, 21 Nov 2025 10:00:00 GMT`.
fn http_date(at: Micros) -> String {
    let time = jiff::Timestamp::from_microsecond(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MICROS_PER_SEC;

    /// The account of the emulator; its key is public.
    const ACCOUNT: &str = "devstoreaccount1";
    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    fn signed(method: &str, url: &str, content_type: Option<&str>) -> (String, String) {
        let key = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
        let headers: Vec<_> =
            content_type.into_iter().map(|kind| ("Content-type".to_owned(), kind.to_owned())).collect();
        let url = Url::parse(url).expect("a URL");
        let now = 1_763_719_200 * MICROS_PER_SEC;
        let (date, signature) = key.sign(method, &url, &headers, now).expect("signed");
        (date, signature.expose().to_owned())
    }

    /// Computed by another implementation (Python's hmac over the documented string) for the same requests:
    /// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        let rows = [
            (
                "POST",
                "http://127.0.0.1:10002/devstoreaccount1/leads",
                "application/json",
                "1c4imU3bl5uG2qteCfT3KPuIbjdm7+Ngwhmaq4RlBFg=",
            ),
            (
                "GET",
                "http://127.0.0.1:10002/devstoreaccount1/leads(PartitionKey='2026-11',RowKey='lead%201')?$select=Name",
                "",
                "+jbU4fQrVb6f7PWbK6/SjLoYsLeHTzk20Y3ZM9ev1PU=",
            ),
            (
                "MERGE",
                "https://devstoreaccount1.table.core.windows.net/leads(PartitionKey='%C3%A4',RowKey='x')",
                "application/json",
                "NcdqvXaa9uVO2N7sn4yzG8aZBifghs/v1qVnVEDkpgU=",
            ),
            (
                "GET",
                "https://devstoreaccount1.table.core.windows.net/?restype=service&comp=properties",
                "",
                "VFeta5J8teEW3UtcCzoC7xbElhjOuIpOQ/dh5TlQWkU=",
            ),
        ];
        for (method, url, kind, expected) in rows {
            let (date, signature) = signed(method, url, Some(kind).filter(|kind| !kind.is_empty()));
            assert_eq!(date, "Fri, 21 Nov 2025 10:00:00 GMT");
            assert_eq!(signature, format!("SharedKey {ACCOUNT}:{expected}"), "{method} {url}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_follows_the_servers() {
        let key = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
        let url = Url::parse("https://a.example/t").expect("a URL");
        let date = |now| key.sign("GET", &url, &[], now).expect("signed").0;
        let (ours, theirs) = (1_763_719_200 * MICROS_PER_SEC, 1_763_720_100 * MICROS_PER_SEC);
        assert!(!key.learn(None, ours));
        assert!(!key.learn(Some(ours + 30 * MICROS_PER_SEC), ours), "half a minute explains no refusal");
        assert!(key.learn(Some(theirs), ours));
        assert_eq!(date(ours), http_date(theirs));
        assert!(!key.learn(Some(theirs), ours), "signed with the server's time already");
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let error = SharedKey::new(ACCOUNT, &Secret::new("hunter2!")).expect_err("no base64");
        assert!(!error.contains("hunter2"));
        let unset = SharedKey::new(ACCOUNT, &Secret::new("${env:KEY}")).expect("a dry run needs none");
        let url = Url::parse("https://a.example/t").expect("a URL");
        assert_eq!(unset.sign("GET", &url, &[], 0).expect_err("no key").code, "bad_credentials");
        let key = SharedKey::new(ACCOUNT, &Secret::new(KEY)).expect("a key");
        assert!(!format!("{key:?}").contains("Eby8"));
    }
}

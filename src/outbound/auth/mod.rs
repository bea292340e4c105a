//! Credentials that change: tokens that are fetched, kept and replaced, and signatures of single requests.
//!
//! Promises: however many requests are in flight, one token call at a time is made for a connection, and all who wait
//! share its result; a token is replaced before its server's own count ends it; one that the other side refused is
//! replaced once for all who hold it; while a token is valid, an endpoint that is down stops nobody. A request for a token that fails
//! means that the real request was not sent. Nothing here shows a secret, in a message or to a debugger.

mod answer;
mod grant;
mod held;
mod jwt;
mod settings;
mod shared_key;
mod source;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use super::http::HttpClientSettings;
use crate::clock::Fut;
use crate::secret::Secret;
pub use settings::{Algorithm, ClientAuth, ClientCredentials, JwtBearer, RefreshToken, TokenSettings};
pub(super) use shared_key::SharedKey;
pub use source::{Ticket, TokenSource};

/// Keeps refresh tokens that replaced the one of leadflow.yaml, durably.
pub trait TokenKeeper: Send + Sync {
    /// The newest token under `key`; `None`: there is none yet. The error says why it cannot be read now.
    fn newest<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<Secret>, String>>;
    /// Keeps `token` as the newest under `key`. The error says why it could not.
    fn keep<'a>(&'a self, key: &'a str, token: &'a Secret) -> Fut<'a, Result<(), String>>;
}

/// The sources of tokens of the process: connections with the same `auth` share one, and a reload that leaves `auth` as
/// it is keeps its token.
#[derive(Default)]
pub struct TokenSources {
    keeper: Option<Arc<dyn TokenKeeper>>,
    known: Mutex<HashMap<[u8; 32], Weak<TokenSource>>>,
}

impl fmt::Debug for TokenSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSources").field("durable", &self.keeper.is_some()).finish_non_exhaustive()
    }
}

impl TokenSources {
    /// Sources whose newest refresh tokens `keeper` keeps. Without one they are kept in memory only.
    pub fn kept_by(keeper: Arc<dyn TokenKeeper>) -> Self {
        Self { keeper: Some(keeper), known: Mutex::default() }
    }

    /// The source for `settings`, reached by way of `client`. The error names the setting, never its value.
    pub fn source(&self, settings: TokenSettings, client: &HttpClientSettings) -> Result<Arc<TokenSource>, String> {
        let digest = digest(&settings, client);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known.get(&digest).and_then(Weak::upgrade) {
            return Ok(source);
        }
        let source = Arc::new(TokenSource::new(settings, client, self.keeper.clone())?);
        known.retain(|_, source| source.strong_count() > 0);
        known.insert(digest, Arc::downgrade(&source));
        Ok(source)
    }
}

/// What tells two sources apart: everything that decides which token is fetched, and by which way.
fn digest(settings: &TokenSettings, client: &HttpClientSettings) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = Vec::new();
    // `Debug` hides the secrets, so they are told apart by themselves.
    let shown = format!("{settings:?}");
    parts.push(shown.as_bytes());
    let secrets: [&Secret; 2] = match settings {
        TokenSettings::Oauth2ClientCredentials(own) => [&own.client_secret, &own.client_secret],
        TokenSettings::Oauth2RefreshToken(own) => {
            [&own.refresh_token, own.client_secret.as_ref().unwrap_or(&own.refresh_token)]
        }
        TokenSettings::JwtBearer(own) => [&own.private_key, &own.private_key],
    };
    parts.extend(secrets.map(|secret| secret.expose().as_bytes()));
    let cap = client.response_bytes_max.to_be_bytes();
    parts.push(&cap);
    parts.extend(client.ca.iter().map(Vec::as_slice));
    sha256(&parts)
}

/// SHA-256 over texts that cannot run into each other.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests;

//! How a connection proves who it is: what leadflow.yaml says, and what goes with a request.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;

use super::super::auth::{ClientCredentials, JwtBearer, RefreshToken, SharedKey, Ticket, TokenSettings, TokenSource};
use super::{HttpClientSettings, HttpReply, Target, date};
use crate::clock::{Clock as _, SystemClock};
use crate::run::Failure;
use crate::secret::Secret;

/// The header that carries most of them.
const AUTHORIZATION: &str = "Authorization";

/// How a connection proves who it is. It goes to the connection's own origin only.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// User name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A key in a header or in the query.
    ApiKey {
        /// The header's or parameter's name.
        name: String,
        /// Where it goes.
        #[serde(rename = "in", default)]
        place: KeyPlace,
        /// The key.
        value: Secret,
    },
    /// OAuth 2: an application in its own name. The token is fetched, kept, and replaced before it ends.
    Oauth2ClientCredentials(ClientCredentials),
    /// OAuth 2: an application in the name of a person who once agreed.
    Oauth2RefreshToken(RefreshToken),
    /// OAuth 2: a signed statement takes the place of a secret (Salesforce, Google).
    JwtBearer(JwtBearer),
    /// Azure Storage tables: each request is signed.
    SharedKey {
        /// The storage account.
        account: String,
        /// One of its keys.
        key: Secret,
    },
    /// Azure Storage: a signature that somebody made for this use, in the query.
    Sas {
        /// The shared access signature as the console shows it: `sv=…&sig=…`.
        token: Secret,
    },
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// Into a header.
    #[default]
    Header,
    /// Into the query.
    Query,
}

/// Credentials, ready to go with a request.
#[derive(Clone)]
pub(super) enum Proof {
    Nothing,
    Header(String, Secret),
    Query(SecretQuery),
    Live(Live),
}

/// A secret in the query.
#[derive(Debug, Clone)]
pub enum SecretQuery {
    /// One parameter, not yet encoded.
    Pair(String, Secret),
    /// Several, as they are to be sent.
    Encoded(Secret),
}

/// Credentials that are made when the request is sent.
#[derive(Clone)]
pub(super) enum Live {
    Token(Arc<TokenSource>),
    SharedKey(Arc<SharedKey>),
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Proof {
    /// Checks `credentials`. The error names the setting, never its value.
    pub(super) fn new(credentials: Credentials, client: &HttpClientSettings) -> Result<Self, String> {
        let token = |settings| client.tokens.source(settings, client).map(|source| Self::Live(Live::Token(source)));
        Ok(match credentials {
            Credentials::None => Self::Nothing,
            Credentials::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                Self::Header(AUTHORIZATION.into(), Secret::new(format!("Basic {encoded}")))
            }
            Credentials::Bearer { token } => Self::Header(AUTHORIZATION.into(), bearer(&token)),
            Credentials::ApiKey { name, place: KeyPlace::Header, value } => Self::Header(name, value),
            Credentials::ApiKey { name, place: KeyPlace::Query, value } => Self::Query(SecretQuery::Pair(name, value)),
            Credentials::Sas { token } => {
                let token = token.expose().trim().trim_start_matches('?');
                Self::Query(SecretQuery::Encoded(Secret::new(token)))
            }
            Credentials::SharedKey { account, key } => {
                Self::Live(Live::SharedKey(Arc::new(SharedKey::new(&account, &key)?)))
            }
            Credentials::Oauth2ClientCredentials(own) => token(TokenSettings::Oauth2ClientCredentials(own))?,
            Credentials::Oauth2RefreshToken(own) => token(TokenSettings::Oauth2RefreshToken(own))?,
            Credentials::JwtBearer(own) => token(TokenSettings::JwtBearer(own))?,
        })
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose().trim()))
}

/// What was attached: needed to know what a refusal refuses.
pub(super) enum Attached {
    Token(Ticket),
    Signature,
}

impl Live {
    /// The header that they take the place of.
    pub(super) fn header(&self) -> &'static str {
        match self {
            Self::Token(_) | Self::SharedKey(_) => AUTHORIZATION,
        }
    }

    /// Puts them into `target`, in the place of those of an earlier try.
    pub(super) async fn attach(&self, target: &mut Target) -> Result<Attached, Failure> {
        match self {
            Self::Token(source) => {
                let ticket = source.token().await?;
                target.secret_headers = vec![(self.header().to_owned(), bearer(&ticket.token))];
                Ok(Attached::Token(ticket))
            }
            Self::SharedKey(key) => {
                let (date, signature) = key.sign(&target.method, &target.url, &target.headers, SystemClock.now())?;
                target.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-ms-date"));
                target.headers.push(("x-ms-date".to_owned(), date));
                target.secret_headers = vec![(self.header().to_owned(), signature)];
                Ok(Attached::Signature)
            }
        }
    }

    /// Whether `reply` refuses what was attached, and another try with something else may help.
    pub(super) fn is_stale(&self, attached: &Attached, reply: &HttpReply) -> bool {
        match (self, attached) {
            (Self::Token(source), Attached::Token(ticket)) if reply.status == 401 => {
                source.refused(ticket.generation);
                true
            }
            (Self::SharedKey(key), Attached::Signature) if matches!(reply.status, 401 | 403) => {
                key.learn(date(&reply.headers), SystemClock.now())
            }
            _ => false,
        }
    }
}

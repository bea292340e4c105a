//! What is sent to a token endpoint, for each way to get a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::jwt::Signer;
use super::settings::{ClientAuth, TokenSettings, endpoint};
use crate::clock::Micros;
use crate::secret::Secret;

/// What is percent-encoded in a form: everything but RFC 3986's unreserved characters.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A way to get a token, its settings checked.
pub(super) struct Grant {
    /// Where; `None`: a variable in it is not set.
    pub(super) endpoint: Option<Url>,
    kind: Kind,
    scope: Option<String>,
    client: Option<Client>,
}

enum Kind {
    ClientCredentials { audience: Option<String> },
    RefreshToken { first: Secret },
    JwtBearer(Box<Signer>),
}

/// An application.
struct Client {
    id: String,
    secret: Option<Secret>,
    auth: ClientAuth,
}

/// A request for a token.
pub(super) struct Ask {
    /// The body, `application/x-www-form-urlencoded`.
    pub(super) form: Secret,
    /// The `Authorization` header.
    pub(super) authorization: Option<Secret>,
}

impl Grant {
    /// Checks `settings`. The error names the setting, never its value.
    pub(super) fn new(settings: TokenSettings) -> Result<Self, String> {
        Ok(match settings {
            TokenSettings::Oauth2ClientCredentials(own) => Self {
                endpoint: endpoint(own.tenant.as_deref(), own.token_url.as_deref())?,
                kind: Kind::ClientCredentials { audience: own.audience },
                scope: own.scope,
                client: Some(Client { id: own.client_id, secret: Some(own.client_secret), auth: own.client_auth }),
            },
            TokenSettings::Oauth2RefreshToken(own) => Self {
                endpoint: endpoint(own.tenant.as_deref(), own.token_url.as_deref())?,
                kind: Kind::RefreshToken { first: own.refresh_token },
                scope: own.scope,
                client: Some(Client { id: own.client_id, secret: own.client_secret, auth: own.client_auth }),
            },
            TokenSettings::JwtBearer(own) => Self {
                endpoint: endpoint(None, Some(&own.token_url))?,
                // In the statement, where Google looks for it.
                scope: None,
                kind: Kind::JwtBearer(Box::new(Signer::new(own)?)),
                client: None,
            },
        })
    }

    /// Whether it uses refresh tokens.
    pub(super) fn refreshes(&self) -> bool {
        matches!(self.kind, Kind::RefreshToken { .. })
    }

    /// Whether the server compares our clock with its own.
    pub(super) fn tells_time(&self) -> bool {
        matches!(self.kind, Kind::JwtBearer(_))
    }

    /// A request made at `now` (the server's time); `newest` is the refresh token that replaced the first one.
    pub(super) fn ask(&self, newest: Option<&Secret>, now: Micros) -> Result<Ask, &'static str> {
        let mut form = Form::default();
        match &self.kind {
            Kind::ClientCredentials { audience } => {
                form.add("grant_type", "client_credentials");
                form.maybe("audience", audience.as_deref());
            }
            Kind::RefreshToken { first } => {
                form.add("grant_type", "refresh_token");
                form.add("refresh_token", newest.unwrap_or(first).expose().trim());
            }
            Kind::JwtBearer(signer) => {
                form.add("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.add("assertion", &signer.statement(now)?);
            }
        }
        form.maybe("scope", self.scope.as_deref());
        let authorization = self.client.as_ref().and_then(|client| client.show(&mut form));
        Ok(Ask { form: Secret::new(form.0), authorization })
    }
}

impl Client {
    /// Into the form, or into the header that is given back.
    fn show(&self, form: &mut Form) -> Option<Secret> {
        let secret = self.secret.as_ref().map(|secret| secret.expose().trim());
        if let (ClientAuth::Basic, Some(secret)) = (self.auth, secret) {
            let encode = |text| utf8_percent_encode(text, FORM).to_string();
            let pair = STANDARD.encode(format!("{}:{}", encode(&self.id), encode(secret)));
            return Some(Secret::new(format!("Basic {pair}")));
        }
        form.add("client_id", &self.id);
        form.maybe("client_secret", secret);
        None
    }
}

#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, FORM));
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(settings: Value, newest: Option<&str>) -> (String, Option<String>) {
        let settings: TokenSettings = serde_json::from_value(settings).expect("settings");
        let grant = Grant::new(settings).expect("a grant");
        let ask = grant.ask(newest.map(Secret::new).as_ref(), 0).expect("a request");
        (ask.form.expose().to_owned(), ask.authorization.map(|header| header.expose().to_owned()))
    }

    #[test]
    fn an_application_shows_itself_in_the_body_or_in_the_header() {
        let mut settings = json!({"type": "oauth2_client_credentials", "token_url": "https://a.example/token",
            "client_id": "a b", "client_secret": "s&:ä\n", "scope": "x y", "audience": "api"});
        let body = "grant_type=client_credentials&audience=api&scope=x%20y";
        assert_eq!(
            asked(settings.clone(), None),
            (format!("{body}&client_id=a%20b&client_secret=s%26%3A%C3%A4"), None)
        );
        settings["client_auth"] = "basic".into();
        // RFC 6749, 2.3.1: both are form-encoded before they become a user name and a password.
        let header = STANDARD.encode("a%20b:s%26%3A%C3%A4");
        assert_eq!(asked(settings, None), (body.to_owned(), Some(format!("Basic {header}"))));
    }

    #[test]
    fn the_newest_refresh_token_is_used() {
        let settings =
            json!({"type": "oauth2_refresh_token", "tenant": "t", "client_id": "app", "refresh_token": "first"});
        let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}&client_id=app");
        assert_eq!(asked(settings.clone(), None), (form("first"), None));
        assert_eq!(asked(settings, Some("second")), (form("second"), None));
    }

    #[test]
    fn settings_are_closed_and_errors_do_not_repeat_them() {
        let read = |settings: Value| serde_json::from_value::<TokenSettings>(settings);
        assert!(
            read(json!({"type": "oauth2_client_credentials", "client_id": "a", "client_secret": "b", "x": 1})).is_err()
        );
        assert!(read(json!({"type": "jwt_bearer", "token_url": "u", "issuer": "i"})).is_err());
        let neither = read(json!({"type": "oauth2_client_credentials", "client_id": "a", "client_secret": "hunter2"}));
        let error = Grant::new(neither.expect("reads")).err().expect("no endpoint");
        assert!(error.contains("tenant") && !error.contains("hunter2"), "{error}");
    }
}

//! What leadflow.yaml says under `auth` of the kinds that fetch a token first.

use serde::Deserialize;
use url::Url;

use crate::secret::Secret;

/// Where Microsoft Entra ID gives out tokens.
const ENTRA: &str = "https://login.microsoftonline.com";

/// How a token is fetched.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TokenSettings {
    /// OAuth 2: an application asks in its own name.
    Oauth2ClientCredentials(ClientCredentials),
    /// OAuth 2: an application asks in the name of a person who once agreed.
    Oauth2RefreshToken(RefreshToken),
    /// OAuth 2: a signed statement takes the place of a secret.
    JwtBearer(JwtBearer),
}

/// `oauth2_client_credentials`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-one-of" = ["tenant", "token_url"]))]
pub struct ClientCredentials {
    /// The directory (tenant) id or domain at Microsoft Entra ID; stands for its `token_url`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Where tokens are given out. Either this or `tenant`.
    #[serde(default)]
    pub token_url: Option<String>,
    /// The application's id.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: Secret,
    /// What is asked for: `https://contoso.crm.dynamics.com/.default`.
    #[serde(default)]
    pub scope: Option<String>,
    /// For whom the token is, where the server asks for it.
    #[serde(default)]
    pub audience: Option<String>,
    /// How id and secret are sent.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// `oauth2_refresh_token`. A server that gives a new refresh token with each access token is followed: the newest one
/// is kept in the store, and the one written here is used until there is a newer one.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-one-of" = ["tenant", "token_url"]))]
pub struct RefreshToken {
    /// The directory (tenant) id or domain at Microsoft Entra ID; stands for its `token_url`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Where tokens are given out. Either this or `tenant`.
    #[serde(default)]
    pub token_url: Option<String>,
    /// The application's id.
    pub client_id: String,
    /// The application's secret, if it has one.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// The refresh token that the person's agreement gave.
    pub refresh_token: Secret,
    /// What is asked for; default: all that was agreed to.
    #[serde(default)]
    pub scope: Option<String>,
    /// How id and secret are sent.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// `jwt_bearer`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtBearer {
    /// Where tokens are given out: `https://login.salesforce.com/services/oauth2/token`,
    /// `https://oauth2.googleapis.com/token`.
    pub token_url: String,
    /// Who signs: the consumer key at Salesforce, the service account's address at Google.
    pub issuer: String,
    /// In whose name: the user name at Salesforce. Google: only to act for a person.
    #[serde(default)]
    pub subject: Option<String>,
    /// For whom the statement is; default: `token_url`. Salesforce wants `https://login.salesforce.com`.
    #[serde(default)]
    pub audience: Option<String>,
    /// What is asked for; Google wants it.
    #[serde(default)]
    pub scope: Option<String>,
    /// The key that signs: RSA, as PEM (PKCS#8 or PKCS#1). Line breaks may be written as \n.
    pub private_key: Secret,
    /// How it signs.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Which key it is, where the server knows several.
    #[serde(default)]
    pub key_id: Option<String>,
}

/// How id and secret of an application are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the body (`client_secret_post`).
    #[default]
    Post,
    /// In the header (`client_secret_basic`).
    Basic,
}

/// How a JWT is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Algorithm {
    /// RSA with SHA-256.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
}

/// Whether `text` is a reference that could not be followed: a dry run has connections whose secrets are not set.
pub(crate) fn is_unresolved(text: &str) -> bool {
    text.contains("${")
}

/// Where tokens are given out; `None`: a variable in it is not set. The error names the setting, never its value.
pub(super) fn endpoint(tenant: Option<&str>, token_url: Option<&str>) -> Result<Option<Url>, String> {
    match (tenant, token_url) {
        (Some(tenant), None) if is_unresolved(tenant) => Ok(None),
        (Some(tenant), None) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
            let tenant = tenant.trim();
            if tenant.is_empty() || !tenant.bytes().all(fits) || tenant.starts_with('.') {
                return Err("`auth.tenant` is not a directory id or domain".into());
            }
            let url = Url::parse(&format!("{ENTRA}/{tenant}/oauth2/v2.0/token"));
            url.map(Some).map_err(|_| "`auth.tenant` is not a directory id or domain".into())
        }
        (None, Some(url)) if is_unresolved(url) => Ok(None),
        (None, Some(url)) => {
            let url = Url::parse(url.trim()).map_err(|_| "`auth.token_url` is not a URL")?;
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Err("`auth.token_url` must start with https:// or http://".into());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("`auth.token_url` holds a user name or password; write client_id and client_secret".into());
            }
            Ok(Some(url))
        }
        (None, None) => Err("`auth` needs `tenant` (Microsoft Entra ID) or `token_url`".into()),
        (Some(_), Some(_)) => Err("`auth` has both `tenant` and `token_url`: write one of them".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_at_one_place() {
        let at = |tenant, token_url| endpoint(tenant, token_url).map(|url| url.map(String::from));
        let entra = "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token".to_owned();
        assert_eq!(at(Some("contoso.onmicrosoft.com"), None), Ok(Some(entra)));
        assert_eq!(at(None, Some("http://10.0.0.1/token")), Ok(Some("http://10.0.0.1/token".into())));
        assert_eq!((at(Some("${env:T}"), None), at(None, Some("${env:T}"))), (Ok(None), Ok(None)));
        let wrong: [(Option<&str>, Option<&str>); 8] = [
            (None, None),
            (Some("a"), Some("https://a.example")),
            (Some("../evil"), None),
            (Some(".."), None),
            (Some(""), None),
            (None, Some("hunter2")),
            (None, Some("ftp://hunter2.example")),
            (None, Some("https://u:hunter2@a.example")),
        ];
        for (tenant, token_url) in wrong {
            let error = at(tenant, token_url).expect_err("refused");
            assert!(!error.contains("hunter2") && error.contains("auth"), "{error}");
        }
    }
}

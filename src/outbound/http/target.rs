//! Where a request goes and what goes with it: pure, so that a dry run shows what would really be sent.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::super::{HttpBody, HttpRequest};
use super::HttpClientSettings;
use super::credentials::{Credentials, Live, Proof, SecretQuery};
use crate::run::Failure;
use crate::secret::Secret;

/// What is percent-encoded in a query: everything but RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A connection's settings, as leadflow.yaml gives them.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// What relative URLs are appended to.
    pub base_url: Option<String>,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Query parameters of every request.
    pub query: Vec<(String, String)>,
    /// Credentials.
    pub auth: Credentials,
}

/// A connection's settings, checked.
pub struct Place {
    base: Option<Url>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    proof: Proof,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.base.as_ref().and_then(Url::host_str);
        f.debug_struct("Place").field("host", &host).finish_non_exhaustive()
    }
}

impl Place {
    /// Checks `origin`. The error names the setting, never its value.
    pub fn new(origin: Origin, client: &HttpClientSettings) -> Result<Self, String> {
        let base = origin.base_url.map(|text| base(&text)).transpose()?;
        let anything =
            !origin.headers.is_empty() || !origin.query.is_empty() || !matches!(origin.auth, Credentials::None);
        if base.is_none() && anything {
            return Err("`base_url` is missing: headers, query and auth go to its origin only".into());
        }
        let proof = Proof::new(origin.auth, client)?;
        Ok(Self { base, headers: origin.headers, query: origin.query, proof })
    }
}

fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|_| "`base_url` is not a URL; write https://api.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("`base_url` must start with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`base_url` holds a user name or password; write them under `auth`".into());
    }
    Ok(url)
}

/// A request's destination with everything that goes with it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Upper-case method.
    pub method: String,
    /// The whole URL, without a secret in its query.
    pub url: Url,
    /// Headers without secrets.
    pub headers: Vec<(String, String)>,
    /// Headers with secrets.
    pub secret_headers: Vec<(String, Secret)>,
    /// A secret in the query.
    pub secret_query: Option<SecretQuery>,
    /// Credentials that are made when the request is sent.
    pub(super) live: Option<Live>,
    /// Whether a value chose the host: then private addresses are refused.
    pub guarded: bool,
}

impl Target {
    /// A destination that no flow and no value chose.
    pub(in crate::outbound) fn fixed(method: &str, url: Url, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (method, secret_headers) = (method.to_owned(), Vec::new());
        Self { method, url, headers, secret_headers, secret_query: None, live: None, guarded: false }
    }

    /// Where `request` goes by way of `origin`.
    pub(super) fn new(origin: Option<&Place>, request: &HttpRequest) -> Result<Self, Failure> {
        let base = origin.and_then(|origin| origin.base.as_ref());
        let mut url = resolve(base, &request.url)?;
        let own = origin.filter(|_| base.is_some_and(|base| base.origin() == url.origin()));
        let mut query = request.query.clone();
        let mut headers = request.headers.clone();
        let (mut secret_headers, mut secret_query, mut live) = (Vec::new(), None, None);
        if let Some(own) = own {
            query.extend(own.query.iter().cloned());
            let has = |headers: &[(String, String)], name: &str| {
                headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
            };
            let more = own.headers.iter().filter(|(name, _)| !has(&request.headers, name)).cloned();
            headers.extend(more.collect::<Vec<_>>());
            let mut replace = |name: &str| headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
            match &own.proof {
                Proof::Nothing => {}
                Proof::Header(name, secret) => {
                    replace(name);
                    secret_headers.push((name.clone(), secret.clone()));
                }
                Proof::Query(secret) => secret_query = Some(secret.clone()),
                Proof::Live(made) => {
                    replace(made.header());
                    live = Some(made.clone());
                }
            }
        }
        append(&mut url, &query);
        if let Some(kind) = content_type(request.body.as_ref())
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".into(), kind.into()));
        }
        let guarded = request.url_from_value && own.is_none();
        Ok(Self { method: request.method.clone(), url, headers, secret_headers, secret_query, live, guarded })
    }

    /// The host, for messages. Not when a value chose it: it could be anything.
    pub fn host(&self) -> &str {
        if self.guarded { "the URL's host" } else { self.url.host_str().unwrap_or_default() }
    }

    /// The headers whose values are secret, those that are made later included.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let later = self.live.as_ref().map(Live::header);
        self.secret_headers.iter().map(|(name, _)| name.as_str()).chain(later)
    }

    /// The URL as it is sent, the secret in its query included: only for the request itself.
    pub(super) fn sent_url(&self) -> Url {
        let mut url = self.url.clone();
        match &self.secret_query {
            None => {}
            Some(SecretQuery::Pair(name, secret)) => append(&mut url, &[(name.clone(), secret.expose().to_owned())]),
            Some(SecretQuery::Encoded(secret)) => {
                let both = url.query().map_or_else(String::new, |first| format!("{first}&"));
                url.set_query(Some(&format!("{both}{}", secret.expose())));
            }
        }
        url
    }

    /// The URL as it may be shown: a secret in its query is `***`.
    pub fn shown_url(&self) -> String {
        let separator = if self.url.query().is_some() { '&' } else { '?' };
        match &self.secret_query {
            None => self.url.to_string(),
            Some(SecretQuery::Pair(name, _)) => {
                format!("{}{separator}{}=***", self.url, utf8_percent_encode(name, QUERY))
            }
            Some(SecretQuery::Encoded(_)) => format!("{}{separator}***", self.url),
        }
    }
}

/// An absolute URL as it is; everything else is appended to the base, so that it can never leave the base's host.
fn resolve(base: Option<&Url>, text: &str) -> Result<Url, Failure> {
    let bad = |message: &str| Failure::terminal("bad_url", message);
    let url = if let Some(scheme) = scheme(text) {
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("the URL must start with https:// or http://"));
        }
        Url::parse(text).map_err(|_| bad("the URL is not valid"))?
    } else {
        let base = base.ok_or_else(|| bad("a relative URL needs a connection with `base_url`"))?;
        append_path(base, text).ok_or_else(|| bad("the URL is not valid"))?
    };
    if !url.has_host() {
        return Err(bad("the URL has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("the URL holds a user name or password; write them under `auth` of a connection"));
    }
    Ok(without_fragment(url))
}

/// The scheme of an absolute URL.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (!scheme.is_empty() && scheme.bytes().all(fits)).then_some(scheme)
}

fn append_path(base: &Url, text: &str) -> Option<Url> {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let mut url = base.clone();
    if !path.is_empty() {
        let joined = format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches(['/', '\\']));
        url.set_path(&joined);
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let both = url.query().map_or_else(|| query.to_owned(), |first| format!("{first}&{query}"));
        url.set_query(Some(&both));
    }
    (url.origin() == base.origin()).then_some(url)
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

fn append(url: &mut Url, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let mut parts: Vec<String> = url.query().filter(|query| !query.is_empty()).map(str::to_owned).into_iter().collect();
    parts.extend(pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))));
    url.set_query(Some(&parts.join("&")));
}

fn content_type(body: Option<&HttpBody>) -> Option<&'static str> {
    match body? {
        HttpBody::Json(_) => Some("application/json"),
        HttpBody::Text(_) => Some("text/plain; charset=utf-8"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::KeyPlace;
    use super::*;

    fn place(origin: Origin) -> Result<Place, String> {
        Place::new(origin, &HttpClientSettings::default())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn erp() -> Place {
        place(Origin {
            base_url: Some("https://erp.example/v1/?k=1".into()),
            headers: pairs(&[("X-Tenant", "t"), ("X-Both", "connection")]),
            query: pairs(&[("version", "2 b")]),
            auth: Credentials::ApiKey { name: "api key".into(), place: KeyPlace::Query, value: Secret::new("s&cret") },
        })
        .expect("settings")
    }

    fn target(url: &str, url_from_value: bool) -> Result<Target, Failure> {
        let request = HttpRequest {
            method: "POST".into(),
            url: url.into(),
            query: pairs(&[("q", "ä/+?")]),
            headers: pairs(&[("x-both", "flow")]),
            body: Some(HttpBody::Json(json!({}))),
            url_from_value,
        };
        Target::new(Some(&erp()), &request)
    }

    #[test]
    fn relative_urls_are_appended_and_cannot_leave_the_host() {
        let target = target("/leads/1?a=b#c", false).expect("a target");
        assert_eq!(target.url.as_str(), "https://erp.example/v1/leads/1?k=1&a=b&q=%C3%A4%2F%2B%3F&version=2%20b");
        assert!(target.sent_url().as_str().ends_with("&api%20key=s%26cret"));
        assert!(target.shown_url().ends_with("&api%20key=***"));
        assert_eq!(
            target.headers,
            pairs(&[("x-both", "flow"), ("X-Tenant", "t"), ("Content-Type", "application/json")])
        );
        for url in ["//evil.example/x", "\\\\evil.example", "@evil.example", ":80@evil.example", "evil.example/x"] {
            assert_eq!(super::tests::target(url, true).expect("a target").url.host_str(), Some("erp.example"), "{url}");
        }
    }

    #[test]
    fn credentials_go_to_the_connections_origin_only() {
        let own = target("https://ERP.example:443/other", true).expect("a target");
        assert!(own.secret_query.is_some() && !own.guarded);
        for url in ["https://evil.example/", "http://erp.example/", "https://erp.example:8443/"] {
            let other = target(url, true).expect("a target");
            assert!(other.secret_query.is_none() && other.guarded, "{url}");
            assert_eq!(other.headers, pairs(&[("x-both", "flow"), ("Content-Type", "application/json")]));
            assert!(!other.url.as_str().contains("version"));
        }
        assert!(!target("https://other.example/", false).expect("a target").guarded);
    }

    #[test]
    fn urls_that_are_none_are_refused() {
        for url in ["file:///etc/passwd", "ftp://a.example/", "https://", "https://u:p@a.example/", "http://[::1"] {
            assert_eq!(target(url, false).expect_err("refused").code, "bad_url", "{url}");
        }
        let anonymous = HttpRequest {
            method: "GET".into(),
            url: "leads".into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            url_from_value: false,
        };
        assert_eq!(Target::new(None, &anonymous).expect_err("no base").code, "bad_url");
    }

    #[test]
    fn settings_are_checked_and_never_shown() {
        let bearer = || Credentials::Bearer { token: Secret::new("hunter2") };
        let error = place(Origin { auth: bearer(), ..Origin::default() }).expect_err("no base");
        assert!(error.contains("base_url"));
        let base_url = Some("https://u:hunter2@a.example".to_owned());
        let error = place(Origin { base_url, ..Origin::default() }).expect_err("credentials in the URL");
        assert!(!error.contains("hunter2"));
        let place = place(Origin { base_url: Some("https://a.example".into()), auth: bearer(), ..Origin::default() });
        assert!(!format!("{place:?}").contains("hunter2"));
    }
}

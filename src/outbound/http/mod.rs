//! HTTP requests: credentials attached, private addresses refused where a value chose the host, answers capped.
//!
//! Promises: one request is sent at most once a call (no retry, no redirect, no proxy); a connection's headers, query
//! and credentials go to its own origin only; a failure says whether the request may have been sent, and never shows
//! a URL, a credential or what the other side wrote.

mod answer;
mod credentials;
mod guard;
mod stand_ins;
mod target;
mod tls;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use rustls::pki_types::CertificateDer;

use super::auth::TokenSources;
use super::{HttpBody, HttpReply, HttpRequest, Reply, causes};
use crate::clock::{Clock as _, SystemClock};
use crate::run::{Class, Failure};
use answer::BodyFault;
pub(super) use answer::date;
pub use credentials::{Credentials, KeyPlace, SecretQuery};
pub use guard::AllowPrivate;
use guard::{ResolveError, Resolver};
pub use stand_ins::StandIns;
pub use target::{Origin, Place, Target};

/// For the connection to stand: DNS, TCP and TLS together. A longer silence means that nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the next bytes of an answer to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an idle connection is kept. Short: a connection that the other side closed meanwhile costs a try.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all requests of a connection have in common.
#[derive(Debug, Clone)]
pub struct HttpClientSettings {
    /// The longest answer in bytes, after unpacking: `limits.response`.
    pub response_bytes_max: usize,
    /// Certificate authorities beside the system's: PEM texts.
    pub ca: Vec<Vec<u8>>,
    /// Private addresses that a value may choose.
    pub allow_private: AllowPrivate,
    /// Where tokens come from, one for the process.
    pub tokens: Arc<TokenSources>,
}

impl Default for HttpClientSettings {
    fn default() -> Self {
        Self {
            response_bytes_max: 10 << 20,
            ca: Vec::new(),
            allow_private: AllowPrivate::default(),
            tokens: Arc::default(),
        }
    }
}

impl HttpClientSettings {
    /// Trusts `ca` (PEM texts) too.
    #[must_use]
    pub fn with_ca(mut self, ca: &[Vec<u8>]) -> Self {
        self.ca.extend_from_slice(ca);
        self
    }
}

/// A connection's way to HTTP.
#[derive(Debug)]
pub struct HttpTransport {
    origin: Option<Place>,
    /// What `ca` names.
    certificates: Vec<CertificateDer<'static>>,
    allow_private: Arc<AllowPrivate>,
    response_bytes_max: usize,
    /// Secrets that stand in requests.
    stand_ins: StandIns,
    /// Whether the base URL holds a secret.
    is_base_secret: bool,
    /// For hosts that the flow's author or leadflow.yaml wrote. Built when first used: it reads the system's roots.
    open: OnceLock<Client>,
    /// For hosts that a value chose.
    guarded: OnceLock<Client>,
}

impl HttpTransport {
    /// For `http` actions without a connection. The error says which certificate cannot be read.
    pub fn anonymous(settings: &HttpClientSettings) -> Result<Self, String> {
        Ok(Self {
            origin: None,
            certificates: super::certificates(&settings.ca)?,
            allow_private: Arc::new(settings.allow_private.clone()),
            response_bytes_max: settings.response_bytes_max,
            stand_ins: StandIns::default(),
            is_base_secret: false,
            open: OnceLock::new(),
            guarded: OnceLock::new(),
        })
    }

    /// For a connection of leadflow.yaml. The error says which setting is wrong, without its value.
    pub fn connection(settings: &HttpClientSettings, origin: Origin) -> Result<Self, String> {
        let mut transport = Self::anonymous(settings)?;
        transport.origin = Some(Place::new(origin, settings)?);
        Ok(transport)
    }

    /// The same, with secrets that stand in its requests; `is_base_secret`: its base URL must not be shown.
    #[must_use]
    pub fn with_stand_ins(self, stand_ins: StandIns, is_base_secret: bool) -> Self {
        Self { stand_ins, is_base_secret, ..self }
    }

    /// The URL of `target` as it may be shown.
    pub fn shown_url(&self, target: &Target) -> String {
        if self.is_base_secret {
            return format!("{}/***", target.url.origin().ascii_serialization());
        }
        self.stand_ins.hide(&target.shown_url())
    }

    /// What stands for secrets in its requests.
    pub fn stand_ins(&self) -> &StandIns {
        &self.stand_ins
    }

    /// Where `request` would go and what would go with it, credentials apart: what a dry run shows.
    pub fn target(&self, request: &HttpRequest) -> Result<Target, Failure> {
        let target = Target::new(self.origin.as_ref(), request)?;
        if target.guarded && guard::is_refused(&target.url, &self.allow_private) {
            return Err(private_address());
        }
        Ok(target)
    }

    /// Sends one request and reads the answer, within `timeout` as a whole.
    pub async fn send(&self, request: &HttpRequest, timeout: Duration) -> Reply {
        let on_the_way = AtomicBool::new(false);
        let answered = tokio::time::timeout(timeout, self.exchange(request, &on_the_way)).await;
        match answered {
            Ok(Ok(reply)) => Reply::Http(reply),
            Ok(Err(failure)) => Reply::Failed(failure),
            Err(_) if on_the_way.load(Ordering::Relaxed) => Reply::Failed(timed_out()),
            Err(_) => Reply::Failed(Failure::retryable("token_unavailable", "no token in time; nothing was sent")),
        }
    }

    /// `on_the_way` tells whether the request itself may have been sent, and not only one for a token. Credentials that
    /// turn out to be stale are replaced, and the request is sent once more: the first one was refused unread.
    async fn exchange(&self, request: &HttpRequest, on_the_way: &AtomicBool) -> Result<HttpReply, Failure> {
        let request = &self.stand_ins.put_in(request);
        let mut target = self.target(request)?;
        let Some(live) = target.live.clone() else {
            on_the_way.store(true, Ordering::Relaxed);
            return self.call(&target, request.body.as_ref()).await;
        };
        let attached = live.attach(&mut target).await?;
        on_the_way.store(true, Ordering::Relaxed);
        let reply = self.call(&target, request.body.as_ref()).await?;
        if !live.is_stale(&attached, &reply) {
            return Ok(reply);
        }
        on_the_way.store(false, Ordering::Relaxed);
        live.attach(&mut target).await?;
        on_the_way.store(true, Ordering::Relaxed);
        self.call(&target, request.body.as_ref()).await
    }

    /// One request to `target`, as it is, and its answer.
    pub(super) async fn call(&self, target: &Target, body: Option<&HttpBody>) -> Result<HttpReply, Failure> {
        let built = self.build(target, body)?;
        let response = built.send().await.map_err(|error| judge(&error, target.host()))?;
        self.read(response).await
    }

    fn build(&self, target: &Target, body: Option<&HttpBody>) -> Result<RequestBuilder, Failure> {
        let method = reqwest::Method::from_bytes(target.method.as_bytes())
            .map_err(|_| Failure::terminal("bad_method", "`method` is not an HTTP method"))?;
        let mut builder = self.client(target.guarded)?.request(method, target.sent_url());
        for (name, value) in &target.headers {
            builder = builder.header(name, value);
        }
        for (name, secret) in &target.secret_headers {
            let mut value = reqwest::header::HeaderValue::from_str(secret.expose())
                .map_err(|_| Failure::terminal("bad_credentials", "`auth` of the connection does not fit a header"))?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        Ok(match body {
            None => builder,
            Some(HttpBody::Text(text)) => builder.body(text.clone()),
            Some(HttpBody::Json(value)) => builder.body(value.to_string()),
        })
    }

    /// The client for hosts of one kind. Built once; two tasks that build it at once waste one.
    fn client(&self, guarded: bool) -> Result<&Client, Failure> {
        let slot = if guarded { &self.guarded } else { &self.open };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let guard = guarded.then(|| self.allow_private.clone());
        let unusable = "the certificate authorities cannot be loaded";
        let mut builder = Client::builder()
            .user_agent(concat!("leadflow/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { guard }))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT);
        if !self.certificates.is_empty() {
            let config = tls::client_config(&self.certificates);
            let config = config.map_err(|_| Failure::retryable("tls_failed", unusable))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        let client = builder.build().map_err(|_| Failure::retryable("tls_failed", unusable))?;
        Ok(slot.get_or_init(|| client))
    }

    /// An error status counts even if its body cannot be read: the status says what became of the request.
    async fn read(&self, mut response: Response) -> Result<HttpReply, Failure> {
        let status = response.status();
        let body = match answer::read_body(&mut response, self.response_bytes_max).await {
            Ok(body) => body,
            Err(_) if !status.is_success() => Vec::new(),
            Err(BodyFault::TooLong) => {
                let message = format!("the answer is longer than {} bytes (limits.response)", self.response_bytes_max);
                return Err(Failure::terminal("response_too_long", message));
            }
            Err(BodyFault::Broken) => return Err(unknown_outcome("the answer broke off")),
        };
        Ok(HttpReply {
            status: status.as_u16(),
            headers: answer::pairs(response.headers()),
            body: answer::value(response.headers(), &body),
            retry_after: answer::retry_after(response.headers(), SystemClock.now()),
        })
    }
}

fn timed_out() -> Failure {
    Failure {
        code: "timeout".into(),
        message: "no answer in time (timeout); it may have been done".into(),
        class: Class::TimedOut,
        retry_after: None,
        action: None,
    }
}

fn unknown_outcome(what: &str) -> Failure {
    Failure::unknown("unknown_outcome", format!("{what} after the request was sent; it may have been done"))
}

fn private_address() -> Failure {
    Failure::terminal(
        "private_address",
        "the URL comes from a value and leads to a private address; allow_private of the connection can allow it",
    )
}

/// What an error of the client means. Only what happened before a connection stood is certain not to have been sent.
fn judge(error: &reqwest::Error, host: &str) -> Failure {
    let chain = causes(error);
    for cause in &chain {
        match cause.downcast_ref::<ResolveError>() {
            Some(ResolveError::Private) => return private_address(),
            Some(ResolveError::NotFound) => {
                return Failure::retryable("dns_failed", format!("the name {host} cannot be resolved"));
            }
            None => {}
        }
        if let Some(fault) = cause.downcast_ref::<rustls::Error>()
            && error.is_connect()
        {
            return super::tls_failure(fault, host);
        }
    }
    if error.is_builder() {
        return Failure::terminal("bad_request", "the request cannot be built: a header or the URL is not valid");
    }
    if error.is_connect() {
        let why = if error.is_timeout() { "does not answer" } else { reason(&chain) };
        return Failure::retryable("connect_failed", format!("{host} {why}"));
    }
    if error.is_timeout() {
        return timed_out();
    }
    unknown_outcome("the connection broke")
}

/// The operating system's word for a connection that did not stand.
fn reason(chain: &[&(dyn Error + 'static)]) -> &'static str {
    let kind = chain.iter().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match kind {
        Some(std::io::ErrorKind::ConnectionRefused) => "refuses the connection",
        Some(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof) => {
            "closed the connection at once"
        }
        Some(std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable) => "cannot be reached",
        Some(std::io::ErrorKind::TimedOut) => "does not answer",
        _ => "cannot be connected to",
    }
}

#[cfg(test)]
mod tests;

//! HTTP: two listeners with limits against silent, slow and large clients.
//!
//! Promise: a 2xx is answered only for what the engine has stored; an authenticated request that is refused for its
//! body is kept in the rejected inbox before it is answered. Errors are problem documents (RFC 9457) without lead data.
//!
//! [`ingress`] is the public listener, [`admin`] the other one; [`view`] holds the JSON shapes that the command line
//! prints too, [`keys`] what signs URLs.

mod address;
mod admin;
mod answer;
mod body;
pub mod connections;
mod controls;
mod ingress;
pub mod keys;
mod late;
mod limits;
mod listener;
mod metrics;
mod poll;
mod problem;
mod stall;
mod target;
pub mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::Accept;
use crate::library::{Library, Reload};
use crate::secret::Secret;
use crate::settings::{Limits, Settings};
use crate::store::Store;
pub use controls::Controls;
pub use keys::KeyRing;

/// How often the times of use of URL keys are stored.
const KEY_USE_FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// What the server is told by the settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener; port 0 picks a free one.
    pub public_listen: SocketAddr,
    /// What URLs in answers start with; `None`: the public listener's address.
    pub public_url: Option<String>,
    /// The admin listener; port 0 picks a free one.
    pub admin_listen: SocketAddr,
    /// Required off loopback.
    pub admin_token: Option<Secret>,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks.
    pub trusted_proxies: Vec<String>,
    /// Name and type of every connection, for those who ask how they stand.
    pub connections: Vec<(String, String)>,
    /// Limits, on both listeners.
    pub limits: Limits,
    /// How long requests in flight may take once the server stops.
    pub shutdown_grace: Duration,
}

impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Self {
        Self {
            public_listen: settings.public_listen,
            public_url: settings.public_url.clone(),
            admin_listen: settings.admin_listen,
            admin_token: settings.admin_token.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            connections: settings.named_connections(),
            limits: settings.limits.clone(),
            shutdown_grace: settings.shutdown_grace,
        }
    }
}

/// What the server works with.
pub struct Deps {
    /// The live flows.
    pub library: Arc<Library>,
    /// The engine.
    pub accept: Arc<dyn Accept>,
    /// The store: the rejected inbox, and what the admin listener shows.
    pub store: Arc<dyn Store>,
    /// What signs URLs.
    pub keys: Arc<KeyRing>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whoever reloads when asked.
    pub reload: Arc<dyn Reload>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The admin listener would be open to everybody.
    #[error(
        "the admin listener cannot listen on {0} without a token, because it shows leads; set admin.token: ${{env:LEADFLOW_ADMIN_TOKEN}} in leadflow.yaml, or listen on 127.0.0.1"
    )]
    TokenRequired(SocketAddr),
    /// An empty token lets everybody in.
    #[error("admin.token is empty; give it a value, or leave the key out and listen on 127.0.0.1")]
    TokenEmpty,
    /// An entry of `public.trusted_proxies` is no network.
    #[error("public.trusted_proxies: {0}")]
    TrustedProxies(String),
    /// The address is taken, not ours, or not allowed.
    #[error("the {listener} listener cannot listen on {address}; set {key} in leadflow.yaml")]
    Listen {
        /// `public` or `admin`.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        key: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Both listeners, bound and not yet serving.
pub struct Server {
    public: TcpListener,
    public_addr: SocketAddr,
    admin: TcpListener,
    admin_addr: SocketAddr,
    controls: Arc<Controls>,
    deps: Deps,
}

/// What every request handler sees.
struct Shared {
    controls: Arc<Controls>,
    deps: Deps,
    /// Where the public listener listens.
    public_addr: SocketAddr,
    metrics: metrics::Metrics,
    /// True once the server stops.
    stop: watch::Receiver<bool>,
}

impl Shared {
    /// What URLs in answers start with, without a slash at the end.
    fn base_url(&self) -> String {
        match &self.controls.now().public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.public_addr),
        }
    }
}

impl Server {
    /// Binds both listeners. Clients can connect from now on; they are served by [`Server::run`].
    pub async fn bind(config: Config, deps: Deps) -> Result<Self, BindError> {
        let controls = Arc::new(Controls::new(&config)?);
        let (public, public_addr) = listen("public", "public.listen", config.public_listen).await?;
        let (admin, admin_addr) = listen("admin", "admin.listen", config.admin_listen).await?;
        Ok(Self { public, public_addr, admin, admin_addr, controls, deps })
    }

    /// What may be changed while the server runs.
    pub fn controls(&self) -> Arc<Controls> {
        Arc::clone(&self.controls)
    }

    /// The address of the public listener, with the port that it got.
    pub fn public_addr(&self) -> SocketAddr {
        self.public_addr
    }

    /// The address of the admin listener, with the port that it got.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Serves until `stop` is true (or its sender is gone), then drains: the public listener refuses connections at
    /// once, requests in flight are answered within the grace time, and only then does the admin listener close, so
    /// that `/readyz` tells of the drain.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let (for_public, for_admin) = (Arc::clone(&self.controls), Arc::clone(&self.controls));
        let (public_bounds, admin_bounds) = (move || for_public.now().bounds, move || for_admin.now().bounds);
        let shared = Arc::new(Shared {
            public_addr: self.public_addr,
            controls: self.controls,
            deps: self.deps,
            metrics: metrics::Metrics::default(),
            stop: stop.clone(),
        });
        let (admin_stop, admin_stopped) = watch::channel(false);
        let for_public = Arc::clone(&shared);
        let public = async {
            let handler = move |peer, request| ingress::handle(Arc::clone(&for_public), peer, request);
            listener::serve(self.public, public_bounds, stop, handler).await;
            admin_stop.send_replace(true);
        };
        let for_admin = Arc::clone(&shared);
        let handler = move |peer, request| admin::handle(Arc::clone(&for_admin), peer, request);
        let admin = listener::serve(self.admin, admin_bounds, admin_stopped.clone(), handler);
        tokio::join!(public, admin, flush_key_use(&shared, admin_stopped));
    }
}

async fn listen(
    listener: &'static str,
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { listener, address, key, source };
    let bound = TcpListener::bind(address).await.map_err(failed)?;
    let local = bound.local_addr().map_err(failed)?;
    Ok((bound, local))
}

/// Stores when URL keys last let a request in, now and then and at the end: never on a request's time.
async fn flush_key_use(shared: &Shared, mut stopped: watch::Receiver<bool>) {
    loop {
        let last = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => true,
            () = tokio::time::sleep(KEY_USE_FLUSH_INTERVAL) => false,
        };
        if let Err(error) = shared.deps.keys.flush_used(shared.deps.store.as_ref()).await {
            tracing::warn!(%error, "the times of use of URL keys could not be stored");
        }
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;

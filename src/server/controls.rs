//! What the settings may change while the server runs: limits, proxies, the admin token. One pointer that each request
//! reads; the listeners themselves stay as they are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::listener::Bounds;
use super::{BindError, Config, address, limits};
use crate::secret::Secret;
use crate::settings::Limits;

/// What holds now.
pub(super) struct Hot {
    pub(super) public_url: Option<String>,
    pub(super) connections: Vec<(String, String)>,
    pub(super) limits: Limits,
    pub(super) trusted_proxies: Vec<address::Network>,
    pub(super) admin_token: Option<Secret>,
    pub(super) failed_auth: Arc<limits::Buckets<IpAddr>>,
    pub(super) flow_rate: Option<Arc<limits::Buckets<String>>>,
    pub(super) bounds: Bounds,
}

/// The handle by which a running server is told of new settings.
pub struct Controls {
    admin_listen: SocketAddr,
    hot: ArcSwap<Hot>,
}

impl Controls {
    /// What `config` says, if a server may start with it.
    pub(super) fn new(config: &Config) -> Result<Self, BindError> {
        let hot = Hot::new(config, config.admin_listen, None)?;
        Ok(Self { admin_listen: config.admin_listen, hot: ArcSwap::from_pointee(hot) })
    }

    /// From now on what `config` says holds, but for its addresses. On an error everything stays as it was.
    pub fn set(&self, config: &Config) -> Result<(), BindError> {
        let hot = Hot::new(config, self.admin_listen, Some(&self.now()))?;
        self.hot.store(Arc::new(hot));
        Ok(())
    }

    /// How long requests and runs in flight may take once the server stops.
    pub fn grace(&self) -> std::time::Duration {
        self.now().bounds.grace
    }

    /// What holds now.
    pub(super) fn now(&self) -> Arc<Hot> {
        self.hot.load_full()
    }
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controls").field("admin_listen", &self.admin_listen).finish_non_exhaustive()
    }
}

impl Hot {
    /// Buckets whose rate is as before are kept: a reload gives nobody new permits.
    fn new(config: &Config, admin_listen: SocketAddr, before: Option<&Self>) -> Result<Self, BindError> {
        match &config.admin_token {
            Some(token) if token.expose().trim().is_empty() => return Err(BindError::TokenEmpty),
            None if !admin_listen.ip().to_canonical().is_loopback() => {
                return Err(BindError::TokenRequired(admin_listen));
            }
            _ => {}
        }
        let networks = config.trusted_proxies.iter().map(|text| address::Network::parse(text));
        let trusted_proxies = networks.collect::<Result<_, _>>().map_err(BindError::TrustedProxies)?;
        let limits = &config.limits;
        let (auth_rate, flow_rate) = (limits.failed_auth_per_address, limits.rate_per_flow);
        let kept_auth = before.filter(|hot| hot.limits.failed_auth_per_address == auth_rate);
        let kept_flow = before.filter(|hot| hot.limits.rate_per_flow == flow_rate);
        Ok(Self {
            failed_auth: kept_auth
                .map_or_else(|| Arc::new(limits::Buckets::new(auth_rate)), |hot| Arc::clone(&hot.failed_auth)),
            flow_rate: kept_flow.map_or_else(
                || flow_rate.map(|rate| Arc::new(limits::Buckets::new(rate))),
                |hot| hot.flow_rate.clone(),
            ),
            bounds: Bounds {
                connections_max: limits.connections_max,
                header_timeout: limits.header_timeout,
                write_stall_max: limits.body_timeout,
                // Room beyond the limits, so that a URL a few times too long still gets its own answer (414).
                head_bytes_max: limits.headers_bytes_max + 4 * limits.url_bytes_max,
                grace: config.shutdown_grace,
            },
            public_url: config.public_url.clone(),
            connections: config.connections.clone(),
            limits: limits.clone(),
            trusted_proxies,
            admin_token: config.admin_token.clone(),
        })
    }
}

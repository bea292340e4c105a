//! `leadflow.yaml`: the blocks that their readers declare, with overlays, secret references and a place for each key.
//!
//! Promise: [`load`] reports everything that is wrong at once, each with file, line and column; what it gives is
//! complete, typed and free of references. Defaults, file and overlay are layers of one document (`layers`).

mod check;
mod format;
mod layers;
pub mod load;
pub mod print;
mod references;
mod resolve;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::connectors::Registry;
use crate::flow::Defaults;
use crate::flow::catalogue::Catalogue;
use crate::library::load::Sources;
use crate::library::reload::Timing;
use crate::secret::Secret;
use crate::triggers::request::BodyLimits;
pub use load::{DEFAULTS, LoadError, LoadOptions, Loaded, Mode, Origins, load, load_after, own_files, settings_schema};

/// Resolved settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that they come from; `None`: defaults.
    pub file: Option<PathBuf>,
    /// `--env`.
    pub environment: Option<String>,
    /// What URLs start with when printed, without a slash at the end; `None`: `http://` and the public address.
    pub public_url: Option<String>,
    /// The data folder.
    pub data: PathBuf,
    /// The folder of flows.
    pub flows: PathBuf,
    /// The folder of schemas.
    pub schemas: PathBuf,
    /// Where runs are kept.
    pub store: StoreSettings,
    /// Overrides the signing key in the store.
    pub signing_key: Option<Secret>,
    /// The public listener.
    pub public_listen: SocketAddr,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// The admin listener.
    pub admin_listen: SocketAddr,
    /// Required to bind the admin listener off loopback.
    pub admin_token: Option<Secret>,
    /// `parameters:` for every flow.
    pub parameters: Value,
    /// `secrets:` for triggers, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Connections by name.
    pub connections: BTreeMap<String, Connection>,
    /// The kinds of connection there are: those of leadflow and those of the `connectors` folder.
    pub connectors: Arc<Registry>,
    /// What flows can name: every action, and every kind of connection.
    pub catalogue: Arc<Catalogue>,
    /// Defaults of flows.
    pub defaults: Defaults,
    /// Limits.
    pub limits: Limits,
    /// Retention.
    pub retention: crate::engine::Retention,
    /// How the folders are watched.
    pub reload: Timing,
    /// Private addresses that any call may reach although a value chose the host (CIDR or host names).
    pub outbound_allow_private: Vec<String>,
    /// PEM files of further certificate authorities for every call.
    pub outbound_ca: Vec<PathBuf>,
    /// How long a drain may take.
    pub shutdown_grace: Duration,
    /// `auto`, `human` or `json`.
    pub log_format: String,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub log_level: String,
}

impl Settings {
    /// What the loader of flows needs of them.
    pub fn sources(&self) -> Sources {
        Sources {
            flows: self.flows.clone(),
            schemas: self.schemas.clone(),
            blueprints: self.blueprints(),
            connections: self.connections.iter().map(|(name, own)| (name.clone(), own.kind.clone())).collect(),
            connections_decided: self.decided(),
            parameters: self.parameters.clone(),
            defaults: self.defaults.clone(),
            actions_per_flow_max: self.limits.actions_per_flow,
            nesting_max: self.limits.nesting,
            catalogue: Arc::clone(&self.catalogue),
        }
    }

    /// Name and type of every connection.
    pub fn named_connections(&self) -> Vec<(String, String)> {
        self.connections.iter().map(|(name, own)| (name.clone(), own.kind.clone())).collect()
    }

    /// The connections that say what an unknown outcome means.
    fn decided(&self) -> Vec<String> {
        let decided = self.connections.iter().filter(|(_, own)| own.on_unknown.is_some());
        decided.map(|(name, _)| name.clone()).collect()
    }

    /// The folder of blueprints: beside the folder of flows.
    pub fn blueprints(&self) -> PathBuf {
        self.flows.parent().map_or_else(|| PathBuf::from("blueprints"), |beside| beside.join("blueprints"))
    }

    /// Where the store is, to be shown: never a password.
    pub fn store_place(&self) -> String {
        match &self.store {
            StoreSettings::Sqlite => self.database().display().to_string(),
            StoreSettings::Postgres { url: Some(url), .. } => crate::store::postgres::place(url.expose()),
            StoreSettings::Postgres { url: None, .. } => "postgres".to_owned(),
        }
    }

    /// The database of the embedded store.
    pub fn database(&self) -> PathBuf {
        self.data.join("leadflow.db")
    }

    /// The folder of mails that are not sent.
    pub fn outbox(&self) -> PathBuf {
        self.data.join("outbox")
    }

    /// What printed URLs start with, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.public_listen))
    }
}

/// `store:`.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// The embedded database, in the data folder.
    Sqlite,
    /// A database server that nodes share.
    Postgres {
        /// How to reach it; `None` when its variable is not set and this is no `serve`.
        url: Option<Secret>,
        /// PEM files of the authorities that may sign its certificate.
        ca: Vec<PathBuf>,
        /// Connections of this node at most.
        connections: usize,
    },
}

impl StoreSettings {
    /// Whether both say the same.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite, Self::Sqlite) => true,
            (
                Self::Postgres { url, ca, connections },
                Self::Postgres { url: others, ca: their_ca, connections: theirs },
            ) => {
                let text = |url: &Option<Secret>| url.as_ref().map(|url| url.expose().to_owned());
                text(url) == text(others) && ca == their_ca && connections == theirs
            }
            (Self::Sqlite, Self::Postgres { .. }) | (Self::Postgres { .. }, Self::Sqlite) => false,
        }
    }
}

/// One connection of leadflow.yaml, secrets resolved.
#[derive(Clone, PartialEq)]
pub struct Connection {
    /// The connector type.
    pub kind: String,
    /// Its settings without `type` and the common keys, secrets resolved. Never print it.
    pub settings: Value,
    /// At most so many effects at once; default `limits.workers`.
    pub concurrency: Option<usize>,
    /// Overrides `defaults.timeout`.
    pub timeout: Option<Duration>,
    /// Overrides `defaults.retry`.
    pub retry: Option<crate::flow::retry::RetryPolicy>,
    /// At most so many calls in a time.
    pub rate: Option<crate::units::Rate>,
    /// What an unknown outcome means where a repeat may act twice.
    pub on_unknown: Option<crate::flow::format::OnUnknown>,
    /// PEM files of further certificate authorities.
    pub ca: Vec<PathBuf>,
    /// Private addresses that it may reach although a value chose the host (CIDR or host names).
    pub allow_private: Vec<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// `limits:`, each with its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bodies.
    pub body: BodyLimits,
    /// Bytes of request headers.
    pub headers_bytes_max: usize,
    /// Bytes of a request's URL.
    pub url_bytes_max: usize,
    /// Open connections per listener.
    pub connections_max: usize,
    /// For the headers to arrive.
    pub header_timeout: Duration,
    /// For the body to arrive.
    pub body_timeout: Duration,
    /// Failed authentications per address and second.
    pub failed_auth_per_address: crate::units::Rate,
    /// Requests per flow; `None`: no limit.
    pub rate_per_flow: Option<crate::units::Rate>,
    /// Unfinished runs per flow, then 429.
    pub waiting_runs_per_flow: u64,
    /// Effects at once per connection.
    pub workers: usize,
    /// Actions in a flow.
    pub actions_per_flow: usize,
    /// Levels of containers.
    pub nesting: usize,
    /// Items of a loop, a list action or a table.
    pub iterations: usize,
    /// Bytes that one template may produce.
    pub template_output_bytes_max: usize,
    /// Bytes of one action's outputs.
    pub outputs_bytes_max: usize,
    /// Bytes of one answer from outside.
    pub response_bytes_max: usize,
    /// How long a request waits for `respond`.
    pub respond_wait: Duration,
    /// Age at which an unfinished run is ended as `timed_out`.
    pub run_duration: Duration,
}

/// `text` as a `public_url`, without a slash at the end; or what is wrong with it.
pub fn public_url(text: &str) -> Result<String, String> {
    match words::bad_url(text) {
        Some(fault) => Err(format!("`{text}` cannot be the public URL: {fault}")),
        None => Ok(text.trim_end_matches('/').to_owned()),
    }
}

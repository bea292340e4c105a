//! From settings to what the engine works with: open connections and bounds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use crate::clock::Fut;
use crate::connectors::{self, Connector, Opened as OpenedKind, Reach, Registry};
use crate::engine::ports::{Connections, Limits, OpenConnection};
use crate::outbound::Transport;
use crate::outbound::auth::{TokenKeeper, TokenSources};
use crate::outbound::http::{AllowPrivate, HttpTransport};
use crate::secret::Secret;
use crate::settings::{Connection, Settings};
use crate::store::Store;
use crate::template;

/// Open connections, with what they were opened for: a reload keeps those that are to be as they are, with their pools
/// and threads.
pub(super) struct Opened {
    /// By name, and plain HTTP under the name `""`.
    pub(super) connections: Connections,
    common: Common,
    made_of: BTreeMap<String, MadeOf>,
}

/// What a connection was opened for.
struct MadeOf {
    connection: Connection,
    authorities: Vec<Vec<u8>>,
    workers: usize,
    connector: Arc<dyn Connector>,
}

impl MadeOf {
    fn is_like(&self, other: &Self) -> bool {
        self.connection == other.connection
            && self.authorities == other.authorities
            && self.workers == other.workers
            && Arc::ptr_eq(&self.connector, &other.connector)
    }
}

impl MadeOf {
    /// Tells these settings from others: what is known of a connection (throttled, held) holds for one of them. Short,
    /// since it stands in the store and secrets are part of it.
    fn digest(&self, name: &str) -> String {
        let Connection { kind, settings, allow_private, .. } = &self.connection;
        let mut digest = Sha256::new();
        for part in [name, kind, &settings.to_string(), &allow_private.join(",")] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        for authority in &self.authorities {
            digest.update((authority.len() as u64).to_le_bytes());
            digest.update(authority);
        }
        let whole = digest.finalize();
        whole[..DIGEST_BYTES].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// Bytes of a settings digest: enough to tell a few settings apart.
const DIGEST_BYTES: usize = 6;

/// Every connection of the settings.
pub(super) fn connections(settings: &Settings) -> anyhow::Result<Connections> {
    Ok(open(settings, None)?.connections)
}

/// Opens every connection of the settings for a server: `store` keeps refresh tokens.
pub(super) fn open_on(store: &Arc<dyn Store>, settings: &Settings) -> anyhow::Result<Opened> {
    let tokens = TokenSources::kept_by(Arc::new(StoredTokens(Arc::clone(store))));
    open_with(settings, None, Arc::new(tokens))
}

/// Opens every connection of the settings; those that were open for the same settings stay, and so do their tokens.
pub(super) fn open(settings: &Settings, before: Option<&Opened>) -> anyhow::Result<Opened> {
    let tokens = before.map(|before| Arc::clone(&before.common.reach.http.tokens)).unwrap_or_default();
    open_with(settings, before, tokens)
}

fn open_with(settings: &Settings, before: Option<&Opened>, tokens: Arc<TokenSources>) -> anyhow::Result<Opened> {
    let mut common = Common::new(settings, before.map(|before| &before.common.reach))?;
    common.reach.http.tokens = tokens;
    let before = before.filter(|before| before.common.is_like(&common));
    let workers = settings.limits.workers;
    let mut opened = Opened { connections: Connections::new(), common, made_of: BTreeMap::new() };
    for (name, connection) in &settings.connections {
        let authorities = read_all(&connection.ca).with_context(|| format!("connection `{name}`"))?;
        let connector = opened.common.registry.find(&connection.kind).map(Arc::clone);
        let connector = connector
            .with_context(|| format!("connection `{name}`: there is no connector type `{}`", connection.kind))?;
        let made_of = MadeOf { connection: connection.clone(), authorities, workers, connector };
        let kept = before.filter(|before| before.made_of.get(name).is_some_and(|old| old.is_like(&made_of)));
        let one = match kept.and_then(|before| before.connections.get(name)) {
            Some(kept) => Arc::clone(kept),
            None => Arc::new(opened.common.open(name, &made_of)?),
        };
        opened.connections.insert(name.clone(), one);
        opened.made_of.insert(name.clone(), made_of);
    }
    let plain = before.and_then(|before| before.connections.get("")).filter(|plain| plain.concurrency == workers);
    let plain = match plain {
        Some(plain) => Arc::clone(plain),
        None => Arc::new(opened.common.plain_http(workers)?),
    };
    opened.connections.insert(String::new(), plain);
    Ok(opened)
}

impl Opened {
    /// From now on the embedded records are read from `store`.
    pub(super) fn read_records_from(&self, store: &Arc<dyn Store>) {
        self.common.reach.records.read_from(Arc::clone(store));
    }
}

/// Refresh tokens in the store's `meta`: every node that shares the store uses the newest one.
struct StoredTokens(Arc<dyn Store>);

impl TokenKeeper for StoredTokens {
    fn newest<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<Secret>, String>> {
        Box::pin(async move {
            let kept = self.0.meta(key).await.map_err(|error| error.to_string())?;
            Ok(kept.map(Secret::new))
        })
    }

    fn keep<'a>(&'a self, key: &'a str, token: &'a Secret) -> Fut<'a, Result<(), String>> {
        Box::pin(async move { self.0.set_meta(key, token.expose()).await.map_err(|error| error.to_string()) })
    }
}

/// What every connection starts from.
struct Common {
    registry: Arc<Registry>,
    reach: Reach,
    allow_private: Vec<String>,
}

impl Common {
    fn new(settings: &Settings, before: Option<&Reach>) -> anyhow::Result<Self> {
        let mut reach = Reach::new(&settings.data);
        if let Some(before) = before {
            reach.outbox = Arc::clone(&before.outbox);
            reach.records = Arc::clone(&before.records);
        }
        let folder = settings.file.as_deref().and_then(Path::parent);
        reach.folder = folder.map(Path::to_owned).unwrap_or_default();
        reach.http.response_bytes_max = settings.limits.response_bytes_max;
        reach.http.ca = read_all(&settings.outbound_ca)?;
        reach.http.allow_private = allow_private(&settings.outbound_allow_private, &[])?;
        let registry = Arc::clone(&settings.connectors);
        Ok(Self { registry, reach, allow_private: settings.outbound_allow_private.clone() })
    }

    fn is_like(&self, other: &Self) -> bool {
        let (http, others) = (&self.reach.http, &other.reach.http);
        self.allow_private == other.allow_private
            && http.response_bytes_max == others.response_bytes_max
            && http.ca == others.ca
    }

    fn open(&self, name: &str, made_of: &MadeOf) -> anyhow::Result<OpenConnection> {
        let connection = &made_of.connection;
        let connector = &made_of.connector;
        let mut reach = self.reach.clone();
        reach.ca.clone_from(&made_of.authorities);
        reach.concurrency = connection.concurrency.or(connector.concurrency()).unwrap_or(made_of.workers);
        reach.http.allow_private = allow_private(&self.allow_private, &connection.allow_private)
            .with_context(|| format!("connection `{name}`"))?;
        let opened = connector
            .open(&connection.settings, &reach)
            .map_err(|message| anyhow::anyhow!("connection `{name}`: {message}"))?;
        Ok(OpenConnection {
            timeout: connection.timeout,
            retry: connection.retry,
            rate: connection.rate,
            on_unknown: connection.on_unknown,
            settings_digest: made_of.digest(name),
            ..OpenConnection::new(name, connector.as_ref(), opened, reach.concurrency)
        })
    }

    /// Plain HTTP, without a connection.
    fn plain_http(&self, workers: usize) -> anyhow::Result<OpenConnection> {
        let transport =
            HttpTransport::anonymous(&self.reach.http).map_err(|message| anyhow::anyhow!("outbound: {message}"))?;
        let connector = connectors::http::Http::default();
        let opened = OpenedKind { dialect: Arc::new(connector), transport: Transport::Http(Arc::new(transport)) };
        Ok(OpenConnection::new("", &connector, opened, workers))
    }
}

fn allow_private(common: &[String], own: &[String]) -> anyhow::Result<AllowPrivate> {
    AllowPrivate::parse(&[common, own].concat()).map_err(|message| anyhow::anyhow!("allow_private: {message}"))
}

/// The contents of PEM files.
pub(super) fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    files
        .iter()
        .map(|file| std::fs::read(file).with_context(|| format!("cannot read the certificate {}", file.display())))
        .collect()
}

/// The engine's bounds.
pub(super) fn limits(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    Limits {
        workers: limits.workers,
        waiting_runs_per_flow_max: limits.waiting_runs_per_flow,
        outputs_bytes_max: limits.outputs_bytes_max,
        iterations_max: limits.iterations,
        template: template::Limits {
            output_bytes_max: limits.template_output_bytes_max,
            ..template::Limits::default()
        },
        body: limits.body,
        run_duration: limits.run_duration,
        ..Limits::default()
    }
}

//! Opening: the URL, the connections, what each session is told first, and how long anything may take.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, RecyclingMethod, Runtime};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::secret::Secret;
use crate::store::sqlite::Mode;
use crate::store::{StoreError, StoreResult};

/// Connections to the database of one node, when the settings say nothing.
pub const POOL_DEFAULT: usize = 10;

/// The least that works: two that write, one that listens, one for everything else.
pub const POOL_MIN: usize = 4;

/// How many requests may wait for the writers; the next one is refused at once.
pub const QUEUE_MAX: usize = 4_096;

/// For a connection to be made, its TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// For a free connection of the pool.
const WAIT_TIMEOUT: Duration = Duration::from_secs(4);

/// The server ends a statement that takes longer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);

/// The server ends the wait for a row that another node holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// The server ends a transaction in which nothing happens, as when its node was cut off.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What was sent and not acknowledged for so long ends its connection.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(8);

/// A connection at rest is asked so often whether its other side is still there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// The schema in which the tables lie when the URL names no `search_path`.
pub(super) const SCHEMA: &str = "leadflow";

/// How to open the store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`
    pub url: Secret,
    /// PEM texts of authorities that may sign the server's certificate; none: the system's.
    pub authorities: Vec<Vec<u8>>,
    /// Connections at most: [`POOL_DEFAULT`].
    pub connections: usize,
    /// What for. Only [`Mode::Serve`] migrates.
    pub mode: Mode,
}

impl OpenOptions {
    /// The database at `url`, for `mode`, with the defaults.
    pub fn new(url: Secret, mode: Mode) -> Self {
        Self { url, authorities: Vec::new(), connections: POOL_DEFAULT, mode }
    }
}

/// What is wrong with `url`, if it cannot lead to a database. Never repeats any of it.
pub fn bad_url(url: &str) -> Option<String> {
    parse(url).err()
}

/// Where `url` leads, to be shown: hosts and database, without user and password.
pub fn place(url: &str) -> String {
    let Ok(Parsed { config, .. }) = parse(url) else { return "postgres".to_owned() };
    let ports = config.get_ports();
    let host = |(at, host): (usize, &tokio_postgres::config::Host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            tokio_postgres::config::Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        }
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("postgres {}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// A URL, read.
struct Parsed {
    config: tokio_postgres::Config,
    tls: tls::Mode,
    /// Whether it names where the tables lie.
    has_search_path: bool,
}

fn parse(url: &str) -> Result<Parsed, String> {
    let (config, tls) = address(url)?;
    let has_search_path = config.get_options().is_some_and(|options| options.contains("search_path"));
    Ok(Parsed { config, tls, has_search_path })
}

/// Reads the URL of a database, and what it says of TLS. The error says what is wrong with it, and repeats none of it.
pub(crate) fn address(url: &str) -> Result<(tokio_postgres::Config, tls::Mode), String> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err("it must begin with postgres://".to_owned());
    }
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut word = "prefer".to_owned();
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => value.clone_into(&mut word),
            Some(("sslrootcert" | "sslcert" | "sslkey", _)) => {
                return Err("it names certificates: put the authority's file into `ca`".to_owned());
            }
            _ => kept.push(pair),
        }
    }
    let tls = tls::Mode::parse(&word)?;
    let mut config: tokio_postgres::Config =
        format!("{address}?{}", kept.join("&")).parse().map_err(|error: tokio_postgres::Error| {
            match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }
        })?;
    if config.get_hosts().is_empty() {
        return Err("it names no host".to_owned());
    }
    config.ssl_mode(tls.ssl);
    Ok((config, tls))
}

/// The ways to the database.
pub(super) struct Reach {
    /// What the pool and the listener connect with.
    pub(super) config: tokio_postgres::Config,
    /// Their TLS.
    pub(super) tls: MakeRustlsConnect,
    /// What each session is told first.
    pub(super) greeting: String,
}

impl Reach {
    /// Reads the options. `Unusable`: the URL or an authority is wrong.
    pub(super) fn new(options: &OpenOptions) -> StoreResult<Self> {
        let unusable = |why: String| StoreError::Unusable(format!("store.url cannot be used: {why}"));
        let Parsed { mut config, tls, has_search_path } = parse(options.url.expose()).map_err(unusable)?;
        let connector = tls::connector(tls, &options.authorities).map_err(StoreError::Unusable)?;
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_EVERY).keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(2);
        config.tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("leadflow");
        }
        if options.mode != Mode::Read && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // After a failover the URL may lead to a replica for a while: such a connection is none.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, tls: connector, greeting: greeting(options.mode, has_search_path) })
    }

    /// The pool of up to `connections`.
    pub(super) fn pool(&self, connections: usize) -> StoreResult<deadpool_postgres::Pool> {
        let how = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), how);
        let greeting = self.greeting.clone();
        let greet = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let greeting = greeting.clone();
            Box::pin(async move { client.batch_execute(&greeting).await.map_err(HookError::Backend) })
        });
        deadpool_postgres::Pool::builder(manager)
            .max_size(connections)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .post_create(greet)
            .build()
            .map_err(|error| StoreError::Unusable(format!("no pool of connections: {error}")))
    }
}

/// Not by `options` of the connection: poolers in between refuse those. A database that answers before its commit is
/// on disk would break every promise; one that waits for replicas too is left as it is.
///
/// Every hot query has its index. A database that is new has no statistics: its plans would be made for empty tables, walk
/// all of them, and stay until the first ANALYZE. So walking a whole table is left for what has no other way.
pub(super) fn greeting(mode: Mode, has_search_path: bool) -> String {
    let mut text = format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET enable_seqscan = off; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') IN ('off', 'local');",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        IDLE_IN_TRANSACTION_TIMEOUT.as_millis(),
    );
    if !has_search_path {
        text.push_str(&format!(" SET search_path = {SCHEMA};"));
    }
    if mode == Mode::Read {
        text.push_str(" SET default_transaction_read_only = on;");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_repeating_it() {
        for fine in [
            "postgres://app@localhost/leads",
            "postgresql://app:pa%40ss@db-1:5432,db-2:5432/leads?sslmode=verify-full&application_name=x",
            "postgres://app@[::1]:5432/leads?sslmode=disable&options=-c%20search_path%3Dtenant",
        ] {
            assert_eq!(bad_url(fine), None, "{fine}");
        }
        let shown = place("postgresql://app:hunter2@db-1:5433,db-2:5434/leads?sslmode=require");
        assert_eq!(shown, "postgres db-1:5433,db-2:5434/leads");
        for (bad, word) in [
            ("mysql://app:hunter2@localhost/leads", "postgres://"),
            ("postgres://app:hunter2@localhost/leads?sslmode=maybe", "sslmode"),
            ("postgres://app:hunter2@localhost/leads?sslrootcert=/x.pem", "`ca`"),
            ("postgres://app:hunter2@localhost:notaport/leads", "port"),
            ("postgres://app:hunter2@localhost/leads?colour=blue", "colour"),
        ] {
            let why = bad_url(bad).expect("refused");
            assert!(why.contains(word) && !why.contains("hunter2"), "{bad}: {why}");
        }
    }

    #[test]
    fn a_search_path_of_the_url_is_left_as_it_is() {
        let reach = |url: &str| Reach::new(&OpenOptions::new(Secret::new(url), Mode::Serve)).expect("a good URL");
        assert!(reach("postgres://a@b/c").greeting.contains("SET search_path = leadflow"));
        let own = reach("postgres://a@b/c?options=-c%20search_path%3Dtenant");
        assert!(!own.greeting.contains("search_path"), "{}", own.greeting);
    }
}

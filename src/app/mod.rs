//! Wires everything together, starts it, drains it: the only place that sees everything.
//!
//! [`serve`] is the life of a server; [`offline`] holds what commands do without one.

mod cold;
mod connect;
mod hot;
pub mod live;
mod offline;
mod reload;
mod storage;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::actions;
use crate::clock::{Clock, DatabaseClock, Sample, SystemClock, rfc3339};
use crate::engine::ports::Connections;
use crate::engine::{self, Acceptor, Engine};
use crate::ids::RunId;
use crate::library::{FlowSet, Library, LiveFlow};
use crate::outbound::Real;
use crate::server::{self, KeyRing, Server};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::sqlite::lock::{DataLock, LockError};
pub use hot::Source;
use hot::{Hot, Reached};
pub use offline::{Origin, dry_run, resubmit, resubmit_rejected};
use reload::Reloader;
pub use storage::{Mode, open_store, postgres_options};

/// How often the keys' slots are read again, for rotations by other processes.
const KEYS_POLL: Duration = Duration::from_secs(1);

/// What `serve` says once it is ready.
#[derive(Debug)]
pub struct Started {
    /// The public address, with the port that it got.
    pub public: SocketAddr,
    /// The admin address.
    pub admin: SocketAddr,
    /// From the start of the process's work to ready.
    pub ready_in: Duration,
    /// The live flows and those that are off.
    pub flows: Arc<FlowSet>,
    /// Complete URLs by flow.
    pub urls: Vec<(String, String)>,
}

/// Serves until SIGTERM or Ctrl-C, then drains. `settings` are those of `source`; `announce` is called once, when
/// everything answers.
pub fn serve(source: Source, settings: Settings, announce: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let started_at = Instant::now();
    crate::telemetry::init(&settings.log_format, &settings.log_level).map_err(|error| anyhow::anyhow!("{error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve_async(source, settings, started_at, announce))
}

async fn serve_async(
    source: Source,
    settings: Settings,
    started_at: Instant,
    announce: impl FnOnce(&Started),
) -> anyhow::Result<()> {
    let lock = hold_folder(&settings.data, &SystemClock)?;
    let store = {
        let settings = settings.clone();
        tokio::task::spawn_blocking(move || open_store(&settings, Mode::Serve)).await??
    };
    let clock = clock_of(store.as_ref()).await?;
    let owner = format!("{}:{}:{}", host_name(), std::process::id(), RunId::new(clock.now()));
    let opened = connect::open_on(&store, &settings)?;
    opened.read_records_from(&store);
    let library = Arc::new(Library::default());
    let (connections, live) = (opened.connections.clone(), Arc::clone(&library));
    let config = engine_config(&settings, connections, Arc::clone(&store), live, Arc::clone(&clock), owner);
    let engine = Engine::new(config);
    let rules = settings.reload.rules;
    let (set, loader) = cold::load(settings.sources(), rules, store.as_ref(), clock.as_ref()).await?;
    engine.set_live(set.flows.values().map(Arc::clone));
    library.swap(set);
    let keys = Arc::new(KeyRing::load(store.as_ref(), settings.signing_key.clone()).await?);
    let (reload, requests) = reload::Handle::new(Arc::clone(&library));
    let deps = server::Deps {
        library: Arc::clone(&library),
        accept: Arc::new(Acceptor(Arc::clone(&engine))),
        store: Arc::clone(&store),
        keys: Arc::clone(&keys),
        clock: Arc::clone(&clock),
        reload: Arc::new(reload),
    };
    let bound = Server::bind(server::Config::from(&settings), deps).await?;
    let (public, admin, controls) = (bound.public_addr(), bound.admin_addr(), bound.controls());
    let at = Listening { public, admin, base_url: base_url(&settings, public) };
    lock.update(&holder(clock.as_ref(), Some(&at))).context("cannot write the lock file")?;
    // Signals are caught before anybody is told that the server is ready.
    let (signal, hangups) = (stop_signal()?, hangups()?);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(bound.run(stopped));
    let watching = tokio::spawn(watch_keys(Arc::clone(&keys), Arc::clone(&store)));
    engine.start().await?;
    let flows = library.live();
    let urls = urls(&settings, public, &keys, &flows);
    let hot = Hot::new(source, settings, opened);
    let reached = Reached { engine: Arc::clone(&engine), store: Arc::clone(&store), keys: Arc::clone(&keys), controls };
    let controls = Arc::clone(&reached.controls);
    let reloader = Reloader::new(hot, reached, library, clock, loader);
    let reloading = tokio::spawn(reloader.run(requests, hangups));
    announce(&Started { public, admin, ready_in: started_at.elapsed(), flows, urls });

    signal.await;
    let grace = controls.grace();
    tracing::info!(?grace, "stopping: no new work; finishing what is in flight");
    reloading.abort();
    stop.send_replace(true);
    engine.drain(grace).await;
    if let Err(error) = serving.await {
        tracing::error!(%error, "the listeners ended badly");
    }
    watching.abort();
    keys.flush_used(store.as_ref()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Where a server listens, for the commands beside it.
struct Listening {
    public: SocketAddr,
    admin: SocketAddr,
    /// What its URLs start with: flags of `serve` count too.
    base_url: String,
}

fn base_url(settings: &Settings, public: SocketAddr) -> String {
    settings.public_url.clone().unwrap_or_else(|| format!("http://{public}"))
}

/// The complete URL of every live flow.
fn urls(settings: &Settings, public: SocketAddr, keys: &KeyRing, flows: &FlowSet) -> Vec<(String, String)> {
    let base = base_url(settings, public);
    let url = |live: &Arc<LiveFlow>| {
        let query = keys.url_query(&live.flow.name, "primary", None);
        (live.flow.name.clone(), flow_url(&base, &live.flow, &live.flow.name, &query))
    };
    flows.flows.values().map(url).collect()
}

/// `BASE/flows/NAME[/PATH][?QUERY]`: unsigned for a flow without authentication, `{parameters}` shown as they are.
pub fn flow_url(base: &str, flow: &crate::flow::Flow, name: &str, query: &str) -> String {
    let path = flow.trigger.path.as_ref().map(|path| format!("/{}", path.source)).unwrap_or_default();
    let query = match flow.trigger.authentication {
        crate::flow::Authentication::SignedUrl => format!("?{query}"),
        crate::flow::Authentication::None => String::new(),
    };
    format!("{}/flows/{name}{path}{query}", base.trim_end_matches('/'))
}

fn holder(clock: &dyn Clock, at: Option<&Listening>) -> Value {
    json!({
        "pid": std::process::id(),
        "started_at": rfc3339(clock.now()),
        "public": at.map(|at| at.public.to_string()),
        "admin": at.map(|at| at.admin.to_string()),
        "base_url": at.map(|at| at.base_url.as_str()),
    })
}

fn hold_folder(data: &Path, clock: &dyn Clock) -> anyhow::Result<DataLock> {
    match DataLock::acquire(data, &holder(clock, None)) {
        Ok(lock) => Ok(lock),
        Err(LockError::Held { holder }) => bail!(
            "the data folder {} is in use by another leadflow (process {}, started {}); stop it, or give this one its own --data",
            data.display(),
            holder.get("pid").unwrap_or(&Value::Null),
            holder.get("started_at").and_then(Value::as_str).unwrap_or("at an unknown time"),
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock the data folder {}", data.display())),
    }
}

/// The time that everything is stored with: the database's where several machines share one.
async fn clock_of(store: &dyn Store) -> anyhow::Result<Arc<dyn Clock>> {
    if !store.is_shared() {
        return Ok(Arc::new(SystemClock));
    }
    let asked = tokio::time::Instant::now();
    let database = store.now().await.context("cannot ask the database for its time")?;
    let answered = tokio::time::Instant::now();
    Ok(Arc::new(DatabaseClock::new(Sample { asked, answered, database })))
}

/// What people call this machine; empty where nothing says so.
fn host_name() -> String {
    let told = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    told.map(|name| name.trim().to_owned()).unwrap_or_default()
}

fn engine_config(
    settings: &Settings,
    connections: Connections,
    store: Arc<dyn Store>,
    library: Arc<Library>,
    clock: Arc<dyn Clock>,
    owner: String,
) -> engine::Config {
    engine::Config {
        store,
        effects: Arc::new(Real),
        library,
        connections,
        clock,
        limits: connect::limits(settings),
        retention: settings.retention.clone(),
        environment: settings.environment.clone(),
        catalogue: Arc::new(actions::catalogue()),
        owner,
    }
}

async fn watch_keys(keys: Arc<KeyRing>, store: Arc<dyn Store>) {
    loop {
        tokio::time::sleep(KEYS_POLL).await;
        if let Err(error) = keys.reload(store.as_ref()).await {
            tracing::warn!(%error, "cannot read the URL keys now");
        }
    }
}

/// Hears SIGHUP: somebody asks for a reload.
#[cfg(unix)]
fn hangups() -> anyhow::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    // One that waits stands for all that come meanwhile.
    let (told, hangups) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Err(mpsc::error::TrySendError::Closed(())) = told.try_send(()) {
                break;
            }
        }
    });
    Ok(hangups)
}

/// There is no such signal.
#[cfg(not(unix))]
fn hangups() -> anyhow::Result<mpsc::Receiver<()>> {
    Ok(mpsc::channel(1).1)
}

/// Resolves at SIGTERM or SIGINT. The handlers are installed when this returns.
#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

//! Wires everything together, starts it, drains it: the only place that sees everything.
//!
//! [`serve`] is the life of a server; [`offline`] holds what commands do without one.

mod connect;
mod offline;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::actions;
use crate::clock::{Clock, SystemClock, rfc3339};
use crate::diagnostic::Severity;
use crate::engine::{self, Acceptor, Engine};
use crate::flow::Compiled;
use crate::ids::RunId;
use crate::library::load::{self, Folder};
use crate::library::{FlowSet, Library, LiveFlow, Off};
use crate::outbound::Real;
use crate::server::{self, KeyRing, Server};
use crate::settings::Settings;
use crate::store::sqlite::lock::{DataLock, LockError};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{FlowText, Store};
pub use offline::{Origin, dry_run, resubmit, resubmit_rejected};

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

/// Serves until SIGTERM or Ctrl-C, then drains. `announce` is called once, when everything answers.
pub fn serve(settings: Settings, announce: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let started_at = Instant::now();
    crate::telemetry::init(&settings.log_format, &settings.log_level).map_err(|error| anyhow::anyhow!("{error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve_async(settings, started_at, announce))
}

async fn serve_async(settings: Settings, started_at: Instant, announce: impl FnOnce(&Started)) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let owner = format!("{}:{}", std::process::id(), RunId::new(clock.now()));
    let lock = hold_folder(&settings.data, clock.as_ref())?;
    let store = open_store(&settings).await?;
    let library = Arc::new(Library::default());
    let config = engine_config(&settings, Arc::clone(&store), Arc::clone(&library), Arc::clone(&clock), owner)?;
    let engine = Engine::new(config);
    library.swap(make_live(load::load(&settings.sources()), &store, &engine, clock.as_ref()).await?);
    let keys = Arc::new(KeyRing::load(store.as_ref(), settings.signing_key.clone()).await?);
    let deps = server::Deps {
        library: Arc::clone(&library),
        accept: Arc::new(Acceptor(Arc::clone(&engine))),
        store: Arc::clone(&store),
        keys: Arc::clone(&keys),
        clock: Arc::clone(&clock),
    };
    let bound = Server::bind(server::Config::from(&settings), deps).await?;
    let (public, admin) = (bound.public_addr(), bound.admin_addr());
    let at = Listening { public, admin, base_url: base_url(&settings, public) };
    lock.update(&holder(clock.as_ref(), Some(&at))).context("cannot write the lock file")?;
    // Signals are caught before anybody is told that the server is ready.
    let signal = stop_signal()?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(bound.run(stopped));
    let watching = tokio::spawn(watch_keys(Arc::clone(&keys), Arc::clone(&store)));
    engine.start().await?;
    let flows = library.live();
    let urls = urls(&settings, public, &keys, &flows);
    announce(&Started { public, admin, ready_in: started_at.elapsed(), flows, urls });

    signal.await;
    tracing::info!(grace = ?settings.shutdown_grace, "stopping: no new work; finishing what is in flight");
    stop.send_replace(true);
    engine.drain(settings.shutdown_grace).await;
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

async fn open_store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let options = sqlite::OpenOptions::new(settings.database(), sqlite::Mode::Serve);
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await?;
    let store = opened.with_context(|| format!("cannot open the store {}", settings.database().display()))?;
    Ok(Arc::new(store))
}

fn engine_config(
    settings: &Settings,
    store: Arc<dyn Store>,
    library: Arc<Library>,
    clock: Arc<dyn Clock>,
    owner: String,
) -> anyhow::Result<engine::Config> {
    Ok(engine::Config {
        store,
        effects: Arc::new(Real),
        library,
        connections: connect::connections(settings)?,
        clock,
        limits: connect::limits(settings),
        retention: settings.retention.clone(),
        environment: settings.environment.clone(),
        catalogue: Arc::new(actions::catalogue()),
        owner,
    })
}

/// Pins every loaded text in the store, then makes the set: a run must never be accepted on a text that is not there.
async fn make_live(
    folder: Folder,
    store: &Arc<dyn Store>,
    engine: &Engine,
    clock: &dyn Clock,
) -> anyhow::Result<FlowSet> {
    let now = clock.now();
    let mut set = FlowSet { generation: 1, loaded_at: now, ..FlowSet::default() };
    for finding in &folder.findings {
        tracing::warn!(file = %finding.place.file, code = finding.code, "{}", finding.message);
    }
    // All at once: the store groups them into few syncs.
    let mut pinning = JoinSet::new();
    for file in folder.files {
        match file.compiled.flow {
            Some(flow) if flow.enabled => {
                let store = Arc::clone(store);
                let bundle = serde_json::to_string(&flow.bundle)?;
                let text = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle };
                pinning.spawn(async move { (flow, store.pin_text(text, now).await) });
            }
            _ => set.off.push(off(file.compiled, file.file)),
        }
    }
    while let Some(joined) = pinning.join_next().await {
        let (flow, text_id) = joined?;
        let (flow, text_id) = (Arc::new(flow), text_id?);
        engine.remember(text_id, Arc::clone(&flow));
        set.aliases.extend(flow.aliases.iter().map(|alias| (alias.clone(), flow.name.clone())));
        set.flows.insert(flow.name.clone(), Arc::new(LiveFlow { flow, text_id }));
    }
    Ok(set)
}

fn off(compiled: Compiled, file: String) -> Off {
    let finding = compiled.findings.into_iter().find(|finding| finding.severity == Severity::Error);
    if let Some(finding) = &finding {
        let place = &finding.place;
        tracing::error!(file = %place.file, line = place.line, code = finding.code, "flow is off: {}", finding.message);
    }
    Off { name: compiled.name, file, finding }
}

async fn watch_keys(keys: Arc<KeyRing>, store: Arc<dyn Store>) {
    loop {
        tokio::time::sleep(KEYS_POLL).await;
        if let Err(error) = keys.reload(store.as_ref()).await {
            tracing::warn!(%error, "cannot read the URL keys now");
        }
    }
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

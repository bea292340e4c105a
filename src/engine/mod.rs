//! The engine: accepts leads, runs their actions, retries, resumes after a crash, drains.
//!
//! Promises (DESIGN section 7): a stored run is on disk before its 2xx; actions run at least once, in order, and a
//! restart resumes at the first unfinished one; a destination that is down delays only its own runs.

mod accept;
mod actor;
pub mod answers;
mod claim;
mod dedupe;
pub mod dry;
pub mod health;
pub mod lanes;
pub mod lease;
mod maintain;
mod perform;
pub mod ports;
mod restore;
pub mod resubmit;
mod scope;
mod split;
mod texts;
mod verdict;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Notify, oneshot, watch};

use crate::actions::Answer;
use crate::clock::{Clock, Micros};
use crate::flow::catalogue::Catalogue;
use crate::ids::RunId;
use crate::library::{Library, LiveFlow};
use crate::outbound::Effects;
use crate::run::TriggerData;
use crate::store::Store;
use crate::triggers::request::Problem;
use actor::Actor;
use answers::Answers;
use health::Health;
use lanes::Lanes;
use lease::{Lease, LeaseReport};
use ports::{Connections, Drain, Limits, Ports, StoreJournal};
use texts::Texts;
pub use texts::compile_pinned;

/// What became of a request.
#[derive(Debug)]
pub enum Accepted {
    /// Stored durably; it runs.
    Run {
        /// Its id.
        run_id: RunId,
        /// For a flow with `respond`: how the request is to be answered. Dropped without a value when the node drains.
        answer: Option<oneshot::Receiver<Answered>>,
    },
    /// A condition was false: stored, not run. Answer 200 `skipped`.
    Skipped {
        /// Its id.
        run_id: RunId,
    },
    /// A test lead with `run: false`: stored as skipped. Answer 202.
    TestSkipped {
        /// Its id.
        run_id: RunId,
    },
    /// The same lead came within the window: kept as a duplicate. Answer 202.
    Duplicate {
        /// Its id.
        run_id: RunId,
        /// The run that came first.
        duplicate_of: RunId,
    },
    /// The request brought a list: stored as a run for each item. Answer 202, or 200 when all were skipped.
    Split {
        /// All runs, in the order of the items.
        runs: Vec<RunId>,
        /// Of these, skipped by a condition.
        skipped: usize,
        /// Of these, duplicates.
        duplicates: usize,
    },
    /// The body does not fit: not stored as a run; the caller keeps it in the rejected inbox.
    Refused(Problem),
    /// Too many runs of this flow wait: 429.
    Busy(Busy),
    /// Cannot store now: 503.
    Unavailable(String),
}

/// Which bound a request would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// `limits.waiting_runs_per_flow`.
    WaitingRuns,
    /// `concurrency.waiting` of the trigger.
    Gate,
}

/// How a flow with `respond` answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// By `respond`.
    Respond(Answer),
    /// The run ended well without reaching `respond`: 202.
    EndedWithout,
    /// The run failed without reaching `respond`: 502 `no_response`.
    FailedWithout,
}

/// What the server needs of the engine.
pub trait Accept: Send + Sync + 'static {
    /// Parses, folds, validates, evaluates conditions, runs pure actions, stores, and starts the rest.
    fn accept(&self, flow: Arc<LiveFlow>, trigger: TriggerData) -> crate::clock::Fut<'_, Accepted>;
    /// How this node's lease stands.
    fn lease(&self) -> LeaseReport;
}

/// What an engine is made of.
pub struct Config {
    /// The durable record.
    pub store: Arc<dyn Store>,
    /// What performs effects.
    pub effects: Arc<dyn Effects>,
    /// The live flows: those that others call.
    pub library: Arc<Library>,
    /// Connections.
    pub connections: Connections,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub limits: Limits,
    /// How long ended runs are kept.
    pub retention: Retention,
    /// `--env`.
    pub environment: Option<String>,
    /// Known actions and connectors, for pinned texts.
    pub catalogue: Arc<Catalogue>,
    /// The name of this node's first life: unique for each start. Later ones, after a lost lease, are named after it.
    pub owner: String,
}

pub use accept::Acceptor;
pub use maintain::Retention;

/// Runs in memory.
type Active = Mutex<HashMap<RunId, InMemory>>;

/// A run in memory.
struct InMemory {
    /// Which stay in memory this is: a run may be claimed again before its last actor has gone.
    stay: u64,
    /// Cancels it.
    cancel: watch::Sender<bool>,
}

/// The engine of one node.
pub struct Engine {
    pub(crate) ports: Arc<Ports>,
    store: Arc<dyn Store>,
    /// The lease of the life that this node lives now.
    lease: ArcSwap<Lease>,
    /// What the names of all lives begin with, and how many there were.
    first_owner: String,
    lives: AtomicU64,
    leases_lost: AtomicU64,
    /// True once the node has left for good.
    left: watch::Sender<bool>,
    texts: Texts,
    retention: ArcSwap<Retention>,
    active: Active,
    /// Numbers the stays of runs in memory.
    stays: AtomicU64,
    /// Told whenever a run leaves memory.
    idle: Notify,
    /// Unfinished runs by flow, for the limit; counted in the store when a flow is first seen.
    unfinished: Mutex<HashMap<String, Unfinished>>,
    /// How many runs may be inside the gate of each known flow; `None`: it has no gate.
    gates: Mutex<HashMap<String, Option<u32>>>,
    /// An answer of the store was lost, or an actor panicked: some run may be ours without an actor.
    astray: AtomicBool,
    /// Runs whose actor panicked: taking them up again could panic for ever.
    panicked: Mutex<HashSet<RunId>>,
    wake: Arc<Notify>,
    drain: watch::Sender<Drain>,
}

impl Engine {
    /// An engine that does nothing until [`Engine::start`].
    pub fn new(config: Config) -> Arc<Self> {
        Self::with_dice(config, ports::system_dice)
    }

    /// [`Engine::new`] with other randomness, in `0.0..1.0`: what a test needs to repeat itself.
    pub fn with_dice(config: Config, dice: fn() -> f64) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let (drain, drain_seen) = watch::channel(Drain::No);
        let lanes = Lanes::new(config.limits.workers, Arc::clone(&config.clock), Arc::clone(&wake));
        let health = Health::new(Some(Arc::clone(&config.store)), Arc::clone(&config.clock), Arc::clone(&lanes));
        let engine = Arc::new(Self {
            ports: Arc::new(Ports {
                journal: Arc::new(StoreJournal(Arc::clone(&config.store))),
                effects: config.effects,
                library: config.library,
                connections: ArcSwap::from_pointee(Connections::new()),
                clock: config.clock,
                lanes,
                health: Arc::new(health),
                answers: Answers::default(),
                bounds: ArcSwap::from_pointee(config.limits),
                environment: config.environment.map_or(Value::Null, Value::String),
                dice,
                mocks: ports::Mocks::new(),
                drain: drain_seen,
            }),
            store: config.store,
            lease: ArcSwap::new(Lease::new(config.owner.clone())),
            first_owner: config.owner,
            lives: AtomicU64::new(1),
            leases_lost: AtomicU64::new(0),
            left: watch::Sender::new(false),
            texts: Texts::new(config.catalogue),
            retention: ArcSwap::from_pointee(config.retention),
            active: Mutex::default(),
            stays: AtomicU64::new(0),
            idle: Notify::new(),
            unfinished: Mutex::default(),
            gates: Mutex::default(),
            astray: AtomicBool::new(false),
            panicked: Mutex::default(),
            wake,
            drain,
        });
        engine.set_connections(config.connections);
        engine
    }

    /// Replaces the connections; runs find them by name at their next effect.
    pub fn set_connections(&self, connections: Connections) {
        for (name, connection) in &connections {
            // Plain HTTP has a lane for each host instead.
            if !name.is_empty() {
                self.ports.lanes.set_bounds(name, connection.concurrency, connection.rate);
            }
        }
        self.ports.health.set_connections(&connections);
        self.ports.connections.store(Arc::new(connections));
    }

    /// Replaces the bounds and the retention; runs meet them at their next step.
    pub fn set_limits(&self, limits: Limits, retention: Retention) {
        self.ports.lanes.set_default_slots(limits.workers);
        self.ports.bounds.store(Arc::new(limits));
        self.retention.store(Arc::new(retention));
    }

    /// After new connections: lets runs go on that were held because theirs was not there, and takes over what is known
    /// of them. What was known under other settings holds no more.
    pub async fn release_connections(&self) -> crate::store::StoreResult<u64> {
        self.ports.health.seen(false).await?;
        let released = self.store.release_held("connection_missing", None, self.ports.clock.now()).await?;
        self.wake.notify_one();
        Ok(released)
    }

    /// Tells which flows are live, so that their runs need not compile their texts again. Those that were live before
    /// are forgotten: a run that needs one compiles its pinned text. Their `concurrency` holds from now on, also for
    /// runs that wait already.
    pub fn set_live(&self, flows: impl Iterator<Item = Arc<LiveFlow>>) {
        let flows: Vec<Arc<LiveFlow>> = flows.collect();
        let gates = flows.iter().map(|live| {
            let bounds = live.flow.trigger.concurrency;
            (live.flow.name.clone(), bounds.map(|bounds| bounds.runs))
        });
        *self.gates.lock().unwrap_or_else(PoisonError::into_inner) = gates.collect();
        self.texts.set_live(flows.iter().map(|live| (live.text_id, Arc::clone(&live.flow))).collect());
        self.wake.notify_one();
    }

    /// Begins a life, takes over what others left behind, and starts to work.
    pub async fn start(self: &Arc<Self>) -> crate::store::StoreResult<()> {
        let prepared = self.prepare().await;
        if prepared.is_err() {
            self.give_up_life();
        }
        prepared?;
        tokio::spawn(lease::keep(Arc::clone(self)));
        tokio::spawn(lease::rescue_now_and_then(Arc::clone(self)));
        tokio::spawn(claim::work(Arc::clone(self)));
        tokio::spawn(maintain::work(Arc::clone(self)));
        Ok(())
    }

    /// What comes before any work: a life, and what others left behind.
    async fn prepare(&self) -> crate::store::StoreResult<()> {
        self.begin().await?;
        let now = self.ports.clock.now();
        for code in ["connection_missing", "flow_text_unreadable"] {
            self.store.release_held(code, None, now).await?;
        }
        self.ports.health.seen(true).await
    }

    /// How many runs are in memory.
    pub fn active_runs(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether a run has an actor.
    fn is_active(&self, run: RunId) -> bool {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run)
    }

    /// Whether a shutdown has begun.
    pub fn is_draining(&self) -> bool {
        *self.drain.borrow() != Drain::No
    }

    /// Stops: no claim and no new effect from now on; effects in flight may finish for `grace`, then they are given up
    /// (their tries do not count) and every run is handed back. Then the node leaves: it cannot be started again.
    pub async fn drain(&self, grace: Duration) {
        self.drain.send_replace(Drain::Finish);
        self.wake.notify_one();
        // A run that waits in the store is taken up by the next life: its request need not wait for that.
        self.ports.answers.retain(|run| self.is_active(run));
        self.finish_or_give_up(grace).await;
        if let Err(error) = self.ports.health.exchange(true).await {
            tracing::warn!(%error, "cannot keep when connections last worked");
        }
    }

    async fn finish_or_give_up(&self, grace: Duration) {
        if tokio::time::timeout(grace, self.until_idle()).await.is_err() {
            tracing::warn!(runs = self.active_runs(), "grace time is over; giving up effects in flight");
            self.drain.send_replace(Drain::GiveUp);
            if tokio::time::timeout(HAND_BACK_MAX, self.until_idle()).await.is_err() {
                tracing::error!(
                    runs = self.active_runs(),
                    "runs could not be handed back; they resume at the next start"
                );
            }
        }
        self.leave().await;
    }

    /// Resolves when no run is in memory.
    pub async fn until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.active_runs() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Asks a run in memory to stop.
    fn cancel_active(&self, run: RunId) {
        if let Some(active) = self.active.lock().unwrap_or_else(PoisonError::into_inner).get(&run) {
            active.cancel.send_replace(true);
        }
    }

    /// Gives an actor its own task.
    fn spawn(actor: Actor, presence: Presence, committed: bool) {
        let flow = actor.identity.flow.clone();
        tokio::spawn(async move {
            if actor.run(committed).await {
                presence.engine.count_unfinished(&flow, -1);
                if presence.engine.ports.lanes.waits_at_gate(&flow) {
                    presence.engine.wake.notify_one();
                }
            }
        });
    }

    /// Takes a run into memory. It is there as long as its [`Presence`] is.
    fn register(self: &Arc<Self>, run: RunId, cancelled: bool) -> (Presence, watch::Receiver<bool>) {
        let (cancel, receiver) = watch::channel(cancelled);
        let stay = self.stays.fetch_add(1, Ordering::Relaxed);
        self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(run, InMemory { stay, cancel });
        (Presence { engine: Arc::clone(self), run, stay }, receiver)
    }

    fn count_unfinished(&self, flow: &str, change: i64) {
        if let Some(count) = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).get_mut(flow) {
            count.runs += change;
        }
    }
}

/// Unfinished runs of a flow. Runs that others make or end are not seen: the truth is counted anew where it matters.
#[derive(Debug, Clone, Copy)]
struct Unfinished {
    /// Below zero for a moment when a run ends before its accept is counted.
    runs: i64,
    counted_at: Micros,
}

/// How long a drain waits for runs to be handed back after their effects were given up.
const HAND_BACK_MAX: Duration = Duration::from_secs(5);

/// A run's presence in memory; ends when dropped, also when its actor panicked.
struct Presence {
    engine: Arc<Engine>,
    run: RunId,
    stay: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut active = self.engine.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.get(&self.run).is_some_and(|active| active.stay == self.stay) {
            active.remove(&self.run);
        }
        drop(active);
        if std::thread::panicking() {
            // Nobody works on it any more: the claim loop finds it and holds it.
            self.engine.panicked.lock().unwrap_or_else(PoisonError::into_inner).insert(self.run);
            self.engine.astray.store(true, Ordering::SeqCst);
        }
        if self.engine.is_draining() {
            // It goes on in another life: its request cannot wait for that.
            self.engine.ports.answers.forget(self.run);
        }
        self.engine.idle.notify_waiters();
        // It may have been the suspect that others wait for, or the one that kept memory full.
        if self.engine.ports.lanes.has_backlog() {
            self.engine.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;

//! A node: a machine on which a process with the real engine lives, is stopped, dies, and is started again.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leadflow::clock::{Clock, DatabaseClock, Micros, Sample, micros};
use leadflow::engine::ports::{Connections, Limits};
use leadflow::engine::{Accept, Accepted, Acceptor, Config, Engine, Retention};
use leadflow::flow::catalogue::Catalogue;
use leadflow::library::{Library, LiveFlow};
use leadflow::run::TriggerData;
use leadflow::store::Store;
use leadflow::store::memory::MemoryStore;
use leadflow::store::wired::{Passage, Wire, Wired};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::other_side::{OtherSide, Way};
use super::time::{StoreTime, WrongClock, dice, roll, some_millis, work_in};

/// How long a lease stands here.
pub(super) const TTL: Duration = Duration::from_secs(3);
/// How long a process that is told to stop may take.
const GRACE: Duration = Duration::from_secs(2);

/// How the store is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// As it should be.
    Up,
    /// Nothing arrives.
    Cut,
    /// Everything arrives, and no answer comes back.
    Deaf,
    /// Everything takes its time.
    Slow,
}

/// A node's wire to the store.
pub(super) struct NodeWire(Arc<Mutex<Link>>);

impl Wire for NodeWire {
    fn passage(&self, _: &'static str) -> Passage {
        let (performed, answered) = (true, true);
        let quick = || Duration::from_millis(roll(8) as u64);
        match *self.0.lock().expect("lock") {
            // Now and then one call fails for itself.
            Link::Up if roll(200) == 0 => {
                let performed = roll(2) == 0;
                Passage { there: quick(), performed, back: some_millis(0, 900), answered: false }
            }
            Link::Up => Passage { there: quick(), performed, back: quick(), answered },
            Link::Cut => Passage { there: quick(), performed: false, back: some_millis(50, 1_500), answered: false },
            Link::Deaf => Passage { there: quick(), performed, back: some_millis(50, 1_500), answered: false },
            Link::Slow => Passage { there: some_millis(0, 1_200), performed, back: some_millis(0, 1_200), answered },
        }
    }
}

/// What all nodes of a seed share.
pub(super) struct Shared {
    pub(super) store: Arc<MemoryStore>,
    pub(super) time: Arc<StoreTime>,
    pub(super) side: Arc<OtherSide>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) connections: Connections,
    pub(super) flows: Vec<Arc<LiveFlow>>,
    pub(super) library: Arc<Library>,
    /// What became of each lead that was posted.
    pub(super) answers: Mutex<Vec<(usize, Accepted)>>,
}

/// A process.
struct Process {
    name: String,
    runtime: Runtime,
    engine: Arc<Engine>,
    /// Its clock's beginning, and the time that it was then.
    origin: Instant,
    born: Micros,
    /// It was told to stop, and whether it has.
    stopping: Option<Arc<AtomicBool>>,
}

/// The machine.
pub(super) struct Node {
    number: usize,
    lives: u32,
    link: Arc<Mutex<Link>>,
    clock_error: Arc<AtomicI64>,
    process: Option<Process>,
    /// Nothing happens here before: it is stopped, or down.
    asleep_until: Micros,
    /// Up to when it has worked.
    at: Micros,
}

impl Node {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            lives: 0,
            link: Arc::new(Mutex::new(Link::Up)),
            clock_error: Arc::default(),
            process: None,
            asleep_until: 0,
            at: 0,
        }
    }

    pub(super) fn set_link(&self, link: Link) {
        *self.link.lock().expect("lock") = link;
    }

    pub(super) fn set_clock_error(&self, error: Micros) {
        self.clock_error.store(error, Ordering::SeqCst);
    }

    /// SIGSTOP, or a machine that is moved: nothing of it runs until then, and it does not know.
    pub(super) fn pause(&mut self, until: Micros) {
        self.asleep_until = self.asleep_until.max(until);
    }

    /// SIGKILL; started again then.
    pub(super) fn crash(&mut self, until: Micros) {
        self.process = None;
        self.asleep_until = until;
    }

    /// SIGTERM: started again as soon as it has stopped.
    pub(super) fn stop(&mut self) {
        let Some(process) = &mut self.process else { return };
        if process.stopping.is_none() {
            let stopped = Arc::new(AtomicBool::new(false));
            process.stopping = Some(Arc::clone(&stopped));
            let engine = Arc::clone(&process.engine);
            process.runtime.spawn(async move {
                engine.drain(GRACE).await;
                stopped.store(true, Ordering::SeqCst);
            });
        }
    }

    /// Nothing is wrong with it from now on.
    pub(super) fn heal(&mut self, now: Micros) {
        self.set_link(Link::Up);
        self.set_clock_error(0);
        self.asleep_until = self.asleep_until.min(now);
    }

    /// The owner that this node works as; `None`: it does not hold its lease now.
    pub(super) fn holds(&self) -> Option<String> {
        let process = self.process.as_ref().filter(|process| process.stopping.is_none())?;
        let report = {
            let _inside = process.runtime.enter();
            process.engine.lease_report()
        };
        (report.state == leadflow::engine::lease::LeaseState::Held).then_some(report.owner)
    }

    /// Posts a lead here; `false`: nobody listens.
    pub(super) fn post(&self, shared: &Arc<Shared>, number: usize, flow: usize, wait: &str, now: Micros) -> bool {
        let Some(process) = self.process.as_ref().filter(|process| process.stopping.is_none()) else { return false };
        if self.asleep_until > now {
            return false;
        }
        let acceptor = Acceptor(Arc::clone(&process.engine));
        let live = Arc::clone(&shared.flows[flow]);
        let body = serde_json::json!({"n": number, "wait": wait, "numbers": [1, 2, 3]}).to_string();
        let trigger = TriggerData { method: "POST".into(), body, ..TriggerData::default() };
        let shared = Arc::clone(shared);
        process.runtime.spawn(async move {
            let accepted = acceptor.accept(live, trigger).await;
            shared.answers.lock().expect("lock").push((number, accepted));
        });
        true
    }

    /// Works until `to`.
    pub(super) fn step(&mut self, shared: &Arc<Shared>, to: Micros) {
        if self.asleep_until >= to {
            return;
        }
        let Some(process) = &mut self.process else {
            self.at = self.asleep_until.max(self.at);
            self.lives += 1;
            let name = format!("n{}.{}", self.number, self.lives);
            self.process = Some(Process::start(name, shared, self, to));
            self.at = to;
            return;
        };
        let target = process.origin + span(to - process.born);
        let gap = span((self.asleep_until - self.at).max(0));
        work_in(process.origin, process.born, || {
            process.runtime.block_on(async {
                if !gap.is_zero() {
                    // It wakes, and finds that time has passed.
                    tokio::time::advance(gap).await;
                }
                tokio::time::sleep_until(target).await;
            });
        });
        self.at = to;
        if process.stopping.as_ref().is_some_and(|stopped| stopped.load(Ordering::SeqCst)) {
            self.process = None;
        }
    }

    /// What stands on this machine now.
    pub(super) fn name(&self) -> &str {
        self.process.as_ref().map_or("nobody", |process| &process.name)
    }
}

impl Process {
    fn start(name: String, shared: &Arc<Shared>, node: &Node, now: Micros) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let origin = runtime.block_on(async { Instant::now() });
        let database = shared.time.now();
        let clock = WrongClock {
            inner: DatabaseClock::new(Sample { asked: origin, answered: origin, database }),
            error: Arc::clone(&node.clock_error),
        };
        let long = Duration::from_hours(999);
        let config = Config {
            store: Arc::new(Wired::new(Arc::clone(&shared.store), NodeWire(Arc::clone(&node.link)))) as Arc<dyn Store>,
            effects: Arc::new(Way { side: Arc::clone(&shared.side), process: name.clone() }),
            library: Arc::clone(&shared.library),
            connections: shared.connections.clone(),
            clock: Arc::new(clock) as Arc<dyn Clock>,
            limits: Limits { lease_ttl: TTL, ..Limits::default() },
            retention: Retention { succeeded: long, failed: long, rejected: long, duplicates: long },
            environment: None,
            catalogue: Arc::clone(&shared.catalogue),
            owner: format!("{name}:0"),
        };
        let engine = Engine::with_dice(config, dice);
        engine.set_live(shared.flows.iter().map(Arc::clone));
        let starting = Arc::clone(&engine);
        runtime.spawn(async move {
            // Whoever runs it starts it again.
            while starting.start().await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { name, runtime, engine, origin, born: now, stopping: None }
    }
}

/// A span of time that is not negative.
fn span(time: Micros) -> Duration {
    Duration::from_micros(time.unsigned_abs())
}

/// Microseconds of whole milliseconds.
pub(super) fn millis(millis: u64) -> Micros {
    micros(Duration::from_millis(millis))
}

//! One seed: nodes, leads, everything that goes wrong, and the time in which it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};

use leadflow::actions;
use leadflow::clock::{Clock, Micros};
use leadflow::flow::Flow;
use leadflow::flow::catalogue::Catalogue;
use leadflow::library::{FlowSet, LiveFlow};
use leadflow::store::memory::{Breach, MemoryStore};
use leadflow::store::{FlowText, Store};

use super::check::Check;
use super::node::{Link, Node, Shared, millis};
use super::other_side::OtherSide;
use super::time::{self, StoreTime, roll};
use crate::support::rig::{alone, compiled, embedded};

/// One effect, then a wait in the store or in memory, then two effects beside each other and a record.
const FLOW: &str = "name: NAME
trigger:
  type: request
CONCURRENCYactions:
  - name: send_first
    type: http
    connection: api
    method: POST
    url: /first
    retry: { policy: fixed, count: 1000, interval: 300ms }
    body: { run: '{{run.id}}' }
  - name: rest
    type: delay
    for: '{{trigger.body.wait}}'
  - name: send_left
    type: http
    connection: api
    method: POST
    url: /left
    retry: { policy: fixed, count: 1000, interval: 300ms }
    body: { run: '{{run.id}}' }
  - name: send_right
    type: http
    run_after: { rest: [succeeded] }
    connection: api
    method: POST
    url: /right
    retry: { policy: fixed, count: 1000, interval: 2s }
    body: { run: '{{run.id}}' }
  - name: keep
    type: create_record
    run_after: { send_left: [succeeded], send_right: [succeeded] }
    connection: crm
    entity: leads
    fields: { n: '{{trigger.body.n}}' }
";

/// Calls the first flow, and waits for it.
const CALLER: &str = "name: caller
trigger:
  type: request
actions:
  - name: send_first
    type: http
    connection: api
    method: POST
    url: /first
    retry: { policy: fixed, count: 1000, interval: 300ms }
    body: { run: '{{run.id}}' }
  - name: call
    type: run_flow
    flow: plain
    body: { n: '{{trigger.body.n}}', wait: '{{trigger.body.wait}}' }
  - name: send_left
    type: http
    connection: api
    method: POST
    url: /left
    retry: { policy: fixed, count: 1000, interval: 300ms }
    body: { run: '{{run.id}}' }
";

/// Two iterations at a time.
const LOOP: &str = "name: loop
trigger:
  type: request
actions:
  - name: each
    type: for_each
    items: '{{trigger.body.numbers}}'
    concurrency: 2
    actions:
      - name: send_item
        type: http
        connection: api
        method: POST
        url: /item
        retry: { policy: fixed, count: 1000, interval: 500ms }
        body: { run: '{{run.id}}' }
      - name: rest
        type: delay
        for: '{{trigger.body.wait}}'
";

/// Rows of steps that a run of each flow leaves behind.
pub(super) const STEPS: [(&str, usize); 4] = [("plain", 5), ("gated", 5), ("caller", 3), ("loop", 1 + 3 * 2)];

/// When it begins: any time does.
const T0: Micros = 1_750_000_000_000_000;
/// How long things go wrong.
const TROUBLE: u64 = 12_000;
/// How long everything may take to end once nothing is wrong any more.
const PATIENCE: u64 = 120_000;
/// Slots of the connection.
const SLOTS: usize = 3;

/// What goes wrong, or is posted.
#[derive(Debug, Clone, Copy)]
enum Event {
    Post { lead: usize, flow: usize, wait: &'static str },
    Pause(u64),
    Crash(u64),
    Stop,
    Link(Link),
    Clock(i64),
}

/// What a seed came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) faults: Vec<String>,
    pub(super) trace: Vec<String>,
    pub(super) runs: usize,
    pub(super) sent: usize,
    /// Effects that were done again.
    pub(super) repeats: usize,
    pub(super) rescues: usize,
    /// Milliseconds of virtual time.
    pub(super) took: u64,
}

impl Outcome {
    /// Counts what another seed came to.
    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.sent += other.sent;
        self.repeats += other.repeats;
        self.rescues += other.rescues;
        self.took += other.took;
    }
}

struct World {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    now: Micros,
    plan: Vec<(Micros, usize, Event)>,
    check: Check,
    trace: Option<Vec<String>>,
    rescues: usize,
    /// Lines of the ledger that are in the trace.
    told: usize,
}

/// What costs time to make and never changes.
fn kit() -> &'static (Vec<Arc<Flow>>, Arc<Catalogue>) {
    static KIT: OnceLock<(Vec<Arc<Flow>>, Arc<Catalogue>)> = OnceLock::new();
    KIT.get_or_init(|| {
        let flow = |name: &str, concurrency: &str| {
            Arc::new(compiled(&FLOW.replace("NAME", name).replace("CONCURRENCY", concurrency)))
        };
        let (caller, looped) = (Arc::new(compiled(CALLER)), Arc::new(compiled(LOOP)));
        let flows = vec![flow("plain", ""), flow("gated", "  concurrency: { runs: 1 }\n"), caller, looped];
        (flows, Arc::new(actions::catalogue()))
    })
}

/// Plays a seed.
pub(super) fn play(seed: u64, breach: Option<Breach>, traced: bool) -> Outcome {
    time::begin(seed);
    let mut world = World::new(breach, traced);
    world.live_through();
    world.outcome()
}

impl World {
    fn new(breach: Option<Breach>, traced: bool) -> Self {
        let time = StoreTime::new(T0);
        let clock = Arc::clone(&time) as Arc<dyn Clock>;
        let store = Arc::new(match breach {
            None => MemoryStore::new(clock),
            Some(breach) => MemoryStore::breaking(clock, breach),
        });
        let (flows, catalogue) = kit();
        let pinned = |flow: &Arc<Flow>| {
            let text = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle: String::new() };
            let text_id = alone(store.pin_text(text, T0)).expect("pinned");
            Arc::new(LiveFlow { flow: Arc::clone(flow), text_id })
        };
        let open = |name, kind| (str::to_owned(name), Arc::new(embedded(name, kind, SLOTS)));
        let side = OtherSide {
            store: Arc::clone(&store),
            time: Arc::clone(&time),
            ledger: Mutex::default(),
            faults: Mutex::default(),
        };
        let shared = Shared {
            library: Arc::default(),
            flows: flows.iter().map(pinned).collect(),
            store,
            time,
            side: Arc::new(side),
            catalogue: Arc::clone(catalogue),
            connections: BTreeMap::from([open("api", "http"), open("crm", "records")]),
            answers: Mutex::default(),
        };
        let named = shared.flows.iter().map(|live| (live.flow.name.clone(), Arc::clone(live)));
        shared.library.swap(FlowSet { flows: named.collect(), ..FlowSet::default() });
        let count = 2 + roll(3);
        let mut world = Self {
            shared: Arc::new(shared),
            nodes: (0..count).map(Node::new).collect(),
            now: T0,
            plan: Vec::new(),
            check: Check::default(),
            trace: traced.then(Vec::new),
            rescues: 0,
            told: 0,
        };
        world.make_plan();
        world
    }

    fn make_plan(&mut self) {
        let count = self.nodes.len();
        for lead in 0..4 + roll(8) {
            let wait = *["50ms", "700ms", "1500ms", "4s"].get(roll(4)).expect("one of four");
            let post = Event::Post { lead, flow: [0, 0, 0, 1, 1, 2, 3][roll(7)], wait };
            self.plan.push((T0 + millis(200 + roll(9_000) as u64), roll(count), post));
        }
        let posts = self.plan.clone();
        for _ in 0..3 + roll(8) {
            // Every other one hits a node that has just taken a lead.
            let (node, at) = match posts.get(roll(2 * posts.len())) {
                Some((at, node, _)) => (*node, at + millis(roll(1_500) as u64)),
                None => (roll(count), T0 + millis(roll(TROUBLE as usize) as u64)),
            };
            let lasts = 100 + roll(7_000) as u64;
            let end = at + millis(lasts);
            match roll(8) {
                0..=2 => self.plan.push((at, node, Event::Pause(lasts))),
                3 => self.plan.push((at, node, Event::Crash(lasts / 2))),
                4 => self.plan.push((at, node, Event::Stop)),
                5 => {
                    self.plan.push((at, node, Event::Clock(roll(20_000) as i64 - 10_000)));
                    self.plan.push((end, node, Event::Clock(0)));
                }
                _ => {
                    let link = *[Link::Cut, Link::Deaf, Link::Slow].get(roll(3)).expect("one of three");
                    self.plan.push((at, node, Event::Link(link)));
                    self.plan.push((end, node, Event::Link(Link::Up)));
                }
            }
        }
        self.plan.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    }

    fn live_through(&mut self) {
        let trouble_ends = T0 + millis(TROUBLE);
        while self.now < trouble_ends {
            self.pass(5 + roll(120) as u64);
        }
        for (_, node, event) in std::mem::take(&mut self.plan) {
            if let Event::Post { .. } = event {
                self.meet(node, event);
            }
        }
        for node in &mut self.nodes {
            node.heal(self.now);
        }
        self.tell(|| "everything heals".to_owned());
        let patience = self.now + millis(PATIENCE);
        while self.now < patience && !self.is_over() {
            self.pass(250);
        }
    }

    /// Every run has ended, and every node holds a lease.
    fn is_over(&self) -> bool {
        if self.shared.store.unfinished_runs() > 0 {
            return false;
        }
        let held: Option<BTreeSet<String>> = self.nodes.iter().map(Node::holds).collect();
        held.is_some_and(|held| held == self.shared.store.lives().into_iter().collect())
    }

    /// Lets so many milliseconds pass on every node, one after the other.
    fn pass(&mut self, by: u64) {
        let to = self.now + millis(by);
        while self.plan.last().is_some_and(|(at, ..)| *at <= self.now) {
            if let Some((_, node, event)) = self.plan.pop() {
                self.meet(node, event);
            }
        }
        let first = roll(self.nodes.len());
        let count = self.nodes.len();
        for node in (0..count).map(|at| (first + at) % count) {
            self.nodes[node].step(&self.shared, to);
            self.look();
        }
        self.now = to;
    }

    fn meet(&mut self, node: usize, event: Event) {
        let now = self.now;
        let name = self.nodes[node].name().to_owned();
        let until = |lasts| now + millis(lasts);
        let one = &mut self.nodes[node];
        let mut heard = true;
        match event {
            Event::Post { lead, flow, wait } => heard = one.post(&self.shared, lead, flow, wait, now),
            Event::Pause(lasts) => one.pause(until(lasts)),
            Event::Crash(lasts) => one.crash(until(lasts)),
            Event::Stop => one.stop(),
            Event::Link(link) => one.set_link(link),
            Event::Clock(error) => one.set_clock_error(error * 1000),
        }
        self.tell(|| format!("{} {name}: {event:?}{}", now - T0, if heard { "" } else { " (nobody listens)" }));
    }

    /// What happened in the store and at the other side.
    fn look(&mut self) {
        for entry in self.shared.store.take_log() {
            self.check.follow(&entry);
            self.rescues += usize::from(entry.happened == leadflow::store::memory::Happened::Rescued);
            let number = self.check.number(entry.run);
            let owner = entry.owner.as_deref().unwrap_or("nobody");
            self.tell(|| {
                let (at, happened, status) = (entry.at - T0, &entry.happened, entry.status.as_str());
                format!("{at} run {number}: {happened:?} {status} by {owner} in epoch {}", entry.epoch)
            });
        }
        if let Some(trace) = &mut self.trace {
            let ledger = self.shared.side.ledger.lock().expect("lock");
            for sent in &ledger[self.told..] {
                let (at, number) = (sent.at - T0, self.check.number(sent.run));
                trace.push(format!(
                    "{at} run {number}: {} sent {}{}",
                    sent.process,
                    sent.action,
                    if sent.performed { "" } else { " (refused)" }
                ));
            }
            self.told = ledger.len();
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    fn outcome(mut self) -> Outcome {
        let runs = self.shared.store.all_runs();
        let ledger = std::mem::take(&mut *self.shared.side.ledger.lock().expect("lock"));
        let answers = std::mem::take(&mut *self.shared.answers.lock().expect("lock"));
        self.check.faults.append(&mut self.shared.side.faults.lock().expect("lock"));
        self.check.runs(&runs, &ledger);
        self.check.answers(&answers, &runs);
        let held: Vec<Option<String>> = self.nodes.iter().map(Node::holds).collect();
        self.check.leases(&held, &self.shared.store.lives());
        Outcome {
            faults: self.check.faults,
            trace: self.trace.unwrap_or_default(),
            runs: runs.len(),
            sent: ledger.len(),
            repeats: self.check.repeats,
            rescues: self.rescues,
            took: (self.now - T0).unsigned_abs() / 1000,
        }
    }
}

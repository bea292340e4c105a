//! Random plans with containers, what each step of a run does, and a player that drives `advance` in any order, with
//! restarts in between.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::flow::plan::{Kind, Node, NodeId, Plan, StatusSet, StepStatus};
use crate::run::advance::{Event, SKIPPED_BY_WHEN, Todo, advance};
use crate::run::transition::StepEvent;
use crate::run::{Class, Failure, RunState, StepKey};

/// Deepest nesting of containers.
const DEPTH_MAX: u32 = 3;
/// Most actions of a plan, but for the first one of a block.
const NODES_MAX: usize = 24;
/// Most events of one run: more means that it does not end.
const EVENTS_MAX: usize = 20_000;
/// Cases of every switch; its default is the block behind them.
pub(crate) const CASES: u16 = 2;

/// Small random numbers that a seed decides (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("small")
    }
}

/// A random plan.
pub(crate) fn plan(dice: &mut Dice) -> Plan {
    let mut nodes = Vec::new();
    block(dice, &mut nodes, None, 0, 1);
    Plan::new(nodes)
}

fn block(dice: &mut Dice, nodes: &mut Vec<Node>, parent: Option<NodeId>, block_number: u16, depth: u32) {
    let mut siblings: Vec<NodeId> = Vec::new();
    for _ in 0..=dice.roll(if depth == 1 { 5 } else { 3 }) {
        // No block is empty, as in a flow file: a turn of a loop leaves a step behind.
        if nodes.len() >= NODES_MAX && !siblings.is_empty() {
            return;
        }
        let after = after(dice, &siblings);
        let kind = match dice.roll(if depth > DEPTH_MAX { 1 } else { 9 }) {
            5 => Kind::If,
            6 => [Kind::Switch, Kind::Scope][dice.roll(2)],
            7 => Kind::Each { concurrency: u32::try_from(1 + dice.roll(3)).expect("small") },
            8 => Kind::Until,
            _ => Kind::Leaf,
        };
        let id = nodes.len();
        nodes.push(Node { name: format!("n{id}"), parent, block: block_number, after, kind });
        siblings.push(id);
        let blocks = match kind {
            Kind::Leaf => 0,
            Kind::If => 2,
            Kind::Switch => CASES + 1,
            Kind::Each { .. } | Kind::Until | Kind::Scope => 1,
        };
        // Some `else`, `default` or case is missing.
        let all = (0..blocks).filter(|number| *number == 0 || dice.roll(4) > 0).collect::<Vec<_>>();
        for number in all {
            block(dice, nodes, Some(id), number, depth + 1);
        }
    }
}

fn after(dice: &mut Dice, siblings: &[NodeId]) -> Vec<(NodeId, StatusSet)> {
    let Some(last) = siblings.last() else { return Vec::new() };
    match dice.roll(4) {
        0 => Vec::new(),
        1 | 2 => vec![(*last, list(dice))],
        _ => {
            let mut named: Vec<NodeId> = (0..2).map(|_| siblings[dice.roll(siblings.len())]).collect();
            named.dedup();
            named.into_iter().map(|id| (id, list(dice))).collect()
        }
    }
}

fn list(dice: &mut Dice) -> StatusSet {
    let statuses = [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped, StepStatus::TimedOut];
    let bits = if dice.roll(3) == 0 { 1 + dice.roll(15) } else { 1 };
    (0..4).filter(|bit| bits & (1 << bit) != 0).fold(StatusSet::default(), |set, bit| set.with(statuses[bit]))
}

/// What an action does when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Its `when` turns it off.
    Off,
    /// Its inputs cannot be rendered.
    Broken,
    /// A leaf ends well; a container opens.
    Well,
    /// A leaf fails; an `until` fails at its limit.
    Fails,
    /// A leaf takes too long.
    Slow,
}

/// What the step `key` does in the run that `seed` decides: the same however often somebody asks.
pub(super) fn act(seed: u64, key: &StepKey) -> (Act, usize) {
    let mixed = key
        .idx
        .bytes()
        .fold(seed ^ (key.node as u64) << 32, |mixed, byte| mixed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    let mut dice = Dice::new(mixed);
    let act = match dice.roll(12) {
        0 => Act::Off,
        1 => Act::Broken,
        2 | 3 => Act::Fails,
        4 => Act::Slow,
        _ => Act::Well,
    };
    (act, dice.roll(4))
}

/// What a container that opens decides, as the engine pins it. `number`: the second half of [`act`].
fn decision(kind: Kind, number: usize) -> Value {
    match kind {
        Kind::If => json!({ "if": number.is_multiple_of(2) }),
        Kind::Switch => json!({ "branch": number.min(usize::from(CASES)) }),
        Kind::Each { .. } => json!({ "items": vec![Value::Null; number] }),
        Kind::Leaf | Kind::Until | Kind::Scope => json!({}),
    }
}

fn broken() -> Failure {
    Failure::terminal("internal_error", "it fails")
}

/// The rounds of an `until` that nothing ends earlier.
pub(super) fn rounds(number: usize) -> u32 {
    u32::try_from(1 + number % 3).expect("small")
}

/// Drives `advance`, doing what can be done in random order.
pub(super) struct Player<'a> {
    plan: &'a Plan,
    seed: u64,
    pub(super) run: RunState,
    /// What can happen next.
    open: Vec<Todo>,
    /// How often each start was said since the run was last taken up.
    said: BTreeMap<StepKey, u32>,
    /// Events so far.
    pub(super) events: usize,
}

impl<'a> Player<'a> {
    pub(super) fn new(plan: &'a Plan, seed: u64) -> Self {
        let run = RunState::default();
        let mut player = Self { plan, seed, run, open: Vec::new(), said: BTreeMap::new(), events: 0 };
        player.apply(Event::Begin { at: 1 });
        player
    }

    fn apply(&mut self, event: Event) {
        self.events += 1;
        assert!(self.events < EVENTS_MAX, "the run does not end");
        let todos = advance(self.plan, &mut self.run, event).expect("a legal move");
        for todo in &todos {
            if let Todo::Start(key) = todo {
                let said = self.said.entry(key.clone()).or_default();
                *said += 1;
                assert_eq!(*said, 1, "{key:?} is started twice");
            }
        }
        self.open.extend(todos.into_iter().filter(|todo| !matches!(todo, Todo::Left { .. } | Todo::Settle(_))));
    }

    fn step(&mut self, key: StepKey, event: StepEvent) {
        self.apply(Event::Step { at: 2, key, event });
    }

    /// Does one of the things that can be done; false when there are none.
    pub(super) fn turn(&mut self, dice: &mut Dice) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let at = dice.roll(self.open.len());
        match self.open.swap_remove(at) {
            Todo::Start(key) => self.start(key),
            Todo::WaitUntil(key, _) => self.end(key),
            Todo::Ended { key, bad } => self.close(key, bad),
            Todo::Left { .. } | Todo::Settle(_) => {}
        }
        true
    }

    fn start(&mut self, key: StepKey) {
        let kind = self.plan.nodes[key.node].kind;
        match act(self.seed, &key) {
            (Act::Off, _) => self.step(key, StepEvent::Skip { at: 2, reason: SKIPPED_BY_WHEN }),
            (Act::Broken, _) => self.step(key, StepEvent::Fail { at: 2, failure: broken() }),
            (_, number) => {
                self.step(key.clone(), StepEvent::Start { at: 2, inputs: decision(kind, number) });
                if kind == Kind::Leaf {
                    self.step(key, StepEvent::Wait { until: 3 });
                }
            }
        }
    }

    /// A leaf that has started ends.
    fn end(&mut self, key: StepKey) {
        let event = match act(self.seed, &key).0 {
            Act::Fails => StepEvent::Fail { at: 3, failure: broken() },
            Act::Slow => {
                let failure = Failure { class: Class::TimedOut, ..broken() };
                StepEvent::Fail { at: 3, failure }
            }
            _ => StepEvent::Succeed { at: 3, outputs: Value::Null, outcome: None, possible_repeat: false },
        };
        self.step(key, event);
    }

    fn close(&mut self, key: StepKey, bad: bool) {
        let (act, number) = act(self.seed, &key);
        let is_until = self.plan.nodes[key.node].kind == Kind::Until;
        if is_until && !bad && self.run.open[&key].next < rounds(number) {
            return self.apply(Event::Again { at: 3, key });
        }
        let fails = bad || (is_until && act == Act::Fails);
        let failure = fails.then(broken);
        self.step(key, StepEvent::Close { at: 3, outputs: Value::Null, outcome: None, failure });
    }

    /// The process dies and the run is taken up again from its steps. Of leaves that had started, the store may or may
    /// not know.
    pub(super) fn restart(&mut self, dice: &mut Dice) {
        let mut steps = std::mem::take(&mut self.run.steps);
        steps.retain(|key, step| {
            let is_leaf = self.plan.nodes[key.node].kind == Kind::Leaf;
            !(is_leaf && !step.status.is_final() && dice.roll(2) == 0)
        });
        self.run = RunState::of(steps);
        self.open.clear();
        self.said.clear();
        self.apply(Event::Begin { at: 4 });
    }

    /// The status of every step.
    pub(super) fn statuses(&self) -> BTreeMap<StepKey, StepStatus> {
        self.run.steps.iter().map(|(key, step)| (key.clone(), step.status)).collect()
    }
}

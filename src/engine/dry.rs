//! A dry run: the real parser, the real templates, the real actor; effects are recorded, delays pass at once, nothing is
//! stored and nothing is sent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use super::actor::{Actor, Seed};
use super::answers::Answers;
use super::dedupe::{self, Key};
use super::health::Health;
use super::lanes::Lanes;
use super::lease::Lease;
use super::ports::{CallEnd, Connections, Drain, Journal, Limits, Mocks, Ports};
use super::restore;
use super::scope::Values;
use super::split::{SplitFault, split};
use super::verdict::{Verdict, judge};
use crate::actions;
use crate::clock::{Clock, Fut, ManualClock, Micros, SystemClock};
use crate::flow::Flow;
use crate::flow::plan::NodeId;
use crate::flow::secure::MASK;
use crate::ids::RunId;
use crate::library::Library;
use crate::outbound::Effects;
use crate::run::variables::{Variables, shown};
use crate::run::{Failure, Identity, RunState, RunStatus, StepKey, StepStatus, TriggerData};
use crate::schema::BodyError;
use crate::store::{NewRun, RunCommit, StepRow, StoreResult};
use crate::template::RenderError;
use crate::triggers::request::{self, Problem};

/// What a dry run is made of.
pub struct DryInput {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The flows that it may call.
    pub library: Arc<Library>,
    /// Its connections: only their connectors are used.
    pub connections: Connections,
    /// What records the effects.
    pub effects: Arc<dyn Effects>,
    /// The request's body.
    pub lead: Vec<u8>,
    /// Mocks by action.
    pub mocks: Mocks,
    /// `--env`.
    pub environment: Option<String>,
    /// Bounds.
    pub limits: Limits,
}

/// What a dry run gave.
#[derive(Debug)]
pub struct DryRun {
    /// The run's final status; `None`: the trigger refused the body.
    pub status: Option<RunStatus>,
    /// The answer that refuses it.
    pub problem: Option<Problem>,
    /// The folded body.
    pub body: Value,
    /// Why it does not run, where `status` is skipped.
    pub reason: Option<String>,
    /// Notes on the body.
    pub notes: Vec<BodyError>,
    /// Whether it is a test lead.
    pub is_test: bool,
    /// How many items the list has that the trigger splits: so many runs there would be. This is the first one.
    pub items: Option<usize>,
    /// What recognises the same lead.
    pub key: Option<DryKey>,
    /// The actions, in the order of the file.
    pub actions: Vec<DryAction>,
    /// Fields of the body that no template reads, as dotted paths.
    pub unused: Vec<String>,
    /// What the variables held at the end, secure ones blotted out.
    pub variables: Map<String, Value>,
}

/// The dedupe key of a dry run.
#[derive(Debug, Clone, PartialEq)]
pub struct DryKey {
    /// Its parts, rendered.
    pub parts: Vec<Value>,
    /// Whether one of them is blank: then the lead is not deduplicated.
    pub blank: bool,
}

/// One action of a dry run.
#[derive(Debug)]
pub struct DryAction {
    /// Its name.
    pub name: String,
    /// The iterations of the loops round it, outermost first; empty outside every loop.
    pub index: Vec<u32>,
    /// Its type.
    pub kind: String,
    /// Its connection.
    pub connection: Option<String>,
    /// How it ended.
    pub status: StepStatus,
    /// Why it was skipped, or `created`, ….
    pub outcome: Option<String>,
    /// Rendered inputs.
    pub inputs: Option<Value>,
    /// Outputs.
    pub outputs: Option<Value>,
    /// Tries.
    pub attempts: u32,
    /// The failure.
    pub error: Option<Failure>,
}

/// What all runs of a dry run share.
struct Kit {
    library: Arc<Library>,
    connections: Connections,
    effects: Arc<dyn Effects>,
    environment: Value,
    limits: Limits,
    now: Micros,
}

impl Kit {
    fn new(input: &DryInput, now: Micros) -> Self {
        let mut limits = input.limits.clone();
        // Nothing leaves memory: a dry run waits out every delay on its own clock.
        limits.keep_in_memory = Duration::MAX;
        limits.run_duration = Duration::MAX;
        Self {
            library: Arc::clone(&input.library),
            connections: input.connections.clone(),
            effects: Arc::clone(&input.effects),
            environment: input.environment.clone().map_or(Value::Null, Value::String),
            limits,
            now,
        }
    }

    fn ports(&self, memory: Arc<Memory>, mocks: Mocks, drain: watch::Receiver<Drain>) -> Ports {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(self.now));
        let lanes = Lanes::new(usize::MAX, Arc::clone(&clock), Arc::new(Notify::new()));
        Ports {
            journal: memory,
            effects: Arc::clone(&self.effects),
            library: Arc::clone(&self.library),
            connections: ArcSwap::from_pointee(self.connections.clone()),
            health: Arc::new(Health::new(None, Arc::clone(&clock), Arc::clone(&lanes))),
            clock,
            lanes,
            answers: Answers::default(),
            bounds: ArcSwap::from_pointee(self.limits.clone()),
            environment: self.environment.clone(),
            dice: || 0.5,
            mocks,
            drain,
        }
    }
}

/// Remembers steps instead of storing them, and plays the runs that are called.
struct Memory {
    kit: Arc<Kit>,
    /// By name and index.
    steps: Mutex<HashMap<(String, String), StepRow>>,
    end: Mutex<Option<CallEnd>>,
    called: Mutex<HashMap<RunId, CallEnd>>,
}

impl Memory {
    fn new(kit: &Arc<Kit>) -> Arc<Self> {
        let (steps, end, called) = Default::default();
        Arc::new(Self { kit: Arc::clone(kit), steps, end, called })
    }

    fn status(&self) -> Option<RunStatus> {
        locked(&self.end).as_ref().map(|end| end.status)
    }

    /// Plays a called run to its end.
    async fn play(&self, new: NewRun) {
        let run = new.run;
        let mut end = CallEnd { status: run.status, code: run.code.clone(), answer: None };
        let live = self.kit.library.live();
        let flow = live.resolve(&run.flow).map(|(live, _)| Arc::clone(&live.flow));
        if let (false, Some(flow), Some(trigger)) = (run.status.is_final(), flow, &run.trigger)
            && let Ok(parsed) = request::parse(&flow, trigger, &self.kit.limits.body)
        {
            let identity = restore::identity(&run);
            let memory = Self::new(&self.kit);
            let (_drain, drain) = watch::channel(Drain::No);
            let ports = Arc::new(self.kit.ports(Arc::clone(&memory), Mocks::new(), drain));
            let values = Values::new(&flow, &identity, parsed.trigger);
            play(&flow, &ports, identity, values).await;
            end = locked(&memory.end).take().unwrap_or(end);
        }
        locked(&self.called).insert(run.run_id, end);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal for Memory {
    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        Box::pin(async move {
            for new in commit.starts {
                self.play(new).await;
            }
            let rows = commit.steps.into_iter().map(|step| ((step.name.clone(), step.idx.clone()), step));
            locked(&self.steps).extend(rows);
            let mut end = locked(&self.end);
            let answer = commit.answer.or_else(|| end.take().and_then(|end| end.answer));
            *end = Some(CallEnd { status: commit.status, code: commit.code, answer });
            Ok(())
        })
    }

    fn called(&self, run: RunId) -> Fut<'_, StoreResult<Option<CallEnd>>> {
        Box::pin(std::future::ready(Ok(locked(&self.called).get(&run).cloned())))
    }
}

/// Runs a lead through a flow without a trace. Of a list that the trigger splits, the first item.
pub async fn dry_run(input: DryInput) -> DryRun {
    let now = SystemClock.now();
    let run_id = RunId::new(now);
    let memory = Memory::new(&Arc::new(Kit::new(&input, now)));
    let (_drain, drain) = watch::channel(Drain::No);
    let ports = Arc::new(memory.kit.ports(Arc::clone(&memory), input.mocks.clone(), drain));
    let flow = input.flow.name.clone();
    let mut identity = Identity { run_id, flow, key_run: run_id, received_at: now, is_test: false, parent: None };
    let (parsed, items) = match receive(&input, &identity, &ports) {
        Ok(received) => received,
        Err(problem) => return refused(problem),
    };
    identity.is_test = parsed.is_test;
    let body = parsed.trigger.get("body").cloned().unwrap_or(Value::Null);
    let mut dry = DryRun {
        status: None,
        problem: None,
        reason: None,
        notes: parsed.notes,
        is_test: parsed.is_test,
        items: None,
        key: None,
        actions: Vec::new(),
        unused: unused(&input.flow, &body),
        variables: Map::new(),
        body,
    };
    match items {
        Ok(items) => dry.items = items,
        Err(error) => dry.fail("split_on", &error),
    }
    let values = Values::new(&input.flow, &identity, parsed.trigger);
    if dry.items == Some(0) {
        dry.skip("split_on gives no items".to_owned());
    } else if dry.status.is_none() {
        match judge(&input.flow, &identity, &values, ports.sight()) {
            Verdict::Run => {
                dry.ask_key(dedupe::key(&input.flow, &identity, &values, ports.sight()));
                play(&input.flow, &ports, identity, values).await;
                dry.status = memory.status();
            }
            Verdict::TestLead => dry.skip("a test lead, and `test_leads` has `run: false`".to_owned()),
            Verdict::Condition(number) => dry.skip(format!("condition {number} of the trigger is false")),
            Verdict::Fault(error) => dry.fail("a condition", &error),
        }
    }
    let steps = std::mem::take(&mut *locked(&memory.steps));
    dry.actions = listed(&input.flow, &steps);
    dry.variables = variables(&input.flow, &steps);
    dry
}

impl DryRun {
    fn skip(&mut self, reason: String) {
        (self.status, self.reason) = (Some(RunStatus::Skipped), Some(reason));
    }

    fn fail(&mut self, what: &str, error: &RenderError) {
        let message = format!("{what} could not be evaluated: {} ({})", error.message, error.code);
        self.status = Some(RunStatus::Failed);
        self.notes.push(BodyError { pointer: String::new(), message });
    }

    fn ask_key(&mut self, key: Key) {
        self.notes.extend(key.note());
        self.key = match key {
            Key::Known(parts, _) => Some(DryKey { parts, blank: false }),
            Key::Blank(parts) => Some(DryKey { parts, blank: true }),
            Key::NotAsked | Key::Fault(_) => None,
        };
    }
}

/// What the trigger makes of a request: what a run sees, and how many items a list has that is split.
type Received = (request::Parsed, Result<Option<usize>, RenderError>);

fn receive(input: &DryInput, identity: &Identity, ports: &Ports) -> Result<Received, Problem> {
    let (flow, limits) = (&input.flow, &input.limits.body);
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = request::decode(&headers, &input.lead, limits)?;
    let method = flow.trigger.methods.first().cloned().unwrap_or_else(|| "POST".to_owned());
    let trigger = TriggerData { method, headers, body, ..TriggerData::default() };
    let parsed = request::parse(flow, &trigger, limits)?;
    if flow.trigger.split_on.is_none() {
        return Ok((parsed, Ok(None)));
    }
    match split(flow, identity, &trigger, &parsed.trigger, ports.sight()) {
        Ok(items) => {
            let first = items.first().map(|item| request::parse(flow, item, limits)).transpose()?;
            Ok((first.unwrap_or(parsed), Ok(Some(items.len()))))
        }
        Err(SplitFault::Refused(problem)) => Err(problem),
        Err(SplitFault::Render(error)) => Ok((parsed, Err(error))),
    }
}

fn refused(problem: Problem) -> DryRun {
    DryRun {
        status: None,
        problem: Some(problem),
        body: Value::Null,
        reason: None,
        notes: Vec::new(),
        is_test: false,
        items: None,
        key: None,
        actions: Vec::new(),
        unused: Vec::new(),
        variables: Map::new(),
    }
}

/// What the changes that were journalled make of the variables.
fn variables(flow: &Flow, steps: &HashMap<(String, String), StepRow>) -> Map<String, Value> {
    let kinds: HashMap<&str, &str> =
        flow.actions.iter().map(|action| (action.name.as_str(), action.kind.as_str())).collect();
    let changes = steps.values().filter_map(|step| {
        let inputs = step.io.inputs.as_ref().unwrap_or(&Value::Null);
        let kind = kinds.get(step.name.as_str()).copied()?;
        Some((step.io.change?, actions::variables::read(kind, inputs).ok()?))
    });
    let mut variables = Variables::new(&flow.variables);
    // They were made by this very flow: none of them can fail.
    drop(variables.replay(changes.collect()));
    shown(&flow.variables, &variables, MASK)
}

async fn play(flow: &Arc<Flow>, ports: &Arc<Ports>, identity: Identity, values: Values) {
    let (_cancel, cancel) = watch::channel(false);
    let mut actor = Actor::new(Seed {
        ports: Arc::clone(ports),
        lease: Lease::alone("dry-run"),
        flow: Arc::clone(flow),
        identity,
        values,
        state: RunState::default(),
        epoch: 1,
        reserved: Vec::new(),
        answered: false,
        cancel,
        admits: true,
    });
    actor.begin();
    actor.run(false).await;
}

/// The actions as they ran: in the order of the file, the iterations of a loop one after the other.
fn listed(flow: &Flow, steps: &HashMap<(String, String), StepRow>) -> Vec<DryAction> {
    let steps: HashMap<(&str, &str), &StepRow> =
        steps.values().map(|step| ((step.name.as_str(), step.idx.as_str()), step)).collect();
    let mut listed = Vec::new();
    list_block(flow, &steps, flow.plan.block(None, 0), "", &mut listed);
    let ran: HashSet<String> = listed.iter().map(|action| action.name.clone()).collect();
    // What stands in a loop that never turned was skipped: it stands behind what stands before it in the file.
    for (at, action) in flow.actions.iter().enumerate().filter(|(_, action)| !ran.contains(&action.name)) {
        let before = |name: &str| flow.plan.find(name).is_some_and(|node| node < at);
        let place = listed.iter().rposition(|action| before(&action.name)).map_or(0, |last| last + 1);
        listed.insert(place, DryAction { status: StepStatus::Skipped, ..dry_action(action, "", None) });
    }
    listed
}

fn list_block(
    flow: &Flow,
    steps: &HashMap<(&str, &str), &StepRow>,
    nodes: &[NodeId],
    idx: &str,
    listed: &mut Vec<DryAction>,
) {
    for node in nodes {
        let action = &flow.actions[*node];
        listed.push(dry_action(action, idx, steps.get(&(action.name.as_str(), idx)).copied()));
        for (_, inner) in flow.plan.blocks_of(*node) {
            if !flow.plan.nodes[*node].kind.is_loop() {
                list_block(flow, steps, inner, idx, listed);
                continue;
            }
            let has_step =
                |idx: &str| inner.iter().any(|id| steps.contains_key(&(flow.actions[*id].name.as_str(), idx)));
            let rounds = (0..).map(|number| StepKey::iteration(idx, number)).take_while(|idx| has_step(idx));
            for idx in rounds {
                list_block(flow, steps, inner, &idx, listed);
            }
        }
    }
}

fn dry_action(action: &crate::flow::Action, idx: &str, step: Option<&StepRow>) -> DryAction {
    let io = step.map(|step| {
        let mut io = step.io.clone();
        io.hide();
        io
    });
    let io = io.unwrap_or_default();
    DryAction {
        name: action.name.clone(),
        index: idx.split('.').filter_map(|part| part.parse().ok()).collect(),
        kind: action.kind.clone(),
        connection: action.connection.clone(),
        status: step.map_or(StepStatus::Pending, |step| step.status),
        outcome: step.and_then(|step| step.outcome.clone()),
        inputs: io.inputs,
        outputs: io.outputs,
        attempts: step.map_or(0, |step| step.attempt),
        error: io.error,
    }
}

/// Leaves of `body` that no template of the flow reads, not even as part of something larger.
fn unused(flow: &Flow, body: &Value) -> Vec<String> {
    let mut used: Vec<Vec<String>> = Vec::new();
    let mut note = |paths: Vec<crate::template::PathRef>| {
        for path in paths {
            if path.root.eq_ignore_ascii_case("trigger") {
                let segments = path.segments.iter().map(|segment| segment.to_lowercase());
                used.push(segments.skip(1).collect());
            }
        }
    };
    for action in &flow.actions {
        action.each_template(&mut |template| note(template.paths()));
    }
    flow.trigger.conditions.iter().for_each(|template| note(template.paths()));
    flow.trigger.dedupe.iter().flat_map(|dedupe| &dedupe.key).for_each(|template| note(template.paths()));
    let mut leaves = Vec::new();
    collect_leaves(body, &mut Vec::new(), &mut leaves);
    leaves
        .into_iter()
        .filter(|leaf| {
            let lower: Vec<String> = leaf.iter().map(|part| part.to_lowercase()).collect();
            !used.iter().any(|path| lower.starts_with(path))
        })
        .map(|leaf| leaf.join("."))
        .collect()
}

/// Paths of everything in `value` that is neither object nor list nor null.
fn collect_leaves(value: &Value, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(entries) => {
            for (key, inner) in entries {
                path.push(key.clone());
                collect_leaves(inner, path, leaves);
                path.pop();
            }
        }
        Value::Null => {}
        // A list counts as one leaf: its items are read by position or by a loop.
        _ if !path.is_empty() => leaves.push(path.clone()),
        _ => {}
    }
}

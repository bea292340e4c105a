//! A dry run: the real parser, the real templates, the real actor; effects are recorded, delays pass at once, nothing is
//! stored and nothing is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::actor::{Actor, Seed};
use super::answers::Answers;
use super::dedupe::{self, Key};
use super::lanes::Lanes;
use super::ports::{Connections, Drain, Journal, Limits, Mocks, Ports};
use super::scope::Values;
use super::split::{SplitFault, split};
use super::verdict::{Verdict, judge};
use crate::clock::{Clock, Fut, ManualClock, SystemClock};
use crate::flow::Flow;
use crate::ids::RunId;
use crate::outbound::Effects;
use crate::run::{Failure, Identity, RunState, RunStatus, StepStatus, TriggerData};
use crate::schema::BodyError;
use crate::store::{RunCommit, StepRow, StoreResult};
use crate::template::RenderError;
use crate::triggers::request::{self, Problem};

/// What a dry run is made of.
pub struct DryInput {
    /// The flow.
    pub flow: Arc<Flow>,
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

/// Remembers steps instead of storing them.
#[derive(Default)]
struct Memory {
    steps: Mutex<Vec<StepRow>>,
    status: Mutex<Option<RunStatus>>,
}

impl Journal for Memory {
    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for step in commit.steps {
            steps.retain(|known| (&known.name, &known.idx) != (&step.name, &step.idx));
            steps.push(step);
        }
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(commit.status);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Runs a lead through a flow without a trace. Of a list that the trigger splits, the first item.
pub async fn dry_run(input: DryInput) -> DryRun {
    let now = SystemClock.now();
    let run_id = RunId::new(now);
    let memory = Arc::new(Memory::default());
    let (_drain, drain) = watch::channel(Drain::No);
    let ports = Arc::new(ports(&input, now, Arc::clone(&memory), drain));
    let flow = input.flow.name.clone();
    let mut identity = Identity { run_id, flow, key_run: run_id, received_at: now, is_test: false };
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
                dry.status = *memory.status.lock().unwrap_or_else(PoisonError::into_inner);
            }
            Verdict::TestLead => dry.skip("a test lead, and `test_leads` has `run: false`".to_owned()),
            Verdict::Condition(number) => dry.skip(format!("condition {number} of the trigger is false")),
            Verdict::Fault(error) => dry.fail("a condition", &error),
        }
    }
    let steps = std::mem::take(&mut *memory.steps.lock().unwrap_or_else(PoisonError::into_inner));
    dry.actions = input.flow.actions.iter().map(|action| dry_action(action, &steps)).collect();
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
    }
}

async fn play(flow: &Arc<Flow>, ports: &Arc<Ports>, identity: Identity, values: Values) {
    let (_cancel, cancel) = watch::channel(false);
    let mut actor = Actor::new(Seed {
        ports: Arc::clone(ports),
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

fn ports(input: &DryInput, now: i64, memory: Arc<Memory>, drain: watch::Receiver<Drain>) -> Ports {
    let mut limits = input.limits.clone();
    // Nothing leaves memory: a dry run waits out every delay on its own clock.
    limits.keep_in_memory = Duration::MAX;
    limits.run_duration = Duration::MAX;
    Ports {
        owner: "dry-run".to_owned(),
        journal: memory,
        effects: Arc::clone(&input.effects),
        connections: ArcSwap::from_pointee(input.connections.clone()),
        clock: Arc::new(ManualClock::new(now)),
        lanes: Lanes::new(usize::MAX, Arc::new(Notify::new())),
        answers: Answers::default(),
        limits,
        environment: input.environment.clone().map_or(Value::Null, Value::String),
        dice: || 0.5,
        mocks: input.mocks.clone(),
        drain,
    }
}

fn dry_action(action: &crate::flow::Action, steps: &[StepRow]) -> DryAction {
    let step = steps.iter().find(|step| step.name == action.name);
    DryAction {
        name: action.name.clone(),
        kind: action.kind.clone(),
        connection: action.connection.clone(),
        status: step.map_or(StepStatus::Pending, |step| step.status),
        outcome: step.and_then(|step| step.outcome.clone()),
        inputs: step.and_then(|step| step.io.inputs.clone()),
        outputs: step.and_then(|step| step.io.outputs.clone()),
        attempts: step.map_or(0, |step| step.attempt),
        error: step.and_then(|step| step.io.error.clone()),
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
        note(action.inputs.paths());
        action.when.iter().for_each(|template| note(template.paths()));
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

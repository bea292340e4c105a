//! A dry run: the real parser, the real templates, the real actor; effects are recorded, delays pass at once, nothing is
//! stored and nothing is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use super::actor::{Actor, Seed};
use super::answers::Answers;
use super::lanes::Lanes;
use super::ports::{Connections, Drain, Journal, Limits, Mocks, Ports};
use super::scope::Values;
use super::verdict::{Verdict, judge};
use crate::actions;
use crate::clock::{Clock, Fut, ManualClock, SystemClock};
use crate::flow::Flow;
use crate::flow::plan::NodeId;
use crate::flow::secure::MASK;
use crate::ids::RunId;
use crate::outbound::Effects;
use crate::run::variables::{Variables, shown};
use crate::run::{Failure, Identity, RunState, RunStatus, StepKey, StepStatus, TriggerData};
use crate::schema::BodyError;
use crate::store::{RunCommit, StepRow, StoreResult};
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
    /// The actions, in the order of the file.
    pub actions: Vec<DryAction>,
    /// Fields of the body that no template reads, as dotted paths.
    pub unused: Vec<String>,
    /// What the variables held at the end, secure ones blotted out.
    pub variables: Map<String, Value>,
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

/// Runs a lead through a flow without a trace.
pub async fn dry_run(input: DryInput) -> DryRun {
    let now = SystemClock.now();
    let (trigger, parsed) = match receive(&input) {
        Ok(received) => received,
        Err(problem) => return refused(problem),
    };
    let run_id = RunId::new(now);
    let identity =
        Identity { run_id, flow: input.flow.name.clone(), key_run: run_id, received_at: now, is_test: parsed.is_test };
    drop(trigger);
    let memory = Arc::new(Memory::default());
    let (_drain, drain) = watch::channel(Drain::No);
    let ports = Arc::new(ports(&input, now, Arc::clone(&memory), drain));
    let body = parsed.trigger.get("body").cloned().unwrap_or(Value::Null);
    let unused = unused(&input.flow, &body);
    let mut notes = parsed.notes;
    let mut reason = None;
    let values = Values::new(&input.flow, &identity, parsed.trigger);
    let status = match judge(&input.flow, &identity, &values, &ports) {
        Verdict::Run => {
            play(&input.flow, &ports, identity, values).await;
            *memory.status.lock().unwrap_or_else(PoisonError::into_inner)
        }
        Verdict::TestLead => {
            reason = Some("a test lead, and `test_leads` has `run: false`".to_owned());
            Some(RunStatus::Skipped)
        }
        Verdict::Condition(number) => {
            reason = Some(format!("condition {number} of the trigger is false"));
            Some(RunStatus::Skipped)
        }
        Verdict::Fault(error) => {
            let message = format!("a condition could not be evaluated: {} ({})", error.message, error.code);
            notes.push(BodyError { pointer: String::new(), message });
            Some(RunStatus::Failed)
        }
    };
    let steps = std::mem::take(&mut *memory.steps.lock().unwrap_or_else(PoisonError::into_inner));
    let actions = listed(&input.flow, &steps);
    let variables = variables(&input.flow, &steps);
    DryRun { status, problem: None, body, reason, notes, is_test: parsed.is_test, actions, unused, variables }
}

fn receive(input: &DryInput) -> Result<(TriggerData, request::Parsed), Problem> {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = request::decode(&headers, &input.lead, &input.limits.body)?;
    let method = input.flow.trigger.methods.first().cloned().unwrap_or_else(|| "POST".to_owned());
    let trigger = TriggerData { method, path: Vec::new(), query: Vec::new(), headers, body };
    let parsed = request::parse(&input.flow, &trigger, &input.limits.body)?;
    Ok((trigger, parsed))
}

fn refused(problem: Problem) -> DryRun {
    DryRun {
        status: None,
        problem: Some(problem),
        body: Value::Null,
        reason: None,
        notes: Vec::new(),
        is_test: false,
        actions: Vec::new(),
        unused: Vec::new(),
        variables: Map::new(),
    }
}

/// What the changes that were journalled make of the variables.
fn variables(flow: &Flow, steps: &[StepRow]) -> Map<String, Value> {
    let kinds: HashMap<&str, &str> =
        flow.actions.iter().map(|action| (action.name.as_str(), action.kind.as_str())).collect();
    let changes = steps.iter().filter_map(|step| {
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

/// The actions as they ran: in the order of the file, the iterations of a loop one after the other.
fn listed(flow: &Flow, steps: &[StepRow]) -> Vec<DryAction> {
    let steps: HashMap<(&str, &str), &StepRow> =
        steps.iter().map(|step| ((step.name.as_str(), step.idx.as_str()), step)).collect();
    let mut listed = Vec::new();
    list_block(flow, &steps, flow.plan.block(None, 0), "", &mut listed);
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

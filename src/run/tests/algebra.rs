//! Every way in which a predecessor can have ended × every `run_after` list, for single edges and for joins of two.

use serde_json::Value;

use crate::flow::plan::{Kind, Node, NodeId, Plan, StatusSet, StepStatus};
use crate::run::advance::{Event, SKIPPED_BY_RUN_AFTER, SKIPPED_BY_WHEN, Todo, advance};
use crate::run::transition::StepEvent;
use crate::run::{RunState, RunStatus, Step, StepKey};

/// The statuses that `run_after` may list.
const LISTED: [StepStatus; 5] =
    [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped, StepStatus::TimedOut, StepStatus::Cancelled];

/// How a predecessor ended.
struct Row {
    /// The status of what stands before the predecessor.
    root: StepStatus,
    status: StepStatus,
    outcome: Option<&'static str>,
    /// The word in a list that takes it.
    taken_by: StepStatus,
    /// The run fails when the one behind it is skipped.
    fails: bool,
}

const fn row(status: StepStatus, taken_by: StepStatus, fails: bool) -> Row {
    Row { root: StepStatus::Succeeded, status, outcome: None, taken_by, fails }
}

/// The specification.
const ROWS: [Row; 7] = [
    row(StepStatus::Succeeded, StepStatus::Succeeded, false),
    row(StepStatus::Failed, StepStatus::Failed, true),
    row(StepStatus::TimedOut, StepStatus::TimedOut, true),
    row(StepStatus::Cancelled, StepStatus::Cancelled, true),
    // Turned off by its own `when`: counts as succeeded.
    Row { outcome: Some(SKIPPED_BY_WHEN), ..row(StepStatus::Skipped, StepStatus::Succeeded, false) },
    // A handler of a failure that did not happen.
    Row { outcome: Some(SKIPPED_BY_RUN_AFTER), ..row(StepStatus::Skipped, StepStatus::Skipped, false) },
    // Skipped because what stands before it failed: the failure decides.
    Row {
        root: StepStatus::Failed,
        outcome: Some(SKIPPED_BY_RUN_AFTER),
        ..row(StepStatus::Skipped, StepStatus::Skipped, true)
    },
];

/// Every list but the empty one.
fn lists() -> impl Iterator<Item = (u8, StatusSet)> {
    (1_u8..32).map(|bits| {
        let listed = (0..5).filter(move |bit| bits & (1 << bit) != 0).map(|bit| LISTED[bit]);
        (bits, listed.fold(StatusSet::default(), StatusSet::with))
    })
}

fn takes(bits: u8, row: &Row) -> bool {
    LISTED.iter().position(|status| *status == row.taken_by).is_some_and(|bit| bits & (1 << bit) != 0)
}

fn node(name: String, after: Vec<(NodeId, StatusSet)>) -> Node {
    Node { name, parent: None, block: 0, after, kind: Kind::Leaf }
}

fn ended(status: StepStatus, outcome: Option<&str>) -> Step {
    Step { status, outcome: outcome.map(str::to_owned), finished_at: Some(1), ..Step::default() }
}

/// A run in which predecessors have ended as `rows` say, and one action behind all of them that is about to be decided.
fn about_to_decide(edges: &[(&Row, StatusSet)]) -> (Plan, RunState, StepKey) {
    let (mut nodes, mut steps) = (Vec::new(), std::collections::BTreeMap::new());
    let mut after = Vec::new();
    for (row, set) in edges {
        let root = nodes.len();
        steps.insert(StepKey::top(root), ended(row.root, None));
        steps.insert(StepKey::top(root + 1), ended(row.status, row.outcome));
        nodes.push(node(format!("root{root}"), Vec::new()));
        nodes.push(node(format!("before{root}"), vec![(root, StatusSet::succeeded())]));
        after.push((root + 1, *set));
    }
    let own = nodes.len();
    nodes.push(node("own".to_owned(), after));
    (Plan::new(nodes), RunState::of(steps), StepKey::top(own))
}

/// The status of the action behind `edges`, and of the run, where the action ends well if it starts.
fn decided(edges: &[(&Row, StatusSet)]) -> (StepStatus, Option<RunStatus>) {
    let (plan, mut run, own) = about_to_decide(edges);
    let todos = advance(&plan, &mut run, Event::Begin { at: 2 }).expect("begin");
    if todos.contains(&Todo::Start(own.clone())) {
        let end = StepEvent::Succeed { at: 3, outputs: Value::Null, outcome: None, possible_repeat: false };
        for event in [StepEvent::Start { at: 3, inputs: Value::Null }, end] {
            advance(&plan, &mut run, Event::Step { at: 3, key: own.clone(), event }).expect("legal");
        }
    }
    (run.steps[&own].status, run.settled)
}

fn wanted(edges: &[(&Row, u8)]) -> (StepStatus, Option<RunStatus>) {
    if edges.iter().all(|(row, bits)| takes(*bits, row)) {
        return (StepStatus::Succeeded, Some(RunStatus::Succeeded));
    }
    let fails = edges.iter().any(|(row, _)| row.fails);
    (StepStatus::Skipped, Some(if fails { RunStatus::Failed } else { RunStatus::Succeeded }))
}

#[test]
fn an_edge_takes_what_its_list_names() {
    for row in &ROWS {
        for (bits, set) in lists() {
            let got = decided(&[(row, set)]);
            assert_eq!(got, wanted(&[(row, bits)]), "{:?} {:?} behind {bits:05b}", row.status, row.outcome);
        }
    }
}

#[test]
fn a_join_wants_all_of_them() {
    for (left, right) in ROWS.iter().flat_map(|left| ROWS.iter().map(move |right| (left, right))) {
        for (left_bits, left_set) in lists() {
            // Of the right list only whether it takes its row can matter; the single edges show the rest.
            for (right_bits, right_set) in lists().filter(|(bits, _)| bits.is_power_of_two() || *bits == 31) {
                let got = decided(&[(left, left_set), (right, right_set)]);
                let want = wanted(&[(left, left_bits), (right, right_bits)]);
                assert_eq!(got, want, "{:?} {left_bits:05b}, {:?} {right_bits:05b}", left.status, right.status);
            }
        }
    }
}

/// A container's end is judged as a leaf's: the same rows inside a scope give the scope's status.
#[test]
fn the_end_of_a_scope_is_that_of_its_branches() {
    for row in &ROWS {
        let (plan, run, own) = about_to_decide(&[(row, StatusSet::succeeded())]);
        let mut nodes = vec![Node { kind: Kind::Scope, ..node("scope".into(), Vec::new()) }];
        nodes.extend(plan.nodes.into_iter().map(|node| Node {
            parent: Some(0),
            after: node.after.iter().map(|(before, set)| (before + 1, *set)).collect(),
            ..node
        }));
        let plan = Plan::new(nodes);
        let mut steps: std::collections::BTreeMap<_, _> =
            run.steps.into_iter().map(|(key, step)| (StepKey::top(key.node + 1), step)).collect();
        let started = Step { status: StepStatus::Running, started_at: Some(1), ..Step::default() };
        steps.insert(StepKey::top(0), started);
        steps.insert(StepKey::top(own.node + 1), ended(StepStatus::Skipped, Some(SKIPPED_BY_RUN_AFTER)));
        let mut run = RunState::of(steps);
        let todos = advance(&plan, &mut run, Event::Begin { at: 2 }).expect("begin");
        assert_eq!(todos, [Todo::Ended { key: StepKey::top(0), bad: row.fails }], "{:?}", row.status);
    }
}

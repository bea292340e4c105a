//! The graph rule: who may start, who is skipped, how the run ends. One pure fixpoint over the plan.
//!
//! Power Automate's rules (POWER-AUTOMATE 3.1): an action starts when every predecessor has ended with a status that
//! its edge accepts, otherwise it is skipped and that cascades. The end of each branch decides the run: a skipped end
//! takes the status of what it waited for, so a handled failure leaves the run succeeded. A block inside a container
//! follows the same rule, and its status is the container's.

use super::blocks::Walk;
use super::transition::{Illegal, StepEvent, next};
use super::{RunState, RunStatus, StepKey};
use crate::clock::Micros;
use crate::flow::plan::{Kind, Plan};

/// The reason of a skip by `when`: such an action counts as succeeded for whoever waits on it.
pub const SKIPPED_BY_WHEN: &str = "when";
/// The reason of a skip because `run_after` was not met.
pub const SKIPPED_BY_RUN_AFTER: &str = "run_after";
/// The reason of a skip because the block that the action stands in did not run.
pub const SKIPPED_BY_BRANCH: &str = "branch";

/// Something that happened to the run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It begins, or is taken up again.
    Begin {
        /// When.
        at: Micros,
    },
    /// Something happened to one action. A container that starts opens: its inputs say what of it runs
    /// ([`super::blocks`]).
    Step {
        /// When (for the skips that follow from it).
        at: Micros,
        /// Which action.
        key: StepKey,
        /// What.
        event: StepEvent,
    },
    /// An `until` goes on with its next iteration.
    Again {
        /// When.
        at: Micros,
        /// Which one.
        key: StepKey,
    },
    /// Everything that has not ended is cancelled, and the run ends with `status`.
    Stop {
        /// When.
        at: Micros,
        /// What was decided: by somebody, by the run's age, or by `terminate`.
        status: RunStatus,
    },
}

/// What the engine has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Todo {
    /// Start this action. Said once for each.
    Start(StepKey),
    /// Come back to this action then.
    WaitUntil(StepKey, Micros),
    /// What runs of this container has ended: close it, or let an `until` go on.
    Ended {
        /// The container.
        key: StepKey,
        /// The end of some branch in it failed.
        bad: bool,
    },
    /// This iteration of a `for_each` has ended.
    Left {
        /// The loop.
        key: StepKey,
        /// The index of the steps in it.
        idx: String,
    },
    /// The run has ended.
    Settle(RunStatus),
}

/// Applies `event` to `run` and says what follows. Only the keys in it and skipped actions change.
pub fn advance(plan: &Plan, run: &mut RunState, event: Event) -> Result<Vec<Todo>, Illegal> {
    let mut todos = Vec::new();
    let ended_before = run.ended.len();
    let begins = matches!(event, Event::Begin { .. });
    match event {
        Event::Begin { at } => {
            run.offered.clear();
            run.open.clear();
            let timers = run.active.iter().filter_map(|key| Some(Todo::WaitUntil(key.clone(), run.steps[key].due_at?)));
            todos.extend(timers);
            let containers: Vec<StepKey> =
                run.active.iter().filter(|key| plan.nodes[key.node].kind != Kind::Leaf).cloned().collect();
            let mut walk = Walk { plan, run, at, todos: &mut todos };
            walk.spread(None, 0, "")?;
            for key in containers {
                walk.reopen(&key)?;
            }
        }
        Event::Step { at, key, event } => {
            let before = run.steps.remove(&key).unwrap_or_default();
            let begins = before.started_at.is_none();
            let step = next(before, event)?;
            if let Some(due_at) = step.due_at {
                todos.push(Todo::WaitUntil(key.clone(), due_at));
            }
            let ended = step.status.is_final();
            let is_container = plan.nodes[key.node].kind != Kind::Leaf;
            let mut walk = Walk { plan, run, at, todos: &mut todos };
            walk.put(key.clone(), step);
            match (is_container, ended) {
                (true, false) if begins => walk.open(&key)?,
                (true, true) => walk.skip_inside(&key)?,
                _ => {}
            }
            if ended {
                walk.left(&key)?;
            }
        }
        Event::Again { at, key } => Walk { plan, run, at, todos: &mut todos }.again(&key)?,
        Event::Stop { at, status } => {
            Walk { plan, run, at, todos: &mut todos }.stop()?;
            run.settled = Some(status);
            return Ok(vec![Todo::Settle(status)]);
        }
    }
    let touched = begins || run.ended[ended_before..].iter().any(|key| plan.nodes[key.node].parent.is_none());
    let walk = Walk { plan, run, at: 0, todos: &mut todos };
    if touched && walk.run.settled.is_none() && walk.has_ended(None, 0, "") {
        let status = if walk.is_bad(None, 0, "") { RunStatus::Failed } else { RunStatus::Succeeded };
        run.settled = Some(status);
        todos.push(Todo::Settle(status));
    }
    Ok(todos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::flow::plan::{Node, NodeId, StatusSet};
    use crate::run::{Failure, Step, StepStatus};

    fn status_of(steps: &std::collections::BTreeMap<StepKey, Step>, id: NodeId) -> StepStatus {
        steps.get(&StepKey::top(id)).map_or(StepStatus::Pending, |step| step.status)
    }

    fn node(name: &str, after: &[(NodeId, StatusSet)]) -> Node {
        Node { name: name.into(), parent: None, block: 0, after: after.to_vec(), kind: Kind::Leaf }
    }

    fn ok() -> StatusSet {
        StatusSet::succeeded()
    }

    /// Runs `plan`, each action ending as `outcome` says, one at a time in the order offered.
    fn play(plan: &Plan, outcome: &dyn Fn(NodeId) -> StepStatus) -> RunState {
        let mut run = RunState::default();
        let mut todos = advance(plan, &mut run, Event::Begin { at: 1 }).expect("begin");
        while let Some(todo) = todos.pop() {
            let Todo::Start(key) = todo else { continue };
            let node = key.node;
            let mut say = |event| {
                todos.extend(advance(plan, &mut run, Event::Step { at: 2, key: key.clone(), event }).expect("legal"));
            };
            match outcome(node) {
                StepStatus::Skipped => say(StepEvent::Skip { at: 2, reason: SKIPPED_BY_WHEN }),
                StepStatus::Failed => {
                    say(StepEvent::Fail { at: 2, failure: Failure::terminal("x", "y") });
                }
                _ => {
                    say(StepEvent::Start { at: 2, inputs: Value::Null });
                    say(StepEvent::Succeed { at: 2, outputs: Value::Null, outcome: None, possible_repeat: false });
                }
            }
        }
        run
    }

    /// A reference by recursion over the definition, for any plan.
    fn reference(plan: &Plan, outcome: &dyn Fn(NodeId) -> StepStatus, id: NodeId) -> (StepStatus, bool) {
        let node = &plan.nodes[id];
        let met = node.after.iter().all(|(before, set)| {
            let (status, by_when) = reference(plan, outcome, *before);
            set.contains(if by_when { StepStatus::Succeeded } else { status })
        });
        if !met {
            return (StepStatus::Skipped, false);
        }
        let status = outcome(id);
        (status, status == StepStatus::Skipped)
    }

    fn reference_bad(plan: &Plan, outcome: &dyn Fn(NodeId) -> StepStatus, id: NodeId) -> bool {
        match reference(plan, outcome, id) {
            (StepStatus::Succeeded, _) | (_, true) => false,
            (StepStatus::Skipped, _) => {
                plan.nodes[id].after.iter().any(|(before, _)| reference_bad(plan, outcome, *before))
            }
            _ => true,
        }
    }

    #[test]
    fn a_failure_skips_what_follows_and_fails_the_run() {
        let plan = Plan::new(vec![node("a", &[]), node("b", &[(0, ok())]), node("c", &[])]);
        let run = play(&plan, &|id| if id == 0 { StepStatus::Failed } else { StepStatus::Succeeded });
        assert_eq!(run.settled, Some(RunStatus::Failed));
        assert_eq!(status_of(&run.steps, 1), StepStatus::Skipped);
        assert_eq!(status_of(&run.steps, 2), StepStatus::Succeeded);
    }

    #[test]
    fn a_handled_failure_leaves_the_run_succeeded() {
        let failed = StatusSet::default().with(StepStatus::Failed);
        let plan = Plan::new(vec![node("a", &[]), node("handle", &[(0, failed)])]);
        let run = play(&plan, &|id| if id == 0 { StepStatus::Failed } else { StepStatus::Succeeded });
        assert_eq!(run.settled, Some(RunStatus::Succeeded));
    }

    #[test]
    fn a_guard_guards_one_action() {
        let plan = Plan::new(vec![node("a", &[]), node("b", &[(0, ok())])]);
        let run = play(&plan, &|id| if id == 0 { StepStatus::Skipped } else { StepStatus::Succeeded });
        assert_eq!(status_of(&run.steps, 1), StepStatus::Succeeded);
        assert_eq!(run.settled, Some(RunStatus::Succeeded));
    }

    #[test]
    fn stopping_cancels_what_has_not_ended() {
        let plan = Plan::new(vec![node("a", &[]), node("b", &[(0, ok())])]);
        let mut run = RunState::default();
        advance(&plan, &mut run, Event::Begin { at: 1 }).expect("begin");
        let todos = advance(&plan, &mut run, Event::Stop { at: 2, status: RunStatus::Cancelled }).expect("stop");
        assert_eq!(todos, [Todo::Settle(RunStatus::Cancelled)]);
        assert!(run.steps.values().all(|step| step.status == StepStatus::Cancelled));
    }

    proptest! {
        /// The fixpoint agrees with the recursive definition on random graphs and outcomes.
        #[test]
        fn agrees_with_the_reference(
            edges in proptest::collection::vec(proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..16), 0..3), 1..9),
            outcomes in proptest::collection::vec(0_u8..3, 9),
        ) {
            let kinds = [StepStatus::Succeeded, StepStatus::Failed, StepStatus::Skipped, StepStatus::TimedOut];
            let nodes = edges.iter().enumerate().map(|(id, edges)| {
                let after: Vec<_> = edges.iter().filter(|_| id > 0).map(|(index, mask)| {
                    let set = (0..4).filter(|bit| mask & (1 << bit) != 0)
                        .fold(StatusSet::default(), |set, bit| set.with(kinds[bit]));
                    (index.index(id.max(1)), set)
                }).collect();
                node(&format!("n{id}"), &after)
            }).collect();
            let plan = Plan::new(nodes);
            let outcome = |id: NodeId| kinds[usize::from(outcomes[id])];
            let run = play(&plan, &outcome);
            for id in 0..plan.nodes.len() {
                prop_assert_eq!(status_of(&run.steps, id), reference(&plan, &outcome, id).0);
            }
            let bad = plan.ends(plan.block(None, 0)).any(|id| reference_bad(&plan, &outcome, id));
            prop_assert_eq!(run.settled, Some(if bad { RunStatus::Failed } else { RunStatus::Succeeded }));
        }
    }
}

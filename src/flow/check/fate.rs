//! How each action of a flow may end: the graph rule over sets of ends instead of one run's ends.
//!
//! Promise: an end that a run may have is in the set; a set may hold more. So "never" is certain, "may" is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::blocks::{Outline, Outlined, kind};
use crate::flow::control::{self, CASES_MAX};
use crate::flow::plan::{Kind, NodeId, Plan, StatusSet, StepStatus};
use crate::template::{self, is_template};

/// Most ways through one block that are told apart; beyond it nothing is said of the block.
const COURSES_MAX: usize = 2000;

/// How one action ended, as those who wait for it see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// It succeeded.
    Well,
    /// Its own `when` turned it off: seen as succeeded.
    Off,
    /// It failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// Its `run_after` was not met, and nothing went wrong before.
    Skipped,
    /// Its `run_after` was not met after something had gone wrong.
    SkippedBad,
    /// The run was over: it, or what it waits for, ended the run.
    Stopped,
}

impl End {
    const ALL: [Self; 7] =
        [Self::Well, Self::Off, Self::Failed, Self::TimedOut, Self::Skipped, Self::SkippedBad, Self::Stopped];

    /// What an edge compares with its list; `None`: nobody is asked any more.
    pub(super) fn status(self) -> Option<StepStatus> {
        Some(match self {
            Self::Well | Self::Off => StepStatus::Succeeded,
            Self::Failed => StepStatus::Failed,
            Self::TimedOut => StepStatus::TimedOut,
            Self::Skipped | Self::SkippedBad => StepStatus::Skipped,
            Self::Stopped => return None,
        })
    }

    fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::SkippedBad)
    }

    fn ran(self) -> bool {
        matches!(self, Self::Well | Self::Failed | Self::TimedOut)
    }
}

/// A set of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ends(u8);

impl Ends {
    fn of(ends: &[End]) -> Self {
        ends.iter().fold(Self::default(), |set, end| set.with(*end))
    }

    fn with(self, end: End) -> Self {
        Self(self.0 | 1 << end as u8)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `end` is in it.
    pub(super) fn contains(self, end: End) -> bool {
        self.0 & (1 << end as u8) != 0
    }

    /// The ends in it.
    pub(super) fn iter(self) -> impl Iterator<Item = End> {
        End::ALL.into_iter().filter(move |end| self.contains(*end))
    }

    /// Whether an edge that takes `accepted` may be met.
    pub(super) fn may_be(self, accepted: StatusSet) -> bool {
        self.iter().filter_map(End::status).any(|status| accepted.contains(status))
    }
}

/// What is known of one action.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    /// Whether it may start, if its block does.
    pub(super) may_start: bool,
    /// How it may end, if its block starts.
    pub(super) ends: Ends,
    /// How it ends, if its block starts and everything that can succeed does.
    pub(super) when_fine: Option<End>,
    /// Actions before it in its list that nobody waits for and that may be running when it starts.
    pub(super) beside: BTreeSet<NodeId>,
}

/// A key of a container that always decides in the same way, and which.
pub(super) type Constant = (&'static str, &'static str);

/// What is known of all actions of a flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Fates {
    /// By node.
    pub(super) nodes: Vec<Fate>,
    /// Blocks that never run, with the constant that decides so.
    pub(super) dead: BTreeMap<(NodeId, u16), Constant>,
}

impl Fates {
    /// The fates of `outline`, whose graph is `plan`.
    pub(super) fn of(outline: &Outline<'_>, plan: &Plan) -> Self {
        let fates = Self { nodes: vec![Fate::default(); outline.actions.len()], dead: BTreeMap::new() };
        let mut seer = Seer { outline, plan, fates };
        seer.block(plan.block(None, 0));
        seer.fates
    }

    /// Leaves that have surely not succeeded when the action `id` runs, and so give no outputs.
    pub(super) fn without_outputs(&self, plan: &Plan, id: NodeId) -> Vec<NodeId> {
        if !self.nodes[id].may_start {
            return Vec::new();
        }
        let edges = std::iter::once(id).chain(plan.containers(id)).flat_map(|id| &plan.nodes[id].after);
        let refused =
            edges.filter(|(_, accepted)| !accepted.contains(StepStatus::Succeeded)).map(|(before, _)| *before);
        refused.filter(|before| plan.nodes[*before].kind == Kind::Leaf).collect()
    }
}

/// One way through a block, as far as later actions can tell it from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Course {
    /// The ends of those that somebody still asks for, by place in the block.
    ends: Vec<Option<End>>,
    /// The end of some branch was bad.
    bad: bool,
    /// Something ended the run.
    stopped: bool,
}

/// How a block may end.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    well: bool,
    badly: bool,
    never: bool,
}

struct Seer<'o, 'a> {
    outline: &'o Outline<'a>,
    plan: &'o Plan,
    fates: Fates,
}

impl Seer<'_, '_> {
    /// Walks every way through a block.
    fn block(&mut self, nodes: &[NodeId]) -> Outcome {
        let natures: Vec<Ends> = nodes.iter().map(|id| self.nature(*id)).collect();
        self.fine_course(nodes, &natures);
        let open: Vec<Vec<usize>> = (0..nodes.len()).map(|at| self.open_before(nodes, at)).collect();
        let last = self.last_uses(nodes, &open);
        let mut courses = BTreeSet::from([Course::default()]);
        for at in 0..nodes.len() {
            let mut next = BTreeSet::new();
            for course in &courses {
                self.step(nodes, at, course, natures[at], &open[at], &mut next);
            }
            courses = next.into_iter().map(|course| self.forget(nodes, at, course, &last)).collect();
            if courses.len() > COURSES_MAX {
                self.give_up(nodes, at, &open);
                return Outcome { well: true, badly: true, never: true };
            }
        }
        courses.iter().fold(Outcome::default(), |outcome, course| Outcome {
            well: outcome.well || !(course.bad || course.stopped),
            badly: outcome.badly || (course.bad && !course.stopped),
            never: outcome.never || course.stopped,
        })
    }

    /// One action on one way: it starts and ends as its nature allows, or is skipped.
    fn step(
        &mut self,
        nodes: &[NodeId],
        at: usize,
        course: &Course,
        nature: Ends,
        open: &[usize],
        next: &mut BTreeSet<Course>,
    ) {
        let id = nodes[at];
        let before: Vec<(Option<End>, StatusSet)> =
            self.plan.nodes[id].after.iter().map(|(before, set)| (course.end(nodes, *before), *set)).collect();
        let fate = &mut self.fates.nodes[id];
        let ends = match unmet(&before) {
            Some(end) => Ends::default().with(end),
            None => {
                fate.may_start = true;
                let runs = |place: &&usize| course.ends[**place].is_some_and(End::ran);
                fate.beside.extend(open.iter().filter(runs).map(|place| nodes[*place]));
                nature
            }
        };
        fate.ends = fate.ends.and(ends);
        for end in ends.iter() {
            let mut course = course.clone();
            course.stopped |= end == End::Stopped;
            course.ends.push(Some(end));
            next.insert(course);
        }
    }

    /// Drops what nobody asks for behind the action at `at`, so that ways that differ only there become one.
    fn forget(&self, nodes: &[NodeId], at: usize, mut course: Course, last: &[usize]) -> Course {
        for place in (0..=at).filter(|place| last[*place] == at) {
            let awaited = nodes.iter().any(|id| self.waits_for(*id, nodes[place]));
            if let Some(end) = course.ends[place].take()
                && !awaited
            {
                course.bad |= end.is_bad();
            }
        }
        course
    }

    /// Too many ways: from here on everything is possible.
    fn give_up(&mut self, nodes: &[NodeId], at: usize, open: &[Vec<usize>]) {
        for (place, id) in nodes.iter().enumerate().skip(at) {
            let fate = &mut self.fates.nodes[*id];
            fate.may_start = true;
            fate.ends = Ends::of(&End::ALL);
            fate.beside.extend(open[place].iter().map(|before| nodes[*before]));
        }
    }

    /// The one way on which everything that can succeed does.
    fn fine_course(&mut self, nodes: &[NodeId], natures: &[Ends]) {
        for (id, nature) in nodes.iter().zip(natures) {
            let after = self.plan.nodes[*id].after.iter();
            let before: Vec<(Option<End>, StatusSet)> =
                after.map(|(before, set)| (self.fates.nodes[*before].when_fine, *set)).collect();
            self.fates.nodes[*id].when_fine = unmet(&before).or_else(|| nature.iter().next());
        }
    }

    fn waits_for(&self, id: NodeId, before: NodeId) -> bool {
        self.plan.nodes[id].after.iter().any(|(awaited, _)| *awaited == before)
    }

    /// The last place in the block at which the end of each action is asked for.
    fn last_uses(&self, nodes: &[NodeId], open: &[Vec<usize>]) -> Vec<usize> {
        let is_asked = |at: usize, place: usize| self.waits_for(nodes[at], nodes[place]) || open[at].contains(&place);
        (0..nodes.len())
            .map(|place| (place..nodes.len()).rev().find(|at| is_asked(*at, place)).unwrap_or(place))
            .collect()
    }

    /// Where an action without `run_after` stands right behind one that has it: the places of those before it that
    /// nobody before it waits for, but for the one that it waits for itself.
    fn open_before(&self, nodes: &[NodeId], at: usize) -> Vec<usize> {
        let opens = at > 0
            && !has_run_after(&self.outline.actions[nodes[at]])
            && has_run_after(&self.outline.actions[nodes[at - 1]]);
        if !opens {
            return Vec::new();
        }
        let awaited = |place: &usize| nodes[..at].iter().any(|id| self.waits_for(*id, nodes[*place]));
        (0..at - 1).filter(|place| !awaited(place)).collect()
    }

    /// How an action ends that has started.
    fn nature(&mut self, id: NodeId) -> Ends {
        let one = &self.outline.actions[id];
        let guard = one.value.get("when").map(constant);
        let own = if self.plan.nodes[id].kind == Kind::Leaf { leaf(one) } else { self.container(id) };
        match guard {
            None | Some(Some(true)) => own,
            Some(Some(false)) => Ends::of(&[End::Off]),
            Some(None) => own.with(End::Off).with(End::Failed),
        }
    }

    fn container(&mut self, id: NodeId) -> Ends {
        let plan = self.plan;
        let value = &self.outline.actions[id].value;
        let (kind, chosen) = (plan.nodes[id].kind, chosen(plan.nodes[id].kind, value));
        let mut ends = Ends::default();
        for (number, nodes) in plan.blocks_of(id) {
            let outcome = self.block(nodes);
            match &chosen {
                Chosen::One(only, why) if *only != Some(number) => {
                    self.fates.dead.insert((id, number), *why);
                }
                _ => ends = ends.and(outcome.ends()),
            }
        }
        let is_empty = |number: u16| plan.block(Some(id), number).is_empty();
        let passes = match &chosen {
            Chosen::One(only, _) => only.is_none_or(is_empty),
            Chosen::Any(numbers) => numbers.clone().any(is_empty),
            Chosen::Perhaps => true,
        };
        if passes {
            ends = ends.with(End::Well);
        }
        let decides = ["if", "value", "items", "condition"].iter().filter_map(|key| value.get(*key));
        if kind == Kind::Until || decides.into_iter().any(has_template) {
            ends = ends.with(End::Failed);
        }
        ends
    }
}

impl Outcome {
    /// The ends of a container whose block ends like this.
    fn ends(self) -> Ends {
        let all = [(self.well, End::Well), (self.badly, End::Failed), (self.never, End::Stopped)];
        all.into_iter().filter(|(may, _)| *may).fold(Ends::default(), |ends, (_, end)| ends.with(end))
    }
}

impl Course {
    fn end(&self, nodes: &[NodeId], id: NodeId) -> Option<End> {
        nodes.binary_search(&id).ok().and_then(|place| self.ends.get(place).copied().flatten())
    }
}

/// How an action ends whose `run_after` is not met; `None`: it starts.
fn unmet(before: &[(Option<End>, StatusSet)]) -> Option<End> {
    let ends = || before.iter().filter_map(|(end, _)| *end);
    if ends().any(|end| end == End::Stopped) {
        return Some(End::Stopped);
    }
    let is_met = |(end, accepted): &(Option<End>, StatusSet)| {
        end.and_then(End::status).is_some_and(|status| accepted.contains(status))
    };
    if before.iter().all(is_met) {
        return None;
    }
    Some(if ends().any(End::is_bad) { End::SkippedBad } else { End::Skipped })
}

/// Whether an action says itself what it waits for.
pub(super) fn has_run_after(one: &Outlined<'_>) -> bool {
    one.value.get("run_after").is_some_and(Value::is_object)
}

/// How a leaf ends that has started and that its `when` let run.
fn leaf(one: &Outlined<'_>) -> Ends {
    let own = one.value.as_object().into_iter().flatten().filter(|(key, _)| *key != "when");
    let renders = own.into_iter().any(|(_, value)| has_template(value));
    let may_fail = |ends: Ends| if renders { ends.with(End::Failed) } else { ends };
    match kind(one) {
        "terminate" => may_fail(Ends::of(&[End::Stopped])),
        "compose" => may_fail(Ends::of(&[End::Well])),
        "delay" if one.value.get("for").is_some() => may_fail(Ends::of(&[End::Well])),
        _ if one.spec.is_some_and(|spec| !spec.is_timed()) => Ends::of(&[End::Well, End::Failed]),
        _ => Ends::of(&[End::Well, End::Failed, End::TimedOut]),
    }
}

/// Which of its blocks a container runs.
enum Chosen {
    /// This one or nothing, as a constant says.
    One(Option<u16>, Constant),
    /// One of these.
    Any(std::ops::RangeInclusive<u16>),
    /// Its only one, or nothing.
    Perhaps,
}

fn chosen(kind: Kind, value: &Value) -> Chosen {
    match kind {
        Kind::If => match value.get("if").and_then(constant) {
            Some(is_true) => Chosen::One(
                Some(u16::from(!is_true)),
                ("if", if is_true { "is always true" } else { "is always false" }),
            ),
            None => Chosen::Any(0..=1),
        },
        Kind::Switch => chosen_case(value),
        Kind::Each { .. } => match value.get("items") {
            Some(Value::Array(items)) if items.is_empty() => Chosen::One(None, ("items", "is empty")),
            Some(Value::Array(_)) => Chosen::Any(0..=0),
            _ => Chosen::Perhaps,
        },
        Kind::Until | Kind::Scope | Kind::Leaf => Chosen::Any(0..=0),
    }
}

fn chosen_case(value: &Value) -> Chosen {
    let cases = value.get("cases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let default = u16::try_from(cases.len().min(CASES_MAX)).unwrap_or(u16::MAX);
    let constants = cases.iter().map(|case| case.get("case").unwrap_or(&Value::Null));
    let known = value.get("value").filter(|value| !has_template(value) && !constants.clone().any(has_template));
    let Some(known) = known else { return Chosen::Any(0..=default) };
    let fits = |case: &Value| match case {
        Value::Array(cases) => cases.iter().any(|case| template::equals(case, known)),
        case => template::equals(case, known),
    };
    let found = constants.into_iter().position(fits).and_then(|found| u16::try_from(found).ok());
    Chosen::One(Some(found.unwrap_or(default)), ("value", "is a constant that takes another way"))
}

/// What conditions without a template give.
pub(super) fn constant(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Array(items) if items.iter().any(|item| item == false) => Some(false),
        Value::Array(items) if items.iter().all(|item| item == true) => Some(true),
        _ => None,
    }
}

/// Whether some text in `value` is a template.
fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(entries) => entries.values().any(has_template),
        _ => false,
    }
}

/// The graph of `outline` before its containers are compiled.
pub(super) fn graph(outline: &Outline<'_>) -> Plan {
    let kinds: Vec<Kind> = outline.actions.iter().map(|one| control::kind_of(kind(one), &one.value)).collect();
    outline.plan(&kinds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::catalogue::ActionSpec;
    use crate::run::tests::player::{self, CASES, Dice};
    use crate::run::tests::reference;

    /// The flow file that a plan comes from, as far as fates look at it.
    fn outline<'a>(plan: &Plan, specs: &'a [ActionSpec]) -> Outline<'a> {
        let one = |node: &crate::flow::plan::Node| {
            let (kind, value) = match node.kind {
                Kind::Leaf => ("", json!({ "when": "{{x}}", "body": "{{x}}" })),
                Kind::If => ("condition", json!({ "when": "{{x}}", "if": "{{x}}" })),
                Kind::Switch => {
                    let cases = (0..CASES).map(|case| json!({ "case": case, "actions": [] }));
                    ("switch", json!({ "when": "{{x}}", "value": "{{x}}", "cases": cases.collect::<Value>() }))
                }
                Kind::Each { .. } => ("for_each", json!({ "when": "{{x}}", "items": "{{x}}" })),
                Kind::Until => ("until", json!({ "when": "{{x}}", "condition": "{{x}}" })),
                Kind::Scope => ("scope", json!({ "when": "{{x}}" })),
            };
            Outlined {
                pointer: String::new(),
                value,
                name: node.name.clone(),
                spec: specs.iter().find(|spec| spec.kind == kind),
                parent: node.parent,
                block: node.block,
                after: node.after.clone(),
            }
        };
        Outline { actions: plan.nodes.iter().map(one).collect() }
    }

    /// What a run does is in the set, whatever the plan: "never" is never wrong.
    #[test]
    fn what_happens_is_possible() {
        let specs = control::specs();
        let (mut never, mut ran) = (0, 0);
        for seed in 0..3000_u64 {
            let plan = player::plan(&mut Dice::new(seed));
            let fates = Fates::of(&outline(&plan, &specs), &plan);
            never += fates.nodes.iter().filter(|fate| !fate.may_start).count();
            for (key, status) in reference::outcome(&plan, seed).0 {
                let fate = &fates.nodes[key.node];
                if status != StepStatus::Skipped {
                    ran += 1;
                    assert!(fate.may_start, "seed {seed}: {key:?} ended {status:?}");
                    let told = fate.ends.iter().any(|end| end.ran() && end.status() == Some(status));
                    assert!(told, "seed {seed}: {key:?} ended {status:?}, told were {:?}", fate.ends);
                }
            }
        }
        assert!(never > 50 && ran > 5000, "{never} that never start, {ran} that ran: too little was tried");
    }
}

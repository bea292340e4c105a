//! Warnings about order: actions that wait for less than they seem to, that are skipped when all goes well, or that
//! can never run; and answers that cannot be given. All of it follows from how each action may end ([`super::fate`]).

use super::Linter;
use super::blocks::{Outline, Outlined, kind};
use super::fate::{End, Fates, constant, has_run_after};
use crate::flow::plan::{Kind, NodeId, Plan, StatusSet, StepStatus};
use crate::yaml::child;

/// Where the order is looked at.
#[derive(Clone, Copy)]
struct View<'o, 'a> {
    outline: &'o Outline<'a>,
    plan: &'o Plan,
    fates: &'o Fates,
}

impl<'a> View<'_, 'a> {
    fn one(&self, id: NodeId) -> &Outlined<'a> {
        &self.outline.actions[id]
    }

    /// What an action is called in messages.
    fn called(&self, id: NodeId) -> String {
        match self.one(id).name.as_str() {
            "" => "an action without a name".to_owned(),
            name => format!("`{name}`"),
        }
    }

    fn never_starts(&self, id: NodeId) -> bool {
        !self.fates.nodes[id].may_start || self.is_off(id)
    }

    /// Whether its own `when` always turns it off.
    fn is_off(&self, id: NodeId) -> bool {
        self.one(id).value.get("when").and_then(constant) == Some(false)
    }
}

impl Linter<'_> {
    /// Everything that the order of the actions gives away.
    pub(super) fn order(&mut self, outline: &Outline<'_>, plan: &Plan, fates: &Fates) {
        let view = View { outline, plan, fates };
        self.order_in(view, plan.block(None, 0));
        self.answers_in(view, plan.block(None, 0), None);
        self.answers_in_loops(view);
    }

    fn order_in(&mut self, view: View<'_, '_>, nodes: &[NodeId]) {
        for (at, id) in nodes.iter().enumerate() {
            if view.never_starts(*id) {
                self.unreachable(view, *id);
                continue;
            }
            if at > 0 && !has_run_after(view.one(*id)) {
                self.follows_branches(view, *id, nodes[at - 1]);
            }
            for (number, inside) in view.plan.blocks_of(*id) {
                match (view.fates.dead.get(&(*id, number)), inside.first()) {
                    (Some((key, why)), Some(first)) => {
                        let (first_name, own) = (view.called(*first), view.called(*id));
                        let message = format!("{first_name} can never run: `{key}` of {own} {why}");
                        let help = "remove what never runs, or decide by a template";
                        self.order_finding("unreachable", view, *first, message, help.into());
                    }
                    _ => self.order_in(view, inside),
                }
            }
        }
    }

    /// An action without `run_after`: it waits only for the one right before it.
    fn follows_branches(&mut self, view: View<'_, '_>, id: NodeId, before: NodeId) {
        let (own, previous) = (view.called(id), view.called(before));
        let name = &view.one(before).name;
        if is_handler(view, before) {
            let message = format!(
                "{previous} is skipped when all goes well, and {own} waits for it to succeed: it is skipped as well"
            );
            let help = format!(
                "write  run_after: {{ {name}: [succeeded, skipped] }}  to run it in any case, or  run_after: {{ {name}: [succeeded] }}  if it belongs to the failure"
            );
            return self.order_finding("skipped_when_fine", view, id, message, help);
        }
        let beside: Vec<NodeId> = view.fates.nodes[id].beside.iter().copied().collect();
        if !beside.is_empty() {
            let names: Vec<String> = beside.iter().map(|id| view.called(*id)).collect();
            let verb = if beside.len() == 1 { "runs" } else { "run" };
            let message = format!(
                "{own} waits only for {previous}; {} {verb} beside it and may not have ended",
                names.join(", ")
            );
            let all = beside.iter().chain([&before]).map(|id| format!("{}: [succeeded]", view.one(*id).name));
            let all: Vec<String> = all.collect();
            let help = format!(
                "write  run_after: {{ {} }}  to wait for all, or  run_after: {{ {name}: [succeeded] }}  if that is meant",
                all.join(", ")
            );
            self.order_finding("open_branch", view, id, message, help);
        }
    }

    /// An action that never starts, though what it waits for may.
    fn unreachable(&mut self, view: View<'_, '_>, id: NodeId) {
        let own = view.called(id);
        if view.is_off(id) {
            let at = child(&view.one(id).pointer, "when");
            let message = format!("{own} never runs: its `when` is always false");
            let help = "remove the action, or decide by a template";
            return self.report("unreachable", &at, message, Some(help.into()));
        }
        let after = &view.plan.nodes[id].after;
        let is_dead = |before: NodeId| !view.fates.nodes[before].may_start;
        if after.iter().any(|(before, accepted)| is_dead(*before) && !accepted.contains(StepStatus::Skipped)) {
            return; // The one before it is told.
        }
        let never = after.iter().find(|(before, accepted)| !view.fates.nodes[*before].ends.may_be(*accepted));
        let Some((before, accepted)) = never else {
            let message = format!("{own} can never run: what it waits for never comes together");
            let help = "the actions that `run_after` names cannot all have these statuses in one run";
            return self.order_finding("unreachable", view, id, message, help.into());
        };
        let previous = view.called(*before);
        let statuses: Vec<&str> = statuses(view, *before).into_iter().map(StepStatus::as_str).collect();
        let ends_the_run = view.fates.nodes[*before].ends.contains(End::Stopped);
        let message = match statuses.as_slice() {
            [] => format!("{own} can never run: {previous} ends the run"),
            known => {
                let known = known.join(" or ");
                let rest = if ends_the_run { ", or ends the run" } else { "" };
                let wanted = wanted(*accepted);
                format!(
                    "{own} can never run: it waits for {previous} to be {wanted}, and that one can only be {known}{rest}"
                )
            }
        };
        let help = match wanted(*accepted).as_str() {
            "cancelled" => "an action is cancelled only with the whole run, and then nothing starts any more",
            _ => "remove it, or let it wait for another status",
        };
        self.order_finding("unreachable", view, id, message, help.into());
    }

    /// Walks what runs when all goes well and tells of an answer behind an answer. The answer given so far, if any.
    fn answers_in(&mut self, view: View<'_, '_>, nodes: &[NodeId], mut given: Option<NodeId>) -> Option<NodeId> {
        for id in nodes.iter().copied().filter(|id| view.fates.nodes[*id].when_fine == Some(End::Well)) {
            let is_guarded = view.one(id).value.get("when").is_some_and(|when| constant(when) != Some(true));
            let own_answer = if view.plan.nodes[id].kind == Kind::Leaf {
                self.answer(view, id, given, is_guarded)
            } else {
                self.answers_of_blocks(view, id, given)
            };
            if !is_guarded && !view.plan.nodes[id].kind.is_loop() {
                given = own_answer.or(given);
            }
        }
        given
    }

    fn answer(&mut self, view: View<'_, '_>, id: NodeId, given: Option<NodeId>, is_guarded: bool) -> Option<NodeId> {
        if !view.one(id).spec.is_some_and(|spec| spec.responds) {
            return None;
        }
        if let (Some(first), false) = (given, is_guarded) {
            let message = format!("{} has answered the request already: this answer fails", view.called(first));
            let help = "a request is answered once: remove one of the two, or give each a condition";
            self.order_finding("second_respond", view, id, message, help.into());
        }
        Some(id)
    }

    /// The answer that a container has surely given when it ends well: one in each of its ways.
    fn answers_of_blocks(&mut self, view: View<'_, '_>, id: NodeId, given: Option<NodeId>) -> Option<NodeId> {
        // The items of a `for_each` may be none: then the answer before it was the only one.
        let given = given.filter(|_| !matches!(view.plan.nodes[id].kind, Kind::Each { .. }));
        let mut ways = Vec::new();
        for number in numbers(view, id) {
            if !view.fates.dead.contains_key(&(id, number)) {
                ways.push(self.answers_in(view, view.plan.block(Some(id), number), given));
            }
        }
        let all = ways.iter().all(Option::is_some);
        ways.into_iter().flatten().next().filter(|_| all)
    }

    /// Answers that every turn of a loop gives.
    fn answers_in_loops(&mut self, view: View<'_, '_>) {
        let responds = |id: &NodeId| view.one(*id).spec.is_some_and(|spec| spec.responds);
        for id in (0..view.outline.actions.len()).filter(responds) {
            let mut chain = std::iter::once(id).chain(view.plan.containers(id));
            let decides = |id: NodeId| {
                let one = view.one(id);
                one.value.get("when").is_some() || matches!(view.plan.nodes[id].kind, Kind::If | Kind::Switch)
            };
            let stop = chain.find(|id| decides(*id) || view.plan.nodes[*id].kind.is_loop());
            let Some(around) = stop.filter(|id| view.plan.nodes[*id].kind.is_loop()) else { continue };
            let message =
                format!("every turn of {} answers the request: from the second one on it fails", view.called(around));
            let help = "answer behind the loop, or give the answer a `when`";
            self.order_finding("answered_in_loop", view, id, message, help.into());
        }
    }

    /// A finding at the name of an action.
    fn order_finding(&mut self, code: &'static str, view: View<'_, '_>, id: NodeId, message: String, help: String) {
        let pointer = &view.one(id).pointer;
        let named = child(pointer, "name");
        let at = if view.one(id).name.is_empty() { pointer } else { &named };
        self.report(code, at, message, Some(help));
    }
}

/// The numbers of all ways through a container, those without actions too.
fn numbers(view: View<'_, '_>, id: NodeId) -> std::ops::Range<u16> {
    let one = view.one(id);
    let blocks = crate::flow::control::blocks_of(kind(one), &one.value, &one.pointer);
    0..u16::try_from(blocks.len()).unwrap_or(u16::MAX)
}

/// Whether an action is skipped when all goes well because what it waits for went well.
fn is_handler(view: View<'_, '_>, id: NodeId) -> bool {
    let fine = |id: NodeId| view.fates.nodes[id].when_fine;
    let refused = |(before, accepted): &(NodeId, StatusSet)| {
        matches!(fine(*before), Some(End::Well | End::Off)) && !accepted.contains(StepStatus::Succeeded)
    };
    fine(id) == Some(End::Skipped) && view.plan.nodes[id].after.iter().any(refused)
}

/// The statuses that an action can end with.
fn statuses(view: View<'_, '_>, id: NodeId) -> Vec<StepStatus> {
    let mut statuses: Vec<StepStatus> = view.fates.nodes[id].ends.iter().filter_map(End::status).collect();
    statuses.dedup();
    statuses
}

/// The statuses that an edge takes, in words.
fn wanted(accepted: StatusSet) -> String {
    let wanted: Vec<&str> =
        StepStatus::ALL.into_iter().filter(|status| accepted.contains(*status)).map(StepStatus::as_str).collect();
    wanted.join(" or ")
}

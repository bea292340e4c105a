//! The outline of a flow: every action of every block, in the order of the file, with what it waits for.

use serde_json::Value;

use super::Linter;
use super::references::{LoopName, Neighbour};
use crate::diagnostic::nearest;
use crate::flow::catalogue::ActionSpec;
use crate::flow::control;
use crate::flow::plan::{Kind, Node, NodeId, Plan, StatusSet, StepStatus};
use crate::yaml::child;

/// One action as it stands in the file.
pub(super) struct Outlined<'a> {
    /// Where.
    pub(super) pointer: String,
    /// Its raw YAML value.
    pub(super) value: Value,
    /// Its name; empty where there is none.
    pub(super) name: String,
    /// Its type, where it is known.
    pub(super) spec: Option<&'a ActionSpec>,
    /// The container that it stands in.
    pub(super) parent: Option<NodeId>,
    /// The block of that container.
    pub(super) block: u16,
    /// What it waits for.
    pub(super) after: Vec<(NodeId, StatusSet)>,
}

/// Where a block stands.
#[derive(Clone, Copy)]
struct Place {
    parent: Option<NodeId>,
    block: u16,
    depth: usize,
}

/// All actions of a flow.
#[derive(Default)]
pub(super) struct Outline<'a> {
    /// In the order of the file: a container stands before what it holds.
    pub(super) actions: Vec<Outlined<'a>>,
}

impl<'a> Outline<'a> {
    /// How templates see the actions.
    pub(super) fn neighbours(&self) -> Vec<Neighbour<'a>> {
        let is_loop = |one: &Outlined<'_>| control::kind_of(kind(one), &one.value).is_loop();
        let neighbour = |one: &Outlined<'a>| Neighbour {
            name: one.name.clone(),
            spec: one.spec,
            parent: one.parent,
            block: one.block,
            is_loop: is_loop(one),
        };
        self.actions.iter().map(neighbour).collect()
    }

    /// The containers round an action, innermost first.
    pub(super) fn containers(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.actions[id].parent, |parent| self.actions[*parent].parent)
    }

    /// What has ended when an action starts: all that it and the containers round it wait for, directly or not.
    pub(super) fn awaited(&self, id: NodeId) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = Vec::new();
        let mut open: Vec<NodeId> = std::iter::once(id).chain(self.containers(id)).collect();
        while let Some(next) = open.pop() {
            for (before, _) in &self.actions[next].after {
                if !found.contains(before) {
                    found.push(*before);
                    open.push(*before);
                }
            }
        }
        found
    }

    /// The loops round an action, outermost first; with `itself`, the action too where it is one.
    pub(super) fn loops(&self, id: NodeId, itself: bool) -> Vec<LoopName> {
        let chain = itself.then_some(id).into_iter().chain(self.containers(id));
        let mut loops: Vec<LoopName> = chain
            .filter(|node| control::kind_of(kind(&self.actions[*node]), &self.actions[*node].value).is_loop())
            .map(|node| LoopName {
                name: self.actions[node].name.clone(),
                has_items: kind(&self.actions[node]) == "for_each",
            })
            .collect();
        loops.reverse();
        loops
    }

    /// The plan; what containers are told by fixed keys is put in when they are compiled.
    pub(super) fn plan(&self, kinds: &[Kind]) -> Plan {
        let nodes = self.actions.iter().zip(kinds).map(|(one, kind)| Node {
            name: one.name.clone(),
            parent: one.parent,
            block: one.block,
            after: one.after.clone(),
            kind: *kind,
        });
        Plan::new(nodes.collect())
    }
}

/// The type of an action; empty where none is known.
pub(super) fn kind(one: &Outlined<'_>) -> &'static str {
    one.spec.map_or("", |spec| spec.kind)
}

impl<'a> Linter<'a> {
    /// Every action of the flow. `None`: more than may be.
    pub(super) fn outline(&mut self) -> Option<Outline<'a>> {
        let mut outline = Outline::default();
        self.block("/actions", Place { parent: None, block: 0, depth: 1 }, &mut outline);
        let most = self.environment.actions_per_flow_max;
        let Some(beyond) = outline.actions.get(most) else { return Some(outline) };
        let message = format!("the flow has {} actions; at most {most} are allowed", outline.actions.len());
        let help = "split the flow, or raise limits.actions_per_flow in leadflow.yaml";
        let pointer = beyond.pointer.clone();
        self.report("too_many_actions", &pointer, message, Some(help.into()));
        None
    }

    fn block(&mut self, pointer: &str, place: Place, outline: &mut Outline<'a>) {
        let items = self.doc.value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut siblings: Vec<NodeId> = Vec::new();
        for (index, value) in items.into_iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            let (name, spec) = (text("name").to_owned(), self.environment.catalogue.action(text("type")));
            let after = self.after(&pointer, &value, &name, &siblings, outline);
            let id = outline.actions.len();
            siblings.push(id);
            let blocks = control::blocks_of(spec.map_or("", |spec| spec.kind), &value, &pointer);
            let Place { parent, block, depth } = place;
            outline.actions.push(Outlined { pointer: pointer.clone(), value, name, spec, parent, block, after });
            let most = self.environment.nesting_max;
            if depth > most && !blocks.is_empty() {
                let message = format!("containers nest deeper than {most} levels");
                let help = "take the inner ones out into a flow of their own, or raise limits.nesting in leadflow.yaml";
                self.report("too_deep", &pointer, message, Some(help.into()));
                continue;
            }
            for (number, pointer) in blocks {
                self.block(&pointer, Place { parent: Some(id), block: number, depth: depth + 1 }, outline);
            }
        }
    }

    /// What an action waits for: what its `run_after` names, else the action before it in its list.
    fn after(
        &mut self,
        pointer: &str,
        value: &Value,
        name: &str,
        siblings: &[NodeId],
        outline: &Outline<'_>,
    ) -> Vec<(NodeId, StatusSet)> {
        let Some(Value::Object(named)) = value.get("run_after") else {
            return siblings.last().map(|before| (*before, StatusSet::succeeded())).into_iter().collect();
        };
        let mut after = Vec::new();
        for (wanted, statuses) in named {
            let found = siblings.iter().find(|id| outline.actions[**id].name == *wanted);
            let Some(found) = found else {
                let at = child(&child(pointer, "run_after"), wanted);
                let (message, help) = self.not_before(wanted, name, pointer, siblings, outline);
                self.report_key("unknown_run_after", &at, message, Some(help));
                continue;
            };
            let statuses = statuses.as_array().into_iter().flatten().filter_map(Value::as_str);
            let set = statuses.filter_map(StepStatus::parse).fold(StatusSet::default(), StatusSet::with);
            after.push((*found, set));
        }
        after
    }

    /// Why an action cannot wait for `wanted`, and what to do.
    fn not_before(
        &self,
        wanted: &str,
        own: &str,
        pointer: &str,
        siblings: &[NodeId],
        outline: &Outline<'_>,
    ) -> (String, String) {
        let list = pointer.rsplit_once('/').map_or("", |(list, _)| list);
        let names = siblings.iter().map(|id| outline.actions[*id].name.as_str());
        let known: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        let help = match known.as_slice() {
            [] => "it is the first of its list: remove `run_after`".to_owned(),
            known => format!("actions before it in its list: {}", known.join(" ")),
        };
        let in_list = self.doc.value.pointer(list).and_then(Value::as_array).into_iter().flatten();
        let further_down = in_list.filter_map(|item| item.get("name")).any(|name| name == wanted);
        let message = if wanted == own {
            "an action cannot wait for itself".to_owned()
        } else if further_down {
            format!("`{wanted}` stands further down: an action waits only for what stands before it")
        } else if outline.actions.iter().any(|one| one.name == wanted) {
            format!("`{wanted}` stands in another list: an action waits only for those of its own list")
        } else {
            let near = nearest(wanted, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            format!("there is no action `{wanted}` before this one{}", near.unwrap_or_default())
        };
        (message, help)
    }
}

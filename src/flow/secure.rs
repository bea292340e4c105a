//! What is hidden: what a flow marks with `secure`, and everything that is made of it. Decided when a flow is compiled.
//!
//! Promise: a template that reads a secure value makes the inputs that it stands in secure; what an action makes of its
//! inputs without leaving the machine is as secure as they are; a variable that holds something secure is secure, for
//! all who read it. A status is never secure, nor is what a `when` decides.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Action;
use super::plan::{Kind, NodeId, Plan};
use super::variables::{self, CHANGES, Variable};
use crate::template::{PathRef, Tree};

/// What stands for a hidden value.
pub const MASK: &str = "***";

/// Keys of an effect that tell what happens and nothing of the lead.
const OPEN_KEYS: &[&str] = &["action", "kind", "connection", "operation", "method", "entity", "index"];

/// What of an action is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Secure {
    /// What it is told.
    pub inputs: bool,
    /// What it gives.
    pub outputs: bool,
    /// What its error says; the code is shown.
    pub error: bool,
}

impl Secure {
    /// Whether anything is hidden.
    pub fn any(self) -> bool {
        self.inputs || self.outputs || self.error
    }
}

/// Marks what is made of secure values, until nothing is added.
pub(super) fn spread(actions: &mut [Action], plan: &Plan, variables: &mut [Variable]) {
    // A flow with faults has nodes without an action; it does not run.
    while actions.len() == plan.nodes.len() {
        let mut is_done = true;
        for id in 0..actions.len() {
            let secure = Look { actions, plan, variables }.of(id);
            is_done &= secure == actions[id].secure;
            actions[id].secure = secure;
            is_done &= !(secure.any() && taints(&actions[id], variables));
        }
        if is_done {
            return;
        }
    }
}

/// Makes the variable that a secure action changes secure; whether it was not.
fn taints(action: &Action, variables: &mut [Variable]) -> bool {
    let name = changed(action);
    let found = variables.iter_mut().find(|variable| name.is_some_and(|name| variable.name.eq_ignore_ascii_case(name)));
    found.is_some_and(|variable| !std::mem::replace(&mut variable.secure, true))
}

/// The variable that an action changes.
fn changed(action: &Action) -> Option<&str> {
    match action.inputs.get("variable") {
        Some(Tree::Constant(Value::String(name))) if CHANGES.contains(&action.kind.as_str()) => Some(name),
        _ => None,
    }
}

/// The flow as far as it is marked.
struct Look<'a> {
    actions: &'a [Action],
    plan: &'a Plan,
    variables: &'a [Variable],
}

impl Look<'_> {
    fn of(&self, id: NodeId) -> Secure {
        let action = &self.actions[id];
        let mut secure = action.secure;
        secure.inputs |= self.reads_secure(id);
        secure.outputs |= secure.inputs && gives_what_it_is_told(action);
        let inner = |block: u16| self.plan.block(Some(id), block).iter().map(|id| self.actions[*id].secure);
        match self.plan.nodes[id].kind {
            Kind::Each { .. } => secure.outputs |= inner(0).next_back().is_some_and(|last| last.outputs),
            Kind::Scope => secure.outputs |= inner(0).any(Secure::any),
            Kind::Leaf | Kind::If | Kind::Switch | Kind::Until => {}
        }
        // The error of a container is that of an action in it.
        let mut blocks = self.plan.blocks_of(id).flat_map(|(_, nodes)| nodes);
        secure.error |= secure.inputs || secure.outputs || blocks.any(|id| self.actions[*id].secure.error);
        secure
    }

    fn reads_secure(&self, id: NodeId) -> bool {
        let action = &self.actions[id];
        let mut found = false;
        action
            .inputs
            .each_template(&mut |template| found |= template.paths().iter().any(|path| self.is_secure(path, id)));
        if let Some(control) = &action.control {
            control.each_template(&mut |template| {
                found |= template.paths().iter().any(|path| self.is_secure(path, id));
            });
        }
        // `item` there is one of the action's own `from`.
        let own_item = |path: &PathRef| path.root.eq_ignore_ascii_case("item");
        for (_, tree) in &action.per_item {
            found |= tree.paths().iter().any(|path| !own_item(path) && self.is_secure(path, id));
        }
        found
    }

    /// Whether the value at `path`, read by the action `id`, is secure.
    fn is_secure(&self, path: &PathRef, id: NodeId) -> bool {
        let mut segments = path.segments.iter().map(String::as_str);
        match path.root.to_ascii_lowercase().as_str() {
            "actions" => match segments.next() {
                Some(name) => {
                    let found = self.actions.iter().find(|action| action.name.eq_ignore_ascii_case(name));
                    found.is_some_and(|action| is_member_secure(action.secure, segments.next()))
                }
                None => self.actions.iter().any(|action| action.secure.outputs || action.secure.error),
            },
            "variables" => match segments.next() {
                Some(name) => variables::find(self.variables, name).is_some_and(|variable| variable.secure),
                None => self.variables.iter().any(|variable| variable.secure),
            },
            "item" => self.loops(id).last().is_some_and(|container| container.secure.inputs),
            "loops" => {
                let name = segments.next();
                let is_named = |container: &&Action| name.is_none_or(|name| container.name.eq_ignore_ascii_case(name));
                let is_index = segments.next().is_some_and(|member| member.eq_ignore_ascii_case("index"));
                !is_index && self.loops(id).filter(is_named).any(|container| container.secure.inputs)
            }
            _ => false,
        }
    }

    /// The `for_each` round an action, outermost first.
    fn loops(&self, id: NodeId) -> impl Iterator<Item = &Action> {
        let with_items = |id: &NodeId| matches!(self.plan.nodes[*id].kind, Kind::Each { .. });
        self.plan.loops(id).into_iter().filter(with_items).map(|id| &self.actions[id])
    }
}

fn is_member_secure(secure: Secure, member: Option<&str>) -> bool {
    match member.map(str::to_ascii_lowercase).as_deref() {
        Some("status") => false,
        Some("error") => secure.error,
        Some("outputs") => secure.outputs,
        _ => secure.outputs || secure.error,
    }
}

/// Whether outputs are made of inputs: of all that does not leave the machine, and of records, which give back their
/// fields.
fn gives_what_it_is_told(action: &Action) -> bool {
    !action.leaves_the_machine || action.kind.ends_with("_record") || action.kind == "list_records"
}

/// Blots out what an effect, as a dry run tells it, holds of secure inputs: what happens stays.
pub fn hide_effect(effect: &mut Value) {
    for (key, value) in effect.as_object_mut().into_iter().flatten() {
        if !OPEN_KEYS.contains(&key.as_str()) && !value.is_null() {
            *value = Value::from(MASK);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::flow::check::test_catalogue;
    use crate::flow::{Bundle, Defaults, Environment, Flow, compile};

    fn flow(text: &str) -> Flow {
        let catalogue = test_catalogue::catalogue();
        let bundle = Bundle {
            file: "a.yaml".into(),
            text: text.into(),
            schemas: std::collections::BTreeMap::new(),
            blueprint: None,
            parameters: json!({}),
            defaults: Defaults::default(),
        };
        let environment = Environment {
            catalogue: &catalogue,
            connections: None,
            schemas_known: &[],
            blueprints_known: &[],
            actions_per_flow_max: 50,
            nesting_max: 8,
        };
        let compiled = compile(bundle, &environment);
        compiled.flow.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
    }

    /// The actions of a flow with what of them is hidden: `i`, `o`, `e`.
    fn marks(text: &str) -> Vec<(String, String)> {
        let flow = flow(text);
        let letters = |secure: super::Secure| {
            let letters = [(secure.inputs, 'i'), (secure.outputs, 'o'), (secure.error, 'e')];
            letters.into_iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
        };
        flow.actions.iter().map(|action| (action.name.clone(), letters(action.secure))).collect()
    }

    const HEAD: &str = "name: a\ntrigger: {type: request}\nactions:\n";

    fn assert_marks(actions: &str, want: &[(&str, &str)]) {
        let want: Vec<_> = want.iter().map(|(name, marks)| ((*name).to_owned(), (*marks).to_owned())).collect();
        assert_eq!(marks(&format!("{HEAD}{actions}")), want, "{actions}");
    }

    #[test]
    fn what_reads_secure_outputs_is_secure_and_what_it_makes_of_them() {
        assert_marks(
            "  - {name: token, type: compose, inputs: x, secure: [outputs]}\n  \
             - {name: copy, type: compose, inputs: {t: '{{actions.TOKEN.outputs}}'}}\n  \
             - {name: third, type: compose, inputs: '{{actions.copy.outputs.t}}'}\n  \
             - {name: call, type: http, method: POST, url: 'https://a.example/', body: '{{actions.third.outputs}}'}\n  \
             - {name: after, type: compose, inputs: '{{actions.call.outputs.body}}'}\n  \
             - {name: status, type: compose, inputs: '{{actions.token.status}}'}\n  \
             - {name: told, type: compose, inputs: '{{actions.call.error.message}}'}\n  \
             - {name: all, type: compose, inputs: '{{string actions}}'}\n",
            &[
                ("token", "oe"),
                ("copy", "ioe"),
                ("third", "ioe"),
                ("call", "ie"),
                ("after", ""),
                ("status", ""),
                ("told", "ioe"),
                ("all", "ioe"),
            ],
        );
    }

    #[test]
    fn records_give_back_their_fields() {
        let fields = "{name: keep, type: create_record, connection: crm, entity: leads, secure: [inputs], fields: {a: '{{trigger.body.A}}'}}";
        assert_marks(&format!("  - {fields}\n"), &[("keep", "ioe")]);
    }

    #[test]
    fn containers_carry_it_in_and_out() {
        assert_marks(
            "  - {name: list, type: compose, inputs: [1], secure: [outputs]}\n  \
             - name: each\n    type: for_each\n    items: '{{actions.list.outputs}}'\n    actions:\n      \
             - {name: one, type: compose, inputs: '{{item}}'}\n      \
             - {name: number, type: compose, inputs: '{{item_index}} {{loops.each.index}}'}\n      \
             - {name: again, type: compose, inputs: '{{loops.each.item}}'}\n  \
             - name: group\n    type: scope\n    actions:\n      \
             - {name: inner, type: compose, inputs: '{{actions.each.outputs}}'}\n  \
             - {name: read, type: compose, inputs: '{{actions.group.outputs.result}}'}\n",
            &[
                ("list", "oe"),
                ("each", "ioe"),
                ("one", "ioe"),
                ("number", ""),
                ("again", "ioe"),
                ("group", "oe"),
                ("inner", "ioe"),
                ("read", "ioe"),
            ],
        );
    }

    #[test]
    fn effects_tell_only_what_happens() {
        let mut effect =
            json!({"action": "call", "kind": "http", "method": "POST", "url": "x", "body": {"a": 1}, "headers": null});
        super::hide_effect(&mut effect);
        let want =
            json!({"action": "call", "kind": "http", "method": "POST", "url": "***", "body": "***", "headers": null});
        assert_eq!(effect, want);
    }
}

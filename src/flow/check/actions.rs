//! `actions:` into compiled actions and the plan.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Linter;
use super::references::{Names, Neighbour};
use super::shape::{self, Checked};
use super::texts::Texts;
use super::{host, names, retry};
use crate::diagnostic::{Diagnostic, has_errors, nearest};
use crate::flow::catalogue::{ActionSpec, Serves};
use crate::flow::format::CommonKeys;
use crate::flow::plan::{Kind, Node, Plan, StatusSet};
use crate::flow::retry::RetryPolicy;
use crate::flow::{Action, Trigger, control, schema};
use crate::template::{PathRef, Tree};
use crate::units;
use crate::yaml::{child, dotted};

/// What all actions of a flow share while they are compiled.
struct Block<'b, 'a> {
    parameters: &'b Value,
    trigger: &'b Trigger,
    path_parameters: Vec<String>,
    neighbours: Vec<Neighbour<'a>>,
}

impl<'a> Linter<'a> {
    /// The actions of the flow with their plan. Faults become findings; what does not compile is left out.
    pub(super) fn actions(&mut self, trigger: &Trigger, parameters: &Value) -> (Vec<Action>, Plan) {
        let items = self.doc.value.get("actions").and_then(Value::as_array).cloned().unwrap_or_default();
        let most = self.environment.actions_per_flow_max;
        if items.len() > most {
            let message = format!("the flow has {} actions; at most {most} are allowed", items.len());
            let help = "split the flow, or raise limits.actions_per_flow in leadflow.yaml";
            self.report("too_many_actions", &format!("/actions/{most}"), message, Some(help.into()));
            return (Vec::new(), Plan::default());
        }
        let block = Block {
            parameters,
            trigger,
            path_parameters: trigger.path.as_ref().map(super::PathPattern::parameters).unwrap_or_default(),
            neighbours: items.iter().map(|item| self.neighbour(item)).collect(),
        };
        self.duplicate_names(&block.neighbours);
        let mut plan = Plan::default();
        let mut awaited: Vec<Vec<usize>> = Vec::new();
        let mut actions = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let starts_at_once = item.get("run_after").is_some_and(Value::is_object);
            let before = index.checked_sub(1).filter(|_| !starts_at_once);
            plan.nodes.push(Node {
                name: block.neighbours[index].name.clone(),
                parent: None,
                after: before.map(|before| (before, StatusSet::succeeded())).into_iter().collect(),
                kind: Kind::Leaf,
            });
            let all_before = before.map(|before| [awaited[before].clone(), vec![before]].concat());
            awaited.push(all_before.unwrap_or_default());
            actions.extend(self.action(index, item, &block, &awaited[index]));
        }
        (actions, plan)
    }

    /// How other actions see the action `item`.
    fn neighbour(&self, item: &Value) -> Neighbour<'a> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        Neighbour { name: text("name").to_owned(), spec: self.environment.catalogue.action(text("type")) }
    }

    fn duplicate_names(&mut self, neighbours: &[Neighbour<'_>]) {
        for (index, Neighbour { name, .. }) in neighbours.iter().enumerate().filter(|(_, one)| !one.name.is_empty()) {
            let same = |other: &Neighbour<'_>| other.name.eq_ignore_ascii_case(name);
            let Some(first) = neighbours[..index].iter().position(same) else { continue };
            let line = self.doc.value_place(&format!("/actions/{first}/name")).line;
            let message = format!("the name `{name}` is taken by the action in line {line}");
            let help = "names are unique in a flow, whatever their case";
            self.report("duplicate_name", &format!("/actions/{index}/name"), message, Some(help.into()));
        }
    }

    fn action(&mut self, index: usize, item: &Value, block: &Block<'_, 'a>, awaited: &[usize]) -> Option<Action> {
        let pointer = format!("/actions/{index}");
        let Some(entries) = item.as_object() else {
            let message = "an action is a map with `name`, `type` and the type's own keys".to_owned();
            self.report("wrong_type", &pointer, message, None);
            return None;
        };
        self.action_name(&pointer, entries);
        let spec = self.spec(&pointer, entries, block)?;
        let before = self.findings.len();
        let keys = schema::of_action(spec);
        let checked = shape::check(self.doc, &pointer, spec.kind, &keys, block.parameters, &mut self.findings);
        let own = checked.value.as_object()?;
        let common: CommonKeys = self.read(&pointer, &checked.value)?;
        let retry = self.retry(&pointer, spec, &common);
        let connection = self.connection(&pointer, spec, own);
        self.own_check(&pointer, spec, &checked.value, before);
        let names = Names {
            schema: block.trigger.seen_schema(),
            parameters: block.parameters,
            path_parameters: &block.path_parameters,
            actions: &block.neighbours,
            own: Some(index),
            awaited: awaited.to_vec(),
        };
        let (when, inputs) = self.texts(&pointer, &checked, &common, &names);
        let guard = spec.blank_guard.and_then(|key| inputs.get(key)).map(outside_paths).unwrap_or_default();
        let url_from_value = matches!(inputs.get("url"), Some(Tree::Template(url)) if host::comes_from_a_value(url));
        Some(Action {
            name: common.name?,
            kind: spec.kind.to_owned(),
            connection,
            when,
            retry,
            timeout: common.timeout.and_then(|text| units::duration(&text).ok()),
            volatile: inputs.is_volatile(),
            guard,
            url_from_value,
            inputs,
        })
    }

    fn action_name(&mut self, pointer: &str, entries: &Map<String, Value>) {
        let Some(name) = entries.get("name").and_then(Value::as_str) else { return };
        if let Err(problem) = names::action(name) {
            let help = "a letter, then letters, digits and `_`; at most 80 characters";
            self.report("bad_name", &child(pointer, "name"), problem, Some(help.into()));
        }
    }

    /// The declaration of the action's type. Without one, only the common keys can be checked.
    fn spec(&mut self, pointer: &str, entries: &Map<String, Value>, block: &Block<'_, 'a>) -> Option<&'a ActionSpec> {
        let kind = match entries.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            _ => "",
        };
        if let Some(spec) = self.environment.catalogue.action(kind) {
            return Some(spec);
        }
        let at = child(pointer, "type");
        if control::is_not_yet(kind) {
            let message = format!("the action type `{kind}` comes with a later version");
            self.report("not_yet", &at, message, None);
            return None;
        }
        let known: Vec<&str> = self.environment.catalogue.actions.iter().map(|spec| spec.kind).collect();
        if !kind.is_empty() {
            let near = nearest(kind, known.iter().copied());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("there is no action type `{kind}`{near}");
            self.report("unknown_action_type", &at, message, Some(format!("action types: {}", known.join(" "))));
        }
        let common = schema::of_any_action();
        shape::check(self.doc, pointer, "an action", &common, block.parameters, &mut self.findings);
        None
    }

    /// The action's own policy. One that does not leave the machine has nothing to try again.
    fn retry(&mut self, pointer: &str, spec: &ActionSpec, common: &CommonKeys) -> Option<RetryPolicy> {
        let Some(file) = &common.retry else {
            return (!spec.leaves_the_machine).then(RetryPolicy::none);
        };
        if !spec.leaves_the_machine {
            let message = format!("{} does not leave the machine: there is nothing to try again", spec.kind);
            self.report("bad_retry", &child(pointer, "retry"), message, Some("remove `retry`".into()));
            return None;
        }
        let policy = retry::policy(file, &self.bundle.defaults.retry);
        policy
            .map_err(|(key, message)| self.report("bad_retry", &child(&child(pointer, "retry"), key), message, None))
            .ok()
    }

    fn connection(&mut self, pointer: &str, spec: &ActionSpec, own: &Map<String, Value>) -> Option<String> {
        let name = own.get("connection")?.as_str()?.to_owned();
        // A pinned text: its connections are bound by name when it runs.
        let Some(known) = self.environment.connections else { return Some(name) };
        let at = child(pointer, "connection");
        let Some(kind) = known.get(&name) else {
            let near = nearest(&name, known.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let message = format!("there is no connection `{name}`{near}");
            let help =
                format!("known connections: {}", if names.is_empty() { "none".into() } else { names.join(", ") });
            self.report("unknown_connection", &at, message, Some(help));
            return None;
        };
        let connector = self.environment.catalogue.connector(kind);
        if let (Some(connector), Some(wanted)) = (connector, spec.serves)
            && connector.serves != wanted
        {
            let fits = |kind: &String| {
                self.environment.catalogue.connector(kind).is_some_and(|connector| connector.serves == wanted)
            };
            let fitting: Vec<&str> =
                known.iter().filter(|(_, kind)| fits(kind)).map(|(name, _)| name.as_str()).collect();
            let message = format!("the connection `{name}` ({kind}) cannot {}", purpose(wanted));
            let help = if fitting.is_empty() {
                format!("no connection in leadflow.yaml can {}", purpose(wanted))
            } else {
                format!("connections that can: {}", fitting.join(", "))
            };
            self.report("wrong_connection", &at, message, Some(help));
        }
        Some(name)
    }

    /// What the action itself has to say. One slip is one finding: it is not heard on what is told already (`before`:
    /// where the findings of this action begin), nor on what is missing beside a key that may be misspelt.
    fn own_check(&mut self, pointer: &str, spec: &ActionSpec, value: &Value, before: usize) {
        let Some(check) = spec.check else { return };
        let told: Vec<Diagnostic> = self.findings[before..].to_vec();
        for found in check(value) {
            let at = format!("{pointer}{}", found.pointer);
            let path = dotted(&at);
            let is_told = told.iter().any(|finding| finding.path == path);
            let is_absent = found.pointer.is_empty() || value.pointer(&found.pointer).is_none();
            if is_told || (is_absent && has_errors(&told)) {
                continue;
            }
            let finding = Diagnostic::new(found.code, self.doc.value_place(&at), path, found.message);
            self.findings.push(Diagnostic { help: found.help, ..finding });
        }
    }

    fn texts(
        &mut self,
        pointer: &str,
        checked: &Checked,
        common: &CommonKeys,
        names: &Names<'_>,
    ) -> (Vec<crate::template::Template>, Tree) {
        let mut texts = Texts { doc: self.doc, templates: &checked.templates, names, findings: &mut self.findings };
        let when = common.when.as_ref().map(|when| texts.conditions(when, &child(pointer, "when")));
        let own = checked.value.as_object().into_iter().flatten();
        let own: Map<String, Value> = own
            .filter(|(key, _)| *key != "connection" && !schema::is_common_key(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        (when.unwrap_or_default(), texts.object(&own, pointer))
    }
}

fn purpose(serves: Serves) -> &'static str {
    match serves {
        Serves::Records => "make records",
        Serves::Email => "send mail",
        Serves::Http => "call HTTP",
    }
}

/// The paths from outside that a tree uses, each once.
fn outside_paths(tree: &Tree) -> Vec<PathRef> {
    let mut seen = BTreeSet::new();
    let key = |path: &PathRef| json!([path.root, path.segments]).to_string().to_lowercase();
    tree.paths().into_iter().filter(PathRef::is_outside).filter(|path| seen.insert(key(path))).collect()
}

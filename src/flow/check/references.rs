//! What a template names: roots, actions, parameters, fields of the body. Everything that a lead would only show later.

use std::sync::Arc;

use serde_json::Value;

use super::fixed::member;
use super::forms::{Form, Forms, Missing};
use crate::diagnostic::{Severity, nearest};
use crate::flow::catalogue::ActionSpec;
use crate::flow::variables::{self, Variable};
use crate::schema::{BodySchema, PathAnswer};
use crate::template::{PathRef, ROOTS};

/// What exists beside each root that has a closed set of members.
const MEMBERS: &[(&str, &[&str])] = &[
    ("trigger", &["body", "headers", "query", "path", "method"]),
    ("run", &["id", "received_at", "is_test"]),
    ("flow", &["name", "description"]),
];
/// What an action has.
const ACTION_MEMBERS: &[&str] = &["status", "outputs", "error"];
/// What an action's error has.
const ERROR_MEMBERS: &[&str] = &["code", "message", "action"];

/// One action of the flow, as other actions see it.
#[derive(Debug, Clone)]
pub(super) struct Neighbour<'a> {
    /// Its name.
    pub(super) name: String,
    /// Its type, where it is known.
    pub(super) spec: Option<&'a ActionSpec>,
    /// The container that it stands in.
    pub(super) parent: Option<usize>,
    /// The block of that container.
    pub(super) block: u16,
    /// Whether it is a loop: what stands in it runs many times.
    pub(super) is_loop: bool,
}

/// A loop round the place of a template.
#[derive(Debug, Clone)]
pub(super) struct LoopName {
    /// Its name.
    pub(super) name: String,
    /// Whether it has items.
    pub(super) has_items: bool,
}

/// Everything that a template at one place may name.
#[derive(Debug, Clone)]
pub(super) struct Names<'a> {
    /// The body's schema.
    pub(super) schema: Option<&'a BodySchema>,
    /// The flow's constants.
    pub(super) parameters: &'a Value,
    /// Parameters of the trigger's path.
    pub(super) path_parameters: &'a [String],
    /// The flow's variables.
    pub(super) variables: &'a [Variable],
    /// All actions, in order.
    pub(super) actions: &'a [Neighbour<'a>],
    /// The action that the template stands in; `None`: the trigger.
    pub(super) own: Option<usize>,
    /// The actions that have ended by then: those that it and the containers round it wait for, directly or not.
    pub(super) awaited: Vec<usize>,
    /// The loops round the template.
    pub(super) loops: Vec<LoopName>,
    /// Whether the template is rendered once for each item of a list, outside every loop.
    pub(super) per_item: bool,
    /// The template is looked at when what stands in its own action has ended (`condition` of `until`).
    pub(super) sees_inside: bool,
    /// What is known of the values.
    pub(super) known: Known<'a>,
}

/// What is known of the values that a template at one place may read.
#[derive(Debug, Clone, Default)]
pub(super) struct Known<'a> {
    /// What actions give and what loops go through.
    pub(super) forms: Option<&'a Forms>,
    /// The body's schema, for those who keep it.
    pub(super) body: Option<Arc<BodySchema>>,
    /// The item, where the template is rendered once for each.
    pub(super) item: Form,
    /// Actions that have surely not succeeded by then: they give no outputs.
    pub(super) without_outputs: Vec<usize>,
}

impl Known<'_> {
    /// The same with `item`.
    pub(super) fn item(self, item: Form) -> Self {
        Self { item, ..self }
    }
}

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// A code of the catalogue.
    pub(super) code: &'static str,
    /// How bad.
    pub(super) severity: Severity,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl Problem {
    fn error(code: &'static str, message: String) -> Self {
        Self { code, severity: Severity::Error, message, help: None }
    }

    fn warning(code: &'static str, message: String) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl From<Missing> for Problem {
    fn from(missing: Missing) -> Self {
        let severity = if missing.is_closed { Severity::Error } else { Severity::Warning };
        Self { code: "unknown_path", severity, message: missing.message, help: missing.help }
    }
}

impl Names<'_> {
    /// What is wrong with `path`, if anything is.
    pub(super) fn problem(&self, path: &PathRef) -> Option<Problem> {
        let Some(root) = ROOTS.iter().find(|root| root.eq_ignore_ascii_case(&path.root)) else {
            return Some(self.unknown_root(path));
        };
        let rest: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        match *root {
            "actions" => self.action(&rest),
            "parameters" => self.parameter(rest.first()?, &rest[1..]),
            "variables" => self.variable(rest.first()?),
            "item" | "item_index" => self.item(root, &rest),
            "loops" => self.in_loop(&rest),
            "trigger" => self.trigger(&rest, path),
            root => member_problem(root, rest.first()?),
        }
    }

    fn item(&self, root: &str, rest: &[&str]) -> Option<Problem> {
        if self.per_item || self.loops.iter().any(|one| one.has_items) {
            let form = if root == "item" { self.item_form(None) } else { Form::Scalar("a number") };
            return form.walk(rest, root).err().map(Problem::from);
        }
        Some(Problem::error("unknown_root", format!("`{root}` exists only inside a loop")))
    }

    fn in_loop(&self, rest: &[&str]) -> Option<Problem> {
        if self.loops.is_empty() {
            return Some(Problem::error("unknown_root", "`loops` exists only inside a loop".into()));
        }
        let name = rest.first()?;
        let Some(found) = self.loops.iter().find(|one| one.name.eq_ignore_ascii_case(name)) else {
            let known: Vec<&str> = self.loops.iter().map(|one| one.name.as_str()).collect();
            let near = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("there is no loop `{name}` round this action{}", near.unwrap_or_default());
            return Some(Problem::error("unknown_root", message).help(format!("loops here: {}", known.join(" "))));
        };
        let members: &[&str] = if found.has_items { &["item", "index"] } else { &["index"] };
        let second = rest.get(1)?;
        if members.iter().any(|known| known.eq_ignore_ascii_case(second)) {
            let is_item = second.eq_ignore_ascii_case("item");
            let form = if is_item { self.item_form(Some(name)) } else { Form::Scalar("a number") };
            return form.walk(&rest[2..], &format!("loops.{name}.{second}")).err().map(Problem::from);
        }
        let message = format!("`loops.{name}` has no `{second}`");
        Some(Problem::error("unknown_path", message).help(format!("it has: {}", members.join(" "))))
    }

    fn unknown_root(&self, path: &PathRef) -> Problem {
        let root = &path.root;
        let whole = std::iter::once(root).chain(&path.segments).cloned().collect::<Vec<_>>();
        let in_body = self.schema.is_some_and(|schema| schema.path(&whole) == PathAnswer::Known);
        let whole = whole.join(".");
        let near = if MEMBERS[0].1.iter().any(|name| name.eq_ignore_ascii_case(root)) || in_body {
            let body = if in_body { "body." } else { "" };
            Some(format!("trigger.{body}{whole}"))
        } else if member(self.parameters, root).is_some() {
            Some(format!("parameters.{whole}"))
        } else if self.actions.iter().any(|action| action.name.eq_ignore_ascii_case(root)) {
            Some(format!("actions.{whole}"))
        } else {
            nearest(root, ROOTS.iter().copied()).map(|near| near.to_owned() + &whole[root.len()..])
        };
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let known = "trigger actions parameters run flow environment";
        Problem::error("unknown_root", format!("there is nothing called `{root}`{near}"))
            .help(format!("a template starts at one of: {known}"))
    }

    fn parameter(&self, name: &str, rest: &[&str]) -> Option<Problem> {
        if let Some(value) = member(self.parameters, name) {
            return Form::of_value(value).walk(rest, &format!("parameters.{name}")).err().map(Problem::from);
        }
        let names = self.parameters.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
        let near = nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("there is no parameter `{name}`{near}");
        Some(
            Problem::error("unknown_parameter", message)
                .help(format!("declare it: write  parameters: {{ {name}: … }}")),
        )
    }

    fn variable(&self, name: &str) -> Option<Problem> {
        let (message, help) = unknown_variable(self.variables, name)?;
        Some(Problem::error("unknown_variable", message).help(help))
    }

    fn action(&self, rest: &[&str]) -> Option<Problem> {
        let name = rest.first()?;
        let Some(own) = self.own else {
            let message = "a condition of the trigger is decided before any action runs";
            return Some(Problem::error("unknown_action", message.into()).help("use `when` of an action"));
        };
        let found = self.actions.iter().position(|action| action.name.eq_ignore_ascii_case(name));
        let Some(found) = found else {
            let names = self.actions.iter().map(|action| action.name.as_str());
            let near = nearest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Some(Problem::error("unknown_action", format!("there is no action `{name}`{near}")));
        };
        if let Some(problem) = self.unreadable(name, found, own) {
            return Some(problem);
        }
        action_member(name, &rest[1..], self.actions[found].spec).or_else(|| self.outputs(name, found, &rest[1..]))
    }

    /// What is wrong with the outputs of `found` that a template reads, `rest` being what follows the action's name.
    fn outputs(&self, name: &str, found: usize, rest: &[&str]) -> Option<Problem> {
        rest.first().filter(|first| first.eq_ignore_ascii_case("outputs"))?;
        if self.known.without_outputs.contains(&found) {
            let message = format!("`{name}` has not succeeded when this runs: it gives no outputs");
            let help = format!("why it failed is  actions.{name}.error.message");
            return Some(Problem::warning("no_outputs", message).help(help));
        }
        let form = self.known.forms?.of(found);
        form.walk(&rest[1..], &format!("actions.{name}.outputs")).err().map(Problem::from)
    }

    /// What is known of the value at `path`.
    pub(super) fn form(&self, path: &PathRef) -> Form {
        let rest: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let is = |at: usize, name: &str| rest.get(at).is_some_and(|part| part.eq_ignore_ascii_case(name));
        let (form, from) = match path.root.to_ascii_lowercase().as_str() {
            "trigger" if is(0, "body") => match &self.known.body {
                Some(schema) => (Form::Schema(Arc::clone(schema), Vec::new()), 1),
                None => return Form::Any,
            },
            "item" => (self.item_form(None), 0),
            "loops" if is(1, "item") => (self.item_form(rest.first().copied()), 2),
            "parameters" => (Form::of_value(self.parameters), 0),
            "actions" if is(1, "outputs") => {
                let found = self.actions.iter().position(|action| action.name.eq_ignore_ascii_case(rest[0]));
                match (found, self.known.forms) {
                    (Some(found), Some(forms)) => (forms.of(found), 2),
                    _ => return Form::Any,
                }
            }
            _ => return Form::Any,
        };
        form.walk(rest.get(from..).unwrap_or_default(), "").unwrap_or_default()
    }

    /// What is known of the item of the loop `name`; of the innermost one with items where no name is given.
    fn item_form(&self, name: Option<&str>) -> Form {
        if self.per_item && name.is_none() {
            return self.known.item.clone();
        }
        let is_meant = |one: &&LoopName| match name {
            Some(name) => one.name.eq_ignore_ascii_case(name),
            None => one.has_items,
        };
        let found = self.loops.iter().rev().find(is_meant);
        let node = found.and_then(|found| self.actions.iter().position(|action| action.name == found.name));
        node.and_then(|node| self.known.forms?.items.get(&node).cloned()).unwrap_or_default()
    }

    /// Why the action `own` cannot read what `found` gives, if it cannot.
    fn unreadable(&self, name: &str, found: usize, own: usize) -> Option<Problem> {
        if found == own {
            return Some(Problem::error("unknown_action", format!("`{name}` cannot use what it gives itself")));
        }
        let round = |node: usize| std::iter::successors(self.actions[node].parent, |node| self.actions[*node].parent);
        if let Some(shared) = self.parted_at(found, own) {
            let message =
                format!("`{name}` stands in another branch of `{shared}`: when this one runs, that one does not");
            let help = "read it behind the branches, where it is null when its branch did not run";
            return Some(Problem::error("other_branch", message).help(help));
        }
        if round(own).any(|container| container == found) {
            let message = format!("`{name}` holds this action and has not ended yet");
            return Some(Problem::error("unknown_action", message));
        }
        if self.sees_inside && self.actions[found].parent == Some(own) {
            return None;
        }
        let inner_loop = round(found)
            .find(|node| self.actions[*node].is_loop && *node != own && !round(own).any(|outer| outer == *node));
        if let Some(around) = inner_loop {
            let message = format!("`{name}` runs many times inside `{}`", self.actions[around].name);
            let help = format!("read the whole list: actions.{}.outputs", self.actions[around].name);
            return Some(Problem::error("unknown_action", message).help(help));
        }
        let inside = self.sees_inside && round(found).any(|container| container == own);
        if found > own && !inside {
            let message = format!("`{name}` stands further down and has not run yet");
            return Some(Problem::error("unknown_action", message).help("move this action behind it"));
        }
        let has_ended =
            self.awaited.contains(&found) || round(found).any(|container| self.awaited.contains(&container));
        if has_ended || inside {
            return None;
        }
        let message = format!("`{name}` may still be running: this action does not wait for it");
        Some(Problem::error("not_awaited", message).help("let it wait: remove `run_after`, or name the action there"))
    }

    /// The container of which two actions stand in different blocks, of which only one runs.
    fn parted_at(&self, found: usize, own: usize) -> Option<&str> {
        let blocks = |node: usize| {
            let chain = std::iter::successors(Some(node), |node| self.actions[*node].parent);
            chain.filter_map(|node| Some((self.actions[node].parent?, self.actions[node].block)))
        };
        let parted = |(parent, block): &(usize, u16)| blocks(own).any(|(other, own)| other == *parent && own != *block);
        blocks(found).find(parted).map(|(parent, _)| self.actions[parent].name.as_str())
    }

    fn trigger(&self, rest: &[&str], path: &PathRef) -> Option<Problem> {
        let first = *rest.first()?;
        if let Some(problem) = member_problem("trigger", first) {
            return Some(problem);
        }
        if first.eq_ignore_ascii_case("path") {
            let name = rest.get(1)?;
            let known = self.path_parameters.iter().any(|known| known.eq_ignore_ascii_case(name));
            let message = format!("the trigger's `path` has no parameter `{name}`");
            return (!known).then(|| Problem::error("unknown_path", message));
        }
        if !first.eq_ignore_ascii_case("body") || rest.len() < 2 {
            return None;
        }
        let schema = self.schema?;
        let near = |near: Option<String>| near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let named = format!("trigger.{} is not in {}", path.segments.join("."), schema.name);
        match schema.path(&path.segments[1..]) {
            PathAnswer::Known => None,
            PathAnswer::Unknown(nearby) => Some(Problem::warning("unknown_path", named + &near(nearby))),
            PathAnswer::Closed(nearby) => {
                let message = format!("{named}, which refuses other fields{}", near(nearby));
                Some(Problem::error("unknown_path", message))
            }
        }
    }
}

/// What to say of the variable `name`, where there is none.
pub(super) fn unknown_variable(known: &[Variable], name: &str) -> Option<(String, String)> {
    if variables::find(known, name).is_some() {
        return None;
    }
    let near = nearest(name, known.iter().map(|variable| variable.name.as_str()));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let message = format!("there is no variable `{name}`{near}");
    Some((message, format!("declare it at the top of the file: write  variables: {{ {name}: … }}")))
}

/// What is wrong with `root.name` where the root has a closed set of members.
fn member_problem(root: &str, name: &str) -> Option<Problem> {
    let members = MEMBERS.iter().find(|(known, _)| *known == root)?.1;
    if members.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return None;
    }
    let near = nearest(name, members.iter().copied()).map(|near| format!("; did you mean `{root}.{near}`?"));
    let message = format!("`{root}` has no `{name}`{}", near.unwrap_or_default());
    Some(Problem::error("unknown_path", message).help(format!("`{root}` has: {}", members.join(" "))))
}

/// What is wrong with `actions.NAME` followed by `rest`.
fn action_member(name: &str, rest: &[&str], spec: Option<&ActionSpec>) -> Option<Problem> {
    let first = *rest.first()?;
    let outputs: Vec<&str> = spec.into_iter().flat_map(|spec| spec.outputs.iter().map(|(name, _)| *name)).collect();
    let is_output = |name: &str| outputs.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !ACTION_MEMBERS.iter().any(|known| known.eq_ignore_ascii_case(first)) {
        let near = if is_output(first) { Some(format!("outputs.{first}")) } else { None };
        let near = near.or_else(|| nearest(first, ACTION_MEMBERS.iter().copied()).map(str::to_owned));
        let near = near.map(|near| format!("; did you mean `actions.{name}.{near}`?")).unwrap_or_default();
        return Some(
            Problem::error("unknown_path", format!("an action has no `{first}`{near}"))
                .help("an action has: status outputs error"),
        );
    }
    let second = *rest.get(1)?;
    let (members, what): (Vec<&str>, String) = if first.eq_ignore_ascii_case("error") {
        (ERROR_MEMBERS.to_vec(), "an action's error".into())
    } else if first.eq_ignore_ascii_case("outputs") && !outputs.iter().any(|name| name.starts_with('(')) {
        let spec = spec?;
        (outputs.clone(), format!("what `{}` gives", spec.kind))
    } else {
        return None;
    };
    if members.iter().any(|known| known.eq_ignore_ascii_case(second)) {
        return None;
    }
    let near = nearest(second, members.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    let message = format!("{what} has no `{second}`{}", near.unwrap_or_default());
    let known = if members.is_empty() { "it gives nothing".into() } else { format!("known: {}", members.join(" ")) };
    Some(Problem::warning("unknown_path", message).help(known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(path: &str, own: Option<usize>, awaited: &[usize]) -> Option<(&'static str, String)> {
        let actions = ["first", "second", "third"].map(|name| Neighbour {
            name: name.into(),
            spec: None,
            parent: None,
            block: 0,
            is_loop: false,
        });
        let parameters = json!({"owner": "x"});
        let names = Names {
            schema: None,
            parameters: &parameters,
            path_parameters: &["id".to_owned()],
            variables: &[Variable {
                name: "Count".into(),
                kind: variables::VariableKind::Integer,
                initial: json!(0),
                secure: false,
            }],
            actions: &actions,
            own,
            awaited: awaited.to_vec(),
            loops: Vec::new(),
            per_item: false,
            sees_inside: false,
            known: Known::default(),
        };
        let mut segments = path.split('.').map(str::to_owned);
        let root = segments.next().expect("a root");
        let path = PathRef { root, segments: segments.collect(), range: 0..0 };
        names.problem(&path).map(|problem| (problem.code, problem.message))
    }

    #[test]
    fn what_exists_may_be_named() {
        for path in [
            "trigger.body.Any.Thing",
            "Trigger.Headers.x",
            "parameters.OWNER",
            "trigger.path.id",
            "run.id",
            "environment",
            "actions.first.outputs.id",
            "actions.FIRST.error.code",
            "trigger",
            "flow.name",
            "variables.count",
        ] {
            assert_eq!(problem(path, Some(1), &[0]), None, "{path}");
        }
    }

    #[test]
    fn what_does_not_exist_is_told_with_the_nearest() {
        let told = |path: &str, want: &str, message: &str| {
            let (code, said) = problem(path, Some(1), &[]).expect(path);
            assert_eq!((code, said.as_str()), (want, message));
        };
        told("triger.body.x", "unknown_root", "there is nothing called `triger`; did you mean `trigger.body.x`?");
        told("body.x", "unknown_root", "there is nothing called `body`; did you mean `trigger.body.x`?");
        told("owner", "unknown_root", "there is nothing called `owner`; did you mean `parameters.owner`?");
        told("item.x", "unknown_root", "`item` exists only inside a loop");
        told("parameters.ownr", "unknown_parameter", "there is no parameter `ownr`; did you mean `owner`?");
        told("trigger.boddy", "unknown_path", "`trigger` has no `boddy`; did you mean `trigger.body`?");
        told("trigger.path.no", "unknown_path", "the trigger's `path` has no parameter `no`");
        told("actions.frist", "unknown_action", "there is no action `frist`; did you mean `first`?");
        told("actions.second.status", "unknown_action", "`second` cannot use what it gives itself");
        told("actions.third.status", "unknown_action", "`third` stands further down and has not run yet");
        told("actions.first.status", "not_awaited", "`first` may still be running: this action does not wait for it");
        told("variables.coumt", "unknown_variable", "there is no variable `coumt`; did you mean `Count`?");
    }
}

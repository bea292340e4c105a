//! `actions:` into compiled actions and the plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Linter;
use super::blocks::{Outline, Outlined};
use super::fate::{self, Fates};
use super::forms::{Form, Forms};
use super::references::{Known, Names, Neighbour};
use super::shape::{self, Checked};
use super::texts::Texts;
use super::{host, names, retry};
use crate::diagnostic::{Diagnostic, Severity, has_errors, nearest};
use crate::flow::catalogue::ActionSpec;
use crate::flow::control::{Control, UntilKeys};
use crate::flow::format::{CommonKeys, SecureFile};
use crate::flow::plan::{Kind, NodeId, Plan};
use crate::flow::retry::RetryPolicy;
use crate::flow::secure::{self, Secure};
use crate::flow::variables::{CHANGES, Variable};
use crate::flow::{Action, Claim, Trigger, control, schema};
use crate::schema::BodySchema;
use crate::template::{PathRef, Template, Tree};
use crate::units;
use crate::yaml::{child, dotted};

/// The action type that calls another flow.
const CALL: &str = "run_flow";

/// What all actions of a flow share while they are compiled.
struct Block<'b, 'a> {
    parameters: &'b Value,
    trigger: &'b Trigger,
    path_parameters: Vec<String>,
    variables: Vec<Variable>,
    neighbours: Vec<Neighbour<'a>>,
    outline: Outline<'a>,
    fates: Fates,
    /// What is known of values, filled action by action.
    forms: Forms,
}

impl Block<'_, '_> {
    /// What the templates of the action `id` may name.
    fn names(&self, id: NodeId) -> Names<'_> {
        Names {
            schema: self.trigger.seen_schema().map(Arc::as_ref),
            parameters: self.parameters,
            path_parameters: &self.path_parameters,
            variables: &self.variables,
            actions: &self.neighbours,
            own: Some(id),
            awaited: self.outline.awaited(id),
            loops: self.outline.loops(id, false),
            per_item: false,
            sees_inside: false,
            known: Known {
                forms: Some(&self.forms),
                body: self.trigger.seen_schema().cloned(),
                item: Form::Any,
                without_outputs: self.fates.without_outputs(&self.forms.graph, id),
            },
        }
    }
}

impl<'a> Linter<'a> {
    /// The actions of the flow with their plan. Faults become findings; what does not compile is left out.
    pub(super) fn actions(&mut self, trigger: &Trigger, parameters: &Value) -> (Vec<Action>, Plan) {
        let Some(outline) = self.outline() else { return (Vec::new(), Plan::default()) };
        let graph = fate::graph(&outline);
        let fates = Fates::of(&outline, &graph);
        self.order(&outline, &graph, &fates);
        let mut block = Block {
            parameters,
            trigger,
            path_parameters: trigger.path.as_ref().map(super::PathPattern::parameters).unwrap_or_default(),
            variables: self.variables.clone(),
            neighbours: outline.neighbours(),
            outline,
            fates,
            forms: Forms { graph, ..Forms::default() },
        };
        self.duplicate_names(&block.outline);
        let mut actions = Vec::new();
        let mut kinds = Vec::new();
        for id in 0..block.outline.actions.len() {
            let (action, kind) = self.action(id, &block).unzip();
            if let Some(action) = &action {
                note_forms(id, action, &mut block);
            }
            actions.extend(action);
            kinds.push(kind.unwrap_or(Kind::Leaf));
        }
        note_readers(&mut actions, trigger);
        let plan = block.outline.plan(&kinds);
        secure::spread(&mut actions, &plan, &mut self.variables);
        self.secure_calls(&actions, &block.outline);
        (actions, plan)
    }

    /// What is secure here is not in a called flow: its runs are another flow's history.
    fn secure_calls(&mut self, actions: &[Action], outline: &Outline<'_>) {
        let calls = actions.iter().filter(|action| action.kind == CALL && action.secure.inputs);
        for action in calls {
            let Some(outlined) = outline.actions.iter().find(|one| one.name == action.name) else { continue };
            let message = "the called flow gets a secure value, and its history shows it".to_owned();
            let help = "mark with `secure` what the called flow makes of it, or do without the call";
            let at = child(&outlined.pointer, "body");
            let place = self.doc.value_place(&at);
            let finding = Diagnostic::new("secure_call", place, dotted(&at), message).severity(Severity::Warning);
            self.findings.push(finding.help(help));
        }
    }

    fn duplicate_names(&mut self, outline: &Outline<'_>) {
        let named = outline.actions.iter().enumerate().filter(|(_, one)| !one.name.is_empty());
        for (index, Outlined { name, pointer, .. }) in named {
            let same = |other: &&Outlined<'_>| other.name.eq_ignore_ascii_case(name);
            let Some(first) = outline.actions[..index].iter().find(same) else { continue };
            let line = self.doc.value_place(&child(&first.pointer, "name")).line;
            let message = format!("the name `{name}` is taken by the action in line {line}");
            let help = "names are unique in a flow, whatever their case";
            self.report("duplicate_name", &child(pointer, "name"), message, Some(help.into()));
        }
    }

    fn action(&mut self, id: NodeId, block: &Block<'_, 'a>) -> Option<(Action, Kind)> {
        let Outlined { pointer, value: item, .. } = &block.outline.actions[id];
        let Some(entries) = item.as_object() else {
            let message = "an action is a map with `name`, `type` and the type's own keys".to_owned();
            self.report("wrong_type", pointer, message, None);
            return None;
        };
        self.action_name(pointer, entries);
        let spec = self.spec(pointer, entries, block)?;
        let before = self.findings.len();
        let keys = self.environment.catalogue.keys_of(spec)?;
        let checked = shape::check(self.doc, pointer, spec.kind, keys, block.parameters, &mut self.findings);
        let own = checked.value.as_object()?;
        let common: CommonKeys = self.read(pointer, &checked.value)?;
        let retry = self.retry(pointer, spec, &common);
        self.timeout(pointer, spec, &common);
        self.cases(pointer, &checked.value);
        let connection = self.connection(pointer, spec, own);
        self.own_check(pointer, spec, &checked.value, before);
        if CHANGES.contains(&spec.kind) {
            self.change(pointer, spec.kind, &checked.value);
        }
        let schema = self.schema_key(pointer, keys, &checked);
        if spec.kind == CALL
            && let Some(flow) = own.get("flow").and_then(Value::as_str)
        {
            let at = child(pointer, "flow");
            self.calls.push(Claim { word: flow.to_owned(), path: dotted(&at), place: self.doc.value_place(&at) });
        }
        let names = block.names(id);
        let when = self.when(pointer, &checked, &common, &names);
        let control = self.control(id, spec.kind, &checked, block);
        let (inputs, per_item) = match control {
            Some(_) => (Tree::Object(Vec::new()), Vec::new()),
            None => self.inputs(pointer, &checked, keys, names),
        };
        let guard = spec.blank_guard.and_then(|key| inputs.get(key)).map(outside_paths).unwrap_or_default();
        let url_from_value = matches!(inputs.get("url"), Some(Tree::Template(url)) if host::comes_from_a_value(url));
        let action = Action {
            name: common.name?,
            kind: spec.kind.to_owned(),
            connection,
            when,
            retry,
            timeout: common.timeout.and_then(|text| units::duration(&text).ok()),
            volatile: inputs.is_volatile() || reads_variables(&inputs),
            guard,
            url_from_value,
            inputs,
            takes_items: takes_items(keys),
            per_item,
            control,
            outputs_read: false,
            schema,
            leaves_the_machine: spec.leaves_the_machine,
            secure: written_secure(common.secure.as_deref()),
        };
        Some((action, control::kind_of(spec.kind, &checked.value)))
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
        if !kind.is_empty() {
            self.unknown_action_type(kind, &at);
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
        if let (Some(connector), Some(wanted)) = (connector, spec.operation)
            && !connector.serves(wanted)
        {
            let fits = |kind: &String| {
                self.environment.catalogue.connector(kind).is_some_and(|connector| connector.serves(wanted))
            };
            let fitting: Vec<&str> =
                known.iter().filter(|(_, kind)| fits(kind)).map(|(name, _)| name.as_str()).collect();
            let message = format!("the connection `{name}` ({kind}) cannot {}", wanted.purpose());
            let help = if fitting.is_empty() {
                format!("no connection in leadflow.yaml can {}", wanted.purpose())
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

    fn when(&mut self, pointer: &str, checked: &Checked, common: &CommonKeys, names: &Names<'_>) -> Vec<Template> {
        let mut texts = Texts { doc: self.doc, templates: &checked.templates, names, findings: &mut self.findings };
        common.when.as_ref().map(|when| texts.conditions(when, &child(pointer, "when"))).unwrap_or_default()
    }

    /// The action's own keys but `connection`: those that are rendered once, and those rendered for each item.
    fn inputs(
        &mut self,
        pointer: &str,
        checked: &Checked,
        keys: &Value,
        mut names: Names<'_>,
    ) -> (Tree, Vec<(String, Tree)>) {
        let own = checked.value.as_object().into_iter().flatten();
        let has_mark = |key: &str, mark: &str| keys["properties"][key].get(mark).is_some();
        let is_input =
            |key: &str| key != "connection" && !schema::is_common_key(key) && !has_mark(key, "x-body-schema");
        let own = own.filter(|(key, _)| is_input(key));
        let (per_item, once): (Vec<_>, Vec<_>) = own.partition(|(key, _)| has_mark(key, "x-per-item"));
        let templates = &checked.templates;
        let once: Map<String, Value> = once.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let inputs =
            Texts { doc: self.doc, templates, names: &names, findings: &mut self.findings }.object(&once, pointer);
        names.known.item = inputs.get("from").map(|from| Form::of_tree(from, &names).item()).unwrap_or_default();
        names.per_item = true;
        let mut texts = Texts { doc: self.doc, templates, names: &names, findings: &mut self.findings };
        let tree = |(key, value): &(&String, &Value)| ((*key).clone(), texts.tree(value, &child(pointer, key)));
        let rendered: Vec<(String, Tree)> = per_item.iter().map(tree).collect();
        // As it is written, it stands beside what it gives for each item.
        let written = per_item.into_iter().map(|(key, value)| (key.clone(), Tree::Constant(value.clone())));
        let inputs = match inputs {
            Tree::Object(once) => Tree::Object(once.into_iter().chain(written).collect()),
            other => other,
        };
        let is_constant = |tree: &Tree| matches!(tree, Tree::Constant(_));
        (inputs, rendered.into_iter().filter(|(_, tree)| !is_constant(tree)).collect())
    }

    /// The compiled schema of the key that is one.
    fn schema_key(&mut self, pointer: &str, keys: &Value, checked: &Checked) -> Option<Arc<BodySchema>> {
        let mut properties = keys["properties"].as_object()?.iter();
        let (key, _) = properties.find(|(_, property)| property.get("x-body-schema").is_some())?;
        self.body_schema(checked.value.get(key)?, &child(pointer, key))
    }

    /// What a container decides by; `None`: a leaf.
    fn control(&mut self, id: NodeId, kind: &str, checked: &Checked, block: &Block<'_, 'a>) -> Option<Control> {
        let pointer = &block.outline.actions[id].pointer;
        let at = |key: &str| child(pointer, key);
        let value = |key: &str| checked.value.get(key).cloned().unwrap_or_default();
        let mut names = block.names(id);
        Some(match kind {
            "condition" => {
                let mut texts = self.texts(checked, &names);
                Control::Condition { conditions: texts.conditions(&value("if"), &at("if")) }
            }
            "switch" => {
                let mut texts = self.texts(checked, &names);
                Control::Switch { value: texts.tree(&value("value"), &at("value")), cases: cases(&checked.value) }
            }
            "for_each" => {
                let mut texts = self.texts(checked, &names);
                Control::Each { items: texts.tree(&value("items"), &at("items")) }
            }
            "until" => {
                names.loops = block.outline.loops(id, true);
                names.sees_inside = true;
                let keys: UntilKeys = self.read(pointer, &checked.value)?;
                let timeout = keys.timeout.and_then(|text| units::duration(&text).ok());
                Control::Until {
                    conditions: self.texts(checked, &names).conditions(&value("condition"), &at("condition")),
                    count: keys.count.unwrap_or(control::UNTIL_COUNT),
                    timeout: timeout.unwrap_or(control::UNTIL_TIMEOUT),
                    on_limit: keys.on_limit.unwrap_or_default(),
                }
            }
            "scope" => Control::Scope,
            _ => return None,
        })
    }

    fn texts<'t>(&'t mut self, checked: &'t Checked, names: &'t Names<'t>) -> Texts<'t> {
        Texts { doc: self.doc, templates: &checked.templates, names, findings: &mut self.findings }
    }
}

/// The values of the cases of a checked `switch`.
fn cases(value: &Value) -> Vec<Vec<Value>> {
    let cases = value.get("cases").and_then(Value::as_array).into_iter().flatten();
    let values = |case: &Value| match case.get("case") {
        Some(Value::Array(values)) => values.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    };
    cases.map(values).collect()
}

/// What later actions may know of what this one gives.
fn note_forms(id: NodeId, action: &Action, block: &mut Block<'_, '_>) {
    let names = block.names(id);
    let tree = |key: &str| action.inputs.get(key);
    let of = |tree: Option<&Tree>| tree.map(|tree| Form::of_tree(tree, &names)).unwrap_or_default();
    if let Some(Control::Each { items }) = &action.control {
        let items = Form::of_tree(items, &names).item();
        block.forms.items.insert(id, items);
        return;
    }
    let form = match action.kind.as_str() {
        "compose" => of(tree("inputs")),
        "filter" => of(tree("from")),
        "select" => {
            let per_item = Names { per_item: true, known: names.known.clone().item(of(tree("from")).item()), ..names };
            let map = action.per_item.iter().find(|(key, _)| key == "map").map(|(_, tree)| tree);
            Form::List(Box::new(map.or(tree("map")).map(|map| Form::of_tree(map, &per_item)).unwrap_or_default()))
        }
        "csv_table" | "html_table" => Form::Scalar("a text"),
        "parse_json" => action.schema.clone().map(|schema| Form::Schema(schema, Vec::new())).unwrap_or_default(),
        _ => return,
    };
    block.forms.outputs.insert(id, form);
}

/// Whether some of the declared `keys` is for each item of a list.
fn takes_items(keys: &Value) -> bool {
    keys["properties"].as_object().into_iter().flatten().any(|(_, key)| key.get("x-per-item").is_some())
}

/// What `secure` names; its error goes with either.
fn written_secure(words: Option<&[SecureFile]>) -> Secure {
    let names = |word| words.is_some_and(|words| words.contains(&word));
    Secure { inputs: names(SecureFile::Inputs), outputs: names(SecureFile::Outputs), error: words.is_some() }
}

/// Whether a second rendering could differ because a variable has changed meanwhile.
fn reads_variables(tree: &Tree) -> bool {
    tree.paths().iter().any(|path| path.root.eq_ignore_ascii_case("variables"))
}

/// Notes which actions' outputs somebody reads.
fn note_readers(actions: &mut [Action], trigger: &Trigger) {
    let mut read: BTreeSet<String> = BTreeSet::new();
    let mut note = |template: &Template| {
        for path in template.paths() {
            let reads = path.segments.get(1).is_none_or(|member| member.eq_ignore_ascii_case("outputs"));
            if path.root.eq_ignore_ascii_case("actions") && reads {
                read.extend(path.segments.first().map(|name| name.to_lowercase()));
            }
        }
    };
    for action in actions.iter() {
        action.each_template(&mut note);
    }
    trigger.conditions.iter().for_each(note);
    for action in actions {
        action.outputs_read = read.contains(&action.name.to_lowercase());
    }
}

/// The paths from outside that a tree uses, each once.
fn outside_paths(tree: &Tree) -> Vec<PathRef> {
    let mut seen = BTreeSet::new();
    let key = |path: &PathRef| json!([path.root, path.segments]).to_string().to_lowercase();
    tree.paths().into_iter().filter(PathRef::is_outside).filter(|path| seen.insert(key(path))).collect()
}

//! The linter and compiler: every finding at once, each with place, code and fix.
//!
//! The stages: the YAML into a located tree; each block against its schema (`shape`); names, connections and other
//! constants; templates and what they name (`texts`, `references`). A fault in one place never hides one in another.

mod actions;
mod answers;
mod blocks;
pub(super) mod blueprint;
mod comments;
#[cfg(test)]
mod data_tests;
mod fate;
mod fixed;
mod forms;
mod host;
mod intake;
mod names;
mod order;
mod references;
mod repeats;
mod retry;
mod schema_words;
mod senseless;
mod shape;
#[cfg(test)]
pub(super) mod test_catalogue;
#[cfg(test)]
mod tests;
mod texts;
mod trigger;
mod variables;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::format::{FlowFile, TriggerFile};
use super::variables::Variable;
use super::{Bundle, Claim, Compiled, Environment, Flow, Parsed, PathPattern, schema};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::template::is_template;
use crate::yaml::{self, Doc, child};

pub(super) fn compile(parsed: Parsed, bundle: Bundle, environment: &Environment<'_>) -> Compiled {
    let stem = stem(&bundle.file).to_owned();
    let Parsed { doc, findings } = parsed;
    let Some(doc) = doc else {
        return Compiled { flow: None, name: stem, findings, claims: Vec::new(), calls: Vec::new() };
    };
    let mut linter =
        Linter { doc: &doc, bundle: &bundle, environment, variables: Vec::new(), findings, calls: Vec::new() };
    let is_offer = doc.value.get("blueprint").is_some();
    let (name, draft) = if is_offer { linter.offer(&stem) } else { linter.flow(&stem) };
    let (findings, calls) = (in_order(linter.findings), linter.calls);
    let claims = claims(&doc, &name);
    let flow = draft.filter(|_| !has_errors(&findings)).map(|draft| draft.into_flow(&name, bundle));
    Compiled { flow, name, findings, claims, calls }
}

/// A document outside of flows that was checked as theirs are.
#[derive(Debug)]
pub struct CheckedDoc {
    /// The document without what does not fit: it can be read into its struct.
    pub value: Value,
    /// Texts that are templates, by JSON pointer.
    pub templates: std::collections::BTreeMap<String, crate::template::Destination>,
    /// Everything that is wrong with its keys and types.
    pub findings: Vec<Diagnostic>,
}

/// Checks the keys and types of `doc`, called `block` in messages, against `schema`: what `declared` gives.
pub fn check_doc(doc: &Doc, block: &str, schema: &Value) -> CheckedDoc {
    let mut findings = Vec::new();
    let checked = shape::check(doc, "", block, schema, &Value::Object(Map::new()), &mut findings);
    CheckedDoc { value: checked.value, templates: checked.templates, findings }
}

/// The names under which a file's flow answers.
fn claims(doc: &Doc, name: &str) -> Vec<Claim> {
    if !doc.value.is_object() {
        return Vec::new();
    }
    let listed = doc.value.get("aliases").and_then(Value::as_array).into_iter().flatten().enumerate();
    let aliases = listed.filter_map(|(index, alias)| Some((format!("/aliases/{index}"), alias.as_str()?)));
    let words = std::iter::once(("/name".to_owned(), name)).chain(aliases);
    words
        .map(|(at, word)| Claim { word: word.to_owned(), path: yaml::dotted(&at), place: doc.value_place(&at) })
        .collect()
}

/// The file's name without folders and extension.
fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name)
}

/// Findings in the order of the file; one that was met twice (through an alias) is told once.
fn in_order(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    // Those of the flow's own file come first, then those of its blueprint.
    let own = findings.first().map(|finding| finding.place.file.clone());
    let order =
        |finding: &Diagnostic| (Some(&finding.place.file) != own.as_ref(), finding.place.line, finding.place.column);
    findings.sort_by(|a, b| order(a).cmp(&order(b)).then(a.code.cmp(b.code)));
    findings.dedup_by(|b, a| a.code == b.code && a.place == b.place && a.message == b.message);
    findings
}

/// A flow file on its way.
struct Linter<'a> {
    doc: &'a Doc,
    bundle: &'a Bundle,
    environment: &'a Environment<'a>,
    /// The flow's variables, once they are read.
    variables: Vec<Variable>,
    findings: Vec<Diagnostic>,
    /// Flows that its actions call.
    calls: Vec<Claim>,
}

/// What a flow is made of, but for its name and text.
struct Draft {
    file: FlowFile,
    parameters: Value,
    variables: Vec<Variable>,
    trigger: super::Trigger,
    plan: super::plan::Plan,
    actions: Vec<super::Action>,
    responds: bool,
    answers_later: bool,
}

impl Linter<'_> {
    /// The flow's name as far as it is known, and what it is made of where that much could be read.
    fn flow(&mut self, stem: &str) -> (String, Option<Draft>) {
        if !self.doc.value.is_object() {
            let message = match self.doc.value {
                Value::Null => "the file is empty".to_owned(),
                _ => "a flow file is a map with `trigger` and `actions`".to_owned(),
            };
            self.report("wrong_type", "", message, Some("see `leadflow explain missing_key` for a small flow".into()));
            return (stem.to_owned(), None);
        }
        self.findings.extend(comments::check(self.doc));
        let parameters = self.parameters();
        let keys = schema::of_flow();
        let checked = shape::check(self.doc, "", "a flow", keys, &parameters, &mut self.findings);
        let Some(file) = self.read::<FlowFile>("", &checked.value) else { return (stem.to_owned(), None) };
        let name = self.flow_name(&file, stem);
        (name, Some(self.body(file, &checked, parameters)))
    }

    /// Variables, trigger and actions of a checked file.
    fn body(&mut self, file: FlowFile, checked: &shape::Checked, parameters: Value) -> Draft {
        self.variables = self.variables(&file);
        let trigger_file = file.trigger.as_ref();
        let trigger = self.trigger(checked, trigger_file.unwrap_or(&TriggerFile::default()), &parameters);
        let (actions, plan) = self.actions(&trigger, &parameters);
        let answers_later = self.answers(&trigger, &actions);
        let responds = actions
            .iter()
            .any(|action| self.environment.catalogue.action(&action.kind).is_some_and(|spec| spec.responds));
        let variables = std::mem::take(&mut self.variables);
        Draft { file, parameters, variables, trigger, plan, actions, responds, answers_later }
    }

    /// A checked block as its struct. The check drops what does not fit, so this fails only where check and struct
    /// disagree; then the user is told all the same.
    fn read<T: serde::de::DeserializeOwned>(&mut self, pointer: &str, value: &Value) -> Option<T> {
        match serde_path_to_error::deserialize(value) {
            Ok(read) => Some(read),
            Err(error) => {
                let path = error.path().iter().fold(pointer.to_owned(), |at, part| child(&at, &part.to_string()));
                self.report("wrong_type", &path, error.into_inner().to_string(), None);
                None
            }
        }
    }

    /// `parameters:` of leadflow.yaml overlaid by the flow's.
    fn parameters(&mut self) -> Value {
        let mut parameters = self.bundle.parameters.as_object().cloned().unwrap_or_default();
        if let Some(Value::Object(own)) = self.doc.value.get("parameters") {
            for (name, value) in own {
                self.constant(value, &child("/parameters", name), "a parameter is a constant");
                parameters.insert(name.clone(), value.clone());
            }
        }
        Value::Object(parameters)
    }

    /// A template in a constant would be used as the text that it is. `what` begins the message.
    fn constant(&mut self, value: &Value, pointer: &str, what: &str) {
        match value {
            Value::String(text) if is_template(text) => {
                let message = format!("{what}: the template in it is not evaluated");
                let help = "write the template where it is used; `compose` gives a value a name";
                self.report("not_fixed", pointer, message, Some(help.into()));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.constant(item, &format!("{pointer}/{index}"), what);
                }
            }
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.constant(value, &child(pointer, key), what);
                }
            }
            _ => {}
        }
    }

    fn flow_name(&mut self, file: &FlowFile, stem: &str) -> String {
        const RULE: &str = "lower-case letters, digits and `-`";
        let name = file.name.as_deref().unwrap_or(stem);
        if let Err(problem) = names::flow(name) {
            let problem =
                if file.name.is_some() { problem } else { format!("the file's name gives no flow name: {problem}") };
            let help = format!("{RULE}: write  name: {}", names::as_flow_name(name));
            self.report("bad_name", "/name", problem, Some(help));
        }
        let mut seen = vec![name];
        for (index, alias) in file.aliases.iter().flatten().enumerate() {
            let pointer = format!("/aliases/{index}");
            if let Err(problem) = names::flow(alias) {
                self.report("bad_name", &pointer, problem, Some(RULE.into()));
            } else if seen.contains(&alias.as_str()) {
                let message = format!("`{alias}` is this flow's name already");
                self.report("duplicate_name", &pointer, message, Some("remove it".into()));
            }
            seen.push(alias);
        }
        name.to_owned()
    }
}

impl Draft {
    fn into_flow(self, name: &str, bundle: Bundle) -> Flow {
        Flow {
            name: name.to_owned(),
            description: self.file.description,
            enabled: self.file.enabled.unwrap_or(true),
            aliases: self.file.aliases.unwrap_or_default(),
            parameters: self.parameters,
            variables: self.variables,
            trigger: self.trigger,
            plan: self.plan,
            actions: self.actions,
            responds: self.responds,
            answers_later: self.answers_later,
            digest: digest(&bundle),
            bundle,
        }
    }
}

/// SHA-256 over the bundle as JSON with sorted keys, in hexadecimal.
fn digest(bundle: &Bundle) -> String {
    let json = serde_json::to_value(bundle).map(sorted).unwrap_or_default();
    hex::encode(Sha256::digest(json.to_string()))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

//! Flows of a blueprint: the offer's file names it and gives the parameters, the blueprint has the body.
//!
//! It is instantiated, never merged: the body is compiled with the offer's parameters, and every finding points into
//! the file that it is about.

use serde_json::{Map, Value};

use super::schema_words::kind_in_yaml;
use super::{Draft, Linter, comments, shape};
use crate::diagnostic::nearest;
use crate::flow::format::FlowFile;
use crate::flow::{BlueprintText, Flow, schema};
use crate::yaml::{self, Doc, child};

impl Linter<'_> {
    /// The flow of a file that names a blueprint.
    pub(super) fn offer(&mut self, stem: &str) -> (String, Option<Draft>) {
        self.findings.extend(comments::check(self.doc));
        let own = self.parameters();
        let mut keys = schema::of_offer();
        // What stands in the blueprint is told apart from a key that nobody knows.
        for key in ["trigger", "actions", "variables"] {
            if self.doc.value.get(key).is_some() {
                let message = format!("a flow of a blueprint has no `{key}`: it stands in the blueprint");
                let help = "remove it here, or remove `blueprint` and write the whole flow";
                self.report_key("both_keys", &child("", key), message, Some(help.into()));
                keys["properties"][key] = Value::Bool(true);
            }
        }
        let checked = shape::check(self.doc, "", "a flow of a blueprint", &keys, &own, &mut self.findings);
        let mut value = checked.value;
        if let Some(entries) = value.as_object_mut() {
            entries.retain(|key, _| !["trigger", "actions", "variables"].contains(&key.as_str()));
        }
        let Some(file) = self.read::<FlowFile>("", &value) else { return (stem.to_owned(), None) };
        let name = self.flow_name(&file, stem);
        let Some(wanted) = file.blueprint.clone() else { return (name, None) };
        let Some(blueprint) = self.bundle.blueprint.as_ref() else {
            self.unknown_blueprint(&wanted);
            return (name, None);
        };
        let (doc, findings) = yaml::parse(&blueprint.file, &blueprint.text);
        self.findings.extend(findings);
        let Some(doc) = doc else { return (name, None) };
        let parameters = self.instance(&wanted, &doc, &own);
        (name, self.instantiate(&doc, file, parameters))
    }

    fn unknown_blueprint(&mut self, wanted: &str) {
        let known = self.environment.blueprints_known;
        let near = nearest(wanted, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let help = match known {
            [] => {
                "there is no blueprint yet: write the shared trigger and actions into blueprints/NAME.yaml".to_owned()
            }
            known => format!("blueprints: {}", known.join(", ")),
        };
        self.report("unknown_blueprint", "/blueprint", format!("there is no blueprint `{wanted}`{near}"), Some(help));
    }

    /// The parameters that hold: the offer's over the blueprint's over those of leadflow.yaml. `own`: the first and the
    /// last of them.
    fn instance(&mut self, blueprint: &str, doc: &Doc, own: &Value) -> Value {
        let mut parameters = self.bundle.parameters.as_object().cloned().unwrap_or_default();
        let declared = doc.value.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
        let given = self.doc.value.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in &given {
            let at = child("/parameters", name);
            let Some(default) = declared.get(name) else {
                let near = nearest(name, declared.keys().map(String::as_str));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message = format!("the blueprint `{blueprint}` has no parameter `{name}`{near}");
                let known: Vec<&str> = declared.keys().map(String::as_str).collect();
                self.report_key(
                    "unknown_parameter",
                    &at,
                    message,
                    Some(format!("its parameters: {}", known.join(" "))),
                );
                continue;
            };
            if !default.is_null() && kind_in_yaml(default) != kind_in_yaml(value) {
                let (want, got) = (kind_in_yaml(default), kind_in_yaml(value));
                let message = format!("the parameter `{name}` is {want} in the blueprint, this is {got}");
                self.report("wrong_type", &at, message, None);
            }
        }
        let own = own.as_object().cloned().unwrap_or_default();
        for (name, default) in declared {
            let from_outside = own.get(&name).filter(|_| given.contains_key(&name) || default.is_null());
            let value = from_outside.cloned().unwrap_or(default);
            if value.is_null() {
                let message = format!("the blueprint `{blueprint}` wants the parameter `{name}`, which has no value");
                let help = format!("write  parameters: {{ {name}: … }}");
                self.report("missing_parameter", "/blueprint", message, Some(help));
            }
            parameters.insert(name, value);
        }
        Value::Object(parameters)
    }

    /// The body of the blueprint with the offer's parameters.
    fn instantiate(&mut self, doc: &Doc, offer: FlowFile, parameters: Value) -> Option<Draft> {
        let mut body = Linter {
            doc,
            bundle: self.bundle,
            environment: self.environment,
            variables: Vec::new(),
            findings: Vec::new(),
            calls: Vec::new(),
        };
        let draft = body.blueprint_body(offer, parameters);
        self.findings.append(&mut body.findings);
        self.calls.append(&mut body.calls);
        draft
    }

    fn blueprint_body(&mut self, offer: FlowFile, parameters: Value) -> Option<Draft> {
        if !self.doc.value.is_object() {
            let message = "a blueprint is a map with `trigger` and `actions`".to_owned();
            self.report("wrong_type", "", message, None);
            return None;
        }
        self.findings.extend(comments::check(self.doc));
        let keys = schema::of_blueprint();
        let checked = shape::check(self.doc, "", "a blueprint", keys, &parameters, &mut self.findings);
        let file = self.read::<FlowFile>("", &checked.value)?;
        let draft = self.body(file, &checked, parameters);
        let description = offer.description.clone().or_else(|| draft.file.description.clone());
        let variables = draft.file.variables.clone();
        Some(Draft { file: FlowFile { description, variables, ..offer }, ..draft })
    }
}

/// See [`Flow::expansion`].
pub(in crate::flow) fn expansion(flow: &Flow) -> String {
    let Some(BlueprintText { file, text }) = &flow.bundle.blueprint else { return flow.bundle.text.clone() };
    let body = yaml::parse(file, text).0.map(|doc| doc.value).unwrap_or_default();
    let mut whole = Map::new();
    whole.insert("name".into(), Value::from(flow.name.as_str()));
    if let Some(description) = &flow.description {
        whole.insert("description".into(), Value::from(description.as_str()));
    }
    if !flow.enabled {
        whole.insert("enabled".into(), Value::Bool(false));
    }
    if !flow.aliases.is_empty() {
        whole.insert("aliases".into(), Value::from(flow.aliases.clone()));
    }
    whole.insert("parameters".into(), flow.parameters.clone());
    let body = body.as_object().cloned().unwrap_or_default();
    whole.extend(body.into_iter().filter(|(key, _)| !["description", "parameters"].contains(&key.as_str())));
    let shown =
        yaml::to_text(&Value::Object(whole)).unwrap_or_else(|error| format!("# cannot be written as YAML: {error}\n"));
    format!("# {} with the blueprint {file}\n{shown}", flow.bundle.file)
}

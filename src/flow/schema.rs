//! The schemas of the flow file: for the linter as they are declared, for editors in the form they do best with.

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::catalogue::{ActionSpec, Catalogue};
use super::format::{CommonKeys, FlowFile};
use crate::yaml;

/// The schema of a flow file's top level, as the linter reads it.
pub(super) fn of_flow() -> &'static Value {
    static FLOW: OnceLock<Value> = OnceLock::new();
    FLOW.get_or_init(|| schemars::schema_for!(FlowFile).to_value())
}

/// The declared keys of a flow file and what stands below them, for the reference.
pub fn flow_keys() -> Value {
    of_flow().clone()
}

/// The declared keys that every action has, for the reference.
pub fn common_keys() -> &'static Value {
    common()
}

/// The keys of a flow file that names a blueprint.
const OFFER_KEYS: &[&str] = &["name", "description", "enabled", "aliases", "blueprint", "parameters", "tests"];
/// The keys of a flow file that a blueprint does not have: they belong to each offer.
const NOT_OF_BLUEPRINTS: &[&str] = &["name", "aliases", "enabled", "blueprint", "tests"];

/// The schema of the top level of a flow file that names a blueprint.
pub(super) fn of_offer() -> Value {
    let mut schema = of_flow().clone();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|key, _| OFFER_KEYS.contains(&key.as_str()));
    }
    schema["required"] = json!(["blueprint"]);
    schema
}

/// The schema of the top level of a blueprint.
pub(super) fn of_blueprint() -> &'static Value {
    static BLUEPRINT: OnceLock<Value> = OnceLock::new();
    BLUEPRINT.get_or_init(|| {
        let mut schema = of_flow().clone();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|key, _| !NOT_OF_BLUEPRINTS.contains(&key.as_str()));
        }
        schema
    })
}

/// The schema of an action of no known type: the common keys, and others that nobody can judge.
pub(super) fn of_any_action() -> Value {
    let mut schema = common().clone();
    schema["additionalProperties"] = Value::Bool(true);
    schema
}

/// The schema of an action: the common keys and those of its type, nothing else.
pub(super) fn of_action(spec: &ActionSpec) -> Value {
    let mut schema = common().clone();
    let own = spec.keys.as_value();
    for part in ["properties", "$defs"] {
        let mut merged: Map<String, Value> = schema[part].as_object().cloned().unwrap_or_default();
        merged.extend(own.get(part).and_then(Value::as_object).cloned().unwrap_or_default());
        schema[part] = Value::Object(merged);
    }
    let own_required = own.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let connection = spec.connection_required.then(|| json!("connection"));
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        for key in connection.into_iter().chain(own_required) {
            if !required.contains(&key) {
                required.push(key);
            }
        }
    }
    schema["additionalProperties"] = Value::Bool(false);
    schema
}

/// Whether `key` is one of the keys that every action has.
pub(super) fn is_common_key(key: &str) -> bool {
    common()["properties"].get(key).is_some()
}

fn common() -> &'static Value {
    static COMMON: OnceLock<Value> = OnceLock::new();
    COMMON.get_or_init(|| schemars::schema_for!(CommonKeys).to_value())
}

/// The schema of flow files for editors: draft-07, one branch a type of action, chosen by `type` alone.
pub fn editor_schema(catalogue: &Catalogue) -> Value {
    let mut definitions = Map::new();
    let mut flow = Editor { prefix: "", definitions: &mut definitions }.schema(of_flow().clone(), false);
    let mut branches = Vec::new();
    let mut snippets = Vec::new();
    for spec in &catalogue.actions {
        let name = format!("action.{}", spec.kind);
        let mut action = Editor { prefix: spec.kind, definitions: &mut definitions }.schema(of_action(spec), false);
        action["description"] = json!(spec.summary);
        action["markdownDescription"] = json!(action_text(spec));
        action["properties"]["type"] = json!({ "const": spec.kind, "description": spec.summary });
        definitions.insert(name.clone(), action);
        branches.push(json!({
            "if": { "properties": { "type": { "const": spec.kind } }, "required": ["type"] },
            "then": { "$ref": format!("#/definitions/{name}") },
        }));
        if let (Some(example), _) = yaml::parse("example.yaml", spec.example) {
            snippets.push(json!({ "label": spec.kind, "description": spec.summary, "body": example.value }));
        }
    }
    let kinds: Vec<_> = catalogue.actions.iter().map(|spec| spec.kind).collect();
    let action = json!({
        "type": "object",
        "required": ["name", "type"],
        "properties": { "type": { "enum": kinds, "description": "What the action does." } },
        "allOf": branches,
        "defaultSnippets": snippets,
    });
    definitions.insert("action".into(), action);
    flow["properties"]["actions"]["items"] = json!({ "$ref": "#/definitions/action" });
    // A flow of a blueprint has no body of its own, any other one must have it.
    let required = flow["required"].take();
    flow["if"] = json!({ "required": ["blueprint"] });
    flow["then"] = json!({ "properties": { "trigger": false, "actions": false, "variables": false } });
    flow["else"] = json!({ "required": required });
    if let Some(flow) = flow.as_object_mut() {
        flow.remove("required");
    }
    let mut schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": "leadflow flow" });
    if let (Some(schema), Value::Object(flow)) = (schema.as_object_mut(), flow) {
        schema.extend(flow);
        schema.insert("definitions".into(), Value::Object(definitions));
    }
    schema
}

/// A declared schema (`declared`) for editors: draft-07, without our own keywords, descriptions as Markdown.
pub fn editor_block(declared: &Value, title: &str) -> Value {
    let mut definitions = Map::new();
    let block = Editor { prefix: "", definitions: &mut definitions }.schema(declared.clone(), false);
    let mut schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": title });
    if let (Some(schema), Value::Object(block)) = (schema.as_object_mut(), block) {
        schema.extend(block);
    }
    schema
}

/// What editors show for an action: its summary, outputs and an example.
fn action_text(spec: &ActionSpec) -> String {
    let mut text = format!("**{}**: {}", spec.kind, spec.summary);
    for (name, meaning) in spec.outputs {
        let _ = write!(text, "\n- `outputs.{name}`: {meaning}");
    }
    let _ = write!(text, "\n\n```yaml\n{}\n```", spec.example.trim_end());
    text
}

/// Turns what schemars writes into what editors do best with.
struct Editor<'a> {
    /// Goes before the names of definitions, so that two actions may use one name.
    prefix: &'a str,
    definitions: &'a mut Map<String, Value>,
}

impl Editor<'_> {
    /// `template`: whether texts with `{{` may stand for any value here.
    fn schema(&mut self, schema: Value, template: bool) -> Value {
        let Value::Object(mut schema) = schema else { return schema };
        let template = template || schema.contains_key("x-template") || schema.contains_key("x-fixed");
        let holds_actions = schema.contains_key("x-actions");
        if let Some(Value::Object(definitions)) = schema.remove("$defs") {
            for (name, definition) in definitions {
                let definition = self.schema(definition, false);
                let name = self.name(&name);
                self.definitions.insert(name, definition);
            }
        }
        schema.retain(|key, _| !key.starts_with("x-") && key != "$schema" && key != "title" && key != "format");
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|_, property| property.get("x-not-yet").is_none());
        }
        for (_, value) in schema.iter_mut().filter(|(key, _)| *key == "properties") {
            self.each(value, template);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.remove(key) {
                schema.insert(key.into(), self.schema(inner, template));
            }
        }
        if holds_actions {
            schema.insert("items".into(), json!({ "$ref": "#/definitions/action" }));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get_mut(key) {
                self.each(branches, false);
            }
        }
        if schema.contains_key("properties") && !schema.contains_key("additionalProperties") {
            schema.insert("additionalProperties".into(), Value::Bool(false));
        }
        self.reference(&mut schema);
        if let Some(description) = schema.get("description").cloned() {
            schema.insert("markdownDescription".into(), description);
        }
        if template { or_template(schema) } else { Value::Object(schema) }
    }

    fn each(&mut self, schemas: &mut Value, template: bool) {
        let schemas: Box<dyn Iterator<Item = &mut Value>> = match schemas {
            Value::Object(entries) => Box::new(entries.values_mut()),
            Value::Array(items) => Box::new(items.iter_mut()),
            _ => return,
        };
        for schema in schemas {
            *schema = self.schema(schema.take(), template);
        }
    }

    /// In draft-07, what stands beside `$ref` is ignored: it moves into an `allOf`.
    fn reference(&self, schema: &mut Map<String, Value>) {
        let Some(Value::String(target)) = schema.remove("$ref") else { return };
        let name = self.name(target.trim_start_matches("#/$defs/"));
        let reference = json!({ "$ref": format!("#/definitions/{name}") });
        if schema.is_empty() {
            schema.extend(reference.as_object().cloned().unwrap_or_default());
        } else {
            schema.insert("allOf".into(), json!([reference]));
        }
    }

    fn name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

/// `schema`, or a text with a template; as it is where it takes any text anyway.
fn or_template(mut schema: Map<String, Value>) -> Value {
    let constrains = ["type", "enum", "const", "anyOf", "oneOf", "allOf"].iter().any(|key| schema.contains_key(*key));
    if !constrains || takes_any_text(&Value::Object(schema.clone())) {
        return Value::Object(schema);
    }
    let mut outer = Map::new();
    for key in ["description", "markdownDescription", "default", "examples"] {
        if let Some(value) = schema.remove(key) {
            outer.insert(key.into(), value);
        }
    }
    outer.insert("anyOf".into(), json!([schema, { "type": "string", "pattern": "\\{\\{" }]));
    Value::Object(outer)
}

fn takes_any_text(schema: &Value) -> bool {
    let of_type = crate::schema::types::accepts(schema, &json!("")) && schema.get("type").is_some();
    let bounded = ["enum", "const", "pattern"].iter().any(|key| schema.get(key).is_some());
    let branches = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    (of_type && !bounded) || branches.into_iter().any(takes_any_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        editor_schema(&crate::flow::check::test_catalogue::catalogue())
    }

    fn errors(flow: &str) -> Vec<String> {
        let (doc, findings) = yaml::parse("f.yaml", flow);
        assert_eq!(findings, [], "{flow}");
        let validator = jsonschema::options().build(&schema()).expect("a schema");
        let value = doc.expect("a document").value;
        validator.iter_errors(&value).map(|error| format!("{} {error}", error.instance_path())).collect()
    }

    const FLOW: &str = "\
name: a
trigger: {type: request, schema: lead.json, authentication: \"{{parameters.auth}}\"}
actions:
  - name: one
    type: create_record
    connection: crm
    entity: leads
    fields: {subject: \"{{trigger.body.X}}\", code: 8}
    timeout: 30s
    retry: {policy: fixed, count: \"{{parameters.n}}\", interval: 5s}
  - {name: two, type: respond, status: \"{{trigger.body.status}}\", body: {a: [1]}}
";

    #[test]
    fn it_accepts_what_the_linter_accepts() {
        assert_eq!(errors(FLOW), Vec::<String>::new());
    }

    #[test]
    fn one_slip_is_one_error() {
        let slips = [("fields:", "field:"), ("entity: leads", "entity: 5"), ("type: respond", "type: respnd")];
        for (right, wrong) in slips {
            let errors = errors(&FLOW.replace(right, wrong));
            assert!((1..=2).contains(&errors.len()), "{wrong}: {errors:?}");
        }
    }

    #[test]
    fn it_is_draft_07_and_holds_no_mark_and_nothing_that_does_not_exist_yet() {
        let schema = schema();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let text = schema.to_string();
        for word in ["x-template", "x-fixed", "x-not-yet", "$defs", "expect_every"] {
            assert!(!text.contains(word), "{word}");
        }
        assert_eq!(schema["definitions"]["action.create_record"]["additionalProperties"], false);
        assert!(schema["definitions"]["action"]["defaultSnippets"][0]["body"]["name"].is_string());
    }
}

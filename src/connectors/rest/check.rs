//! The linter of connector files: keys and types by the machinery of flows, then templates and what must fit together.

use std::sync::LazyLock;

use serde_json::Value;

use super::format::ConnectorFile;
use super::plan::{KINDS, Plan};
use super::shape::{DO, EACH};
use crate::connectors::declared;
use crate::diagnostic::{Diagnostic, has_errors, nearest};
use crate::flow::check::check_doc;
use crate::template::{CONNECTOR_ROOTS, Destination, PathRef, Template, Vocabulary};
use crate::yaml::{self, Doc, child, dotted};

/// Longest name of a connector, in characters.
const NAME_CHARACTERS_MAX: usize = 40;

/// Keys that every connection has: a connector cannot have settings of these names.
pub const COMMON_KEYS: &[&str] =
    &["type", "auth", "concurrency", "rate", "timeout", "retry", "on_unknown", "ca", "allow_private"];

/// Keys of every request.
const REQUEST_KEYS: &[&str] = &["method", "path", "query", "headers", "body", "expect", "answers", "simulated"];

/// The further keys of each kind of request.
const FURTHER_KEYS: &[(&str, &[&str])] = &[
    ("create", &["repeat", "recognise", "id", "record"]),
    ("update", &["repeat", "by", "key_fields", "id", "record"]),
    ("upsert", &["repeat", "by", "key_fields", "id", "record", "did"]),
    ("get", &["by", "key_fields", "record"]),
    ("list", &["key_fields", "records", "record", "next"]),
    ("email", &["repeat", "recognise", "id"]),
    ("before", &["name", "when", "value"]),
    ("find", &["key_fields", "id"]),
    ("login", &[]),
];

/// The schema of a connector file, as the linter reads it.
pub(super) fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = declared::<ConnectorFile>().to_value();
        let properties = &mut schema["properties"];
        for (kind, _) in FURTHER_KEYS {
            match *kind {
                "before" => only_keys(&mut properties["before"]["items"], kind),
                "login" => only_keys(&mut properties["login"], kind),
                "find" => {
                    only_keys(&mut properties["find"], kind);
                    only_keys(&mut properties["entities"]["additionalProperties"]["properties"]["find"], kind);
                }
                _ => {
                    only_keys(&mut properties["operations"]["properties"][*kind], kind);
                    let entity = &mut properties["entities"]["additionalProperties"]["properties"]["operations"];
                    only_keys(&mut entity["properties"][*kind], kind);
                }
            }
        }
        without_defaults(&mut schema);
        schema
    });
    &SCHEMA
}

/// Leaves the keys that a kind of request has.
fn only_keys(schema: &mut Value, kind: &str) {
    let further = FURTHER_KEYS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|key, _| REQUEST_KEYS.contains(&key.as_str()) || further.contains(&key.as_str()));
    }
}

/// Empty defaults say nothing to anybody.
fn without_defaults(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.retain(|key, value| key != "default" || !(value.is_object() || value.is_array()));
            for (key, inner) in entries.iter_mut() {
                // Names of properties are no keywords: there is one called `default`.
                match inner {
                    Value::Object(properties) if key == "properties" => {
                        properties.values_mut().for_each(without_defaults);
                    }
                    other => without_defaults(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}

/// The JSON Schema of connector files, for editors.
pub fn editor_schema() -> Value {
    crate::flow::schema::editor_block(schema(), "leadflow connector")
}

/// What checking a file gave.
pub(super) struct Checked {
    /// Its name, as far as it is known.
    pub name: String,
    /// The file, to say where a test of it fails.
    pub doc: Option<Doc>,
    /// What a connection speaks by; absent when a finding is an error.
    pub plan: Option<Plan>,
    /// Everything that is wrong.
    pub findings: Vec<Diagnostic>,
}

/// Checks and compiles `text`.
pub(super) fn check(file: &str, text: &str) -> Checked {
    let stem = stem(file);
    let (doc, findings) = yaml::parse(file, text);
    let Some(doc) = doc else { return Checked { name: stem, doc: None, plan: None, findings } };
    let checked = check_doc(&doc, "a connector file", schema());
    let name = doc.value.get("name").and_then(Value::as_str).map_or(stem, str::to_owned);
    let mut linter = Linter { doc: &doc, findings };
    linter.findings.extend(checked.findings);
    for (pointer, destination) in &checked.templates {
        linter.template(pointer, *destination);
    }
    linter.name(&name);
    linter.settings();
    linter.calls();
    linter.lists("", &doc.value);
    let mut findings = linter.findings;
    findings.sort_by_key(|finding| (finding.place.line, finding.place.column));
    let mut plan = None;
    if !has_errors(&findings) {
        match serde_json::from_value::<ConnectorFile>(checked.value.clone()) {
            Ok(read) => plan = Some(Plan::new(name.clone(), &checked.value, read)),
            // Check and struct disagree: told all the same.
            Err(error) => findings.push(Diagnostic::new("wrong_type", doc.value_place(""), "", error.to_string())),
        }
    }
    Checked { name, doc: Some(doc), plan, findings }
}

fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name).to_owned()
}

struct Linter<'a> {
    doc: &'a Doc,
    findings: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn template(&mut self, pointer: &str, destination: Destination) {
        let Some(text) = self.doc.value.pointer(pointer).and_then(Value::as_str) else { return };
        let (template, faults) = match Template::compile_for(text, destination, Vocabulary::Connector) {
            Ok(template) => (Some(template.clone()), template.warnings),
            Err(faults) => (None, faults),
        };
        for fault in faults {
            let place = self.doc.place_within(pointer, fault.range);
            let finding = Diagnostic::new(fault.code, place, dotted(pointer), fault.message).severity(fault.severity);
            self.findings.push(Diagnostic { help: fault.help, ..finding });
        }
        let Some(template) = template else { return };
        for path in template.paths() {
            self.path(&path, pointer);
        }
        if pointer.ends_with("/when") && !template.is_lone_expression() {
            let message = "a condition is one expression that gives true or false";
            self.report("not_a_boolean", pointer, message, "write  when: \"{{equals answer.body.code 'X'}}\"");
        }
    }

    fn path(&mut self, path: &PathRef, pointer: &str) {
        let root = path.root.to_ascii_lowercase();
        let problem = |code, message: String, help: String| Some((code, message, help));
        let known = match Phase::of(pointer) {
            Phase::Settings => &["settings"][..],
            Phase::Request => &CONNECTOR_ROOTS[..],
            Phase::Answer => CONNECTOR_ROOTS,
        };
        let is_item = matches!(root.as_str(), "item" | "item_index");
        let first = path.segments.first();
        let found = if !is_item && !known.contains(&root.as_str()) {
            let near = nearest(&root, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("there is nothing called `{root}` here{}", near.unwrap_or_default());
            problem("unknown_root", message, format!("there is: {}", known.join(" ")))
        } else if root == "answer" && Phase::of(pointer) == Phase::Request {
            let message = "`answer` is not there when the request is made".to_owned();
            problem("unknown_root", message, "what a request before gave is  before.NAME".into())
        } else {
            match (root.as_str(), first) {
                ("settings", Some(name)) => self.unknown(name, "settings", &self.setting_names()),
                ("before", Some(name)) => self.unknown(name, "before", &self.before_names()),
                ("answer", Some(name)) => {
                    self.unknown(name, "answer", &["status", "headers", "body"].map(str::to_owned))
                }
                _ => None,
            }
        };
        if let Some((code, message, help)) = found {
            let place = self.doc.place_within(pointer, path.range.clone());
            self.findings.push(Diagnostic::new(code, place, dotted(pointer), message).help(help));
        }
    }

    fn unknown(&self, name: &str, root: &str, known: &[String]) -> Option<(&'static str, String, String)> {
        if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        let near = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        let message = format!("there is no `{root}.{name}`{}", near.unwrap_or_default());
        let help = if known.is_empty() { "there is none".to_owned() } else { format!("there is: {}", known.join(" ")) };
        Some(("unknown_setting", message, help))
    }

    fn setting_names(&self) -> Vec<String> {
        let settings = self.doc.value.get("settings").and_then(Value::as_object);
        settings.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    fn before_names(&self) -> Vec<String> {
        let before = self.doc.value.get("before").and_then(Value::as_array);
        before.into_iter().flatten().filter_map(|call| Some(call.get("name")?.as_str()?.to_owned())).collect()
    }

    fn name(&mut self, name: &str) {
        let fits = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.len() <= NAME_CHARACTERS_MAX;
        if !fits {
            let message = format!("`{name}` is no name for a connector");
            self.report("bad_connector", "/name", &message, "use lower-case letters, digits and _: name: contoso_crm");
        }
    }

    fn settings(&mut self) {
        for name in self.setting_names() {
            let pointer = child("/settings", &name);
            if COMMON_KEYS.contains(&name.as_str()) {
                let message = format!("every connection has a key `{name}` already");
                self.report("bad_connector", &pointer, &message, "give the setting another name");
            }
            let setting = &self.doc.value["settings"][&name];
            if setting["required"] == true && !setting["default"].is_null() {
                let message = format!("`{name}` has a default, so that no connection must give it");
                self.report("bad_connector", &child(&pointer, "required"), &message, "take one of the two out");
            }
        }
        let types = super::settings::auth_types();
        let auth = self.doc.value.get("auth").and_then(Value::as_object).cloned().unwrap_or_default();
        for kind in auth.keys().filter(|kind| !types.contains(kind)) {
            let near = nearest(kind, types.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("there is no `auth` of type `{kind}`{}", near.unwrap_or_default());
            self.report("invalid_value", &child("/auth", kind), &message, &format!("one of: {}", types.join(", ")));
        }
    }

    /// Every request is whole, in the file and, with what an entity changes, in each entity.
    fn calls(&mut self) {
        let value = self.doc.value.clone();
        let operations = value.get("operations").and_then(Value::as_object);
        let own = |entity: &Value| entity.get("operations").and_then(Value::as_object).cloned();
        let entities = value.get("entities").and_then(Value::as_object).cloned().unwrap_or_default();
        if operations.is_some_and(serde_json::Map::is_empty) && entities.values().all(|one| own(one).is_none()) {
            self.report(
                "bad_connector",
                "/operations",
                "a connector does something",
                "give it  create:  or another operation",
            );
        }
        let has = |entity: Option<&Value>, key: &str| {
            operations.is_some_and(|all| all.contains_key(key))
                || entity.and_then(own).is_some_and(|all| all.contains_key(key))
        };
        let finds = |entity: Option<&Value>| {
            value.get("find").is_some() || entity.is_some_and(|entity| entity.get("find").is_some())
        };
        let all = std::iter::once((String::new(), None))
            .chain(entities.iter().map(|(name, entity)| (child("/entities", name), Some(entity))));
        for (place, entity) in all {
            for (_, key) in KINDS {
                let pointer = format!("{place}/operations/{key}");
                let Some(call) = value.pointer(&pointer) else { continue };
                let path = call.get("path").or_else(|| operations?.get(key)?.get("path"));
                let composed = key == "upsert" && finds(entity) && has(entity, "update") && has(entity, "create");
                if path.is_none() && !composed {
                    self.needs_path(&pointer, key);
                }
                self.call(&pointer, call);
            }
            if let Some(call) = value.pointer(&format!("{place}/find")) {
                self.needs(&format!("{place}/find"), call, &["path", "id"]);
                self.call(&format!("{place}/find"), call);
            }
        }
        if let Some(call) = value.get("login") {
            self.needs("/login", call, &["path"]);
            self.call("/login", call);
        }
        for (index, call) in value.get("before").and_then(Value::as_array).into_iter().flatten().enumerate() {
            self.needs(&format!("/before/{index}"), call, &["name", "path", "value"]);
            self.call(&format!("/before/{index}"), call);
        }
    }

    fn needs_path(&mut self, pointer: &str, key: &str) {
        let help = if key == "upsert" {
            "add  path: /…  or have it put together: that takes `find`, `update` and `create`"
        } else {
            "add  path: /…"
        };
        self.report("missing_key", pointer, &format!("`{key}` needs the key `path`"), help);
    }

    fn needs(&mut self, pointer: &str, call: &Value, keys: &[&str]) {
        for key in keys.iter().filter(|key| call.get(**key).is_none()) {
            let message = format!("`{}` needs the key `{key}`", dotted(pointer));
            self.report("missing_key", pointer, &message, &format!("add  {key}: …"));
        }
    }

    fn call(&mut self, pointer: &str, call: &Value) {
        if let Some(path) = call.get("path").and_then(Value::as_str)
            && !path.is_empty()
            && !path.starts_with('/')
        {
            let message = "a path starts with `/`, or is empty: it is appended to `base_url`";
            self.report("bad_connector", &child(pointer, "path"), message, &format!("write  path: \"/{path}\""));
        }
        if let Some(recognise) = call.get("recognise").filter(|recognise| recognise.is_object()) {
            let pointer = child(pointer, "recognise");
            self.needs(&pointer, recognise, &["path", "id"]);
            self.call(&pointer, recognise);
        }
    }

    /// `$each` and `$do` come together and alone.
    fn lists(&mut self, pointer: &str, value: &Value) {
        match value {
            Value::Object(entries) => {
                let marks = [EACH, DO].iter().filter(|mark| entries.contains_key(**mark)).count();
                if marks > 0 && (marks < 2 || entries.len() > 2 || !entries.get(EACH).is_some_and(Value::is_string)) {
                    let message = format!("a list is `{EACH}` with a template and `{DO}`, and nothing else");
                    let help = format!("write  {{ {EACH}: \"{{{{mail.to}}}}\", {DO}: \"{{{{item.address}}}}\" }}");
                    self.report("bad_connector", pointer, &message, &help);
                }
                entries.iter().for_each(|(key, value)| self.lists(&child(pointer, key), value));
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.lists(&format!("{pointer}/{index}"), item));
            }
            _ => {}
        }
    }

    fn report(&mut self, code: &'static str, pointer: &str, message: &str, help: &str) {
        let place = self.doc.key_place(pointer);
        self.findings.push(Diagnostic::new(code, place, dotted(pointer), message).help(help));
    }
}

/// What a template can see, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Settings,
    Request,
    Answer,
}

impl Phase {
    fn of(pointer: &str) -> Self {
        let words: Vec<&str> = pointer.split('/').skip(1).collect();
        match words.as_slice() {
            ["base_url"] | ["auth" | "headers", ..] => Self::Settings,
            words if words.contains(&"simulated") => Self::Request,
            words if words.iter().any(|word| matches!(*word, "path" | "query" | "headers" | "body")) => Self::Request,
            [.., "recognise", "when"] => Self::Request,
            ["before", _, "when"] => Self::Request,
            _ => Self::Answer,
        }
    }
}

/// The schema of a connection's own keys, closed.
pub(super) fn settings_schema(plan: &Plan) -> schemars::Schema {
    schemars::Schema::try_from(super::settings::schema(plan)).unwrap_or_else(|_| {
        // An object always is a schema.
        schemars::json_schema!({ "type": "object" })
    })
}

#[cfg(test)]
pub(super) fn finding_codes(text: &str) -> Vec<String> {
    let checked = check("connectors/contoso.yaml", text);
    let told = checked.findings.iter().map(|one| format!("{}:{} {}", one.place.line, one.place.column, one.code));
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = "\
summary: the CRM of Contoso
settings:
  region: { type: text, default: eu, description: The region. }
base_url: \"https://{{settings.region}}.example.com\"
auth: { bearer: {} }
operations:
  create:
    path: /{{entity}}
    body: \"{{fields}}\"
    id: \"{{answer.body.id}}\"
";

    #[test]
    fn a_good_file_has_no_finding() {
        assert_eq!(finding_codes(GOOD), Vec::<String>::new());
        let checked = check("connectors/contoso.yaml", GOOD);
        assert_eq!(checked.plan.expect("compiles").kind, "contoso");
    }

    #[test]
    fn slips_are_told_where_they_are() {
        for (right, wrong, told) in [
            ("summary:", "sumary:", vec!["1:1 unknown_key"]),
            ("path: /{{entity}}", "pth: /x", vec!["7:3 missing_key", "8:5 unknown_key"]),
            ("path: /{{entity}}", "path: x", vec!["8:5 bad_connector"]),
            ("settings.region", "settings.regio", vec!["4:22 unknown_setting"]),
            ("\"{{fields}}\"", "\"{{answer.body}}\"", vec!["9:14 unknown_root"]),
            ("\"{{fields}}\"", "\"{{trigger.body}}\"", vec!["9:14 unknown_root"]),
            ("\"{{fields}}\"", "{ $each: \"{{key}}\" }", vec!["9:5 bad_connector"]),
            ("bearer", "bearr", vec!["5:9 invalid_value"]),
            ("region: {", "type: {", vec!["3:3 bad_connector", "4:22 unknown_setting"]),
            ("    id:", "    next:", vec!["10:5 unknown_key"]),
            ("{{answer.body.id}}", "{{nosuch answer}}", vec!["10:12 unknown_helper"]),
        ] {
            assert_eq!(finding_codes(&GOOD.replace(right, wrong)), told, "{wrong}");
        }
    }

    #[test]
    fn the_editor_schema_is_closed_and_holds_no_mark() {
        let schema = editor_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["operations"]["properties"]["list"]["properties"].get("id"), None);
        assert!(!schema.to_string().contains("x-template"));
        assert_eq!(schema["properties"]["operations"]["properties"]["create"]["additionalProperties"], json!(false));
    }
}

//! The located tree against the schema of one block: every key and type at once, one finding a fault.
//!
//! No `oneOf` is tried branch by branch: a block's schema is chosen by its `type` before, and where a value may have
//! several types the one that it has is the one it is checked against.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fixed;
use super::schema_words::{
    accepts_map, constant_list, destination, expected_types, kind_in_yaml, range_problem, size_problem,
};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::types::accepts;
use crate::template::{Destination, is_template};
use crate::units;
use crate::yaml::{Doc, child, dotted};

/// Keys whose absence has a code of its own.
const MISSING_CODES: &[(&str, &str)] = &[("entity", "entity_missing")];

/// The schema of what may be anything.
static ANYTHING: Value = Value::Bool(true);

/// The declared keys of a block that takes any.
static NO_PROPERTIES: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// What a check of a block gave.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The block without what does not fit, fixed keys put in: it can be read into its struct.
    pub(super) value: Value,
    /// Texts that are templates, by JSON pointer in the document.
    pub(super) templates: BTreeMap<String, Destination>,
}

/// Checks the block at `pointer`, called `block` in messages, against `schema`.
pub(super) fn check(
    doc: &Doc,
    pointer: &str,
    block: &str,
    schema: &Value,
    parameters: &Value,
    findings: &mut Vec<Diagnostic>,
) -> Checked {
    let mut shape =
        Shape { doc, root: schema, parameters, block: (pointer, block), templates: BTreeMap::new(), findings };
    let value = doc.value.pointer(pointer).unwrap_or(&Value::Null);
    let value = shape.value(value, schema, pointer, None).unwrap_or(Value::Null);
    Checked { value, templates: shape.templates }
}

struct Shape<'a> {
    doc: &'a Doc,
    /// The schema with its `$defs`.
    root: &'a Value,
    /// Constants for fixed keys.
    parameters: &'a Value,
    /// The block's pointer and what it is called in messages: `create_record`, `the trigger`.
    block: (&'a str, &'a str),
    templates: BTreeMap<String, Destination>,
    findings: &'a mut Vec<Diagnostic>,
}

impl<'a> Shape<'a> {
    /// The value without what does not fit; `None` when nothing of it does.
    fn value(&mut self, value: &Value, schema: &'a Value, pointer: &str, mark: Option<Destination>) -> Option<Value> {
        let mark = destination(schema).or(mark);
        if let (Some(destination), Value::String(text)) = (mark, value)
            && is_template(text)
        {
            self.templates.insert(pointer.to_owned(), destination);
            return Some(value.clone());
        }
        if let Some(later) = schema.get("x-not-yet-map").and_then(Value::as_str)
            && value.as_object().is_some_and(|map| !map.is_empty())
        {
            self.not_yet(pointer, &format!("a map under `{}`", last(pointer)), later);
            return None;
        }
        let resolved = match schema.get("x-fixed") {
            Some(_) => self.put_in(value, pointer)?,
            None => value.clone(),
        };
        let value = &resolved;
        if schema.get("x-duration").is_some() && !value.is_null() {
            return self.duration(value, pointer);
        }
        let alternatives = self.alternatives(schema);
        let constants: Vec<&Value> = alternatives.iter().filter_map(|schema| constant_list(schema)).flatten().collect();
        if constants.contains(&value) {
            return Some(value.clone());
        }
        match alternatives.iter().find(|schema| constant_list(schema).is_none() && accepts(schema, value)) {
            Some(fitting) => self.content(value, fitting, pointer, mark),
            None => {
                let only_form = schema.get("x-not-yet-map").and_then(Value::as_str);
                self.misfit(value, &alternatives, &constants, pointer, only_form)
            }
        }
    }

    /// Fixed keys: the value with parameters put in; `None` when it holds anything else.
    fn put_in(&mut self, value: &Value, pointer: &str) -> Option<Value> {
        match value {
            Value::String(text) if is_template(text) => match fixed::resolve(text, self.parameters) {
                Ok(value) => Some(value),
                Err(error) => {
                    let place = self.doc.place_within(pointer, error.range);
                    let finding = Diagnostic::new(error.code, place, dotted(pointer), error.message);
                    self.findings.push(Diagnostic { help: error.help, ..finding });
                    None
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.put_in(item, &format!("{pointer}/{index}"))).collect()
            }
            Value::Object(entries) => {
                let put_in =
                    |(key, value): (&String, &Value)| Some((key.clone(), self.put_in(value, &child(pointer, key))?));
                entries.iter().map(put_in).collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            other => Some(other.clone()),
        }
    }

    fn duration(&mut self, value: &Value, pointer: &str) -> Option<Value> {
        let problem = match value {
            Value::String(text) => match units::duration(text) {
                Ok(_) => return Some(value.clone()),
                Err(problem) => problem,
            },
            other => format!("a duration is a text, this is {}", kind_in_yaml(other)),
        };
        let help = match value {
            Value::Number(number) => Some(format!("write the unit: {}: {number}s", last(pointer))),
            _ => None,
        };
        self.report("bad_duration", pointer, problem, help);
        None
    }

    /// The schemas that a value may fit: `$ref`, `anyOf` and `oneOf` taken apart.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|target| self.root.pointer(target)) {
            return self.alternatives(target);
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            Some(branches) => branches.iter().flat_map(|branch| self.alternatives(branch)).collect(),
            None => vec![schema],
        }
    }

    /// A value of a fitting type: what is inside it.
    fn content(&mut self, value: &Value, schema: &'a Value, pointer: &str, mark: Option<Destination>) -> Option<Value> {
        if let Some(problem) = size_problem(schema, value).or_else(|| range_problem(schema, value)) {
            let message = format!("`{}` {problem}", last(pointer));
            self.report("invalid_value", pointer, message, None);
            return None;
        }
        match value {
            // The actions of a container are checked one by one, each against its own type.
            Value::Array(_) if schema.get("x-actions").is_some() => Some(Value::Array(Vec::new())),
            Value::Object(entries) => Some(Value::Object(self.entries(entries, schema, pointer, mark))),
            Value::Array(items) => {
                let item_schema = schema.get("items").unwrap_or(&ANYTHING);
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.value(item, item_schema, &format!("{pointer}/{index}"), mark))
                    .collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            scalar => Some(scalar.clone()),
        }
    }

    fn entries(
        &mut self,
        entries: &Map<String, Value>,
        schema: &'a Value,
        pointer: &str,
        mark: Option<Destination>,
    ) -> Map<String, Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(others) => Some(others),
            None if properties.is_none() => Some(&ANYTHING),
            None => None,
        };
        let spilled = self.spilled(entries, properties, others);
        let mut clean = Map::new();
        let mut meant = Vec::new();
        for (key, value) in entries {
            let at = child(pointer, key);
            if spilled.values().any(|keys| keys.contains(&key.as_str())) {
                continue;
            }
            if let Some(keys) = spilled.get(key.as_str()) {
                let message = format!("`{key}` has no value: what belongs to it starts in the same column");
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                let help = format!("indent {} further than `{key}`", keys.join(", "));
                self.report("wrong_type", &at, message, Some(help));
                continue;
            }
            let property = properties.and_then(|properties| properties.get(key)).or(others);
            let Some(property) = property else {
                meant.extend(self.unknown_key(pointer, key, properties));
                continue;
            };
            if let Some(later) = property.get("x-not-yet").and_then(Value::as_str) {
                self.not_yet(&at, &format!("`{key}`"), later);
                continue;
            }
            if mark.is_some() && is_template(key) {
                let message = "a key is never a template";
                self.report_key("template_in_key", &at, message.into(), Some("write the key out".into()));
            }
            if let Some(value) = self.value(value, property, &at, mark) {
                clean.insert(key.clone(), value);
            }
        }
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            // One slip is one finding: a key that was misspelt is not missing as well.
            if entries.contains_key(key) || meant.contains(&key) {
                continue;
            }
            let strangers = clean.keys().filter(|key| properties.is_some_and(|known| !known.contains_key(*key)));
            match nearest(key, strangers.map(String::as_str)).map(str::to_owned) {
                Some(slip) => drop(self.unknown_key(pointer, &slip, properties)),
                None => self.missing(pointer, key),
            }
        }
        clean
    }

    /// Keys with nothing behind them, each with the unknown keys right below it that it would take: they were meant to
    /// stand inside it, and one slip of the space bar is one finding.
    fn spilled<'e>(
        &self,
        entries: &'e Map<String, Value>,
        properties: Option<&'a Map<String, Value>>,
        others: Option<&'a Value>,
    ) -> BTreeMap<&'e str, Vec<&'e str>> {
        let mut spilled: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let Some(properties) = properties.filter(|_| others.is_none()) else { return spilled };
        let mut owner: Option<(&str, &Map<String, Value>, bool)> = None;
        for (key, value) in entries {
            if let Some(property) = properties.get(key) {
                let block = self.alternatives(property).into_iter().find(|schema| accepts_map(schema));
                owner = block.filter(|_| value.is_null()).map(|block| {
                    let inner = block.get("properties").and_then(Value::as_object);
                    (key.as_str(), inner.unwrap_or(&NO_PROPERTIES), inner.is_none())
                });
                continue;
            }
            match owner {
                Some((owner, inner, open)) if open || inner.contains_key(key) => {
                    spilled.entry(owner).or_default().push(key);
                }
                _ => owner = None,
            }
        }
        spilled
    }

    /// Tells of an unknown key; the answer is the one that was probably meant.
    fn unknown_key(&mut self, pointer: &str, key: &str, properties: Option<&'a Map<String, Value>>) -> Option<&'a str> {
        let known = properties.into_iter().flatten().filter(|(_, schema)| schema.get("x-not-yet").is_none());
        let known: Vec<&'a str> = known.map(|(key, _)| key.as_str()).collect();
        let block = self.block_name(pointer);
        let near = nearest(key, known.iter().copied());
        let message = match near {
            Some(near) => format!("{block} has no key `{key}`; did you mean `{near}`?"),
            None => format!("{block} has no key `{key}`"),
        };
        let help = format!("known keys: {}", known.join(" "));
        self.report_key("unknown_key", &child(pointer, key), message, Some(help));
        near
    }

    fn missing(&mut self, pointer: &str, key: &str) {
        let code = MISSING_CODES.iter().find(|(name, _)| *name == key).map_or("missing_key", |(_, code)| code);
        let message = format!("{} needs the key `{key}`", self.block_name(pointer));
        self.report(code, pointer, message, Some(format!("add  {key}: …")));
    }

    fn not_yet(&mut self, pointer: &str, what: &str, later: &str) {
        let help = (!later.is_empty()).then(|| later.to_owned());
        self.report_key("not_yet", pointer, format!("{what} comes with a later version"), help);
    }

    /// A value that fits none of `alternatives`.
    fn misfit(
        &mut self,
        value: &Value,
        alternatives: &[&'a Value],
        constants: &[&'a Value],
        pointer: &str,
        help: Option<&str>,
    ) -> Option<Value> {
        let key = last(pointer);
        let help = help.map(str::to_owned);
        let expected = expected_types(alternatives);
        match value {
            Value::String(text) if !constants.is_empty() => {
                let words: Vec<&str> = constants.iter().filter_map(|constant| constant.as_str()).collect();
                let near = nearest(text, words.iter().copied());
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message = format!("`{key}` cannot be `{text}`{near}");
                self.report("invalid_value", pointer, message, Some(format!("one of: {}", words.join(", "))));
            }
            Value::Null => {
                let message = format!("`{key}` has no value; it wants {expected}");
                self.report("wrong_type", pointer, message, help);
            }
            _ => {
                let message = format!("`{key}` wants {expected}, this is {}", kind_in_yaml(value));
                let help = help.or_else(|| self.type_help(value, &expected, pointer));
                self.report("wrong_type", pointer, message, help);
            }
        }
        None
    }

    fn type_help(&self, value: &Value, expected: &str, pointer: &str) -> Option<String> {
        let raw = self.doc.nodes.get(pointer).and_then(|located| self.doc.text.get(located.value.clone()));
        let raw = raw.unwrap_or_default().lines().next().unwrap_or_default().trim();
        let key = last(pointer);
        match value {
            Value::Number(_) | Value::Bool(_) if expected.contains("a text") && !expected.contains("true") => {
                Some(format!("quote it: write  {key}: \"{raw}\""))
            }
            Value::Object(_) if expected == "a list" => Some(format!("start each item of `{key}` with `- `")),
            Value::String(_) | Value::Number(_) if expected == "a list" => Some(format!("write  {key}: [{raw}]")),
            Value::Object(_) if expected.contains("a text") && raw.starts_with('{') => {
                Some("a text that starts with { needs quotes".into())
            }
            Value::String(_) if expected.contains("true or false") => {
                Some("write true or false, without quotes".into())
            }
            Value::String(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
                Some(format!("write it without quotes: {key}: {text}"))
            }
            _ => None,
        }
    }

    /// What the block at `pointer` is called: its `type` for an action, else its key.
    fn block_name(&self, pointer: &str) -> String {
        if pointer == self.block.0 { self.block.1.to_owned() } else { format!("`{}`", last(pointer)) }
    }

    fn report(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        let place = self.doc.value_place(pointer);
        self.findings.push(Diagnostic { help, ..Diagnostic::new(code, place, dotted(pointer), message) });
    }

    fn report_key(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        let place = self.doc.key_place(pointer);
        self.findings.push(Diagnostic { help, ..Diagnostic::new(code, place, dotted(pointer), message) });
    }
}

/// The last part of a pointer that has a name: `fields`, `attachments[0]`.
fn last(pointer: &str) -> String {
    let dotted = dotted(pointer);
    dotted.rsplit('.').next().unwrap_or_default().to_owned()
}

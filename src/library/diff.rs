//! What differs between two versions of a flow, in words: for the log's line of a reload and for `leadflow diff`.
//!
//! The documents are compared, not the compiled flows: what people changed is what they wrote. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::flow::Bundle;
use crate::yaml;

/// Changes that one line of words names.
const WORDS_MAX: usize = 6;

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// What is said of a change that changes nothing that runs.
pub const NO_EFFECT: &str = "comments or layout only: no effect";

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The action in which it is, by its name; `None`: outside of the actions.
    pub action: Option<String>,
    /// What has changed there: `subject`, `trigger.schema`; empty: the action itself.
    pub path: String,
    /// What was there before.
    pub old: Option<Value>,
    /// What is there now.
    pub new: Option<Value>,
}

/// Every difference, in the order of the new document; empty: nothing that has an effect.
pub fn changes(old: &Bundle, new: &Bundle) -> Vec<Change> {
    let mut found = Vec::new();
    let (before, after) = (document(&old.file, &old.text), document(&new.file, &new.text));
    let mut compare = Compare { action: None, found: &mut found };
    compare.flow(&before, &after);
    compare.beside(old, new);
    found
}

fn document(file: &str, text: &str) -> Value {
    yaml::parse(file, text).0.map(|doc| doc.value).unwrap_or_default()
}

/// The changes in words: `action notify_sales: subject; +1 action (score)`.
pub fn words(changes: &[Change]) -> String {
    if changes.is_empty() {
        return NO_EFFECT.to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    let whole = |change: &&Change| change.action.is_some() && change.path.is_empty();
    let mut told: Vec<&str> = Vec::new();
    for change in changes.iter().filter(|change| !whole(change)) {
        match &change.action {
            None => parts.push(change.path.clone()),
            Some(name) if told.contains(&name.as_str()) => {}
            Some(name) => {
                told.push(name);
                let of = |other: &&Change| other.action.as_ref() == Some(name) && !other.path.is_empty();
                let paths: Vec<&str> = changes.iter().filter(of).map(|change| change.path.as_str()).collect();
                parts.push(format!("action {name}: {}", paths.join(", ")));
            }
        }
    }
    for (sign, is_added) in [('+', true), ('-', false)] {
        let of = |change: &&Change| whole(change) && change.new.is_some() == is_added;
        let names: Vec<&str> = changes.iter().filter(of).filter_map(|change| change.action.as_deref()).collect();
        if !names.is_empty() {
            let plural = if names.len() == 1 { "" } else { "s" };
            parts.push(format!("{sign}{} action{plural} ({})", names.len(), names.join(", ")));
        }
    }
    let more = parts.len().saturating_sub(WORDS_MAX);
    parts.truncate(WORDS_MAX);
    let mut line = parts.join("; ");
    if more > 0 {
        let _ = write!(line, "; and {more} more");
    }
    line
}

/// A value on one line, cut to what can be read at a glance.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{cut}…")
}

struct Compare<'a> {
    action: Option<String>,
    found: &'a mut Vec<Change>,
}

impl Compare<'_> {
    fn flow(&mut self, old: &Value, new: &Value) {
        let none = Map::new();
        let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
        for key in keys(old, new) {
            match (key, old.get(key), new.get(key)) {
                ("actions", old, new) => self.actions(old, new),
                (key, Some(old), Some(new)) => self.value(key, old, new),
                (key, old, new) => self.add(key, old, new),
            }
        }
    }

    /// Actions are told apart by their names; what has no name counts by its place.
    fn actions(&mut self, old: Option<&Value>, new: Option<&Value>) {
        let (old, new) = (list(old), list(new));
        let (old_names, new_names) = (names(old), names(new));
        for (name, action) in new_names.iter().zip(new) {
            let before = old_names.iter().position(|old| old == name).map(|at| &old[at]);
            self.in_action(name, |compare| match before {
                Some(before) => compare.action(before, action),
                None => compare.add("", None, Some(action)),
            });
        }
        for (name, action) in old_names.iter().zip(old).filter(|(name, _)| !new_names.contains(name)) {
            self.in_action(name, |compare| compare.add("", Some(action), None));
        }
        let kept = |names: &[String], others: &[String]| -> Vec<String> {
            names.iter().filter(|name| others.contains(name)).cloned().collect()
        };
        let (before, after) = (kept(&old_names, &new_names), kept(&new_names, &old_names));
        if before != after {
            self.add("the order of actions", Some(&before.into()), Some(&after.into()));
        }
    }

    fn action(&mut self, old: &Value, new: &Value) {
        let none = Map::new();
        let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
        for key in keys(old, new) {
            match (old.get(key), new.get(key)) {
                // The branches of a container hold actions of their own.
                (Some(old), Some(new)) if is_actions(old) && is_actions(new) => self.actions(Some(old), Some(new)),
                (Some(old), Some(new)) => self.value(key, old, new),
                (old, new) => self.add(key, old, new),
            }
        }
    }

    fn value(&mut self, path: &str, old: &Value, new: &Value) {
        match (old, new) {
            (old, new) if old == new => {}
            (Value::Object(old), Value::Object(new)) => {
                for key in keys(old, new) {
                    let path = format!("{path}.{key}");
                    match (old.get(key), new.get(key)) {
                        (Some(old), Some(new)) => self.value(&path, old, new),
                        (old, new) => self.add(&path, old, new),
                    }
                }
            }
            (old, new) => self.add(path, Some(old), Some(new)),
        }
    }

    /// What is pinned with a flow and written elsewhere. A schema or setting that the flow does not use any more is
    /// told by the document.
    fn beside(&mut self, old: &Bundle, new: &Bundle) {
        if let (Some(old), Some(new)) = (&old.blueprint, &new.blueprint)
            && old.text != new.text
        {
            self.flow(&document(&old.file, &old.text), &document(&new.file, &new.text));
        }
        for (name, text) in &new.schemas {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
            let before = old.schemas.get(name);
            if before.is_some_and(|before| before != text && parsed(before) != parsed(text)) {
                self.add(&format!("schema {name}"), None, None);
            }
        }
        if old.parameters != new.parameters {
            self.value("parameters of leadflow.yaml", &old.parameters, &new.parameters);
        }
        if old.defaults != new.defaults {
            self.add("defaults of leadflow.yaml", None, None);
        }
    }

    fn in_action(&mut self, name: &str, compare: impl FnOnce(&mut Self)) {
        let outer = self.action.replace(name.to_owned());
        compare(self);
        self.action = outer;
    }

    fn add(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        let (action, path) = (self.action.clone(), path.to_owned());
        self.found.push(Change { action, path, old: old.cloned(), new: new.cloned() });
    }
}

/// Keys of the new map, then those that only the old one has.
fn keys<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> Vec<&'a str> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    new.keys().chain(gone).map(String::as_str).collect()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn names(actions: &[Value]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let name = |(index, action): (usize, &Value)| {
        let own = action.get("name").and_then(Value::as_str).filter(|name| seen.insert((*name).to_owned()));
        own.map_or_else(|| format!("number {}", index + 1), str::to_owned)
    };
    actions.iter().enumerate().map(name).collect()
}

fn is_actions(value: &Value) -> bool {
    let of_actions = |items: &Vec<Value>| items.iter().all(|item| item.get("type").is_some_and(Value::is_string));
    value.as_array().is_some_and(|items| !items.is_empty() && of_actions(items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{BlueprintText, Defaults};
    use serde_json::json;

    fn bundle(text: &str) -> Bundle {
        let (file, schemas, parameters) = ("flows/a.yaml".to_owned(), std::collections::BTreeMap::new(), json!({}));
        Bundle { file, text: text.to_owned(), blueprint: None, schemas, parameters, defaults: Defaults::default() }
    }

    fn said(old: &str, new: &str) -> String {
        words(&changes(&bundle(old), &bundle(new)))
    }

    const FLOW: &str = "name: a\ntrigger:\n  type: request\nactions:\n  - name: one\n    type: compose\n    inputs: 1\n  - name: two\n    type: send_email\n    to: a@b.c\n    subject: hello\n";

    #[test]
    fn changes_are_told_in_the_words_of_the_file() {
        for (from, to, words) in [
            ("hello", "good day", "action two: subject"),
            ("    inputs: 1", "    inputs: 2", "action one: inputs"),
            ("type: request\n", "type: request\n  schema: x.json\n", "trigger.schema"),
            ("name: a\n", "name: a\ndescription: x\n", "description"),
            ("  - name: one\n    type: compose\n    inputs: 1\n", "", "-1 action (one)"),
            ("- name: one", "- name: uno", "+1 action (uno); -1 action (one)"),
            ("    subject: hello\n", "    subject: x\n    cc: d@e.f\n", "action two: subject, cc"),
        ] {
            assert_eq!(said(FLOW, &FLOW.replace(from, to)), words, "{from} -> {to}");
        }
    }

    #[test]
    fn comments_and_layout_have_no_effect() {
        assert_eq!(said(FLOW, &format!("# a comment\n{}", FLOW.replace("hello", "\"hello\"   # said"))), NO_EFFECT);
    }

    #[test]
    fn an_order_is_a_change_and_so_are_actions_inside_containers() {
        let first = "actions:\n  - { name: a, type: x }\n  - { name: b, type: x }\n";
        let second = "actions:\n  - { name: b, type: x }\n  - { name: a, type: x }\n";
        assert_eq!(said(first, second), "the order of actions");
        let nested = |subject: &str| {
            format!(
                "actions:\n  - name: s\n    type: scope\n    actions:\n      - {{ name: in, type: x, subject: {subject} }}\n"
            )
        };
        assert_eq!(said(&nested("a"), &nested("b")), "action in: subject");
    }

    #[test]
    fn what_is_pinned_beside_the_text_counts() {
        let (mut old, mut new) = (bundle(FLOW), bundle(FLOW));
        old.schemas.insert("a.json".into(), "{}".into());
        new.schemas.insert("a.json".into(), "{ }".into());
        assert!(changes(&old, &new).is_empty(), "layout of a schema");
        let body = |text: &str| Some(BlueprintText { file: "blueprints/b.yaml".into(), text: text.into() });
        (old.blueprint, new.blueprint) = (body(FLOW), body(&FLOW.replace("hello", "bye")));
        assert_eq!(words(&changes(&old, &new)), "action two: subject", "of the blueprint");
        new.blueprint.clone_from(&old.blueprint);
        new.schemas.insert("a.json".into(), "{\"type\":\"object\"}".into());
        new.parameters = json!({"owner": "x"});
        new.defaults.timeout = std::time::Duration::from_secs(1);
        let words = words(&changes(&old, &new));
        assert_eq!(words, "schema a.json; parameters of leadflow.yaml.owner; defaults of leadflow.yaml");
    }
}

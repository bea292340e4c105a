//! How `respond` fits its flow: one way to answer, and none where one request makes many runs.

use serde_json::Value;

use super::Linter;
use crate::diagnostic::Diagnostic;
use crate::flow::{Action, Trigger};
use crate::template::Tree;
use crate::yaml::{child, dotted};

impl Linter<'_> {
    /// Whether the flow answers its requests at once and says later what `respond` says.
    pub(super) fn answers(&mut self, trigger: &Trigger, actions: &[Action]) -> bool {
        let answering: Vec<&Action> = actions
            .iter()
            .filter(|action| self.environment.catalogue.action(&action.kind).is_some_and(|spec| spec.responds))
            .collect();
        let Some(first) = answering.first() else { return false };
        if trigger.split_on.is_some() {
            for action in &answering {
                let message = "one request makes many runs here, so none of them can answer it";
                let help = "remove `respond`: the request is answered 202 with the ids of its runs";
                self.tell("respond_with_split", action, "type", message.into(), help);
            }
        }
        let later = is_async(first);
        for action in answering.iter().filter(|action| is_async(action) != later) {
            let written = self.pointer(action).and_then(|at| self.doc.value.pointer(&child(&at, "async")));
            if written.is_some_and(|written| !written.is_boolean()) {
                continue;
            }
            let message = format!("`{}` answers the other way: a request is answered at once or waits", first.name);
            let help = "say `async: true` in every `respond` of the flow, or in none";
            self.tell("mixed_respond", action, "async", message, help);
        }
        later
    }

    /// Where the action stands in the file.
    fn pointer(&self, action: &Action) -> Option<String> {
        pointer_of(self.doc.value.get("actions")?, "/actions", &action.name)
    }

    /// A finding at a key of an action, wherever in the file the action stands.
    fn tell(&mut self, code: &'static str, action: &Action, key: &str, message: String, help: &str) {
        let whole = self.pointer(action).unwrap_or_default();
        let at = child(&whole, key);
        let at = if self.doc.value.pointer(&at).is_some() { at } else { whole };
        let place = self.doc.value_place(&at);
        self.findings.push(Diagnostic::new(code, place, dotted(&at), message).help(help));
    }
}

fn is_async(action: &Action) -> bool {
    matches!(action.inputs.get("async"), Some(Tree::Constant(Value::Bool(true))))
}

/// Where the action `name` stands at or below `value`.
fn pointer_of(value: &Value, pointer: &str, name: &str) -> Option<String> {
    match value {
        Value::Object(entries)
            if entries.get("name").is_some_and(|own| own == name) && entries.contains_key("type") =>
        {
            Some(pointer.to_owned())
        }
        Value::Object(entries) => entries.iter().find_map(|(key, value)| pointer_of(value, &child(pointer, key), name)),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(at, item)| pointer_of(item, &format!("{pointer}/{at}"), name))
        }
        _ => None,
    }
}

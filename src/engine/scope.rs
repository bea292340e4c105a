//! What the templates of a run see, kept as the run goes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ports::{Ports, Sight};
use crate::clock::{Micros, rfc3339};
use crate::flow::Flow;
use crate::run::{Identity, Step, StepKey};
use crate::template::{PathRef, Scope, lookup};

/// The values behind a [`Scope`].
#[derive(Debug)]
pub(super) struct Values {
    trigger: Value,
    /// What has ended, by the index of the iteration that it ended in (`""`: outside every loop).
    actions: BTreeMap<String, Value>,
    run: Value,
    flow: Value,
    empty: Value,
}

/// Where in a run a template stands.
#[derive(Debug, Default)]
pub(super) struct Place<'a> {
    /// The index of the iteration.
    pub(super) idx: &'a str,
    /// The loops round it, outermost first.
    pub(super) turns: Vec<Turn<'a>>,
    /// Whether a template here reads `loops`: then their items are copied for it.
    pub(super) reads_loops: bool,
}

/// One iteration of a loop.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// The loop's name.
    pub(super) name: &'a str,
    /// Its item; `None`: an `until`.
    pub(super) item: Option<&'a Value>,
    /// Its number, from 0.
    pub(super) index: u32,
}

/// What templates at one place see.
pub(super) struct View<'a> {
    outside: Scope<'a>,
    /// Innermost first.
    inner_actions: Vec<&'a Value>,
    loops: Value,
    item: Option<&'a Value>,
    index: Option<Value>,
}

impl View<'_> {
    /// The scope of a template.
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            inner_actions: &self.inner_actions,
            item: self.item,
            item_index: self.index.as_ref(),
            loops: &self.loops,
            ..self.outside
        }
    }
}

impl Values {
    /// The values of a run that has not begun.
    pub(super) fn new(flow: &Flow, identity: &Identity, trigger: Value) -> Self {
        Self {
            trigger,
            actions: BTreeMap::from([(String::new(), Value::Object(Map::new()))]),
            run: json!({
                "id": identity.run_id, "received_at": rfc3339(identity.received_at), "is_test": identity.is_test,
            }),
            flow: json!({ "name": flow.name, "description": flow.description }),
            empty: Value::Object(Map::new()),
        }
    }

    /// What templates outside every loop see now.
    pub(super) fn scope<'a>(&'a self, flow: &'a Flow, ports: &'a Ports, now: Micros) -> Scope<'a> {
        self.seen(flow, ports.sight(), now)
    }

    /// What templates see now, wherever they are rendered.
    pub(super) fn seen<'a>(&'a self, flow: &'a Flow, sight: Sight<'a>, now: Micros) -> Scope<'a> {
        Scope {
            trigger: &self.trigger,
            actions: self.actions.get("").unwrap_or(&self.empty),
            inner_actions: &[],
            parameters: &flow.parameters,
            variables: &self.empty,
            run: &self.run,
            flow: &self.flow,
            environment: sight.environment,
            item: None,
            item_index: None,
            loops: &self.empty,
            now,
            limits: sight.limits,
        }
    }

    /// What templates at `place` see now.
    pub(super) fn view<'a>(&'a self, flow: &'a Flow, ports: &'a Ports, now: Micros, place: &Place<'a>) -> View<'a> {
        let mut inner_actions = Vec::new();
        let mut idx = place.idx;
        while !idx.is_empty() {
            inner_actions.extend(self.actions.get(idx));
            idx = StepKey::outer(idx).0;
        }
        let turn = |turn: &Turn<'_>| (turn.name.to_owned(), json!({ "item": turn.item, "index": turn.index }));
        let of_items = place.turns.iter().rev().find(|turn| turn.item.is_some());
        View {
            outside: self.scope(flow, ports, now),
            inner_actions,
            loops: Value::Object(place.turns.iter().filter(|_| place.reads_loops).map(turn).collect()),
            item: of_items.and_then(|turn| turn.item),
            index: of_items.map(|turn| Value::from(turn.index)),
        }
    }

    /// An action has ended: later templates see it.
    pub(super) fn note(&mut self, name: &str, idx: &str, step: &Step) {
        let error = step.error.as_ref().map(|error| {
            let action = error.action.as_deref().unwrap_or(name);
            json!({ "code": error.code, "message": error.message, "action": action })
        });
        let ended = json!({ "status": step.status.as_str(), "outputs": step.outputs, "error": error });
        let actions = self.actions.entry(idx.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(actions) = actions {
            actions.insert(name.to_owned(), ended);
        }
    }

    /// An iteration is over: nobody reads what stands in it any more, but for the loop itself.
    pub(super) fn leave(&mut self, idx: &str) {
        let inside = format!("{idx}.");
        let is_in = |key: &str| key == idx || key.starts_with(&inside);
        let gone: Vec<String> =
            self.actions.range(idx.to_owned()..).map(|(key, _)| key).take_while(|key| is_in(key)).cloned().collect();
        for key in gone {
            self.actions.remove(&key);
        }
    }
}

/// Whether every value from outside in `guard` is blank, and there is at least one.
pub(super) fn all_blank(guard: &[PathRef], scope: &Scope<'_>) -> bool {
    !guard.is_empty() && guard.iter().all(|path| lookup(scope, path).is_none_or(is_blank))
}

/// Null, white space, or a list or object that holds nothing else.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_blank),
        Value::Object(entries) => entries.values().all(is_blank),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

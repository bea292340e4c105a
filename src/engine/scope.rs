//! What the templates of a run see, kept as the run goes.

use serde_json::{Map, Value, json};

use super::ports::{Ports, Sight};
use crate::clock::{Micros, rfc3339};
use crate::flow::Flow;
use crate::run::{Identity, Step};
use crate::template::{PathRef, Scope, lookup};

/// The values behind a [`Scope`].
#[derive(Debug)]
pub(super) struct Values {
    trigger: Value,
    actions: Value,
    run: Value,
    flow: Value,
    empty: Value,
}

impl Values {
    /// The values of a run that has not begun.
    pub(super) fn new(flow: &Flow, identity: &Identity, trigger: Value) -> Self {
        Self {
            trigger,
            actions: Value::Object(Map::new()),
            run: json!({
                "id": identity.run_id, "received_at": rfc3339(identity.received_at), "is_test": identity.is_test,
            }),
            flow: json!({ "name": flow.name, "description": flow.description }),
            empty: Value::Object(Map::new()),
        }
    }

    /// What templates see now.
    pub(super) fn scope<'a>(&'a self, flow: &'a Flow, ports: &'a Ports, now: Micros) -> Scope<'a> {
        self.seen(flow, ports.sight(), now)
    }

    /// What templates see now, wherever they are rendered.
    pub(super) fn seen<'a>(&'a self, flow: &'a Flow, sight: Sight<'a>, now: Micros) -> Scope<'a> {
        Scope {
            trigger: &self.trigger,
            actions: &self.actions,
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

    /// An action has ended: later templates see it.
    pub(super) fn note(&mut self, name: &str, step: &Step) {
        let error = step.error.as_ref().filter(|_| step.outputs.is_none());
        let error = error.map(|error| json!({ "code": error.code, "message": error.message, "action": name }));
        if let Value::Object(actions) = &mut self.actions {
            actions.insert(
                name.to_owned(),
                json!({ "status": step.status.as_str(), "outputs": step.outputs, "error": error }),
            );
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

//! Containers: what they decide when they start, what they give when everything in them has ended.

use serde_json::{Map, Value, json};

use super::Actor;
use super::start::size_of;
use crate::clock::{Micros, micros};
use crate::engine::scope::{Place, Turn};
use crate::flow::control::{Control, OnLimit};
use crate::flow::plan::Kind;
use crate::run::advance::Event;
use crate::run::blocks::first_failure;
use crate::run::transition::StepEvent;
use crate::run::{Failure, RunStatus, StepKey, StepStatus};
use crate::template::{self, RenderError, Scope, Template, Tree};

/// What a container decides: pinned as its inputs, so that a restart goes the same way.
pub(super) fn decide(
    control: &Control,
    scope: &Scope<'_>,
    at: Micros,
    iterations_max: usize,
) -> Result<Value, RenderError> {
    Ok(match control {
        Control::Condition { conditions } => json!({ "if": all_true(conditions, scope)? }),
        Control::Switch { value, cases } => {
            let value = value.render(scope)?;
            let fits = |case: &Vec<Value>| case.iter().any(|one| template::equals(one, &value));
            let found = cases.iter().position(fits);
            let case = found.and_then(|found| cases[found].iter().find(|one| template::equals(one, &value)));
            json!({ "case": case, "branch": found.unwrap_or(cases.len()), "value": value })
        }
        Control::Each { items } => json!({ "items": list(items.render(scope)?, "items", iterations_max)? }),
        Control::Until { timeout, .. } => json!({ "deadline": at.saturating_add(micros(*timeout)) }),
        Control::Scope => Value::Object(Map::new()),
    })
}

fn all_true(conditions: &[Template], scope: &Scope<'_>) -> Result<bool, RenderError> {
    for condition in conditions {
        if !condition.render_bool(scope)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A rendered list; null is an empty one.
fn list(value: Value, key: &str, items_max: usize) -> Result<Vec<Value>, RenderError> {
    let items = match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => {
            let message = format!("`{key}` must be a list, this is {}", template::kind_of(&other));
            return Err(RenderError::new("not_a_list", message));
        }
    };
    if items.len() > items_max {
        let message = format!("`{key}` has {} items; at most {items_max} are allowed (limits.iterations)", items.len());
        return Err(RenderError::new("too_many_items", message));
    }
    Ok(items)
}

/// Renders the keys of `per_item` once for each item of `from`: each becomes the list of what it gave.
pub(super) fn render_per_item(
    inputs: &mut Value,
    per_item: &[(String, Tree)],
    scope: &Scope<'_>,
    items_max: usize,
) -> Result<(), RenderError> {
    let from = inputs.get_mut("from").map(Value::take).unwrap_or_default();
    let items = list(from, "from", items_max)?;
    for (key, tree) in per_item {
        let mut rendered = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let index = Value::from(index);
            rendered.push(tree.render(&Scope { item: Some(item), item_index: Some(&index), ..*scope })?);
        }
        inputs[key] = Value::Array(rendered);
    }
    inputs["from"] = Value::Array(items);
    Ok(())
}

impl Actor {
    /// Where the templates of an action stand: its iteration, and the items of the loops round it.
    pub(super) fn place<'a>(&'a self, key: &'a StepKey) -> Place<'a> {
        let mut turns = Vec::new();
        let mut idx = key.idx.as_str();
        for node in self.flow.plan.loops(key.node).into_iter().rev() {
            let (outer, index) = StepKey::outer(idx);
            turns.push(self.turn_of(node, outer, index));
            idx = outer;
        }
        turns.reverse();
        Place { idx: &key.idx, turns, reads_loops: self.reads_loops.get(key.node).copied().unwrap_or_default() }
    }

    fn turn_of(&self, node: usize, outer: &str, index: u32) -> Turn<'_> {
        let container = self.state.steps.get(&StepKey { node, idx: outer.to_owned() });
        let items = container.and_then(|step| step.inputs.as_ref()).and_then(|inputs| inputs.get("items"));
        let item = items.and_then(|items| items.get(index as usize));
        Turn { name: &self.flow.actions[node].name, item, index }
    }

    /// Everything in a container has ended: it closes, or an `until` goes on.
    pub(super) fn close(&mut self, key: &StepKey, bad: bool) {
        let at = self.ports.clock.now();
        let mut outcome = None;
        let mut failure = bad.then(|| {
            first_failure(&self.flow.plan, &self.state, key)
                .unwrap_or_else(|| Failure::terminal("cancelled", "an action in it was cancelled"))
        });
        if failure.is_none() {
            match self.goes_on(key, at) {
                Ok(Round::Again) => {
                    let last = self.last_round(key);
                    self.forget_iteration(key, &last);
                    return self.apply(Event::Again { at, key: key.clone() });
                }
                Ok(Round::Enough) => {}
                Ok(Round::Limit(OnLimit::Continue, _)) => outcome = Some("limit".to_owned()),
                Ok(Round::Limit(OnLimit::Fail, message)) => failure = Some(Failure::terminal("until_limit", message)),
                Err(error) => failure = Some(Failure::terminal(error.code, error.message)),
            }
        }
        let outputs = match self.outputs(key) {
            Ok(outputs) => outputs,
            Err(too_large) => {
                failure.get_or_insert(too_large);
                Value::Null
            }
        };
        let event = StepEvent::Close { at, outputs, outcome, failure };
        let last = (self.flow.plan.nodes[key.node].kind == Kind::Until).then(|| self.last_round(key));
        self.gathered.remove(key);
        self.apply(Event::Step { at, key: key.clone(), event });
        if let Some(last) = last {
            self.forget_iteration(key, &last);
        }
    }

    /// The index of the last iteration of an `until`.
    fn last_round(&self, key: &StepKey) -> String {
        let next = self.state.open.get(key).map_or(1, |open| open.next);
        StepKey::iteration(&key.idx, next.saturating_sub(1))
    }

    /// Whether an `until` whose iteration has ended goes on. Other containers have had enough.
    fn goes_on(&self, key: &StepKey, at: Micros) -> Result<Round, RenderError> {
        let Some(Control::Until { conditions, count, on_limit, .. }) = &self.flow.actions[key.node].control else {
            return Ok(Round::Enough);
        };
        let idx = self.last_round(key);
        let mut place = self.place(key);
        let done = StepKey::outer(&idx).1.saturating_add(1);
        place.turns.push(self.turn_of(key.node, &key.idx, done - 1));
        let place = Place { idx: &idx, ..place };
        if all_true(conditions, &self.values.view(&self.flow, &self.ports, at, &place).scope())? {
            return Ok(Round::Enough);
        }
        let inputs = self.state.steps.get(key).and_then(|step| step.inputs.as_ref());
        let deadline = inputs.and_then(|inputs| inputs.get("deadline")).and_then(Value::as_i64);
        Ok(if done >= *count {
            Round::Limit(*on_limit, format!("the condition is still false after {count} iterations (`count`)"))
        } else if deadline.is_some_and(|deadline| at >= deadline) {
            Round::Limit(
                *on_limit,
                format!("the condition is still false at the end of `timeout`, after {done} iterations"),
            )
        } else {
            Round::Again
        })
    }

    /// What a container gives. One that is too large is an error only for whoever reads it.
    fn outputs(&self, key: &StepKey) -> Result<Value, Failure> {
        let limit = self.ports.limits().outputs_bytes_max;
        let outputs = match self.flow.plan.nodes[key.node].kind {
            Kind::Switch => {
                let inputs = self.state.steps.get(key).and_then(|step| step.inputs.as_ref());
                Some(json!({ "case": inputs.and_then(|inputs| inputs.get("case")) }))
            }
            Kind::Each { .. } => self.collected(key),
            Kind::Scope => Some(json!({ "result": self.results(key) })),
            Kind::If | Kind::Until | Kind::Leaf => Some(Value::Null),
        };
        if let Some(outputs) = outputs.filter(|outputs| size_of(outputs, limit) <= limit) {
            return Ok(outputs);
        }
        if self.flow.actions[key.node].outputs_read {
            let message = format!("the outputs of its actions together are larger than {limit} bytes (limits.outputs)");
            return Err(Failure::terminal("outputs_too_large", message));
        }
        Ok(Value::Null)
    }

    /// Name, status, outputs and error of the actions of a `scope`.
    fn results(&self, key: &StepKey) -> Value {
        let nodes = self.flow.plan.block(Some(key.node), 0).iter();
        let result = |node: &usize| {
            let step = self.state.steps.get(&StepKey { node: *node, idx: key.idx.clone() })?;
            let name = &self.flow.actions[*node].name;
            let error = step.error.as_ref().map(|error| {
                let action = error.action.as_ref().unwrap_or(name);
                json!({ "code": error.code, "message": error.message, "action": action })
            });
            Some(json!({ "name": name, "status": step.status.as_str(), "outputs": step.outputs, "error": error }))
        };
        nodes.filter_map(result).collect()
    }

    /// A `terminate` whose effects in flight did not all end before a crash ends the run all the same.
    pub(super) fn terminate_again(&mut self) {
        let steps = self.state.steps.iter();
        let mut done = steps.filter(|(key, step)| {
            step.status == StepStatus::Succeeded && self.flow.actions[key.node].kind == crate::actions::terminate::KIND
        });
        let end = done.find_map(|(_, step)| crate::actions::terminate::read(step.inputs.as_ref()?).ok());
        if let Some(end) = end {
            self.end_early(RunStatus::from(end.status), end.code);
        }
    }
}

/// What an `until` does after an iteration.
enum Round {
    Enough,
    Again,
    Limit(OnLimit, String),
}

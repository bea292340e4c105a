//! What data actions need of the actor: keys that are rendered for each item, and the variables of the run.

use serde_json::{Map, Value};

use super::Actor;
use super::containers::list;
use crate::actions::PER_ITEM;
use crate::clock::Micros;
use crate::engine::ports::Limits;
use crate::flow::plan::NodeId;
use crate::run::StepKey;
use crate::run::size::size_of;
use crate::run::variables::Change;
use crate::template::{RenderError, Scope, Tree};

/// The code of a run that a `terminate` ended with a code that is secure.
const SECURE_CODE: &str = "terminated";

/// Renders the keys of `per_item` once for each item of `from`, into the lists under [`PER_ITEM`]. All that they give
/// together is bounded, or a short text times many items would fill the memory.
pub(super) fn render_per_item(
    inputs: &mut Value,
    per_item: &[(String, Tree)],
    scope: &Scope<'_>,
    limits: &Limits,
) -> Result<(), RenderError> {
    let from = inputs.get_mut("from").map(Value::take).unwrap_or_default();
    let items = list(from, "from", limits.iterations_max)?;
    let bytes_max = limits.outputs_bytes_max;
    let (mut lists, mut bytes) = (Map::new(), 0_usize);
    for (key, tree) in per_item {
        let mut rendered = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let index = Value::from(index);
            let value = tree.render(&Scope { item: Some(item), item_index: Some(&index), ..*scope })?;
            bytes = bytes.saturating_add(size_of(&value, bytes_max));
            if bytes > bytes_max.saturating_mul(PER_ITEM_FACTOR) {
                let message = format!("`{key}` gives more than fits into {bytes_max} bytes (limits.outputs)");
                return Err(RenderError::new("outputs_too_large", message));
            }
            rendered.push(value);
        }
        lists.insert(key.clone(), Value::Array(rendered));
    }
    inputs[PER_ITEM] = Value::Object(lists);
    inputs["from"] = Value::Array(items);
    Ok(())
}

/// What is rendered for all items may be larger than the outputs by this factor: a table's columns carry their headers.
const PER_ITEM_FACTOR: usize = 4;

impl Actor {
    /// What was rendered for each item has served: the history shows the items and what became of them.
    pub(super) fn forget_per_item(&mut self, key: &StepKey) {
        if !self.flow.actions[key.node].takes_items {
            return;
        }
        let inputs = self.state.steps.get_mut(key).and_then(|step| step.inputs.as_mut());
        if let Some(inputs) = inputs.and_then(Value::as_object_mut) {
            inputs.remove(PER_ITEM);
        }
    }

    /// Changes a variable and numbers the change, so that a restart makes the same changes in the same order.
    pub(super) fn change_variable(&mut self, at: Micros, key: &StepKey, change: &Change) {
        match self.values.change(change, self.ports.limits().outputs_bytes_max) {
            Ok(number) => {
                if let Some(step) = self.state.steps.get_mut(key) {
                    step.change = Some(number);
                }
                self.succeed(key.clone(), Value::Null, None, false);
            }
            Err(failure) => self.fail(at, key, failure),
        }
    }

    /// The run's code, which every list shows.
    pub(super) fn shown_code(&self, node: NodeId, code: Option<String>) -> Option<String> {
        let is_secure = self.flow.actions[node].secure.inputs;
        code.map(|code| if is_secure { SECURE_CODE.to_owned() } else { code })
    }
}

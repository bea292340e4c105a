//! `split_on`, pure: from a request with a list to one request for each item, and from a stored item back to the body
//! that its run sees.
//!
//! A run keeps its own item and not the whole body, as it came where that can be told, so that folding is repeated on
//! every resume and resubmit. What stands beside the list is lost to the runs, as in Power Automate.

use serde_json::{Map, Value};

use super::request::{BodyLimits, Problem};
use crate::flow::Flow;
use crate::run::TriggerData;
use crate::schema::{Received, Validation, json};
use crate::template::kind_of;

/// Most items of one request, each of which becomes a run.
pub const ITEMS_MAX: usize = 100_000;

/// What `split_on` gave, as the items that runs will see. Null is a list without items.
pub fn of_list(list: Value) -> Result<Vec<Value>, Problem> {
    match list {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.len() > ITEMS_MAX => {
            let message = format!("the list to split has {} items; at most {ITEMS_MAX} are taken", items.len());
            Err(Problem::new(400, "split_too_long", message))
        }
        Value::Array(items) => Ok(items),
        other => {
            let message = format!("split_on wants a list; in this body it is {}", kind_of(&other));
            Err(Problem::new(400, "split_not_a_list", message))
        }
    }
}

/// The body as it came, when folding may have changed it and an item can be folded again by itself.
pub fn raw_body(flow: &Flow, data: &TriggerData) -> Option<Value> {
    can_fold(flow).then(|| json::parse(text(data), "the body", usize::MAX).ok()).flatten()
}

/// The request of one item: `raw` is stored.
pub fn request_of(data: &TriggerData, index: usize, raw: &Value) -> TriggerData {
    TriggerData { body: raw.to_string(), item: Some(index), notes: Vec::new(), ..head_of(data) }
}

/// Everything but the body.
fn head_of(data: &TriggerData) -> TriggerData {
    TriggerData {
        method: data.method.clone(),
        path: data.path.clone(),
        query: data.query.clone(),
        headers: data.headers.clone(),
        ..TriggerData::default()
    }
}

/// The body that the run of a stored item sees. The whole was validated when it came.
pub(super) fn receive(flow: &Flow, data: &TriggerData, limits: &BodyLimits) -> Result<Received, Problem> {
    let item = json::parse(text(data), "the body", limits.json_depth_max)?;
    let split = flow.trigger.split_on.as_ref().and_then(|split| split.path.as_ref());
    let (Some(path), Some(schema), true) = (split, &flow.trigger.schema, can_fold(flow)) else {
        return Ok(Received { body: item, notes: Vec::new() });
    };
    // Back to where it stood, so that the schema knows what it is.
    let whole = path
        .iter()
        .rev()
        .fold(Value::Array(vec![item]), |inner, segment| Value::Object(Map::from_iter([(segment.clone(), inner)])));
    let Received { body, notes } = schema.fold(whole);
    let list = path.iter().fold(body, |outer, _| first_of(outer));
    Ok(Received { body: first_of(list), notes })
}

fn can_fold(flow: &Flow) -> bool {
    let by_path = flow.trigger.split_on.as_ref().is_some_and(|split| split.path.is_some());
    by_path && flow.trigger.schema.is_some() && flow.trigger.validation == Validation::Lenient
}

/// The only entry or item.
fn first_of(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries.into_iter().next().map(|(_, inner)| inner),
        Value::Array(items) => items.into_iter().next(),
        _ => None,
    }
    .unwrap_or_default()
}

fn text(data: &TriggerData) -> &str {
    data.body.strip_prefix('\u{feff}').unwrap_or(&data.body)
}

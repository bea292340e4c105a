//! Leaf actions: from rendered inputs to what is to be done. No I/O.
//!
//! A new action is one file here and its line in [`ALL`]: a struct for its keys (serde + schemars), a spec with an
//! example that compiles, and `start`.

pub mod append_variable;
pub mod compose;
pub mod create_record;
pub mod csv_table;
pub mod delay;
pub mod filter;
pub mod get_record;
pub mod html_table;
pub mod http;
pub mod increment_variable;
mod input;
pub mod list_records;
pub mod parse_json;
mod records;
pub mod respond;
pub mod run_flow;
pub mod select;
pub mod send_email;
pub mod set_variable;
mod tables;
pub mod terminate;
pub mod update_record;
pub mod upsert_record;
pub mod variables;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::clock::Micros;
use crate::connectors::{Operation, Registry};
use crate::flow::catalogue::{ActionSpec, Catalogue};
use crate::run::Failure;
use crate::run::variables::Change;
use crate::schema::BodySchema;
use crate::template::Tree;

/// Every leaf action, in the order of the reference.
pub const ALL: &[&dyn Action] = &[
    &create_record::CreateRecord,
    &update_record::UpdateRecord,
    &upsert_record::UpsertRecord,
    &get_record::GetRecord,
    &list_records::ListRecords,
    &send_email::SendEmail,
    &http::Http,
    &respond::Respond,
    &compose::Compose,
    &delay::Delay,
    &set_variable::SetVariable,
    &append_variable::AppendVariable,
    &increment_variable::IncrementVariable,
    &parse_json::ParseJson,
    &select::Select,
    &filter::Filter,
    &csv_table::CsvTable,
    &html_table::HtmlTable,
    &terminate::Terminate,
    &run_flow::RunFlow,
];

/// The action type `kind`.
pub fn find(kind: &str) -> Option<&'static dyn Action> {
    // A declaration holds a whole schema: it is made once, not for every action of every run.
    static BY_KIND: LazyLock<HashMap<&str, &dyn Action>> =
        LazyLock::new(|| ALL.iter().map(|action| (action.spec().kind, *action)).collect());
    BY_KIND.get(kind).copied()
}

/// Starts an action: first [`Action::check_shape`], then [`Action::start`]. What the engine calls.
pub fn start(action: &dyn Action, written: &Tree, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
    action.check_shape(written, inputs)?;
    action.start(inputs, cx)
}

/// The catalogue of all actions and of the connectors that come with leadflow, for the compiler.
pub fn catalogue() -> Catalogue {
    catalogue_with(Registry::builtin())
}

/// The catalogue of all actions and of these connectors.
pub fn catalogue_with(connectors: &Registry) -> Catalogue {
    let actions = ALL.iter().map(|action| action.spec()).chain(crate::flow::control::specs()).collect();
    Catalogue::new(actions, connectors.specs())
}

/// The catalogue of the connectors that come with leadflow, made once for the whole process.
pub fn shared_catalogue() -> Arc<Catalogue> {
    static SHARED: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(catalogue()));
    Arc::clone(&SHARED)
}

/// What an action may know when it starts.
#[derive(Debug, Clone)]
pub struct StartContext {
    /// Now.
    pub now: Micros,
    /// Whether `url` came from a value as a whole.
    pub url_from_value: bool,
    /// Whether every value from outside that the guarded key uses is null or blank (and there is at least one).
    pub guard_blank: bool,
    /// The schema that it validates by.
    pub schema: Option<Arc<BodySchema>>,
    /// Most bytes of its outputs.
    pub outputs_bytes_max: usize,
}

#[cfg(test)]
impl StartContext {
    /// At the epoch, with nothing special.
    pub(crate) fn for_tests() -> Self {
        Self { now: 0, url_from_value: false, guard_blank: false, schema: None, outputs_bytes_max: 1 << 20 }
    }
}

/// What an action wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It has ended with these outputs.
    Done(Value),
    /// An operation of its connection.
    Effect(Box<Operation>),
    /// To wait until then (microseconds UTC), and then to have ended.
    WaitUntil(Micros),
    /// To answer the request, and then to have ended.
    Answer(Answer),
    /// To change a variable, and then to have ended.
    SetVariable(Change),
    /// To call a run of another flow, and to end with what it responds.
    StartRun(run_flow::Call),
    /// To end the run.
    Terminate(terminate::End),
}

/// Rendered inputs of an action that has keys for each item of `from`: what such a key gave for each of them stands
/// under [`PER_ITEM`], and under the key itself what is written there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PerItem<'a> {
    inputs: &'a Value,
}

/// The key of [`PerItem`].
pub(crate) const PER_ITEM: &str = "per_item";

impl<'a> PerItem<'a> {
    /// Reads `inputs`.
    pub(crate) fn new(inputs: &'a Value) -> Self {
        Self { inputs }
    }

    /// The items.
    pub(crate) fn items(self) -> &'a [Value] {
        self.inputs.get("from").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// What `key` gave for the item at `index`; what is written there, where that is a constant.
    pub(crate) fn get(self, key: &str, index: usize) -> &'a Value {
        let rendered = self.inputs.get(PER_ITEM).and_then(|per_item| per_item.get(key));
        let found = rendered.map_or_else(|| self.inputs.get(key), |rendered| rendered.get(index));
        found.unwrap_or(&Value::Null)
    }
}

/// A list, or a template that gives one.
fn list_or_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "x-template": "plain" })
}

/// An answer to the waiting request.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// JSON, or text when it is a JSON string with a text content type.
    pub body: Value,
}

/// A leaf action type.
pub trait Action: Send + Sync {
    /// Its declaration.
    fn spec(&self) -> ActionSpec;
    /// Refuses rendered inputs whose shape a value changed against what the flow's author wrote, where that matters:
    /// one template of a mail's recipients must not become a list of them.
    fn check_shape(&self, written: &Tree, inputs: &Value) -> Result<(), Failure> {
        let _ = (written, inputs);
        Ok(())
    }
    /// From rendered inputs (the action's own keys without `connection`) to what is to be done.
    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure>;
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Keys that every action has; the compiler merges them in.
    const COMMON: &[&str] = &["name", "type"];

    #[test]
    fn every_action_is_declared_whole() {
        for action in ALL {
            let spec = action.spec();
            let keys = spec.keys.as_value();
            assert_eq!(keys["additionalProperties"], false, "{}: closed", spec.kind);
            let properties = keys["properties"].as_object().expect("properties");
            for (name, key) in properties {
                assert!(key["description"].is_string(), "{}.{name}: documented", spec.kind);
                assert!(!key.to_string().contains("\"null\""), "{}.{name}: a key that is there has a value", spec.kind);
                assert!(!key.to_string().contains("$ref"), "{}.{name}: inlined", spec.kind);
            }
            assert_eq!(properties.contains_key("connection"), spec.operation.is_some(), "{}", spec.kind);
            let example = spec.example.lines().filter(|line| !line.starts_with(' '));
            for key in example.filter_map(|line| line.split(':').next()) {
                assert!(COMMON.contains(&key) || properties.contains_key(key), "{}: `{key}` in its example", spec.kind);
            }
            assert_eq!(find(spec.kind).map(|found| found.spec().kind), Some(spec.kind));
        }
    }

    #[test]
    fn marks_are_where_the_compiler_looks_for_them() {
        let catalogue = catalogue();
        let mark = |action: &str, pointer: &str| {
            let keys = &catalogue.action(action).expect("an action").keys;
            keys.as_value().pointer(&format!("/properties/{pointer}")).cloned().unwrap_or(Value::Null)
        };
        assert_eq!(mark("create_record", "entity/x-fixed"), true);
        assert_eq!(mark("create_record", "fields/x-template"), "plain");
        assert_eq!(mark("create_record", "fields/type"), "object");
        assert_eq!(mark("send_email", "html/x-template"), "html");
        assert_eq!(mark("send_email", "attachments/items/properties/content/x-template"), "plain");
        assert_eq!(mark("http", "url/x-template"), "url");
        assert_eq!(mark("http", "connection/type"), "string");
        assert_eq!(mark("respond", "async/x-fixed"), true);
        assert_eq!(mark("respond", "status/anyOf/0/type"), "integer");
        for (action, required) in [
            ("create_record", vec!["entity", "fields"]),
            ("send_email", vec!["to", "subject"]),
            ("http", vec!["method", "url"]),
            ("compose", vec!["inputs"]),
        ] {
            let keys = &catalogue.action(action).expect("an action").keys;
            assert_eq!(keys.as_value()["required"], serde_json::json!(required), "{action}");
        }
    }
}

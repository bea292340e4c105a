//! Leaf actions: from rendered inputs to what is to be done. No I/O.
//!
//! A new action is one file here and its line in [`ALL`]: a struct for its keys (serde + schemars), a spec with an
//! example that compiles, and `start`.

pub mod compose;
pub mod create_record;
pub mod delay;
pub mod http;
pub mod respond;
pub mod send_email;

use serde_json::Value;

use crate::clock::Micros;
use crate::connectors::Operation;
use crate::flow::catalogue::{ActionSpec, Catalogue};
use crate::run::Failure;

/// Every leaf action, in the order of the reference.
pub const ALL: &[&dyn Action] = &[
    &create_record::CreateRecord,
    &send_email::SendEmail,
    &http::Http,
    &respond::Respond,
    &compose::Compose,
    &delay::Delay,
];

/// The action type `kind`.
pub fn find(kind: &str) -> Option<&'static dyn Action> {
    ALL.iter().copied().find(|action| action.spec().kind == kind)
}

/// The catalogue of all actions and connectors, for the compiler.
pub fn catalogue() -> Catalogue {
    Catalogue {
        actions: ALL.iter().map(|action| action.spec()).collect(),
        connectors: crate::connectors::ALL.iter().map(|connector| connector.spec()).collect(),
    }
}

/// What an action may know when it starts.
#[derive(Debug, Clone, Copy)]
pub struct StartContext {
    /// Now.
    pub now: Micros,
    /// Whether `url` came from a value as a whole.
    pub url_from_value: bool,
    /// Whether every value from outside that the guarded key uses is null or blank (and there is at least one).
    pub guard_blank: bool,
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
    /// From rendered inputs (the action's own keys without `connection`) to what is to be done.
    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure>;
}

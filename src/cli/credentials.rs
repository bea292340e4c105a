//! The kinds of `auth` of connections, from the connectors' own declarations.

use serde_json::Value;

use super::keys::{self, Key};
use crate::flow::catalogue::ConnectorSpec;

/// One kind of `auth`.
pub(super) struct AuthKind {
    /// `basic`.
    pub(super) name: String,
    /// What it is.
    pub(super) doc: String,
    /// Its keys beside `type`.
    pub(super) keys: Vec<Key>,
    /// The types of connection that take it.
    pub(super) connections: Vec<String>,
}

/// Every kind that has keys of its own, each once, in the order in which the connectors declare them.
pub(super) fn kinds(connectors: &[ConnectorSpec]) -> Vec<AuthKind> {
    let mut kinds: Vec<AuthKind> = Vec::new();
    for spec in connectors {
        let auth = &spec.settings.as_value()["properties"]["auth"];
        for (name, variant) in keys::choices(auth) {
            let own: Vec<Key> = keys::of(variant).into_iter().filter(|key| key.name != "type").collect();
            match kinds.iter_mut().find(|kind| kind.name == name) {
                Some(known) => known.connections.push(spec.kind.to_string()),
                None if own.is_empty() => {}
                None => kinds.push(AuthKind {
                    name: name.to_owned(),
                    doc: variant.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " "),
                    keys: own,
                    connections: vec![spec.kind.to_string()],
                }),
            }
        }
    }
    kinds
}

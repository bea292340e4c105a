//! Layers of settings: the built-in defaults, `leadflow.yaml`, the overlay of `--env`.
//!
//! Maps are laid over by key; scalars, lists and each connection or secret are replaced whole; null goes back to the
//! default. Every node remembers the layer that it came from.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::diagnostic::Place;
use crate::yaml::{Doc, child};

/// Several documents seen as one.
#[derive(Debug)]
pub(super) struct Layers {
    /// The documents, lowest first; the first one holds the defaults.
    docs: Vec<Doc>,
    /// What they give together.
    pub value: Value,
    /// JSON pointer to the document that a node comes from.
    from: HashMap<String, usize>,
}

impl Layers {
    /// Lays `docs` over each other; the first one holds the defaults.
    pub(super) fn new(docs: Vec<Doc>) -> Self {
        let mut layers = Self { docs: Vec::new(), value: Value::Object(Map::new()), from: HashMap::new() };
        for doc in docs {
            let upper = doc.value.clone();
            layers.docs.push(doc);
            let mut value = std::mem::take(&mut layers.value);
            layers.lay("", &mut value, upper);
            layers.value = value;
        }
        layers
    }

    /// The number of the layer that `pointer` (or its nearest parent) comes from; 0: the defaults.
    pub(super) fn layer(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(layer) = self.from.get(pointer) {
                return *layer;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return 0,
            }
        }
    }

    /// The built-in value at `pointer`; null where there is none.
    pub(super) fn default_at(&self, pointer: &str) -> Value {
        self.docs[0].value.pointer(pointer).cloned().unwrap_or_default()
    }

    /// The place of the key at `pointer`.
    pub(super) fn key_place(&self, pointer: &str) -> Place {
        self.docs[self.layer(pointer)].key_place(pointer)
    }

    /// The place of the value at `pointer`.
    pub(super) fn value_place(&self, pointer: &str) -> Place {
        self.docs[self.layer(pointer)].value_place(pointer)
    }

    fn lay(&mut self, pointer: &str, lower: &mut Value, upper: Value) {
        let layer = self.docs.len() - 1;
        if upper.is_null() && !pointer.is_empty() {
            self.reset(pointer, lower);
            return;
        }
        match (lower, upper) {
            (_, Value::Null) => {}
            (Value::Object(lower), Value::Object(upper)) if !self.replaced_whole(pointer) => {
                self.from.insert(pointer.to_owned(), layer);
                for (key, value) in upper {
                    let at = child(pointer, &key);
                    self.lay(&at, lower.entry(key).or_insert(Value::Null), value);
                }
            }
            (lower, upper) => {
                let below = format!("{pointer}/");
                self.from.retain(|at, _| !at.starts_with(&below));
                self.note(pointer, &upper, layer);
                *lower = upper;
            }
        }
    }

    /// Null: the default again, wherever there is one.
    fn reset(&mut self, pointer: &str, lower: &mut Value) {
        let below = format!("{pointer}/");
        self.from.retain(|at, _| !at.starts_with(&below));
        if let Some(default) = self.docs[0].value.pointer(pointer).cloned() {
            self.note(pointer, &default, 0);
            *lower = default;
        } else {
            self.from.insert(pointer.to_owned(), self.docs.len() - 1);
            *lower = Value::Null;
        }
    }

    fn note(&mut self, pointer: &str, value: &Value, layer: usize) {
        self.from.insert(pointer.to_owned(), layer);
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.note(&child(pointer, key), value, layer);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.note(&child(pointer, &index.to_string()), value, layer);
                }
            }
            _ => {}
        }
    }

    /// Each connection and secret, and the default connections once the user names any.
    fn replaced_whole(&self, pointer: &str) -> bool {
        match pointer.strip_prefix("/connections").or_else(|| pointer.strip_prefix("/secrets")) {
            Some("") => self.docs.len() > 1 && self.layer(pointer) == 0,
            Some(rest) => rest.starts_with('/') && rest.matches('/').count() == 1,
            None => false,
        }
    }
}

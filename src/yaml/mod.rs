//! YAML into JSON with a place for every key and value; all findings at once, never only the first.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Place};

/// Byte ranges of one node in the text. `key` is absent for list items and the root.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// The key's bytes.
    pub key: Option<std::ops::Range<usize>>,
    /// The value's bytes (scalars exact, quotes included; maps and lists may give only their start).
    pub value: std::ops::Range<usize>,
}

/// A parsed file: its JSON value and where each node stands. Nodes are named by JSON pointer (`/actions/0/name`).
#[derive(Debug, Clone)]
pub struct Doc {
    /// The path as the user knows it.
    pub file: String,
    /// The whole text.
    pub text: Arc<str>,
    /// The document as JSON.
    pub value: Value,
    /// JSON pointer to byte ranges.
    pub nodes: HashMap<String, Located>,
}

/// Parses `text`. The document is there whenever there was no syntax error (duplicate keys, unquoted `{{` and
/// the like are findings beside it).
pub fn parse(file: &str, text: &str) -> (Option<Doc>, Vec<Diagnostic>) {
    let _ = (file, text);
    unimplemented!()
}

impl Doc {
    /// The place of the key at `pointer` (of the value, where there is no key).
    pub fn key_place(&self, pointer: &str) -> Place {
        let _ = pointer;
        unimplemented!()
    }

    /// The place of the value at `pointer`; of its nearest existing parent when there is none.
    pub fn value_place(&self, pointer: &str) -> Place {
        let _ = pointer;
        unimplemented!()
    }

    /// The place of `range` (bytes within the *decoded* scalar at `pointer`): exact for plain, quoted and block
    /// scalars, the scalar's start where it cannot be told.
    pub fn place_within(&self, pointer: &str, range: std::ops::Range<usize>) -> Place {
        let _ = (pointer, range);
        unimplemented!()
    }
}

/// `/actions/0/fields/a~1b` as people write it: `actions[0].fields.a/b`.
pub fn dotted(pointer: &str) -> String {
    let _ = pointer;
    unimplemented!()
}

/// Appends one segment to a JSON pointer, escaping `~` and `/`.
pub fn child(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

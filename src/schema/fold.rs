//! Lenient reading: keys take the schema's spelling, null counts as missing where the schema refuses it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::views::Views;
use super::{BodyError, NOTES_MAX};

/// `body` as the schema spells it, with a note for every key that could not be folded.
pub(super) fn fold(schema: &Value, body: Value) -> (Value, Vec<BodyError>) {
    let mut folder = Folder { root: schema, notes: Vec::new(), pointer: String::new() };
    let body = folder.value(&Views::root(schema), body);
    (body, folder.notes)
}

/// The names of one place's properties, to be found in any case: bodies may have many keys.
struct Spellings<'s> {
    names: HashSet<&'s str>,
    folded: HashMap<String, &'s str>,
}

impl<'s> Spellings<'s> {
    fn new(views: &Views<'s>) -> Self {
        let mut folded = HashMap::new();
        for name in views.names() {
            folded.entry(name.to_lowercase()).or_insert(name);
        }
        Self { names: views.names().collect(), folded }
    }

    /// The name that `key` means: itself, or one that differs only in case.
    fn of(&self, key: &str) -> Option<&'s str> {
        self.names.get(key).or_else(|| self.folded.get(&key.to_lowercase())).copied()
    }
}

struct Folder<'s> {
    root: &'s Value,
    notes: Vec<BodyError>,
    pointer: String,
}

impl<'s> Folder<'s> {
    fn value(&mut self, views: &Views<'s>, value: Value) -> Value {
        if views.parts.is_empty() {
            return value;
        }
        match value {
            Value::Object(object) => Value::Object(self.object(views, object)),
            Value::Array(items) => {
                let fold = |(index, item): (usize, Value)| {
                    let views = views.item(self.root, index);
                    self.within(&index.to_string(), |folder| folder.value(&views, item))
                };
                Value::Array(items.into_iter().enumerate().map(fold).collect())
            }
            other => other,
        }
    }

    fn object(&mut self, views: &Views<'s>, mut object: Map<String, Value>) -> Map<String, Value> {
        let spellings = Spellings::new(views);
        // First, so that a null that counts as missing keeps its name from no other spelling.
        object.retain(|key, value| {
            !value.is_null() || !views.property(self.root, spellings.of(key).unwrap_or(key)).refuses_null()
        });
        // An exact match wins over every other spelling, wherever it stands.
        let mut taken: HashSet<&str> =
            spellings.names.iter().copied().filter(|name| object.contains_key(*name)).collect();
        let mut folded = Map::with_capacity(object.len());
        for (key, value) in object {
            let name = match spellings.of(&key) {
                Some(name) if name == key => key,
                Some(name) if taken.insert(name) => name.to_owned(),
                Some(name) => {
                    self.note(&key, name);
                    key
                }
                None => key,
            };
            let views = views.property(self.root, &name);
            let value = self.within(&name, |folder| folder.value(&views, value));
            folded.insert(name, value);
        }
        folded
    }

    fn within<T>(&mut self, segment: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        let result = run(self);
        self.pointer.truncate(length);
        result
    }

    /// Notes that `key` was left as it is, since another key means `name` already.
    fn note(&mut self, key: &str, name: &str) {
        if self.notes.len() < NOTES_MAX {
            let pointer = self.within(key, |folder| folder.pointer.clone());
            let message = format!("differs only in case from another key that is read as `{name}`; both are kept");
            self.notes.push(BodyError { pointer, message });
        }
    }
}

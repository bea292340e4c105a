//! Keys of a declaration as people read them: name, whether it is needed, what it means.

use serde_json::Value;

/// One key.
pub(super) struct Key {
    /// `limits.body`.
    pub(super) name: String,
    /// Whether it must be given.
    pub(super) is_required: bool,
    /// Whether a later version brings it.
    pub(super) is_later: bool,
    /// Its documentation, on one line.
    pub(super) doc: String,
}

impl Key {
    /// `required`, `later` or nothing.
    pub(super) fn need(&self) -> &'static str {
        match (self.is_later, self.is_required) {
            (true, _) => "later",
            (false, true) => "required",
            (false, false) => "",
        }
    }

    /// The rows of a table of `keys`.
    pub(super) fn rows(keys: &[Self]) -> Vec<Vec<String>> {
        keys.iter().map(|key| vec![key.name.clone(), key.need().to_owned(), key.doc.clone()]).collect()
    }
}

/// The keys that `schema` declares.
pub(super) fn of(schema: &Value) -> Vec<Key> {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let key = |(name, property): (&String, &Value)| Key {
        name: name.clone(),
        is_required: required.contains(&name.as_str()),
        is_later: property.get("x-not-yet").is_some(),
        doc: doc(property),
    };
    properties.into_iter().flatten().map(key).collect()
}

/// What a key is, and which kinds it may be of.
fn doc(property: &Value) -> String {
    let doc = property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let kinds: Vec<String> = choices(property).map(|(name, _)| format!("`{name}`")).collect();
    if kinds.is_empty() { doc } else { format!("{doc} Its `type` is one of {}.", kinds.join(", ")) }
}

/// The variants of a choice by `type`, by name.
pub(super) fn choices(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let variants = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
    let variants = variants.into_iter().flatten();
    variants.filter_map(|variant| Some((variant["properties"]["type"]["const"].as_str()?, variant)))
}

/// The keys that `schema` declares and those below them, with dots between the names.
pub(super) fn below(schema: &Value) -> Vec<Key> {
    let mut keys = Vec::new();
    for key in of(schema) {
        let inner = if key.is_later { Vec::new() } else { below(&schema["properties"][&key.name]) };
        let name = key.name.clone();
        keys.push(key);
        keys.extend(inner.into_iter().map(|inner| Key { name: format!("{name}.{}", inner.name), ..inner }));
    }
    keys
}

/// The names of the keys that every action has, as far as this version knows them.
pub(super) fn common_names() -> String {
    let keys = of(crate::flow::schema::common_keys());
    let names: Vec<String> = keys.into_iter().filter(|key| !key.is_later).map(|key| key.name).collect();
    names.join(", ")
}

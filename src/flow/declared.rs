//! From a struct to the closed schema that the linter, the editor and the reference read.

use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The schema of the keys that `T` declares: closed as `T` is, without references, and without null, because a key
/// that is there has a value.
pub fn declared<T: JsonSchema>() -> Schema {
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        object.values_mut().for_each(without_null);
    }
    schema
}

/// `Option` adds null to a type, to an enum and to a choice, and a default of null: all of them go.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [kind] = types.as_slice() {
                    let kind = kind.clone();
                    object.insert("type".into(), kind);
                }
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            object.retain(|key, value| key != "default" || !value.is_null());
            object.values_mut().for_each(without_null);
            let null = |choice: &Value| choice.get("type").is_some_and(|kind| kind == "null");
            if let Some(Value::Array(choices)) = object.get_mut("anyOf")
                && choices.iter().any(null)
            {
                choices.retain(|choice| !null(choice));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| {
                        object.entry(key).or_insert(value);
                    });
                }
            }
        }
        _ => {}
    }
}

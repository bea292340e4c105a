//! Objects with one property more, less or changed: `addProperty`, `setProperty`, `removeProperty`.

use serde_json::{Map, Value};

use super::given::weight;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};

/// An object, the name of a property, its value.
const SET: Signature = Signature::takes(&["object", "property", "value"], &[Kind::Object, Kind::SolidText, Kind::Any]);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "addProperty",
        gives: Kind::Object,
        arguments: SET,
        summary: "the object with one property more; fails where it has that property, in any case",
        examples: &[example("{{addProperty trigger.body 'b' 2}}", r#"{"a":1}"#, r#"{"a":1,"b":2}"#)],
        eval: Eval::Strict(add),
        ..PLAIN
    },
    HelperSpec {
        name: "setProperty",
        gives: Kind::Object,
        arguments: SET,
        summary: "the object with the property changed or added; it stands last and keeps the spelling that it had",
        examples: &[
            example("{{setProperty trigger.body 'a' 2}}", r#"{"a":1}"#, r#"{"a":2}"#),
            example("{{string (setProperty trigger.body 'A' 'x')}}", r#"{"a":1,"b":2}"#, r#""{\"b\":2,\"a\":\"x\"}""#),
        ],
        eval: Eval::Strict(set),
        ..PLAIN
    },
    HelperSpec {
        name: "removeProperty",
        gives: Kind::Object,
        arguments: Signature::takes(&["object", "property"], &[Kind::Object, Kind::SolidText]),
        summary: "the object without the property, in any case; nothing changes where it has none",
        examples: &[example(
            "{{removeProperty trigger.body 'Phone'}}",
            r#"{"Name":"A","phone":"1"}"#,
            r#"{"Name":"A"}"#,
        )],
        eval: Eval::Strict(remove),
        ..PLAIN
    },
];

/// The key of `object` that is `name`: an exact match first, else ignoring case.
fn key<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o str> {
    if let Some((key, _)) = object.get_key_value(name) {
        return Some(key);
    }
    let folded = name.to_lowercase();
    object.keys().find(|key| key.to_lowercase() == folded).map(String::as_str)
}

fn add(given: &Given<'_>) -> Result<Value, RenderError> {
    let (object, name) = (given.object(0)?, given.solid_text(1)?);
    if key(object, name).is_some() {
        return Err(given.fail("got an object that has this property already: `setProperty` changes it"));
    }
    with(given, object.clone(), name)
}

fn set(given: &Given<'_>) -> Result<Value, RenderError> {
    let (object, name) = (given.object(0)?, given.solid_text(1)?);
    let name = key(object, name).unwrap_or(name);
    let mut changed = object.clone();
    changed.shift_remove(name);
    with(given, changed, name)
}

/// The object with the third argument as its last property.
fn with(given: &Given<'_>, mut object: Map<String, Value>, name: &str) -> Result<Value, RenderError> {
    given.fits(weight(given.value(0)) + name.len() + weight(given.value(2)))?;
    object.insert(name.to_owned(), given.value(2).clone());
    Ok(Value::Object(object))
}

fn remove(given: &Given<'_>) -> Result<Value, RenderError> {
    let (object, name) = (given.object(0)?, given.solid_text(1)?);
    let mut left = object.clone();
    if let Some(key) = key(object, name) {
        left.shift_remove(key);
    }
    Ok(Value::Object(left))
}

//! Which parts of a schema speak about one place of a body: through `$ref`, `allOf`, `anyOf`, `oneOf`, `if`.

use serde_json::{Map, Value};

/// Most parts that are looked at for one place: schemas that refer to themselves end here.
const VIEWS_MAX: usize = 64;

/// One part of a schema that speaks about a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'s> {
    /// The part.
    pub(super) schema: &'s Value,
    /// Whether a body must fit it: false below `anyOf`, `oneOf` and `if`.
    pub(super) is_binding: bool,
}

/// Everything that speaks about one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Views<'s> {
    /// The parts, those of the schema itself first.
    pub(super) parts: Vec<View<'s>>,
    /// Whether something could not be followed: then anything may be there.
    pub(super) is_open: bool,
}

impl<'s> Views<'s> {
    /// The parts that speak about the same place as the `given` ones.
    pub(super) fn of(root: &'s Value, given: impl IntoIterator<Item = View<'s>>) -> Self {
        let mut views = Self::default();
        for view in given {
            views.add(root, view);
        }
        views
    }

    /// The parts that speak about the whole body.
    pub(super) fn root(root: &'s Value) -> Self {
        Self::of(root, [View { schema: root, is_binding: true }])
    }

    fn add(&mut self, root: &'s Value, view: View<'s>) {
        if self.parts.iter().any(|seen| std::ptr::eq(seen.schema, view.schema)) {
            return;
        }
        let Some(object) = view.schema.as_object() else {
            self.is_open |= view.schema == &Value::Bool(true);
            return;
        };
        if self.parts.len() >= VIEWS_MAX {
            self.is_open = true;
            return;
        }
        self.parts.push(view);
        if let Some(Value::String(reference)) = object.get("$ref") {
            match resolve(root, reference) {
                Some(schema) => self.add(root, View { schema, ..view }),
                None => self.is_open = true,
            }
        }
        self.is_open |= ["$dynamicRef", "$recursiveRef"].iter().any(|key| object.contains_key(*key));
        for schema in list(object, "allOf") {
            self.add(root, View { schema, ..view });
        }
        for schema in ["anyOf", "oneOf"].into_iter().flat_map(|key| list(object, key)) {
            self.add(root, View { schema, is_binding: false });
        }
        for schema in ["then", "else"].into_iter().filter_map(|key| object.get(key)) {
            self.add(root, View { schema, is_binding: false });
        }
    }

    /// Every name that they give to properties, in the schema's order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'s str> {
        self.parts.iter().flat_map(|view| properties(view.schema)).map(|(name, _)| name.as_str())
    }

    /// The name that means `name`: the same one, or one that differs only in case.
    pub(super) fn spelling(&self, name: &str) -> Option<&'s str> {
        self.names().find(|known| *known == name).or_else(|| {
            let folded = name.to_lowercase();
            self.names().find(|known| known.to_lowercase() == folded)
        })
    }

    /// What speaks about the property `name` (exact).
    pub(super) fn property(&self, root: &'s Value, name: &str) -> Self {
        let of = |view: &View<'s>| {
            let object = view.schema.as_object()?;
            let named = object.get("properties").and_then(|properties| properties.get(name));
            let schema = named.or_else(|| object.get("additionalProperties").filter(|rest| rest.is_object()))?;
            Some(View { schema, is_binding: view.is_binding })
        };
        Self::of(root, self.parts.iter().filter_map(of))
    }

    /// What speaks about the item at `index`.
    pub(super) fn item(&self, root: &'s Value, index: usize) -> Self {
        let of = |view: &View<'s>| {
            let object = view.schema.as_object()?;
            let tuple = object.get("prefixItems").or_else(|| object.get("items").filter(|items| items.is_array()));
            let rest = || {
                let key =
                    if object.contains_key("prefixItems") || tuple.is_none() { "items" } else { "additionalItems" };
                object.get(key).filter(|items| !items.is_array())
            };
            let schema = tuple.and_then(|tuple| tuple.get(index)).or_else(rest)?;
            Some(View { schema, is_binding: view.is_binding })
        };
        Self::of(root, self.parts.iter().filter_map(of))
    }

    /// Whether a body may not hold null here.
    pub(super) fn refuses_null(&self) -> bool {
        let refuses = |view: &View<'_>| refuses_null(view.schema);
        let loose: Vec<bool> = self.parts.iter().filter(|view| !view.is_binding).map(refuses).collect();
        self.parts.iter().any(|view| view.is_binding && refuses(view))
            || (!loose.is_empty() && loose.iter().all(|refused| *refused))
    }
}

/// Whether one part by itself refuses null.
fn refuses_null(schema: &Value) -> bool {
    let by_type = match schema.get("type") {
        Some(Value::String(kind)) => kind != "null",
        Some(Value::Array(kinds)) => !kinds.iter().any(|kind| kind == "null"),
        _ => false,
    };
    let by_values = schema.get("enum").and_then(Value::as_array).is_some_and(|values| !values.contains(&Value::Null));
    let by_value = schema.get("const").is_some_and(|value| !value.is_null());
    by_type || by_values || by_value
}

/// The properties that one part names.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn list<'s>(object: &'s Map<String, Value>, key: &str) -> impl Iterator<Item = &'s Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// What a `$ref` within the schema points to: a JSON pointer, an anchor, or an id.
fn resolve<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    match reference.strip_prefix('#') {
        Some("") => Some(root),
        Some(pointer) if pointer.starts_with('/') => {
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
            root.pointer(&pointer)
        }
        Some(anchor) => find(root, &|schema| {
            schema.get("$anchor").is_some_and(|name| name == anchor)
                || ["id", "$id"].iter().any(|key| schema.get(key).is_some_and(|id| id == reference))
        }),
        None => find(root, &|schema| ["id", "$id"].iter().any(|key| schema.get(key).is_some_and(|id| id == reference))),
    }
}

/// The first object in `value` that `is_it`.
fn find<'s>(value: &'s Value, is_it: &dyn Fn(&Value) -> bool) -> Option<&'s Value> {
    match value {
        Value::Object(object) if is_it(value) && !object.is_empty() => Some(value),
        Value::Object(object) => object.values().find_map(|inner| find(inner, is_it)),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, is_it)),
        _ => None,
    }
}

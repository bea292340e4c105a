//! Values of a connector file whose texts may be templates: bodies, queries, headers.

use serde_json::{Map, Value};

use crate::template::{Destination, RenderError, Scope, Template, Vocabulary};

/// A map with this key is a list: its value for each item.
pub(super) const EACH: &str = "$each";
/// What there is for each item.
pub(super) const DO: &str = "$do";

/// A value with compiled templates in the place of texts.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A constant, kept with its YAML type.
    Constant(Value),
    /// A text with `{{`.
    Template(Box<Template>),
    /// A list.
    List(Vec<Shape>),
    /// An object, in the order of the file.
    Object(Vec<(String, Shape)>),
    /// A value for each item of a list.
    Each(Box<Template>, Box<Shape>),
}

impl Shape {
    /// The shape that `value` says. Templates that do not compile were told by the check and count as null.
    pub(super) fn new(value: &Value) -> Self {
        match value {
            Value::String(text) if crate::template::is_template(text) => match template(text, Destination::Plain) {
                Some(template) => Self::Template(Box::new(template)),
                None => Self::Constant(Value::Null),
            },
            Value::Array(items) => Self::List(items.iter().map(Self::new).collect()),
            Value::Object(entries) => match (entries.get(EACH).and_then(Value::as_str), entries.get(DO)) {
                (Some(list), Some(body)) => match template(list, Destination::Plain) {
                    Some(list) => Self::Each(Box::new(list), Box::new(Self::new(body))),
                    None => Self::Constant(Value::Null),
                },
                _ => Self::Object(entries.iter().map(|(key, value)| (key.clone(), Self::new(value))).collect()),
            },
            constant => Self::Constant(constant.clone()),
        }
    }

    /// The value over `scope`.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<Value, RenderError> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Template(template) => template.render(scope)?,
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Self::Each(..) => match item.render(scope)? {
                            Value::Array(more) => list.extend(more),
                            other => list.push(other),
                        },
                        one => list.push(one.render(scope)?),
                    }
                }
                Value::Array(list)
            }
            Self::Object(entries) => Value::Object(object(entries, scope)?),
            Self::Each(list, body) => Value::Array(each(list, body, scope)?),
        })
    }
}

/// The members, without those that their template leaves null or their `$each` leaves empty.
fn object(entries: &[(String, Shape)], scope: &Scope<'_>) -> Result<Map<String, Value>, RenderError> {
    let mut object = Map::with_capacity(entries.len());
    for (key, shape) in entries {
        let value = shape.render(scope)?;
        let is_left_out = match shape {
            Shape::Template(_) => value.is_null(),
            Shape::Each(..) => value.as_array().is_none_or(Vec::is_empty),
            _ => false,
        };
        if !is_left_out {
            object.insert(key.clone(), value);
        }
    }
    Ok(object)
}

fn each(list: &Template, body: &Shape, scope: &Scope<'_>) -> Result<Vec<Value>, RenderError> {
    let items = match list.render(scope)? {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => {
            let message = format!("`{EACH}` wants a list, not {}", crate::template::kind_of(&other));
            return Err(RenderError::new("template_failed", message));
        }
    };
    let render = |(index, item): (usize, &Value)| {
        let index = Value::from(index);
        body.render(&Scope { item: Some(item), item_index: Some(&index), ..*scope })
    };
    items.iter().enumerate().map(render).collect()
}

/// A template of a connector file; `None` where it does not compile.
pub(super) fn template(text: &str, destination: Destination) -> Option<Template> {
    Template::compile_for(text, destination, Vocabulary::Connector).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::Limits;

    fn rendered(shape: &Value, values: &Value) -> Value {
        let scope = Scope::of_connector(values, 0, Limits::default());
        Shape::new(shape).render(&scope).expect("renders")
    }

    #[test]
    fn values_keep_their_types_and_what_is_null_is_left_out() {
        let shape = json!({"a": "{{fields.n}}", "b": "{{fields.gone}}", "c": null, "d": "x{{fields.n}}", "e": [1, "{{fields}}"]});
        let values = json!({"fields": {"n": 7}});
        assert_eq!(rendered(&shape, &values), json!({"a": 7, "c": null, "d": "x7", "e": [1, {"n": 7}]}));
    }

    #[test]
    fn lists_are_made_of_lists() {
        let shape = json!({
            "to": {"$each": "{{key}}", "$do": {"n": "{{item.field}}", "i": "{{item_index}}"}},
            "none": {"$each": "{{where}}", "$do": 1},
            "domain": [["fixed"], {"$each": "{{key}}", "$do": ["{{item.field}}", "=", "{{item.value}}"]}],
            "empty": [{"$each": "{{where}}", "$do": 1}],
        });
        let values = json!({"key": [{"field": "a", "value": 1}], "where": []});
        let expected = json!({"to": [{"n": "a", "i": 0}], "domain": [["fixed"], ["a", "=", 1]], "empty": []});
        assert_eq!(rendered(&shape, &values), expected);
    }

    #[test]
    fn a_value_is_never_a_template() {
        let values = json!({"fields": {"n": "{{settings.token}} ' or 1=1"}, "settings": {"token": "t"}});
        assert_eq!(rendered(&json!(["{{fields.n}}"]), &values), json!(["{{settings.token}} ' or 1=1"]));
    }
}

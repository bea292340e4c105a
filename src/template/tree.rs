//! A YAML value whose texts may be templates: `fields:`, `body:`, `headers:` and so on.

use serde_json::{Map, Value};

use super::{PathRef, RenderError, Scope, Template};

/// A JSON value with compiled templates in the place of texts.
#[derive(Debug, Clone)]
pub enum Tree {
    /// A constant: kept with its YAML type.
    Constant(Value),
    /// A text with `{{`.
    Template(Box<Template>),
    /// A list.
    List(Vec<Tree>),
    /// An object, in the order of the file. Keys are never templates.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Renders every template in it.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, RenderError> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Template(template) => template.render(scope)?,
            Self::List(items) => Value::Array(items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>()?),
            Self::Object(entries) => {
                let mut object = Map::with_capacity(entries.len());
                for (key, tree) in entries {
                    object.insert(key.clone(), tree.render(scope)?);
                }
                Value::Object(object)
            }
        })
    }

    /// Calls `visit` with every template in it.
    pub fn each_template<'a>(&'a self, visit: &mut dyn FnMut(&'a Template)) {
        match self {
            Self::Constant(_) => {}
            Self::Template(template) => visit(template),
            Self::List(items) => items.iter().for_each(|item| item.each_template(visit)),
            Self::Object(entries) => entries.iter().for_each(|(_, tree)| tree.each_template(visit)),
        }
    }

    /// Every path that any of its templates reads.
    pub fn paths(&self) -> Vec<PathRef> {
        let mut paths = Vec::new();
        self.each_template(&mut |template| paths.extend(template.paths()));
        paths
    }

    /// Whether any of its templates is volatile.
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.each_template(&mut |template| volatile |= template.is_volatile());
        volatile
    }

    /// The entry `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Self::Object(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, tree)| tree),
            _ => None,
        }
    }
}

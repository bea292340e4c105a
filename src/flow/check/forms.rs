//! The form of values that only a run knows: what an action gives, what a loop's item is. As far as the flow tells.
//!
//! Promise: where a form says that something is missing, a run would find null there; what is not known is `Any`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::references::Names;
use crate::diagnostic::nearest;
use crate::flow::plan::{Kind, NodeId, Plan};
use crate::schema::{BodySchema, PathAnswer};
use crate::template::{Tree, kind_of};

/// What is known of a value.
#[derive(Debug, Clone, Default)]
pub(super) enum Form {
    /// Nothing.
    #[default]
    Any,
    /// A text, a number, a boolean: `a text`.
    Scalar(&'static str),
    /// An object with these members and no others.
    Object(Vec<(String, Form)>),
    /// A list of such items.
    List(Box<Form>),
    /// What a schema says of the place that a path leads to.
    Schema(Arc<BodySchema>, Vec<String>),
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// What is wrong.
    pub(super) message: String,
    /// What is there.
    pub(super) help: Option<String>,
    /// A schema that refuses other fields: then the value can never be there.
    pub(super) is_closed: bool,
}

impl Form {
    /// The form of a constant.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Any,
            Value::Array(items) => Self::list_of(items.iter().map(Self::of_value)),
            Value::Object(entries) => {
                Self::Object(entries.iter().map(|(key, value)| (key.clone(), Self::of_value(value))).collect())
            }
            scalar => Self::Scalar(kind_of(scalar)),
        }
    }

    /// The form of what a tree renders to.
    pub(super) fn of_tree(tree: &Tree, names: &Names<'_>) -> Self {
        match tree {
            Tree::Constant(value) => Self::of_value(value),
            Tree::List(items) => Self::list_of(items.iter().map(|item| Self::of_tree(item, names))),
            Tree::Object(entries) => {
                Self::Object(entries.iter().map(|(key, tree)| (key.clone(), Self::of_tree(tree, names))).collect())
            }
            Tree::Template(template) if !template.is_lone_expression() => Self::Scalar("a text"),
            Tree::Template(template) => template.lone_path().map(|path| names.form(&path)).unwrap_or_default(),
        }
    }

    /// A list of items whose forms may differ: what one of them has, an item may have.
    fn list_of(items: impl Iterator<Item = Self>) -> Self {
        let mut items: Vec<Self> = items.collect();
        if items.len() < 2 {
            return Self::List(Box::new(items.pop().unwrap_or_default()));
        }
        let mut members: Vec<(String, Self)> = Vec::new();
        for item in items {
            let Self::Object(entries) = item else { return Self::List(Box::default()) };
            for (key, _) in entries {
                if !members.iter().any(|(known, _)| *known == key) {
                    members.push((key, Self::Any));
                }
            }
        }
        Self::List(Box::new(Self::Object(members)))
    }

    /// The form of an item of it.
    pub(super) fn item(&self) -> Self {
        match self {
            Self::List(item) => (**item).clone(),
            Self::Schema(schema, path) => {
                let path: Vec<String> = path.iter().cloned().chain(["0".to_owned()]).collect();
                match schema.path(&path) {
                    PathAnswer::Known => Self::Schema(Arc::clone(schema), path),
                    _ => Self::Any,
                }
            }
            _ => Self::Any,
        }
    }

    /// The form at `rest` behind it; `shown` is how messages name it: `actions.a.outputs`.
    pub(super) fn walk(&self, rest: &[&str], shown: &str) -> Result<Self, Missing> {
        let Some((first, behind)) = rest.split_first() else { return Ok(self.clone()) };
        let deeper = || format!("{shown}.{first}");
        let missing = |message: String, help: Option<String>| Err(Missing { message, help, is_closed: false });
        match self {
            Self::Any => Ok(Self::Any),
            Self::Scalar(what) => missing(format!("`{shown}` is {what}: it has no `{first}`"), None),
            Self::List(item) => match first.parse::<usize>() {
                Ok(_) => item.walk(behind, &format!("{shown}.[{first}]")),
                Err(_) => missing(
                    format!("`{shown}` is a list: it has no `{first}`"),
                    Some(format!("one item is  {shown}.[0]; `for_each` goes through all of them")),
                ),
            },
            Self::Object(members) => {
                let exact = members.iter().find(|(key, _)| key == first);
                let found = exact.or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(first)));
                if let Some((_, form)) = found {
                    return form.walk(behind, &deeper());
                }
                let names: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
                let near = nearest(first, names.iter().copied());
                let near = near.map(|near| format!("; did you mean `{shown}.{near}`?")).unwrap_or_default();
                missing(format!("`{shown}` has no `{first}`{near}"), Some(format!("it has: {}", names.join(" "))))
            }
            Self::Schema(schema, path) => {
                let whole: Vec<String> = path.iter().cloned().chain(rest.iter().map(|&name| name.to_owned())).collect();
                let (near, is_closed) = match schema.path(&whole) {
                    PathAnswer::Known => return Ok(Self::Schema(Arc::clone(schema), whole)),
                    PathAnswer::Unknown(near) => (near, false),
                    PathAnswer::Closed(near) => (near, true),
                };
                let near = near.and_then(|near| below(&near, path.len()).map(str::to_owned));
                let near = near.map(|near| format!("; did you mean {shown}.{near}?")).unwrap_or_default();
                let refuses = if is_closed { ", which refuses other fields" } else { "" };
                let message = format!("{shown}.{} is not in {}{refuses}{near}", rest.join("."), schema.name);
                Err(Missing { message, help: None, is_closed })
            }
        }
    }
}

/// What follows the first `count` parts of a dotted path.
fn below(path: &str, count: usize) -> Option<&str> {
    if count == 0 { Some(path) } else { path.splitn(count + 1, '.').nth(count) }
}

/// What is known of the values of a flow, filled in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    /// What each leaf gives, by node.
    pub(super) outputs: BTreeMap<NodeId, Form>,
    /// The items of each `for_each`, by node.
    pub(super) items: BTreeMap<NodeId, Form>,
    /// The graph.
    pub(super) graph: Plan,
}

impl Forms {
    /// What an action gives.
    pub(super) fn of(&self, id: NodeId) -> Form {
        match self.graph.nodes.get(id).map(|node| node.kind) {
            Some(Kind::Each { .. }) => {
                let last = self.graph.block(Some(id), 0).last();
                Form::List(Box::new(last.map(|last| self.of(*last)).unwrap_or_default()))
            }
            Some(Kind::Scope) => {
                let members = ["name", "status", "outputs", "error"].map(|name| (name.to_owned(), Form::Any));
                let result = Form::List(Box::new(Form::Object(members.to_vec())));
                Form::Object(vec![("result".to_owned(), result)])
            }
            _ => self.outputs.get(&id).cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(form: &Form, path: &str) -> Option<String> {
        let rest: Vec<&str> = path.split('.').collect();
        form.walk(&rest, "x").err().map(|missing| missing.message)
    }

    #[test]
    fn constants_are_known_to_the_last_member() {
        let form = Form::of_value(&json!({"a": {"Name": 1}, "list": [{"b": 1}, {"c": [1]}], "none": null}));
        for known in ["a", "a.name", "list.0.b", "list.7.C", "list.1.c.0.d", "none.of.it"] {
            assert_eq!(told(&form, known), None, "{known}");
        }
        assert_eq!(told(&form, "a.nmae").as_deref(), Some("`x.a` has no `nmae`; did you mean `x.a.Name`?"));
        assert_eq!(told(&form, "a.name.first").as_deref(), Some("`x.a.name` is a number: it has no `first`"));
        assert_eq!(told(&form, "list.b").as_deref(), Some("`x.list` is a list: it has no `b`"));
        assert_eq!(told(&form, "list.0.d").as_deref(), Some("`x.list.[0]` has no `d`"));
    }

    #[test]
    fn items_follow_the_schema() {
        let source = json!({"properties": {
            "Contacts": {"type": "array", "items": {"properties": {"Name": {}, "Mail": {}}}},
            "Closed": {"type": "array", "items": {"properties": {"A": {}}, "additionalProperties": false}},
            "Open": {"type": "array"},
        }});
        let schema = Arc::new(BodySchema::compile("lead.json", &source).expect("a schema"));
        let items = |name: &str| Form::Schema(Arc::clone(&schema), vec![name.to_owned()]).item();
        assert_eq!(told(&items("Contacts"), "name"), None);
        let wrong = told(&items("Contacts"), "Nmae");
        assert_eq!(wrong.as_deref(), Some("x.Nmae is not in lead.json; did you mean x.Name?"));
        assert!(items("Closed").walk(&["B"], "x").is_err_and(|missing| missing.is_closed));
        assert_eq!(told(&items("Open"), "anything"), None);
    }
}

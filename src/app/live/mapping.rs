//! What a flow writes into an entity, with a place for every field of the flow file (or of its blueprint).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Place};
use crate::flow::{Action, Flow};
use crate::library::load::Loaded;
use crate::template::{Limits, Scope, Template, Tree};
use crate::yaml::{self, Doc, child, dotted};

/// One record action of a flow.
pub(super) struct Mapping {
    /// The connection's name.
    pub(super) connection: String,
    /// The entity.
    pub(super) entity: String,
    /// What the action does.
    pub(super) does: Does,
    /// What it sets.
    pub(super) fields: Vec<Field>,
    /// The fields that it looks by or asks for.
    pub(super) names: Vec<Named>,
    /// Where the action is.
    doc: Arc<Doc>,
    pointer: String,
}

/// What a record action does with the fields that it sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Create,
    Update,
    Upsert,
    Read,
}

/// A field that is set.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) sets: Sets,
    pointer: String,
}

/// What a field is set to, as far as it is known before a lead comes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sets {
    /// This value, whatever the lead is.
    Constant(Value),
    /// Some text.
    Text,
    /// A list or an object.
    Nested,
    /// Anything.
    Anything,
}

/// A field that is named: in a key, a condition, a selection.
pub(super) struct Named {
    pub(super) name: String,
    pointer: String,
}

/// The record actions of a file's flow.
pub(super) fn of(loaded: &Loaded) -> Vec<Mapping> {
    let Some(flow) = &loaded.flow else { return Vec::new() };
    let (file, text) = match &flow.bundle.blueprint {
        Some(blueprint) => (&blueprint.file, &blueprint.text),
        None => (&flow.bundle.file, &flow.bundle.text),
    };
    let Some(doc) = yaml::parse(file, text).0.map(Arc::new) else { return Vec::new() };
    flow.actions.iter().filter_map(|action| one(flow, action, &doc)).collect()
}

/// The connections that the flows use.
pub(super) fn connections(flows: &[Arc<Loaded>]) -> BTreeSet<&str> {
    let flows = flows.iter().filter_map(|loaded| loaded.flow.as_deref());
    flows.flat_map(|flow| &flow.actions).filter_map(|action| action.connection.as_deref()).collect()
}

fn one(flow: &Flow, action: &Action, doc: &Arc<Doc>) -> Option<Mapping> {
    let does = match action.kind.as_str() {
        "create_record" => Does::Create,
        "update_record" => Does::Update,
        "upsert_record" => Does::Upsert,
        "get_record" | "list_records" => Does::Read,
        _ => return None,
    };
    let entity = entries(&action.inputs).into_iter().find_map(|(key, value)| match value {
        Part::Constant(Value::String(entity)) if key == "entity" => Some(entity),
        _ => None,
    })?;
    let pointer = find(&doc.value, "", &action.name)?;
    let mut mapping = Mapping {
        connection: action.connection.clone()?,
        entity,
        does,
        fields: Vec::new(),
        names: Vec::new(),
        doc: Arc::clone(doc),
        pointer,
    };
    for (key, part) in entries(&action.inputs) {
        let below = child(&mapping.pointer, &key);
        match key.as_str() {
            "fields" => mapping.fields = fields(flow, &part, &below),
            "key" | "where" | "select" | "order_by" => mapping.names.extend(names(&part, &below)),
            _ => {}
        }
    }
    Some(mapping)
}

fn fields(flow: &Flow, part: &Part<'_>, pointer: &str) -> Vec<Field> {
    let one = |(name, part): (String, Part<'_>)| {
        let pointer = child(pointer, &name);
        let sets = match part {
            Part::Constant(Value::Object(_) | Value::Array(_)) | Part::Object(_) | Part::List => Sets::Nested,
            Part::Constant(value) => Sets::Constant(value),
            Part::Template(template) => rendered(flow, template),
        };
        Field { name, sets, pointer }
    };
    part.entries().into_iter().map(one).collect()
}

/// A template that reads nothing but parameters is a constant; one with text round its expressions gives text.
fn rendered(flow: &Flow, template: &Template) -> Sets {
    let paths = template.paths();
    if !paths.is_empty() && paths.iter().all(|path| path.root.eq_ignore_ascii_case("parameters")) {
        let none = Value::Null;
        let scope = Scope {
            trigger: &none,
            actions: &none,
            inner_actions: &[],
            parameters: &flow.parameters,
            variables: &none,
            run: &none,
            flow: &none,
            environment: &none,
            item: None,
            item_index: None,
            loops: &none,
            now: 0,
            limits: Limits::default(),
        };
        if let (false, Ok(value)) = (template.is_volatile(), template.render(&scope)) {
            return Sets::Constant(value);
        }
    }
    if template.is_lone_expression() { Sets::Anything } else { Sets::Text }
}

/// The names in a map, a list or a text with commas; those with a direction (`createdon desc`) without it.
fn names(part: &Part<'_>, pointer: &str) -> Vec<Named> {
    let bare = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    let named = |name: String, pointer: String| Named { name, pointer };
    let listed = |value: &Value, pointer: &str| -> Vec<Named> {
        let text = |value: &Value| value.as_str().map(bare);
        match value {
            Value::String(text) => text.split(',').map(|name| named(bare(name), pointer.to_owned())).collect(),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.filter_map(|(n, item)| Some(named(text(item)?, child(pointer, &n.to_string())))).collect()
            }
            _ => Vec::new(),
        }
    };
    let found = match part {
        Part::Constant(value) if !value.is_object() => listed(value, pointer),
        _ => part.entries().into_iter().map(|(name, _)| named(name.clone(), child(pointer, &name))).collect(),
    };
    found.into_iter().filter(|named| !named.name.is_empty()).collect()
}

/// One level of a tree, whether it holds templates or not.
enum Part<'a> {
    Constant(Value),
    Template(&'a Template),
    Object(&'a Tree),
    List,
}

impl Part<'_> {
    fn entries(&self) -> Vec<(String, Part<'_>)> {
        match self {
            Self::Object(tree) => entries(tree),
            Self::Constant(Value::Object(fields)) => {
                fields.iter().map(|(name, value)| (name.clone(), Part::Constant(value.clone()))).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn entries(tree: &Tree) -> Vec<(String, Part<'_>)> {
    match tree {
        Tree::Object(entries) => entries.iter().map(|(name, tree)| (name.clone(), part(tree))).collect(),
        Tree::Constant(Value::Object(fields)) => {
            fields.iter().map(|(name, value)| (name.clone(), Part::Constant(value.clone()))).collect()
        }
        _ => Vec::new(),
    }
}

fn part(tree: &Tree) -> Part<'_> {
    match tree {
        Tree::Constant(value) => Part::Constant(value.clone()),
        Tree::Template(template) => Part::Template(template),
        Tree::Object(_) => Part::Object(tree),
        Tree::List(_) => Part::List,
    }
}

/// The pointer of the action `name`: names are unique in a flow, and an action has a type.
fn find(value: &Value, pointer: &str, name: &str) -> Option<String> {
    match value {
        Value::Object(fields) => {
            if fields.get("name").is_some_and(|own| own == name) && fields.contains_key("type") {
                return Some(pointer.to_owned());
            }
            fields.iter().find_map(|(key, value)| find(value, &child(pointer, key), name))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, item)| find(item, &child(pointer, &n.to_string()), name))
        }
        _ => None,
    }
}

impl Mapping {
    /// A finding at the entity.
    pub(super) fn at_entity(&self, code: &'static str, message: String) -> Diagnostic {
        self.at(code, &child(&self.pointer, "entity"), message, Doc::value_place)
    }

    /// A finding at all the fields together.
    pub(super) fn at_fields(&self, code: &'static str, message: String) -> Diagnostic {
        self.at(code, &child(&self.pointer, "fields"), message, Doc::key_place)
    }

    /// A finding at the name of a field.
    pub(super) fn at_name(&self, code: &'static str, pointer: &str, message: String) -> Diagnostic {
        self.at(code, pointer, message, Doc::key_place)
    }

    /// A finding at the value of a field.
    pub(super) fn at_value(&self, code: &'static str, field: &Field, message: String) -> Diagnostic {
        self.at(code, &field.pointer, message, Doc::value_place)
    }

    fn at(
        &self,
        code: &'static str,
        pointer: &str,
        message: String,
        place: impl Fn(&Doc, &str) -> Place,
    ) -> Diagnostic {
        Diagnostic::new(code, place(&self.doc, pointer), dotted(pointer), message)
    }
}

impl Field {
    /// Where it stands.
    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }
}

impl Named {
    /// Where it stands.
    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }
}

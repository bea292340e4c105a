//! What a schema says of a path that a template reads, and what the path was probably meant to be.

use std::collections::VecDeque;

use serde_json::Value;

use super::PathAnswer;
use super::types::types;
use super::views::Views;
use crate::diagnostic::nearest;

/// Most places of a schema in which a name is searched that does not stand where the path looks for it.
const PLACES_MAX: usize = 200;

/// What `schema` says of `segments`.
pub(super) fn path(schema: &Value, segments: &[String]) -> PathAnswer {
    let mut views = Views::root(schema);
    let mut walked: Vec<String> = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        if views.is_open {
            return PathAnswer::Known;
        }
        if let Some(name) = views.spelling(segment) {
            views = views.property(schema, name);
            walked.push(name.to_owned());
            continue;
        }
        if let Ok(index) = segment.parse::<usize>() {
            let items = views.item(schema, index);
            if !items.parts.is_empty() || items.is_open {
                views = items;
                walked.push(format!("[{segment}]"));
                continue;
            }
        }
        let rest = views.property(schema, segment);
        if !rest.parts.is_empty() {
            views = rest;
            walked.push(segment.clone());
            continue;
        }
        if views.names().next().is_none() || has_patterns(&views) {
            return PathAnswer::Known;
        }
        let near = suggestion(schema, &views, &walked, &segments[at..]);
        return if is_closed(&views) { PathAnswer::Closed(near) } else { PathAnswer::Unknown(near) };
    }
    PathAnswer::Known
}

/// A segment as suggestions print it: `[0]` for an index.
pub(super) fn shown(segment: &str) -> String {
    if segment.parse::<usize>().is_ok() { format!("[{segment}]") } else { segment.to_owned() }
}

/// Whether a list may stand at `segments`: nothing that must hold there names other types only.
pub(super) fn may_be_list(schema: &Value, segments: &[String]) -> bool {
    let mut views = Views::root(schema);
    for segment in segments {
        let index = segment.parse::<usize>().ok().filter(|_| views.spelling(segment).is_none());
        views = match index {
            Some(index) => views.item(schema, index),
            None => views.property(schema, views.spelling(segment).unwrap_or(segment)),
        };
    }
    let refuses = |schema: &Value| !types(schema).is_empty() && !types(schema).contains(&"array");
    !views.parts.iter().any(|view| view.is_binding && refuses(view.schema))
}

fn has_patterns(views: &Views<'_>) -> bool {
    views.parts.iter().any(|view| view.schema.get("patternProperties").is_some())
}

fn is_closed(views: &Views<'_>) -> bool {
    let refuses = |key: &str, schema: &Value| schema.get(key) == Some(&Value::Bool(false));
    views.parts.iter().any(|view| {
        view.is_binding
            && (refuses("additionalProperties", view.schema) || refuses("unevaluatedProperties", view.schema))
    })
}

/// The path that was probably meant: a slip in this name, or the right name in another place.
fn suggestion<'s>(root: &'s Value, views: &Views<'s>, walked: &[String], rest: &[String]) -> Option<String> {
    let (wrong, behind) = rest.split_first()?;
    let Some(near) = nearest(wrong, views.names()) else {
        let name = rest.last()?.to_lowercase();
        return elsewhere(root, &name);
    };
    let mut path = walked.to_vec();
    path.push(near.to_owned());
    let mut views = views.property(root, near);
    for segment in behind {
        let name = views.spelling(segment).or_else(|| nearest(segment, views.names())).unwrap_or(segment).to_owned();
        views = views.property(root, &name);
        path.push(name);
    }
    Some(path.join("."))
}

/// The shallowest path whose last name is `name`.
fn elsewhere(root: &Value, name: &str) -> Option<String> {
    let mut places = VecDeque::from([(String::new(), Views::root(root))]);
    for _ in 0..PLACES_MAX {
        let (prefix, views) = places.pop_front()?;
        if let Some(found) = views.names().find(|known| known.to_lowercase() == name) {
            return Some(format!("{prefix}{found}"));
        }
        if places.len() < PLACES_MAX {
            places.extend(views.names().map(|known| (format!("{prefix}{known}."), views.property(root, known))));
        }
    }
    None
}

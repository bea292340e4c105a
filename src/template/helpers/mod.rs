//! Power Automate functions as helpers: one declaration each (name, arguments, meaning, examples that run).
//!
//! Promise: what a helper is called, takes and means is said in one place; `explain`, the reference, the linter and
//! the evaluator read it there. A new helper is one entry in the file of its family; a new family is one file and its
//! line in [`ALL`].

mod binary;
mod chance;
mod check;
mod collection;
mod conversion;
mod culture;
mod date;
mod date_calendar;
mod date_exact;
mod date_format;
mod date_parse;
mod date_zone;
mod declare;
mod deviations;
mod given;
mod list;
mod logical;
mod math;
mod number_format;
mod object;
mod search;
mod text;
mod uri;
mod windows_zones;
mod workflow;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) use declare::Eval;
pub use declare::{Example, Family, HelperSpec, Kind, OPTIONS, Signature};
use declare::{PLAIN, example};
pub use deviations::{AGREEMENT, DEVIATIONS, Deviation, LEFT_OUT};
pub(crate) use given::{Given, Lazy};

pub(super) use check::{check_arguments, result_kind, wrong_count};
pub use culture::names as cultures;
pub(in crate::template) use logical::same as equals;
pub(super) use workflow::path_of;
pub use workflow::{PATHS, WorkflowPath};

use super::RenderError;
use super::eval::Evaluated;

/// The families of helpers, in the order of the reference.
pub const ALL: &[Family] = &[
    Family { title: "Logic", helpers: logical::HELPERS },
    Family { title: "Text", helpers: text::HELPERS },
    Family { title: "Searching in text", helpers: search::HELPERS },
    Family { title: "Lists, objects and texts", helpers: collection::HELPERS },
    Family { title: "Making lists", helpers: list::HELPERS },
    Family { title: "Objects", helpers: object::HELPERS },
    Family { title: "Conversion", helpers: conversion::HELPERS },
    Family { title: "Base64, data URIs, binary content", helpers: binary::HELPERS },
    Family { title: "URIs", helpers: uri::HELPERS },
    Family { title: "Numbers", helpers: math::HELPERS },
    Family { title: "Chance", helpers: chance::HELPERS },
    Family { title: "Times: now, formats, moving", helpers: date::HELPERS },
    Family { title: "Times: parts, units, differences", helpers: date_calendar::HELPERS },
    Family { title: "Times: zones", helpers: date_zone::HELPERS },
];

/// The helper called `name`, ignoring case.
pub fn find(name: &str) -> Option<&'static HelperSpec> {
    static BY_NAME: LazyLock<HashMap<String, &HelperSpec>> = LazyLock::new(|| {
        let names = all().flat_map(|spec| names_of(spec).map(move |name| (name.to_ascii_lowercase(), spec)));
        names.collect()
    });
    BY_NAME.get(name.to_ascii_lowercase().as_str()).copied()
}

/// Every helper.
pub fn all() -> impl Iterator<Item = &'static HelperSpec> {
    ALL.iter().flat_map(|family| family.helpers.iter())
}

/// Every name that a template may call.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().flat_map(names_of)
}

fn names_of(spec: &'static HelperSpec) -> impl Iterator<Item = &'static str> {
    std::iter::once(spec.name).chain(spec.aliases.iter().copied())
}

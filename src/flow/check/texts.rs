//! Texts into templates: each compiled once, its faults mapped to the bytes of the file, its paths looked up.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::references::{Names, Neighbour};
use crate::diagnostic::{Diagnostic, Severity};
use crate::flow::HTML_TABLE;
use crate::template::{Destination, PathRef, Template, Tree, foreign_expression, is_template, kind_of};
use crate::yaml::{Doc, child, dotted};

/// Compiles the templates of one block.
pub(super) struct Texts<'a> {
    pub(super) doc: &'a Doc,
    /// Which texts are templates, by JSON pointer.
    pub(super) templates: &'a BTreeMap<String, Destination>,
    /// What they may name.
    pub(super) names: &'a Names<'a>,
    pub(super) findings: &'a mut Vec<Diagnostic>,
}

impl Texts<'_> {
    /// The template `text` at `pointer`.
    pub(super) fn template(&mut self, text: &str, pointer: &str, destination: Destination) -> Option<Template> {
        let (template, faults) = match Template::compile(text, destination) {
            Ok(template) => (Some(template.clone()), template.warnings),
            Err(faults) => (None, faults),
        };
        for fault in faults {
            let place = self.doc.place_within(pointer, fault.range);
            let finding = Diagnostic::new(fault.code, place, dotted(pointer), fault.message).severity(fault.severity);
            self.findings.push(Diagnostic { help: fault.help, ..finding });
        }
        for path in template.iter().flat_map(Template::paths) {
            self.reference(&path, pointer);
        }
        let is_table = |one: &&Neighbour<'_>| one.spec.is_some_and(|spec| spec.kind == HTML_TABLE);
        let tables = || self.names.actions.iter().filter(is_table);
        let mut template = template;
        if let Some(template) = template.as_mut().filter(|template| template.destination == Destination::Html) {
            template.trust_html(&|name| tables().any(|table| table.name.eq_ignore_ascii_case(name)));
        }
        template
    }

    fn reference(&mut self, path: &PathRef, pointer: &str) {
        let Some(problem) = self.names.problem(path) else { return };
        let place = self.doc.place_within(pointer, path.range.clone());
        let finding = Diagnostic::new(problem.code, place, dotted(pointer), problem.message);
        self.findings.push(Diagnostic { help: problem.help, ..finding.severity(problem.severity) });
    }

    /// A warning for texts that another system would evaluate.
    fn foreign(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::String(text) => {
                let Some(fault) = foreign_expression(text) else { return };
                let place = self.doc.place_within(pointer, fault.range);
                let finding = Diagnostic::new(fault.code, place, dotted(pointer), fault.message);
                self.findings.push(Diagnostic { help: fault.help, ..finding });
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| self.foreign(item, &format!("{pointer}/{index}")));
            }
            Value::Object(entries) => entries.iter().for_each(|(key, value)| self.foreign(value, &child(pointer, key))),
            _ => {}
        }
    }

    /// The checked value `value`, with its templates compiled.
    pub(super) fn tree(&mut self, value: &Value, pointer: &str) -> Tree {
        self.foreign(value, pointer);
        self.compiled(value, pointer)
    }

    fn compiled(&mut self, value: &Value, pointer: &str) -> Tree {
        match value {
            Value::String(text) => match self.templates.get(pointer) {
                Some(destination) => match self.template(text, pointer, *destination) {
                    Some(template) => Tree::Template(Box::new(template)),
                    None => Tree::Constant(Value::Null),
                },
                None => Tree::Constant(value.clone()),
            },
            Value::Array(items) if self.has_templates(pointer) => {
                let items = items.iter().enumerate();
                Tree::List(items.map(|(index, item)| self.compiled(item, &format!("{pointer}/{index}"))).collect())
            }
            Value::Object(entries) if self.has_templates(pointer) => self.members(entries, pointer),
            constant => Tree::Constant(constant.clone()),
        }
    }

    /// An object, its keys as they are.
    pub(super) fn object(&mut self, entries: &Map<String, Value>, pointer: &str) -> Tree {
        entries.iter().for_each(|(key, value)| self.foreign(value, &child(pointer, key)));
        self.members(entries, pointer)
    }

    fn members(&mut self, entries: &Map<String, Value>, pointer: &str) -> Tree {
        let entry = |(key, value): (&String, &Value)| (key.clone(), self.compiled(value, &child(pointer, key)));
        Tree::Object(entries.iter().map(entry).collect())
    }

    fn has_templates(&self, pointer: &str) -> bool {
        let below = format!("{pointer}/");
        self.templates.range(below.clone()..).next().is_some_and(|(first, _)| first.starts_with(&below))
    }

    /// The conditions of `when` or `conditions`: templates that must all give true. Constants that are true vanish.
    pub(super) fn conditions(&mut self, value: &Value, pointer: &str) -> Vec<Template> {
        match value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.flat_map(|(index, item)| self.conditions(item, &format!("{pointer}/{index}"))).collect()
            }
            Value::Bool(true) | Value::Null => Vec::new(),
            Value::Bool(false) => self.template("{{not true}}", pointer, Destination::Plain).into_iter().collect(),
            Value::String(text) if is_template(text) => self.condition(text, pointer).into_iter().collect(),
            other => {
                let what = if other.is_string() { "a text without a template" } else { kind_of(other) };
                let message = format!("a condition is a template that gives true or false, this is {what}");
                self.report("not_a_boolean", pointer, message, "write  \"{{eq trigger.body.ActionCode 'INS'}}\"");
                Vec::new()
            }
        }
    }

    fn condition(&mut self, text: &str, pointer: &str) -> Option<Template> {
        let template = self.template(text, pointer, Destination::Plain)?;
        if !template.is_lone_expression() {
            let message = "a condition is one expression; with text around it, it gives a text, never true or false";
            self.report("not_a_boolean", pointer, message.into(), "join expressions: {{and (…) (…)}}, or write a list");
        }
        if let Some((helper, kind)) = template.never_a_boolean() {
            let message = format!("a condition is true or false, not {kind}, which `{helper}` gives");
            self.warn("result_type", pointer, message, "compare it: {{eq … 'INS'}}");
        }
        Some(template)
    }

    fn warn(&mut self, code: &'static str, pointer: &str, message: String, help: &str) {
        let place = self.doc.value_place(pointer);
        self.findings.push(Diagnostic::new(code, place, dotted(pointer), message).help(help));
    }

    fn report(&mut self, code: &'static str, pointer: &str, message: String, help: &str) {
        let place = self.doc.value_place(pointer);
        let finding = Diagnostic::new(code, place, dotted(pointer), message).severity(Severity::Error);
        self.findings.push(finding.help(help));
    }
}

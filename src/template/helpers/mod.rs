//! Power Automate functions as helpers: one declaration each (name, arguments, meaning, examples that run).
//!
//! Promise: what a helper is called, takes and means is said in one place; `explain`, the linter and the evaluator
//! read it there. A new helper is one entry in the file of its family; a new family is one file and its line in
//! [`ALL`].

mod collection;
mod conversion;
mod date;
mod date_format;
mod date_parse;
mod logical;
mod math;
mod text;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub(in crate::template) use logical::same as equals;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::eval::{Evaluated, Evaluator, output_too_long};
use super::expr::Expr;
use super::syntax::{self, NodeKind};
use super::{Destination, Limits, RenderError, TemplateFinding, kind_of};
use crate::clock::Micros;
use crate::diagnostic::nearest;

/// The families of helpers.
pub const ALL: &[&[HelperSpec]] =
    &[logical::HELPERS, text::HELPERS, collection::HELPERS, conversion::HELPERS, math::HELPERS, date::HELPERS];

/// A helper's declaration.
#[derive(Debug)]
pub struct HelperSpec {
    /// Its name, as Power Automate spells it. Templates may spell it in any case.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub arguments: Signature,
    /// Names of the options it takes as `name=value`.
    pub options: &'static [&'static str],
    /// One line: what it answers.
    pub summary: &'static str,
    /// Examples; they run as tests.
    pub examples: &'static [Example],
    /// Whether it answers differently from one moment to the next.
    pub is_volatile: bool,
    /// How it is evaluated.
    pub(crate) eval: Eval,
}

/// An example of a helper.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The template.
    pub template: &'static str,
    /// `trigger.body`, as JSON.
    pub body: &'static str,
    /// What it renders to, as JSON.
    pub result: &'static str,
}

/// Shorthand for the tables of examples.
const fn example(template: &'static str, body: &'static str, result: &'static str) -> Example {
    Example { template, body, result }
}

/// What a helper takes.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments.
    pub max: usize,
    /// Names and kinds in order; the last one stands for all that follow.
    pub names: &'static [&'static str],
    /// The kind of each; the last one stands for all that follow.
    pub kinds: &'static [Kind],
}

impl Signature {
    /// Whether it takes `count` arguments.
    pub fn accepts(&self, count: usize) -> bool {
        (self.min..=self.max).contains(&count)
    }

    fn kind(&self, at: usize) -> Kind {
        self.kinds.get(at).or(self.kinds.last()).copied().unwrap_or(Kind::Any)
    }

    /// The call as documentation writes it: `replace text old new`, `formatDateTime time [format]`.
    pub fn usage(&self, name: &str) -> String {
        let mut usage = name.to_owned();
        for (at, argument) in self.names.iter().enumerate() {
            let (open, close) = if at < self.min { ("", "") } else { ("[", "]") };
            usage.extend([" ", open, argument, close]);
        }
        if self.max == usize::MAX {
            usage.push_str(" …");
        }
        usage
    }

    fn wanted(&self) -> String {
        let plural = |count: usize| if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
        match (self.min, self.max) {
            (min, max) if min == max => plural(min),
            (min, usize::MAX) => format!("at least {}", plural(min)),
            (min, max) => format!("{min} to {}", plural(max)),
        }
    }
}

/// The kind of an argument, for literals that cannot fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Text; null counts as empty.
    Text,
    /// Text or a number.
    Comparable,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A text or a list.
    TextOrList,
    /// A list.
    List,
    /// A text, a list or an object.
    Container,
}

impl Kind {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text => value.is_string() || value.is_null(),
            Self::Comparable => value.is_string() || value.is_number(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::TextOrList => value.is_string() || value.is_array() || value.is_null(),
            Self::List => value.is_array(),
            Self::Container => value.is_string() || value.is_array() || value.is_object() || value.is_null(),
        }
    }

    /// The kind with its article: `a text`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text => "a text",
            Self::Comparable => "a number or a text",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::TextOrList => "a text or a list",
            Self::List => "a list",
            Self::Container => "a text, a list or an object",
        }
    }
}

/// The function behind a helper whose arguments are evaluated first.
type Strict = fn(&Given<'_>) -> Result<Value, RenderError>;

/// How a helper is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Eval {
    /// Its arguments first.
    Strict(Strict),
    /// Its arguments first; the answer is escaped for a destination already.
    Escaped(Destination, Strict),
    /// It decides which arguments are evaluated.
    Lazy(for<'e> fn(&Lazy<'e>) -> Result<Evaluated<'e>, RenderError>),
}

/// The arguments of a lazy helper.
pub(crate) struct Lazy<'e> {
    pub(super) spec: &'static HelperSpec,
    pub(super) arguments: &'e [Expr],
    pub(super) evaluator: Evaluator<'e>,
}

impl<'e> Lazy<'e> {
    /// Evaluates argument `at`.
    fn get(&self, at: usize) -> Result<Evaluated<'e>, RenderError> {
        self.evaluator.eval(&self.arguments[at])
    }

    /// Evaluates argument `at`, which must be a boolean.
    fn boolean(&self, at: usize) -> Result<bool, RenderError> {
        boolean(self.spec, at, &self.get(at)?.value)
    }
}

/// The values that a helper was given.
pub(crate) struct Given<'e> {
    pub(super) spec: &'static HelperSpec,
    pub(super) values: Vec<Cow<'e, Value>>,
    pub(super) options: Vec<(&'static str, Cow<'e, Value>)>,
    pub(super) now: Micros,
    pub(super) limits: Limits,
}

impl Given<'_> {
    /// Argument `at`; null where it was left out.
    fn value(&self, at: usize) -> &Value {
        self.values.get(at).map_or(&Value::Null, |value| value.as_ref())
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref())
    }

    /// Argument `at` as text; null is empty text.
    fn text(&self, at: usize) -> Result<&str, RenderError> {
        match self.value(at) {
            Value::String(text) => Ok(text),
            Value::Null => Ok(""),
            other => Err(self.wants(at, "a text", other)),
        }
    }

    fn boolean(&self, at: usize) -> Result<bool, RenderError> {
        boolean(self.spec, at, self.value(at))
    }

    fn wants(&self, at: usize, wanted: &str, got: &Value) -> RenderError {
        wants("template_failed", self.spec, at, wanted, got)
    }

    fn fail(&self, message: impl std::fmt::Display) -> RenderError {
        RenderError::new("template_failed", format!("`{}` {message}", self.spec.name))
    }

    /// A made text, if it is within the limit of what a template may write.
    fn made(&self, text: String) -> Result<Value, RenderError> {
        self.fits(text.len())?;
        Ok(Value::String(text))
    }

    fn fits(&self, bytes: usize) -> Result<(), RenderError> {
        if bytes > self.limits.output_bytes_max {
            return Err(output_too_long(self.limits.output_bytes_max));
        }
        Ok(())
    }
}

fn boolean(spec: &HelperSpec, at: usize, value: &Value) -> Result<bool, RenderError> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(wants("not_a_boolean", spec, at, "true or false", other)),
    }
}

fn wants(code: &'static str, spec: &HelperSpec, at: usize, wanted: &str, got: &Value) -> RenderError {
    let message = format!("`{}` wants {wanted} as argument {}, not {}", spec.name, at + 1, kind_of(got));
    RenderError::new(code, message)
}

/// The helper called `name`, ignoring case.
pub fn find(name: &str) -> Option<&'static HelperSpec> {
    let is_it = |known: &str| known.eq_ignore_ascii_case(name);
    all().find(|spec| is_it(spec.name) || spec.aliases.iter().any(|alias| is_it(alias)))
}

/// Every helper.
pub fn all() -> impl Iterator<Item = &'static HelperSpec> {
    ALL.iter().flat_map(|family| family.iter())
}

/// Every name that a template may call.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().flat_map(|spec| std::iter::once(spec.name).chain(spec.aliases.iter().copied()))
}

/// What is wrong with a call: the number of its arguments, its options, literals that cannot fit.
pub(super) fn check_arguments(
    spec: &HelperSpec,
    source: &str,
    call: &syntax::Call,
    range: &Range<usize>,
) -> Vec<TemplateFinding> {
    let mut findings = Vec::new();
    if !spec.arguments.accepts(call.arguments.len()) {
        findings.push(wrong_count(spec, call.arguments.len(), range));
    }
    for (at, argument) in call.arguments.iter().enumerate() {
        let NodeKind::Literal(value) = &argument.kind else { continue };
        let kind = spec.arguments.kind(at);
        if at < spec.arguments.max && !kind.accepts(value) {
            let message =
                format!("`{}` wants {} as argument {}, not {}", spec.name, kind.name(), at + 1, kind_of(value));
            findings.push(TemplateFinding::warning("literal_type", argument.range.clone(), message));
        }
    }
    for (key, value) in &call.options {
        let name = &source[key.clone()];
        if !spec.options.iter().any(|option| option.eq_ignore_ascii_case(name)) {
            let message = format!("`{}` has no option `{name}`", spec.name);
            let help = nearest(name, spec.options.iter().copied()).map_or_else(
                || format!("write  ({})", spec.arguments.usage(spec.name)),
                |near| format!("did you mean `{near}`?"),
            );
            findings.push(TemplateFinding::error("wrong_arguments", key.clone(), message).help(help));
        } else if let NodeKind::Literal(literal) = &value.kind
            && let Err(message) = date::check_option(name, literal)
        {
            findings.push(TemplateFinding::error("wrong_arguments", value.range.clone(), message));
        }
    }
    findings
}

/// The finding for `count` arguments where `spec` takes another number.
pub(super) fn wrong_count(spec: &HelperSpec, count: usize, range: &Range<usize>) -> TemplateFinding {
    let message = format!("`{}` takes {}, not {count}", spec.name, spec.arguments.wanted());
    TemplateFinding::error("wrong_arguments", range.clone(), message)
        .help(format!("write  ({})", spec.arguments.usage(spec.name)))
}

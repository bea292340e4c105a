//! Handlebars text into typed expressions, evaluated over a borrowed scope.
//!
//! Promises: what a lead carries is data and is never evaluated; evaluation never panics; a missing path of any
//! depth is null; a value that is exactly one expression keeps its JSON type; output and work are bounded.

mod compile;
mod eval;
pub mod expr;
mod habits;
pub mod helpers;
mod print;
mod resolve;
mod scan;
mod syntax;
pub mod tree;

#[cfg(test)]
mod scope_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

pub use tree::Tree;

use crate::diagnostic::Severity;

/// Where a rendered value goes: decides escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Record fields, subjects, text mail, JSON: as it is.
    Plain,
    /// An HTML mail body: `& < > " '` escaped in every rendered value.
    Html,
    /// A URL or a part of one: rendered values percent-encoded, `parameters.*` literal. A lone expression is a
    /// whole URL and is left as it is.
    Url,
}

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template {
    /// The text as written.
    pub source: String,
    /// Where its values go.
    pub destination: Destination,
    /// The compiled body.
    pub body: expr::Body,
    /// What is odd about it but does not keep it from running: `unescaped_html` outside HTML, `literal_type`.
    pub warnings: Vec<TemplateFinding>,
}

/// A path that a template reads, for the linter and the blank guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRef {
    /// `trigger`, `actions`, `parameters`, …
    pub root: String,
    /// The segments behind the root, as written. Empty: the root itself.
    pub segments: Vec<String>,
    /// Bytes in the template's source.
    pub range: Range<usize>,
}

impl PathRef {
    /// Whether the value comes from outside: `trigger.body|query|path`, `item`, `loops`, or an action's outputs.
    pub fn is_outside(&self) -> bool {
        let first = self.segments.first().map(|segment| segment.to_ascii_lowercase());
        match self.root.to_ascii_lowercase().as_str() {
            "trigger" => matches!(first.as_deref(), None | Some("body" | "query" | "path")),
            "item" | "loops" => true,
            "actions" => self.segments.get(1).is_none_or(|part| part.eq_ignore_ascii_case("outputs")),
            _ => false,
        }
    }
}

/// A fault in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFinding {
    /// A code of the catalogue: `template_syntax`, `unknown_helper`, `wrong_arguments`, …
    pub code: &'static str,
    /// An error keeps the template from running, a warning does not.
    pub severity: Severity,
    /// Bytes in the template's source.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl TemplateFinding {
    /// A fault that keeps the template from running.
    pub(crate) fn error(code: &'static str, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, range, message: message.into(), help: None }
    }

    /// A fault that does not keep the template from running.
    pub(crate) fn warning(code: &'static str, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, range, message) }
    }

    /// Adds what to write instead.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A template that could not be rendered. The message names what failed and never repeats a lead's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// A code of the catalogue: `template_failed`, `not_a_boolean`, `output_too_long`, …
    pub code: &'static str,
    /// What failed.
    pub message: String,
}

impl RenderError {
    /// An error with `code` and `message`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Bounds on one rendering.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of text that one template may produce.
    pub output_bytes_max: usize,
    /// Expressions that one template may evaluate.
    pub steps_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output_bytes_max: 1 << 20, steps_max: 1_000_000 }
    }
}

/// What a template sees. All borrowed: nothing is copied to render.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `trigger.body|headers|query|path|method`; for a connector file, all of its roots ([`Scope::of_connector`]).
    pub trigger: &'a Value,
    /// `actions.NAME.status|outputs|error`.
    pub actions: &'a Value,
    /// Actions of the iterations round the template, innermost first: looked at before `actions`.
    pub inner_actions: &'a [&'a Value],
    /// `parameters.NAME`.
    pub parameters: &'a Value,
    /// `variables.NAME`.
    pub variables: &'a Value,
    /// `run.id|received_at|is_test`.
    pub run: &'a Value,
    /// `flow.name|description`.
    pub flow: &'a Value,
    /// `environment`: the name given by `--env`, or null.
    pub environment: &'a Value,
    /// `item`, inside a loop.
    pub item: Option<&'a Value>,
    /// `item_index`, inside a loop.
    pub item_index: Option<&'a Value>,
    /// `loops.NAME.item|index`.
    pub loops: &'a Value,
    /// What `utcNow` answers: microseconds UTC.
    pub now: crate::clock::Micros,
    /// Bounds.
    pub limits: Limits,
}

/// The roots of [`Scope`], for the linter.
pub const ROOTS: &[&str] =
    &["trigger", "actions", "parameters", "variables", "item", "item_index", "loops", "run", "flow", "environment"];

/// The roots of a connector file's templates, besides `item` and `item_index`.
pub const CONNECTOR_ROOTS: &[&str] = &[
    "settings",
    "entity",
    "fields",
    "record",
    "id",
    "key",
    "where",
    "select",
    "order_by",
    "limit",
    "mail",
    "operation",
    "answer",
    "before",
    "page",
    "count",
];

/// Which roots a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Those of a flow: [`ROOTS`].
    Flow,
    /// Those of a connector file: [`CONNECTOR_ROOTS`].
    Connector,
}

impl<'a> Scope<'a> {
    /// What templates of a connector file see: `values` holds [`CONNECTOR_ROOTS`] by name.
    pub fn of_connector(values: &'a Value, now: crate::clock::Micros, limits: Limits) -> Self {
        static NOTHING: Value = Value::Null;
        Self {
            trigger: values,
            actions: &NOTHING,
            inner_actions: &[],
            parameters: &NOTHING,
            variables: &NOTHING,
            run: &NOTHING,
            flow: &NOTHING,
            environment: &NOTHING,
            item: None,
            item_index: None,
            loops: &NOTHING,
            now,
            limits,
        }
    }
}

/// A block of the language, for the reference.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// `if`.
    pub name: &'static str,
    /// How it is written.
    pub usage: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
}

/// The blocks of the language.
pub const BLOCKS: &[Block] = &[
    Block {
        name: "if",
        usage: "{{#if (eq a b)}}…{{else if c}}…{{else}}…{{/if}}",
        summary: "writes its inside when the condition is true; anything but a boolean fails",
    },
    Block {
        name: "unless",
        usage: "{{#unless a}}…{{else}}…{{/unless}}",
        summary: "writes its inside when the condition is false; anything but a boolean fails",
    },
    Block {
        name: "each",
        usage: "{{#each list}}…{{item}}…{{item_index}}…{{else}}…{{/each}}",
        summary: "writes its inside for each item of a list or value of an object, `else` when there is none or null",
    },
    Block {
        name: "with",
        usage: "{{#with a.b}}…{{name}}…{{else}}…{{/with}}",
        summary: "writes its inside with the value as the start of paths, `else` when it is null",
    },
];

/// The bounds on a template, each with its unit, for the reference.
pub fn limits() -> Vec<(&'static str, String)> {
    let bounds = Limits::default();
    vec![
        ("length of a template", format!("{} KiB", compile::TEMPLATE_BYTES_MAX / 1024)),
        ("parentheses in parentheses", compile::PARENTHESES_DEPTH_MAX.to_string()),
        ("blocks in blocks", compile::BLOCK_DEPTH_MAX.to_string()),
        (
            "expressions that one template evaluates, items of lists that helpers walk through included",
            bounds.steps_max.to_string(),
        ),
        (
            "text that one template writes, lists and objects that helpers make (`limits.template_output`)",
            format!("{} KiB", bounds.output_bytes_max / 1024),
        ),
    ]
}

impl Template {
    /// Compiles `source`. All faults that can be told apart are reported at once, warnings among them.
    pub fn compile(source: &str, destination: Destination) -> Result<Self, Vec<TemplateFinding>> {
        Self::compile_for(source, destination, Vocabulary::Flow)
    }

    /// [`Template::compile`] with the roots of `vocabulary`.
    pub fn compile_for(
        source: &str,
        destination: Destination,
        vocabulary: Vocabulary,
    ) -> Result<Self, Vec<TemplateFinding>> {
        match compile::compile(source, destination, vocabulary) {
            (Some(body), warnings) => Ok(Self { source: source.to_owned(), destination, body, warnings }),
            (None, findings) => Err(findings),
        }
    }

    /// Marks the outputs of those actions as HTML that is escaped already: `html` takes them as they are.
    pub fn trust_html(&mut self, is_html: &dyn Fn(&str) -> bool) {
        self.body.trust_html(is_html);
    }

    /// Every path that the template may read, in order of appearance (also in branches never taken). What stands
    /// inside `{{#each}}` or `{{#with}}` is named from the scope's root, as that of the first item.
    pub fn paths(&self) -> Vec<PathRef> {
        self.body.paths.clone()
    }

    /// Whether two renderings of the same run may differ, as they read the clock or chance (`utcNow`, `guid`,
    /// `rand`, …).
    pub fn is_volatile(&self) -> bool {
        self.body.is_volatile
    }

    /// Whether the template is exactly one expression, so that its value keeps its JSON type.
    pub fn is_lone_expression(&self) -> bool {
        self.body.lone.is_some()
    }

    /// The helper that gives the value of a lone expression, and what it gives, where that is never a boolean.
    pub fn never_a_boolean(&self) -> Option<(&'static str, &'static str)> {
        let Some(expr::Node::Output(output)) = self.body.lone.and_then(|at| self.body.nodes.get(at)) else {
            return None;
        };
        let (helper, kind) = helpers::result_kind(&output.expr)?;
        (!kind.may_be(helpers::Kind::Boolean)).then(|| (helper, kind.name()))
    }

    /// The path that the template is, where it is one and nothing else: its value is the path's.
    pub fn lone_path(&self) -> Option<PathRef> {
        let expr::Node::Output(output) = self.body.nodes.get(self.body.lone?)? else { return None };
        let expr::Expr::Path(expr::Path { base: expr::Base::Root(root), segments, .. }) = &output.expr else {
            return None;
        };
        Some(PathRef { root: root.name().to_owned(), segments: segments.clone(), range: output.range.clone() })
    }

    /// Renders over `scope`.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, RenderError> {
        eval::render(&self.body, &self.source, self.destination, scope)
    }

    /// Renders a condition: anything but a boolean is `not_a_boolean`.
    pub fn render_bool(&self, scope: &Scope<'_>) -> Result<bool, RenderError> {
        match self.render(scope)? {
            Value::Bool(value) => Ok(value),
            other => Err(RenderError::new(
                "not_a_boolean",
                format!("a condition must be true or false, this one is {}", kind_of(&other)),
            )),
        }
    }
}

/// Looks a path up in `scope` as a template would: ignoring case, null when missing.
pub fn lookup<'a>(scope: &Scope<'a>, path: &PathRef) -> Option<&'a Value> {
    eval::from_root(scope, expr::Root::find(&path.root, Vocabulary::Flow)?, &path.segments)
}

/// Whether two values are the same as `equals` sees it: numbers by value, objects whatever the order of their keys.
pub fn equals(left: &Value, right: &Value) -> bool {
    helpers::equals(left, right)
}

/// A value as it prints inside text: null nothing, lists and objects refused.
pub fn text_of(value: &Value) -> Result<std::borrow::Cow<'_, str>, RenderError> {
    print::in_text(value)
}

/// A value as text, lists and objects as compact JSON.
pub fn text_or_json(value: &Value) -> std::borrow::Cow<'_, str> {
    print::plain(value)
}

/// `text` with `& < > " '` as entities.
pub fn escape_html(text: &str) -> std::borrow::Cow<'_, str> {
    print::escape_html(text)
}

/// The finding for an expression of Power Automate in a text, `@{triggerBody()}`: here it is text and nothing else.
pub fn foreign_expression(text: &str) -> Option<TemplateFinding> {
    habits::foreign(text)
}

/// Whether `text` holds a template at all.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// The JSON kind of a value with its article, for messages: `a text`, `a number`, `null`.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

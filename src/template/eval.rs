//! Evaluation over a borrowed scope: nothing is copied to be read, work and output are counted.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use serde_json::{Number, Value};

use super::expr::{Base, Block, BlockKind, Body, Call, Expr, Node, Output, Path, Root};
use super::helpers::{Eval, Given, Lazy};
use super::{Destination, RenderError, Scope, kind_of, print};

/// Longest piece of a template that an error repeats, in characters.
const QUOTE_CHARS_MAX: usize = 100;

static NULL: Value = Value::Null;

/// A value and the escaping that it has been through already.
#[derive(Debug, Clone)]
pub(crate) struct Evaluated<'e> {
    /// The value.
    pub(super) value: Cow<'e, Value>,
    /// Where it may go as it is: `nl2br` answers HTML, `uriComponent` a part of a URL.
    pub(super) escaped_for: Option<Destination>,
}

impl<'e> Evaluated<'e> {
    /// A value of the scope or the template.
    pub(super) fn borrowed(value: &'e Value) -> Self {
        Self { value: Cow::Borrowed(value), escaped_for: None }
    }

    /// A value that was made.
    pub(super) fn owned(value: Value) -> Self {
        Self { value: Cow::Owned(value), escaped_for: None }
    }
}

/// What a block adds to the scope.
struct Frame<'f> {
    outer: Option<&'f Frame<'f>>,
    value: &'f Value,
    index: Value,
    key: Value,
    first: Value,
    last: Value,
}

/// Evaluates expressions at one place of a template.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'e> {
    pub(super) scope: &'e Scope<'e>,
    frame: Option<&'e Frame<'e>>,
    steps: &'e Cell<usize>,
}

impl<'e> Evaluator<'e> {
    /// The value of `expr`.
    pub(super) fn eval(self, expr: &'e Expr) -> Result<Evaluated<'e>, RenderError> {
        let steps = self.steps.get();
        if steps >= self.scope.limits.steps_max {
            return Err(steps_used_up(self.scope.limits.steps_max));
        }
        self.steps.set(steps + 1);
        match expr {
            Expr::Literal(value) => Ok(Evaluated::borrowed(value)),
            Expr::Path(path) => Ok(Evaluated {
                value: Cow::Borrowed(self.path(path).unwrap_or(&NULL)),
                escaped_for: path.is_html.then_some(Destination::Html),
            }),
            Expr::Call(call) => self.call(call),
        }
    }

    fn call(self, call: &'e Call) -> Result<Evaluated<'e>, RenderError> {
        let function = match &call.helper.eval {
            Eval::Lazy(function) => {
                return function(&Lazy { spec: call.helper, arguments: &call.arguments, evaluator: self });
            }
            Eval::Strict(function) | Eval::Escaped(_, function) => function,
        };
        let values = call.arguments.iter().map(|argument| Ok(self.eval(argument)?.value)).collect::<Result<_, _>>()?;
        let options = call
            .options
            .iter()
            .map(|(key, value)| Ok((*key, self.eval(value)?.value)))
            .collect::<Result<_, RenderError>>()?;
        let Scope { now, limits, .. } = *self.scope;
        let given = Given { spec: call.helper, values, options, now, limits, steps: self.steps };
        let escaped_for = match &call.helper.eval {
            Eval::Escaped(destination, _) => Some(*destination),
            _ => None,
        };
        Ok(Evaluated { value: Cow::Owned(function(&given)?), escaped_for })
    }

    fn path(self, path: &'e Path) -> Option<&'e Value> {
        let start = match path.base {
            Base::Root(root) => return from_root(self.scope, root, &path.segments),
            Base::Frame(up) => self.outer(up)?.value,
            Base::Index(up) => &self.outer(up)?.index,
            Base::Key(up) => &self.outer(up)?.key,
            Base::First(up) => &self.outer(up)?.first,
            Base::Last(up) => &self.outer(up)?.last,
            Base::Nothing => return None,
        };
        walk(start, &path.segments)
    }

    fn outer(self, up: usize) -> Option<&'e Frame<'e>> {
        let mut frame = self.frame?;
        for _ in 0..up {
            frame = frame.outer?;
        }
        Some(frame)
    }
}

/// Follows names from a root of the scope. An action of an inner iteration hides nothing: names are unique in a flow.
pub(super) fn from_root<'a>(scope: &Scope<'a>, root: Root, segments: &[String]) -> Option<&'a Value> {
    if let (Root::Actions, Some((name, rest))) = (root, segments.split_first()) {
        let inner = scope.inner_actions.iter().find_map(|actions| property(actions, name));
        if let Some(action) = inner {
            return walk(action, rest);
        }
    }
    walk(root_value(scope, root)?, segments)
}

/// The value of a root of the scope.
fn root_value<'a>(scope: &Scope<'a>, root: Root) -> Option<&'a Value> {
    match root {
        Root::Trigger => Some(scope.trigger),
        Root::Actions => Some(scope.actions),
        Root::Parameters => Some(scope.parameters),
        Root::Variables => Some(scope.variables),
        Root::Item => scope.item,
        Root::ItemIndex => scope.item_index,
        Root::Loops => Some(scope.loops),
        Root::Run => Some(scope.run),
        Root::Flow => Some(scope.flow),
        Root::Environment => Some(scope.environment),
        Root::Connector(_) => property(scope.trigger, root.name()),
    }
}

/// Follows names from `value`; `None` where one is missing.
pub(super) fn walk<'a>(value: &'a Value, segments: &[String]) -> Option<&'a Value> {
    segments.iter().try_fold(value, |value, segment| property(value, segment))
}

/// A property ignoring case, an exact match first; an item by its position.
pub(super) fn property<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(name).or_else(|| {
            let folded = name.to_lowercase();
            object.iter().find(|(key, _)| key.to_lowercase() == folded).map(|(_, value)| value)
        }),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Renders a compiled body.
pub(super) fn render(
    body: &Body,
    source: &str,
    destination: Destination,
    scope: &Scope<'_>,
) -> Result<Value, RenderError> {
    let steps = Cell::new(0);
    if let Some(Node::Output(output)) = body.lone.and_then(|at| body.nodes.get(at)) {
        let evaluator = Evaluator { scope, frame: None, steps: &steps };
        let evaluated = evaluator.eval(&output.expr).map_err(|error| located(&error, source, &output.range))?;
        return lone(evaluated, destination, scope);
    }
    let mut writer = Writer { text: String::new(), rendered: Vec::new(), destination, source, scope, steps: &steps };
    writer.nodes(&body.nodes, None)?;
    if destination == Destination::Url {
        print::check_segments(&writer.text, &writer.rendered)?;
    }
    Ok(Value::String(writer.text))
}

/// A lone expression keeps its type; texts are escaped for HTML and left as they are elsewhere.
fn lone(evaluated: Evaluated<'_>, destination: Destination, scope: &Scope<'_>) -> Result<Value, RenderError> {
    let value = match (evaluated.value.as_str(), destination) {
        (Some(text), Destination::Html) if evaluated.escaped_for != Some(Destination::Html) => {
            Value::String(print::escape_html(text).into_owned())
        }
        _ => evaluated.value.into_owned(),
    };
    match &value {
        Value::String(text) if text.len() > scope.limits.output_bytes_max => {
            Err(output_too_long(scope.limits.output_bytes_max))
        }
        _ => Ok(value),
    }
}

/// The error of a text beyond its limit.
pub(super) fn output_too_long(bytes_max: usize) -> RenderError {
    RenderError::new("output_too_long", format!("a template may write {bytes_max} bytes, this one wants more"))
}

/// The error of a template that works for too long.
pub(super) fn steps_used_up(steps_max: usize) -> RenderError {
    RenderError::new("step_limit", format!("a template may evaluate {steps_max} expressions, this one wants more"))
}

/// Adds the expression that failed: the flow's own text, never the lead's.
fn located(error: &RenderError, source: &str, range: &Range<usize>) -> RenderError {
    let text = source.get(range.clone()).unwrap_or_default();
    let mut quote: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if quote.len() < text.len() {
        quote.push('…');
    }
    RenderError::new(error.code, format!("{} in {}", error.message, quote.replace(['\n', '\r'], " ")))
}

struct Writer<'r> {
    text: String,
    /// The bytes of `text` that came from values, for the path check.
    rendered: Vec<Range<usize>>,
    destination: Destination,
    source: &'r str,
    scope: &'r Scope<'r>,
    steps: &'r Cell<usize>,
}

impl Writer<'_> {
    fn nodes<'f>(&mut self, nodes: &'f [Node], frame: Option<&'f Frame<'f>>) -> Result<(), RenderError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.push(text)?,
                Node::Output(output) => {
                    let result = self.output(output, frame);
                    result.map_err(|error| located(&error, self.source, &output.range))?;
                }
                Node::Block(block) => self.block(block, frame)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<(), RenderError> {
        if self.text.len() + text.len() > self.scope.limits.output_bytes_max {
            return Err(output_too_long(self.scope.limits.output_bytes_max));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn output<'f>(&mut self, output: &'f Output, frame: Option<&'f Frame<'f>>) -> Result<(), RenderError> {
        let scope = self.scope;
        let evaluated = Evaluator { scope, frame, steps: self.steps }.eval(&output.expr)?;
        let text = print::in_text(&evaluated.value)?;
        let is_ready = evaluated.escaped_for == Some(self.destination);
        match self.destination {
            Destination::Html if !is_ready => self.push(&print::escape_html(&text)),
            Destination::Url if is_parameter(&output.expr) => self.push(&text),
            Destination::Url => {
                let start = self.text.len();
                let text = if is_ready { text.as_ref() } else { &print::encode_url(&text) };
                self.push(text)?;
                self.rendered.push(start..self.text.len());
                Ok(())
            }
            _ => self.push(&text),
        }
    }

    fn block<'f>(&mut self, block: &'f Block, frame: Option<&'f Frame<'f>>) -> Result<(), RenderError> {
        let scope = self.scope;
        let evaluator = Evaluator { scope, frame, steps: self.steps };
        let subject = evaluator.eval(&block.subject).map_err(|error| located(&error, self.source, &block.range))?.value;
        match (block.kind, subject.as_ref()) {
            (BlockKind::If, Value::Bool(true)) | (BlockKind::Unless, Value::Bool(false)) => {
                self.nodes(&block.body, frame)
            }
            (BlockKind::If | BlockKind::Unless, Value::Bool(_)) | (BlockKind::Each | BlockKind::With, Value::Null) => {
                self.nodes(&block.otherwise, frame)
            }
            (BlockKind::Each, Value::Array(items)) if !items.is_empty() => {
                let entries = items.iter().enumerate().map(|(index, value)| (Value::from(index), value));
                self.each(&block.body, frame, entries, items.len())
            }
            (BlockKind::Each, Value::Object(object)) if !object.is_empty() => {
                let entries = object.iter().map(|(key, value)| (Value::from(key.as_str()), value));
                self.each(&block.body, frame, entries, object.len())
            }
            (BlockKind::Each, Value::Array(_) | Value::Object(_)) => self.nodes(&block.otherwise, frame),
            (BlockKind::With, value) => {
                let inner = Frame {
                    outer: frame,
                    value,
                    index: Value::Null,
                    key: Value::Null,
                    first: Value::Null,
                    last: Value::Null,
                };
                self.nodes(&block.body, Some(&inner))
            }
            (kind, value) => {
                let (code, wanted) = match kind {
                    BlockKind::Each => ("template_failed", "a list"),
                    _ => ("not_a_boolean", "true or false"),
                };
                let message = format!("`#{}` wants {wanted}, not {}", kind.name(), kind_of(value));
                Err(located(&RenderError::new(code, message), self.source, &block.range))
            }
        }
    }

    fn each<'v>(
        &mut self,
        body: &[Node],
        outer: Option<&Frame<'_>>,
        entries: impl Iterator<Item = (Value, &'v Value)>,
        count: usize,
    ) -> Result<(), RenderError> {
        for (index, (key, value)) in entries.enumerate() {
            // An empty body must not loop for free.
            let steps = self.steps.get();
            if steps >= self.scope.limits.steps_max {
                return Err(RenderError::new(
                    "step_limit",
                    "a loop runs through more items than a template may evaluate",
                ));
            }
            self.steps.set(steps + 1);
            let inner = Frame {
                outer,
                value,
                index: Value::Number(Number::from(index)),
                key,
                first: Value::Bool(index == 0),
                last: Value::Bool(index + 1 == count),
            };
            self.nodes(body, Some(&inner))?;
        }
        Ok(())
    }
}

/// Whether an expression is a parameter of the flow: trusted, and written into URLs as it is.
fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Path(Path { base: Base::Root(Root::Parameters), .. }))
}

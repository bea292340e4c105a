//! What a helper is handed: its arguments as values or, for lazy ones, as expressions; and the bounds on its work.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::{Map, Value};

use super::HelperSpec;
use crate::clock::Micros;
use crate::template::eval::{Evaluated, Evaluator, output_too_long, steps_used_up};
use crate::template::expr::Expr;
use crate::template::{Limits, RenderError, kind_of};

/// The arguments of a lazy helper.
pub(crate) struct Lazy<'e> {
    pub(in crate::template) spec: &'static HelperSpec,
    pub(in crate::template) arguments: &'e [Expr],
    pub(in crate::template) evaluator: Evaluator<'e>,
}

impl<'e> Lazy<'e> {
    /// Evaluates argument `at`.
    pub(super) fn get(&self, at: usize) -> Result<Evaluated<'e>, RenderError> {
        self.evaluator.eval(&self.arguments[at])
    }

    /// Evaluates argument `at`, which must be a boolean.
    pub(super) fn boolean(&self, at: usize) -> Result<bool, RenderError> {
        boolean(self.spec, at, &self.get(at)?.value)
    }
}

/// The values that a helper was given.
pub(crate) struct Given<'e> {
    pub(in crate::template) spec: &'static HelperSpec,
    pub(in crate::template) values: Vec<Cow<'e, Value>>,
    pub(in crate::template) options: Vec<(&'static str, Cow<'e, Value>)>,
    pub(in crate::template) now: Micros,
    pub(in crate::template) limits: Limits,
    /// Expressions evaluated so far: work on long lists counts too.
    pub(in crate::template) steps: &'e Cell<usize>,
}

impl Given<'_> {
    /// Argument `at`; null where it was left out.
    pub(super) fn value(&self, at: usize) -> &Value {
        self.values.get(at).map_or(&Value::Null, |value| value.as_ref())
    }

    /// How many arguments there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref())
    }

    /// Argument `at` as text; null is empty text.
    pub(super) fn text(&self, at: usize) -> Result<&str, RenderError> {
        match self.value(at) {
            Value::String(text) => Ok(text),
            Value::Null => Ok(""),
            other => Err(self.wants(at, "a text", other)),
        }
    }

    /// Argument `at` as a text that is there: null fails.
    pub(super) fn solid_text(&self, at: usize) -> Result<&str, RenderError> {
        self.value(at).as_str().ok_or_else(|| self.wants(at, "a text", self.value(at)))
    }

    /// Argument `at` as a 64-bit integer; `1.0` is none.
    pub(super) fn integer(&self, at: usize) -> Result<i64, RenderError> {
        self.value(at).as_i64().ok_or_else(|| self.wants(at, "an integer", self.value(at)))
    }

    /// Argument `at` as a count that is not negative.
    pub(super) fn count(&self, at: usize) -> Result<usize, RenderError> {
        usize::try_from(self.integer(at)?)
            .map_err(|_| self.fail(format_args!("wants a count that is not negative as argument {}", at + 1)))
    }

    /// Argument `at` as a list.
    pub(super) fn list(&self, at: usize) -> Result<&[Value], RenderError> {
        match self.value(at) {
            Value::Array(items) => Ok(items),
            other => Err(self.wants(at, "a list", other)),
        }
    }

    /// Argument `at` as an object.
    pub(super) fn object(&self, at: usize) -> Result<&Map<String, Value>, RenderError> {
        match self.value(at) {
            Value::Object(object) => Ok(object),
            other => Err(self.wants(at, "an object", other)),
        }
    }

    pub(super) fn boolean(&self, at: usize) -> Result<bool, RenderError> {
        boolean(self.spec, at, self.value(at))
    }

    pub(super) fn wants(&self, at: usize, wanted: &str, got: &Value) -> RenderError {
        wants("template_failed", self.spec, at, wanted, got)
    }

    pub(super) fn fail(&self, message: impl std::fmt::Display) -> RenderError {
        RenderError::new("template_failed", format!("`{}` {message}", self.spec.name))
    }

    /// A made text, if it is within the limit of what a template may write.
    pub(super) fn made(&self, text: String) -> Result<Value, RenderError> {
        self.fits(text.len())?;
        Ok(Value::String(text))
    }

    /// Counts the bytes that a made value takes against the limit of what a template may write.
    pub(super) fn fits(&self, bytes: usize) -> Result<(), RenderError> {
        if bytes > self.limits.output_bytes_max {
            return Err(output_too_long(self.limits.output_bytes_max));
        }
        Ok(())
    }

    /// A made list or object, if it is within that limit.
    pub(super) fn built(&self, value: Value) -> Result<Value, RenderError> {
        self.fits(weight(&value))?;
        Ok(value)
    }

    /// Counts `items` that a helper walks through as so many steps of the template.
    pub(super) fn work(&self, items: usize) -> Result<(), RenderError> {
        let steps = self.steps.get().saturating_add(items);
        if steps > self.limits.steps_max {
            return Err(steps_used_up(self.limits.steps_max));
        }
        self.steps.set(steps);
        Ok(())
    }
}

/// About how many bytes a value takes: a list that holds the body many times must not fill the memory.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 1,
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 1,
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>() + 1,
        _ => 1,
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

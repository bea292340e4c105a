//! JSON Schemas for request bodies: the published marketplace schemas work pasted as they are, nothing is ever fetched.
//!
//! Promise: compiling and validating do no I/O, and no message repeats a value of the body.

mod fold;
pub mod json;
mod lookup;
mod shared;
pub(crate) mod types;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

/// Most errors that one answer lists.
const ERRORS_MAX: usize = 10;
/// Most notes that folding leaves on a run.
const NOTES_MAX: usize = 10;

/// The segment that walks into a list, whatever item is meant.
const FIRST_ITEM: &str = "0";

/// How strictly a body must fit its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Keys are folded onto the schema's spelling, null counts as missing where the schema refuses null.
    #[default]
    Lenient,
    /// The body as it came.
    Strict,
    /// Validates nothing.
    None,
}

/// A compiled schema for a request body.
pub struct BodySchema {
    /// The schema as written.
    pub source: Value,
    /// How findings name it: the file's name, or `the inline schema`.
    pub name: String,
    validator: Arc<Validator>,
    /// Where in the schema's body `trigger.body` stands: empty unless a list is split.
    below: Vec<String>,
}

impl std::fmt::Debug for BodySchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodySchema").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One way in which a body does not fit. Never repeats the body's values.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BodyError {
    /// JSON pointer into the body: `/UserDetails/Phone`.
    pub pointer: String,
    /// What is wrong: `value is not of type "string"`.
    pub message: String,
}

/// A body after folding and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// What templates see.
    pub body: Value,
    /// Notes for the run: a collision of keys that differ only in case.
    pub notes: Vec<BodyError>,
}

/// What a schema says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathAnswer {
    /// The schema names it.
    Known,
    /// The schema does not name it but lets unknown fields through. With the nearest spelling, as a dotted path.
    Unknown(Option<String>),
    /// The schema refuses it (`additionalProperties: false`). With the nearest spelling.
    Closed(Option<String>),
}

impl BodySchema {
    /// Compiles `source`. The error says what is wrong with the schema, with a JSON pointer into it where known.
    pub fn compile(name: &str, source: &Value) -> Result<Self, BodyError> {
        if !source.is_object() && !source.is_boolean() {
            let message = format!("a JSON Schema is an object, this is {}", crate::template::kind_of(source));
            return Err(BodyError { pointer: String::new(), message });
        }
        // Formats are checked in every draft: the newest one would not by itself.
        let options = jsonschema::options().offline().should_validate_formats(true);
        match options.build(source) {
            Ok(validator) => Ok(Self {
                source: source.clone(),
                name: name.to_owned(),
                validator: Arc::new(validator),
                below: Vec::new(),
            }),
            Err(error) => Err(compile_error(source, &error)),
        }
    }

    /// Folds and validates `body`. At most 10 errors.
    pub fn receive(&self, body: Value, validation: Validation) -> Result<Received, Vec<BodyError>> {
        let (body, notes) = match validation {
            Validation::None => return Ok(Received { body, notes: Vec::new() }),
            Validation::Strict => (body, Vec::new()),
            Validation::Lenient => fold::fold(&self.source, body),
        };
        let mut errors: Vec<BodyError> = Vec::new();
        for error in self.validator.iter_errors(&body) {
            let error = body_error(&error);
            if !errors.contains(&error) {
                errors.push(error);
            }
            if errors.len() == ERRORS_MAX {
                break;
            }
        }
        if errors.is_empty() { Ok(Received { body, notes }) } else { Err(errors) }
    }

    /// Whether it accepts `{}`: then it catches almost nothing.
    pub fn accepts_empty_object(&self) -> bool {
        self.validator.is_valid(&Value::Object(serde_json::Map::new()))
    }

    /// What the schema says of `trigger.body` followed by `segments` (case ignored, list indexes walk `items`).
    pub fn path(&self, segments: &[String]) -> PathAnswer {
        let answer = lookup::path(&self.source, &[&self.below, segments].concat());
        let below = self.below.iter().fold(String::new(), |below, segment| below + &lookup::shown(segment) + ".");
        // What stands beside a split list is not there for whoever sees an item.
        let near = |near: Option<String>| near.and_then(|near| near.strip_prefix(&below).map(str::to_owned));
        match answer {
            PathAnswer::Known => PathAnswer::Known,
            PathAnswer::Unknown(nearby) => PathAnswer::Unknown(near(nearby)),
            PathAnswer::Closed(nearby) => PathAnswer::Closed(near(nearby)),
        }
    }

    /// What it says of one item of the list at `segments`. For [`BodySchema::path`] only: it validates whole bodies.
    #[must_use]
    pub fn item_at(&self, segments: &[String]) -> Self {
        let below = segments.iter().cloned().chain([FIRST_ITEM.to_owned()]).collect();
        let name = format!("an item of {}", self.name);
        Self { source: self.source.clone(), name, validator: Arc::clone(&self.validator), below }
    }

    /// Whether it lets a list stand at `segments`.
    pub fn may_be_list(&self, segments: &[String]) -> bool {
        lookup::may_be_list(&self.source, segments)
    }

    /// Folds `body` without validating it: a part that was validated with the whole.
    pub fn fold(&self, body: Value) -> Received {
        let (body, notes) = fold::fold(&self.source, body);
        Received { body, notes }
    }
}

/// What keeps a schema from compiling, in words that name the cause.
fn compile_error(source: &Value, error: &ValidationError<'_>) -> BodyError {
    let text = error.to_string();
    let dialect = source.get("$schema").and_then(Value::as_str).unwrap_or_default();
    if text.contains("meta-schema") || (!dialect.is_empty() && text.contains(dialect)) {
        let message = format!(
            "`$schema` is `{dialect}`, which is no known draft; write http://json-schema.org/draft-07/schema# or leave it out"
        );
        return BodyError { pointer: "/$schema".to_owned(), message };
    }
    if matches!(error.kind(), ValidationErrorKind::Referencing(_)) {
        let reference = text.split('\'').nth(1).unwrap_or("another file");
        let message = format!(
            "`$ref` points to `{reference}`, and nothing is ever fetched; put that schema under `definitions` and refer to it as #/definitions/NAME"
        );
        return BodyError { pointer: String::new(), message };
    }
    BodyError { pointer: error.instance_path().to_string(), message: text }
}

/// One error of a body; of alternatives, the error of the branch that fits best.
fn body_error(error: &ValidationError<'_>) -> BodyError {
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } = error.kind() {
        let depth = |errors: &[ValidationError<'_>]| {
            errors.iter().map(|error| error.instance_path().as_str().matches('/').count()).max().unwrap_or(0)
        };
        let best = context
            .iter()
            .filter(|errors| !errors.is_empty())
            .max_by_key(|errors| (depth(errors), std::cmp::Reverse(errors.len())));
        if let Some(inner) = best.and_then(|errors| errors.first())
            && depth(std::slice::from_ref(inner)) > error.instance_path().as_str().matches('/').count()
        {
            return body_error(inner);
        }
    }
    BodyError { pointer: error.instance_path().to_string(), message: error.masked().to_string() }
}

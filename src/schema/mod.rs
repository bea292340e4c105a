//! JSON Schemas for request bodies: the published marketplace schemas work pasted as they are, nothing is ever fetched.

use serde_json::Value;

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
        let _ = (name, source);
        unimplemented!()
    }

    /// Folds and validates `body`. At most 10 errors.
    pub fn receive(&self, body: Value, validation: Validation) -> Result<Received, Vec<BodyError>> {
        let _ = (body, validation);
        unimplemented!()
    }

    /// Whether it accepts `{}`: then it catches almost nothing.
    pub fn accepts_empty_object(&self) -> bool {
        unimplemented!()
    }

    /// What the schema says of `trigger.body` followed by `segments` (case ignored, list indexes walk `items`).
    pub fn path(&self, segments: &[String]) -> PathAnswer {
        let _ = segments;
        unimplemented!()
    }
}

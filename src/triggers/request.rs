//! The request trigger, pure: from the bytes of a request to what templates see, or to the answer that refuses it.
//!
//! Only [`decode`] looks at transport (encodings); [`parse`] is repeated from the stored raw body on every resume and
//! resubmit, so that a corrected schema works on an old lead.

use serde_json::Value;

use crate::flow::Flow;
use crate::run::TriggerData;
use crate::schema::BodyError;

/// Bounds on a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes as they come over the wire.
    pub body_bytes_max: usize,
    /// Bytes after gzip is undone.
    pub unpacked_bytes_max: usize,
    /// Nesting of JSON.
    pub json_depth_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { body_bytes_max: 1 << 20, unpacked_bytes_max: 4 << 20, json_depth_max: 64 }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code: `invalid_json`, `invalid_utf8`, `schema_mismatch`, `too_deep`, `unsupported_encoding`, …
    pub code: &'static str,
    /// One line, without lead data.
    pub message: String,
    /// Where in the body.
    pub errors: Vec<BodyError>,
}

/// A request that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// `trigger` as templates see it: `{method, path: {…}, query: {…}, headers: {…}, body}` with the folded body.
    pub trigger: Value,
    /// Whether the test marker stands in any text of the body.
    pub is_test: bool,
    /// Collisions and the like, for the run.
    pub notes: Vec<BodyError>,
}

/// Undoes `content-encoding` and checks charset and UTF-8; the BOM stays in the stored text and is skipped on parsing.
pub fn decode(headers: &[(String, String)], body: &[u8], limits: &BodyLimits) -> Result<String, Problem> {
    let _ = (headers, body, limits);
    unimplemented!()
}

/// Parses, folds and validates a decoded request against `flow`'s trigger.
pub fn parse(flow: &Flow, data: &TriggerData, limits: &BodyLimits) -> Result<Parsed, Problem> {
    let _ = (flow, data, limits);
    unimplemented!()
}

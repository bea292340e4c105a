//! The request trigger, pure: from the bytes of a request to what templates see, or to the answer that refuses it.
//!
//! Only [`decode`] looks at transport (encodings); [`parse`] is repeated from the stored raw body on every resume and
//! resubmit, so that a corrected schema works on an old lead.

use std::borrow::Cow;
use std::io::Read;

use serde_json::{Map, Value};

use super::{form, items, signature};
use crate::flow::Flow;
use crate::run::TriggerData;
use crate::schema::json::{self, JsonError};
use crate::schema::{BodyError, Validation};

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
    /// Stable code: `invalid_json`, `invalid_utf8`, `schema_mismatch`, `json_too_deep`, `unsupported_encoding`, …
    pub code: &'static str,
    /// One line, without lead data.
    pub message: String,
    /// Where in the body.
    pub errors: Vec<BodyError>,
}

impl Problem {
    /// A problem that belongs to no place in the body; one of the body (400) belongs to all of it.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let whole = BodyError { pointer: String::new(), message: message.clone() };
        Self { status, code, message, errors: if status == 400 { vec![whole] } else { Vec::new() } }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let JsonError { code, pointer, message } = error;
        Self { status: 400, code, errors: vec![BodyError { pointer, message: message.clone() }], message }
    }
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

/// Most headers that are stored with a lead; the listener admits about as many.
const HEADERS_STORED_MAX: usize = 128;

/// Most bytes of one stored header value; longer ones are cut.
const HEADER_VALUE_BYTES_MAX: usize = 8 << 10;

/// Undoes `content-encoding` and checks charset and UTF-8; the BOM stays in the stored text and is skipped on parsing.
pub fn decode(headers: &[(String, String)], body: &[u8], limits: &BodyLimits) -> Result<String, Problem> {
    text(headers, &unpack(headers, body, limits)?)
}

/// Undoes `content-encoding`: the first half of [`decode`], also for whoever keeps a refused body in readable form.
pub fn unpack<'b>(headers: &[(String, String)], body: &'b [u8], limits: &BodyLimits) -> Result<Cow<'b, [u8]>, Problem> {
    let mut packed = false;
    for coding in values(headers, "content-encoding").flat_map(|value| value.split(',')).map(str::trim) {
        match coding {
            "" => {}
            name if name.eq_ignore_ascii_case("identity") => {}
            name if is_gzip(name) && !packed => packed = true,
            _ => {
                let message = "content-encoding is not supported; send the body plain or once packed with gzip";
                return Err(Problem::new(415, "unsupported_encoding", message));
            }
        }
    }
    if packed { gunzip(body, limits.unpacked_bytes_max).map(Cow::Owned) } else { Ok(Cow::Borrowed(body)) }
}

/// Checks charset and UTF-8.
fn text(headers: &[(String, String)], body: &[u8]) -> Result<String, Problem> {
    if let Some(charset) = charset(headers)
        && !["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        && !is_plain_ascii(body)
    {
        let message = "the charset of content-type is not supported; send UTF-8";
        return Err(Problem::new(415, "unsupported_charset", message));
    }
    let looks_utf16 = body.starts_with(&[0xFF, 0xFE])
        || body.starts_with(&[0xFE, 0xFF])
        || body.len() > 1 && (body[0] == 0 || body[1] == 0);
    if looks_utf16 {
        let message = "the body is UTF-16 (byte offset 0); send UTF-8";
        return Err(unsupported_form(headers).unwrap_or_else(|| Problem::new(400, "invalid_utf8", message)));
    }
    std::str::from_utf8(body).map(str::to_owned).map_err(|error| {
        let offset = error.valid_up_to();
        let message = format!("the body is not UTF-8: invalid byte at offset {offset}");
        unsupported_form(headers).unwrap_or_else(|| Problem::new(400, "invalid_utf8", message))
    })
}

/// Parses, folds and validates a decoded request against `flow`'s trigger.
pub fn parse(flow: &Flow, data: &TriggerData, limits: &BodyLimits) -> Result<Parsed, Problem> {
    let text = data.body.strip_prefix('\u{feff}').unwrap_or(&data.body);
    let trigger = &flow.trigger;
    let schema = trigger.schema.as_ref().filter(|_| trigger.validation != Validation::None);
    let (body, notes) = if data.item.is_some() && trigger.split_on.is_some() {
        let received = items::receive(flow, data, limits)?;
        (received.body, received.notes)
    } else if text.trim_ascii().is_empty() {
        let bodiless = matches!(data.method.as_str(), "GET" | "HEAD" | "DELETE");
        if schema.is_some() && !bodiless {
            return Err(Problem::new(400, "empty_body", "the body is empty, but the flow's schema wants a lead"));
        }
        (Value::Null, Vec::new())
    } else {
        let body = json::parse(text, "the body", limits.json_depth_max)
            .or_else(|error| form_body(data, text, error.into()))?;
        match schema {
            Some(schema) => {
                let received =
                    schema.receive(body, trigger.validation).map_err(|errors| mismatch(&schema.name, errors))?;
                (received.body, received.notes)
            }
            None => (body, Vec::new()),
        }
    };
    let is_test = has_marker(&body, &trigger.test_leads.marker);
    Ok(Parsed { trigger: trigger_value(data, body), is_test, notes })
}

/// A body that is not JSON: a form, where its content type says so.
fn form_body(data: &TriggerData, text: &str, problem: Problem) -> Result<Value, Problem> {
    match media(&data.headers) {
        Some(media) if form::is_form(&media) && !form::looks_like_json(text) => form::parse(text),
        _ => Err(unsupported_form(&data.headers).unwrap_or(problem)),
    }
}

/// The headers that may be stored: lower-case names, without credentials and cookies, with signatures blotted out of
/// the URLs that proxies put into headers, and cut to a bounded size.
pub fn safe_headers<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Vec<(String, String)> {
    headers
        .filter(|(name, _)| !is_credential(name))
        .take(HEADERS_STORED_MAX)
        .map(|(name, value)| {
            let cut = &value[..value.len().min(HEADER_VALUE_BYTES_MAX)];
            let value = String::from_utf8_lossy(cut);
            let value = match signature::redact(&value) {
                Cow::Borrowed(_) => value.into_owned(),
                Cow::Owned(clean) => clean,
            };
            (name.to_ascii_lowercase(), value)
        })
        .collect()
}

/// Whether a header carries what lets somebody in.
fn is_credential(name: &str) -> bool {
    const EXACT: [&str; 6] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-functions-key",
        "ocp-apim-subscription-key",
    ];
    const PARTS: [&str; 9] =
        ["api-key", "apikey", "api_key", "token", "secret", "password", "credential", "session", "jwt"];
    let name = name.to_ascii_lowercase();
    EXACT.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

fn mismatch(schema: &str, errors: Vec<BodyError>) -> Problem {
    let more = if errors.len() > 1 { format!(" in {} places", errors.len()) } else { String::new() };
    let message = format!("the body does not fit {schema}{more}; errors names what is wrong");
    Problem { status: 400, code: "schema_mismatch", message, errors }
}

/// `trigger` as templates see it.
fn trigger_value(data: &TriggerData, body: Value) -> Value {
    let mut trigger = Map::with_capacity(5);
    trigger.insert("method".into(), Value::String(data.method.clone()));
    trigger.insert("path".into(), object(&data.path, |_, later| later.into()));
    trigger.insert("query".into(), object(&data.query, as_list));
    trigger.insert("headers".into(), object(&data.headers, as_joined));
    trigger.insert("body".into(), body);
    Value::Object(trigger)
}

/// An object of `pairs`; `join` makes one value of a repeated name's values.
fn object(pairs: &[(String, String)], join: fn(Value, &str) -> Value) -> Value {
    let mut object = Map::with_capacity(pairs.len());
    for (name, value) in pairs {
        match object.get_mut(name) {
            Some(earlier) => *earlier = join(earlier.take(), value),
            None => {
                object.insert(name.clone(), value.as_str().into());
            }
        }
    }
    Value::Object(object)
}

/// A repeated query parameter is a list.
fn as_list(earlier: Value, later: &str) -> Value {
    match earlier {
        Value::Array(mut list) => {
            list.push(later.into());
            Value::Array(list)
        }
        one => Value::Array(vec![one, later.into()]),
    }
}

/// A repeated header is one text, joined as HTTP joins it.
fn as_joined(earlier: Value, later: &str) -> Value {
    match earlier {
        Value::String(earlier) => Value::String(earlier + ", " + later),
        other => other,
    }
}

/// Whether `marker` stands in any text of `body`. An empty marker marks nothing.
fn has_marker(body: &Value, marker: &str) -> bool {
    match body {
        Value::String(text) => !marker.is_empty() && text.contains(marker),
        Value::Array(items) => items.iter().any(|item| has_marker(item, marker)),
        Value::Object(entries) => entries.values().any(|value| has_marker(value, marker)),
        _ => false,
    }
}

/// The refusal of a body that is not JSON, when its content type says that it has several parts.
fn unsupported_form(headers: &[(String, String)]) -> Option<Problem> {
    let is_multipart = media(headers)?.starts_with("multipart/");
    let message = "a multipart body is not supported; send JSON or a form (application/x-www-form-urlencoded)";
    is_multipart.then(|| Problem::new(415, "unsupported_media_type", message))
}

/// The media type without its parameters, in lower case.
fn media(headers: &[(String, String)]) -> Option<String> {
    Some(values(headers, "content-type").next()?.split(';').next()?.trim().to_ascii_lowercase())
}

fn charset(headers: &[(String, String)]) -> Option<&str> {
    let content_type = values(headers, "content-type").next()?;
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// Bytes that mean the same under every charset that a lead may be labelled with: a wrong label must not lose it.
fn is_plain_ascii(body: &[u8]) -> bool {
    body.is_ascii() && !body.contains(&0)
}

fn values<'h>(headers: &'h [(String, String)], name: &str) -> impl Iterator<Item = &'h str> {
    headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn is_gzip(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
}

/// Unpacks at most `bytes_max`; what would be larger is never held in memory.
fn gunzip(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::with_capacity(packed.len().saturating_mul(2).min(bytes_max));
    flate2::read::MultiGzDecoder::new(packed)
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|_| Problem::new(400, "invalid_gzip", "the body is not complete gzip, as content-encoding says"))?;
    if unpacked.len() > bytes_max {
        let message = format!("the unpacked body is larger than limits.body_unpacked ({bytes_max} bytes)");
        return Err(Problem::new(413, "body_too_large", message));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests;

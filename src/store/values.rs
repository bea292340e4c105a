//! Values as the stores keep them: JSON text, with large values apart. Pure; every database uses it.
//!
//! Promise: what is read is what was written. A value over [`PAYLOAD_BYTES_MIN`] lies in `payloads`; a row keeps `@` and
//! its number (columns) or its number under another key (`io`), so no lead can be mistaken for a reference.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{StepIo, StepRow};
use crate::flow::secure::Secure;
use crate::ids::RunId;
use crate::run::{Failure, Try};

/// Values with more bytes than this lie in `payloads`, so that an update of a run never copies them.
pub(super) const PAYLOAD_BYTES_MIN: usize = 2 << 10;

/// Bit of `steps.flags`: the other side may have acted twice.
const FLAG_POSSIBLE_REPEAT: i64 = 1;
/// Bits of `steps.flags`: inputs, outputs and error are secure.
const FLAG_SECURE_INPUTS: i64 = 2;
const FLAG_SECURE_OUTPUTS: i64 = 4;
const FLAG_SECURE_ERROR: i64 = 8;
/// All of them.
pub(super) const FLAGS_SECURE: i64 = FLAG_SECURE_INPUTS | FLAG_SECURE_OUTPUTS | FLAG_SECURE_ERROR;

/// A value that is there and cannot be understood. Its text never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) String);

/// A payload that is to be written beside its run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Its number: made of its content, so that the same value of a run is stored once.
    pub(super) n: i64,
    /// The value as JSON.
    pub(super) text: String,
}

impl Payload {
    fn new(text: String) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self { n: i64::from_be_bytes(first), text }
    }
}

/// The text of a column: itself, or a reference to the payload that is added to `payloads`.
pub(super) fn split(text: String, payloads: &mut Vec<Payload>) -> String {
    if text.len() <= PAYLOAD_BYTES_MIN {
        return text;
    }
    let payload = Payload::new(text);
    let reference = format!("@{}", payload.n);
    payloads.push(payload);
    reference
}

/// `value` as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value)
}

/// The column `io` of a step.
pub(super) fn io_text(io: &StepIo, payloads: &mut Vec<Payload>) -> serde_json::Result<String> {
    let mut out = String::from("{");
    for (name, value) in [("inputs", &io.inputs), ("outputs", &io.outputs)] {
        let Some(value) = value else { continue };
        let text = json(value)?;
        if text.len() <= PAYLOAD_BYTES_MIN {
            push_field(&mut out, name, "", &text);
        } else {
            let payload = Payload::new(text);
            push_field(&mut out, name, "_at", &payload.n.to_string());
            payloads.push(payload);
        }
    }
    if let Some(error) = &io.error {
        push_field(&mut out, "error", "", &json(error)?);
    }
    if !io.tries.is_empty() {
        push_field(&mut out, "tries", "", &json(&io.tries)?);
    }
    if let Some(change) = io.change {
        push_field(&mut out, "change", "", &change.to_string());
    }
    if let Some(child) = io.child {
        push_field(&mut out, "child", "", &json(&child)?);
    }
    out.push('}');
    Ok(out)
}

fn push_field(out: &mut String, name: &str, suffix: &str, json: &str) {
    let comma = if out.len() > 1 { "," } else { "" };
    // Writing to a string cannot fail.
    let _ = write!(out, "{comma}\"{name}{suffix}\":{json}");
}

/// The column `io` as written by [`io_text`].
#[derive(Deserialize)]
struct IoText {
    #[serde(default, deserialize_with = "present")]
    inputs: Option<Value>,
    #[serde(default)]
    inputs_at: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    outputs: Option<Value>,
    #[serde(default)]
    outputs_at: Option<i64>,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    tries: Vec<Try>,
    #[serde(default)]
    change: Option<u64>,
    #[serde(default)]
    child: Option<RunId>,
}

/// A `null` that is there is a value: serde alone would read it as absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads the values of a step back; `payload` gives the text of a payload.
pub(super) fn io<E: From<Unreadable>>(
    text: &str,
    mut payload: impl FnMut(i64) -> Result<String, E>,
) -> Result<StepIo, E> {
    let stored: IoText = from_json(text)?;
    let mut part = |inline: Option<Value>, reference: Option<i64>| match reference {
        Some(n) => Ok(Some(from_json(&payload(n)?)?)),
        None => Ok::<_, E>(inline),
    };
    Ok(StepIo {
        inputs: part(stored.inputs, stored.inputs_at)?,
        outputs: part(stored.outputs, stored.outputs_at)?,
        error: stored.error,
        tries: stored.tries,
        change: stored.change,
        secure: Secure::default(),
        child: stored.child,
    })
}

/// The payloads that the column `io` refers to.
pub(super) fn io_references(text: &str) -> Result<impl Iterator<Item = i64>, Unreadable> {
    let stored: IoText = from_json(text)?;
    Ok(stored.inputs_at.into_iter().chain(stored.outputs_at))
}

/// The payload that a column written by [`split`] refers to.
pub(super) fn reference(text: &str) -> Result<Option<i64>, Unreadable> {
    let Some(n) = text.strip_prefix('@') else { return Ok(None) };
    n.parse().map(Some).map_err(|_| Unreadable("not the number of a payload".to_owned()))
}

/// The value of a column that [`split`] wrote; `payload` gives the text of a payload.
pub(super) fn joined<T: for<'de> Deserialize<'de>, E: From<Unreadable>>(
    text: &str,
    payload: impl FnOnce(i64) -> Result<String, E>,
) -> Result<T, E> {
    match reference(text)? {
        Some(n) => Ok(from_json(&payload(n)?)?),
        None => Ok(from_json(text)?),
    }
}

/// Parses JSON.
pub(super) fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Unreadable> {
    // serde's message may quote the text, which is a lead's: say only that it does not parse.
    serde_json::from_str(text).map_err(|error| Unreadable(format!("not the JSON expected: {:?}", error.classify())))
}

/// The column `flags` of a step.
pub(super) fn flags(step: &StepRow) -> i64 {
    let Secure { inputs, outputs, error } = step.io.secure;
    let bits = [
        (step.possible_repeat, FLAG_POSSIBLE_REPEAT),
        (inputs, FLAG_SECURE_INPUTS),
        (outputs, FLAG_SECURE_OUTPUTS),
        (error, FLAG_SECURE_ERROR),
    ];
    bits.into_iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum()
}

/// What `flags` say is secure.
pub(super) fn secure(flags: i64) -> Secure {
    let has = |bit| flags & bit != 0;
    Secure { inputs: has(FLAG_SECURE_INPUTS), outputs: has(FLAG_SECURE_OUTPUTS), error: has(FLAG_SECURE_ERROR) }
}

/// Whether `flags` say that the other side may have acted twice.
pub(super) fn possible_repeat(flags: i64) -> bool {
    flags & FLAG_POSSIBLE_REPEAT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_values_leave_the_row() {
        let mut payloads = Vec::new();
        let small = "x".repeat(PAYLOAD_BYTES_MIN);
        assert_eq!(split(small.clone(), &mut payloads), small);
        assert_eq!(payloads, []);
        let reference = split(format!("{small}y"), &mut payloads);
        assert_eq!(reference, format!("@{}", payloads[0].n));
        assert_eq!(payloads[0], Payload::new(format!("{small}y")), "the same value has the same number");
    }

    #[test]
    fn an_io_without_anything_is_an_empty_object() {
        assert_eq!(io_text(&StepIo::default(), &mut Vec::new()).expect("serialises"), "{}");
    }

    #[test]
    fn an_error_never_quotes_the_lead() {
        let error = from_json::<Vec<Failure>>(r#"["Ada Lovelace"]"#).expect_err("not a failure");
        assert!(!error.to_string().contains("Ada"), "{error}");
    }

    #[test]
    fn an_io_tells_which_payloads_it_needs() {
        let large = || Some(Value::from("x".repeat(5_000)));
        let io = StepIo { inputs: large(), outputs: Some(Value::from(1)), ..StepIo::default() };
        let mut payloads = Vec::new();
        let text = io_text(&io, &mut payloads).expect("serialises");
        let needed: Vec<i64> = io_references(&text).expect("reads").collect();
        assert_eq!(needed, [payloads[0].n]);
    }
}

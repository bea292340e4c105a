//! Rows into values and values into rows, and the one mapping of SQLite's errors.
//!
//! Promise: what is read is what was written. A value over [`PAYLOAD_BYTES_MIN`] lies in `payloads`; a row keeps `@` and
//! its number (columns) or its number under another key (`io`), so no lead can be mistaken for a reference.

use std::fmt::Write as _;

use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, ErrorCode, Row};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::flow::secure::Secure;
use crate::ids::RunId;
use crate::run::{Failure, Parent, RunStatus, StepStatus, TriggerData, Try};
use crate::store::{RunRow, StepIo, StepRow, StoreError};

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

/// The columns of [`run_row`], without the trigger.
pub(super) const RUN_COLUMNS: &str = "run_id, flow, text_id, status, code, is_test, received_at, finished_at, lane, \
     due_at, owner, epoch, strikes, inflight, cancel, duplicate_of, origin_run, key_run, answer, parent_run, \
     parent_step, depth";

/// The place of `trigger` behind [`RUN_COLUMNS`].
const TRIGGER_COLUMN: usize = 22;

/// The columns of [`step_row`], without `io`.
pub(super) const STEP_COLUMNS: &str = "idx, name, status, attempt, due_at, started_at, finished_at, outcome, flags";

/// The place of `io` behind [`STEP_COLUMNS`].
pub(super) const IO_COLUMN: usize = 9;

/// What a failed statement means to the caller. SQLite's messages name tables and columns, never values.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let said = message.clone().unwrap_or_else(|| failure.to_string());
            match failure.code {
                ErrorCode::NotADatabase => {
                    StoreError::Unusable("the file is not an SQLite database; choose another --data".to_owned())
                }
                ErrorCode::DatabaseCorrupt => {
                    StoreError::Unusable(format!("the database is damaged ({said}); restore it from a backup"))
                }
                _ => StoreError::Unavailable(said),
            }
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => {
            StoreError::Unusable(format!("a stored row cannot be read ({error}); was it written by a newer leadflow?"))
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// A payload that is to be written after its run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    n: i64,
    text: String,
}

impl Payload {
    /// Numbered by content: the same value of a run is stored once.
    fn new(text: String) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self { n: i64::from_be_bytes(first), text }
    }

    /// Writes it; a second time changes nothing.
    pub(super) fn insert(&self, conn: &Connection, run: RunId) -> rusqlite::Result<()> {
        conn.prepare_cached("INSERT INTO payloads (run_id, n, bytes) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute((run.bytes(), self.n, self.text.as_bytes()))
            .map(drop)
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
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The column `io` of a step.
pub(super) fn io_text(io: &StepIo, payloads: &mut Vec<Payload>) -> rusqlite::Result<String> {
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

/// Reads the values of a step back.
pub(super) fn io(conn: &Connection, run: RunId, row: &Row<'_>, at: usize) -> rusqlite::Result<StepIo> {
    let stored: IoText = from_json(at, text(row, at)?)?;
    let part = |inline: Option<Value>, reference: Option<i64>| match reference {
        Some(n) => payload(conn, run, n).and_then(|text| from_json(at, &text)).map(Some),
        None => Ok(inline),
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

/// The value of a column that [`split`] wrote.
fn joined<T: for<'de> Deserialize<'de>>(
    conn: &Connection,
    run: RunId,
    row: &Row<'_>,
    at: usize,
) -> rusqlite::Result<Option<T>> {
    let ValueRef::Text(bytes) = row.get_ref(at)? else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(at, error))?;
    match text.strip_prefix('@') {
        Some(n) => {
            let n = n.parse().map_err(|error| unreadable(at, error))?;
            from_json(at, &payload(conn, run, n)?).map(Some)
        }
        None => from_json(at, text).map(Some),
    }
}

fn payload(conn: &Connection, run: RunId, n: i64) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT bytes FROM payloads WHERE run_id = ?1 AND n = ?2")?.query_row((run.bytes(), n), |row| {
        let bytes: Vec<u8> = row.get(0)?;
        String::from_utf8(bytes).map_err(|error| unreadable(0, error))
    })
}

/// Parses JSON that stands in column `at`.
pub(super) fn from_json<T: for<'de> Deserialize<'de>>(at: usize, text: &str) -> rusqlite::Result<T> {
    // serde's message may quote the text, which is a lead's: say only that it does not parse.
    serde_json::from_str(text).map_err(|error| unreadable(at, format!("not the JSON expected: {:?}", error.classify())))
}

/// An error that says: this row is there, and cannot be understood.
pub(super) fn unreadable(
    at: usize,
    why: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Text, why.into())
}

/// The run id in column `at`.
pub(super) fn run_id(row: &Row<'_>, at: usize) -> rusqlite::Result<RunId> {
    row.get(at).map(RunId::from_bytes)
}

/// The run id in column `at`, if there is one.
pub(super) fn run_id_or_null(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<RunId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(at)?.map(RunId::from_bytes))
}

/// The run status in column `at`.
pub(super) fn run_status(row: &Row<'_>, at: usize) -> rusqlite::Result<RunStatus> {
    RunStatus::parse(text(row, at)?).ok_or_else(|| unreadable(at, "an unknown run status"))
}

/// The text in column `at`, borrowed.
pub(super) fn text<'a>(row: &'a Row<'_>, at: usize) -> rusqlite::Result<&'a str> {
    row.get_ref(at)?.as_str().map_err(|error: FromSqlError| unreadable(at, error))
}

/// A row of [`RUN_COLUMNS`]; the trigger, which stands behind them, is read when `with_trigger` is set.
pub(super) fn run_row(conn: &Connection, row: &Row<'_>, with_trigger: bool) -> rusqlite::Result<RunRow> {
    let run = run_id(row, 0)?;
    Ok(RunRow {
        run_id: run,
        flow: row.get(1)?,
        text_id: row.get(2)?,
        status: run_status(row, 3)?,
        code: row.get(4)?,
        is_test: row.get(5)?,
        received_at: row.get(6)?,
        finished_at: row.get(7)?,
        lane: row.get(8)?,
        due_at: row.get(9)?,
        owner: row.get(10)?,
        epoch: row.get(11)?,
        strikes: row.get(12)?,
        inflight: from_json(13, text(row, 13)?)?,
        cancel: row.get(14)?,
        duplicate_of: run_id_or_null(row, 15)?,
        origin_run: run_id_or_null(row, 16)?,
        key_run: run_id(row, 17)?,
        answer: joined(conn, run, row, 18)?,
        parent: match run_id_or_null(row, 19)? {
            Some(run) => Some(Parent { run, step: row.get(20)?, depth: row.get(21)? }),
            None => None,
        },
        trigger: if with_trigger { joined::<TriggerData>(conn, run, row, TRIGGER_COLUMN)? } else { None },
    })
}

/// A row of [`STEP_COLUMNS`] with the values `io`.
pub(super) fn step_row(row: &Row<'_>, io: StepIo) -> rusqlite::Result<StepRow> {
    let flags: i64 = row.get(8)?;
    Ok(StepRow {
        idx: row.get(0)?,
        name: row.get(1)?,
        status: StepStatus::parse(text(row, 2)?).ok_or_else(|| unreadable(2, "an unknown step status"))?,
        attempt: row.get(3)?,
        due_at: row.get(4)?,
        started_at: row.get(5)?,
        finished_at: row.get(6)?,
        outcome: row.get(7)?,
        possible_repeat: flags & FLAG_POSSIBLE_REPEAT != 0,
        io: StepIo { secure: secure(flags), ..io },
    })
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
        let error = from_json::<Vec<Failure>>(0, r#"["Ada Lovelace"]"#).expect_err("not a failure");
        assert!(!error.to_string().contains("Ada"), "{error}");
    }
}

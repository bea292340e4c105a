//! Rows into values and values into rows, and the one mapping of SQLite's errors. What a value looks like is told in
//! [`values`](crate::store::values).

use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, ErrorCode, Row};
use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::run::{Parent, RunStatus, StepStatus, TriggerData};
use crate::store::values::{self, Payload, Unreadable};
use crate::store::{RunRow, StepIo, StepRow, StoreError};

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

impl From<Unreadable> for rusqlite::Error {
    fn from(error: Unreadable) -> Self {
        unreadable(0, error)
    }
}

/// Writes a payload; a second time changes nothing.
pub(super) fn insert_payload(conn: &Connection, run: RunId, payload: &Payload) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO payloads (run_id, n, bytes) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute((run.bytes(), payload.n, payload.text.as_bytes()))
        .map(drop)
}

/// `value` as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    values::json(value).map_err(unwritable)
}

/// The column `io` of a step.
pub(super) fn io_text(io: &StepIo, payloads: &mut Vec<Payload>) -> rusqlite::Result<String> {
    values::io_text(io, payloads).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

/// Reads the values of a step back.
pub(super) fn io(conn: &Connection, run: RunId, row: &Row<'_>, at: usize) -> rusqlite::Result<StepIo> {
    values::io(text(row, at)?, |n| payload(conn, run, n))
}

/// The value of a column that [`values::split`] wrote.
fn joined<T: for<'de> Deserialize<'de>>(
    conn: &Connection,
    run: RunId,
    row: &Row<'_>,
    at: usize,
) -> rusqlite::Result<Option<T>> {
    let ValueRef::Text(bytes) = row.get_ref(at)? else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(at, error))?;
    values::joined(text, |n| payload(conn, run, n)).map(Some)
}

fn payload(conn: &Connection, run: RunId, n: i64) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT bytes FROM payloads WHERE run_id = ?1 AND n = ?2")?.query_row((run.bytes(), n), |row| {
        let bytes: Vec<u8> = row.get(0)?;
        String::from_utf8(bytes).map_err(|error| unreadable(0, error))
    })
}

/// Parses JSON that stands in column `at`.
pub(super) fn from_json<T: for<'de> Deserialize<'de>>(at: usize, text: &str) -> rusqlite::Result<T> {
    values::from_json(text).map_err(|error| unreadable(at, error))
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
        possible_repeat: values::possible_repeat(flags),
        io: StepIo { secure: values::secure(flags), ..io },
    })
}

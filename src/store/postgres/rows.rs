//! Rows into values. What a value looks like is told in [`values`](crate::store::values).

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::fault::{Done, Fault};
use crate::ids::RunId;
use crate::run::{Parent, RunStatus, StepStatus};
use crate::store::values::{self, Unreadable};
use crate::store::{RunRow, StepIo, StepRow};

/// The columns of [`run_row`], without the trigger. Of the table `runs`, however many others a query has.
pub(super) const RUN_COLUMNS: &str = "runs.run_id, runs.flow, runs.text_id, runs.status, runs.code, runs.is_test, \
     runs.received_at, runs.finished_at, runs.lane, runs.due_at, runs.owner, runs.epoch, runs.strikes, runs.inflight, \
     runs.cancel, runs.duplicate_of, runs.origin_run, runs.key_run, runs.answer, runs.parent_run, runs.parent_step, \
     runs.depth";

/// The place of `trigger` behind [`RUN_COLUMNS`].
pub(super) const TRIGGER_COLUMN: usize = 22;

/// The columns of [`step_row`], without `io`.
pub(super) const STEP_COLUMNS: &str =
    "run_id, idx, name, status, attempt, due_at, started_at, finished_at, outcome, flags";

/// The place of `io` behind [`STEP_COLUMNS`].
pub(super) const IO_COLUMN: usize = 10;

/// The id as PostgreSQL knows it.
pub(super) fn uuid(run: RunId) -> Uuid {
    Uuid::from_bytes(*run.bytes())
}

/// Several of them.
pub(super) fn uuids(runs: &[RunId]) -> Vec<Uuid> {
    runs.iter().copied().map(uuid).collect()
}

/// The value in column `at`.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Done<T> {
    Ok(row.try_get(at)?)
}

/// The run id in column `at`.
pub(super) fn run_id(row: &Row, at: usize) -> Done<RunId> {
    get::<Uuid>(row, at).map(|id| RunId::from_bytes(id.into_bytes()))
}

/// The run id in column `at`, if there is one.
pub(super) fn run_id_or_null(row: &Row, at: usize) -> Done<Option<RunId>> {
    Ok(get::<Option<Uuid>>(row, at)?.map(|id| RunId::from_bytes(id.into_bytes())))
}

/// The count in column `at`.
pub(super) fn count(row: &Row, at: usize) -> Done<u64> {
    get::<i64>(row, at).map(|count| u64::try_from(count).unwrap_or(0))
}

/// The small number in column `at`.
pub(super) fn small(row: &Row, at: usize) -> Done<u32> {
    u32::try_from(get::<i64>(row, at)?).map_err(|_| unreadable("a number out of its range"))
}

/// The run status in column `at`.
pub(super) fn run_status(row: &Row, at: usize) -> Done<RunStatus> {
    RunStatus::parse(get(row, at)?).ok_or_else(|| unreadable("an unknown run status"))
}

fn unreadable(why: &str) -> Fault {
    Fault::Unreadable(Unreadable(why.to_owned()))
}

/// Payloads that were read beside the rows that refer to them.
#[derive(Default)]
pub(super) struct Payloads(HashMap<(RunId, i64), String>);

impl Payloads {
    /// The columns that [`Payloads::read`] needs.
    pub(super) const COLUMNS: &str = "run_id, n, bytes";

    /// What these rows hold.
    pub(super) fn read(rows: &[Row]) -> Done<Self> {
        let mut payloads = HashMap::with_capacity(rows.len());
        for row in rows {
            let text = String::from_utf8(get(row, 2)?).map_err(|_| unreadable("a payload that is no UTF-8"))?;
            payloads.insert((run_id(row, 0)?, get(row, 1)?), text);
        }
        Ok(Self(payloads))
    }

    fn text(&self, run: RunId, n: i64) -> Done<String> {
        self.0.get(&(run, n)).cloned().ok_or_else(|| unreadable("a payload is missing"))
    }
}

/// A row of [`RUN_COLUMNS`]; the trigger, which stands behind them, is read when `with_trigger` is set.
pub(super) fn run_row(row: &Row, payloads: &Payloads, with_trigger: bool) -> Done<RunRow> {
    let run = run_id(row, 0)?;
    let answer: Option<&str> = get(row, 18)?;
    let trigger: Option<&str> = if with_trigger { get(row, TRIGGER_COLUMN)? } else { None };
    Ok(RunRow {
        run_id: run,
        flow: get(row, 1)?,
        text_id: get(row, 2)?,
        status: run_status(row, 3)?,
        code: get(row, 4)?,
        is_test: get(row, 5)?,
        received_at: get(row, 6)?,
        finished_at: get(row, 7)?,
        lane: get(row, 8)?,
        due_at: get(row, 9)?,
        owner: get(row, 10)?,
        epoch: get(row, 11)?,
        strikes: small(row, 12)?,
        inflight: values::from_json(get(row, 13)?)?,
        cancel: get(row, 14)?,
        duplicate_of: run_id_or_null(row, 15)?,
        origin_run: run_id_or_null(row, 16)?,
        key_run: run_id(row, 17)?,
        answer: answer.map(|text| values::joined(text, |n| payloads.text(run, n))).transpose()?,
        parent: match run_id_or_null(row, 19)? {
            Some(parent) => Some(Parent { run: parent, step: get(row, 20)?, depth: small(row, 21)? }),
            None => None,
        },
        trigger: trigger.map(|text| values::joined(text, |n| payloads.text(run, n))).transpose()?,
    })
}

/// The values of a step, which stand behind [`STEP_COLUMNS`].
pub(super) fn io(row: &Row, payloads: &Payloads) -> Done<StepIo> {
    let run = run_id(row, 0)?;
    values::io(get(row, IO_COLUMN)?, |n| payloads.text(run, n))
}

/// A row of [`STEP_COLUMNS`] with the values `io`.
pub(super) fn step_row(row: &Row, io: StepIo) -> Done<StepRow> {
    let flags: i64 = get(row, 9)?;
    Ok(StepRow {
        idx: get(row, 1)?,
        name: get(row, 2)?,
        status: StepStatus::parse(get(row, 3)?).ok_or_else(|| unreadable("an unknown step status"))?,
        attempt: small(row, 4)?,
        due_at: get(row, 5)?,
        started_at: get(row, 6)?,
        finished_at: get(row, 7)?,
        outcome: get(row, 8)?,
        possible_repeat: values::possible_repeat(flags),
        io: StepIo { secure: values::secure(flags), ..io },
    })
}

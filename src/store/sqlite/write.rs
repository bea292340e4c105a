//! The verbs that write a run: accept, commit, cancel.

use rusqlite::{Connection, OptionalExtension, params};

use super::queue::Class;
use super::records;
use super::rows::{self, json};
use super::writer::{Applied, Fault, Verb};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::standing::Standing;
use crate::store::values;
use crate::store::{CancelAnswer, NewRun, RunCommit, StepIo, StepRow, StoreError};

/// [`Store::accept`](crate::store::Store::accept).
pub(super) struct Accept(pub(super) NewRun);

impl Verb for Accept {
    type Answer = ();
    const CLASS: Class = Class::Accept;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        Ok(insert_run(conn, &self.0, Standing::plain(&self.0.run))?)
    }
}

/// Inserts a run. One that is there already is a repeat after a lost answer: it stays as it is.
pub(super) fn insert_run(conn: &Connection, new: &NewRun, standing: Standing) -> rusqlite::Result<()> {
    let replaced = standing.row(&new.run);
    let run = replaced.as_ref().unwrap_or(&new.run);
    let mut payloads = Vec::new();
    let trigger = run.trigger.as_ref().map(json).transpose()?.map(|text| values::split(text, &mut payloads));
    let answer = run.answer.as_ref().map(json).transpose()?.map(|text| values::split(text, &mut payloads));
    let inserted = conn
        .prepare_cached(
            "INSERT INTO runs (run_id, flow, text_id, status, code, is_test, received_at, finished_at, lane, due_at, \
             owner, epoch, strikes, inflight, cancel, duplicate_of, origin_run, key_run, answer, \"trigger\", gate, parent_run, \
             parent_step, depth) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) \
             ON CONFLICT (run_id) DO NOTHING",
        )?
        .execute(params![
            run.run_id.bytes(),
            run.flow,
            run.text_id,
            run.status.as_str(),
            run.code,
            run.is_test,
            run.received_at,
            run.finished_at,
            run.lane,
            run.due_at,
            run.owner,
            run.epoch,
            run.strikes,
            json(&run.inflight)?,
            run.cancel,
            run.duplicate_of.as_ref().map(RunId::bytes),
            run.origin_run.as_ref().map(RunId::bytes),
            run.key_run.bytes(),
            answer,
            trigger,
            standing.gate(),
            run.parent.as_ref().map(|parent| parent.run.bytes()),
            run.parent.as_ref().map(|parent| parent.step.as_str()),
            run.parent.as_ref().map_or(0, |parent| parent.depth),
        ])?;
    if inserted == 0 {
        return Ok(());
    }
    for payload in payloads {
        rows::insert_payload(conn, run.run_id, &payload)?;
    }
    if !standing.keeps_steps() {
        return Ok(());
    }
    insert_steps(conn, run.run_id, &new.steps)?;
    if run.status.is_final() {
        forget_secure(conn, run.run_id)?;
    }
    records::write(conn, &new.records)
}

/// [`Store::commit`](crate::store::Store::commit).
pub(super) struct Commit(pub(super) RunCommit);

impl Verb for Commit {
    type Answer = ();
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<()> {
        let commit = &self.0;
        let mut payloads = Vec::new();
        let answer = commit.answer.as_ref().map(json).transpose()?.map(|text| values::split(text, &mut payloads));
        let is_final = commit.status.is_final();
        let inflight = if is_final { "[]".to_owned() } else { json(&commit.inflight)? };
        // A run that is to be cancelled is never put aside: given back, it is due at once, not held, and in no lane
        // that may be paused, so that a worker finds it although the request came while this one worked on it.
        let changed = conn
            .prepare_cached(
                "UPDATE runs SET \
                   status = iif(cancel AND ?4 = 'held', 'queued', ?4), code = iif(cancel AND ?4 = 'held', NULL, ?5), \
                   finished_at = ?6, lane = iif(cancel AND ?9, '', ?7), \
                   due_at = iif(cancel AND ?9, min(?8, received_at), ?8), owner = iif(?9, NULL, owner), inflight = ?10, answer = coalesce(?11, answer), \
                   strikes = iif(?12, 0, strikes) \
                 WHERE run_id = ?1 AND owner = ?2 AND epoch = ?3",
            )?
            .execute(params![
                commit.run_id.bytes(),
                commit.owner,
                commit.epoch,
                commit.status.as_str(),
                commit.code,
                commit.finished_at,
                commit.lane,
                commit.due_at,
                commit.release || is_final,
                inflight,
                answer,
                commit.steps.iter().any(|step| step.status.is_final()),
            ])?;
        if changed != 1 {
            return Err(Fault::Refused(StoreError::Fenced));
        }
        for payload in payloads {
            rows::insert_payload(conn, commit.run_id, &payload)?;
        }
        insert_steps(conn, commit.run_id, &commit.steps)?;
        if is_final {
            forget_secure(conn, commit.run_id)?;
        }
        records::write(conn, &commit.records)?;
        for start in &commit.starts {
            insert_run(conn, start, Standing::plain(&start.run))?;
        }
        if let Some((parent, now)) = commit.wakes {
            conn.prepare_cached(
                "UPDATE runs SET due_at = ?2 WHERE run_id = ?1 AND owner IS NULL AND finished_at IS NULL \
                 AND status <> 'held' AND due_at > ?2",
            )?
            .execute((parent.bytes(), now))?;
        }
        Ok(())
    }
}

fn insert_steps(conn: &Connection, run: RunId, steps: &[StepRow]) -> rusqlite::Result<()> {
    let mut payloads = Vec::new();
    for step in steps {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO steps \
             (run_id, idx, name, status, attempt, due_at, started_at, finished_at, outcome, flags, io) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            run.bytes(),
            step.idx,
            step.name,
            step.status.as_str(),
            step.attempt,
            step.due_at,
            step.started_at,
            step.finished_at,
            step.outcome,
            values::flags(step),
            rows::io_text(&step.io, &mut payloads)?,
        ])?;
    }
    payloads.iter().try_for_each(|payload| rows::insert_payload(conn, run, payload))
}

/// Overwrites what is secure in the steps of a run that has ended, and deletes the payloads that nothing refers to any
/// more: one that a step which is not secure holds too stays.
fn forget_secure(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    let mut select =
        conn.prepare_cached("SELECT idx, name, flags, io FROM steps WHERE run_id = ?1 AND flags & ?2 != 0")?;
    let mut secure = select.query((run.bytes(), values::FLAGS_SECURE))?;
    let mut hidden: Vec<(String, String, String)> = Vec::new();
    while let Some(row) = secure.next()? {
        let mut io = StepIo { secure: values::secure(row.get(2)?), ..rows::io(conn, run, row, 3)? };
        io.hide();
        // What is hidden is short, and a payload of what is not secure is there already.
        hidden.push((row.get(0)?, row.get(1)?, rows::io_text(&io, &mut Vec::new())?));
    }
    if hidden.is_empty() {
        return Ok(());
    }
    for (idx, name, io) in hidden {
        conn.prepare_cached("UPDATE steps SET io = ?4 WHERE run_id = ?1 AND idx = ?2 AND name = ?3")?
            .execute(params![run.bytes(), idx, name, io])?;
    }
    conn.prepare_cached(
        "WITH used(n) AS ( \
           SELECT io ->> '$.inputs_at' FROM steps WHERE run_id = ?1 \
           UNION SELECT io ->> '$.outputs_at' FROM steps WHERE run_id = ?1 \
           UNION SELECT CAST(substr(\"trigger\", 2) AS INTEGER) FROM runs WHERE run_id = ?1 AND \"trigger\" LIKE '@%' \
           UNION SELECT CAST(substr(answer, 2) AS INTEGER) FROM runs WHERE run_id = ?1 AND answer LIKE '@%') \
         DELETE FROM payloads WHERE run_id = ?1 AND n NOT IN (SELECT n FROM used WHERE n IS NOT NULL)",
    )?
    .execute([run.bytes()])
    .map(drop)
}

/// [`Store::request_cancel`](crate::store::Store::request_cancel).
pub(super) struct RequestCancel {
    /// The run.
    pub(super) run: RunId,
    /// When it becomes due, if nobody works on it.
    pub(super) now: Micros,
}

impl Verb for RequestCancel {
    type Answer = CancelAnswer;
    const CLASS: Class = Class::Settle;

    fn apply(&self, conn: &Connection) -> Applied<CancelAnswer> {
        let status: Option<RunStatus> = conn
            .prepare_cached("SELECT status FROM runs WHERE run_id = ?1")?
            .query_row([self.run.bytes()], |row| rows::run_status(row, 0))
            .optional()?;
        match status {
            None => Ok(CancelAnswer::Unknown),
            Some(status) if status.is_final() => Ok(CancelAnswer::AlreadyFinished(status)),
            Some(_) => {
                // Only an unowned run changes more than its mark: the others belong to whoever works on them.
                conn.prepare_cached(
                    "UPDATE runs SET cancel = 1, due_at = iif(owner IS NULL, ?2, due_at), \
                       lane = iif(owner IS NULL, '', lane), \
                       code = iif(owner IS NULL AND status = 'held', NULL, code), \
                       status = iif(owner IS NULL AND status = 'held', 'queued', status) WHERE run_id = ?1",
                )?
                .execute((self.run.bytes(), self.now))?;
                Ok(CancelAnswer::Requested)
            }
        }
    }
}

//! Rows on their way into the database, column by column: one statement writes any number of them.

use std::collections::HashMap;

use uuid::Uuid;

use super::fault::Done;
use super::rows::uuid;
use super::send::Parameters;
use crate::ids::RunId;
use crate::store::standing::Standing;
use crate::store::values::{self, Payload, json};
use crate::store::{NewRun, RecordMode, RecordWrite, RunCommit, StepRow};

/// Declares a set of columns of one length, and how they become parameters in their order.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name {
            $(pub(super) $column: Vec<$kind>),*
        }

        impl $name {
            /// In the order of the statement that takes them.
            pub(super) fn parameters(&self) -> Parameters<'_> {
                vec![$(&self.$column),*]
            }
        }
    };
}

columns! {
    /// New runs.
    RunColumns {
        run_id: Uuid, flow: String, text_id: i64, status: &'static str, code: Option<String>, is_test: bool,
        received_at: i64, finished_at: Option<i64>, lane: String, due_at: i64, owner: Option<String>, epoch: i64,
        strikes: i64, inflight: String, cancel: bool, duplicate_of: Option<Uuid>, origin_run: Option<Uuid>,
        key_run: Uuid, answer: Option<String>, trigger: Option<String>, gate: Option<i64>, parent_run: Option<Uuid>,
        parent_step: Option<String>, depth: i64,
    }
}

/// Stores new runs; answers the ids of those that were not there before.
pub(super) const SQL_INSERT_RUNS: &str = "INSERT INTO runs (run_id, flow, text_id, status, code, is_test, \
     received_at, finished_at, lane, due_at, owner, epoch, strikes, inflight, cancel, duplicate_of, origin_run, \
     key_run, answer, \"trigger\", gate, parent_run, parent_step, depth) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], \
       $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], \
       $15::boolean[], $16::uuid[], $17::uuid[], $18::uuid[], $19::text[], $20::text[], $21::bigint[], $22::uuid[], \
       $23::text[], $24::bigint[]) \
     ON CONFLICT (run_id) DO NOTHING RETURNING run_id";

impl RunColumns {
    /// Adds a run as `standing` wants it; its large values go to `payloads`.
    pub(super) fn push(&mut self, new: &NewRun, standing: Standing, payloads: &mut Vec<Payload>) -> Done<()> {
        let replaced = standing.row(&new.run);
        let run = replaced.as_ref().unwrap_or(&new.run);
        let mut text = |text| values::split(text, payloads);
        self.trigger.push(run.trigger.as_ref().map(json).transpose()?.map(&mut text));
        self.answer.push(run.answer.as_ref().map(json).transpose()?.map(&mut text));
        self.run_id.push(uuid(run.run_id));
        self.flow.push(run.flow.clone());
        self.text_id.push(run.text_id);
        self.status.push(run.status.as_str());
        self.code.push(run.code.clone());
        self.is_test.push(run.is_test);
        self.received_at.push(run.received_at);
        self.finished_at.push(run.finished_at);
        self.lane.push(run.lane.clone());
        self.due_at.push(run.due_at);
        self.owner.push(run.owner.clone());
        self.epoch.push(run.epoch);
        self.strikes.push(i64::from(run.strikes));
        self.inflight.push(json(&run.inflight)?);
        self.cancel.push(run.cancel);
        self.duplicate_of.push(run.duplicate_of.map(uuid));
        self.origin_run.push(run.origin_run.map(uuid));
        self.key_run.push(uuid(run.key_run));
        self.gate.push(standing.gate());
        self.parent_run.push(run.parent.as_ref().map(|parent| uuid(parent.run)));
        self.parent_step.push(run.parent.as_ref().map(|parent| parent.step.clone()));
        self.depth.push(run.parent.as_ref().map_or(0, |parent| i64::from(parent.depth)));
        Ok(())
    }
}

columns! {
    /// Commits.
    CommitColumns {
        run_id: Uuid, owner: String, epoch: i64, status: &'static str, code: Option<String>,
        finished_at: Option<i64>, lane: String, due_at: i64, release: bool, inflight: String, answer: Option<String>,
        progress: bool,
    }
}

/// Writes commits; answers the ids of those that were not fenced, and whether steps stored before have something to
/// forget now. A run that is to be cancelled is never put aside: given back, it is due at once, not held, and in no lane
/// that may be paused, so that a worker finds it although the request came while this one worked on it.
pub(super) const SQL_COMMIT: &str = "UPDATE runs SET \
       status = CASE WHEN runs.cancel AND c.status = 'held' THEN 'queued' ELSE c.status END, \
       code = CASE WHEN runs.cancel AND c.status = 'held' THEN NULL ELSE c.code END, \
       finished_at = c.finished_at, \
       lane = CASE WHEN runs.cancel AND c.release THEN '' ELSE c.lane END, \
       due_at = CASE WHEN runs.cancel AND c.release THEN least(c.due_at, runs.received_at) \
                     WHEN c.release AND c.status <> 'held' THEN least(c.due_at, runs.wake_at) ELSE c.due_at END, \
       wake_at = CASE WHEN c.release THEN NULL ELSE runs.wake_at END, \
       owner = CASE WHEN c.release THEN NULL ELSE runs.owner END, \
       inflight = c.inflight, answer = coalesce(c.answer, runs.answer), \
       strikes = CASE WHEN c.progress THEN 0 ELSE runs.strikes END \
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], \
       $8::bigint[], $9::boolean[], $10::text[], $11::text[], $12::boolean[]) \
       AS c (run_id, owner, epoch, status, code, finished_at, lane, due_at, release, inflight, answer, progress) \
     WHERE runs.run_id = c.run_id AND runs.owner = c.owner AND runs.epoch = c.epoch \
     RETURNING runs.run_id, runs.finished_at IS NOT NULL AND (SELECT count(*) FROM (SELECT 1 FROM steps \
       WHERE steps.run_id = runs.run_id AND flags & 14 <> 0 LIMIT 1) AS secure) > 0";

const _: () =
    assert!(values::FLAGS_SECURE == 14, "the index and the queries of secure steps have the flags written out");

impl CommitColumns {
    /// Adds a commit; its large values go to `payloads`.
    pub(super) fn push(&mut self, commit: &RunCommit, payloads: &mut Vec<Payload>) -> Done<()> {
        let is_final = commit.status.is_final();
        let answer = commit.answer.as_ref().map(json).transpose()?.map(|text| values::split(text, payloads));
        self.run_id.push(uuid(commit.run_id));
        self.owner.push(commit.owner.clone());
        self.epoch.push(commit.epoch);
        self.status.push(commit.status.as_str());
        self.code.push(commit.code.clone());
        self.finished_at.push(commit.finished_at);
        self.lane.push(commit.lane.clone());
        self.due_at.push(commit.due_at);
        self.release.push(commit.release || is_final);
        self.inflight.push(if is_final { "[]".to_owned() } else { json(&commit.inflight)? });
        self.answer.push(answer);
        self.progress.push(commit.steps.iter().any(|step| step.status.is_final()));
        Ok(())
    }
}

columns! {
    /// Steps.
    StepColumns {
        run_id: Uuid, idx: String, name: String, status: &'static str, attempt: i64, due_at: Option<i64>,
        started_at: Option<i64>, finished_at: Option<i64>, outcome: Option<String>, flags: i64, io: String,
    }
}

/// Writes steps in the place of what was there.
pub(super) const SQL_UPSERT_STEPS: &str = "INSERT INTO steps (run_id, idx, name, status, attempt, due_at, started_at, \
     finished_at, outcome, flags, io) \
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], \
       $8::bigint[], $9::text[], $10::bigint[], $11::text[]) \
     ON CONFLICT (run_id, idx, name) DO UPDATE SET status = excluded.status, attempt = excluded.attempt, \
       due_at = excluded.due_at, started_at = excluded.started_at, finished_at = excluded.finished_at, \
       outcome = excluded.outcome, flags = excluded.flags, io = excluded.io";

impl StepColumns {
    /// Adds the steps of a run; their large values go to `payloads`. What is secure in a run that has ended is blotted
    /// out before it is written.
    pub(super) fn push(
        &mut self,
        run: RunId,
        has_ended: bool,
        steps: &[StepRow],
        payloads: &mut Vec<Payload>,
    ) -> Done<()> {
        // One statement writes each row once: of equal ones the last counts.
        let last: HashMap<(&str, &str), usize> =
            steps.iter().enumerate().map(|(at, step)| ((&*step.idx, &*step.name), at)).collect();
        for (at, step) in steps.iter().enumerate() {
            if last[&(&*step.idx, &*step.name)] != at {
                continue;
            }
            let flags = values::flags(step);
            let io = if has_ended && flags & values::FLAGS_SECURE != 0 {
                let mut io = step.io.clone();
                io.hide();
                values::io_text(&io, payloads)?
            } else {
                values::io_text(&step.io, payloads)?
            };
            self.run_id.push(uuid(run));
            self.idx.push(step.idx.clone());
            self.name.push(step.name.clone());
            self.status.push(step.status.as_str());
            self.attempt.push(i64::from(step.attempt));
            self.due_at.push(step.due_at);
            self.started_at.push(step.started_at);
            self.finished_at.push(step.finished_at);
            self.outcome.push(step.outcome.clone());
            self.flags.push(flags);
            self.io.push(io);
        }
        Ok(())
    }
}

columns! {
    /// Payloads.
    PayloadColumns { run_id: Uuid, n: i64, bytes: Vec<u8> }
}

/// Writes payloads; a second time changes nothing.
pub(super) const SQL_INSERT_PAYLOADS: &str = "INSERT INTO payloads (run_id, n, bytes) \
     SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) ON CONFLICT DO NOTHING";

impl PayloadColumns {
    /// Adds the payloads of a run.
    pub(super) fn push(&mut self, run: RunId, payloads: Vec<Payload>) {
        for payload in payloads {
            self.run_id.push(uuid(run));
            self.n.push(payload.n);
            self.bytes.push(payload.text.into_bytes());
        }
    }
}

columns! {
    /// Embedded records.
    RecordColumns { connection: String, entity: String, id: String, fields: String, run_id: Uuid, created_at: i64 }
}

/// Writes records; one that is there stays as it is. In their order, which is the order of lists.
pub(super) const SQL_INSERT_RECORDS: &str = "INSERT INTO records (connection, entity, id, fields, run_id, created_at, \
     updated_at) \
     SELECT connection, entity, id, fields, run_id, created_at, created_at \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bigint[]) WITH ORDINALITY \
       AS r (connection, entity, id, fields, run_id, created_at, place) ORDER BY place \
     ON CONFLICT (connection, entity, id) DO NOTHING";

impl RecordColumns {
    /// Adds those of `records` that are new.
    pub(super) fn push(&mut self, records: &[RecordWrite]) -> Done<()> {
        for record in records.iter().filter(|record| record.mode == RecordMode::Create) {
            self.connection.push(record.connection.clone());
            self.entity.push(record.entity.clone());
            self.id.push(record.id.clone());
            self.fields.push(json(&record.fields)?);
            self.run_id.push(uuid(record.run_id));
            self.created_at.push(record.created_at);
        }
        Ok(())
    }
}

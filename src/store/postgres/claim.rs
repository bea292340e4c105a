//! The verbs that hand runs out and take them back: claim, release, cancel.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use uuid::Uuid;

use super::fault::{Done, Fault};
use super::gates;
use super::rows::{self, Payloads, RUN_COLUMNS, STEP_COLUMNS, get, run_id, run_status, uuid, uuids};
use super::send::query;
use crate::clock::Micros;
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::standing::CODE_UNREADABLE;
use crate::store::{CancelAnswer, LaneWant, SUSPECT_STRIKES, StepRow, StoredRun, gated_flow};

/// The advisory lock under which a suspect is chosen: `LEAD` in ASCII, and the schema.
const SQL_LOCK_SUSPECTS: &str = "SELECT pg_try_advisory_xact_lock(1279607108, hashtext(current_schema()::text))";

/// What may be claimed, oldest due first, without suspects. Rows that another node is just claiming are passed over.
pub(super) const SQL_DUE: &str = "SELECT run_id FROM runs \
     WHERE lane = $1 AND due_at <= $2 AND finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes < 3 \
     ORDER BY due_at, run_id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED";

/// The suspect that is due first.
pub(super) const SQL_SUSPECT: &str = "SELECT run_id FROM runs \
     WHERE lane = $1 AND due_at <= $2 AND finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes >= 3 \
     ORDER BY due_at, run_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED";

/// Whether a suspect is in work on any node.
pub(super) const SQL_SUSPECT_IN_WORK: &str = "SELECT EXISTS (SELECT 1 FROM runs \
     WHERE owner IS NOT NULL AND finished_at IS NULL AND strikes >= 3)";

/// Whether a suspect waits, in whatever lane.
pub(super) const SQL_SUSPECT_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM runs \
     WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes >= 3)";

const _: () = assert!(SUSPECT_STRIKES == 3, "the suspects' indexes and queries have the number written out");

/// Once inside, a run is in no lane: whatever becomes of this claim, it needs no second passage.
const SQL_TAKE: &str = "UPDATE runs SET owner = $2, epoch = epoch + 1, status = 'running', wake_at = NULL, \
       lane = CASE WHEN gate = 0 AND left(lane, 1) = '=' THEN '' ELSE lane END, \
       gate = CASE WHEN gate = 0 AND left(lane, 1) = '=' THEN 1 ELSE gate END \
     WHERE run_id = ANY ($1::uuid[])";

/// Releases a slice of held runs. The limit is written out: for one that it does not know, the planner would expect a
/// tenth of the table.
pub(super) const SQL_RELEASE: &str = "WITH kept AS MATERIALIZED (SELECT run_id FROM runs \
       WHERE status = 'held' AND code = $1 AND owner IS NULL AND ($2::text IS NULL OR lane = $2) \
       ORDER BY run_id LIMIT 64 FOR NO KEY UPDATE SKIP LOCKED) \
     UPDATE runs SET status = 'queued', code = NULL, due_at = $3, strikes = 0 \
     FROM kept WHERE runs.run_id = kept.run_id";

/// [`Store::claim`](crate::store::Store::claim). An error leaves the transaction open.
pub(super) async fn claim(conn: &ClientWrapper, owner: &str, wants: &[LaneWant], now: Micros) -> Done<Vec<StoredRun>> {
    conn.batch_execute("BEGIN").await?;
    let chosen = choose(conn, wants, now).await?;
    let mut claimed = read(conn, &chosen).await?;
    let taken: Vec<Uuid> = claimed.iter().map(|stored| uuid(stored.run.run_id)).collect();
    let take = conn.prepare_cached(SQL_TAKE).await?;
    let (updated, committed) =
        tokio::join!(biased; query(conn, &take, vec![&taken, &owner]), conn.batch_execute("COMMIT"));
    updated?;
    committed?;
    for stored in &mut claimed {
        stored.run.owner = Some(owner.to_owned());
        stored.run.epoch += 1;
        stored.run.status = RunStatus::Running;
    }
    Ok(claimed)
}

/// Locks what is to be claimed; in the order of the wants, oldest due first.
async fn choose(conn: &ClientWrapper, wants: &[LaneWant], now: Micros) -> Done<Vec<RunId>> {
    let flows: Vec<&str> =
        wants.iter().filter(|want| want.gate.is_some()).filter_map(|want| gated_flow(&want.lane)).collect();
    let (lock, due) = (conn.prepare_cached(gates::SQL_LOCK).await?, conn.prepare_cached(SQL_DUE).await?);
    let suspects = conn.prepare_cached(SQL_SUSPECT_WAITS).await?;
    let nobody: Vec<Uuid> = Vec::new();
    let counters = gates::Counters::read(&conn.query(&lock, &[&flows, &nobody]).await?)?;
    let mut may_suspect = get(&conn.query_one(&suspects, &[]).await?, 0)? && is_suspects_turn(conn).await?;
    let mut chosen = Vec::new();
    for want in wants {
        let max = room(&counters, want);
        if max == 0 {
            continue;
        }
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let rows = conn.query(&due, &[&want.lane, &now, &limit]).await?;
        let mut runs: Vec<RunId> = rows.iter().map(|row| run_id(row, 0)).collect::<Done<_>>()?;
        if may_suspect {
            let suspect = conn.prepare_cached(SQL_SUSPECT).await?;
            if let Some(row) = conn.query_opt(&suspect, &[&want.lane, &now]).await? {
                may_suspect = false;
                // Ahead of the others: a slot is always left for it, or a long queue would starve it.
                runs.truncate(max - 1);
                runs.push(run_id(&row, 0)?);
            }
        }
        chosen.append(&mut runs);
    }
    Ok(chosen)
}

/// Whether a suspect may be chosen now: none is in work, and no other node is choosing one.
async fn is_suspects_turn(conn: &ClientWrapper) -> Done<bool> {
    let (lock, in_work) =
        (conn.prepare_cached(SQL_LOCK_SUSPECTS).await?, conn.prepare_cached(SQL_SUSPECT_IN_WORK).await?);
    // Looked at after the lock: what its last holder claimed is visible then.
    let is_ours: bool = get(&conn.query_one(&lock, &[]).await?, 0)?;
    Ok(is_ours && !get::<bool>(&conn.query_one(&in_work, &[]).await?, 0)?)
}

/// How many runs may be taken from the lane now. The gate is locked.
fn room(counters: &gates::Counters, want: &LaneWant) -> usize {
    let (Some(flow), Some(inside_max)) = (gated_flow(&want.lane), want.gate) else { return want.max };
    let free = i64::from(inside_max).saturating_sub(counters.inside(flow));
    want.max.min(usize::try_from(free).unwrap_or(0))
}

/// Reads the locked runs. One that cannot be read is held, or it would keep its lane from being claimed.
async fn read(conn: &ClientWrapper, chosen: &[RunId]) -> Done<Vec<StoredRun>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let ids = uuids(chosen);
    let runs = format!("SELECT {RUN_COLUMNS}, \"trigger\" FROM runs WHERE run_id = ANY ($1::uuid[])");
    let steps =
        format!("SELECT {STEP_COLUMNS}, io FROM steps WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id, idx, name");
    let payloads = format!("SELECT {} FROM payloads WHERE run_id = ANY ($1::uuid[])", Payloads::COLUMNS);
    let (runs, steps, payloads) =
        (conn.prepare_cached(&runs).await?, conn.prepare_cached(&steps).await?, conn.prepare_cached(&payloads).await?);
    let (runs, steps, payloads) = tokio::join!(
        biased;
        query(conn, &runs, vec![&ids]),
        query(conn, &steps, vec![&ids]),
        query(conn, &payloads, vec![&ids]),
    );
    let (runs, steps, payloads) = (runs?, steps?, Payloads::read(&payloads?)?);
    let mut steps_of: BTreeMap<RunId, Vec<&Row>> = BTreeMap::new();
    for row in &steps {
        steps_of.entry(run_id(row, 0)?).or_default().push(row);
    }
    let mut by_id = BTreeMap::new();
    let mut unreadable = Vec::new();
    for row in &runs {
        let run = run_id(row, 0)?;
        let of_run = steps_of.remove(&run).unwrap_or_default();
        match stored(row, &of_run, &payloads) {
            Ok(stored) => drop(by_id.insert(run, stored)),
            Err(Fault::Refused(error)) => return Err(Fault::Refused(error)),
            Err(Fault::Unreadable(_) | Fault::Sql(_) | Fault::Unwritable) => {
                tracing::error!(%run, "a stored run cannot be read; it is held as `{CODE_UNREADABLE}`");
                unreadable.push(uuid(run));
            }
        }
    }
    if !unreadable.is_empty() {
        let hold = "UPDATE runs SET status = 'held', code = $2 WHERE run_id = ANY ($1::uuid[])";
        conn.execute(&conn.prepare_cached(hold).await?, &[&unreadable, &CODE_UNREADABLE]).await?;
    }
    Ok(chosen.iter().filter_map(|run| by_id.remove(run)).collect())
}

fn stored(row: &Row, steps: &[&Row], payloads: &Payloads) -> Done<StoredRun> {
    let steps: Done<Vec<StepRow>> = steps.iter().map(|row| rows::step_row(row, rows::io(row, payloads)?)).collect();
    Ok(StoredRun { run: rows::run_row(row, payloads, true)?, steps: steps? })
}

/// Gives claimed runs back that nobody received.
pub(super) async fn give_back(conn: &ClientWrapper, owner: &str, runs: &[(RunId, i64)]) -> Done<()> {
    let (runs, epochs): (Vec<Uuid>, Vec<i64>) = runs.iter().map(|(run, epoch)| (uuid(*run), *epoch)).unzip();
    let sql = "UPDATE runs SET owner = NULL, status = 'queued' FROM unnest($1::uuid[], $2::bigint[]) AS c (run_id, epoch) \
               WHERE runs.run_id = c.run_id AND runs.epoch = c.epoch AND runs.owner = $3";
    conn.execute(&conn.prepare_cached(sql).await?, &[&runs, &epochs, &owner]).await?;
    Ok(())
}

/// One slice of [`Store::release_held`](crate::store::Store::release_held); answers how many runs it released. Whoever
/// releases a run trusts it again: its strikes are forgotten.
pub(super) async fn release_slice(conn: &ClientWrapper, code: &str, lane: Option<&str>, now: Micros) -> Done<u64> {
    let statement = conn.prepare_cached(SQL_RELEASE).await?;
    Ok(conn.execute(&statement, &[&code, &lane, &now]).await?)
}

/// [`Store::request_cancel`](crate::store::Store::request_cancel). Only an unowned run changes more than its mark: the
/// others belong to whoever works on them.
pub(super) async fn request_cancel(conn: &ClientWrapper, run: RunId, now: Micros) -> Done<CancelAnswer> {
    let cancel = "UPDATE runs SET cancel = true, due_at = CASE WHEN owner IS NULL THEN $2 ELSE due_at END, \
                    lane = CASE WHEN owner IS NULL THEN '' ELSE lane END, \
                    code = CASE WHEN owner IS NULL AND status = 'held' THEN NULL ELSE code END, \
                    status = CASE WHEN owner IS NULL AND status = 'held' THEN 'queued' ELSE status END \
                  WHERE run_id = $1 AND finished_at IS NULL";
    let id = uuid(run);
    if conn.execute(&conn.prepare_cached(cancel).await?, &[&id, &now]).await? == 1 {
        return Ok(CancelAnswer::Requested);
    }
    let status = conn.prepare_cached("SELECT status FROM runs WHERE run_id = $1").await?;
    Ok(match conn.query_opt(&status, &[&id]).await? {
        None => CancelAnswer::Unknown,
        Some(row) => CancelAnswer::AlreadyFinished(run_status(&row, 0)?),
    })
}

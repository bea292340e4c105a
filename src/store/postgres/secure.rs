//! Secure values of steps that were stored before their run ended.

use std::collections::HashSet;

use deadpool_postgres::ClientWrapper;
use uuid::Uuid;

use super::fault::Done;
use super::rows::{self, IO_COLUMN, Payloads, STEP_COLUMNS, get, run_id, uuid, uuids};
use crate::ids::RunId;
use crate::store::StepIo;
use crate::store::values::{self, FLAGS_SECURE};

/// Overwrites what is secure in the steps of runs that have ended, and deletes the payloads that nothing refers to any
/// more: one that a step which is not secure holds too stays.
pub(super) async fn forget(conn: &ClientWrapper, runs: &[RunId]) -> Done<()> {
    let ids = uuids(runs);
    let steps = format!("SELECT {STEP_COLUMNS}, io FROM steps WHERE run_id = ANY ($1)");
    let payloads = format!("SELECT {} FROM payloads WHERE run_id = ANY ($1)", Payloads::COLUMNS);
    let columns = "SELECT run_id, CASE WHEN left(\"trigger\", 1) = '@' THEN \"trigger\" END, \
                   CASE WHEN left(answer, 1) = '@' THEN answer END FROM runs WHERE run_id = ANY ($1)";
    let payloads = Payloads::read(&conn.query(&conn.prepare_cached(&payloads).await?, &[&ids]).await?)?;
    let mut used: HashSet<(RunId, i64)> = HashSet::new();
    let (mut run, mut idx, mut name, mut text): (Vec<Uuid>, Vec<String>, Vec<String>, Vec<String>) = Default::default();
    for row in conn.query(&conn.prepare_cached(&steps).await?, &[&ids]).await? {
        let (of, flags): (RunId, i64) = (run_id(&row, 0)?, get(&row, 9)?);
        let stored: &str = get(&row, IO_COLUMN)?;
        let mut kept = stored.to_owned();
        if flags & FLAGS_SECURE != 0 {
            let mut io = StepIo { secure: values::secure(flags), ..rows::io(&row, &payloads)? };
            io.hide();
            // What is hidden is short, and a payload of what is not secure is there already.
            kept = values::io_text(&io, &mut Vec::new())?;
            run.push(uuid(of));
            idx.push(get(&row, 1)?);
            name.push(get(&row, 2)?);
            text.push(kept.clone());
        }
        used.extend(values::io_references(&kept)?.map(|n| (of, n)));
    }
    for row in conn.query(&conn.prepare_cached(columns).await?, &[&ids]).await? {
        let of = run_id(&row, 0)?;
        for column in [get::<Option<&str>>(&row, 1)?, get(&row, 2)?].into_iter().flatten() {
            used.extend(values::reference(column)?.map(|n| (of, n)));
        }
    }
    let overwrite = "UPDATE steps SET io = s.io FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) \
                       AS s (run_id, idx, name, io) \
                     WHERE steps.run_id = s.run_id AND steps.idx = s.idx AND steps.name = s.name";
    conn.execute(&conn.prepare_cached(overwrite).await?, &[&run, &idx, &name, &text]).await?;
    let (used_run, used_n): (Vec<Uuid>, Vec<i64>) = used.into_iter().map(|(run, n)| (uuid(run), n)).unzip();
    let delete = "DELETE FROM payloads WHERE run_id = ANY ($1) AND NOT EXISTS ( \
                    SELECT 1 FROM unnest($2::uuid[], $3::bigint[]) AS u (run_id, n) \
                    WHERE u.run_id = payloads.run_id AND u.n = payloads.n)";
    conn.execute(&conn.prepare_cached(delete).await?, &[&ids, &used_run, &used_n]).await?;
    Ok(())
}

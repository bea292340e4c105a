//! Gates: how many runs of a flow are inside and before it, decided under the lock of the flow's row in `gates`.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::fault::Done;
use super::rows::{get, run_id, run_id_or_null, uuids};
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::standing::{self, Passage, Standing};
use crate::store::{Gate, RunRow, Taken, gated_flow};

/// Makes the rows of gates that nobody came to yet: there must be something to lock. Flows come sorted.
pub(super) const SQL_MAKE: &str = "INSERT INTO gates (flow, running, waiting) \
     SELECT flow, 0, 0 FROM unnest($1::text[]) AS g (flow) ON CONFLICT (flow) DO NOTHING";

/// Locks gates in one order, and reads them: of flows by name, and of those that runs which end now may stand in.
pub(super) const SQL_LOCK: &str = "SELECT flow, running, waiting FROM gates \
     WHERE flow = ANY ($1::text[]) \
        OR flow IN (SELECT flow FROM runs WHERE run_id = ANY ($2::uuid[]) AND gate IS NOT NULL) \
     ORDER BY flow FOR UPDATE";

/// Notes how many may be inside, for a flow that is not loaded any more when its runs are claimed.
pub(super) const SQL_TELL: &str = "UPDATE gates SET inside_max = g.inside_max \
     FROM unnest($1::text[], $2::bigint[]) AS g (flow, inside_max) \
     WHERE gates.flow = g.flow AND gates.inside_max IS DISTINCT FROM g.inside_max";

/// What was stored of runs that may be repeats.
const SQL_KNOWN: &str = "SELECT run_id, status, lane, duplicate_of FROM runs WHERE run_id = ANY ($1::uuid[])";

/// The counters of locked gates, moved on by what this transaction is about to insert.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    flows: BTreeMap<String, (i64, i64)>,
    /// How many may be inside, of flows at whose gates somebody has to wait now.
    told: BTreeMap<String, i64>,
}

impl Counters {
    /// Reads the rows of [`SQL_LOCK`].
    pub(super) fn read(rows: &[Row]) -> Done<Self> {
        let flows = rows.iter().map(|row| Ok((get(row, 0)?, (get(row, 1)?, get(row, 2)?))));
        Ok(Self { flows: flows.collect::<Done<_>>()?, told: BTreeMap::new() })
    }

    /// How many are inside the gate of `flow`.
    pub(super) fn inside(&self, flow: &str) -> i64 {
        self.flows.get(flow).map_or(0, |(running, _)| *running)
    }

    /// What the gate says to one more run.
    pub(super) fn pass(&mut self, flow: &str, gate: Gate) -> Passage {
        let (running, waiting) = self.flows.get(flow).copied().unwrap_or_default();
        let passage = standing::pass(gate, running, waiting);
        if passage == Passage::Waits {
            self.told.insert(flow.to_owned(), i64::from(gate.runs));
        }
        passage
    }

    /// Counts a run that will be inserted, as the database's trigger will.
    pub(super) fn count(&mut self, run: &RunRow, standing: Standing) {
        let ends = run.finished_at.is_some() && standing != Standing::Waits;
        let Some(inside) = standing.gate().filter(|_| !ends) else { return };
        let (running, waiting) = self.flows.entry(run.flow.clone()).or_default();
        *running += inside;
        *waiting += 1 - inside;
    }

    /// The parameters of [`SQL_TELL`].
    pub(super) fn told(&self) -> (Vec<&str>, Vec<i64>) {
        self.told.iter().map(|(flow, inside_max)| (&**flow, *inside_max)).unzip()
    }
}

/// What became of those of `runs` that are stored already.
pub(super) async fn known(conn: &ClientWrapper, runs: &[RunId]) -> Done<HashMap<RunId, Taken>> {
    let statement = conn.prepare_cached(SQL_KNOWN).await?;
    let mut known = HashMap::new();
    for row in conn.query(&statement, &[&uuids(runs)]).await? {
        let (status, lane): (&str, &str) = (get(&row, 1)?, get(&row, 2)?);
        let became = match run_id_or_null(&row, 3)? {
            Some(of) if status == RunStatus::Duplicate.as_str() => Taken::Duplicate { of },
            _ if gated_flow(lane).is_some() => Taken::Waits,
            _ => Taken::Stored,
        };
        known.insert(run_id(&row, 0)?, became);
    }
    Ok(known)
}

//! The transaction of a group: any number of accepts, requests and commits in a handful of statements.
//!
//! Locks are taken in one order by every node: gates by flow, then runs by id (where one commit touches another's run),
//! then keys. What all the others wait for comes last and together with `COMMIT`: the steps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::columns::{self, CommitColumns, PayloadColumns, RecordColumns, RunColumns, StepColumns};
use super::fault::Done;
use super::records::Changes;
use super::rows::{get, run_id, uuid, uuids};
use super::send::maybe;
use super::{gates, intake, secure};
use crate::clock::Micros;
use crate::ids::RunId;
use crate::store::standing::{Passage, Standing};
use crate::store::values::Payload;
use crate::store::{Arrival, Intake, NewRun, RunCommit, Taken, gated_flow};

/// What a group is made of.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is moved into its queue once, and read in place from then on")]
pub(super) enum Work {
    /// [`Store::accept`](crate::store::Store::accept).
    Accept(NewRun),
    /// [`Store::take_in`](crate::store::Store::take_in).
    TakeIn(Vec<Arrival>),
    /// [`Store::commit`](crate::store::Store::commit).
    Commit(RunCommit),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Written.
    Done,
    /// Another owner or epoch holds the run.
    Fenced,
    /// Of a request.
    Intake(Intake),
}

impl Work {
    /// The runs that it writes.
    pub(super) fn runs(&self) -> Box<dyn Iterator<Item = RunId> + '_> {
        match self {
            Self::Accept(new) => Box::new(std::iter::once(new.run.run_id)),
            Self::TakeIn(arrivals) => Box::new(arrivals.iter().map(|arrival| arrival.new.run.run_id)),
            Self::Commit(commit) => {
                Box::new(std::iter::once(commit.run_id).chain(commit.starts.iter().map(|start| start.run.run_id)))
            }
        }
    }

    /// Whether other nodes have something to do because of it: a run that nobody works on.
    pub(super) fn leaves_work(&self) -> bool {
        let is_free = |new: &NewRun| new.run.owner.is_none() && new.run.finished_at.is_none();
        match self {
            Self::Accept(new) => is_free(new),
            Self::TakeIn(arrivals) => arrivals.iter().any(|arrival| arrival.gate.is_some() || is_free(&arrival.new)),
            Self::Commit(commit) => {
                (commit.release && !commit.status.is_final())
                    || commit.starts.iter().any(is_free)
                    || commit.wakes.is_some()
            }
        }
    }

    fn commit(&self) -> Option<&RunCommit> {
        if let Self::Commit(commit) = self { Some(commit) } else { None }
    }
}

/// Writes all of it in one transaction; what became of each, in order. After an error the transaction may be open.
pub(super) async fn write(conn: &ClientWrapper, works: &[&Work]) -> Done<Vec<Outcome>> {
    let mut group = Group::new(conn, works);
    group.open().await?;
    group.decide().await?;
    group.insert().await?;
    group.close().await?;
    Ok(group.outcomes)
}

/// A new run that is to be inserted.
struct Fresh<'a> {
    new: &'a NewRun,
    standing: Standing,
    payloads: Vec<Payload>,
}

/// A transaction on its way.
struct Group<'a> {
    conn: &'a ClientWrapper,
    works: &'a [&'a Work],
    outcomes: Vec<Outcome>,
    gates: gates::Counters,
    fresh: Vec<Fresh<'a>>,
    /// Large values of commits, by run.
    payloads: PayloadColumns,
    /// Runs that ended now and stored something before that is to be forgotten.
    forgetful: Vec<RunId>,
}

/// Whether a gate has to let all of it in or none.
fn is_gated(arrivals: &[Arrival]) -> bool {
    arrivals.iter().any(|arrival| arrival.gate.is_some())
}

/// Locks runs in the order of their ids.
const SQL_LOCK_RUNS: &str = "SELECT run_id FROM runs WHERE run_id = ANY ($1::uuid[]) ORDER BY run_id FOR NO KEY UPDATE";

/// Makes callers due that nobody works on, and leaves word for whoever works on one: on another node, nothing else would
/// tell it, and it may be about to give its run back.
const SQL_WAKE: &str = "UPDATE runs SET due_at = CASE WHEN owner IS NULL THEN w.due_at ELSE runs.due_at END, \
       wake_at = CASE WHEN owner IS NULL THEN wake_at ELSE w.due_at END \
     FROM unnest($1::uuid[], $2::bigint[]) AS w (run_id, due_at) \
     WHERE runs.run_id = w.run_id AND runs.finished_at IS NULL \
       AND (runs.owner IS NOT NULL OR runs.status <> 'held' AND runs.due_at > w.due_at)";

impl<'a> Group<'a> {
    fn new(conn: &'a ClientWrapper, works: &'a [&'a Work]) -> Self {
        Self {
            conn,
            works,
            outcomes: vec![Outcome::Done; works.len()],
            gates: gates::Counters::default(),
            fresh: Vec::new(),
            payloads: PayloadColumns::default(),
            forgetful: Vec::new(),
        }
    }

    fn commits(&self) -> impl Iterator<Item = &'a RunCommit> {
        self.works.iter().filter_map(|work| work.commit())
    }

    /// The callers to wake, each from the earliest time that somebody asks for.
    fn wakes(&self) -> BTreeMap<RunId, Micros> {
        let mut wakes = BTreeMap::new();
        for (caller, at) in self.commits().filter_map(|commit| commit.wakes) {
            wakes.entry(caller).and_modify(|known: &mut Micros| *known = at.min(*known)).or_insert(at);
        }
        wakes
    }

    /// Flows at whose gates this group may count a run.
    fn gated_flows(&self) -> BTreeSet<&'a str> {
        let mut flows = BTreeSet::new();
        let mut note = |new: &'a NewRun, has_gate: bool| {
            if has_gate || gated_flow(&new.run.lane) == Some(&*new.run.flow) {
                flows.insert(&*new.run.flow);
            }
        };
        for work in self.works {
            match work {
                Work::Accept(new) => note(new, false),
                Work::TakeIn(arrivals) => {
                    for arrival in arrivals {
                        note(&arrival.new, arrival.gate.is_some());
                    }
                }
                Work::Commit(commit) => {
                    for start in &commit.starts {
                        note(start, false);
                    }
                }
            }
        }
        flows
    }

    /// Begins, locks what is shared, and writes the commits' rows of `runs`: who is fenced is known then.
    async fn open(&mut self) -> Done<()> {
        let conn = self.conn;
        let flows: Vec<&str> = self.gated_flows().into_iter().collect();
        let ending: Vec<RunId> =
            self.commits().filter(|commit| commit.status.is_final()).map(|commit| commit.run_id).collect();
        let wakes = self.wakes();
        let locked: Vec<RunId> = if wakes.is_empty() {
            Vec::new()
        } else {
            self.commits().map(|commit| commit.run_id).chain(wakes.keys().copied()).collect()
        };
        let (ending, locked) = (uuids(&ending), uuids(&locked));
        let mut commits = CommitColumns::default();
        let mut large: HashMap<RunId, Vec<Payload>> = HashMap::new();
        for commit in self.commits() {
            commits.push(commit, large.entry(commit.run_id).or_default())?;
        }
        let make_gates = conn.prepare_cached(gates::SQL_MAKE).await?;
        let lock_gates = conn.prepare_cached(gates::SQL_LOCK).await?;
        let lock_runs = conn.prepare_cached(SQL_LOCK_RUNS).await?;
        let commit = conn.prepare_cached(columns::SQL_COMMIT).await?;
        let gated = !flows.is_empty();
        let (begun, made, counters, held, changed) = tokio::join!(
            biased;
            conn.batch_execute("BEGIN"),
            maybe(conn, gated, &make_gates, vec![&flows]),
            maybe(conn, gated || !ending.is_empty(), &lock_gates, vec![&flows, &ending]),
            maybe(conn, !locked.is_empty(), &lock_runs, vec![&locked]),
            maybe(conn, !commits.run_id.is_empty(), &commit, commits.parameters()),
        );
        begun?;
        made?;
        self.gates = gates::Counters::read(&counters?)?;
        held?;
        self.note_commits(&changed?, large)
    }

    fn note_commits(&mut self, changed: &[Row], mut large: HashMap<RunId, Vec<Payload>>) -> Done<()> {
        let mut kept = HashSet::new();
        for row in changed {
            let run = run_id(row, 0)?;
            kept.insert(run);
            if get(row, 1)? {
                self.forgetful.push(run);
            }
        }
        for (work, outcome) in self.works.iter().zip(&mut self.outcomes) {
            let Work::Commit(commit) = work else { continue };
            if kept.contains(&commit.run_id) {
                self.payloads.push(commit.run_id, large.remove(&commit.run_id).unwrap_or_default());
            } else {
                *outcome = Outcome::Fenced;
            }
        }
        Ok(())
    }

    /// The runs that come to a gate (or with one that does), and the arrivals that do not.
    fn arrivals(&self) -> (Vec<RunId>, Vec<&'a Arrival>) {
        let (mut gated, mut free) = (Vec::new(), Vec::new());
        for work in self.works {
            match work {
                Work::TakeIn(arrivals) if is_gated(arrivals) => {
                    gated.extend(arrivals.iter().map(|arrival| arrival.new.run.run_id));
                }
                Work::TakeIn(arrivals) => free.extend(arrivals),
                Work::Accept(_) | Work::Commit(_) => {}
            }
        }
        (gated, free)
    }

    /// Decides how each new run is stored.
    async fn decide(&mut self) -> Done<()> {
        let (gated, free) = self.arrivals();
        let duplicates = intake::duplicates(self.conn, &free).await?;
        let known = if gated.is_empty() { HashMap::new() } else { gates::known(self.conn, &gated).await? };
        for at in 0..self.works.len() {
            match self.works[at] {
                Work::Accept(new) => self.add(new, Standing::plain(&new.run)),
                Work::Commit(commit) if self.outcomes[at] != Outcome::Fenced => {
                    commit.starts.iter().for_each(|start| self.add(start, Standing::plain(&start.run)));
                }
                Work::Commit(_) => {}
                Work::TakeIn(arrivals) if is_gated(arrivals) => {
                    self.outcomes[at] = Outcome::Intake(self.admit(arrivals, &known).await?);
                }
                Work::TakeIn(arrivals) => {
                    let mut taken = Vec::with_capacity(arrivals.len());
                    for Arrival { new, .. } in arrivals {
                        taken.push(match duplicates.get(&new.run.run_id) {
                            Some(of) => self.add_as(new, Standing::Duplicate(*of), Taken::Duplicate { of: *of }),
                            None => self.add_as(new, Standing::plain(&new.run), Taken::Stored),
                        });
                    }
                    self.outcomes[at] = Outcome::Intake(Intake::Taken(taken));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, new: &'a NewRun, standing: Standing) {
        self.gates.count(&new.run, standing);
        self.fresh.push(Fresh { new, standing, payloads: Vec::new() });
    }

    fn add_as(&mut self, new: &'a NewRun, standing: Standing, taken: Taken) -> Taken {
        self.add(new, standing);
        taken
    }

    /// A request at a gate: all of it or nothing, its keys included.
    async fn admit(&mut self, arrivals: &'a [Arrival], known: &HashMap<RunId, Taken>) -> Done<Intake> {
        let has_keys = arrivals.iter().any(|arrival| arrival.dedupe.is_some());
        if has_keys {
            self.conn.batch_execute("SAVEPOINT intake").await?;
        }
        let all: Vec<&Arrival> = arrivals.iter().collect();
        let duplicates = intake::duplicates(self.conn, &all).await?;
        let (counters, fresh) = (self.gates.clone(), self.fresh.len());
        let mut taken = Vec::with_capacity(arrivals.len());
        for Arrival { new, gate, .. } in arrivals {
            let run = new.run.run_id;
            let became = match (known.get(&run), duplicates.get(&run), gate) {
                // A repeat after a lost answer: what was decided then holds.
                (Some(then), _, _) => *then,
                (None, Some(of), _) => self.add_as(new, Standing::Duplicate(*of), Taken::Duplicate { of: *of }),
                (None, None, None) => self.add_as(new, Standing::plain(&new.run), Taken::Stored),
                (None, None, Some(gate)) => match self.gates.pass(&new.run.flow, *gate) {
                    Passage::Inside => self.add_as(new, Standing::Inside, Taken::Stored),
                    Passage::Waits => self.add_as(new, Standing::Waits, Taken::Waits),
                    Passage::Full => {
                        self.gates = counters;
                        self.fresh.truncate(fresh);
                        if has_keys {
                            self.conn.batch_execute("ROLLBACK TO intake").await?;
                        }
                        return Ok(Intake::Full);
                    }
                },
            };
            taken.push(became);
        }
        Ok(Intake::Taken(taken))
    }

    /// Inserts the new runs. One that is there already is a repeat after a lost answer: it stays as it is.
    async fn insert(&mut self) -> Done<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut columns = RunColumns::default();
        for fresh in &mut self.fresh {
            columns.push(fresh.new, fresh.standing, &mut fresh.payloads)?;
        }
        let insert = self.conn.prepare_cached(columns::SQL_INSERT_RUNS).await?;
        let rows = self.conn.query(&insert, &columns.parameters()).await?;
        let inserted: HashSet<RunId> = rows.iter().map(|row| run_id(row, 0)).collect::<Done<_>>()?;
        self.fresh.retain(|fresh| inserted.contains(&fresh.new.run.run_id));
        Ok(())
    }

    /// Writes everything that hangs on the runs, and commits.
    async fn close(&mut self) -> Done<()> {
        let (mut steps, mut records) = (StepColumns::default(), RecordColumns::default());
        let mut changes = Changes::default();
        let mut payloads = std::mem::take(&mut self.payloads);
        for Fresh { new, standing, payloads: own } in std::mem::take(&mut self.fresh) {
            let mut own = own;
            if standing.keeps_steps() {
                steps.push(new.run.run_id, new.run.status.is_final(), &new.steps, &mut own)?;
                records.push(&new.records)?;
                changes.push(&new.records);
            }
            payloads.push(new.run.run_id, own);
        }
        for (work, outcome) in self.works.iter().zip(&self.outcomes) {
            let (Work::Commit(commit), Outcome::Done) = (work, outcome) else { continue };
            let mut own = Vec::new();
            steps.push(commit.run_id, commit.status.is_final(), &commit.steps, &mut own)?;
            records.push(&commit.records)?;
            changes.push(&commit.records);
            payloads.push(commit.run_id, own);
        }
        if !changes.is_empty() {
            changes.apply(self.conn, std::mem::take(&mut records)).await?;
        }
        self.send_rest(&steps, &records, &payloads).await
    }

    async fn send_rest(&self, steps: &StepColumns, records: &RecordColumns, payloads: &PayloadColumns) -> Done<()> {
        let conn = self.conn;
        let kept = |caller: &RunId| {
            let asks = |(work, outcome): (&&Work, &Outcome)| {
                *outcome == Outcome::Done
                    && work.commit().and_then(|commit| commit.wakes).is_some_and(|(of, _)| of == *caller)
            };
            self.works.iter().zip(&self.outcomes).any(asks)
        };
        let (callers, from): (Vec<_>, Vec<_>) =
            self.wakes().into_iter().filter(|(caller, _)| kept(caller)).map(|(caller, at)| (uuid(caller), at)).unzip();
        let (gate_flows, gate_sizes) = self.gates.told();
        let upsert_steps = conn.prepare_cached(columns::SQL_UPSERT_STEPS).await?;
        let insert_records = conn.prepare_cached(columns::SQL_INSERT_RECORDS).await?;
        let insert_payloads = conn.prepare_cached(columns::SQL_INSERT_PAYLOADS).await?;
        let wake = conn.prepare_cached(SQL_WAKE).await?;
        let tell_gates = conn.prepare_cached(gates::SQL_TELL).await?;
        let commits_now = self.forgetful.is_empty();
        let (steps, records, payloads, woken, told, committed) = tokio::join!(
            biased;
            maybe(conn, !steps.run_id.is_empty(), &upsert_steps, steps.parameters()),
            maybe(conn, !records.id.is_empty(), &insert_records, records.parameters()),
            maybe(conn, !payloads.n.is_empty(), &insert_payloads, payloads.parameters()),
            maybe(conn, !callers.is_empty(), &wake, vec![&callers, &from]),
            maybe(conn, !gate_flows.is_empty(), &tell_gates, vec![&gate_flows, &gate_sizes]),
            conn.batch_execute(if commits_now { "COMMIT" } else { "" }),
        );
        // In this order: after the first error the others only say that there was one.
        for done in [steps, records, payloads, woken, told] {
            done?;
        }
        committed?;
        if !commits_now {
            secure::forget(conn, &self.forgetful).await?;
            conn.batch_execute("COMMIT").await?;
        }
        Ok(())
    }
}

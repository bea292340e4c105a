//! (b) How fast a store hands runs out and takes their ends, without an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leadflow::clock::Micros;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::fill;
use crate::postgres::Server as Postgres;
use crate::stores::{self, POSTGRES, SQLITE, Shared, Times};

/// Runs of one claim.
const BATCH: usize = 64;
/// Runs that are stored before the claimers take them all, again and again until the time is over.
const ROUND: usize = 4_096;
/// Who claims at the same time.
const CLAIMERS: [usize; 2] = [1, 4];
/// Claims in a row that find nothing, although runs are left: more than the others need to finish theirs.
const EMPTY_CLAIMS_MAX: usize = 10_000;

/// What a measurement gave.
struct Measured {
    /// Runs stored per second.
    stored: f64,
    /// Runs claimed and ended per second.
    ended: f64,
    /// Of single claims.
    claims: Times,
}

pub(crate) fn print(postgres: &Postgres, time: Duration) {
    println!(
        "\n(b) runs stored queued, claimed in batches of {BATCH} and committed to an end, through the store's trait"
    );
    println!("    (claimers on SQLite share a process, on PostgreSQL each is a node); /SQL: to as many on SQLite");
    println!(
        "{:<12} {:>9} {:>12} {:>12} {:>12} {:>12} {:>8} {:>8}",
        "store", "claimers", "stored/s", "claimed/s", "claim p50", "claim p99", "/SQL", "/one"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let mut sqlite = Vec::new();
    for claimers in CLAIMERS {
        let file = folder.path().join(format!("{claimers}.db"));
        fill::used_sqlite(&file);
        let store = stores::on_sqlite(&file);
        sqlite.push(measure(&vec![store; claimers], time));
    }
    let mut on_postgres = Vec::new();
    for claimers in CLAIMERS {
        let database = fill::used_postgres(postgres);
        let nodes: Vec<Shared> = (0..claimers).map(|_| stores::on_postgres(postgres, &database)).collect();
        on_postgres.push(measure(&nodes, time));
        drop(nodes);
        stores::remove(postgres, &database);
    }
    for (store, rows) in [(SQLITE, &sqlite), (POSTGRES, &on_postgres)] {
        for ((claimers, measured), beside) in CLAIMERS.iter().zip(rows).zip(&sqlite) {
            println!(
                "{store:<12} {claimers:>9} {:>12.0} {:>12.0} {:>9.0} µs {:>9.0} µs {:>8.2} {:>8.2}",
                measured.stored,
                measured.ended,
                measured.claims.micros(0.50),
                measured.claims.micros(0.99),
                measured.ended / beside.ended,
                measured.ended / rows[0].ended,
            );
        }
    }
}

/// One claimer for each of `nodes`. Only the time in which runs are claimed and ended counts as such.
fn measure(nodes: &[Shared], time: Duration) -> Measured {
    let runtime = stores::runtime();
    let (mut storing, mut ending, mut rounds, mut claims) = (Duration::ZERO, Duration::ZERO, 0, Vec::new());
    // The first round warms up and is not counted.
    round(&runtime, nodes);
    while ending < time {
        let (stored, ended, mut times) = round(&runtime, nodes);
        storing += stored;
        ending += ended;
        claims.append(&mut times);
        rounds += 1;
    }
    let per_second = |time: Duration| (rounds * ROUND) as f64 / time.as_secs_f64();
    Measured { stored: per_second(storing), ended: per_second(ending), claims: Times::new(claims) }
}

/// Stores a round of runs, and lets all claimers take them: how long either took, and each claim.
fn round(runtime: &Runtime, nodes: &[Shared]) -> (Duration, Duration, Vec<Duration>) {
    runtime.block_on(async {
        let now = nodes[0].now().await.expect("the time");
        let began = Instant::now();
        stores::store_queued(&nodes[0], ROUND, now).await;
        let stored = began.elapsed();
        let left = Arc::new(AtomicUsize::new(ROUND));
        let began = Instant::now();
        let mut claimers = JoinSet::new();
        for (number, node) in nodes.iter().enumerate() {
            claimers.spawn(claimer(Arc::clone(node), format!("node-{number}"), Arc::clone(&left), now));
        }
        let claims = claimers.join_all().await.concat();
        (stored, began.elapsed(), claims)
    })
}

/// Claims and ends until no runs are left; how long each claim took that found some.
async fn claimer(store: Shared, owner: String, left: Arc<AtomicUsize>, now: Micros) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut empty = 0;
    while left.load(Ordering::SeqCst) > 0 {
        let (runs, time) = stores::claim(&store, &owner, BATCH, now).await;
        if runs.is_empty() {
            // Others hold what is left, for a moment.
            empty += 1;
            assert!(empty < EMPTY_CLAIMS_MAX, "runs are left, and nobody gets them");
            continue;
        }
        empty = 0;
        left.fetch_sub(runs.len(), Ordering::SeqCst);
        times.push(time);
        stores::end_all(&store, runs, now).await;
    }
    times
}

//! (c) What one claim costs with ever more finished runs in the table. It should not grow.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::postgres::Server as Postgres;
use crate::stores::{self, FLOW, LANE, POSTGRES, SQLITE, Shared, Times};

/// Finished runs in the table.
const FINISHED: [u64; 3] = [0, 100_000, 1_000_000];
/// Claims of each kind.
const CLAIMS: usize = 200;
/// Claims that come before and are not counted: statements are prepared, pages are read.
const WARM_UP: usize = 20;
/// Runs of a small and of a large claim.
const SIZES: [usize; 2] = [1, 64];
/// Finished runs that one statement adds.
const FILL_SLICE: u64 = 50_000;
/// When the first finished run came, in milliseconds; a second later the next.
const FIRST_MILLIS: u64 = 1_700_000_000_000;

/// Columns of a finished run.
const COLUMNS: &str = "run_id, flow, text_id, status, is_test, received_at, finished_at, lane, due_at, epoch, strikes, \
     inflight, cancel, key_run, depth, \"trigger\"";

/// Columns of a step.
const STEP_COLUMNS: &str = "run_id, idx, name, status, attempt, started_at, finished_at, outcome, flags, io";

/// The actions of a finished run.
const STEPS: &str = "(VALUES ('create_lead'), ('notify'))";

pub(crate) fn print(postgres: &Postgres, rows_max: u64) {
    let mut levels: Vec<u64> = FINISHED.iter().map(|level| *level.min(&rows_max)).collect();
    levels.dedup();
    println!("\n(c) one claim with finished runs in the table ({CLAIMS} of each size, which it ends and leaves there)");
    println!(
        "{:<12} {:>10} {:>13} {:>13} {:>8} {:>13} {:>13} {:>8} {:>10}",
        "store", "finished", "1 run: p50", "p99", "/empty", "64 runs: p50", "p99", "/empty", "filled in"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("leadflow.db");
    table(SQLITE, &levels, || stores::on_sqlite(&file), |from, to| fill_sqlite(&file, from, to));
    let database = postgres.fresh_database();
    table(
        POSTGRES,
        &levels,
        || stores::on_postgres(postgres, &database),
        |from, to| fill_postgres(postgres, &database, from, to),
    );
    stores::remove(postgres, &database);
}

/// Measures at each level, one store after the other on one database that fills up in between.
fn table(store: &str, levels: &[u64], open: impl Fn() -> Shared, fill: impl Fn(u64, u64)) {
    // Makes the tables.
    drop(open());
    let (mut there, mut empty) = (0, None);
    for &level in levels {
        let began = Instant::now();
        // A table in which nothing ever was is left as the migration made it: so it is on the first day.
        if level > there {
            fill(there, level);
        }
        let filled = began.elapsed();
        there = level;
        let opened = open();
        let [one, many] = SIZES.map(|size| measure(&opened, size));
        let (one_empty, many_empty) = *empty.get_or_insert((one.micros(0.50), many.micros(0.50)));
        println!(
            "{store:<12} {level:>10} {:>10.0} µs {:>10.0} µs {:>8.2} {:>10.0} µs {:>10.0} µs {:>8.2} {:>8.1} s",
            one.micros(0.50),
            one.micros(0.99),
            one.micros(0.50) / one_empty,
            many.micros(0.50),
            many.micros(0.99),
            many.micros(0.50) / many_empty,
            filled.as_secs_f64(),
        );
    }
}

/// Stores `size` runs, claims them in one claim and ends them, again and again; how long the claims took.
fn measure(store: &Shared, size: usize) -> Times {
    stores::runtime().block_on(async {
        let mut times: Vec<Duration> = Vec::new();
        for number in 0..WARM_UP + CLAIMS {
            let now = store.now().await.expect("the time");
            stores::store_queued(store, size, now).await;
            let (runs, time) = stores::claim(store, "node", size, now).await;
            assert_eq!(runs.len(), size, "all of them are due");
            stores::end_all(store, runs, now).await;
            if number >= WARM_UP {
                times.push(time);
            }
        }
        Times::new(times)
    })
}

/// The bounds of the slices in which runs `from`..`to` are added.
fn slices(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    (from..to).step_by(FILL_SLICE as usize).map(move |first| (first, to.min(first + FILL_SLICE) - 1))
}

/// Adds finished runs as months of leads would, and lets the planner see them.
fn fill_sqlite(file: &Path, from: u64, to: u64) {
    let db = Connection::open(file).expect("the database");
    for (first, last) in slices(from, to) {
        // `printf` pads and `unhex` makes the bytes of a time-ordered id.
        let runs = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}), \
               ids (id, at) AS (SELECT unhex(printf('%012x70008%015x', {FIRST_MILLIS} + n * 1000, n)), \
                                       ({FIRST_MILLIS} + n * 1000) * 1000 FROM numbers)"
        );
        db.execute_batch(&format!(
            "BEGIN; \
             INSERT INTO runs ({COLUMNS}) {runs} \
             SELECT id, '{FLOW}', 1, 'succeeded', 0, at, at + 2000000, '{LANE}', at, 2, 0, '[]', 0, id, 0, \
               '\"' || printf('%0600d', 0) || '\"' FROM ids; \
             INSERT INTO steps ({STEP_COLUMNS}) {runs} \
             SELECT id, '', names.column1, 'succeeded', 1, at, at + 1000000, 'created', 0, '{{}}' \
             FROM ids, {STEPS} AS names; \
             COMMIT"
        ))
        .expect("finished runs");
    }
    db.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").expect("at rest");
}

/// See [`fill_sqlite`]. The vacuum is what the server would do by itself within a minute, in the middle of the claims.
fn fill_postgres(postgres: &Postgres, database: &str, from: u64, to: u64) {
    for (first, last) in slices(from, to) {
        let runs = format!(
            "(SELECT (lpad(to_hex({FIRST_MILLIS} + n * 1000), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id, \
               ({FIRST_MILLIS} + n * 1000) * 1000 AS at FROM generate_series({first}::bigint, {last}) AS n) AS ids"
        );
        postgres.execute(
            database,
            &format!(
                "SET search_path = leadflow; \
                 INSERT INTO runs ({COLUMNS}) \
                 SELECT id, '{FLOW}', 1, 'succeeded', false, at, at + 2000000, '{LANE}', at, 2, 0, '[]', false, id, 0, \
                   '\"' || repeat('0', 600) || '\"' FROM {runs}; \
                 INSERT INTO steps ({STEP_COLUMNS}) \
                 SELECT id, '', names.column1, 'succeeded', 1, at, at + 1000000, 'created', 0, '{{}}' \
                 FROM {runs}, {STEPS} AS names"
            ),
        );
    }
    for order in ["VACUUM (ANALYZE) leadflow.runs", "VACUUM (ANALYZE) leadflow.steps", "CHECKPOINT"] {
        postgres.execute(database, order);
    }
}

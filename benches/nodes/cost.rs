//! (c) What one claim costs with ever more finished runs in the table. It should not grow.
//!
//! Without any, `PostgreSQL` is as on its first minute: until it has analysed its tables, statements keep plans that
//! were made for empty ones.

use std::time::{Duration, Instant};

use crate::fill;
use crate::postgres::Server as Postgres;
use crate::stores::{self, POSTGRES, SQLITE, Shared, Times};

/// Finished runs in the table.
const FINISHED: [u64; 3] = [0, 100_000, 1_000_000];
/// Claims of each kind.
const CLAIMS: usize = 200;
/// Claims that come before and are not counted: statements are prepared, pages are read.
const WARM_UP: usize = 20;
/// Runs of a small and of a large claim.
const SIZES: [usize; 2] = [1, 64];

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
    table(SQLITE, &levels, || stores::on_sqlite(&file), |from, to| fill::sqlite(&file, from, to));
    let database = postgres.fresh_database();
    table(
        POSTGRES,
        &levels,
        || stores::on_postgres(postgres, &database),
        |from, to| fill::postgres(postgres, &database, from, to),
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

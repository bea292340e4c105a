//! Finished runs by the thousands, straight into the tables.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::postgres::Server as Postgres;
use crate::stores::{self, FLOW, LANE};

/// Finished runs in a database that has been in use: enough for `PostgreSQL` to plan as it does for the rest of its life.
const USED: u64 = 20_000;
/// Finished runs that one statement adds.
const FILL_SLICE: u64 = 50_000;
/// How long ago the first finished run came; the next came [`APART_MILLIS`] later. Recent: a server that is measured must
/// have nothing to prune.
const FIRST_AGO: Duration = Duration::from_hours(72);
/// Between two finished runs, in milliseconds: a million of them fit.
const APART_MILLIS: u64 = 200;

/// Columns of a finished run.
const COLUMNS: &str = "run_id, flow, text_id, status, is_test, received_at, finished_at, lane, due_at, epoch, strikes, \
     inflight, cancel, key_run, depth, \"trigger\"";

/// Columns of a step.
const STEP_COLUMNS: &str = "run_id, idx, name, status, attempt, started_at, finished_at, outcome, flags, io";

/// The actions of a finished run.
const STEPS: &str = "(VALUES ('create_lead'), ('notify'))";

/// When the first finished run came, in milliseconds: the same for the whole process.
fn first_millis() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let first = (SystemTime::now() - FIRST_AGO).duration_since(UNIX_EPOCH).expect("after 1970");
        first.as_millis() as u64
    })
}

/// The bounds of the slices in which runs `from`..`to` are added.
fn slices(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    (from..to).step_by(FILL_SLICE as usize).map(move |first| (first, to.min(first + FILL_SLICE) - 1))
}

/// Adds the finished runs `from`..`to` as months of leads would, and lets the planner see them. The tables are there.
pub(crate) fn sqlite(file: &Path, from: u64, to: u64) {
    let db = Connection::open(file).expect("the database");
    let first_millis = first_millis();
    for (first, last) in slices(from, to) {
        // `printf` pads and `unhex` makes the bytes of a time-ordered id.
        let runs = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}), \
               ids (id, at) AS (SELECT unhex(printf('%012x70008%015x', {first_millis} + n * {APART_MILLIS}, n)), \
                                       ({first_millis} + n * {APART_MILLIS}) * 1000 FROM numbers)"
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

/// See [`sqlite`]. The vacuum is what the server would do by itself within a minute, in the middle of the claims.
pub(crate) fn postgres(server: &Postgres, database: &str, from: u64, to: u64) {
    let first_millis = first_millis();
    for (first, last) in slices(from, to) {
        let runs = format!(
            "(SELECT (lpad(to_hex({first_millis} + n * {APART_MILLIS}), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id, \
               ({first_millis} + n * {APART_MILLIS}) * 1000 AS at FROM generate_series({first}::bigint, {last}) AS n) AS ids"
        );
        server.execute(
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
        server.execute(database, order);
    }
}

/// A fresh database that has been in use: its name.
pub(crate) fn used_postgres(server: &Postgres) -> String {
    let database = server.fresh_database();
    drop(stores::on_postgres(server, &database));
    postgres(server, &database, 0, USED);
    database
}

/// A database at `file` that has been in use.
pub(crate) fn used_sqlite(file: &Path) {
    drop(stores::on_sqlite(file));
    sqlite(file, 0, USED);
}

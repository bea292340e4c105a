//! Each hot query uses the index that was made for it, with tens of thousands of finished runs in the table. What only
//! monitors ask (`SQL_COUNTS`) is not among them: it counts all there is, whichever way is shorter at the moment.

use super::*;
use crate::store::postgres::{claim, columns, connections, intake, lease, open, prune, read};
use crate::store::sqlite::Mode;

/// Finished runs, and a few that wait or are owned, as the planner would find them after months.
const FILL: &str = "INSERT INTO runs (run_id, flow, text_id, status, is_test, received_at, finished_at, lane, due_at, \
       owner, epoch, strikes, inflight, cancel, key_run, depth, \"trigger\") \
     SELECT id, 'flow-' || n % 20, n % 50, status, false, n, CASE WHEN status = 'succeeded' THEN n END, 'lane-' || n % 10, n, \
       CASE WHEN status = 'running' THEN 'node-' || n % 4 END, 1, 0, '[]', false, id, 0, repeat('x', 500) \
     FROM (SELECT n, gen_random_uuid() AS id, CASE WHEN n % 500 = 0 THEN 'queued' WHEN n % 500 = 1 THEN 'running' \
             ELSE 'succeeded' END AS status FROM generate_series(1, 40000) AS n) AS rows; \
     INSERT INTO steps SELECT run_id, '', 'a', 'succeeded', 1, NULL, 1, 2, NULL, 0, '{}' FROM runs; \
     INSERT INTO dedupe SELECT flow, sha256(run_id::text::bytea), run_id, 0, n FROM runs, generate_series(1, 1) AS n";

/// The plan that serves every value, as a prepared statement comes to use it.
fn plan(url: &str, query: &str) -> String {
    let parameters = (1..=30).rev().find(|n| query.contains(&format!("${n}"))).unwrap_or(0);
    let values = if parameters == 0 { String::new() } else { format!("({})", vec!["NULL"; parameters].join(", ")) };
    sql(
        url,
        &format!(
            "{} SET plan_cache_mode = force_generic_plan; PREPARE q AS {query}; EXPLAIN (COSTS OFF) EXECUTE q{values}",
            open::greeting(Mode::Serve, true)
        ),
    )
    .join("\n")
}

/// The first plans of a database are made before anybody has counted it, and are kept.
#[tokio::test]
async fn a_new_database_is_not_walked_through() {
    let (_store, url) = serving();
    for query in [claim::SQL_DUE, claim::SQL_RELEASE, read::SQL_LANES, columns::SQL_COMMIT, read::SQL_LIST] {
        let plan = plan(&url, query);
        assert!(plan.contains("Index"), "{plan}");
        assert!(
            !plan.contains("Seq Scan on runs") && !plan.contains("Seq Scan on steps"),
            "{query}\nwalks all:\n{plan}"
        );
    }
}

#[tokio::test]
async fn hot_queries_walk_their_index() {
    let (_store, url) = serving();
    sql(&url, FILL);
    for table in ["runs", "steps", "dedupe"] {
        Server::shared().execute("postgres", &format!("VACUUM ANALYZE {}.{table}", schema(&url)));
    }
    for (query, step) in [
        (claim::SQL_DUE, "using runs_due on runs"),
        (claim::SQL_SUSPECT, "using runs_suspect on runs"),
        (claim::SQL_SUSPECT_IN_WORK, "runs_suspect_owned"),
        (claim::SQL_SUSPECT_WAITS, "runs_suspect"),
        (connections::SQL_WAITING, "runs_due"),
        (claim::SQL_RELEASE, "using runs_pkey on runs"),
        (lease::SQL_RESCUE, "runs_owned"),
        (read::SQL_OWNED, "runs_owned"),
        (read::SQL_CANCEL_REQUESTS, "runs_owned"),
        (read::SQL_LANES, "using runs_due on runs"),
        (read::SQL_LIST, "using runs_pkey on runs"),
        (read::SQL_LIST_STATUS, "using runs_status on runs"),
        (read::SQL_LIST_FLOW, "using runs_flow on runs"),
        (read::SQL_UNFINISHED, "runs_flow"),
        (read::SQL_PREFIXED, "using runs_pkey on runs"),
        (columns::SQL_COMMIT, "using runs_pkey on runs"),
        (columns::SQL_COMMIT, "using steps_secure on steps"),
        (intake::SQL_HOLDERS, "using dedupe_pkey on dedupe"),
        (prune::SQL_OLD, "using runs_ended on runs"),
        (prune::SQL_DELETE[0], "steps_pkey"),
        (prune::SQL_DELETE[2], "runs_pkey"),
    ] {
        let plan = plan(&url, query);
        assert!(plan.contains(step), "{query}\nis not done by\n{step}\nbut by\n{plan}");
        let walks_all = ["Seq Scan on runs", "Seq Scan on steps", "Seq Scan on dedupe"];
        assert!(!walks_all.iter().any(|walk| plan.contains(walk)), "{query}\nwalks all:\n{plan}");
    }
}

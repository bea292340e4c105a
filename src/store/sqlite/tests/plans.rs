//! Each hot query uses the index that was made for it, whatever the planner's statistics say.

use super::*;
use crate::store::sqlite::{claim, connections, lease, read};

fn plan(conn: &Connection, sql: &str) -> rusqlite::Result<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let parameters = statement.parameter_count();
    let values = rusqlite::params_from_iter(std::iter::repeat_n(1, parameters));
    let lines: Result<Vec<String>, _> = statement.query_map(values, |row| row.get(3))?.collect();
    Ok(lines?.join("\n"))
}

#[tokio::test]
async fn hot_queries_walk_their_index_and_sort_nothing() {
    let (store, _folder) = serving();
    // `runs_due` is not called covering, since its condition names columns that it does not hold; they follow from it
    // and are never looked up.
    for (sql, step) in [
        (claim::SQL_DUE, "SEARCH runs USING INDEX runs_due (lane=? AND due_at<?)"),
        (claim::SQL_SUSPECT, "SEARCH runs USING INDEX runs_suspect (lane=? AND due_at<?)"),
        (claim::SQL_SUSPECT_IN_WORK, "INDEX runs_suspect_owned"),
        (read::SQL_OWNED, "SEARCH runs USING INDEX runs_owned (owner=?)"),
        (lease::SQL_ASTRAY, "USING INDEX runs_owned"),
        (read::SQL_LANES, "SEARCH runs USING INDEX runs_due (lane>?)"),
        (read::SQL_LANES, "SEARCH runs USING INDEX runs_due (lane=? AND due_at<?)"),
        (read::SQL_LANES, "SEARCH runs USING INDEX runs_due (lane=? AND due_at>?)"),
        (read::SQL_LANES, "SEARCH gates USING PRIMARY KEY (flow=?)"),
        (read::SQL_LIST, "SEARCH runs USING COVERING INDEX sqlite_autoindex_runs_1 (run_id<?)"),
        (read::SQL_LIST_STATUS, "SEARCH runs USING COVERING INDEX runs_status (status=? AND run_id<?)"),
        (read::SQL_LIST_FLOW, "SEARCH runs USING COVERING INDEX runs_flow (flow=? AND status=? AND run_id<?)"),
        (read::SQL_UNFINISHED, "SEARCH runs USING COVERING INDEX runs_flow (flow=? AND status=?)"),
        (read::SQL_CANCEL_REQUESTS, "SEARCH runs USING INDEX runs_owned (owner=? AND cancel=?)"),
        (connections::SQL_WAITING, "SCAN runs USING INDEX runs_due"),
        (read::SQL_COUNTS, "SCAN runs USING COVERING INDEX runs_status"),
    ] {
        let plan = store.on_writer(move |conn| plan(conn, sql)).await.expect("explains");
        assert!(plan.contains(step), "{sql}\nis not done by\n{step}\nbut by\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\nsorts:\n{plan}");
    }
}

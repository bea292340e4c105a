//! Statements that are sent together: each future sends its statement when it is first polled, so that `join!` sends all
//! of them in their order before the first answer. They must be prepared, or the preparation would come in between.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::fault::Done;

/// Parameters of a statement.
pub(super) type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// Sends a statement.
pub(super) async fn query(conn: &ClientWrapper, statement: &Statement, values: Parameters<'_>) -> Done<Vec<Row>> {
    Ok(conn.query(statement, &values).await?)
}

/// Sends a statement that is left out when it has nothing to do.
pub(super) async fn maybe(
    conn: &ClientWrapper,
    wanted: bool,
    statement: &Statement,
    values: Parameters<'_>,
) -> Done<Vec<Row>> {
    if wanted { query(conn, statement, values).await } else { Ok(Vec::new()) }
}

//! What only PostgreSQL promises: several nodes, connections that break, databases that are refused, TLS, query plans.

mod group;
mod lost;
mod nodes;
mod opening;
mod plans;
#[path = "../../../../tests/counterparts/postgres.rs"]
mod server;

use std::time::Duration;

use self::server::Server;
use super::*;
use crate::secret::Secret;
use crate::store::Store;

mod conformance {
    crate::store::conformance::conformance!(super::serving());
}

/// Tries of [`eventually`]: half a minute in all.
const TRIES_MAX: usize = 300;

fn opened(url: &str, mode: Mode) -> StoreResult<PostgresStore> {
    PostgresStore::open(&OpenOptions { connections: POOL_MIN, ..OpenOptions::new(Secret::new(url), mode) })
}

fn serve(url: &str) -> PostgresStore {
    opened(url, Mode::Serve).expect("opens")
}

/// A store in a schema of its own.
fn serving() -> (PostgresStore, String) {
    let url = Server::shared().fresh();
    (serve(&url), url)
}

/// The schema of a URL that [`Server::fresh`] made.
fn schema(url: &str) -> &str {
    url.rsplit("%3D").next().expect("it names one")
}

/// Runs SQL in the schema of `url`; the first column of each row.
fn sql(url: &str, sql: &str) -> Vec<String> {
    Server::shared().execute("postgres", &format!("SET search_path = {}; {sql}", schema(url)))
}

/// Asks again and again until the answer is there.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..TRIES_MAX {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

/// Another session that holds locks until it is dropped.
struct Holder {
    client: tokio_postgres::Client,
}

impl Holder {
    async fn of(url: &str, statements: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        client.batch_execute(&format!("BEGIN; {statements}")).await.expect("locks");
        Self { client }
    }

    async fn release(self) {
        self.client.batch_execute("COMMIT").await.expect("commits");
    }
}

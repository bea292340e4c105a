//! (a) Leads posted to several nodes on one database, from the accept to the end of their runs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fill;
use crate::load::{Figures, drive};
use crate::postgres::Server as Postgres;
use crate::serving::{FULL, Server, serve, site, until_finished};
use crate::stores::{self, POSTGRES, SQLITE};

/// Connections of the load, over all nodes together.
const CONNECTIONS: [usize; 2] = [16, 64];
/// Where a node keeps its `SQLite` database.
const SQLITE_FILE: &str = "leadflow-data/leadflow.db";
/// Nodes on one `PostgreSQL`.
const NODES: [usize; 3] = [1, 2, 4];
/// Not counted: caches, the first pages of the log, the allocator.
const WARM_UP: Duration = Duration::from_millis(500);

/// What a measurement gave.
struct Measured {
    accepts: Figures,
    /// Runs that ended, per second from the first lead to the end of the last run.
    finished: f64,
}

pub(crate) fn print(postgres: &Postgres, time: Duration) {
    let lead = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/lead.json")).expect("the sample");
    println!("(a) accept to finished run (record + outbox mail), load spread over the nodes");
    println!("    ratios: accepts/s and finished/s to SQLite, finished/s to one node on PostgreSQL");
    for connections in CONNECTIONS {
        println!(
            "{:<14} {:>5} {:>11} {:>11} {:>11} {:>11} {:>9} {:>9} {:>8}",
            format!("{connections} connections"),
            "nodes",
            "accepts/s",
            "p50",
            "p99",
            "finished/s",
            "acc/SQL",
            "fin/SQL",
            "fin/one"
        );
        let folder = site(FULL, None);
        fill::used_sqlite(&folder.path().join(SQLITE_FILE));
        let sqlite = measure(&[serve(folder)], connections, &lead, time);
        line(SQLITE, 1, &sqlite, &sqlite, None);
        let mut one = None;
        for nodes in NODES {
            let database = fill::used_postgres(postgres);
            let settings = format!("store: {{ type: postgres, url: '{}' }}\n", stores::url(postgres, &database));
            let servers: Vec<Server> = (0..nodes).map(|_| serve(site(FULL, Some(&settings)))).collect();
            let measured = measure(&servers, connections, &lead, time);
            drop(servers);
            stores::remove(postgres, &database);
            line(POSTGRES, nodes, &measured, &sqlite, Some(*one.get_or_insert(measured.finished)));
        }
    }
}

fn measure(servers: &[Server], connections: usize, lead: &[u8], time: Duration) -> Measured {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let drive = |time| drive(&addresses, "/flows/full", connections, lead, time);
    // Every node counts the runs of the whole store.
    let old = until_finished(&servers[0], 0);
    assert!(old > 0, "the database has been in use");
    let before = until_finished(&servers[0], old + drive(WARM_UP).count());
    let began = Instant::now();
    let accepts = drive(time);
    let finished = until_finished(&servers[0], before + accepts.count()) - before;
    let finished = finished as f64 / began.elapsed().as_secs_f64();
    Measured { accepts, finished }
}

fn line(store: &str, nodes: usize, measured: &Measured, sqlite: &Measured, one: Option<f64>) {
    println!(
        "{store:<14} {nodes:>5} {:>11.0} {:>8.2} ms {:>8.2} ms {:>11.0} {:>9.2} {:>9.2} {:>8}",
        measured.accepts.per_second(),
        measured.accepts.millis(0.50),
        measured.accepts.millis(0.99),
        measured.finished,
        measured.accepts.per_second() / sqlite.accepts.per_second(),
        measured.finished / sqlite.finished,
        one.map_or(String::new(), |one| format!("{:.2}", measured.finished / one)),
    );
}

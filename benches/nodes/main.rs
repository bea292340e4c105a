#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
//! Many nodes on one `PostgreSQL` beside one node on `SQLite`, in one run: `cargo bench --bench nodes`.
//!
//! Real processes, and a `PostgreSQL` of its own that syncs every commit, as `SQLite` does; all of them, and the load,
//! share this machine, and TLS to the database is off. (a) and (b) begin with databases that have been in use. Ratios count; absolute figures are those of the machine.
//! `LEADFLOW_BENCH_SECONDS` sets the length of each measurement (default 5), `LEADFLOW_BENCH_ROWS` the most finished
//! runs that a claim has to pass by (default 1,000,000).

mod claims;
mod cost;
mod fill;
#[path = "../shared/load.rs"]
mod load;
#[path = "../../tests/counterparts/postgres.rs"]
mod postgres;
#[path = "../shared/serving.rs"]
mod serving;
mod spread;
mod stores;

use std::time::Duration;

const SECONDS_DEFAULT: u64 = 5;
const ROWS_DEFAULT: u64 = 1_000_000;

fn main() {
    let time = Duration::from_secs(number("LEADFLOW_BENCH_SECONDS", SECONDS_DEFAULT));
    let rows_max = number("LEADFLOW_BENCH_ROWS", ROWS_DEFAULT);
    let server = postgres::Server::durable();
    let show = |what: &str| server.execute("postgres", &format!("SHOW {what}")).concat();
    println!(
        "PostgreSQL {}, fsync {}, synchronous_commit {}; {} cores for everything\n",
        show("server_version"),
        show("fsync"),
        show("synchronous_commit"),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    );
    spread::print(&server, time);
    claims::print(&server, time);
    cost::print(&server, rows_max);
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).map_or(or, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

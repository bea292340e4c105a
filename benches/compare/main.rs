#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
//! leadflow beside the least that could do the same, under the same load, in one run: `cargo bench`.
//!
//! Three servers, each its own process: `bare` (hyper, parse, 202), `durable` (hyper, parse, validate, one
//! group-committed `SQLite` insert with `synchronous=FULL`, 202), and the real binary. Ratios count; absolute figures are
//! those of the machine. `LEADFLOW_BENCH_SECONDS` sets the length of each measurement (default 5).

#[path = "../shared/load.rs"]
mod load;
mod minimal;
#[path = "../shared/serving.rs"]
mod serving;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use load::{Figures, drive};
use serving::{FULL, Server, first_line, serve, site, until_finished};

const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// A flow that is pure to its end: stored finished in its one commit.
const PURE: &str = "name: pure\ntrigger:\n  type: request\n  authentication: none\n  schema: marketplace-lead.json\nactions:\n  - name: title\n    type: compose\n    inputs: '{{trigger.body.OfferTitle}}'\n";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(kind) = words.iter().position(|word| word == "--server").and_then(|at| words.get(at + 1)) {
        return minimal::serve(kind);
    }
    let seconds = std::env::var("LEADFLOW_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let time = Duration::from_secs(seconds);
    let lead = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/lead.json")).expect("the sample");
    accept_alone(&lead, time);
    to_finished_run(&lead, time);
}

/// (a) Durable accept alone.
fn accept_alone(lead: &[u8], time: Duration) {
    println!("(a) durable accept: requests/s, p50, p99");
    println!(
        "{:<12} {:>12} {:>12} {:>12} {:>10} {:>10}",
        "connections", "bare", "durable", "leadflow", "/bare", "/durable"
    );
    for connections in CONNECTIONS {
        let bare = measure(&minimal_server("bare"), "/", connections, lead, time);
        let durable = measure(&minimal_server("durable"), "/", connections, lead, time);
        let ours = measure(&serve(site(PURE, None)), "/flows/pure", connections, lead, time);
        println!(
            "{connections:<12} {:>12.0} {:>12.0} {:>12.0} {:>10.2} {:>10.2}",
            bare.per_second(),
            durable.per_second(),
            ours.per_second(),
            ours.per_second() / bare.per_second(),
            ours.per_second() / durable.per_second(),
        );
        for (name, figures) in [("p50", 0.50), ("p99", 0.99)] {
            println!(
                "{name:>12} {:>9.2} ms {:>9.2} ms {:>9.2} ms {:>10.2} {:>10.2}",
                bare.millis(figures),
                durable.millis(figures),
                ours.millis(figures),
                ours.millis(figures) / bare.millis(figures),
                ours.millis(figures) / durable.millis(figures),
            );
        }
    }
}

/// (b) From accept to the finished run: a record in the embedded store and a mail in the outbox.
fn to_finished_run(lead: &[u8], time: Duration) {
    println!("\n(b) accept to finished run (record + outbox mail)");
    println!(
        "{:<12} {:>12} {:>10} {:>10} {:>14} {:>8}",
        "connections", "accepts/s", "p50", "p99", "finished/s", "/bare"
    );
    for connections in CONNECTIONS {
        let bare = measure(&minimal_server("bare"), "/", connections, lead, time);
        let server = serve(site(FULL, None));
        let began = Instant::now();
        let figures = measure(&server, "/flows/full", connections, lead, time);
        let finished = until_finished(&server, figures.count());
        println!(
            "{connections:<12} {:>12.0} {:>7.2} ms {:>7.2} ms {:>14.0} {:>8.2}",
            figures.per_second(),
            figures.millis(0.50),
            figures.millis(0.99),
            finished as f64 / began.elapsed().as_secs_f64(),
            figures.per_second() / bare.per_second(),
        );
    }
}

fn measure(server: &Server, path: &str, connections: usize, lead: &[u8], time: Duration) -> Figures {
    // A short warm-up that is not counted: caches, the first WAL pages, the allocator.
    drive(&[server.address], path, connections, lead, Duration::from_millis(300));
    drive(&[server.address], path, connections, lead, time)
}

fn minimal_server(kind: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--server", kind]).current_dir(folder.path());
    let (child, line) = first_line(command, "listening ");
    let address = line.trim().parse().expect("an address");
    Server { child, address, admin: None, folder }
}

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
//! leadflow beside the least that could do the same, under the same load, in one run: `cargo bench`.
//!
//! Three servers, each its own process: `bare` (hyper, parse, 202), `durable` (hyper, parse, validate, one
//! group-committed `SQLite` insert with `synchronous=FULL`, 202), and the real binary. Ratios count; absolute figures are
//! those of the machine. `LEADFLOW_BENCH_SECONDS` sets the length of each measurement (default 5).

mod load;
mod minimal;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use load::{Figures, drive};

const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// A flow that is pure to its end: stored finished in its one commit.
const PURE: &str = "name: pure\ntrigger:\n  type: request\n  authentication: none\n  schema: marketplace-lead.json\nactions:\n  - name: title\n    type: compose\n    inputs: '{{trigger.body.OfferTitle}}'\n";

/// The main job: a record and a mail.
const FULL: &str = "name: full\ntrigger:\n  type: request\n  authentication: none\n  schema: marketplace-lead.json\nactions:\n  - name: create_lead\n    type: create_record\n    connection: crm\n    entity: leads\n    fields:\n      subject: '{{trigger.body.OfferTitle}}'\n      lastname: '{{trigger.body.UserDetails.LastName}}'\n      emailaddress1: '{{trigger.body.UserDetails.Email}}'\n  - name: notify\n    type: send_email\n    connection: mail\n    to: sales@contoso.com\n    subject: 'New lead: {{trigger.body.OfferTitle}}'\n    body: '{{trigger.body.UserDetails.FirstName}} {{trigger.body.UserDetails.LastName}}'\n";

/// A server process and where it answers. Killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if it crashed: the figures tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        let ours = measure(&leadflow(PURE), "/flows/pure", connections, lead, time);
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
        let server = leadflow(FULL);
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
    drive(server.address, path, connections, lead, Duration::from_millis(300));
    drive(server.address, path, connections, lead, time)
}

fn minimal_server(kind: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--server", kind]).current_dir(folder.path());
    let (child, line) = first_line(command, "listening ");
    let address = line.trim().parse().expect("an address");
    Server { child, address, admin: None, _folder: Some(folder) }
}

fn leadflow(flow: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("flows")).expect("flows");
    std::fs::create_dir_all(folder.path().join("schemas")).expect("schemas");
    std::fs::write(folder.path().join("flows/flow.yaml"), flow).expect("flow");
    // One log line a run is measured too; where it goes is not.
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/marketplace-lead.json");
    std::fs::copy(schema, folder.path().join("schemas/marketplace-lead.json")).expect("schema");
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadflow"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).current_dir(folder.path());
    let (child, _) = first_line(command, "ready in");
    let lock = std::fs::read_to_string(folder.path().join("leadflow-data/serve.lock")).expect("the lock file");
    let holder: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
    let address = |key: &str| holder[key].as_str().expect("an address").parse().expect("an address");
    Server { child, address: address("public"), admin: Some(address("admin")), _folder: Some(folder) }
}

/// Starts `command` and reads until a line starts with `prefix`; the rest of that line.
fn first_line(mut command: Command, prefix: &str) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let line = lines
        .by_ref()
        .map(|line| line.expect("a line"))
        .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        .expect("the server is ready");
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

/// Waits until so many runs have succeeded, as `/metrics` says; how many there are.
fn until_finished(server: &Server, wanted: u64) -> u64 {
    let admin = server.admin.expect("an admin address");
    loop {
        let text = load::get(admin, "/metrics");
        let succeeded = text
            .lines()
            .find_map(|line| line.strip_prefix("leadflow_runs{status=\"succeeded\"} "))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        if succeeded >= wanted {
            return succeeded;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

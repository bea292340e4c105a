#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
//! What loading and reloading cost: `cargo bench --bench reload`.
//!
//! One run prints the cold load of many flow files, one changed file among them until it answers, memory before and
//! after many changes, and accepts while flows reload all the time beside accepts while nothing changes. Absolute
//! figures are those of the machine. `LEADFLOW_BENCH_SECONDS` sets the length of each measurement under load (default
//! 5), `LEADFLOW_BENCH_FLOWS` the number of files (default 10,000).

#[path = "../shared/load.rs"]
#[expect(dead_code, reason = "other benches need all of it")]
mod load;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use load::{Figures, drive};

const FLOWS_DEFAULT: usize = 10_000;
/// Files of the smaller folder.
const FLOWS_FEW: usize = 1_000;
/// Files in one sub-folder.
const FLOWS_PER_FOLDER: usize = 500;
/// Cold starts; the best counts, for the others ran beside something else.
const STARTS: usize = 3;
/// Changes of one file, one after the other; memory is told before them, after the half and after all.
const CHANGES: usize = 100;
/// Connections that post while flows reload.
const CONNECTIONS: usize = 16;
/// Rounds without and with reloads, in turn.
const ROUNDS: usize = 3;
/// Between two edits while flows reload all the time: more than the quiet period, or no edit would ever be at rest.
const EDIT_PAUSE: Duration = Duration::from_millis(500);
/// How long a change may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The flow under load.
const PURE: &str = "name: pure\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: title\n    type: compose\n    inputs: '{{trigger.body.OfferTitle}}'\n";

fn main() {
    let number = |name: &str, or: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let many = number("LEADFLOW_BENCH_FLOWS", FLOWS_DEFAULT);
    let time = Duration::from_secs(number("LEADFLOW_BENCH_SECONDS", 5) as u64);
    println!("(a) load: from the start of the process until it is ready");
    println!("{:<10} {:>16} {:>16} {:>16} {:>12}", "flows", "check", "first start", "next start", "memory");
    cold(FLOWS_FEW);
    let site = cold(many);
    let server = Server::start(&site);
    one_change(&site, &server, many);
    println!(
        "\n(c) accepts over {CONNECTIONS} connections, {many} flows, without and with a changed file every {} ms",
        EDIT_PAUSE.as_millis()
    );
    accepts(&site, &server, time);
}

/// A folder with `count` flows like those that people write.
fn site(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    std::fs::create_dir_all(root.join("schemas")).expect("schemas");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/marketplace-lead.json");
    std::fs::copy(schema, root.join("schemas/marketplace-lead.json")).expect("schema");
    std::fs::write(root.join("leadflow.yaml"), "log: { level: warn }\n").expect("settings");
    for number in 0..count {
        let folder = root.join(format!("flows/{}", number / FLOWS_PER_FOLDER));
        std::fs::create_dir_all(&folder).expect("folders");
        std::fs::write(folder.join(format!("offer-{number}.yaml")), offer(number)).expect("a flow");
    }
    std::fs::write(root.join("flows/pure.yaml"), PURE).expect("a flow");
    std::fs::write(root.join("flows/changed.yaml"), changed(0)).expect("a flow");
    folder
}

fn offer(number: usize) -> String {
    format!(
        "name: offer-{number}\ndescription: Leads for offer {number}\nparameters:\n  owner: sales-{number}@contoso.com\ntrigger:\n  type: request\n  schema: marketplace-lead.json\nactions:\n  - name: create_lead\n    type: create_record\n    connection: crm\n    entity: leads\n    fields:\n      subject: '{{{{trigger.body.OfferTitle}}}} ({{{{trigger.body.ActionCode}}}})'\n      firstname: '{{{{trigger.body.UserDetails.FirstName}}}}'\n      lastname: \"{{{{default trigger.body.UserDetails.LastName 'unknown'}}}}\"\n      emailaddress1: '{{{{trigger.body.UserDetails.Email}}}}'\n      leadsourcecode: 8\n  - name: notify_sales\n    type: send_email\n    connection: mail\n    run_after: {{}}\n    to: '{{{{parameters.owner}}}}'\n    subject: 'New lead from {{{{trigger.body.LeadSource}}}}: {{{{trigger.body.OfferTitle}}}}'\n    body: '{{{{trigger.body.UserDetails.FirstName}}}} {{{{trigger.body.UserDetails.LastName}}}}'\n"
    )
}

fn changed(number: usize) -> String {
    format!(
        "name: changed\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: say\n    type: respond\n    status: 200\n    body: {{ said: {number} }}\n"
    )
}

/// (a) Cold loads of `count` files: by `check`, by a server that has never run, and by one that has.
fn cold(count: usize) -> tempfile::TempDir {
    let mut site = site(count);
    let best = |times: Vec<Duration>| times.into_iter().min().unwrap_or_default();
    let check = best((0..STARTS).map(|_| timed(|| check(&site))).collect());
    let mut first = Vec::new();
    for _ in 0..STARTS {
        site = self::site(count);
        let began = Instant::now();
        drop(Server::start(&site));
        first.push(began.elapsed());
    }
    let mut memory = 0.0_f64;
    let mut next = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        let server = Server::start(&site);
        next.push(began.elapsed());
        memory = server.memory();
    }
    let (first, next) = (best(first), best(next));
    println!(
        "{count:<10} {:>13.0} ms {:>13.0} ms {:>13.0} ms {memory:>8.1} MiB",
        millis(check),
        millis(first),
        millis(next)
    );
    site
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn check(site: &tempfile::TempDir) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadflow"));
    let output = command.arg("check").current_dir(site.path()).output().expect("check runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// (b) From the end of a write until the new version answers, and memory over many of them.
fn one_change(site: &tempfile::TempDir, server: &Server, count: usize) {
    // What the files' age spares from being read again is spared only once they have rested.
    std::thread::sleep(Duration::from_secs(10));
    let mut keep = Keep::new(server.public);
    let before = server.memory();
    let mut halfway = before;
    let mut times = Vec::new();
    for number in 1..=CHANGES {
        std::fs::write(site.path().join("flows/changed.yaml"), changed(number)).expect("write");
        let began = Instant::now();
        while !keep.says(number) {
            assert!(began.elapsed() < PATIENCE, "change {number} does not become live");
            std::thread::sleep(Duration::from_millis(2));
        }
        times.push(began.elapsed());
        if number == CHANGES / 2 {
            halfway = server.memory();
        }
    }
    let after = server.memory();
    times.sort_unstable();
    println!("\n(b) one changed file among {count}: {CHANGES} times from the end of its write until it answers");
    println!("{:>12} {:>12} {:>12} {:>14} {:>14} {:>14}", "p50", "p99", "max", "memory before", "halfway", "after");
    let at = |share: f64| millis(times[((times.len() as f64 * share) as usize).min(times.len() - 1)]);
    println!(
        "{:>9.0} ms {:>9.0} ms {:>9.0} ms {before:>10.1} MiB {halfway:>10.1} MiB {after:>10.1} MiB",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// (c) The same load without and with reloads, in turn.
fn accepts(site: &tempfile::TempDir, server: &Server, time: Duration) {
    let lead = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/lead.json")).expect("the sample");
    let measure = |time| drive(&[server.public], "/flows/pure", CONNECTIONS, &lead, time);
    measure(Duration::from_secs(1));
    println!("{:<12} {:>10} {:>10} {:>10} {:>12} {:>9}", "", "p50", "p99", "max", "accepts/s", "reloads");
    for _ in 0..ROUNDS {
        tell("at rest", &measure(time), 0);
        let before = server.generation();
        let stop = AtomicBool::new(false);
        let figures = std::thread::scope(|scope| {
            scope.spawn(|| edit_until(site, &stop));
            let figures = measure(time);
            stop.store(true, Ordering::SeqCst);
            figures
        });
        tell("reloading", &figures, server.generation() - before);
    }
}

fn edit_until(site: &tempfile::TempDir, stop: &AtomicBool) {
    for number in 1_000_000.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        std::fs::write(site.path().join("flows/changed.yaml"), changed(number)).expect("write");
        std::thread::sleep(EDIT_PAUSE);
    }
}

fn tell(what: &str, figures: &Figures, reloads: u64) {
    println!(
        "{what:<12} {:>7.2} ms {:>7.2} ms {:>7.2} ms {:>12.0} {reloads:>9}",
        figures.millis(0.50),
        figures.millis(0.99),
        figures.millis(1.0),
        figures.per_second(),
    );
}

/// A running `leadflow serve`. Killed when dropped.
struct Server {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    fn start(site: &tempfile::TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadflow"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).current_dir(site.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let is_ready = lines.by_ref().map(|line| line.expect("a line")).any(|line| line.starts_with("ready in"));
        assert!(is_ready, "the server is ready");
        std::thread::spawn(move || lines.for_each(drop));
        let lock = std::fs::read_to_string(site.path().join("leadflow-data/serve.lock")).expect("the lock file");
        let holder: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
        let address = |key: &str| holder[key].as_str().expect("an address").parse().expect("an address");
        Self { child, public: address("public"), admin: address("admin") }
    }

    /// Resident memory in MiB; 0 where the system does not tell.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    fn generation(&self) -> u64 {
        let text = load::get(self.admin, "/readyz");
        let body = text.split("\r\n\r\n").nth(1).expect("a body");
        let ready: serde_json::Value = serde_json::from_str(body).expect("JSON");
        ready["generation"].as_u64().expect("a generation")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if it crashed: the figures tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One kept connection that asks what `changed` says.
struct Keep {
    stream: TcpStream,
    host: SocketAddr,
}

impl Keep {
    fn new(host: SocketAddr) -> Self {
        let stream = TcpStream::connect(host).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream, host }
    }

    fn says(&mut self, number: usize) -> bool {
        let request = format!("POST /flows/changed HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n{{}}", self.host);
        self.stream.write_all(request.as_bytes()).expect("write");
        let mut buffer = [0; 4096];
        let mut text = String::new();
        while !text.ends_with('}') {
            let read = self.stream.read(&mut buffer).expect("read");
            assert!(read > 0, "the server closed: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        text.ends_with(&format!("{{\"said\":{number}}}"))
    }
}

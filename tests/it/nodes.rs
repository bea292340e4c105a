//! Several real servers on one real PostgreSQL, while everything that can die does: nodes by SIGKILL, one by a pause
//! that is longer than its lease, the database, and the network between them. Numbered leads, and an account of each.
//!
//! `LEADFLOW_NODES_ROUNDS` sets how many strikes there are; each comes with [`LEADS_PER_ROUND`] leads.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::postgres::Server as Postgres;
use crate::support::proxy::Proxy;
use crate::support::{Server, Workspace, wire};

/// Strikes without `LEADFLOW_NODES_ROUNDS`.
const ROUNDS_DEFAULT: u64 = 8;
/// Leads that are posted round each strike: 50 rounds are 20,000 leads.
const LEADS_PER_ROUND: u64 = 400;
/// Servers on the database.
const NODES: usize = 3;
/// Longer than a lease: whoever sleeps so long is not who they were.
const PAUSE: Duration = Duration::from_secs(20);
/// A node reads the database's clock from the middle of a round trip, and the other side its own.
const CLOCK_ERROR_MICROS: i64 = 250_000;
/// For the last run to end, after the last strike.
const END_PATIENCE: Duration = Duration::from_secs(180);

const FLOW: &str = "name: numbered\ntrigger:\n  type: request\nactions:\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /leads\n    retry: { policy: fixed, count: 1000, interval: 500ms }\n    body: { number: '{{trigger.body.number}}', run: '{{run.id}}', step: tell }\n  - name: again\n    type: http\n    connection: api\n    method: POST\n    url: /leads\n    retry: { policy: fixed, count: 1000, interval: 500ms }\n    body: { number: '{{trigger.body.number}}', run: '{{run.id}}', step: again }\n";

/// What the other side saw: by (number, step) the keys under which it was told, and when it was told last.
#[derive(Default)]
struct Ledger {
    keys: BTreeMap<(u64, String), BTreeSet<String>>,
    last: BTreeMap<String, i64>,
}

fn micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64
}

/// One place of the cluster: a folder, a way to the database, and the server that runs there now.
struct Node {
    workspace: Workspace,
    proxy: Proxy,
    server: Option<Server>,
    /// Where it takes leads; `None` while it is down.
    url: Arc<Mutex<Option<String>>>,
}

impl Node {
    fn new(database: &str, api: &str) -> Self {
        let (before, rest) = database.split_once('@').expect("a user");
        let (address, after) = rest.split_once('/').expect("a database");
        let proxy = Proxy::start(address.parse().expect("an address"));
        let workspace = Workspace::empty();
        workspace.write("flows/numbered.yaml", FLOW);
        workspace.write("database-url", &format!("{before}@{}/{after}", proxy.address));
        workspace.write(
            "leadflow.yaml",
            &format!("store: {{ type: postgres, url: '${{file:database-url}}' }}\nconnections:\n  api: {{ type: http, base_url: '{api}' }}\n"),
        );
        let mut node = Self { workspace, proxy, server: None, url: Arc::default() };
        node.up();
        node
    }

    /// Starts the server. The database may be down: then it is tried again.
    fn up(&mut self) {
        let server = self.workspace.serve();
        *self.url.lock().expect("lock") = Some(server.url("numbered").to_owned());
        self.server = Some(server);
    }

    fn crash(&mut self) {
        *self.url.lock().expect("lock") = None;
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.server.as_ref().expect("it runs").pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
    }
}

/// The same strikes every time, as far as the machine allows.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn rounds() -> u64 {
    std::env::var("LEADFLOW_NODES_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().expect("a number of rounds"))
}

/// Posts numbers to one node until there are none left; those that got a 2xx.
fn post(url: &Mutex<Option<String>>, next: &AtomicU64, allowed: &AtomicU64, stop: &AtomicBool) -> BTreeSet<u64> {
    let mut accepted = BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        let place = url.lock().expect("lock").clone();
        let (Some(place), true) = (place, next.load(Ordering::SeqCst) < allowed.load(Ordering::SeqCst)) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let number = next.fetch_add(1, Ordering::SeqCst);
        // No answer means that the lead may or may not be there: only a 2xx is a promise.
        match wire::post(&place, &format!("{{\"number\":{number}}}")) {
            Ok(answer) if answer.status == 202 => assert!(accepted.insert(number)),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            }
            Err(_) => {}
        }
    }
    accepted
}

#[test]
fn every_accepted_lead_has_exactly_one_record_whatever_dies() {
    let ledger: Arc<Mutex<Ledger>> = Arc::default();
    let seen = Arc::clone(&ledger);
    let crm = FakeHttp::start(move |_, request| {
        let body = request.json();
        let step = body["step"].as_str().expect("a step").to_owned();
        let key = request.header("idempotency-key").expect("a key").to_owned();
        let mut seen = seen.lock().expect("lock");
        seen.keys.entry((body["number"].as_u64().expect("a number"), step)).or_default().insert(key);
        seen.last.insert(body["run"].as_str().expect("a run").to_owned(), micros());
        Act::Answer(200, "{}")
    });
    let postgres = Postgres::start();
    let database = postgres.fresh();
    let schema = database.rsplit_once("%3D").expect("a schema").1.to_owned();
    let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new(&database, &crm.url())).collect();
    let (next, allowed, stop) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..NODES * 2)
        .map(|client| {
            let url = Arc::clone(&nodes[client % NODES].url);
            let (next, allowed, stop) = (Arc::clone(&next), Arc::clone(&allowed), Arc::clone(&stop));
            std::thread::spawn(move || post(&url, &next, &allowed, &stop))
        })
        .collect();

    // The last node sleeps through the first strikes, and wakes up in a world that has given its work to others.
    nodes[NODES - 1].signal("-STOP");
    let asleep = Instant::now();
    let mut sleeps = true;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds() {
        allowed.store((round + 1) * LEADS_PER_ROUND, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100 + dice.below(400)));
        let awake = if sleeps { NODES as u64 - 1 } else { NODES as u64 };
        let struck = dice.below(awake) as usize;
        match dice.below(4) {
            0 | 1 => {
                nodes[struck].crash();
                std::thread::sleep(Duration::from_millis(dice.below(500)));
                nodes[struck].up();
            }
            2 => {
                postgres.crash();
                std::thread::sleep(Duration::from_millis(dice.below(1_500)));
                postgres.restart();
            }
            _ => {
                for node in &nodes {
                    node.proxy.cut();
                }
            }
        }
        if sleeps && (asleep.elapsed() >= PAUSE || round + 1 == rounds()) {
            std::thread::sleep(PAUSE.saturating_sub(asleep.elapsed()));
            nodes[NODES - 1].signal("-CONT");
            sleeps = false;
        }
        crate::support::until("the leads of the round are posted", || {
            next.load(Ordering::SeqCst) >= allowed.load(Ordering::SeqCst)
        });
    }
    stop.store(true, Ordering::SeqCst);
    let accepted: BTreeSet<u64> = clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    assert!(accepted.len() as u64 > rounds() * LEADS_PER_ROUND / 4, "most leads are taken: {}", accepted.len());

    let ask = |sql: String| postgres.execute("postgres", &sql);
    let unfinished = || ask(format!("SELECT run_id::text FROM {schema}.runs WHERE finished_at IS NULL LIMIT 3"));
    let deadline = Instant::now() + END_PATIENCE;
    while !unfinished().is_empty() {
        let shown = || unfinished().iter().map(|run| nodes[0].workspace.show(run)).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "runs do not end: {:#?}", shown());
        std::thread::sleep(Duration::from_millis(200));
    }
    account_for(&ledger.lock().expect("lock"), &accepted);
    let ended = ask(format!("SELECT run_id::text || ' ' || status || ' ' || finished_at FROM {schema}.runs"));
    assert!(ended.len() >= accepted.len());
    for line in &ended {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[1], "succeeded", "{line}");
        let told = ledger.lock().expect("lock").last.get(words[0]).copied().expect("the other side was told");
        let ended_at: i64 = words[2].parse().expect("a time");
        assert!(told <= ended_at + CLOCK_ERROR_MICROS, "{line}: an action ran {} µs after the end", told - ended_at);
    }
    let stuck = ask(format!("SELECT owner FROM {schema}.runs WHERE owner IS NOT NULL"));
    assert_eq!(stuck, Vec::<String>::new());
    let lives = ask(format!(
        "SELECT count(*)::text FROM {schema}.nodes WHERE lease_until > extract(epoch FROM clock_timestamp()) * 1000000"
    ));
    assert_eq!(lives, [NODES.to_string()], "one lease for each node that lives");
}

/// Each accepted number was told to the other side under one key a step: one record, however often it was told.
fn account_for(ledger: &Ledger, accepted: &BTreeSet<u64>) {
    for number in accepted {
        for step in ["tell", "again"] {
            let keys = ledger.keys.get(&(*number, step.to_owned())).map_or(0, BTreeSet::len);
            assert_eq!(keys, 1, "lead {number}, {step}: accepted, and {keys} records");
        }
    }
    let twice = ledger.keys.iter().find(|(_, keys)| keys.len() > 1);
    assert!(twice.is_none(), "{twice:?}");
}

//! Constant traffic on a running server: every answer is judged, and every answered lead must be in the store.
//!
//! A test says which answers each flow may give now ([`Traffic::allow`]); clients post all the time, some over one
//! connection that must outlive every reload, some over a new one each time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::wire::{self, Answer};

/// Clients that post at the same time: one keeps its connection, the others do not.
const CLIENTS: u64 = 3;
/// Between two requests of a client: the traffic is there to notice a failure, not to fill the machine.
const PACE: Duration = Duration::from_millis(3);
/// Failures that are told in full.
const FAILURES_MAX: usize = 10;

/// The text of a flow that answers `said` (text of JSON or a template) and the number that it was sent.
pub(crate) fn answering(name: &str, said: &str) -> String {
    format!(
        "name: {name}\ntrigger:\n  type: request\n  authentication: none\nactions:\n  - name: say\n    type: respond\n    \
         status: 200\n    body:\n      n: '{{{{trigger.body.n}}}}'\n      said: \"{said}\"\n"
    )
}

/// What the flows may answer now: for each name the answers in the order in which they may be seen.
#[derive(Debug, Default)]
struct Board {
    address: Option<SocketAddr>,
    epoch: u64,
    allowed: Vec<(String, Vec<String>)>,
}

#[derive(Debug, Default)]
struct Shared {
    board: RwLock<Board>,
    stop: AtomicBool,
    number: AtomicU64,
    runs: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
}

/// Clients that post until [`Traffic::finish`].
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts the clients. They are silent until something is allowed.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        shared.board.write().expect("board").address = Some(address);
        let client = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Client::new(number).work(&shared))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { shared, clients }
    }

    /// Says what each name may answer from now on, in the order in which its answers may be seen: once a client has
    /// seen a later one, an earlier one is a failure. Names that are not told are left alone. Waits for requests in
    /// flight, so that none is judged by what came after it.
    pub(crate) fn allow<'a>(&self, names: impl IntoIterator<Item = (&'a str, Vec<String>)>) {
        let mut board = self.shared.board.write().expect("board");
        board.epoch += 1;
        board.allowed = names.into_iter().map(|(name, answers)| (name.to_owned(), answers)).collect();
        drop(board);
        self.check();
    }

    /// The server listens elsewhere now (it was restarted while nothing was allowed).
    pub(crate) fn moved(&self, address: SocketAddr) {
        self.shared.board.write().expect("board").address = Some(address);
    }

    /// Fails if a request has failed.
    pub(crate) fn check(&self) {
        let failures = self.shared.failures.lock().expect("failures");
        assert!(failures.is_empty(), "{} requests failed:\n{}", failures.len(), failures.join("\n"));
    }

    /// Requests that were answered as allowed so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.runs.lock().expect("runs").len()
    }

    /// Waits until `more` requests have been answered from now on: something has been seen of what is there now.
    pub(crate) fn see(&self, more: usize) {
        let wanted = self.answered() + more;
        super::until("the traffic goes on", || {
            self.check();
            self.answered() >= wanted
        });
    }

    /// Stops the clients; the run of each request that was answered.
    pub(crate) fn finish(mut self) -> BTreeSet<String> {
        self.stop();
        for client in std::mem::take(&mut self.clients) {
            client.join().expect("a client ends");
        }
        self.check();
        let runs = std::mem::take(&mut *self.shared.runs.lock().expect("runs"));
        let count = runs.len();
        let runs: BTreeSet<String> = runs.into_iter().collect();
        assert!(
            count > 0 && runs.len() == count,
            "each answer names its own run: {count} answers, {} runs",
            runs.len()
        );
        runs
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One client.
struct Client {
    keeps: bool,
    connection: Option<(SocketAddr, TcpStream)>,
    /// How far each name's answers have been seen in this epoch.
    seen: HashMap<String, usize>,
    epoch: u64,
    turn: usize,
}

impl Client {
    fn new(number: u64) -> Self {
        Self { keeps: number == 0, connection: None, seen: HashMap::new(), epoch: 0, turn: number as usize }
    }

    fn work(mut self, shared: &Shared) {
        while !shared.stop.load(Ordering::SeqCst) {
            self.one(shared);
            std::thread::sleep(PACE);
        }
    }

    fn one(&mut self, shared: &Shared) {
        let board = shared.board.read().expect("board");
        if board.epoch != self.epoch {
            self.epoch = board.epoch;
            self.seen.clear();
        }
        let (Some(address), false) = (board.address, board.allowed.is_empty()) else { return };
        self.turn = (self.turn + 1) % board.allowed.len();
        let (name, answers) = &board.allowed[self.turn];
        let number = shared.number.fetch_add(1, Ordering::SeqCst);
        let judged = self.post(address, name, number).map_err(|error| error.to_string());
        match judged.and_then(|answer| self.judge(&answer, name, answers, number)) {
            Ok(run) => shared.runs.lock().expect("runs").push(run),
            Err(why) => {
                let mut failures = shared.failures.lock().expect("failures");
                if failures.len() < FAILURES_MAX {
                    failures.push(format!("{name}, lead {number}: {why}"));
                }
            }
        }
    }

    /// The run that answered, if the answer is one that `name` may give.
    fn judge(&mut self, answer: &Answer, name: &str, answers: &[String], number: u64) -> Result<String, String> {
        let body: BTreeMap<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 200 || body.get("n").and_then(Value::as_u64) != Some(number) {
            return Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        let said = said(&answer.body).ok_or("it says nothing")?;
        let at = answers.iter().position(|allowed| *allowed == said);
        let at = at.ok_or_else(|| format!("it says {said}, and only {answers:?} may be live"))?;
        let seen = self.seen.entry(name.to_owned()).or_default();
        if at < *seen {
            return Err(format!("it says {said} after it has said {}", answers[*seen]));
        }
        *seen = at;
        answer.headers.get("x-leadflow-run-id").cloned().ok_or_else(|| "the answer names no run".to_owned())
    }

    fn post(&mut self, address: SocketAddr, name: &str, number: u64) -> io::Result<Answer> {
        let body = format!("{{\"n\":{number}}}");
        if !self.keeps {
            return wire::post(&format!("http://{address}/flows/{name}"), &body);
        }
        if self.connection.as_ref().is_none_or(|(of, _)| *of != address) {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(super::PATIENCE))?;
            self.connection = Some((address, stream));
        }
        let Some((_, stream)) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let length = body.len();
        stream.write_all(
            format!(
                "POST /flows/{name} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )?;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            // A server that closes this connection has failed: whoever keeps one may go on to use it.
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => received.extend_from_slice(&buffer[..read]),
            }
            if let Some(answer) = wire::parse(&received) {
                return Ok(answer);
            }
        }
    }
}

/// What an answer says.
pub(crate) fn said(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    match body.get("said")? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

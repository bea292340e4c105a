//! A real database server (`postgres.sh`) for tests: one for each test process, and one of its own for a test that stops it. See README.md.

#![allow(dead_code, reason = "unit tests and integration tests use different parts of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Another process may take a port between the look for a free one and the start.
const STARTS_MAX: usize = 3;

/// A running server. It ends when this is dropped, or with the process.
pub(crate) struct Server {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// Its folder, with `ca.crt`.
    pub(crate) folder: PathBuf,
    script: Mutex<Script>,
}

struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    /// The server that the tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of its own.
    pub(crate) fn start() -> Self {
        Self::start_as(None)
    }

    /// A server of its own that syncs as one in production does.
    pub(crate) fn durable() -> Self {
        Self::start_as(Some("durable"))
    }

    fn start_as(kind: Option<&str>) -> Self {
        for _ in 0..STARTS_MAX {
            if let Some(server) = Self::try_start(kind) {
                return server;
            }
        }
        panic!("PostgreSQL does not start: is it installed (apt-get install postgresql)? see tests/counterparts")
    }

    fn try_start(kind: Option<&str>) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Not below the target folder: the user `postgres` must reach it, and socket paths are short.
        let folder = Path::new("/tmp").join(format!("leadflow-postgres-{}-{number}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts/postgres.sh");
        let mut child = Command::new(script)
            .arg(&folder)
            .arg(port.to_string())
            .args(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let mut script = Script { child, input, output: BufReader::new(output) };
        let is_ready = script.line() == "ready";
        let server = Self { port, folder, script: Mutex::new(script) };
        is_ready.then_some(server)
    }

    /// The URL of a database, without any options.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a fresh and empty schema.
    pub(crate) fn fresh(&self) -> String {
        let schema = name();
        self.execute("postgres", &format!("CREATE SCHEMA {schema}"));
        format!("{}?options=-c%20search_path%3D{schema}", self.url("postgres"))
    }

    /// The name of a fresh and empty database.
    pub(crate) fn fresh_database(&self) -> String {
        let name = name();
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL as the owner of everything; the first column of each row.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Vec<String> {
        let (url, sql) = (self.url(database), sql.to_owned());
        let work = async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
            let rows = async {
                let messages = client.simple_query(&sql).await.expect("runs");
                messages
                    .iter()
                    .filter_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
                        _ => None,
                    })
                    .collect()
            };
            tokio::select! { rows = rows => rows, ended = connection => panic!("the connection ended: {ended:?}") }
        };
        // A thread of its own: the caller may stand in a runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        std::thread::spawn(move || runtime.block_on(work)).join().expect("no panic")
    }

    /// Ends the server as a crash does.
    pub(crate) fn crash(&self) {
        self.order("stop", "stopped");
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        self.order("start", "started");
    }

    fn order(&self, order: &str, answer: &str) {
        let mut script = self.script.lock().expect("one at a time");
        writeln!(script.input.as_mut().expect("open"), "{order}").expect("the script hears");
        assert_eq!(script.line(), answer);
    }
}

/// A name that no schema and no database of this process has.
fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Script {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the script speaks");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = self.script.get_mut().expect("not poisoned");
        drop(script.input.take());
        let _ = script.child.wait();
    }
}

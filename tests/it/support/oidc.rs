//! A real token service (oidc-provider) for tests: see `tests/counterparts/README.md`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::wire;

/// The service's version: what the counterpart was written against.
const REQUIREMENT: &str = "oidc-provider@9.13.3";

/// The script, which stands beside what is installed, where Node.js looks for it.
const SCRIPT: &str = "oidc.mjs";

/// A running token service with an API that wants its tokens. Dropped, it ends.
pub(crate) struct Oidc {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    process: Child,
}

impl Oidc {
    /// Starts one whose tokens live so many seconds. The client is `lead-engine` / `s3cret`.
    pub(crate) fn start(life_secs: u32) -> Self {
        let folder = installed();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts").join(SCRIPT);
        // Node.js looks for packages from where the script lies.
        let own = tempfile::Builder::new().prefix("run-").suffix(".mjs").tempfile_in(&folder).expect("a file");
        fs::copy(script, own.path()).expect("the script");
        let mut process = Command::new("node")
            .arg(own.path())
            .arg(life_secs.to_string())
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the token service starts; the tests need node");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says when it is ready");
        let port: Option<u16> = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the token service said {line:?} instead of `ready PORT`"));
        Self { url: format!("http://127.0.0.1:{port}"), process }
    }

    /// How often tokens were asked for, and how many leads were taken.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.count("asked"), self.count("taken"))
    }

    /// How often an application showed itself in the header.
    pub(crate) fn by_header(&self) -> u64 {
        self.count("by_header")
    }

    fn count(&self, what: &str) -> u64 {
        let counts: Value = wire::send("GET", &format!("{}/count", self.url), &[], b"").expect("an answer").json();
        counts[what].as_u64().expect("a number")
    }

    /// Does what `path` of the service does: `revoke`, `down`, `up`, `refresh`. What it answered.
    pub(crate) fn tell(&self, path: &str) -> String {
        let answer = wire::send("POST", &format!("{}/{path}", self.url), &[], b"").expect("an answer");
        String::from_utf8(answer.body).expect("text")
    }
}

impl Drop for Oidc {
    fn drop(&mut self) {
        // It ends by itself when its input closes; killing it only saves the wait. It may have ended already.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The folder that has the service installed; made on first use, under a lock because tests run in parallel.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let folder = target.join("counterparts/oidc");
    fs::create_dir_all(&folder).expect("a folder for the service");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let note = folder.join("installed");
    if fs::read_to_string(&note).is_ok_and(|requirement| requirement == REQUIREMENT) {
        return folder;
    }
    let mut command = Command::new("npm");
    command.args(["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", "--prefix"]);
    command.arg(&folder).arg(REQUIREMENT);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; the tests need npm"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    fs::write(note, REQUIREMENT).expect("a note of what is installed");
    folder
}

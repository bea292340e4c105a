//! A real token service (oidc-provider) for tests: see `tests/counterparts/README.md`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::counterpart::{Counterpart, installed, npm, script};
use super::wire;

/// The service's version: what the counterpart was written against.
const REQUIREMENT: &str = "oidc-provider@9.13.3";

/// A running token service with an API that wants its tokens. Dropped, it ends.
pub(crate) struct Oidc {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    _process: Counterpart,
}

impl Oidc {
    /// Starts one whose tokens live so many seconds. The client is `lead-engine` / `s3cret`.
    pub(crate) fn start(life_secs: u32) -> Self {
        let folder = installed("oidc", REQUIREMENT, |folder| npm(folder, &[REQUIREMENT]));
        // Node.js looks for packages from where the script lies.
        let own = tempfile::Builder::new().prefix("run-").suffix(".mjs").tempfile_in(&folder).expect("a file");
        fs::copy(script("oidc.mjs"), own.path()).expect("the script");
        let mut command = Command::new("node");
        command.arg(own.path()).arg(life_secs.to_string()).current_dir(&folder);
        let process = Counterpart::start(command);
        Self { url: format!("http://127.0.0.1:{}", process.port), _process: process }
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

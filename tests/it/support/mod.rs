//! A user's workspace, the real binary, and the other side of its connections.

pub(crate) mod counterpart;
pub(crate) mod dice;
pub(crate) mod fake_http;
pub(crate) mod live;
pub(crate) mod lossy;
pub(crate) mod oidc;
#[path = "../../counterparts/postgres.rs"]
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod rig;
pub(crate) mod sink;
pub(crate) mod traffic;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The project's folder.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with `flows/`, `schemas/` and `examples/` as a user has them.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    /// Empty `flows/`; the project's `schemas/` and `examples/`.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("flows")).expect("flows");
        for name in ["schemas", "examples"] {
            copy_folder(&project().join(name), &folder.path().join(name));
        }
        Self { folder }
    }

    /// The project's own flows, schemas and examples: what a newcomer has after cloning.
    pub(crate) fn cloned() -> Self {
        let workspace = Self::empty();
        copy_folder(&project().join("flows"), &workspace.path().join("flows"));
        copy_folder(&project().join("blueprints"), &workspace.path().join("blueprints"));
        workspace
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, folders included.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("write");
        path
    }

    /// The binary, about to run in this workspace.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadflow"));
        command.args(arguments).current_dir(self.path()).env_remove("LEADFLOW_ENV").env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        command
    }

    /// The binary, about to run in this workspace as the last words of `wrapper`: a program that changes what it may do.
    pub(crate) fn command_under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(env!("CARGO_BIN_EXE_leadflow")).args(arguments);
        command.current_dir(self.path()).env_remove("LEADFLOW_ENV").env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Runs a command that must exit with `code`; its standard output.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "leadflow {}\n{out}\n{err}", arguments.join(" "));
        out.into_owned()
    }

    /// Runs a command that must succeed and print JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.json_of(0, arguments)
    }

    /// Runs a command that must exit with `code` and print JSON.
    pub(crate) fn json_of(&self, code: i32, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.expect(code, arguments)).expect("JSON")
    }

    /// A run as `runs show --json` prints it, whatever became of it: a run that failed is exit code 1.
    pub(crate) fn show(&self, id: &str) -> Value {
        let output = self.run(&["runs", "show", id, "--json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Starts `serve` on free ports and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts `serve` with further arguments.
    pub(crate) fn serve_with(&self, further: &[&str]) -> Server {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        arguments.extend(further);
        Server::start(self.command(&arguments))
    }

    /// Runs of the store, newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        let listed = self.json(&["runs", "list", "--json", "--limit", "100000"]);
        listed.as_array().expect("a list").clone()
    }

    /// Those of `runs` that have not ended, whole.
    fn unfinished(&self, runs: &[Value]) -> Vec<Value> {
        let unfinished = runs.iter().filter(|run| run["finished_at"].is_null());
        unfinished.take(5).map(|run| self.show(run["run_id"].as_str().expect("an id"))).collect()
    }

    /// Waits until every run has ended; the runs.
    pub(crate) fn until_ended(&self) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let runs = self.runs();
            if runs.iter().all(|run| !run["finished_at"].is_null()) {
                return runs;
            }
            assert!(Instant::now() < deadline, "runs do not end: {:#?}", self.unfinished(&runs));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running `leadflow serve`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Complete URLs by flow.
    pub(crate) urls: BTreeMap<String, String>,
    /// What it printed until it was ready.
    pub(crate) announced: String,
    /// The file in which it says where it listens.
    lock: PathBuf,
}

impl Server {
    /// Starts a prepared command and reads its announcement.
    pub(crate) fn start(mut command: Command) -> Self {
        let folder = command.get_current_dir().unwrap_or(Path::new(".")).to_owned();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("serve starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
        let mut announced = String::new();
        let mut urls = BTreeMap::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).expect("stdout is readable") == 0 {
                let mut err = String::new();
                child.stderr.take().expect("stderr").read_to_string(&mut err).expect("stderr");
                panic!("serve ended before it was ready:\n{announced}\n{err}");
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [name, url] = words.as_slice()
                && url.starts_with("http://")
            {
                urls.insert((*name).to_owned(), (*url).to_owned());
            }
            announced.push_str(&line);
            if line.starts_with("ready in") {
                break;
            }
        }
        // Nobody reads the log: it must not fill the pipe.
        let mut err = child.stderr.take().expect("stderr");
        std::thread::spawn(move || std::io::copy(&mut err, &mut std::io::sink()));
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, urls, announced, lock: folder.join("leadflow-data/serve.lock") }
    }

    /// The URL of a flow.
    pub(crate) fn url(&self, flow: &str) -> &str {
        self.urls.get(flow).unwrap_or_else(|| panic!("no URL for {flow}:\n{}", self.announced))
    }

    /// The address of its `public` or `admin` listener.
    pub(crate) fn address(&self, listener: &str) -> String {
        let lock = fs::read_to_string(&self.lock).expect("the lock file");
        let holder: Value = serde_json::from_str(&lock).expect("JSON");
        holder[listener].as_str().expect("an address").to_owned()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(mut self) {
        self.crash();
    }

    /// [`Server::kill`], of a server whose place another one is to take.
    pub(crate) fn crash(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGTERM; the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.stop()
    }

    /// [`Server::terminate`], of a server whose place another one is to take.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.child.wait().expect("wait").code()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `kill` and `terminate`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies a folder of plain files and sub-folders.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

/// Every file below `folder` with `extension`.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(entries) = fs::read_dir(folder) {
        for path in entries.map(|entry| entry.expect("entry").path()) {
            if path.is_dir() {
                found.extend(files(&path, extension));
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The published sample lead.
pub(crate) fn sample() -> String {
    fs::read_to_string(project().join("examples/lead.json")).expect("the sample")
}

//! Systems by others that tests talk to: installed once by name, started on a free port, ended with the tests. See
//! `tests/counterparts/README.md`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::project;

/// A running counterpart. Dropped, it ends; one that is kept for all tests ends with them, because its input closes.
pub(crate) struct Counterpart {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    process: Child,
}

impl Counterpart {
    /// Starts `command`, which must print `ready PORT`, other lines before it or not.
    pub(crate) fn start(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a log");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.reopen().expect("the log"));
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut lines = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut said = String::new();
        let port = loop {
            let mut line = String::new();
            if lines.read_line(&mut line).expect("its output is readable") == 0 {
                let log = fs::read_to_string(log.path()).unwrap_or_default();
                panic!("{command:?} ended before it was ready: {said}\n{log}");
            }
            if let Some(port) = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok()) {
                break port;
            }
            said.push_str(&line);
        };
        // Nobody reads what else it says: it must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { port, process }
    }
}

impl Drop for Counterpart {
    fn drop(&mut self) {
        // It ends by itself when its input closes; killing it only saves the wait. It may have ended already.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A script of `tests/counterparts/`.
pub(crate) fn script(name: &str) -> PathBuf {
    project().join("tests/counterparts").join(name)
}

/// A folder below `target/counterparts/` in which `install` was run for `requirement`; made on first use, under a lock
/// because tests run in parallel.
pub(crate) fn installed(name: &str, requirement: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let folder = target.join("counterparts").join(name);
    fs::create_dir_all(&folder).expect("a folder for the counterpart");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let note = folder.join("installed");
    if !fs::read_to_string(&note).is_ok_and(|found| found == requirement) {
        install(&folder);
        fs::write(note, requirement).expect("a note of what is installed");
    }
    folder
}

/// Installs packages of npm into `folder`: those of its `package.json`, or these.
pub(crate) fn npm(folder: &Path, packages: &[&str]) {
    let mut command = Command::new("npm");
    command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"]);
    must(command.arg(folder).args(packages).current_dir(folder), "the tests need npm");
}

/// The Python of `folder`, with these packages of `PyPI`.
pub(crate) fn pip(folder: &Path, packages: &[&str]) {
    let venv = folder.join("venv");
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "the tests need python3 with venv");
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    must(&mut command, "the tests need PyPI once");
}

fn must(command: &mut Command, needs: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {needs}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({needs}): {errors}");
}

//! Real mail servers for tests, of two makes: aiosmtpd and Nodemailer's. See `tests/counterparts/README.md`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::counterpart::{installed, npm, script};

/// The servers' versions: what the counterparts were written against.
const REQUIREMENT: &str = "aiosmtpd==1.4.6";
const NODEMAILER: &str = "smtp-server@3.21.6";

/// A running mail server. Dropped, it ends.
pub(crate) struct Sink {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    process: Child,
}

impl Sink {
    /// One of each make, started in a mode of [`Sink::start`]: what holds for mail holds for both.
    pub(crate) const MAKES: [fn(&str) -> Self; 2] = [Self::start, Self::nodemailer];

    /// Starts one; `mode` is `starttls`, `tls` or `plain`. The login is `lead` / `secret`, except for `plain`.
    pub(crate) fn start(mode: &str) -> Self {
        Self::start_with(&[mode])
    }

    /// Starts one that takes a token of `lead@contoso.example` if `url`, asked with it, answers 200.
    pub(crate) fn with_tokens(url: &str) -> Self {
        Self::start_with(&["xoauth2", url])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(python());
        command.arg(script("smtp_sink.py"));
        Self::spawn(command, arguments)
    }

    /// [`Sink::start`], of the other make.
    pub(crate) fn nodemailer(mode: &str) -> Self {
        let modules = installed("nodemailer", NODEMAILER, |folder| npm(folder, &[NODEMAILER]));
        let mut command = Command::new("node");
        command.arg(script("smtp_server.mjs")).arg(modules);
        Self::spawn(command, &[mode])
    }

    fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for mails");
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut process = command
            .arg(folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the mail server starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says when it is ready");
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("the mail server said {line:?} instead of `ready PORT`: {log}")
        });
        Self { port, folder, process }
    }

    /// The certificate to trust: a PEM file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The mails taken so far, oldest first: the envelope as `X-Envelope-` headers, then the message.
    pub(crate) fn mails(&self) -> Vec<String> {
        self.kept("eml")
    }

    /// The mails that it refused after it had all of them, in the same form.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.kept("refused")
    }

    fn kept(&self, extension: &str) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).expect("the folder of mails");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("a mail in ASCII")).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It ends by itself when its input closes; killing it only saves the wait. It may have ended already.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The Python that has the server installed; made on first use, under a lock because tests run in parallel.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let folder = target.join("counterparts");
    fs::create_dir_all(&folder).expect("a folder for counterparts");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let installed = venv.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|requirement| requirement == REQUIREMENT) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]));
    fs::write(installed, REQUIREMENT).expect("a note of what is installed");
    python
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; the tests need python3 with venv"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
}

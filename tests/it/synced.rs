//! SIGKILL does not test fsync: here the system calls themselves are read. Between reading the request and writing the 202
//! the lead was written to the database's log and a sync of that very file returned. The pragmas that order those syncs
//! are asserted beside the store (`store/sqlite/tests`).

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Server, Workspace, wire};

/// Found in the request and in the row that keeps it.
const LEAD: &str = "424242";
/// The database's write-ahead log, as `strace -y` names it.
const LOG: &str = "leadflow.db-wal>";

const FLOW: &str = "name: pure\ntrigger:\n  type: request\nactions:\n  - name: note\n    type: compose\n    inputs: '{{trigger.body.number}}'\n";

/// `strace` is a Debian package; `tests/run.sh` installs it.
fn strace_is_there() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_sync_returns_between_the_request_and_the_202() {
    assert!(strace_is_there(), "strace is missing: apt-get install strace (tests/run.sh does it)");
    let workspace = Workspace::empty();
    workspace.write("flows/pure.yaml", FLOW);
    let trace = workspace.path().join("trace.txt");
    let plain = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-s",
            "65536",
            "-e",
            "trace=fsync,fdatasync,read,recvfrom,write,writev,pwrite64,sendto,sendmsg",
            "-o",
        ])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(workspace.path());
    let server = Server::start(command);
    let url = server.url("pure").to_owned();
    let answer = wire::post(&url, &format!("{{\"number\":{LEAD}}}")).expect("an answer");
    assert_eq!(answer.status, 202);
    // Killing strace alone would leave the traced server running.
    let lock = fs::read_to_string(workspace.path().join("leadflow-data/serve.lock")).expect("the lock file");
    let holder: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
    let pid = holder["pid"].as_u64().expect("a process id").to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
    drop(server);
    let lines: Vec<String> = fs::read_to_string(&trace).expect("the trace").lines().map(str::to_owned).collect();
    let position = |what: &str, from: usize, holds: &dyn Fn(&str) -> bool| {
        from + lines[from..].iter().position(|line| holds(line)).unwrap_or_else(|| panic!("no {what} in the trace"))
    };
    let request = position("request", 0, &|line| line.contains(LEAD) && !line.contains(LOG));
    let written = position("write of the lead", request, &|line| is_call(line, "pwrite64") && line.contains(LEAD));
    assert!(lines[written].contains(LOG), "the lead goes to the log first: {}", lines[written]);
    let synced = written + sync_returns(&lines[written..]).expect("no sync of the log returned after the write");
    let answered = position("202", request, &|line| line.contains("HTTP/1.1 202"));
    assert!(synced < answered, "the sync (line {synced}) comes before the 202 (line {answered})");
}

/// Whether a line of the trace begins the call `name`.
fn is_call(line: &str, name: &str) -> bool {
    line.split_once(' ').is_some_and(|(_, call)| call.trim_start().starts_with(name))
}

/// The line at which the first sync of the log returns well that begins in `lines`. A call that another thread's call
/// interrupts in the listing ends in a line of its own: `PID <... fdatasync resumed>) = 0`.
fn sync_returns(lines: &[String]) -> Option<usize> {
    let is_sync = |line: &str| (is_call(line, "fdatasync(") || is_call(line, "fsync(")) && line.contains(LOG);
    let began = lines.iter().position(|line| is_sync(line))?;
    if !lines[began].contains("<unfinished") {
        return lines[began].trim_end().ends_with("= 0").then_some(began);
    }
    let thread = lines[began].split_once(' ')?.0;
    let resumed = |line: &String| line.starts_with(&format!("{thread} ")) && line.contains("sync resumed>");
    let ended = began + lines[began..].iter().position(resumed)?;
    lines[ended].trim_end().ends_with("= 0").then_some(ended)
}

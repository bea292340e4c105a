//! SIGKILL does not test fsync: here the system calls themselves are read. A sync returned between reading the request and
//! writing the 202.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Server, Workspace, wire};

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
            "-ttt",
            "-s",
            "256",
            "-e",
            "trace=fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg",
            "-o",
        ])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(workspace.path());
    let server = Server::start(command);
    let url = server.url("pure").to_owned();
    let answer = wire::post(&url, "{\"number\":424242}").expect("an answer");
    assert_eq!(answer.status, 202);
    drop(server);
    let lines: Vec<String> = fs::read_to_string(&trace).expect("the trace").lines().map(str::to_owned).collect();
    let position = |what: &str, from: usize, holds: &dyn Fn(&str) -> bool| {
        from + lines[from..].iter().position(|line| holds(line)).unwrap_or_else(|| panic!("no {what} in the trace"))
    };
    let request = position("request", 0, &|line| {
        line.contains("POST /flows/pure") && line.contains("424242") || line.contains("{\\\"number\\\":424242}")
    });
    // A call that was interrupted in the listing ends in a line "<... fdatasync resumed>) = 0".
    let synced = position("sync", request, &|line| line.contains("sync") && line.trim_end().ends_with("= 0"));
    let answered = position("202", request, &|line| line.contains("HTTP/1.1 202"));
    assert!(synced < answered, "the sync (line {synced}) comes before the 202 (line {answered})");
}

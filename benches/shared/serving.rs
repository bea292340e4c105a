//! Real `leadflow serve` processes and what they have finished.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load;

/// How long no run may end before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what has finished.
const POLL: Duration = Duration::from_millis(50);

/// The main job: a record and a mail.
pub(crate) const FULL: &str = "name: full\ntrigger:\n  type: request\n  authentication: none\n  schema: marketplace-lead.json\nactions:\n  - name: create_lead\n    type: create_record\n    connection: crm\n    entity: leads\n    fields:\n      subject: '{{trigger.body.OfferTitle}}'\n      lastname: '{{trigger.body.UserDetails.LastName}}'\n      emailaddress1: '{{trigger.body.UserDetails.Email}}'\n  - name: notify\n    type: send_email\n    connection: mail\n    to: sales@contoso.com\n    subject: 'New lead: {{trigger.body.OfferTitle}}'\n    body: '{{trigger.body.UserDetails.FirstName}} {{trigger.body.UserDetails.LastName}}'\n";

/// A server process and where it answers. Killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// `None`: it has no second listener.
    pub(crate) admin: Option<SocketAddr>,
    /// Where it runs; gone with the server.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already if it crashed: the figures tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with one flow; `settings`: its `leadflow.yaml`.
pub(crate) fn site(flow: &str, settings: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("flows")).expect("flows");
    std::fs::create_dir_all(folder.path().join("schemas")).expect("schemas");
    std::fs::write(folder.path().join("flows/flow.yaml"), flow).expect("flow");
    if let Some(settings) = settings {
        std::fs::write(folder.path().join("leadflow.yaml"), settings).expect("settings");
    }
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/marketplace-lead.json");
    std::fs::copy(schema, folder.path().join("schemas/marketplace-lead.json")).expect("schema");
    folder
}

/// A real server in `folder`.
pub(crate) fn serve(folder: TempDir) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadflow"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).current_dir(folder.path());
    // One log line a run is measured too; where it goes is not.
    let (child, _) = first_line(command, "ready in");
    let lock = std::fs::read_to_string(folder.path().join("leadflow-data/serve.lock")).expect("the lock file");
    let holder: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
    let address = |key: &str| holder[key].as_str().expect("an address").parse().expect("an address");
    Server { child, address: address("public"), admin: Some(address("admin")), folder }
}

/// Starts `command` and reads until a line starts with `prefix`; the rest of that line.
pub(crate) fn first_line(mut command: Command, prefix: &str) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let line = lines
        .by_ref()
        .map(|line| line.expect("a line"))
        .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        .expect("the server is ready");
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

/// Waits until so many runs have succeeded, as `/metrics` says; how many there are. Panics when they get no more.
pub(crate) fn until_finished(server: &Server, wanted: u64) -> u64 {
    let admin = server.admin.expect("an admin address");
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let text = load::get(admin, "/metrics");
        let succeeded = text
            .lines()
            .find_map(|line| line.strip_prefix("leadflow_runs{status=\"succeeded\"} "))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        if succeeded >= wanted {
            return succeeded;
        }
        if succeeded > last {
            (last, since) = (succeeded, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{succeeded} of {wanted} runs have succeeded, and no more do");
        std::thread::sleep(POLL);
    }
}

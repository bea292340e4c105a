//! Every way in which a flow file comes to have another content: each new version is live without being asked for, and
//! no request fails or is answered by anything but the version before or the version after.
//!
//! Where events tell of the edit the poll is an hour away, so they alone can have brought it. Where none can, nothing
//! but the poll has.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::live::{EVENTS_ONLY, POLLING, account};
use crate::support::traffic::{Traffic, answering};
use crate::support::{Server, Workspace, until};

/// Versions of the flow after the first: a way must work again after it has worked, when folders were replaced and
/// watches with them.
const VERSIONS: std::ops::RangeInclusive<u64> = 2..=4;

/// Requests that must be answered after each edit before the next one.
const SEEN: usize = 10;

/// Several pieces of a slow write, with this between them: less than the quiet period.
const SLOW_PIECES: usize = 6;
const SLOW_PAUSE: Duration = Duration::from_millis(20);

/// Its text cut anywhere in the last line is a flow too, one that says something else.
fn version(number: u64) -> String {
    answering("edited", &format!("version {number} of the text, to its end"))
}

fn answer(number: u64) -> String {
    format!("version {number} of the text, to its end")
}

/// One way of changing a file.
struct Way {
    settings: &'static str,
    /// Lays out the workspace with the first version in it.
    prepare: fn(&Workspace, &str),
    /// Brings another version.
    edit: fn(&Workspace, &str),
}

impl Way {
    fn proves(&self) {
        let workspace = Workspace::empty();
        self.lay(&workspace);
        let server = workspace.serve();
        self.proves_on(&workspace, &server);
    }

    fn lay(&self, workspace: &Workspace) {
        workspace.write("leadflow.yaml", self.settings);
        workspace.write("flows/still.yaml", &answering("still", "still"));
        (self.prepare)(workspace, &version(1));
    }

    fn proves_on(&self, workspace: &Workspace, server: &Server) {
        let traffic = Traffic::start(server.public());
        let allow = |answers: Vec<String>| traffic.allow([("edited", answers), ("still", vec!["still".to_owned()])]);
        allow(vec![answer(1)]);
        traffic.see(SEEN);
        let first = server.flows()["generation"].as_u64().expect("a generation");
        for number in VERSIONS {
            allow(vec![answer(number - 1), answer(number)]);
            (self.edit)(workspace, &version(number));
            until(&answer(number), || {
                traffic.check();
                server.said("edited") == Some(answer(number))
            });
            allow(vec![answer(number)]);
            traffic.see(SEEN);
        }
        until("what is on disk is live", || server.flows()["on_disk_is_live"] == true);
        let last = server.flows()["generation"].as_u64().expect("a generation");
        assert!(last >= first + VERSIONS.count() as u64, "each version has its generation: {first} to {last}");
        account(workspace, traffic);
    }
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.path().join("flows/edited.yaml")
}

fn plain(workspace: &Workspace, text: &str) {
    workspace.write("flows/edited.yaml", text);
}

/// Truncates, then writes piece by piece.
fn write_slowly(path: &Path, text: &str, pause: Duration) {
    let mut file = fs::File::create(path).expect("truncate");
    let piece = text.len().div_ceil(SLOW_PIECES);
    for piece in text.as_bytes().chunks(piece) {
        file.write_all(piece).expect("write");
        file.flush().expect("flush");
        std::thread::sleep(pause);
    }
}

fn rename_over(path: &Path, text: &str) {
    let fresh = path.with_extension("yaml.new");
    fs::write(&fresh, text).expect("write");
    fs::rename(&fresh, path).expect("rename");
}

#[test]
fn written_in_place() {
    let edit = |workspace: &Workspace, text: &str| fs::write(file(workspace), text).expect("write");
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

#[test]
fn overwritten_without_being_truncated() {
    let edit = |workspace: &Workspace, text: &str| {
        let mut file = fs::OpenOptions::new().write(true).open(file(workspace)).expect("open");
        file.write_all(text.as_bytes()).expect("write");
        file.set_len(text.len() as u64).expect("length");
    };
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

#[test]
fn renamed_over() {
    let edit = |workspace: &Workspace, text: &str| rename_over(&file(workspace), text);
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

/// As vim does with `backupcopy=no`: the old file steps aside, the new one is written, the old one goes.
#[test]
fn stepped_aside_written_anew_and_the_backup_removed() {
    let edit = |workspace: &Workspace, text: &str| {
        let path = file(workspace);
        let backup = path.with_extension("yaml~");
        fs::rename(&path, &backup).expect("rename");
        fs::write(&path, text).expect("write");
        fs::remove_file(&backup).expect("remove");
    };
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

#[test]
fn unlinked_and_created() {
    let edit = |workspace: &Workspace, text: &str| {
        fs::remove_file(file(workspace)).expect("remove");
        std::thread::sleep(SLOW_PAUSE);
        fs::write(file(workspace), text).expect("write");
    };
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

/// Longer pauses than the quiet period: the half that is there for a while is never taken, for its writer still has the
/// file open.
#[test]
fn truncated_and_written_slowly() {
    let edit = |workspace: &Workspace, text: &str| write_slowly(&file(workspace), text, SLOW_PAUSE * 5);
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

/// Same length, same time of change as the file shows it: only its bytes differ.
#[test]
fn replaced_under_its_old_time() {
    let edit = |workspace: &Workspace, text: &str| {
        let path = file(workspace);
        let old = fs::metadata(&path).expect("metadata").modified().expect("a time");
        fs::write(&path, text).expect("write");
        fs::File::options().write(true).open(&path).expect("open").set_modified(old).expect("set the time");
    };
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

/// As the kubelet mounts a `ConfigMap`: files are links through `..data`, and one rename swaps all of them.
#[test]
fn a_link_to_the_folder_of_data_swapped() {
    let prepare = |workspace: &Workspace, text: &str| {
        let flows = workspace.path().join("flows");
        workspace.write("flows/..2026_1/edited.yaml", text);
        symlink("..2026_1", flows.join("..data")).expect("link");
        symlink("..data/edited.yaml", flows.join("edited.yaml")).expect("link");
    };
    let edit = |workspace: &Workspace, text: &str| {
        let flows = workspace.path().join("flows");
        let old = fs::read_link(flows.join("..data")).expect("a link");
        let next = format!("{}1", old.display());
        workspace.write(&format!("flows/{next}/edited.yaml"), text);
        symlink(&next, flows.join("..data_tmp")).expect("link");
        fs::rename(flows.join("..data_tmp"), flows.join("..data")).expect("swap");
        fs::remove_dir_all(flows.join(old)).expect("remove");
    };
    Way { settings: EVENTS_ONLY, prepare, edit }.proves();
}

/// The folder itself is a link, as a release is deployed: `flows` leads to `releases/N`.
#[test]
fn the_link_that_is_the_folder_swapped() {
    let prepare = |workspace: &Workspace, text: &str| {
        let root = workspace.path();
        workspace.write("releases/1/edited.yaml", text);
        fs::rename(root.join("flows/still.yaml"), root.join("releases/1/still.yaml")).expect("move");
        fs::remove_dir(root.join("flows")).expect("remove");
        symlink("releases/1", root.join("flows")).expect("link");
    };
    let edit = |workspace: &Workspace, text: &str| {
        let root = workspace.path();
        let next = format!("{}1", fs::read_link(root.join("flows")).expect("a link").display());
        workspace.write(&format!("{next}/edited.yaml"), text);
        workspace.write(&format!("{next}/still.yaml"), &answering("still", "still"));
        symlink(&next, root.join("flows.next")).expect("link");
        fs::rename(root.join("flows.next"), root.join("flows")).expect("swap");
    };
    Way { settings: EVENTS_ONLY, prepare, edit }.proves();
}

fn git(workspace: &Workspace, words: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]);
    let output = command.args(words).current_dir(workspace.path()).output().expect("git runs");
    assert!(output.status.success(), "git {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_commit_checked_out() {
    let prepare = |workspace: &Workspace, text: &str| {
        plain(workspace, text);
        workspace.write(".gitignore", "leadflow-data/\n");
        git(workspace, &["init", "--quiet", "--initial-branch=main"]);
        git(workspace, &["add", "--all"]);
        git(workspace, &["commit", "--quiet", "--message=1"]);
    };
    let edit = |workspace: &Workspace, text: &str| {
        // The version is made on a branch in a second work tree, and comes by a checkout.
        git(workspace, &["worktree", "add", "--quiet", "-B", "next", "elsewhere", "HEAD"]);
        fs::write(workspace.path().join("elsewhere/flows/edited.yaml"), text).expect("write");
        git(workspace, &["-C", "elsewhere", "commit", "--quiet", "--all", "--message=next"]);
        git(workspace, &["worktree", "remove", "--force", "elsewhere"]);
        git(workspace, &["checkout", "--quiet", "--detach", "next"]);
    };
    Way { settings: EVENTS_ONLY, prepare, edit }.proves();
}

fn replace_folder(workspace: &Workspace, name: &str, texts: &[(&str, &str)]) {
    let folder = workspace.path().join(name);
    let (next, old) = (folder.with_extension("next"), folder.with_extension("old"));
    fs::create_dir(&next).expect("folder");
    for (file, text) in texts {
        fs::write(next.join(file), text).expect("write");
    }
    fs::rename(&folder, &old).expect("away");
    fs::rename(&next, &folder).expect("in its place");
    fs::remove_dir_all(&old).expect("remove");
}

#[test]
fn the_whole_folder_replaced() {
    let edit = |workspace: &Workspace, text: &str| {
        let still = answering("still", "still");
        replace_folder(workspace, "flows", &[("edited.yaml", text), ("still.yaml", &still)]);
    };
    Way { settings: EVENTS_ONLY, prepare: plain, edit }.proves();
}

#[test]
fn a_folder_below_replaced() {
    let prepare = |workspace: &Workspace, text: &str| drop(workspace.write("flows/offers/edited.yaml", text));
    let edit = |workspace: &Workspace, text: &str| replace_folder(workspace, "flows/offers", &[("edited.yaml", text)]);
    Way { settings: EVENTS_ONLY, prepare, edit }.proves();
}

/// What the file is a link to lies where nobody watches.
fn far(workspace: &Workspace) -> PathBuf {
    workspace.path().join("far/away.yaml")
}

fn linked(workspace: &Workspace, text: &str) {
    workspace.write("far/away.yaml", text);
    symlink(far(workspace), file(workspace)).expect("link");
}

#[test]
fn without_events_written_in_place() {
    let edit = |workspace: &Workspace, text: &str| fs::write(far(workspace), text).expect("write");
    Way { settings: POLLING, prepare: linked, edit }.proves();
}

#[test]
fn without_events_renamed_over() {
    let edit = |workspace: &Workspace, text: &str| rename_over(&far(workspace), text);
    Way { settings: POLLING, prepare: linked, edit }.proves();
}

#[test]
fn without_events_unlinked_and_created() {
    let edit = |workspace: &Workspace, text: &str| {
        fs::remove_file(far(workspace)).expect("remove");
        std::thread::sleep(SLOW_PAUSE);
        fs::write(far(workspace), text).expect("write");
    };
    Way { settings: POLLING, prepare: linked, edit }.proves();
}

/// Nobody says that the file is open: only that its pieces come faster than the quiet period passes.
#[test]
fn without_events_truncated_and_written_slowly() {
    let edit = |workspace: &Workspace, text: &str| write_slowly(&far(workspace), text, SLOW_PAUSE);
    let settings = "reload: { poll: 200ms, quiet: 1s, unload_after: 10s, empty_folder_grace: 1h }\n";
    Way { settings, prepare: linked, edit }.proves();
}

/// As over a network: the same file under another name.
#[test]
fn without_events_written_through_another_name() {
    let prepare = |workspace: &Workspace, text: &str| {
        workspace.write("far/away.yaml", text);
        fs::hard_link(far(workspace), file(workspace)).expect("a second name");
    };
    let edit = |workspace: &Workspace, text: &str| fs::write(far(workspace), text).expect("write");
    Way { settings: POLLING, prepare, edit }.proves();
}

/// A system that gives out no watches at all. Where users may not make name spaces of their own this cannot be had, and
/// the tests above are what shows it.
#[test]
#[expect(clippy::print_stderr, reason = "whoever reads the output learns what was not shown")]
fn without_any_watch_new_and_changed_files_are_found() {
    let none = ["unshare", "--user", "--map-root-user", "sh", "-c"];
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let may = Command::new(none[0]).args(&none[1..]).arg(limit).output().is_ok_and(|output| output.status.success());
    if !may {
        return eprintln!("no name space of its own can be had here");
    }
    let way = Way {
        settings: POLLING,
        prepare: plain,
        edit: |workspace, text| {
            // Each time in another sub-folder that is new.
            let flows = workspace.path().join("flows");
            let old = crate::support::files(&flows, "yaml").into_iter().find(|path| path.ends_with("edited.yaml"));
            let old = old.expect("the file");
            let fresh = old.parent().expect("a folder").join("below");
            fs::create_dir(&fresh).expect("folder");
            fs::write(fresh.join("edited.yaml"), text).expect("write");
            fs::remove_file(old).expect("remove");
        },
    };
    let workspace = Workspace::empty();
    way.lay(&workspace);
    let script = format!("{limit} && exec \"$0\" \"$@\"");
    let wrapper: Vec<&str> = none.into_iter().chain([script.as_str()]).collect();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let server = Server::start(workspace.command_under(&wrapper, &arguments));
    way.proves_on(&workspace, &server);
}

/// Removes every permission of `path`.
fn lock(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("permissions");
}

fn unlock(path: &Path) {
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

/// A server for which permissions count, whoever runs the tests.
fn serve_without_privileges(workspace: &Workspace) -> Server {
    let probe = workspace.write("probe", "");
    lock(&probe);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    if fs::read(&probe).is_err() {
        return Server::start(workspace.command(&arguments));
    }
    Server::start(workspace.command_under(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"], &arguments))
}

#[test]
fn permissions_removed_for_a_while() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", EVENTS_ONLY);
    workspace.write("flows/still.yaml", &answering("still", "still"));
    workspace.write("flows/edited.yaml", &version(1));
    workspace.write("flows/below/other.yaml", &answering("other", "other"));
    let server = serve_without_privileges(&workspace);
    let traffic = Traffic::start(server.public());
    let allow = |answers: Vec<String>| {
        let same = |name| (name, vec![String::from(name)]);
        traffic.allow([("edited", answers), same("still"), same("other")]);
    };
    allow(vec![answer(1)]);
    lock(&file(&workspace));
    assert_eq!(server.reload(), (false, vec!["unreadable_file".to_owned()]));
    assert_eq!(server.told("edited", "standing"), "kept_back");
    traffic.see(SEEN);
    allow(vec![answer(1), answer(2)]);
    rename_over(&file(&workspace), &version(2));
    until("the file that can be read is live", || server.said("edited") == Some(answer(2)));
    allow(vec![answer(2)]);

    let below = workspace.path().join("flows/below");
    lock(&below);
    assert!(!server.reload().0);
    assert_eq!(server.told("other", "standing"), "kept_back");
    traffic.see(SEEN);
    unlock(&below);
    until("what is on disk is live", || server.flows()["on_disk_is_live"] == true);

    let flows = workspace.path().join("flows");
    lock(&flows);
    assert!(!server.reload().0);
    traffic.see(SEEN);
    allow(vec![answer(2), answer(3)]);
    unlock(&flows);
    fs::write(file(&workspace), version(3)).expect("write");
    until("the folder that can be read is live", || server.said("edited") == Some(answer(3)));
    until("what is on disk is live", || server.flows()["on_disk_is_live"] == true);
    account(&workspace, traffic);
}

/// A link to itself cannot be followed by anybody, however privileged.
#[test]
fn a_link_that_leads_nowhere_keeps_the_flow() {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", EVENTS_ONLY);
    linked(&workspace, &version(1));
    let server = workspace.serve();
    let traffic = Traffic::start(server.public());
    traffic.allow([("edited", vec![answer(1)])]);
    for target in ["edited.yaml", "nowhere.yaml"] {
        let fresh = workspace.path().join("flows/fresh");
        symlink(target, &fresh).expect("link");
        fs::rename(&fresh, file(&workspace)).expect("rename");
        assert_eq!(server.reload(), (false, vec!["unreadable_file".to_owned()]), "{target}");
        traffic.see(SEEN);
    }
    traffic.allow([("edited", vec![answer(1), answer(2)])]);
    rename_over(&file(&workspace), &version(2));
    until("the file is live", || server.said("edited") == Some(answer(2)));
    account(&workspace, traffic);
}

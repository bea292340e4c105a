//! Several processes on one database, files private to their user, and databases that are refused.

use std::fs;

use super::*;
use crate::store::conformance::{ME, accepted, at, owned, queued, stored};

fn refusal(path: &Path, mode: Mode) -> String {
    match opened(path, mode) {
        Err(StoreError::Unusable(why)) => why,
        other => panic!("not refused as unusable: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_writes_beside_a_server_that_finds_it() {
    let (server, folder) = serving();
    let run = accepted(&server, owned(0, ME)).await;
    assert_eq!(server.changed_elsewhere().await, Ok(false));
    let command = opened(&database(&folder), Mode::Write).expect("opens beside");
    assert_eq!(command.request_cancel(run, at(1)).await, Ok(CancelAnswer::Requested));
    assert_eq!(server.changed_elsewhere().await, Ok(true));
    assert_eq!(server.changed_elsewhere().await, Ok(false), "once");
    assert_eq!(server.cancel_requests(ME).await, Ok(vec![run]));
}

#[tokio::test]
async fn a_command_reads_beside_a_server_and_without_one() {
    let (server, folder) = serving();
    let first = accepted(&server, queued(0)).await;
    let command = opened(&database(&folder), Mode::Read).expect("opens beside");
    stored(&command, first).await;
    let second = accepted(&server, queued(1)).await;
    stored(&command, second).await;
    drop(server);
    stored(&command, second).await;
    drop(command);
    let alone = opened(&database(&folder), Mode::Read).expect("opens alone");
    stored(&alone, second).await;
    for refused in [alone.accept(queued(2)).await, alone.ping().await] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_finds_everything_after_a_restart() {
    let (server, folder) = serving();
    let run = accepted(&server, owned(0, "first life")).await;
    drop(server);
    let again = opened(&database(&folder), Mode::Serve).expect("opens again");
    assert_eq!(again.rescue("second life", at(9)).await.map(|rescued| rescued.runs), Ok(1));
    assert_eq!(stored(&again, run).await.run.strikes, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_to_their_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, folder) = serving();
    server.ping().await.expect("writes");
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    for name in ["leadflow.db", "leadflow.db-wal", "leadflow.db-shm"] {
        assert_eq!(mode(&folder.path().join("data").join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_missing_database_is_made_by_a_server_only() {
    let folder = tempfile::tempdir().expect("temp folder");
    for mode in [Mode::Read, Mode::Write] {
        let why = refusal(&database(&folder), mode);
        assert!(why.contains("leadflow serve"), "{why}");
    }
    assert!(!database(&folder).exists());
    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").expect("writes");
    assert!(refusal(&empty, Mode::Write).contains("is empty"));
}

#[test]
fn other_files_are_refused_as_they_are() {
    let folder = tempfile::tempdir().expect("temp folder");
    let text = folder.path().join("text.db");
    fs::write(&text, "not a database ".repeat(1_000)).expect("writes");
    let other = folder.path().join("other.db");
    Connection::open(&other).expect("opens").execute_batch("CREATE TABLE t (x)").expect("creates");
    let newer = folder.path().join("newer.db");
    drop(opened(&newer, Mode::Serve).expect("opens"));
    Connection::open(&newer).expect("opens").pragma_update(None, "user_version", 99).expect("updates");
    for (path, word) in [(text, "not an SQLite database"), (other, "another program"), (newer, "newer leadflow")] {
        let before = fs::read(&path).expect("reads");
        for mode in [Mode::Serve, Mode::Write, Mode::Read] {
            let why = refusal(&path, mode);
            assert!(why.contains(word), "{why}");
        }
        assert_eq!(fs::read(&path).expect("reads"), before, "untouched");
    }
}

#[test]
fn a_start_that_died_before_the_first_migration_is_taken_up() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("leadflow.db");
    let half = Connection::open(&path).expect("opens");
    half.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; VACUUM").expect("half-way");
    drop(half);
    drop(opened(&path, Mode::Serve).expect("opens"));
    drop(opened(&path, Mode::Read).expect("is whole"));
}

#[tokio::test]
async fn a_fault_of_the_instrument_is_told_before_or_after_the_work() {
    use crate::store::faulty::{FailAt, Faulty};
    let (store, _folder) = serving();
    let store = Arc::new(store);
    for (fail_at, there) in [(FailAt::Before, false), (FailAt::After, true)] {
        let faulty = Faulty::new(Arc::clone(&store), 2, fail_at);
        faulty.ping().await.expect("the first call passes");
        let new = queued(0);
        let run = new.run.run_id;
        assert!(matches!(faulty.accept(new).await, Err(StoreError::Unavailable(_))));
        assert_eq!(faulty.run(run).await.expect("the third passes").is_some(), there);
        assert_eq!(faulty.calls(), 3);
    }
}

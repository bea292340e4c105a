//! Looking after the database with the binary: a backup beside a server under traffic, and what was accepted before it
//! is in it; a check that finds damage; a second server that is refused.

use std::fs;
use std::process::Command;

use crate::support::postgres::Server as Postgres;
use crate::support::{Server, Workspace, wire};

const FLOW: &str = "name: kept\ntrigger:\n  type: request\nactions:\n  - name: keep\n    type: create_record\n    connection: crm\n    entity: leads\n    fields: { n: '{{trigger.body.n}}' }\n";

#[test]
fn a_backup_beside_a_server_holds_every_lead_that_was_accepted_before_it() {
    let workspace = Workspace::empty();
    workspace.write("flows/kept.yaml", FLOW);
    let server = workspace.serve();
    let url = server.url("kept").to_owned();
    for n in 0..20 {
        assert_eq!(wire::post(&url, &format!("{{\"n\":{n}}}")).expect("an answer").status, 202);
    }
    // Leads go on to arrive while the copy is made.
    let posting = std::thread::spawn(move || {
        (20..120).filter(|n| wire::post(&url, &format!("{{\"n\":{n}}}")).is_ok_and(|a| a.status == 202)).count()
    });
    let said = workspace.expect(0, &["store", "backup", "copy.db"]);
    assert!(said.contains("checked"), "{said}");
    assert_eq!(posting.join().expect("posts"), 100, "a backup keeps nobody waiting");
    let again = workspace.run(&["store", "backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(2), "a file is never replaced");
    assert!(workspace.expect(0, &["store", "check"]).contains("whole"));
    server.kill();

    let restored = Workspace::empty();
    restored.write("flows/kept.yaml", FLOW);
    fs::create_dir(restored.path().join("leadflow-data")).expect("a folder");
    fs::copy(workspace.path().join("copy.db"), restored.path().join("leadflow-data/leadflow.db")).expect("in place");
    let _server = restored.serve();
    let runs = restored.until_ended();
    assert!((20..=120).contains(&runs.len()), "{}", runs.len());
    let kept = restored.json(&["records", "list", "--json", "--limit", "200"]);
    let kept: Vec<u64> =
        kept.as_array().expect("a list").iter().filter_map(|row| row["fields"]["n"].as_u64()).collect();
    assert!((0..20).all(|n| kept.contains(&n)), "{kept:?}");
}

#[test]
fn status_and_check_tell_how_the_database_stands() {
    let workspace = Workspace::empty();
    workspace.write("flows/kept.yaml", FLOW);
    assert_eq!(workspace.run(&["store", "status"]).status.code(), Some(2), "there is none yet");
    let server = workspace.serve();
    let status = workspace.json(&["store", "status", "--json"]);
    assert_eq!((&status["type"], &status["version"]), (&"sqlite".into(), &status["understood"]));
    assert_eq!(status["rows"]["runs"], 0);
    assert!(workspace.expect(0, &["store", "migrate"]).contains("nothing to do"));
    server.kill();
    let path = workspace.path().join("leadflow-data/leadflow.db");
    // What the log holds goes into the file, which is then damaged in its middle.
    assert!(workspace.serve().terminate().is_some());
    let mut bytes = fs::read(&path).expect("reads");
    bytes[4096..].fill(0x5A);
    fs::write(&path, bytes).expect("writes");
    for log in ["leadflow.db-wal", "leadflow.db-shm"] {
        let _ = fs::remove_file(path.with_file_name(log));
    }
    let check = workspace.run(&["store", "check"]);
    assert_ne!(check.status.code(), Some(0), "{check:?}");
}

#[test]
fn a_second_server_on_the_folder_names_the_first() {
    let workspace = Workspace::empty();
    workspace.write("flows/kept.yaml", FLOW);
    let first = workspace.serve();
    let mut second: Command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let refused = second.output().expect("runs");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&first.pid().to_string()), "names the holder: {said}");
    drop::<Server>(first);
}

/// Everything moves: runs that ended, runs that wait, records, texts, the signing key; and what waited goes on there.
#[test]
fn a_store_moves_to_postgresql_with_everything_in_it() {
    let postgres = Postgres::shared();
    let to = postgres.fresh();
    let workspace = Workspace::empty();
    workspace.write("flows/kept.yaml", FLOW);
    let gated = FLOW.replace("name: kept", "name: gated").replace(
        "  type: request\n",
        "  type: request\n  concurrency: { runs: 1 }\n  dedupe: { key: ['{{trigger.body.n}}'], window: 1h }\n",
    ) + "  - name: rest\n    type: delay\n    for: 4s\n";
    workspace.write("flows/gated.yaml", &gated);
    let server = workspace.serve();
    let urls = ["kept", "gated"].map(|flow| server.url(flow).to_owned());
    let large = "x".repeat(20_000);
    for n in 0..5 {
        let body = format!("{{\"n\":{n},\"large\":\"{large}ü\\u0000\"}}");
        assert_eq!(wire::post(&urls[0], &body).expect("an answer").status, 202);
        assert_eq!(wire::post(&urls[1], &format!("{{\"n\":{n}}}")).expect("an answer").status, 202);
    }
    let beside = workspace.run(&["store", "copy", "--to", &to]);
    assert_eq!(beside.status.code(), Some(2), "not while a server accepts: {beside:?}");
    server.kill();
    let said = workspace.expect(0, &["store", "copy", "--to", &to]);
    assert!(said.contains("all there") && !said.contains("app@"), "{said}");
    let before = workspace.json(&["store", "status", "--json"]);
    let again = workspace.run(&["store", "copy", "--to", &to]);
    let refused = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(2) && refused.contains("not empty"), "{refused}");

    workspace.write("database-url", &to);
    workspace.write("leadflow.yaml", "store: { type: postgres, url: '${file:database-url}' }\n");
    let after = workspace.json(&["store", "status", "--json"]);
    for table in ["runs", "steps", "payloads", "flow_texts", "live", "keys", "dedupe", "records"] {
        assert_eq!(after["rows"][table], before["rows"][table], "{table}");
    }
    let server = workspace.serve();
    let query = |url: &str| url.split_once('?').expect("signed").1.to_owned();
    assert_eq!(query(server.url("kept")), query(&urls[0]), "URLs that were handed out stay valid");
    // A lead that came before the move is still known after it.
    let answer = wire::post(server.url("gated"), "{\"n\":3}").expect("an answer");
    assert!(answer.json()["duplicate_of"].is_string(), "{answer:?}");
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 11);
    assert_eq!(runs.iter().filter(|run| run["status"] == "succeeded").count(), 10, "{runs:#?}");
}

//! `store: { type: postgres }` with the binary: the main job, the commands beside it, and two servers on one database.

use serde_json::{Value, json};

use crate::support::postgres::Server as Postgres;
use crate::support::{Workspace, sample, wire};

/// A workspace whose store is the database at `url`.
fn workspace(url: &str) -> Workspace {
    let workspace = Workspace::cloned();
    workspace.write("database-url", url);
    workspace.write("leadflow.yaml", "store:\n  type: postgres\n  url: ${file:database-url}\n  pool: 5\n");
    workspace
}

#[test]
fn the_main_job_and_every_command_work_on_postgresql() {
    let server = Postgres::shared();
    let url = server.fresh().replace("app@", "app:hunter2@");
    let workspace = workspace(&url);
    let serving = workspace.serve();
    let place = format!("postgres 127.0.0.1:{}/postgres", server.port);
    assert!(serving.announced.contains(&format!("store {place}")), "{}", serving.announced);
    assert!(!serving.announced.contains("hunter2"), "{}", serving.announced);

    let answer = wire::post(serving.url("contoso-backup"), &sample()).expect("an answer");
    assert_eq!(answer.status, 202);
    let run_id = answer.json()["run_id"].as_str().expect("a run id").to_owned();
    workspace.until_ended();
    let run = workspace.show("last");
    assert_eq!((&run["run_id"], &run["status"]), (&json!(run_id), &json!("succeeded")), "{run:#}");
    let records = workspace.json(&["records", "list", "--json"]);
    assert_eq!((&records[0]["fields"]["lastname"], &records[0]["run_id"]), (&json!("One"), &json!(run_id)));
    assert!(workspace.expect(0, &["send", "contoso-backup", "--wait"]).contains("succeeded"));
    assert_eq!(workspace.expect(0, &["url", "contoso-backup"]).trim(), serving.url("contoso-backup"));
    assert!(workspace.expect(0, &["flows"]).contains("contoso-backup"));
    assert!(workspace.expect(0, &["reload", "--wait"]).len() > 1);
    workspace.expect(0, &["diff"]);
    let again = workspace.expect(0, &["runs", "resubmit", &run_id]);
    assert!(!again.is_empty());
    assert_eq!(workspace.until_ended().len(), 3);
    let status = workspace.json(&["store", "status", "--json"]);
    assert_eq!((&status["type"], &status["rows"]["runs"]), (&json!("postgres"), &json!(3)));
    assert_eq!(&status["version"], &status["understood"]);
    assert!(workspace.expect(0, &["store", "migrate"]).contains("nothing to do"));
    assert!(!workspace.path().join("leadflow-data/leadflow.db").exists(), "nothing of it lies in the data folder");
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(workspace.runs().len(), 3, "commands work without a server");
}

#[test]
fn a_command_says_what_an_unmigrated_database_needs() {
    let workspace = workspace(&Postgres::shared().fresh());
    let output = workspace.run(&["runs", "list"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() != Some(0) && said.contains("leadflow serve"), "{said}");
    assert!(workspace.expect(0, &["store", "migrate"]).contains("is now version"));
    assert_eq!(workspace.runs(), Vec::<Value>::new());
}

#[test]
fn a_url_whose_variable_is_not_set_is_asked_for_by_name() {
    let workspace = Workspace::cloned();
    workspace.write("leadflow.yaml", "store:\n  type: postgres\n  url: ${env:LEADFLOW_TEST_UNSET}\n");
    workspace.expect(0, &["check"]);
    let output = workspace.run(&["runs", "list"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("LEADFLOW_TEST_UNSET") && said.contains("store.url"), "{said}");
}

#[test]
fn two_servers_share_one_database() {
    let url = Postgres::shared().fresh();
    let (one, two) = (workspace(&url), workspace(&url));
    let (first, second) = (one.serve(), two.serve());
    let urls = [first.url("contoso-backup").to_owned(), second.url("contoso-backup").to_owned()];
    // One signing key for all: a URL of one node opens the flow on every other.
    let query = |url: &str| url.split_once('?').expect("signed").1.to_owned();
    assert_eq!(query(&urls[0]), query(&urls[1]));
    let posting: Vec<_> = urls
        .into_iter()
        .map(|url| {
            let post = move || (0..40).filter(|_| wire::post(&url, &sample()).is_ok_and(|a| a.status == 202)).count();
            std::thread::spawn(post)
        })
        .collect();
    let accepted: usize = posting.into_iter().map(|post| post.join().expect("posts")).sum();
    assert_eq!(accepted, 80);
    let runs = one.until_ended();
    assert!(runs.len() == 80 && runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    let records = two.json(&["records", "list", "--json", "--limit", "1000"]);
    assert_eq!(records.as_array().map(Vec::len), Some(80), "one record a lead");
    let mails: usize = [&one, &two].map(mails).iter().sum();
    assert_eq!(mails, 80, "and one mail");
    // What the first leaves behind when it is killed, the second ends.
    first.kill();
    assert_eq!(wire::post(second.url("contoso-backup"), &sample()).expect("an answer").status, 202);
    assert_eq!(two.until_ended().len(), 81);
}

/// A request waits at the node that took it, whichever node the run's turn comes on.
#[test]
fn an_answer_finds_its_request_whichever_node_gives_it() {
    let url = Postgres::shared().fresh();
    let flow = "name: asked\ntrigger:\n  type: request\n  concurrency: { runs: 1 }\nactions:\n  - name: rest\n    type: delay\n    for: 50ms\n  - name: answer\n    type: respond\n    secure: [inputs]\n    status: 200\n    body: { n: '{{trigger.body.n}}' }\n";
    let nodes = [workspace(&url), workspace(&url)];
    for node in &nodes {
        node.write("flows/asked.yaml", flow);
    }
    let servers = [nodes[0].serve(), nodes[1].serve()];
    let asking: Vec<_> = (0..24)
        .map(|n| {
            let place = servers[n % 2].url("asked").to_owned();
            std::thread::spawn(move || (n, wire::post(&place, &format!("{{\"n\":{n}}}")).expect("an answer")))
        })
        .collect();
    for asked in asking {
        let (n, answer) = asked.join().expect("asks");
        assert_eq!((answer.status, answer.json()["n"].as_u64()), (200, Some(n as u64)), "{answer:?}");
    }
}

fn mails(workspace: &Workspace) -> usize {
    crate::support::files(&workspace.path().join("leadflow-data/outbox"), "eml").len()
}

#[test]
fn a_database_that_goes_away_is_a_503_and_heals() {
    let server = Postgres::start();
    let workspace = workspace(&server.fresh());
    let serving = workspace.serve();
    let url = serving.url("contoso-backup").to_owned();
    assert_eq!(wire::post(&url, &sample()).expect("an answer").status, 202);
    workspace.until_ended();
    server.crash();
    let refused = wire::post(&url, &sample()).expect("an answer");
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    server.restart();
    let healed = (0..200).any(|_| {
        let answer = wire::post(&url, &sample()).expect("an answer").status;
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer == 202
    });
    assert!(healed, "accepts work again without a restart");
    let runs = workspace.until_ended();
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
}

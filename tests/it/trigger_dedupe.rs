//! The same lead twice: one run, and every other one kept as its duplicate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Workspace, wire};

const FLOW: &str = r#"
name: offer
trigger:
  type: request
  conditions: "{{ne trigger.body.ActionCode 'DNC'}}"
  dedupe:
    key: ["{{toLower (trim (string trigger.body.Email))}}", "{{trigger.body.ActionCode}}"]
    window: 1h
actions:
  - { name: keep, type: create_record, connection: crm, entity: leads, fields: { email: "{{trigger.body.Email}}" } }
"#;

fn workspace(flow: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/offer.yaml", flow);
    workspace
}

fn by_status(runs: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for run in runs {
        *counts.entry(run["status"].as_str().expect("text")).or_default() += 1;
    }
    counts
}

fn records(workspace: &Workspace) -> usize {
    workspace.json(&["records", "list", "--json", "--limit", "100000"]).as_array().expect("a list").len()
}

#[test]
fn fifty_at_once_are_one_run_and_forty_nine_duplicates() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let url = server.url("offer").to_owned();
            // The order of keys, white space and unused fields do not make another lead of it.
            let body = match number % 3 {
                0 => r#"{"Email": "a@contoso.com", "ActionCode": "INS"}"#.to_owned(),
                1 => r#"{"ActionCode":"INS","Email":" A@Contoso.com"}"#.to_owned(),
                _ => format!(r#"{{"n": {number}, "ActionCode":"INS", "Email":"a@contoso.com"}}"#),
            };
            std::thread::spawn(move || wire::post(&url, &body).expect("an answer"))
        })
        .collect();
    let answers: Vec<wire::Answer> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:#?}");
    let firsts: Vec<&wire::Answer> =
        answers.iter().filter(|answer| answer.json().get("duplicate_of").is_none()).collect();
    assert_eq!(firsts.len(), 1);
    let first = firsts[0].json()["run_id"].clone();
    let mut ids = BTreeSet::new();
    for answer in &answers {
        let body = answer.json();
        assert_eq!(body["status"], "accepted");
        assert_eq!(answer.headers["x-leadflow-run-id"], body["run_id"].as_str().expect("text"));
        ids.insert(body["run_id"].to_string());
        assert!(body["run_id"] == first || body["duplicate_of"] == first, "{body}");
    }
    assert_eq!(ids.len(), 50, "each is kept as a run of its own");

    let runs = workspace.until_ended();
    assert_eq!(by_status(&runs), BTreeMap::from([("duplicate", 49), ("succeeded", 1)]));
    assert!(runs.iter().filter(|run| run["status"] == "duplicate").all(|run| run["duplicate_of"] == first));
    assert_eq!(records(&workspace), 1);
    let table = workspace.expect(0, &["runs", "list", "--status", "duplicate", "--limit", "1"]);
    let short = &first.as_str().expect("text")[28..];
    assert!(table.contains("duplicate") && table.contains(&format!("of …{short}")), "{table}");
    let duplicate = runs.iter().find(|run| run["status"] == "duplicate").expect("one");
    let shown = workspace.expect(0, &["runs", "show", duplicate["run_id"].as_str().expect("text")]);
    assert!(shown.contains(&format!("duplicate of run …{short}")), "{shown}");
}

#[test]
fn another_lead_is_another_lead() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let post = |body: &str| wire::post(server.url("offer"), body).expect("an answer").json();
    let lead = r#"{"Email": "a@contoso.com", "ActionCode": "INS"}"#;
    let is_new = |answer: &Value| answer.get("duplicate_of").is_none();
    assert!(is_new(&post(lead)));
    assert!(is_new(&post(&lead.replace("INS", "PLT"))), "another action code");
    // Blank leads must not swallow each other.
    for blank in [r#"{"ActionCode": "INS"}"#, r#"{"Email": "  ", "ActionCode": "INS"}"#, r#"{"Email": null}"#] {
        assert!(is_new(&post(blank)) && is_new(&post(blank)), "{blank}");
    }
    // A lead that is skipped is not the first one of anything.
    let skipped = lead.replace("INS", "DNC");
    for _ in 0..2 {
        assert_eq!(post(&skipped)["status"], "skipped");
    }
    assert!(!is_new(&post(lead)));
}

#[test]
fn a_resubmit_is_never_a_duplicate_and_takes_no_key() {
    let workspace = workspace(FLOW);
    let server = workspace.serve();
    let lead = r#"{"Email": "a@contoso.com", "ActionCode": "INS"}"#;
    let post = || wire::post(server.url("offer"), lead).expect("an answer").json();
    let (first, second) = (post(), post());
    assert_eq!(second["duplicate_of"], first["run_id"]);
    workspace.until_ended();
    for run in [&first, &second] {
        workspace.expect(0, &["runs", "resubmit", run["run_id"].as_str().expect("text")]);
    }
    let runs = workspace.until_ended();
    assert_eq!(by_status(&runs), BTreeMap::from([("duplicate", 1), ("succeeded", 3)]));
    assert_eq!(post()["duplicate_of"], first["run_id"], "the window is that of the first lead");
}

#[test]
fn a_key_that_cannot_be_evaluated_runs_and_says_so() {
    let workspace = workspace(&FLOW.replace("{{trigger.body.ActionCode}}", "{{int trigger.body.Number}}"));
    let server = workspace.serve();
    let body = r#"{"Email": "a@contoso.com", "Number": "secret words"}"#;
    for _ in 0..2 {
        let answer = wire::post(server.url("offer"), body).expect("an answer");
        assert_eq!((answer.status, answer.json().get("duplicate_of")), (202, None));
    }
    let runs = workspace.until_ended();
    assert_eq!(by_status(&runs), BTreeMap::from([("succeeded", 2)]));
    let run = workspace.show(runs[0]["run_id"].as_str().expect("text"));
    let note = run["trigger"]["notes"][0]["message"].as_str().expect("a note");
    assert!(note.contains("not deduplicated") && !note.contains("secret words"), "{note}");
    let shown = workspace.expect(0, &["runs", "show", "last"]);
    assert!(shown.contains("note: not deduplicated"), "{shown}");
}

#[test]
fn a_request_that_waits_for_respond_is_told_of_its_twin() {
    let flow = format!("{FLOW}  - {{ name: answer, type: respond, status: 201 }}\n");
    let workspace = workspace(&flow);
    let server = workspace.serve();
    let lead = r#"{"Email": "a@contoso.com", "ActionCode": "INS"}"#;
    let first = wire::post(server.url("offer"), lead).expect("an answer");
    assert_eq!(first.status, 201);
    let second = wire::post(server.url("offer"), lead).expect("an answer");
    assert_eq!(second.status, 202);
    assert_eq!(second.json()["duplicate_of"], first.headers["x-leadflow-run-id"].as_str());
}

#[test]
fn a_dry_run_shows_the_key() {
    let workspace = workspace(FLOW);
    let lead = workspace.write("lead.json", r#"{"Email": " A@b.c", "ActionCode": "INS"}"#);
    let lead = lead.to_str().expect("UTF-8");
    let dry = workspace.json(&["dry-run", "offer", "--lead", lead, "--json"]);
    let wanted = json!({"key": ["a@b.c", "INS"], "deduplicated": true, "window": "1h"});
    assert_eq!(dry["trigger"]["dedupe"], wanted);
    workspace.write("lead.json", r#"{"Email": ""}"#);
    let shown = workspace.expect(1, &["dry-run", "offer", "--lead", lead]);
    assert!(shown.contains("a blank part: not deduplicated"), "{shown}");
}

/// Senders that try again until they hear a 2xx, and a server that is killed again and again.
#[test]
fn whatever_is_killed_each_lead_runs_once() {
    let workspace = workspace(FLOW);
    let next = Arc::new(AtomicU64::new(0));
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..12 {
        let server = workspace.serve();
        // Killed more often before it moves, a run would rightly be held as poison.
        if round % 6 == 5 {
            workspace.until_ended();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (url, next, stop) = (server.url("offer").to_owned(), Arc::clone(&next), Arc::clone(&stop));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        // Two senders for each lead, now and then more.
                        let number = next.fetch_add(1, Ordering::SeqCst) / 2;
                        let body = format!(r#"{{"Email": "{number}@contoso.com", "ActionCode": "INS"}}"#);
                        drop(wire::post(&url, &body));
                    }
                })
            })
            .collect();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_micros(5_000 + seed % 100_000));
        stop.store(true, Ordering::SeqCst);
        server.kill();
        for client in clients {
            client.join().expect("a client");
        }
    }
    let server = workspace.serve();
    // What got no answer is sent again.
    let leads = next.load(Ordering::SeqCst) / 2 + 1;
    for number in 0..leads {
        let body = format!(r#"{{"Email": "{number}@contoso.com", "ActionCode": "INS"}}"#);
        assert_eq!(wire::post(server.url("offer"), &body).expect("an answer").status, 202);
    }
    let runs = workspace.until_ended();
    let counts = by_status(&runs);
    assert_eq!(counts["succeeded"], usize::try_from(leads).expect("few"), "{counts:?}");
    assert!(counts["duplicate"] >= counts["succeeded"] / 2, "{counts:?}");
    assert_eq!(records(&workspace), counts["succeeded"]);
}

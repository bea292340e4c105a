//! Runs that outlive the token with which they began.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::systems::{Dataverse, TOKEN};
use super::{Destination as _, OverHttp as _, fresh_mark, served};
use crate::support::oidc::Oidc;
use crate::support::{Workspace, wire};

/// Runs in flight.
const RUNS: usize = 20;

/// What a token lives. The service counts in whole seconds, so one may be over up to a second before that.
const LIFE_SECS: u32 = 3;
const LIFE_MIN: Duration = Duration::from_secs(2);

/// The header with a token: its place in `request`, and what it says.
fn token(request: &[u8]) -> Option<(std::ops::Range<usize>, String)> {
    let head = String::from_utf8_lossy(request);
    let start = head.to_ascii_lowercase().find("\r\nauthorization: ")? + "\r\nauthorization: ".len();
    let length = head[start..].find("\r\n")?;
    Some((start..start + length, head[start..start + length].to_owned()))
}

/// A flow with two records, and more time between them than a token has.
fn workspace(connection: &Value, marks: [&str; 2]) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("leadflow.yaml", &json!({ "connections": { "crm": connection } }).to_string());
    let create = |name: &str, mark: &str| {
        json!({"name": name, "type": "create_record", "connection": "crm", "entity": Dataverse.entity(),
            "fields": Dataverse.record(mark), "retry": {"policy": "fixed", "interval": "1s", "count": 90}})
    };
    let pause = json!({"name": "pause", "type": "delay", "for": "4s"});
    let flow = json!({
        "trigger": {"type": "request", "authentication": "none"},
        "actions": [create("first", marks[0]), pause, create("second", marks[1])],
    });
    workspace.write("flows/offer.yaml", &flow.to_string());
    workspace
}

#[test]
fn twenty_runs_share_each_token_and_outlive_it() {
    let oidc = Oidc::start(LIFE_SECS);
    let (valid, shown) = (format!("{}/valid", oidc.url), Arc::new(Mutex::new(BTreeSet::new())));
    let seen = Arc::clone(&shown);
    // The system itself knows one token: whoever shows one that the service stands for gets that.
    let proxy = Proxy::gated(Dataverse.backend(), move |request| {
        let (place, header) = token(request)?;
        seen.lock().expect("lock").insert(header.clone());
        let answer = wire::send("GET", &valid, &[("authorization", &header)], b"").expect("an answer");
        let right = format!("Bearer {TOKEN}");
        (answer.status == 200).then(|| [&request[..place.start], right.as_bytes(), &request[place.end..]].concat())
    });
    let mut connection = Dataverse.settings(&proxy.url(), true);
    connection["type"] = json!(Dataverse.kind());
    connection["auth"] = json!({"type": "oauth2_client_credentials", "token_url": format!("{}/token", oidc.url),
        "client_id": "lead-engine", "client_secret": "s3cret", "scope": "api:write"});
    let marks = [fresh_mark(), fresh_mark()];
    let workspace = workspace(&connection, [&marks[0], &marks[1]]);
    let server = workspace.serve();
    let began = Instant::now();
    for _ in 0..RUNS {
        served::post(&server, &marks[0]);
    }
    let runs = workspace.until_ended();
    let took = began.elapsed();
    assert_eq!(runs.iter().filter(|run| run["status"] == "succeeded").count(), RUNS, "{runs:#?}");
    for mark in &marks {
        assert_eq!(served::records(&Dataverse, mark), RUNS);
    }
    let (asked, shown) = (oidc.counts().0, shown.lock().expect("lock").len());
    assert_eq!(asked, shown as u64, "every token that was asked for was needed");
    let lives = 1 + took.as_millis() / LIFE_MIN.as_millis();
    assert!((2..=lives).contains(&u128::from(asked)), "{asked} tokens in {took:?}");
}

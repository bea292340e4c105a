//! What every destination keeps when the real binary runs a lead.

use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::{Fate, Proxy};
use super::{Destination, Line, OverHttp, Remote, fresh_mark};
use crate::support::{Server, Workspace, until, wire};

/// Leads that wait while a system rests.
const WAITING: usize = 20;

/// How long the system wants to rest.
const REST: Duration = Duration::from_secs(3);

fn workspace(system: &dyn Destination, place: &str, further: &Value) -> Workspace {
    let workspace = Workspace::empty();
    settings(&workspace, system, place, further);
    let mut fields = system.record("{{trigger.body.mark}}");
    if let Some(unique) = system.unique() {
        fields.insert(unique.to_owned(), json!("{{trigger.body.unique}}"));
    }
    let flow = json!({
        "trigger": {"type": "request", "authentication": "none"},
        "actions": [{"name": "lead", "type": "create_record", "connection": "crm", "entity": system.entity(),
            "fields": fields, "retry": {"policy": "fixed", "interval": "1s", "count": 90}}],
    });
    workspace.write("flows/offer.yaml", &flow.to_string());
    workspace
}

/// JSON is YAML.
fn settings(workspace: &Workspace, system: &dyn Destination, place: &str, further: &Value) {
    let mut connection = system.settings(place, true);
    connection["type"] = json!(system.kind());
    for (key, value) in further.as_object().expect("an object") {
        connection[key] = value.clone();
    }
    workspace.write("leadflow.yaml", &json!({ "connections": { "crm": connection } }).to_string());
}

pub(super) fn post(server: &Server, mark: &str) {
    let lead = json!({ "mark": mark, "unique": fresh_mark() });
    let answer = wire::post(server.url("offer"), &lead.to_string()).expect("an answer");
    assert_eq!(answer.status, 202);
}

pub(super) fn records(system: &dyn Destination, mark: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { Line::straight(system).await.marked(system, mark).await.len() })
}

pub(super) fn a_run_survives_a_lost_answer(system: &dyn Remote) {
    let (way, first, mark) = (system.way(), fresh_mark(), fresh_mark());
    assert_eq!(records(system, &mark), 0);
    let workspace = workspace(system, &way.place, &json!({}));
    let server = workspace.serve();
    // What is asked only once is asked for this one.
    post(&server, &first);
    assert_eq!(workspace.until_ended()[0]["status"], "succeeded");
    way.lose_next();
    post(&server, &mark);
    let runs = workspace.until_ended();
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#?}");
    let shown = workspace.show("last");
    let action = &shown["actions"][0];
    assert_eq!((&action["outcome"], &action["attempts"]), (&json!("created"), &json!(2)), "{shown:#}");
    assert_eq!(action["possible_repeat"] == json!(true), system.repeats().flagged(), "{shown:#}");
    assert_eq!(records(system, &mark), system.repeats().records());
}

pub(super) fn a_name_that_comes_back_costs_no_lead(system: &dyn Destination) {
    let mark = fresh_mark();
    assert_eq!(records(system, &mark), 0);
    let workspace = workspace(system, &system.nowhere(), &json!({}));
    let server = workspace.serve();
    post(&server, &mark);
    until("the first try has failed", || {
        workspace.show("last")["actions"][0]["tries"].as_array().is_some_and(|tries| !tries.is_empty())
    });
    settings(&workspace, system, &system.place(), &json!({}));
    assert!(server.reload().0);
    let runs = workspace.until_ended();
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#?}");
    assert_eq!(records(system, &mark), 1);
}

pub(super) fn nobody_calls_while_the_system_wants_to_rest(system: &dyn OverHttp) {
    let mark = fresh_mark();
    assert_eq!(records(system, &mark), 0);
    let proxy = Proxy::start(system.backend(), |n| if n == 0 { Fate::too_many_requests(3) } else { Fate::Pass });
    let workspace = workspace(system, &proxy.url(), &json!({ "concurrency": 1 }));
    let server = workspace.serve();
    for _ in 0..WAITING {
        post(&server, &mark);
    }
    until("the system was asked", || !proxy.calls().is_empty());
    // A restart inside the window: the pause is kept in the store.
    assert_eq!(server.terminate(), Some(0));
    let again = workspace.serve();
    let runs = workspace.until_ended();
    assert_eq!(runs.iter().filter(|run| run["status"] == "succeeded").count(), WAITING, "{runs:#?}");
    let calls = proxy.calls();
    let second = calls.get(1).expect("they went on").duration_since(calls[0]);
    assert!(second >= REST, "called again after {second:?}");
    assert_eq!(records(system, &mark), WAITING);
    drop(again);
}

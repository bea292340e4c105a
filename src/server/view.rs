//! The JSON shapes of runs and flows: one for the command line's `--json` and the admin listener. Stable.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::connections::waiting_json;
use crate::clock::{Micros, rfc3339};
use crate::diagnostic::Diagnostic;
use crate::flow::Flow;
use crate::library::{FileState, FlowSet, Off, Standing, Verdict};
use crate::run::{Failure, RunStatus, StepStatus, TriggerData};
use crate::store::{ConnectionState, RunRow, StepIo, StepRow, StoredRun};

/// The name and type of each action of a flow, in the order of the file: what a stored run does not hold itself.
pub type Kinds = [(String, String)];

/// `runs list --json`: [`run_summary`] of each, in the order given (the store's: newest first). `states` are the
/// store's, as they are at `now`.
pub fn run_list_json(runs: &[StoredRun], states: &[ConnectionState], now: Micros) -> Value {
    runs.iter().map(|stored| run_summary(stored, states, now)).collect()
}

/// One item of `runs list --json`: `{run_id, flow, status, is_test, received_at, finished_at, duplicate_of,
/// waiting_for, actions:{NAME: STATUS}}`. `waiting_for` names the connection that keeps it waiting ([`waiting_json`]). The
/// status of an action inside a loop is the gravest of its iterations ([`gravity`]).
pub fn run_summary(stored: &StoredRun, states: &[ConnectionState], now: Micros) -> Value {
    let mut item = summary(&stored.run);
    item.insert("waiting_for".into(), waiting_json(&stored.run, states, now));
    let actions = standing(&stored.steps).into_iter();
    let actions: Map<String, Value> = actions.map(|(name, status)| (name.to_owned(), json!(status.as_str()))).collect();
    item.insert("actions".into(), Value::Object(actions));
    Value::Object(item)
}

/// How grave a status is, where one word stands for all iterations of an action: the gravest one is said. Failed, timed
/// out, cancelled, running, waiting, pending, succeeded, skipped.
pub fn gravity(status: StepStatus) -> u8 {
    match status {
        StepStatus::Failed => 7,
        StepStatus::TimedOut => 6,
        StepStatus::Cancelled => 5,
        StepStatus::Running => 4,
        StepStatus::Waiting => 3,
        StepStatus::Pending => 2,
        StepStatus::Succeeded => 1,
        StepStatus::Skipped => 0,
    }
}

/// Each action that has begun, in the order of time, with its status: inside loops that of the worst iteration.
pub fn standing(steps: &[StepRow]) -> Vec<(&str, StepStatus)> {
    let mut found: HashMap<&str, (Option<Micros>, StepStatus)> = HashMap::new();
    for step in steps {
        let began = step.started_at.or(step.finished_at);
        let known = found.entry(&step.name).or_insert((began, step.status));
        known.0 = known.0.into_iter().chain(began).min();
        if gravity(step.status) > gravity(known.1) {
            known.1 = step.status;
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(name, (began, _))| (*began, *name));
    found.into_iter().map(|(name, (_, status))| (name, status)).collect()
}

/// `runs show ID --json`: the list's item with `trigger`, and with `actions` as a list of `{name, type, status, inputs,
/// outputs, attempts, error, …}` in the order of `kinds`. Actions that have not started are `pending`; in a run that has
/// ended, `skipped`. An action that
/// `kinds` does not name has no type and stands at the end.
pub fn run_detail(stored: &StoredRun, kinds: &Kinds, states: &[ConnectionState], now: Micros) -> Value {
    let run = &stored.run;
    let mut shown = summary(run);
    shown.insert("waiting_for".into(), waiting_json(run, states, now));
    shown.insert("code".into(), json!(run.code));
    shown.insert("origin_run".into(), json!(run.origin_run));
    shown.insert("answer".into(), json!(run.answer));
    shown.insert("trigger".into(), run.trigger.as_ref().map_or(Value::Null, trigger_json));
    let mut by_name: HashMap<&str, Vec<&StepRow>> = HashMap::new();
    for step in &stored.steps {
        by_name.entry(&step.name).or_default().push(step);
    }
    let known: Vec<Value> = kinds
        .iter()
        .flat_map(|(name, kind)| match by_name.remove(name.as_str()) {
            None => vec![not_begun_json(run.status, name, kind)],
            Some(rows) => rows.into_iter().map(|step| step_json(step, Some(kind))).collect(),
        })
        .collect();
    let mut strange: Vec<&StepRow> = by_name.into_values().flatten().collect();
    strange.sort_by_key(|step| step.started_at.or(step.finished_at));
    let actions: Value = known.into_iter().chain(strange.into_iter().map(|step| step_json(step, None))).collect();
    shown.insert("actions".into(), actions);
    Value::Object(shown)
}

fn summary(run: &RunRow) -> Map<String, Value> {
    let mut summary = Map::new();
    summary.insert("run_id".into(), json!(run.run_id));
    summary.insert("flow".into(), json!(run.flow));
    summary.insert("status".into(), json!(run.status.as_str()));
    summary.insert("is_test".into(), json!(run.is_test));
    summary.insert("received_at".into(), json!(rfc3339(run.received_at)));
    summary.insert("finished_at".into(), time(run.finished_at));
    summary.insert("duplicate_of".into(), json!(run.duplicate_of));
    summary
}

/// The request as it came: the body as JSON where it is JSON, else as text; of a split request the item and its place;
/// with `notes` where something was odd.
fn trigger_json(trigger: &TriggerData) -> Value {
    let text = trigger.body.strip_prefix('\u{feff}').unwrap_or(&trigger.body);
    let body = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(_) if text.is_empty() => Value::Null,
        Err(_) => Value::String(text.to_owned()),
    };
    let mut shown = json!({
        "method": trigger.method,
        "path": pairs(&trigger.path),
        "query": pairs(&trigger.query),
        "headers": pairs(&trigger.headers),
        "body": body,
    });
    if let Some(item) = trigger.item {
        shown["item"] = json!(item);
    }
    if !trigger.notes.is_empty() {
        shown["notes"] = json!(trigger.notes);
    }
    shown
}

/// An object of `pairs`; a repeated name is a list.
fn pairs(pairs: &[(String, String)]) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(name) {
            Some(Value::Array(list)) => list.push(json!(value)),
            Some(one) => *one = json!([one.take(), value]),
            None => {
                object.insert(name.clone(), json!(value));
            }
        }
    }
    Value::Object(object)
}

/// An action that has not started, with the keys that every action has. In a run that has ended, it stands in a loop that
/// never turned.
fn not_begun_json(run: RunStatus, name: &str, kind: &str) -> Value {
    let row = StepRow {
        idx: String::new(),
        name: name.to_owned(),
        status: if run.is_final() { StepStatus::Skipped } else { StepStatus::Pending },
        attempt: 0,
        due_at: None,
        started_at: None,
        finished_at: None,
        outcome: None,
        possible_repeat: false,
        io: StepIo::default(),
    };
    step_json(&row, Some(kind))
}

fn step_json(step: &StepRow, kind: Option<&str>) -> Value {
    let error = step.io.error.as_ref().map(error_json);
    let tries = step.io.tries.iter().map(|one| {
        json!({
            "started_at": rfc3339(one.started_at), "finished_at": rfc3339(one.finished_at), "outcome": one.outcome
        })
    });
    let mut shown = json!({
        "name": step.name,
        "type": kind,
        "status": step.status.as_str(),
        "outcome": step.outcome,
        "attempts": step.attempt,
        "possible_repeat": step.possible_repeat,
        "started_at": time(step.started_at),
        "finished_at": time(step.finished_at),
        "due_at": time(step.due_at),
        "inputs": step.io.inputs,
        "outputs": step.io.outputs,
        "error": error,
        "tries": tries.collect::<Value>(),
    });
    if !step.idx.is_empty() {
        let index: Vec<u64> = step.idx.split('.').filter_map(|number| number.parse().ok()).collect();
        shown["index"] = json!(index);
    }
    shown
}

/// `{code, message}`, and of a container `action`: the one in it that failed.
pub fn error_json(error: &Failure) -> Value {
    let mut shown = json!({"code": error.code, "message": error.message});
    if let Some(action) = &error.action {
        shown["action"] = json!(action);
    }
    shown
}

fn time(at: Option<Micros>) -> Value {
    at.map_or(Value::Null, |at| json!(rfc3339(at)))
}

/// The live set: `{generation, digest, loaded_at, on_disk_is_live, flows: […], findings: […]}`, live flows first; the
/// findings are those that belong to no flow file. Without URLs: a URL is a credential.
pub fn flows_json(set: &FlowSet) -> Value {
    // By name: a flow that was kept over the renaming of its file still has the old one in its text.
    let states = set.files.values().filter_map(|state| Some((&*state.serving()?.flow().name, state)));
    let states: HashMap<&str, &Arc<FileState>> = states.collect();
    let live = set.flows.values().map(|live| flow_json(&live.flow, states.get(&*live.flow.name).copied()));
    let off = set.off.iter().map(|off| {
        let mut shown = off_json(off);
        shown["findings"] = set.files.get(&off.file).map_or_else(|| json!([]), |state| findings_json(&state.findings));
        shown
    });
    let flows: Value = live.chain(off).collect();
    let findings: Value = set.notices.iter().map(|notice| finding_json(&notice.finding)).collect();
    json!({
        "generation": set.generation,
        "digest": set.digest,
        "loaded_at": rfc3339(set.loaded_at),
        "on_disk_is_live": set.is_on_disk(),
        "flows": flows,
        "findings": findings,
    })
}

/// A flow that answers. What it is comes from the version that answers, `findings` from what is on disk: they differ
/// when `standing` is not `current`.
fn flow_json(flow: &Flow, state: Option<&Arc<FileState>>) -> Value {
    let action = |action: &crate::flow::Action| json!({"name": action.name, "type": action.kind, "connection": action.connection});
    let version = state.and_then(|state| state.good.as_ref());
    let standing = state.map_or(Standing::Current, |state| state.standing);
    json!({
        "name": flow.name,
        "state": "live",
        "standing": standing.as_str(),
        "file": state.map_or(&flow.bundle.file, |state| &state.file),
        "description": flow.description,
        "aliases": flow.aliases,
        "digest": flow.digest,
        "generation": version.map(|version| version.generation),
        "loaded_at": version.map(|version| rfc3339(version.loaded_at)),
        "methods": flow.trigger.methods,
        "path": flow.trigger.path.as_ref().map(|path| &path.source),
        "schema": flow.trigger.schema.as_ref().map(|schema| &schema.name),
        "authentication": flow.trigger.authentication.as_str(),
        "responds": flow.responds,
        "actions": flow.actions.iter().map(action).collect::<Value>(),
        "differs_since": state.and_then(|state| state.since).map(rfc3339),
        "findings": state.map_or_else(|| json!([]), |state| findings_json(&state.findings)),
    })
}

/// A flow that is off: why, with the place of its first error.
pub(super) fn off_json(off: &Off) -> Value {
    let finding = off.finding.as_ref().map(finding_json);
    let reason = if finding.is_some() { "error" } else { "disabled" };
    json!({"name": off.name, "state": "off", "file": off.file, "reason": reason, "finding": finding})
}

/// How what is live stands to what is on disk, with at most `findings_max` findings.
pub(super) fn reload_json(set: &FlowSet, findings_max: usize) -> Value {
    let findings = set.open_findings();
    let shown: Value = findings.iter().take(findings_max).map(finding_json).collect();
    json!({
        "on_disk_is_live": set.is_on_disk(),
        "differs_since": set.oldest_finding().map(rfc3339),
        "findings_count": findings.len(),
        "findings": shown,
    })
}

/// The answer to a request to reload.
pub(super) fn verdict_json(verdict: &Verdict) -> Value {
    let on_disk_is_live = if verdict.waited { json!(verdict.on_disk_is_live) } else { Value::Null };
    json!({
        "generation": verdict.generation,
        "digest": verdict.digest,
        "waited": verdict.waited,
        "on_disk_is_live": on_disk_is_live,
        "findings": findings_json(&verdict.findings),
    })
}

fn findings_json(findings: &[Diagnostic]) -> Value {
    findings.iter().map(finding_json).collect()
}

/// A finding, with the keys of `check --format json`.
pub fn finding_json(finding: &Diagnostic) -> Value {
    json!({
        "code": finding.code, "severity": finding.severity, "file": finding.place.file, "line": finding.place.line,
        "column": finding.place.column, "path": finding.path, "message": finding.message, "help": finding.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunId;
    use crate::run::Try;

    fn step(name: &str, idx: &str, started_at: Micros) -> StepRow {
        StepRow {
            idx: idx.into(),
            name: name.into(),
            status: StepStatus::Failed,
            attempt: 2,
            due_at: None,
            started_at: Some(started_at),
            finished_at: Some(started_at + 1),
            outcome: None,
            possible_repeat: true,
            io: StepIo {
                child: None,
                inputs: Some(json!({"to": "x"})),
                outputs: None,
                error: Some(Failure::terminal("bad_address", "no")),
                tries: vec![Try { started_at, finished_at: started_at, outcome: "http_503".into() }],
                ..StepIo::default()
            },
        }
    }

    fn run(steps: Vec<StepRow>) -> StoredRun {
        let run_id = RunId::new(1_700_000_000_000_000);
        let trigger = TriggerData {
            method: "POST".into(),
            path: vec![],
            query: vec![("a".into(), "1".into()), ("a".into(), "2".into()), ("a".into(), "3".into())],
            headers: vec![],
            body: "\u{feff}{\"b\": 1}".into(),
            ..TriggerData::default()
        };
        let row = RunRow::queued(run_id, "a".into(), 1, 1_700_000_000_000_000, trigger);
        let run = RunRow { status: RunStatus::Failed, is_test: true, epoch: 1, ..row };
        StoredRun { run, steps }
    }

    #[test]
    fn the_list_has_the_documented_keys() {
        let listed = run_summary(&run(vec![step("a", "", 5), step("b", "00000001", 6)]), &[], 0);
        let keys: Vec<&str> = listed.as_object().expect("object").keys().map(String::as_str).collect();
        let wanted = [
            "run_id",
            "flow",
            "status",
            "is_test",
            "received_at",
            "finished_at",
            "duplicate_of",
            "waiting_for",
            "actions",
        ];
        assert_eq!(keys, wanted);
        assert_eq!(listed["actions"], json!({"a": "failed", "b": "failed"}));
        assert_eq!(listed["received_at"], "2023-11-14T22:13:20.000Z");
        assert_eq!(listed["finished_at"], Value::Null);
    }

    #[test]
    fn one_word_for_all_iterations_is_that_of_the_worst() {
        let statuses = [StepStatus::Succeeded, StepStatus::Skipped, StepStatus::Waiting, StepStatus::Cancelled];
        let mut steps: Vec<StepRow> =
            (0..).zip(statuses).map(|(at, status)| StepRow { status, ..step("each", "0", at) }).collect();
        assert_eq!(standing(&steps), [("each", StepStatus::Cancelled)]);
        steps.push(step("each", "1", 9));
        steps.push(StepRow { status: StepStatus::Succeeded, ..step("first", "", -1) });
        assert_eq!(standing(&steps), [("first", StepStatus::Succeeded), ("each", StepStatus::Failed)]);
        let mut all = StepStatus::ALL.to_vec();
        all.sort_by_key(|status| gravity(*status));
        all.dedup_by_key(|status| gravity(*status));
        assert_eq!(all.len(), StepStatus::ALL.len(), "no two are equally grave");
    }

    #[test]
    fn a_shown_run_has_its_trigger_and_its_actions_in_the_order_of_the_file() {
        let kinds = [("mail", "send_email"), ("each", "http"), ("last", "compose")]
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let stored = run(vec![step("each", "00000000.00000002", 5), step("gone", "", 6), step("mail", "", 9)]);
        let shown = run_detail(&stored, &kinds, &[], 0);
        assert_eq!(shown["trigger"]["body"], json!({"b": 1}));
        assert_eq!(shown["trigger"]["query"], json!({"a": ["1", "2", "3"]}));
        let names: Vec<&str> =
            shown["actions"].as_array().expect("list").iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["mail", "each", "last", "gone"]);
        let mail = &shown["actions"][0];
        assert_eq!((mail["type"].as_str(), mail["attempts"].as_u64()), (Some("send_email"), Some(2)));
        assert_eq!(mail["error"], json!({"code": "bad_address", "message": "no"}));
        assert_eq!(mail["inputs"], json!({"to": "x"}));
        assert_eq!(mail["tries"][0]["outcome"], "http_503");
        assert!(mail.get("index").is_none());
        assert_eq!(shown["actions"][1]["index"], json!([0, 2]));
        assert_eq!(shown["actions"][2]["status"], "skipped", "the run has ended without it");
        assert_eq!(shown["actions"][3]["type"], Value::Null);
    }
}

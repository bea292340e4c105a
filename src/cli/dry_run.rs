//! `leadflow dry-run`: exactly what would be sent, by the real loader and the real engine; nothing is sent or stored.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::{self, Global};
use super::tree::{self, Entry, Row};
use super::{Exit, context, output, show};
use crate::app;
use crate::engine::dry::{DryAction, DryRun};
use crate::engine::ports::Mocks;
use crate::flow::Flow;
use crate::flow::plan::{Kind, NodeId};
use crate::run::{RunStatus, StepKey, StepStatus};
use crate::schema::BodyError;
use crate::server::view;
use crate::settings::Settings;

/// What a refused body is called, where a run's status stands.
const REJECTED: &str = "rejected";

/// Characters of one value on a line; `--json` has all of them.
const VALUE_CHARS_MAX: usize = 200;

/// Iterations of a long loop that are shown although they ended well.
const ITERATIONS_SHOWN: usize = 2;

pub(super) fn run(global: &Global, args: &args::DryRun) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &[])?;
    let loaded = context::one_flow(&settings, &args.flow)?;
    let Some(flow) = loaded.flow.clone() else { anyhow::bail!("`{}` does not load", args.flow) };
    let mocks = mocks(args, &flow)?;
    let lead = context::read_lead(&args.lead)?;
    let (dry, effects) = context::block_on(app::dry_run(&settings, std::sync::Arc::clone(&flow), lead, mocks))??;
    if args.json {
        output::json(&as_json(&flow, &dry, &effects));
    } else {
        output::answer(&as_text(&settings, &flow, &dry, &effects));
    }
    Ok(dry.status.map_or(Exit::Bad, show::exit))
}

fn mocks(args: &args::DryRun, flow: &Flow) -> anyhow::Result<Mocks> {
    use anyhow::Context as _;
    let Some(path) = &args.mocks else { return Ok(Mocks::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the mocks {}", path.display()))?;
    let name = path.display().to_string();
    // JSON is YAML: one parser, and findings with a place.
    let (doc, findings) = crate::yaml::parse(&name, &text);
    let value = doc.filter(|_| !crate::diagnostic::has_errors(&findings)).map(|doc| doc.value);
    let Some(value) = value else {
        context::show_findings(&findings, &[(name, text.into())]);
        return Err(context::Stop(Exit::Usage).into());
    };
    let mocks: Mocks = serde_path_to_error::deserialize(value)
        .map_err(|error| anyhow::anyhow!("{name}: `{}`: {}", error.path(), error.inner()))?;
    if let Some(unknown) = mocks.keys().find(|name| flow.plan.find(name).is_none()) {
        anyhow::bail!("{name}: flow `{}` has no action `{unknown}`", flow.name);
    }
    let is_container =
        |name: &&String| flow.plan.find(name).is_some_and(|node| flow.plan.nodes[node].kind != Kind::Leaf);
    if let Some(container) = mocks.keys().find(is_container) {
        anyhow::bail!(
            "{name}: `{container}` holds actions and cannot be mocked; mock the actions in it: a mock answers in each iteration"
        );
    }
    Ok(mocks)
}

fn status(dry: &DryRun) -> &'static str {
    dry.status.map_or(REJECTED, RunStatus::as_str)
}

/// What is wrong with the body, or worth knowing of it.
fn findings(dry: &DryRun) -> Vec<BodyError> {
    match &dry.problem {
        Some(problem) if problem.errors.is_empty() => {
            vec![BodyError { pointer: String::new(), message: problem.message.clone() }]
        }
        Some(problem) => problem.errors.clone(),
        None => dry.notes.clone(),
    }
}

fn as_json(flow: &Flow, dry: &DryRun, effects: &[Value]) -> Value {
    json!({
        "flow": flow.name,
        "run": { "status": status(dry) },
        "trigger": trigger_json(flow, dry),
        "actions": dry.actions.iter().map(action_json).collect::<Vec<_>>(),
        "effects": effects,
        "variables": dry.variables,
    })
}

/// The body with its findings; `items` where a list is split, `dedupe` where leads are compared.
fn trigger_json(flow: &Flow, dry: &DryRun) -> Value {
    let mut trigger = json!({ "body": dry.body, "findings": findings(dry) });
    if let Some(items) = dry.items {
        trigger["items"] = json!(items);
    }
    if let (Some(key), Some(dedupe)) = (&dry.key, &flow.trigger.dedupe) {
        let window = crate::units::print_duration(dedupe.window);
        trigger["dedupe"] = json!({ "key": key.parts, "deduplicated": !key.blank, "window": window });
    }
    trigger
}

/// What `split_on` and `dedupe` make of the lead.
fn intake(flow: &Flow, dry: &DryRun) -> String {
    let mut text = String::new();
    if let Some(items) = dry.items {
        let this = if items == 0 { "" } else { "; this is the first one" };
        let _ = writeln!(text, "    split_on: {}{this}", output::count(items, "run"));
    }
    if let (Some(key), Some(dedupe)) = (&dry.key, &flow.trigger.dedupe) {
        let parts = line(&Value::Array(key.parts.clone()).to_string());
        let window = crate::units::print_duration(dedupe.window);
        let said = if key.blank {
            "has a blank part: not deduplicated".to_owned()
        } else {
            format!("is the key: the same again within {window} is a duplicate")
        };
        let _ = writeln!(text, "    dedupe: {parts} {said}");
    }
    text
}

fn action_json(action: &DryAction) -> Value {
    let error = action.error.as_ref().map(view::error_json);
    let mut json = json!({
        "name": action.name,
        "type": action.kind,
        "status": action.status.as_str(),
        "inputs": action.inputs,
        "outputs": action.outputs,
        "attempts": action.attempts,
        "error": error,
    });
    if !action.index.is_empty() {
        json["index"] = json!(action.index);
    }
    json
}

fn as_text(settings: &Settings, flow: &Flow, dry: &DryRun, effects: &[Value]) -> String {
    let style = output::Style::stdout();
    let mut text = format!("{}  dry run: nothing is sent, nothing is stored\n", style.bold(&flow.name));
    let schema = flow.trigger.schema.as_ref().map(|schema| schema.name.as_str());
    let fits = match (&dry.problem, schema) {
        (Some(problem), _) => format!("{} ({} {})", problem.message, problem.status, problem.code),
        (None, Some(schema)) => format!("body fits {schema}"),
        (None, None) => "any body fits".to_owned(),
    };
    let _ = writeln!(text, "trigger  request  {fits}   test lead: {}", if dry.is_test { "yes" } else { "no" });
    for finding in findings(dry) {
        let _ = writeln!(text, "    {}  {}", finding.pointer, finding.message);
    }
    text.push_str(&intake(flow, dry));
    if let Some(reason) = &dry.reason {
        let _ = writeln!(text, "    {}", line(reason));
    }
    text.push_str(&actions(settings, flow, dry, effects));
    if !dry.unused.is_empty() {
        let _ = writeln!(text, "received but not used: {}", dry.unused.join(", "));
    }
    let _ = writeln!(text, "{}{}", style.status(status(dry)), would(effects));
    text
}

/// The actions as they stand in the flow, each with what it would do.
fn actions(settings: &Settings, flow: &Flow, dry: &DryRun, effects: &[Value]) -> String {
    let style = output::Style::stdout();
    let rows = dry.actions.iter().filter(|action| action.status != StepStatus::Pending).map(|action| Row {
        name: &action.name,
        idx: action.index.iter().fold(String::new(), |outer, number| StepKey::iteration(&outer, *number)),
        status: action.status,
        outcome: action.outcome.as_deref(),
        of: action,
    });
    let entries = tree::entries(flow, rows.collect(), ITERATIONS_SHOWN);
    let mut number = 0;
    let rows: Vec<Vec<String>> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Note(_) => None,
            Entry::Action { label, node, container, of } => {
                number += 1;
                let kind = if container.is_empty() { &flow.actions[*node].kind } else { container };
                Some(row(settings, flow, (number, label, *node, kind), *of))
            }
        })
        .collect();
    let table = output::table(&rows, "", |column, cell| match column {
        0 => style.bold(cell),
        4 => style.status(cell),
        _ => cell.to_owned(),
    });
    let mut lines = table.lines();
    let mut by_action: HashMap<(&str, String), Vec<&Value>> = HashMap::new();
    for effect in effects {
        let action = effect["action"].as_str().unwrap_or_default();
        by_action.entry((action, index_text(&effect["index"]))).or_default().push(effect);
    }
    let mut text = String::new();
    for entry in &entries {
        match entry {
            Entry::Note(note) => {
                let _ = writeln!(text, "  {}", style.dim(note));
            }
            Entry::Action { of, container, .. } => {
                let _ = writeln!(text, "{}", lines.next().unwrap_or_default());
                let Some(action) = of else { continue };
                let own = by_action.get(&(action.name.as_str(), index_text(&json!(action.index))));
                text.push_str(&details(action, own.map(Vec::as_slice).unwrap_or_default(), container.is_empty()));
            }
        }
    }
    text
}

/// An index as a key: `[0,2]`; empty outside every loop.
fn index_text(index: &Value) -> String {
    if index.as_array().is_some_and(|numbers| !numbers.is_empty()) { index.to_string() } else { String::new() }
}

fn row(
    settings: &Settings,
    flow: &Flow,
    (number, label, node, kind): (usize, &str, NodeId, &str),
    action: Option<&DryAction>,
) -> Vec<String> {
    let connection = flow.actions[node].connection.as_ref().map(|name| {
        let kind = settings.connections.get(name).map_or("?", |connection| connection.kind.as_str());
        format!("{name} ({kind})")
    });
    let inputs = action.and_then(|action| action.inputs.as_ref());
    let entity = inputs.and_then(|inputs| inputs.get("entity")).and_then(Value::as_str);
    vec![
        format!("{number} {label}"),
        kind.to_owned(),
        connection.unwrap_or_default(),
        entity.unwrap_or_default().to_owned(),
        action.map_or_else(|| "not reached".to_owned(), ended),
    ]
}

fn ended(action: &DryAction) -> String {
    match (&action.outcome, action.status) {
        (Some(reason), StepStatus::Skipped) => format!("skipped ({reason})"),
        (_, StepStatus::Pending) => "not reached".to_owned(),
        (_, status) => status.as_str().to_owned(),
    }
}

/// What the action would do: its effects, or what it computed.
fn details(action: &DryAction, own: &[&Value], is_leaf: bool) -> String {
    let mut text = String::new();
    if let Some(error) = &action.error {
        let _ = writeln!(text, "    {}: {} (leadflow explain {})", error.code, error.message, error.code);
    }
    for effect in own {
        match effect["kind"].as_str() {
            Some("record") => text.push_str(&record(effect)),
            Some("sql") => text.push_str(&statement(effect)),
            Some("email") => text.push_str(&mail(effect)),
            _ => text.push_str(&request(effect)),
        }
    }
    if is_leaf && own.is_empty() && action.status == StepStatus::Succeeded {
        match (&action.inputs, &action.outputs) {
            (_, Some(outputs)) if !outputs.is_null() => text.push_str(&pairs(outputs)),
            (Some(inputs), _) => text.push_str(&pairs(inputs)),
            _ => {}
        }
    }
    text
}

/// An object as aligned lines; any other value as one line.
fn pairs(value: &Value) -> String {
    let Some(entries) = value.as_object() else { return format!("    {}\n", line(&value.to_string())) };
    let rows: Vec<Vec<String>> =
        entries.iter().map(|(key, value)| vec![format!("{key:<13}"), line(&value.to_string())]).collect();
    output::table(&rows, "    ", |_, cell| cell.to_owned())
}

fn line(text: &str) -> String {
    output::one_line(text, VALUE_CHARS_MAX)
}

fn mail(effect: &Value) -> String {
    let mut text = String::new();
    let headers = [
        ("from", "From"),
        ("to", "To"),
        ("cc", "Cc"),
        ("bcc", "Bcc"),
        ("reply_to", "Reply-To"),
        ("importance", "Importance"),
    ];
    for (key, header) in headers {
        let addresses: Vec<&str> = match &effect[key] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            Value::String(one) => vec![one],
            _ => Vec::new(),
        };
        if !addresses.is_empty() {
            let _ = writeln!(text, "    {header}: {}", line(&addresses.join(", ")));
        }
    }
    let _ = writeln!(text, "    Subject: {}", line(effect["subject"].as_str().unwrap_or_default()));
    let parts = ["text", "html"].map(|part| effect[part].as_str());
    for (part, body) in ["text", "html"].into_iter().zip(parts) {
        let Some(body) = body else { continue };
        // A name stands over each part only where there are two.
        if parts.iter().all(Option::is_some) {
            let _ = writeln!(text, "    {part}:");
        }
        for own in body.lines() {
            let _ = writeln!(text, "    | {}", line(own));
        }
    }
    for file in effect["attachments"].as_array().into_iter().flatten() {
        let word = |key: &str| line(file[key].as_str().unwrap_or_default());
        let _ = writeln!(text, "    attached: {} ({}, {} bytes)", word("name"), word("content_type"), file["bytes"]);
    }
    text
}

/// What would be written, or which record would be looked for.
fn record(effect: &Value) -> String {
    match effect.get("fields") {
        Some(fields) => pairs(fields),
        None => {
            let word = effect["operation"].as_str().unwrap_or_default();
            let wanted = effect.get("id").or_else(|| effect.get("where")).unwrap_or(&Value::Null);
            let wanted = if wanted.is_null() { String::new() } else { format!(" {wanted}") };
            format!("    {}\n", line(&format!("{word}{wanted}")))
        }
    }
}

/// A statement with its parameters, and those that would follow.
fn statement(effect: &Value) -> String {
    let mut text = String::new();
    for one in std::iter::once(effect).chain(effect["else"].as_array().into_iter().flatten()) {
        let _ = writeln!(text, "    {}", line(one["statement"].as_str().unwrap_or_default()));
        let _ = writeln!(text, "    {}", line(&one["parameters"].to_string()));
    }
    text
}

fn request(effect: &Value) -> String {
    let word = |key: &str| line(effect[key].as_str().unwrap_or_default());
    let mut text = format!("    {} {}\n", word("method"), word("url"));
    for (name, value) in effect["headers"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "    {}: {}", line(name), line(value.as_str().unwrap_or_default()));
    }
    let body = match &effect["body"] {
        Value::Null => return text,
        Value::String(body) => body.clone(),
        body => format!("{body:#}"),
    };
    for own in body.lines() {
        let _ = writeln!(text, "    | {}", line(own));
    }
    text
}

/// `: would create 1 record, send 1 mail`
fn would(effects: &[Value]) -> String {
    let number = |kinds: &[&str], operations: &[&str]| {
        let is_one = |effect: &&Value| {
            let is = |name: &str, words: &[&str]| effect[name].as_str().is_some_and(|word| words.contains(&word));
            is("kind", kinds) && (operations.is_empty() || is("operation", operations))
        };
        effects.iter().filter(is_one).count()
    };
    let records = &["record", "sql"];
    let reads = number(records, &["get", "list"]);
    let parts: Vec<String> = [
        (number(records, &["create"]), "create", "record"),
        (number(records, &["upsert"]), "upsert", "record"),
        (number(records, &["update"]), "update", "record"),
        (reads, "read records", "time"),
        (number(&["email"], &[]), "send", "mail"),
        (number(&["http"], &[]), "make", "HTTP call"),
    ]
    .into_iter()
    .filter(|(number, _, _)| *number > 0)
    .map(|(number, verb, thing)| format!("{verb} {}", output::count(number, thing)))
    .collect();
    if parts.is_empty() { ": would send nothing".to_owned() } else { format!(": would {}", parts.join(", ")) }
}

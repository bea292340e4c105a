//! `leadflow flows`: every flow with what starts it and what it does: as the running server has it live, else as it is
//! on disk.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::{self, Global};
use super::reload::DIGEST_CHARS;
use super::{Exit, beside, context, output};
use crate::diagnostic::{Diagnostic, Severity};
use crate::library::load::Loaded;
use crate::server::view;

pub(super) fn run(global: &Global, args: &args::Flows) -> anyhow::Result<Exit> {
    if let Some(args::FlowsCommand::Show { flow }) = &args.command {
        let loaded = context::one_flow(&context::settings(global, &[])?, flow)?;
        let Some(flow) = &loaded.flow else { return Ok(Exit::Bad) };
        output::answer(&format!("{}\n", flow.expansion().trim_end()));
        return Ok(Exit::Fine);
    }
    if let Some(server) = beside::Server::find(&context::settings_beside(global)?) {
        return live(&server, args.json);
    }
    let settings = context::settings(global, &[])?;
    let folder = context::folder(&settings);
    if args.json {
        output::json(&folder.files.iter().map(|file| on_disk(file)).collect());
    } else {
        output::answer(&table(&folder.files.iter().map(|file| on_disk(file)).collect::<Vec<_>>()));
        if folder.files.is_empty() {
            output::note(&format!("no flows in {}", settings.flows.display()));
        }
        context::show_findings(&folder.findings, &[]);
    }
    Ok(Exit::Fine)
}

/// What the running server has live.
fn live(server: &beside::Server, as_json: bool) -> anyhow::Result<Exit> {
    let (status, answer) = server.ask("GET", "/api/v1/flows", &[])?;
    if status != 200 {
        anyhow::bail!("the server answers {status} when it is asked for its flows");
    }
    let flows: Vec<Value> = answer["flows"].as_array().into_iter().flatten().map(as_listed).collect();
    if as_json {
        output::json(&Value::Array(flows));
        return Ok(Exit::Fine);
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    let digest: String = text("digest").chars().take(DIGEST_CHARS).collect();
    let agrees = if answer["on_disk_is_live"] == true { "what is on disk" } else { "NOT all that is on disk" };
    let head = format!(
        "live: {agrees}   generation {}   digest {digest}   loaded {}\n",
        answer["generation"],
        text("loaded_at")
    );
    output::answer(&format!("{head}{}", table(&flows)));
    let notices = beside::findings(&answer["findings"]);
    context::show_findings(&notices, &beside::texts(&notices));
    Ok(Exit::Fine)
}

/// A flow of the server's answer with the keys that the list has without a server too.
fn as_listed(flow: &Value) -> Value {
    let mut listed = flow.clone();
    let findings = flow.get("findings").and_then(Value::as_array).into_iter().flatten();
    let error = findings.into_iter().find(|finding| finding["severity"] == "error");
    listed["live"] = json!(flow["state"] == "live");
    listed["error"] = error.map_or(Value::Null, error_json);
    listed
}

fn error_json(finding: &Value) -> Value {
    json!({ "code": finding["code"], "message": finding["message"], "line": finding["line"], "column": finding["column"] })
}

fn on_disk(loaded: &Loaded) -> Value {
    let flow = loaded.flow.as_deref();
    let error = loaded.findings.iter().find(|finding| finding.severity == Severity::Error);
    json!({
        "name": loaded.name,
        "file": loaded.file,
        "live": flow.is_some_and(|flow| flow.enabled),
        "description": flow.and_then(|flow| flow.description.clone()),
        "aliases": flow.map(|flow| flow.aliases.clone()),
        "digest": flow.map(|flow| &flow.digest),
        "methods": flow.map(|flow| &flow.trigger.methods),
        "path": flow.and_then(|flow| flow.trigger.path.as_ref()).map(|path| &path.source),
        "authentication": flow.map(|flow| flow.trigger.authentication.as_str()),
        "schema": flow.and_then(|flow| flow.trigger.schema.as_ref().map(|schema| schema.name.clone())),
        "actions": flow.map(|flow| flow.actions.iter().map(|action| json!({
            "name": action.name, "type": action.kind, "connection": action.connection,
        })).collect::<Vec<_>>()),
        "error": error.map(|error| error_json(&view::finding_json(error))),
        "findings": loaded.findings.iter().map(view::finding_json).collect::<Value>(),
    })
}

fn table(flows: &[Value]) -> String {
    let style = output::Style::stdout();
    let mut rows = Vec::new();
    if !flows.is_empty() {
        rows.push(["flow", "state", "trigger", "actions", "file"].map(str::to_owned).to_vec());
    }
    for flow in flows {
        let text = |key: &str| flow.get(key).and_then(Value::as_str).unwrap_or_default();
        let state = match (flow["live"] == true, text("standing")) {
            (true, "kept_back") => "OLD",
            (true, "vanished") => "GONE",
            (true, _) => "live",
            (false, _) => "OFF",
        };
        let names = flow["actions"].as_array().into_iter().flatten().filter_map(|action| action["name"].as_str());
        let error = &flow["error"];
        let (trigger, file) = match error["code"].as_str() {
            Some(code) => (code.to_owned(), format!("{}:{}:{}", text("file"), error["line"], error["column"])),
            None => (trigger(flow), text("file").to_owned()),
        };
        rows.push(vec![text("name").to_owned(), state.to_owned(), trigger, names.collect::<Vec<_>>().join(", "), file]);
    }
    output::table(&rows, "", |column, cell| if column == 1 { style.status(cell) } else { cell.to_owned() })
}

/// `flows/a.yaml:14:11`
pub(super) fn place(finding: &Diagnostic) -> String {
    format!("{}:{}:{}", finding.place.file, finding.place.line, finding.place.column)
}

/// `POST /orders lead.json unsigned`
fn trigger(flow: &Value) -> String {
    let methods = flow["methods"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut text = methods.collect::<Vec<_>>().join(",");
    if let Some(path) = flow["path"].as_str() {
        let _ = write!(text, " /{path}");
    }
    if let Some(schema) = flow["schema"].as_str() {
        let _ = write!(text, " {schema}");
    }
    if flow["authentication"] == "none" {
        text.push_str(" unsigned");
    }
    text
}

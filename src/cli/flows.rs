//! `leadflow flows`: every flow with what starts it and what it does.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{self, Global};
use super::{Exit, context, output, usage};
use crate::diagnostic::{Diagnostic, Severity};
use crate::flow::{Authentication, Flow};
use crate::library::load::Loaded;

pub(super) fn run(global: &Global, args: &args::Flows) -> anyhow::Result<Exit> {
    if args.command.is_some() {
        return Ok(usage::later("flows show"));
    }
    let settings = context::settings(global, &[])?;
    let folder = context::folder(&settings);
    if args.json {
        output::json(&Value::Array(folder.files.iter().map(|file| flow_json(file)).collect()));
    } else {
        output::answer(&table(&folder.files));
        if folder.files.is_empty() {
            output::note(&format!("no flows in {}", settings.flows.display()));
        }
        context::show_findings(&folder.findings, &[]);
    }
    Ok(Exit::Fine)
}

fn first_error(loaded: &Loaded) -> Option<&Diagnostic> {
    loaded.findings.iter().find(|finding| finding.severity == Severity::Error)
}

fn authentication(flow: &Flow) -> &'static str {
    match flow.trigger.authentication {
        Authentication::SignedUrl => "signed_url",
        Authentication::None => "none",
    }
}

fn flow_json(loaded: &Loaded) -> Value {
    let flow = loaded.flow.as_deref();
    let error = first_error(loaded).map(|finding| {
        json!({ "code": finding.code, "message": finding.message, "line": finding.place.line, "column": finding.place.column })
    });
    json!({
        "name": loaded.name,
        "file": loaded.file,
        "live": flow.is_some_and(|flow| flow.enabled),
        "description": flow.and_then(|flow| flow.description.clone()),
        "aliases": flow.map(|flow| flow.aliases.clone()),
        "authentication": flow.map(authentication),
        "schema": flow.and_then(|flow| flow.trigger.schema.as_ref().map(|schema| schema.name.clone())),
        "actions": flow.map(|flow| flow.actions.iter().map(|action| json!({
            "name": action.name, "type": action.kind, "connection": action.connection,
        })).collect::<Vec<_>>()),
        "error": error,
    })
}

fn table(files: &[Arc<Loaded>]) -> String {
    let style = output::Style::stdout();
    let mut rows = Vec::new();
    if !files.is_empty() {
        rows.push(["flow", "state", "trigger", "actions", "file"].map(str::to_owned).to_vec());
    }
    for loaded in files {
        let name = loaded.name.clone();
        match (&loaded.flow, first_error(loaded)) {
            (Some(flow), None) => rows.push(vec![
                name,
                if flow.enabled { "live".into() } else { "OFF".into() },
                trigger(flow),
                flow.actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>().join(", "),
                loaded.file.clone(),
            ]),
            (_, finding) => rows.push(vec![
                name,
                "OFF".into(),
                finding.map(|finding| finding.code.to_owned()).unwrap_or_default(),
                String::new(),
                finding.map_or_else(|| loaded.file.clone(), place),
            ]),
        }
    }
    output::table(&rows, "", |column, cell| if column == 1 { style.status(cell) } else { cell.to_owned() })
}

/// `flows/a.yaml:14:11`
pub(super) fn place(finding: &Diagnostic) -> String {
    format!("{}:{}:{}", finding.place.file, finding.place.line, finding.place.column)
}

fn trigger(flow: &Flow) -> String {
    let trigger = &flow.trigger;
    let mut text = trigger.methods.join(",");
    if let Some(path) = &trigger.path {
        let _ = write!(text, " /{}", path.source);
    }
    if let Some(schema) = &trigger.schema {
        let _ = write!(text, " {}", schema.name);
    }
    if trigger.authentication == Authentication::None {
        text.push_str(" unsigned");
    }
    text
}

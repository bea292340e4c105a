//! `leadflow explain`: codes, actions, helpers and connectors, from the declarations that the program itself uses.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Exit, output};
use crate::actions;
use crate::connectors;
use crate::diagnostic::codes::{self, CodeDoc};
use crate::diagnostic::nearest;
use crate::flow::catalogue::{ActionSpec, ConnectorSpec};
use crate::template::helpers::{self, HelperSpec};

pub(super) fn run(word: Option<&str>) -> Exit {
    let Some(word) = word else {
        output::answer(&everything());
        return Exit::Fine;
    };
    let text = codes::find(word)
        .map(code)
        .or_else(|| actions::find(word).map(|found| action(&found.spec())))
        .or_else(|| helpers::find(word).map(helper))
        .or_else(|| connectors::find(word).map(|found| connector(&found.spec())));
    if let Some(text) = text {
        output::answer(&text);
        Exit::Fine
    } else {
        output::problem(&unknown(word));
        Exit::Usage
    }
}

fn words() -> Vec<&'static str> {
    let codes = codes::CODES.iter().map(|doc| doc.code);
    let actions = actions::ALL.iter().map(|action| action.spec().kind);
    let connectors = connectors::ALL.iter().map(|connector| connector.spec().kind);
    codes.chain(actions).chain(helpers::names()).chain(connectors).collect()
}

fn unknown(word: &str) -> String {
    let hint = nearest(word, words()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("`{word}` is no code, action, helper or connector{hint} (`leadflow explain` lists every code)")
}

fn everything() -> String {
    let style = output::Style::stdout();
    let mut text = format!("{}\n", style.bold("codes of findings, answers and failed actions"));
    let rows: Vec<Vec<String>> = codes::CODES
        .iter()
        .map(|doc| vec![doc.code.into(), doc.severity.as_str().into(), doc.summary.into()])
        .collect();
    text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    let _ = writeln!(text, "{}", style.bold("actions"));
    let rows: Vec<Vec<String>> = actions::ALL
        .iter()
        .map(|action| action.spec())
        .map(|spec| vec![spec.kind.into(), spec.summary.into()])
        .collect();
    text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    let _ = writeln!(text, "{}", style.bold("helpers"));
    let names: Vec<&str> = helpers::all().map(|spec| spec.name).collect();
    let _ = writeln!(text, "  {}", names.join(" "));
    let _ = writeln!(text, "{}", style.bold("connectors"));
    let rows: Vec<Vec<String>> = connectors::ALL
        .iter()
        .map(|connector| connector.spec())
        .map(|spec| vec![spec.kind.into(), spec.summary.into()])
        .collect();
    text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    text.push_str("\nleadflow explain WORD\n");
    text
}

fn code(doc: &CodeDoc) -> String {
    format!("{} ({}): {}\n\n{}\n", doc.code, doc.severity.as_str(), doc.summary, doc.explain.trim_end())
}

fn action(spec: &ActionSpec) -> String {
    let mut text = format!("{}: {}\n\nkeys\n", spec.kind, spec.summary);
    let mut rows = keys(spec.keys.as_value());
    for row in rows.iter_mut().filter(|row| spec.connection_required && row[0] == "connection") {
        "required".clone_into(&mut row[1]);
    }
    text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    text.push_str("  and: name, description, when, run_after, retry, timeout\n");
    if !spec.outputs.is_empty() {
        let _ = writeln!(text, "\noutputs (actions.NAME.outputs)");
        let rows: Vec<Vec<String>> =
            spec.outputs.iter().map(|(name, meaning)| vec![(*name).to_owned(), (*meaning).to_owned()]).collect();
        text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    }
    let _ = writeln!(text, "\nexample");
    for (index, line) in spec.example.trim_end().lines().enumerate() {
        let _ = writeln!(text, "  {}{line}", if index == 0 { "- " } else { "  " });
    }
    text
}

fn connector(spec: &ConnectorSpec) -> String {
    let mut text = format!("{}: {}\n\nkeys of a connection of this type in leadflow.yaml\n", spec.kind, spec.summary);
    text.push_str(&output::table(&keys(spec.settings.as_value()), "  ", |_, cell| cell.to_owned()));
    text.push_str("  and: type, concurrency, timeout, retry, ca, allow_private\n");
    text
}

/// Each key with whether it is required and its first line of documentation.
fn keys(schema: &Value) -> Vec<Vec<String>> {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    properties
        .iter()
        .map(|(key, schema)| {
            let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
            let need = match schema.get("x-not-yet") {
                Some(_) => "later",
                None if required.contains(&key.as_str()) => "required",
                None => "",
            };
            vec![key.clone(), need.to_owned(), doc]
        })
        .collect()
}

fn helper(spec: &HelperSpec) -> String {
    let mut text = format!("{}: {}\n\n  {{{{{}}}}}\n", spec.name, spec.summary, spec.arguments.usage(spec.name));
    if !spec.options.is_empty() {
        let _ = writeln!(text, "\noptions: {}", spec.options.join(", "));
    }
    if !spec.aliases.is_empty() {
        let _ = writeln!(text, "\nother names: {}", spec.aliases.join(", "));
    }
    if !spec.examples.is_empty() {
        let _ = writeln!(text, "\nexamples");
        let rows: Vec<Vec<String>> = spec
            .examples
            .iter()
            .map(|example| {
                let body =
                    if example.body.is_empty() { String::new() } else { format!("with trigger.body {}", example.body) };
                vec![example.template.to_owned(), format!("gives {}", example.result), body]
            })
            .collect();
        text.push_str(&output::table(&rows, "  ", |_, cell| cell.to_owned()));
    }
    text
}

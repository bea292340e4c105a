//! The reference in Markdown, `docs/reference.md`: made of the declarations alone, so that it cannot be out of date.

use std::fmt::Write as _;

use super::credentials;
use super::explain::{action_keys, example_item, helper_notes, helper_rows};
use super::keys::{self, Key};
use crate::diagnostic::codes;
use crate::flow::catalogue::{ActionSpec, ConnectorSpec};
use crate::template::helpers::{self, HelperSpec};
use crate::template::{self, BLOCKS};
use crate::{actions, flow, settings};

/// The whole reference.
pub(super) fn text() -> String {
    let mut text = String::from(
        "# Reference\n\n\
         Made of the program's own declarations by `leadflow explain --markdown`; a test keeps it fresh. The same, word by\n\
         word: `leadflow explain WORD`.\n\n\
         [Flow files](#flow-files) · [Actions](#actions) · [Templates](#templates) · [Helpers](#helpers) ·\n\
         [For people who know Power Automate](#for-people-who-know-power-automate) · [Connections](#connections) ·\n\
         [Settings](#settings) · [Codes](#codes)\n\n",
    );
    flow_files(&mut text);
    let catalogue = actions::catalogue();
    text.push_str("## Actions\n\n### Keys of every action\n\n");
    text.push_str(&key_table(keys::of(flow::schema::common_keys())));
    catalogue.actions.iter().for_each(|spec| action(&mut text, spec));
    templates(&mut text);
    text.push_str("## Helpers\n\n");
    text.push_str(
        "`…` behind an argument: any number of them. In brackets: may be left out. Case does not matter in names.\n\n",
    );
    for family in helpers::ALL {
        let _ = writeln!(text, "### {}\n", family.title);
        family.helpers.iter().for_each(|spec| helper(&mut text, spec));
    }
    power_automate(&mut text);
    text.push_str("## Connections\n\nTypes of `connections:` in leadflow.yaml, each with the keys of its own.\n\n");
    catalogue.connectors.iter().for_each(|spec| connector(&mut text, spec));
    auth_kinds(&mut text, &catalogue.connectors);
    text.push_str("## Settings\n\nKeys of leadflow.yaml; none is required.\n\n");
    text.push_str(&key_table(keys::below(&settings::settings_schema()).into_iter().map(optional).collect()));
    let _ = writeln!(text, "What holds where leadflow.yaml says nothing:\n\n```yaml\n{}```\n", settings::DEFAULTS);
    text.push_str("## Codes\n\nOf findings, answers and failed actions. `leadflow explain CODE` says more.\n\n");
    let rows = codes::CODES.iter().map(|doc| vec![ticks(doc.code), doc.severity.as_str().into(), doc.summary.into()]);
    text.push_str(&table(&["code", "severity", "meaning"], rows));
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The defaults say everything: nothing in the settings has to be given.
fn optional(key: Key) -> Key {
    Key { is_required: false, ..key }
}

fn ticks(text: &str) -> String {
    format!("`{text}`")
}

/// A table; a bar in a cell is escaped.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let mut text = line(&heads);
    text.push_str(&format!("|{}\n", "---|".repeat(heads.len())));
    rows.for_each(|row| text.push_str(&line(&row)));
    text.push('\n');
    text
}

fn key_table(keys: Vec<Key>) -> String {
    let known = keys.into_iter().filter(|key| !key.is_later);
    table(&["key", "", "meaning"], known.map(|key| vec![ticks(&key.name), key.need().into(), key.doc]))
}

fn flow_files(text: &mut String) {
    let schema = flow::schema::flow_keys();
    text.push_str("## Flow files\n\n");
    text.push_str(&key_table(keys::of(&schema)));
    let common = flow::schema::common_keys();
    let blocks = [
        ("`trigger:`", &schema["properties"]["trigger"]),
        ("`test_leads:` of a trigger", &schema["$defs"]["TestLeadsFile"]),
        ("`retry:` of an action", &common["$defs"]["RetryFile"]),
    ];
    for (heading, declared) in blocks {
        let _ = writeln!(text, "### {heading}\n");
        text.push_str(&key_table(keys::of(declared)));
    }
}

fn action(text: &mut String, spec: &ActionSpec) {
    let _ = writeln!(text, "### `{}`\n\n{}\n", spec.kind, sentence(spec.summary));
    text.push_str(&key_table(action_keys(spec)));
    if !spec.outputs.is_empty() {
        let rows = spec.outputs.iter().map(|(name, meaning)| vec![ticks(name), (*meaning).to_owned()]);
        text.push_str(&table(&["output", "meaning"], rows));
    }
    let _ = writeln!(text, "```yaml\n{}```\n", example_item(spec));
}

/// A summary with a capital and a full stop.
fn sentence(summary: &str) -> String {
    let mut chars = summary.chars();
    chars.next().map(|first| format!("{}{}.", first.to_uppercase(), chars.as_str())).unwrap_or_default()
}

fn templates(text: &mut String) {
    let roots: Vec<String> = template::ROOTS.iter().map(|root| ticks(root)).collect();
    let _ = writeln!(
        text,
        "## Templates\n\nA path starts at one of {}. What is missing is null; names ignore case.\n",
        roots.join(" ")
    );
    let rows = BLOCKS.iter().map(|block| vec![format!("`#{}`", block.name), ticks(block.usage), block.summary.into()]);
    text.push_str(&table(&["block", "form", "meaning"], rows));
    let rows = template::limits().into_iter().map(|(what, limit)| vec![what.to_owned(), limit]);
    text.push_str(&table(&["limit", ""], rows));
}

fn helper(text: &mut String, spec: &HelperSpec) {
    let _ = writeln!(text, "#### `{}`\n\n{}\n", spec.arguments.usage(spec.name), sentence(spec.summary));
    if !spec.aliases.is_empty() {
        let aliases: Vec<String> = spec.aliases.iter().map(|alias| ticks(alias)).collect();
        let _ = writeln!(text, "Other names: {}.\n", aliases.join(", "));
    }
    for row in helper_rows(spec) {
        let need = if row[2].is_empty() { String::new() } else { format!(" ({})", row[2]) };
        let _ = writeln!(text, "- `{}`: {}{need}", row[0], row[1]);
    }
    let _ = writeln!(text, "- gives {}", spec.gives.name());
    for note in helper_notes(spec) {
        let _ = writeln!(text, "- {note}");
    }
    text.push('\n');
    let rows = spec.examples.iter().map(|example| {
        let body = if example.body == "{}" { String::new() } else { ticks(example.body) };
        vec![ticks(example.template), body, ticks(example.result)]
    });
    text.push_str(&table(&["template", "`trigger.body`", "gives"], rows));
}

fn power_automate(text: &mut String) {
    text.push_str("## For people who know Power Automate\n\n### Functions that are paths here\n\n");
    let rows = helpers::PATHS.iter().map(|path| vec![ticks(path.function), ticks(path.path), path.note.into()]);
    text.push_str(&table(&["function", "path", ""], rows));
    text.push_str("### Functions that are left out\n\n");
    let rows = helpers::LEFT_OUT.iter().map(|(name, reason)| vec![ticks(name), (*reason).to_owned()]);
    text.push_str(&table(&["function", "reason"], rows));
    text.push_str("### Different on purpose\n\n");
    let rows = helpers::DEVIATIONS.iter().map(|deviation| {
        [deviation.subject, deviation.here, deviation.there, deviation.reason].map(str::to_owned).to_vec()
    });
    text.push_str(&table(&["what", "here", "there", "why"], rows));
    let _ = writeln!(text, "### Agreement with the original engine\n\n{}", helpers::AGREEMENT);
}

fn auth_kinds(text: &mut String, connectors: &[ConnectorSpec]) {
    text.push_str("### Kinds of `auth`\n\nExamples stand in [credentials.md](credentials.md).\n\n");
    for kind in credentials::kinds(connectors) {
        let connections: Vec<String> = kind.connections.iter().map(|connection| ticks(connection)).collect();
        let _ = writeln!(text, "#### `{}`\n\n{}\n\nOf {}.\n", kind.name, kind.doc, connections.join(", "));
        text.push_str(&key_table(kind.keys));
    }
}

fn connector(text: &mut String, spec: &ConnectorSpec) {
    let _ = writeln!(text, "### `{}`\n\n{}\n", spec.kind, sentence(&spec.summary));
    let keys = keys::of(spec.settings.as_value());
    if !keys.is_empty() {
        text.push_str(&key_table(keys));
    }
}

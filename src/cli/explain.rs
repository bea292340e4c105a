//! `leadflow explain`: codes, actions, helpers and connectors, from the declarations that the program itself uses.

use std::fmt::Write as _;

use super::keys::{self, Key};
use super::{Exit, credentials, output, reference};
use crate::actions;
use crate::connectors::Registry;
use crate::diagnostic::codes::{self, CodeDoc};
use crate::diagnostic::nearest;
use crate::flow::catalogue::{ActionSpec, ConnectorSpec};
use crate::template::helpers::{self, HelperSpec, Kind};
use crate::template::{BLOCKS, Block};

pub(super) fn run(word: Option<&str>, markdown: bool) -> Exit {
    let Some(word) = word else {
        output::answer(&if markdown { reference::text() } else { everything() });
        return Exit::Fine;
    };
    // One word may name several things: `http` is an action, a connector and a family of codes.
    let texts: Vec<String> = [
        actions::catalogue().action(&word.to_ascii_lowercase()).map(action),
        Registry::builtin().find(word).map(|found| connector(found.spec())),
        auth(word),
        helpers::find(word).map(helper),
        block(word),
        function(word),
        codes::find(word).map(code),
    ]
    .into_iter()
    .flatten()
    .collect();
    if texts.is_empty() {
        output::problem(&unknown(word));
        return Exit::Usage;
    }
    output::answer(&texts.join("\n"));
    Exit::Fine
}

fn words() -> Vec<&'static str> {
    let codes = codes::CODES.iter().map(|doc| doc.code);
    let actions = actions::catalogue().actions.into_iter().map(|action| action.kind);
    let connectors = Registry::builtin().all().iter().map(|connector| connector.spec().kind.as_ref());
    let functions = helpers::PATHS.iter().map(|path| path.function);
    codes.chain(actions).chain(helpers::names()).chain(connectors).chain(functions).collect()
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
    text.push_str(&table(&rows));
    let _ = writeln!(text, "{}", style.bold("actions"));
    let rows: Vec<Vec<String>> =
        actions::catalogue().actions.into_iter().map(|spec| vec![spec.kind.into(), spec.summary.into()]).collect();
    text.push_str(&table(&rows));
    let _ = writeln!(text, "{}", style.bold("helpers"));
    let rows: Vec<Vec<String>> = helpers::ALL
        .iter()
        .map(|family| {
            let names: Vec<&str> = family.helpers.iter().map(|spec| spec.name).collect();
            vec![family.title.to_owned(), names.join(" ")]
        })
        .collect();
    text.push_str(&table(&rows));
    let _ = writeln!(text, "{}", style.bold("connectors"));
    let rows: Vec<Vec<String>> = Registry::builtin()
        .specs()
        .into_iter()
        .map(|spec| vec![spec.kind.into_owned(), spec.summary.into_owned()])
        .collect();
    text.push_str(&table(&rows));
    text.push_str("\nleadflow explain WORD; leadflow explain --markdown: all of it\n");
    text
}

fn table(rows: &[Vec<String>]) -> String {
    output::table(rows, "  ", |_, cell| cell.to_owned())
}

fn code(doc: &CodeDoc) -> String {
    format!("{} ({}): {}\n\n{}\n", doc.code, doc.severity.as_str(), doc.summary, doc.explain.trim_end())
}

/// The keys of an action; `connection` is required where the action needs one.
pub(super) fn action_keys(spec: &ActionSpec) -> Vec<Key> {
    let mut keys = keys::of(spec.keys.as_value());
    for key in keys.iter_mut().filter(|key| spec.connection_required && key.name == "connection") {
        key.is_required = true;
    }
    keys
}

/// The example of an action as an item of a list.
pub(super) fn example_item(spec: &ActionSpec) -> String {
    let indented = |(index, line): (usize, &str)| format!("{}{line}\n", if index == 0 { "- " } else { "  " });
    spec.example.trim_end().lines().enumerate().map(indented).collect()
}

fn action(spec: &ActionSpec) -> String {
    let mut text = format!("{}: {}\n\nkeys\n", spec.kind, spec.summary);
    text.push_str(&table(&Key::rows(&action_keys(spec))));
    let _ = writeln!(text, "  and: {}", keys::common_names());
    if !spec.outputs.is_empty() {
        let _ = writeln!(text, "\noutputs (actions.NAME.outputs)");
        let rows: Vec<Vec<String>> =
            spec.outputs.iter().map(|(name, meaning)| vec![(*name).to_owned(), (*meaning).to_owned()]).collect();
        text.push_str(&table(&rows));
    }
    let _ = writeln!(text, "\nexample");
    for line in example_item(spec).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn connector(spec: &ConnectorSpec) -> String {
    let mut text = format!("{}: {}\n\nkeys of a connection of this type in leadflow.yaml\n", spec.kind, spec.summary);
    text.push_str(&table(&Key::rows(&keys::of(spec.settings.as_value()))));
    text.push_str("  and: type, concurrency, timeout, retry, ca, allow_private\n");
    text
}

fn auth(word: &str) -> Option<String> {
    let kind = credentials::kinds(&Registry::builtin().specs()).into_iter().find(|kind| kind.name == word)?;
    let connections = kind.connections.join(", ");
    let mut text = format!("{}: {}\n\nkeys of `auth` of a connection of type {connections}\n", kind.name, kind.doc);
    text.push_str(&table(&Key::rows(&kind.keys)));
    Some(text)
}

/// The arguments and options of a helper: name, kind, what else there is to say.
pub(super) fn helper_rows(spec: &HelperSpec) -> Vec<Vec<String>> {
    let signature = &spec.arguments;
    let last = signature.names.len();
    let arguments = signature.rows().into_iter().enumerate().map(|(at, (name, kind, is_optional))| {
        let is_repeated = signature.max == usize::MAX && at + 1 == last;
        let need = match (is_repeated, is_optional) {
            (true, _) => "any number of times",
            (false, true) => "optional",
            (false, false) => "",
        };
        vec![name.to_owned(), kind.name().to_owned(), need.to_owned()]
    });
    let meaning = |name: &str| helpers::OPTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, doc)| doc);
    let options =
        spec.options.iter().map(|name| vec![format!("{name}='…'"), meaning(name).to_owned(), "option".into()]);
    arguments.chain(options).collect()
}

/// What else there is to know of a helper, a line each.
pub(super) fn helper_notes(spec: &HelperSpec) -> Vec<String> {
    let mut notes: Vec<String> = spec.notes.iter().map(|note| (*note).to_owned()).collect();
    if spec.is_lazy() {
        notes.push("an argument that is not needed is not evaluated".to_owned());
    }
    if spec.is_volatile {
        notes.push("the inputs of an action that uses it are kept before they are first sent".to_owned());
    }
    let has_culture = spec.options.contains(&"culture") || spec.arguments.kinds.contains(&Kind::Culture);
    if has_culture {
        notes.push(format!("cultures: {}", helpers::cultures().collect::<Vec<_>>().join(" ")));
    }
    notes
}

fn helper(spec: &HelperSpec) -> String {
    let mut text = format!("{}: {}\n\n  {{{{{}}}}}\n", spec.name, spec.summary, spec.arguments.usage(spec.name));
    let rows = helper_rows(spec);
    if !rows.is_empty() {
        let _ = writeln!(text, "\narguments");
        text.push_str(&table(&rows));
    }
    let _ = writeln!(text, "\ngives {}", spec.gives.name());
    if !spec.aliases.is_empty() {
        let _ = writeln!(text, "\nother names: {}", spec.aliases.join(", "));
    }
    let _ = writeln!(text, "\nexamples");
    let rows: Vec<Vec<String>> = spec
        .examples
        .iter()
        .map(|example| {
            let body = if example.body == "{}" { String::new() } else { format!("with trigger.body {}", example.body) };
            vec![example.template.to_owned(), format!("gives {}", example.result), body]
        })
        .collect();
    text.push_str(&table(&rows));
    let notes = helper_notes(spec);
    if !notes.is_empty() {
        let _ = writeln!(text, "\nto know");
        for note in notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

fn block(word: &str) -> Option<String> {
    let Block { name, usage, summary } = BLOCKS.iter().find(|block| word.trim_start_matches('#') == block.name)?;
    Some(format!("#{name}: {summary}\n\n  {usage}\n"))
}

/// A function of Power Automate that is no helper.
fn function(word: &str) -> Option<String> {
    let is_it = |name: &str| name.eq_ignore_ascii_case(word);
    if let Some(path) = helpers::PATHS.iter().find(|path| is_it(path.function)) {
        let note = if path.note.is_empty() { String::new() } else { format!(", {}", path.note) };
        return Some(format!("{}: a path here, no helper: {}{note}\n", path.function, path.path));
    }
    let (name, reason) = helpers::LEFT_OUT.iter().find(|(name, _)| is_it(name))?;
    Some(format!("{name}: not part of the language: {reason}\n"))
}

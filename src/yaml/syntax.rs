//! What the YAML scanner says, in words that tell the cause and the fix.

use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;

use super::{events, lines, unquoted};
use crate::diagnostic::Diagnostic;

/// The finding for a syntax error at byte `at`.
pub(super) fn finding(file: &str, text: &str, error: &Error, at: usize) -> Diagnostic {
    let error = error.without_snippet();
    let said = error.to_string();
    if let Error::Budget { breach: BudgetBreach::Documents { .. }, .. } = error {
        let place = lines::place(file, text, &(at..at + 3));
        return Diagnostic::new("yaml_syntax", place, "", "a second document starts here; a file holds one")
            .help("put it into a file of its own, or remove the line `---`");
    }
    if said.contains("budget breached") || said.contains("limit exceeded") {
        return too_large(file, text, at);
    }
    let (at, message, help) = translate(text, &said, at);
    let line = lines::line_around(text, at);
    let rest = &text[at.min(line.end)..line.end];
    let end = at + rest.find(" #").unwrap_or(rest.len()).max(1);
    let place = lines::place(file, text, &(at..end));
    let finding = Diagnostic::new("yaml_syntax", place, "", message);
    match help {
        Some(help) => finding.help(help),
        None => finding,
    }
}

fn too_large(file: &str, text: &str, at: usize) -> Diagnostic {
    let place = lines::place(file, text, &(at..at + 1));
    Diagnostic::new("file_too_large", place, "", "the file is too large or nested too deeply to be read").help(format!(
        "at most {} nodes, {} levels, {} anchors and {} aliases",
        super::NODES_MAX,
        super::DEPTH_MAX,
        super::ANCHORS_MAX,
        super::ALIASES_MAX
    ))
}

const OPEN_BRACKET: &str = "this bracket is never closed";

/// Place, message and help.
type Translation = (usize, String, Option<String>);

/// Place, message and help. The crate's messages are matched by their stable words; an unknown one is passed on.
fn translate(text: &str, said: &str, at: usize) -> Translation {
    let says = |words: &str| said.contains(words);
    if let Some(reference) = bare_reference(text, at) {
        return reference;
    }
    if says("mapping values are not allowed") || says("illegal placement of ':'") {
        return match events::open_bracket(text) {
            Some(bracket) => (bracket, OPEN_BRACKET.into(), Some("close it, or quote the text".into())),
            None => colon(text, at),
        };
    }
    if says("found a tab") {
        let tab = tab_indent(text, at).unwrap_or(at);
        return (tab, "a tab indents this line; YAML takes spaces only".into(), Some("use spaces".into()));
    }
    if says("tabs disallowed") || says("tab") && says("indentation") {
        let line = lines::line_around(text, at);
        let tab = text[line.clone()].find('\t').map_or(at, |found| line.start + found);
        return (tab, "a tab indents this line; YAML takes spaces only".into(), Some("use spaces".into()));
    }
    if says("quoted scalar") && says("trailing content") {
        return closed_too_early(text, at);
    }
    if says("quoted scalar") {
        let from = events::last_good_byte(text);
        let start = text[from..].find(['"', '\'']).map_or(at, |found| from + found);
        return (start, "this quote is never closed".into(), Some("close it on its own line".into()));
    }
    if says("unclosed bracket") || says("did not find expected ',' or") {
        return (at, OPEN_BRACKET.into(), Some("close it, or quote the text".into()));
    }
    if says("misplaced bracket") {
        return (at, "this bracket closes nothing".into(), Some("remove it, or quote the text".into()));
    }
    if says("expected '-' indicator") {
        let help = "give it the column of the keys in the item above, or start a new item with `- `";
        return (at, "a list goes on here without `-`".into(), Some(help.into()));
    }
    if says("did not find expected") || says("indentation") || says("simple key") {
        let message = "this line fits no line above it: wrong indentation, or a `:` behind the key is missing";
        return (at, message.into(), Some("keys of one block start in the same column, as `key: value`".into()));
    }
    if says("unexpected character") || says("unknown character") {
        return unexpected(text, at);
    }
    if says("unknown anchor") {
        let message = "a value that starts with `*` means an anchor, and none of this name stands above";
        return (at, message.into(), quote_value(text, at));
    }
    if says("tag") {
        let line = lines::line_around(text, at);
        let before = text.get(line.start..at).unwrap_or_default();
        let tag = before.rfind(" !").map_or(at, |found| line.start + found + 1);
        return (tag, "tags such as `!name` have no meaning here".into(), Some("remove it, or quote the text".into()));
    }
    if says("comments must be separated") {
        return (at, "a `#` starts a comment only behind a space".into(), quote_value(text, at));
    }
    let said = said.rsplit_once(" at line ").map_or(said, |(message, _)| message);
    (at, format!("this is not YAML: {said}"), None)
}

/// A `: ` where none can be: inside an unquoted text, or on a line that is indented too far.
fn colon(text: &str, at: usize) -> Translation {
    let line = lines::line_around(text, at);
    let before = &text[line.start..at.clamp(line.start, line.end)];
    let value = before.find(": ").map(|found| line.start + found + 2);
    if let Some(value) = value {
        let start = value + text[value..line.end].len() - text[value..line.end].trim_start().len();
        return (start, "a text with `: ` in it needs quotes".into(), quote_value(text, start));
    }
    if let Some(missing) = missing_space(text, line.start) {
        return missing;
    }
    let key = line.start + text[line.clone()].len() - text[line.clone()].trim_start().len();
    let message = "a key cannot stand here: the line above already has a value";
    (key, message.into(), Some("give it the column of the keys above, or move the value of the line above".into()))
}

/// The line before the one that starts at `below` as `-name: a` or `name:a`: YAML saw one text where a key was meant.
fn missing_space(text: &str, below: usize) -> Option<Translation> {
    let end = text[..below].trim_end().len();
    let line = lines::line_around(text, end.checked_sub(1)?);
    let content = &text[line.clone()];
    let indent = content.len() - content.trim_start().len();
    let own = content.trim();
    if let Some(item) = own.strip_prefix('-').filter(|item| item.starts_with(char::is_alphabetic)) {
        let message = "a list item needs a space behind `-`".to_owned();
        return Some((line.start + indent, message, Some(format!("write  - {item}"))));
    }
    let entry = own.strip_prefix("- ").map_or(own, str::trim_start);
    let (key, value) = entry.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_key || value.is_empty() || value.starts_with(char::is_whitespace) {
        return None;
    }
    let message = format!("a key needs a space behind its colon: `{key}:` is part of a text here");
    let start = line.start + indent + own.len() - entry.len();
    Some((start, message, Some(format!("write  {key}: {value}"))))
}

/// `{token: ${env:X}}` without quotes, in the line of a syntax error: the reference's own braces end the map.
fn bare_reference(text: &str, at: usize) -> Option<Translation> {
    let line = lines::line_around(text, at);
    let content = &text[line.clone()];
    let starts = content.match_indices("${").map(|(found, _)| found);
    let start = starts.into_iter().find(|found| {
        let before = &content[..*found];
        let opened = before.matches(['{', '[']).count() > before.matches(['}', ']']).count();
        opened && before.trim_end().ends_with([':', ',', '[', '{'])
    })?;
    let rest = &content[start..];
    let reference = &rest[..=rest.find('}')?];
    let message = format!("inside {{ }} and [ ] a reference needs quotes: `{reference}`");
    Some((line.start + start, message, Some(format!("write  \"{reference}\""))))
}

/// The first tab that indents a line, in the line of `at` or below.
fn tab_indent(text: &str, at: usize) -> Option<usize> {
    let mut start = lines::line_around(text, at).start;
    for line in text[start..].split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if let Some(tab) = line[..indent].find('\t') {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

/// `'it's'`: the second quote ended the text.
fn closed_too_early(text: &str, at: usize) -> Translation {
    let line = lines::line_around(text, at);
    let quote = text[line.start..at.min(line.end)].trim_end().chars().last().unwrap_or('\'');
    let help = if quote == '"' {
        "write \\\" for a quote inside, or single quotes outside: '…'"
    } else {
        "write '' for a quote inside, or double quotes outside: \"…\""
    };
    (at, format!("the text ended at the {quote} before this"), Some(help.into()))
}

fn unexpected(text: &str, at: usize) -> Translation {
    let character = text[at..].chars().next().unwrap_or(' ');
    if character.is_control() {
        let message = format!("the character U+{:04X} cannot be seen and cannot stand in YAML", u32::from(character));
        return (at, message, Some("remove it".into()));
    }
    (at, format!("a text cannot start with `{character}` unless it is quoted"), quote_value(text, at))
}

/// `write  key: "value"` for the value that starts at or before `at`.
fn quote_value(text: &str, at: usize) -> Option<String> {
    let line = lines::line_around(text, at);
    let content = &text[line];
    let (key, value) = content.split_once(": ")?;
    let key = key.trim_start().trim_start_matches("- ");
    let value = value.split(" #").next().unwrap_or(value).trim();
    Some(format!("write  {key}: {}", unquoted::quoted(value)))
}

//! A value that starts with `{{` and has no quotes: YAML reads a map in a map, or gives up. Both are told in our words.

use std::ops::Range;

use super::lines;
use crate::diagnostic::Diagnostic;

/// An unquoted template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unquoted {
    /// Its bytes, from `{{` to the end of the value.
    pub(super) range: Range<usize>,
}

/// The unquoted template that starts at `start`, as far as its first `}}`.
pub(super) fn at(text: &str, start: usize) -> Option<Unquoted> {
    let line = lines::line_around(text, start);
    let rest = text.get(start..line.end)?;
    let end = rest.starts_with("{{").then(|| rest.find("}}").map_or(rest.len(), |at| at + 2))?;
    let more = rest[end..].bytes().take_while(|byte| *byte == b'}').count();
    Some(Unquoted { range: start..start + end + more })
}

/// The unquoted template in the line of a syntax error at `at`: the whole value, however it goes on.
pub(super) fn around(text: &str, at: usize) -> Option<Unquoted> {
    let line = lines::line_around(text, at);
    let content = &text[line.clone()];
    let start = content.match_indices("{{").map(|(at, _)| at).find(|at| starts_a_value(&content[..*at]))?;
    let in_flow = content[..start].trim_end().ends_with(['[', ',']);
    let after = content[start..].rfind("}}").map_or(content.len(), |at| start + at + 2);
    let end = if in_flow {
        let closed = content[start..].find("}}").map_or(content.len(), |at| start + at + 2);
        content[closed..].find([',', ']']).map_or(content.len(), |at| closed + at)
    } else {
        content[after..].find(" #").map_or(content.len(), |at| after + at)
    };
    let end = content[..end].trim_end().len();
    Some(Unquoted { range: line.start + start..line.start + end })
}

/// Whether a value could start behind `before`: behind `key: `, `- `, `[`, `,` or nothing.
fn starts_a_value(before: &str) -> bool {
    let trimmed = before.trim_end();
    trimmed.is_empty()
        || trimmed.ends_with(['[', ','])
        || (before.ends_with([' ', '\t']) && (trimmed.ends_with(':') || trimmed.ends_with('-')))
}

impl Unquoted {
    /// Puts a plain word of the same length in its place, so that reading can go on and no place moves.
    pub(super) fn blank_out(&self, text: &mut String) {
        text.replace_range(self.range.clone(), &"x".repeat(self.range.len()));
    }

    /// The finding, with the line as it should be.
    pub(super) fn finding(&self, file: &str, text: &str, path: &str) -> Diagnostic {
        let line = lines::line_around(text, self.range.start);
        let before = text[line.start..self.range.start].trim_start();
        let key = before.trim_start_matches("- ").rsplit(['[', ',']).next().unwrap_or_default().trim_start();
        let place = lines::place(file, text, &self.range);
        Diagnostic::new("unquoted_template", place, path, "a value that starts with {{ needs quotes")
            .help(format!("write  {key}{}", quoted(&text[self.range.clone()])))
    }
}

/// `text` in the quotes that need the least escaping.
pub(super) fn quoted(text: &str) -> String {
    if !text.contains(['"', '\\']) {
        format!("\"{text}\"")
    } else if text.contains('\'') {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        format!("'{text}'")
    }
}

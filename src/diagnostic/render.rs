//! Renderers of findings: text with the offending line, JSON, GitHub annotations.
//!
//! All are pure: the sources come in as a function, colour as a flag. A source line is shown with its control
//! characters replaced, so that a file cannot write to the reader's terminal.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Diagnostic, Severity};

/// Longest part of a source line that is shown, in characters.
const LINE_CHARACTERS_MAX: usize = 160;
/// Characters shown before the fault when a line is cut.
const LINE_CHARACTERS_BEFORE: usize = 60;
/// Longest underline, in characters.
const UNDERLINE_CHARACTERS_MAX: usize = 80;

/// Findings as text: a headline, the offending line, and the fix on the line of carets. `source` gives a file's text
/// by the name that findings use; where it has none, only headline and fix are shown.
pub fn text(findings: &[Diagnostic], source: &dyn Fn(&str) -> Option<Arc<str>>, colour: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        let style = Style::of(finding.severity, colour);
        headline(&mut out, finding, &style);
        let line = source(&finding.place.file).and_then(|text| source_line(&text, finding.place.line));
        let help = finding.help.as_deref().unwrap_or_default();
        match line.and_then(|line| excerpt(&line, finding)) {
            Some(excerpt) => excerpt_lines(&mut out, finding.place.line, &excerpt, help, &style),
            None if help.is_empty() => {}
            None => {
                let _ = writeln!(out, "     = {}", help.replace('\n', "\n       "));
            }
        }
    }
    out
}

struct Style {
    mark: &'static str,
    bold: &'static str,
    dim: &'static str,
    end: &'static str,
}

impl Style {
    fn of(severity: Severity, colour: bool) -> Self {
        if !colour {
            return Self { mark: "", bold: "", dim: "", end: "" };
        }
        let mark = match severity {
            Severity::Error => "\x1b[1;31m",
            Severity::Warning => "\x1b[1;33m",
            Severity::Note => "\x1b[1;36m",
        };
        Self { mark, bold: "\x1b[1m", dim: "\x1b[2m", end: "\x1b[0m" }
    }
}

fn headline(out: &mut String, finding: &Diagnostic, style: &Style) {
    let Style { mark, bold, end, .. } = style;
    let Diagnostic { code, place, message, .. } = finding;
    let severity = finding.severity.as_str();
    let place = match place.line {
        0 => place.file.clone(),
        _ => format!("{}:{}:{}", place.file, place.line, place.column),
    };
    let message = printable(message);
    let _ = writeln!(out, "{mark}{severity}[{code}]{end} {bold}{}{end}  {message}", printable(&place));
}

/// The part of a line that is shown, and where its underline stands.
struct Excerpt {
    shown: String,
    indent: usize,
    length: usize,
}

fn excerpt(line: &str, finding: &Diagnostic) -> Option<Excerpt> {
    let characters: Vec<char> = printable(line).chars().collect();
    let column = (finding.place.column as usize).checked_sub(1)?.min(characters.len());
    let from = if characters.len() > LINE_CHARACTERS_MAX { column.saturating_sub(LINE_CHARACTERS_BEFORE) } else { 0 };
    let to = characters.len().min(from + LINE_CHARACTERS_MAX);
    let mut shown: String = characters[from..to].iter().collect();
    let mut indent = column - from;
    if from > 0 {
        shown.insert(0, '…');
        indent += 1;
    }
    if to < characters.len() {
        shown.push('…');
    }
    let room = (to - column).clamp(1, UNDERLINE_CHARACTERS_MAX);
    Some(Excerpt { shown, indent, length: (finding.place.length as usize).clamp(1, room) })
}

fn excerpt_lines(out: &mut String, number: u32, excerpt: &Excerpt, help: &str, style: &Style) {
    let Style { mark, dim, end, .. } = style;
    let carets = "^".repeat(excerpt.length);
    let indent = " ".repeat(excerpt.indent);
    let mut help = help.lines().map(printable);
    let first = help.next().map(|line| format!(" {line}")).unwrap_or_default();
    let _ = writeln!(out, "{dim}{number:4} |{end} {}", excerpt.shown);
    let _ = writeln!(out, "{dim}     |{end} {indent}{mark}{carets}{end}{first}");
    let below = " ".repeat(excerpt.indent + excerpt.length);
    for line in help {
        let _ = writeln!(out, "{dim}     |{end} {below} {line}");
    }
}

fn source_line(text: &str, number: u32) -> Option<String> {
    let index = (number as usize).checked_sub(1)?;
    text.lines().nth(index).map(|line| line.trim_start_matches('\u{feff}').to_owned())
}

/// `text` with control characters and direction overrides replaced, one for one.
fn printable(text: &str) -> String {
    let replace = |character: char| match character {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(replace).collect()
}

/// Findings as a JSON list: `[{code, severity, file, line, column, path, message, help}]`, with a line break at the end.
pub fn json(findings: &[Diagnostic]) -> String {
    let list: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "code": finding.code,
                "severity": finding.severity,
                "file": finding.place.file,
                "line": finding.place.line,
                "column": finding.place.column,
                "path": finding.path,
                "message": finding.message,
                "help": finding.help,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(list))
}

/// Findings as annotations of GitHub's workflow commands, one a line.
pub fn github(findings: &[Diagnostic]) -> String {
    let mut out = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let Diagnostic { code, place, message, help, .. } = finding;
        let message = match help {
            Some(help) => escape_data(&format!("{message}\n{help}")),
            None => escape_data(message),
        };
        let (file, line, column) = (escape_property(&place.file), place.line, place.column);
        let _ = writeln!(out, "::{level} file={file},line={line},col={column},title={code}::{message}");
    }
    out
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The last line of a check: `3 findings in 2 of 18 files: 2 errors, 1 warning      leadflow explain CODE`.
pub fn summary(findings: &[Diagnostic], files_total: usize) -> String {
    let files: BTreeSet<&str> = findings.iter().map(|finding| finding.place.file.as_str()).collect();
    let total = files_total.max(files.len());
    if findings.is_empty() {
        return format!("no findings in {}\n", counted(total, "file"));
    }
    let by_severity: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .map(|severity| (findings.iter().filter(|finding| finding.severity == severity).count(), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| counted(count, severity.as_str()))
        .collect();
    format!(
        "{} in {} of {}: {}      leadflow explain CODE\n",
        counted(findings.len(), "finding"),
        files.len(),
        counted(total, "file"),
        by_severity.join(", ")
    )
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    const SOURCE: &str = "name: a\nactions:\n\tsubject: {{trigger.body.OfferTitle}}\n";

    fn findings() -> Vec<Diagnostic> {
        let place = |file: &str, line, column, length| Place { file: file.into(), line, column, length };
        vec![
            Diagnostic::new(
                "unquoted_template",
                place("flows/a.yaml", 3, 11, 27),
                "actions[0].subject",
                "needs quotes",
            )
            .help("write  subject: \"{{trigger.body.OfferTitle}}\""),
            Diagnostic::new("unknown_key", place("flows/b,c.yaml", 1, 2, 3), "x", "100% unknown\nline two"),
            Diagnostic::new("unknown_path", place("flows/b,c.yaml", 9, 9, 9), "y", "not in the file").help("look"),
        ]
    }

    fn source(file: &str) -> Option<Arc<str>> {
        (file == "flows/a.yaml").then(|| Arc::from(SOURCE))
    }

    #[test]
    fn text_shows_the_line_and_the_fix() {
        let want = "\
error[unquoted_template] flows/a.yaml:3:11  needs quotes
   3 |  subject: {{trigger.body.OfferTitle}}
     |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^ write  subject: \"{{trigger.body.OfferTitle}}\"
error[unknown_key] flows/b,c.yaml:1:2  100% unknown\u{fffd}line two
warning[unknown_path] flows/b,c.yaml:9:9  not in the file
     = look
";
        assert_eq!(text(&findings(), &source, false), want);
    }

    #[test]
    fn colour_is_added_only_when_asked_for() {
        let plain = text(&findings(), &source, false);
        let coloured = text(&findings(), &source, true);
        assert!(!plain.contains('\x1b') && coloured.contains("\x1b[1;31merror[unquoted_template]\x1b[0m"));
        let stripped = ["\x1b[1;31m", "\x1b[1;33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn long_lines_are_cut_around_the_fault() {
        let long: Arc<str> = Arc::from(format!("{}FAULT{}", "a".repeat(500), "b".repeat(500)));
        let place = Place { file: "f".into(), line: 1, column: 501, length: 5 };
        let shown = text(&[Diagnostic::new("unknown_key", place, "", "m")], &|_| Some(long.clone()), false);
        let lines: Vec<_> = shown.lines().collect();
        let caret = lines[2].chars().position(|character| character == '^').expect("a caret");
        assert_eq!(lines[1].chars().skip(caret).take(5).collect::<String>(), "FAULT");
        assert!(lines[1].chars().count() < 200);
    }

    #[test]
    fn json_has_every_member() {
        let parsed: serde_json::Value = serde_json::from_str(&json(&findings()[..1])).expect("JSON");
        let want = serde_json::json!([{"code": "unquoted_template", "severity": "error", "file": "flows/a.yaml", "line": 3,
            "column": 11, "path": "actions[0].subject", "message": "needs quotes",
            "help": "write  subject: \"{{trigger.body.OfferTitle}}\""}]);
        assert_eq!(parsed, want);
        assert_eq!(json(&[]), "[]\n");
    }

    #[test]
    fn github_annotations_are_escaped() {
        let want = "::error file=flows/b%2Cc.yaml,line=1,col=2,title=unknown_key::100%25 unknown%0Aline two\n\
                    ::warning file=flows/b%2Cc.yaml,line=9,col=9,title=unknown_path::not in the file%0Alook\n";
        assert_eq!(github(&findings()[1..]), want);
    }

    #[test]
    fn the_summary_counts() {
        let want = "3 findings in 2 of 18 files: 2 errors, 1 warning      leadflow explain CODE\n";
        assert_eq!(summary(&findings(), 18), want);
        assert_eq!(summary(&[], 1), "no findings in 1 file\n");
    }
}

//! How the command line looks: colour only on a terminal and without `NO_COLOR`, tables in columns, closed pipes borne.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use serde_json::Value;

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// The style of standard output.
    pub(super) fn stdout() -> Self {
        Self { colour: std::io::stdout().is_terminal() && wanted() }
    }

    /// The style of standard error.
    pub(super) fn stderr() -> Self {
        Self { colour: std::io::stderr().is_terminal() && wanted() }
    }

    /// Whether colours are on.
    pub(super) fn colour(self) -> bool {
        self.colour
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A status in its colour; padded text may be given.
    pub(super) fn status(self, text: &str) -> String {
        let code = match text.trim() {
            "succeeded" | "ok" => "32",
            "failed" | "FAIL" | "timed_out" | "held" | "rejected" | "OFF" | "OLD" | "GONE" => "31",
            "running" | "waiting" | "queued" | "cancelled" => "33",
            _ => "2",
        };
        self.paint(code, text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes the answer to standard output. A closed pipe (`| head`) ends quietly.
pub(super) fn answer(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a JSON answer.
pub(super) fn json(value: &Value) {
    answer(&format!("{value:#}\n"));
}

/// Writes a line to standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes what went wrong to standard error.
pub(super) fn problem(text: &str) {
    note(&format!("{} {text}", Style::stderr().paint("31", "leadflow:")));
}

/// A bar on standard error for something that takes its time: told how much of how much is done. Away from a terminal
/// it is one line at each tenth.
pub(super) fn bar(what: &'static str, cells: u64) -> impl FnMut(u64, u64) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut shown = None;
    move |done, total| {
        let steps = if is_terminal { cells } else { 10 };
        let step = (done * steps).checked_div(total).unwrap_or(steps);
        if shown == Some(step) {
            return;
        }
        shown = Some(step);
        let mut err = std::io::stderr().lock();
        // Nobody looks any more: what it tells of goes on.
        let _ = if is_terminal {
            let (full, empty) = ("#".repeat(step as usize), "-".repeat((cells - step) as usize));
            let end = if done == total { "\n" } else { "" };
            write!(err, "\r{what} [{full}{empty}] {done} of {total}{end}")
        } else {
            writeln!(err, "{what} {done} of {total}")
        };
    }
}

/// Rows in columns, two spaces apart; the last column is not padded.
pub(super) fn table(rows: &[Vec<String>], indent: &str, paint: impl Fn(usize, &str) -> String) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (column, cell) in row.iter().enumerate() {
            let padding = widths[column] - cell.chars().count();
            line.push_str(&paint(column, cell));
            line.push_str(&" ".repeat(padding + 2));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// `1 record`, `2 records`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A time span for people: `31 ms`, `1.2 s`, `2 m 41 s`, `3 h 5 m`, `2 d 4 h`.
pub(super) fn span(micros: i64) -> String {
    let millis = micros.max(0) / 1000;
    let secs = millis / 1000;
    match secs {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", secs, millis % 1000 / 100),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} m {} s", secs / 60, secs % 60),
        3600..86400 => format!("{} h {} m", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86400, secs % 86400 / 3600),
    }
}

/// Text from outside on one line, safe for a terminal: control characters become spaces, at most `max` characters.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let mut clean: String = text.chars().take(max + 1).map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    if text.chars().count() > max {
        clean = clean.chars().take(max.saturating_sub(1)).collect();
        clean.push('…');
    }
    clean
}

/// Control characters and the marks that reorder text on a terminal.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_speech() {
        let cases = [
            (31_000, "31 ms"),
            (1_200_000, "1.2 s"),
            (30_000_000, "30 s"),
            (161_000_000, "2 m 41 s"),
            (11_100_000_000, "3 h 5 m"),
            (187_200_000_000, "2 d 4 h"),
        ];
        for (micros, text) in cases {
            assert_eq!(span(micros), text);
        }
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = vec![vec!["ä".to_owned(), "b".to_owned()], vec!["cc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows, "  ", |_, cell| cell.to_owned()), "  ä   b\n  cc  d\n");
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        assert_eq!(one_line("a\x1b[2Jb\r\nc", 20), "a [2Jb  c");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}

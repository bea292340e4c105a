//! A finding: what is wrong, where, and what to write instead. One type, several renderers.
//!
//! Promise: every finding names a file, a line, a column and a stable code that `leadflow explain` knows.

pub mod codes;
pub mod render;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file does not load.
    Error,
    /// It loads, but probably not as meant. `--strict` makes it an error.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Where in a file: one-based line and column (characters), and how many characters to underline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The path as the user knows it.
    pub file: String,
    /// One-based line.
    pub line: u32,
    /// One-based column in characters.
    pub column: u32,
    /// Characters to underline on that line; at least 1 when shown.
    pub length: u32,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, in [`codes::CODES`].
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// Dotted path in the document: `actions[1].fields`.
    pub path: String,
    /// What is wrong, one line, no trailing full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding with the severity that the catalogue gives `code`.
    pub fn new(code: &'static str, place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, severity: codes::severity(code), place, path: path.into(), message: message.into(), help: None }
    }

    /// Adds the fix.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Changes the severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// Whether any of `findings` is an error.
pub fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// The candidate nearest to `word`, if near enough to be a slip of the keyboard (case ignored): at most a third of the
/// letters and one more, and always fewer than half of the longer word, so that no short word is taken for another.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let longer = word.chars().count().max(candidate.chars().count());
            *distance <= limit && (*distance == 0 || distance * 2 < longer)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance in which swapping two neighbours costs one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(nearest("dynamcis", ["smtp", "dynamics"]), Some("dynamics"));
        assert_eq!(nearest("field", ["entity", "fields"]), Some("fields"));
        assert_eq!(nearest("zebra", ["entity", "fields"]), None);
    }
}

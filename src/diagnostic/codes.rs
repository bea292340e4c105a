//! The catalogue of codes: each with its usual severity, a summary, and the text of `leadflow explain`.

use super::Severity;

/// One code's entry.
#[derive(Debug, Clone, Copy)]
pub struct CodeDoc {
    /// The stable code.
    pub code: &'static str,
    /// Its usual severity (for codes of runs and answers: `Error`).
    pub severity: Severity,
    /// One line: what it means.
    pub summary: &'static str,
    /// Why it matters and what to write instead, with an example where one helps.
    pub explain: &'static str,
}

/// Every code that a user can meet, sorted by code.
pub const CODES: &[CodeDoc] = &[];

/// The entry of `code`.
pub fn find(code: &str) -> Option<&'static CodeDoc> {
    CODES.iter().find(|doc| doc.code == code)
}

/// The usual severity of `code`; unknown codes are errors.
pub fn severity(code: &str) -> Severity {
    if code == "open_schema" {
        return Severity::Note;
    }
    if code == "unknown_path" {
        return Severity::Warning;
    }
    find(code).map_or(Severity::Error, |doc| doc.severity)
}

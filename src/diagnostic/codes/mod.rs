//! The catalogue of codes: each with its usual severity, a summary, and the text of `leadflow explain`.
//!
//! Codes are stable: scripts and people search for them. A new code is one entry in the list of its home below.

mod connectors;
mod destination;
mod flow;
mod http;
mod order;
mod records;
mod run;
mod settings;
mod template;
mod trigger;

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

const PARTS: [&[CodeDoc]; 10] = [
    connectors::CODES,
    destination::CODES,
    flow::CODES,
    order::CODES,
    records::CODES,
    template::CODES,
    run::CODES,
    http::CODES,
    settings::CODES,
    trigger::CODES,
];
const COUNT: usize = count(&PARTS);
static SORTED: [CodeDoc; COUNT] = sorted(&PARTS);

/// Every code that a user can meet, sorted by code.
pub static CODES: &[CodeDoc] = &SORTED;

/// The entry of `code`. Codes with a number (`http_503`, `smtp_550`) share the entry of their family.
pub fn find(code: &str) -> Option<&'static CodeDoc> {
    let exact = |code: &str| CODES.binary_search_by(|doc| doc.code.cmp(code)).ok().map(|at| &CODES[at]);
    exact(code).or_else(|| {
        let (family, number) = code.split_once('_')?;
        let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        exact(match family {
            "http" if is_number => "http_error",
            "smtp" if is_number => "smtp_error",
            _ => return None,
        })
    })
}

/// The usual severity of `code`; unknown codes are errors.
pub fn severity(code: &str) -> Severity {
    find(code).map_or(Severity::Error, |doc| doc.severity)
}

const fn error(code: &'static str, summary: &'static str, explain: &'static str) -> CodeDoc {
    CodeDoc { code, severity: Severity::Error, summary, explain }
}

const fn warning(code: &'static str, summary: &'static str, explain: &'static str) -> CodeDoc {
    CodeDoc { code, severity: Severity::Warning, summary, explain }
}

const fn note(code: &'static str, summary: &'static str, explain: &'static str) -> CodeDoc {
    CodeDoc { code, severity: Severity::Note, summary, explain }
}

const fn count(parts: &[&[CodeDoc]]) -> usize {
    let (mut count, mut part) = (0, 0);
    while part < parts.len() {
        count += parts[part].len();
        part += 1;
    }
    count
}

/// All parts in one array, sorted while the program is built.
const fn sorted(parts: &[&[CodeDoc]]) -> [CodeDoc; COUNT] {
    let mut all = [error("", "", ""); COUNT];
    let (mut filled, mut part) = (0, 0);
    while part < parts.len() {
        let mut next = 0;
        while next < parts[part].len() {
            let mut at = filled;
            while at > 0 && is_before(parts[part][next].code, all[at - 1].code) {
                all[at] = all[at - 1];
                at -= 1;
            }
            all[at] = parts[part][next];
            filled += 1;
            next += 1;
        }
        part += 1;
    }
    all
}

const fn is_before(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(CODES.len() > 100);
    }

    #[test]
    fn every_entry_says_something() {
        for doc in CODES {
            let CodeDoc { code, summary, explain, .. } = doc;
            assert!(
                code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{code}"
            );
            assert!((10..=90).contains(&summary.len()) && !summary.ends_with('.'), "{code}: {summary}");
            assert!(explain.len() > 60 && explain.lines().all(|line| line.chars().count() <= 104), "{code}");
            assert!(!explain.starts_with('\n') && explain.ends_with('\n'), "{code}");
        }
    }

    #[test]
    fn numbered_codes_find_their_family() {
        assert_eq!(find("http_503").map(|doc| doc.code), Some("http_error"));
        assert_eq!(find("smtp_550").map(|doc| doc.code), Some("smtp_error"));
        assert_eq!(find("unknown_key").map(|doc| doc.code), Some("unknown_key"));
        for stranger in ["http_", "http_5033", "ftp_503", "nonsense"] {
            assert!(find(stranger).is_none(), "{stranger}");
        }
    }
}

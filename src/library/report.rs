//! What a reload came to: in the log, on the admin listener, in the metrics.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::diagnostic::Diagnostic;

/// Names that one list in a line of the log has at most.
const NAMES_MAX: usize = 10;

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What is on disk is live.
    Applied,
    /// What is good on disk is live; something was kept back.
    KeptBack,
    /// Nothing has changed.
    Unchanged,
    /// Nothing could be taken: the store did not keep it.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Applied, Self::KeptBack, Self::Unchanged, Self::Failed];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::KeptBack => "kept_back",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// Counts reloads by outcome.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Outcome::ALL.len()]);

impl Counters {
    /// Counts one.
    pub fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

/// The answer to whoever asked for a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The generation that is live now.
    pub generation: u64,
    /// The digest of its flows.
    pub digest: String,
    /// Whether somebody waited until everything on disk was taken or refused.
    pub waited: bool,
    /// Whether what is on disk is what is live. Only known after waiting.
    pub on_disk_is_live: bool,
    /// Why not.
    pub findings: Vec<Diagnostic>,
}

/// A flow and what is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The flow's name.
    pub name: String,
    /// What changed, or why it was kept back.
    pub words: String,
}

/// What one reload did to the flows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Flows that answer now and did not before.
    pub added: Vec<String>,
    /// Flows with another text, and what changed in words.
    pub changed: Vec<Told>,
    /// Flows that come from another file now.
    pub moved: Vec<Told>,
    /// Flows that do not answer any more.
    pub removed: Vec<Told>,
    /// Files that were kept back, or stay off, and why; only what is new since the last reload.
    pub kept_back: Vec<Told>,
    /// Files that were kept back and are fine now.
    pub resolved: Vec<String>,
    /// What changed in the settings.
    pub settings: Vec<String>,
}

impl Report {
    /// Whether the flows that answer have changed.
    pub fn changes_flows(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.moved.is_empty() && self.removed.is_empty())
    }

    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        !self.changes_flows() && self.kept_back.is_empty() && self.resolved.is_empty() && self.settings.is_empty()
    }

    /// One line: `added b; changed a (action notify_sales: subject); kept back c (flows/c.yaml:3:1 unknown_key …)`.
    pub fn line(&self) -> String {
        let plain = |names: &[String]| names.to_vec();
        let told = |told: &[Told]| told.iter().map(|one| format!("{} ({})", one.name, one.words)).collect();
        let parts: [(&str, Vec<String>); 7] = [
            ("settings", plain(&self.settings)),
            ("added", plain(&self.added)),
            ("changed", told(&self.changed)),
            ("moved", told(&self.moved)),
            ("removed", told(&self.removed)),
            ("kept back", told(&self.kept_back)),
            ("fine again", plain(&self.resolved)),
        ];
        let mut line = String::new();
        for (what, names) in parts.iter().filter(|(_, names)| !names.is_empty()) {
            if !line.is_empty() {
                line.push_str("; ");
            }
            let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            let _ = write!(line, "{what} {shown}");
            if names.len() > NAMES_MAX {
                let _ = write!(line, " and {} more", names.len() - NAMES_MAX);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_everything_once_and_stays_one_line() {
        assert_eq!(Report::default().line(), "");
        let told = |name: &str, words: &str| Told { name: name.into(), words: words.into() };
        let report = Report {
            added: (0..12).map(|number| format!("f{number}")).collect(),
            changed: vec![told("a", "action mail: subject"), told("b", "comments or layout only: no effect")],
            removed: vec![told("c", "flows/c.yaml is gone")],
            ..Report::default()
        };
        assert_eq!(
            report.line(),
            "added f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more; \
             changed a (action mail: subject), b (comments or layout only: no effect); removed c (flows/c.yaml is gone)"
        );
    }

    #[test]
    fn outcomes_are_counted_each_for_itself() {
        let counters = Counters::default();
        counters.count(Outcome::KeptBack);
        counters.count(Outcome::KeptBack);
        assert_eq!(Outcome::ALL.map(|outcome| counters.of(outcome)), [0, 2, 0, 0]);
    }
}

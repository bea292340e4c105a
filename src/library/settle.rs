//! Whether a changed file is at rest: an editor that truncates first, or a slow copy, must not bring half a flow.
//!
//! A change counts when two reads with the quiet period between them gave the same bytes, and nobody is known to have
//! the file open for writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::Hash;
use super::load::Look;
use crate::clock::{Micros, micros};

/// Changes that have been seen and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Settling {
    seen: HashMap<PathBuf, (Hash, Micros)>,
    fresh: HashMap<PathBuf, (Hash, Micros)>,
}

impl Settling {
    /// Begins a look.
    pub(super) fn begin(&mut self) {
        self.fresh.clear();
    }

    /// Whether the content of `path` may be taken.
    pub(super) fn is_at_rest(&self, path: &Path, hash: Hash, look: &Look) -> bool {
        let Some(quiet) = look.quiet else { return true };
        if !look.being_written.is_empty()
            && std::path::absolute(path).is_ok_and(|path| look.being_written.contains(&path))
        {
            return false;
        }
        let first = self.seen.get(path).filter(|(seen, _)| *seen == hash);
        first.is_some_and(|(_, at)| look.now.saturating_sub(*at) >= micros(quiet))
    }

    /// Notes a content that may not be taken yet. The time of its first sight stays.
    pub(super) fn note(&mut self, path: PathBuf, hash: Hash, now: Micros) {
        let first = self.seen.get(&path).filter(|(seen, _)| *seen == hash).map_or(now, |(_, at)| (*at).min(now));
        self.fresh.insert(path, (hash, first));
    }

    /// Ends a look: what was not noted again is forgotten.
    pub(super) fn end(&mut self) {
        self.seen = std::mem::take(&mut self.fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn look(now: Micros) -> Look {
        Look { now, quiet: Some(Duration::from_micros(10)), ..Look::default() }
    }

    #[test]
    fn a_change_rests_after_two_equal_reads_a_quiet_period_apart() {
        let (path, one, two) = (PathBuf::from("a"), [1; 32], [2; 32]);
        let mut settling = Settling::default();
        let mut step = |hash, now| {
            settling.begin();
            let rests = settling.is_at_rest(&path, hash, &look(now));
            if !rests {
                settling.note(path.clone(), hash, now);
            }
            settling.end();
            rests
        };
        assert!(!step(one, 0), "the first sight");
        assert!(!step(one, 9), "too early");
        assert!(!step(two, 12), "another change");
        assert!(!step(two, 21), "too early again");
        assert!(step(two, 22));
        assert!(!step(two, 23), "what was taken is not remembered");
    }

    #[test]
    fn a_file_that_is_open_for_writing_does_not_rest() {
        let path = PathBuf::from("a");
        let mut settling = Settling::default();
        settling.note(path.clone(), [1; 32], 0);
        settling.end();
        let mut written = look(100);
        assert!(settling.is_at_rest(&path, [1; 32], &written));
        written.being_written.insert(std::path::absolute(&path).expect("a working folder"));
        assert!(!settling.is_at_rest(&path, [1; 32], &written));
        assert!(settling.is_at_rest(&path, [9; 32], &Look::once()), "a command takes what is there");
    }
}

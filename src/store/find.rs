//! Ids by a part of them. Pure; every database uses it.

use crate::ids::RunId;

/// Newest first, each once, at most `limit`.
pub(super) fn newest(ids: &mut Vec<RunId>, limit: usize) {
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.truncate(limit);
}

/// Hexadecimal digits of part of a run id, without hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdPart(Vec<u8>);

impl IdPart {
    /// Reads `text` as part of an id; `None` when no id can contain it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> =
            text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        digits.filter(|digits| (1..=32).contains(&digits.len())).map(Self)
    }

    /// The smallest and the largest id that starts with it.
    pub(super) fn range(&self) -> (RunId, RunId) {
        let bound = |fill: u8| {
            let digit = |at: usize| self.0.get(at).copied().unwrap_or(fill);
            RunId::from_bytes(std::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1)))
        };
        (bound(0x0), bound(0xF))
    }

    /// Its digits as text, lower case.
    pub(super) fn digits(&self) -> String {
        self.0.iter().filter_map(|digit| char::from_digit(u32::from(*digit), 16)).collect()
    }

    /// Whether `id` ends with it.
    pub(super) fn ends(&self, id: RunId) -> bool {
        let digit = |at: usize| id.bytes()[at / 2] >> (4 * (1 - at % 2)) & 0xF;
        self.0.iter().rev().zip((0..32).rev()).all(|(wanted, at)| *wanted == digit(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RunId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_part_of_an_id_is_read_with_and_without_hyphens_and_in_both_cases() {
        let run = id("0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061");
        for suffix in ["1", "061", "3E4F5061", "9a0b-1c2d3e4f5061", "0192a3b4c5d67e8f9a0b1c2d3e4f5061"] {
            assert!(IdPart::parse(suffix).expect("hexadecimal").ends(run), "{suffix}");
        }
        assert!(!IdPart::parse("062").expect("hexadecimal").ends(run));
        for odd in ["", "xyz", "-", "%", "0192a3b4c5d67e8f9a0b1c2d3e4f50611"] {
            assert_eq!(IdPart::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_range_of_a_prefix_holds_every_id_that_starts_with_it() {
        let (low, high) = IdPart::parse("0192a3b4-c").expect("hexadecimal").range();
        assert_eq!(low, id("0192a3b4-c000-0000-0000-000000000000"));
        assert_eq!(high, id("0192a3b4-cfff-ffff-ffff-ffffffffffff"));
    }
}

//! The event stream under the crate's parser: for the questions that values alone cannot answer.

use std::collections::HashMap;
use std::ops::Range;

use serde_yaml::granit_parser::{Event, Parser};

/// A key that stands twice in one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DuplicateKey {
    /// The key.
    pub(super) key: String,
    /// The first one's bytes.
    pub(super) first: Range<usize>,
    /// The second one's bytes.
    pub(super) second: Range<usize>,
}

/// An open collection.
enum Open {
    List,
    /// A map; `key`: whether the next node is a key.
    Map {
        keys: HashMap<String, Range<usize>>,
        key: bool,
    },
}

/// Every duplicate key of the document, in the order of the file, up to a syntax error.
pub(super) fn duplicate_keys(text: &str) -> Vec<DuplicateKey> {
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        match event {
            Event::SequenceStart(..) => {
                take_turn(&mut open, None, &mut found);
                open.push(Open::List);
            }
            Event::MappingStart(..) => {
                take_turn(&mut open, None, &mut found);
                open.push(Open::Map { keys: HashMap::new(), key: true });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
            }
            Event::Scalar(value, ..) => {
                let key = span.byte_range().map(|range| (value.into_owned(), range));
                take_turn(&mut open, key, &mut found);
            }
            Event::Alias(_) => take_turn(&mut open, None, &mut found),
            _ => {}
        }
    }
    found
}

/// One node of the innermost collection: a key, a value or an item.
fn take_turn(open: &mut [Open], scalar: Option<(String, Range<usize>)>, found: &mut Vec<DuplicateKey>) {
    let Some(Open::Map { keys, key }) = open.last_mut() else { return };
    let is_key = std::mem::replace(key, !*key);
    let Some((text, range)) = scalar.filter(|_| is_key) else { return };
    if text == "<<" {
        return;
    }
    match keys.get(&text) {
        Some(first) => found.push(DuplicateKey { key: text, first: first.clone(), second: range }),
        None => {
            keys.insert(text, range);
        }
    }
}

/// Where the last complete token before a syntax error ends: the fault stands behind it.
pub(super) fn last_good_byte(text: &str) -> usize {
    Parser::new_from_str(text)
        .map_while(Result::ok)
        .filter(|(event, _)| !matches!(event, Event::StreamEnd | Event::DocumentEnd))
        .filter_map(|(_, span)| span.byte_range())
        .map(|range| range.end)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duplicate_is_found_in_every_map() {
        let found = duplicate_keys("a: 1\na: 2\nb:\n  - {x: 1, x: 2}\n  - x: 1\na: 3\n<<: {}\n<<: {}\n");
        let keys: Vec<_> = found.iter().map(|duplicate| (duplicate.key.as_str(), duplicate.second.start)).collect();
        assert_eq!(keys, [("a", 5), ("x", 24), ("a", 39)]);
        assert_eq!(found[2].first, 0..1, "the first one is named, not the one before");
    }
}

//! The event stream under the crate's parser: for the questions that values alone cannot answer.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde_yaml::granit_parser::{Event, Parser};

/// A key that stands twice in one map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DuplicateKey {
    /// The key.
    pub(super) key: String,
    /// Its path, as people write it: `actions[0].fields.subject`.
    pub(super) path: String,
    /// The first one's bytes.
    pub(super) first: Range<usize>,
    /// The second one's bytes.
    pub(super) second: Range<usize>,
}

/// An open collection, and what stands in it now.
enum Open {
    List { index: Option<usize> },
    Map { keys: HashMap<String, Range<usize>>, key: String, is_value_next: bool },
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
                open.push(Open::List { index: None });
            }
            Event::MappingStart(..) => {
                take_turn(&mut open, None, &mut found);
                open.push(Open::Map { keys: HashMap::new(), key: String::new(), is_value_next: false });
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
    let second = match open.last_mut() {
        None => return,
        Some(Open::List { index }) => {
            *index = Some(index.map_or(0, |index| index + 1));
            return;
        }
        Some(Open::Map { is_value_next, .. }) if *is_value_next => {
            *is_value_next = false;
            return;
        }
        Some(Open::Map { keys, key, is_value_next }) => {
            *is_value_next = true;
            let Some((text, range)) = scalar else { return };
            key.clone_from(&text);
            match keys.get(&text) {
                _ if text == "<<" => return,
                Some(first) => (first.clone(), range),
                None => {
                    keys.insert(text, range);
                    return;
                }
            }
        }
    };
    let path = path(open);
    let Some(Open::Map { key, .. }) = open.last() else { return };
    found.push(DuplicateKey { key: key.clone(), path, first: second.0, second: second.1 });
}

fn path(open: &[Open]) -> String {
    let mut path = String::new();
    for part in open {
        match part {
            Open::List { index } => {
                let _ = write!(path, "[{}]", index.unwrap_or(0));
            }
            Open::Map { key, .. } => {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(key);
            }
        }
    }
    path
}

/// The bracket that is still open at a syntax error: the innermost one.
pub(super) fn open_bracket(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => open.push(span.byte_range().map(|range| range.start)),
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
            }
            _ => {}
        }
    }
    let is_bracket = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(['[', '{']));
    open.into_iter().rev().flatten().find(is_bracket)
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
        assert_eq!(found[1].path, "b[0].x");
    }

    #[test]
    fn the_innermost_open_bracket_is_found() {
        assert_eq!(open_bracket("a: {b: [c\nd: [e]\n"), Some(7));
        assert_eq!(open_bracket("a: [b]\nc\nd: e"), None);
    }
}

//! Two files that claim one name. Whoever holds the name live keeps it; else the first file does, by its path.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::load::Loaded;
use crate::diagnostic::Diagnostic;
use crate::flow::Claim;

/// The code of a clash.
pub(super) const CODE: &str = "duplicate_flow";

/// For a folder that is looked at once: the later file does not load. A flow with errors keeps its name.
pub(super) fn refuse_later(files: &mut [Arc<Loaded>]) {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for loaded in files {
        let mut clashes = Vec::new();
        for (index, claim) in loaded.claims.iter().enumerate() {
            let is_own = loaded.claims[..index].iter().any(|earlier| earlier.word == claim.word);
            if let Some(earlier) = taken.get(&claim.word).filter(|_| !is_own) {
                clashes.push(finding(claim, earlier));
            }
        }
        for claim in &loaded.claims {
            taken.entry(claim.word.clone()).or_insert_with(|| loaded.file.clone());
        }
        if !clashes.is_empty() {
            let loaded = Arc::make_mut(loaded);
            loaded.findings.extend(clashes);
            loaded.flow = None;
        }
    }
}

/// The finding at a claim that another file's flow holds.
pub(super) fn finding(claim: &Claim, holder: &str) -> Diagnostic {
    let message = format!("`{}` is taken by {holder}", claim.word);
    Diagnostic::new(CODE, claim.place.clone(), &*claim.path, message).help("choose another name")
}

/// One file that wants names.
#[derive(Debug)]
pub(super) struct Contender<'a> {
    /// The file.
    pub file: &'a str,
    /// The names that the version it brings claims.
    pub wanted: Vec<&'a str>,
    /// The names that the version it falls back to claims; `None`: it has none.
    pub fallback: Option<Vec<&'a str>>,
    /// Whether `wanted` is the fallback already.
    pub fell: bool,
}

/// Who does not get a name that it wants, and from whom: file, name and holder of each. `holders` are the files that
/// hold a name live. `contenders` come in the order of their paths.
///
/// A file that loses falls back to its last good version, whose names then count; a file whose fallback loses has none.
pub(super) fn settle<'a>(
    contenders: &mut [Contender<'a>],
    holders: &HashMap<&str, &'a str>,
) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut lost = Vec::new();
    loop {
        let mut held: HashMap<&'a str, &'a str> = HashMap::new();
        for contender in contenders.iter() {
            for word in &contender.wanted {
                let live = holders.get(word) == Some(&contender.file);
                if live || !held.contains_key(word) {
                    held.insert(word, contender.file);
                }
            }
        }
        let mut losers: HashSet<&'a str> = HashSet::new();
        for contender in contenders.iter() {
            let of = contender.wanted.iter().filter_map(|word| Some((*word, *held.get(word)?)));
            for (word, holder) in of.filter(|(_, holder)| *holder != contender.file) {
                losers.insert(contender.file);
                lost.push((contender.file, word, holder));
            }
        }
        if losers.is_empty() {
            return lost;
        }
        for contender in contenders.iter_mut().filter(|contender| losers.contains(contender.file)) {
            let fallback = contender.fallback.take().filter(|_| !contender.fell);
            contender.wanted = fallback.unwrap_or_default();
            contender.fell = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender<'a>(file: &'a str, wanted: &[&'a str], fallback: Option<&[&'a str]>) -> Contender<'a> {
        Contender { file, wanted: wanted.to_vec(), fallback: fallback.map(<[&str]>::to_vec), fell: false }
    }

    #[test]
    fn the_live_holder_keeps_its_name_and_else_the_first_file_gets_it() {
        let mut files = [contender("a", &["x"], None), contender("b", &["x"], Some(&["x"]))];
        let lost = settle(&mut files, &HashMap::from([("x", "b")]));
        assert_eq!(lost, [("a", "x", "b")]);
        let mut files = [contender("a", &["x"], None), contender("b", &["x"], None)];
        assert_eq!(settle(&mut files, &HashMap::new()), [("b", "x", "a")]);
        assert!(files[1].wanted.is_empty());
    }

    #[test]
    fn two_flows_may_swap_their_names() {
        let mut files = [contender("a", &["y"], Some(&["x"])), contender("b", &["x"], Some(&["y"]))];
        assert!(settle(&mut files, &HashMap::from([("x", "a"), ("y", "b")])).is_empty());
    }

    #[test]
    fn a_file_that_loses_falls_back_to_what_it_had() {
        // `a` renames its flow to a name that `c` holds, and `b` wants the name that `a` would have left.
        let mut files =
            [contender("a", &["z"], Some(&["x"])), contender("b", &["x"], None), contender("c", &["z"], Some(&["z"]))];
        let lost = settle(&mut files, &HashMap::from([("x", "a"), ("z", "c")]));
        assert_eq!(lost, [("a", "z", "c"), ("b", "x", "a")]);
        assert_eq!(files[0].wanted, ["x"]);
        assert!(files[0].fell && files[1].wanted.is_empty());
    }
}

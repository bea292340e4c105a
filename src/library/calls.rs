//! Flows that call flows: a call needs a flow of that name, and no circle may close.
//!
//! Judged over the whole folder; a file whose call does not hold does not check, and keeps its last good version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::load::Loaded;
use crate::diagnostic::{Diagnostic, nearest};
use crate::flow::Claim;

/// Refuses calls that lead nowhere or back.
pub(super) fn refuse(files: &mut [Arc<Loaded>]) {
    if files.iter().all(|loaded| loaded.calls.is_empty()) {
        return;
    }
    let found: Vec<(usize, Vec<Diagnostic>)> = {
        let flows = Flows::of(files);
        files.iter().enumerate().map(|(at, loaded)| (at, flows.judge(loaded))).collect()
    };
    for (at, findings) in found.into_iter().filter(|(_, findings)| !findings.is_empty()) {
        let loaded = Arc::make_mut(&mut files[at]);
        loaded.findings.extend(findings);
        loaded.flow = None;
    }
}

/// Who calls whom.
struct Flows<'a> {
    /// The flow that answers to a name or an alias.
    by_word: HashMap<&'a str, &'a Loaded>,
}

impl<'a> Flows<'a> {
    fn of(files: &'a [Arc<Loaded>]) -> Self {
        let words = |loaded: &'a Arc<Loaded>| loaded.claims.iter().map(move |claim| (claim.word.as_str(), &**loaded));
        // Of two files with one name the first counts.
        let mut by_word = HashMap::new();
        for (word, loaded) in files.iter().flat_map(words) {
            by_word.entry(word).or_insert(loaded);
        }
        Self { by_word }
    }

    fn judge(&self, loaded: &Loaded) -> Vec<Diagnostic> {
        loaded.calls.iter().filter_map(|call| self.problem(loaded, call)).collect()
    }

    fn problem(&self, loaded: &Loaded, call: &Claim) -> Option<Diagnostic> {
        let told = |code: &'static str, message: String, help: String| {
            Diagnostic::new(code, call.place.clone(), &*call.path, message).help(help)
        };
        let Some(first) = self.by_word.get(call.word.as_str()) else {
            let near = nearest(&call.word, self.by_word.keys().copied());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("there is no flow `{}`{near}", call.word);
            return Some(told("unknown_flow", message, "leadflow flows lists those that are there".to_owned()));
        };
        if first.flow.as_ref().is_some_and(|flow| flow.trigger.split_on.is_some()) {
            let message = format!("flow `{}` splits its requests, so there is no one response to wait for", call.word);
            return Some(told("call_splits", message, "call it from a `for_each`, without `split_on`".to_owned()));
        }
        let way = self.way(first, &loaded.name)?;
        let circle: Vec<&str> = std::iter::once(loaded.name.as_str()).chain(way).collect();
        let message = format!("flows call each other in a circle: {}", circle.join(" -> "));
        Some(told("flow_circle", message, "let one of them end without calling the next".to_owned()))
    }

    /// The names on the way from `from` to the flow `to`, both included.
    fn way(&self, from: &'a Loaded, to: &str) -> Option<Vec<&'a str>> {
        let mut seen = HashSet::new();
        let mut open = vec![(from, vec![from.name.as_str()])];
        while let Some((at, way)) = open.pop() {
            if at.name == to {
                return Some(way);
            }
            if !seen.insert(at.name.as_str()) {
                continue;
            }
            for next in at.calls.iter().filter_map(|call| self.by_word.get(call.word.as_str())) {
                open.push((next, [way.clone(), vec![next.name.as_str()]].concat()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    fn flow(name: &str, calls: &[&str]) -> Arc<Loaded> {
        let claim =
            |word: &&str| Claim { word: (*word).to_owned(), path: "actions[0].flow".into(), place: Place::default() };
        Arc::new(Loaded {
            file: format!("flows/{name}.yaml"),
            text: Arc::from(""),
            name: name.to_owned(),
            flow: None,
            findings: Vec::new(),
            claims: vec![claim(&name)],
            calls: calls.iter().map(claim).collect(),
            blueprint: None,
        })
    }

    fn told(mut files: Vec<Arc<Loaded>>) -> Vec<(String, String)> {
        refuse(&mut files);
        let of = |loaded: &Arc<Loaded>| {
            loaded.findings.iter().map(|one| (loaded.name.clone(), one.message.clone())).collect::<Vec<_>>()
        };
        files.iter().flat_map(of).collect()
    }

    #[test]
    fn a_call_needs_its_flow() {
        assert_eq!(told(vec![flow("a", &["b", "b"]), flow("b", &["c"]), flow("c", &[])]), []);
        let message = "there is no flow `scroe`; did you mean `score`?".to_owned();
        assert_eq!(told(vec![flow("a", &["scroe"]), flow("score", &[])]), [("a".to_owned(), message)]);
    }

    #[test]
    fn a_circle_is_refused_in_every_flow_of_it_and_only_there() {
        let told = told(vec![flow("a", &["b"]), flow("b", &["c"]), flow("c", &["b"]), flow("d", &["d"])]);
        let circle = |way: &str| format!("flows call each other in a circle: {way}");
        let want = [("b", "b -> c -> b"), ("c", "c -> b -> c"), ("d", "d -> d")];
        assert_eq!(told, want.map(|(name, way)| (name.to_owned(), circle(way))));
    }
}

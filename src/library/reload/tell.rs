//! What a decision does, as people are told.

use std::collections::BTreeMap;

use super::Draft;
use crate::diagnostic::Diagnostic;
use crate::flow::Flow;
use crate::library::diff;
use crate::library::report::{Report, Told};
use crate::library::{FileState, FlowSet, Standing};

/// Flows whose change is put into words; comparing reads both texts again.
const WORDED_MAX: usize = 20;

/// What changes from `previous` to what `drafts` say.
pub(super) fn report(previous: &FlowSet, drafts: &[Draft]) -> Report {
    let mut report = Report::default();
    let next: BTreeMap<&str, (&Draft, &Flow)> =
        drafts.iter().filter_map(|draft| draft.serving().map(|flow| (&*flow.name, (draft, &**flow)))).collect();
    let before: BTreeMap<&str, &FileState> = previous
        .files
        .values()
        .filter_map(|state| state.serving().map(|version| (&*version.flow().name, &**state)))
        .collect();
    for (name, (draft, flow)) in &next {
        let Some((old, version)) = before.get(name).and_then(|old| Some((old, old.serving()?))) else {
            report.added.push((*name).to_owned());
            continue;
        };
        if old.file != draft.state.file {
            let words = format!("{} instead of {}", draft.state.file, old.file);
            report.moved.push(Told { name: (*name).to_owned(), words });
        } else if version.flow().digest != flow.digest {
            let worded = report.changed.len() < WORDED_MAX;
            let words = if worded {
                diff::words(&diff::changes(&version.flow().bundle, &flow.bundle))
            } else {
                draft.state.file.clone()
            };
            report.changed.push(Told { name: (*name).to_owned(), words });
        }
    }
    let states: BTreeMap<&str, &Draft> = drafts.iter().map(|draft| (&*draft.state.file, draft)).collect();
    for (name, old) in before.iter().filter(|(name, _)| !next.contains_key(*name)) {
        let words = why_removed(old, states.get(&*old.file).copied());
        report.removed.push(Told { name: (*name).to_owned(), words });
    }
    findings(previous, drafts, &mut report);
    report
}

fn why_removed(old: &FileState, now: Option<&Draft>) -> String {
    let file = &old.file;
    match now {
        None => format!("{file} is gone"),
        Some(draft) => match (draft.serving(), draft.state.error()) {
            (Some(flow), _) => format!("{file} is `{}` now", flow.name),
            (None, Some(finding)) => place(finding),
            (None, None) => format!("enabled: false in {file}"),
        },
    }
}

/// What is kept back now and was not, or for another reason; what was and is not.
fn findings(previous: &FlowSet, drafts: &[Draft], report: &mut Report) {
    for Draft { state, .. } in drafts {
        let before = previous.files.get(&state.file);
        let was_open = before.is_some_and(|before| before.since.is_some());
        if state.since.is_none() {
            if was_open {
                report.resolved.push(state.file.clone());
            }
            continue;
        }
        let is_known = before.is_some_and(|before| was_open && before.findings == state.findings);
        if !is_known {
            report.kept_back.push(Told { name: state.name.clone(), words: why_kept(state) });
        }
    }
}

fn why_kept(state: &FileState) -> String {
    let finding = state.error().or_else(|| state.findings.first());
    let why = finding.map_or_else(|| state.file.clone(), place);
    match state.standing {
        Standing::Off => format!("off: {why}"),
        _ => why,
    }
}

/// `flows/a.yaml:14:11 unknown_key create_record has no key …`
fn place(finding: &Diagnostic) -> String {
    let Diagnostic { place, code, message, .. } = finding;
    format!("{}:{}:{} {code} {message}", place.file, place.line, place.column)
}

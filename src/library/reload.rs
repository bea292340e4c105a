//! What becomes of what lies on disk: a pure decision from the live set, a look at the folders and the time.
//!
//! Promises: a file that does not check keeps its own last good version; a vanished file unloads only when it was missed
//! for `unload_after`, and those of an emptied folder only after `empty_folder_grace`; a name that moves to another file
//! never stops answering; of two files that want one name, the one that holds it live keeps it.

mod tell;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::clash::{self, Contender};
use super::load::{Folder, Loaded};
use super::report::Report;
use super::{FileState, FlowSet, LiveFlow, Notice, Off, Standing, Version};
use crate::clock::{Micros, micros};
use crate::diagnostic::Diagnostic;
use crate::flow::Flow;
use crate::store::TextId;

/// When the folders are looked at, and what is done about what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often every byte is read again.
    pub poll: Duration,
    /// How long a changed file must be at rest.
    pub quiet: Duration,
    /// How long what is missing goes on to answer.
    pub rules: Rules,
}

/// How long what is missing goes on to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A file that has vanished.
    pub unload_after: Duration,
    /// The files of a folder that has none any more.
    pub empty_folder_grace: Duration,
}

/// What is to become live.
#[derive(Debug)]
pub struct Decision {
    /// What it does to the flows.
    pub report: Report,
    /// When to look again, because something that is missing is due then.
    pub look_again_at: Option<Micros>,
    drafts: Vec<Draft>,
    notices: Vec<Notice>,
}

/// One file on its way: its state, with `fresh` in the place of a version that the store does not have yet.
#[derive(Debug)]
struct Draft {
    state: FileState,
    fresh: Option<Arc<Flow>>,
}

impl Draft {
    /// The flow that would answer.
    fn serving(&self) -> Option<&Arc<Flow>> {
        let flow = self.fresh.as_ref().or_else(|| self.state.good.as_ref().map(|version| version.flow()));
        flow.filter(|flow| flow.enabled)
    }
}

/// Decides. `notices` are findings that belong to no flow file.
pub fn plan(previous: &FlowSet, disk: &Folder, notices: &[Diagnostic], now: Micros, rules: Rules) -> Decision {
    let times = Times { now, rules };
    let mut candidates = Candidates::new(previous, disk, times);
    let mut lost = candidates.settle();
    if candidates.readmit_unmoved() {
        lost = candidates.settle();
    }
    let mut drafts = Vec::new();
    for candidate in &candidates.list {
        let clashes: Vec<Diagnostic> = candidate.clashes(&lost);
        drafts.extend(candidate.draft(clashes, disk, &candidates.folders, times));
    }
    let due = |draft: &Draft| match draft.state.standing {
        Standing::Vanished { until, .. } => Some(until),
        _ => None,
    };
    let look_again_at = drafts.iter().filter_map(due).min();
    let report = tell::report(previous, &drafts);
    let since = |finding: &Diagnostic| {
        let before = previous.notices.iter().find(|notice| notice.finding == *finding);
        before.map_or(now, |notice| notice.since)
    };
    let all = disk.findings.iter().chain(notices);
    let notices = all.map(|finding| Notice { finding: finding.clone(), since: since(finding) }).collect();
    Decision { report, look_again_at, drafts, notices }
}

impl Decision {
    /// Versions that the store does not have yet: file and flow.
    pub fn fresh(&self) -> impl Iterator<Item = (&str, &Arc<Flow>)> {
        self.drafts.iter().filter_map(|draft| Some((&*draft.state.file, draft.fresh.as_ref()?)))
    }

    /// Files of `previous` that have no last good version any more.
    pub fn gone(&self, previous: &FlowSet) -> Vec<String> {
        let good = |draft: &&Draft| draft.fresh.is_some() || draft.state.good.is_some();
        let kept: HashSet<&str> = self.drafts.iter().filter(good).map(|draft| &*draft.state.file).collect();
        let had = previous.files.values().filter(|state| state.good.is_some());
        had.filter(|state| !kept.contains(&*state.file)).map(|state| state.file.clone()).collect()
    }

    /// The set, now that every fresh version is pinned: `ids` in the order of [`Decision::fresh`].
    pub fn into_set(self, previous: &FlowSet, ids: Vec<TextId>, generation: u64, now: Micros) -> FlowSet {
        let changes = self.report.changes_flows() || generation != previous.generation;
        let loaded_at = if changes { now } else { previous.loaded_at };
        let mut set = FlowSet { generation, loaded_at, notices: self.notices, ..FlowSet::default() };
        let mut ids = ids.into_iter();
        for Draft { mut state, fresh } in self.drafts {
            if let Some((flow, text_id)) = fresh.and_then(|flow| Some((flow, ids.next()?))) {
                let live = Arc::new(LiveFlow { flow, text_id });
                state.good = Some(Arc::new(Version { live, generation, loaded_at: now }));
            }
            add(&mut set, previous, state);
        }
        set.digest = digest(&set);
        set
    }
}

fn add(set: &mut FlowSet, previous: &FlowSet, state: FileState) {
    match state.serving() {
        Some(version) => {
            let flow = version.flow();
            set.aliases.extend(flow.aliases.iter().map(|alias| (alias.clone(), flow.name.clone())));
            set.flows.insert(flow.name.clone(), Arc::clone(&version.live));
        }
        None => {
            let finding = state.error().cloned();
            set.off.push(Off { name: state.name.clone(), file: state.file.clone(), finding });
        }
    }
    let before = previous.files.get(&state.file).filter(|before| is_same(before, &state));
    let state = before.map_or_else(|| Arc::new(state), Arc::clone);
    set.files.insert(state.file.clone(), state);
}

fn is_same(a: &FileState, b: &FileState) -> bool {
    let good = match (&a.good, &b.good) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    good && a.standing == b.standing && a.since == b.since && a.name == b.name && a.findings == b.findings
}

/// SHA-256 over the names and digests of the flows that answer.
fn digest(set: &FlowSet) -> String {
    let mut hasher = Sha256::new();
    for (name, live) in &set.flows {
        hasher.update(format!("{name} {}\n", live.flow.digest));
    }
    hex::encode(hasher.finalize())
}

/// The set that a store remembers: the last good version of each file, as if it were live.
pub fn remembered(versions: Vec<(String, Version)>, generation: u64, now: Micros) -> FlowSet {
    let mut set = FlowSet { generation, loaded_at: now, ..FlowSet::default() };
    for (file, version) in versions {
        let state = FileState {
            name: version.flow().name.clone(),
            file,
            standing: Standing::Current,
            good: Some(Arc::new(version)),
            findings: Vec::new(),
            since: None,
        };
        add(&mut set, &FlowSet::default(), state);
    }
    set.digest = digest(&set);
    set
}

/// The names under which a flow answers.
fn words(flow: &Flow) -> Vec<&str> {
    std::iter::once(&*flow.name).chain(flow.aliases.iter().map(String::as_str)).collect()
}

#[derive(Debug, Clone, Copy)]
struct Times {
    now: Micros,
    rules: Rules,
}

/// How long a file that is not there may be away.
#[derive(Debug, Clone, Copy)]
struct Absence {
    since: Micros,
    until: Micros,
    emptied: bool,
    is_due: bool,
}

/// A file that has or had a flow.
#[derive(Debug)]
struct Candidate<'a> {
    file: &'a str,
    /// As it is on disk; `None`: it is not.
    loaded: Option<&'a Loaded>,
    /// As it was until now.
    before: Option<&'a FileState>,
    /// The last good version: its own, or that of the file which it was before it was renamed.
    good: Option<&'a Arc<Version>>,
    /// It is there, and cannot be looked into.
    out_of_reach: bool,
    /// Its names, after clashes were settled.
    wanted: Vec<&'a str>,
    /// It does not bring what is on disk.
    fell: bool,
}

struct Candidates<'a> {
    list: Vec<Candidate<'a>>,
    /// Files whose flow another file brings now.
    moved: Vec<Candidate<'a>>,
    holders: HashMap<&'a str, &'a str>,
    folders: Folders<'a>,
}

impl<'a> Candidates<'a> {
    fn new(previous: &'a FlowSet, disk: &'a Folder, times: Times) -> Self {
        let mut holders: HashMap<&str, &str> = HashMap::new();
        for state in previous.files.values() {
            for word in state.good.iter().flat_map(|version| words(version.flow())) {
                holders.insert(word, &state.file);
            }
        }
        let on_disk: BTreeMap<&str, &Loaded> = disk.files.iter().map(|file| (&*file.file, &**file)).collect();
        let candidate = |file: &'a str, loaded: Option<&'a Loaded>| {
            let before = previous.files.get(file).map(|state| &**state);
            let good = before.and_then(|state| state.good.as_ref());
            let out_of_reach = loaded.is_none() && is_below(file, &disk.unreadable);
            Candidate { file, loaded, before, good, out_of_reach, wanted: Vec::new(), fell: false }
        };
        let mut list: Vec<Candidate<'a>> = on_disk.iter().map(|(file, loaded)| candidate(file, Some(loaded))).collect();
        let absent = previous.files.values().filter(|state| !on_disk.contains_key(&*state.file));
        let mut missing: Vec<Candidate<'a>> = absent.map(|state| candidate(&state.file, None)).collect();
        // What never was good may go at once.
        missing.retain(|missing| missing.out_of_reach || missing.good.is_some());
        let folders = Folders::new(previous, disk);
        let is_due = |missing: &Candidate<'a>| !missing.out_of_reach && missing.absence(&folders, disk, times).is_due;
        inherit(&mut list, &mut missing, &mut holders, is_due);
        missing.retain(|missing| !is_due(missing));
        // A file that was refused a name does not get it because its holder is being written anew.
        let bringing = list.iter().filter(|candidate| !candidate.was_refused());
        let mut brought: HashMap<&str, &str> = HashMap::new();
        for (candidate, flow) in bringing.filter_map(|candidate| Some((candidate, candidate.loaded?.flow.as_ref()?))) {
            for word in words(flow) {
                brought.entry(word).or_insert(candidate.file);
            }
        }
        let to = |missing: &Candidate<'a>| brought.get(&*missing.good?.flow().name).copied();
        let (moved, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(|missing| to(missing).is_some());
        for (old, file) in moved.iter().filter_map(|moved| Some((moved, to(moved)?))) {
            // Whoever waited for the name goes on to wait.
            for word in old.good.iter().flat_map(|good| words(good.flow())) {
                holders.insert(word, file);
            }
        }
        list.extend(missing);
        list.sort_by_key(|candidate| candidate.file);
        Self { list, moved, holders, folders }
    }

    /// Settles who gets which name; what was lost: file, name, holder.
    fn settle(&mut self) -> Vec<(&'a str, &'a str, &'a str)> {
        let mut contenders: Vec<Contender<'a>> = self.list.iter().map(Candidate::contender).collect();
        let lost = clash::settle(&mut contenders, &self.holders);
        for (candidate, contender) in self.list.iter_mut().zip(contenders) {
            candidate.wanted = contender.wanted;
            candidate.fell = contender.fell;
        }
        lost
    }

    /// A file whose flow was to move, and whose new file does not bring it after all, is missing.
    fn readmit_unmoved(&mut self) -> bool {
        let taken: HashSet<&str> = self.list.iter().flat_map(|candidate| candidate.wanted.iter().copied()).collect();
        let is_taken = |moved: &Candidate<'a>| moved.good.is_some_and(|good| taken.contains(&*good.flow().name));
        let (_, unmoved): (Vec<_>, Vec<_>) = std::mem::take(&mut self.moved).into_iter().partition(is_taken);
        let any = !unmoved.is_empty();
        for unmoved in &unmoved {
            for word in unmoved.good.iter().flat_map(|good| words(good.flow())) {
                self.holders.insert(word, unmoved.file);
            }
        }
        self.list.extend(unmoved);
        self.list.sort_by_key(|candidate| candidate.file);
        any
    }
}

/// A new file that is not good, and whose flow's name a file had that is gone: it was renamed and broken at once, and
/// keeps the last good version. One that was there before does so when the file that is gone would unload: until then
/// that file may be being written anew.
fn inherit<'a>(
    list: &mut [Candidate<'a>],
    missing: &mut Vec<Candidate<'a>>,
    holders: &mut HashMap<&'a str, &'a str>,
    is_due: impl Fn(&Candidate<'a>) -> bool,
) {
    if missing.is_empty() {
        return;
    }
    let broken = list.iter_mut().filter(|candidate| candidate.good.is_none());
    for heir in broken {
        let Some(loaded) = heir.loaded.filter(|loaded| loaded.flow.is_none()) else { continue };
        let is_new = heir.before.is_none();
        let of_name = |missing: &Candidate<'a>| {
            missing.good.is_some_and(|good| good.flow().name == loaded.name) && (is_new || is_due(missing))
        };
        let Some(at) = missing.iter().position(of_name) else { continue };
        heir.good = missing.swap_remove(at).good;
        for word in heir.good.iter().flat_map(|good| words(good.flow())) {
            holders.insert(word, heir.file);
        }
    }
}

/// The same text, compiled again against other settings.
fn recompiled(good: &Version, flow: &Arc<Flow>) -> Arc<Version> {
    let live = Arc::new(LiveFlow { flow: Arc::clone(flow), text_id: good.live.text_id });
    Arc::new(Version { live, generation: good.generation, loaded_at: good.loaded_at })
}

fn is_below(file: &str, folders: &[String]) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['/', '\\']);
    folders.iter().any(|folder| file.strip_prefix(&**folder).is_some_and(below))
}

/// Which folders have lost all their flows.
struct Folders<'a> {
    nothing_left: bool,
    /// Folders with flows on disk.
    filled: HashSet<&'a str>,
    /// How many files with a good version each folder had.
    had: HashMap<&'a str, usize>,
}

impl<'a> Folders<'a> {
    fn new(previous: &'a FlowSet, disk: &'a Folder) -> Self {
        let mut had: HashMap<&str, usize> = HashMap::new();
        for state in previous.files.values().filter(|state| state.good.is_some()) {
            *had.entry(parent(&state.file)).or_default() += 1;
        }
        let filled = disk.files.iter().map(|file| parent(&file.file)).collect();
        Self { nothing_left: disk.files.is_empty() && disk.unsettled.is_empty(), filled, had }
    }

    /// Whether the folder of `file` looks unmounted or emptied, rather than one file removed.
    fn is_emptied(&self, file: &str, disk: &Folder) -> bool {
        let folder = parent(file);
        let several = self.had.get(folder).is_some_and(|count| *count > 1);
        self.nothing_left || (several && !self.filled.contains(folder) && disk.folders.contains(folder))
    }
}

fn parent(file: &str) -> &str {
    file.rfind(['/', '\\']).map_or("", |at| &file[..at])
}

impl<'a> Candidate<'a> {
    fn contender(&self) -> Contender<'a> {
        let of_good = || self.good.map(|good| words(good.flow()));
        let claims = || self.loaded.map(|loaded| loaded.claims.iter().map(|claim| &*claim.word).collect());
        let (wanted, fallback, fell) = match self.loaded {
            Some(loaded) if loaded.flow.is_some() => (claims(), of_good(), false),
            // Broken, and never good: it holds its name against later files, as it does for `check`.
            _ => (of_good().or_else(claims), None, true),
        };
        Contender { file: self.file, wanted: wanted.unwrap_or_default(), fallback, fell }
    }

    fn clashes(&self, lost: &[(&'a str, &'a str, &'a str)]) -> Vec<Diagnostic> {
        let claims = self.loaded.map_or(&[][..], |loaded| &loaded.claims);
        let own = lost.iter().filter(|(file, ..)| *file == self.file);
        own.filter_map(|(_, word, holder)| {
            let claim = claims.iter().find(|claim| claim.word == *word)?;
            Some(clash::finding(claim, holder))
        })
        .collect()
    }

    /// The file's new state; `None`: it is forgotten.
    fn draft(&self, clashes: Vec<Diagnostic>, disk: &Folder, folders: &Folders<'a>, times: Times) -> Option<Draft> {
        let good = self.good.filter(|_| !self.wanted.is_empty());
        let Some(loaded) = self.loaded else {
            return if self.out_of_reach {
                Some(self.kept(good?, disk, times))
            } else {
                Some(self.missed(good?, folders, disk, times))
            };
        };
        let mut findings = loaded.findings.clone();
        findings.extend(clashes);
        let state = |standing, good, since| FileState {
            file: self.file.to_owned(),
            name: loaded.name.clone(),
            standing,
            good,
            findings: findings.clone(),
            since,
        };
        let Some(flow) = loaded.flow.as_ref().filter(|_| !self.fell) else {
            let standing = if good.is_some() { Standing::KeptBack } else { Standing::Off };
            let mut state = state(standing, good.map(Arc::clone), Some(self.since(times)));
            if let Some(good) = good {
                state.name.clone_from(&good.flow().name);
            }
            return Some(Draft { state, fresh: None });
        };
        let own = self.good.filter(|good| good.flow().digest == flow.digest);
        let good =
            own.map(|good| if Arc::ptr_eq(good.flow(), flow) { Arc::clone(good) } else { recompiled(good, flow) });
        let fresh = good.is_none().then(|| Arc::clone(flow));
        Some(Draft { state: state(Standing::Current, good, None), fresh })
    }

    fn since(&self, times: Times) -> Micros {
        self.before.and_then(|before| before.since).unwrap_or(times.now)
    }

    /// A file in a folder that cannot be read: it may be as it was.
    fn kept(&self, good: &Arc<Version>, disk: &Folder, times: Times) -> Draft {
        let folder = |finding: &&Diagnostic| is_below(self.file, std::slice::from_ref(&finding.place.file));
        let findings = disk.findings.iter().find(folder).cloned().into_iter().collect();
        self.without_file(good, Standing::KeptBack, findings, self.since(times))
    }

    /// Whether another file held a name that it wanted.
    fn was_refused(&self) -> bool {
        let findings = self.before.filter(|before| before.since.is_some()).map_or(&[][..], |before| &before.findings);
        findings.iter().any(|finding| finding.code == clash::CODE)
    }

    /// Since when and until when a file may be away.
    fn absence(&self, folders: &Folders<'a>, disk: &Folder, times: Times) -> Absence {
        let Times { now, rules } = times;
        let emptied = folders.is_emptied(self.file, disk);
        let patience = if emptied { rules.empty_folder_grace } else { rules.unload_after };
        let earlier = match self.before.map(|before| before.standing) {
            Some(Standing::Vanished { since, emptied, .. }) => Some((since, emptied)),
            _ => None,
        };
        let since = match earlier {
            // The folder fills again: what is not back yet gets the time that a single file has.
            Some((_, true)) if !emptied => now,
            Some((since, _)) => since,
            None => now,
        };
        let until = since.saturating_add(micros(patience));
        Absence { since, until, emptied, is_due: earlier.is_some() && now >= until }
    }

    /// A file that is not there.
    fn missed(&self, good: &Arc<Version>, folders: &Folders<'a>, disk: &Folder, times: Times) -> Draft {
        let Absence { since, until, emptied, .. } = self.absence(folders, disk, times);
        let place = super::files::at(std::path::Path::new(self.file));
        let finding = if emptied {
            let message = format!("the folder has no flows any more; `{}` goes on to answer for now", good.flow().name);
            Diagnostic::new("folder_emptied", place, "", message)
        } else {
            let message = format!("the file is gone; `{}` unloads if it stays away", good.flow().name);
            Diagnostic::new("file_vanished", place, "", message)
        };
        let finding = finding.help(format!("it unloads {}", crate::clock::human(until)));
        self.without_file(good, Standing::Vanished { since, until, emptied }, vec![finding], self.since(times))
    }

    fn without_file(&self, good: &Arc<Version>, standing: Standing, findings: Vec<Diagnostic>, since: Micros) -> Draft {
        let state = FileState {
            file: self.file.to_owned(),
            name: good.flow().name.clone(),
            standing,
            good: Some(Arc::clone(good)),
            findings,
            since: Some(since),
        };
        Draft { state, fresh: None }
    }
}

#[cfg(test)]
mod tests;

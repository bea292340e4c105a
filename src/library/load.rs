//! The one loader: `check`, `dry-run`, `serve`, reload and every command that needs a flow read the folders through it.
//!
//! Promises: what cannot be loaded is a finding with a place, never an early end; every other file still loads. A file
//! whose bytes, and whatever else its flow depends on, are as they were is neither parsed nor compiled again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::calls;
use super::clash;
use super::files::{self, Content, Hash, Reading, Stamp, Unread, hash_of, shown, walk};
use super::named::NamedFiles;
use super::settle::Settling;
use crate::clock::Micros;
use crate::diagnostic::{Diagnostic, nearest};
use crate::flow::catalogue::Catalogue;
use crate::flow::{self, BlueprintText, Bundle, Claim, Compiled, Defaults, Environment, Flow};

/// Files that one thread takes at a time.
const SLICE_FILES: usize = 16;

/// Fewer files than this are not worth another thread.
const FILES_PER_THREAD_MIN: usize = 32;

/// Extensions of flow files.
const EXTENSIONS: &[&str] = &["yaml", "yml"];

/// What the loader is told by the settings.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder of flows.
    pub flows: PathBuf,
    /// The folder of schemas.
    pub schemas: PathBuf,
    /// The folder of blueprints.
    pub blueprints: PathBuf,
    /// Connections: name to connector type.
    pub connections: BTreeMap<String, String>,
    /// Those that say themselves what an unknown outcome means.
    pub connections_decided: Vec<String>,
    /// `parameters:` of leadflow.yaml.
    pub parameters: serde_json::Value,
    /// `defaults:` of leadflow.yaml.
    pub defaults: Defaults,
    /// Most actions in a flow.
    pub actions_per_flow_max: usize,
    /// Most levels of containers.
    pub nesting_max: usize,
    /// Known actions and connectors.
    pub catalogue: Arc<Catalogue>,
}

impl Sources {
    /// Of everything in the settings that a flow is compiled against.
    fn fingerprint(&self) -> Hash {
        let defaults = serde_json::to_vec(&self.defaults).unwrap_or_default();
        let connections = serde_json::to_vec(&(&self.connections, &self.connections_decided)).unwrap_or_default();
        let limits = format!("{} {}", self.actions_per_flow_max, self.nesting_max);
        let parameters = self.parameters.to_string();
        let kinds = self.catalogue.connectors.iter().map(|spec| (&spec.kind, &spec.operations));
        let kinds = format!("{:?}", kinds.collect::<Vec<_>>());
        hash_of([kinds.as_bytes(), &connections[..], parameters.as_bytes(), &defaults, limits.as_bytes()])
    }
}

/// One flow file as loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file as the user knows it.
    pub file: String,
    /// Its text, for rendering findings.
    pub text: Arc<str>,
    /// The flow's name as far as it is known: also for a file that does not compile.
    pub name: String,
    /// The flow; absent when a finding is an error.
    pub flow: Option<Arc<Flow>>,
    /// Findings, in the order of the file.
    pub findings: Vec<Diagnostic>,
    /// The names that it claims, its own first.
    pub claims: Vec<Claim>,
    /// Flows that it calls.
    pub calls: Vec<Claim>,
    /// The blueprint that it is made of: some findings point into it.
    pub blueprint: Option<BlueprintText>,
}

/// Everything that the folders hold.
#[derive(Debug, Default)]
pub struct Folder {
    /// Flow files, sorted by path.
    pub files: Vec<Arc<Loaded>>,
    /// Findings that belong to no flow file (an unreadable folder).
    pub findings: Vec<Diagnostic>,
    /// Folders of flows that could be read, as the user knows them.
    pub folders: HashSet<String>,
    /// Files and folders of flows that are there and cannot be looked into.
    pub unreadable: Vec<String>,
    /// Files that are still being written: what was there before stands in `files`.
    pub unsettled: Vec<String>,
    /// How many files were parsed and compiled.
    pub compiled: usize,
}

/// Loads every flow under `sources.flows`; of two files with one name, the later one does not load.
pub fn load(sources: &Sources) -> Folder {
    load_paths(sources, &[&sources.flows])
}

/// Loads the given files only (`check PATH…`); folders are walked.
pub fn load_paths(sources: &Sources, paths: &[&Path]) -> Folder {
    let mut folder = Loader::default().look_at(sources, paths, &Look::once());
    clash::refuse_later(&mut folder.files);
    folder
}

/// Loads one flow by name, by alias, or by file. The error names what there is.
pub fn load_one(sources: &Sources, flow: &str) -> Result<Arc<Loaded>, String> {
    let path = Path::new(flow);
    let is_file = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_file {
        if !path.is_file() {
            return Err(format!("there is no file {flow}"));
        }
        return load_paths(sources, &[path]).files.pop().ok_or_else(|| format!("cannot read {flow}"));
    }
    let folder = load(sources);
    let names: Vec<String> = folder.files.iter().map(|file| file.name.clone()).collect();
    let answers_to = |file: &Arc<Loaded>| {
        file.name == flow
            || file.flow.as_ref().is_some_and(|compiled| compiled.aliases.iter().any(|alias| alias == flow))
    };
    folder.files.into_iter().find(answers_to).ok_or_else(|| {
        let hint = nearest(flow, names.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("there is no flow `{flow}` in {}{} (flows: {known})", sources.flows.display(), hint.unwrap_or_default())
    })
}

/// How closely to look.
#[derive(Debug, Default)]
pub struct Look {
    /// The machine's time.
    pub now: Micros,
    /// Take the system's word for files whose stamp vouches for them; else every byte is read.
    pub trust_stamps: bool,
    /// How long a changed file must have been seen unchanged; `None`: it is taken as it is.
    pub quiet: Option<Duration>,
    /// Files that somebody has open for writing, as far as the system told: absolute paths.
    pub being_written: HashSet<PathBuf>,
}

impl Look {
    /// The look of a command that looks once.
    pub fn once() -> Self {
        Self::default()
    }
}

/// What a flow was compiled against besides its own text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependencies {
    /// Of the settings.
    settings: Hash,
    /// The blueprint that it names, with its content's hash; `None`: not there.
    blueprint: Option<(String, Option<Hash>)>,
    /// Schemas that it, or its blueprint, names.
    named: Vec<(String, Option<Hash>)>,
    /// Of all names, where one that it names is not there: the suggestion in its finding depends on them.
    known: Option<Hash>,
}

/// A file as it was compiled last.
#[derive(Debug)]
struct Entry {
    stamp: Option<Stamp>,
    hash: Hash,
    /// `None`: it is no text, whatever else there is.
    against: Option<Dependencies>,
    loaded: Arc<Loaded>,
}

/// Loads again and again, and only what has changed.
#[derive(Debug)]
pub struct Loader {
    files: HashMap<PathBuf, Entry>,
    settling: Settling,
    schemas: NamedFiles,
    blueprints: NamedFiles,
}

impl Default for Loader {
    fn default() -> Self {
        let (files, settling) = Default::default();
        Self { files, settling, schemas: NamedFiles::schemas(), blueprints: NamedFiles::blueprints() }
    }
}

/// What became of one file in a look.
enum Outcome {
    /// As it was; a newly known stamp.
    Kept(Arc<Loaded>, Option<Stamp>),
    Compiled(Entry),
    /// Changed, and not yet at rest.
    Unsettled(Hash),
    Faulty(Arc<Loaded>),
    Gone,
}

impl Loader {
    /// Looks at every flow under `sources.flows`. Clashes of names are not judged here.
    pub fn look(&mut self, sources: &Sources, look: &Look) -> Folder {
        self.look_at(sources, &[&sources.flows], look)
    }

    fn look_at(&mut self, sources: &Sources, roots: &[&Path], look: &Look) -> Folder {
        let walked = walk(roots, EXTENSIONS);
        let mut folder = Folder {
            folders: walked.folders.iter().map(|path| shown(path)).collect(),
            unreadable: walked.faults.iter().filter(|(path, _)| is_there(path)).map(|(path, _)| shown(path)).collect(),
            findings: walked.faults.into_iter().map(|(_, finding)| finding).collect(),
            ..Folder::default()
        };
        self.settling.begin();
        self.schemas.look(&sources.schemas, look, &mut self.settling, &mut folder);
        self.blueprints.look(&sources.blueprints, look, &mut self.settling, &mut folder);
        let round = Round { loader: self, sources, settings: sources.fingerprint(), look };
        let outcomes = round.all(&walked.files);
        for (path, outcome) in walked.files.into_iter().zip(outcomes) {
            self.take(path, outcome, look, &mut folder);
        }
        self.settling.end();
        if roots == [sources.flows.as_path()] {
            calls::refuse(&mut folder.files);
        }
        folder
    }

    fn take(&mut self, path: PathBuf, outcome: Outcome, look: &Look, folder: &mut Folder) {
        match outcome {
            Outcome::Kept(loaded, stamp) => {
                if let (Some(entry), Some(stamp)) = (self.files.get_mut(&path), stamp) {
                    entry.stamp = Some(stamp);
                }
                folder.files.push(loaded);
            }
            Outcome::Compiled(entry) => {
                folder.compiled += 1;
                folder.files.push(Arc::clone(&entry.loaded));
                self.files.insert(path, entry);
            }
            Outcome::Unsettled(hash) => {
                folder.unsettled.push(shown(&path));
                folder.files.extend(self.files.get(&path).map(|entry| Arc::clone(&entry.loaded)));
                self.settling.note(path, hash, look.now);
            }
            Outcome::Faulty(loaded) => folder.files.push(loaded),
            Outcome::Gone => {}
        }
    }

    /// Forgets files that are not there any more and that `wanted` does not name.
    pub fn forget(&mut self, wanted: impl Fn(&str) -> bool) {
        self.files.retain(|_, entry| wanted(&entry.loaded.file));
    }
}

/// One look, as its threads see it.
struct Round<'a> {
    loader: &'a Loader,
    sources: &'a Sources,
    settings: Hash,
    look: &'a Look,
}

impl Round<'_> {
    /// Every file, over as many cores as there are and as are worth it.
    fn all(&self, paths: &[PathBuf]) -> Vec<Outcome> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Beside leads that come in, half of the machine is left to them.
        let cores = if self.look.quiet.is_some() { cores.div_ceil(2) } else { cores };
        let threads = cores.min(paths.len() / FILES_PER_THREAD_MIN);
        if threads <= 1 {
            return paths.iter().map(|path| self.one(path)).collect();
        }
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Vec<Outcome>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let start = next.fetch_add(SLICE_FILES, Ordering::Relaxed);
                        let Some(rest) = paths.get(start..).filter(|rest| !rest.is_empty()) else { break };
                        let slice = &rest[..rest.len().min(SLICE_FILES)];
                        let outcomes = slice.iter().map(|path| self.one(path)).collect();
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((start, outcomes));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(start, _)| *start);
        done.into_iter().flat_map(|(_, outcomes)| outcomes).collect()
    }

    fn one(&self, path: &Path) -> Outcome {
        let entry = self.loader.files.get(path);
        let known = entry.and_then(|entry| entry.stamp).filter(|_| self.look.trust_stamps);
        let content = match files::read(path, known, self.look.now) {
            Reading::Unread(Unread::Gone) => return Outcome::Gone,
            Reading::Unread(Unread::Faulty(finding)) => return Outcome::Faulty(unreadable(path, *finding)),
            Reading::Same => None,
            Reading::Read(content) => Some(content),
        };
        let same = |entry: &&Entry| content.as_ref().is_none_or(|content| content.hash == entry.hash);
        if let Some(entry) = entry.filter(same) {
            if entry.against.as_ref().is_none_or(|against| self.is_as_compiled(against)) {
                let stamp = content.and_then(|content| content.stamp);
                return Outcome::Kept(Arc::clone(&entry.loaded), stamp);
            }
            let stamp = content.map_or(entry.stamp, |content| content.stamp);
            return Outcome::Compiled(self.compile(path, entry.hash, stamp, &entry.loaded.text));
        }
        let Some(Content { hash, bytes, stamp }) = content else { return Outcome::Gone };
        if !self.loader.settling.is_at_rest(path, hash, self.look) {
            return Outcome::Unsettled(hash);
        }
        match files::text(path, bytes) {
            Ok(text) => Outcome::Compiled(self.compile(path, hash, stamp, &Arc::from(text))),
            // Kept as what the file is now: else it would be new, and not yet at rest, in every other look.
            Err(finding) => Outcome::Compiled(Entry { stamp, hash, against: None, loaded: unreadable(path, *finding) }),
        }
    }

    fn is_as_compiled(&self, against: &Dependencies) -> bool {
        let Loader { schemas, blueprints, .. } = self.loader;
        against.settings == self.settings
            && against.known.is_none_or(|known| known == self.known())
            && against.blueprint.iter().all(|(name, hash)| blueprints.hash(name) == *hash)
            && against.named.iter().all(|(name, hash)| schemas.hash(name) == *hash)
    }

    /// Of all names that a finding may suggest.
    fn known(&self) -> Hash {
        hash_of([&self.loader.schemas.names_hash()[..], &self.loader.blueprints.names_hash()[..]])
    }

    fn compile(&self, path: &Path, hash: Hash, stamp: Option<Stamp>, text: &Arc<str>) -> Entry {
        let file = shown(path);
        let Loader { schemas, blueprints, .. } = self.loader;
        let parsed = flow::parse(&file, text);
        let blueprint = parsed.blueprint().map(|name| (name.to_owned(), blueprints.hash(name)));
        let body = blueprint.as_ref().and_then(|(name, _)| {
            Some(BlueprintText { file: blueprints.file(name)?.to_owned(), text: blueprints.text(name)?.to_owned() })
        });
        let mut schema_files = parsed.schema_files();
        schema_files.extend(body.iter().flat_map(|body| flow::parse(&body.file, &body.text).schema_files()));
        let named: Vec<(String, Option<Hash>)> =
            schema_files.into_iter().map(|name| (name.clone(), schemas.hash(&name))).collect();
        let missing = named.iter().chain(&blueprint).any(|(_, hash)| hash.is_none());
        let pinned = named.iter().filter_map(|(name, _)| Some((name.clone(), schemas.text(name)?.to_owned())));
        let bundle = Bundle {
            file: file.clone(),
            text: text.to_string(),
            blueprint: body.clone(),
            schemas: pinned.collect(),
            parameters: self.sources.parameters.clone(),
            defaults: self.sources.defaults.clone(),
        };
        let environment = Environment {
            catalogue: &self.sources.catalogue,
            connections: Some(&self.sources.connections),
            connections_decided: &self.sources.connections_decided,
            schemas_known: schemas.names(),
            blueprints_known: blueprints.names(),
            actions_per_flow_max: self.sources.actions_per_flow_max,
            nesting_max: self.sources.nesting_max,
        };
        let compiled =
            std::panic::catch_unwind(AssertUnwindSafe(|| flow::compile_parsed(parsed, bundle, &environment)));
        let Compiled { flow, name, findings, claims, calls } = compiled.unwrap_or_else(|_| panicked(path));
        let (text, flow) = (Arc::clone(text), flow.map(Arc::new));
        let loaded = Loaded { file, text, name, flow, findings, claims, calls, blueprint: body };
        let known = missing.then(|| self.known());
        let against = Some(Dependencies { settings: self.settings, blueprint, named, known });
        Entry { stamp, hash, against, loaded: Arc::new(loaded) }
    }
}

/// A fault of ours in one file must not keep the others from loading.
fn panicked(path: &Path) -> Compiled {
    let message = "leadflow failed on this file; the log has the place in its code";
    let findings = vec![Diagnostic::new("engine_fault", files::at(path), "", message)];
    Compiled { flow: None, name: stem(path), findings, claims: Vec::new(), calls: Vec::new() }
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether there is something at `path`, be it a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |_| true)
}

fn unreadable(path: &Path, finding: Diagnostic) -> Arc<Loaded> {
    let (file, findings) = (shown(path), vec![finding]);
    let (claims, calls, blueprint) = Default::default();
    Arc::new(Loaded { file, text: Arc::from(""), name: stem(path), flow: None, findings, claims, calls, blueprint })
}

//! Hints that something has changed on disk: from the system's watches, where there are any.
//!
//! Promise: a hint only ever makes a look come sooner. Watches that fail, miss an event or cannot be had are logged and
//! borne: whoever waits polls as well.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// How long after its last change a file counts as open for writing when nobody said that it was closed: its writer may
/// have died, and a watch may miss the end.
const WRITING_MAX: Duration = Duration::from_secs(5);

/// Files that are remembered as being written.
const WRITING_FILES_MAX: usize = 10_000;

/// What is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Folders with everything below them.
    pub folders: BTreeSet<PathBuf>,
    /// Single files.
    pub files: BTreeSet<PathBuf>,
}

impl Wanted {
    /// With absolute paths, as events name them.
    fn absolute(&self) -> Self {
        let whole = |paths: &BTreeSet<PathBuf>| {
            paths.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
        };
        Self { folders: whole(&self.folders), files: whole(&self.files) }
    }

    /// Folders to watch, and whether with everything below them: what is wanted, and the folder above each, where a
    /// folder that is replaced or a link that is swapped shows.
    fn places(&self) -> HashMap<PathBuf, bool> {
        let above = self.folders.iter().chain(&self.files).filter_map(|path| path.parent());
        let mut places: HashMap<PathBuf, bool> = above.map(|folder| (folder.to_owned(), false)).collect();
        places.extend(self.folders.iter().map(|folder| (folder.clone(), true)));
        places
    }

    /// Whether an event at `path` may concern what is wanted.
    fn concerns(&self, path: &Path) -> bool {
        let swapped = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".."));
        let mut all = self.folders.iter().chain(&self.files);
        swapped
            || self.folders.iter().any(|folder| path.starts_with(folder))
            || all.any(|wanted| wanted.starts_with(path))
    }
}

/// What was heard.
#[derive(Debug, Default)]
pub struct Hints {
    heard: Notify,
    wanted: Mutex<Wanted>,
    writing: Mutex<HashMap<PathBuf, Instant>>,
}

impl Hints {
    /// Resolves when something may have changed since the last time it resolved.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Files that somebody has open for writing.
    pub fn being_written(&self) -> HashSet<PathBuf> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.retain(|_, at| at.elapsed() < WRITING_MAX);
        writing.keys().cloned().collect()
    }

    fn event(&self, event: &notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "a watch reports an error; looking");
                return self.heard.notify_one();
            }
        };
        let closed = matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)));
        // Our own reading opens files too.
        if matches!(event.kind, EventKind::Access(_)) && !closed {
            return;
        }
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if event.need_rescan() || event.paths.iter().any(|path| wanted.concerns(path)) {
            drop(wanted);
            self.note_writing(event, closed);
            self.heard.notify_one();
        }
    }

    fn note_writing(&self, event: &Event, closed: bool) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event.kind, EventKind::Modify(ModifyKind::Data(_))) {
            if writing.len() < WRITING_FILES_MAX {
                writing.extend(event.paths.iter().map(|path| (path.clone(), Instant::now())));
            }
        } else if closed || !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
            for path in &event.paths {
                writing.remove(path);
            }
        }
    }
}

/// The watches.
pub struct Watcher {
    hints: Arc<Hints>,
    inner: Option<RecommendedWatcher>,
    /// Places that are watched, with what tells a folder from another one that took its place.
    placed: HashMap<PathBuf, (bool, Option<Identity>)>,
    /// A failure is logged once, not at every poll.
    complained: bool,
}

/// Device and number of a folder.
type Identity = (u64, u64);

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> Self {
        let hints = Arc::new(Hints::default());
        let heard = Arc::clone(&hints);
        let inner = notify::recommended_watcher(move |event| heard.event(&event))
            .inspect_err(
                |error| tracing::warn!(%error, "no watches on this system: changes are found by polling alone"),
            )
            .ok();
        Self { hints, inner, placed: HashMap::new(), complained: false }
    }

    /// Where hints are heard.
    pub fn hints(&self) -> Arc<Hints> {
        Arc::clone(&self.hints)
    }

    /// Watches what is wanted; called again and again, it renews the watches of folders that were replaced.
    pub fn place(&mut self, wanted: &Wanted) {
        let wanted = wanted.absolute();
        let places = wanted.places();
        *self.hints.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        let Some(inner) = &mut self.inner else { return };
        let stale = |(path, state): (&PathBuf, &(bool, Option<Identity>))| {
            let current = places.get(path).map(|below| (*below, identity(path)));
            (current != Some(*state)).then(|| path.clone())
        };
        let gone: Vec<PathBuf> = self.placed.iter().filter_map(stale).collect();
        for path in gone {
            // The system may have dropped the watch with its folder.
            if let Err(error) = inner.unwatch(&path) {
                tracing::trace!(%error, "a watch was gone already");
            }
            self.placed.remove(&path);
        }
        for (path, below) in places {
            let Some(identity) = identity(&path).filter(|_| !self.placed.contains_key(&path)) else { continue };
            let mode = if below { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match inner.watch(&path, mode) {
                Ok(()) => {
                    self.placed.insert(path, (below, Some(identity)));
                    // What changed before the watch was there has no event.
                    self.hints.heard.notify_one();
                }
                Err(error) if !self.complained => {
                    self.complained = true;
                    tracing::warn!(%error, folder = %path.display(), "cannot watch this folder: its changes are found by polling alone");
                }
                Err(_) => {}
            }
        }
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("places", &self.placed.len()).finish_non_exhaustive()
    }
}

/// What tells the folder at `path` from another; `None`: there is none.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.is_dir().then_some((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &Path) -> Wanted {
        let folders = BTreeSet::from([folder.join("flows")]);
        Wanted { folders, files: BTreeSet::from([folder.join("leadflow.yaml")]) }
    }

    #[test]
    fn only_what_is_wanted_is_a_hint() {
        let wanted = wanted(Path::new("/w"));
        for path in ["/w/flows", "/w/flows/a/b.yaml", "/w/leadflow.yaml", "/w/..data", "/w"] {
            assert!(wanted.concerns(Path::new(path)), "{path}");
        }
        for path in ["/w/leadflow-data", "/w/leadflow.yaml.swp", "/w/flowsy", "/x"] {
            assert!(!wanted.concerns(Path::new(path)), "{path}");
        }
        let places = wanted.places();
        assert_eq!(places.get(Path::new("/w")), Some(&false));
        assert_eq!(places.get(Path::new("/w/flows")), Some(&true));
    }

    #[test]
    fn a_file_is_being_written_from_its_first_change_to_its_close() {
        let hints = Hints::default();
        *hints.wanted.lock().expect("no panic") = wanted(Path::new("/w"));
        let path = PathBuf::from("/w/flows/a.yaml");
        let event = |kind| hints.event(&Ok(Event::new(kind).add_path(path.clone())));
        event(EventKind::Access(AccessKind::Open(AccessMode::Any)));
        assert!(hints.being_written().is_empty());
        event(EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any)));
        assert_eq!(hints.being_written(), HashSet::from([path.clone()]));
        event(EventKind::Access(AccessKind::Close(AccessMode::Write)));
        assert!(hints.being_written().is_empty());
    }

    #[tokio::test]
    async fn a_replaced_folder_is_watched_again() {
        let workspace = tempfile::tempdir().expect("temporary folder");
        let flows = workspace.path().join("flows");
        std::fs::create_dir(&flows).expect("folder");
        let mut watcher = Watcher::new();
        let hints = watcher.hints();
        watcher.place(&wanted(workspace.path()));
        hints.heard().await;
        std::fs::rename(&flows, workspace.path().join("old")).expect("rename");
        std::fs::create_dir(&flows).expect("folder");
        hints.heard().await;
        watcher.place(&wanted(workspace.path()));
        assert_eq!(watcher.placed[&flows], (true, identity(&flows)));
    }
}

//! What must be live: for each file what is on disk and the last good version, for each name the file that holds it.

use std::collections::{BTreeMap, BTreeSet};

use super::edits::{ANCHOR, ANCHOR_FILE, Bad, Content, Edit, Good, settings};
use crate::support::Workspace;

/// A version that was good.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    good: Good,
    /// The parameter that it was compiled with: a version keeps what it was compiled with.
    parameter: u64,
}

/// One flow file.
#[derive(Debug, Clone)]
struct File {
    disk: Content,
    last_good: Option<Version>,
    /// Whether the last good version is what is on disk.
    is_current: bool,
}

impl File {
    fn fresh(disk: Content) -> Self {
        Self { disk, last_good: None, is_current: false }
    }
}

/// Everything that must be live.
#[derive(Debug, Clone)]
pub(super) struct Model {
    files: BTreeMap<String, File>,
    parameter: u64,
    settings_are_good: bool,
}

impl Model {
    /// One flow that always answers, and its workspace.
    pub(super) fn begin(workspace: &Workspace) -> Self {
        let mut model = Self { files: BTreeMap::new(), parameter: 0, settings_are_good: true };
        let good = Good { name: ANCHOR.into(), said: 0, enabled: true, comment: 0 };
        workspace.write("leadflow.yaml", &settings(0));
        workspace.write(ANCHOR_FILE, &good.text());
        model.files.insert(ANCHOR_FILE.into(), File::fresh(Content::Good(good)));
        model.settle();
        model
    }

    /// What each name answers.
    pub(super) fn answers(&self) -> BTreeMap<String, String> {
        let answer =
            |version: &Version| (version.good.name.clone(), format!("{}/{}", version.good.said, version.parameter));
        self.serving().map(|(_, file)| answer(file.last_good.as_ref().expect("it serves"))).collect()
    }

    /// Name, file, and whether that is what is on disk, by name.
    pub(super) fn live(&self) -> Vec<(String, String, bool)> {
        let row = |(path, file): (&String, &File)| {
            let name = file.last_good.as_ref().expect("it serves").good.name.clone();
            (name, path.clone(), file.is_current)
        };
        let mut live: Vec<_> = self.serving().map(row).collect();
        live.sort();
        live
    }

    fn serving(&self) -> impl Iterator<Item = (&String, &File)> {
        self.files.iter().filter(|(_, file)| file.last_good.as_ref().is_some_and(|version| version.good.enabled))
    }

    /// Whether what is on disk is live.
    pub(super) fn is_on_disk(&self) -> bool {
        self.settings_are_good && self.files.values().all(|file| file.is_current)
    }

    pub(super) fn paths(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    pub(super) fn disk(&self, path: &str) -> Option<&Content> {
        self.files.get(path).map(|file| &file.disk)
    }

    /// The name under which the file's last good version answers.
    pub(super) fn held_by(&self, path: &str) -> Option<&str> {
        Some(&self.files.get(path)?.last_good.as_ref()?.good.name)
    }

    /// The edit that makes the settings good, as they are.
    pub(super) fn mend_settings(&self) -> Edit {
        Edit::Settings(Some(self.parameter))
    }

    /// What an edit changes, once it has settled.
    pub(super) fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Write(path, content) => self.write(path, content),
            Edit::Exchange(one, other) => {
                let (a, b) = (self.files[one].disk.clone(), self.files[other].disk.clone());
                self.write(one, &b);
                self.write(other, &a);
            }
            Edit::Remove(path) => {
                let file = self.files.remove(path).expect("a file");
                self.inherit(file);
            }
            Edit::Rename(from, to) => {
                let file = self.files.remove(from).expect("a file");
                let mut renamed = File::fresh(file.disk.clone());
                let last = file.last_good.as_ref().map(|version| version.good.name.as_str());
                // The flow is recognised by its name, wherever its file lies.
                let is_recognised = last.is_some() && last == file.disk.name();
                if is_recognised {
                    renamed.last_good.clone_from(&file.last_good);
                }
                self.files.insert(to.clone(), renamed);
                if !is_recognised {
                    self.inherit(file);
                }
            }
            Edit::Settings(None) => self.settings_are_good = false,
            Edit::Settings(Some(parameter)) => {
                self.settings_are_good = true;
                self.parameter = *parameter;
            }
            Edit::Away => {}
        }
        self.settle();
    }

    fn write(&mut self, path: &str, content: &Content) {
        let file = self.files.entry(path.to_owned()).or_insert_with(|| File::fresh(content.clone()));
        file.disk = content.clone();
        file.is_current = false;
    }

    /// A file has gone. Another one that is broken, never was good, and is of the same flow takes its last good version
    /// over; where a good file brings the flow, `settle` gives it the name.
    fn inherit(&mut self, gone: File) {
        let Some(version) = gone.last_good else { return };
        let is_heir = |file: &&mut File| {
            file.last_good.is_none()
                && matches!(&file.disk, Content::Bad(bad) if bad.name() == Some(&version.good.name))
        };
        if let Some(heir) = self.files.values_mut().find(is_heir) {
            heir.last_good = Some(version.clone());
        }
    }

    /// Every good content becomes live if it gets its name: whoever holds the name keeps it, else the first file has it.
    fn settle(&mut self) {
        let mut granted: BTreeSet<String> = self.files.keys().cloned().collect();
        loop {
            let wanted: BTreeMap<&str, &str> = self
                .files
                .iter()
                .filter_map(|(path, file)| Some((path.as_str(), Self::wants(file, granted.contains(path))?)))
                .collect();
            let holder = |name: &str| {
                let wanting = || wanted.iter().filter(|(_, wanted)| **wanted == name).map(|(path, _)| *path);
                wanting().find(|path| self.held_by(path) == Some(name)).or_else(|| wanting().next())
            };
            let losers: BTreeSet<String> = wanted
                .iter()
                .filter(|(path, name)| granted.contains(**path) && holder(name) != Some(**path))
                .map(|(path, _)| (*path).to_owned())
                .collect();
            if losers.is_empty() {
                break;
            }
            granted.retain(|path| !losers.contains(path));
        }
        let parameter = self.parameter;
        for (path, file) in &mut self.files {
            file.is_current = false;
            if let (true, Content::Good(good)) = (granted.contains(path), &file.disk) {
                file.last_good = Some(Version { good: good.clone(), parameter });
                file.is_current = true;
            }
        }
    }

    /// The name that a file wants: that of what is on disk, else that of its last good version.
    fn wants(file: &File, granted: bool) -> Option<&str> {
        let last = file.last_good.as_ref().map(|version| version.good.name.as_str());
        match &file.disk {
            Content::Good(good) if granted => Some(&good.name),
            Content::Good(_) => last,
            // Broken from the first: it holds the name that it claims against those that come after it.
            Content::Bad(bad) => last.or_else(|| granted.then(|| bad.name()).flatten()),
        }
    }
}

impl Content {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Good(good) => Some(&good.name),
            Self::Bad(bad) => bad.name(),
        }
    }
}

impl Bad {
    /// The flow's name, where the text says it in spite of its fault.
    fn name(&self) -> Option<&str> {
        match self {
            Self::UnknownKey(good) | Self::UnknownConnection(good) => Some(&good.name),
            Self::Empty | Self::HalfWritten(_) | Self::NotUtf8 => None,
        }
    }
}

//! Files that flows may name: schemas and blueprints.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::files::{self, Hash, Reading, Stamp, Unread, hash_of, shown, walk};
use super::load::{Folder, Look};
use super::settle::Settling;
use crate::diagnostic::Diagnostic;

/// A file as it was read last.
#[derive(Debug)]
struct Named {
    name: String,
    /// As the user knows it.
    file: String,
    stamp: Option<Stamp>,
    hash: Hash,
    text: String,
}

/// Every file of one kind, read again only when it has changed.
#[derive(Debug)]
pub(super) struct NamedFiles {
    extensions: &'static [&'static str],
    /// Whether a name goes without its extension.
    by_stem: bool,
    files: HashMap<PathBuf, Named>,
    /// Contents that are no text: each is told in every look, and is not new in each.
    refused: HashMap<PathBuf, (Hash, Box<Diagnostic>)>,
    by_name: BTreeMap<String, PathBuf>,
    names: Vec<String>,
    names_hash: Hash,
}

impl NamedFiles {
    /// Schemas: `marketplace-lead.json`.
    pub(super) fn schemas() -> Self {
        Self::new(&["json"], false)
    }

    /// Blueprints: `marketplace-lead` is `marketplace-lead.yaml`.
    pub(super) fn blueprints() -> Self {
        Self::new(&["yaml", "yml"], true)
    }

    fn new(extensions: &'static [&'static str], by_stem: bool) -> Self {
        let (files, refused, by_name, names, names_hash) = Default::default();
        Self { extensions, by_stem, files, refused, by_name, names, names_hash }
    }

    /// Reads what has changed under `root`. A file that cannot be read, or not yet, stays as it was: flows that name it
    /// keep what they have.
    pub(super) fn look(&mut self, root: &Path, look: &Look, settling: &mut Settling, folder: &mut Folder) {
        let walked = if root.is_dir() { walk(&[root], self.extensions) } else { files::Walked::default() };
        folder.findings.extend(walked.faults.into_iter().map(|(_, finding)| finding));
        let mut present = BTreeMap::new();
        self.refused.retain(|path, _| walked.files.contains(path));
        for path in walked.files {
            self.one(root, &path, look, settling, folder);
            if let Some(file) = self.files.get(&path) {
                present.insert(file.name.clone(), path);
            }
        }
        self.files.retain(|_, file| present.contains_key(&file.name));
        self.names = present.keys().cloned().collect();
        self.names_hash = hash_of(self.names.iter().map(String::as_bytes));
        self.by_name = present;
    }

    fn one(&mut self, root: &Path, path: &Path, look: &Look, settling: &mut Settling, folder: &mut Folder) {
        let old = self.files.get(path);
        let known = old.and_then(|file| file.stamp).filter(|_| look.trust_stamps);
        let content = match files::read(path, known, look.now) {
            Reading::Same | Reading::Unread(Unread::Gone) => return,
            Reading::Unread(Unread::Faulty(finding)) => return folder.findings.push(*finding),
            Reading::Read(content) => content,
        };
        if let Some(file) = self.files.get_mut(path).filter(|file| file.hash == content.hash) {
            file.stamp = content.stamp;
            return;
        }
        if let Some((_, finding)) = self.refused.get(path).filter(|(hash, _)| *hash == content.hash) {
            return folder.findings.push((**finding).clone());
        }
        if !settling.is_at_rest(path, content.hash, look) {
            settling.note(path.to_owned(), content.hash, look.now);
            return folder.unsettled.push(shown(path));
        }
        let name = path.strip_prefix(root).unwrap_or(path);
        let name = if self.by_stem { name.with_extension("") } else { name.to_owned() };
        let name = name.to_string_lossy().replace('\\', "/");
        match files::text(path, content.bytes) {
            Ok(text) => {
                let shown = shown(path);
                let file = Named { name, file: shown, stamp: content.stamp, hash: content.hash, text };
                self.files.insert(path.to_owned(), file);
            }
            Err(finding) => {
                folder.findings.push((*finding).clone());
                self.refused.insert(path.to_owned(), (content.hash, finding));
            }
        }
    }

    /// The hash of a file's content.
    pub(super) fn hash(&self, name: &str) -> Option<Hash> {
        self.by_name.get(name).and_then(|path| self.files.get(path)).map(|file| file.hash)
    }

    /// Where it stands, as the user knows it.
    pub(super) fn file(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).and_then(|path| self.files.get(path)).map(|file| &*file.file)
    }

    /// Its text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).and_then(|path| self.files.get(path)).map(|file| &*file.text)
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Of all names.
    pub(super) fn names_hash(&self) -> Hash {
        self.names_hash
    }
}

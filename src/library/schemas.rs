//! The schema files that flows may name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::files::{self, Hash, Reading, Stamp, Unread, hash_of, shown, walk};
use super::load::{Folder, Look};
use super::settle::Settling;

/// A schema file as it was read last.
#[derive(Debug)]
struct Schema {
    name: String,
    stamp: Option<Stamp>,
    hash: Hash,
    text: String,
}

/// Every schema file, read again only when it has changed.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    files: HashMap<PathBuf, Schema>,
    by_name: BTreeMap<String, PathBuf>,
    names: Vec<String>,
    names_hash: Hash,
}

impl Schemas {
    /// Reads what has changed under `root`. A file that cannot be read, or not yet, stays as it was: flows that name it
    /// keep what they have.
    pub(super) fn look(&mut self, root: &Path, look: &Look, settling: &mut Settling, folder: &mut Folder) {
        let walked = if root.is_dir() { walk(&[root], &["json"]) } else { files::Walked::default() };
        folder.findings.extend(walked.faults.into_iter().map(|(_, finding)| finding));
        let mut present = BTreeMap::new();
        for path in walked.files {
            self.one(root, &path, look, settling, folder);
            if let Some(schema) = self.files.get(&path) {
                present.insert(schema.name.clone(), path);
            }
        }
        self.files.retain(|_, schema| present.contains_key(&schema.name));
        self.names = present.keys().cloned().collect();
        self.names_hash = hash_of(self.names.iter().map(String::as_bytes));
        self.by_name = present;
    }

    fn one(&mut self, root: &Path, path: &Path, look: &Look, settling: &mut Settling, folder: &mut Folder) {
        let old = self.files.get(path);
        let known = old.and_then(|schema| schema.stamp).filter(|_| look.trust_stamps);
        let content = match files::read(path, known, look.now) {
            Reading::Same | Reading::Unread(Unread::Gone) => return,
            Reading::Unread(Unread::Faulty(finding)) => return folder.findings.push(*finding),
            Reading::Read(content) => content,
        };
        if let Some(schema) = self.files.get_mut(path).filter(|schema| schema.hash == content.hash) {
            schema.stamp = content.stamp;
            return;
        }
        if !settling.is_at_rest(path, content.hash, look) {
            settling.note(path.to_owned(), content.hash, look.now);
            return folder.unsettled.push(shown(path));
        }
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        match files::text(path, content.bytes) {
            Ok(text) => {
                let schema = Schema { name, stamp: content.stamp, hash: content.hash, text };
                self.files.insert(path.to_owned(), schema);
            }
            Err(finding) => folder.findings.push(*finding),
        }
    }

    /// The hash of a schema file's content.
    pub(super) fn hash(&self, name: &str) -> Option<Hash> {
        self.by_name.get(name).and_then(|path| self.files.get(path)).map(|schema| schema.hash)
    }

    /// Its text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).and_then(|path| self.files.get(path)).map(|schema| &*schema.text)
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

//! The user's connector files: `connectors/*.yaml` beside `flows/`, read with the settings.
//!
//! Promises: a file with errors keeps the connector that it was before, if there was one; a file that is as it was keeps
//! the very same connector, so that its connections stay open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::broken::Broken;
use super::compile;
use crate::connectors::{Connector, Registry};
use crate::diagnostic::{Diagnostic, Place};

/// Bytes of a connector file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A connector file as it was taken last.
#[derive(Clone)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its text, when it was good.
    text: Arc<str>,
    /// What it made.
    connector: Arc<dyn Connector>,
    /// Whether that is the good one.
    is_good: bool,
}

impl File {
    /// What it made.
    pub(in crate::connectors) fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    /// Its connector's name.
    pub fn kind(&self) -> &str {
        self.connector.kind()
    }

    /// Whether both made the very same connector.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connector, &other.connector)
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("is_good", &self.is_good).finish_non_exhaustive()
    }
}

/// The kinds of connection that there are, and what became of the user's files.
#[derive(Debug)]
pub struct Loaded {
    /// All kinds.
    pub registry: Arc<Registry>,
    /// Names and texts of what was read, for rendering findings.
    pub texts: Vec<(String, Arc<str>)>,
    /// Everything that was found.
    pub findings: Vec<Diagnostic>,
}

/// Reads the files of `folder`, which need not be there. `before`: what they were.
pub fn load(folder: &Path, before: &[File]) -> Loaded {
    let mut files: Vec<File> = Vec::new();
    let mut loaded = Loaded { registry: Arc::clone(Registry::builtin()), texts: Vec::new(), findings: Vec::new() };
    let mut names: BTreeSet<String> = BTreeSet::new();
    let (paths, fault) = paths(folder);
    loaded.findings.extend(fault);
    for path in paths {
        let shown = shown(&path);
        let old = before.iter().find(|file| file.path == path);
        let text = match read(&path) {
            Ok(text) => text,
            Err(why) => {
                loaded.findings.push(Diagnostic::new("unreadable_file", first(&shown), "", why));
                // What cannot be read now is as it was.
                if let Some(old) = old.filter(|old| names.insert(old.connector.kind().to_owned())) {
                    files.push(old.clone());
                }
                continue;
            }
        };
        loaded.texts.push((shown.clone(), Arc::clone(&text)));
        if let Some(old) = old.filter(|old| old.is_good && *old.text == *text)
            && names.insert(old.connector.kind().to_owned())
        {
            files.push(old.clone());
            continue;
        }
        files.extend(one(path, &shown, text, old, &mut names, &mut loaded.findings));
    }
    if !files.is_empty() {
        loaded.registry = Arc::new(Registry::builtin().with(files));
    }
    loaded
}

fn one(
    path: PathBuf,
    shown: &str,
    text: Arc<str>,
    old: Option<&File>,
    names: &mut BTreeSet<String>,
    findings: &mut Vec<Diagnostic>,
) -> Option<File> {
    let compiled = compile(shown, &text);
    let name = compiled.name;
    findings.extend(compiled.findings);
    if let Some(why) = clash(&name, names) {
        let finding = Diagnostic::new("connector_clash", first(shown), "name", why);
        findings.push(finding.help("write another  name:  into one of the two files"));
        return None;
    }
    let file = match (compiled.rest, old) {
        (Some(rest), _) => File { path, text, connector: Arc::new(rest), is_good: true },
        (None, Some(old)) if old.connector.kind() == name => old.clone(),
        (None, _) => File { path, text, connector: Arc::new(Broken::new(&name, shown)), is_good: false },
    };
    names.insert(name);
    Some(file)
}

fn clash(name: &str, names: &BTreeSet<String>) -> Option<String> {
    if Registry::builtin().find(name).is_some() {
        return Some(format!("leadflow has a connector `{name}` already"));
    }
    names.contains(name).then(|| format!("another file is the connector `{name}` already"))
}

/// The files of the folder, sorted; names that start with `.` are left out. And what is wrong with the folder.
pub fn paths(folder: &Path) -> (Vec<PathBuf>, Option<Diagnostic>) {
    let entries = match std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Vec::new(), None),
        Err(error) => {
            let fault = Diagnostic::new("unreadable_file", first(&shown(folder)), "", error.to_string());
            return (Vec::new(), Some(fault));
        }
    };
    let is_ours = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_ours).collect();
    paths.sort();
    (paths, None)
}

fn read(path: &Path) -> Result<Arc<str>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes; a connector file may have {FILE_BYTES_MAX}"));
    }
    std::fs::read_to_string(path).map(Arc::from).map_err(|error| error.to_string())
}

fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).to_string_lossy().into_owned()
}

fn first(file: &str) -> Place {
    Place { file: file.to_owned(), line: 1, column: 1, length: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "summary: x\nbase_url: http://a.example\noperations: { create: { path: /x } }\n";

    fn codes(loaded: &Loaded) -> Vec<&str> {
        loaded.findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_file_that_is_as_it_was_keeps_its_connector_and_a_broken_one_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("write");
        assert!(Arc::ptr_eq(&load(&folder.path().join("no"), &[]).registry, Registry::builtin()));
        write("a.yaml", GOOD);
        write("b.yaml", GOOD);
        write(".hidden.yaml", "");
        let first = load(folder.path(), &[]);
        assert_eq!(codes(&first), Vec::<&str>::new());
        write("b.yaml", &GOOD.replace("summary", "sumary"));
        let second = load(folder.path(), first.registry.files());
        assert_eq!(codes(&second), ["unknown_key"]);
        let same = |kind: &str, one: &Loaded, other: &Loaded| {
            let of = |loaded: &Loaded| Arc::clone(loaded.registry.find(kind).expect("a connector"));
            Arc::ptr_eq(&of(one), &of(other))
        };
        assert!(same("a", &first, &second) && same("b", &first, &second));
        write("b.yaml", &GOOD.replace("/x", "/y"));
        let third = load(folder.path(), second.registry.files());
        assert!(same("a", &first, &third) && !same("b", &first, &third));
        // Without an older version its connections wait.
        write("b.yaml", "summary: [");
        let fourth = load(folder.path(), &[]);
        let broken = fourth.registry.find("b").expect("a connector");
        assert!(broken.spec().summary.contains("b.yaml"), "{}", broken.spec().summary);
    }

    #[test]
    fn names_are_unique() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("smtp.yaml"), GOOD).expect("write");
        std::fs::write(folder.path().join("x.yaml"), GOOD).expect("write");
        std::fs::write(folder.path().join("y.yaml"), format!("name: x\n{GOOD}")).expect("write");
        let loaded = load(folder.path(), &[]);
        assert_eq!(codes(&loaded), ["connector_clash", "connector_clash"]);
        assert_eq!(loaded.findings.iter().map(|one| one.place.file.ends_with("x.yaml")).filter(|own| *own).count(), 0);
    }
}

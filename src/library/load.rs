//! The one loader: `check`, `dry-run`, `serve` and every command that needs a flow read the folders through it.
//!
//! Promise: what cannot be loaded is a finding with a place, never an early end; every other file still loads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, Severity, nearest};
use crate::flow::catalogue::Catalogue;
use crate::flow::{Bundle, Compiled, Defaults, Environment, compile, named_schemas};
use crate::yaml;

/// Bytes of one flow or schema file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Levels of sub-folders below `flows/` and `schemas/`.
const FOLDER_DEPTH_MAX: usize = 16;

/// What the loader is told by the settings.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder of flows.
    pub flows: PathBuf,
    /// The folder of schemas.
    pub schemas: PathBuf,
    /// Connections: name to connector type.
    pub connections: BTreeMap<String, String>,
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

/// One flow file as loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The file as the user knows it.
    pub file: String,
    /// Its text, for rendering findings.
    pub text: Arc<str>,
    /// What compiling gave; duplicate names are already findings in it.
    pub compiled: Compiled,
}

/// Everything that the folders hold.
#[derive(Debug, Default)]
pub struct Folder {
    /// Flow files, sorted by path.
    pub files: Vec<Loaded>,
    /// Findings that belong to no flow file (an unreadable folder).
    pub findings: Vec<Diagnostic>,
}

/// Loads every flow under `sources.flows`.
pub fn load(sources: &Sources) -> Folder {
    load_paths(sources, &[&sources.flows])
}

/// Loads the given files only (`check PATH…`); folders are walked.
pub fn load_paths(sources: &Sources, paths: &[&Path]) -> Folder {
    let mut folder = Folder::default();
    let mut files = Vec::new();
    for path in paths {
        walk(path, &["yaml", "yml"], 0, &mut files, &mut folder.findings);
    }
    files.sort();
    files.dedup();
    let schemas = Schemas::read(&sources.schemas, &mut folder.findings);
    for path in files {
        match read(&path) {
            Ok(text) => folder.files.push(load_text(sources, &schemas, &shown(&path), &text)),
            Err(finding) => folder.files.push(unreadable(&path, *finding)),
        }
    }
    refuse_clashes(&mut folder.files);
    folder
}

/// Loads one flow by name, by alias, or by file. The error names what there is.
pub fn load_one(sources: &Sources, flow: &str) -> Result<Loaded, String> {
    let path = Path::new(flow);
    let is_file = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_file {
        if !path.is_file() {
            return Err(format!("there is no file {flow}"));
        }
        return load_paths(sources, &[path]).files.pop().ok_or_else(|| format!("cannot read {flow}"));
    }
    let folder = load(sources);
    let names: Vec<String> = folder.files.iter().map(|file| file.compiled.name.clone()).collect();
    let answers_to = |file: &Loaded| {
        file.compiled.name == flow
            || file.compiled.flow.as_ref().is_some_and(|compiled| compiled.aliases.iter().any(|alias| alias == flow))
    };
    folder.files.into_iter().find(answers_to).ok_or_else(|| {
        let hint = nearest(flow, names.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("there is no flow `{flow}` in {}{} (flows: {known})", sources.flows.display(), hint.unwrap_or_default())
    })
}

/// The schema files that flows may name.
struct Schemas {
    texts: BTreeMap<String, String>,
    names: Vec<String>,
}

impl Schemas {
    fn read(root: &Path, findings: &mut Vec<Diagnostic>) -> Self {
        let mut files = Vec::new();
        if root.is_dir() {
            walk(root, &["json"], 0, &mut files, findings);
        }
        let mut texts = BTreeMap::new();
        for path in files {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            match read(&path) {
                Ok(text) => {
                    texts.insert(name, text);
                }
                Err(finding) => findings.push(*finding),
            }
        }
        let names = texts.keys().cloned().collect();
        Self { texts, names }
    }
}

fn load_text(sources: &Sources, schemas: &Schemas, file: &str, text: &str) -> Loaded {
    let named = yaml::parse(file, text).0.map(|doc| named_schemas(&doc)).unwrap_or_default();
    let pinned = named.into_iter().filter_map(|name| schemas.texts.get(&name).map(|text| (name.clone(), text.clone())));
    let bundle = Bundle {
        file: file.to_owned(),
        text: text.to_owned(),
        schemas: pinned.collect(),
        parameters: sources.parameters.clone(),
        defaults: sources.defaults.clone(),
    };
    let environment = Environment {
        catalogue: &sources.catalogue,
        connections: Some(&sources.connections),
        schemas_known: &schemas.names,
        actions_per_flow_max: sources.actions_per_flow_max,
        nesting_max: sources.nesting_max,
    };
    Loaded { file: file.to_owned(), text: Arc::from(text), compiled: compile(bundle, &environment) }
}

/// Files with one of `extensions` below `path`, links followed, names that start with `.` left out.
fn walk(path: &Path, extensions: &[&str], depth: usize, files: &mut Vec<PathBuf>, findings: &mut Vec<Diagnostic>) {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let link = path.is_symlink();
            let message = match (missing, link) {
                (true, true) => "this link leads nowhere".to_owned(),
                (true, false) => "there is no such file or folder".to_owned(),
                _ => error.to_string(),
            };
            let mut finding = *fault(path, &message);
            if missing && !link {
                finding.help =
                    Some("make it, start leadflow in the folder that has it, or name another: --flows DIR".into());
            }
            findings.push(finding);
            return;
        }
    };
    if metadata.is_file() {
        // A file that was named outright is taken whatever its name; below a folder the extension decides.
        let wanted = path.extension().is_some_and(|found| extensions.iter().any(|want| found == *want));
        if wanted || depth == 0 {
            files.push(path.to_owned());
        }
        return;
    }
    if depth > FOLDER_DEPTH_MAX {
        findings
            .push(*fault(path, &format!("folders nest deeper than {FOLDER_DEPTH_MAX} levels (a link to a parent?)")));
        return;
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            findings.push(*fault(path, &error.to_string()));
            return;
        }
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with('.') {
            walk(&entry.path(), extensions, depth + 1, files, findings);
        }
    }
}

fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let size = std::fs::metadata(path).map_err(|error| fault(path, &error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        let message = format!("{size} bytes; a file may have {FILE_BYTES_MAX}");
        return Err(Box::new(Diagnostic::new("file_too_large", at(path), "", message)));
    }
    let bytes = std::fs::read(path).map_err(|error| fault(path, &error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line = valid.matches('\n').count();
        let mut finding = fault(path, "not UTF-8");
        finding.place.line = u32::try_from(line).unwrap_or(0) + 1;
        finding.help = Some("save the file as UTF-8".to_owned());
        finding
    })
}

fn fault(path: &Path, message: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::new("unreadable_file", at(path), "", message).severity(Severity::Error))
}

fn at(path: &Path) -> Place {
    Place { file: shown(path), line: 1, column: 1, length: 1 }
}

/// A path as people write it: `flows/a.yaml`, not `./flows/a.yaml`.
fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).to_string_lossy().into_owned()
}

fn unreadable(path: &Path, finding: Diagnostic) -> Loaded {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Loaded { file: shown(path), text: Arc::from(""), compiled: Compiled { flow: None, name, findings: vec![finding] } }
}

/// Two flows with one name, or an alias that is taken: the later file does not load. A flow with errors keeps its name.
fn refuse_clashes(files: &mut [Loaded]) {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for loaded in files {
        let (doc, _) = yaml::parse(&loaded.file, &loaded.text);
        let mut clashes = Vec::new();
        let mut own: Vec<&str> = Vec::new();
        let words = words(loaded, doc.as_ref());
        for (pointer, word) in &words {
            if let Some(earlier) = taken.get(word).filter(|_| !own.contains(&word.as_str())) {
                let place = doc.as_ref().map_or_else(|| at(Path::new(&loaded.file)), |doc| doc.value_place(pointer));
                let message = format!("`{word}` is taken by {earlier}");
                let path = yaml::dotted(pointer);
                clashes.push(Diagnostic::new("duplicate_flow", place, path, message).help("choose another name"));
            }
            own.push(word);
        }
        if !clashes.is_empty() {
            loaded.compiled.findings.extend(clashes);
            loaded.compiled.flow = None;
        }
        for (_, word) in words {
            taken.entry(word).or_insert_with(|| loaded.file.clone());
        }
    }
}

/// The names under which a file's flow answers, each with its JSON pointer. Of text that is no YAML none is known.
fn words(loaded: &Loaded, doc: Option<&yaml::Doc>) -> Vec<(String, String)> {
    let Some(doc) = doc.filter(|doc| doc.value.is_object()) else { return Vec::new() };
    let listed = doc.value.get("aliases").and_then(serde_json::Value::as_array).into_iter().flatten().enumerate();
    let aliases = listed.filter_map(|(index, alias)| Some((format!("/aliases/{index}"), alias.as_str()?.to_owned())));
    std::iter::once(("/name".to_owned(), loaded.compiled.name.clone())).chain(aliases).collect()
}

//! From files to [`Settings`]: find, parse, lay over, follow references, check, resolve. Every finding at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::layers::Layers;
use super::references::{self, Variables};
use super::resolve::{self, Place};
use super::{Settings, check, format};
use crate::connectors::rest;
use crate::diagnostic::{Diagnostic, has_errors};
use crate::yaml::{self, Doc};

/// The settings file that is read when `--config` names none, if it is there.
pub const FILE_NAME: &str = "leadflow.yaml";

/// Bytes of a settings file at most.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// How the built-in layer is called where a file is named.
pub(super) const DEFAULTS_NAME: &str = "default";

/// What holds where leadflow.yaml says nothing, as YAML.
pub const DEFAULTS: &str = include_str!("defaults.yaml");

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `--config`; `None`: `leadflow.yaml` in the working folder, if it is there.
    pub config: Option<PathBuf>,
    /// `--env`.
    pub env: Option<String>,
    /// `--flows`.
    pub flows: Option<PathBuf>,
    /// `--schemas`.
    pub schemas: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
}

/// What the settings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A reference that cannot be followed is a note, and its value counts as unknown.
    Check,
    /// A reference that cannot be followed is an error.
    Serve,
}

/// A settings file that cannot even be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(String);

/// Settings with everything that was found on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The settings; absent when a finding is an error.
    pub settings: Option<Settings>,
    /// When there are errors: the settings with defaults in the place of what is wrong. Good for checking flows beside
    /// them, so that all findings come at once; never for running anything.
    pub assumed: Option<Settings>,
    /// Findings, file by file.
    pub findings: Vec<Diagnostic>,
    /// The files that were read and their texts, for rendering findings.
    pub texts: Vec<(String, Arc<str>)>,
    /// Where each key comes from; absent when a file is not YAML.
    pub origins: Option<Origins>,
    /// Keys (JSON pointers) whose reference could not be followed: their values are unknown.
    pub unresolved: BTreeSet<String>,
    /// Every file that the settings depend on, whether it is there or not: the settings, their overlay, what `${file:…}`
    /// names, certificates.
    pub files: BTreeSet<PathBuf>,
    /// The folder of connector files.
    pub connector_folder: PathBuf,
    /// What was found in them. Errors among it keep only the connections of that file waiting.
    pub connector_findings: Vec<Diagnostic>,
}

impl Loaded {
    /// Where the key at `pointer` (JSON) is set; the first line of the settings file where it is not.
    pub fn place(&self, pointer: &str) -> crate::diagnostic::Place {
        match &self.origins {
            Some(origins) => origins.layers.key_place(pointer),
            None => crate::diagnostic::Place { file: FILE_NAME.to_owned(), line: 1, column: 1, length: 1 },
        }
    }
}

/// The settings file and its overlay, whether they are there or not.
pub fn own_files(options: &LoadOptions) -> BTreeSet<PathBuf> {
    let main = options.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let overlay = options.env.as_ref().map(|name| overlay(&main, name));
    overlay.into_iter().chain([main]).collect()
}

/// The merged document before typing, with the origin of each node: what `leadflow settings` prints.
#[derive(Debug)]
pub struct Origins {
    pub(super) layers: Layers,
    /// The document with references followed.
    pub(super) value: Value,
    pub(super) references: BTreeSet<String>,
    pub(super) marks: check::Marks,
}

/// Loads the settings. Errors only when a file that was asked for cannot be read; everything else is a finding.
pub fn load(options: &LoadOptions, mode: Mode) -> Result<Loaded, LoadError> {
    load_after(options, mode, &[])
}

/// [`load`] when connector files were taken before: one with errors goes on as it was, and one that is as it was keeps
/// its connections open.
pub fn load_after(options: &LoadOptions, mode: Mode, connectors: &[rest::File]) -> Result<Loaded, LoadError> {
    load_with(options, mode, &|name| std::env::var(name).ok(), connectors)
}

/// [`load`] with the environment's variables given.
pub(super) fn load_with(
    options: &LoadOptions,
    mode: Mode,
    variables: Variables<'_>,
    connectors: &[rest::File],
) -> Result<Loaded, LoadError> {
    let files = read_files(options)?;
    let place = place(options, &files);
    let connector_folder = connector_folder(options, &place);
    let rest::Loaded { registry, texts: connector_texts, findings: connector_findings } =
        rest::load(&connector_folder, connectors);
    let texts: Vec<_> = files.iter().cloned().chain(connector_texts).collect();
    let mut findings = Vec::new();
    let mut docs = Vec::new();
    let defaults = std::iter::once((DEFAULTS_NAME.to_owned(), Arc::<str>::from(DEFAULTS)));
    for (name, text) in defaults.chain(files.iter().cloned()) {
        let (doc, mut found) = yaml::parse(&name, &text);
        hint_at_braces(&mut found, &text);
        findings.append(&mut found);
        docs.extend(doc.filter(|doc| is_map(doc, &mut findings)));
    }
    if docs.len() != files.len() + 1 {
        let (settings, assumed, origins) = (None, None, None);
        let (unresolved, own) = (BTreeSet::new(), own_files(options));
        return Ok(Loaded {
            settings,
            assumed,
            findings,
            texts,
            origins,
            unresolved,
            files: own,
            connector_folder,
            connector_findings,
        });
    }
    let layers = Layers::new(docs);
    let mut value = layers.value.clone();
    let mut references = references::follow(&mut value, &layers, &place.base, variables, mode);
    findings.append(&mut references.findings);
    let (mut found, marks) = check::check(&mut value, &layers, &references, &registry);
    findings.append(&mut found);
    findings.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut known = resolve::without_unresolved(&value, &references.unresolved, &marks, &layers);
    let (mut settings, mut assumed) = (None, None);
    if has_errors(&findings) {
        resolve::forget_faulty(&mut known, &findings, &layers);
        assumed = resolve::settings(known, place, options, registry).ok();
    } else {
        settings =
            resolve::settings(known, place, options, registry).map_err(|misfit| findings.push(misfit.at(&layers))).ok();
    }
    let origins = Some(Origins { layers, value, references: references.used, marks });
    let mut depends = own_files(options);
    depends.append(&mut references.files);
    if let Some(settings) = &settings {
        let own = settings.connections.values().flat_map(|connection| &connection.ca);
        depends.extend(settings.outbound_ca.iter().chain(own).cloned());
    }
    let unresolved = references.unresolved;
    Ok(Loaded {
        settings,
        assumed,
        findings,
        texts,
        origins,
        unresolved,
        files: depends,
        connector_folder,
        connector_findings,
    })
}

fn order(finding: &Diagnostic) -> (&str, u32, u32) {
    (&finding.place.file, finding.place.line, finding.place.column)
}

/// The settings file and its overlay, lowest first.
fn read_files(options: &LoadOptions) -> Result<Vec<(String, Arc<str>)>, LoadError> {
    let mut files = Vec::new();
    let main = options.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    if options.config.is_some() || main.exists() {
        files.push(read(&main)?);
    }
    if let Some(name) = &options.env {
        let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !fits {
            return Err(LoadError(format!("`{name}` is no name for an environment: use letters, digits, - and _")));
        }
        files.push(read(&overlay(&main, name)).map_err(|LoadError(message)| {
            LoadError(format!("{message} (--env {name} or LEADFLOW_ENV lays that file over {})", main.display()))
        })?);
    }
    Ok(files)
}

/// `leadflow.yaml` and `staging` give `leadflow.staging.yaml`.
fn overlay(main: &Path, environment: &str) -> PathBuf {
    let stem = main.file_stem().unwrap_or_default().to_string_lossy();
    let extension = main.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    main.with_file_name(format!("{stem}.{environment}{extension}"))
}

fn read(path: &Path) -> Result<(String, Arc<str>), LoadError> {
    let fault = |cause: String| LoadError(format!("cannot read {}: {cause}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| fault(references::cause(&error)))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fault(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(references::cause(&error)))?;
    Ok((path.display().to_string(), text.into()))
}

/// The folder of connector files: beside the folder of flows.
fn connector_folder(options: &LoadOptions, place: &Place) -> PathBuf {
    let flows = options.flows.clone().unwrap_or_else(|| place.base.join("flows"));
    flows.parent().map_or_else(|| PathBuf::from("connectors"), |beside| beside.join("connectors"))
}

/// Relative paths start at the folder of `--config`, else at the working folder.
fn place(options: &LoadOptions, files: &[(String, Arc<str>)]) -> Place {
    let base = options.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    Place { base, file: files.first().map(|(name, _)| PathBuf::from(name)) }
}

fn is_map(doc: &Doc, findings: &mut Vec<Diagnostic>) -> bool {
    let fits = doc.value.is_object() || doc.value.is_null();
    if !fits {
        let kind = crate::template::kind_of(&doc.value);
        findings.push(Diagnostic::new(
            "wrong_type",
            doc.value_place(""),
            "",
            format!("settings are a map, this is {kind}"),
        ));
    }
    fits
}

/// Inside `{ }` an unquoted `${env:X}` is not YAML: says so beside the parser's own words.
fn hint_at_braces(findings: &mut [Diagnostic], text: &str) {
    for finding in findings {
        let line = text.lines().nth((finding.place.line as usize).saturating_sub(1)).unwrap_or_default();
        let unquoted = ["${env:", "${file:"].iter().find_map(|start| {
            let at = line.find(start)?;
            let end = line[at..].find('}').map_or(line.len(), |end| at + end + 1);
            let quoted = matches!(line[..at].chars().last(), Some('"' | '\''));
            (line[..at].contains(['{', '[']) && !quoted).then(|| &line[at..end])
        });
        if let Some(reference) = unquoted {
            finding.help = Some(format!("inside {{ }} a reference needs quotes: \"{reference}\""));
        }
    }
}

/// The JSON Schema of `leadflow.yaml`.
pub fn settings_schema() -> Value {
    format::schema_of::<format::File>()
}

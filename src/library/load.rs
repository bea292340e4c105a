//! The one loader: `check`, `dry-run`, `serve` and every command that needs a flow read the folders through it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::flow::{Compiled, Defaults};

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
    let _ = sources;
    unimplemented!()
}

/// Loads one flow by name or file.
pub fn load_one(sources: &Sources, flow: &str) -> Result<Loaded, String> {
    let _ = (sources, flow);
    unimplemented!()
}

/// Loads the given files only (`check PATH…`); folders are walked.
pub fn load_paths(sources: &Sources, paths: &[&Path]) -> Folder {
    let _ = (sources, paths);
    unimplemented!()
}

//! Goldens: what `check` says of faulty flow files. `UPDATE=1 cargo test --test it faulty_flows` rewrites them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leadflow::diagnostic::{Severity, codes, render};
use leadflow::flow::{self, Bundle, Defaults, Environment};

use crate::support::{Workspace, wire};

const SCHEMA_FILE: &str = "marketplace-lead.json";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/faulty")
}

fn faulty_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of faulty flows");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn compile(file: &str, text: &str) -> flow::Compiled {
    let catalogue = leadflow::actions::catalogue();
    let connections = [("crm", "records"), ("mail", "outbox"), ("erp", "http")];
    let connections: BTreeMap<_, _> = connections.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(SCHEMA_FILE);
    let schema = fs::read_to_string(schema).expect("the published schema");
    let bundle = Bundle {
        file: file.to_owned(),
        text: text.to_owned(),
        blueprint: None,
        schemas: BTreeMap::from([(SCHEMA_FILE.to_owned(), schema)]),
        parameters: serde_json::json!({}),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections: Some(&connections),
        connections_decided: &[],
        schemas_known: &[SCHEMA_FILE.to_owned()],
        blueprints_known: &[],
        actions_per_flow_max: 500,
        nesting_max: 8,
    };
    flow::compile(bundle, &environment)
}

/// What `check` prints for one file, as text and as the lines of its JSON that text does not show.
fn rendered(file: &Path) -> String {
    let name = format!("flows/{}", file.file_name().expect("a name").to_string_lossy());
    let text = fs::read_to_string(file).expect("a faulty flow");
    let compiled = compile(&name, &text);
    let source: Arc<str> = Arc::from(text);
    let paths = compiled.findings.iter().map(|finding| format!("{} {}\n", finding.code, finding.path));
    let shown = render::text(&compiled.findings, &|_| Some(source.clone()), false);
    let paths: String = paths.collect();
    format!("{shown}{}---\n{paths}", render::summary(&compiled.findings, 1))
}

#[test]
fn faulty_flows_are_told_as_their_goldens_say() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for file in faulty_files() {
        let (got, golden) = (rendered(&file), file.with_extension("expected"));
        if update {
            fs::write(&golden, got).expect("the golden can be written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("{}\n{got}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_of_them_and_every_finding_can_be_explained() {
    let files = faulty_files();
    assert!(files.len() >= 30, "{} files", files.len());
    let mut seen = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a faulty flow");
        let findings = compile(&file.to_string_lossy(), &text).findings;
        assert!(!findings.is_empty(), "{}", file.display());
        for finding in findings {
            assert!(codes::find(finding.code).is_some(), "{} is not in the catalogue", finding.code);
            let place = &finding.place;
            assert!(place.line > 0 && place.column > 0 && place.length > 0, "{finding:?}");
            seen.insert(finding.code);
        }
    }
    assert!(seen.len() >= 45, "only {} codes are covered: {seen:?}", seen.len());
}

/// Calls that take a code as their first text.
const CALLS: &[&str] = &[
    "Diagnostic::new(",
    "Failure::terminal(",
    "Failure::retryable(",
    "Failure::unknown(",
    "RenderError::new(",
    "TemplateFinding::error(",
    "TemplateFinding::warning(",
    "Refusal::new(",
    "Problem::new(",
    "Problem::error(",
    "Problem::warning(",
    "self.report(",
    "self.report_key(",
];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_code_in_the_source_can_be_explained() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let is_code = |text: &&str| {
        let bytes = text.as_bytes();
        text.contains('_')
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
    };
    let mut unknown = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source file");
        let text = text.split("#[cfg(test)]").next().expect("the part before the tests");
        for (at, call) in CALLS.iter().flat_map(|call| text.match_indices(call)) {
            let arguments = text[at + call.len()..].split([';', ')']).next().unwrap_or_default();
            let code = arguments.split('"').nth(1).filter(is_code);
            unknown.extend(
                code.filter(|code| codes::find(code).is_none()).map(|code| format!("{code} {}", file.display())),
            );
        }
    }
    assert!(unknown.is_empty(), "not in the catalogue of codes: {unknown:#?}");
}

#[test]
fn every_example_of_the_catalogue_compiles() {
    for spec in leadflow::actions::catalogue().actions {
        let indented = spec.example.trim_end().replace('\n', "\n    ");
        let variables = "variables: { country: '', names: [], attempts: 0 }";
        let text = format!("{variables}\ntrigger:\n  type: request\nactions:\n  - {indented}\n");
        let compiled = compile("flows/example.yaml", &text);
        // Notes are no faults: a lone `http` says that a repeat may act twice.
        let worse = compiled.findings.iter().any(|finding| finding.severity != Severity::Note);
        assert!(!worse && compiled.flow.is_some(), "{}: {:#?}", spec.kind, compiled.findings);
    }
}

/// The committed editor schema is what the declarations say. `UPDATE=1` rewrites it.
#[test]
fn the_committed_editor_schema_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/flow.schema.json");
    let fresh = format!("{:#}\n", leadflow::flow::schema::editor_schema(&leadflow::actions::catalogue()));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &fresh).expect("the schema can be written");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == fresh, "schemas/flow.schema.json is stale: leadflow schema flow > schemas/flow.schema.json");
}

/// The committed reference is what the declarations say. `UPDATE=1` rewrites it.
#[test]
fn the_committed_reference_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let fresh = Workspace::empty().expect(0, &["explain", "--markdown"]);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&file, &fresh).expect("the reference can be written");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == fresh, "docs/reference.md is stale: leadflow explain --markdown > docs/reference.md");
}

/// The flows of the repository are what newcomers copy: they fit the editor schema too.
#[test]
fn the_flows_of_the_repository_fit_the_editor_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = leadflow::flow::schema::editor_schema(&leadflow::actions::catalogue());
    let validator = jsonschema::options().build(&schema).expect("a schema");
    for entry in fs::read_dir(root.join("flows")).expect("the folder of flows") {
        let file = entry.expect("an entry").path();
        let text = fs::read_to_string(&file).expect("a flow");
        let (doc, findings) = leadflow::yaml::parse(&file.display().to_string(), &text);
        assert!(findings.is_empty(), "{findings:?}");
        let value = doc.expect("a document").value;
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
    }
}

/// Faulty files beside one that is right: that one serves, and each other one is said to be off.
#[test]
fn a_broken_file_hurts_only_itself() {
    let workspace = Workspace::empty();
    workspace.write(
        "flows/right.yaml",
        "trigger: { type: request }\nactions:\n  - { name: keep, type: compose, inputs: 1 }\n",
    );
    workspace.write("flows/broken.yaml", "name: broken\ntrigger: { type: request\n");
    workspace.write("flows/unknown.yaml", "trigger: { type: request }\nactions:\n  - { name: a, type: nonsense }\n");
    let server = workspace.serve();
    for off in ["broken", "unknown"] {
        let line = server.announced.lines().find(|line| line.trim_start().starts_with(off));
        assert!(line.is_some_and(|line| line.contains("OFF")), "{}", server.announced);
    }
    assert_eq!(wire::post(server.url("right"), "{}").expect("an answer").status, 202);
    assert_eq!(wire::post(&server.url("right").replace("/right", "/unknown"), "{}").expect("an answer").status, 401);
}

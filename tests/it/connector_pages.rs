//! Every page of docs/connectors does what it says: its files, written into an empty folder, check and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use leadflow::connectors::Registry;

use crate::support::{Workspace, files, project};

fn folder() -> PathBuf {
    project().join("docs/connectors")
}

/// The fenced blocks with a title: file names and texts.
fn titled(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match &mut open {
            None => {
                let title = line.strip_prefix("```yaml title=\"").and_then(|rest| rest.strip_suffix('"'));
                open = title.map(|title| (title.to_owned(), String::new()));
            }
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

#[test]
fn every_kind_of_connection_has_a_page_that_uses_it() {
    let mut faults = Vec::new();
    for connector in Registry::builtin().all() {
        let kind = connector.kind();
        let page = fs::read_to_string(folder().join(format!("{kind}.md"))).unwrap_or_default();
        let blocks = titled(&page);
        let settings = blocks.iter().find(|(file, _)| file == "leadflow.yaml").map(|(_, text)| text.as_str());
        if !settings.is_some_and(|text| text.contains(&format!("type: {kind}"))) {
            faults.push(format!("{kind}: no leadflow.yaml of this type in docs/connectors/{kind}.md"));
        }
        if !blocks.iter().any(|(file, text)| file.starts_with("flows/") && text.contains("marketplace-lead.json")) {
            faults.push(format!("{kind}: no flow for a marketplace lead"));
        }
        let index = fs::read_to_string(folder().join("README.md")).expect("the list of connectors");
        if !index.contains(&format!("({kind}.md)")) {
            faults.push(format!("{kind}: not in docs/connectors/README.md"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What stands between two headings may differ, the headings do not: people find the same things on every page.
#[test]
fn pages_tell_the_same_things() {
    let kinds: BTreeSet<String> = Registry::builtin().all().iter().map(|one| one.kind().to_owned()).collect();
    for page in files(&folder(), "md") {
        let stem = page.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&page).expect("a page");
        if stem == "README" {
            continue;
        }
        assert!(kinds.contains(&stem), "{stem}.md is the page of no kind of connection");
        for word in ["Outputs", "epeat", "uplicate", "Limits", "Known gaps"] {
            assert!(text.contains(word), "{stem}.md says nothing of {word}");
        }
    }
}

#[test]
fn the_files_of_every_page_check_and_run() {
    let mut ran = 0;
    for page in files(&folder(), "md") {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        let blocks = titled(&fs::read_to_string(&page).expect("a page"));
        let workspace = Workspace::empty();
        for (file, text) in &blocks {
            workspace.write(file, text);
        }
        let findings = workspace.json(&["check", "--strict", "--format", "json"]);
        let worse: Vec<_> =
            findings.as_array().expect("a list").iter().filter(|finding| finding["severity"] != "note").collect();
        assert!(worse.is_empty(), "{name}: {worse:#?}");
        let flows = blocks.iter().filter_map(|(file, _)| file.strip_prefix("flows/")?.strip_suffix(".yaml"));
        for flow in flows {
            let told = workspace.json(&["dry-run", flow, "--lead", "examples/lead.json", "--json"]);
            assert_eq!(told["status"], "succeeded", "{name}: {told:#}");
            ran += 1;
        }
    }
    assert!(ran > Registry::builtin().all().len(), "a flow for each page, and one for the connector of one's own");
}

/// The committed editor schema is what the declarations say. `UPDATE=1` rewrites it.
#[test]
fn the_committed_connector_schema_is_fresh() {
    let file = project().join("schemas/connector.schema.json");
    let fresh = Workspace::empty().expect(0, &["schema", "connector"]);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &fresh).expect("the schema can be written");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == fresh, "stale: leadflow schema connector > schemas/connector.schema.json");
}

/// The files of the catalogue are what people copy: they fit the editor schema.
#[test]
fn the_catalogue_fits_the_editor_schema() {
    let schema = leadflow::connectors::rest::editor_schema();
    let validator = jsonschema::options().build(&schema).expect("a schema");
    for (name, text) in leadflow::connectors::rest::CATALOG {
        let (doc, findings) = leadflow::yaml::parse(name, text);
        assert!(findings.is_empty(), "{findings:?}");
        let value = doc.expect("a document").value;
        let errors: Vec<_> =
            validator.iter_errors(&value).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

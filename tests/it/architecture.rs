//! "Only X knows Y" as tests: the layer rule, one home per large dependency, small files and functions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The order of the layers, as `src/lib.rs` tells it: a module imports only what stands above it.
const LAYERS: &[&str] = &[
    "clock",
    "ids",
    "secret",
    "units",
    "diagnostic", // ground
    "yaml",
    "template",
    "schema",
    "flow",
    "run", // language
    "store",
    "outbound", // world
    "connectors",
    "actions",
    "triggers", // extension
    "library",
    "engine", // engine
    "settings",
    "server",
    "telemetry",
    "app",
    "cli", // surfaces and top
];

/// Large dependencies and the modules that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("handlebars", &["template"]),
    ("serde_yaml", &["yaml"]),
    ("jsonschema", &["schema", "flow"]),
    ("rusqlite", &["store", "outbound"]),
    ("deadpool_postgres", &["store", "outbound"]),
    ("tokio_postgres", &["store", "outbound"]),
    ("reqwest", &["outbound"]),
    ("lettre", &["outbound"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// About 500, as the house rule says.
const FILE_LINES_MAX: usize = 560;
/// About 70, as the house rule says.
const FUNCTION_LINES_MAX: usize = 75;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50, "the walk found the sources");
    found
}

/// `src/store/sqlite/mod.rs` belongs to `store`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("inside src");
    let first = inside.components().next().expect("component").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without its unit tests and comments: they may look anywhere.
fn production(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("test") || name == "conformance.rs")
}

/// Names that follow `prefix` in `text`.
fn names_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.match_indices(prefix)
        .map(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            &rest[..end]
        })
        .collect()
}

#[test]
fn a_module_imports_only_what_stands_above_it() {
    let place: BTreeMap<&str, usize> = LAYERS.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if module == "lib" || module == "main" || is_test_file(&path) {
            continue;
        }
        let own = *place.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no place in LAYERS"));
        for name in names_after(&production(&text), "crate::") {
            if place.get(name).is_some_and(|other| *other > own) {
                faults.push(format!("{}: {module} imports {name}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_large_dependency_has_one_home() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let code = production(&text);
        for (dependency, homes) in HOMES {
            let used = code.contains(&format!("{dependency}::")) || code.contains(&format!("use {dependency};"));
            if used && !homes.contains(&module.as_str()) && module != "lib" && !is_test_file(&path) {
                faults.push(format!("{}: {dependency} belongs to {homes:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let code = production(&text);
        let prints = ["println!(", "print!(", "eprintln!(", "eprint!(", "std::io::stdout"]
            .iter()
            .any(|word| code.contains(word));
        if prints && !is_test_file(&path) && !matches!(module_of(&path).as_str(), "cli" | "main") {
            faults.push(path.display().to_string());
        }
    }
    assert!(faults.is_empty(), "these print: {}", faults.join("\n"));
}

#[test]
fn only_the_clock_reads_the_time() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if module_of(&path) != "clock" && production(&text).contains("SystemTime::now") {
            faults.push(path.display().to_string());
        }
    }
    assert!(faults.is_empty(), "these read the time: {}", faults.join("\n"));
}

#[test]
fn files_are_small() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn functions_are_small() {
    let mut long = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let head =
                code.trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            let head = head.trim_start_matches("async ").trim_start_matches("const ");
            if !head.starts_with("fn ") || code.ends_with(';') {
                continue;
            }
            // rustfmt closes a function at the indentation at which it opened.
            let closing = format!("{}}}", " ".repeat(line.len() - code.len()));
            let length = lines[start..].iter().position(|line| *line == closing).map_or(0, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{}: {length} lines", path.display(), start + 1));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Every action and connector is in its list, and every action's example compiles into a flow.
#[test]
fn every_extension_is_listed_and_documented() {
    let connectors = leadflow::connectors::Registry::builtin().all().len();
    for (folder, listed) in [("actions", leadflow::actions::ALL.len()), ("connectors", connectors)] {
        let implementations = sources()
            .iter()
            .filter(|(path, text)| {
                module_of(path) == folder && !is_test_file(path) && {
                    let code = production(text);
                    ["impl Action for", "impl super::Action for", "impl Connector for", "impl super::Connector for"]
                        .iter()
                        .any(|word| code.contains(word))
                }
            })
            .count();
        // Of connectors, those of the catalogue are files of their own; three implementations carry all of them.
        let files =
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connectors/catalog")).expect("catalogue");
        let own = if folder == "connectors" { implementations - 3 + files.count() } else { implementations };
        assert_eq!(own, listed, "every file in {folder}/ is in its ALL list");
    }
    let catalogue = leadflow::actions::catalogue();
    let connections = [("crm", "records"), ("mail", "outbox"), ("api", "http")]
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .into_iter()
        .collect();
    for spec in &catalogue.actions {
        assert!(!spec.summary.is_empty(), "{} has a summary", spec.kind);
        let indented = spec
            .example
            .trim()
            .lines()
            .enumerate()
            .map(|(index, line)| if index == 0 { format!("  - {line}\n") } else { format!("    {line}\n") });
        let text = format!(
            "name: example\nvariables: {{ country: '', names: [], attempts: 0 }}\ntrigger:\n  type: request\nactions:\n{}",
            indented.collect::<String>()
        );
        let bundle = leadflow::flow::Bundle {
            file: format!("{}.yaml", spec.kind),
            text: text.clone(),
            blueprint: None,
            schemas: BTreeMap::new(),
            parameters: serde_json::json!({}),
            defaults: leadflow::flow::Defaults::default(),
        };
        let environment = leadflow::flow::Environment {
            catalogue: &catalogue,
            connections: Some(&connections),
            connections_decided: &[],
            schemas_known: &[],
            blueprints_known: &[],
            actions_per_flow_max: 500,
            nesting_max: 8,
        };
        let compiled = leadflow::flow::compile(bundle, &environment);
        assert!(compiled.flow.is_some(), "the example of {} compiles:\n{text}\n{:?}", spec.kind, compiled.findings);
    }
}

/// Text literals that stand where a code is given: behind the constructors of failures, problems and findings.
fn codes_raised(code: &str) -> Vec<&str> {
    let first = ["Failure::terminal(", "Failure::retryable(", "Failure::unknown(", "Diagnostic::new(", "code: "];
    let second = ["Problem::new(", "Refusal::new("];
    let behind = |marker: &&str, skip: bool| -> Vec<&str> {
        let rests = code.match_indices(*marker).filter_map(move |(at, marker)| {
            let rest = &code[at + marker.len()..];
            let rest = if skip { rest.split_once(',')?.1 } else { rest };
            let (literal, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
            let is_code = literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            is_code.then_some(literal)
        });
        rests.collect()
    };
    let one = first.iter().flat_map(|marker| behind(marker, false));
    one.chain(second.iter().flat_map(|marker| behind(marker, true))).collect()
}

/// `leadflow explain` knows every code that a user can meet, and no code that nothing raises.
#[test]
fn codes_and_their_catalogue_agree() {
    let catalogue = Path::new("diagnostic").join("codes");
    let mut text = String::new();
    let mut faults = Vec::new();
    for (path, source) in sources() {
        if path.components().as_path().to_string_lossy().contains(&*catalogue.to_string_lossy()) || is_test_file(&path)
        {
            continue;
        }
        let code = production(&source);
        for raised in codes_raised(&code) {
            if leadflow::diagnostic::codes::find(raised).is_none() {
                faults.push(format!("{}: {raised} is not in the catalogue", path.display()));
            }
        }
        text.push_str(&code);
    }
    // Families: the code carries the other side's number.
    let families = ["http_error", "smtp_error"];
    for doc in leadflow::diagnostic::codes::CODES {
        if !families.contains(&doc.code) && !text.contains(&format!("\"{}\"", doc.code)) {
            faults.push(format!("nothing raises {}", doc.code));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

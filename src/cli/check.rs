//! `leadflow check`: every finding in flows and settings, with file, line, code and fix.

use std::path::Path;
use std::sync::Arc;

use super::args::{self, Format, Global};
use super::{Exit, context, output};
use crate::app;
use crate::diagnostic::{Diagnostic, Severity, render};
use crate::library::load;
use crate::settings::{self, Mode};

/// What was checked, and what was found.
struct Report {
    findings: Vec<Diagnostic>,
    texts: Vec<(String, Arc<str>)>,
    files: usize,
}

pub(super) fn run(global: &Global, args: &args::Check) -> anyhow::Result<Exit> {
    if let Some(missing) = args.paths.iter().find(|path| !path.exists()) {
        anyhow::bail!("there is no {}", missing.display());
    }
    let mut report = report(global, &args.paths, args.live)?;
    if args.strict {
        for finding in &mut report.findings {
            if finding.severity == Severity::Warning {
                finding.severity = Severity::Error;
            }
        }
    }
    match args.format {
        Format::Json => output::answer(&render::json(&report.findings)),
        Format::Github => output::answer(&render::github(&report.findings)),
        Format::Text => {
            let style = output::Style::stdout();
            let mut text = render::text(&report.findings, &context::source(&report.texts), style.colour());
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            output::answer(&format!("{text}{}\n", render::summary(&report.findings, report.files).trim_end()));
        }
    }
    Ok(if crate::diagnostic::has_errors(&report.findings) { Exit::Bad } else { Exit::Fine })
}

/// Checks the settings and the flows; of given paths, only those flows (and the settings, where one of them is named).
/// With `live`, also against the systems themselves: then every variable must be set.
fn report(global: &Global, paths: &[std::path::PathBuf], live: bool) -> anyhow::Result<Report> {
    let mode = if live { Mode::Serve } else { Mode::Check };
    let loaded = settings::load(&context::options(global), mode)?;
    let is_settings = |path: &Path| loaded.texts.iter().any(|(file, _)| same_file(Path::new(file), path));
    let mut report = Report { findings: Vec::new(), texts: loaded.texts.clone(), files: 0 };
    let whole = paths.is_empty();
    // Settings with errors always belong to the answer: flows are checked against what is left of them.
    let is_connector = |file: &str| Path::new(file).starts_with(&loaded.connector_folder);
    let asked = |file: &str| paths.iter().any(|path| same_file(Path::new(file), path) || in_folder(file, path));
    if whole || loaded.settings.is_none() || loaded.texts.iter().any(|(file, _)| !is_connector(file) && asked(file)) {
        report.findings.extend(loaded.findings.iter().cloned());
        report.files += loaded.texts.iter().filter(|(file, _)| !is_connector(file)).count();
    }
    let connectors = || loaded.texts.iter().filter(|(file, _)| is_connector(file) && (whole || asked(file)));
    report.files += connectors().count();
    let of_connectors = |finding: &&Diagnostic| whole || connectors().any(|(file, _)| *file == finding.place.file);
    report.findings.extend(loaded.connector_findings.iter().filter(of_connectors).cloned());
    let Some(settings) = loaded.settings.as_ref().or(loaded.assumed.as_ref()) else { return Ok(report) };
    let sources = settings.sources();
    let is_folder = |path: &Path| same_file(path, &loaded.connector_folder);
    let flows: Vec<&Path> =
        paths.iter().map(std::path::PathBuf::as_path).filter(|path| !is_settings(path) && !is_folder(path)).collect();
    let folder = match (whole, flows.is_empty()) {
        (true, _) => load::load(&sources),
        (false, false) => load::load_paths(&sources, &flows),
        (false, true) => return Ok(report),
    };
    report.files += folder.files.len();
    report.findings.extend(folder.findings);
    if let Some(settings) = loaded.settings.as_ref().filter(|_| live) {
        let live = app::live::Live {
            settings,
            place: &|pointer| loaded.place(pointer),
            flows: &folder.files,
            every_connection: whole,
            store: settings.database().exists().then(|| context::store_to_write(settings)).transpose()?,
        };
        report.findings.extend(context::block_on(app::live::check(live))??);
    }
    for file in folder.files {
        // What is wrong with a blueprint is told once, not for each flow that is made of it.
        for finding in &file.findings {
            if finding.place.file == file.file || !report.findings.contains(finding) {
                report.findings.push(finding.clone());
            }
        }
        report.texts.push((file.file.clone(), Arc::clone(&file.text)));
        report.texts.extend(file.blueprint.iter().map(|one| (one.file.clone(), Arc::from(one.text.as_str()))));
    }
    Ok(report)
}

/// Whether `file` stands in the folder `path`.
fn in_folder(file: &str, path: &Path) -> bool {
    path.is_dir() && Path::new(file).parent().is_some_and(|parent| same_file(parent, path))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

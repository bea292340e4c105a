//! What most commands need first: settings, a store, a flow, a run.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use super::args::Global;
use super::{Exit, output};
use crate::app;
use crate::diagnostic::{Diagnostic, Severity, has_errors, render};
use crate::ids::RunId;
use crate::library::load::{self, Folder};
use crate::settings::{self, LoadOptions, Loaded, Mode, Settings, StoreSettings};
use crate::store::Store;

/// Candidates that an ambiguous id lists at most.
const CANDIDATES_MAX: usize = 10;

/// Ends a command whose findings or message are already printed.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stop(pub Exit);

/// What the global flags say about settings.
pub(super) fn options(global: &Global) -> LoadOptions {
    LoadOptions {
        config: global.config.clone(),
        env: global.env.clone().filter(|name| !name.is_empty()),
        flows: global.flows.clone(),
        schemas: global.schemas.clone(),
        data: global.data.clone(),
    }
}

/// The settings for a command that does not serve: unknown variables are fine as long as nothing in `needs` (JSON
/// pointers) uses one.
pub(super) fn settings(global: &Global, needs: &[&str]) -> anyhow::Result<Settings> {
    let loaded = settings::load(&options(global), Mode::Check)?;
    let unknown = |finding: &&Diagnostic| {
        let needed = needs.iter().any(|need| crate::yaml::dotted(need) == finding.path);
        needed && matches!(finding.code, "unset_variable" | "missing_file")
    };
    if let Some(finding) = loaded.findings.iter().find(unknown) {
        anyhow::bail!("{} (`{}` in {})", finding.message, finding.path, finding.place.file);
    }
    resolved(loaded)
}

/// The settings for a command that asks the running server. Of a file with errors what can be read is taken: the server
/// goes on with older settings, and telling so is what the command is for.
pub(super) fn settings_beside(global: &Global) -> anyhow::Result<Settings> {
    let loaded = settings::load(&options(global), Mode::Check)?;
    if loaded.settings.is_none() && loaded.assumed.is_some() {
        return loaded.assumed.ok_or_else(|| Stop(Exit::Bad).into());
    }
    resolved(loaded)
}

/// The settings for a command that needs every one of them.
pub(super) fn settings_to_serve(global: &Global) -> anyhow::Result<Settings> {
    let loaded = settings::load(&options(global), Mode::Serve)?;
    let worth: Vec<Diagnostic> =
        loaded.findings.iter().filter(|finding| finding.severity == Severity::Warning).cloned().collect();
    // A broken connector file keeps only its own connections waiting.
    let worth: Vec<Diagnostic> = worth.into_iter().chain(loaded.connector_findings.iter().cloned()).collect();
    if loaded.settings.is_some() && !worth.is_empty() {
        show_findings(&worth, &loaded.texts);
    }
    resolved(loaded)
}

fn resolved(loaded: Loaded) -> anyhow::Result<Settings> {
    loaded.settings.ok_or_else(|| {
        show_findings(&loaded.findings, &loaded.texts);
        Stop(Exit::Bad).into()
    })
}

/// Findings on standard error, with their lines.
pub(super) fn show_findings(findings: &[Diagnostic], texts: &[(String, Arc<str>)]) {
    let text = render::text(findings, &source(texts), output::Style::stderr().colour());
    if !text.is_empty() {
        output::note(text.trim_end());
    }
}

/// The text of a file, by the name that findings use.
pub(super) fn source(texts: &[(String, Arc<str>)]) -> impl Fn(&str) -> Option<Arc<str>> + '_ {
    let by_name: HashMap<&str, &Arc<str>> = texts.iter().rev().map(|(file, text)| (file.as_str(), text)).collect();
    move |name| by_name.get(name).map(|text| Arc::clone(text))
}

/// Runs `future` to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// The store, to read from.
pub(super) fn store_to_read(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    open(settings, app::Mode::Read)
}

/// The store, to change something with one short transaction beside a running server.
pub(super) fn store_to_write(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    open(settings, app::Mode::Write)
}

fn open(settings: &Settings, mode: app::Mode) -> anyhow::Result<Arc<dyn Store>> {
    if matches!(settings.store, StoreSettings::Sqlite) && !settings.database().exists() {
        anyhow::bail!("no store yet in {}: start `leadflow serve` first", settings.data.display());
    }
    app::open_store(settings, mode)
}

/// Every flow of the folders.
pub(super) fn folder(settings: &Settings) -> Folder {
    load::load(&settings.sources())
}

/// One flow by name or file; an unknown one is a usage error.
pub(super) fn one_flow(settings: &Settings, flow: &str) -> anyhow::Result<Arc<load::Loaded>> {
    let loaded = load::load_one(&settings.sources(), flow).map_err(anyhow::Error::msg)?;
    if loaded.flow.is_none() {
        let errors: Vec<Diagnostic> = loaded.findings.clone();
        if has_errors(&errors) {
            show_findings(&errors, &[(loaded.file.clone(), Arc::clone(&loaded.text))]);
        }
        return Err(Stop(Exit::Bad).into());
    }
    Ok(loaded)
}

/// The one run that `part` names: `last`, or any unique beginning or end of an id.
pub(super) async fn find_run(store: &dyn Store, part: &str) -> anyhow::Result<RunId> {
    if part == "last" {
        let filter = crate::store::RunFilter { limit: 1, ..Default::default() };
        let runs = store.list_runs(filter).await?;
        return runs.first().map(|run| run.run.run_id).ok_or_else(|| anyhow::anyhow!("there is no run yet"));
    }
    let part = hexadecimal(part)?;
    one_of(part, &store.find_runs(part, CANDIDATES_MAX + 1).await?, "run")
}

/// The text if it can be part of an id.
pub(super) fn hexadecimal(part: &str) -> anyhow::Result<&str> {
    let fits = !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if fits { Ok(part) } else { anyhow::bail!("`{part}` is no part of an id: ids are hexadecimal (or `last`)") }
}

/// The only candidate, or an error that lists them.
pub(super) fn one_of<T: Copy + std::fmt::Display>(part: &str, found: &[T], thing: &str) -> anyhow::Result<T> {
    match found {
        [] => anyhow::bail!("there is no {thing} whose id starts or ends with `{part}`"),
        [only] => Ok(*only),
        many => {
            let mut message = format!("`{part}` fits several {thing}s:");
            for candidate in many.iter().take(CANDIDATES_MAX) {
                let _ = write!(message, "\n  {candidate}");
            }
            if many.len() > CANDIDATES_MAX {
                message.push_str("\n  …");
            }
            anyhow::bail!(message)
        }
    }
}

/// The bytes of a lead: a file, or standard input for `-`.
pub(super) fn read_lead(path: &Path) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context as _;
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("cannot read the lead {}", path.display()))
}

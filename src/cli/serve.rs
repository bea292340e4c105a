//! `leadflow serve`: runs the flows, and says in a few lines where they answer and what to try.

use std::fmt::Write as _;
use std::path::Path;

use super::args::{self, Global};
use super::flows::place;
use super::{Exit, context, output};
use crate::app::{self, Started};
use crate::library::FlowSet;
use crate::settings::Settings;

/// The schema whose leads `examples/lead.json` is one of.
const MARKETPLACE_SCHEMA: &str = "marketplace-lead.json";

/// The sample lead of a workspace.
pub(super) const SAMPLE_LEAD: &str = "examples/lead.json";

pub(super) fn run(global: &Global, args: args::Serve) -> anyhow::Result<Exit> {
    let public_url =
        args.public_url.map(|url| crate::settings::public_url(&url)).transpose().map_err(anyhow::Error::msg)?;
    let source = app::Source {
        options: context::options(global),
        public_listen: args.listen,
        admin_listen: args.admin,
        public_url,
    };
    let settings = source.over(context::settings_to_serve(global)?);
    if settings.admin_token.is_none() && !settings.admin_listen.ip().is_loopback() {
        anyhow::bail!("the admin listener {} is not on loopback and has no `admin.token`", settings.admin_listen);
    }
    let shown = settings.clone();
    app::serve(source, settings, |started| output::answer(&announcement(&shown, started)))?;
    Ok(Exit::Fine)
}

fn announcement(settings: &Settings, started: &Started) -> String {
    let style = output::Style::stdout();
    let flows = &started.flows;
    let (live, off) = (flows.flows.len(), flows.off.len());
    let mut off = if off == 0 { String::new() } else { format!(", {off} off") };
    let old = flows.unresolved().filter(|state| state.serving().is_some()).count();
    if old > 0 {
        let _ = write!(off, ", {old} OLD");
    }
    let file = match &settings.file {
        Some(file) => format!("settings {}", file.display()),
        None => "no leadflow.yaml: defaults".to_owned(),
    };
    let mut text = format!(
        "{} {}   {} live{off}   store {}   {file}\n",
        style.bold("leadflow"),
        env!("CARGO_PKG_VERSION"),
        output::count(live, "flow"),
        settings.store_place(),
    );
    text.push_str(&flow_lines(flows, &started.urls, &settings.flows));
    if let Some(line) = try_line(flows, &started.urls) {
        text.push_str(&line);
    }
    for note in notes(settings, started) {
        let _ = writeln!(text, "note    {note}");
    }
    let millis = started.ready_in.as_millis();
    let _ = writeln!(text, "ready in {millis} ms; admin http://{}; Ctrl-C stops", started.admin);
    text
}

fn flow_lines(flows: &FlowSet, urls: &[(String, String)], folder: &Path) -> String {
    let style = output::Style::stdout();
    let mut rows: Vec<Vec<String>> = urls.iter().map(|(name, url)| vec![name.clone(), url.clone()]).collect();
    for state in flows.unresolved() {
        // A broken flow that answers with an older text must be seen.
        let (Some(version), Some(finding)) = (state.serving(), state.error().or_else(|| state.findings.first())) else {
            continue;
        };
        let why = format!("{} {} {} (leadflow check)", place(finding), finding.code, finding.message);
        let since = crate::clock::human(version.loaded_at);
        rows.push(vec![
            state.name.clone(),
            format!("{}  serves its last good version of {since}: {why}", style.status("OLD")),
        ]);
    }
    for off in &flows.off {
        let why = match &off.finding {
            Some(finding) => format!("{} {} {} (leadflow check)", place(finding), finding.code, finding.message),
            None => format!("{} enabled: false", off.file),
        };
        rows.push(vec![off.name.clone(), format!("{}  {why}", style.status("OFF"))]);
    }
    if rows.is_empty() {
        return format!("  no flows in {}: add one (README) and start again\n", folder.display());
    }
    output::table(&rows, "  ", |_, cell| cell.to_owned())
}

/// What to paste: the marketplace's sample where a flow takes it, else an empty object.
fn try_line(flows: &FlowSet, urls: &[(String, String)]) -> Option<String> {
    let marketplace = |name: &str| {
        let schema = flows.flows.get(name)?.flow.trigger.schema.as_ref()?;
        (schema.name == MARKETPLACE_SCHEMA).then_some(())
    };
    let fitting = urls.iter().find(|(name, _)| marketplace(name).is_some() && Path::new(SAMPLE_LEAD).is_file());
    let line = match fitting {
        Some((name, url)) => format!("curl -sS --json @{SAMPLE_LEAD} '{url}'     or  leadflow send {name}"),
        None => format!("curl -sS --json '{{}}' '{}'", urls.first()?.1),
    };
    Some(format!("try     {line}\nsee     leadflow runs show last\n"))
}

fn notes(settings: &Settings, started: &Started) -> Vec<String> {
    let has = |kind: &str| settings.connections.values().any(|connection| connection.kind == kind);
    let connections: Vec<String> =
        settings.connections.iter().map(|(name, connection)| format!("{name}={}", connection.kind)).collect();
    let mut parts = Vec::new();
    if has("outbox") {
        parts.push(format!("mail is written to {}/, NOT SENT", settings.outbox().display()));
    }
    if has("records") {
        parts.push(format!("records stay in {}", settings.store_place()));
    }
    let mut notes = Vec::new();
    if !parts.is_empty() {
        notes.push(format!("{} (connections: {})", parts.join("; "), connections.join(" ")));
    }
    if started.public.ip().is_loopback() && settings.public_url.is_none() {
        notes.push("loopback only: the marketplace cannot reach it yet (README: going live)".to_owned());
    }
    notes
}

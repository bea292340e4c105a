//! `leadflow reload`: makes the running server look at what is on disk now.

use serde_json::Value;

use super::args::{self, Global};
use super::{Exit, beside, context, output};

pub(super) fn run(global: &Global, args: &args::Reload) -> anyhow::Result<Exit> {
    let settings = context::settings_beside(global)?;
    let Some(server) = beside::Server::find(&settings) else {
        anyhow::bail!("no server runs on {}: `leadflow serve` loads what is on disk", settings.data.display());
    };
    let query = [("wait", if args.wait { "true" } else { "false" })];
    let (status, answer) = server.ask("POST", "/api/v1/reload", &query)?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default();
    if !matches!(status, 200 | 202 | 409) {
        anyhow::bail!("the server answers {status}: {}", text("detail"));
    }
    let exit = if status == 409 { Exit::Bad } else { Exit::Fine };
    if args.json {
        output::json(&answer);
        return Ok(exit);
    }
    let findings = beside::findings(answer.get("findings").unwrap_or(&Value::Null));
    context::show_findings(&findings, &beside::texts(&findings));
    let generation = answer.get("generation").and_then(Value::as_u64).unwrap_or(0);
    let digest: String = text("digest").chars().take(DIGEST_CHARS).collect();
    output::answer(&match status {
        202 => "the server looks at what is on disk (--wait tells what came of it)\n".to_owned(),
        200 => format!("what is on disk is live: generation {generation}, digest {digest}\n"),
        _ => format!(
            "what is on disk is NOT live: {}; generation {generation}, digest {digest}\n",
            output::count(findings.len(), "finding")
        ),
    });
    Ok(exit)
}

/// Characters of a digest that people need to tell two sets apart.
pub(super) const DIGEST_CHARS: usize = 12;

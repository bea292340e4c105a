//! `leadflow diff`: what is live against what is on disk, flow by flow, in the words of the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{self, Global};
use super::{Exit, beside, context, output};
use crate::clock;
use crate::diagnostic::{Diagnostic, Severity};
use crate::flow::Bundle;
use crate::library::diff::{self, Change};
use crate::library::load::{Folder, Loaded};
use crate::server::view;
use crate::store::{Live, LiveRow, Store};

/// How a flow differs.
struct Difference {
    flow: String,
    file: String,
    kind: Kind,
}

enum Kind {
    /// On disk and not live.
    Added,
    /// Live and not on disk.
    Removed,
    /// Another text.
    Changed(Vec<Change>),
    /// What is on disk does not check.
    Faulty(Vec<Diagnostic>),
}

impl Kind {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
            Self::Faulty(_) => "faulty",
        }
    }
}

pub(super) fn run(global: &Global, args: &args::Diff) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &["/store/url"])?;
    let running = beside::Server::find(&settings).is_some();
    let store = context::store_to_read(&settings)?;
    let folder = context::folder(&settings);
    let (live, differences) = context::block_on(async {
        let live = store.live().await?;
        let differences = differences(store.as_ref(), &live.rows, &folder).await?;
        anyhow::Ok((live, differences))
    })??;
    let faulty = differences.iter().any(|one| matches!(one.kind, Kind::Faulty(_)));
    if args.json {
        output::json(&as_json(&live, running, &differences));
    } else {
        if !running {
            output::note("no server runs: compared with what was live last");
        }
        output::answer(&as_text(&live, &folder, &differences));
        context::show_findings(&folder.findings, &[]);
    }
    Ok(if faulty { Exit::Bad } else { Exit::Fine })
}

async fn differences(store: &dyn Store, rows: &[LiveRow], folder: &Folder) -> anyhow::Result<Vec<Difference>> {
    let by_name: BTreeMap<&str, &LiveRow> = rows.iter().map(|row| (&*row.flow, row)).collect();
    let by_file: BTreeMap<&str, &LiveRow> = rows.iter().map(|row| (&*row.file, row)).collect();
    let mut found = Vec::new();
    let mut met: Vec<&str> = Vec::new();
    for loaded in &folder.files {
        let named = by_name.get(&*loaded.name);
        let row = named.or_else(|| by_file.get(&*loaded.file).filter(|_| loaded.flow.is_none())).copied();
        met.extend(row.map(|row| &*row.flow));
        if let Some(kind) = compare(store, row, loaded).await? {
            found.push(Difference { flow: loaded.name.clone(), file: loaded.file.clone(), kind });
        }
    }
    for row in rows.iter().filter(|row| !met.contains(&&*row.flow)) {
        found.push(Difference { flow: row.flow.clone(), file: row.file.clone(), kind: Kind::Removed });
    }
    found.sort_by(|a, b| (&a.flow, &a.file).cmp(&(&b.flow, &b.file)));
    Ok(found)
}

async fn compare(store: &dyn Store, row: Option<&LiveRow>, loaded: &Arc<Loaded>) -> anyhow::Result<Option<Kind>> {
    let Some(flow) = &loaded.flow else {
        let errors = loaded.findings.iter().filter(|finding| finding.severity == Severity::Error);
        return Ok(Some(Kind::Faulty(errors.cloned().collect())));
    };
    let Some(row) = row else { return Ok(Some(Kind::Added)) };
    if row.digest == flow.digest {
        return Ok(None);
    }
    let text = store.text(row.text_id).await?;
    let bundle = text.and_then(|text| serde_json::from_str::<Bundle>(&text.bundle).ok());
    Ok(Some(match bundle {
        Some(bundle) => {
            Kind::Changed(moved(row, loaded).into_iter().chain(diff::changes(&bundle, &flow.bundle)).collect())
        }
        None => Kind::Added,
    }))
}

/// The file itself, where the flow comes from another one now.
fn moved(row: &LiveRow, loaded: &Loaded) -> Option<Change> {
    let (old, new) = (Value::from(&*row.file), Value::from(&*loaded.file));
    (old != new).then(|| Change { action: None, path: "file".to_owned(), old: Some(old), new: Some(new) })
}

fn as_json(live: &Live, running: bool, differences: &[Difference]) -> Value {
    let change =
        |change: &Change| json!({"action": change.action, "path": change.path, "old": change.old, "new": change.new});
    let flows = differences.iter().map(|one| {
        let (changes, words) = match &one.kind {
            Kind::Changed(changes) => (changes.iter().map(change).collect(), json!(diff::words(changes))),
            _ => (json!([]), Value::Null),
        };
        let findings: Value = match &one.kind {
            Kind::Faulty(findings) => findings.iter().map(view::finding_json).collect(),
            _ => json!([]),
        };
        json!({
            "flow": one.flow, "file": one.file, "difference": one.kind.as_str(), "words": words, "changes": changes,
            "findings": findings,
        })
    });
    json!({"generation": live.generation, "server_runs": running, "flows": flows.collect::<Value>()})
}

fn as_text(live: &Live, folder: &Folder, differences: &[Difference]) -> String {
    let style = output::Style::stdout();
    let mut text = String::new();
    for one in differences {
        let Difference { flow, file, kind } = one;
        let sign = match kind {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed(_) => '~',
            Kind::Faulty(_) => '!',
        };
        let _ = write!(text, "{sign} {}  {file}", style.bold(flow));
        match kind {
            Kind::Added => text.push_str("  new\n"),
            Kind::Removed => text.push_str("  gone\n"),
            Kind::Changed(changes) => {
                let _ = writeln!(text, "  {}", diff::words(changes));
                for change in changes {
                    line(&mut text, change);
                }
            }
            Kind::Faulty(findings) => {
                let kept = live.rows.iter().any(|row| row.flow == *flow || row.file == *file);
                text.push_str(if kept {
                    "  does not check: the last good version is live\n"
                } else {
                    "  does not check: off\n"
                });
                for finding in findings {
                    let _ = writeln!(text, "    {} {} {}", super::flows::place(finding), finding.code, finding.message);
                }
            }
        }
    }
    let since = live.rows.iter().map(|row| row.loaded_at).max().map(clock::human);
    let since = since.map(|since| format!(", last change {since}")).unwrap_or_default();
    let total = output::count(folder.files.len(), "file");
    let summary = match differences.len() {
        0 => format!("no difference in {total}"),
        number => format!("{} in {total}", output::count(number, "difference")),
    };
    let _ = writeln!(text, "{summary}; live: generation {}{since}", live.generation);
    text
}

/// `    notify_sales.subject: "old" -> "new"`
fn line(text: &mut String, change: &Change) {
    let at = match (&change.action, &*change.path) {
        (Some(action), "") => action.clone(),
        (Some(action), path) => format!("{action}.{path}"),
        (None, path) => path.to_owned(),
    };
    let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), diff::shown);
    if change.old.is_some() || change.new.is_some() {
        let _ = writeln!(text, "    {at}: {} -> {}", side(&change.old), side(&change.new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_line_and_says_what_was_not_there() {
        let mut text = String::new();
        let change = |action: Option<&str>, path: &str, old, new| Change {
            action: action.map(str::to_owned),
            path: path.to_owned(),
            old,
            new,
        };
        line(&mut text, &change(Some("mail"), "subject", Some(json!("a")), Some(json!("b"))));
        line(&mut text, &change(None, "description", None, Some(json!("x"))));
        line(&mut text, &change(None, "schema a.json", None, None));
        assert_eq!(text, "    mail.subject: \"a\" -> \"b\"\n    description: (none) -> \"x\"\n");
        assert_eq!(diff::words(&[]), diff::NO_EFFECT);
    }
}

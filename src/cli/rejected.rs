//! `leadflow runs rejected`: authenticated requests that were refused, kept so that no lead is lost to a wrong schema.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::Rejected;
use super::{Exit, context, output, runs};
use crate::app;
use crate::clock;
use crate::settings::Settings;
use crate::store::{RejectedRow, Store};

/// Candidates that an ambiguous id lists at most.
const CANDIDATES_MAX: usize = 10;

pub(super) fn run(settings: &Settings, command: Rejected) -> anyhow::Result<Exit> {
    match command {
        Rejected::List { flow, limit, json } => {
            let store = context::store_to_read(settings)?;
            let rows = context::block_on(store.list_rejected(flow.as_deref(), limit))??;
            if json {
                output::json(&Value::Array(rows.iter().map(summary).collect()));
            } else {
                output::answer(&table(&rows));
            }
            Ok(Exit::Fine)
        }
        Rejected::Show { id, json } => {
            let store = context::store_to_read(settings)?;
            let row = context::block_on(find(store.as_ref(), &id))??;
            if json {
                output::json(&detail(&row));
            } else {
                output::answer(&show(&row));
            }
            Ok(Exit::Fine)
        }
        Rejected::Resubmit { id } => resubmit(settings, &id),
    }
}

fn resubmit(settings: &Settings, id: &str) -> anyhow::Result<Exit> {
    let store = context::store_to_write(settings)?;
    let (old, new) = context::block_on(async {
        let row = find(store.as_ref(), id).await?;
        let old = row.id;
        anyhow::Ok((old, app::resubmit_rejected(store.as_ref(), settings, row).await?))
    })??;
    match new {
        Ok(made) => {
            output::answer(&runs::made(&made, &format!("the refused request …{}", old.short())));
            Ok(Exit::Fine)
        }
        Err(problem) => {
            output::problem(&format!("still refused: {} ({})", problem.message, problem.code));
            for error in &problem.errors {
                output::note(&format!("  {}  {}", error.pointer, error.message));
            }
            Ok(Exit::Bad)
        }
    }
}

async fn find(store: &dyn Store, part: &str) -> anyhow::Result<RejectedRow> {
    if part == "last" {
        let rows = store.list_rejected(None, 1).await?;
        let id = rows.first().map(|row| row.id.to_string()).ok_or_else(|| anyhow::anyhow!("no request was refused"))?;
        return store.find_rejected(&id, 1).await?.pop().ok_or_else(|| anyhow::anyhow!("it is gone"));
    }
    let part = context::hexadecimal(part)?;
    let mut rows = store.find_rejected(part, CANDIDATES_MAX + 1).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    context::one_of(part, &ids, "refused request")?;
    Ok(rows.remove(0))
}

fn summary(row: &RejectedRow) -> Value {
    json!({
        "id": row.id,
        "flow": row.flow,
        "received_at": clock::rfc3339(row.received_at),
        "code": row.code,
        "errors": row.findings,
        "method": row.method,
        "path": row.path,
        "resubmitted_as": row.resubmitted_as,
    })
}

fn detail(row: &RejectedRow) -> Value {
    let mut value = summary(row);
    value["query"] = pairs(&row.query);
    value["headers"] = pairs(&row.headers);
    value["body"] = Value::String(String::from_utf8_lossy(&row.body).into_owned());
    value
}

fn pairs(pairs: &[(String, String)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn table(rows: &[RejectedRow]) -> String {
    if rows.is_empty() {
        return "no refused requests\n".into();
    }
    let mut cells = vec![["id", "flow", "received", "why", "", ""].map(str::to_owned).to_vec()];
    for row in rows {
        let first = row.findings.first();
        cells.push(vec![
            row.id.short(),
            row.flow.clone(),
            clock::human(row.received_at),
            row.code.clone(),
            first.map(|error| format!("{} {}", error.pointer, error.message).trim().to_owned()).unwrap_or_default(),
            row.resubmitted_as.map(|run| format!("resubmitted as …{}", run.short())).unwrap_or_default(),
        ]);
    }
    output::table(&cells, "", |_, cell| cell.to_owned())
}

fn show(row: &RejectedRow) -> String {
    let mut text = format!("refused {}  {}  {}  {}\n", row.id, row.flow, row.code, clock::human(row.received_at));
    for error in &row.findings {
        let _ = writeln!(text, "  {}  {}", error.pointer, error.message);
    }
    let _ = writeln!(text, "{} {}", row.method, row.path);
    for (name, value) in &row.headers {
        let _ = writeln!(text, "  {}: {}", output::one_line(name, 200), output::one_line(value, 200));
    }
    for line in String::from_utf8_lossy(&row.body).lines() {
        let _ = writeln!(text, "| {}", output::one_line(line, 2000));
    }
    let _ = writeln!(text, "again with the flow as it is now: leadflow runs rejected resubmit {}", row.id.short());
    text
}

//! `leadflow store`: how the database stands, whether it is whole, a copy of it, a newer version of it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::args::{Global, StoreCommand};
use super::{Exit, context, output};
use crate::app;
use crate::secret::Secret;
use crate::settings::{Settings, StoreSettings};
use crate::store::sqlite::care;
use crate::store::sqlite::lock::DataLock;
use crate::store::{copy, postgres};

pub(super) fn run(global: &Global, command: StoreCommand) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &["/data", "/store/url"])?;
    if matches!(settings.store, StoreSettings::Postgres { .. }) {
        return on_postgres(&settings, &command);
    }
    let path = settings.database();
    if !path.exists() {
        anyhow::bail!("no store yet in {}: start `leadflow serve` first", settings.data.display());
    }
    match command {
        StoreCommand::Status { json } => status(&path, json),
        StoreCommand::Check => check(&path),
        StoreCommand::Backup { file } => backup(&path, &file),
        StoreCommand::Copy { to } => copy(&settings, &path, to),
        StoreCommand::Migrate => migrate(&settings, &path),
    }
}

fn on_postgres(settings: &Settings, command: &StoreCommand) -> anyhow::Result<Exit> {
    let mode = if matches!(command, StoreCommand::Migrate) { app::Mode::Serve } else { app::Mode::Read };
    let options = app::postgres_options(settings, mode)?;
    let place = settings.store_place();
    match command {
        StoreCommand::Status { json } => {
            let standing = postgres::care::standing(&options)?;
            if *json {
                let rows: serde_json::Map<_, _> =
                    standing.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
                output::json(&json!({
                    "type": "postgres", "place": place, "version": standing.version,
                    "understood": standing.understood, "bytes": standing.bytes, "rows": rows,
                }));
            } else {
                let mut text = format!("{place}\n{}", version_line(standing.version, standing.understood));
                let _ = writeln!(text, "size    {} KiB", standing.bytes >> 10);
                text.push_str(&counts(&standing.rows));
                output::answer(&text);
            }
        }
        StoreCommand::Migrate => {
            let (had, has) = (postgres::care::migrate(&options)?, postgres::VERSION);
            output::answer(&match had {
                had if had == has => format!("version {had}: nothing to do\n"),
                had => format!("version {had} is now version {has}\n"),
            });
        }
        StoreCommand::Check => anyhow::bail!("{place}: PostgreSQL checks itself (pg_amcheck); `check` is for SQLite"),
        StoreCommand::Copy { .. } => anyhow::bail!("{place}: `copy` moves from SQLite; here pg_dump does it"),
        StoreCommand::Backup { .. } => {
            anyhow::bail!("{place}: back it up with PostgreSQL's own tools (pg_dump) or your provider's")
        }
    }
    Ok(Exit::Fine)
}

fn version_line(version: i64, understood: i64) -> String {
    let newer = match version {
        version if version == understood => "current".to_owned(),
        _ => format!("this leadflow needs {understood}: leadflow store migrate"),
    };
    format!("version {version} ({newer})\n")
}

fn counts(rows: &[(&str, u64)]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|(table, rows)| vec![(*table).to_owned(), rows.to_string()]).collect();
    output::table(&rows, "  ", |_, cell| cell.to_owned())
}

fn status(path: &Path, as_json: bool) -> anyhow::Result<Exit> {
    let standing = care::standing(path)?;
    if as_json {
        let rows: serde_json::Map<_, _> =
            standing.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
        output::json(&json!({
            "type": "sqlite", "place": path.display().to_string(), "version": standing.version,
            "understood": standing.understood, "bytes": standing.bytes, "wal_bytes": standing.wal_bytes, "rows": rows,
        }));
        return Ok(Exit::Fine);
    }
    let mut text = format!("sqlite  {}\n", path.display());
    text.push_str(&version_line(standing.version, standing.understood));
    let _ = writeln!(text, "size    {} KiB, log {} KiB", standing.bytes >> 10, standing.wal_bytes >> 10);
    text.push_str(&counts(&standing.rows));
    output::answer(&text);
    Ok(Exit::Fine)
}

fn check(path: &Path) -> anyhow::Result<Exit> {
    let faults = care::faults(path)?;
    if faults.is_empty() {
        output::answer(&format!("{}: whole\n", path.display()));
        return Ok(Exit::Fine);
    }
    for fault in &faults {
        output::answer(&format!("{fault}\n"));
    }
    let found = output::count(faults.len(), "fault");
    output::problem(&format!("{found} in {}; restore a backup, or ask with this output", path.display()));
    Ok(Exit::Bad)
}

fn backup(path: &Path, to: &Path) -> anyhow::Result<Exit> {
    let bytes = care::backup(path, to)?;
    output::answer(&format!(
        "{}: {} KiB, checked\nto go back: stop the server, remove {place}-wal and {place}-shm, put the copy in place of {place}\n",
        to.display(),
        bytes >> 10,
        place = path.display(),
    ));
    Ok(Exit::Fine)
}

/// How many cells the bar has.
const BAR_CELLS: u64 = 30;

fn copy(settings: &Settings, path: &Path, to: String) -> anyhow::Result<Exit> {
    if let Some(why) = postgres::bad_url(&to) {
        anyhow::bail!("--to: {why}");
    }
    // What a server accepted meanwhile would stay behind.
    let _lock = DataLock::acquire(&settings.data, &json!({ "command": "store copy" }))?;
    let place = postgres::place(&to);
    let options = postgres::OpenOptions::new(Secret::new(to), app::Mode::Serve);
    let copied = copy::sqlite_to_postgres(path, &options, &mut output::bar("copied", BAR_CELLS))?;
    let rows: Vec<Vec<String>> =
        copied.iter().map(|copied| vec![copied.table.clone(), copied.rows.to_string()]).collect();
    let mut text = output::table(&rows, "  ", |_, cell| cell.to_owned());
    let _ = writeln!(text, "all there, counted: {place}");
    text.push_str(
        "now write  store: { type: postgres, url: '${env:DATABASE_URL}' }  into leadflow.yaml and start the server\n",
    );
    output::answer(&text);
    Ok(Exit::Fine)
}

fn migrate(settings: &Settings, path: &Path) -> anyhow::Result<Exit> {
    let standing = care::standing(path)?;
    if standing.version == standing.understood {
        output::answer(&format!("version {}: nothing to do\n", standing.version));
        return Ok(Exit::Fine);
    }
    // A server that is running has migrated already; an older one must not find a newer database under its feet.
    let _lock = DataLock::acquire(&settings.data, &json!({ "command": "store migrate" }))?;
    let had = care::migrate(path)?;
    output::answer(&format!("version {had} is now version {}\n", standing.understood));
    Ok(Exit::Fine)
}

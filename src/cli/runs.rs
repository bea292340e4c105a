//! `leadflow runs`: what became of each lead; again, or not.

use super::args::{FlowText, Global, Runs, RunsList};
use super::{Exit, context, output, rejected, show, usage};
use crate::app;
use crate::clock::{self, Clock, SystemClock};
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::server::connections::waiting_text;
use crate::server::view;
use crate::settings::Settings;
use crate::store::{CancelAnswer, ConnectionState, RunFilter, StoredRun};

pub(super) fn run(global: &Global, command: Runs) -> anyhow::Result<Exit> {
    if let Runs::Export(_) = command {
        return Ok(usage::later("runs export"));
    }
    let settings = context::settings(global, &["/data", "/store/url"])?;
    match command {
        Runs::List(args) => list(&settings, &args),
        Runs::Show { id, json } => {
            let store = context::store_to_read(&settings)?;
            let run = context::block_on(context::find_run(store.as_ref(), &id))??;
            context::block_on(show::run(&settings, store.as_ref(), run, json))?
        }
        Runs::Resubmit { id, from, text } => resubmit(&settings, &id, from.as_deref(), text),
        Runs::Cancel { id } => cancel(&settings, &id),
        Runs::Rejected { command } => rejected::run(&settings, command),
        Runs::Export(_) => Ok(usage::later("runs export")),
    }
}

fn list(settings: &Settings, args: &RunsList) -> anyhow::Result<Exit> {
    let statuses = args.status.iter().map(|text| status(text)).collect::<Result<Vec<_>, _>>()?;
    let store = context::store_to_read(settings)?;
    let filter = RunFilter { flow: args.flow.clone(), statuses, before: None, limit: args.limit };
    let (runs, states) =
        context::block_on(async { anyhow::Ok((store.list_runs(filter).await?, store.connections().await?)) })??;
    let now = SystemClock.now();
    if args.json {
        output::json(&view::run_list_json(&runs, &states, now));
    } else {
        output::answer(&table(&runs, &states, now));
    }
    Ok(Exit::Fine)
}

fn status(text: &str) -> anyhow::Result<RunStatus> {
    RunStatus::parse(text).ok_or_else(|| {
        let known: Vec<&str> = RunStatus::ALL.into_iter().map(RunStatus::as_str).collect();
        anyhow::anyhow!("`{text}` is no status of a run: {}", known.join(", "))
    })
}

fn table(runs: &[StoredRun], states: &[ConnectionState], now: clock::Micros) -> String {
    if runs.is_empty() {
        return "no runs: post a lead (leadflow send FLOW)\n".into();
    }
    let style = output::Style::stdout();
    let mut rows = vec![["run", "flow", "status", "received", "took", "actions"].map(str::to_owned).to_vec()];
    for StoredRun { run, steps } in runs {
        let mut actions: Vec<String> =
            view::standing(steps).iter().map(|(name, status)| format!("{name} {}", status.as_str())).collect();
        actions.extend(run.is_test.then(|| "(test lead)".to_owned()));
        actions.extend(waiting_text(run, states, now).map(|reason| format!("({reason})")));
        actions.extend(run.code.as_ref().map(|code| format!("({code})")));
        actions.extend(run.duplicate_of.map(|first| format!("(of …{})", first.short())));
        rows.push(vec![
            run.run_id.short(),
            run.flow.clone(),
            run.status.as_str().to_owned(),
            clock::human(run.received_at),
            output::span(run.finished_at.unwrap_or(now) - run.received_at),
            actions.join(", "),
        ]);
    }
    output::table(&rows, "", |column, cell| if column == 2 { style.status(cell) } else { cell.to_owned() })
}

fn resubmit(settings: &Settings, id: &str, from: Option<&str>, text: FlowText) -> anyhow::Result<Exit> {
    let store = context::store_to_write(settings)?;
    let origin = match text {
        FlowText::Current => app::Origin::Current,
        FlowText::Original => app::Origin::Original,
    };
    let (old, new) = context::block_on(async {
        let old = context::find_run(store.as_ref(), id).await?;
        anyhow::Ok((old, app::resubmit(store.as_ref(), settings, old, from, origin).await?))
    })??;
    let what = from.map_or_else(|| "from the start".to_owned(), |action| format!("from {action}"));
    output::answer(&made(&new, &format!("…{}, {what}; a running server takes it at once", old.short())));
    Ok(Exit::Fine)
}

/// What a resubmit made: one run, or one for each item of a list.
pub(super) fn made(runs: &[RunId], of: &str) -> String {
    match runs {
        [one] => format!("run …{0} made of {of}\nsee  leadflow runs show {0}\n", one.short()),
        many => format!("{} made of {of}\nsee  leadflow runs list\n", output::count(many.len(), "run")),
    }
}

fn cancel(settings: &Settings, id: &str) -> anyhow::Result<Exit> {
    let store = context::store_to_write(settings)?;
    let (run, answer) = context::block_on(async {
        let run = context::find_run(store.as_ref(), id).await?;
        anyhow::Ok((run, store.request_cancel(run, SystemClock.now()).await?))
    })??;
    match answer {
        CancelAnswer::Requested => {
            output::answer(&format!("run …{}: no new action starts; the running server ends it\n", run.short()));
            Ok(Exit::Fine)
        }
        CancelAnswer::AlreadyFinished(status) => {
            output::problem(&format!("run …{} had already ended: {}", run.short(), status.as_str()));
            Ok(Exit::Bad)
        }
        CancelAnswer::Unknown => anyhow::bail!("there is no run {run}"),
    }
}

//! The command line: one file a command. The only place that prints.
//!
//! Promise: exit code 0 is fine, 1 is findings or a run that did not succeed, 2 is usage or environment. What goes to
//! standard output is the answer; everything else goes to standard error.

mod args;
mod beside;
mod check;
mod completions;
mod connections;
mod context;
mod credentials;
mod diff;
mod dry_run;
mod explain;
mod flows;
mod keys;
mod output;
mod records;
mod reference;
mod rejected;
mod reload;
mod runs;
mod schema;
mod send;
mod serve;
mod settings;
mod show;
mod store;
mod tree;
mod url;
mod usage;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Fine: succeeded, skipped, warnings only.
    Fine,
    /// Error findings, or a run that failed, timed out, was cancelled or refused.
    Bad,
    /// Usage or environment.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Bad => 1,
            Exit::Usage => 2,
        })
    }
}

/// Runs the command line; the exit code is 0 (fine), 1 (findings or a bad run), 2 (usage or environment).
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::refuse(&error).into(),
    };
    run(cli).unwrap_or_else(|error| stopped(&error)).into()
}

fn stopped(error: &anyhow::Error) -> Exit {
    if let Some(context::Stop(exit)) = error.downcast_ref() {
        return *exit;
    }
    output::problem(&format!("{error:#}"));
    Exit::Usage
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Some(command) = cli.command else { return Ok(usage::bare()) };
    let global = &cli.global;
    match command {
        Command::Serve(args) => serve::run(global, args),
        Command::Check(args) => check::run(global, &args),
        Command::DryRun(args) => dry_run::run(global, &args),
        Command::Send(args) => send::run(global, &args),
        Command::Runs { command } => runs::run(global, command),
        Command::Records { command } => records::run(global, command),
        Command::Connections(args) => connections::run(global, &args),
        Command::Flows(args) => flows::run(global, &args),
        Command::Url(args) => url::run(global, &args),
        Command::Reload(args) => reload::run(global, &args),
        Command::Diff(args) => diff::run(global, &args),
        Command::Store { command } => store::run(global, command),
        Command::Settings => settings::run(global),
        Command::Schema { of, samples } => schema::run(of, &samples),
        Command::Explain { word, markdown } => Ok(explain::run(word.as_deref(), markdown)),
        Command::Completions { shell } => Ok(completions::run(shell)),
        Command::Later(later) => Ok(usage::later(later.name())),
    }
}

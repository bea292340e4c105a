//! `leadflow completions`: the script for a shell.

use clap::CommandFactory;

use super::args::Cli;
use super::{Exit, output};

pub(super) fn run(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "leadflow", &mut script);
    output::answer(&String::from_utf8_lossy(&script));
    Exit::Fine
}

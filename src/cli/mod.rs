//! The command line: one file a command. The only place that prints.

/// Runs the command line; the exit code is 0 (fine), 1 (findings or a bad run), 2 (usage or environment).
pub fn main() -> std::process::ExitCode {
    unimplemented!()
}

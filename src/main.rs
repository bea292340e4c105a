//! The `leadflow` binary: hands the command line to the library.

fn main() -> std::process::ExitCode {
    leadflow::cli::main()
}

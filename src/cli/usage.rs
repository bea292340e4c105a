//! What a wrong or incomplete command line is told.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Exit, output};

/// What people type from habit, and what it is called here.
const HABITS: &[(&str, &str)] = &[
    ("validate", "check"),
    ("lint", "check"),
    ("run", "serve"),
    ("start", "serve"),
    ("server", "serve"),
    ("up", "serve"),
    ("init", "new"),
    ("create", "new"),
    ("list", "flows"),
    ("history", "runs list"),
    ("logs", "runs list"),
    ("post", "send"),
    ("simulate", "dry-run"),
    ("preview", "dry-run"),
    ("config", "settings"),
    ("help", "--help"),
];

const BARE: &str = "\
leadflow: one YAML file per offer. Every lead kept, delivered, and provable.
  leadflow serve                       run the flows in flows/ and print their URLs
  leadflow check                       find every mistake, each with file, line and fix
  leadflow dry-run FLOW --lead FILE    show what would be sent; send nothing
  leadflow send FLOW                   post examples/lead.json to the running server
  leadflow runs list                   what became of each lead
  leadflow runs show last              the newest run, action by action
  leadflow records list                records in the embedded store
  leadflow url FLOW                    the URL to paste into the marketplace
  leadflow --help                      every command (leadflow explain CODE: every finding)
";

/// A bare `leadflow`.
pub(super) fn bare() -> Exit {
    output::note(BARE.trim_end());
    Exit::Usage
}

/// A command that is known and not there yet.
pub(super) fn later(name: &str) -> Exit {
    output::problem(&format!("`leadflow {name}` comes with a later version"));
    Exit::Usage
}

/// A command line that clap refuses, or `--help` and `--version`.
pub(super) fn refuse(error: &clap::Error) -> Exit {
    if let Some(message) = wrong_verb(error) {
        output::problem(&message);
        return Exit::Usage;
    }
    // A closed pipe behind `--help` is nobody's problem.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Fine,
        _ => Exit::Usage,
    }
}

fn wrong_verb(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let (_, right) = HABITS.iter().find(|(habit, _)| habit == verb)?;
    Some(format!("there is no `{verb}`; did you mean `leadflow {right}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::{CommandFactory, Parser};

    fn refused(line: &str) -> clap::Error {
        Cli::try_parse_from(line.split(' ')).expect_err("a wrong command line")
    }

    #[test]
    fn the_declarations_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_verbs_get_the_right_one() {
        for (verb, right) in [("validate", "check"), ("run", "serve"), ("start", "serve"), ("init", "new")] {
            let message = wrong_verb(&refused(&format!("leadflow {verb}"))).expect("a habit");
            assert_eq!(message, format!("there is no `{verb}`; did you mean `leadflow {right}`?"));
        }
        assert_eq!(wrong_verb(&refused("leadflow zebra")), None);
    }

    #[test]
    fn ten_lines_greet_a_bare_command() {
        assert_eq!(BARE.lines().count(), 10);
    }

    #[test]
    fn global_flags_stand_anywhere() {
        let cli = Cli::try_parse_from(["leadflow", "check", "--flows", "a", "--env", "staging"]).expect("parses");
        assert_eq!(cli.global.flows.as_deref(), Some(std::path::Path::new("a")));
        assert_eq!(cli.global.env.as_deref(), Some("staging"));
        let cli = Cli::try_parse_from(["leadflow", "--data", "d", "runs", "show", "last"]).expect("parses");
        assert_eq!(cli.global.data.as_deref(), Some(std::path::Path::new("d")));
    }

    #[test]
    fn url_wants_a_flow_or_all() {
        assert!(Cli::try_parse_from(["leadflow", "url"]).is_err());
        assert!(Cli::try_parse_from(["leadflow", "url", "--all"]).is_ok());
        assert!(Cli::try_parse_from(["leadflow", "url", "a", "--all"]).is_err());
        assert!(Cli::try_parse_from(["leadflow", "url", "a", "--rotate", "secondary"]).is_ok());
    }

    #[test]
    fn lead_and_sample_are_the_same_word() {
        for word in ["--lead", "--sample"] {
            assert!(Cli::try_parse_from(["leadflow", "dry-run", "a", word, "-"]).is_ok());
        }
    }
}

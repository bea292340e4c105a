//! The words of the command line. What they do is in one file a command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units;

const AFTER: &str = "\
Examples:
  leadflow serve                                              run every flow in flows/
  leadflow check                                              find every mistake
  leadflow dry-run contoso-backup --lead examples/lead.json   show what would be sent; send nothing
  leadflow runs show last                                     what became of the newest lead

Exit codes: 0 fine, 1 findings or a run that did not succeed, 2 usage or environment.";

/// One YAML file per offer. Every lead kept, delivered, and provable.
#[derive(Debug, Parser)]
#[command(name = "leadflow", version, about, after_help = AFTER, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Settings file [default: leadflow.yaml, if it is there]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global")]
    pub config: Option<PathBuf>,
    /// Folder of flows [default: flows]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global")]
    pub flows: Option<PathBuf>,
    /// Folder of schemas [default: schemas]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global")]
    pub schemas: Option<PathBuf>,
    /// Data folder [default: leadflow-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global")]
    pub data: Option<PathBuf>,
    /// Lay leadflow.NAME.yaml over the settings file
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "LEADFLOW_ENV",
        hide_env_values = true,
        help_heading = "Global"
    )]
    pub env: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the flows: receive leads, perform their actions
    Serve(Serve),
    /// Find every mistake in flows and settings
    Check(Check),
    /// Show what a flow would send for a lead; send nothing, store nothing
    DryRun(DryRun),
    /// Post a lead for real to the running server and show the run
    Send(Send),
    /// Look at runs, repeat them, cancel them
    Runs {
        #[command(subcommand)]
        command: Runs,
    },
    /// Look at records of the embedded store
    Records {
        #[command(subcommand)]
        command: Records,
    },
    /// Show how each connection stands
    Connections(Connections),
    /// List the flows
    Flows(Flows),
    /// Print the complete URL of a flow
    Url(Url),
    /// Make the running server look at what is on disk now
    Reload(Reload),
    /// Compare what is live with what is on disk, flow by flow
    Diff(Diff),
    /// Look after the database: status, check, backup, migrate
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Print the settings that hold, each with its place
    Settings,
    /// Print a JSON Schema for editors
    Schema {
        /// Which one
        #[arg(value_enum)]
        of: SchemaOf,
        /// Samples (comes with a later version)
        #[arg(hide = true)]
        samples: Vec<PathBuf>,
    },
    /// Explain a code, an action, a helper or a connector; alone: list every code
    #[command(
        after_help = "Examples:\n  leadflow explain\n  leadflow explain unknown_key\n  leadflow explain send_email"
    )]
    Explain {
        /// A code, an action, a helper or a connector
        word: Option<String>,
        /// Print the whole reference as Markdown
        #[arg(long, conflicts_with = "word")]
        markdown: bool,
    },
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  leadflow completions bash > /etc/bash_completion.d/leadflow")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Later(Later),
}

/// Commands that later versions bring: known, so that the answer can say so.
#[derive(Debug, Subcommand)]
pub(super) enum Later {
    #[command(hide = true)]
    New(Rest),
    #[command(hide = true)]
    Test(Rest),
    #[command(hide = true)]
    Import(Rest),
    #[command(hide = true)]
    Alerts(Rest),
    #[command(hide = true)]
    Selftest(Rest),
}

impl Later {
    /// The command as typed.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Test(_) => "test",
            Self::Import(_) => "import",
            Self::Alerts(_) => "alerts",
            Self::Selftest(_) => "selftest",
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  leadflow connections\n  leadflow connections --json")]
pub(super) struct Connections {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Rest {
    /// Whatever follows
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow serve
  leadflow serve --listen 0.0.0.0:8080 --public-url https://leads.contoso.com
  leadflow serve --env production")]
pub(super) struct Serve {
    /// Public address, for leads [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<std::net::SocketAddr>,
    /// Admin address, for people and monitoring [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<std::net::SocketAddr>,
    /// What the outside sees: printed URLs start with it
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow check
  leadflow check flows/contoso-backup.yaml --strict
  leadflow check --format github")]
pub(super) struct Check {
    /// Files or folders [default: the folder of flows, and the settings]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// Ask the connected systems too (comes with a later version)
    #[arg(long, hide = true)]
    pub live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// `[{code, severity, file, line, column, path, message, help}]`
    Json,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow dry-run contoso-backup --lead examples/lead.json
  echo '{}' | leadflow dry-run contoso-backup --lead - --json
  leadflow dry-run flows/contoso-backup.yaml --lead examples/lead.json --mocks mocks.json

A mocks file says how actions answer: {ACTION: {status, outputs, error: {code, message}}}.")]
pub(super) struct DryRun {
    /// Name or file of a flow
    pub flow: String,
    /// The lead; - reads standard input
    #[arg(long, alias = "sample", value_name = "FILE")]
    pub lead: PathBuf,
    /// Canned answers of actions
    #[arg(long, value_name = "FILE")]
    pub mocks: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow send contoso-backup
  leadflow send contoso-backup --lead examples/lead-camel-case.json --wait")]
pub(super) struct Send {
    /// Name of a flow
    pub flow: String,
    /// The lead; - reads standard input
    #[arg(long, alias = "sample", value_name = "FILE", default_value = "examples/lead.json")]
    pub lead: PathBuf,
    /// Wait until the run has ended (at most two minutes)
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Runs {
    /// List runs, newest first
    #[command(after_help = "Example:\n  leadflow runs list --flow contoso-backup --status failed --limit 5")]
    List(RunsList),
    /// Show one run: each action with tries, inputs and outputs
    #[command(after_help = "Examples:\n  leadflow runs show last\n  leadflow runs show 5f0c21ab --json")]
    Show {
        /// Any unique beginning or end of a run id, or `last`
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a lead again
    #[command(
        after_help = "Examples:\n  leadflow runs resubmit 5f0c21ab\n  leadflow runs resubmit 5f0c21ab --from notify_sales\n\nWith --from, what succeeded is kept; the action, what waits for it and what did not succeed is done again.\nAn action inside a loop is done again in the iterations in which it did not succeed. Of a container\n(--from each_contact) everything that did not succeed is done again; its items or its branch stay as decided."
    )]
    Resubmit {
        /// Any unique beginning or end of a run id, or `last`
        id: String,
        /// Start at this action; what succeeded before it is not repeated
        #[arg(long, value_name = "ACTION")]
        from: Option<String>,
        /// Which text of the flow it runs on
        #[arg(long, value_enum, default_value_t = FlowText::Current)]
        text: FlowText,
    },
    /// Cancel a run that has not ended
    Cancel {
        /// Any unique beginning or end of a run id, or `last`
        id: String,
    },
    /// Requests that were refused and kept
    Rejected {
        #[command(subcommand)]
        command: Rejected,
    },
    #[command(hide = true)]
    Export(Rest),
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Show where it is, its version and its size
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read all of it and tell what is wrong; exit code 1 if anything is
    Check,
    /// Write a copy of it while the server runs
    #[command(
        after_help = "Example:\n  leadflow store backup leadflow-2026-11-21.db\n\nTo go back: stop the server and put the copy in place of leadflow-data/leadflow.db\n(and remove leadflow.db-wal and leadflow.db-shm beside it)."
    )]
    Backup {
        /// The file to write; it must not be there
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Copy all of it into an empty PostgreSQL database; the server must be stopped
    #[command(
        after_help = "Example:\n  leadflow store copy --to \"$DATABASE_URL\"\n\nThen write  store: { type: postgres, url: '${env:DATABASE_URL}' }  into leadflow.yaml and start the server.\nThe SQLite file stays as it is."
    )]
    Copy {
        /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
        #[arg(long, value_name = "URL")]
        to: String,
    },
    /// Bring it to the version that this leadflow understands (`serve` does so too)
    Migrate,
}

#[derive(Debug, Args)]
pub(super) struct RunsList {
    /// Of this flow
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,
    /// With this status; may be repeated
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<String>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Rejected {
    /// List refused requests, newest first
    List {
        /// Of this flow
        #[arg(long, value_name = "FLOW")]
        flow: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a refused request with its body
    Show {
        /// Any unique beginning or end of its id, or `last`
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try it again with the flow and schema as they are now
    Resubmit {
        /// Any unique beginning or end of its id, or `last`
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Records {
    /// List records, newest first
    List {
        /// Of this entity
        #[arg(long, value_name = "ENTITY")]
        entity: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one record
    Show {
        /// Any unique beginning or end of its id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Flows {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<FlowsCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum FlowsCommand {
    /// Print a flow as one file: for a flow of a blueprint the whole of what runs
    Show {
        /// Name or file of a flow
        flow: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow url contoso-backup
  leadflow url contoso-backup --slot secondary --base https://leads.contoso.com
  leadflow url --all

Rotating without losing a lead: paste the URL of the secondary slot into the marketplace, then
  leadflow url contoso-backup --rotate primary")]
pub(super) struct Url {
    /// Name or alias of a flow
    #[arg(required_unless_present = "all")]
    pub flow: Option<String>,
    /// Every flow: name and URL
    #[arg(long, conflicts_with = "flow")]
    pub all: bool,
    /// Which of the flow's two keys signs
    #[arg(long, value_enum, default_value_t = Slot::Primary)]
    pub slot: Slot,
    /// Make a new key for this slot first: its old URLs stop working
    #[arg(long, value_enum, value_name = "SLOT", conflicts_with_all = ["all", "slot"])]
    pub rotate: Option<Slot>,
    /// The URL stops working after this time: 90d
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub expires: Option<std::time::Duration>,
    /// What the URL starts with, in place of `public_url`
    #[arg(long, value_name = "URL", value_parser = crate::settings::public_url)]
    pub base: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow reload --wait                   exits 0 only when what is on disk is what is live
  git pull && leadflow reload --wait

The server finds changes by itself within seconds; this waits for them, and unloads removed files at once.
SIGHUP and  POST /api/v1/reload?wait=true  on the admin listener do the same.")]
pub(super) struct Reload {
    /// Wait until everything on disk was taken or refused; 1 with the findings when something was refused
    #[arg(long)]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  leadflow diff
  leadflow diff --json")]
pub(super) struct Diff {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FlowText {
    /// As it is on disk now
    Current,
    /// As it was when the run started
    Original,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Slot {
    /// The first key
    Primary,
    /// The second key
    Secondary,
}

impl Slot {
    /// As stored.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Flow files
    Flow,
    /// leadflow.yaml
    Settings,
    /// Connector files
    Connector,
    /// A body schema made of samples (comes with a later version)
    #[value(hide = true)]
    Infer,
}

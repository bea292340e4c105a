//! Findings in leadflow.yaml.

use super::{CodeDoc, error, note, warning};

pub(super) const CODES: &[CodeDoc] = &[
    note(
        "unset_variable",
        "an environment variable that leadflow.yaml names is not set",
        "\
`leadflow check` runs where secrets are not, so there it is a note; `serve` and `check --live` need the
value and refuse to go on without it.

    token: ${env:CRM_TOKEN}
",
    ),
    note(
        "missing_file",
        "a file that leadflow.yaml names cannot be read",
        "\
`leadflow check` runs where secrets are not, so there it is a note; `serve` and `check --live` need the
file and refuse to go on without it.

    password: ${file:/run/secrets/smtp}
",
    ),
    warning(
        "literal_secret",
        "a secret is written out in leadflow.yaml",
        "\
The file is in git, and so is the secret then. Refer to it instead, and change it at the other side.

    password: ${env:SMTP_PASSWORD}
    password: ${file:/run/secrets/smtp}
",
    ),
    error(
        "bad_reference",
        "a ${…} that is not a reference",
        "\
There are two forms: ${env:NAME} for an environment variable, ${file:PATH} for a file's content without
the line break at its end. Inside { } quote it: { token: \"${env:CRM_TOKEN}\" }.
",
    ),
    error(
        "unreadable_file",
        "a file or folder cannot be read",
        "\
It is not there, or this user may not read it. The message has the system's reason. --config, --flows
and --schemas say where to look.
",
    ),
    error(
        "bad_listen",
        "an address to listen on is not valid",
        "\
An IP address and a port: 127.0.0.1:8080, 0.0.0.0:8080, [::1]:8080. Port 0 takes any free one.
",
    ),
    error(
        "admin_token_required",
        "the admin listener needs a token to be reached from outside",
        "\
It shows leads and cancels runs. Off loopback it needs a token of its own:

    admin:
      listen: 0.0.0.0:8081
      token: ${env:LEADFLOW_ADMIN_TOKEN}
",
    ),
    error(
        "unknown_connector",
        "there is no such type of connection",
        "\
`type` of a connection is one of: records outbox smtp http. Other systems come with later versions; most
can be reached today with an `http` connection and the `http` action.
",
    ),
    error(
        "bad_size",
        "a size that cannot be read",
        "\
A number of bytes with its unit: 512B 64KiB 1MiB 10MB. KiB is 1024 bytes, KB is 1000.
",
    ),
    error(
        "bad_rate",
        "a rate that cannot be read",
        "\
A number per second, minute or hour: 20/s 500/m 1000/h. A rate needs its unit.
",
    ),
    warning(
        "needs_restart",
        "a setting that was changed counts from the next start on",
        "\
Everything in leadflow.yaml is taken over while the server runs, but for its listeners, the data folder,
the store and the log's format: they keep their old value until a restart. `leadflow reload --wait` and
`/readyz` tell so as long as the file and the server differ.
",
    ),
    error(
        "settings_not_applied",
        "settings that check could not be taken over by the running server",
        "\
The server goes on with the settings that held before: nothing is half applied. The message says what
stood in the way, such as a certificate that cannot be read or an admin token that was removed although
the admin listener can be reached from outside.
",
    ),
    warning(
        "file_vanished",
        "a flow file is gone and its flow still answers",
        "\
Editors, `git checkout` and network drives make files vanish for a moment, so a flow unloads only when
its file was missed for `reload.unload_after` (10 s). To unload it at once: `leadflow reload --wait`. To
turn a flow off and keep its file, write  enabled: false.
",
    ),
    warning(
        "folder_emptied",
        "a folder of flows is empty all at once and its flows still answer",
        "\
A drive that is not mounted looks like a folder whose files were all deleted. So these flows go on to
answer for `reload.empty_folder_grace` (5 m), and leadflow tells when they unload. If it is meant: turn
flows off with  enabled: false  before their files go, or wait.
",
    ),
];

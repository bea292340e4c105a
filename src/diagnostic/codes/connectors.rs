//! Findings in connector files, and failures of their connections.

use super::{CodeDoc, error};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "bad_connector",
        "a connector file says something that cannot work",
        "\
The message says what. The keys of a connector file: `leadflow schema connector`, docs/connectors/README.md.
",
    ),
    error(
        "connector_clash",
        "two connectors have one name",
        "\
A connector file cannot take the name of a connector that comes with leadflow, nor that of another file. Its name is
`name:`, or the file's name without its extension.

    name: contoso_crm
",
    ),
    error(
        "connector_test",
        "a test of a connector file fails",
        "\
`tests:` of a connector file are run whenever it is loaded: nothing is sent. The message says what is otherwise than
the test wants; mend the file, or the test.
",
    ),
    error(
        "unknown_setting",
        "a template of a connector file names a setting that there is none of",
        "\
`settings.NAME` must stand under `settings:` of the same file, `before.NAME` under `before:`.

    settings:
      region: { type: text, default: eu, description: Where the account is. }
    base_url: \"https://{{settings.region}}.example.com\"
",
    ),
    error(
        "connector_broken",
        "the connector file of a connection has errors",
        "\
The run waits and tries again. `leadflow check` names the errors; once the file is mended, a running server takes it and
the run goes on.
",
    ),
    error(
        "api_error",
        "the system says in a success that it failed",
        "\
Some systems answer 200 and tell in the body what went wrong. The message has the system's own code, if it has one.
",
    ),
];

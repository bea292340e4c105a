//! Findings in connector files, and failures of operations on records.

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
        "unknown_entity",
        "the system has no such entity",
        "\
A connector with a closed list of entities, such as `message` of Teams and Slack, was asked for another one. The message
lists those that there are.
",
    ),
    error(
        "wrong_target",
        "the system cannot find a record in this way",
        "\
Some systems take only ids, some only keys, and most keys of one field. The message says what it takes; the page of the
connector in docs/connectors says why.
",
    ),
    error(
        "not_found",
        "the system has no such record",
        "\
The id, or the values of the key, belong to no record that these credentials can see. `upsert_record` makes one where
there is none.
",
    ),
    error(
        "duplicate",
        "the system has this record already",
        "\
With `on_duplicate: fail` that is a failure; `ok` (the default) goes on with the existing record, `update` changes it.
With `update`, it also comes where the system does not say which record it is.
",
    ),
    error(
        "unexpected_answer",
        "a success that is none of the system's",
        "\
The status says success, and the body is none that the system gives: a login page, a proxy's page, or another system at
this address. Of a write nobody knows whether it was done. Check the URL of the connection.
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

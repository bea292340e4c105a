//! Why an operation on a record of another system failed.

use super::{CodeDoc, error};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "ambiguous_key",
        "several records fit the key",
        "\
`key` finds a record by the values of its fields, and more than one has them: none was changed. Name
more fields, or the record's `id`:

    key: { emailaddress1: \"{{trigger.body.UserDetails.Email}}\", statecode: 0 }
",
    ),
    error(
        "blank_key",
        "the key of the record has no value",
        "\
`id`, or a field of `key`, rendered to null or to blank text: no record can be meant by that, and a new
one would never be found again. Guard the action, or take a field that always comes:

    when: \"{{not (empty trigger.body.UserDetails.Email)}}\"
",
    ),
    error(
        "refused",
        "the database refused the statement",
        "\
The message names PostgreSQL's or SQLite's own code, and the constraint or column where there is one;
values are left out. A foreign key, a check of the table or a missing right is repaired in the database
or in the mapping; then `leadflow runs resubmit ID --from ACTION`.
",
    ),
    error(
        "required_field",
        "a field that the system requires has no value",
        "\
The column must not be empty and has no default, and the action gave it none: a field that renders to
null is left out. Give it a value for leads that lack one:

    lastname: \"{{default trigger.body.UserDetails.LastName 'unknown'}}\"
",
    ),
    error(
        "store_failed",
        "the embedded records could not be read",
        "\
The data folder did not answer; the action is tried again by itself. Look at the disk, and at /readyz.
",
    ),
    error(
        "value_too_long",
        "a text is longer than the field takes",
        "\
The message names the field and its limit. Text is never cut silently; cut it where that is right:

    jobtitle: \"{{take trigger.body.UserDetails.Title 50}}\"
",
    ),
    error(
        "database_failed",
        "the database cannot be reached or cannot work now",
        "\
Nothing was done; the action is tried again by itself. The message says what the server or the network
said: is it up, does `url` (or `path`) of the connection lead to it, has it free connections, is it the
primary?
",
    ),
    error(
        "database_login",
        "the database refuses the login",
        "\
User, password or database of the connection's `url` are wrong, or the server does not let this host
in (pg_hba.conf). Runs wait until it works again.
",
    ),
];

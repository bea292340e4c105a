//! What goes wrong between a flow and the system that it writes to: in a run, or when `check --live` looks.

use super::{CodeDoc, error, note, warning};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "duplicate",
        "the record is there already",
        "\
The system knows a record with the same key, or one that its duplicate rules take for the same, and
`on_duplicate` says `fail`; or it says `update` and the system does not tell which record it is. `ok`
takes the existing record for an answer; `upsert_record` with a key changes it.
",
    ),
    error(
        "unexpected_answer",
        "the answer is none of this system's API",
        "\
The answer had a status of success but was not what the API gives: most often a login page or the word
of a proxy, because `url` leads to a web site instead of the API. A write that was answered so may have
been done, so it is tried again as one whose outcome is unknown.
",
    ),
    error(
        "bad_key",
        "the system cannot look for a record by this",
        "\
An id or key of another form than the system's: Dataverse wants a GUID or the fields of an alternate
key, Salesforce an id of 15 or 18 characters or one external id field, Azure tables PartitionKey and
RowKey without / \\ # ?. In a table of a database an `id` needs a primary key of one column, and
`upsert_record` by `key` a unique index over exactly these columns: without it, two leads at the same
moment would make two records. The message says which. Nothing was sent.
",
    ),
    error(
        "bad_name",
        "an entity or field has a name that cannot be one",
        "\
Names become part of a query, so they are letters, digits and `_` (`.` and `/` lead to a related
record). Write the name that the API of the system uses: `emailaddress1`, not `E-mail address`.
",
    ),
    error(
        "login_failed",
        "check --live: the connection does not let us in",
        "\
`check --live` logs in to each connection and does nothing else. The message says what the system
answered: most often a wrong or expired secret, an address of another environment, or a certificate
that is not trusted.
",
    ),
    note(
        "login_not_checked",
        "check --live: no harmless call proves this login",
        "\
The connector knows no call that would prove the credentials without doing anything. Everything else
about the connection was checked; the first real record or mail will tell.
",
    ),
    error(
        "unknown_entity",
        "the system has no such entity",
        "\
The connection works, but what `entity` names is not there. Dataverse wants the entity set name
(plural: `leads`), Salesforce the API name of the object (`Lead`, `Offer__c`), a database the table,
`table` or `schema.table`, in its own spelling: PostgreSQL stores names in lower case unless they were
quoted.
",
    ),
    warning(
        "entity_not_checked",
        "check --live: the entity's fields cannot be read",
        "\
The login went well, but the system refused to describe the entity: most often the user of the
connection may write records and not read definitions. The mapping is not compared.
",
    ),
    error(
        "unknown_field",
        "the entity has no such field",
        "\
The system would refuse the whole record. Write the name that the API uses (`emailaddress1`), not the
label that people see. In Dataverse a lookup is set as `\"NAME@odata.bind\": \"/accounts(ID)\"`, and the
case of NAME matters.
",
    ),
    error(
        "read_only_field",
        "check --live: the field cannot be set",
        "\
The system fills it in itself, or lets it be set on a new record only. Leave it out.
",
    ),
    error(
        "missing_field",
        "check --live: the entity wants a field that the mapping does not set",
        "\
A new record without it is refused (error), or is one that people could not have saved on the form
(warning). Give it a value, with a default where the lead may have none:

    lastname: \"{{default trigger.body.UserDetails.LastName 'unknown'}}\"
",
    ),
    error(
        "wrong_field_type",
        "check --live: the field takes another type",
        "\
Constants keep their YAML type, and so does a value that is one expression and nothing else; text
round an expression makes text. An option set of Dataverse takes its number, not its label:

    leadsourcecode: 8
",
    ),
    error(
        "too_long_for_field",
        "check --live: the constant is longer than the field",
        "\
The system would refuse the record. Text is cut only where the mapping says so:

    subject: \"{{take trigger.body.OfferTitle 300}}\"
",
    ),
    error(
        "unknown_choice",
        "check --live: the field has no such choice",
        "\
The field takes one of a list of values, and this is none of them. The finding lists them.
",
    ),
];

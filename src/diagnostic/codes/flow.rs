//! Findings in flow files, but for those inside templates.

use super::{CodeDoc, error, note, warning};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "yaml_syntax",
        "the file is not YAML",
        "\
The file cannot be read from this line on, so nothing behind it was checked: mend it and check again.
Most often it is the indentation, a missing `:`, or a text that needs quotes because it has a `: ` in
it or starts with one of  @ ` % * & ! | > [ ] { } # ' \"

    subject: New lead: urgent          no: what is the value?
    subject: \"New lead: urgent\"        yes
",
    ),
    error(
        "unquoted_template",
        "a value that starts with {{ needs quotes",
        "\
To YAML an unquoted { starts a map, so the template would never be seen. Put double quotes round the
whole value, and single quotes round texts inside the template.

    subject: {{trigger.body.OfferTitle}}                     no
    subject: \"{{trigger.body.OfferTitle}}\"                   yes
    lastname: \"{{default trigger.body.LastName 'unknown'}}\"  yes

Inside a block text (`body: |`) no quotes are needed. A key is never a template.
",
    ),
    error(
        "duplicate_key",
        "a key stands twice in one block",
        "\
One of the two would be ignored without a word. Keep one; the finding names the line of the first.

    fields:
      subject: a
      subject: b       the second one is reported
",
    ),
    error(
        "ambiguous_number",
        "a value may be meant as a text or as a number",
        "\
YAML programs disagree on such values, and some change them: 012 becomes 12, +1617 loses its plus,
a very long number loses digits. Quote what is a text (codes, phone numbers, ids), or write a plain
number such as 12, -3 or 1.5.

    phone: +16175555555        no
    phone: \"+16175555555\"      yes
",
    ),
    error(
        "file_too_large",
        "the file is too large or nested too deeply",
        "\
Limits protect the running server from a file that would take it down, such as aliases of aliases.
A flow file has at most 1 MiB, 20000 nodes, 32 levels, 100 anchors and 500 aliases. Split the flow.
",
    ),
    error(
        "unknown_key",
        "a key that does not exist here",
        "\
A misspelt key would be ignored in silence, so it is refused. The message names the nearest key that
exists; the help lists all of them. `leadflow explain create_record` (or another action) shows the
keys of an action.
",
    ),
    error(
        "missing_key",
        "a key that must be given is not there",
        "\
It is reported at the first line of the block that lacks it. A flow needs at least:

    trigger:
      type: request
    actions:
      - name: create_lead
        type: create_record
        connection: crm
        entity: leads
        fields:
          subject: \"{{trigger.body.OfferTitle}}\"
",
    ),
    error(
        "entity_missing",
        "a record needs an entity",
        "\
`entity` names the table in the CRM that the record goes into. Which names exist depends on the CRM;
the embedded record store takes any.

    - name: create_lead
      type: create_record
      connection: crm
      entity: leads
",
    ),
    error(
        "wrong_type",
        "a value has another type than its key wants",
        "\
A text where a number is wanted, a list where a map is wanted, or nothing at all. YAML gives the type:
8 is a number, \"8\" a text, true a boolean, \"true\" a text. A key that takes templates takes any value
that is one template: its type is known when it runs, and then a wrong one fails the action.
",
    ),
    error(
        "invalid_value",
        "a value that the key does not take",
        "\
The type is right, the value is not: a word that is not one of those allowed, a number out of range,
an empty text. The help lists what is allowed.
",
    ),
    error(
        "not_yet",
        "this comes with a later version",
        "\
The key or action type is part of the language, but this version cannot do it. It is refused rather
than ignored: a flow never does less than its file says. The help tells what to do until then.
",
    ),
    error(
        "unknown_action_type",
        "there is no such type of action",
        "\
`type` is one of: create_record send_email http respond compose delay. `leadflow explain TYPE` shows
the keys, the outputs and an example of each.
",
    ),
    error(
        "unknown_connection",
        "there is no connection of this name",
        "\
Connections stand under `connections:` in leadflow.yaml; a flow names one. Without that key there are
two: `crm` (records in the data folder) and `mail` (mails as files in the data folder).

    connections:
      crm: { type: records }
      mail: { type: smtp, host: smtp.contoso.com, from: leads@contoso.com }
",
    ),
    error(
        "wrong_connection",
        "the connection cannot do what the action needs",
        "\
create_record needs a connection that makes records (`records`), send_email one that sends mail (`smtp`
or `outbox`), http one of type `http`. The help lists the connections that fit.
",
    ),
    error(
        "duplicate_name",
        "two actions have one name, or an alias is used twice",
        "\
Templates say `actions.NAME`, and ignore case there, so a name stands for one action of the flow.
Rename one of the two. An alias must differ from the flow's name and from the other aliases.
",
    ),
    error(
        "duplicate_flow",
        "two files claim one flow name or alias",
        "\
A flow's URL belongs to its name, so a name, or an old name under `aliases`, belongs to one file. The
error is in the later file; the earlier one stays live. Rename the flow or remove the alias.
",
    ),
    error(
        "bad_name",
        "a name has characters that it cannot have",
        "\
A flow's name stands in its URL: lower-case letters, digits and `-`, starting with a letter or digit.
Without `name:` it is the file's name without .yaml. An action's name stands in templates: a letter,
then letters, digits and `_`, at most 80.

    name: contoso-backup         a flow
    - name: create_lead          an action
",
    ),
    error(
        "unknown_action",
        "a template names an action that is not there, or not yet",
        "\
A template sees only actions that ended before it. The action is misspelt, stands further down, or is
the one that the template stands in; in `conditions` of the trigger no action has run at all.

    body: \"{{actions.create_lead.outputs.url}}\"
",
    ),
    error(
        "not_awaited",
        "a template uses an action that may still be running",
        "\
With `run_after: {}` an action starts at once and does not wait for those above it, so their outputs
may not be there. Remove `run_after: {}`, or do without the outputs.
",
    ),
    error(
        "unknown_root",
        "a template starts with something that does not exist",
        "\
A template reads from: trigger, actions, parameters, run, flow, environment. Fields of the lead are
below trigger.body. `item` and `loops` exist only inside a loop.

    {{body.OfferTitle}}             no
    {{trigger.body.OfferTitle}}     yes
",
    ),
    warning(
        "unknown_path",
        "a template names a field that is not known to exist",
        "\
The schema of the body, or what an action gives, does not name the field, so it is probably misspelt,
and the value would be null in every run. Senders do add fields without telling anyone: if it really
arrives, add it to the schema. Where the schema refuses other fields it is an error.
",
    ),
    error(
        "unknown_parameter",
        "there is no parameter of this name",
        "\
Parameters are constants, under `parameters:` of the flow or of leadflow.yaml. The flow's own win.

    parameters:
      owner: sales@contoso.com
    …
        to: \"{{parameters.owner}}\"
",
    ),
    error(
        "unknown_variable",
        "there is no variable of this name",
        "\
Variables are declared at the top of the flow; their initial values fix their types. For a constant use
`parameters`; for a value that is made once and used often, an action of type `compose`.

    variables: { attempts: 0, names: [] }
    …
        \"{{variables.attempts}}\"
",
    ),
    error(
        "unknown_schema",
        "the schema file is not there",
        "\
`schema` names a file in the folder schemas/ (or where --schemas says), as a path relative to it. A
schema may also be written out in place.

    schema: marketplace-lead.json
    schema: { type: object, required: [email] }
",
    ),
    error(
        "invalid_schema",
        "the schema is no JSON Schema, or not JSON",
        "\
The file does not parse, or a keyword in it has a wrong value. Drafts 4, 6, 7, 2019-09 and 2020-12 are
understood; draft 2020-12 is assumed without `$schema`. Nothing is ever fetched: a `$ref` to another
file or server cannot work; put what it refers to under `definitions`.
",
    ),
    note(
        "open_schema",
        "the schema accepts {}",
        "\
Nothing is required, so any object passes, also one whose fields have other names. The published
marketplace schema is like this, and it is fine to use it. leadflow makes up for it: create_record
fails with `blank_record` when nothing that came with the lead has a value. To refuse such requests at
the door, add to the schema:   \"required\": [\"UserDetails\"]
",
    ),
    note(
        "unsafe_repeat",
        "an action may act twice when an answer is lost",
        "\
The request was sent and no answer came: nobody knows whether it was done. leadflow does it again,
because a second record is better than no lead, and flags the run as a possible repeat. This system has
no means by which it would recognise the repeat. Decide, at the action or at its connection:

    on_unknown: retry      twice rather than never (what happens anyway; the note goes away)
    on_unknown: hold       the run is held as `unknown_outcome` until somebody looks
",
    ),
    error(
        "bad_on_unknown",
        "on_unknown stands where every outcome is known",
        "\
Only actions that leave the machine (records, mail, HTTP) can end without anybody knowing how. Remove
`on_unknown` from this one.
",
    ),
    error(
        "recipient_from_lead",
        "an address of the mail comes from the lead",
        "\
Whoever fills in the form would decide who gets mail from your server. Where that is meant, such as a
confirmation to the customer, say so; every text is then exactly one address.

    to: \"{{trigger.body.UserDetails.Email}}\"
    to_from_lead: true
",
    ),
    error(
        "bad_path",
        "the path of the trigger is not a relative path",
        "\
`path` stands behind the flow's URL: segments with `/` between, each a fixed text or one {parameter}.
No empty segments, no `.` or `..`, no `?`, `#`, `%` or spaces. Quote it.

    path: \"customers/{id}/orders\"        templates see {{trigger.path.id}}
",
    ),
    error(
        "too_many_actions",
        "the flow has more actions than allowed",
        "\
limits.actions_per_flow in leadflow.yaml says how many (500 if it says nothing). Split the flow, or
raise the limit.
",
    ),
    error(
        "not_fixed",
        "a key that is fixed at load holds more than parameters",
        "\
Keys such as connection, entity, timeout and retry are decided when the flow is loaded, before any
lead: they take a constant or {{parameters.NAME}}, nothing else. The same goes for parameters: they
are constants themselves, and a template in them is not evaluated.

    entity: \"{{trigger.body.Table}}\"       no
    entity: \"{{parameters.table}}\"         yes
",
    ),
    warning(
        "template_in_comment",
        "a template stands in a comment and is not used",
        "\
Behind an unquoted text, ` #` starts a comment, and the template in it is never seen. Quote the whole
value, or delete the comment.

    subject: Lead # {{trigger.body.Id}}        no
    subject: \"Lead # {{trigger.body.Id}}\"      yes
",
    ),
    error(
        "template_in_key",
        "a key holds a template",
        "\
Keys are fixed texts: field names, header names, query names. Write the key out and put the template
into its value. A list of names and values that only a run knows is not part of the language.
",
    ),
    error(
        "bad_duration",
        "a duration that cannot be read",
        "\
A number with its unit: 250ms 30s 10m 2h 28d, sums such as 1h30m, or ISO 8601 such as PT30S or P1D.
A bare number has no unit and is refused.

    timeout: 30        no
    timeout: 30s       yes
",
    ),
    error(
        "bad_retry",
        "a retry policy that contradicts itself",
        "\
`none` takes nothing else; `fixed` takes count and interval; `exponential` takes count, interval,
min_interval (not longer than max_interval) and max_interval (not shorter than interval). An action
that does not leave the machine has nothing to try again.

    retry: { policy: exponential, count: 90, interval: 7s, max_interval: 1h }
    retry: { policy: fixed, count: 3, interval: 30s }
    retry: { policy: none }
",
    ),
    error(
        "both_keys",
        "two keys that exclude each other",
        "\
Only one of them can be meant; remove the other.

    - { name: wait, type: delay, for: 10m }
    - { name: wait, type: delay, until: \"{{trigger.body.callAt}}\" }
",
    ),
    error(
        "unknown_run_after",
        "`run_after` names an action that cannot be waited for",
        "\
An action waits only for actions that stand before it in the same list. What stands in another block
ends with its container: wait for the container.

    - { name: create, type: create_record, connection: crm, entity: leads, fields: { subject: x } }
    - name: tell
      type: send_email
      run_after: { create: [failed, timed_out] }
      connection: mail
      to: sales@contoso.com
      subject: the CRM did not take a lead
",
    ),
    error(
        "too_deep",
        "containers nest too deep",
        "\
The limit is `limits.nesting` in leadflow.yaml (8 levels). Deep nesting is hard to read: join
conditions with `and`, use `switch` for a chain of conditions, or move a part into a flow of its own.
",
    ),
    error(
        "unknown_blueprint",
        "a flow names a blueprint that is not there",
        "\
`blueprint: NAME` is the file blueprints/NAME.yaml beside the folder of flows: a whole flow file
without a name, whose parameters each flow gives values.

    # blueprints/marketplace-lead.yaml
    parameters: { owner: null, entity: leads }     # null: each flow must give it
    trigger: { type: request, schema: marketplace-lead.json }
    actions: [ … ]

    # flows/contoso-backup.yaml
    blueprint: marketplace-lead
    parameters: { owner: sales@contoso.com }
",
    ),
    error(
        "missing_parameter",
        "a parameter of the blueprint has no value",
        "\
A parameter that is null in the blueprint must be given by each flow, or under `parameters:` of
leadflow.yaml:

    blueprint: marketplace-lead
    parameters: { owner: sales@contoso.com }
",
    ),
    error(
        "unknown_flow",
        "`run_flow` names a flow that is not there",
        "\
`check` knows the flows of the folder; the flow must also be live when the action runs: `leadflow
flows` lists what is. A flow that is off, or whose file does not check, cannot be called.
",
    ),
    error(
        "flow_circle",
        "flows call each other in a circle",
        "\
A run of one would never end: each call waits for the next. Let one of the flows end without the call,
or move what they share into a flow that calls nobody.
",
    ),
    warning(
        "secure_call",
        "a secure value is handed to another flow",
        "\
`secure` hides values in the history of the flow that says so. A run that `run_flow` makes belongs to
another flow: its request, and what it makes of it, are shown unless that flow marks its own actions;
the body of its trigger always is. Hand over a key instead, and let the called flow look the value up.
",
    ),
];

//! Why an action or a run failed, was skipped, or waits.

use super::{CodeDoc, error, note};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "blank_record",
        "nothing that came with the lead has a value",
        "\
Every value that `fields` takes from outside is null or blank; constants and defaults do not make a
lead, so no empty record was made. Look at what came: `leadflow runs show ID`. Either the sender sent
an empty lead, or its fields have other names than the templates use.
",
    ),
    error(
        "bad_address",
        "a mail address, or an address to listen on, is not valid",
        "\
In a mail: `name@host` or `Name <name@host>`; several stand in a list or with `,` between; one that
comes from the lead is exactly one. In leadflow.yaml: `127.0.0.1:8080` or `[::1]:8080`.
",
    ),
    error(
        "no_recipient",
        "the mail has no recipient",
        "\
`to`, `cc` and `bcc` are all empty after rendering. Give a constant address, or `default`:

    to: \"{{default parameters.owner 'sales@contoso.com'}}\"
",
    ),
    error(
        "no_sender",
        "the mail has no sender",
        "\
Neither the action nor its connection says who sends. Set it once, for all mails of the connection:

    connections:
      mail: { type: smtp, host: smtp.contoso.com, from: leads@contoso.com }
",
    ),
    error(
        "too_many_recipients",
        "the mail has too many recipients",
        "\
At most 100 with all copies, which is what mail servers take. Use a distribution list.
",
    ),
    error(
        "bad_attachment",
        "an attachment cannot be built",
        "\
`content` is a text, a list or an object (sent as JSON), or bytes as {$content: BASE64}; the name is
not empty and the content type is a MIME type such as text/csv.
",
    ),
    error(
        "bad_url",
        "the URL is not valid",
        "\
It is empty, has no http:// or https://, or is relative and the connection has no `base_url`. Values
in a URL are percent-encoded; a `url` that is one lone expression is a whole URL.

    url: \"https://api.contoso.com/leads/{{trigger.body.Id}}\"
",
    ),
    error(
        "bad_method",
        "the HTTP method is not valid",
        "\
One of GET HEAD POST PUT PATCH DELETE OPTIONS, in capitals. A template cannot choose it: it is fixed
when the flow is loaded.
",
    ),
    error(
        "bad_header",
        "a header's name is not valid",
        "\
A header's name has letters, digits and hyphens and is never a template. Values may be templates: line
breaks in them become spaces, so that no value can start a header of its own.
",
    ),
    error(
        "bad_request",
        "the HTTP request cannot be built",
        "\
A header value or the URL holds characters that HTTP does not take. Look at the action's inputs with
`leadflow runs show ID`.
",
    ),
    error(
        "bad_credentials",
        "the connection's credentials cannot be sent",
        "\
A user name, password or token under `auth` in leadflow.yaml holds characters that a header cannot
carry, most often a line break at the end of a secret's file; or a variable that it names is not set.
",
    ),
    error(
        "token_refused",
        "the token endpoint gives no token",
        "\
The server that gives out tokens (OAuth2) does not accept what `auth` of the connection says: a secret
that is wrong or has expired, an application that is not known or not allowed, a refresh token that was
revoked. The request itself was not sent. The message carries the server's own error code.

    invalid_client       client_id or client_secret is wrong, or the secret has expired
    invalid_grant        the refresh token or the signed statement is not valid (any more)
    unauthorized_client  the application may not ask in this way
    invalid_scope        `scope` names something that the server does not have
",
    ),
    error(
        "token_answer",
        "what should give tokens gives something else",
        "\
The address that should give out tokens (OAuth2) answered with a web page, a redirect, or without a
token. The request itself was not sent. Check `token_url` or `tenant` under `auth` of the connection: it
is the token endpoint, not the page on which people log in.
",
    ),
    error(
        "token_unavailable",
        "the token endpoint cannot answer now",
        "\
The server that gives out tokens (OAuth2) did not answer, or answered that it cannot now; or the newest
refresh token could not be read from the store. The request itself was not sent, so it is tried again by
the retry policy.
",
    ),
    error(
        "bad_status",
        "the status of `respond` is not an HTTP status",
        "\
`status` gives a whole number from 200 to 599. A template must give a number, not a text.
",
    ),
    error(
        "bad_timestamp",
        "a time that cannot be read",
        "\
`until` of `delay` takes ISO 8601 with its zone: 2026-11-21T09:00:00Z or 2026-11-21T10:00:00+01:00.
",
    ),
    error(
        "delay_too_long",
        "a delay is longer than a run may last",
        "\
limits.run_duration in leadflow.yaml says how long a run may last (30d if it says nothing).
",
    ),
    error(
        "unsafe_path",
        "a segment of the URL's path is `.` or `..`",
        "\
A value in the path would make the request reach another path than the flow means, so it was not sent.
Check the value with `when`, or put it into `query`.
",
    ),
    error(
        "private_address",
        "the request would reach a private address",
        "\
A host that a value decides must not be in your own network: loopback, private, link-local and cloud
metadata addresses are refused. Where it is meant, use a connection with a fixed `base_url`, or list
the network under `allow_private` of the connection or of `outbound`.
",
    ),
    error(
        "variable_type",
        "a variable cannot take this value",
        "\
The initial value of a variable fixes what it holds: true or false, whole numbers, numbers, text, a list
or an object. Null takes anything. A value that may be missing comes out as null: give another one in
its place, or let the variable begin with null.

    variables: { phone: '', seats: 0, notes: [], anything: null }
    …
        value: \"{{default trigger.body.UserDetails.Phone 'none'}}\"
",
    ),
    error(
        "variable_too_large",
        "a variable would become too large",
        "\
limits.outputs in leadflow.yaml says how much one variable may hold (1 MiB if it says nothing). Keep
less in it: an id instead of a whole record, or one action that writes what was collected so far.
",
    ),
    error(
        "variable_overflow",
        "a number in a variable would leave its range",
        "\
Whole numbers go from -9223372036854775808 to 9223372036854775807, other numbers to about 1.8e308. The
variable keeps what it held.
",
    ),
    error(
        "outputs_too_large",
        "what the action gave is too large to keep",
        "\
limits.outputs in leadflow.yaml says how much (1 MiB if it says nothing). Ask the other side for less:
a filter, a page, fewer fields. A list action or a table: fewer items, or fewer keys of each.
",
    ),
    error(
        "http_error",
        "the other side answered with an error status (http_NNN)",
        "\
The code carries the status: http_404, http_503. 408, 425, 429 and 5xx are tried again by the retry
policy, and `Retry-After` is honoured; every other 4xx fails at once, since the same request would
get the same answer. 401 and 403: look at the connection's credentials. 404: at the URL. 400 and 422:
at the action's inputs and the answer, in `leadflow runs show ID`. 3xx: redirects are not followed;
use the address that it names.
",
    ),
    error(
        "connect_failed",
        "no connection to the other side",
        "\
Nothing listens there, or a firewall is between. Nothing was sent, so it is tried again by the retry
policy. Check host and port of the connection.
",
    ),
    error(
        "dns_failed",
        "the host's name was not found",
        "\
Nothing was sent, so it is tried again by the retry policy. Check the spelling of the host, and that
this machine can resolve it.
",
    ),
    error(
        "tls_failed",
        "the encrypted connection could not be made",
        "\
The two sides found no common protocol, or one that needs TLS was spoken to without it, or the other
way round: for mail, port 465 wants `security: tls`, port 587 `starttls`.
",
    ),
    error(
        "tls_certificate",
        "the other side's certificate is not trusted",
        "\
It has expired, is for another name, or is signed by an authority that this machine does not know.
For an authority of your own, name its certificate under `ca` of the connection.
",
    ),
    error(
        "response_too_long",
        "the answer is longer than allowed",
        "\
limits.response in leadflow.yaml says how long (10 MiB if it says nothing). Ask for less. The other
side may have acted on the request.
",
    ),
    error(
        "timeout",
        "one try took too long",
        "\
The answer did not come within `timeout` (2m if nothing says otherwise). It is tried again by the
retry policy with the same idempotency key, since the other side may have acted.
",
    ),
    error(
        "timed_out",
        "the action's last try took too long",
        "\
No try ended within `timeout`, and the retries are used up. Raise `timeout`, or look at why the other
side is slow. `leadflow runs resubmit ID --from ACTION` goes on from there.
",
    ),
    error(
        "smtp_error",
        "the mail server refused (smtp_NNN)",
        "\
The code carries the server's reply: smtp_550. 4xx is tried again by the retry policy; 5xx fails at
once. 530, 534, 535: the login is not accepted, look at `auth` of the connection. 550 to 553: an address
is not accepted. 552, 554: the mail itself is not.
",
    ),
    error(
        "smtp_auth",
        "the mail server refused the login",
        "\
User name or password under `auth` of the connection is wrong, or the account may not send. It is not
tried again: a wrong password repeated locks accounts.
",
    ),
    error(
        "smtp_auth_disabled",
        "Microsoft 365 refuses passwords for SMTP",
        "\
The tenant has switched basic authentication off (535 5.7.139). Use OAuth2 (below), let an administrator
allow authenticated SMTP for this mailbox, or send through a relay that takes this machine's address.

    auth:
      type: xoauth2
      username: leads@contoso.com
      token:
        type: oauth2_client_credentials
        tenant: contoso.com
        client_id: 00000000-0000-0000-0000-000000000000
        client_secret: \"${env:MAIL_SECRET}\"
        scope: https://outlook.office365.com/.default
",
    ),
    error(
        "smtp_timeout",
        "the mail server was silent for too long",
        "\
It is tried again by the retry policy with the same Message-ID. On a port that wants TLS from the
first byte (465), `security: starttls` waits for ever: use `security: tls`.
",
    ),
    error(
        "smtp_tls",
        "the mail server does not offer encryption",
        "\
STARTTLS is required by default, so that no password and no lead goes out readable. Use the server's
other port with `security: tls`, or, in a network that you trust, `security: none`.
",
    ),
    error(
        "smtp_protocol",
        "the mail server said something that is not SMTP",
        "\
Another kind of server listens there, or it broke off. Check host, port and `security`.
",
    ),
    error(
        "smtp_utf8",
        "the mail server does not take this address",
        "\
The address has letters outside ASCII before the `@`, and the server does not support SMTPUTF8.
",
    ),
    error(
        "outbox_failed",
        "the outbox could not take the mail",
        "\
The disk is full or slow, or the data folder cannot be written. It is tried again by the retry policy.
",
    ),
    error(
        "unknown_outcome",
        "it is not known whether the other side acted",
        "\
The connection broke, or leadflow was stopped, after the request went out and before the answer came.
It is tried again with the same idempotency key, Message-ID or record id, so that the other side can
recognise the repeat; where it cannot, the run shows `possible repeat`. With `on_unknown: hold` such a
run is held instead. Look there whether it was done, then:

    leadflow runs resubmit ID --from ACTION     it was not done: do it again; the held run is cancelled
    leadflow runs cancel ID                     it was done, and nothing else is missing
",
    ),
    error(
        "already_answered",
        "the request has its answer already",
        "\
Two `respond` actions ran in one run. Guard them with `when`, so that only one of them does.
",
    ),
    note(
        "connection_held",
        "a system refuses the credentials of a connection",
        "\
Every run that needs the connection waits; none fails, and no retry is used up. One run at a time tries
again, first after 30 seconds, later every 5 minutes, and at once when the settings of the connection
change. Put the credentials in order; `leadflow connections` shows what the system says.
",
    ),
    note(
        "connection_waits",
        "a try was not sent because its connection lets nobody in now",
        "\
Between the decision to send and the sending the connection was throttled, stopped answering or refused
its credentials. Nothing was sent, and the try does not count.
",
    ),
    error(
        "connection_missing",
        "the run waits for a connection that is gone",
        "\
leadflow.yaml no longer has the connection that the run's flow names. The run is held, not failed: it
goes on by itself when the connection is back.
",
    ),
    error(
        "flow_text_unreadable",
        "the run's own flow text cannot be compiled any more",
        "\
A run keeps the text that it started with. This version of leadflow cannot read it: the run is held.
Go back to the version before, or resubmit it on the current text: `leadflow runs resubmit ID`.
",
    ),
    error(
        "poison",
        "the run took its node down several times",
        "\
Each time it was picked up, the process ended. It is set aside so that it cannot take others with it.
Please report it with what `leadflow runs show ID` prints; `leadflow runs resubmit ID` tries again.
",
    ),
    error(
        "engine_fault",
        "leadflow itself failed on this run",
        "\
The run is held with everything that it has done; nothing of it is lost. The log has the cause. Please
report it; a restart, or `leadflow runs resubmit ID`, tries again.
",
    ),
    error(
        "internal_error",
        "leadflow itself failed",
        "\
This is a fault in leadflow, not in the flow or the request. The log has the cause, with the request id
or the run id. Please report it.
",
    ),
    error(
        "cancelled",
        "the run was cancelled",
        "\
Somebody said `leadflow runs cancel ID`. What was done before stays done. `leadflow runs resubmit ID`
runs it again.
",
    ),
    error(
        "run_duration",
        "the run lasted too long",
        "\
limits.run_duration in leadflow.yaml says how long a run may last (30d if it says nothing), with its
waits and retries. `leadflow runs resubmit ID --from ACTION` goes on from there.
",
    ),
    note(
        "condition",
        "a condition of the trigger was not true",
        "\
The lead is stored as skipped and no action ran: `conditions` of the trigger decide so. `leadflow runs
list --status skipped` lists such leads.
",
    ),
    note(
        "test_lead",
        "a test lead that is not to run",
        "\
The lead carries the marker of test leads (MSFT_TEST) and the flow says `test_leads: {run: false}`. It
is stored as skipped, so that you can see that it came.
",
    ),
    error(
        "mocked",
        "the mocks of a dry run made the action fail",
        "\
The file given by --mocks says so: {ACTION: {status: failed}}. Nothing was sent.
",
    ),
    error(
        "not_a_list",
        "a list was needed, and the value is none",
        "\
`items` of for_each and `from` of the list actions take a list; null counts as an empty one. A single
value becomes a list by `createArray`:

    items: \"{{createArray trigger.body.Contact}}\"
",
    ),
    error(
        "too_many_items",
        "a list is longer than a loop may be",
        "\
The limit is `limits.iterations` in leadflow.yaml (100,000 items). Take a part with `take`, or split
the request.
",
    ),
    error(
        "until_limit",
        "an `until` reached its limit before its condition became true",
        "\
`count` (60 iterations) or `timeout` (1 hour) was reached. Raise it, put a `delay` into the loop, or
say `on_limit: continue`, which ends the loop well with the outcome `limit`.
",
    ),
    error(
        "terminated",
        "the flow itself ended the run as failed",
        "\
An action of type `terminate` with `status: failed` and no `code` of its own. Its `message` stands in
the history: `leadflow runs show ID`.
",
    ),
    error(
        "call_too_deep",
        "flows call each other too deep",
        "\
A run that `run_flow` made may call another one, up to 8 levels. `leadflow check` refuses circles; a
chain that is longer than that wants to be one flow.
",
    ),
    error(
        "called_run_gone",
        "the run that `run_flow` called is not in the store any more",
        "\
Somebody removed it, or `retention` did. What it did is done; call the flow again with
`leadflow runs resubmit`.
",
    ),
];

//! Why a request was refused: the `code` of problem documents.

use super::{CodeDoc, error};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "unauthorized",
        "no flow answers to this URL (401)",
        "\
The flow does not exist, is off, or the signature is wrong or missing: one answer for all, so that
nobody can ask which flows exist. Paste the whole URL, as `leadflow url FLOW` prints it. A new signing
key (a new data folder without `signing_key`) changes every URL.
",
    ),
    error(
        "method_not_allowed",
        "the flow does not answer this method (405)",
        "\
The header `allow` names the methods that it does. `method` of the trigger decides; POST if it says
nothing.
",
    ),
    error(
        "body_too_large",
        "the body is too large (413)",
        "\
limits.body in leadflow.yaml says how large (1 MiB if it says nothing), limits.body_unpacked how large
after unpacking gzip (4 MiB).
",
    ),
    error(
        "unsupported_media_type",
        "the body is of a kind that is not taken (415)",
        "\
JSON is taken under any content type or none, and forms (application/x-www-form-urlencoded) are; bodies
of several parts (multipart) are not.
",
    ),
    error(
        "unsupported_encoding",
        "the body is packed in a way that is not known (415)",
        "\
`content-encoding` may be gzip or identity. Send the body unpacked or with gzip.
",
    ),
    error(
        "unsupported_charset",
        "the body is not in UTF-8 (415)",
        "\
JSON is UTF-8. Send it so, with `charset=utf-8` or no charset in the content type.
",
    ),
    error(
        "invalid_utf8",
        "the body is not valid UTF-8 (400)",
        "\
The answer names the byte. The sender most often uses Latin-1 or UTF-16. The request is kept:
`leadflow runs rejected list`.
",
    ),
    error(
        "invalid_gzip",
        "the body says gzip and is not (400)",
        "\
The body is damaged or not packed at all. The request is kept: `leadflow runs rejected list`.
",
    ),
    error(
        "invalid_json",
        "the body (400), or the content of `parse_json`, is not JSON",
        "\
The message names line and column. A request is kept raw, so the lead is not lost: `leadflow runs
rejected show ID` prints it, and `leadflow runs rejected resubmit ID` runs it after a correction. An
action that parses what is not always JSON needs a guard, or another one behind it that handles the
failure: `run_after: {NAME: [failed]}`.
",
    ),
    error(
        "duplicate_json_key",
        "an object in the body has one key twice (400)",
        "\
Programs disagree on which of the two counts, so neither is guessed. The request is kept: `leadflow
runs rejected list`.
",
    ),
    error(
        "json_too_deep",
        "the body is nested too deeply (400)",
        "\
limits.json_depth in leadflow.yaml says how deep (64 if it says nothing).
",
    ),
    error(
        "schema_mismatch",
        "the body (400), or the content of `parse_json`, does not fit its schema",
        "\
An action says in its error which places are wrong; correct its `schema` or look at its inputs. A lead:
`errors` in the answer lists each place as a JSON pointer with what is wrong. The request is kept:
correct the schema or the sender, then `leadflow runs rejected resubmit ID`. `validation: lenient` (the
default) ignores the case of keys and takes null for missing; a schema made from one sample is often
too strict: see `leadflow schema infer`.
",
    ),
    error(
        "empty_body",
        "the request has no body (400)",
        "\
The flow has a schema, and nothing fits it. GET, HEAD and DELETE need no body.
",
    ),
    error(
        "incomplete_body",
        "the body broke off (400)",
        "\
The connection ended before the whole body was there. Nothing was stored: send it again.
",
    ),
    error(
        "rate_limited",
        "too many requests for this flow (429)",
        "\
limits.rate_per_flow in leadflow.yaml says how many. Nothing was stored: send again after the seconds
in the header `retry-after`.
",
    ),
    error(
        "too_many_failures",
        "too many failed logins from this address (429)",
        "\
limits.failed_auth_per_address in leadflow.yaml says how many. Requests with a right signature from
the same address are answered again after the seconds in the header `retry-after`.
",
    ),
    error(
        "too_many_waiting",
        "too many runs of this flow wait already (429)",
        "\
limits.waiting_runs_per_flow in leadflow.yaml says how many; `concurrency` of the trigger, how many
wait for their turn. A destination is down for long, or leads come faster than it takes them. Nothing
was stored: send again after `retry-after`.
",
    ),
    error(
        "store_unavailable",
        "the lead cannot be stored now (503)",
        "\
The disk is full or failing. Nothing is accepted that is not stored: send again after `retry-after`. It
goes on by itself when the disk is back.
",
    ),
    error(
        "shutting_down",
        "the server is stopping (503)",
        "\
Send again after the seconds in the header `retry-after`: another node, or the restarted one, answers.
",
    ),
    error(
        "not_ready",
        "the server is not ready (503)",
        "\
It is starting, or the store does not answer. The body of /readyz says what it waits for.
",
    ),
    error(
        "not_found",
        "nothing answers at this path (404), or the record is not there",
        "\
Flows answer below /flows/; /healthz tells that the server lives. Console, API and metrics are on the
admin listener (127.0.0.1:8081 if leadflow.yaml says nothing).

Of an action: no record has this `id` or `key`. `upsert_record` makes one that is missing; an action
with `run_after: { get: [failed] }` can do something else then.
",
    ),
    error(
        "request_timeout",
        "the request did not arrive in time (408)",
        "\
limits.header_timeout and limits.body_timeout in leadflow.yaml say how long (10s and 30s). Nothing was
stored: send it again.
",
    ),
    error(
        "url_too_long",
        "the URL is too long (414)",
        "\
limits.url in leadflow.yaml says how long (16 KiB if it says nothing).
",
    ),
    error(
        "headers_too_large",
        "the headers are too large (431)",
        "\
limits.headers in leadflow.yaml says how large (32 KiB if it says nothing).
",
    ),
    error(
        "no_response",
        "the run failed before it could answer (502)",
        "\
The flow has a `respond` action, and the run failed without reaching it. The lead is stored: `leadflow
runs show ID` with the run id of the answer tells why.
",
    ),
    error(
        "respond_timeout",
        "the run did not answer in time (504)",
        "\
limits.respond_wait in leadflow.yaml says how long a request waits for `respond` (120s if it says
nothing). The run goes on; its id is in the answer.
",
    ),
    error(
        "invalid_parameter",
        "a parameter of the API call is not valid (400)",
        "\
The detail names the parameter of the query and what it takes.
",
    ),
    error(
        "host_refused",
        "the admin listener does not answer to this host name (403)",
        "\
Without a token the admin listener answers only to loopback names, so that a web page cannot reach it
through your browser. Use http://127.0.0.1:8081, or set admin.token.
",
    ),
];

//! Findings in flow files about the order of actions: what waits for what, and what can never be.

use super::{CodeDoc, error, warning};

pub(super) const CODES: &[CodeDoc] = &[
    warning(
        "open_branch",
        "an action follows several branches and waits only for the last",
        "\
Without `run_after`, an action waits for the one before it in its list and for nothing else. When the
one before it runs beside others (`run_after: {}`), those may still be running. Name all that it is to
wait for, or name the one to say that this is meant:

    - { name: create, type: create_record, … }
    - { name: tell, type: send_email, run_after: {}, … }
    - name: report
      type: http
      run_after: { create: [succeeded], tell: [succeeded] }
",
    ),
    warning(
        "skipped_when_fine",
        "an action behind a failure handler is skipped when all goes well",
        "\
An action that runs only after a failure is skipped when there is none, and without `run_after` the
next one waits for it to succeed: it is skipped too. Say what is meant:

    - { name: create, type: create_record, … }
    - { name: alarm, type: send_email, run_after: { create: [failed, timed_out] }, … }
    - { name: next, type: http, run_after: { alarm: [succeeded, skipped] }, … }      in any case
    - { name: more, type: http, run_after: { alarm: [succeeded] }, … }               after a failure
",
    ),
    warning(
        "unreachable",
        "an action that can never run",
        "\
What it waits for can never come: the other action cannot end with such a status, ends the run
(`terminate`), or a condition is a constant. An action fails or succeeds; only one that leaves the
machine, or `run_flow`, can be `timed_out`; `skipped` is one whose own `run_after` was not met (one
that its `when` turned off counts as succeeded); `cancelled` is seen only when the whole run is
stopped, and then nothing starts any more. What `check` cannot be sure of it does not report.
",
    ),
    warning(
        "answered_in_loop",
        "a loop answers the request in every turn",
        "\
A request gets one answer: from the second turn on, `respond` fails with `already_answered`. Collect
what the loop finds and answer behind it, or give the answer a `when` that is true once.
",
    ),
    error(
        "other_branch",
        "a template reads an action of a branch that does not run",
        "\
A `condition` or `switch` runs one of its blocks. Inside it, the actions of the other blocks have not
run and never will, so the value would always be null. Behind the container, an action of either block
may be read: it is null when its block did not run.

    - name: by_kind
      type: condition
      if: \"{{eq trigger.body.ActionCode 'INS'}}\"
      then:
        - { name: active, type: compose, inputs: active }
      else:
        - { name: other, type: compose, inputs: other }
    - name: note
      type: compose
      inputs: \"{{coalesce actions.active.outputs actions.other.outputs}}\"
",
    ),
    warning(
        "no_outputs",
        "a template reads what an action gives that did not succeed",
        "\
An action that failed, timed out or was skipped gives no outputs: the value is always null here. Why it
failed stands in its error.

    - name: alarm
      type: send_email
      run_after: { create: [failed] }
      body: \"{{actions.create.error.code}}: {{actions.create.error.message}}\"
",
    ),
    error(
        "bad_timeout",
        "a timeout where it has no effect",
        "\
`timeout` bounds one try of an action that leaves the machine, or the wait of `run_flow`; others take
no time that could be bounded. `until` has a `timeout` of its own. A timeout of nothing would end
every try.

    - { name: call, type: http, method: GET, url: https://example.com, timeout: 30s }
",
    ),
    error(
        "duplicate_case",
        "two cases of a switch take the same value",
        "\
The first case that equals the value runs, so the second one never would. Values are compared as by
`equals`: 1 and 1.0 are the same, 1 and \"1\" are not. An empty list of values fits nothing.

    cases:
      - { case: [INS, Create], actions: […] }
      - { case: PLT, actions: […] }
",
    ),
];

//! What the trigger makes of a request: lists that are split, leads that came before, answers that come later.

use super::{CodeDoc, error, note, warning};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "constant_key",
        "a dedupe key that is the same for every lead",
        "\
The first lead would run and every other one within the window would be its duplicate. Most often the
braces are missing. Each part of the key is a template that names something of the lead.

    key: [trigger.body.UserDetails.Email]              no
    key: [\"{{trigger.body.UserDetails.Email}}\"]        yes
",
    ),
    error(
        "bad_split_on",
        "`split_on` cannot give a list",
        "\
It is one expression that gives a list of the body; each item becomes a run whose `trigger.body` is
that item. Where the body is itself the list, it is \"{{trigger.body}}\".

    split_on: trigger.body.items               no
    split_on: \"{{trigger.body.items}}\"         yes
",
    ),
    error(
        "respond_with_split",
        "`respond` in a flow that splits its requests",
        "\
One request becomes many runs, and none of them can answer for all. The request is answered 202 with
the ids of its runs. Remove `respond`, or `split_on` and loop over the list inside one run.
",
    ),
    error(
        "call_splits",
        "`run_flow` calls a flow that splits its requests",
        "\
A call waits for one run and its answer; a flow with `split_on` makes many. Loop over the list with
`for_each` and call a flow that takes one item.
",
    ),
    error(
        "mixed_respond",
        "one `respond` answers at once and another one later",
        "\
Whether a request waits for its answer is decided before the flow knows which `respond` it will reach.
Say `async: true` in all of them, or in none.
",
    ),
    warning(
        "second_respond",
        "a second answer to a request that has one",
        "\
When all goes well, or whenever this action starts, another `respond` has answered the request; it has
one answer, so the action fails with `already_answered`. Put the two into the branches of a
`condition`, choose between them with `when`, or remove one.
",
    ),
    error(
        "split_not_a_list",
        "what `split_on` gives is not a list (400)",
        "\
The body has something else where the flow expects the list that it splits. The request is kept:
correct the sender or the flow, then `leadflow runs rejected resubmit ID`. Null is a list without items.
",
    ),
    error(
        "split_too_long",
        "a request has too many items to split (400)",
        "\
At most 100000 runs come of one request. The request is kept: `leadflow runs rejected list`. Send the
list in parts.
",
    ),
    note(
        "no_items",
        "a request whose list has no items",
        "\
`split_on` gave an empty list or null, so there was nothing to run. The request is stored as skipped,
so that you can see that it came.
",
    ),
];

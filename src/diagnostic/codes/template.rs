//! Findings inside templates.

use super::{CodeDoc, error, warning};

pub(super) const CODES: &[CodeDoc] = &[
    error(
        "template_syntax",
        "the template cannot be read",
        "\
A brace, parenthesis or quote is missing or stands alone, or a block is not closed. Forms that work:

    {{trigger.body.Email}}                               a value
    {{default trigger.body.Name 'unknown'}}              a helper with its arguments
    {{toUpper (concat 'a' trigger.body.Name)}}           a helper in a helper
    {{#if (eq trigger.method 'PUT')}}…{{else}}…{{/if}}   a block
    \\{{                                                  the two braces themselves
",
    ),
    error(
        "unknown_helper",
        "there is no helper of this name",
        "\
`leadflow explain` lists the helpers. They carry the names of Power Automate's functions, case ignored.
A word with arguments behind it is a helper; a word alone is a path.
",
    ),
    error(
        "wrong_arguments",
        "a helper got too few or too many arguments",
        "\
`leadflow explain HELPER` shows what it takes. Arguments are divided by spaces, not commas, and a
helper inside a helper stands in parentheses.

    {{concat trigger.body.First ' ' trigger.body.Last}}
    {{toLower (trim trigger.body.Email)}}
",
    ),
    error(
        "helper_needs_parens",
        "a helper without arguments needs parentheses here",
        "\
As an argument, a word alone is a path, so the helper would never be called.

    {{formatDateTime utcNow 'yyyy-MM-dd'}}        no
    {{formatDateTime (utcNow) 'yyyy-MM-dd'}}      yes
",
    ),
    error(
        "habit_call",
        "arguments go behind the helper, not in parentheses",
        "\
Power Automate and most languages write f(x); here a helper is followed by its arguments.

    {{toUpper(trigger.body.Name)}}        no
    {{toUpper trigger.body.Name}}         yes
    {{toUpper (trim trigger.body.Name)}}  yes: a helper in a helper
",
    ),
    error(
        "habit_function",
        "what this function of Power Automate tells stands at a path here",
        "\
Functions that tell the state of a run are paths; only those that make one value of another are helpers.

    triggerBody()            trigger.body
    triggerOutputs()         trigger
    outputs('X')             actions.X.outputs
    body('X')                actions.X.outputs.body      of an http action
    actions('X')             actions.X
    result('X')              actions.X.outputs.result
    variables('x')           variables.x
    parameters('x')          parameters.x
    item()                   item
    items('loop')            loops.loop.item
    workflow()               run and flow
",
    ),
    warning(
        "habit_expression",
        "an expression of Power Automate stands in a text",
        "\
Only what stands between two braces is evaluated. `@…` and `@{…}` are text here and would be sent.

    subject: \"New lead: @{triggerBody()?['OfferTitle']}\"      no
    subject: \"New lead: {{trigger.body.OfferTitle}}\"           yes
",
    ),
    error(
        "habit_index",
        "fields and items are reached with dots",
        "\
    {{trigger.body['First Name']}}      no
    {{trigger.body.[First Name]}}       yes
    {{trigger.body.lines[0]}}           no
    {{trigger.body.lines.[0]}}          yes
    {{lookup (json trigger.body.raw) 'key'}}   into the result of a helper
",
    ),
    error(
        "habit_optional_chain",
        "`?.` is not needed: a missing field is null",
        "\
Every path may run into nothing at any depth; the value is then null, and nothing fails.

    {{trigger.body.user?.email}}        no
    {{trigger.body.user.email}}         yes
    {{default trigger.body.user.email 'none'}}   with a value instead of null
",
    ),
    error(
        "habit_operator",
        "comparisons and arithmetic are helpers, not operators",
        "\
    {{a == b}}           {{eq a b}}
    {{a != b}}           {{ne a b}}
    {{a > 5}}            {{gt a 5}}
    {{a && b}}           {{and a b}}
    {{!a}}               {{not a}}
",
    ),
    error(
        "habit_pipe",
        "a helper stands before its value, not behind a bar",
        "\
    {{trigger.body.Name | upper}}      no
    {{toUpper trigger.body.Name}}      yes
",
    ),
    error(
        "habit_coalesce",
        "`??` is the helper `coalesce`",
        "\
`coalesce` takes the first value that is not null, `default` the first that is not null or blank.

    {{trigger.body.Name ?? 'unknown'}}           no
    {{default trigger.body.Name 'unknown'}}      yes
",
    ),
    error(
        "habit_quotes",
        "a quote inside a text is written with a backslash or the other quote",
        "\
Power Automate doubles a quote inside a text; here texts have JSON's escapes.

    {{concat 'it''s' x}}        no
    {{concat 'it\\'s' x}}        yes
",
    ),
    error(
        "lone_literal",
        "a constant needs no template",
        "\
A template that is only a number, a boolean or a text is a constant: write it in YAML, where its type
can be seen.

    code: \"{{8}}\"        no
    code: 8               yes
",
    ),
    warning(
        "literal_type",
        "a constant of a type that the helper does not take",
        "\
The call would fail in every run that reaches it: `{{toUpper 5}}`, `{{and 'true' x}}`. Nothing is
converted in silence; `{{string 5}}` makes a text.
",
    ),
    warning(
        "result_type",
        "a helper gives what its place cannot take",
        "\
It would fail in every run that reaches it: a text where a condition is wanted, a list where a number
is. Compare, or convert: `int`, `string`, `bool`, `json`.

    when: \"{{toUpper trigger.body.Code}}\"                no
    when: \"{{eq (toUpper trigger.body.Code) 'INS'}}\"     yes
    {{add (toUpper 'a') 1}}                              no
    {{add (int trigger.body.Seats) 1}}                   yes
",
    ),
    warning(
        "unescaped_html",
        "{{{x}}} and {{&x}} switch escaping off",
        "\
Escaping follows the destination, so it need not be switched: HTML in `html`, percent-encoding in
`url`, nothing elsewhere. In `html` it is an error, since whoever fills in the form could write into
your mail; elsewhere it has no effect. Write {{x}}.
",
    ),
    error(
        "no_partials",
        "partials and decorators are not part of the language",
        "\
{{> name}}, {{#> name}} and {{* name}} do not exist here. For a value that is used often, use an action
of type `compose` and {{actions.NAME.outputs}}, or `parameters`.
",
    ),
    error(
        "template_too_deep",
        "the template is nested too deeply",
        "\
At most 32 parentheses and 16 blocks stand in each other. Compute parts with `compose` actions.
",
    ),
    error(
        "template_too_long",
        "the template is too long",
        "\
A template has at most 64 KiB. Split the text, or send it as an attachment.
",
    ),
    error(
        "template_failed",
        "a template could not be evaluated",
        "\
A helper got a value that it cannot work with: a text that is no date for formatDateTime, a number for
toUpper. The message names the helper and the type, never the value. Nothing is converted in silence:
use `string`, `json` or `default`, or guard the action with `when`. Trying again would give the same,
so it is not tried again: mend the flow, then `leadflow runs resubmit ID`.
",
    ),
    error(
        "not_a_boolean",
        "a condition did not give true or false",
        "\
`when`, `conditions` and {{#if}} take booleans only, never a text such as \"true\" or a number: what
counts as true differs from system to system. Compare: {{eq trigger.body.Flag 'true'}}. A condition is
one expression; several that must all be true stand in a list.

    when: \"{{ne trigger.body.ActionCode 'DNC'}}\"
",
    ),
    error(
        "output_too_long",
        "a template gave too long a text",
        "\
limits.template_output in leadflow.yaml says how long (1 MiB if it says nothing). The lead is longer
than expected, or a loop in the template repeats too much.
",
    ),
    error(
        "object_in_text",
        "an object or a list stands in a text",
        "\
Inside a text there is no right way to print it. Name the field that is meant, or write its JSON with
{{string x}}. A value that is one template and nothing else keeps its type, so this is fine:

    body: \"{{trigger.body}}\"
",
    ),
    error(
        "step_limit",
        "a template worked for too long",
        "\
A loop over a very long list, or loops in loops. Take what is needed from the list, or loop less.
",
    ),
];

//! Where helpers differ from Power Automate's functions on purpose, what has no helper, and how far they agree.

/// A difference on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Deviation {
    /// What it is about.
    pub subject: &'static str,
    /// What happens here.
    pub here: &'static str,
    /// What happens there.
    pub there: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn deviation(subject: &'static str, here: &'static str, there: &'static str, reason: &'static str) -> Deviation {
    Deviation { subject, here, there, reason }
}

/// Every difference on purpose.
pub const DEVIATIONS: &[Deviation] = &[
    deviation(
        "booleans in text",
        "`true` and `false`, in `string`, `concat`, `join` and everywhere else",
        "`True` and `False`",
        "texts go into JSON, records and URLs, where only the lower-case words mean booleans",
    ),
    deviation(
        "a missing property",
        "null, at any depth, behind texts and numbers too",
        "fails without `?`, and sometimes with it",
        "a field that a lead does not carry must not lose the lead; `check` tells names that the schema does not know",
    ),
    deviation(
        "null where a text is wanted",
        "empty text in `toUpper`, `toLower`, `trim`, `replace`, `substring`, `slice`, `split`, `startsWith`, `endsWith`, `indexOf`, `lastIndexOf`, `nthIndexOf`",
        "fails",
        "a field that a lead does not carry must not lose the lead",
    ),
    deviation(
        "`/` in a property's name",
        "part of the name: `[a/b]` is one property",
        "walks: `x?['a/b']` is `x?['a']?['b']`",
        "a path reads the same wherever it stands; write `x.a.b`",
    ),
    deviation(
        "forms",
        "an object of its fields: a field that comes twice is a list, one that is missing null",
        "`triggerFormDataValue` fails for a field that comes twice; `…MultiValues` gives an empty list for none",
        "one shape for JSON and forms, so that one flow takes both",
    ),
    deviation(
        "an unknown culture",
        "an error",
        "the invariant culture",
        "a date in a language that nobody chose is worse than an action that fails",
    ),
    deviation(
        "`json`",
        "JSON, as the standard writes it; what follows the value is ignored",
        "also comments, single quotes, bare keys, commas at the end, NaN",
        "one meaning of JSON in all of leadflow",
    ),
    deviation(
        "letters and their accents",
        "compared as they are written: `é` as one character and as `e` with an accent differ",
        "equal in `indexOf`, `startsWith`, `endsWith`",
        "rare in leads, and the comparison would need a table of all of Unicode",
    ),
    deviation(
        "numbers with a fraction",
        "doubles: 15 to 17 digits; `decimal` is `float`",
        "decimals of 28 digits in `decimal`",
        "what comes in and goes out is JSON, and most systems read its numbers as doubles",
    ),
    deviation(
        "constants in templates",
        "a template that is one constant is an error: the value stands in YAML",
        "`@1`, `@'x'`, `@{true}` are expressions",
        "YAML has types of its own",
    ),
];

/// Functions that have no helper and no path, with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("listCallbackUrl", "`leadflow url FLOW` prints the URL; a flow does not know its own secret"),
    ("multipartBody", "a multipart body is answered 415"),
    ("triggerMultipartBody", "a multipart body is answered 415"),
    ("xml", "leads are JSON or forms; there is no value here that is XML"),
    ("xpath", "needs XML values, and no small library that is kept well reads XPath"),
];

/// How far the helpers agree with what was observed on the original engine, in Markdown. A test writes it:
/// `UPDATE=1 cargo test --lib vector_tests`.
pub const AGREEMENT: &str = include_str!("agreement.md");

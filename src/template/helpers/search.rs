//! Looking for text in text: `startsWith`, `endsWith`, `indexOf`, `lastIndexOf`, `nthIndexOf`.
//!
//! All of them ignore case, as observed; `contains` and `replace` do not. Positions count UTF-16 units.

use serde_json::Value;

use super::text::folded;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};

/// A text, and what is looked for in it.
const SEARCH: Signature = Signature::takes(&["text", "search"], &[Kind::Text, Kind::SolidText]);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "startsWith",
        gives: Kind::Boolean,
        arguments: SEARCH,
        summary: "whether the text starts with the other one, ignoring case",
        examples: &[example("{{startsWith trigger.body.Source 'azure'}}", r#"{"Source":"AzureMarketplace"}"#, "true")],
        eval: Eval::Strict(|given| Ok(folded(given.text(0)?).starts_with(&folded(given.solid_text(1)?)).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "endsWith",
        gives: Kind::Boolean,
        arguments: SEARCH,
        summary: "whether the text ends with the other one, ignoring case",
        examples: &[example("{{endsWith trigger.body.Email '.ORG'}}", r#"{"Email":"a@b.org"}"#, "true")],
        eval: Eval::Strict(|given| Ok(folded(given.text(0)?).ends_with(&folded(given.solid_text(1)?)).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "indexOf",
        gives: Kind::Integer,
        arguments: SEARCH,
        summary: "where the other text starts in the text for the first time, ignoring case; -1 where it does not",
        examples: &[example("{{indexOf trigger.body.Email '@'}}", r#"{"Email":"someone@contoso.com"}"#, "7")],
        eval: Eval::Strict(|given| position(given, |text, search| text.find(search))),
        ..PLAIN
    },
    HelperSpec {
        name: "lastIndexOf",
        gives: Kind::Integer,
        arguments: SEARCH,
        summary: "where the other text starts in the text for the last time, ignoring case; -1 where it does not",
        examples: &[example("{{lastIndexOf trigger.body.Path '/'}}", r#"{"Path":"a/b/c"}"#, "3")],
        eval: Eval::Strict(|given| position(given, |text, search| text.rfind(search))),
        ..PLAIN
    },
    HelperSpec {
        name: "nthIndexOf",
        gives: Kind::Integer,
        arguments: Signature::takes(&["text", "search", "n"], &[Kind::Text, Kind::SolidText, Kind::Integer]),
        summary: "where the other text starts in the text for the nth time, from the end where n is negative; -1 where it does not",
        notes: &["finds may overlap; 0 fails"],
        examples: &[
            example("{{nthIndexOf 'a/b/c' '/' 2}}", "{}", "3"),
            example("{{nthIndexOf 'a/b/c' '/' -1}}", "{}", "3"),
            example("{{nthIndexOf 'a/b/c' '/' 4}}", "{}", "-1"),
        ],
        eval: Eval::Strict(nth_index_of),
        ..PLAIN
    },
];

fn position(given: &Given<'_>, find: fn(&str, &str) -> Option<usize>) -> Result<Value, RenderError> {
    let (text, search) = (given.text(0)?, folded(given.solid_text(1)?));
    let lower = folded(text);
    Ok(find(&lower, &search).map_or((-1).into(), |at| units_before(text, &lower, at)))
}

/// The UTF-16 units of `text` in front of byte `at` of its folded form, which has the same characters.
fn units_before(text: &str, lower: &str, at: usize) -> Value {
    let characters = lower[..at].chars().count();
    text.chars().take(characters).map(char::len_utf16).sum::<usize>().into()
}

fn nth_index_of(given: &Given<'_>) -> Result<Value, RenderError> {
    let (text, search, n) = (given.text(0)?, folded(given.solid_text(1)?), given.integer(2)?);
    if n == 0 {
        return Err(given.fail("counts from 1, or from -1 at the end"));
    }
    let lower = folded(text);
    given.work(text.len() / 16)?;
    let skipped = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX) - 1;
    let mut starts = lower.char_indices().map(|(at, _)| at).filter(|at| lower[*at..].starts_with(&search));
    let found = if n > 0 { starts.nth(skipped) } else { starts.rev().nth(skipped) };
    Ok(found.map_or((-1).into(), |at| units_before(text, &lower, at)))
}

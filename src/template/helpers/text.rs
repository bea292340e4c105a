//! Text: `concat`, `toLower`, `toUpper`, `trim`, `replace`, `nl2br`, …
//!
//! Null counts as empty text in all of them (Power Automate fails): a field that is missing must not lose the lead.

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::{Destination, print};

/// One text.
const TEXT: Signature = Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Text] };

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "concat",
        aliases: &[],
        arguments: Signature { min: 1, max: usize::MAX, names: &["value", "value"], kinds: &[Kind::Any] },
        options: &[],
        summary: "all values as one text; null adds nothing, booleans `true` and `false`, objects and lists JSON",
        examples: &[
            example("{{concat trigger.body.First ' ' trigger.body.Last}}", r#"{"Last":"One"}"#, r#"" One""#),
            example("{{concat 'n=' 1.0 true}}", "{}", r#""n=1true""#),
        ],
        is_volatile: false,
        eval: Eval::Strict(concat),
    },
    HelperSpec {
        name: "toLower",
        aliases: &[],
        arguments: TEXT,
        options: &[],
        summary: "the text in lower case; null gives empty text",
        examples: &[example("{{toLower trigger.body.Email}}", r#"{"Email":"A@B.c"}"#, r#""a@b.c""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| given.made(each_char(given.text(0)?, char::to_lowercase))),
    },
    HelperSpec {
        name: "toUpper",
        aliases: &[],
        arguments: TEXT,
        options: &[],
        summary: "the text in upper case; null gives empty text",
        examples: &[
            example("{{toUpper trigger.body.Country}}", r#"{"Country":"usa"}"#, r#""USA""#),
            example("{{toUpper trigger.body.Country}}", "{}", r#""""#),
        ],
        is_volatile: false,
        eval: Eval::Strict(|given| given.made(each_char(given.text(0)?, char::to_uppercase))),
    },
    HelperSpec {
        name: "trim",
        aliases: &[],
        arguments: TEXT,
        options: &[],
        summary: "the text without white space at both ends; null gives empty text",
        examples: &[example("{{trim trigger.body.Company}}", r#"{"Company":"  Contoso \n"}"#, r#""Contoso""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| Ok(given.text(0)?.trim().into())),
    },
    HelperSpec {
        name: "replace",
        aliases: &[],
        arguments: Signature { min: 3, max: 3, names: &["text", "old", "new"], kinds: &[Kind::Text] },
        options: &[],
        summary: "the text with every `old` replaced by `new`, case-sensitive; null text gives empty text, empty `old` fails",
        examples: &[example("{{replace trigger.body.Phone '+' '00'}}", r#"{"Phone":"+49 89"}"#, r#""0049 89""#)],
        is_volatile: false,
        eval: Eval::Strict(replace),
    },
    HelperSpec {
        name: "nl2br",
        aliases: &[],
        arguments: Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Any] },
        options: &[],
        summary: "the text escaped for HTML, with `<br>` at each line break; in `html` it is not escaped again",
        examples: &[example("{{nl2br trigger.body.Note}}", r#"{"Note":"a<b\r\nc"}"#, r#""a&lt;b<br>\nc""#)],
        is_volatile: false,
        eval: Eval::Escaped(Destination::Html, nl2br),
    },
];

fn concat(given: &Given<'_>) -> Result<Value, RenderError> {
    let mut text = String::new();
    for at in 0..given.len() {
        let piece = print::plain(given.value(at));
        given.fits(text.len() + piece.len())?;
        text.push_str(&piece);
    }
    Ok(Value::String(text))
}

/// Changes case where one character becomes one, as .NET does: `ß` and `İ` stay.
fn each_char<I: ExactSizeIterator<Item = char>>(text: &str, change: fn(char) -> I) -> String {
    text.chars()
        .map(|c| {
            let mut changed = change(c);
            if changed.len() == 1 { changed.next().unwrap_or(c) } else { c }
        })
        .collect()
}

fn replace(given: &Given<'_>) -> Result<Value, RenderError> {
    let (text, old, new) = (given.text(0)?, given.text(1)?, given.text(2)?);
    if old.is_empty() {
        return Err(given.fail("cannot replace empty text"));
    }
    if new.len() > old.len() {
        let count = text.matches(old).count();
        given.fits(text.len().saturating_add(count.saturating_mul(new.len() - old.len())))?;
    }
    given.made(text.replace(old, new))
}

fn nl2br(given: &Given<'_>) -> Result<Value, RenderError> {
    let text = print::in_text(given.value(0))?;
    let escaped = print::escape_html(&text).replace("\r\n", "\n").replace('\r', "\n");
    given.made(escaped.replace('\n', "<br>\n"))
}

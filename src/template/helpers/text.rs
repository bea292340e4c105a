//! Text: `concat`, `toLower`, `trim`, `replace`, `substring`, `split`, `startsWith`, `nl2br`, …
//!
//! A text that is null counts as empty in all of them (Power Automate fails): a missing field must not lose the lead.

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};
use crate::template::{Destination, print};

/// One text.
const TEXT: Signature = Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Text] };

/// A text, and what is looked for in it.
const SEARCH: Signature = Signature { min: 2, max: 2, names: &["text", "search"], kinds: &[Kind::Text] };

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
    HelperSpec {
        name: "substring",
        aliases: &[],
        arguments: Signature {
            min: 2,
            max: 3,
            names: &["text", "start", "length"],
            kinds: &[Kind::Text, Kind::Number, Kind::Number],
        },
        options: &[],
        summary: "a part of the text, counted in UTF-16 units; a start at or behind its end, or a length beyond it, fails",
        examples: &[example("{{substring trigger.body.Code 0 3}}", r#"{"Code":"INS-7"}"#, r#""INS""#)],
        is_volatile: false,
        eval: Eval::Strict(substring),
    },
    HelperSpec {
        name: "split",
        aliases: &[],
        arguments: Signature { min: 2, max: 2, names: &["text", "separator"], kinds: &[Kind::Text] },
        options: &[],
        summary: "the parts of the text between separators, empty ones too; null text gives one empty part",
        examples: &[example("{{split trigger.body.Source '|'}}", r#"{"Source":"a||b"}"#, r#"["a","","b"]"#)],
        is_volatile: false,
        eval: Eval::Strict(split),
    },
    HelperSpec {
        name: "startsWith",
        aliases: &[],
        arguments: SEARCH,
        options: &[],
        summary: "whether the text starts with the other one, ignoring case",
        examples: &[example("{{startsWith trigger.body.Source 'azure'}}", r#"{"Source":"AzureMarketplace"}"#, "true")],
        is_volatile: false,
        eval: Eval::Strict(|given| Ok(folded(given.text(0)?).starts_with(&folded(given.search()?)).into())),
    },
    HelperSpec {
        name: "endsWith",
        aliases: &[],
        arguments: SEARCH,
        options: &[],
        summary: "whether the text ends with the other one, ignoring case",
        examples: &[example("{{endsWith trigger.body.Email '.ORG'}}", r#"{"Email":"a@b.org"}"#, "true")],
        is_volatile: false,
        eval: Eval::Strict(|given| Ok(folded(given.text(0)?).ends_with(&folded(given.search()?)).into())),
    },
    HelperSpec {
        name: "indexOf",
        aliases: &[],
        arguments: SEARCH,
        options: &[],
        summary: "where the other text starts in the text, ignoring case, in UTF-16 units; -1 where it does not",
        examples: &[example("{{indexOf trigger.body.Email '@'}}", r#"{"Email":"someone@contoso.com"}"#, "7")],
        is_volatile: false,
        eval: Eval::Strict(index_of),
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

impl Given<'_> {
    /// The second argument where it is what to look for: null would be found everywhere.
    fn search(&self) -> Result<&str, RenderError> {
        self.value(1).as_str().ok_or_else(|| self.wants(1, "a text", self.value(1)))
    }
}

/// Changes case where one character becomes one and keeps its dot, as .NET does: `ß`, `İ` and `ı` stay.
fn each_char<I: ExactSizeIterator<Item = char>>(text: &str, change: fn(char) -> I) -> String {
    text.chars()
        .map(|c| {
            let mut changed = change(c);
            if changed.len() == 1 && c != 'ı' { changed.next().unwrap_or(c) } else { c }
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

/// Text in which case does not matter any more, character for character.
fn folded(text: &str) -> String {
    each_char(text, char::to_lowercase)
}

fn index_of(given: &Given<'_>) -> Result<Value, RenderError> {
    let (text, search) = (given.text(0)?, folded(given.search()?));
    let lower = folded(text);
    let Some(at) = lower.find(&search) else { return Ok((-1).into()) };
    let characters = lower[..at].chars().count();
    let units: usize = text.chars().take(characters).map(char::len_utf16).sum();
    Ok(units.into())
}

fn split(given: &Given<'_>) -> Result<Value, RenderError> {
    let (text, separator) = (given.text(0)?, given.search()?);
    if separator.is_empty() {
        return Ok(Value::from(vec![text]));
    }
    Ok(text.split(separator).collect())
}

fn substring(given: &Given<'_>) -> Result<Value, RenderError> {
    let units: Vec<u16> = given.text(0)?.encode_utf16().collect();
    let position = |at: usize| match given.value(at).as_i64() {
        Some(value) => usize::try_from(value).map_err(|_| given.fail("wants positions that are not negative")),
        None => Err(given.wants(at, "an integer", given.value(at))),
    };
    let start = position(1)?;
    let length = if given.len() > 2 { position(2)? } else { units.len().saturating_sub(start) };
    let end = start.saturating_add(length);
    if start >= units.len() || end > units.len() {
        return Err(given.fail(format_args!("cannot take {length} from {start} of a text of {}", units.len())));
    }
    let text = String::from_utf16(&units[start..end]).map_err(|_| given.fail("would cut a character in two"))?;
    Ok(Value::String(text))
}

fn nl2br(given: &Given<'_>) -> Result<Value, RenderError> {
    let text = print::in_text(given.value(0))?;
    let escaped = print::escape_html(&text).replace("\r\n", "\n").replace('\r', "\n");
    given.made(escaped.replace('\n', "<br>\n"))
}

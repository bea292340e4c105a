//! Text: `concat`, `toLower`, `trim`, `replace`, `substring`, `slice`, `split`, `formatNumber`, `nl2br`, …
//!
//! A text that is null counts as empty in all of them (Power Automate fails): a missing field must not lose the lead.

use serde_json::Value;

use super::list::of_units;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use super::{culture, number_format};
use crate::template::{Destination, print};

/// One text.
const TEXT: Signature = Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Text] };

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "concat",
        gives: Kind::Text,
        arguments: Signature { min: 1, max: usize::MAX, names: &["value", "value"], kinds: &[Kind::Any] },
        summary: "all values as one text; null adds nothing, booleans `true` and `false`, objects and lists JSON",
        examples: &[
            example("{{concat trigger.body.First ' ' trigger.body.Last}}", r#"{"Last":"One"}"#, r#"" One""#),
            example("{{concat 'n=' 1.0 true}}", "{}", r#""n=1true""#),
        ],
        eval: Eval::Strict(concat),
        ..PLAIN
    },
    HelperSpec {
        name: "toLower",
        gives: Kind::Text,
        arguments: TEXT,
        summary: "the text in lower case; null gives empty text",
        examples: &[example("{{toLower trigger.body.Email}}", r#"{"Email":"A@B.c"}"#, r#""a@b.c""#)],
        eval: Eval::Strict(|given| given.made(each_char(given.text(0)?, char::to_lowercase))),
        ..PLAIN
    },
    HelperSpec {
        name: "toUpper",
        gives: Kind::Text,
        arguments: TEXT,
        summary: "the text in upper case; null gives empty text",
        examples: &[
            example("{{toUpper trigger.body.Country}}", r#"{"Country":"usa"}"#, r#""USA""#),
            example("{{toUpper trigger.body.Country}}", "{}", r#""""#),
        ],
        eval: Eval::Strict(|given| given.made(each_char(given.text(0)?, char::to_uppercase))),
        ..PLAIN
    },
    HelperSpec {
        name: "trim",
        gives: Kind::Text,
        arguments: TEXT,
        summary: "the text without white space at both ends; null gives empty text",
        examples: &[example("{{trim trigger.body.Company}}", r#"{"Company":"  Contoso \n"}"#, r#""Contoso""#)],
        eval: Eval::Strict(|given| Ok(given.text(0)?.trim().into())),
        ..PLAIN
    },
    HelperSpec {
        name: "replace",
        gives: Kind::Text,
        arguments: Signature { min: 3, max: 3, names: &["text", "old", "new"], kinds: &[Kind::Text] },
        summary: "the text with every `old` replaced by `new`, case-sensitive; null text gives empty text, empty `old` fails",
        examples: &[example("{{replace trigger.body.Phone '+' '00'}}", r#"{"Phone":"+49 89"}"#, r#""0049 89""#)],
        eval: Eval::Strict(replace),
        ..PLAIN
    },
    HelperSpec {
        name: "nl2br",
        gives: Kind::Text,
        arguments: Signature { min: 1, max: 1, names: &["text"], kinds: &[Kind::Any] },
        summary: "the text escaped for HTML, with `<br>` at each line break; in `html` it is not escaped again",
        examples: &[example("{{nl2br trigger.body.Note}}", r#"{"Note":"a<b\r\nc"}"#, r#""a&lt;b<br>\nc""#)],
        eval: Eval::Escaped(Destination::Html, nl2br),
        ..PLAIN
    },
    HelperSpec {
        name: "substring",
        gives: Kind::Text,
        arguments: Signature {
            min: 2,
            max: 3,
            names: &["text", "start", "length"],
            kinds: &[Kind::Text, Kind::Number, Kind::Number],
        },
        summary: "a part of the text, counted in UTF-16 units; a start at or behind its end, or a length beyond it, fails",
        examples: &[example("{{substring trigger.body.Code 0 3}}", r#"{"Code":"INS-7"}"#, r#""INS""#)],
        eval: Eval::Strict(substring),
        ..PLAIN
    },
    HelperSpec {
        name: "split",
        gives: Kind::List,
        arguments: Signature { min: 2, max: 2, names: &["text", "separator"], kinds: &[Kind::Text] },
        summary: "the parts of the text between separators, empty ones too; null text gives one empty part",
        examples: &[example("{{split trigger.body.Source '|'}}", r#"{"Source":"a||b"}"#, r#"["a","","b"]"#)],
        eval: Eval::Strict(split),
        ..PLAIN
    },
    HelperSpec {
        name: "slice",
        gives: Kind::Text,
        arguments: Signature::takes(&["text", "start", "end"], &[Kind::Text, Kind::Integer, Kind::Integer]).optional(1),
        summary: "the text from `start` up to, not including, `end`, in UTF-16 units; negative ones count from its end",
        notes: &["beyond the text is its end: nothing fails"],
        examples: &[
            example("{{slice trigger.body.Code 4}}", r#"{"Code":"INS-7"}"#, r#""7""#),
            example("{{slice 'Hello World' 3 -1}}", "{}", r#""lo Worl""#),
            example("{{slice 'Hello World' -5}}", "{}", r#""World""#),
        ],
        eval: Eval::Strict(slice),
        ..PLAIN
    },
    HelperSpec {
        name: "formatNumber",
        gives: Kind::Text,
        arguments: Signature::takes(
            &["number", "format", "culture"],
            &[Kind::Number, Kind::NumberFormat, Kind::Culture],
        )
        .optional(1),
        options: &["culture"],
        summary: "a number in a standard (C D E F G N P X) or custom (`0,0.00`) .NET format; culture en-US unless given",
        examples: &[
            example("{{formatNumber trigger.body.Price 'N2'}}", r#"{"Price":1234567.891}"#, r#""1,234,567.89""#),
            example("{{formatNumber trigger.body.Price 'C2' 'de-DE'}}", r#"{"Price":17.35}"#, "\"17,35 €\""),
            example("{{formatNumber 7 '000'}}", "{}", r#""007""#),
            example("{{formatNumber 1234.5 'N1' culture='fr-FR'}}", "{}", "\"1\u{202f}234,5\""),
        ],
        eval: Eval::Strict(format_number),
        ..PLAIN
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
pub(super) fn folded(text: &str) -> String {
    each_char(text, char::to_lowercase)
}

fn split(given: &Given<'_>) -> Result<Value, RenderError> {
    let (text, separator) = (given.text(0)?, given.solid_text(1)?);
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

fn slice(given: &Given<'_>) -> Result<Value, RenderError> {
    let units: Vec<u16> = given.text(0)?.encode_utf16().collect();
    let length = i64::try_from(units.len()).unwrap_or(i64::MAX);
    let position = |at: i64| {
        let at = if at < 0 { length.saturating_add(at) } else { at };
        usize::try_from(at.clamp(0, length)).unwrap_or_default()
    };
    let start = position(given.integer(1)?);
    let end = if given.len() > 2 { position(given.integer(2)?) } else { units.len() };
    of_units(given, units.get(start..end).unwrap_or_default())
}

fn format_number(given: &Given<'_>) -> Result<Value, RenderError> {
    let Value::Number(number) = given.value(0) else { return Err(given.wants(0, "a number", given.value(0))) };
    let format = given.solid_text(1)?;
    let culture = culture::of(given, 2)?;
    let text = number_format::format(number, format, culture);
    given.made(text.map_err(|message| given.fail(format_args!("cannot format: {message}")))?)
}

fn nl2br(given: &Given<'_>) -> Result<Value, RenderError> {
    let text = print::in_text(given.value(0))?;
    let escaped = print::escape_html(&text).replace("\r\n", "\n").replace('\r', "\n");
    given.made(escaped.replace('\n', "<br>\n"))
}

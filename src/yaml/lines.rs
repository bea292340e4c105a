//! Bytes to lines and columns, and back from a decoded scalar to the bytes it was written with.

use std::ops::Range;

use crate::diagnostic::Place;

/// The place of `range` in `text`: the underline ends with the line.
pub(super) fn place(file: &str, text: &str, range: &Range<usize>) -> Place {
    let start = floor_boundary(text, range.start);
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line_end = start + text[start..line_end].trim_end_matches('\r').len();
    let end = floor_boundary(text, range.end).clamp(start, line_end);
    Place {
        file: file.to_owned(),
        line: before.matches('\n').count() as u32 + 1,
        column: text[line_start..start].chars().count() as u32 + 1,
        length: (text[start..end].trim_end().chars().count() as u32).max(1),
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The byte at a one-based line and column.
pub(super) fn byte_at(text: &str, line: u64, column: u64) -> usize {
    let line = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let Some(start) = line_starts(text).nth(line) else { return text.len() };
    let rest = text[start..].split('\n').next().unwrap_or("");
    rest.char_indices().nth(column).map_or(start + rest.len(), |(at, _)| start + at)
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

/// The bytes of the line around `at`, without its line break.
pub(super) fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = floor_boundary(text, at);
    let start = text[..at].rfind('\n').map_or(0, |found| found + 1);
    let end = text[at..].find('\n').map_or(text.len(), |found| at + found);
    start..start + text[start..end].trim_end_matches('\r').len()
}

/// For each byte of `decoded` (and one behind it) the byte of `raw` that it came from.
///
/// Line folding, indentation and chomping only ever change white space, so the two are aligned by everything else.
/// `None`: they do not agree (an alias, a tag), so nothing exact can be said.
pub(super) fn align(raw: &str, decoded: &str) -> Option<Vec<usize>> {
    let quoted = double_quoted(raw).or_else(|| single_quoted(raw));
    quoted.and_then(|tokens| align_tokens(&tokens, decoded)).or_else(|| align_tokens(&verbatim(raw), decoded))
}

/// A character that is not white space, and the bytes it was written with.
struct Token {
    at: Range<usize>,
    character: char,
}

fn align_tokens(tokens: &[Token], decoded: &str) -> Option<Vec<usize>> {
    let mut offsets = Vec::with_capacity(decoded.len() + 1);
    let mut tokens = tokens.iter();
    let mut next = 0;
    for character in decoded.chars() {
        if character.is_whitespace() {
            offsets.extend(std::iter::repeat_n(next, character.len_utf8()));
            next += 1;
            continue;
        }
        let token = tokens.next().filter(|token| token.character == character)?;
        offsets.extend(std::iter::repeat_n(token.at.start, character.len_utf8()));
        next = token.at.end;
    }
    offsets.push(next);
    tokens.next().is_none().then_some(offsets)
}

fn verbatim(raw: &str) -> Vec<Token> {
    let tokens = raw.char_indices().filter(|(_, character)| !character.is_whitespace());
    tokens.map(|(at, character)| Token { at: at..at + character.len_utf8(), character }).collect()
}

fn single_quoted(raw: &str) -> Option<Vec<Token>> {
    let inner = raw.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut tokens = Vec::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let mut end = at + character.len_utf8();
        if character == '\'' && characters.next_if(|(_, next)| *next == '\'').is_some() {
            end += 1;
        }
        if !character.is_whitespace() {
            tokens.push(Token { at: at + 1..end + 1, character });
        }
    }
    Some(tokens)
}

fn double_quoted(raw: &str) -> Option<Vec<Token>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(character) = inner[at..].chars().next() {
        let (character, length) = match character {
            '\\' => escape(&inner[at..])?,
            plain => (Some(plain), plain.len_utf8()),
        };
        if let Some(character) = character.filter(|character| !character.is_whitespace()) {
            tokens.push(Token { at: at + 1..at + length + 1, character });
        }
        at += length;
    }
    Some(tokens)
}

/// The character that an escape stands for (`None`: an escaped line break) and its length in bytes.
fn escape(text: &str) -> Option<(Option<char>, usize)> {
    let kind = text.chars().nth(1)?;
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let code = u32::from_str_radix(text.get(2..2 + digits)?, 16).ok()?;
        return Some((Some(char::from_u32(code)?), 2 + digits));
    }
    let character = match kind {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        '\n' | '\r' => return Some((None, 1 + kind.len_utf8())),
        other => other,
    };
    Some((Some(character), 1 + kind.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_style_maps_back_to_its_bytes() {
        let exact = |raw: &str, decoded: &str, word: &str| {
            let offsets = align(raw, decoded).expect("they agree");
            let at = offsets[decoded.find(word).expect("the word is there")];
            assert!(raw[at..].starts_with(word), "{raw:?} at {at}");
        };
        exact("a {{x}}", "a {{x}}", "{{x}}");
        exact("'it''s {{x}}'", "it's {{x}}", "{{x}}");
        exact(r#""\u00e9\t\"{{x}}""#, "é\t\"{{x}}", "{{x}}");
        exact("one\n    {{x}}\n", "one\n{{x}}\n", "{{x}}");
        exact("f1\n  f2\n\n  {{x}}", "f1 f2\n{{x}}", "{{x}}");
        exact("\"hello\" {{x}}\n", "\"hello\" {{x}}\n", "{{x}}");
        assert_eq!(align("*alias", "{{x}}"), None);
    }

    #[test]
    fn columns_count_characters_and_underlines_end_with_the_line() {
        let place = place("f", "a: é\r\nbé: {{x}}\r\n", &(7..99));
        assert_eq!((place.line, place.column, place.length), (2, 1, 9));
        assert_eq!(byte_at("a: é\nbé: x", 2, 5), 11);
        assert_eq!(byte_at("a", 7, 1), 1);
    }
}

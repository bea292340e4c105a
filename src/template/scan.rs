//! Finds the mustaches of a template: where each stands and what it is for.
//!
//! The parser decides what is valid; this light scan only recovers what its tree does not keep, the places.

use std::ops::Range;

use super::TemplateFinding;

/// What a mustache does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagKind {
    /// `{{! … }}` and `{{!-- … --}}`.
    Comment,
    /// `{{ … }}`.
    Expression,
    /// `{{{ … }}}` and `{{& … }}`.
    Unescaped,
    /// `{{#name … }}`.
    Open,
    /// `{{else name … }}`.
    ElseChain,
    /// `{{else}}` and `{{^}}`.
    Else,
    /// `{{/name}}`.
    Close,
    /// `{{> … }}` and `{{#> … }}`.
    Partial,
    /// `{{* … }}` and `{{#* … }}`.
    Decorator,
    /// `{{{{ … }}}}`.
    Raw,
}

/// One mustache.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    /// What it does.
    pub(super) kind: TagKind,
    /// Its bytes, braces included.
    pub(super) range: Range<usize>,
    /// The bytes of its expression: without braces, `~`, `#`, `/`, `else` and outer white space.
    pub(super) inner: Range<usize>,
}

/// All mustaches of `source` in order; an unclosed one ends the scan with its finding.
pub(super) fn scan(source: &str) -> Result<Vec<Tag>, TemplateFinding> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(start) = next_open(source, at) {
        let tag = read_tag(source, start)?;
        at = tag.range.end;
        tags.push(tag);
    }
    Ok(tags)
}

/// The next `{{` at or behind `from` that no single backslash escapes.
fn next_open(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if source[at..].starts_with("{{") {
            return Some(at);
        }
        if bytes[at] != b'\\' {
            at += source[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let run = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
        let behind = at + run;
        let escapes = run == 1 && source[behind..].starts_with("{{");
        at = if !escapes {
            behind
        } else if source[behind..].starts_with("{{{") {
            behind + 3
        } else {
            behind + 2
        };
    }
    None
}

fn read_tag(source: &str, start: usize) -> Result<Tag, TemplateFinding> {
    let rest = &source[start..];
    if rest.starts_with("{{{{") {
        let end = rest.find("}}}}").map_or(source.len(), |at| start + at + 4);
        return Ok(Tag { kind: TagKind::Raw, range: start..end, inner: start + 4..start + 4 });
    }
    if rest.starts_with("{{!") {
        return read_comment(source, start);
    }
    let braces = if rest.starts_with("{{{") { 3 } else { 2 };
    let close = &"}}}"[..braces];
    let inner_end = find_close(source, start + braces, close).ok_or_else(|| unclosed(source, start, close))?;
    let range = start..inner_end + braces;
    let mut inner = trim(source, start + braces..inner_end);
    if source[inner.clone()].starts_with('~') {
        inner = trim(source, inner.start + 1..inner.end);
    }
    if source[inner.clone()].ends_with('~') {
        inner = trim(source, inner.start..inner.end - 1);
    }
    if braces == 3 {
        return Ok(Tag { kind: TagKind::Unescaped, range, inner });
    }
    let (kind, inner) = classify(source, inner);
    Ok(Tag { kind, range, inner })
}

fn read_comment(source: &str, start: usize) -> Result<Tag, TemplateFinding> {
    let rest = &source[start + 3..];
    let long = rest.trim_start().starts_with("--").then(|| rest.find("--}}").map(|at| at + 4)).flatten();
    let Some(length) = long.or_else(|| rest.find("}}").map(|at| at + 2)) else {
        return Err(unclosed(source, start, "}}"));
    };
    let range = start..start + 3 + length;
    Ok(Tag { kind: TagKind::Comment, inner: range.clone(), range })
}

/// What the first characters of a mustache's inside make of it.
fn classify(source: &str, inner: Range<usize>) -> (TagKind, Range<usize>) {
    let text = &source[inner.clone()];
    let behind = |length: usize| trim(source, inner.start + length..inner.end);
    match text.as_bytes().first() {
        Some(b'#') => match text[1..].trim_start().as_bytes().first() {
            Some(b'*') => (TagKind::Decorator, behind(1)),
            Some(b'>') => (TagKind::Partial, behind(1)),
            _ => (TagKind::Open, behind(1)),
        },
        Some(b'/') => (TagKind::Close, behind(1)),
        Some(b'>') => (TagKind::Partial, behind(1)),
        Some(b'*') => (TagKind::Decorator, behind(1)),
        Some(b'&' | b'{') => (TagKind::Unescaped, behind(1)),
        Some(b'^') if text.len() == 1 => (TagKind::Else, behind(1)),
        Some(b'^') => (TagKind::ElseChain, behind(1)),
        _ if text == "else" => (TagKind::Else, behind(4)),
        _ if text.starts_with("else") && text[4..].starts_with(char::is_whitespace) => (TagKind::ElseChain, behind(4)),
        _ => (TagKind::Expression, inner),
    }
}

/// Where `close` starts, outside quotes and `[names]`; where quotes do not pair, the first one at all.
fn find_close(source: &str, from: usize, close: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'}' if source[at..].starts_with(close) => return Some(at),
            b'{' if at > from && source[at..].starts_with("{{") => return None,
            quote @ (b'\'' | b'"') => match end_of_quote(bytes, at + 1, quote) {
                Some(end) => at = end,
                None => return plain_close(source, from, close),
            },
            b'[' => match source[at..].find(']') {
                Some(length) => at += length,
                None => return plain_close(source, from, close),
            },
            _ => {}
        }
        at += 1;
    }
    plain_close(source, from, close)
}

fn plain_close(source: &str, from: usize, close: &str) -> Option<usize> {
    let at = from + source[from..].find(close)?;
    (!source[from..at].contains("{{")).then_some(at)
}

/// The closing quote's byte.
pub(super) fn end_of_quote(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn trim(source: &str, range: Range<usize>) -> Range<usize> {
    let text = &source[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

fn unclosed(source: &str, start: usize, close: &str) -> TemplateFinding {
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let next = source[start + 2..].find("{{").map_or(source.len(), |at| start + 2 + at);
    TemplateFinding::error(
        "template_syntax",
        start..line_end.min(next),
        format!("`{}` is never closed", &"{{{"[..close.len()]),
    )
    .help(format!("close the expression with `{close}`; a literal `{{{{` is written `\\{{{{`"))
}

#[cfg(test)]
mod tests {
    use super::{TagKind, scan};

    fn kinds(source: &str) -> Vec<(TagKind, &str)> {
        scan(source).expect("closed").into_iter().map(|tag| (tag.kind, &source[tag.inner])).collect()
    }

    #[test]
    fn every_kind_of_mustache_is_told_apart() {
        assert_eq!(
            kinds(
                "a {{~#if x ~}} {{else if y}}{{else}}{{^}}{{/if}}{{{z}}}{{&z}}{{> p}}{{#> p}}{{* d}}{{#*inline 'x'}}"
            ),
            [
                (TagKind::Open, "if x"),
                (TagKind::ElseChain, "if y"),
                (TagKind::Else, ""),
                (TagKind::Else, ""),
                (TagKind::Close, "if"),
                (TagKind::Unescaped, "z"),
                (TagKind::Unescaped, "z"),
                (TagKind::Partial, "p"),
                (TagKind::Partial, "> p"),
                (TagKind::Decorator, "d"),
                (TagKind::Decorator, "*inline 'x'"),
            ]
        );
    }

    #[test]
    fn escapes_comments_quotes_and_brackets_hide_braces() {
        assert_eq!(kinds(r"\{{x}} \\{{y}} \{{{z}}}"), [(TagKind::Expression, "y")]);
        assert_eq!(kinds("{{!-- {{x}} --}}{{! y }}").len(), 2);
        assert_eq!(kinds("{{concat '}}' \"}}\"}}"), [(TagKind::Expression, "concat '}}' \"}}\"")]);
        assert_eq!(kinds("{{a.[it's}}]}}"), [(TagKind::Expression, "a.[it's}}]")]);
    }

    #[test]
    fn an_unclosed_mustache_is_found_where_it_opens() {
        let finding = scan("ab {{x} {{y}}").expect_err("unclosed");
        assert_eq!((finding.code, finding.range), ("template_syntax", 3..8));
    }
}

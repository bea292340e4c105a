//! The text part of a mail that only has HTML: tags gone, entities decoded, line breaks where a reader saw them.
//!
//! Promise: never panics, never longer than its input, and what looked like text stays text.

/// Elements whose content nobody reads.
const HIDDEN: &[&str] = &["script", "style", "head", "title", "template"];

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "br",
    "div",
    "dl",
    "dt",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// Entities that mails use; others stay as they are written.
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("ndash", '–'),
    ("mdash", '—'),
    ("hellip", '…'),
    ("euro", '€'),
    ("copy", '©'),
    ("bull", '•'),
];

/// The longest entity that is looked for, in bytes: `&#x10FFFF;`.
const ENTITY_BYTES_MAX: usize = 10;

/// The text of `html` as a reader would see it.
pub(super) fn from_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        push_words(&mut text, &rest[..at]);
        let tag = &rest[at..];
        if let Some(behind) = tag.strip_prefix("<!--") {
            rest = behind.split_once("-->").map_or("", |(_, behind)| behind);
            continue;
        }
        if !tag[1..].starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?')) {
            push_words(&mut text, "<");
            rest = &tag[1..];
            continue;
        }
        let Some(end) = tag.find('>') else { break };
        let name = tag_name(&tag[1..end]);
        rest = &tag[end + 1..];
        if HIDDEN.contains(&name.as_str()) && !tag.starts_with("</") {
            rest = behind_closing(rest, &name);
        } else if BLOCKS.contains(&name.trim_start_matches('/')) {
            break_line(&mut text, &name);
        } else if matches!(name.as_str(), "/td" | "/th") {
            text.push(' ');
        }
    }
    if !rest.starts_with('<') {
        push_words(&mut text, rest);
    }
    text.trim().to_owned()
}

fn tag_name(tag: &str) -> String {
    let end = tag.char_indices().skip(1).find(|(_, character)| !character.is_ascii_alphanumeric());
    tag[..end.map_or(tag.len(), |(at, _)| at)].to_ascii_lowercase()
}

fn behind_closing<'a>(rest: &'a str, name: &str) -> &'a str {
    let closing = format!("</{name}");
    let found =
        rest.as_bytes().windows(closing.len()).position(|window| window.eq_ignore_ascii_case(closing.as_bytes()));
    found.and_then(|at| rest[at..].split_once('>')).map_or("", |(_, behind)| behind)
}

/// Ends the line; a paragraph's end leaves one line empty. Never more than one empty line.
fn break_line(text: &mut String, name: &str) {
    text.truncate(text.trim_end_matches(' ').len());
    let ends_paragraph =
        matches!(name, "/p" | "/table" | "/ul" | "/ol" | "/blockquote") || (name.len() == 3 && name.starts_with("/h"));
    if name == "br" || (!text.is_empty() && !text.ends_with('\n')) {
        text.push('\n');
    }
    if ends_paragraph && !text.ends_with("\n\n") {
        text.push('\n');
    }
    if name == "li" {
        text.push_str("- ");
    }
}

/// Adds text as HTML shows it: runs of white space are one space, entities are what they stand for.
fn push_words(text: &mut String, raw: &str) {
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        if character == '&'
            && let Some((decoded, length)) = entity(rest)
        {
            text.push(decoded);
            rest = &rest[length..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        if !character.is_ascii_whitespace() {
            text.push(character);
        } else if !text.is_empty() && !text.ends_with([' ', '\n']) {
            text.push(' ');
        }
    }
}

/// The character of the entity that `text` starts with, and the entity's length in bytes.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let decoded = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?).filter(|character| !character.is_control() || *character == '\n')?
        }
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((decoded, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_where_a_reader_saw_it() {
        let html = "<html><head><style>p{}</style></head><body><h1>New  lead</h1>\n<p>Some One,<br>Contoso &amp; Söhne</p>\
            <ul><li>one</li><li>two</li></ul><table><tr><td>a</td><td>b</td></tr></table></body></html>";
        assert_eq!(from_html(html), "New lead\n\nSome One,\nContoso & Söhne\n\n- one\n- two\n\na b");
    }

    #[test]
    fn what_looks_like_text_stays_text() {
        assert_eq!(from_html("1 < 2 &lt;b&gt; &#39;x&#x27; &unknown; &"), "1 < 2 <b> 'x' &unknown; &");
        assert_eq!(from_html("a<script>alert('</p>')</SCRIPT >b<!-- c > d -->e"), "abe");
        assert_eq!(from_html("&lt;script&gt;"), "<script>");
    }

    proptest! {
        #[test]
        fn never_panics(html in r"(<|>|&|/|!|-|;|#|script|p|br|li|é|[ a-z]|\n){0,60}") {
            let _ = from_html(&html);
        }
    }
}

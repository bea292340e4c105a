//! Mail addresses: `a@b.example` or `Name <a@b.example>`, exactly one.

use lettre::Address;
use lettre::message::Mailbox;

/// The longest display name in characters; the rest is cut.
const NAME_CHARS_MAX: usize = 200;

/// One address in the form that [`super::EmailMessage`] takes: `a@b.example` or `Name <a@b.example>`. `None` when
/// `text` is not exactly one address.
pub fn address(text: &str) -> Option<String> {
    let (name, address) = split(text)?;
    Some(match name {
        None => address.to_string(),
        Some(name) if name.chars().all(is_plain) => format!("{name} <{address}>"),
        Some(name) => format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
    })
}

/// The display name and the bare address of one address, for systems that want them apart.
pub fn name_and_address(text: &str) -> Option<(Option<String>, String)> {
    split(text).map(|(name, address)| (name, address.to_string()))
}

/// As [`address`], for the message's headers.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    split(text).map(|(name, address)| Mailbox::new(name, address))
}

/// A character that may stand in a display name without quotes.
fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || !character.is_ascii() || " -_'.!&+/".contains(character)
}

fn split(text: &str) -> Option<(Option<String>, Address)> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return None;
    }
    let Some(inner) = text.strip_suffix('>') else { return Some((None, text.parse().ok()?)) };
    let (name, address) = inner.rsplit_once('<')?;
    let address = address.trim().parse().ok()?;
    let name = display_name(name.trim())?;
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    Some((Some(name).filter(|name| !name.trim().is_empty()), address))
}

/// A display name: in quotes anything, without them nothing that could be read as another address.
fn display_name(name: &str) -> Option<String> {
    let Some(quoted) = name.strip_prefix('"') else {
        return (!name.contains([',', ';', '<', '>', '@', '"', '\\'])).then(|| name.to_owned());
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next()?),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_address_with_or_without_a_name() {
        for (text, want) in [
            (" a@b.example ", "a@b.example"),
            ("<a@b.example>", "a@b.example"),
            ("Sales Team <a@b.example>", "Sales Team <a@b.example>"),
            ("Jürgen <a@b.example>", "Jürgen <a@b.example>"),
            ("Sales (EU) <a@b.example>", "\"Sales (EU)\" <a@b.example>"),
            ("\"Doe, \\\"Jane\\\"\" <a@b.example>", "\"Doe, \\\"Jane\\\"\" <a@b.example>"),
            ("jörg@b.example", "jörg@b.example"),
            ("a+b@b.example", "a+b@b.example"),
        ] {
            assert_eq!(address(text).as_deref(), Some(want), "{text}");
            assert_eq!(address(want).as_deref(), Some(want), "stable");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "a",
            "a@",
            "@b",
            "a@b.example, c@d.example",
            "a@b.example;c@d.example",
            "a@b.example c@d.example",
            "<a@b.example>, <c@d.example>",
            "A <a@b.example>, c@d.example",
            "a@b.example <c@d.example>",
            "A, B <a@b.example>",
            "\"A <a@b.example>",
            "\"A\" B\" <a@b.example>",
            "a@b.example\r\nBcc: c@d.example",
            "A\nBcc: x <a@b.example>",
            "a@b.example>",
            "<a@b.example",
            "a\0@b.example",
        ] {
            assert_eq!(address(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_one_mailbox(text in r#"["<>@,; ab.\\é]{0,24}"#) {
            if let Some(canonical) = address(&text) {
                prop_assert_eq!(address(&canonical), Some(canonical.clone()));
                let mailbox = mailbox(&canonical).expect("canonical");
                prop_assert!(!mailbox.email.to_string().contains([',', ';', '<', '>', ' ', '\r', '\n']) || mailbox.email.to_string().contains('"'));
            }
        }
    }
}

//! Names that users give.

/// Longest name of a flow, in characters: it stands in URLs and file names.
const FLOW_NAME_CHARACTERS_MAX: usize = 100;
/// Longest name of an action, in characters.
const ACTION_NAME_CHARACTERS_MAX: usize = 80;

/// Whether `name` may name a flow: `[a-z0-9][a-z0-9-]*`. The error says what is wrong with it.
pub(super) fn flow(name: &str) -> Result<(), String> {
    check(
        name,
        FLOW_NAME_CHARACTERS_MAX,
        |first| first.is_ascii_lowercase() || first.is_ascii_digit(),
        |next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '-',
    )
}

/// Whether `name` may name an action: `[A-Za-z][A-Za-z0-9_]{0,79}`. The error says what is wrong with it.
pub(super) fn action(name: &str) -> Result<(), String> {
    check(
        name,
        ACTION_NAME_CHARACTERS_MAX,
        |first| first.is_ascii_alphabetic(),
        |next| next.is_ascii_alphanumeric() || next == '_',
    )
}

fn check(name: &str, most: usize, first: fn(char) -> bool, next: fn(char) -> bool) -> Result<(), String> {
    let mut characters = name.chars();
    match characters.next() {
        None => return Err("a name is not empty".into()),
        Some(character) if !first(character) => {
            return Err(format!("`{name}` is no name: it starts with `{}`", character.escape_debug()));
        }
        Some(_) => {}
    }
    if let Some(character) = characters.find(|character| !next(*character)) {
        return Err(format!("`{name}` is no name: it has a `{}`", character.escape_debug()));
    }
    if name.len() > most { Err(format!("the name has {} characters; at most {most}", name.len())) } else { Ok(()) }
}

/// `text` as a flow's name, as near as it goes: for help texts.
pub(super) fn as_flow_name(text: &str) -> String {
    let map = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(map).take(FLOW_NAME_CHARACTERS_MAX).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "my-flow".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_pattern() {
        for good in ["a", "9", "contoso-backup", "a-"] {
            assert_eq!(flow(good), Ok(()));
        }
        for bad in ["", "-a", "A", "a_b", "a b", "é"] {
            assert!(flow(bad).is_err(), "{bad}");
        }
        assert!(action("createLead_2").is_ok() && action(&"a".repeat(80)).is_ok());
        for bad in ["", "2a", "_a", "a-b", "a.b", &"a".repeat(81)] {
            assert!(action(bad).is_err(), "{bad}");
        }
        assert_eq!(as_flow_name("Contoso Backup!"), "contoso-backup");
    }
}

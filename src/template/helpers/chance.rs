//! Chance: `guid` and `rand`. What uses them is journalled before it is sent, so that a repeat sends the same.

use serde_json::Value;

use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::ids;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "guid",
        gives: Kind::Text,
        arguments: Signature::takes(&["format"], &[Kind::SolidText]).optional(1),
        summary: "a new random id; formats: D (default) with dashes, N without, B in braces, P in parentheses, X in hex",
        notes: &["every call gives another one; a retry of an action sends the one of its first try"],
        examples: &[example("{{length (guid)}}", "{}", "36"), example("{{length (guid 'N')}}", "{}", "32")],
        is_volatile: true,
        eval: Eval::Strict(guid),
        ..PLAIN
    },
    HelperSpec {
        name: "rand",
        gives: Kind::Integer,
        arguments: Signature::takes(&["from", "below"], &[Kind::Integer]),
        summary: "a random integer, `from` included and `below` not; the same two give that one",
        notes: &["every call gives another one; a retry of an action sends the one of its first try"],
        examples: &[example("{{rand 1 2}}", "{}", "1"), example("{{less (rand 1 7) 7}}", "{}", "true")],
        is_volatile: true,
        eval: Eval::Strict(rand),
        ..PLAIN
    },
];

fn random(given: &Given<'_>) -> Result<u128, RenderError> {
    ids::random().map_err(|_| given.fail("got no random numbers from the machine"))
}

fn guid(given: &Given<'_>) -> Result<Value, RenderError> {
    let format = if given.len() > 0 { given.solid_text(0)? } else { "D" };
    let id = ids::guid(random(given)?);
    let text = match format.to_ascii_uppercase().as_str() {
        "" | "D" => id.hyphenated().to_string(),
        "N" => id.simple().to_string(),
        "B" => id.braced().to_string(),
        "P" => format!("({})", id.hyphenated()),
        "X" => {
            let (first, second, third, rest) = id.as_fields();
            let rest: Vec<String> = rest.iter().map(|byte| format!("0x{byte:02x}")).collect();
            format!("{{0x{first:08x},0x{second:04x},0x{third:04x},{{{}}}}}", rest.join(","))
        }
        _ => return Err(given.fail("knows the formats D, N, B, P and X")),
    };
    Ok(Value::String(text))
}

fn rand(given: &Given<'_>) -> Result<Value, RenderError> {
    let (from, below) = (given.integer(0)?, given.integer(1)?);
    if from > below {
        return Err(given.fail("wants the smaller number first"));
    }
    let span = below.abs_diff(from);
    if span == 0 {
        return Ok(from.into());
    }
    // 128 random bits over a span of 64: the bias is far below what anybody could measure.
    let offset = random(given)? % u128::from(span);
    let value = i128::from(from) + i128::try_from(offset).unwrap_or_default();
    i64::try_from(value).map(Value::from).map_err(|_| given.fail("leaves the range of 64-bit integers"))
}

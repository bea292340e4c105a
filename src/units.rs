//! Durations, sizes and rates as users type them: `30s`, `PT30S`, `1MiB`, `20/s`.
//!
//! Promise: what is printed reads back as the same value; an error shows the accepted forms.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// So many per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Permits per second.
    pub per_second: f64,
}

/// Milliseconds of each unit of a duration, largest first.
const DURATION_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Bytes of each unit of a size; the binary ones first, as they are printed.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];
/// Longest duration, in milliseconds: about 100 years; beyond it clocks overflow.
const DURATION_MILLIS_MAX: u64 = 36_500 * 86_400_000;

/// Parses `250ms`, `30s`, `10m`, `2h`, `28d`, sums like `1h30m`, or ISO 8601 (`PT30S`, `P1D`, `P1DT2H`).
pub fn duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let millis = if trimmed.starts_with(['P', 'p']) { iso_duration(&trimmed[1..]) } else { plain_duration(trimmed) };
    match millis {
        Some(millis) if millis <= DURATION_MILLIS_MAX => Ok(Duration::from_millis(millis)),
        Some(_) => Err(format!("`{text}` is longer than 36500d")),
        None => {
            Err(format!("`{text}` is not a duration; write 250ms, 30s, 10m, 2h, 28d, 1h30m or ISO 8601 like PT30S"))
        }
    }
}

/// Numbers with units, largest first, each unit once.
fn plain_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut units = DURATION_UNITS;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, behind) = leading_digits(rest)?;
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

/// What follows the `P`: weeks or days, then `T` and hours, minutes, seconds.
fn iso_duration(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let (date, time) = match upper.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (upper.as_str(), ""),
    };
    let date = iso_part(date, &[('W', 7 * 86_400_000), ('D', 86_400_000)])?;
    let time = iso_part(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?;
    (!text.is_empty()).then(|| date.checked_add(time)).flatten()
}

fn iso_part(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, units, 0_u64);
    while !rest.is_empty() {
        let (number, behind) = leading_digits(rest)?;
        let (millis, behind) = match behind.strip_prefix('.') {
            Some(fraction) => {
                let (_, after) = leading_digits(fraction)?;
                let digits = &fraction[..fraction.len() - after.len()];
                (format!("{digits:0<3}").get(..3)?.parse::<u64>().ok()?, after)
            }
            None => (0, behind),
        };
        let unit = behind.chars().next()?;
        let at = units.iter().position(|(name, _)| *name == unit)?;
        // Only seconds have fractions that are whole milliseconds.
        if millis > 0 && unit != 'S' {
            return None;
        }
        total = total.checked_add(number.checked_mul(units[at].1)?)?.checked_add(millis)?;
        units = &units[at + 1..];
        rest = &behind[unit.len_utf8()..];
    }
    Some(total)
}

fn leading_digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// Prints a duration the way [`duration`] reads it, shortest form: `1h30m`. Less than a millisecond is dropped.
pub fn print_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in DURATION_UNITS {
        let count = rest / millis;
        if count > 0 {
            text.extend([&count.to_string(), *unit]);
            rest %= millis;
        }
    }
    text
}

/// Parses `64KiB`, `1MiB`, `10MB`, `512B` or plain bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is not a size; write 512B, 64KiB, 1MiB, 10MB, 1GiB or plain bytes");
    let (number, unit) = leading_digits(text.trim()).ok_or_else(fault)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(fault)?;
    number.checked_mul(*bytes).ok_or_else(|| format!("`{text}` is larger than any size"))
}

/// Prints a size the way [`size`] reads it, in the largest unit that divides it: `64KiB`, `1500B`.
pub fn print_size(bytes: u64) -> String {
    let (unit, factor) =
        SIZE_UNITS.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Parses `20/s`, `500/m`, `1000/h`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let fault = || format!("`{text}` is not a rate; write 20/s, 500/m or 1000/h");
    let (count, unit) = text.trim().split_once('/').ok_or_else(fault)?;
    let count = count.trim_end();
    let count: f64 = count
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        .then(|| count.parse().ok())
        .flatten()
        .ok_or_else(fault)?;
    let seconds = match unit.trim_start() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(fault()),
    };
    if count <= 0.0 || !count.is_finite() {
        return Err(format!("`{text}` lets nothing through; a rate is greater than zero"));
    }
    Ok(Rate { per_second: count / seconds })
}

/// Prints a rate the way [`rate`] reads it, in the first unit in which it is a whole number.
fn print_rate(rate: Rate) -> String {
    let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let is_whole = |count: f64| (count - count.round()).abs() < 1e-9;
    let (unit, count) = units
        .map(|(unit, seconds)| (unit, rate.per_second * seconds))
        .into_iter()
        .find(|(_, count)| is_whole(*count))
        .map_or(("s", rate.per_second), |(unit, count)| (unit, count.round()));
    format!("{count}/{unit}")
}

/// A duration in a settings or flow file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

/// A size in bytes in a settings or flow file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeText(pub u64);

/// A rate in a settings or flow file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateText(pub Rate);

impl From<DurationText> for Duration {
    fn from(text: DurationText) -> Self {
        text.0
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        duration(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print_duration(self.0))
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: 250ms, 30s, 10m, 2h, 28d, 1h30m, or ISO 8601 like PT30S.",
            "pattern": r"^([0-9]+(ms|s|m|h|d))+$|^[Pp]([0-9]+[A-Za-z]|[Tt]|[0-9]+\.[0-9]+[Ss])+$",
            "examples": ["30s", "1h30m", "PT30S"],
        })
    }
}

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Bytes(bytes)) => Ok(Self(bytes)),
            Ok(Written::Text(text)) => size(&text).map(Self).map_err(de::Error::custom),
            Err(_) => Err(de::Error::custom("a size is a text like 64KiB or a number of bytes")),
        }
    }
}

impl Serialize for SizeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print_size(self.0))
    }
}

impl JsonSchema for SizeText {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "A size: 512B, 64KiB, 1MiB, 10MB, 1GiB, or a number of bytes.",
            "pattern": r"^[0-9]+ *([KkMmGg][Ii]?)?[Bb]?$",
            "minimum": 0,
            "examples": ["64KiB", "10MB"],
        })
    }
}

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        rate(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for RateText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print_rate(self.0))
    }
}

impl JsonSchema for RateText {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A rate: 20/s, 500/m or 1000/h.",
            "pattern": r"^[0-9.]+ */ *[smh]$",
            "examples": ["20/s", "500/m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::{DurationText, RateText, SizeText, duration, print_duration, print_size, rate, size};

    #[test]
    fn durations_are_read_in_every_form() {
        let seconds = |text: &str| duration(text).map(|duration| duration.as_secs_f64());
        for (text, expected) in [
            ("250ms", 0.25),
            ("30s", 30.0),
            ("0s", 0.0),
            ("10m", 600.0),
            ("2h", 7200.0),
            ("28d", 2_419_200.0),
            ("1h30m", 5400.0),
            ("PT30S", 30.0),
            ("PT0.5S", 0.5),
            ("P1D", 86_400.0),
            ("P1DT2H", 93_600.0),
            ("P2W", 1_209_600.0),
            ("pt1m", 60.0),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "30 s",
            "-1s",
            "1m1h",
            "1s1s",
            "P",
            "PT",
            "P1H",
            "PT1D",
            "1.5h",
            "30S",
            "PT1.5H",
            "40000d",
            "99999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        let message = duration("soon").expect_err("no duration");
        assert_eq!(message, "`soon` is not a duration; write 250ms, 30s, 10m, 2h, 28d, 1h30m or ISO 8601 like PT30S");
    }

    #[test]
    fn sizes_and_rates_are_read_in_every_form() {
        for (text, bytes) in [
            ("512B", 512),
            ("512", 512),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("10MB", 10_000_000),
            ("1 gib", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1.5MiB", "-1", "1XB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(rate("20/s").map(|rate| rate.per_second), Ok(20.0));
        assert_eq!(rate("600/m").map(|rate| rate.per_second), Ok(10.0));
        assert_eq!(rate("1800/h").map(|rate| rate.per_second), Ok(0.5));
        for text in ["", "20", "20/d", "0/s", "-1/s", "inf/s", "a/s", "/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn typed_texts_survive_a_round_trip() {
        let duration: DurationText = serde_json::from_value(json!("PT90S")).expect("a duration");
        assert_eq!(serde_json::to_value(duration).expect("prints"), json!("1m30s"));
        let size: SizeText = serde_json::from_value(json!(65_536)).expect("a size");
        assert_eq!(serde_json::to_value(size).expect("prints"), json!("64KiB"));
        let rate: RateText = serde_json::from_value(json!("1000/h")).expect("a rate");
        assert_eq!(serde_json::to_value(rate).expect("prints"), json!("1000/h"));
        assert!(serde_json::from_value::<DurationText>(json!("x")).is_err());
        assert!(serde_json::from_value::<SizeText>(json!(-1)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0..1_000_000_000_000_u64, bytes in any::<u64>()) {
            let long = Duration::from_millis(millis);
            prop_assert_eq!(duration(&print_duration(long)), Ok(long));
            prop_assert_eq!(size(&print_size(bytes)), Ok(bytes));
        }

        #[test]
        fn nothing_panics(text in ".{0,20}") {
            let _ = (duration(&text), size(&text), rate(&text));
        }
    }
}

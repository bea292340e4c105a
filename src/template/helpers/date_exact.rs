//! Reads a time by a .NET format: every character of the text must be what the format says.

use jiff::civil::{Date, Time};

use super::culture::Culture;
use super::date_parse::{Cursor, Moment, Zone, settled, whole_year};

/// What has been read so far.
struct Parts {
    year: i32,
    month: i32,
    day: i32,
    hour: i32,
    minute: i32,
    second: i32,
    nanos: i32,
    is_afternoon: Option<bool>,
    zone: Zone,
}

/// The time that `text` stands for in the custom format `pattern`.
pub(super) fn parse_exact(text: &str, pattern: &str, culture: &Culture) -> Option<Moment> {
    let mut cursor = Cursor { rest: text.trim(), culture };
    let mut parts = Parts {
        year: 1,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        nanos: 0,
        is_afternoon: None,
        zone: Zone::Unknown,
    };
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let run = rest.chars().take_while(|next| *next == letter).count();
        match letter {
            '\'' | '"' => {
                let (literal, behind) = rest[1..].split_once(letter)?;
                cursor.rest = cursor.rest.strip_prefix(literal)?;
                rest = behind;
                continue;
            }
            '\\' => {
                let escaped = rest.chars().nth(1)?;
                cursor.take(escaped).then_some(())?;
                rest = &rest[1 + escaped.len_utf8()..];
                continue;
            }
            '%' => {
                rest = &rest[1..];
                continue;
            }
            '/' => cursor.rest = cursor.rest.strip_prefix(culture.date_separator())?,
            _ => read(&mut cursor, &mut parts, letter, run)?,
        }
        let taken = if letter.is_ascii_alphabetic() { run } else { 1 };
        rest = &rest[taken * letter.len_utf8()..];
    }
    if cursor.rest.is_empty() { finished(&parts) } else { None }
}

/// Reads what `run` letters stand for.
fn read(cursor: &mut Cursor<'_>, parts: &mut Parts, letter: char, run: usize) -> Option<()> {
    // One letter takes one digit or two, two letters take two.
    let pair = |cursor: &mut Cursor<'_>| fixed(cursor, run.min(2), 2);
    match (letter, run) {
        ('y', 1 | 2) => parts.year = whole_year(fixed(cursor, run, 2)?, 2),
        ('y', _) => parts.year = fixed(cursor, run, run)?,
        ('M', 1 | 2) => parts.month = pair(cursor)?,
        ('M', _) => parts.month = cursor.month_name()?,
        ('d', 1 | 2) => parts.day = pair(cursor)?,
        // The date says which day of the week it is.
        ('d', _) => drop((cursor.word(), cursor.take('.'))),
        ('H', _) => parts.hour = pair(cursor)?,
        ('h', _) => parts.hour = pair(cursor)? % 12,
        ('m', _) => parts.minute = pair(cursor)?,
        ('s', _) => parts.second = pair(cursor)?,
        ('f', 1..=7) => parts.nanos = fixed(cursor, run, run)? * 10_i32.pow(9 - u32::try_from(run).ok()?),
        ('t', _) => {
            let word = cursor.word().to_ascii_lowercase();
            parts.is_afternoon = Some(match word.as_str() {
                "am" | "a" => false,
                "pm" | "p" => true,
                _ => return None,
            });
        }
        ('K', _) => parts.zone = cursor.zone()?,
        ('z', _) => match cursor.zone()? {
            Zone::Unknown => return None,
            zone => parts.zone = zone,
        },
        (literal, _) => {
            let count = if literal.is_ascii_alphabetic() { run } else { 1 };
            (0..count).all(|_| cursor.take(literal)).then_some(())?;
        }
    }
    Some(())
}

/// A number of `min` to `max` digits, however many follow.
fn fixed(cursor: &mut Cursor<'_>, min: usize, max: usize) -> Option<i32> {
    let count = cursor.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if count < min {
        return None;
    }
    let (digits, rest) = cursor.rest.split_at(count);
    cursor.rest = rest;
    digits.parse().ok()
}

fn finished(parts: &Parts) -> Option<Moment> {
    let small = |value: i32| i8::try_from(value).ok();
    let hour = parts.hour + if parts.is_afternoon == Some(true) && parts.hour < 12 { 12 } else { 0 };
    let date = Date::new(i16::try_from(parts.year).ok()?, small(parts.month)?, small(parts.day)?).ok()?;
    let time = Time::new(small(hour)?, small(parts.minute)?, small(parts.second)?, parts.nanos).ok()?;
    settled(date.to_datetime(time), parts.zone)
}

#[cfg(test)]
mod tests {
    use super::super::culture::{ENGLISH, find};
    use super::parse_exact;

    #[test]
    fn every_character_must_fit_the_format() {
        let german = find("de-DE").expect("exists");
        for (text, pattern, culture, shown) in [
            ("20141020 0830", "yyyyMMdd HHmm", ENGLISH, Some("2014-10-20T08:30:00")),
            ("20.10.14", "dd.MM.yy", ENGLISH, Some("2014-10-20T00:00:00")),
            ("20.10.2014", "d/M/yyyy", german, Some("2014-10-20T00:00:00")),
            ("Montag, 20. Oktober 2014", "dddd, d. MMMM yyyy", german, Some("2014-10-20T00:00:00")),
            ("10/20/2014 1:05 PM", "M/d/yyyy h:mm tt", ENGLISH, Some("2014-10-20T13:05:00")),
            ("2014-10-20T08:30:00.5+02:00", "yyyy-MM-ddTHH:mm:ss.fK", ENGLISH, Some("2014-10-20T06:30:00.5")),
            ("on 2014-10-20", "'on' yyyy-MM-dd", ENGLISH, Some("2014-10-20T00:00:00")),
            ("2014-10-20 x", "yyyy-MM-dd", ENGLISH, None),
            ("2014-13-20", "yyyy-MM-dd", ENGLISH, None),
            ("soon", "yyyy", ENGLISH, None),
        ] {
            let read = parse_exact(text, pattern, culture).map(|moment| moment.local.to_string());
            assert_eq!(read.as_deref(), shown, "{text} as {pattern}");
        }
    }
}

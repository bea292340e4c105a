//! .NET's standard and custom date formats, with the names of en-US.

use std::fmt::Write as _;

use jiff::civil::Weekday;

use super::date_parse::{MONTHS, Moment, Zone};

/// Longest run of one letter that means something.
const RUN_MAX: usize = 16;

/// Formats `moment`; the error says what is wrong with the format.
pub(super) fn format(moment: &Moment, format: &str) -> Result<String, String> {
    let mut chars = format.chars();
    let pattern = match (chars.next(), chars.next()) {
        (Some(letter), None) => standard(letter).ok_or_else(|| {
            format!("`{letter}` is not a format; standard formats are d D f F g G m o r s t T u y, or write a pattern like yyyy-MM-dd")
        })?,
        (Some('%'), Some(_)) if format.chars().count() == 2 => &format[1..],
        _ => format,
    };
    custom(moment, pattern)
}

/// The pattern that a standard format stands for.
fn standard(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "M/d/yyyy",
        'D' => "dddd, MMMM d, yyyy",
        'f' => "dddd, MMMM d, yyyy h:mm tt",
        'F' | 'U' => "dddd, MMMM d, yyyy h:mm:ss tt",
        'g' => "M/d/yyyy h:mm tt",
        'G' => "M/d/yyyy h:mm:ss tt",
        'm' | 'M' => "MMMM d",
        'o' | 'O' => "yyyy-MM-ddTHH:mm:ss.fffffffK",
        'r' | 'R' => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        's' => "yyyy-MM-ddTHH:mm:ss",
        't' => "h:mm tt",
        'T' => "h:mm:ss tt",
        'u' => "yyyy-MM-dd HH:mm:ss'Z'",
        'y' | 'Y' => "MMMM yyyy",
        _ => return None,
    })
}

fn custom(moment: &Moment, pattern: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let run = rest.chars().take_while(|next| *next == c).count().min(RUN_MAX);
        match c {
            '\'' | '"' => {
                let (literal, behind) = quoted(&rest[1..], c)?;
                out.push_str(&literal);
                rest = behind;
            }
            '\\' => {
                let escaped = rest[1..].chars().next().ok_or("a format cannot end with `\\`")?;
                out.push(escaped);
                rest = &rest[1 + escaped.len_utf8()..];
            }
            '%' => {
                let next =
                    rest[1..].chars().next().filter(|next| *next != '%').ok_or("`%` stands before one letter")?;
                token(&mut out, moment, next, 1)?;
                rest = &rest[1 + next.len_utf8()..];
            }
            letter => {
                let taken = token(&mut out, moment, letter, run)?;
                rest = &rest[taken * letter.len_utf8()..];
            }
        }
    }
    Ok(out)
}

/// Text up to the closing quote; `\` escapes inside.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => literal.extend(chars.next().map(|(_, escaped)| escaped)),
            c if c == quote => return Ok((literal, &text[at + c.len_utf8()..])),
            other => literal.push(other),
        }
    }
    Err(format!("the quote {quote} in the format is never closed"))
}

/// Writes one token of `run` equal letters; answers how many of them it used.
fn token(out: &mut String, moment: &Moment, letter: char, run: usize) -> Result<usize, String> {
    let local = &moment.local;
    let mut number = |value: i64, width: usize| {
        let _ = write!(out, "{value:0width$}");
    };
    match letter {
        'd' if run <= 2 => number(local.day().into(), run),
        'd' => out.push_str(cut(weekday(local.weekday()), run == 3)),
        'M' if run <= 2 => number(local.month().into(), run),
        'M' => out.push_str(cut(MONTHS[usize::from(local.month().unsigned_abs()) - 1], run == 3)),
        'y' if run <= 2 => number(i64::from(local.year()) % 100, run),
        'y' => number(local.year().into(), run),
        'H' => number(local.hour().into(), run.min(2)),
        'h' => number(i64::from((local.hour() + 11) % 12 + 1), run.min(2)),
        'm' => number(local.minute().into(), run.min(2)),
        's' => number(local.second().into(), run.min(2)),
        't' => {
            let half = if local.hour() < 12 { "AM" } else { "PM" };
            out.push_str(if run == 1 { &half[..1] } else { half });
        }
        'f' | 'F' => fraction(out, local.subsec_nanosecond(), letter, run)?,
        'g' => out.push_str("A.D."),
        'K' => {
            // Each K stands alone.
            match moment.zone {
                Zone::Unknown => {}
                Zone::Utc => out.push('Z'),
                Zone::Offset(seconds) => offset(out, seconds, 3),
            }
            return Ok(1);
        }
        'z' => {
            let seconds = if let Zone::Offset(seconds) = moment.zone { seconds } else { 0 };
            offset(out, seconds, run.min(3));
        }
        other => {
            out.push(other);
            return Ok(1);
        }
    }
    Ok(run)
}

fn cut(name: &str, short: bool) -> &str {
    if short { &name[..3] } else { name }
}

/// Fractions of a second; `F` drops zeros at the end, and the point before nothing.
fn fraction(out: &mut String, nanos: i32, letter: char, run: usize) -> Result<(), String> {
    if run > 7 {
        return Err("a format has at most seven f".to_owned());
    }
    let digits = format!("{nanos:09}");
    let kept = &digits[..run];
    if letter == 'f' {
        out.push_str(kept);
        return Ok(());
    }
    let kept = kept.trim_end_matches('0');
    if kept.is_empty() && out.ends_with('.') {
        out.pop();
    }
    out.push_str(kept);
    Ok(())
}

/// `+2`, `+02`, `+02:00` for a width of 1, 2, 3.
fn offset(out: &mut String, seconds: i32, width: usize) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let _ = match width {
        1 => write!(out, "{sign}{hours}"),
        2 => write!(out, "{sign}{hours:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    };
}

fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::super::date_parse::parse;
    use super::format;

    fn shown(time: &str, pattern: &str) -> String {
        format(&parse(time).expect("a time"), pattern).expect("a format")
    }

    #[test]
    fn standard_formats() {
        let time = "2018-03-15T13:05:09.0600000Z";
        for (letter, text) in [
            ("d", "3/15/2018"),
            ("D", "Thursday, March 15, 2018"),
            ("f", "Thursday, March 15, 2018 1:05 PM"),
            ("F", "Thursday, March 15, 2018 1:05:09 PM"),
            ("g", "3/15/2018 1:05 PM"),
            ("G", "3/15/2018 1:05:09 PM"),
            ("M", "March 15"),
            ("o", "2018-03-15T13:05:09.0600000Z"),
            ("R", "Thu, 15 Mar 2018 13:05:09 GMT"),
            ("s", "2018-03-15T13:05:09"),
            ("t", "1:05 PM"),
            ("T", "1:05:09 PM"),
            ("u", "2018-03-15 13:05:09Z"),
            ("U", "Thursday, March 15, 2018 1:05:09 PM"),
            ("y", "March 2018"),
        ] {
            assert_eq!(shown(time, letter), text, "{letter}");
        }
    }

    #[test]
    fn custom_formats() {
        let time = "2018-03-05T00:05:09.0600000Z";
        for (pattern, text) in [
            ("yyyy-MM-ddTHH:mm:ssK", "2018-03-05T00:05:09Z"),
            ("dd/MM/yy", "05/03/18"),
            ("ddd d MMM", "Mon 5 Mar"),
            ("dddd, MMMM dd", "Monday, March 05"),
            ("h:m:s tt", "12:5:9 AM"),
            ("hh t", "12 A"),
            ("ss.fff", "09.060"),
            ("ss.FFF", "09.06"),
            ("z zz zzz", "+0 +00 +00:00"),
            ("'day' d \"of\" \\d", "day 5 of d"),
            ("%d", "5"),
            ("YYYY-DD", "YYYY-DD"),
            ("yyyyy", "02018"),
        ] {
            assert_eq!(shown(time, pattern), text, "{pattern}");
        }
        assert_eq!(shown("2018-03-05T00:05:09Z", "ss.FFF"), "09");
    }

    #[test]
    fn faulty_formats_say_what_is_wrong() {
        let moment = parse("2018-03-05").expect("a time");
        for pattern in ["Q", "'open", "a\\", "%%x", "ffffffff"] {
            assert!(format(&moment, pattern).is_err(), "{pattern}");
        }
    }
}

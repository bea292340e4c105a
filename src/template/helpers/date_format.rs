//! .NET's standard and custom date formats, with the names of a culture.

use std::fmt::Write as _;

use super::culture::{Culture, ENGLISH};
use super::date_parse::{Moment, Zone};

/// Longest run of one letter that means something.
const RUN_MAX: usize = 16;

/// Formats `moment`; the error says what is wrong with the format.
pub(super) fn format(moment: &Moment, format: &str, culture: &Culture) -> Result<String, String> {
    let mut chars = format.chars();
    match (chars.next(), chars.next()) {
        (Some(letter), None) => match (fixed(letter), of_culture(letter, culture)) {
            (Some(pattern), _) => custom(moment, pattern, ENGLISH),
            (None, Some(pattern)) => custom(moment, &pattern, culture),
            (None, None) => Err(format!(
                "`{letter}` is not a format; standard formats are d D f F g G m o r s t T u y, or write a pattern like yyyy-MM-dd"
            )),
        },
        (Some('%'), Some(_)) if format.chars().count() == 2 => custom(moment, &format[1..], culture),
        _ => custom(moment, format, culture),
    }
}

/// The pattern of a standard format that is the same everywhere.
fn fixed(letter: char) -> Option<&'static str> {
    Some(match letter {
        'o' | 'O' => "yyyy-MM-ddTHH:mm:ss.fffffffK",
        'r' | 'R' => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        's' => "yyyy-MM-ddTHH:mm:ss",
        'u' => "yyyy-MM-dd HH:mm:ss'Z'",
        _ => return None,
    })
}

/// The pattern of a standard format that each culture has its own of.
fn of_culture(letter: char, culture: &Culture) -> Option<String> {
    let patterns = &culture.patterns;
    Some(match letter {
        'd' => patterns.short_date.to_owned(),
        'D' => patterns.long_date.to_owned(),
        'f' => format!("{} {}", patterns.long_date, patterns.short_time),
        'F' | 'U' => format!("{} {}", patterns.long_date, patterns.long_time),
        'g' => format!("{} {}", patterns.short_date, patterns.short_time),
        'G' => format!("{} {}", patterns.short_date, patterns.long_time),
        'm' | 'M' => patterns.month_day.to_owned(),
        't' => patterns.short_time.to_owned(),
        'T' => patterns.long_time.to_owned(),
        'y' | 'Y' => patterns.year_month.to_owned(),
        _ => return None,
    })
}

fn custom(moment: &Moment, pattern: &str, culture: &Culture) -> Result<String, String> {
    let mut out = String::new();
    let names = Names { culture, is_dated: has_day(pattern) };
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
                token(&mut out, moment, next, 1, &names)?;
                rest = &rest[1 + next.len_utf8()..];
            }
            letter => {
                let taken = token(&mut out, moment, letter, run, &names)?;
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
fn token(out: &mut String, moment: &Moment, letter: char, run: usize, names: &Names<'_>) -> Result<usize, String> {
    let local = &moment.local;
    let mut number = |value: i64, width: usize| {
        let _ = write!(out, "{value:0width$}");
    };
    match letter {
        'd' if run <= 2 => number(local.day().into(), run),
        'd' => out.push_str(names.day(local.weekday().to_sunday_zero_offset(), run == 3)),
        'M' if run <= 2 => number(local.month().into(), run),
        'M' => out.push_str(names.month(local.month(), run == 3)),
        'y' if run <= 2 => number(i64::from(local.year()) % 100, run),
        'y' => number(local.year().into(), run),
        'H' => number(local.hour().into(), run.min(2)),
        'h' => number(i64::from((local.hour() + 11) % 12 + 1), run.min(2)),
        'm' => number(local.minute().into(), run.min(2)),
        's' => number(local.second().into(), run.min(2)),
        't' => {
            let half = names.culture.halves[usize::from(local.hour() >= 12)];
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
        '/' => {
            out.push_str(names.culture.date_separator());
            return Ok(1);
        }
        other => {
            out.push(other);
            return Ok(1);
        }
    }
    Ok(run)
}

/// The names of a culture at one place.
struct Names<'c> {
    culture: &'c Culture,
    /// Whether the day of the month stands beside the month: some languages spell it differently then.
    is_dated: bool,
}

impl Names<'_> {
    fn day(&self, from_sunday: i8, is_short: bool) -> &'static str {
        let names = if is_short { &self.culture.short_days } else { &self.culture.days };
        names[usize::from(from_sunday.unsigned_abs())]
    }

    fn month(&self, from_one: i8, is_short: bool) -> &'static str {
        let names = match (is_short, self.is_dated) {
            (false, _) => &self.culture.months,
            (true, true) => &self.culture.dated_months,
            (true, false) => &self.culture.short_months,
        };
        names[usize::from(from_one.unsigned_abs()) - 1]
    }
}

/// Whether a pattern shows the day of the month: `d` or `dd`.
fn has_day(pattern: &str) -> bool {
    pattern.split(|c| c != 'd').any(|run| (1..=2).contains(&run.len()))
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

#[cfg(test)]
mod tests {
    use super::super::culture::{self, ENGLISH};
    use super::super::date_parse::parse;
    use super::format;

    fn shown(time: &str, pattern: &str) -> String {
        format(&parse(time).expect("a time"), pattern, ENGLISH).expect("a format")
    }

    #[test]
    fn cultures_have_their_own_names_orders_and_separators() {
        let time = parse("2018-03-15T13:05:09Z").expect("a time");
        for (name, pattern, text) in [
            ("de-DE", "D", "Donnerstag, 15. März 2018"),
            ("de-DE", "d", "15.03.2018"),
            ("de-DE", "dd/MM/yyyy", "15.03.2018"),
            ("de-DE", "ddd d MMM", "Do 15 März"),
            ("de-DE", "MMM yyyy", "Mär 2018"),
            ("de-DE", "t", "13:05"),
            ("en-GB", "g", "15/03/2018 13:05"),
            ("en-GB", "h tt", "1 pm"),
            ("fr-FR", "dddd MMMM d", "jeudi mars 15"),
            ("es-ES", "D", "jueves, 15 de marzo de 2018"),
            ("it-IT", "D", "giovedì 15 marzo 2018"),
            ("nl-NL", "d", "15-03-2018"),
            ("pt-BR", "y", "março de 2018"),
            ("de-DE", "R", "Thu, 15 Mar 2018 13:05:09 GMT"),
        ] {
            let culture = culture::find(name).expect("exists");
            assert_eq!(format(&time, pattern, culture), Ok(text.to_owned()), "{name} {pattern}");
        }
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
            assert!(format(&moment, pattern, ENGLISH).is_err(), "{pattern}");
        }
    }
}

//! Reads the times that leads carry: ISO 8601, `03/15/2018 1:05 PM`, `March 15, 2018`, `Thu, 15 Mar 2018 13:05:00 GMT`.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, date};

use super::culture::{Culture, ENGLISH};

/// The last year that two digits mean in this century: `49` is 2049, `50` is 1950.
const SHORT_YEAR_MAX: i32 = 49;

/// A point of the calendar, and what is known of its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The calendar's date and the clock's time.
    pub(super) local: DateTime,
    /// What stands behind it.
    pub(super) zone: Zone,
}

impl Moment {
    /// Some time: to try a format with.
    pub(super) const SAMPLE: Self = Self { local: date(2018, 3, 15).at(13, 5, 0, 0), zone: Zone::Utc };
}

/// What is known of a time's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Nothing: printed without an offset, taken as UTC where it matters.
    Unknown,
    /// UTC: printed as `Z`.
    Utc,
    /// So many seconds east of UTC: printed as `+02:00`.
    Offset(i32),
}

/// Reads a time as en-US writes it, or ISO 8601. One with an offset is moved to UTC and keeps printing `+00:00`, as
/// the original does.
pub(super) fn parse(text: &str) -> Option<Moment> {
    parse_in(text, ENGLISH)
}

/// Reads a time as `culture` writes it, or ISO 8601.
pub(super) fn parse_in(text: &str, culture: &Culture) -> Option<Moment> {
    let mut cursor = Cursor { rest: text.trim(), culture };
    let date = cursor.date()?;
    let (time, zone) =
        if cursor.rest.is_empty() { (Time::midnight(), Zone::Unknown) } else { cursor.time_and_zone()? };
    if cursor.rest.is_empty() { settled(date.to_datetime(time), zone) } else { None }
}

/// A time read, in UTC where it carries an offset.
pub(super) fn settled(local: DateTime, zone: Zone) -> Option<Moment> {
    let (local, zone) = match zone {
        Zone::Offset(seconds) => {
            (local.checked_sub(SignedDuration::from_secs(i64::from(seconds))).ok()?, Zone::Offset(0))
        }
        other => (local, other),
    };
    (local.year() >= 1).then_some(Moment { local, zone })
}

/// A year of two digits is one around now.
pub(super) fn whole_year(year: i32, digits: usize) -> i32 {
    match digits {
        0..=2 if year <= SHORT_YEAR_MAX => 2000 + year,
        0..=2 => 1900 + year,
        _ => year,
    }
}

pub(super) struct Cursor<'t> {
    pub(super) rest: &'t str,
    pub(super) culture: &'t Culture,
}

impl<'t> Cursor<'t> {
    pub(super) fn take(&mut self, c: char) -> bool {
        let taken = self.rest.strip_prefix(c);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// A number of `min` to `max` digits.
    pub(super) fn number(&mut self, min: usize, max: usize) -> Option<i32> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(min..=max).contains(&count) {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits.parse().ok()
    }

    pub(super) fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// How many digits stand next.
    fn digits(&self) -> usize {
        self.rest.bytes().take_while(u8::is_ascii_digit).count()
    }

    /// The name of a month, in the culture's language or in English.
    pub(super) fn month_name(&mut self) -> Option<i32> {
        let word = self.word();
        let month = self.culture.month(word).or_else(|| ENGLISH.month(word))?;
        self.take('.');
        Some(month.into())
    }

    fn year(&mut self) -> Option<i32> {
        let digits = self.digits();
        match digits {
            2 | 4 => Some(whole_year(self.number(digits, digits)?, digits)),
            _ => None,
        }
    }

    /// Blanks, and the little words between the parts of a date: `15 de marzo de 2018`.
    fn between(&mut self) {
        self.spaces();
        if let Some(rest) = self.rest.strip_prefix("de ") {
            self.rest = rest;
            self.spaces();
        }
    }

    fn date(&mut self) -> Option<Date> {
        if self.digits() > 0 {
            return self.date_of_digits();
        }
        let before = self.rest;
        // A weekday's name is read over: the date says it.
        let name = self.word();
        self.rest = self.rest.trim_start_matches("-feira");
        let known = self.culture.days.iter().chain(&self.culture.short_days);
        let is_day =
            known.clone().any(|day| day.to_lowercase().trim_end_matches('.').starts_with(&name.to_lowercase()));
        if name.to_ascii_lowercase().ends_with("day") || self.rest.starts_with(", ") || is_day && !name.is_empty() {
            let _ = self.take('.') | self.take(',');
            self.spaces();
            if self.digits() > 0
                && let Some(date) = self.date_of_digits()
            {
                return Some(date);
            }
        }
        // `mar` is a day and a month in Spanish.
        if ENGLISH.month(name).or_else(|| self.culture.month(name)).is_some() {
            self.rest = before;
        }
        let month = self.month_name()?;
        self.spaces();
        let day = self.number(1, 2)?;
        self.take(',');
        self.spaces();
        made(self.year()?, month, day)
    }

    fn date_of_digits(&mut self) -> Option<Date> {
        let digits = self.digits();
        let first = self.number(1, 4)?;
        if digits > 2 {
            // The year first: ISO 8601, or with slashes.
            let separator = if self.take('-') { '-' } else { '/' };
            if separator == '/' && !self.take('/') {
                return None;
            }
            let month = self.number(1, 2)?;
            let day = if self.take(separator) { self.number(1, 2)? } else { 1 };
            return made(first, month, day);
        }
        let is_day_first = self.culture.is_day_first;
        for separator in if is_day_first { &['/', '.', '-'][..] } else { &['/'] } {
            let before = self.rest;
            // `15. März` has a point too.
            if self.take(*separator) && self.digits() > 0 {
                let second = self.number(1, 2)?;
                let year = if self.take(*separator) { self.year()? } else { return None };
                let (day, month) = if is_day_first { (first, second) } else { (second, first) };
                return made(year, month, day);
            }
            self.rest = before;
        }
        self.take('.');
        self.between();
        let month = self.month_name()?;
        self.between();
        made(self.year()?, month, first)
    }

    fn time_and_zone(&mut self) -> Option<(Time, Zone)> {
        if !self.take('T') && !self.take('t') {
            if !self.rest.starts_with(' ') {
                // A date may carry an offset of its own: `2018-03-15Z`.
                return Some((Time::midnight(), self.zone()?));
            }
            self.spaces();
        }
        let mut hour = self.number(1, 2)?;
        if !self.take(':') {
            return None;
        }
        let minute = self.number(2, 2)?;
        let (mut second, mut nanos) = (0, 0);
        if self.take(':') {
            second = self.number(2, 2)?;
            if self.take('.') || self.take(',') {
                nanos = self.fraction()?;
            }
        }
        self.spaces();
        let half = self.rest.get(..2).map(str::to_ascii_uppercase);
        if let Some(half @ ("AM" | "PM")) = half.as_deref() {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if half == "PM" { 12 } else { 0 };
            self.rest = self.rest[2..].trim_start_matches(' ');
        }
        let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, nanos);
        Some((time.ok()?, self.zone()?))
    }

    /// Digits behind the decimal point, to 100 nanoseconds.
    fn fraction(&mut self) -> Option<i32> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let kept = &digits[..count.min(7)];
        let value: i32 = kept.parse().ok()?;
        Some(value * 10_i32.pow(9 - u32::try_from(kept.len()).ok()?))
    }

    pub(super) fn zone(&mut self) -> Option<Zone> {
        if self.rest.is_empty() {
            return Some(Zone::Unknown);
        }
        for utc in ["Z", "z", "GMT", "UTC"] {
            if let Some(rest) = self.rest.strip_prefix(utc) {
                self.rest = rest;
                return Some(Zone::Utc);
            }
        }
        let sign = if self.take('+') {
            1
        } else if self.take('-') {
            -1
        } else {
            return None;
        };
        let (hours, minutes) = if self.rest.len() == 4 && self.rest.bytes().all(|byte| byte.is_ascii_digit()) {
            let both = self.number(4, 4)?;
            (both / 100, both % 100)
        } else {
            let hours = self.number(1, 2)?;
            (hours, if self.take(':') { self.number(2, 2)? } else { 0 })
        };
        (hours <= 14 && minutes < 60).then_some(Zone::Offset(sign * (hours * 3600 + minutes * 60)))
    }
}

fn made(year: i32, month: i32, day: i32) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::culture;
    use super::{Zone, parse, parse_in};

    #[test]
    fn cultures_have_their_own_order_and_names() {
        for (name, text) in [
            ("de-DE", "15.03.2018"),
            ("de-DE", "15. März 2018"),
            ("de-DE", "Donnerstag, 15. März 2018"),
            ("fr-FR", "15/03/2018"),
            ("fr-FR", "jeudi 15 mars 2018"),
            ("es-ES", "15 de marzo de 2018"),
            ("pt-BR", "quinta-feira, 15 de março de 2018"),
            ("nl-NL", "15-3-2018"),
            ("en-GB", "15/03/18"),
            ("de-DE", "2018-03-15"),
        ] {
            let moment = parse_in(text, culture::find(name).expect("exists"));
            let date = moment.map(|moment| moment.local.date().to_string());
            assert_eq!(date.as_deref(), Some("2018-03-15"), "{name} {text}");
        }
        assert!(parse_in("03/15/2018", culture::find("fr-FR").expect("exists")).is_none());
    }

    fn read(text: &str) -> Option<(String, Zone)> {
        parse(text).map(|moment| (moment.local.to_string(), moment.zone))
    }

    #[test]
    fn the_forms_that_leads_carry_are_read() {
        let utc = |text: &str| Some((text.to_owned(), Zone::Utc));
        let plain = |text: &str| Some((text.to_owned(), Zone::Unknown));
        assert_eq!(read("2018-03-15T13:05:00Z"), utc("2018-03-15T13:05:00"));
        assert_eq!(read("2018-03-15T13:05:00.1234567890Z"), utc("2018-03-15T13:05:00.1234567"));
        assert_eq!(read("2018-03-15"), plain("2018-03-15T00:00:00"));
        assert_eq!(read("2018-03-15 13:05"), plain("2018-03-15T13:05:00"));
        assert_eq!(read("03/15/2018"), plain("2018-03-15T00:00:00"));
        assert_eq!(read("3/5/2018 1:05:09 PM"), plain("2018-03-05T13:05:09"));
        assert_eq!(read("March 15, 2018"), plain("2018-03-15T00:00:00"));
        assert_eq!(read("Thu, 15 Mar 2018 13:05:00 GMT"), utc("2018-03-15T13:05:00"));
        assert_eq!(read("Thursday, March 15, 2018"), plain("2018-03-15T00:00:00"));
        let moved = Some(("2018-03-15T11:05:00".to_owned(), Zone::Offset(0)));
        assert_eq!(read("2018-03-15T13:05:00+02:00"), moved);
        assert_eq!(read("2018-03-15T13:05:00+0200"), moved);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "soon",
            "2018-13-01",
            "2018-02-30",
            "25:00",
            "2018-03-15T13:05:00+99:00",
            "15/03/2018",
            "2018-03-15x",
            "é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

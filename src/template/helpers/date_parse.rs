//! Reads the times that leads carry: ISO 8601, `03/15/2018 1:05 PM`, `March 15, 2018`, `Thu, 15 Mar 2018 13:05:00 GMT`.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

/// Names of the months in en-US; the first three letters are the short name.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A point of the calendar, and what is known of its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The calendar's date and the clock's time.
    pub(super) local: DateTime,
    /// What stands behind it.
    pub(super) zone: Zone,
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

/// Reads a time. One with an offset is moved to UTC and keeps printing `+00:00`, as the original does.
pub(super) fn parse(text: &str) -> Option<Moment> {
    let mut cursor = Cursor { rest: text.trim() };
    let date = cursor.date()?;
    let (time, zone) =
        if cursor.rest.is_empty() { (Time::midnight(), Zone::Unknown) } else { cursor.time_and_zone()? };
    let local = date.to_datetime(time);
    if !cursor.rest.is_empty() || local.year() < 1 {
        return None;
    }
    let Zone::Offset(seconds) = zone else { return Some(Moment { local, zone }) };
    let utc = local.checked_sub(SignedDuration::from_secs(i64::from(seconds))).ok()?;
    (utc.year() >= 1).then_some(Moment { local: utc, zone: Zone::Offset(0) })
}

struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    fn take(&mut self, c: char) -> bool {
        let taken = self.rest.strip_prefix(c);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// A number of `min` to `max` digits.
    fn number(&mut self, min: usize, max: usize) -> Option<i32> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(min..=max).contains(&count) {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        digits.parse().ok()
    }

    fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn month_name(&mut self) -> Option<i32> {
        let word = self.word();
        let at = MONTHS
            .iter()
            .position(|month| month.eq_ignore_ascii_case(word) || month[..3].eq_ignore_ascii_case(word))?;
        i32::try_from(at + 1).ok()
    }

    fn date(&mut self) -> Option<Date> {
        let (year, month, day);
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let first = self.number(1, 4)?;
            if self.take('-') {
                (year, month) = (first, self.number(1, 2)?);
                day = if self.take('-') { self.number(1, 2)? } else { 1 };
            } else if self.take('/') {
                (month, day) = (first, self.number(1, 2)?);
                year = if self.take('/') { self.number(4, 4)? } else { return None };
            } else {
                self.spaces();
                (day, month) = (first, self.month_name()?);
                self.spaces();
                year = self.number(4, 4)?;
            }
        } else {
            let before = self.rest;
            // A weekday's name is read over: the date says it.
            let name = self.word();
            if !name.to_ascii_lowercase().ends_with("day") && !self.rest.starts_with(", ") {
                self.rest = before;
            } else if self.take(',') {
                self.spaces();
                if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                    return self.date();
                }
            }
            month = self.month_name()?;
            self.spaces();
            day = self.number(1, 2)?;
            self.take(',');
            self.spaces();
            year = self.number(4, 4)?;
        }
        Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
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

    fn zone(&mut self) -> Option<Zone> {
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

#[cfg(test)]
mod tests {
    use super::{Zone, parse};

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

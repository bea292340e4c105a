//! Dates and times: `utcNow`, `formatDateTime`, `addDays`, …

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::culture::{self, Culture};
use super::date_format::format;
use super::date_parse::{Moment, Zone, parse};
use super::date_zone;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};

/// The format where none is given: ISO 8601 with seven digits.
const ROUND_TRIP: &str = "o";
/// The options of everything that formats a time.
pub(super) const OPTIONS: &[&str] = &["tz", "culture"];

/// What the helpers that move a time take.
const MOVE: Signature =
    Signature::takes(&["time", "count", "format"], &[Kind::Time, Kind::Integer, Kind::TimeFormat]).optional(1);
/// Seconds in a day, an hour and a minute.
const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
const MINUTE: i64 = 60;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "utcNow",
        gives: Kind::Text,
        arguments: Signature::takes(&["format"], &[Kind::TimeFormat]).optional(1),
        options: OPTIONS,
        summary: "the moment of rendering, in a .NET format (default `o`); `tz='Europe/Berlin'` shows it in a zone",
        examples: &[example("{{length (utcNow)}}", "{}", "28")],
        is_volatile: true,
        eval: Eval::Strict(utc_now),
        ..PLAIN
    },
    HelperSpec {
        name: "formatDateTime",
        gives: Kind::Text,
        arguments: Signature::takes(&["time", "format", "culture"], &[Kind::Time, Kind::TimeFormat, Kind::Culture])
            .optional(2),
        options: OPTIONS,
        summary: "a time in a standard or custom .NET format (default `o`); `tz='Europe/Berlin'` shows it in a zone",
        examples: &[
            example(
                "{{formatDateTime trigger.body.Created 'dd/MM/yyyy HH:mm'}}",
                r#"{"Created":"2018-03-15T13:05:00Z"}"#,
                r#""15/03/2018 13:05""#,
            ),
            example(
                "{{formatDateTime trigger.body.Created 'HH:mm zzz' tz='Europe/Berlin'}}",
                r#"{"Created":"2018-07-15T13:05:00Z"}"#,
                r#""15:05 +02:00""#,
            ),
            example(
                "{{formatDateTime trigger.body.Created 'D' 'de-DE'}}",
                r#"{"Created":"2018-07-15T13:05:00Z"}"#,
                r#""Sonntag, 15. Juli 2018""#,
            ),
            example("{{formatDateTime '03/15/2018'}}", "{}", r#""2018-03-15T00:00:00.0000000""#),
        ],
        eval: Eval::Strict(format_date_time),
        ..PLAIN
    },
    HelperSpec {
        name: "addDays",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many whole days later, or earlier where negative, in a .NET format (default `o`)",
        examples: &[
            example(
                "{{addDays trigger.body.Created 30 'yyyy-MM-dd'}}",
                r#"{"Created":"2018-03-15T13:05:00Z"}"#,
                r#""2018-04-14""#,
            ),
            example("{{addDays '2018-03-15T00:00:00Z' 10}}", "{}", r#""2018-03-25T00:00:00.0000000Z""#),
        ],
        eval: Eval::Strict(|given| moved(given, DAY)),
        ..PLAIN
    },
    HelperSpec {
        name: "addHours",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many hours later, in a .NET format (default `o`)",
        examples: &[example("{{addHours '2018-03-15T23:00:00Z' 2 'g'}}", "{}", r#""3/16/2018 1:00 AM""#)],
        eval: Eval::Strict(|given| moved(given, HOUR)),
        ..PLAIN
    },
    HelperSpec {
        name: "addMinutes",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many minutes later, in a .NET format (default `o`)",
        examples: &[example("{{addMinutes '2018-03-15T00:00:00Z' -1 'HH:mm'}}", "{}", r#""23:59""#)],
        eval: Eval::Strict(|given| moved(given, MINUTE)),
        ..PLAIN
    },
    HelperSpec {
        name: "addSeconds",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many seconds later, in a .NET format (default `o`)",
        examples: &[example("{{addSeconds '2018-03-15T00:00:00Z' 90 'HH:mm:ss'}}", "{}", r#""00:01:30""#)],
        eval: Eval::Strict(|given| moved(given, 1)),
        ..PLAIN
    },
];

fn utc_now(given: &Given<'_>) -> Result<Value, RenderError> {
    print(given, &now(given)?, 0)
}

/// The moment of rendering.
pub(super) fn now(given: &Given<'_>) -> Result<Moment, RenderError> {
    let now =
        Timestamp::from_microsecond(given.now).map_err(|_| given.fail("was given a clock beyond the calendar"))?;
    Ok(Moment { local: Offset::UTC.to_datetime(now), zone: Zone::Utc })
}

fn format_date_time(given: &Given<'_>) -> Result<Value, RenderError> {
    print_in(given, &moment(given, 0)?, 1, culture::of(given, 2)?)
}

/// The time that is argument `at`.
pub(super) fn moment(given: &Given<'_>, at: usize) -> Result<Moment, RenderError> {
    let Value::String(text) = given.value(at) else {
        return Err(given.wants(at, "a text with a time", given.value(at)));
    };
    parse(text)
        .ok_or_else(|| given.fail("got a text that is no time: times look like 2018-03-15T13:05:00Z or 03/15/2018"))
}

/// The time moved by the second argument, in units of so many seconds.
fn moved(given: &Given<'_>, unit_seconds: i64) -> Result<Value, RenderError> {
    let moment = moment(given, 0)?;
    let seconds = given.integer(1)?.checked_mul(unit_seconds);
    let local = seconds.and_then(|seconds| moment.local.checked_add(SignedDuration::from_secs(seconds)).ok());
    print(given, &Moment { local: in_calendar(given, local)?, ..moment }, 2)
}

/// A time between the years 1 and 9999.
pub(super) fn in_calendar(given: &Given<'_>, local: Option<DateTime>) -> Result<DateTime, RenderError> {
    local.filter(|local| local.year() >= 1).ok_or_else(|| given.fail("would leave the calendar"))
}

/// Formats by argument `at` and the options.
pub(super) fn print(given: &Given<'_>, moment: &Moment, at: usize) -> Result<Value, RenderError> {
    print_in(given, moment, at, culture::of(given, usize::MAX)?)
}

/// Formats by argument `at` in `culture`, on the clocks of the option `tz`.
fn print_in(given: &Given<'_>, moment: &Moment, at: usize, culture: &Culture) -> Result<Value, RenderError> {
    let pattern = match given.values.get(at).map(AsRef::as_ref) {
        None => ROUND_TRIP,
        Some(Value::String(pattern)) if pattern.is_empty() => ROUND_TRIP,
        Some(Value::String(pattern)) => pattern,
        Some(other) => return Err(given.wants(at, "a format", other)),
    };
    let moment = match given.option("tz") {
        None => *moment,
        Some(Value::String(name)) => {
            let zone = date_zone::named(given, name)?;
            date_zone::on_clocks_of(moment, &zone).ok_or_else(|| given.fail("got a time at the end of the calendar"))?
        }
        Some(_) => return Err(given.fail("wants a text as `tz`")),
    };
    let text =
        format(&moment, pattern, culture).map_err(|message| given.fail(format_args!("cannot format: {message}")))?;
    given.made(text)
}

//! Parts of times, units and differences: `dayOfWeek`, `startOfMonth`, `addToTime`, `dateDifference`, `ticks`, …

use jiff::civil::{DateTime, Time, date};
use jiff::{SignedDuration, Span};
use serde_json::Value;

use super::culture;
use super::date::{OPTIONS, in_calendar, moment, now, print};
use super::date_exact::parse_exact;
use super::date_parse::{Moment, parse_in};
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::diagnostic::nearest;

/// A tick is so many nanoseconds.
const TICK_NANOS: i128 = 100;
/// Where ticks are counted from.
const FIRST: DateTime = date(1, 1, 1).at(0, 0, 0, 0);

/// A time, and how its part is shown.
const PART: Signature = Signature::takes(&["time", "format"], &[Kind::Time, Kind::TimeFormat]).optional(1);
/// A time alone.
const TIME: Signature = Signature::takes(&["time"], &[Kind::Time]);
/// A time moved by units.
const MOVE: Signature = Signature::takes(
    &["time", "interval", "unit", "format"],
    &[Kind::Time, Kind::Integer, Kind::Unit, Kind::TimeFormat],
)
.optional(1);
/// Now moved by units.
const FROM_NOW: Signature =
    Signature::takes(&["interval", "unit", "format"], &[Kind::Integer, Kind::Unit, Kind::TimeFormat]).optional(1);
/// What is to be known of units.
const UNITS: &[&str] =
    &["units: Second Minute Hour Day Week Month Year", "a month later than January 31 is the last of February"];

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "addToTime",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many units later, in a .NET format (default `o`)",
        notes: UNITS,
        examples: &[example("{{addToTime '2018-01-31T00:00:00Z' 1 'Month' 'yyyy-MM-dd'}}", "{}", r#""2018-02-28""#)],
        eval: Eval::Strict(|given| {
            let (time, count) = (moment(given, 0)?, given.integer(1)?);
            print(given, &moved(given, &time, count, 2)?, 3)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "subtractFromTime",
        gives: Kind::Text,
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many units earlier, in a .NET format (default `o`)",
        notes: UNITS,
        examples: &[example(
            "{{subtractFromTime '2018-01-02T00:00:00Z' 1 'Day'}}",
            "{}",
            r#""2018-01-01T00:00:00.0000000Z""#,
        )],
        eval: Eval::Strict(|given| {
            let (time, count) = (moment(given, 0)?, negative(given, 1)?);
            print(given, &moved(given, &time, count, 2)?, 3)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "getFutureTime",
        gives: Kind::Text,
        arguments: FROM_NOW,
        options: OPTIONS,
        summary: "the moment of rendering, so many units later, in a .NET format (default `o`)",
        notes: UNITS,
        examples: &[example("{{length (getFutureTime 5 'Day' 'yyyyMMdd')}}", "{}", "8")],
        is_volatile: true,
        eval: Eval::Strict(|given| {
            let count = given.integer(0)?;
            print(given, &moved(given, &now(given)?, count, 1)?, 2)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "getPastTime",
        gives: Kind::Text,
        arguments: FROM_NOW,
        options: OPTIONS,
        summary: "the moment of rendering, so many units earlier, in a .NET format (default `o`)",
        notes: UNITS,
        examples: &[example("{{less (getPastTime 5 'Day') (utcNow)}}", "{}", "true")],
        is_volatile: true,
        eval: Eval::Strict(|given| {
            let count = negative(given, 0)?;
            print(given, &moved(given, &now(given)?, count, 1)?, 2)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "startOfDay",
        gives: Kind::Text,
        arguments: PART,
        options: OPTIONS,
        summary: "midnight of the day of a time, in a .NET format (default `o`)",
        examples: &[example("{{startOfDay '2018-03-15T13:30:30Z'}}", "{}", r#""2018-03-15T00:00:00.0000000Z""#)],
        eval: Eval::Strict(|given| start(given, |local| Some(local.date().to_datetime(Time::midnight())))),
        ..PLAIN
    },
    HelperSpec {
        name: "startOfHour",
        gives: Kind::Text,
        arguments: PART,
        options: OPTIONS,
        summary: "the start of the hour of a time, in a .NET format (default `o`)",
        examples: &[example("{{startOfHour '2018-03-15T13:30:30Z' 'HH:mm:ss'}}", "{}", r#""13:00:00""#)],
        eval: Eval::Strict(|given| start(given, |local| Some(local.date().at(local.hour(), 0, 0, 0)))),
        ..PLAIN
    },
    HelperSpec {
        name: "startOfMonth",
        gives: Kind::Text,
        arguments: PART,
        options: OPTIONS,
        summary: "midnight of the first of the month of a time, in a .NET format (default `o`)",
        examples: &[example("{{startOfMonth '2018-03-15T13:30:30Z' 'yyyy-MM-dd'}}", "{}", r#""2018-03-01""#)],
        eval: Eval::Strict(|given| {
            start(given, |local| Some(local.date().with().day(1).build().ok()?.to_datetime(Time::midnight())))
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "dayOfMonth",
        gives: Kind::Integer,
        arguments: TIME,
        summary: "the day of the month of a time, from 1",
        examples: &[example("{{dayOfMonth '2018-03-15T13:27:36Z'}}", "{}", "15")],
        eval: Eval::Strict(|given| Ok(moment(given, 0)?.local.day().into())),
        ..PLAIN
    },
    HelperSpec {
        name: "dayOfWeek",
        gives: Kind::Integer,
        arguments: TIME,
        summary: "the day of the week of a time: 0 is Sunday, 6 is Saturday",
        examples: &[example("{{dayOfWeek '2018-03-15'}}", "{}", "4")],
        eval: Eval::Strict(|given| Ok(moment(given, 0)?.local.weekday().to_sunday_zero_offset().into())),
        ..PLAIN
    },
    HelperSpec {
        name: "dayOfYear",
        gives: Kind::Integer,
        arguments: TIME,
        summary: "the day of the year of a time, from 1",
        examples: &[example("{{dayOfYear '2016-12-31'}}", "{}", "366")],
        eval: Eval::Strict(|given| Ok(moment(given, 0)?.local.date().day_of_year().into())),
        ..PLAIN
    },
    HelperSpec {
        name: "ticks",
        gives: Kind::Integer,
        arguments: TIME,
        summary: "the units of 100 nanoseconds between January 1 of the year 1 and a time",
        examples: &[example("{{ticks '2018-01-01'}}", "{}", "636503616000000000")],
        eval: Eval::Strict(|given| {
            let ticks = between(FIRST, moment(given, 0)?.local).as_nanos() / TICK_NANOS;
            i64::try_from(ticks).map(Value::from).map_err(|_| given.fail("leaves the range of 64-bit integers"))
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "dateDifference",
        gives: Kind::Text,
        arguments: Signature::takes(&["start", "end"], &[Kind::Time]),
        summary: "the time from the first to the second, as days.hours:minutes:seconds",
        examples: &[
            example("{{dateDifference '2015-02-08' '2018-07-30'}}", "{}", r#""1268.00:00:00""#),
            example("{{dateDifference '2018-02-08T10:00:00Z' '2018-02-08T08:30:00Z'}}", "{}", r#""-01:30:00""#),
        ],
        eval: Eval::Strict(|given| Ok(span(between(moment(given, 0)?.local, moment(given, 1)?.local)).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "parseDateTime",
        gives: Kind::Text,
        arguments: Signature::takes(
            &["text", "culture", "format"],
            &[Kind::SolidText, Kind::Culture, Kind::TimeFormat],
        )
        .optional(2),
        options: &["culture"],
        summary: "the time that a text stands for, read as a culture writes it or in exactly the format given, as ISO 8601",
        examples: &[
            example("{{parseDateTime '20/10/2014' 'fr-FR'}}", "{}", r#""2014-10-20T00:00:00.0000000""#),
            example(
                "{{parseDateTime '20141020 0830' 'en-US' 'yyyyMMdd HHmm'}}",
                "{}",
                r#""2014-10-20T08:30:00.0000000""#,
            ),
        ],
        eval: Eval::Strict(parse_date_time),
        ..PLAIN
    },
];

/// Units of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

const UNIT_NAMES: [(&str, Unit); 7] = [
    ("Second", Unit::Second),
    ("Minute", Unit::Minute),
    ("Hour", Unit::Hour),
    ("Day", Unit::Day),
    ("Week", Unit::Week),
    ("Month", Unit::Month),
    ("Year", Unit::Year),
];

/// The unit called `name`, ignoring case.
pub(super) fn unit(name: &str) -> Result<Unit, String> {
    let found = UNIT_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, unit)| *unit).ok_or_else(|| {
        let near = nearest(name, UNIT_NAMES.iter().map(|(known, _)| *known));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no unit `{name}`{near} (units: Second Minute Hour Day Week Month Year)")
    })
}

fn negative(given: &Given<'_>, at: usize) -> Result<i64, RenderError> {
    given.integer(at)?.checked_neg().ok_or_else(|| given.fail("would leave the calendar"))
}

/// `time` moved by `count` of the units that argument `at` names.
fn moved(given: &Given<'_>, time: &Moment, count: i64, at: usize) -> Result<Moment, RenderError> {
    let unit = unit(given.solid_text(at)?)
        .map_err(|_| given.fail("wants one of the units Second, Minute, Hour, Day, Week, Month, Year"))?;
    let seconds = |length: i64| count.checked_mul(length).map(SignedDuration::from_secs);
    let after = |duration: Option<SignedDuration>| time.local.checked_add(duration?).ok();
    let span = |span: Result<Span, jiff::Error>| time.local.checked_add(span.ok()?).ok();
    let local = match unit {
        Unit::Second => after(seconds(1)),
        Unit::Minute => after(seconds(60)),
        Unit::Hour => after(seconds(3600)),
        Unit::Day => after(seconds(86_400)),
        Unit::Week => after(seconds(604_800)),
        Unit::Month => span(Span::new().try_months(count)),
        Unit::Year => span(Span::new().try_years(count)),
    };
    Ok(Moment { local: in_calendar(given, local)?, ..*time })
}

fn start(given: &Given<'_>, of: fn(DateTime) -> Option<DateTime>) -> Result<Value, RenderError> {
    let time = moment(given, 0)?;
    let local = in_calendar(given, of(time.local))?;
    print(given, &Moment { local, ..time }, 1)
}

fn between(start: DateTime, end: DateTime) -> SignedDuration {
    end.duration_since(start)
}

/// `1268.00:00:00`, `-01:30:00`, `00:00:00.5000000`.
fn span(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let (seconds, nanos) = (duration.as_secs().unsigned_abs(), duration.subsec_nanos().unsigned_abs());
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}."),
    };
    let fraction = if nanos == 0 { String::new() } else { format!(".{:07}", nanos / 100) };
    format!("{sign}{days}{:02}:{:02}:{:02}{fraction}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn parse_date_time(given: &Given<'_>) -> Result<Value, RenderError> {
    let text = given.solid_text(0)?;
    let culture = culture::of(given, 1)?;
    let moment = match given.values.get(2).map(AsRef::as_ref) {
        None => parse_in(text, culture),
        Some(Value::String(pattern)) => parse_exact(text, pattern, culture),
        Some(other) => return Err(given.wants(2, "a format", other)),
    };
    let wanted = if given.len() > 2 { "of its format" } else { "that its culture writes" };
    print(given, &moment.ok_or_else(|| given.fail(format_args!("got a text that is no time {wanted}")))?, usize::MAX)
}

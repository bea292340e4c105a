//! Dates and times: `utcNow`, `formatDateTime`, `addDays`, …

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::date_format::format;
use super::date_parse::{Moment, Zone, parse};
use super::{Eval, Given, HelperSpec, Kind, RenderError, Signature, example};

/// The format where none is given: ISO 8601 with seven digits.
const ROUND_TRIP: &str = "o";
/// The options of everything that formats a time.
const OPTIONS: &[&str] = &["tz", "culture"];

/// What the helpers that move a time take.
const MOVE: Signature =
    Signature { min: 2, max: 3, names: &["time", "count", "format"], kinds: &[Kind::Text, Kind::Number, Kind::Text] };
/// Seconds in a day, an hour and a minute.
const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
const MINUTE: i64 = 60;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "utcNow",
        aliases: &[],
        arguments: Signature { min: 0, max: 1, names: &["format"], kinds: &[Kind::Text] },
        options: OPTIONS,
        summary: "the moment of rendering, in a .NET format (default `o`); `tz='Europe/Berlin'` shows it in a zone",
        examples: &[example("{{length (utcNow)}}", "{}", "28")],
        is_volatile: true,
        eval: Eval::Strict(utc_now),
    },
    HelperSpec {
        name: "formatDateTime",
        aliases: &[],
        arguments: Signature { min: 1, max: 3, names: &["time", "format", "culture"], kinds: &[Kind::Text] },
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
            example("{{formatDateTime '03/15/2018'}}", "{}", r#""2018-03-15T00:00:00.0000000""#),
        ],
        is_volatile: false,
        eval: Eval::Strict(format_date_time),
    },
    HelperSpec {
        name: "addDays",
        aliases: &[],
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
        is_volatile: false,
        eval: Eval::Strict(|given| moved(given, DAY)),
    },
    HelperSpec {
        name: "addHours",
        aliases: &[],
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many hours later, in a .NET format (default `o`)",
        examples: &[example("{{addHours '2018-03-15T23:00:00Z' 2 'g'}}", "{}", r#""3/16/2018 1:00 AM""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| moved(given, HOUR)),
    },
    HelperSpec {
        name: "addMinutes",
        aliases: &[],
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many minutes later, in a .NET format (default `o`)",
        examples: &[example("{{addMinutes '2018-03-15T00:00:00Z' -1 'HH:mm'}}", "{}", r#""23:59""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| moved(given, MINUTE)),
    },
    HelperSpec {
        name: "addSeconds",
        aliases: &[],
        arguments: MOVE,
        options: OPTIONS,
        summary: "a time so many seconds later, in a .NET format (default `o`)",
        examples: &[example("{{addSeconds '2018-03-15T00:00:00Z' 90 'HH:mm:ss'}}", "{}", r#""00:01:30""#)],
        is_volatile: false,
        eval: Eval::Strict(|given| moved(given, 1)),
    },
];

/// What is wrong with the literal of an option; options that the linter cannot judge are fine.
pub(super) fn check_option(name: &str, value: &Value) -> Result<(), String> {
    let Some(text) = value.as_str() else { return Err(format!("`{name}` is a text in quotes")) };
    match name.to_ascii_lowercase().as_str() {
        "tz" => zone(text).map(|_| ()),
        "culture" => culture(text),
        _ => Ok(()),
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("there is no time zone `{name}`: use a name like Europe/Berlin or UTC"))
}

fn culture(name: &str) -> Result<(), String> {
    if ["en-us", "en", ""].contains(&name.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(format!("there is no culture `{name}`: only en-US"))
}

fn utc_now(given: &Given<'_>) -> Result<Value, RenderError> {
    let now =
        Timestamp::from_microsecond(given.now).map_err(|_| given.fail("was given a clock beyond the calendar"))?;
    print(given, &Moment { local: Offset::UTC.to_datetime(now), zone: Zone::Utc }, 0)
}

fn format_date_time(given: &Given<'_>) -> Result<Value, RenderError> {
    let moment = moment(given)?;
    if given.len() > 2 {
        culture(given.text(2)?).map_err(|message| given.fail(format_args!("cannot do this: {message}")))?;
    }
    print(given, &moment, 1)
}

/// The time that is the first argument.
fn moment(given: &Given<'_>) -> Result<Moment, RenderError> {
    let Value::String(text) = given.value(0) else { return Err(given.wants(0, "a text with a time", given.value(0))) };
    parse(text)
        .ok_or_else(|| given.fail("got a text that is no time: times look like 2018-03-15T13:05:00Z or 03/15/2018"))
}

/// The time moved by the second argument, in units of so many seconds.
fn moved(given: &Given<'_>, unit_seconds: i64) -> Result<Value, RenderError> {
    let moment = moment(given)?;
    let count = given.value(1).as_i64().ok_or_else(|| given.wants(1, "an integer", given.value(1)))?;
    let seconds = count.checked_mul(unit_seconds);
    let local = seconds.and_then(|seconds| moment.local.checked_add(SignedDuration::from_secs(seconds)).ok());
    let local = local.filter(|local| local.year() >= 1);
    let local = local.ok_or_else(|| given.fail("would leave the calendar"))?;
    print(given, &Moment { local, ..moment }, 2)
}

/// Formats by argument `at` and the options.
fn print(given: &Given<'_>, moment: &Moment, at: usize) -> Result<Value, RenderError> {
    let pattern = match given.values.get(at).map(AsRef::as_ref) {
        None => ROUND_TRIP,
        Some(Value::String(pattern)) if pattern.is_empty() => ROUND_TRIP,
        Some(Value::String(pattern)) => pattern,
        Some(other) => return Err(given.wants(at, "a format", other)),
    };
    if let Some(name) = given.option("culture") {
        let name = name.as_str().ok_or_else(|| given.fail("wants a text as `culture`"))?;
        culture(name).map_err(|message| given.fail(format_args!("cannot do this: {message}")))?;
    }
    let moment = match given.option("tz") {
        None => *moment,
        Some(Value::String(name)) => {
            let zone = zone(name).map_err(|message| given.fail(format_args!("cannot do this: {message}")))?;
            in_zone(moment, &zone).ok_or_else(|| given.fail("got a time at the end of the calendar"))?
        }
        Some(_) => return Err(given.fail("wants a text as `tz`")),
    };
    let text = format(&moment, pattern).map_err(|message| given.fail(format_args!("cannot format: {message}")))?;
    given.made(text)
}

/// The same moment on the clocks of `zone`. What carries no offset is UTC.
fn in_zone(moment: &Moment, zone: &TimeZone) -> Option<Moment> {
    let seconds = if let Zone::Offset(seconds) = moment.zone { seconds } else { 0 };
    let timestamp = Offset::from_seconds(seconds).ok()?.to_timestamp(moment.local).ok()?;
    let offset = zone.to_offset(timestamp);
    let local = offset.to_datetime(timestamp);
    (local.year() >= 1).then_some(Moment { local, zone: Zone::Offset(offset.seconds()) })
}

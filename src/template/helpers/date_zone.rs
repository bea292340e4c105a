//! Time zones: `convertFromUtc`, `convertToUtc`, `convertTimeZone`.
//!
//! Zones have IANA names or Windows names. A time that a change of clocks skips or repeats has no one answer, so it
//! fails, as observed.

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde_json::Value;

use super::date::{moment, print};
use super::date_parse::{Moment, Zone};
use super::windows_zones;
use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};
use crate::diagnostic::nearest;

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "convertFromUtc",
        gives: Kind::Text,
        arguments: Signature::takes(&["time", "zone", "format"], &[Kind::Time, Kind::Zone, Kind::TimeFormat])
            .optional(1),
        options: &["culture"],
        summary: "a time in UTC (with its `Z`) on the clocks of a zone, in a .NET format (default `o`)",
        examples: &[
            example(
                "{{convertFromUtc trigger.body.Created 'W. Europe Standard Time' 'HH:mm'}}",
                r#"{"Created":"2018-03-15T13:05:00Z"}"#,
                r#""14:05""#,
            ),
            example(
                "{{convertFromUtc '2018-07-15T13:05:00Z' 'Europe/Berlin'}}",
                "{}",
                r#""2018-07-15T15:05:00.0000000""#,
            ),
        ],
        eval: Eval::Strict(convert_from_utc),
        ..PLAIN
    },
    HelperSpec {
        name: "convertToUtc",
        gives: Kind::Text,
        arguments: Signature::takes(&["time", "zone", "format"], &[Kind::Time, Kind::Zone, Kind::TimeFormat])
            .optional(1),
        options: &["culture"],
        summary: "a time on the clocks of a zone in UTC, in a .NET format (default `o`)",
        notes: &["a time that carries an offset fails, and one that a change of clocks skips or repeats"],
        examples: &[example(
            "{{convertToUtc '01/01/2018 00:00:00' 'Pacific Standard Time'}}",
            "{}",
            r#""2018-01-01T08:00:00.0000000Z""#,
        )],
        eval: Eval::Strict(|given| {
            let zone = named(given, given.solid_text(1)?)?;
            let moment = converted(given, &moment(given, 0)?, &zone, &TimeZone::UTC)?;
            print(given, &moment, 2)
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "convertTimeZone",
        gives: Kind::Text,
        arguments: Signature::takes(
            &["time", "from", "to", "format"],
            &[Kind::Time, Kind::Zone, Kind::Zone, Kind::TimeFormat],
        )
        .optional(1),
        options: &["culture"],
        summary: "a time on the clocks of one zone on those of another, in a .NET format (default `o`)",
        notes: &["a time that carries an offset is in UTC; one that a change of clocks skips or repeats fails"],
        examples: &[example(
            "{{convertTimeZone '2018-01-01 08:00:00' 'Pacific Standard Time' 'America/New_York'}}",
            "{}",
            r#""2018-01-01T11:00:00.0000000""#,
        )],
        eval: Eval::Strict(|given| {
            let (from, to) = (named(given, given.solid_text(1)?)?, named(given, given.solid_text(2)?)?);
            let moment = converted(given, &moment(given, 0)?, &from, &to)?;
            print(given, &moment, 3)
        }),
        ..PLAIN
    },
];

/// The zone called `name`: a Windows name in any case, or an IANA name.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    let iana = windows_zones::iana(name).unwrap_or(name);
    TimeZone::get(iana).map_err(|_| {
        let near = nearest(name, windows_zones::names().chain(["UTC", "Europe/Berlin", "Europe/London"]));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no time zone `{name}`{near} (names look like Europe/Berlin, W. Europe Standard Time or UTC)")
    })
}

/// The zone called `name`; the name may come from the lead and is not repeated.
pub(super) fn named(given: &Given<'_>, name: &str) -> Result<TimeZone, RenderError> {
    zone(name).map_err(|_| {
        given.fail("got a time zone that does not exist: names look like Europe/Berlin, W. Europe Standard Time or UTC")
    })
}

fn is_utc(zone: &TimeZone) -> bool {
    zone == &TimeZone::UTC || matches!(zone.iana_name(), Some("UTC" | "Etc/UTC"))
}

fn convert_from_utc(given: &Given<'_>) -> Result<Value, RenderError> {
    let moment = moment(given, 0)?;
    if moment.zone == Zone::Unknown {
        return Err(given.fail("wants a time in UTC, which ends in `Z`; `convertTimeZone` takes others"));
    }
    let zone = named(given, given.solid_text(1)?)?;
    let moment = converted(given, &moment, &TimeZone::UTC, &zone)?;
    print(given, &moment, 2)
}

/// A time on the clocks of `from` on those of `to`.
fn converted(given: &Given<'_>, moment: &Moment, from: &TimeZone, to: &TimeZone) -> Result<Moment, RenderError> {
    if moment.zone != Zone::Unknown && !is_utc(from) {
        return Err(
            given.fail("got a time that carries an offset, which the zone that it is said to be in contradicts")
        );
    }
    let ambiguous = from.to_ambiguous_timestamp(moment.local);
    let offset = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { .. } => return Err(given.fail("got a time that a change of clocks skips in its zone")),
        AmbiguousOffset::Fold { .. } => {
            return Err(given.fail("got a time that a change of clocks repeats in its zone"));
        }
    };
    let end = || given.fail("got a time at the end of the calendar");
    let timestamp = offset.to_timestamp(moment.local).map_err(|_| end())?;
    let local = to.to_offset(timestamp).to_datetime(timestamp);
    if local.year() < 1 {
        return Err(end());
    }
    Ok(Moment { local, zone: if is_utc(to) { Zone::Utc } else { Zone::Unknown } })
}

/// The same moment on the clocks of `zone`, with its offset. What carries no offset is UTC.
pub(super) fn on_clocks_of(moment: &Moment, zone: &TimeZone) -> Option<Moment> {
    let seconds = if let Zone::Offset(seconds) = moment.zone { seconds } else { 0 };
    let timestamp = Offset::from_seconds(seconds).ok()?.to_timestamp(moment.local).ok()?;
    let offset = zone.to_offset(timestamp);
    let local = offset.to_datetime(timestamp);
    (local.year() >= 1).then_some(Moment { local, zone: Zone::Offset(offset.seconds()) })
}

#[cfg(test)]
mod tests {
    use super::zone;

    #[test]
    fn zones_have_iana_and_windows_names() {
        let offset = |name: &str| {
            let timestamp = "2018-07-01T00:00:00Z".parse().expect("a time");
            zone(name).expect(name).to_offset(timestamp).seconds() / 3600
        };
        assert_eq!(offset("Europe/Berlin"), 2);
        assert_eq!(offset("w. europe standard time"), 2);
        assert_eq!(offset("Pacific Standard Time"), -7);
        assert_eq!(offset("UTC"), 0);
        assert!(zone("Nowhere Standard Time").is_err());
        assert!(zone("").is_err());
        assert!(zone("Pacfic Standard Time").expect_err("unknown").contains("did you mean `Pacific Standard Time`?"));
    }
}

//! The `delay` action: waits durably; a restart does not start the wait again.

use std::time::Duration;

use serde_json::Value;

use super::input::Text;
use super::{Action, Next, StartContext};
use crate::clock::{Micros, micros};
use crate::connectors::declared;
use crate::flow::catalogue::{ActionSpec, OwnFinding};
use crate::run::Failure;
use crate::template::is_template;
use crate::units;

/// The longest delay: no run lives longer.
pub const DELAY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The `delay` action.
#[derive(Debug, Clone, Copy)]
pub struct Delay;

/// What `delay` is told: exactly one of both keys.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// How long: `30s`, `10m`, `2h`, `3d`, or ISO 8601 (`PT30S`). At most 30 days.
    #[serde(rename = "for")]
    #[schemars(extend("x-template" = "plain", "x-duration" = true))]
    wait: Option<Text>,
    /// Until when: a timestamp with its offset, `2026-12-01T09:00:00Z`. A time that has passed is due at once.
    #[schemars(extend("x-template" = "plain"))]
    until: Option<Text>,
}

impl Action for Delay {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "delay",
            summary: "waits, durably",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: cool_off\ntype: delay\nfor: 10m\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: Some(check),
        }
    }

    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = super::input::read(inputs)?;
        let until = match (keys.wait, keys.until) {
            (Some(Text(text)), None) => cx.now.saturating_add(micros(duration(&text)?)),
            (None, Some(Text(text))) => timestamp(&text)?,
            _ => return Err(Failure::terminal("wrong_type", "write exactly one of `for` and `until`, and not null")),
        };
        if until.saturating_sub(cx.now) > micros(DELAY_MAX) {
            return Err(Failure::terminal("delay_too_long", "a delay lasts at most 30 days"));
        }
        Ok(Next::WaitUntil(until))
    }
}

fn duration(text: &str) -> Result<Duration, Failure> {
    units::duration(text.trim())
        .map_err(|_| Failure::terminal("bad_duration", "`for` is not a duration; write 30s, 10m, 2h, 3d or PT30S"))
}

fn timestamp(text: &str) -> Result<Micros, Failure> {
    text.trim().parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond).map_err(|_| {
        Failure::terminal("bad_timestamp", "`until` is not a timestamp with an offset; write 2026-12-01T09:00:00Z")
    })
}

/// Exactly one of both keys, and constants that can be read.
fn check(raw: &Value) -> Vec<OwnFinding> {
    let (wait, until) = (raw.get("for"), raw.get("until"));
    if wait.is_some() == until.is_some() {
        let (pointer, code, message) = if wait.is_some() {
            ("/until", "both_keys", "delay has both `for` and `until`")
        } else {
            ("", "missing_key", "delay has neither `for` nor `until`")
        };
        let help = Some("write one of them: `for: 10m` or `until: 2026-12-01T09:00:00Z`".into());
        return vec![OwnFinding { pointer: pointer.into(), code, message: message.into(), help }];
    }
    let constant =
        |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| !is_template(text)).map(str::to_owned);
    let faults = [
        ("/for", constant(wait).and_then(|text| check_for(&text).err())),
        ("/until", constant(until).and_then(|text| timestamp(&text).err())),
    ];
    faults
        .into_iter()
        .filter_map(|(pointer, fault)| Some((pointer, fault?)))
        .map(|(pointer, fault)| OwnFinding {
            pointer: pointer.into(),
            code: match fault.code.as_str() {
                "bad_timestamp" => "bad_timestamp",
                "delay_too_long" => "delay_too_long",
                _ => "bad_duration",
            },
            message: fault.message,
            help: None,
        })
        .collect()
}

fn check_for(text: &str) -> Result<(), Failure> {
    if duration(text)? > DELAY_MAX {
        return Err(Failure::terminal("delay_too_long", "a delay lasts at most 30 days"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(inputs: &Value) -> Result<Next, String> {
        Delay.start(inputs, &StartContext::for_tests()).map_err(|failure| failure.code)
    }

    #[test]
    fn until_is_a_timestamp_and_the_past_is_due_at_once() {
        assert_eq!(start(&json!({"until": "1970-01-01T00:00:05Z"})), Ok(Next::WaitUntil(5_000_000)));
        assert_eq!(start(&json!({"until": "1970-01-01T02:00:05+02:00"})), Ok(Next::WaitUntil(5_000_000)));
        assert_eq!(start(&json!({"until": "1969-01-01T00:00:00Z"})), Ok(Next::WaitUntil(-31_536_000_000_000)));
        assert_eq!(start(&json!({"until": "tomorrow"})), Err("bad_timestamp".into()));
        assert_eq!(start(&json!({"until": "1970-02-01T00:00:00Z"})), Err("delay_too_long".into()));
        assert_eq!(start(&json!({"until": null})), Err("wrong_type".into()));
    }

    #[test]
    fn exactly_one_key() {
        let codes = |raw: &Value| check(raw).into_iter().map(|finding| finding.code).collect::<Vec<_>>();
        assert_eq!(codes(&json!({})), ["missing_key"]);
        assert_eq!(codes(&json!({"for": "1m", "until": "x"})), ["both_keys"]);
        assert_eq!(codes(&json!({"until": "x"})), ["bad_timestamp"]);
        assert_eq!(codes(&json!({"until": "{{trigger.body.At}}"})), [""; 0]);
    }

    #[test]
    fn durations_count_from_now() {
        assert_eq!(start(&json!({"for": "1m30s"})), Ok(Next::WaitUntil(90_000_000)));
        assert_eq!(start(&json!({"for": "31d"})), Err("delay_too_long".into()));
        assert_eq!(start(&json!({"for": "soon"})), Err("bad_duration".into()));
        assert_eq!(check(&json!({"for": "31d"}))[0].code, "delay_too_long");
    }
}

//! Values and columns: what a lead brings, as the column takes it, and what a row gives back. Pure.

use serde_json::{Map, Number, Value};

use crate::diagnostic::nearest;
use crate::outbound::sql::{Column, Kind, Parameter, Table};
use crate::run::Failure;
use crate::template::kind_of;

/// The column `name` of the table; the failure names the nearest one.
pub(super) fn column<'t>(table: &'t Table, entity: &str, name: &str) -> Result<&'t Column, Failure> {
    table.column(name).ok_or_else(|| {
        let near = nearest(name, table.columns.iter().map(|column| column.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Failure::terminal("unknown_field", format!("the table `{entity}` has no column `{name}`{near}"))
    })
}

/// `fields` as parameters of their columns, in their order.
pub(super) fn parameters(table: &Table, entity: &str, fields: &Map<String, Value>) -> Result<Vec<Parameter>, Failure> {
    fields
        .iter()
        .map(|(name, value)| {
            let column = column(table, entity, name)?;
            if column.generated {
                let message = format!("the column `{}` is computed by the database and takes no value", column.name);
                return Err(Failure::terminal("unknown_field", message));
            }
            Ok(Parameter { column: column.name.clone(), value: fit(column, value)? })
        })
        .collect()
}

/// `value` as the column takes it: null, a boolean, a number or a text. What would not be the same value is refused.
pub(super) fn fit(column: &Column, value: &Value) -> Result<Value, Failure> {
    let refused = |wanted: &str| {
        let got = match value {
            Value::String(text) if text.trim().is_empty() => "a blank text",
            other => kind_of(other),
        };
        let message = format!("the column `{}` wants {wanted}, got {got} that is none", column.name);
        Err(Failure::terminal("wrong_type", message))
    };
    if value.is_null() {
        return Ok(Value::Null);
    }
    if column.kind == Kind::Json {
        return Ok(Value::String(value.to_string()));
    }
    if value.is_array() || value.is_object() {
        let message = format!(
            "the column `{}` takes one value, got {}; write {{{{string …}}}} for its JSON",
            column.name,
            kind_of(value)
        );
        return Err(Failure::terminal("wrong_type", message));
    }
    let text = value.as_str().map(str::trim);
    match column.kind {
        Kind::Integer(bits) => match whole(value).filter(|whole| fits_bits(*whole, bits)) {
            Some(whole) => Ok(whole.into()),
            None => refused(&format!("a whole number of {bits} bits")),
        },
        Kind::Float => match text.map_or_else(|| value.as_f64(), |text| text.parse().ok()).and_then(Number::from_f64) {
            Some(number) => Ok(Value::Number(number)),
            None => refused("a number"),
        },
        Kind::Numeric => match text {
            Some(text) if is_decimal(text) => Ok(Value::String(text.to_owned())),
            None if value.is_number() => Ok(value.clone()),
            _ => refused("a number"),
        },
        Kind::Boolean => match (value, text.map(str::to_ascii_lowercase).as_deref()) {
            (Value::Bool(_), _) => Ok(value.clone()),
            (_, Some("true")) => Ok(true.into()),
            (_, Some("false")) => Ok(false.into()),
            _ => refused("true or false"),
        },
        Kind::Text => short_enough(column, value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        Kind::Timestamp | Kind::LocalTimestamp | Kind::Date | Kind::Time => {
            match text.and_then(|text| moment(column.kind, text)) {
                Some(text) => Ok(Value::String(text)),
                None => refused(wanted_moment(column.kind)),
            }
        }
        Kind::Uuid => match text.and_then(|text| uuid::Uuid::parse_str(text).ok()) {
            Some(uuid) => Ok(uuid.to_string().into()),
            None => refused("a UUID"),
        },
        Kind::Array => refused("a list of the database, which is not supported: use a json column"),
        Kind::Binary => refused("bytes, which are not supported"),
        Kind::Other => Ok(value.clone()),
        Kind::Json => Ok(Value::Null),
    }
}

fn short_enough(column: &Column, text: String) -> Result<Value, Failure> {
    match column.length {
        Some(length) if text.chars().count() > length as usize => {
            let message = format!("the text for the column `{}` is longer than its {length} characters", column.name);
            Err(Failure::terminal("value_too_long", message))
        }
        _ => Ok(Value::String(text)),
    }
}

/// A whole number, also as a text or as `3.0`.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            // 2^53: beyond it a float does not tell whole numbers apart.
            (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
        }),
        _ => None,
    }
}

fn fits_bits(whole: i64, bits: u8) -> bool {
    match bits {
        16 => i16::try_from(whole).is_ok(),
        32 => i32::try_from(whole).is_ok(),
        _ => true,
    }
}

/// `-12.50`, `1e3`: digits, so that no word such as `NaN` comes in.
fn is_decimal(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn wanted_moment(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "a date as 2026-11-21",
        Kind::Time => "a time of day as 09:30:00",
        _ => "a moment as 2026-11-21T09:30:00Z",
    }
}

/// An ISO 8601 text in the one form that means the same everywhere: a moment without a zone is in UTC. Nothing else is
/// let through: databases read words such as `yesterday` and dates whose order of day and month nobody knows.
fn moment(kind: Kind, text: &str) -> Option<String> {
    use jiff::Timestamp;
    use jiff::civil::{Date, DateTime, Time};
    let zoned = || text.parse::<Timestamp>().ok();
    let local = || text.parse::<DateTime>().ok();
    match kind {
        Kind::Timestamp => {
            let moment =
                zoned().or_else(|| local()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp()))?;
            Some(moment.to_string())
        }
        Kind::LocalTimestamp => {
            let local = zoned().map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).datetime()).or_else(local)?;
            Some(local.to_string())
        }
        // The day that stands there, in whatever zone.
        Kind::Date => {
            let day = if zoned().is_some() { text.get(..10)? } else { text };
            day.parse::<Date>().ok().map(|date| date.to_string())
        }
        _ => text.parse::<Time>().ok().map(|time| time.to_string()),
    }
}

/// A row as a flow sees it: SQLite keeps booleans as 0 and 1, and JSON as text.
pub(super) fn seen(table: &Table, row: Value) -> Map<String, Value> {
    let Value::Object(mut row) = row else { return Map::new() };
    for (name, value) in &mut row {
        let kind = table.column(name).map(|column| column.kind);
        *value = match (kind, value.take()) {
            (Some(Kind::Boolean), Value::Number(number)) if number.as_i64() == Some(0) => false.into(),
            (Some(Kind::Boolean), Value::Number(number)) if number.as_i64() == Some(1) => true.into(),
            (Some(Kind::Json), Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            (_, value) => value,
        };
    }
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column_of(kind: Kind, length: Option<u32>) -> Column {
        Column {
            name: "c".into(),
            type_name: String::new(),
            kind,
            nullable: true,
            has_default: false,
            generated: false,
            length,
        }
    }

    #[test]
    fn values_keep_what_they_mean() {
        for (kind, value, fitted) in [
            (Kind::Integer(32), json!(7), json!(7)),
            (Kind::Integer(32), json!(7.0), json!(7)),
            (Kind::Integer(64), json!(" 9007199254740993 "), json!(9_007_199_254_740_993_i64)),
            (Kind::Float, json!("1.5"), json!(1.5)),
            (Kind::Numeric, json!("12345678901234567890.12"), json!("12345678901234567890.12")),
            (Kind::Numeric, json!(1.25), json!(1.25)),
            (Kind::Boolean, json!("True"), json!(true)),
            (Kind::Text, json!(50), json!("50")),
            (Kind::Text, json!(""), json!("")),
            (Kind::Text, json!("' or 1=1; --"), json!("' or 1=1; --")),
            (Kind::Timestamp, json!("2026-11-21T10:30:00+01:00"), json!("2026-11-21T09:30:00Z")),
            (Kind::Timestamp, json!("2026-11-21T09:30:00"), json!("2026-11-21T09:30:00Z")),
            (Kind::LocalTimestamp, json!("2026-11-21T10:30:00+01:00"), json!("2026-11-21T09:30:00")),
            (Kind::Date, json!("2026-11-21"), json!("2026-11-21")),
            (Kind::Date, json!("2026-11-21T23:30:00-08:00"), json!("2026-11-21")),
            (Kind::Time, json!("09:30"), json!("09:30:00")),
            (Kind::Uuid, json!("0192A3B4C5D67E8F9A0B1C2D3E4F5061"), json!("0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061")),
            (Kind::Json, json!({"a": [1]}), json!("{\"a\":[1]}")),
            (Kind::Json, json!("x"), json!("\"x\"")),
            (Kind::Other, json!("active"), json!("active")),
            (Kind::Integer(32), json!(null), json!(null)),
        ] {
            assert_eq!(fit(&column_of(kind, None), &value), Ok(fitted), "{kind:?} {value}");
        }
    }

    #[test]
    fn what_would_be_another_value_is_refused_without_repeating_it() {
        for (kind, value) in [
            (Kind::Integer(16), json!(40_000)),
            (Kind::Integer(32), json!("7.5")),
            (Kind::Integer(32), json!("7; drop")),
            (Kind::Integer(32), json!(true)),
            (Kind::Integer(32), json!("")),
            (Kind::Float, json!("NaN")),
            (Kind::Numeric, json!("Infinity")),
            (Kind::Boolean, json!(1)),
            (Kind::Boolean, json!("yes")),
            (Kind::Timestamp, json!("now")),
            (Kind::Timestamp, json!("11/21/2026")),
            (Kind::Date, json!("yesterday")),
            (Kind::Uuid, json!("7")),
            (Kind::Array, json!([1])),
            (Kind::Text, json!({"a": 1})),
            (Kind::Binary, json!("secret")),
        ] {
            let failure = fit(&column_of(kind, None), &value).expect_err("refused");
            assert_eq!(failure.code, "wrong_type", "{kind:?} {value}");
            assert!(failure.message.contains("`c`"), "{}", failure.message);
            let repeats =
                value.as_str().filter(|text| !text.is_empty()).is_some_and(|text| failure.message.contains(text));
            assert!(!repeats || value == "7", "{}", failure.message);
        }
        let long = fit(&column_of(Kind::Text, Some(3)), &json!("名名名名")).expect_err("too long");
        assert_eq!(long.code, "value_too_long");
        assert_eq!(fit(&column_of(Kind::Text, Some(3)), &json!("名名名")), Ok(json!("名名名")));
    }
}

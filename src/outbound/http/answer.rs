//! What an HTTP answer says: body, headers, and how long to wait.

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::clock::{MICROS_PER_SEC, Micros};

/// The longest wait that a `Retry-After` may ask for, in seconds: one day.
const RETRY_AFTER_SECS_MAX: i64 = 24 * 3600;

/// Why a body could not be read whole.
pub(super) enum BodyFault {
    /// Longer than allowed.
    TooLong,
    /// The connection broke, or the encoding is broken.
    Broken,
}

/// Reads a body up to `bytes_max` bytes (after unpacking), never holding more than that.
pub(super) async fn read_body(response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, BodyFault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyFault::Broken)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyFault::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// JSON when the answer says that it is JSON, or says nothing and is; else text. Null when empty.
pub(super) fn value(headers: &HeaderMap, body: &[u8]) -> Value {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.is_empty() {
        return Value::Null;
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
    let may_be_json = kind.is_none_or(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.ends_with("/json") || kind.ends_with("+json")
    });
    let json = if may_be_json { serde_json::from_slice(body).ok() } else { None };
    json.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// Headers with lower-case names, in the order of the answer.
pub(super) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

/// The server's time when it answered.
pub(in crate::outbound) fn date(headers: &[(String, String)]) -> Option<Micros> {
    http_date(&headers.iter().find(|(name, _)| name == "date")?.1)
}

fn http_date(text: &str) -> Option<Micros> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(text.trim()).ok().map(jiff::Timestamp::as_microsecond)
}

/// `Retry-After`, in microseconds from `now`: seconds or a date, clamped to 0..=1 day.
pub(super) fn retry_after(headers: &HeaderMap, now: Micros) -> Option<Micros> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<i64>() {
        seconds.saturating_mul(MICROS_PER_SEC)
    } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is still a wish to wait long.
        Micros::MAX
    } else {
        http_date(text)?.saturating_sub(now)
    };
    Some(wait.clamp(0, RETRY_AFTER_SECS_MAX * MICROS_PER_SEC))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(name: HeaderName, text: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(text).expect("a header value"))])
    }

    #[test]
    fn retry_after_is_understood_in_both_forms_and_clamped() {
        let wait = |text: &str| retry_after(&headers(RETRY_AFTER, text), 784_111_777 * MICROS_PER_SEC);
        assert_eq!(wait("60"), Some(60 * MICROS_PER_SEC));
        assert_eq!(wait("-5"), Some(0));
        assert_eq!(wait("99999999999999999999"), Some(RETRY_AFTER_SECS_MAX * MICROS_PER_SEC));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10 * MICROS_PER_SEC));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        assert_eq!(wait("Sun, 06 Nov 2094 08:49:07 GMT"), Some(RETRY_AFTER_SECS_MAX * MICROS_PER_SEC));
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), 0), None);
    }

    #[test]
    fn bodies_are_json_when_they_say_so_or_say_nothing() {
        let value = |kind: &str, body: &str| super::value(&headers(CONTENT_TYPE, kind), body.as_bytes());
        assert_eq!(value("application/json; charset=utf-8", "{\"a\":1}"), json!({"a": 1}));
        assert_eq!(value("application/problem+json", "\u{feff}[1]"), json!([1]));
        assert_eq!(value("application/json", "<html>"), json!("<html>"));
        assert_eq!(value("text/plain", "1"), json!("1"));
        assert_eq!(value("text/plain", ""), Value::Null);
        assert_eq!(super::value(&HeaderMap::new(), b"1"), json!(1));
        assert_eq!(super::value(&HeaderMap::new(), b"\xff"), json!("\u{fffd}"));
    }
}

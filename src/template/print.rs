//! How values become text, and how text is escaped for where it goes.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Number, Value};

use super::RenderError;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Powers of ten from which on a float is printed with an exponent, as the original does.
const EXPONENT_MIN: i32 = -5;
const EXPONENT_MAX: i32 = 15;

/// A value inside text: null prints nothing, lists and objects are refused.
pub(super) fn in_text(value: &Value) -> Result<Cow<'_, str>, RenderError> {
    match value {
        Value::Array(_) | Value::Object(_) => Err(RenderError::new(
            "object_in_text",
            format!("{} cannot stand in a text; `string` writes it as JSON", super::kind_of(value)),
        )),
        other => Ok(plain(other)),
    }
}

/// A value as text; lists and objects as compact JSON.
pub(super) fn plain(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Number(value) => Cow::Owned(number(value)),
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// `1` for 1 and 1.0, `1.5`, `1E+21`, `1E-07`.
pub(super) fn number(value: &Number) -> String {
    match value.as_f64() {
        Some(float) if value.is_f64() => self::float(float),
        _ => value.to_string(),
    }
}

fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (EXPONENT_MIN + 1..EXPONENT_MAX).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}E{sign}{:02}", exponent.unsigned_abs())
}

/// `& < > " '` as entities.
pub(super) fn escape_html(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Percent-encodes all but the unreserved characters.
pub(super) fn encode_url(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

/// Refuses a URL in which a rendered value (at `rendered`) makes a path segment `.` or `..`: it would climb.
pub(super) fn check_segments(url: &str, rendered: &[Range<usize>]) -> Result<(), RenderError> {
    let path_end = url.find(['?', '#']).unwrap_or(url.len());
    let mut start = 0;
    for segment in url[..path_end].split('/') {
        let end = start + segment.len();
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        let is_dots = decoded == "." || decoded == "..";
        if is_dots && rendered.iter().any(|value| value.start <= end && value.end >= start) {
            return Err(RenderError::new(
                "unsafe_path",
                format!("a value from outside makes a part of the path `{decoded}`, which would climb out of it"),
            ));
        }
        start = end + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check_segments, encode_url, escape_html, in_text};

    #[test]
    fn values_print_as_the_original_prints_them() {
        for (value, text) in [
            (json!(null), ""),
            (json!(true), "true"),
            (json!(1), "1"),
            (json!(1.0), "1"),
            (json!(1.5), "1.5"),
            (json!(-0.25), "-0.25"),
            (json!(0.1 + 0.2), "0.30000000000000004"),
            (json!(1e21), "1E+21"),
            (json!(1e-7), "1E-07"),
            (json!(0.0001), "0.0001"),
            (json!(9_007_199_254_740_993_i64), "9007199254740993"),
        ] {
            assert_eq!(in_text(&value).expect("prints"), text, "{value}");
        }
        assert_eq!(in_text(&json!([1])).expect_err("a list").code, "object_in_text");
    }

    #[test]
    fn escaping_keeps_what_is_harmless() {
        assert_eq!(escape_html("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(encode_url("aZ9-._~ /?é"), "aZ9-._~%20%2F%3F%C3%A9");
    }

    #[test]
    fn climbing_segments_are_refused_only_where_a_value_made_them() {
        assert!(check_segments("https://a/../b", &[]).is_ok());
        assert!(check_segments("https://a/x/../b", std::slice::from_ref(&(12..14))).is_err());
        assert!(check_segments("https://a/x/%2e./b", std::slice::from_ref(&(15..16))).is_err());
        assert!(check_segments("https://a/b?c=/../", std::slice::from_ref(&(14..16))).is_ok());
    }
}

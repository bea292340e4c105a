//! A form (`application/x-www-form-urlencoded`) as a body: an object of its fields, a repeated one a list.
//!
//! Many programs send JSON under this type because they say nothing else: JSON is tried first, and what begins like JSON
//! is never taken for a form. A field's value is always a text.

use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::request::Problem;

/// The media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Whether `media` (lower case, without parameters) is a form's.
pub(super) fn is_form(media: &str) -> bool {
    media == FORM
}

/// Whether `text` was meant to be JSON, whatever its type says.
pub(super) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
}

/// The fields of a form. Refused where a field is not UTF-8 behind its percent signs: a name must not be mutilated.
pub(super) fn parse(text: &str) -> Result<Value, Problem> {
    let mut fields = Map::new();
    for pair in text.trim_ascii().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, Value::String(decoded(value)?));
        match fields.get_mut(&name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                fields.insert(name, value);
            }
        }
    }
    Ok(Value::Object(fields))
}

fn decoded(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        Problem::new(400, "invalid_utf8", "a field of the form is not UTF-8 behind its percent signs; send UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_texts_and_repeated_ones_lists() {
        assert_eq!(
            parse("Email=a%40b.c&Name=Ada+L%C3%B6w&tag=1&tag=2&tag=3&flag&empty=&&x=1=2\n").expect("a form"),
            json!({"Email": "a@b.c", "Name": "Ada Löw", "tag": ["1", "2", "3"], "flag": "", "empty": "", "x": "1=2"})
        );
        assert_eq!(parse("name=%E9").expect_err("Latin-1").code, "invalid_utf8");
        assert_eq!(parse("%zz=%").expect("taken as it is"), json!({"%zz": "%"}));
    }
}

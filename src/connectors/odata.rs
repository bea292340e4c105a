//! `OData` as Dataverse and Azure Table speak it: literals, keys and filters. A value from a lead is always one literal.

use serde_json::{Map, Value};

use super::api::{encoded, name};
use crate::run::Failure;

/// A text as a literal: a quote in it is written twice.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Whether `value` is a GUID: 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_guid(value: &str) -> bool {
    let groups: Vec<&str> = value.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `value` as a literal. `guid`: what looks like a GUID is one. Lists and objects are none.
pub(super) fn literal(value: &Value, guid: bool) -> Result<String, Failure> {
    match value {
        Value::Null => Ok("null".into()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::String(value) if guid && is_guid(value) => Ok(value.clone()),
        Value::String(value) => Ok(text(value)),
        Value::Array(_) | Value::Object(_) => {
            Err(Failure::terminal("bad_key", "a list or an object cannot be looked for; give a text or a number"))
        }
    }
}

/// The fields of a key between the parentheses of a path: `a='x',b=1`, encoded.
pub(super) fn key(fields: &Map<String, Value>, guid: impl Fn(&str) -> bool) -> Result<String, Failure> {
    let one = |(field, value): (&String, &Value)| {
        let literal = literal(value, guid(field))?;
        // The quotes round a text stay as they are; those within it are doubled and encoded.
        let inner = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let written = inner.map_or_else(|| encoded(&literal), |inner| format!("'{}'", encoded(inner)));
        Ok(format!("{}={written}", name(field)?))
    };
    Ok(fields.iter().map(one).collect::<Result<Vec<_>, Failure>>()?.join(","))
}

/// A filter for records whose fields have these values, all of them. Not encoded.
pub(super) fn filter(fields: &Map<String, Value>, guid: impl Fn(&str) -> bool) -> Result<String, Failure> {
    let one = |(field, value): (&String, &Value)| Ok(format!("{} eq {}", name(field)?, literal(value, guid(field))?));
    Ok(fields.iter().map(one).collect::<Result<Vec<_>, Failure>>()?.join(" and "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("an object") };
        fields
    }

    #[test]
    fn a_value_never_ends_its_literal() {
        let fields = object(json!({"a": "' or 1=1 or 'x' eq '", "b": 1.5, "c": null, "d": true}));
        let filter = filter(&fields, |_| false).expect("a filter");
        assert_eq!(filter, "a eq ''' or 1=1 or ''x'' eq ''' and b eq 1.5 and c eq null and d eq true");
        let fields = object(json!({"mail": "o'neil/..)?x=1#é", "n": 7}));
        let key = key(&fields, |_| false).expect("a key");
        assert_eq!(key, "mail='o%27%27neil%2F..%29%3Fx%3D1%23%C3%A9',n=7");
    }

    #[test]
    fn guids_are_bare_only_where_they_are_expected() {
        let guid = "6f1ed002-ab5c-5a5c-9f1d-0a5d6a2f3b4c";
        assert!(is_guid(guid) && !is_guid("6f1ed002") && !is_guid("zf1ed002-ab5c-5a5c-9f1d-0a5d6a2f3b4c"));
        let fields = object(json!({"leadid": guid, "subject": guid}));
        let filter = filter(&fields, |field| field.ends_with("id")).expect("a filter");
        assert_eq!(filter, format!("leadid eq {guid} and subject eq '{guid}'"));
        assert_eq!(literal(&json!([1]), false).expect_err("no literal").code, "bad_key");
    }
}

//! Keys that are fixed at load: `{{parameters.X}}` and nothing else, put in before anything looks at the value.

use serde_json::Value;

use crate::diagnostic::nearest;

/// Why a fixed key could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotFixed {
    /// `not_fixed` or `unknown_parameter`.
    pub(super) code: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
    /// Bytes in the text.
    pub(super) range: std::ops::Range<usize>,
}

/// `text` with every `{{parameters.X}}` put in. A text that is nothing else takes the parameter's type.
pub(super) fn resolve(text: &str, parameters: &Value) -> Result<Value, NotFixed> {
    let mut out = String::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|found| at + found) {
        let close = text[open..].find("}}").map(|found| open + found + 2);
        let range = open..close.unwrap_or(text.len());
        let inside = close.map(|close| text[open + 2..close - 2].trim());
        let value = match inside.and_then(path_of) {
            Some(path) => find(&path, parameters, range.clone())?,
            None => return Err(refused(text, range)),
        };
        if range == (0..text.len()) {
            return Ok(value.clone());
        }
        out.push_str(&text[at..open]);
        match value {
            Value::String(text) => out.push_str(text),
            Value::Number(_) | Value::Bool(_) => out.push_str(&value.to_string()),
            _ => return Err(no_text(&path_text(text, &range), range)),
        }
        at = range.end;
    }
    out.push_str(&text[at..]);
    Ok(Value::String(out))
}

/// The segments behind `parameters.` when `inside` is such a path.
fn path_of(inside: &str) -> Option<Vec<&str>> {
    let mut segments = inside.split('.');
    let is_root = segments.next().is_some_and(|root| root.eq_ignore_ascii_case("parameters"));
    let segments: Vec<&str> = segments.collect();
    let is_name = |name: &&str| {
        !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || "_-".contains(character))
    };
    (is_root && !segments.is_empty() && segments.iter().all(is_name)).then_some(segments)
}

fn find<'a>(path: &[&str], parameters: &'a Value, range: std::ops::Range<usize>) -> Result<&'a Value, NotFixed> {
    path.iter().try_fold(parameters, |value, name| member(value, name)).ok_or_else(|| {
        let names = parameters.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str));
        let near = nearest(path[0], names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        NotFixed {
            code: "unknown_parameter",
            message: format!("there is no parameter `{}`{near}", path.join(".")),
            help: Some(format!("declare it: write  parameters: {{ {}: … }}", path[0])),
            range,
        }
    })
}

/// The member `name` as templates find it: an exact match wins, else case is ignored.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let ignoring_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.get(name).or_else(ignoring_case)
}

fn path_text(text: &str, range: &std::ops::Range<usize>) -> String {
    text[range.clone()].to_owned()
}

fn refused(text: &str, range: std::ops::Range<usize>) -> NotFixed {
    NotFixed {
        code: "not_fixed",
        message: format!("{} is not known when the flow is loaded", path_text(text, &range)),
        help: Some("this key is fixed at load: a constant, or {{parameters.NAME}} and nothing else".into()),
        range,
    }
}

fn no_text(what: &str, range: std::ops::Range<usize>) -> NotFixed {
    NotFixed {
        code: "not_fixed",
        message: format!("{what} is a list or a map and stands in a text"),
        help: None,
        range,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_put_in_and_nothing_else() {
        let parameters = json!({"Entity": "leads", "n": 3, "crm": {"name": "main"}});
        let resolved = |text: &str| resolve(text, &parameters).map_err(|error| error.code);
        assert_eq!(resolved("plain"), Ok(json!("plain")));
        assert_eq!(resolved("{{ parameters.n }}"), Ok(json!(3)));
        assert_eq!(resolved("x_{{parameters.entity}}_{{parameters.n}}"), Ok(json!("x_leads_3")));
        assert_eq!(resolved("{{parameters.crm.name}}"), Ok(json!("main")));
        assert_eq!(resolved("a{{parameters.crm}}"), Err("not_fixed"));
        for text in ["{{trigger.body.X}}", "{{toLower parameters.n}}", "{{parameters}}", "{{parameters.n", "{{}}"] {
            assert_eq!(resolved(text), Err("not_fixed"), "{text}");
        }
        let error = resolve("{{parameters.entty}}", &parameters).expect_err("unknown");
        assert_eq!(error.message, "there is no parameter `entty`; did you mean `Entity`?");
    }
}

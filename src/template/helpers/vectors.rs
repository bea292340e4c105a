//! Our helpers beside what was observed on the original engine: `tests/data/vectors.jsonl`, one observation a line.

use serde_json::{Value, json};

use crate::template::{Destination, Limits, Scope, Template};

/// Observations that we do not follow, each with the reason. Anything else must agree.
const DEVIATIONS: &[(&str, &str)] = &[
    ("concat-65872815", BOOLEANS),
    ("string-8d6f4b0f", BOOLEANS),
    ("string-20675697", BOOLEANS),
    ("uriComponent-289607e2", BOOLEANS),
    ("realistic-0c20e45e", BOOLEANS),
    ("toUpper-5ef67d3c", NULL_TEXT),
    ("toUpper-7a138f8f", NULL_TEXT),
    ("toLower-fbd8c1a6", NULL_TEXT),
    ("trim-327c3852", NULL_TEXT),
    ("empty-6965ea55", NULL_PATHS),
    ("coalesce-d815e51c", NULL_PATHS),
    ("indexOf-8331d1eb", "texts are compared as they are, composed and decomposed letters differ"),
    ("json-5e3a4f1d", "comments are not JSON"),
    ("json-940eb392", "NaN is not JSON"),
    ("formatDateTime-ff586af0", "only the names of en-US are known"),
];
const BOOLEANS: &str = "booleans print `true` and `false`, as in JSON";
const NULL_TEXT: &str = "a missing text is empty text: it must not lose the lead";
const NULL_PATHS: &str = "a missing property is null, with or without `?`";

const VECTORS: &str = include_str!("../../../tests/data/vectors.jsonl");

#[test]
fn helpers_agree_with_the_original() {
    let mut disagreements = Vec::new();
    let (mut agreements, mut deviations) = (0, 0);
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let id = vector["id"].as_str().expect("a vector has an id");
        let expression = vector["expression"].as_str().expect("a vector has an expression");
        // What is no expression there has no form here.
        let template = translate(expression).unwrap_or_else(|| "{{".to_owned());
        let result = render(&template, &vector["body"]);
        let agrees = match (vector["expect"].get("ok"), &result) {
            (Some(expected), Ok(value)) => expected == value,
            (None, Err(_)) => true,
            _ => false,
        };
        let listed = DEVIATIONS.iter().any(|(known, _)| *known == id);
        match (agrees, listed) {
            (true, false) => agreements += 1,
            (false, true) => deviations += 1,
            (true, true) => disagreements.push(format!("{id} agrees, but is listed as a deviation")),
            (false, false) => {
                disagreements.push(format!("{id} {expression} as {template}: {} but got {result:?}", vector["expect"]));
            }
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert_eq!(deviations, DEVIATIONS.len(), "a deviation names no vector");
    assert!(agreements > 300, "only {agreements} vectors were compared");
}

fn render(template: &str, body: &Value) -> Result<Value, String> {
    let compiled = Template::compile(template, Destination::Plain).map_err(|findings| format!("{findings:?}"))?;
    let (trigger, empty) = (json!({"body": body}), json!({}));
    let scope = Scope {
        trigger: &trigger,
        actions: &empty,
        inner_actions: &[],
        parameters: &empty,
        variables: &empty,
        run: &empty,
        flow: &empty,
        environment: &Value::Null,
        item: None,
        item_index: None,
        loops: &empty,
        now: 0,
        limits: Limits::default(),
    };
    compiled.render(&scope).map_err(|error| error.message)
}

/// `@f(x)` and `text @{f(x)}` in our own language.
fn translate(expression: &str) -> Option<String> {
    if let Some(whole) = expression.strip_prefix('@').filter(|rest| !rest.starts_with('{')) {
        let (form, rest) = expr(whole)?;
        return rest.trim().is_empty().then(|| format!("{{{{{form}}}}}"));
    }
    let (mut template, mut rest) = (String::new(), expression);
    while let Some((text, behind)) = rest.split_once("@{") {
        let (form, behind) = expr(behind)?;
        template = format!("{template}{text}{{{{{form}}}}}");
        rest = behind.trim_start().strip_prefix('}')?;
    }
    Some(template + rest)
}

/// One operand of ours, and what follows it.
fn expr(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let (mut form, mut rest) = if text.starts_with('\'') { quoted(text)? } else { word(text)? };
    loop {
        let behind = rest.strip_prefix('?').unwrap_or(rest);
        let (key, behind) = if let Some(behind) = behind.strip_prefix('[') {
            let (key, behind) = expr(behind)?;
            (key, behind.trim_start().strip_prefix(']')?)
        } else if let Some(behind) = behind.strip_prefix('.') {
            let end = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
            (format!("\"{}\"", &behind[..end]), &behind[end..])
        } else {
            return Some((form, rest));
        };
        form = format!("(lookup {form} {key})");
        rest = behind;
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), &text[1..]);
    loop {
        let (part, behind) = rest.split_once('\'')?;
        value.push_str(part);
        match behind.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((Value::from(value).to_string(), behind)),
        }
    }
}

fn word(text: &str) -> Option<(String, &str)> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || is_number && ".-+".contains(c)))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(mut rest) = rest.strip_prefix('(') else {
        let literal = if is_number { name.replace('e', "E").replace('+', "") } else { name.to_owned() };
        return (!name.is_empty()).then_some((literal, rest));
    };
    let mut arguments = String::new();
    while !rest.trim_start().starts_with(')') {
        let (argument, behind) = expr(rest)?;
        arguments = format!("{arguments} {argument}");
        let behind = behind.trim_start();
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    let rest = rest.trim_start().strip_prefix(')')?;
    if name.eq_ignore_ascii_case("triggerBody") {
        return Some(("trigger.body".to_owned(), rest));
    }
    Some((format!("({name}{arguments})"), rest))
}

//! Our helpers beside what was observed on the original engine: `tests/data/vectors.jsonl`, one observation a line.
//!
//! Each expression is written in our own words, rendered and compared. What differs must be listed with its reason;
//! what is listed must differ. The counts go into `agreement.md`, which the reference prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{LEFT_OUT, find};
use crate::template::{Destination, Limits, Scope, Template};

/// Observations that we do not follow, each with the reason. Anything else must agree.
const DEVIATIONS: &[(&str, &str)] = &[
    ("interpolation-07097d3b", BOOLEANS),
    ("interpolation-d78f7191", NULL_PATHS),
    ("interpolation-c9728044", BOOLEANS),
    ("property-access-454abee8", NULL_PATHS),
    ("property-access-ac9faccf", NULL_PATHS),
    ("property-access-5665b582", NULL_PATHS),
    ("property-access-a2d8269c", NULL_PATHS),
    ("property-access-54504dca", NULL_PATHS),
    ("property-access-c49e8da7", NULL_PATHS),
    ("triggerOutputs-7f243cbd", NULL_PATHS),
    ("actions-4abca0e0", NULL_PATHS),
    ("variables-0f21b65d", BOOLEANS),
    ("item-d0117a32", NULL_PATHS),
    ("syntax-errors-1d94b633", NULL_PATHS),
    ("concat-65872815", BOOLEANS),
    ("toUpper-5ef67d3c", NULL_TEXT),
    ("toUpper-7a138f8f", NULL_TEXT),
    ("toLower-fbd8c1a6", NULL_TEXT),
    ("trim-327c3852", NULL_TEXT),
    ("indexOf-8331d1eb", ACCENTS),
    ("lastIndexOf-c452e2e4", NULL_TEXT),
    ("nthIndexOf-21e86525", NULL_TEXT),
    ("formatNumber-97a8cfab", CULTURES),
    ("empty-6965ea55", NULL_PATHS),
    ("coalesce-d815e51c", NULL_PATHS),
    ("string-8d6f4b0f", BOOLEANS),
    ("string-20675697", BOOLEANS),
    ("json-5e3a4f1d", JSON_ONLY),
    ("json-940eb392", JSON_ONLY),
    ("uriComponent-289607e2", BOOLEANS),
    ("formData-12b68b28", FORMS),
    ("formData-0a7fe632", FORMS),
    ("formData-53fd4c35", NULL_PATHS),
    ("realistic-0c20e45e", BOOLEANS),
];
const BOOLEANS: &str = "booleans print `true` and `false`, as in JSON";
const NULL_TEXT: &str = "a missing text is empty text";
const NULL_PATHS: &str = "a missing property is null, with or without `?`, behind texts and numbers too";
const JSON_ONLY: &str = "JSON as the standard writes it";
const ACCENTS: &str = "a letter and its accent are compared as they are written";
const CULTURES: &str = "an unknown culture is an error";
const FORMS: &str = "a form is an object of its fields: a repeated one is a list, a missing one null";

const VECTORS: &str = include_str!("../../../tests/data/vectors.jsonl");
const FIXTURES: &str = include_str!("../../../tests/data/vector-fixtures.json");
/// Of the observations of supported functions, so many in a hundred must agree.
const AGREEMENT_PERCENT_MIN: usize = 95;

/// How one function or topic compares.
#[derive(Default)]
struct Tally {
    agreed: usize,
    observed: usize,
}

#[test]
#[expect(clippy::print_stdout, reason = "the report, for who runs the test with --nocapture")]
fn helpers_agree_with_the_original() {
    let fixtures: Value = serde_json::from_str(FIXTURES).expect("the fixtures are JSON");
    let mut disagreements = Vec::new();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut differences = String::new();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unreadable = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let text = |key: &str| vector[key].as_str().expect("a text").to_owned();
        let (id, group, expression) = (text("id"), text("group"), text("expression"));
        if let Some(function) = left_out_function(&expression) {
            *left_out.entry(function).or_default() += 1;
            continue;
        }
        let Some(template) = translate(&expression) else {
            // What is no expression there says nothing about ours.
            assert!(vector["expect"].get("ok").is_none(), "{id} {expression} has no translation");
            unreadable += 1;
            continue;
        };
        let result = render(&template, &vector, &fixtures);
        let agrees = match (vector["expect"].get("ok"), &result) {
            (Some(expected), Ok(value)) => expected == value,
            (None, Err(_)) => true,
            _ => false,
        };
        let tally = tallies.entry(group).or_default();
        tally.observed += 1;
        tally.agreed += usize::from(agrees);
        let reason = DEVIATIONS.iter().find(|(known, _)| *known == id).map(|(_, reason)| *reason);
        match (agrees, reason) {
            (true, None) => {}
            (false, Some(reason)) => differences.push_str(&difference(&expression, &vector, &result, reason)),
            (true, Some(_)) => disagreements.push(format!("{id} agrees, but is listed as a deviation")),
            (false, None) => {
                disagreements.push(format!("{id} {expression} as {template}: {} but got {result:?}", vector["expect"]));
            }
        }
    }
    let report = report(&tallies, &differences, &left_out, unreadable);
    println!("{report}");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    let (agreed, observed) = totals(&tallies, |_| true);
    assert_eq!(observed - agreed, DEVIATIONS.len(), "a deviation names no vector");
    let (agreed, observed) = totals(&tallies, is_function);
    assert!(agreed * 100 >= observed * AGREEMENT_PERCENT_MIN, "{agreed} of {observed}");
    kept_fresh(&report);
}

/// The committed report is what the comparison says. `UPDATE=1` rewrites it.
fn kept_fresh(report: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/template/helpers/agreement.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, report).expect("the report can be written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == report, "{} is stale: UPDATE=1 cargo test --lib vector_tests", file.display());
}

/// Whether a group of observations is about one function; the others are about the language around them.
fn is_function(group: &str) -> bool {
    find(group).is_some()
}

fn totals(tallies: &BTreeMap<String, Tally>, counts: fn(&str) -> bool) -> (usize, usize) {
    let counted = tallies.iter().filter(|(group, _)| counts(group));
    counted.fold((0, 0), |(agreed, observed), (_, tally)| (agreed + tally.agreed, observed + tally.observed))
}

/// `12 of 13 (92.30 percent)`; digits are cut, so that it never reads better than it is.
fn share((agreed, observed): (usize, usize)) -> String {
    let share = agreed * 10_000 / observed.max(1);
    format!("{agreed} of {observed} ({}.{:02} percent)", share / 100, share % 100)
}

fn report(
    tallies: &BTreeMap<String, Tally>,
    differences: &str,
    left_out: &BTreeMap<&str, usize>,
    unreadable: usize,
) -> String {
    let mut text = format!(
        "Of the observations of functions {} agree, with those of paths, literals and text around them {}.\n\
         Every one that differs does so on purpose and is listed below. Not compared:\n\
         {unreadable} that the original cannot read either, and those of functions that are left out:",
        share(totals(tallies, is_function)),
        share(totals(tallies, |_| true)),
    );
    for (function, count) in left_out {
        let _ = write!(text, " `{function}` ({count})");
    }
    let _ = writeln!(text, ".\n\n| function or topic | agree | observed |\n|---|---|---|");
    for (group, tally) in tallies {
        let name = find(group).map_or(group.clone(), |_| format!("`{group}`"));
        let _ = writeln!(text, "| {name} | {} | {} |", tally.agreed, tally.observed);
    }
    let _ = write!(
        text,
        "\nEach observation that differs:\n\n| expression | there | here | reason |\n|---|---|---|---|\n{differences}"
    );
    text
}

fn difference(expression: &str, vector: &Value, result: &Result<Value, String>, reason: &str) -> String {
    let cell = |text: &str| {
        let text = text.replace('|', "\\|").replace('\n', " ");
        if text.is_empty() { String::new() } else { format!("`{text}`") }
    };
    let there = vector["expect"].get("ok").map_or("fails".to_owned(), |value| cell(&value.to_string()));
    let here = result.as_ref().map_or("fails".to_owned(), |value| cell(&value.to_string()));
    format!("| {} | {there} | {here} | {reason} |\n", cell(expression))
}

/// The function of `expression` that has no form here.
fn left_out_function(expression: &str) -> Option<&'static str> {
    let calls = |name: &str| {
        expression.match_indices(name).any(|(at, _)| {
            let before = expression[..at].chars().next_back();
            !before.is_some_and(char::is_alphanumeric) && expression[at + name.len()..].starts_with('(')
        })
    };
    LEFT_OUT.iter().map(|(name, _)| *name).find(|name| calls(name))
}

fn render(template: &str, vector: &Value, fixtures: &Value) -> Result<Value, String> {
    let compiled = Template::compile(template, Destination::Plain).map_err(|findings| format!("{findings:?}"))?;
    let fixture = |key: &str, list: &str| vector[key].as_u64().map(|at| &fixtures[list][at as usize]);
    let body = fixture("body", "bodies").map(form_or_body).unwrap_or_default();
    let (trigger, empty) = (json!({ "body": body }), json!({}));
    let variables = vector.get("variables").unwrap_or(&empty);
    let scope = Scope {
        trigger: &trigger,
        actions: fixture("actions", "actions").unwrap_or(&empty),
        inner_actions: &[],
        parameters: &empty,
        variables,
        run: &empty,
        flow: &empty,
        environment: &Value::Null,
        item: vector.get("item"),
        item_index: None,
        loops: &empty,
        now: 1_785_000_000_000_000,
        limits: Limits::default(),
    };
    compiled.render(&scope).map_err(|error| error.message)
}

/// A form as the trigger reads it: an object of its fields, a repeated one a list.
fn form_or_body(body: &Value) -> Value {
    let Some(fields) = body.get("$formdata").and_then(Value::as_array) else { return body.clone() };
    let mut form = Map::new();
    for field in fields {
        let key = field["key"].as_str().unwrap_or_default();
        let value = field["value"].clone();
        match form.get_mut(key) {
            None => drop(form.insert(key.to_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    Value::Object(form)
}

/// `@f(x)`, `text @{f(x)}`, `@@text` and plain text in our own language.
fn translate(expression: &str) -> Option<String> {
    if let Some(text) = expression.strip_prefix('@').filter(|rest| rest.starts_with('@') || rest.is_empty()) {
        let text = if text.is_empty() { "@" } else { text };
        return Some(text.replace("{{", "\\{{"));
    }
    if let Some(whole) = expression.strip_prefix('@').filter(|rest| !rest.starts_with('{')) {
        let (form, rest) = expr(whole)?;
        return rest.trim().is_empty().then(|| mustache(&form));
    }
    let (mut template, mut rest) = (String::new(), expression);
    while let Some((text, behind)) = rest.split_once("@{") {
        let (form, behind) = expr(behind)?;
        let form = mustache(&format!("(string {form})"));
        template = format!("{template}{}{form}", text.replace("{{", "\\{{"));
        rest = behind.trim_start().strip_prefix('}')?;
    }
    Some(template + &rest.replace("{{", "\\{{"))
}

/// One expression that keeps its type; a constant would stand in YAML.
fn mustache(form: &str) -> String {
    let is_constant = !form.starts_with(|c: char| c == '(' || c.is_ascii_lowercase())
        || form.parse::<bool>().is_ok()
        || form == "null";
    if is_constant { format!("{{{{coalesce {form}}}}}") } else { format!("{{{{{form}}}}}") }
}

/// One operand of ours, and what follows it.
fn expr(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let is_literal = !text.starts_with(|c: char| c.is_ascii_alphabetic());
    let (mut form, mut rest) = if text.starts_with('\'') { quoted(text)? } else { word(text)? };
    loop {
        let behind = rest.strip_prefix('?').unwrap_or(rest);
        if let Some(behind) = behind.strip_prefix('[') {
            // A literal has nothing to reach into: that is no expression there.
            let (key, behind) = expr(behind).filter(|_| !is_literal)?;
            rest = behind.trim_start().strip_prefix(']')?;
            form = step(&form, &key);
        } else if let Some(behind) = behind.strip_prefix('.') {
            let end = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
            let key = Some(&behind[..end]).filter(|key| !key.is_empty())?;
            form = step(&form, &format!("\"{key}\""));
            rest = &behind[end..];
        } else {
            return Some((form, rest));
        }
    }
}

/// A property of a form; `a/b` walks, as there.
fn step(form: &str, key: &str) -> String {
    if !key.starts_with('"') || !key.contains('/') {
        return format!("(lookup {form} {key})");
    }
    key.trim_matches('"').split('/').fold(form.to_owned(), |form, name| format!("(lookup {form} \"{name}\")"))
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
        let known = is_number || ["true", "false", "null"].contains(&name);
        return known.then_some((literal, rest));
    };
    let mut arguments = Vec::new();
    while !rest.trim_start().starts_with(')') {
        let (argument, behind) = expr(rest)?;
        arguments.push(argument);
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            // A comma wants another argument.
            Some(more) if more.trim_start().starts_with(')') => return None,
            Some(more) => more,
            None => behind,
        };
    }
    let rest = rest.trim_start().strip_prefix(')')?;
    Some((call(name, &arguments), rest))
}

/// A call in our words: what tells the state of the run is a path.
fn call(name: &str, arguments: &[String]) -> String {
    let first = arguments.first().map_or("", String::as_str);
    match name.to_ascii_lowercase().as_str() {
        "triggerbody" => "trigger.body".to_owned(),
        "triggeroutputs" => "trigger".to_owned(),
        "item" => "item".to_owned(),
        "variables" => format!("(lookup variables {first})"),
        "actions" => format!("(lookup actions {first})"),
        "outputs" => format!("(lookup (lookup actions {first}) \"outputs\")"),
        "body" => format!("(lookup (lookup (lookup actions {first}) \"outputs\") \"body\")"),
        "triggerformdatavalue" => format!("(lookup trigger.body {first})"),
        "formdatavalue" | "formdatamultivalues" => {
            let second = arguments.get(1).map_or("", String::as_str);
            format!("(lookup (lookup (lookup (lookup actions {first}) \"outputs\") \"body\") {second})")
        }
        _ => format!("({})", [&[name.to_owned()], arguments].concat().join(" ")),
    }
}

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{all, find, names};
use crate::template::{Destination, Limits, RenderError, Scope, Template};

/// Renders `template` over `trigger.body`.
fn render(template: &str, body: &Value) -> Result<Value, RenderError> {
    let template =
        Template::compile(template, Destination::Plain).unwrap_or_else(|findings| panic!("{template}: {findings:?}"));
    let (trigger, empty) = (json!({"body": body}), json!({}));
    template.render(&Scope {
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
        now: 1_521_119_100_000_000,
        limits: Limits::default(),
    })
}

#[test]
fn every_example_renders_as_it_says_and_is_of_the_declared_kind() {
    for spec in all() {
        assert!(!spec.examples.is_empty(), "{} has no example", spec.name);
        for example in spec.examples {
            let body: Value = serde_json::from_str(example.body).expect("an example's body is JSON");
            let result: Value = serde_json::from_str(example.result).expect("an example's result is JSON");
            assert_eq!(render(example.template, &body), Ok(result), "{}", example.template);
            let called = |name: &&str| example.template.to_lowercase().contains(&name.to_lowercase());
            assert!([&[spec.name], spec.aliases].concat().iter().any(called), "{}", example.template);
            if example.template.starts_with(&format!("{{{{{}", spec.name)) {
                let result = serde_json::from_str(example.result).expect("JSON");
                assert!(spec.gives.accepts(&result), "{} gives {}", example.template, spec.gives.name());
            }
        }
    }
}

/// Values that helpers trip over, and formats, zones and units that they know.
const AWKWARD: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e308",
    "-1e-308",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "\"\"",
    "\" \"",
    "\"a\"",
    "\"😀é\"",
    "\"SECRET-LEAD\"",
    "[]",
    "[1,2.5,-3]",
    "[\"b\",null,\"A\"]",
    "[[1],{\"a\":1}]",
    "{}",
    "{\"a\":{\"b\":1}}",
    "{\"$content-type\":\"x\",\"$content\":\"YQ==\"}",
    "\"2018-03-15T13:05:00Z\"",
    "\"0001-01-01\"",
    "\"9999-12-31T23:59:59.9999999\"",
    "\"2018-03-25T02:30:00\"",
    "\"15. März 2018\"",
    "\"de-DE\"",
    "\"W. Europe Standard Time\"",
    "\"Month\"",
    "\"N99\"",
    "\"E5\"",
    "\"G3\"",
    "\"0,0.##%;(0);'-'\"",
    "\"#,##0.00E+00\"",
    "\"%\"",
    "\"yyyy-MM-dd'T'HH:mm:ss.fffffffK\"",
    "\"\\\\\"",
    "\"data:text/plain;base64,YQ==\"",
    "\"https://user@contoso.com:1/a?b#c\"",
    "\"%zz+%41\"",
    "\"{\\\"a\\\":[1]}\"",
    "\"1,234.5\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever a lead carries, a helper answers or fails in words that do not repeat it.
    #[test]
    fn helpers_never_panic_and_never_repeat_the_lead(
        at in 0..all().count(),
        values in prop::collection::vec(prop::sample::select(AWKWARD), 0..5),
        named in prop::option::of(prop::sample::select(AWKWARD)),
    ) {
        let spec = all().nth(at).expect("a helper");
        let most = spec.arguments.max.min(5);
        let count = values.len().clamp(spec.arguments.min, most);
        let values: Vec<Value> = values.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
        let arguments: Vec<String> = (0..count).map(|at| format!("trigger.body.values.[{at}]")).collect();
        let arguments = arguments.join(" ");
        let option = match (spec.options.last(), named) {
            (Some(option), Some(_)) => format!(" {option}=trigger.body.named"),
            _ => String::new(),
        };
        let named: Value = named.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"));
        let body = json!({"values": values, "named": named});
        match render(&format!("{{{{{} {arguments}{option}}}}}", spec.name), &body) {
            Ok(value) => prop_assert!(spec.gives.accepts(&value), "{} {body} gave {value}", spec.name),
            Err(error) => prop_assert!(!error.message.contains("SECRET-LEAD"), "{}", error.message),
        }
    }
}

#[test]
fn names_are_unique_and_found_in_any_case() {
    let mut seen: Vec<String> = names().map(str::to_ascii_lowercase).collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "two helpers share a name");
    assert_eq!(find("TOUPPER").map(|spec| spec.name), Some("toUpper"));
    assert_eq!(find("GtE").map(|spec| spec.name), Some("greaterOrEquals"));
    assert!(find("nope").is_none());
}

#[test]
fn signatures_name_as_many_kinds_as_they_need() {
    for spec in all() {
        let signature = &spec.arguments;
        assert!(signature.min <= signature.max, "{}", spec.name);
        assert!(signature.names.len() >= signature.min, "{}", spec.name);
        assert!(!spec.summary.ends_with('.'), "{}", spec.name);
    }
}

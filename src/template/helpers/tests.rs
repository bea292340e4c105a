use serde_json::{Value, json};

use super::{all, find, names};
use crate::template::{Destination, Limits, Scope, Template};

#[test]
fn every_example_renders_as_it_says() {
    for spec in all() {
        assert!(!spec.examples.is_empty(), "{} has no example", spec.name);
        for example in spec.examples {
            let template = Template::compile(example.template, Destination::Plain)
                .unwrap_or_else(|findings| panic!("{}: {findings:?}", example.template));
            let body: Value = serde_json::from_str(example.body).expect("an example's body is JSON");
            let result: Value = serde_json::from_str(example.result).expect("an example's result is JSON");
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
            assert_eq!(template.render(&scope), Ok(result), "{}", example.template);
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

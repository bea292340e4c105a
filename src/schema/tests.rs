use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{BodySchema, PathAnswer, Validation};

/// The published marketplace schemas, as they are.
const PUBLISHED: [&str; 3] = [
    include_str!("../../tests/data/leads/lead-schema-2018.json"),
    include_str!("../../tests/data/leads/lead-schema-2020.json"),
    include_str!("../../tests/data/leads/lead-schema-2022.json"),
];
const SAMPLE: &str = include_str!("../../tests/data/leads/lead-sample.json");

fn published() -> Vec<BodySchema> {
    PUBLISHED.iter().map(|text| schema(&serde_json::from_str(text).expect("a published schema is JSON"))).collect()
}

fn sample() -> Value {
    serde_json::from_str(SAMPLE).expect("the sample is JSON")
}

fn schema(source: &Value) -> BodySchema {
    BodySchema::compile("test.json", source).unwrap_or_else(|error| panic!("{error:?}"))
}

fn received(schema: &BodySchema, body: &Value) -> Value {
    schema.receive(body.clone(), Validation::Lenient).unwrap_or_else(|errors| panic!("{errors:?}")).body
}

/// Every key changed by `change`, at every depth.
fn respelled(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (change(key), respelled(value, change))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn camel(key: &str) -> String {
    key[..1].to_lowercase() + &key[1..]
}

fn mixed(key: &str) -> String {
    key.char_indices()
        .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect()
}

fn segments(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

#[test]
fn every_spelling_of_the_sample_folds_to_the_same_body() {
    for schema in published() {
        for change in [&str::to_owned as &dyn Fn(&str) -> String, &camel, &|key| key.to_lowercase(), &mixed] {
            let folded = received(&schema, &respelled(&sample(), change));
            // The 2018 and 2020 schemas do not name Description: it keeps its spelling.
            let known = |body: &Value| {
                let mut body = body.clone();
                body.as_object_mut().expect("an object").retain(|key, _| !key.eq_ignore_ascii_case("description"));
                body.to_string()
            };
            assert_eq!(known(&folded), known(&sample()));
        }
    }
    let latest = &published()[2];
    assert_eq!(received(latest, &respelled(&sample(), &mixed)).to_string(), sample().to_string());
}

#[test]
fn null_counts_as_missing_where_the_schema_refuses_it() {
    for schema in published() {
        for key in ["UserDetails", "LeadSource", "ActionCode", "OfferTitle"] {
            let mut body = sample();
            body[key] = Value::Null;
            assert_eq!(received(&schema, &body).get(key), None, "{key}");
            assert!(schema.receive(body, Validation::Strict).is_err(), "{key}");
        }
        for key in ["FirstName", "LastName", "Email", "Phone", "Country", "Company", "Title"] {
            let mut body = sample();
            body["UserDetails"][key] = Value::Null;
            assert_eq!(received(&schema, &body)["UserDetails"].get(key), None, "{key}");
        }
    }
    let nullable = schema(&json!({"properties": {
        "a": {"type": ["string", "null"]}, "b": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "c": {}, "d": {"enum": ["x"]},
        "e": {"$ref": "#/definitions/text"},
    }, "definitions": {"text": {"type": "string"}}}));
    let folded = received(&nullable, &json!({"a": null, "b": null, "c": null, "d": null, "e": null, "f": null}));
    assert_eq!(folded, json!({"a": null, "b": null, "c": null, "f": null}));
}

#[test]
fn a_collision_is_noted_and_both_keys_are_kept() {
    let schema = schema(&json!({"properties": {"Email": {"type": "string"}}}));
    let received =
        schema.receive(json!({"email": "b", "Email": "a", "EMAIL": "c"}), Validation::Lenient).expect("fits");
    assert_eq!(received.body, json!({"email": "b", "Email": "a", "EMAIL": "c"}));
    assert_eq!(received.notes.iter().map(|note| note.pointer.as_str()).collect::<Vec<_>>(), ["/email", "/EMAIL"]);
    let received = schema.receive(json!({"email": "b", "EMAIL": "c"}), Validation::Lenient).expect("fits");
    assert_eq!(received.body, json!({"Email": "b", "EMAIL": "c"}));
    assert_eq!(received.notes.len(), 1);
    let received = schema.receive(json!({"Email": null, "email": "b"}), Validation::Lenient).expect("fits");
    assert_eq!((received.body, received.notes), (json!({"Email": "b"}), Vec::new()));
}

#[test]
fn folding_reaches_through_every_kind_of_reference() {
    let schema = schema(&json!({
        "definitions": {"node": {"properties": {"Name": {"type": "string"}, "Next": {"$ref": "#/definitions/node"}}}},
        "allOf": [{"properties": {"First": {"$ref": "#/definitions/node"}}}],
        "anyOf": [{"properties": {"Second": {"items": {"$ref": "#/definitions/node"}}}}, {"properties": {"Third": {}}}],
        "$ref": "#",
    }));
    let body = json!({"first": {"name": "a", "next": {"NAME": "b"}}, "SECOND": [{"name": "c"}], "third": 1, "other": {"name": 1}});
    let expected = json!({"First": {"Name": "a", "Next": {"Name": "b"}}, "Second": [{"Name": "c"}], "Third": 1, "other": {"name": 1}});
    assert_eq!(received(&schema, &body), expected);
}

#[test]
fn strict_takes_the_body_as_it_came_and_none_takes_anything() {
    let schema = schema(&json!({"required": ["Email"], "properties": {"Email": {"type": "string"}}}));
    let body = json!({"email": "a"});
    assert!(schema.receive(body.clone(), Validation::Lenient).is_ok());
    assert_eq!(schema.receive(body.clone(), Validation::Strict).expect_err("missing")[0].pointer, "");
    assert_eq!(schema.receive(json!([1]), Validation::None).expect("anything").body, json!([1]));
    assert_eq!(schema.receive(body.clone(), Validation::None).expect("anything").body, body);
}

#[test]
fn errors_name_the_place_and_never_the_value() {
    let errors = published()[0].receive(json!({"UserDetails": {"Phone": 16_175_555}}), Validation::Lenient);
    let errors = errors.expect_err("a number");
    assert_eq!(errors[0].pointer, "/UserDetails/Phone");
    assert_eq!(errors[0].message, "value is not of type \"string\"");
    let many: Map<String, Value> = (0..30).map(|at| (format!("k{at}"), json!("secret"))).collect();
    let schema = schema(&json!({"additionalProperties": {"type": "integer"}}));
    let errors = schema.receive(many.into(), Validation::Strict).expect_err("texts");
    assert_eq!(errors.len(), 10);
    assert!(errors.iter().all(|error| !error.message.contains("secret")));
}

#[test]
fn no_keyword_repeats_a_value() {
    for rule in [
        json!({"const": 1}),
        json!({"enum": [1]}),
        json!({"type": "integer"}),
        json!({"pattern": "^x$"}),
        json!({"format": "email"}),
        json!({"minLength": 99}),
        json!({"maxLength": 1}),
        json!({"not": {}}),
        json!({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}),
        json!({"oneOf": [{}, {}]}),
    ] {
        let schema = schema(&json!({"properties": {"a": rule}}));
        let errors = schema.receive(json!({"a": "s3cret"}), Validation::Strict).expect_err("refused");
        assert!(errors.iter().all(|error| !error.message.contains("s3cret")), "{errors:?}");
    }
    for rule in [
        json!({"uniqueItems": true}),
        json!({"items": {"type": "integer"}}),
        json!({"prefixItems": [{}], "items": false}),
        json!({"prefixItems": [{}], "unevaluatedItems": false}),
        json!({"contains": {"type": "integer"}}),
        json!({"maxItems": 1}),
    ] {
        let schema = schema(&json!({"properties": {"a": rule}}));
        let errors = schema.receive(json!({"a": ["s3cret", "s3cret"]}), Validation::Strict).expect_err("refused");
        assert!(errors.iter().all(|error| !error.message.contains("s3cret")), "{errors:?}");
    }
}

#[test]
fn of_alternatives_the_nearest_one_speaks() {
    let schema = schema(&json!({"anyOf": [
        {"type": "array"},
        {"type": "object", "properties": {"a": {"properties": {"b": {"type": "string"}}}}},
    ]}));
    let errors = schema.receive(json!({"a": {"b": 1}}), Validation::Strict).expect_err("a number");
    assert_eq!(errors[0].pointer, "/a/b");
}

#[test]
fn faulty_schemas_say_what_is_wrong() {
    let fault = |source: Value| BodySchema::compile("x", &source).expect_err("a fault");
    assert!(fault(json!([])).message.contains("a JSON Schema is an object"));
    let unknown = fault(json!({"$schema": "https://example.com/my"}));
    assert!(unknown.pointer == "/$schema" && unknown.message.contains("is no known draft"), "{unknown:?}");
    let remote = fault(json!({"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}));
    assert!(
        remote.message.contains("`http://127.0.0.1:9/x.json`") && remote.message.contains("#/definitions/NAME"),
        "{remote:?}"
    );
    assert!(fault(json!({"properties": {"a": {"$ref": "#/definitions/none"}}})).message.contains("`$ref`"));
    let kind = fault(json!({"properties": {"a": {"type": "text"}}}));
    assert_eq!(kind.pointer, "/properties/a/type");
}

#[test]
fn formats_are_checked_in_every_draft() {
    for draft in ["http://json-schema.org/draft-04/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        let schema =
            schema(&json!({"$schema": draft, "properties": {"e": {"format": "email"}, "p": {"format": "phone"}}}));
        assert!(schema.receive(json!({"e": "no address"}), Validation::Strict).is_err(), "{draft}");
        assert!(schema.receive(json!({"e": "a@b.example", "p": "?"}), Validation::Strict).is_ok(), "{draft}");
    }
}

#[test]
fn paths_are_known_unknown_or_closed() {
    let unknown = |near: &str| PathAnswer::Unknown(Some(near.to_owned()));
    for schema in published() {
        assert!(schema.accepts_empty_object());
        for (path, answer) in [
            ("UserDetails.Email", PathAnswer::Known),
            ("userdetails.EMAIL", PathAnswer::Known),
            ("UserDetail.Email", unknown("UserDetails.Email")),
            ("UserDetails.Emial", unknown("UserDetails.Email")),
            ("Email", unknown("UserDetails.Email")),
            ("Zebra", PathAnswer::Unknown(None)),
        ] {
            assert_eq!(schema.path(&segments(path)), answer, "{path}");
        }
    }
    let schema = schema(&json!({
        "required": ["People"], "additionalProperties": false,
        "properties": {
            "People": {"type": "array", "items": {"properties": {"Name": {}}, "additionalProperties": false}},
            "Free": {"type": "object"},
            "Map": {"additionalProperties": {"properties": {"Size": {}}}},
        },
    }));
    assert!(!schema.accepts_empty_object());
    for (path, answer) in [
        ("People.0.Name", PathAnswer::Known),
        ("people.0.nam", PathAnswer::Closed(Some("People.[0].Name".to_owned()))),
        ("Peple", PathAnswer::Closed(Some("People".to_owned()))),
        ("Free.anything.at.all", PathAnswer::Known),
        ("Map.any.Size", PathAnswer::Known),
        ("Map.any.Sise", unknown("Map.any.Size")),
    ] {
        assert_eq!(schema.path(&segments(path)), answer, "{path}");
    }
    assert_eq!(BodySchema::compile("x", &json!({})).expect("open").path(&segments("a.b")), PathAnswer::Known);
    assert_eq!(BodySchema::compile("x", &json!(true)).expect("open").path(&segments("a.b")), PathAnswer::Known);
}

/// The sample with each field kept, dropped, null or empty.
fn damaged() -> impl Strategy<Value = Value> {
    let Value::Object(sample) = sample() else { unreachable!("the sample is an object") };
    let fields: Vec<(String, String)> = sample
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Object(inner) => inner.keys().map(|name| (key.clone(), name.clone())).collect(),
            _ => vec![(key.clone(), String::new())],
        })
        .collect();
    prop::collection::vec(0..4_u8, fields.len()).prop_map(move |fates| {
        let mut body = Value::Object(sample.clone());
        for ((key, name), fate) in fields.iter().zip(fates) {
            let object = if name.is_empty() { &mut body } else { &mut body[key] };
            let object = object.as_object_mut().expect("an object");
            let key = if name.is_empty() { key } else { name };
            match fate {
                0 => {}
                1 => drop(object.shift_remove(key)),
                2 => drop(object.insert(key.clone(), Value::Null)),
                _ => drop(object.insert(key.clone(), json!(""))),
            }
        }
        body
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z]{0,5}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 30, 4, |inner| {
        let key = prop_oneof![
            "[A-Za-z~/]{0,4}".boxed(),
            prop::sample::select(vec!["userdetails", "EMAIL", "Email"]).prop_map(str::to_owned).boxed()
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_missing_null_or_empty_field_loses_the_lead(body in damaged()) {
        for schema in published() {
            prop_assert!(schema.receive(body.clone(), Validation::Lenient).is_ok());
        }
    }

    #[test]
    fn folding_twice_changes_nothing_and_never_panics(body in any_json()) {
        let schema = &published()[2];
        let (once, _) = super::fold::fold(&schema.source, body);
        let (twice, _) = super::fold::fold(&schema.source, once.clone());
        prop_assert_eq!(once.to_string(), twice.to_string());
    }

    #[test]
    fn answers_about_paths_never_panic(path in prop::collection::vec(".{0,6}", 0..5)) {
        let _ = published()[2].path(&path);
    }
}

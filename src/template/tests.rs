use serde_json::{Value, json};

use super::{Destination, Limits, PathRef, RenderError, Scope, Template, TemplateFinding, foreign_expression, lookup};

/// Renders `source` over a lead and a few parameters.
fn render_to(source: &str, body: &Value, destination: Destination) -> Result<Value, RenderError> {
    let template = Template::compile(source, destination).unwrap_or_else(|findings| panic!("{source}: {findings:?}"));
    with_scope(body, |scope| template.render(scope))
}

pub(super) fn with_scope<T>(body: &Value, run: impl FnOnce(&Scope<'_>) -> T) -> T {
    let trigger = json!({"body": body, "headers": {"x-forwarded-for": "10.0.0.1"}});
    let empty = json!({});
    let parameters = json!({"owner": "a/b c", "limit": 3});
    let environment = Value::Null;
    run(&Scope {
        trigger: &trigger,
        actions: &empty,
        inner_actions: &[],
        parameters: &parameters,
        variables: &empty,
        run: &empty,
        flow: &empty,
        environment: &environment,
        item: None,
        item_index: None,
        loops: &empty,
        now: 1_521_119_100_000_000,
        limits: Limits::default(),
    })
}

fn render(source: &str, body: &Value) -> Value {
    render_to(source, body, Destination::Plain).unwrap_or_else(|error| panic!("{source}: {error}"))
}

pub(super) fn failure(source: &str, body: &Value) -> &'static str {
    render_to(source, body, Destination::Plain).expect_err(source).code
}

fn findings(source: &str) -> Vec<TemplateFinding> {
    Template::compile(source, Destination::Plain).expect_err(source)
}

/// The code and the underlined text of every finding.
fn faults(source: &str) -> Vec<(&'static str, String)> {
    findings(source).into_iter().map(|finding| (finding.code, source[finding.range].to_owned())).collect()
}

pub(super) fn lead() -> Value {
    json!({
        "UserDetails": {"FirstName": "Some", "Email": "s@contoso.com", "field with spaces": 1, "a/b": 2},
        "Score": 42, "Ratio": 1.5, "Big": 9_007_199_254_740_993_i64, "Whole": 1.0, "Yes": true, "Nothing": null,
        "Tags": ["a", "b"], "People": [{"Name": "Ann", "Kids": ["x"]}, {"Name": "Bob", "Kids": []}],
        "Map": {"k": 1, "l": 2}, "exact": "lower", "Exact": "upper", "Html": "<b>\"&'\nline",
    })
}

#[test]
fn a_lone_expression_keeps_its_type() {
    let lead = lead();
    for (source, value) in [
        ("{{trigger.body.Score}}", json!(42)),
        ("  {{~ trigger.body.Score ~}} \n", json!(42)),
        ("{{! note }}{{trigger.body.Big}}", json!(9_007_199_254_740_993_i64)),
        ("{{trigger.body.Whole}}", json!(1.0)),
        ("{{trigger.body.Yes}}", json!(true)),
        ("{{trigger.body.Nothing}}", json!(null)),
        ("{{trigger.body.Missing.deeper.still}}", json!(null)),
        ("{{trigger.body.Map}}", json!({"k": 1, "l": 2})),
        ("{{trigger.body.Tags}}", json!(["a", "b"])),
        ("{{string trigger.body.Score}}", json!("42")),
        ("{{(string trigger.body.Score)}}", json!("42")),
        ("n={{trigger.body.Score}}", json!("n=42")),
        (
            "{{trigger.body.Whole}}/{{trigger.body.Ratio}}/{{trigger.body.Yes}}/{{trigger.body.Nothing}}",
            json!("1/1.5/true/"),
        ),
    ] {
        assert_eq!(render(source, &lead), value, "{source}");
    }
    assert!(render("{{trigger.body.Whole}}", &lead).is_f64());
}

#[test]
fn paths_ignore_case_and_never_fail() {
    let lead = lead();
    for (source, value) in [
        ("{{TRIGGER.Body.userdetails.EMAIL}}", json!("s@contoso.com")),
        ("{{trigger.body.exact}}", json!("lower")),
        ("{{trigger.body.Exact}}", json!("upper")),
        ("{{trigger.body.EXACT}}", json!("lower")),
        ("{{trigger.body.UserDetails.[field with spaces]}}", json!(1)),
        ("{{trigger.body.UserDetails.[a/b]}}", json!(2)),
        ("{{trigger.headers.X-Forwarded-For}}", json!("10.0.0.1")),
        ("{{trigger.body.Tags.[1]}}", json!("b")),
        ("{{trigger.body.Tags.0}}", json!("a")),
        ("{{trigger.body.Tags.[9]}}", json!(null)),
        ("{{trigger.body.Tags.[-1]}}", json!(null)),
        ("{{trigger.body.Score.x.y}}", json!(null)),
        ("{{lookup trigger.body.Map 'K'}}", json!(1)),
    ] {
        assert_eq!(render(source, &lead), value, "{source}");
    }
}

#[test]
fn blocks_demand_their_kinds_and_know_their_items() {
    let lead = lead();
    for (source, text) in [
        ("{{#if trigger.body.Yes}}a{{else}}b{{/if}}", "a"),
        ("{{#unless trigger.body.Yes}}a{{else}}b{{/unless}}", "b"),
        ("{{#if (eq 1 2)}}a{{else if (eq 1 1)}}b{{else}}c{{/if}}", "b"),
        ("{{#if (eq 1 2)}}a{{else if (eq 1 3)}}b{{else}}c{{/if}}", "c"),
        ("{{#if false}}a{{else if false}}b{{else if true}}c{{/if}}!", "c!"),
        (
            "{{#each trigger.body.Tags}}{{this}}{{@index}}{{item}}{{item_index}}{{#if @last}}.{{else}},{{/if}}{{/each}}",
            "a0a0,b1b1.",
        ),
        (
            "{{#each trigger.body.People}}{{Name}}:{{item.name}}{{#each Kids}}[{{../Name}}{{this}}{{@../index}}]{{/each}} {{/each}}",
            "Ann:Ann[Annx0] Bob:Bob ",
        ),
        (
            "{{#each trigger.body.People as |p i|}}{{i}}{{p.Name}}{{#each p.Kids as |k|}}{{p.Name}}{{k}}{{/each}}{{/each}}",
            "0AnnAnnx1Bob",
        ),
        ("{{#each trigger.body.Map}}{{@key}}={{this}};{{/each}}", "k=1;l=2;"),
        ("{{#each trigger.body.Missing}}a{{else}}none{{/each}}", "none"),
        (
            "{{#each trigger.body.Tags}}{{parameters.limit}}{{../trigger.body.Score}}{{@root.trigger.body.Score}}{{/each}}",
            "3424234242",
        ),
        ("{{#with trigger.body.UserDetails}}{{FirstName}} {{this.Email}}{{else}}x{{/with}}", "Some s@contoso.com"),
        ("{{#with trigger.body.Missing}}a{{else}}none{{/with}}", "none"),
        ("a\n{{#if true}}\nb\n{{/if}}\nc", "a\nb\nc"),
    ] {
        assert_eq!(render(source, &lead), json!(text), "{source}");
    }
    assert_eq!(failure("{{#if trigger.body.Score}}a{{/if}}", &lead), "not_a_boolean");
    assert_eq!(failure("{{#if trigger.body.Missing}}a{{/if}}", &lead), "not_a_boolean");
    assert_eq!(failure("{{#each trigger.body.Score}}a{{/each}}", &lead), "template_failed");
    assert_eq!(failure("{{#if (not 'x')}}a{{/if}}", &lead), "not_a_boolean");
}

#[test]
fn text_in_templates_is_exact() {
    let lead = lead();
    for (source, text) in [
        (r"\{{x}} {{trigger.body.Score}}", "{{x}} 42"),
        (r#"{{concat 'it\'s' "\"q\"" '\n\u00e9'}}"#, "it's\"q\"\né"),
        (r#"a{{concat "}}" '{{'}}"#, "a}}{{"),
        ("a {{~trigger.body.Score~}} b", "a42b"),
        ("a{{!-- {{x}} --}}b{{! c }}", "ab"),
    ] {
        assert_eq!(render(source, &lead), json!(text), "{source}");
    }
    assert_eq!(failure("x{{trigger.body.Map}}", &lead), "object_in_text");
    let error = render_to("x{{trigger.body.Map}}", &lead, Destination::Plain).expect_err("an object in text");
    assert!(error.message.contains("`string`") && error.message.ends_with("in {{trigger.body.Map}}"), "{error}");
}

#[test]
fn escaping_follows_the_destination() {
    let lead = lead();
    let html = |source: &str| render_to(source, &lead, Destination::Html).expect(source);
    assert_eq!(html("<p>{{trigger.body.Html}}</p>"), json!("<p>&lt;b&gt;&quot;&amp;&#39;\nline</p>"));
    assert_eq!(html("{{trigger.body.Html}}"), json!("&lt;b&gt;&quot;&amp;&#39;\nline"));
    assert_eq!(html("<p>{{nl2br trigger.body.Html}}"), json!("<p>&lt;b&gt;&quot;&amp;&#39;<br>\nline"));
    assert_eq!(html("{{nl2br trigger.body.Html}}"), json!("&lt;b&gt;&quot;&amp;&#39;<br>\nline"));
    assert_eq!(
        html("{{#each trigger.body.Tags}}<i>{{default trigger.body.Html 'x'}}</i>{{/each}}").as_str().map(str::len),
        Some(74)
    );
    let url =
        |source: &str| render_to(source, &json!({"q": "a b/../?&", "d": "..", "u": "https://x/y z"}), Destination::Url);
    assert_eq!(
        url("https://h/{{parameters.owner}}?q={{trigger.body.q}}"),
        Ok(json!("https://h/a/b c?q=a%20b%2F..%2F%3F%26"))
    );
    assert_eq!(url("{{trigger.body.u}}"), Ok(json!("https://x/y z")));
    assert_eq!(url("https://h/{{trigger.body.d}}/x").expect_err("climbs").code, "unsafe_path");
    assert_eq!(url("https://h/.{{trigger.body.none}}./x").expect_err("climbs").code, "unsafe_path");
    assert!(url("https://h/a{{trigger.body.d}}/x").is_ok());
}

#[test]
fn laziness_spares_what_is_not_needed() {
    let lead = lead();
    for source in [
        "{{if true 1 (json 'broken')}}",
        "{{coalesce 1 (json 'broken')}}",
        "{{default 1 (json 'broken')}}",
        "{{if (or true (json 'broken')) 1 2}}",
        "{{if (and false (json 'broken')) 2 1}}",
    ] {
        assert_eq!(render(source, &lead), json!(1), "{source}");
    }
    assert_eq!(failure("{{if false 1 (json 'broken')}}", &lead), "template_failed");
}

#[test]
fn work_and_output_are_bounded() {
    let many = json!(vec![1; 2000]);
    let source =
        "{{#each trigger.body}}{{#each ../trigger.body}}{{#each ../../trigger.body}}{{/each}}{{/each}}{{/each}}";
    assert_eq!(failure(source, &many), "step_limit");
    let long = json!("x".repeat(1 << 20));
    assert_eq!(failure("a{{trigger.body}}", &long), "output_too_long");
    assert_eq!(failure("{{replace trigger.body 'x' 'yy'}}", &long), "output_too_long");
    assert_eq!(failure("{{concat trigger.body 'x'}}", &long), "output_too_long");
}

#[test]
fn habits_get_their_own_finding_with_the_right_form() {
    for (source, code, text, help) in [
        ("{{toUpper(trigger.body.A)}}", "habit_call", "toUpper(", "{{toUpper trigger.body.A}}"),
        (
            "{{concat(trigger.body.A, toUpper(trigger.body.B), 'x')}}",
            "habit_call",
            "concat(",
            "{{concat trigger.body.A (toUpper trigger.body.B) 'x'}}",
        ),
        (
            "{{triggerBody()?['UserDetails']?['Email']}}",
            "habit_call",
            "triggerBody(",
            "{{trigger.body.UserDetails.Email}}",
        ),
        (
            "{{trigger.body['First Name']}}",
            "habit_index",
            "trigger.body['First Name']",
            "{{trigger.body.[First Name]}}",
        ),
        ("{{trigger.body.Tags[0]}}", "habit_index", "trigger.body.Tags[0]", "{{trigger.body.Tags.[0]}}"),
        ("{{trigger.body?.A}}", "habit_optional_chain", "trigger.body?.", "{{trigger.body.A}}"),
        ("{{#if trigger.body.A == 'x'}}a{{/if}}", "habit_operator", "==", "{{#if (eq trigger.body.A 'x')}}"),
        (
            "{{#if trigger.body.A && !trigger.body.B}}a{{/if}}",
            "habit_operator",
            "&&",
            "{{#if (and trigger.body.A (not trigger.body.B))}}",
        ),
        ("{{trigger.body.A = 1}}", "habit_operator", "=", "{{eq trigger.body.A 1}}"),
        ("{{trigger.body.A | toUpper}}", "habit_pipe", "|", "{{toUpper trigger.body.A}}"),
        ("{{trigger.body.A ?? 'x'}}", "habit_coalesce", "??", "{{coalesce trigger.body.A 'x'}}"),
        ("{{@outputs('Create')?['body']}}", "habit_call", "@outputs(", "{{actions.Create.outputs.body}}"),
        ("{{concat 'it''s' trigger.body.A}}", "habit_quotes", "'s'", r"{{concat 'it\'s' trigger.body.A}}"),
    ] {
        let found = findings(source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert_eq!((found[0].code, &source[found[0].range.clone()]), (code, text), "{source}");
        assert_eq!(found[0].help.as_deref(), Some(format!("write  {help}").as_str()), "{source}");
    }
}

#[test]
fn faults_are_named_in_our_own_words() {
    for (source, code, text) in [
        ("a {{trigger.body.A} b", "template_syntax", "{{trigger.body.A} b"),
        ("{{}}", "template_syntax", ""),
        ("{{#if true}}a", "template_syntax", "{{#if true}}"),
        ("{{#if true}}a{{/each}}", "template_syntax", "{{/each}}"),
        ("a{{/if}}", "template_syntax", "{{/if}}"),
        ("{{else}}", "template_syntax", "{{else}}"),
        ("{{#if true}}{{else}}{{else}}{{/if}}", "template_syntax", "{{else}}"),
        ("{{trigger.body.A trigger.body.B}}", "template_syntax", "trigger.body.A"),
        ("{{concat (toUpper 'a'}}", "template_syntax", "("),
        ("{{concat 'a}}", "template_syntax", "'"),
        ("{{trigger..body}}", "template_syntax", "trigger..body"),
        ("{{@index}}", "template_syntax", "@index"),
        ("{{../x}}", "template_syntax", "../x"),
        ("{{{{raw}}}}x{{{{/raw}}}}", "template_syntax", "{{{{raw}}}}"),
        ("{{> part}}", "no_partials", "{{> part}}"),
        ("{{#*inline 'x'}}a{{/inline}}", "no_partials", "{{#*inline 'x'}}"),
        ("{{toUper trigger.body.A}}", "unknown_helper", "toUper"),
        ("{{#iff true}}{{/iff}}", "unknown_helper", "iff"),
        ("{{#if false}}{{replace 'a'}}{{/if}}", "wrong_arguments", "replace 'a'"),
        ("{{#if}}a{{/if}}", "wrong_arguments", "{{#if}}"),
        ("{{trim}}", "wrong_arguments", "trim"),
        ("{{utcNow 'o' zone='UTC'}}", "wrong_arguments", "zone"),
        ("{{utcNow 'o' tz='Mars/Olympus'}}", "wrong_arguments", "'Mars/Olympus'"),
        ("{{utcNow 'o' culture='xx-XX'}}", "wrong_arguments", "'xx-XX'"),
        ("{{concat 'a' utcNow}}", "helper_needs_parens", "utcNow"),
        ("{{1.5}}", "lone_literal", "{{1.5}}"),
        ("{{true}}", "lone_literal", "{{true}}"),
        ("a {{'x'}}", "lone_literal", "{{'x'}}"),
    ] {
        assert_eq!(faults(source).first(), Some(&(code, text.to_owned())), "{source}: {:?}", faults(source));
    }
    let help = findings("{{toUper trigger.body.A}}")[0].help.clone();
    assert_eq!(help.as_deref(), Some("did you mean `toUpper`?"));
}

#[test]
fn all_faults_come_at_once() {
    assert_eq!(
        faults("{{toUper a}} {{b == c}} {{> p}} {{trim}}").iter().map(|(code, _)| *code).collect::<Vec<_>>(),
        ["unknown_helper", "habit_operator", "no_partials"]
    );
}

#[test]
fn warnings_do_not_keep_a_template_from_running() {
    let template = Template::compile("{{{trigger.body.A}}}{{&trigger.body.A}}", Destination::Plain).expect("runs");
    assert_eq!(template.warnings.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["unescaped_html"; 2]);
    let refused = Template::compile("{{{trigger.body.A}}}", Destination::Html).expect_err("markup");
    assert_eq!(refused[0].code, "unescaped_html");
    let template = Template::compile("{{if 'x' 1 2}}", Destination::Plain).expect("compiles");
    assert_eq!(template.warnings[0].code, "literal_type");
}

#[test]
fn limits_guard_the_parser() {
    let nested = |count: usize| format!("{{{{{}1{}}}}}", "(not ".repeat(count), ")".repeat(count));
    assert_eq!(findings(&nested(1000))[0].code, "template_too_deep");
    assert_eq!(findings(&nested(33))[0].code, "template_too_deep");
    assert!(Template::compile(&nested(32), Destination::Plain).is_ok());
    let blocks = |count: usize| format!("{}{}", "{{#if true}}".repeat(count), "{{/if}}".repeat(count));
    assert_eq!(findings(&blocks(17))[0].code, "template_too_deep");
    assert_eq!(render(&blocks(16), &json!({})), json!(""));
    let chain = |count: usize| format!("{{{{#if false}}}}{}{{{{/if}}}}", "{{else if (not true)}}x".repeat(count));
    assert_eq!(render(&chain(64), &json!({})), json!(""));
    assert_eq!(findings(&chain(65))[0].code, "template_too_deep");
    assert_eq!(findings(&"\\".repeat(60_000))[0].code, "template_too_deep");
    let deep = format!("(eq 1 {}true{})", "(not ".repeat(31), ")".repeat(31));
    let worst = format!("{{{{#if {deep}}}}}{{{{else}}}}").repeat(15)
        + &format!("{{{{#if {deep}}}}}{}{{{{/if}}}}", format!("{{{{else if {deep}}}}}").repeat(64))
        + &"{{/if}}".repeat(15);
    assert_eq!(render(&worst, &json!({})), json!(""));
    let both = format!(
        "{}{}",
        format!("{{{{#if {}true{}}}}}", "(not ".repeat(32), ")".repeat(32)).repeat(16),
        "{{/if}}".repeat(16)
    );
    assert_eq!(render(&both, &json!({})), json!(""));
    assert_eq!(findings(&"x".repeat(64 * 1024 + 1))[0].code, "template_too_long");
    assert!(Template::compile(&format!("{{{{concat {}}}}}", "[".repeat(4000)), Destination::Plain).is_err());
}

#[test]
fn paths_are_reported_from_the_root() {
    let source = "{{trigger.body.A}} {{#each trigger.body.People}}{{Name}}{{#if false}}{{item.Age}}{{/if}}{{@index}}{{/each}} {{nope.x}} {{toUpper Parameters.owner}}";
    let template = Template::compile(source, Destination::Plain).expect("compiles");
    let shown: Vec<_> = template
        .paths()
        .iter()
        .map(|path| (format!("{}.{}", path.root, path.segments.join(".")), &source[path.range.clone()]))
        .collect();
    let expected = [
        ("trigger.body.A", "trigger.body.A"),
        ("trigger.body.People", "trigger.body.People"),
        ("trigger.body.People.0.Name", "Name"),
        ("trigger.body.People.0.Age", "item.Age"),
        ("nope.x", "nope.x"),
        ("parameters.owner", "Parameters.owner"),
    ];
    assert_eq!(shown, expected.map(|(path, text)| (path.to_owned(), text)));
    let path = PathRef { root: "Trigger".into(), segments: vec!["BODY".into(), "score".into()], range: 0..0 };
    assert_eq!(with_scope(&lead(), |scope| lookup(scope, &path).cloned()), Some(json!(42)));
}

#[test]
fn volatile_is_what_reads_the_clock() {
    let volatile = |source: &str| Template::compile(source, Destination::Plain).expect(source).is_volatile();
    assert!(volatile("{{utcNow}}") && volatile("{{toLower (utcNow 'd')}}"));
    assert!(volatile("{{guid}}") && volatile("{{concat 'a' (rand 1 9)}}") && volatile("{{#if true}}{{guid}}{{/if}}"));
    assert!(volatile("{{getFutureTime 1 'Day'}}") && volatile("{{getPastTime 1 'Day'}}"));
    assert_ne!(render("{{guid}}", &json!({})), render("{{guid}}", &json!({})));
    assert!(!volatile("{{trigger.body.A}}"));
    assert_eq!(render("{{utcNow}}", &json!({})), json!("2018-03-15T13:05:00.0000000Z"));
    assert_eq!(render("{{utcNow 'HH:mm K' tz='America/New_York'}}", &json!({})), json!("09:05 -04:00"));
}

mod properties {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Destination, Template, foreign_expression, render_to, with_scope};

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[abAB .]{0,3}", inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// Pieces that make templates which often compile and fail in many ways.
    fn template() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{{trigger.body.a}}",
            "{{trigger.body}}",
            "{{#each trigger.body}}",
            "{{/each}}",
            "{{#if (eq trigger.body.a 1)}}",
            "{{else}}",
            "{{/if}}",
            "{{#with trigger.body.b}}",
            "{{/with}}",
            "{{this}}",
            "{{../a}}",
            "{{@index}}",
            "{{item.a}}",
            "{{concat trigger.body.a 'x'}}",
            "{{string trigger.body}}",
            "{{length trigger.body.a}}",
            "{{formatDateTime trigger.body.a trigger.body.b}}",
            "{{replace trigger.body.a trigger.body.b 'y'}}",
            "{{json trigger.body.a}}",
            "{{lookup trigger.body trigger.body.a}}",
            "{{gt trigger.body.a 1}}",
            "{{",
            "}}",
            "{{{",
            "\\",
            "'",
            "\"",
            "(",
            ")",
            "[",
            "]",
            "|",
            "é",
            " ",
            "\n",
            "~",
            "#",
            "..",
            "/",
            "@",
            "!",
            "--",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn compiling_never_panics(source in ".{0,80}") {
            let _ = Template::compile(&source, Destination::Plain);
            let _ = Template::compile(&format!("{{{{{source}}}}}"), Destination::Html);
            let _ = foreign_expression(&format!("@{{item({source}"));
            let _ = foreign_expression(&format!("@item({source}"));
        }

        #[test]
        fn ranges_stay_inside_the_source(source in template()) {
            let check = |range: std::ops::Range<usize>| prop_assert_ok(source.get(range).is_some());
            match Template::compile(&source, Destination::Plain) {
                Ok(template) => template.paths().into_iter().for_each(|path| check(path.range)),
                Err(findings) => findings.into_iter().for_each(|finding| check(finding.range)),
            }
        }

        #[test]
        fn rendering_never_panics(source in template(), body in json(), at in 0..3_usize) {
            let destination = [Destination::Plain, Destination::Html, Destination::Url][at];
            if let Ok(template) = Template::compile(&source, destination) {
                let _ = with_scope(&body, |scope| template.render(scope));
            }
        }

        #[test]
        fn a_value_is_never_evaluated(text in r"[{}a-z.# ]{0,20}") {
            let body = serde_json::json!({"a": text});
            prop_assert_eq!(render_to("x{{trigger.body.a}}", &body, Destination::Plain), Ok(format!("x{text}").into()));
        }

        #[test]
        fn html_never_lets_markup_through(text in ".{0,40}") {
            let body = serde_json::json!({"a": text});
            for source in ["{{trigger.body.a}}", "<p>{{nl2br trigger.body.a}}", "{{concat trigger.body.a (nl2br trigger.body.a)}}"] {
                let html = render_to(source, &body, Destination::Html).expect("renders");
                let html = html.as_str().expect("text").replace("<p>", "").replace("<br>", "");
                prop_assert!(!html.contains(['<', '>', '"', '\'']), "{}", html);
            }
        }
    }

    fn prop_assert_ok(condition: bool) {
        assert!(condition, "a range outside of the source");
    }
}

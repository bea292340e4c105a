//! What stands around a template in a loop, and the bounds on helpers that work on lists.

use serde_json::{Value, json};

use super::tests::{failure, lead, with_scope};
use super::{Destination, Limits, Scope, Template};

/// Inside a loop of actions, with variables and the actions of an iteration.
fn render_in_loop(source: &str) -> Value {
    let template =
        Template::compile(source, Destination::Plain).unwrap_or_else(|findings| panic!("{source}: {findings:?}"));
    let (item, index) = (json!({"Name": "Ann", "Kids": ["x", "y"], "Null": null}), json!(4));
    let loops = json!({
        "each_contact": {"item": item, "index": 4},
        "Outer": {"item": {"Name": "outer"}, "index": 0},
    });
    let actions = json!({"Fetch": {"status": "succeeded", "outputs": {"body": {"Id": 7}}, "error": null}});
    let inner = json!({"Greeting": {"status": "skipped", "outputs": null}});
    let variables = json!({"Count": 2, "list": [1, 2], "Nothing": null});
    with_scope(&lead(), |scope| {
        let scope = Scope {
            item: Some(&item),
            item_index: Some(&index),
            loops: &loops,
            actions: &actions,
            inner_actions: &[&inner],
            variables: &variables,
            ..*scope
        };
        template.render(&scope).unwrap_or_else(|error| panic!("{source}: {error}"))
    })
}

#[test]
fn items_loops_variables_and_actions_are_roots_in_any_case() {
    for (source, value) in [
        ("{{item.name}}", json!("Ann")),
        ("{{ITEM.Null.deeper}}", json!(null)),
        ("{{item_index}}", json!(4)),
        ("{{loops.Each_Contact.item.NAME}}", json!("Ann")),
        ("{{loops.each_contact.index}}", json!(4)),
        ("{{loops.outer.Item.name}}", json!("outer")),
        ("{{loops.nowhere.item.name}}", json!(null)),
        ("{{variables.count}}", json!(2)),
        ("{{VARIABLES.Nothing}}", json!(null)),
        ("{{variables.missing}}", json!(null)),
        ("{{add variables.count item_index}}", json!(6)),
        ("{{union variables.list (createArray 3)}}", json!([1, 2, 3])),
        ("{{actions.fetch.outputs.body.ID}}", json!(7)),
        ("{{actions.Fetch.Status}}", json!("succeeded")),
        ("{{actions.fetch.error.code}}", json!(null)),
        ("{{actions.greeting.status}}", json!("skipped")),
        ("{{actions.greeting.outputs.deeper}}", json!(null)),
        // Inside #each, `item` is the block's; the loop's own stays under its name.
        ("{{#each item.Kids}}{{item}}{{item_index}}{{loops.each_contact.item.Name}};{{/each}}", json!("x0Ann;y1Ann;")),
        (
            "{{#each trigger.body.People}}{{#each item.Kids}}{{item}}{{/each}}{{item.Name}};{{/each}}",
            json!("xAnn;Bob;"),
        ),
        ("{{#with item.Kids}}{{item.Name}}{{/with}}", json!("Ann")),
        ("{{#each item.Null}}a{{else}}none{{/each}}", json!("none")),
    ] {
        assert_eq!(render_in_loop(source), value, "{source}");
    }
}

#[test]
fn long_lists_count_as_work_and_made_values_as_output() {
    let lead = json!({"Long": vec![json!(1); 1000], "Text": "x".repeat(1000)});
    let limited = |source: &str, limits: Limits| {
        let template = Template::compile(source, Destination::Plain).expect(source);
        with_scope(&lead, |scope| template.render(&Scope { limits, ..*scope }).expect_err(source).code)
    };
    let few_steps = Limits { steps_max: 500, ..Limits::default() };
    for source in [
        "{{range 1 501}}",
        "{{sort trigger.body.Long}}",
        "{{reverse trigger.body.Long}}",
        "{{union trigger.body.Long}}",
        "{{intersection trigger.body.Long trigger.body.Long}}",
        "{{chunk trigger.body.Long 2}}",
        "{{max trigger.body.Long}}",
    ] {
        assert_eq!(limited(source, few_steps), "step_limit", "{source}");
    }
    let little_output = Limits { output_bytes_max: 500, ..Limits::default() };
    for source in [
        "{{range 1 501}}",
        "{{createArray trigger.body.Text}}",
        "{{union trigger.body.Long}}",
        "{{base64 trigger.body.Text}}",
        "{{binary trigger.body.Text}}",
        "{{dataUri trigger.body.Text}}",
        "{{addProperty trigger.body 'b' 1}}",
        "{{setProperty (json '{}') 'a' trigger.body}}",
        "{{chunk trigger.body.Text 2}}",
        "{{uriComponentToString trigger.body.Text}}",
    ] {
        assert_eq!(limited(source, little_output), "output_too_long", "{source}");
    }
    assert_eq!(failure("{{range 1 100001}}", &lead), "template_failed");
}

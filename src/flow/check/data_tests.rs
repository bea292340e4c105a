//! Which names templates may use where, and what is known of the values behind them.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::diagnostic::Severity;
use crate::flow::Defaults;
use crate::flow::catalogue::ActionSpec;

/// An action as `select` and `parse_json` are, where the catalogue for tests does not have it.
fn data_action(kind: &'static str, properties: &Value) -> ActionSpec {
    let keys = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let like = test_catalogue::catalogue().action("compose").cloned().expect("compose");
    ActionSpec { kind, keys: keys.try_into().expect("a schema"), ..like }
}

fn compiled(text: &str) -> Compiled {
    compiled_whole(&format!("trigger: {{type: request, schema: lead.json}}\nactions:\n{text}"))
}

fn compiled_whole(text: &str) -> Compiled {
    let mut catalogue = test_catalogue::catalogue();
    let select = json!({ "from": { "x-template": "plain" }, "map": { "x-template": "plain", "x-per-item": true } });
    let parse = json!({ "content": { "x-template": "plain" }, "schema": { "x-body-schema": true } });
    catalogue.actions.retain(|spec| !["select", "parse_json"].contains(&spec.kind));
    catalogue.actions.extend([data_action("select", &select), data_action("parse_json", &parse)]);
    let schema = json!({"type": "object", "required": ["Contacts"], "properties": {"Contacts": {"type": "array", "items":
        {"type": "object", "properties": {"Name": {"type": "string"}, "Mails": {"type": "array", "items":
            {"type": "object", "properties": {"Address": {"type": "string"}}}}}}}}});
    let bundle = Bundle {
        file: "flows/a.yaml".into(),
        text: text.to_owned(),
        blueprint: None,
        schemas: BTreeMap::from([("lead.json".into(), schema.to_string())]),
        parameters: json!({"team": {"mail": "x"}}),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections: None,
        connections_decided: &[],
        schemas_known: &["lead.json".to_owned()],
        blueprints_known: &[],
        actions_per_flow_max: 50,
        nesting_max: 8,
    };
    crate::flow::compile(bundle, &environment)
}

/// Code and message of each finding but notes.
fn told(text: &str) -> Vec<(&'static str, String)> {
    let findings = compiled(text).findings.into_iter().filter(|finding| finding.severity != Severity::Note);
    findings.map(|finding| (finding.code, finding.message)).collect()
}

fn codes(text: &str) -> Vec<&'static str> {
    told(text).into_iter().map(|(code, _)| code).collect()
}

const LOOPS: &str = r#"
  - name: outer
    type: for_each
    items: "{{trigger.body.Contacts}}"
    actions:
      - {name: before, type: compose, inputs: "{{item.Name}} {{item_index}} {{loops.outer.index}}"}
      - name: inner
        type: for_each
        items: "{{item.Mails}}"
        actions:
          - {name: deep, type: compose, inputs: "HERE"}
  - {name: behind, type: compose, inputs: "BEHIND"}
"#;

#[test]
fn names_reach_as_far_as_their_block() {
    let here = |template: &str| codes(&LOOPS.replace("HERE", &format!("{{{{{template}}}}} x")));
    for good in [
        "item.Address",
        "item_index",
        "loops.outer.item.Name",
        "loops.OUTER.item.mails.[0].address",
        "loops.inner.item.Address",
        "actions.before.outputs",
        "trigger.body.Contacts.[0].Name",
        "parameters.team.mail",
    ] {
        assert_eq!(here(good), Vec::<&str>::new(), "{good}");
    }
    for (bad, code) in [
        ("item.Name", "unknown_path"),
        ("loops.outer.item.Address", "unknown_path"),
        ("loops.other.item", "unknown_root"),
        ("loops.outer.count", "unknown_path"),
        ("actions.inner.outputs", "unknown_action"),
        ("actions.outer.outputs", "unknown_action"),
        ("actions.behind.outputs", "unknown_action"),
        ("actions.deep.outputs", "unknown_action"),
        ("parameters.team.mial", "unknown_path"),
        ("item_index.x", "unknown_path"),
    ] {
        assert_eq!(here(bad), [code], "{bad}");
    }
    let behind = |template: &str| codes(&LOOPS.replace("BEHIND", &format!("{{{{{template}}}}} x")));
    assert_eq!(behind("actions.outer.status"), Vec::<&str>::new());
    for (bad, code) in [
        ("item", "unknown_root"),
        ("loops.outer.index", "unknown_root"),
        ("actions.before.outputs", "unknown_action"),
        ("actions.deep.outputs", "unknown_action"),
        ("actions.outer.outputs.Name", "unknown_path"),
    ] {
        assert_eq!(behind(bad), [code], "{bad}");
    }
}

#[test]
fn the_condition_of_until_sees_the_actions_inside_and_nothing_sees_them_later() {
    let text = |condition: &str, behind: &str| {
        format!(
            r#"
  - name: again
    type: until
    condition: "{{{{equals {condition} 1}}}}"
    actions:
      - {{name: step, type: compose, inputs: "{{{{loops.again.index}}}}"}}
      - name: group
        type: scope
        actions:
          - {{name: nested, type: compose, inputs: 1}}
  - {{name: behind, type: compose, inputs: "{{{{{behind}}}}} x"}}
"#
        )
    };
    for good in ["actions.step.outputs", "actions.nested.outputs", "actions.group.status", "loops.again.index"] {
        assert_eq!(codes(&text(good, "run.id")), Vec::<&str>::new(), "{good}");
    }
    for (bad, code) in
        [("actions.behind.outputs", "unknown_action"), ("loops.again.item", "unknown_path"), ("item", "unknown_root")]
    {
        assert!(codes(&text(bad, "run.id")).contains(&code), "{bad}");
    }
    assert_eq!(codes(&text("actions.step.outputs", "actions.step.outputs")), ["unknown_action"]);
    assert_eq!(codes(&text("actions.step.outputs", "actions.nested.status")), ["unknown_action"]);
}

#[test]
fn branches_are_read_behind_them_and_never_beside() {
    let text = |inside: &str, behind: &str| {
        format!(
            r#"
  - name: by_kind
    type: switch
    value: "{{{{trigger.method}}}}"
    cases:
      - case: POST
        actions:
          - name: group
            type: scope
            actions: [{{name: one, type: compose, inputs: {{a: 1}}}}]
      - case: [PUT, 5]
        actions: [{{name: two, type: compose, inputs: "{{{{{inside}}}}} x"}}]
    default: [{{name: three, type: compose, inputs: 1}}]
  - {{name: behind, type: compose, inputs: "{{{{{behind}}}}} x"}}
"#
        )
    };
    assert_eq!(codes(&text("run.id", "coalesce actions.one.outputs.a actions.three.outputs")), Vec::<&str>::new());
    assert_eq!(codes(&text("run.id", "actions.by_kind.outputs.case")), Vec::<&str>::new());
    assert_eq!(codes(&text("run.id", "actions.one.outputs.b")), ["unknown_path"]);
    for other in ["actions.one.outputs", "actions.group.status", "actions.three.outputs"] {
        let told = told(&text(other, "run.id"));
        assert_eq!(told[0].0, "other_branch", "{other}");
        assert!(told[0].1.contains("another branch of `by_kind`"), "{}", told[0].1);
    }
}

#[test]
fn what_actions_give_is_known() {
    let text = |behind: &str| {
        format!(
            r#"
  - {{name: picked, type: select, from: "{{{{trigger.body.Contacts}}}}", map: {{who: "{{{{item.Name}}}}"}}}}
  - name: parsed
    type: parse_json
    content: "{{{{trigger.body.Contacts.[0].Name}}}}"
    schema: {{type: object, properties: {{id: {{}}, tags: {{type: array, items: {{properties: {{key: {{}}}}}}}}}}}}
  - {{name: copied, type: compose, inputs: "{{{{actions.parsed.outputs.tags}}}}"}}
  - name: each
    type: for_each
    items: "{{{{actions.picked.outputs}}}}"
    actions:
      - {{name: line, type: compose, inputs: "{{{{item.who}}}}"}}
      - {{name: result, type: compose, inputs: {{line: "{{{{actions.line.outputs}}}}"}}}}
  - {{name: behind, type: compose, inputs: "{{{{{behind}}}}} x"}}
"#
        )
    };
    for good in [
        "actions.picked.outputs.[0].who",
        "actions.parsed.outputs.id",
        "actions.copied.outputs.[3].key",
        "actions.each.outputs.[0].line",
    ] {
        assert_eq!(told(&text(good)), [], "{good}");
    }
    for bad in [
        "actions.picked.outputs.[0].name",
        "actions.picked.outputs.who",
        "actions.parsed.outputs.idd",
        "actions.copied.outputs.[3].kee",
        "actions.each.outputs.[0].lin",
        "actions.each.error.reason",
    ] {
        assert_eq!(codes(&text(bad)), ["unknown_path"], "{bad}");
    }
    let wrong_item = text("run.id").replace("{{item.Name}}", "{{item.Nam}}").replace("{{item.who}}", "{{item.why}}");
    assert_eq!(codes(&wrong_item), ["unknown_path", "unknown_path"]);
}

#[test]
fn an_action_that_did_not_succeed_gives_no_outputs() {
    let text = |statuses: &str, path: &str| {
        format!(
            "
  - {{name: call, type: http, method: GET, url: https://example.com}}
  - {{name: next, type: compose, run_after: {{call: [{statuses}]}}, inputs: \"{{{{{path}}}}} x\"}}
"
        )
    };
    assert_eq!(codes(&text("failed, timed_out", "actions.call.outputs.body")), ["no_outputs"]);
    assert_eq!(codes(&text("failed, timed_out", "actions.call.error.code")), Vec::<&str>::new());
    assert_eq!(codes(&text("succeeded, failed", "actions.call.outputs.body")), Vec::<&str>::new());
}

#[test]
fn durations_of_either_form_are_read() {
    let retry = "{policy: exponential, count: 90, interval: PT7S, min_interval: 5s, max_interval: PT1H}";
    let text = format!(
        "
  - {{name: call, type: http, method: GET, url: https://example.com, timeout: PT1M30S, retry: {retry}}}
  - {{name: pause, type: delay, for: P1DT2H}}
"
    );
    let flow = compiled(&text).flow.expect("a flow");
    assert_eq!(flow.actions[0].timeout, Some(std::time::Duration::from_secs(90)));
    let retry = flow.actions[0].retry.expect("its own");
    assert_eq!((retry.count, retry.interval.as_secs(), retry.max_interval.as_secs()), (90, 7, 3600));
    for wrong in ["P1M", "PT", "P1H", "1h 30m", "-PT5S"] {
        assert_eq!(codes(&text.replace("PT1M30S", wrong)), ["bad_duration"], "{wrong}");
    }
}

#[test]
fn with_split_on_the_body_is_an_item() {
    let text = |inputs: &str| {
        format!(
            "
  - name: each
    type: for_each
    items: \"{{{{trigger.body.Mails}}}}\"
    actions:
      - {{name: one, type: compose, inputs: \"{{{{{inputs}}}}} x\"}}
"
        )
    };
    let codes = |inputs: &str| {
        let whole = WITH_SPLIT.to_owned() + &text(inputs);
        let findings = compiled_whole(&whole).findings.into_iter();
        findings.filter(|finding| finding.severity != Severity::Note).map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("concat item.Address trigger.body.Name"), Vec::<&str>::new());
    assert_eq!(codes("item.Adress"), ["unknown_path"]);
    assert_eq!(codes("trigger.body.Contacts"), ["unknown_path"]);
}

const WITH_SPLIT: &str =
    "trigger: {type: request, schema: lead.json, split_on: \"{{trigger.body.Contacts}}\"}\nactions:";

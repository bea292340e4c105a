use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::diagnostic::Severity;
use crate::flow::retry::RetryKind;
use crate::flow::{Authentication, BlueprintText, Defaults, TestLeads};
use crate::schema::Validation;
use crate::template::Tree;

const LEAD_SCHEMA: &str = r#"{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": {
    "OfferTitle": {"type": "string"},
    "UserDetails": {"type": "object", "properties": {"Email": {"type": "string"}, "Phone": {"type": "string"}}},
    "Closed": {"type": "object", "properties": {"A": {}}, "additionalProperties": false}}}"#;

fn compile_with(file: &str, text: &str, connections: Option<&BTreeMap<String, String>>) -> Compiled {
    let catalogue = test_catalogue::catalogue();
    let bundle = Bundle {
        file: file.into(),
        text: text.into(),
        blueprint: None,
        schemas: BTreeMap::from([("lead.json".into(), LEAD_SCHEMA.into()), ("broken.json".into(), "{".into())]),
        parameters: json!({"team": "sales@contoso.com", "owner": "nobody"}),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections,
        schemas_known: &["lead.json".to_owned()],
        blueprints_known: &[],
        actions_per_flow_max: 5,
        nesting_max: 8,
    };
    crate::flow::compile(bundle, &environment)
}

fn compiled(text: &str) -> Compiled {
    let connections = [("crm", "records"), ("mail", "outbox"), ("erp", "http")];
    let connections = connections.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
    compile_with("flows/contoso-backup.yaml", text, Some(&connections))
}

/// The flow; its findings are notes at most.
fn flow(text: &str) -> Flow {
    let compiled = compiled(text);
    let worse: Vec<_> = compiled.findings.iter().filter(|finding| finding.severity != Severity::Note).collect();
    assert!(worse.is_empty(), "{worse:#?}");
    compiled.flow.expect("a flow")
}

/// Code, line and column of each finding but notes.
fn told(text: &str) -> Vec<(&'static str, u32, u32)> {
    let findings = compiled(text).findings;
    let findings = findings.iter().filter(|finding| finding.severity != Severity::Note);
    findings.map(|finding| (finding.code, finding.place.line, finding.place.column)).collect()
}

/// A flow of one action: its keys stand from line 5 on, indented by four.
fn of_action(keys: &str) -> String {
    format!("trigger:\n  type: request\n  schema: lead.json\nactions:\n  - {}\n", keys.replace('\n', "\n    "))
}

/// What is told of one action, lines counted from its first.
fn told_of(keys: &str) -> Vec<(&'static str, u32, u32)> {
    told(&of_action(keys)).into_iter().map(|(code, line, column)| (code, line - 4, column)).collect()
}

const FLOW: &str = "\
description: Leads
aliases: [old-name]
parameters: {owner: me@contoso.com, entity: leads}
trigger:
  type: request
  schema: lead.json
  method: [post, PUT]
  path: customers/{id}
  validation: strict
  authentication: none
  conditions: \"{{eq trigger.body.OfferTitle 'x'}}\"
  test_leads: {run: false}
actions:
  - name: create_lead
    type: create_record
    connection: crm
    entity: \"{{parameters.entity}}\"
    fields:
      subject: \"{{trigger.body.OfferTitle}} {{trigger.body.offertitle}} {{parameters.owner}}\"
      code: 8
      phone: \"{{trigger.body.UserDetails.Phone}}\"
    retry: {policy: fixed, count: 3, interval: 2s}
    timeout: 5s
  - name: notify
    type: send_email
    connection: mail
    run_after: {}
    to: \"{{parameters.team}}\"
    subject: New
    when: [true, \"{{eq trigger.path.id 'x'}}\"]
  - {name: answer, type: respond, run_after: {notify: [succeeded]}, status: 201, body: {id: \"{{actions.notify.outputs.message_id}}\"}}
";

#[test]
fn a_whole_flow_compiles() {
    let flow = flow(FLOW);
    assert_eq!((flow.name.as_str(), flow.enabled, flow.responds), ("contoso-backup", true, true));
    assert_eq!(flow.aliases, ["old-name"]);
    assert_eq!(flow.parameters, json!({"team": "sales@contoso.com", "owner": "me@contoso.com", "entity": "leads"}));
    assert_eq!(flow.trigger.methods, ["POST", "PUT"]);
    assert_eq!(flow.trigger.authentication, Authentication::None);
    assert_eq!(flow.trigger.validation, Validation::Strict);
    assert_eq!(flow.trigger.test_leads, TestLeads { marker: "MSFT_TEST".into(), run: false });
    assert_eq!((flow.trigger.conditions.len(), flow.trigger.path.is_some()), (1, true));
    let [create, notify, answer] = &flow.actions[..] else { panic!("three actions") };
    assert_eq!(create.connection.as_deref(), Some("crm"));
    assert!(matches!(create.inputs.get("entity"), Some(Tree::Constant(entity)) if entity == "leads"));
    assert!(create.inputs.get("connection").is_none() && create.inputs.get("timeout").is_none());
    let guard: Vec<_> = create.guard.iter().map(|path| path.segments.join(".")).collect();
    assert_eq!(guard, ["body.OfferTitle", "body.UserDetails.Phone"], "constants and repetitions do not count");
    assert_eq!(create.timeout, Some(Duration::from_secs(5)));
    let retry = create.retry.expect("its own");
    assert_eq!((retry.kind, retry.count, retry.interval), (RetryKind::Fixed, 3, Duration::from_secs(2)));
    assert_eq!((notify.when.len(), notify.retry, answer.retry.map(|retry| retry.count)), (1, None, Some(0)));
    let after: Vec<Vec<usize>> =
        flow.plan.nodes.iter().map(|node| node.after.iter().map(|(id, _)| *id).collect()).collect();
    assert_eq!(after, [vec![], vec![], vec![1]]);
}

#[test]
fn the_digest_is_of_the_bundle_and_nothing_else() {
    let digest = flow(FLOW).digest;
    assert_eq!(digest, flow(FLOW).digest);
    assert_eq!(digest.len(), 64);
    assert_ne!(digest, flow(&FLOW.replace("Leads", "leads")).digest);
}

#[test]
fn the_whole_url_from_a_value_is_told_apart() {
    let of_url = |url: &str| {
        let keys = format!("name: a\ntype: http\nmethod: GET\nurl: \"{url}\"");
        flow(&of_action(&keys)).actions[0].url_from_value
    };
    assert!(of_url("{{trigger.body.OfferTitle}}"));
    assert!(!of_url("https://x/{{trigger.body.OfferTitle}}") && !of_url("https://x"));
}

#[test]
fn keys_and_types_of_an_action_are_told_once_each() {
    let action = "name: a\ntype: create_record\nconnection: crm\nentity: leads\nfields: {a: 1}";
    assert_eq!(told_of(action), []);
    let case = |from: &str, to: &str, want: &[(&'static str, u32, u32)]| {
        let text = action.replace(from, to);
        assert_eq!(told_of(&text), want, "{text}");
    };
    case("fields:", "field:", &[("unknown_key", 5, 5)]);
    case("\nentity: leads", "", &[("entity_missing", 1, 5)]);
    case("entity: leads", "entity: 5", &[("wrong_type", 4, 13)]);
    case("entity: leads", "entity: ''", &[("invalid_value", 4, 13)]);
    case("entity: leads", "entity:", &[("wrong_type", 4, 5)]);
    case("entity: leads", "entity: \"{{trigger.body.X}}\"", &[("not_fixed", 4, 14)]);
    case("entity: leads", "entity: \"{{parameters.X}}\"", &[("unknown_parameter", 4, 14)]);
    case("connection: crm", "connection: crn", &[("unknown_connection", 3, 17)]);
    case("connection: crm", "connection: mail", &[("wrong_connection", 3, 17)]);
    case("\nconnection: crm", "", &[("missing_key", 1, 5)]);
    case("entity: leads", "entity: leads\non_duplicate: updat", &[("invalid_value", 5, 19)]);
    case("fields: {a: 1}", "fields: [1]", &[("wrong_type", 5, 13)]);
    case("fields: {a: 1}", "fields: {\"{{a}}\": 1}", &[("template_in_key", 5, 14)]);
    case("type: create_record", "type: create_recrod", &[("unknown_action_type", 2, 11)]);
    case("\ntype: create_record", "", &[("missing_key", 1, 5)]);
    case("name: a", "name: 1a", &[("bad_name", 1, 11)]);
    case("name: a", "name: a\non_unknown: hold", &[("not_yet", 2, 5)]);
    case("name: a", "name: a\ntimeout: 30", &[("bad_duration", 2, 14)]);
    case("name: a", "name: a\ntimeout: soon", &[("bad_duration", 2, 14)]);
    case("name: a", "name: a\nrun_after: {x: [failed]}", &[("unknown_run_after", 2, 17)]);
    case("name: a", "name: a\nrun_after: x", &[("wrong_type", 2, 16)]);
    case("name: a", "name: a\nretry: {policy: fix}", &[("invalid_value", 2, 21)]);
    case("name: a", "name: a\nretry: {policy: none, count: 2}", &[("bad_retry", 2, 34)]);
    case("name: a", "name: a\nretry: {count: -1}", &[("invalid_value", 2, 20)]);
    case("name: a", "name: a\nretry: {min_interval: 2h, interval: 1h}", &[("bad_retry", 2, 27)]);
    case("name: a", "name: a\nwhen: yes", &[("not_a_boolean", 2, 11)]);
    case("name: a", "name: a\nwhen: \"a {{trigger.method}}\"", &[("not_a_boolean", 2, 11)]);
    case("name: a", "name: a\nwhen: [\"{{x}}\", 1]", &[("wrong_type", 2, 21)]);
}

#[test]
fn templates_are_judged_where_they_stand() {
    let of = |template: &str| told_of(&format!("name: a\ntype: compose\ninputs: \"ab {{{{{template}}}}}\""));
    assert_eq!(of("trigger.body.OfferTitle"), []);
    assert_eq!(of("trigger.body.OfferTitel"), [("unknown_path", 3, 19)]);
    assert_eq!(of("concat 'x' trigger.body.OfferTitel"), [("unknown_path", 3, 30)]);
    assert_eq!(of("trigger.body.Closed.B"), [("unknown_path", 3, 19)]);
    assert_eq!(of("body.X"), [("unknown_root", 3, 19)]);
    assert_eq!(of("item"), [("unknown_root", 3, 19)]);
    assert_eq!(of("parameters.x"), [("unknown_parameter", 3, 19)]);
    assert_eq!(of("variables.x"), [("unknown_variable", 3, 19)]);
    assert_eq!(of("actions.a.outputs"), [("unknown_action", 3, 19)]);
    assert_eq!(of("toUper 'x'").first().map(|told| told.0), Some("unknown_helper"));
    let severity = |text: &str| compiled(&of_action(text)).findings.iter().map(|finding| finding.severity).min();
    let path = |path: &str| severity(&format!("name: a\ntype: compose\ninputs: \"{{{{{path}}}}}\""));
    assert_eq!(path("trigger.body.Nowhere"), Some(Severity::Warning));
    assert_eq!(path("trigger.body.Closed.B"), Some(Severity::Error));
}

#[test]
fn places_are_exact_inside_block_scalars() {
    let keys = "name: a\ntype: compose\ninputs: |\n  first line\n  {{trigger.body.UserDetails.Mail}}";
    assert_eq!(told_of(keys), [("unknown_path", 5, 9)]);
}

#[test]
fn faults_of_the_top_and_the_trigger_are_told_at_once() {
    let text = "\
name: Bad_Name
enabled: \"yes\"
tests: x
aliases: [ok-name, Not Ok]
parameters: {a: \"{{trigger.body.x}}\"}
trigger:
  type: reqest
  schema: laed.json
  validation: strikt
  method: [FETCH]
  path: \"a//b\"
  authentication: {type: bearer}
  dedupe: {key: x}
  test_leads: {marker: \" \"}
  conditions: [\"{{actions.x.status}}\"]
acitons: []
";
    let want = [
        ("bad_name", 1, 7),
        ("wrong_type", 2, 10),
        ("not_yet", 3, 1),
        ("bad_name", 4, 20),
        ("not_fixed", 5, 17),
        ("invalid_value", 7, 9),
        ("unknown_schema", 8, 11),
        ("invalid_value", 9, 15),
        ("invalid_value", 10, 12),
        ("bad_path", 11, 9),
        ("not_yet", 12, 3),
        ("wrong_type", 13, 17),
        ("invalid_value", 14, 24),
        ("unknown_action", 15, 19),
        ("unknown_key", 16, 1),
    ];
    assert_eq!(told(text), want);
    let compiled = compiled(text);
    assert!(compiled.flow.is_none());
    assert_eq!(compiled.name, "Bad_Name");
}

#[test]
fn schemas_are_found_and_judged() {
    let of = |schema: &str| {
        let text =
            format!("trigger: {{type: request, schema: {schema}}}\nactions: [{{name: a, type: compose, inputs: 1}}]\n");
        compiled(&text).findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(of("lead.json"), ["open_schema"]);
    assert_eq!(of("{type: object, required: [a]}"), Vec::<&str>::new());
    assert_eq!(of("{}"), ["open_schema"]);
    assert_eq!(of("{type: objekt}"), ["invalid_schema"]);
    assert_eq!(of("broken.json"), ["invalid_schema"]);
    assert_eq!(of("nowhere.json"), ["unknown_schema"]);
    assert_eq!(of("../leadflow.yaml"), ["unknown_schema"]);
}

#[test]
fn names_and_numbers_of_actions_are_held() {
    let actions = |names: &[&str]| {
        let action = |name: &&str| format!("  - {{name: {name}, type: compose, inputs: 1}}\n");
        told(&format!("trigger: {{type: request}}\nactions:\n{}", names.iter().map(action).collect::<String>()))
    };
    assert_eq!(actions(&["a", "b", "A"]), [("duplicate_name", 5, 12)]);
    assert_eq!(actions(&["a", "b", "c", "d", "e"]), []);
    assert_eq!(actions(&["a", "b", "c", "d", "e", "f"]), [("too_many_actions", 8, 5)]);
    assert_eq!(actions(&[]), [("wrong_type", 2, 1)]);
    assert_eq!(told("trigger: {type: request}\nactions: []\n"), [("invalid_value", 2, 10)]);
}

#[test]
fn an_action_may_use_only_what_it_waits_for() {
    let text = "\
trigger: {type: request}
actions:
  - {name: a, type: compose, inputs: \"{{actions.b.outputs}}\"}
  - {name: b, type: compose, run_after: {}, inputs: \"{{actions.a.outputs}}\"}
  - {name: c, type: compose, inputs: \"{{actions.b.outputs}} {{actions.a.outputs}}\"}
";
    assert_eq!(
        told(text),
        [("unknown_action", 3, 41), ("not_awaited", 4, 56), ("open_branch", 5, 12), ("not_awaited", 5, 63)]
    );
}

#[test]
fn a_pinned_text_compiles_again_without_connections() {
    let compiled = compile_with("flows/a.yaml", &FLOW.replace("crm", "gone"), None);
    let action = &compiled.flow.expect("a flow").actions[0];
    assert_eq!(action.connection.as_deref(), Some("gone"));
}

#[test]
fn files_that_are_no_flow_are_told_in_a_word() {
    assert_eq!(told(""), [("wrong_type", 1, 1)]);
    assert_eq!(told("- a\n"), [("wrong_type", 1, 1)]);
    assert_eq!(told("a: [\n")[0].0, "yaml_syntax");
    assert_eq!(compiled("a: [\n").name, "contoso-backup");
}

#[test]
fn own_checks_of_actions_are_asked() {
    let keys = "name: a\ntype: send_email\nconnection: mail\nsubject: x\nto: \"{{trigger.body.UserDetails.Email}}\"";
    assert_eq!(told_of(keys), [("recipient_from_lead", 5, 9)]);
    assert_eq!(told_of(&format!("{keys}\nto_from_lead: true")), []);
}

proptest::proptest! {
    #[test]
    fn compiling_never_panics(from in 0usize..FLOW.len(), length in 0usize..12, with in "[a-z{}\\[\\]\":\n #|*&-]{0,6}") {
        let mut text = FLOW.to_owned();
        text.replace_range(from..(from + length).min(FLOW.len()), &with);
        let compiled = compiled(&text);
        proptest::prop_assert!(compiled.flow.is_some() || has_errors(&compiled.findings));
    }
}

/// Compiles an offer with a blueprint that has these texts; what is told, with the file's first letter.
fn offer(offer: &str, blueprint: Option<&str>) -> (Option<Flow>, Vec<(&'static str, String, u32)>) {
    let catalogue = test_catalogue::catalogue();
    let bundle = Bundle {
        file: "flows/offer.yaml".into(),
        text: offer.into(),
        blueprint: blueprint.map(|text| BlueprintText { file: "blueprints/body.yaml".into(), text: text.into() }),
        schemas: BTreeMap::new(),
        parameters: json!({ "shared": "from the settings" }),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections: None,
        schemas_known: &[],
        blueprints_known: &["body".to_owned()],
        actions_per_flow_max: 500,
        nesting_max: 8,
    };
    let compiled = crate::flow::compile(bundle, &environment);
    let told = compiled.findings.iter().map(|one| (one.code, one.place.file.clone(), one.place.line)).collect();
    (compiled.flow, told)
}

const BODY: &str = "\
description: shared
parameters: {owner: null, entity: leads, count: 3, shared: null}
trigger: {type: request}
actions:
  - {name: one, type: create_record, connection: crm, entity: \"{{parameters.entity}}\", fields: {a: \"{{parameters.owner}}\"}}
";

#[test]
fn a_flow_of_a_blueprint_has_its_body_and_its_own_parameters() {
    let (flow, told) = offer("blueprint: body\nparameters: {owner: me, entity: contacts}\n", Some(BODY));
    assert_eq!(told, []);
    let flow = flow.expect("compiles");
    assert_eq!((flow.name.as_str(), flow.description.as_deref()), ("offer", Some("shared")));
    assert_eq!(
        flow.parameters,
        json!({ "shared": "from the settings", "owner": "me", "entity": "contacts", "count": 3 })
    );
    let entity = flow.actions[0].inputs.get("entity");
    assert!(matches!(entity, Some(Tree::Constant(value)) if value == "contacts"), "{entity:?}");
    let expansion = flow.expansion();
    for part in ["name: offer", "owner: me", "{{parameters.owner}}", "type: create_record"] {
        assert!(expansion.contains(part), "{part} in {expansion}");
    }
}

#[test]
fn findings_point_into_the_file_that_they_are_about() {
    let told = |text: &str, body: Option<&str>| offer(text, body).1;
    let at = |code, file: &str, line| (code, format!("{file}.yaml"), line);
    assert_eq!(told("blueprint: bdy\n", None), [at("unknown_blueprint", "flows/offer", 1)]);
    assert_eq!(told("blueprint: body\n", Some(BODY)), [at("missing_parameter", "flows/offer", 1)]);
    let wrong = "blueprint: body\nparameters:\n  owner: me\n  ownr: x\n  count: many\n";
    assert_eq!(
        told(wrong, Some(BODY)),
        [at("unknown_parameter", "flows/offer", 4), at("wrong_type", "flows/offer", 5),]
    );
    let broken = BODY.replace("parameters.owner", "parameters.onwer");
    let fine = "blueprint: body\nparameters: {owner: me}\n";
    assert_eq!(told(fine, Some(&broken)), [at("unknown_parameter", "blueprints/body", 5)]);
    assert_eq!(told(&format!("{fine}actions: []\n"), Some(BODY)), [at("both_keys", "flows/offer", 3)]);
    assert_eq!(told(fine, Some(&format!("name: x\n{BODY}"))), [at("unknown_key", "blueprints/body", 1)]);
}

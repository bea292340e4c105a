//! Properties of the whole way of a lead: the real loader, trigger, templates, engine and connectors, with recorded
//! effects as in a dry run. Whatever is missing from the published lead, and whatever JSON comes instead of it: no panic,
//! an answer that says why, and as many effects as actions succeeded.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, LazyLock};

use leadflow::actions;
use leadflow::connectors::{Reach, Registry};
use leadflow::engine::dry::{DryInput, DryRun, dry_run};
use leadflow::engine::ports::{Connections, Limits, Mocks, OpenConnection};
use leadflow::flow::{Bundle, Defaults, Environment, Flow, compile};
use leadflow::outbound::recorded::Recorded;
use leadflow::run::{RunStatus, StepStatus};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{project, sample};

/// The connections of a newcomer.
const CONNECTIONS: [(&str, &str); 2] = [("crm", "records"), ("mail", "outbox")];

/// A flow of the repository, with the published schema that it names.
fn flow(file: &str) -> Arc<Flow> {
    let read = |path: &str| fs::read_to_string(project().join(path)).expect("a file of the repository");
    let catalogue = actions::catalogue();
    let connections = CONNECTIONS.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into_iter().collect();
    let bundle = Bundle {
        file: file.to_owned(),
        text: read(file),
        blueprint: None,
        schemas: BTreeMap::from([("marketplace-lead.json".to_owned(), read("schemas/marketplace-lead.json"))]),
        parameters: json!({}),
        defaults: Defaults::default(),
    };
    let environment = Environment {
        catalogue: &catalogue,
        connections: Some(&connections),
        connections_decided: &[],
        schemas_known: &["marketplace-lead.json".to_owned()],
        blueprints_known: &[],
        actions_per_flow_max: 500,
        nesting_max: 8,
    };
    let compiled = compile(bundle, &environment);
    Arc::new(compiled.flow.unwrap_or_else(|| panic!("{:?}", compiled.findings)))
}

static FLOWS: LazyLock<[Arc<Flow>; 2]> =
    LazyLock::new(|| ["flows/contoso-backup.yaml", "flows/contoso-crm-suite.yaml"].map(flow));

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runs"));

fn open() -> Connections {
    let open = CONNECTIONS.map(|(name, kind)| {
        let connector = Registry::builtin().find(kind).expect("a connector");
        let opened = connector.open(&json!({}), &Reach::new("unused")).expect("it needs no settings");
        let connection = OpenConnection::new(name, connector.as_ref(), opened, 4);
        (name.to_owned(), Arc::new(connection))
    });
    open.into_iter().collect()
}

/// The lead through the flow; the run and its effects.
fn through(flow: &Arc<Flow>, lead: &Value) -> (DryRun, Vec<Value>) {
    let recorded = Arc::new(Recorded::new());
    let dry = RUNTIME.block_on(dry_run(DryInput {
        library: std::sync::Arc::default(),
        flow: Arc::clone(flow),
        connections: open(),
        effects: Arc::clone(&recorded) as _,
        lead: lead.to_string().into_bytes(),
        mocks: Mocks::default(),
        environment: None,
        limits: Limits::default(),
    }));
    (dry, recorded.effects_json())
}

/// What holds for every run: it has ended, each failure has a code of the catalogue, and nothing was sent by an action
/// that did not succeed.
fn account(dry: &DryRun, effects: &[Value]) {
    let Some(status) = dry.status else {
        let problem = dry.problem.as_ref().expect("a refusal says why");
        assert!(effects.is_empty() && leadflow::diagnostic::codes::find(problem.code).is_some(), "{problem:?}");
        return;
    };
    assert!(status.is_final(), "{dry:#?}");
    for action in &dry.actions {
        let sent = effects.iter().filter(|effect| effect["action"] == action.name).count();
        assert_eq!(sent > 0, action.status == StepStatus::Succeeded, "{action:#?}");
        if let Some(error) = &action.error {
            assert!(leadflow::diagnostic::codes::find(&error.code).is_some(), "{} is not in the catalogue", error.code);
        }
    }
}

/// Pointers to the sample's fields.
fn fields(lead: &Value) -> Vec<String> {
    let object = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let own = object(lead).into_iter().map(|key| format!("/{key}"));
    own.chain(object(&lead["UserDetails"]).into_iter().map(|key| format!("/UserDetails/{key}"))).collect()
}

/// The lead with one field null, empty or dropped.
fn change(lead: &mut Value, pointer: &str, fate: Fate) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let Some(parent) = lead.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match fate {
        Fate::Kept => {}
        Fate::Dropped => drop(parent.shift_remove(key)),
        Fate::Null => drop(parent.insert(key.to_owned(), Value::Null)),
        Fate::Empty => {
            let empty = if parent.get(key).is_some_and(Value::is_object) { json!({}) } else { json!("") };
            parent.insert(key.to_owned(), empty);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Dropped,
    Null,
    Empty,
}

#[test]
fn a_lead_without_any_one_field_still_becomes_its_record_and_its_mail() {
    let lead: Value = serde_json::from_str(&sample()).expect("JSON");
    for pointer in fields(&lead) {
        for fate in [Fate::Dropped, Fate::Null, Fate::Empty] {
            let mut changed = lead.clone();
            change(&mut changed, &pointer, fate);
            let (dry, effects) = through(&FLOWS[0], &changed);
            assert_eq!(dry.status, Some(RunStatus::Succeeded), "{pointer} {fate:?}: {dry:#?}");
            let kinds: Vec<&str> = effects.iter().filter_map(|effect| effect["kind"].as_str()).collect();
            assert!(kinds.contains(&"record") && kinds.contains(&"email"), "{pointer} {fate:?}: {effects:#?}");
        }
    }
}

/// JSON of any shape; its keys are often those of a lead, so that it reaches the mapping.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("DNC")),
        Just(json!("a@b.example, c@d.example\r\nBcc: e@f.example {{parameters.owner}}")),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let names = [
            "UserDetails",
            "userdetails",
            "FirstName",
            "Email",
            "LeadSource",
            "ActionCode",
            "OfferTitle",
            "Description",
        ];
        let key = prop_oneof![
            3 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
            1 => ".{0,6}".prop_map(|key| key),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_fields_missing_null_or_empty_never_refuse_the_lead(
        fates in prop::collection::vec(
            prop_oneof![Just(Fate::Kept), Just(Fate::Dropped), Just(Fate::Null), Just(Fate::Empty)], 20,
        ),
    ) {
        let mut lead: Value = serde_json::from_str(&sample()).expect("JSON");
        for (pointer, fate) in fields(&lead).iter().zip(fates) {
            change(&mut lead, pointer, fate);
        }
        for flow in FLOWS.iter() {
            let (dry, effects) = through(flow, &lead);
            account(&dry, &effects);
            prop_assert!(dry.problem.is_none(), "refused: {:?}", dry.problem);
        }
        // What the lead cannot fill fails with its own code; the mail goes out beside it.
        let (dry, effects) = through(&FLOWS[0], &lead);
        let failed = dry.actions.iter().filter_map(|action| action.error.as_ref());
        prop_assert!(failed.clone().all(|error| error.code == "blank_record"), "{:?}", failed.collect::<Vec<_>>());
        prop_assert!(effects.iter().any(|effect| effect["kind"] == "email"));
    }

    #[test]
    fn any_json_goes_through_the_mapping_or_is_refused(body in any_json(), at in 0..2_usize) {
        let (dry, effects) = through(&FLOWS[at], &body);
        account(&dry, &effects);
        for mail in effects.iter().filter(|effect| effect["kind"] == "email") {
            let to = mail["to"].as_array().expect("a list");
            let is_ours = |to: &Value| to == "sales@contoso.com" || to == "partners@contoso.com";
            prop_assert!(to.len() == 1 && is_ours(&to[0]), "recipients come from the flow alone: {:?}", to);
            prop_assert!(!mail["subject"].as_str().expect("text").contains(['\r', '\n']));
        }
    }
}

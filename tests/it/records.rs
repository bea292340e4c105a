//! Records of the embedded store that are changed, upserted, read and listed: by a real server, over kills, and with a
//! store that fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leadflow::clock::Fut;
use leadflow::engine::Accepted;
use leadflow::outbound::records::RecordReader;
use leadflow::outbound::{Call, Effects, Real, Reply, Transport};
use leadflow::store::Store;
use leadflow::store::faulty::{FailAt, Faulty};
use serde_json::{Value, json};

use crate::support::rig::{Rig, alone};
use crate::support::{PATIENCE, Workspace, wire};

/// Keeps one contact for each address, reads it back, counts its leads.
const FLOW: &str = "
name: keep
trigger:
  type: request
actions:
  - name: contact
    type: upsert_record
    connection: crm
    entity: contacts
    key: { email: '{{trigger.body.email}}' }
    fields: { name: '{{trigger.body.name}}', city: '{{trigger.body.city}}' }
  - name: lead
    type: create_record
    connection: crm
    entity: leads
    fields: { contact: '{{actions.contact.outputs.id}}', n: '{{trigger.body.n}}' }
  - name: known
    type: get_record
    connection: crm
    entity: contacts
    id: '{{actions.contact.outputs.id}}'
  - name: leads
    type: list_records
    connection: crm
    entity: leads
    where: { contact: '{{actions.known.outputs.record.id}}' }
    order_by: n desc
  - name: count
    type: update_record
    connection: crm
    entity: contacts
    key: { email: '{{trigger.body.email}}' }
    fields: { last: '{{first actions.leads.outputs.records}}', name: '' }
";

fn lead(n: u32, email: &str, rest: &Value) -> String {
    let mut body = json!({"n": n, "email": email});
    body.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
    body.to_string()
}

#[test]
fn a_contact_is_kept_once_and_read_back() {
    let workspace = Workspace::empty();
    workspace.write("flows/keep.yaml", FLOW);
    let server = workspace.serve();
    let url = server.url("keep");
    for body in [
        lead(1, "a@b.example", &json!({"name": "Jane", "city": "Bonn"})),
        lead(2, "a@b.example", &json!({"name": "Jane Doe", "city": ""})),
    ] {
        assert_eq!(wire::post(url, &body).expect("an answer").status, 202);
        let runs = workspace.until_ended();
        assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{:#}", workspace.show("last"));
    }
    let shown = workspace.show("last");
    let outcomes: Vec<&Value> =
        shown["actions"].as_array().expect("actions").iter().map(|one| &one["outcome"]).collect();
    assert_eq!(json!(outcomes), json!(["updated", "created", null, null, "updated"]), "{shown:#}");
    assert_eq!(shown["actions"][3]["outputs"]["records"].as_array().map(Vec::len), Some(2));
    let contacts = workspace.json(&["records", "list", "--entity", "contacts", "--json"]);
    let fields = &contacts[0]["fields"];
    assert_eq!(
        (contacts.as_array().map(Vec::len), &fields["name"], &fields["city"]),
        (Some(1), &json!("Jane Doe"), &json!("Bonn"))
    );
    assert_eq!(fields["last"]["n"], 2);
    assert_ne!(contacts[0]["updated_at"], contacts[0]["created_at"]);
    let text = workspace.expect(0, &["records", "show", contacts[0]["id"].as_str().expect("an id")]);
    assert!(text.contains("updated "), "{text}");
    // Nothing means nobody: no record is made by an empty key, and none is found.
    assert_eq!(wire::post(url, &lead(3, "", &json!({}))).expect("an answer").status, 202);
    workspace.until_ended();
    assert_eq!(workspace.show("last")["actions"][0]["error"]["code"], "blank_key");
}

#[test]
fn a_dry_run_tells_what_would_be_read_and_written() {
    let workspace = Workspace::empty();
    workspace.write("flows/keep.yaml", FLOW);
    workspace.write("lead.json", &lead(1, "a@b.example", &json!({"name": "Jane"})));
    let dry = workspace.json(&["dry-run", "keep", "--lead", "lead.json", "--json"]);
    let told: Vec<String> = dry["effects"]
        .as_array()
        .expect("effects")
        .iter()
        .map(|effect| format!("{} {} {}", effect["kind"], effect["operation"], effect["entity"]).replace('"', ""))
        .collect();
    let wanted = [
        "record get contacts",
        "record upsert contacts",
        "record create leads",
        "record get contacts",
        "record list leads",
        "record get contacts",
        "record update contacts",
    ];
    assert_eq!(told, wanted, "{dry:#}");
    let text = workspace.expect(0, &["dry-run", "keep", "--lead", "lead.json"]);
    assert!(text.contains("would create 1 record, upsert 1 record, update 1 record, read records 4 times"), "{text}");
}

#[test]
fn kills_leave_one_contact_for_each_address() {
    let workspace = Workspace::empty();
    workspace.write("flows/keep.yaml", FLOW);
    let mut sent = 0;
    for round in 0..4 {
        let server = workspace.serve();
        for n in 0..20 {
            let email = format!("{}@b.example", n % 3);
            let answer = wire::post(server.url("keep"), &lead(round * 20 + n, &email, &json!({"name": "Jane"})));
            sent += usize::from(answer.is_ok_and(|answer| answer.status == 202));
        }
        server.kill();
    }
    let _server = workspace.serve();
    let runs = workspace.until_ended();
    assert!(runs.len() >= sent && runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    let records = |entity: &str| {
        let listed = workspace.json(&["records", "list", "--entity", entity, "--limit", "1000", "--json"]);
        listed.as_array().expect("a list").clone()
    };
    let emails: BTreeSet<String> = records("contacts").iter().map(|row| row["fields"]["email"].to_string()).collect();
    assert_eq!((records("contacts").len(), emails.len()), (3, 3));
    assert_eq!(records("leads").len(), runs.len());
}

/// Performs effects on the embedded records of the rig's store.
struct OnRecords(Transport);

impl Effects for OnRecords {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(async move { Real.perform(Call { transport: &self.0, ..call }).await })
    }
}

/// Two leads of one address at the same moment, while the `nth` call of the store fails; whether it came to that.
fn play(nth: u64, fail_at: FailAt) -> bool {
    let rig = Rig::new(&FLOW.replace(
        "    connection: crm\n",
        "    connection: crm\n    retry: { policy: fixed, count: 5, interval: 5ms }\n",
    ));
    let store: Arc<Faulty<_>> = Arc::new(Faulty::new(Arc::clone(&rig.store), nth, fail_at));
    let reader = Arc::new(RecordReader::default());
    reader.read_from(Arc::clone(&store) as Arc<dyn Store>);
    let effects = Arc::new(OnRecords(Transport::Records(reader)));
    let life = rig.live_on(Arc::clone(&store) as Arc<dyn Store>, effects);
    for (n, rest) in [(1, json!({"name": "Jane"})), (2, json!({"city": "Bonn"}))] {
        let body: Value = serde_json::from_str(&lead(n, "a@b.example", &rest)).expect("JSON");
        // A sender that is told 503 sends again.
        while !matches!(life.post(&rig, &body), Accepted::Run { .. }) {}
    }
    let deadline = Instant::now() + PATIENCE;
    while !rig.runs().iter().all(|run| run.run.status.is_final()) {
        assert!(Instant::now() < deadline, "call {nth} {fail_at:?}: {:#?}", rig.runs());
        std::thread::sleep(Duration::from_millis(2));
    }
    let runs = rig.runs();
    assert!(
        runs.iter().all(|run| run.run.status == leadflow::run::RunStatus::Succeeded),
        "call {nth} {fail_at:?}: {runs:#?}"
    );
    let rows = alone(rig.store.list_records(None, 99)).expect("records");
    let contacts: Vec<_> = rows.iter().filter(|row| row.entity == "contacts").collect();
    assert_eq!(contacts.len(), 1, "call {nth} {fail_at:?}: {rows:#?}");
    assert_eq!((&contacts[0].fields["name"], &contacts[0].fields["city"]), (&json!("Jane"), &json!("Bonn")));
    assert_eq!(rows.len() - 1, runs.len(), "a lead for each run");
    let flagged = runs.iter().flat_map(|run| &run.steps).any(|step| step.possible_repeat);
    assert!(!flagged, "call {nth} {fail_at:?}: a repeat on embedded records is never a second one");
    store.calls() >= nth
}

#[test]
fn whichever_call_of_the_store_fails_there_is_one_contact() {
    for fail_at in [FailAt::Before, FailAt::After] {
        let reached = (1..200).take_while(|nth| play(*nth, fail_at)).count();
        assert!((20..199).contains(&reached), "{fail_at:?}: {reached} calls");
    }
}

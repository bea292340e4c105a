//! Resubmits from an action of a flow with containers: what succeeded is kept by iteration, what was decided stays
//! decided, and what is done again has the keys of the origin.

use std::collections::BTreeSet;
use std::time::Duration;

use leadflow::clock::Clock;
use leadflow::engine::resubmit::{ResubmitError, Text, from_action};
use leadflow::flow::Flow;
use leadflow::ids::RunId;
use leadflow::store::{NewRun, Store, StoredRun};
use serde_json::{Value, json};

use crate::support::rig::{Life, Rig, Sent, alone, compiled};

/// A loop over offers with a loop over contacts in it, in a scope beside a branch of its own; an action behind it all.
const FLOW: &str = r#"
name: again
trigger:
  type: request
actions:
  - name: first
    type: http
    connection: api
    method: POST
    url: /x
    body: { n: first }
  - name: offers
    type: for_each
    items: "{{trigger.body.offers}}"
    actions:
      - name: worth
        type: condition
        if: "{{less (utcNow) trigger.body.before}}"
        then:
          - name: open_offer
            type: http
            connection: api
            method: POST
            url: /x
            body: { n: "open {{item.name}}" }
          - name: contacts
            type: for_each
            items: "{{item.contacts}}"
            actions:
              - name: greet
                type: http
                connection: api
                method: POST
                url: /x
                body: { n: "greet {{item}}" }
              - name: push
                type: http
                connection: api
                method: POST
                url: /x
                body: { n: "push {{item}}" }
        else:
          - name: too_late
            type: compose
            inputs: late
      - name: close_offer
        type: http
        connection: api
        method: POST
        url: /x
        body: { n: "close {{item.name}}" }
  - name: last
    type: http
    connection: api
    method: POST
    url: /x
    body: { n: last }
  - name: beside
    type: http
    run_after: { first: [succeeded] }
    connection: api
    method: POST
    url: /x
    body: { n: beside }
"#;

fn lead() -> Value {
    json!({
        "before": "2999-01-01T00:00:00Z",
        "offers": [{ "name": "a", "contacts": ["ada", "bob"] }, { "name": "b", "contacts": ["cy"] }],
    })
}

fn told(sent: &[Sent]) -> BTreeSet<String> {
    sent.iter().map(|one| one.body["n"].as_str().expect("n").to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

struct Played {
    rig: Rig,
    life: Life,
    origin: StoredRun,
    sent: Vec<Sent>,
}

/// Plays `text` with some requests refused, which are taken afterwards.
fn played(text: &str, lead: &Value, broken: &[&str], status: &str) -> Played {
    let rig = Rig::new(text);
    rig.other_side.refuse(&broken.iter().map(|name| json!(name)).collect::<Vec<_>>());
    let life = rig.live();
    let run = life.accepted(&rig, lead);
    let origin = life.ended(&rig, run);
    assert_eq!(origin.run.status.as_str(), status, "{:#?}", origin.run);
    rig.other_side.refuse(&[]);
    let sent = rig.other_side.take_sent();
    Played { rig, life, origin, sent }
}

impl Played {
    fn new_run(&self, flow: &Flow, action: &str) -> Result<NewRun, ResubmitError> {
        let text = Text { flow, id: self.rig.text_id() };
        from_action(&self.origin, &self.rig.flow, text, action, self.rig.clock.now())
    }

    /// Resubmits from `action` and plays it through; the new run and what was sent for it.
    fn again(&self, action: &str) -> (StoredRun, Vec<Sent>) {
        let new = self.new_run(&self.rig.flow, action).expect("a new run");
        let run: RunId = new.run.run_id;
        alone(self.rig.beside().accept(new)).expect("stored");
        let ended = self.life.ended(&self.rig, run);
        (ended, self.rig.other_side.take_sent())
    }

    /// Whether each request has the key that it had in the origin.
    fn has_keys_of_origin(&self, sent: &[Sent]) -> bool {
        sent.iter()
            .all(|one| self.sent.iter().filter(|before| before.body == one.body).all(|before| before.key == one.key))
    }

    fn end(self) {
        self.life.drain(Duration::from_secs(5));
    }
}

#[test]
fn only_the_iterations_that_failed_are_repeated() {
    let played = played(FLOW, &lead(), &["push bob"], "failed");
    assert_eq!(
        told(&played.sent),
        set(&[
            "first",
            "beside",
            "open a",
            "open b",
            "greet ada",
            "greet bob",
            "greet cy",
            "push ada",
            "push bob",
            "push cy",
            "close b"
        ]),
    );
    let (run, sent) = played.again("push");
    assert_eq!(run.run.status.as_str(), "succeeded", "{run:#?}");
    assert_eq!(told(&sent), set(&["push bob", "close a", "last"]), "and what waited for it");
    assert!(played.has_keys_of_origin(&sent));
    assert_eq!((run.run.key_run, run.run.origin_run), (played.origin.run.key_run, Some(played.origin.run.run_id)));
    let pushes: Vec<&str> = run.steps.iter().filter(|step| step.name == "push").map(|step| step.idx.as_str()).collect();
    assert_eq!(pushes, ["00000000.00000000", "00000000.00000001", "00000001.00000000"], "its history is whole");
    played.end();
}

#[test]
fn from_a_container_everything_in_it_that_did_not_succeed_is_repeated() {
    for from in ["offers", "worth", "contacts"] {
        let played = played(FLOW, &lead(), &["greet ada", "push cy"], "failed");
        let (run, sent) = played.again(from);
        assert_eq!(run.run.status.as_str(), "succeeded", "{from}: {run:#?}");
        assert_eq!(told(&sent), set(&["greet ada", "push ada", "push cy", "close a", "close b", "last"]), "{from}");
        assert!(played.has_keys_of_origin(&sent));
        played.end();
    }
}

#[test]
fn from_an_action_behind_a_loop_the_loop_is_kept() {
    let played = played(FLOW, &lead(), &["last"], "failed");
    let (run, sent) = played.again("last");
    assert_eq!((run.run.status.as_str(), told(&sent)), ("succeeded", set(&["last"])));
    assert_eq!(run.steps.len(), played.origin.steps.len(), "its history is whole");
    let (run, sent) = played.again("first");
    assert_eq!(run.run.status.as_str(), "succeeded");
    assert_eq!(told(&sent).len(), told(&played.sent).len(), "everything waits for the first action");
    played.end();
}

/// The clock has moved past the condition's time: the branch that was taken is taken.
#[test]
fn a_branch_stays_as_decided() {
    let rig = Rig::new(FLOW);
    let mut body = lead();
    body["before"] = json!(leadflow::clock::rfc3339(rig.clock.now() + 1_800_000_000));
    rig.other_side.refuse(&[json!("push bob")]);
    let life = rig.live();
    let run = life.accepted(&rig, &body);
    let origin = life.ended(&rig, run);
    rig.other_side.refuse(&[]);
    let sent = rig.other_side.take_sent();
    rig.clock.advance(Duration::from_secs(7200));
    let played = Played { rig, life, origin, sent };
    let (run, sent) = played.again("push");
    assert_eq!((run.run.status.as_str(), told(&sent)), ("succeeded", set(&["push bob", "close a", "last"])));
    let refused = played.new_run(&played.rig.flow, "too_late").expect_err("its branch was not taken");
    assert_eq!(refused, ResubmitError::NotReached("too_late".into()));
    let refused = played.new_run(&played.rig.flow, "open_offer").expect_err("it succeeded everywhere");
    assert_eq!(refused, ResubmitError::NotReached("open_offer".into()));
    played.end();
}

#[test]
fn the_current_text_must_keep_what_is_taken_over() {
    let played = played(FLOW, &lead(), &["push bob"], "failed");
    let changed = |from: &str, to: &str| {
        assert!(FLOW.contains(from), "{from}");
        played.new_run(&compiled(&FLOW.replacen(from, to, 1)), "push")
    };
    let shape = |name: &str| ResubmitError::ShapeChanged(name.into());
    assert!(changed("n: \"push {{item}}\"", "n: \"push {{item}}!\"").is_ok(), "other texts are welcome");
    assert!(changed("n: last", "n: very last").is_ok());
    assert_eq!(changed("name: greet", "name: hello"), Err(shape("greet")));
    let other_type = changed(
        "      - name: close_offer\n        type: http\n        connection: api\n        method: POST\n        url: /x\n        body: { n: \"close {{item.name}}\" }\n",
        "      - name: close_offer\n        type: compose\n        inputs: closed\n",
    );
    assert_eq!(other_type, Err(shape("close_offer")), "it succeeded for one offer");
    // The same actions, in the other branch.
    let swapped = FLOW.replace("        then:", "        T:").replace("        else:", "        then:");
    let swapped = compiled(&swapped.replace("        T:", "        else:"));
    assert!(matches!(played.new_run(&swapped, "push"), Err(ResubmitError::ShapeChanged(_))));
    played.end();
}

/// What was handled stays handled: the handler is not asked again, and the failed action is not tried again.
#[test]
fn a_handled_failure_is_kept() {
    let text = "name: again\ntrigger:\n  type: request\nactions:\n  - name: try_it\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    body: { n: try }\n  - name: handle\n    type: http\n    run_after: { try_it: [failed] }\n    connection: api\n    method: POST\n    url: /x\n    body: { n: handle }\n  - name: tell\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    body: { n: tell }\n";
    let played = played(text, &json!({}), &["try", "tell"], "failed");
    let (run, sent) = played.again("tell");
    assert_eq!((run.run.status.as_str(), told(&sent)), ("succeeded", set(&["tell"])));
    let (run, sent) = played.again("try_it");
    assert_eq!(told(&sent), set(&["try"]), "it works now: the handler is not needed, and what waits for it neither");
    assert_eq!(run.run.status.as_str(), "succeeded");
    played.end();
}

/// A run that `terminate` ended: it is reached again, not taken over.
#[test]
fn terminate_is_not_taken_over() {
    let text = "name: again\ntrigger:\n  type: request\nactions:\n  - name: one\n    type: http\n    connection: api\n    method: POST\n    url: /x\n    body: { n: one }\n  - name: stop\n    type: terminate\n    status: failed\n    code: no_stock\n  - name: two\n    type: compose\n    inputs: 2\n";
    let played = played(text, &json!({}), &[], "failed");
    let (run, sent) = played.again("stop");
    assert_eq!((run.run.code.as_deref(), sent.len()), (Some("no_stock"), 0));
    let (run, sent) = played.again("one");
    assert_eq!((run.run.code.as_deref(), told(&sent)), (Some("no_stock"), set(&["one"])));
    played.end();
}

/// A failed `until` goes on with its last iteration and has its time again; one at its limit begins anew.
#[test]
fn an_until_goes_on() {
    let text = "name: again\ntrigger:\n  type: request\nactions:\n  - name: poll\n    type: until\n    condition: \"{{greaterOrEquals loops.poll.index 2}}\"\n    count: COUNT\n    timeout: 1h\n    actions:\n      - name: ask\n        type: http\n        connection: api\n        method: POST\n        url: /x\n        body: { n: \"ask {{loops.poll.index}}\" }\n";
    let played_one = played(&text.replace("COUNT", "5"), &json!({}), &["ask 1"], "failed");
    played_one.rig.clock.advance(Duration::from_secs(3600 * 48));
    let (run, sent) = played_one.again("ask");
    assert_eq!((run.run.status.as_str(), told(&sent)), ("succeeded", set(&["ask 1", "ask 2"])), "{run:#?}");
    played_one.end();
    let limited = played(&text.replace("COUNT", "2"), &json!({}), &[], "failed");
    let (run, sent) = limited.again("poll");
    assert_eq!((run.run.code.as_deref(), told(&sent)), (Some("until_limit"), set(&["ask 0", "ask 1"])));
    limited.end();
}

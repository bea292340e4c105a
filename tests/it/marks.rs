//! What may have been sent stays known as such until it has been sent for certain.

use std::time::Duration;

use leadflow::run::StepStatus;

use crate::support::rig::Rig;

/// Two effects beside each other.
const FLOW: &str = "name: both
trigger:
  type: request
actions:
  - name: left
    type: http
    connection: api
    method: POST
    url: /left
    body: { n: left }
  - name: right
    type: http
    run_after: {}
    connection: api
    method: POST
    url: /right
    body: { n: right }
";

/// Both may have been sent when the first life dies; the second has a slot for one of them only. Its commit names that
/// one: the other must not look as if it had never been sent.
#[test]
fn an_effect_that_waits_for_a_slot_after_a_crash_keeps_its_mark() {
    let mut rig = Rig::slow(FLOW, Duration::from_secs(600));
    rig.slots = 2;
    let first = rig.live();
    let run = first.accepted(&rig, &serde_json::json!({}));
    first.until(&rig, run, |stored| stored.run.inflight.len() == 2);
    first.kill();
    rig.slots = 1;
    let second = rig.live();
    let stored = second.until(&rig, run, |stored| stored.run.inflight.len() == 1);
    let sent = stored.run.inflight[0].name.as_str();
    let waiting: Vec<_> = stored.steps.iter().filter(|step| step.name != sent).collect();
    assert_eq!(waiting.len(), 1, "{stored:#?}");
    assert!(waiting[0].possible_repeat && waiting[0].status == StepStatus::Waiting, "{stored:#?}");
    second.kill();
}

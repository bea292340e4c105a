//! The other side of every connection: takes requests, remembers each, and sees at once when somebody sends who may not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leadflow::clock::{Clock, Fut, Micros};
use leadflow::ids::RunId;
use leadflow::outbound::{Call, Effect, Effects, HttpBody, HttpReply, Reply};
use leadflow::run::Failure;
use leadflow::store::memory::MemoryStore;
use serde_json::Value;

use super::time::{StoreTime, roll, some_millis};

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Micros,
    pub(super) process: String,
    pub(super) run: RunId,
    pub(super) action: String,
    pub(super) idx: String,
    /// Whether it did its work: what was refused did not.
    pub(super) performed: bool,
}

/// What all processes send to.
pub(super) struct OtherSide {
    pub(super) store: Arc<MemoryStore>,
    pub(super) time: Arc<StoreTime>,
    pub(super) ledger: Mutex<Vec<Sent>>,
    pub(super) faults: Mutex<Vec<String>>,
}

impl OtherSide {
    /// Everything up to the answer happens at the moment of sending: between the look at the lease and this, no time
    /// passes, and a process that stands still has sent or has not.
    fn receive(&self, process: &str, call: &Call<'_>) -> (Reply, Duration) {
        let Effect::Http(request) = call.effect else { panic!("an HTTP request") };
        let Some(HttpBody::Json(body)) = &request.body else { panic!("a JSON body") };
        let run: RunId = body["run"].as_str().and_then(|id| id.parse().ok()).expect("a run id");
        let at = self.time.now();
        let owner = self.store.owner_of(run);
        let is_theirs = owner.as_deref().is_some_and(|owner| owner.starts_with(&format!("{process}:")));
        if !is_theirs {
            let owner = owner.as_deref().unwrap_or("nobody");
            self.faults
                .lock()
                .expect("lock")
                .push(format!("{process} sent {} of a run that belongs to {owner} ({run} at {at})", call.action));
        }
        let fate = roll(20);
        let performed = fate > 1;
        let (action, idx) = (call.action.to_owned(), call.idx.to_owned());
        let sent = Sent { at, process: process.to_owned(), run, action, idx, performed };
        self.ledger.lock().expect("lock").push(sent);
        let wait = if fate == 5 { some_millis(500, 3_000) } else { some_millis(0, 40) };
        let reply = match fate {
            0 => Reply::Failed(Failure::retryable("connect_failed", "nobody listened")),
            1 => Reply::Http(answer(503)),
            2 => Reply::Failed(Failure::unknown("connection_lost", "the answer was lost")),
            _ => Reply::Http(answer(200)),
        };
        (reply, wait)
    }
}

fn answer(status: u16) -> HttpReply {
    HttpReply { status, headers: Vec::new(), body: Value::Null, retry_after: None }
}

/// One process's way to the other side.
pub(super) struct Way {
    pub(super) side: Arc<OtherSide>,
    pub(super) process: String,
}

impl Effects for Way {
    fn perform<'a>(&'a self, call: Call<'a>) -> Fut<'a, Reply> {
        Box::pin(async move {
            let (reply, wait) = self.side.receive(&self.process, &call);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            reply
        })
    }
}

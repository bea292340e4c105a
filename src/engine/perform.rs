//! One try of one action: effects out, replies in, until the connector has an outcome.

use std::sync::Arc;
use std::time::Duration;

use super::health::Health;
use super::lanes::Lanes;
use super::lease::Lease;
use super::ports::OpenConnection;
use serde_json::Value;

use crate::clock::Clock;
use crate::connectors::{OpContext, Operation, Outcome, Progress, Talk};
use crate::ids::IdempotencyKey;
use crate::outbound::{Call, Effect, Effects, Reply};
use crate::run::{Class, Failure, Identity};

/// Most effects that one try may send: a connector that asks for more is broken.
const EFFECTS_PER_TRY_MAX: u32 = 50;

/// Everything that one try needs.
pub(super) struct Attempt {
    pub(super) lease: Arc<Lease>,
    pub(super) effects: Arc<dyn Effects>,
    pub(super) connection: Arc<OpenConnection>,
    pub(super) action: String,
    pub(super) secure: bool,
    pub(super) identity: Identity,
    pub(super) idx: String,
    pub(super) operation: Operation,
    pub(super) effect: Effect,
    pub(super) timeout: Duration,
    pub(super) possible_repeat: bool,
    /// The lane of its slot, and whether it finds out for the others.
    pub(super) lane: String,
    pub(super) probe: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) health: Arc<Health>,
}

/// Performs the try, and tells everybody what it learned of the connection before it has ended.
pub(super) async fn attempt(attempt: Attempt) -> Result<Outcome, Failure> {
    let (health, connection) = (Arc::clone(&attempt.health), Arc::clone(&attempt.connection));
    let (lane, probe, began_at) = (attempt.lane.clone(), attempt.probe, attempt.clock.now());
    let lease = Arc::clone(&attempt.lease);
    let result = perform(attempt).await;
    if lease.is_lost() {
        // Nobody commits this, and it may tell of this node only.
        return result;
    }
    health.report(&connection, &lane, began_at, probe, &result).await;
    result
}

/// Performs the try. The deadline is round all of its effects together.
async fn perform(attempt: Attempt) -> Result<Outcome, Failure> {
    if !attempt.lease.trusted().await {
        return Err(lease_lost());
    }
    let timeout = attempt.timeout;
    // The transport has the same deadline and knows what was sent; this one only catches a transport that does not
    // keep it, so it comes a little later.
    match tokio::time::timeout(timeout.saturating_add(DEADLINE_SLACK), drive(attempt)).await {
        Ok(result) => result,
        Err(_) => Err(Failure {
            code: "timeout".to_owned(),
            message: format!("no outcome within {}", crate::units::print_duration(timeout)),
            class: Class::TimedOut,
            retry_after: None,
            action: None,
        }),
    }
}

/// The life in which the try began is over; nobody commits this.
fn lease_lost() -> Failure {
    Failure::unknown("unknown_outcome", "this node lost its lease while performing this action")
}

/// How much longer than a transport the engine waits.
const DEADLINE_SLACK: Duration = Duration::from_secs(1);

async fn drive(attempt: Attempt) -> Result<Outcome, Failure> {
    let connection = &attempt.connection;
    let key = |n| IdempotencyKey::new(attempt.identity.key_run, &attempt.action, &attempt.idx, n);
    let cx = OpContext {
        connection: &connection.name,
        run_id: attempt.identity.run_id,
        key: key(0),
        received_at: attempt.identity.received_at,
        possible_repeat: attempt.possible_repeat,
    };
    let mut talk = Talk { n: 0, key: key(0), notes: Value::Null };
    let mut effect = attempt.effect;
    for n in 0..EFFECTS_PER_TRY_MAX {
        // Also between the effects of one try.
        if !attempt.lease.trusted().await {
            return Err(lease_lost());
        }
        talk.n = n;
        talk.key = key(n);
        if n > 0 {
            attempt.lanes.charge(&attempt.lane);
        }
        let simulated = connection.dialect.simulate(&attempt.operation, &cx, &talk, &effect);
        let reply: Reply = attempt
            .effects
            .perform(Call {
                action: &attempt.action,
                secure: attempt.secure,
                idx: &attempt.idx,
                connection: &connection.name,
                transport: &connection.transport,
                effect: &effect,
                timeout: attempt.timeout,
                simulated,
            })
            .await;
        match connection.dialect.on_reply(&attempt.operation, &cx, &mut talk, reply) {
            Progress::Send(next) => effect = next,
            Progress::Done(result) => return result,
        }
    }
    Err(Failure::terminal("internal_error", format!("more than {EFFECTS_PER_TRY_MAX} effects in one try")))
}

//! The lives of this node. Each has a name of its own and a lease in the store, which a heartbeat keeps.
//!
//! Promises: a life trusts its lease only until `start of the last good heartbeat + ttl − margin` by this machine's own
//! monotonic clock, so clocks need not agree; while it does not, no effect starts and no commit is tried. A life whose
//! lease is lost stops: what was in flight has an unknown outcome and nothing more is committed. The node begins a new
//! life under a new name, rescues, and works on, without a restart. Any node rescues the runs of a life that is over.
//!
//! On a store that is not shared a lock of the process stands for the lease: it is trusted until it is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Engine;
use crate::clock::Sample;
use crate::store::{Heartbeat, Life, Owner, StoreError, StoreResult, Term};

/// For how long a lease stands without a heartbeat, unless the limits say otherwise: how long the runs of a node that
/// died wait for another one, and how long a store may be gone before work stops.
pub const LEASE_TTL: Duration = Duration::from_secs(15);
/// Heartbeats in the time for which one keeps the lease: two may fail.
const BEATS_PER_TTL: u32 = 3;
/// The part of the time at its end in which the lease is not trusted any more: what clocks may drift apart, and what
/// may lie between a look at the lease and the effect.
const MARGIN_PARTS: u32 = 5;
/// Tries in the time between two heartbeats after one that failed.
const TRIES_PER_BEAT: u32 = 5;
/// How long a node that stops waits for the store to hear that it leaves.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How far a life may trust its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It was not begun.
    NotYet,
    /// Until this moment.
    Until(Instant),
    /// Until it is taken.
    Alone,
    /// Not any more.
    Lost,
}

/// The lease of one life.
#[derive(Debug)]
pub struct Lease {
    owner: Owner,
    trust: watch::Sender<Trust>,
}

/// What is shown of a node's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// The node works.
    Held,
    /// The store has not answered in time: the node waits, and does not know whether the lease still stands.
    StoreUnreachable,
    /// The lease expired or was taken (or the first one is still to be begun): the node begins a new life.
    Lost,
}

impl LeaseState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Held, Self::StoreUnreachable, Self::Lost];

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::StoreUnreachable => "store_unreachable",
            Self::Lost => "lost",
        }
    }
}

/// A node's lease, for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseReport {
    /// How it stands.
    pub state: LeaseState,
    /// The name of the life.
    pub owner: Owner,
    /// Leases lost since the start.
    pub lost: u64,
}

impl Lease {
    /// A life that has not begun.
    pub(super) fn new(owner: Owner) -> Arc<Self> {
        Arc::new(Self { owner, trust: watch::Sender::new(Trust::NotYet) })
    }

    /// A life that nobody can end: of a dry run.
    pub(super) fn alone(owner: &str) -> Arc<Self> {
        let lease = Self::new(owner.to_owned());
        lease.trust.send_replace(Trust::Alone);
        lease
    }

    /// The name of the life.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether effects may start and commits be tried now.
    pub fn is_trusted(&self) -> bool {
        match *self.trust.borrow() {
            Trust::NotYet | Trust::Lost => false,
            Trust::Until(until) => Instant::now() < until,
            Trust::Alone => true,
        }
    }

    /// Whether the life is over.
    pub(super) fn is_lost(&self) -> bool {
        *self.trust.borrow() == Trust::Lost
    }

    /// Waits until the lease may be trusted; `false`: never again.
    pub(super) async fn trusted(&self) -> bool {
        let mut trust = self.trust.subscribe();
        loop {
            if *trust.borrow_and_update() == Trust::Lost {
                return false;
            }
            if self.is_trusted() {
                return true;
            }
            if trust.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Resolves when the life is over.
    pub(super) async fn lost(&self) {
        // The sender lives as long as `self`.
        let _ = self.trust.subscribe().wait_for(|trust| *trust == Trust::Lost).await;
    }

    /// A heartbeat that was asked at `asked` was good. A life that is over stays over.
    fn renew(&self, asked: Instant, term: Term) {
        self.trust.send_if_modified(|trust| {
            let renewed = match term {
                Term::Alone => Trust::Alone,
                Term::For(ttl) => Trust::Until(asked + ttl.saturating_sub(ttl / MARGIN_PARTS)),
            };
            let changes = *trust != Trust::Lost && *trust != renewed;
            if changes {
                *trust = renewed;
            }
            changes
        });
    }

    /// The life is over.
    fn lose(&self) {
        self.trust.send_replace(Trust::Lost);
    }

    fn state(&self) -> LeaseState {
        match *self.trust.borrow() {
            Trust::NotYet | Trust::Lost => LeaseState::Lost,
            Trust::Until(until) if Instant::now() >= until => LeaseState::StoreUnreachable,
            Trust::Until(_) | Trust::Alone => LeaseState::Held,
        }
    }
}

impl Engine {
    /// The lease of the life that this node lives now.
    pub(super) fn lease(&self) -> Arc<Lease> {
        self.lease.load_full()
    }

    /// How this node's lease stands.
    pub fn lease_report(&self) -> LeaseReport {
        let lease = self.lease();
        LeaseReport { state: lease.state(), owner: lease.owner.clone(), lost: self.leases_lost.load(Ordering::Relaxed) }
    }

    /// For how long a heartbeat keeps the lease.
    fn term(&self) -> Term {
        if self.store.is_shared() { Term::For(self.ports.limits().lease_ttl) } else { Term::Alone }
    }

    /// Asks the store to begin or keep the lease of `lease`.
    async fn beat(&self, lease: &Lease, begins: bool) -> StoreResult<Heartbeat> {
        let term = self.term();
        let owner = lease.owner.clone();
        // `HOST:PID:ID`, as the process names itself.
        let name = owner.rsplit_once(':').map_or("", |(node, _)| node).to_owned();
        let life = Life { owner, name, version: env!("CARGO_PKG_VERSION").to_owned(), term, begins };
        let asked = Instant::now();
        let wait_max = self.ports.limits().lease_ttl / BEATS_PER_TTL;
        let beat = timeout(wait_max, self.store.heartbeat(life))
            .await
            .map_err(|_| StoreError::Unavailable(format!("no answer to a heartbeat within {wait_max:?}")))??;
        self.ports.clock.follow(Sample { asked, answered: Instant::now(), database: beat.now });
        if beat.stands {
            lease.renew(asked, term);
        }
        Ok(beat)
    }

    /// A start that failed half way: whoever tries again does so under another name. This one may have a row that ends, and
    /// leads that were accepted under it and are taken over; begun once more, it would be trusted with them.
    pub(super) fn give_up_life(&self) {
        self.lease().lose();
        self.lease.store(self.next_life());
    }

    /// Begins the first life, and takes over what lives that are over left behind.
    pub(super) async fn begin(&self) -> StoreResult<()> {
        while !self.beat(&self.lease(), true).await?.stands {
            self.lease.store(self.next_life());
        }
        self.rescue().await
    }

    fn next_life(&self) -> Arc<Lease> {
        let number = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        Lease::new(format!("{}#{number}", self.first_owner))
    }

    /// Takes the runs of every life that is over.
    async fn rescue(&self) -> StoreResult<()> {
        let lease = self.lease();
        let rescued = self.store.rescue(lease.owner(), self.ports.clock.now()).await?;
        if rescued.runs > 0 {
            tracing::info!(runs = rescued.runs, held = rescued.held, "taking over runs of a life that is over");
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Ends this life for good.
    pub(super) async fn leave(&self) {
        self.left.send_replace(true);
        let lease = self.lease();
        lease.lose();
        match timeout(LEAVE_WAIT_MAX, self.store.leave(lease.owner())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot tell the store that this node leaves"),
            Err(_) => tracing::warn!("cannot tell the store that this node leaves: no answer"),
        }
    }
}

/// Keeps the lease until the node leaves.
pub(super) async fn keep(engine: Arc<Engine>) {
    let mut left = engine.left.subscribe();
    tokio::select! {
        biased;
        _ = left.wait_for(|left| *left) => {}
        () = beat_on(&engine) => {}
    }
}

/// Rescues now and then until the node leaves: a run waits no longer for its rescue than a lease stands, and a little.
pub(super) async fn rescue_now_and_then(engine: Arc<Engine>) {
    let mut left = engine.left.subscribe();
    let work = async {
        loop {
            // Nodes that were started together do not stay together.
            let share = engine.ports.limits().lease_ttl / BEATS_PER_TTL;
            sleep(share.mul_f64(0.5 + (engine.ports.dice)())).await;
            if engine.lease().is_trusted()
                && let Err(error) = engine.rescue().await
            {
                tracing::warn!(%error, "cannot look for runs of other lives now");
            }
        }
    };
    tokio::select! {
        biased;
        _ = left.wait_for(|left| *left) => {}
        () = work => {}
    }
}

async fn beat_on(engine: &Arc<Engine>) {
    let mut faults = 0_u32;
    loop {
        let period = engine.ports.limits().lease_ttl / BEATS_PER_TTL;
        let began = Instant::now();
        let lease = engine.lease();
        match engine.beat(&lease, false).await {
            Ok(beat) if beat.stands => {
                faults = 0;
                sleep_until(began + period).await;
            }
            Ok(_) => {
                faults = 0;
                if !live_again(engine, &lease).await {
                    return;
                }
            }
            Err(error) => {
                faults += 1;
                if faults.is_power_of_two() {
                    tracing::warn!(%error, faults, "the heartbeat failed; trying again");
                }
                sleep(period / TRIES_PER_BEAT).await;
            }
        }
    }
}

/// The lease is lost: stops the old life, and begins a new one. `false`: the node is stopping, so that nobody needs one.
async fn live_again(engine: &Arc<Engine>, lost: &Lease) -> bool {
    lost.lose();
    engine.leases_lost.fetch_add(1, Ordering::Relaxed);
    tracing::error!(owner = lost.owner(), "the lease is lost: work of this life stops; its runs are taken over");
    let mut lease = engine.next_life();
    while !engine.is_draining() {
        match engine.beat(&lease, true).await {
            Ok(beat) if beat.stands => {
                tracing::info!(owner = lease.owner(), "a new life begins");
                engine.lease.store(lease);
                if let Err(error) = engine.rescue().await {
                    tracing::warn!(%error, "cannot take over runs now; trying again soon");
                }
                engine.wake.notify_one();
                return true;
            }
            Ok(_) => lease = engine.next_life(),
            Err(error) => {
                tracing::warn!(%error, "cannot begin a new life yet");
                // It may have begun all the same, or begin later: the name is not used again.
                lease = engine.next_life();
                sleep(engine.ports.limits().lease_ttl / BEATS_PER_TTL / TRIES_PER_BEAT).await;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_trusted_for_a_while_and_again_after_a_heartbeat() {
        let lease = Lease::new("a".to_owned());
        assert!(!lease.is_trusted() && lease.state() == LeaseState::Lost);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        lease.renew(asked, Term::For(TTL));
        assert!(lease.is_trusted(), "for five more seconds: it counts from the question");
        tokio::time::advance(Duration::from_millis(4_999)).await;
        assert!(lease.is_trusted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!lease.is_trusted() && lease.state() == LeaseState::StoreUnreachable);
        lease.renew(Instant::now(), Term::For(TTL));
        assert!(lease.trusted().await && lease.state() == LeaseState::Held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_over_stays_over() {
        let lease = Lease::alone("a");
        assert!(lease.trusted().await);
        lease.lose();
        lease.renew(Instant::now(), Term::For(TTL));
        lease.lost().await;
        assert!(!lease.trusted().await && !lease.is_trusted());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_trust_is_told_of_both_ends() {
        for stands in [true, false] {
            let lease = Lease::new("a".to_owned());
            let waiting = tokio::spawn({
                let lease = Arc::clone(&lease);
                async move { lease.trusted().await }
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!waiting.is_finished());
            if stands {
                lease.renew(Instant::now(), Term::For(TTL));
            } else {
                lease.lose();
            }
            assert_eq!(waiting.await.expect("no panic"), stands);
        }
    }
}

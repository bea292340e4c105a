//! Lives and their leases: who stands, who is over, and whose runs may be taken.

use std::time::Duration;

use super::{ME, accepted, at, owned, stored};
use crate::store::{Heartbeat, Life, NodeRow, Rescued, Store, Term};

/// Longer than any test.
const LONG: Term = Term::For(Duration::from_hours(1));

/// Over as soon as it is given.
const OVER: Term = Term::For(Duration::ZERO);

fn life(owner: &str, term: Term, begins: bool) -> Life {
    let name = format!("host of {owner}");
    Life { owner: owner.to_owned(), name, version: "0.1.0".to_owned(), term, begins }
}

async fn begun(store: &dyn Store, owner: &str, term: Term) -> Heartbeat {
    store.heartbeat(life(owner, term, true)).await.expect("begins")
}

async fn stands(store: &dyn Store, owner: &str, term: Term) -> bool {
    store.heartbeat(life(owner, term, false)).await.expect("beats").stands
}

async fn known(store: &dyn Store) -> Vec<String> {
    store.nodes().await.expect("reads").into_iter().map(|node| node.owner).collect()
}

pub(crate) async fn a_lease_stands_until_it_expires(store: &dyn Store) {
    assert!(!stands(store, "node-2", LONG).await, "a lease that was never begun");
    assert_eq!(known(store).await, [""; 0], "and is not begun by that");
    let before = store.now().await.expect("the time");
    let first = begun(store, "node-2", LONG).await;
    assert!(first.stands && first.now >= before, "{first:?} {before}");
    assert!(stands(store, "node-2", LONG).await);
    assert!(begun(store, "node-2", LONG).await.stands, "a repeat after a lost answer");
    assert!(stands(store, "node-2", OVER).await, "it stood when this heartbeat came");
    assert!(!stands(store, "node-2", LONG).await, "it has expired, although nobody took it");
    assert!(!begun(store, "node-2", LONG).await.stands, "a life begins once");
    assert!(store.now().await.expect("the time") >= first.now);
}

pub(crate) async fn a_rescue_leaves_the_living_alone(store: &dyn Store) {
    begun(store, ME, LONG).await;
    begun(store, "living", LONG).await;
    begun(store, "expired", OVER).await;
    let mine = accepted(store, owned(0, ME)).await;
    let living = accepted(store, owned(1, "living")).await;
    let expired = accepted(store, owned(2, "expired")).await;
    let unknown = accepted(store, owned(3, "unknown")).await;
    assert_eq!(store.rescue(ME, at(9)).await, Ok(Rescued { runs: 2, held: 0 }));
    for (run, owner) in [(mine, Some(ME)), (living, Some("living")), (expired, None), (unknown, None)] {
        assert_eq!(stored(store, run).await.run.owner.as_deref(), owner);
    }
    assert_eq!(known(store).await, ["living", ME]);
    assert_eq!(store.rescue("living", at(9)).await, Ok(Rescued::default()));
    assert!(stands(store, ME, LONG).await && stands(store, "living", LONG).await);
}

/// Its runs belong to others by then: whatever it believes, it must begin anew under another name.
pub(crate) async fn a_life_that_was_taken_does_not_come_back(store: &dyn Store) {
    begun(store, "slow", OVER).await;
    let run = accepted(store, owned(0, "slow")).await;
    store.rescue(ME, at(9)).await.expect("rescues");
    assert!(!stands(store, "slow", LONG).await);
    let mut late = super::commit(run);
    "slow".clone_into(&mut late.owner);
    assert_eq!(store.commit(late).await, Err(crate::store::StoreError::Fenced));
    let again = accepted(store, owned(1, "slow")).await;
    assert_eq!(store.rescue(ME, at(9)).await, Ok(Rescued { runs: 1, held: 0 }), "what it stored too late is found");
    assert_eq!(stored(store, again).await.run.owner, None);
}

pub(crate) async fn a_life_that_is_alone_ends_every_other(store: &dyn Store) {
    begun(store, "first", Term::Alone).await;
    begun(store, "leased", LONG).await;
    let run = accepted(store, owned(0, "first")).await;
    assert!(stands(store, "first", Term::Alone).await, "for as long as nobody takes it");
    assert_eq!(store.rescue("leased", at(9)).await, Ok(Rescued::default()));
    assert!(begun(store, ME, Term::Alone).await.stands);
    assert_eq!(known(store).await, [ME]);
    assert!(!stands(store, "first", Term::Alone).await && !stands(store, "leased", LONG).await);
    assert_eq!(store.rescue(ME, at(9)).await, Ok(Rescued { runs: 1, held: 0 }));
    assert_eq!(stored(store, run).await.run.owner, None);
    assert!(stands(store, ME, Term::Alone).await);
}

pub(crate) async fn what_a_life_leaves_is_rescued_at_once(store: &dyn Store) {
    begun(store, "leaving", LONG).await;
    accepted(store, owned(0, "leaving")).await;
    assert_eq!(store.rescue(ME, at(9)).await, Ok(Rescued::default()));
    store.leave("leaving").await.expect("leaves");
    store.leave("leaving").await.expect("twice is once");
    assert_eq!(store.rescue(ME, at(9)).await, Ok(Rescued { runs: 1, held: 0 }));
    assert!(!stands(store, "leaving", LONG).await);
}

pub(crate) async fn nodes_are_shown(store: &dyn Store) {
    let first = begun(store, "b", LONG).await.now;
    begun(store, "a", LONG).await;
    let nodes = store.nodes().await.expect("reads");
    assert_eq!(nodes.iter().map(|node| node.owner.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let NodeRow { name, started_at, lease_until, version, .. } = &nodes[1];
    assert_eq!((name.as_str(), *started_at, version.as_str()), ("host of b", first, "0.1.0"));
    assert_eq!(*lease_until, Some(first + 3_600_000_000));
}

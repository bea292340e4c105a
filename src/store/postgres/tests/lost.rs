//! Connections that are cut, databases that go and come back: told within a bounded time, and healed without a restart.

use super::*;
use crate::store::conformance::{ME, accepted, at, claimed, commit, joined, owned, queued, stored};
use crate::store::{LaneWant, RunFilter};

/// Asks verbs of every kind; each either works or says that it cannot now.
async fn asked(store: &PostgresStore) -> Vec<StoreError> {
    let new = queued(7);
    let mut errors = Vec::new();
    let mut note = |error: Option<StoreError>| errors.extend(error);
    note(store.accept(new).await.err());
    note(store.commit(commit(RunId::new(at(1)))).await.err().filter(|error| *error != StoreError::Fenced));
    note(store.claim(ME, vec![LaneWant { lane: "none".to_owned(), max: 1, gate: None }], at(1)).await.err());
    note(store.lanes(at(1)).await.err());
    note(store.run(RunId::new(at(1))).await.err());
    note(store.list_runs(RunFilter { limit: 1, ..RunFilter::default() }).await.err());
    note(store.ping().await.err());
    assert!(errors.iter().all(|error| matches!(error, StoreError::Unavailable(_))), "{errors:?}");
    errors
}

async fn healed(store: &PostgresStore) {
    eventually("every verb works again", async || asked(store).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn connections_that_are_cut_are_replaced() {
    let (_, url) = serving();
    let name = format!("cut_{}", schema(&url));
    let store = serve(&format!("{url}&application_name={name}"));
    let run = accepted(&store, owned(0, ME)).await;
    assert!(asked(&store).await.is_empty());
    for _ in 0..3 {
        sql(&url, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"));
        healed(&store).await;
    }
    store.commit(commit(run)).await.expect("its run is still its own");
}

#[tokio::test]
async fn a_database_that_crashes_loses_nothing_and_is_found_again() {
    let server = Server::start();
    let url = server.fresh();
    let store = serve(&url);
    let before = accepted(&store, queued(0)).await;
    server.crash();
    assert_eq!(asked(&store).await.len(), 7, "nothing works");
    let waiting = store.accept(queued(1));
    server.restart();
    // Whether it was stored is for its answer to say.
    drop(waiting);
    healed(&store).await;
    stored(&store, before).await;
    assert!(claimed(&store, "crm", 99, at(99)).await.contains(&before));
    let other = serve(&url);
    eventually("the listener is back", async || {
        accepted(&other, queued(9)).await;
        store.changed_elsewhere().await.expect("answers").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_no_place_to_write() {
    let server = Server::shared();
    let database = server.fresh_database();
    let name = format!("replica_{database}");
    let store = serve(&format!("{}?application_name={name}", server.url(&database)));
    accepted(&store, queued(0)).await;
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
    // New sessions find what they would find on a replica.
    server.execute("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    server.execute("postgres", &cut);
    eventually("accepts are refused", async || store.accept(queued(1)).await.err()).await;
    let refused = eventually("and told why", async || {
        store.accept(queued(1)).await.err().filter(|error| error.to_string().contains("does not allow writes"))
    });
    assert!(matches!(refused.await, StoreError::Unavailable(_)));
    server.execute("postgres", &format!("ALTER DATABASE {database} RESET default_transaction_read_only"));
    healed(&store).await;
}

#[tokio::test]
async fn a_transaction_that_turns_read_only_says_where_the_url_should_lead() {
    let (store, url) = serving();
    let fail = |state: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'says the test' USING ERRCODE = '{state}'; END $$; \
             CREATE OR REPLACE TRIGGER fails BEFORE INSERT ON runs EXECUTE FUNCTION fails()"
        )
    };
    // A replica, a full disk, a statement that took too long, a shutdown.
    for state in ["25006", "53100", "57014", "57P01"] {
        sql(&url, &fail(state));
        let answers = joined((0..20).map(|second| store.accept(queued(second))).collect(), || ()).await;
        for answer in answers {
            let Err(StoreError::Unavailable(why)) = answer else { panic!("{state}: {answer:?}") };
            assert!(why.contains(state) && why.contains("says the test"), "{why}");
            assert_eq!(why.contains("replica"), state == "25006", "{why}");
        }
        sql(&url, "DROP TRIGGER fails ON runs");
        healed(&store).await;
    }
}

#[tokio::test]
async fn a_database_that_is_stuck_is_told_and_heals() {
    let (store, url) = serving();
    accepted(&store, queued(0)).await;
    let holder = Holder::of(&url, "LOCK TABLE runs, steps IN ACCESS EXCLUSIVE MODE").await;
    // More than there are connections: who waits for one is answered too.
    let mut reads = Vec::new();
    for _ in 0..12 {
        reads.push(store.unfinished("leads", 9));
    }
    let writes = (0..12).map(|second| store.accept(queued(second))).collect();
    let (reads, writes) = tokio::join!(joined(reads, || ()), joined(writes, || ()));
    assert!(reads.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{reads:?}");
    assert!(writes.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{writes:?}");
    holder.release().await;
    healed(&store).await;
}

//! The group: one transaction for what queued up, nobody harmed by a neighbour.

use super::*;
use crate::run::RunStatus;
use crate::store::conformance::{ME, accepted, at, claimed, joined, queued, stored};
use crate::store::{LaneWant, NewRun, RunFilter};

#[tokio::test]
async fn what_queued_up_is_one_transaction_and_a_bad_request_fails_alone() {
    let (store, url) = serving();
    let holder = Holder::of(&url, "LOCK TABLE runs IN SHARE MODE").await;
    let mut writes: Vec<_> = (0..200).map(|second| store.accept(queued(second))).collect();
    let bad = NewRun { run: crate::store::RunRow { finished_at: Some(at(1)), ..queued(300).run }, ..queued(300) };
    writes.insert(100, store.accept(bad));
    let released = tokio::spawn(holder.release());
    let answers = joined(writes, || ()).await;
    released.await.expect("released");
    let failed: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_err()).collect();
    assert_eq!(failed, [100], "{:?}", answers[100]);
    assert_eq!(store.unfinished("leads", 1_000).await, Ok(200));
    // The first of each writer may have gone alone, and one group was replayed one by one.
    let holder = Holder::of(&url, "LOCK TABLE runs IN SHARE MODE").await;
    let writes: Vec<_> = (400..600).map(|second| store.accept(queued(second))).collect();
    let released = tokio::spawn(holder.release());
    assert!(joined(writes, || ()).await.iter().all(Result::is_ok));
    released.await.expect("released");
    let transactions =
        sql(&url, &format!("SELECT count(DISTINCT xmin::text) FROM runs WHERE received_at >= {}", at(400)));
    let transactions: usize = transactions[0].parse().expect("a number");
    assert!(transactions <= 20, "200 runs in {transactions} transactions");
}

#[tokio::test]
async fn what_waits_is_written_before_the_store_closes() {
    let (store, url) = serving();
    let new = queued(0);
    let run = new.run.run_id;
    let mut write = store.accept(new);
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await.is_pending());
    // Whoever asked has gone; the lead has not.
    drop(write);
    drop(store);
    stored(&opened(&url, Mode::Read).expect("opens"), run).await;
}

#[tokio::test]
async fn a_claim_that_nobody_received_is_given_back() {
    let (store, _url) = serving();
    let run = accepted(&store, queued(0)).await;
    let want = || vec![LaneWant { lane: "crm".to_owned(), max: 1, gate: None }];
    let mut claim = store.claim(ME, want(), at(1));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(claim.as_mut().poll(context))).await.is_pending());
    drop(claim);
    let again = eventually("it is free again and claimed a second time", async || {
        let run = store.claim(ME, want(), at(1)).await.expect("claims").pop()?;
        Some(run)
    })
    .await;
    assert_eq!(again.run.run_id, run);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_held_and_does_not_block_its_lane() {
    let (store, url) = serving();
    let broken = accepted(&store, queued(0)).await;
    let good = accepted(&store, queued(1)).await;
    sql(&url, &format!("UPDATE runs SET \"trigger\" = '{{' WHERE run_id = '{broken}'"));
    assert_eq!(claimed(&store, "crm", 9, at(9)).await, [good]);
    let listed = store.list_runs(RunFilter { statuses: vec![RunStatus::Held], limit: 9, ..RunFilter::default() }).await;
    assert_eq!(listed.expect("lists")[0].run.code.as_deref(), Some("unreadable"));
    assert!(matches!(store.run(broken).await, Err(StoreError::Unusable(_))));
}

#[tokio::test]
async fn a_commit_is_on_disk_before_its_answer() {
    let (store, url) = serving();
    accepted(&store, queued(0)).await;
    for wanted in ["off", "local", "remote_apply"] {
        let session = format!("{url}%20-c%20synchronous_commit%3D{wanted}");
        let own = serve(&session);
        let found = own
            .call(|conn| async move {
                Ok(conn
                    .query_one("SELECT current_setting('synchronous_commit')", &[])
                    .await?
                    .try_get::<_, String>(0)?)
            })
            .await;
        let kept = if wanted == "remote_apply" { wanted } else { "on" };
        assert_eq!(found.as_deref(), Ok(kept), "{wanted}");
    }
}

//! The group: one transaction for what queued up, nobody harmed by a neighbour, healed after a fault.

use std::sync::mpsc;

use super::*;
use crate::store::conformance::{ME, accepted, all_accepted, at, claimed, ended, joined, queued, stored, trigger};
use crate::store::{LaneWant, NewRun};

/// Keeps the writer busy until the sender is used or dropped, so that what is queued meanwhile is one group.
async fn stopped(store: &SqliteStore) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let (wait, started) = (std::sync::Mutex::new(wait), std::sync::Mutex::new(Some(started)));
    let blocker = Raw(move |_: &Connection| {
        if let Some(started) = started.lock().expect("one thread").take() {
            started.send(()).expect("the test waits");
        }
        // Sent or dropped: both mean go on.
        let _ = wait.lock().expect("one thread").recv();
        Ok(())
    });
    let mut write = Box::pin(store.writer().expect("writes").write(blocker));
    tokio::select! {
        result = &mut write => panic!("the writer did not stop: {result:?}"),
        started = running => started.expect("started"),
    }
    go
}

fn inconsistent(seconds: i64) -> NewRun {
    let mut new = queued(seconds);
    new.run.finished_at = Some(at(seconds));
    new
}

#[tokio::test]
async fn what_queued_up_is_one_transaction_and_a_bad_request_fails_alone() {
    let (store, folder) = serving();
    let path = database(&folder);
    let go = stopped(&store).await;
    let good: Vec<NewRun> = (0..20).map(queued).collect();
    let ids: Vec<RunId> = good.iter().map(|new| new.run.run_id).collect();
    let mut writes: Vec<_> = good.into_iter().map(|new| store.accept(new)).collect();
    // Served behind the accepts of its group: it finds their runs, and another connection does not yet.
    writes.push(Box::pin(store.on_writer(move |conn| {
        let runs = |conn: &Connection| conn.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0));
        assert_eq!((runs(conn)?, runs(&Connection::open(&path)?)?), (20, 0), "one transaction for all");
        Ok(())
    })));
    let all = joined(writes, || drop(go)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");

    let go = stopped(&store).await;
    let mut writes: Vec<_> = (20..30).map(|n| store.accept(queued(n))).collect();
    writes.insert(5, store.accept(inconsistent(99)));
    let all = joined(writes, || drop(go)).await;
    assert_eq!(all.iter().filter(|answer| answer.is_err()).count(), 1);
    assert!(matches!(all[5], Err(StoreError::Unavailable(_))));
    for id in ids {
        stored(&store, id).await;
    }
    assert_eq!(store.unfinished("leads", 100).await, Ok(30));
}

#[tokio::test]
async fn a_full_disk_is_told_and_heals_without_a_restart() {
    let (store, _folder) = serving();
    accepted(&store, queued(0)).await;
    let fill = |conn: &Connection| {
        let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
        conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    };
    store.on_writer(fill).await.expect("the disk is full from here on");
    let mut large = queued(1);
    large.run.trigger = Some(trigger(&"x".repeat(1 << 20)));
    let large_id = large.run.run_id;
    let go = stopped(&store).await;
    let answers = joined(vec![store.accept(large.clone())], || drop(go)).await;
    assert!(matches!(&answers[0], Err(StoreError::Unavailable(why)) if why.contains("full")), "{answers:?}");
    assert_eq!(store.run(large_id).await, Ok(None));
    // The limit belonged to the connection: a fresh one finds a disk with room.
    store.accept(large).await.expect("healed");
    stored(&store, large_id).await;
    store.ping().await.expect("well");
    assert_eq!(store.changed_elsewhere().await, Ok(true), "a fresh connection does not know what it missed");
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_everybody_in_it() {
    let (store, _folder) = serving();
    let go = stopped(&store).await;
    let orphan = store.on_writer(|conn| {
        conn.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        conn.execute("INSERT INTO payloads VALUES (zeroblob(16), 1, x'')", []).map(drop)
    });
    let new = queued(0);
    let run = new.run.run_id;
    let answers = joined(vec![Box::pin(orphan), store.accept(new.clone())], || drop(go)).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))), "{answers:?}");
    assert_eq!(store.run(run).await, Ok(None), "what was not promised is not there");
    store.accept(new).await.expect("the next transaction is a fresh one");
}

#[tokio::test]
async fn a_panic_of_one_request_does_not_stop_the_writer() {
    let (store, _folder) = serving();
    let broken: StoreResult<()> = store.on_writer(|_| panic!("a bug of the test")).await;
    assert!(matches!(broken, Err(StoreError::Unavailable(_))));
    accepted(&store, queued(0)).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().expect("temp folder");
    let mut options = OpenOptions::new(database(&folder), Mode::Serve);
    options.queue_max = 2;
    let store = SqliteStore::open(options).expect("opens");
    let go = stopped(&store).await;
    let answers = joined((0..4).map(|n| store.accept(queued(n))).collect(), || drop(go)).await;
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, true]);
}

#[tokio::test]
async fn what_waits_is_written_before_the_store_closes() {
    let (store, folder) = serving();
    let go = stopped(&store).await;
    let new = queued(0);
    let run = new.run.run_id;
    let mut write = store.accept(new);
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await.is_pending());
    // Whoever asked has gone; the lead has not.
    drop(write);
    drop(go);
    drop(store);
    let store = opened(&database(&folder), Mode::Read).expect("opens");
    stored(&store, run).await;
}

#[tokio::test]
async fn a_claim_that_nobody_received_is_given_back() {
    let (store, _folder) = serving();
    let run = accepted(&store, queued(0)).await;
    let go = stopped(&store).await;
    let mut claim = store.claim(ME, vec![LaneWant { lane: "crm".to_owned(), max: 1, gate: None }], at(1));
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(claim.as_mut().poll(context))).await.is_pending());
    drop(claim);
    drop(go);
    // The writer serves in order: the claim, what it led to, and then this.
    store.ping().await.expect("writes");
    store.ping().await.expect("writes");
    assert_eq!(claimed(&store, "crm", 9, at(1)).await, [run]);
    assert_eq!(stored(&store, run).await.run.epoch, 2);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_held_and_does_not_block_its_lane() {
    let (store, _folder) = serving();
    let broken = accepted(&store, queued(0)).await;
    let good = accepted(&store, queued(1)).await;
    store
        .on_writer(move |conn| conn.execute("UPDATE runs SET \"trigger\" = '{' WHERE run_id = ?1", [broken.bytes()]))
        .await
        .expect("breaks it");
    assert_eq!(claimed(&store, "crm", 9, at(9)).await, [good]);
    let listed = store.list_runs(RunFilter { statuses: vec![RunStatus::Held], limit: 9, ..RunFilter::default() }).await;
    assert_eq!(listed.expect("lists")[0].run.code.as_deref(), Some("unreadable"));
    assert!(matches!(store.run(broken).await, Err(StoreError::Unusable(_))));
}

#[tokio::test]
async fn retention_gives_pages_back_to_the_file_system() {
    let (store, _folder) = serving();
    let large = (0..16).map(|seconds| {
        let mut new = ended(seconds, RunStatus::Succeeded);
        new.run.trigger = Some(trigger(&"x".repeat(1 << 20)));
        new
    });
    all_accepted(&store, large).await;
    let pages = |conn: &Connection| conn.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
    let before = store.on_writer(pages).await.expect("reads");
    let all = at(99);
    let old = PruneBefore { succeeded: all, failed: all, rejected: all, duplicates: all, dedupe: all, rows_max: 100 };
    assert_eq!(store.prune(old).await, Ok(16));
    let after = store.on_writer(pages).await.expect("reads");
    assert!(after < before / 2, "{before} pages became {after}");
}

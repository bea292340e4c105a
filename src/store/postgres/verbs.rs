//! The verbs, each to where it is done.

use super::group::{Outcome, Work};
use super::{PostgresStore, browse, claim, closed, connections, keep, lease, read, records};
use crate::clock::{Fut, Micros};
use crate::ids::RunId;
use crate::run::RunStatus;
use crate::store::find::IdPart;
use crate::store::{
    Arrival, CancelAnswer, ConnectionNote, ConnectionState, FlowText, Heartbeat, Intake, KeySlot, LaneState, LaneWant,
    Life, Live, LiveChange, NewRun, NodeRow, Noted, PruneBefore, RecordQuery, RecordRow, RejectedCaps, RejectedRow,
    Rescued, RunCommit, RunFilter, Store, StoreError, StoreResult, StoredRun, TextId, Turn,
};

impl Store for PostgresStore {
    fn accept(&self, new: NewRun) -> Fut<'_, StoreResult<()>> {
        Box::pin(async move { self.write(Work::Accept(new)).await.map(drop) })
    }

    fn take_in(&self, arrivals: Vec<Arrival>) -> Fut<'_, StoreResult<Intake>> {
        Box::pin(async move {
            match self.write(Work::TakeIn(arrivals)).await? {
                Outcome::Intake(intake) => Ok(intake),
                Outcome::Done | Outcome::Fenced => Err(closed()),
            }
        })
    }

    fn commit(&self, commit: RunCommit) -> Fut<'_, StoreResult<()>> {
        Box::pin(async move {
            match self.write(Work::Commit(commit)).await? {
                Outcome::Fenced => Err(StoreError::Fenced),
                Outcome::Done | Outcome::Intake(_) => Ok(()),
            }
        })
    }

    fn claim(&self, owner: &str, wants: Vec<LaneWant>, now: Micros) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        let owner = owner.to_owned();
        Box::pin(self.claim_all(owner, wants, now))
    }

    fn heartbeat(&self, life: Life) -> Fut<'_, StoreResult<Heartbeat>> {
        self.change(move |conn| async move { lease::beat(&conn, &life).await })
    }

    fn leave(&self, owner: &str) -> Fut<'_, StoreResult<()>> {
        let owner = owner.to_owned();
        let left = self.change(move |conn| async move { lease::leave(&conn, &owner).await });
        Box::pin(async move {
            left.await?;
            self.tell().await;
            Ok(())
        })
    }

    fn rescue(&self, owner: &str, now: Micros) -> Fut<'_, StoreResult<Rescued>> {
        let owner = owner.to_owned();
        Box::pin(async move { self.rescue_all(&owner, now).await })
    }

    fn reject(&self, row: RejectedRow, caps: RejectedCaps) -> Fut<'_, StoreResult<()>> {
        self.change(move |conn| async move { keep::reject(&conn, &row, caps).await })
    }

    fn mark_resubmitted(&self, id: RunId, run: RunId) -> Fut<'_, StoreResult<()>> {
        self.change(move |conn| async move { keep::mark_resubmitted(&conn, id, run).await })
    }

    fn request_cancel(&self, run: RunId, now: Micros) -> Fut<'_, StoreResult<CancelAnswer>> {
        let cancel = self.change(move |conn| async move { claim::request_cancel(&conn, run, now).await });
        Box::pin(async move {
            let answer = cancel.await?;
            if answer == CancelAnswer::Requested {
                self.tell().await;
            }
            Ok(answer)
        })
    }

    fn release_held(&self, code: &str, lane: Option<&str>, now: Micros) -> Fut<'_, StoreResult<u64>> {
        let (code, lane) = (code.to_owned(), lane.map(str::to_owned));
        Box::pin(async move { self.release_all(&code, lane.as_deref(), now).await })
    }

    fn pin_text(&self, text: FlowText, now: Micros) -> Fut<'_, StoreResult<TextId>> {
        let pinned = self.pin_texts(vec![text], now);
        Box::pin(async move { pinned.await?.pop().ok_or_else(closed) })
    }

    fn pin_texts(&self, texts: Vec<FlowText>, now: Micros) -> Fut<'_, StoreResult<Vec<TextId>>> {
        self.change(move |conn| async move { keep::pin_texts(&conn, &texts, now).await })
    }

    fn set_live(&self, change: LiveChange) -> Fut<'_, StoreResult<()>> {
        self.change(move |conn| async move { keep::set_live(&conn, &change).await })
    }

    fn prune(&self, before: PruneBefore) -> Fut<'_, StoreResult<u64>> {
        Box::pin(self.prune_all(before))
    }

    fn meta_or_insert(&self, key: &str, fresh: &str) -> Fut<'_, StoreResult<String>> {
        let (key, fresh) = (key.to_owned(), fresh.to_owned());
        self.change(move |conn| async move { keep::meta_or_insert(&conn, &key, &fresh).await })
    }

    fn set_meta(&self, key: &str, value: &str) -> Fut<'_, StoreResult<()>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.change(move |conn| async move { keep::set_meta(&conn, &key, &value).await })
    }

    fn note_connections(&self, notes: Vec<ConnectionNote>) -> Fut<'_, StoreResult<Vec<Noted>>> {
        let noting = self.change(move |conn| async move { connections::note(&conn, &notes).await });
        Box::pin(async move {
            let answers = noting.await?;
            if answers.iter().any(|noted| noted.turn != Turn::None) {
                self.tell().await;
            }
            Ok(answers)
        })
    }

    fn probe_connection(
        &self,
        connection: &str,
        settings_digest: &str,
        seq: i64,
        until: Micros,
    ) -> Fut<'_, StoreResult<Option<ConnectionState>>> {
        let (connection, digest) = (connection.to_owned(), settings_digest.to_owned());
        self.change(move |conn| async move { connections::probe(&conn, &connection, &digest, seq, until).await })
    }

    fn connections(&self) -> Fut<'_, StoreResult<Vec<ConnectionState>>> {
        self.call(move |conn| async move { connections::all(&conn).await })
    }

    fn waiting_runs(&self) -> Fut<'_, StoreResult<Vec<(String, u64)>>> {
        self.call(move |conn| async move { connections::waiting(&conn).await })
    }

    fn rotate_key(&self, flow: &str, slot: &str, now: Micros) -> Fut<'_, StoreResult<u32>> {
        let (flow, slot) = (flow.to_owned(), slot.to_owned());
        let rotated = self.change(move |conn| async move { keep::rotate_key(&conn, &flow, &slot, now).await });
        Box::pin(async move {
            let version = rotated.await?;
            self.tell().await;
            Ok(version)
        })
    }

    fn touch_keys(&self, used: Vec<(String, String, Micros)>) -> Fut<'_, StoreResult<()>> {
        self.change(move |conn| async move { keep::touch_keys(&conn, &used).await })
    }

    fn now(&self) -> Fut<'_, StoreResult<Micros>> {
        self.call(move |conn| async move { lease::now(&conn).await })
    }

    fn nodes(&self) -> Fut<'_, StoreResult<Vec<NodeRow>>> {
        self.call(move |conn| async move { lease::nodes(&conn).await })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn run(&self, run: RunId) -> Fut<'_, StoreResult<Option<StoredRun>>> {
        self.call(move |conn| async move { read::stored_run(&conn, run).await })
    }

    fn find_runs(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let part = part.to_owned();
        Box::pin(async move { self.find_ids(&part, limit).await })
    }

    fn list_runs(&self, filter: RunFilter) -> Fut<'_, StoreResult<Vec<StoredRun>>> {
        self.call(move |conn| async move { read::list_runs(&conn, &filter).await })
    }

    fn cancel_requests(&self, owner: &str) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.call(move |conn| async move { read::cancel_requests(&conn, &owner).await })
    }

    fn owned(&self, owner: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RunId>>> {
        let owner = owner.to_owned();
        self.call(move |conn| async move { read::owned(&conn, &owner, limit).await })
    }

    fn lanes(&self, now: Micros) -> Fut<'_, StoreResult<Vec<LaneState>>> {
        self.call(move |conn| async move { read::lanes(&conn, now).await })
    }

    fn unfinished(&self, flow: &str, cap: u64) -> Fut<'_, StoreResult<u64>> {
        let flow = flow.to_owned();
        self.call(move |conn| async move { read::unfinished(&conn, &flow, cap).await })
    }

    fn text(&self, id: TextId) -> Fut<'_, StoreResult<Option<FlowText>>> {
        self.call(move |conn| async move { browse::text(&conn, id).await })
    }

    fn live(&self) -> Fut<'_, StoreResult<Live>> {
        self.call(move |conn| async move { keep::live(&conn).await })
    }

    fn list_rejected(&self, flow: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let flow = flow.map(str::to_owned);
        self.call(move |conn| async move { browse::list_rejected(&conn, flow.as_deref(), limit).await })
    }

    fn find_rejected(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RejectedRow>>> {
        let Some(part) = IdPart::parse(part) else { return Box::pin(std::future::ready(Ok(Vec::new()))) };
        self.call(move |conn| async move { browse::find_rejected(&conn, &part, limit).await })
    }

    fn list_records(&self, entity: Option<&str>, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let entity = entity.map(str::to_owned);
        self.call(move |conn| async move { browse::list_records(&conn, entity.as_deref(), limit).await })
    }

    fn read_records(&self, query: RecordQuery) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        Box::pin(records::read(self, query))
    }

    fn find_records(&self, part: &str, limit: usize) -> Fut<'_, StoreResult<Vec<RecordRow>>> {
        let part = part.to_owned();
        self.call(move |conn| async move { browse::find_records(&conn, &part, limit).await })
    }

    fn keys(&self) -> Fut<'_, StoreResult<Vec<KeySlot>>> {
        self.call(move |conn| async move { browse::keys(&conn).await })
    }

    fn meta(&self, key: &str) -> Fut<'_, StoreResult<Option<String>>> {
        let key = key.to_owned();
        self.call(move |conn| async move { browse::meta(&conn, &key).await })
    }

    fn changed_elsewhere(&self) -> Fut<'_, StoreResult<bool>> {
        Box::pin(std::future::ready(Ok(self.shared.wake.take_changed())))
    }

    fn ping(&self) -> Fut<'_, StoreResult<()>> {
        self.change(move |conn| async move { keep::ping(&conn).await })
    }

    fn counts(&self) -> Fut<'_, StoreResult<Vec<(RunStatus, u64)>>> {
        self.call(move |conn| async move { read::counts(&conn).await })
    }
}

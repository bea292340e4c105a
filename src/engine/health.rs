//! What this node knows of each connection, and tells the others: throttled, down, held, or well.
//!
//! Promises: what a try learns holds at once in this process (the lane's gate shuts before anybody else is let in) and is
//! in the store before the try counts as ended; a note that the store could not take is told again. A pause outlives a
//! restart. People hear of each turn once, however many runs meet it.
//!
//! Hosts of plain HTTP have no connection: their pauses are known here only, and forgotten after a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lanes::{Gate, Lanes};
use super::ports::{Connections, OpenConnection};
use crate::clock::{Clock, Micros, micros, rfc3339};
use crate::connectors::Outcome;
use crate::run::{Class, Failure};
use crate::store::{
    Condition, ConnectionNote, ConnectionState, Noted, PROBE_LEASE, Said, Store, StoreResult, Turn, Word,
};

/// How long the pauses of a host are remembered, so that pauses in a row grow.
const HOST_KEPT: Duration = Duration::from_mins(10);
/// How often what can wait (last successes) goes to the store, and what others wrote is read.
const EXCHANGE_EVERY: Duration = Duration::from_secs(2);

/// What is known of every connection.
pub struct Health {
    /// `None`: a dry run, in which nothing is told to anybody.
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    lanes: Arc<Lanes>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By lane: connections under their settings, hosts under none.
    known: HashMap<String, Known>,
    /// Notes that the store could not take.
    unsent: Vec<ConnectionNote>,
    exchanged_at: Micros,
}

/// What is known of one connection.
struct Known {
    state: ConnectionState,
    /// Notes on their way to the store: until they are there, its row knows less than we do.
    pending: usize,
    /// The newest row seen meanwhile.
    newest: Option<ConnectionState>,
    /// What can wait: the last success, with the beginning of its try, and the last refusal.
    worked: Option<(Micros, Micros)>,
    refused: Option<(Micros, Said)>,
}

impl Known {
    fn new(state: ConnectionState) -> Self {
        Self { state, pending: 0, newest: None, worked: None, refused: None }
    }

    fn gate(&self) -> Gate {
        match &self.state.block {
            Some(block) => Gate::Probe(block.next_probe_at),
            None if self.state.paused_until > 0 => Gate::Until(self.state.paused_until),
            None => Gate::Open,
        }
    }

    /// Applies a word here; the store counts for itself.
    fn note(&mut self, at: Micros, word: &Word) -> Turn {
        let seq = self.state.seq;
        let turn = self.state.note(at, word);
        self.state.seq = seq;
        turn
    }

    /// Takes over what the store has, unless we know more. Whether the gate may have changed.
    fn adopt(&mut self, row: ConnectionState) -> bool {
        if self.newest.as_ref().is_none_or(|newest| newest.seq < row.seq) {
            self.newest = Some(row);
        }
        if self.pending > 0 {
            return false;
        }
        let Some(mut row) = self.newest.take().filter(|row| row.seq > self.state.seq) else { return false };
        row.last_ok_at = row.last_ok_at.max(self.state.last_ok_at);
        self.state = row;
        true
    }
}

impl Health {
    /// Nothing is known yet.
    pub fn new(store: Option<Arc<dyn Store>>, clock: Arc<dyn Clock>, lanes: Arc<Lanes>) -> Self {
        Self { store, clock, lanes, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These connections are open now. New settings begin without a past: [`Health::seen`] reads what there is.
    pub(super) fn set_connections(&self, connections: &Connections) {
        let mut inner = self.lock();
        let Inner { known, unsent, .. } = &mut *inner;
        let is_same = |lane: &str, known: &Known| match connections.get(lane) {
            Some(connection) => connection.settings_digest == known.state.settings_digest,
            None => lane.starts_with('@'),
        };
        known.retain(|lane, known| {
            let keeps = is_same(lane, known);
            if !keeps {
                self.lanes.set_gate(lane, Gate::Open, false);
            }
            keeps
        });
        unsent.retain(|note| {
            connections.get(&note.connection).is_some_and(|open| open.settings_digest == note.settings_digest)
        });
        for (name, connection) in connections.iter().filter(|(name, _)| !name.is_empty()) {
            let fresh = || Known::new(ConnectionState::new(name, &connection.settings_digest));
            known.entry(name.clone()).or_insert_with(fresh);
        }
    }

    /// Tells the store which settings hold, and takes over what is known of them. After a start, what is blocked is
    /// probed at once: somebody may have repaired it meanwhile. A pause is a pause.
    pub(super) async fn seen(&self, starting: bool) -> StoreResult<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let at = self.clock.now();
        let note = |state: &ConnectionState| ConnectionNote {
            connection: state.connection.clone(),
            settings_digest: state.settings_digest.clone(),
            at,
            word: Word::Seen,
        };
        let notes: Vec<ConnectionNote> = {
            let inner = self.lock();
            inner
                .known
                .values()
                .filter(|known| !known.state.connection.is_empty())
                .map(|one| note(&one.state))
                .collect()
        };
        if notes.is_empty() {
            return Ok(());
        }
        for Noted { state, .. } in store.note_connections(notes).await? {
            let lane = state.connection.clone();
            self.adopt(state);
            if starting && let Some(known) = self.lock().known.get_mut(&lane) {
                known.note(at, &Word::Unprobed);
                self.lanes.set_gate(&lane, known.gate(), false);
            }
        }
        Ok(())
    }

    /// A try has ended: shuts or opens the lane, and tells the store. The try counts as ended when this is done.
    pub(super) async fn report(
        &self,
        connection: &OpenConnection,
        lane: &str,
        began_at: Micros,
        probe: bool,
        result: &Result<Outcome, Failure>,
    ) {
        let at = self.clock.now();
        let word = word(result, began_at, probe);
        let Some(note) = self.learn(connection, lane, at, word, probe) else { return };
        let Some(store) = &self.store else { return };
        match store.note_connections(vec![note.clone()]).await {
            Ok(noted) => noted.into_iter().for_each(|noted| self.told(noted)),
            Err(error) => {
                tracing::warn!(connection = lane, %error, "cannot keep what was learned of a connection; trying again");
                self.lock().unsent.push(note);
            }
        }
    }

    /// Applies a word here. The note that the store has to take before the try has ended, if it has to.
    fn learn(
        &self,
        connection: &OpenConnection,
        lane: &str,
        at: Micros,
        word: Word,
        probe: bool,
    ) -> Option<ConnectionNote> {
        let mut inner = self.lock();
        let known = &mut inner.known;
        if connection.name.is_empty() {
            self.learn_of_host(known, lane, at, &word);
            return None;
        }
        // It was opened before a reload: what it tells is of settings that nobody uses any more.
        let known = known.get_mut(lane).filter(|one| one.state.settings_digest == connection.settings_digest)?;
        let matters = match &word {
            Word::Worked { .. } | Word::Refused(_) => probe || known.state.is_troubled(),
            _ => true,
        };
        known.note(at, &word);
        if !matters {
            match word {
                Word::Worked { began_at } => known.worked = Some((at, began_at)),
                Word::Refused(said) => known.refused = Some((at, said)),
                _ => {}
            }
            return None;
        }
        self.lanes.set_gate(lane, known.gate(), probe);
        self.store.as_ref()?;
        known.pending += 1;
        let (connection, settings_digest) = (connection.name.clone(), connection.settings_digest.clone());
        Some(ConnectionNote { connection, settings_digest, at, word })
    }

    fn learn_of_host(&self, known: &mut HashMap<String, Known>, lane: &str, at: Micros, word: &Word) {
        if !known.contains_key(lane) && !matches!(word, Word::Throttled { .. }) {
            return;
        }
        known.retain(|name, one| {
            !name.starts_with('@') || at < one.state.paused_until.saturating_add(micros(HOST_KEPT))
        });
        let one = known.entry(lane.to_owned()).or_insert_with(|| Known::new(ConnectionState::new("", "")));
        match word {
            Word::Throttled { .. } => {
                if one.note(at, word) == Turn::Throttled {
                    let until = rfc3339(one.state.paused_until);
                    tracing::warn!(host = &lane[1..], %until, "throttled: no run calls this host before");
                }
            }
            Word::Worked { .. } => {
                one.note(at, word);
            }
            _ => return,
        }
        self.lanes.set_gate(lane, one.gate(), false);
    }

    /// The store has taken a note of ours.
    fn told(&self, noted: Noted) {
        let Noted { state, turn } = noted;
        tell(&state, turn);
        let of_these = |known: &&mut Known| known.state.settings_digest == state.settings_digest;
        if let Some(known) = self.lock().known.get_mut(&state.connection).filter(of_these) {
            known.pending = known.pending.saturating_sub(1);
        }
        self.adopt(state);
    }

    /// Takes over a row of the store.
    fn adopt(&self, row: ConnectionState) {
        let lane = row.connection.clone();
        let mut inner = self.lock();
        if let Some(known) = inner.known.get_mut(&lane)
            && known.state.settings_digest == row.settings_digest
            && known.adopt(row)
        {
            self.lanes.set_gate(&lane, known.gate(), false);
        }
    }

    /// Asks for the probe of a blocked lane in which something waits; the lane then lets one claimed run in.
    pub(super) async fn probe(&self, lane: &str) -> StoreResult<()> {
        let Some(store) = &self.store else { return Ok(()) };
        if !self.lanes.wants_probe(lane) {
            return Ok(());
        }
        self.send_unsent(store).await?;
        let key = self.lock().known.get(lane).map(|known| (known.state.settings_digest.clone(), known.state.seq));
        let Some((digest, seq)) = key else { return Ok(()) };
        let until = self.clock.now().saturating_add(micros(PROBE_LEASE));
        match store.probe_connection(lane, &digest, seq, until).await? {
            Some(row) => {
                self.adopt(row);
                self.lanes.grant_probe(lane);
                Ok(())
            }
            None => self.read(store).await,
        }
    }

    /// Tells the store what could wait and reads what others told it, every now and then.
    pub(super) async fn exchange(&self, at_once: bool) -> StoreResult<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let at = self.clock.now();
        {
            let mut inner = self.lock();
            if !at_once && at < inner.exchanged_at.saturating_add(micros(EXCHANGE_EVERY)) {
                return Ok(());
            }
            inner.exchanged_at = at;
            let Inner { known, unsent, .. } = &mut *inner;
            for known in known.values_mut().filter(|known| !known.state.connection.is_empty()) {
                let words = [
                    known.worked.take().map(|(at, began_at)| (at, Word::Worked { began_at })),
                    known.refused.take().map(|(at, said)| (at, Word::Refused(said))),
                ];
                for (at, word) in words.into_iter().flatten() {
                    known.pending += 1;
                    let (connection, settings_digest) =
                        (known.state.connection.clone(), known.state.settings_digest.clone());
                    unsent.push(ConnectionNote { connection, settings_digest, at, word });
                }
            }
        }
        self.send_unsent(store).await?;
        self.read(store).await
    }

    async fn send_unsent(&self, store: &Arc<dyn Store>) -> StoreResult<()> {
        let unsent = std::mem::take(&mut self.lock().unsent);
        if unsent.is_empty() {
            return Ok(());
        }
        match store.note_connections(unsent.clone()).await {
            Ok(noted) => {
                for noted in noted {
                    self.told(noted);
                }
                Ok(())
            }
            Err(error) => {
                self.lock().unsent.extend(unsent);
                Err(error)
            }
        }
    }

    async fn read(&self, store: &Arc<dyn Store>) -> StoreResult<()> {
        if self.lanes.has_rates() {
            let now = self.clock.now();
            let nodes = store.nodes().await?;
            self.lanes.set_nodes(nodes.iter().filter(|node| node.lease_until.is_none_or(|until| now < until)).count());
        }
        for row in store.connections().await? {
            self.adopt(row);
        }
        Ok(())
    }
}

/// What the end of a try tells of its connection.
fn word(result: &Result<Outcome, Failure>, began_at: Micros, probe: bool) -> Word {
    let Err(failure) = result else { return Word::Worked { began_at } };
    let said = Said { code: failure.code.clone(), message: failure.message.clone() };
    match failure.class {
        Class::Terminal => Word::Refused(said),
        Class::Throttled => Word::Throttled { said, wait: failure.retry_after },
        Class::Credentials => Word::Credentials { said, probe },
        Class::Retryable | Class::Unknown | Class::TimedOut => Word::Down { said, probe },
    }
}

/// One line for each turn.
fn tell(state: &ConnectionState, turn: Turn) {
    let connection = &state.connection;
    let (code, message) =
        state.last_error.as_ref().map_or(("", ""), |(_, said)| (said.code.as_str(), said.message.as_str()));
    match turn {
        Turn::None => {}
        Turn::Throttled => {
            let until = rfc3339(state.paused_until);
            tracing::warn!(%connection, code, %until, "throttled: no run calls this connection before");
        }
        Turn::Opened => {
            tracing::warn!(%connection, code, message, "does not answer: its runs wait, and one at a time tries again");
        }
        Turn::Held => tracing::error!(
            code = "connection_held",
            %connection,
            cause = code,
            message,
            "the credentials are refused: the connection's runs wait until they work again"
        ),
        Turn::Healed => match state.condition(0) {
            Condition::Well | Condition::Throttled(_) => tracing::info!(%connection, "works again; its runs go on"),
            Condition::Blocked(_) => {}
        },
    }
}

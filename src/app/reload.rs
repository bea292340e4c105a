//! Keeps what is live in step with what is on disk: looks when a hint comes, when the poll is due and when somebody
//! asks; then decides (`library/reload`), pins, notes what is live, and swaps one pointer.
//!
//! Promises: nothing is torn down first; a set becomes live only when the store has its texts; whatever fails, the set
//! that was live stays and the next look tries again; this task ends only with the server.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::hot::{Hot, Looked, Reached};
use crate::clock::{Clock, Fut, MICROS_PER_SEC, Micros, micros};
use crate::diagnostic::Diagnostic;
use crate::library::load::{Folder, Loaded, Loader, Look};
use crate::library::reload::{self, Decision, Rules};
use crate::library::watch::{Hints, Wanted, Watcher};
use crate::library::{FlowSet, Library, Outcome, Reload, Verdict};
use crate::store::{FlowText, LiveChange, LiveRow, Store, StoreResult, TextId};

/// Texts or rows in one transaction while leads may be waiting for theirs.
const ROWS_PER_COMMIT: usize = 64;

/// How long whoever asked with `wait` is kept at most.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Changes that come together are taken together: files that are at rest wait this long for those that are not.
const TOGETHER_MAX: Duration = Duration::from_secs(1);

/// The shortest pause between two looks that hints bring.
const HINT_PAUSE_MIN: Duration = Duration::from_millis(20);

/// After a failure of the store: the pause before the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Requests that may wait for this task.
const REQUESTS_MAX: usize = 64;

/// Somebody asks for a reload.
pub(super) struct Request {
    wait: bool,
    answer: oneshot::Sender<Verdict>,
}

/// The way to ask.
pub(super) struct Handle {
    requests: mpsc::Sender<Request>,
    library: Arc<Library>,
}

impl Handle {
    /// A handle, and where its requests arrive.
    pub(super) fn new(library: Arc<Library>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, arriving) = mpsc::channel(REQUESTS_MAX);
        (Self { requests, library }, arriving)
    }
}

impl Reload for Handle {
    fn reload(&self, wait: bool) -> Fut<'_, Verdict> {
        Box::pin(async move {
            let (answer, verdict) = oneshot::channel();
            // Both fail only when the server stops: then what is live stays as it is.
            let asked = self.requests.send(Request { wait, answer }).await;
            match (asked, verdict.await) {
                (Ok(()), Ok(verdict)) => verdict,
                _ => verdict_of(&self.library.live(), false),
            }
        })
    }
}

fn verdict_of(set: &FlowSet, waited: bool) -> Verdict {
    Verdict {
        generation: set.generation,
        digest: set.digest.clone(),
        waited,
        on_disk_is_live: waited && set.is_on_disk(),
        findings: if waited { set.open_findings() } else { Vec::new() },
    }
}

/// Why a look is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The system says that something has changed, or something is due: unchanged files are believed.
    Hint,
    /// The time has come to read every byte.
    Poll,
    /// Somebody asked: as a poll, and what is gone needs no patience.
    Asked,
}

/// The task's state.
pub(super) struct Reloader {
    pub(super) hot: Hot,
    pub(super) reached: Reached,
    library: Arc<Library>,
    clock: Arc<dyn Clock>,
    loader: Option<Loader>,
    watcher: Watcher,
    hints: Arc<Hints>,
    /// What the last look found, to tell quickly that the next one finds the same.
    last: Vec<Arc<Loaded>>,
    last_notices: Vec<Diagnostic>,
    /// Something that is missing is due then.
    due_at: Option<Micros>,
    /// Since when something has not been at rest.
    unsettled_since: Option<Micros>,
    /// The store did not keep the last decision.
    failed: bool,
    poll_at: Micros,
    next_at: Micros,
}

impl Reloader {
    /// A task that has not looked yet.
    pub(super) fn new(
        hot: Hot,
        reached: Reached,
        library: Arc<Library>,
        clock: Arc<dyn Clock>,
        loader: Loader,
    ) -> Self {
        let watcher = Watcher::new();
        let now = clock.now();
        let poll_at = now.saturating_add(micros(hot.settings.reload.poll));
        Self {
            hints: watcher.hints(),
            hot,
            reached,
            library,
            clock,
            loader: Some(loader),
            watcher,
            last: Vec::new(),
            last_notices: Vec::new(),
            due_at: Some(now),
            unsettled_since: None,
            failed: false,
            poll_at,
            next_at: now,
        }
    }

    /// Works until it is dropped.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut hangups: mpsc::Receiver<()>) {
        self.watch();
        loop {
            tokio::select! {
                Some(request) = requests.recv() => self.answer(request).await,
                Some(()) = hangups.recv() => {
                    tracing::info!("reload asked for by SIGHUP");
                    self.asked().await;
                }
                () = self.hints.heard() => self.hinted().await,
                () = self.clock.sleep_until(self.next_at) => {
                    let cause = if self.clock.now() >= self.poll_at { Cause::Poll } else { Cause::Hint };
                    self.look(cause).await;
                }
            }
        }
    }

    async fn answer(&mut self, Request { wait, answer }: Request) {
        if wait {
            let verdict = self.asked().await;
            // Whoever asked may have gone.
            let _ = answer.send(verdict);
        } else {
            let _ = answer.send(verdict_of(&self.library.live(), false));
            self.asked().await;
        }
    }

    /// Looks until everything has been taken or refused.
    async fn asked(&mut self) -> Verdict {
        let counted = self.counted();
        let end = self.clock.now().saturating_add(micros(WAIT_MAX));
        loop {
            self.look(Cause::Asked).await;
            let open = self.unsettled_since.is_some() || self.failed || self.due_at.is_some_and(|at| at <= end);
            if !open || self.clock.now() >= end {
                break;
            }
            self.clock.sleep_until(self.next_at.min(end)).await;
        }
        let set = self.library.live();
        if self.counted() == counted {
            self.library.counters().count(Outcome::Unchanged);
            let (generation, open) = (set.generation, set.open_findings().len());
            tracing::info!(generation, open_findings = open, "reload: nothing has changed on disk");
        }
        let mut verdict = verdict_of(&set, true);
        verdict.on_disk_is_live &= self.unsettled_since.is_none() && !self.failed;
        verdict
    }

    fn counted(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.library.counters().of(*outcome)).sum()
    }

    /// Looks at once, then gives the machine back for as long as the look took.
    async fn hinted(&mut self) {
        let begun = self.clock.now();
        self.look(Cause::Hint).await;
        let took = self.clock.now().saturating_sub(begun);
        let pause = took.clamp(micros(HINT_PAUSE_MIN), MICROS_PER_SEC);
        self.clock.sleep_until(self.clock.now().saturating_add(pause)).await;
    }

    /// One look, and what follows from it.
    async fn look(&mut self, cause: Cause) {
        let now = self.clock.now();
        let timing = self.hot.settings.reload;
        if cause != Cause::Hint {
            self.poll_at = now.saturating_add(micros(timing.poll));
        }
        let settings = self.look_at_settings(now).await;
        let look = Look {
            now,
            trust_stamps: cause == Cause::Hint,
            quiet: Some(timing.quiet),
            being_written: self.hints.being_written(),
        };
        let folder = self.look_at_flows(look).await;
        self.watch();
        if let Some(folder) = folder {
            self.settle(&folder, settings, cause, now).await;
        }
        self.next_at = self.next(now);
    }

    /// When to look again, if nobody says anything before.
    fn next(&self, now: Micros) -> Micros {
        let quiet = self.unsettled_since.map(|_| now.saturating_add(micros(self.hot.settings.reload.quiet)));
        let retry = self.failed.then(|| now.saturating_add(micros(RETRY_PAUSE)));
        [Some(self.poll_at), quiet, retry, self.due_at].into_iter().flatten().min().unwrap_or(self.poll_at)
    }

    /// What has changed in the settings, in words; `unsettled_since` when something is not at rest.
    async fn look_at_settings(&mut self, now: Micros) -> Settled {
        let looked = tokio::task::block_in_place(|| self.hot.look(now));
        match looked {
            Looked::Same | Looked::Refused => Settled::default(),
            Looked::Unsettled => Settled { unsettled: true, changed: Vec::new() },
            Looked::New(candidate) => {
                let changed = self.hot.apply(*candidate, &self.reached).await.unwrap_or_default();
                Settled { unsettled: false, changed }
            }
        }
    }

    async fn look_at_flows(&mut self, look: Look) -> Option<Folder> {
        let sources = self.hot.settings.sources();
        let mut loader = self.loader.take().unwrap_or_default();
        let looked = tokio::task::spawn_blocking(move || (loader.look(&sources, &look), loader)).await;
        match looked {
            Ok((folder, loader)) => {
                self.loader = Some(loader);
                Some(folder)
            }
            Err(error) => {
                tracing::error!(%error, "a look at the flows ended badly; the next one reads everything anew");
                None
            }
        }
    }

    /// Decides what becomes of what was found, unless it is what was found before.
    async fn settle(&mut self, folder: &Folder, settings: Settled, cause: Cause, now: Micros) {
        let unsettled = settings.unsettled || !folder.unsettled.is_empty();
        let since = self.unsettled_since.unwrap_or(now);
        self.unsettled_since = unsettled.then_some(since);
        let waits = unsettled && now.saturating_sub(since) < micros(TOGETHER_MAX);
        let same = self.last.len() == folder.files.len()
            && self.last.iter().zip(&folder.files).all(|(old, new)| Arc::ptr_eq(old, new));
        let notices: Vec<Diagnostic> = folder.findings.iter().chain(&self.hot.findings).cloned().collect();
        let due = self.due_at.is_some_and(|at| at <= now);
        let asked = cause == Cause::Asked && self.due_at.is_some();
        if settings.changed.is_empty()
            && ((same && notices == self.last_notices && !due && !asked && !self.failed) || waits)
        {
            return;
        }
        let quiet = self.hot.settings.reload.quiet;
        let rules = match cause {
            Cause::Asked => Rules { unload_after: quiet, ..self.hot.settings.reload.rules },
            Cause::Hint | Cause::Poll => self.hot.settings.reload.rules,
        };
        let previous = self.library.live();
        // Over ten thousand files this takes a while: no lead waits behind it.
        let mut decision =
            tokio::task::block_in_place(|| reload::plan(&previous, folder, &self.hot.findings, now, rules));
        decision.report.settings = settings.changed;
        self.due_at = decision.look_again_at;
        if self.take(decision, &previous, now).await {
            self.last.clone_from(&folder.files);
            self.last_notices = notices;
            if let Some(loader) = &mut self.loader {
                let live = self.library.live();
                loader.forget(|file| live.files.contains_key(file));
            }
        }
    }

    /// Makes a decision live. `false`: the store did not keep it, and everything is as it was.
    async fn take(&mut self, decision: Decision, previous: &FlowSet, now: Micros) -> bool {
        let report = decision.report.clone();
        let changes = report.changes_flows() || !report.settings.is_empty();
        let generation = previous.generation + u64::from(changes);
        match keep(self.reached.store.as_ref(), decision, previous, generation, now, ROWS_PER_COMMIT).await {
            Ok(set) => {
                self.failed = false;
                tokio::task::block_in_place(|| self.reached.engine.set_live(set.flows.values().map(Arc::clone)));
                let is_on_disk = set.is_on_disk();
                self.library.swap(set);
                if !report.is_empty() {
                    let outcome = if is_on_disk { Outcome::Applied } else { Outcome::KeptBack };
                    self.library.counters().count(outcome);
                    tell(&self.library.live(), &report.line(), is_on_disk);
                }
                true
            }
            Err(error) => {
                if !self.failed {
                    tracing::error!(%error, "a change of the flows cannot be stored now; what was live stays live");
                }
                self.failed = true;
                self.library.counters().count(Outcome::Failed);
                false
            }
        }
    }

    fn watch(&mut self) {
        let settings = &self.hot.settings;
        let beside = |name: &str| settings.flows.parent().unwrap_or(Path::new("")).join(name);
        let folders =
            [settings.flows.clone(), settings.schemas.clone(), beside("connectors"), beside("blueprints")].into();
        let files: BTreeSet<_> = self.hot.files().clone();
        self.watcher.place(&Wanted { folders, files });
    }
}

/// What a look at the settings came to, for the flows.
#[derive(Debug, Default)]
struct Settled {
    unsettled: bool,
    changed: Vec<String>,
}

fn tell(set: &FlowSet, line: &str, is_on_disk: bool) {
    let digest = &set.digest[..set.digest.len().min(12)];
    let (generation, flows) = (set.generation, set.flows.len());
    if is_on_disk {
        tracing::info!(generation, digest, flows, "reload: {line}");
    } else {
        tracing::warn!(generation, digest, flows, open_findings = set.open_findings().len(), "reload: {line}");
    }
}

/// Pins what is fresh and notes what is live, at most `rows` of them in one transaction; the set that may be swapped in.
pub(super) async fn keep(
    store: &dyn Store,
    decision: Decision,
    previous: &FlowSet,
    generation: u64,
    now: Micros,
    rows: usize,
) -> StoreResult<FlowSet> {
    let fresh: Vec<_> = decision.fresh().map(|(file, flow)| (file.to_owned(), Arc::clone(flow))).collect();
    let mut ids: Vec<TextId> = Vec::with_capacity(fresh.len());
    for slice in fresh.chunks(rows) {
        let texts = slice.iter().map(|(_, flow)| FlowText {
            digest: flow.digest.clone(),
            flow: flow.name.clone(),
            // A bundle is texts, numbers and maps with text keys: it always serializes.
            bundle: serde_json::to_string(&flow.bundle).unwrap_or_default(),
        });
        ids.extend(store.pin_texts(texts.collect(), now).await?);
    }
    let mut remove = decision.gone(previous);
    let (set, mut put) = tokio::task::block_in_place(|| {
        let set = decision.into_set(previous, ids, generation, now);
        let rows = live_rows(&set, previous);
        (set, rows)
    });
    if put.is_empty() && remove.is_empty() && generation == previous.generation {
        return Ok(set);
    }
    // What is removed goes last: a crash in between leaves a name with two files, never with none.
    while put.len() > rows {
        let slice = put.drain(..rows).collect();
        store.set_live(LiveChange { generation, put: slice, remove: Vec::new() }).await?;
    }
    while remove.len() > rows {
        let slice = remove.drain(..rows).collect();
        store.set_live(LiveChange { generation, put: std::mem::take(&mut put), remove: slice }).await?;
    }
    store.set_live(LiveChange { generation, put, remove }).await?;
    Ok(set)
}

/// Rows of files whose last good version is not the one that `previous` had.
fn live_rows(set: &FlowSet, previous: &FlowSet) -> Vec<LiveRow> {
    let rows = set.files.values().filter_map(|state| {
        let version = state.good.as_ref()?;
        let before = previous.files.get(&state.file).and_then(|before| before.good.as_ref());
        let is_known = before.is_some_and(|before| before.live.text_id == version.live.text_id);
        (!is_known).then(|| LiveRow {
            file: state.file.clone(),
            flow: version.flow().name.clone(),
            text_id: version.live.text_id,
            digest: version.flow().digest.clone(),
            generation: version.generation,
            loaded_at: version.loaded_at,
        })
    });
    rows.collect()
}

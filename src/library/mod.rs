//! The live set of flows: loaded by one loader, swapped by one pointer.
//!
//! [`load`] reads the folders, [`reload`] decides what becomes of what it read, [`diff`] says in words what changed,
//! [`watch`] hears of changes. Nothing here swaps by itself: `app` does, when the store has what is to become live.

mod calls;
mod clash;
pub mod diff;
pub mod files;
pub mod load;
mod named;
pub mod reload;
pub mod report;
mod settle;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::{Fut, Micros};
use crate::diagnostic::{Diagnostic, Severity};
use crate::flow::Flow;
use crate::store::TextId;
pub use report::{Counters, Outcome, Report, Verdict};

/// A flow that answers.
#[derive(Debug)]
pub struct LiveFlow {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Its pinned text in the store (0 in a dry run, where there is none).
    pub text_id: TextId,
}

/// A good version of a flow file: the one that serves, unless it says `enabled: false`.
#[derive(Debug)]
pub struct Version {
    /// The flow with its pinned text.
    pub live: Arc<LiveFlow>,
    /// The generation that brought it.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Micros,
}

impl Version {
    /// Its flow.
    pub fn flow(&self) -> &Arc<Flow> {
        &self.live.flow
    }
}

/// How a flow file stands to what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What is on disk is live (or off, because it says so).
    Current,
    /// What is on disk is not good; the last good version is live.
    KeptBack,
    /// It is not on disk any more; its last good version is live until it has been missed long enough.
    Vanished {
        /// When it was first missed.
        since: Micros,
        /// When its flow unloads.
        until: Micros,
        /// Whether its whole folder has no flows any more.
        emptied: bool,
    },
    /// What is on disk is not good, and no version ever was.
    Off,
}

impl Standing {
    /// As printed and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::KeptBack => "kept_back",
            Self::Vanished { .. } => "vanished",
            Self::Off => "off",
        }
    }
}

/// One flow file and what is live of it.
#[derive(Debug, Clone)]
pub struct FileState {
    /// The file as the user knows it.
    pub file: String,
    /// The flow's name as far as it is known.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// The last good version.
    pub good: Option<Arc<Version>>,
    /// What was found in what is on disk.
    pub findings: Vec<Diagnostic>,
    /// Since when what is on disk and what is live differ.
    pub since: Option<Micros>,
}

impl FileState {
    /// The flow that answers, if one does.
    pub fn serving(&self) -> Option<&Arc<Version>> {
        self.good.as_ref().filter(|version| version.flow().enabled)
    }

    /// The first error of what is on disk.
    pub fn error(&self) -> Option<&Diagnostic> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error)
    }
}

/// A flow that does not answer, and why.
#[derive(Debug, Clone)]
pub struct Off {
    /// Its name as far as it is known.
    pub name: String,
    /// Its file.
    pub file: String,
    /// The first error; `None`: `enabled: false`.
    pub finding: Option<Diagnostic>,
}

/// An immutable set of flows.
#[derive(Debug, Default)]
pub struct FlowSet {
    /// Counts the sets of flows and settings that were live, over restarts too.
    pub generation: u64,
    /// SHA-256 over the names and digests of the flows that answer, hexadecimal.
    pub digest: String,
    /// When it was loaded.
    pub loaded_at: Micros,
    /// Enabled flows by name.
    pub flows: BTreeMap<String, Arc<LiveFlow>>,
    /// Old names to names.
    pub aliases: BTreeMap<String, String>,
    /// Flows that are off.
    pub off: Vec<Off>,
    /// Every flow file, by its path.
    pub files: BTreeMap<String, Arc<FileState>>,
    /// Findings that belong to no flow file: folders, settings.
    pub notices: Vec<Notice>,
}

/// A finding beside the flow files, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The finding.
    pub finding: Diagnostic,
    /// Since when.
    pub since: Micros,
}

impl FlowSet {
    /// A set of flows that are pinned nowhere: what a dry run may call.
    pub fn unpinned(flows: impl IntoIterator<Item = Arc<Flow>>) -> Self {
        let mut set = Self::default();
        for flow in flows.into_iter().filter(|flow| flow.enabled) {
            set.aliases.extend(flow.aliases.iter().map(|alias| (alias.clone(), flow.name.clone())));
            let name = flow.name.clone();
            set.flows.insert(name, Arc::new(LiveFlow { flow, text_id: 0 }));
        }
        set
    }

    /// The flow that answers to `name`, or to the alias `name` (then `true`).
    pub fn resolve(&self, name: &str) -> Option<(&Arc<LiveFlow>, bool)> {
        if let Some(flow) = self.flows.get(name) {
            return Some((flow, false));
        }
        self.flows.get(self.aliases.get(name)?).map(|flow| (flow, true))
    }

    /// Files whose content on disk is not what is live.
    pub fn unresolved(&self) -> impl Iterator<Item = &Arc<FileState>> {
        self.files.values().filter(|state| state.since.is_some())
    }

    /// Since when the oldest unresolved finding has been there.
    pub fn oldest_finding(&self) -> Option<Micros> {
        let notices = self.notices.iter().filter(|notice| notice.finding.severity != Severity::Note);
        self.unresolved().filter_map(|state| state.since).chain(notices.map(|notice| notice.since)).min()
    }

    /// Whether what is on disk is what is live: flows, schemas and settings.
    pub fn is_on_disk(&self) -> bool {
        self.oldest_finding().is_none()
    }

    /// Every finding that says why what is on disk is not live.
    pub fn open_findings(&self) -> Vec<Diagnostic> {
        let notices: Vec<&Diagnostic> = self.notices.iter().map(|notice| &notice.finding).collect();
        let of_files = self.unresolved().flat_map(|state| state.findings.iter());
        // What is wrong with a folder or a link is told once, not again for each file that it keeps back.
        let of_files = of_files.filter(|finding| !notices.contains(finding));
        notices.iter().copied().chain(of_files).cloned().collect()
    }
}

/// The pointer to the live set.
#[derive(Debug, Default)]
pub struct Library {
    live: ArcSwap<FlowSet>,
    counters: Counters,
}

impl Library {
    /// The set that is live now. A request that holds it finishes on it.
    pub fn live(&self) -> Arc<FlowSet> {
        self.live.load_full()
    }

    /// Makes `set` the live one.
    pub fn swap(&self, set: FlowSet) {
        self.live.store(Arc::new(set));
    }

    /// What reloads came to.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Whoever reloads when asked.
pub trait Reload: Send + Sync + 'static {
    /// Looks at everything on disk now. With `wait` the answer comes when what is there has been taken or refused, else
    /// at once.
    fn reload(&self, wait: bool) -> Fut<'_, Verdict>;
}

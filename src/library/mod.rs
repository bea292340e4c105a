//! The live set of flows: loaded by one loader, swapped by one pointer.

pub mod load;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::Micros;
use crate::diagnostic::Diagnostic;
use crate::flow::Flow;
use crate::store::TextId;

/// A flow that answers.
#[derive(Debug)]
pub struct LiveFlow {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Its pinned text in the store (0 in a dry run, where there is none).
    pub text_id: TextId,
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
    /// Counts the swaps.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Micros,
    /// Enabled flows by name.
    pub flows: BTreeMap<String, Arc<LiveFlow>>,
    /// Old names to names.
    pub aliases: BTreeMap<String, String>,
    /// Flows that are off.
    pub off: Vec<Off>,
}

impl FlowSet {
    /// A set of flows that are pinned nowhere: what a dry run may call.
    pub fn unpinned(flows: impl IntoIterator<Item = Flow>) -> Self {
        let mut set = Self::default();
        for flow in flows.into_iter().filter(|flow| flow.enabled) {
            set.aliases.extend(flow.aliases.iter().map(|alias| (alias.clone(), flow.name.clone())));
            let name = flow.name.clone();
            set.flows.insert(name, Arc::new(LiveFlow { flow: Arc::new(flow), text_id: 0 }));
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
}

/// The pointer to the live set.
#[derive(Debug, Default)]
pub struct Library {
    live: ArcSwap<FlowSet>,
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
}

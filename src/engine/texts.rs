//! Flows by pinned text: a run ends on the text that it started with, whatever lies on disk by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::flow::catalogue::Catalogue;
use crate::flow::{Bundle, Environment, Flow, compile};
use crate::store::{Store, StoreError, TextId};

/// Compiled texts that are not live, kept in memory; beyond it all are forgotten and compiled again when needed.
const TEXTS_KEPT_MAX: usize = 1024;

/// Why a pinned text gives no flow.
#[derive(Debug, thiserror::Error)]
pub(super) enum TextError {
    /// The store cannot say now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This binary cannot read it: the run is held, never failed.
    #[error("{0}")]
    Unreadable(String),
}

/// Compiled flows by text id.
pub(super) struct Texts {
    catalogue: Arc<Catalogue>,
    live: ArcSwap<HashMap<TextId, Arc<Flow>>>,
    known: Mutex<HashMap<TextId, Arc<Flow>>>,
}

impl Texts {
    pub(super) fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, live: ArcSwap::default(), known: Mutex::default() }
    }

    /// Replaces the flows that are live.
    pub(super) fn set_live(&self, live: HashMap<TextId, Arc<Flow>>) {
        self.live.store(Arc::new(live));
    }

    /// Remembers the flow of a text that is not live.
    fn put(&self, id: TextId, flow: Arc<Flow>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TEXTS_KEPT_MAX {
            known.clear();
        }
        known.insert(id, flow);
    }

    /// The flow of a pinned text.
    pub(super) async fn get(&self, store: &dyn Store, id: TextId) -> Result<Arc<Flow>, TextError> {
        if let Some(flow) = self.live.load().get(&id) {
            return Ok(Arc::clone(flow));
        }
        if let Some(flow) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(flow));
        }
        let text = store.text(id).await?;
        let text = text.ok_or_else(|| TextError::Unreadable(format!("flow text {id} is not in the store")))?;
        let flow = Arc::new(compile_pinned(&text.bundle, &self.catalogue).map_err(TextError::Unreadable)?);
        self.put(id, Arc::clone(&flow));
        Ok(flow)
    }
}

/// Compiles a bundle as stored. Limits of today's settings do not apply: it was accepted once.
pub fn compile_pinned(bundle: &str, catalogue: &Catalogue) -> Result<Flow, String> {
    let bundle: Bundle = serde_json::from_str(bundle).map_err(|error| error.to_string())?;
    let environment = Environment {
        catalogue,
        connections: None,
        connections_decided: &[],
        schemas_known: &[],
        blueprints_known: &[],
        actions_per_flow_max: usize::MAX,
        nesting_max: usize::MAX,
    };
    let compiled = compile(bundle, &environment);
    compiled.flow.ok_or_else(|| {
        let first = compiled.findings.first();
        first.map_or_else(|| "does not compile".to_owned(), |finding| format!("{}: {}", finding.code, finding.message))
    })
}

//! The engine: accepts leads, runs their actions, retries, resumes after a crash, drains.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actions::Answer;
use crate::ids::RunId;
use crate::library::LiveFlow;
use crate::run::TriggerData;
use crate::triggers::request::Problem;

/// What became of a request.
#[derive(Debug)]
pub enum Accepted {
    /// Stored durably; it runs.
    Run {
        /// Its id.
        run_id: RunId,
        /// For a flow with `respond`: how the request is to be answered. Dropped without a value when the node drains.
        answer: Option<oneshot::Receiver<Answered>>,
    },
    /// A condition was false: stored, not run. Answer 200 `skipped`.
    Skipped {
        /// Its id.
        run_id: RunId,
    },
    /// A test lead with `run: false`: stored as skipped. Answer 202.
    TestSkipped {
        /// Its id.
        run_id: RunId,
    },
    /// The body does not fit: not stored as a run; the caller keeps it in the rejected inbox.
    Refused(Problem),
    /// Too many runs of this flow wait: 429.
    Busy,
    /// Cannot store now: 503.
    Unavailable(String),
}

/// How a flow with `respond` answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// By `respond`.
    Respond(Answer),
    /// The run ended well without reaching `respond`: 202.
    EndedWithout,
    /// The run failed without reaching `respond`: 502 `no_response`.
    FailedWithout,
}

/// What the server needs of the engine.
pub trait Accept: Send + Sync + 'static {
    /// Parses, folds, validates, evaluates conditions, runs pure actions, stores, and starts the rest.
    fn accept(&self, flow: Arc<LiveFlow>, trigger: TriggerData) -> crate::clock::Fut<'_, Accepted>;
}

//! The `terminate` action: ends the run here and now.

use serde_json::Value;

use super::{Action, Next, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::{Failure, RunStatus};

/// The name of its type.
pub const KIND: &str = "terminate";
/// The code of a run that `terminate` failed without giving one.
const CODE: &str = "terminated";

/// The `terminate` action.
#[derive(Debug, Clone, Copy)]
pub struct Terminate;

/// What `terminate` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// How the run ends: `succeeded`, `failed` or `cancelled`.
    #[schemars(required, extend("x-fixed" = true))]
    status: Option<Status>,
    /// A code for the run, for people and alerts; only with `failed` or `cancelled`.
    #[schemars(extend("x-template" = "plain"))]
    code: Option<String>,
    /// One line that says why.
    #[schemars(extend("x-template" = "plain"))]
    #[expect(dead_code, reason = "for the history, which shows the inputs")]
    message: Option<String>,
}

/// How `terminate` ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// The end that `terminate` asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How.
    pub status: Status,
    /// The run's code.
    pub code: Option<String>,
}

impl End {
    /// The run's status.
    pub fn run_status(&self) -> RunStatus {
        self.status.into()
    }
}

/// The end that rendered inputs ask for.
pub fn read(inputs: &Value) -> Result<End, Failure> {
    let keys: Keys = super::input::read(inputs)?;
    let status = keys.status.unwrap_or(Status::Failed);
    let code = keys.code.filter(|code| !code.trim().is_empty());
    let code = match status {
        Status::Succeeded => None,
        Status::Failed => Some(code.unwrap_or_else(|| CODE.to_owned())),
        Status::Cancelled => code,
    };
    Ok(End { status, code })
}

impl Action for Terminate {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: KIND,
            summary: "ends the run at once with a status; what has not ended is cancelled",
            keys: declared::<Keys>(),
            outputs: &[],
            example: "name: give_up\ntype: terminate\nstatus: failed\ncode: no_email\nmessage: the lead has no address\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: None,
        }
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        read(inputs).map(Next::Terminate)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_end_has_a_code() {
        let end = |inputs: Value| match Terminate.start(&inputs, &StartContext::for_tests()) {
            Ok(Next::Terminate(end)) => (end.run_status(), end.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(end(json!({"status": "failed"})), (RunStatus::Failed, Some("terminated".into())));
        assert_eq!(end(json!({"status": "failed", "code": "x"})), (RunStatus::Failed, Some("x".into())));
        assert_eq!(end(json!({"status": "succeeded", "code": "x"})), (RunStatus::Succeeded, None));
        assert_eq!(end(json!({"status": "cancelled", "code": " "})), (RunStatus::Cancelled, None));
    }
}

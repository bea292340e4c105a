//! What the trigger says about a lead that fits its schema: it runs, or it does not. One rule for real and for dry runs.

use super::ports::Sight;
use super::scope::Values;
use crate::flow::Flow;
use crate::run::Identity;
use crate::template::RenderError;

/// Whether a lead runs.
pub(super) enum Verdict {
    /// It runs.
    Run,
    /// A test lead of a flow that says `test_leads: {run: false}`: kept as skipped.
    TestLead,
    /// The condition of this number (from 1) is false: kept as skipped.
    Condition(usize),
    /// A condition could not be evaluated: a failed run, never a lost lead.
    Fault(RenderError),
}

/// Asks the test marker and then the conditions, in the order of the file.
pub(super) fn judge(flow: &Flow, identity: &Identity, values: &Values, sight: Sight<'_>) -> Verdict {
    if identity.is_test && !flow.trigger.test_leads.run {
        return Verdict::TestLead;
    }
    let scope = values.seen(flow, sight, identity.received_at);
    for (condition, number) in flow.trigger.conditions.iter().zip(1..) {
        match condition.render_bool(&scope) {
            Ok(true) => {}
            Ok(false) => return Verdict::Condition(number),
            Err(error) => return Verdict::Fault(error),
        }
    }
    Verdict::Run
}

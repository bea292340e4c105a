//! Control constructs: a closed set. Leaves live in `actions/`; these shape the plan.

/// Control constructs that later versions bring: known, so that `check` can say `not_yet` instead of "unknown".
pub const NOT_YET: &[&str] = &["condition", "switch", "for_each", "until", "scope", "terminate", "run_flow"];

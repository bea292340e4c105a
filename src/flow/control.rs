//! Control constructs: a closed set. Leaves live in `actions/`; these shape the plan.

/// Control constructs that later versions bring: known, so that `check` can say `not_yet` instead of "unknown".
pub const NOT_YET: &[&str] = &["condition", "switch", "for_each", "until", "scope", "terminate", "run_flow"];

/// Leaf actions that later versions bring.
pub const ACTIONS_NOT_YET: &[&str] = &[
    "update_record",
    "upsert_record",
    "get_record",
    "list_records",
    "set_variable",
    "append_variable",
    "increment_variable",
    "parse_json",
    "select",
    "filter",
    "csv_table",
    "html_table",
];

/// Whether a later version brings the action type `kind`.
pub fn is_not_yet(kind: &str) -> bool {
    NOT_YET.contains(&kind) || ACTIONS_NOT_YET.contains(&kind)
}

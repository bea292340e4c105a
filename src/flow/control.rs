//! Control constructs: a closed set. Leaves live in `actions/`; these hold actions themselves and shape the plan.
//!
//! A key marked `x-actions` holds a list of actions: the linter leaves it alone and the compiler walks it.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::catalogue::ActionSpec;
use super::declared::declared;
use super::format::boolean_templates;
use super::plan::Kind;
use crate::template::{Template, Tree};
use crate::yaml::child;

/// Most cases of a `switch`.
pub const CASES_MAX: usize = 1000;
/// Most iterations of a `for_each` at once.
pub const CONCURRENCY_MAX: u32 = 50;
/// Iterations of an `until` that says nothing itself.
pub const UNTIL_COUNT: u32 = 60;
/// Most iterations of an `until`.
pub const UNTIL_COUNT_MAX: u32 = 5000;
/// How long an `until` that says nothing itself goes on.
pub const UNTIL_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a compiled container decides by.
#[derive(Debug)]
pub enum Control {
    /// All must be true for `then`.
    Condition {
        /// `if`.
        conditions: Vec<Template>,
    },
    /// The first case that equals the value.
    Switch {
        /// `value`.
        value: Tree,
        /// The values of each case.
        cases: Vec<Vec<Value>>,
    },
    /// Once for each item.
    Each {
        /// `items`.
        items: Tree,
    },
    /// Until all are true.
    Until {
        /// `condition`: it sees the iteration that has just ended.
        conditions: Vec<Template>,
        /// Most iterations.
        count: u32,
        /// How long it goes on at most: no iteration begins later.
        timeout: Duration,
        /// What a limit means.
        on_limit: OnLimit,
    },
    /// Once.
    Scope,
}

impl Control {
    /// Calls `visit` with every template in it.
    pub fn each_template<'a>(&'a self, visit: &mut dyn FnMut(&'a Template)) {
        match self {
            Self::Condition { conditions } | Self::Until { conditions, .. } => conditions.iter().for_each(visit),
            Self::Switch { value: tree, .. } | Self::Each { items: tree } => tree.each_template(visit),
            Self::Scope => {}
        }
    }
}

/// What it means that an `until` reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// It fails.
    #[default]
    Fail,
    /// It ends well, with the outcome `limit`.
    Continue,
}

/// A list of actions.
fn actions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "x-actions": true })
}

/// A list of actions with at least one.
fn some_actions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "x-actions": true, "minItems": 1 })
}

/// What `condition` is told.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "declares the keys; the compiler reads them one by one")]
struct ConditionKeys {
    /// A template that gives true or false, or a list of them that must all be true.
    #[serde(rename = "if")]
    #[schemars(required, schema_with = "boolean_templates")]
    conditions: Option<Value>,
    /// Actions that run when it is true.
    #[serde(default)]
    #[schemars(schema_with = "actions")]
    then: Option<Value>,
    /// Actions that run when it is false.
    #[serde(default, rename = "else")]
    #[schemars(schema_with = "actions")]
    otherwise: Option<Value>,
}

/// What `switch` is told.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "declares the keys; the compiler reads them one by one")]
struct SwitchKeys {
    /// What the cases are compared with, as `equals` compares.
    #[schemars(required, extend("x-template" = "plain"))]
    value: Option<Value>,
    /// The cases, in order: the first that equals the value runs.
    #[schemars(required, length(min = 1, max = 1000))]
    cases: Option<Vec<CaseFile>>,
    /// Actions that run when no case fits.
    #[serde(default)]
    #[schemars(schema_with = "actions")]
    default: Option<Value>,
}

/// One case of a `switch`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "declares the keys; the compiler reads them one by one")]
struct CaseFile {
    /// A constant, or a list of them: any of it fits.
    #[schemars(required, extend("x-fixed" = true))]
    case: Option<Value>,
    /// Actions that run.
    #[schemars(required, schema_with = "actions")]
    actions: Option<Value>,
}

/// What `for_each` is told.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "declares the keys; the compiler reads them one by one")]
struct EachKeys {
    /// A list, or a template that gives one; null is no item.
    #[schemars(required, schema_with = "items")]
    items: Option<Value>,
    /// Iterations at once, 1 to 50. Default: 1, one after the other.
    #[schemars(range(min = 1, max = 50), extend("x-fixed" = true, "default" = 1))]
    concurrency: Option<u32>,
    /// Actions that run for each item: `item`, `item_index`, `loops.NAME.item` and `loops.NAME.index` are in scope.
    #[schemars(required, schema_with = "some_actions")]
    actions: Option<Value>,
}

fn items(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "x-template": "plain" })
}

/// What `until` is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct UntilKeys {
    /// Looked at after each iteration: a template that gives true or false, or a list of them that must all be true.
    #[schemars(required, schema_with = "boolean_templates")]
    #[expect(dead_code, reason = "read by the compiler as a template")]
    condition: Option<Value>,
    /// Most iterations, 1 to 5000. Default: 60.
    #[schemars(range(min = 1, max = 5000), extend("x-fixed" = true, "default" = 60))]
    pub(super) count: Option<u32>,
    /// How long it goes on: `1h`, `PT1H`. No iteration begins later. Default: 1h.
    #[schemars(extend("x-fixed" = true, "x-duration" = true), example = &"1h")]
    pub(super) timeout: Option<String>,
    /// What a limit means: `fail` (default), or `continue`, which ends it well with the outcome `limit`.
    #[schemars(extend("x-fixed" = true, "default" = "fail"))]
    pub(super) on_limit: Option<OnLimit>,
    /// Actions that run in each iteration: `loops.NAME.index` is in scope.
    #[schemars(required, schema_with = "some_actions")]
    #[expect(dead_code, reason = "walked by the compiler")]
    actions: Option<Value>,
}

/// What `scope` is told.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "declares the keys; the compiler reads them one by one")]
struct ScopeKeys {
    /// Actions that share one status.
    #[schemars(required, schema_with = "some_actions")]
    actions: Option<Value>,
}

/// The declarations of all constructs, in the order of the reference.
pub fn specs() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            outputs: &[],
            ..spec::<ConditionKeys>(
                "condition",
                "runs `then` when all of `if` is true, else `else`",
                "name: by_kind\ntype: condition\nif: \"{{eq trigger.body.ActionCode 'INS'}}\"\nthen:\n  - name: note\n    type: compose\n    inputs: active lead\nelse:\n  - name: other_note\n    type: compose\n    inputs: other lead\n",
            )
        },
        ActionSpec {
            outputs: &[("case", "the case that ran, null for `default`")],
            ..spec::<SwitchKeys>(
                "switch",
                "runs the first case that equals `value`, else `default`",
                "name: by_source\ntype: switch\nvalue: \"{{trigger.body.LeadSource}}\"\ncases:\n  - case: [AzureMarketplace, AzurePortal]\n    actions:\n      - name: azure\n        type: compose\n        inputs: from Azure\ndefault:\n  - name: elsewhere\n    type: compose\n    inputs: from elsewhere\n",
            )
        },
        ActionSpec {
            outputs: &[("(itself)", "a list: the outputs of each iteration's last action, in the order of the items")],
            ..spec::<EachKeys>(
                "for_each",
                "runs its actions once for each item",
                "name: each_contact\ntype: for_each\nitems: \"{{trigger.body.Contacts}}\"\nactions:\n  - name: greeting\n    type: compose\n    inputs: \"Hello {{item.Name}}\"\n",
            )
        },
        ActionSpec {
            outputs: &[],
            ..spec::<UntilKeys>(
                "until",
                "runs its actions again and again until `condition` is true",
                "name: wait_for_it\ntype: until\ncondition: \"{{greaterOrEquals loops.wait_for_it.index 2}}\"\ncount: 10\ntimeout: 10m\nactions:\n  - name: pause\n    type: delay\n    for: 5s\n",
            )
        },
        ActionSpec {
            outputs: &[("result", "a list of name, status, outputs and error of each action in it")],
            ..spec::<ScopeKeys>(
                "scope",
                "runs its actions as one: it fails when one of their branches ends badly",
                "name: deliver\ntype: scope\nactions:\n  - name: greeting\n    type: compose\n    inputs: Hello\n",
            )
        },
    ]
}

fn spec<K: JsonSchema>(kind: &'static str, summary: &'static str, example: &'static str) -> ActionSpec {
    ActionSpec {
        kind,
        summary,
        keys: declared::<K>(),
        outputs: &[],
        example,
        operation: None,
        connection_required: false,
        blank_guard: None,
        leaves_the_machine: false,
        responds: false,
        check: None,
    }
}

/// Whether the action type `kind` is a construct.
pub fn is_control(kind: &str) -> bool {
    matches!(kind, "condition" | "switch" | "for_each" | "until" | "scope")
}

/// What the plan says of an action of type `kind` with the raw YAML `value`. A faulty key counts as its default.
pub(super) fn kind_of(kind: &str, value: &Value) -> Kind {
    match kind {
        "condition" => Kind::If,
        "switch" => Kind::Switch,
        "for_each" => {
            let concurrency = value.get("concurrency").and_then(Value::as_u64).and_then(|count| count.try_into().ok());
            Kind::Each { concurrency: concurrency.unwrap_or(1).clamp(1, CONCURRENCY_MAX) }
        }
        "until" => Kind::Until,
        "scope" => Kind::Scope,
        _ => Kind::Leaf,
    }
}

/// The blocks of an action of type `kind` with the raw YAML `value`: their numbers and where their lists stand.
pub(super) fn blocks_of(kind: &str, value: &Value, pointer: &str) -> Vec<(u16, String)> {
    match kind {
        "condition" => vec![(0, child(pointer, "then")), (1, child(pointer, "else"))],
        "switch" => {
            let cases = value.get("cases").and_then(Value::as_array).map_or(0, |cases| cases.len().min(CASES_MAX));
            let at = |number: usize| match number {
                number if number == cases => child(pointer, "default"),
                number => format!("{pointer}/cases/{number}/actions"),
            };
            (0..=cases).filter_map(|number| Some((u16::try_from(number).ok()?, at(number)))).collect()
        }
        "for_each" | "until" | "scope" => vec![(0, child(pointer, "actions"))],
        _ => Vec::new(),
    }
}

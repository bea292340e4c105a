//! Declarations of the flow file: serde + schemars; from them come parsing, the linter and the editor schema.
//!
//! Every block of YAML is declared here once. The linter checks the located tree against these schemas first and
//! drops what does not fit, so reading a checked block into its struct never fails; that is why keys that must be
//! given are `Option`s marked `required`.
//!
//! Marks: `x-fixed` (may hold `{{parameters.X}}` and nothing else), `x-template` (texts may be templates),
//! `x-duration` (text such as `30s`), `x-not-yet` (comes with a later version), `x-not-yet-map` (a map that is not
//! empty comes with a later version), `x-boolean-templates` (a template or a list of them that must be true).

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::retry::RetryKind;
pub use super::schema::editor_schema;
use crate::schema::Validation;

/// A flow: what starts it, and its actions in order.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowFile {
    /// The flow's name; its URL belongs to it. Default: the file's name without its extension.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]*$"), example = &"contoso-backup")]
    pub name: Option<String>,
    /// What the flow is for: shown to people, and `flow.description` in templates.
    pub description: Option<String>,
    /// Whether its URL answers. Default: true.
    #[schemars(extend("x-fixed" = true, "default" = true))]
    pub enabled: Option<bool>,
    /// Old names whose URLs stay alive.
    pub aliases: Option<Vec<String>>,
    /// Constants for templates: `{{parameters.owner}}`. They win over `parameters:` of leadflow.yaml.
    #[schemars(example = serde_json::json!({ "owner": "sales@contoso.com" }))]
    pub parameters: Option<Map<String, Value>>,
    /// Variables that actions can change: `{{variables.NAME}}`. The initial values fix their types; null takes anything.
    #[schemars(example = serde_json::json!({ "attempts": 0, "names": [] }))]
    pub variables: Option<Map<String, Value>>,
    /// What starts a run.
    #[schemars(required)]
    pub trigger: Option<TriggerFile>,
    /// What the run does, in order: an action waits for the one before it.
    #[schemars(required, extend("minItems" = 1))]
    pub actions: Option<Vec<Value>>,
    /// A flow body that many offers share: `blueprints/NAME.yaml` has `trigger` and `actions`, this file has the
    /// parameters.
    #[schemars(example = &"marketplace-lead")]
    pub blueprint: Option<String>,
    /// Tests of the flow.
    #[schemars(extend("x-not-yet" = "until then, try the flow with `leadflow dry-run`"))]
    pub tests: Option<Value>,
}

/// Kinds of trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// An HTTP request to the flow's URL.
    Request,
}

/// The request that starts a run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerFile {
    /// The kind of trigger: `request`.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub kind: Option<TriggerKind>,
    /// JSON Schema of the body: a file in `schemas/`, or the schema itself.
    #[serde(default)]
    #[schemars(schema_with = "body_schema")]
    pub schema: Option<Value>,
    /// How strictly the body must fit the schema. `lenient` (default) ignores the case of keys and takes null for
    /// missing; `strict` takes the body as it came; `none` checks nothing.
    #[schemars(extend("x-fixed" = true, "default" = "lenient"))]
    pub validation: Option<Validation>,
    /// The HTTP method, or a list. Default: POST.
    #[serde(default)]
    #[schemars(schema_with = "methods")]
    pub method: Option<Value>,
    /// Path behind the flow's URL, with `{parameters}` that templates see as `trigger.path.NAME`.
    #[schemars(extend("x-fixed" = true), example = &"customers/{id}")]
    pub path: Option<String>,
    /// Who may post. `signed_url` (default): whoever knows the signed URL. `none`: anybody.
    #[schemars(extend(
        "x-fixed" = true,
        "default" = "signed_url",
        "x-not-yet-map" = "until then: `signed_url` or `none`"
    ))]
    pub authentication: Option<AuthenticationFile>,
    /// All must be true, or the lead is stored as skipped and no action runs.
    #[serde(default)]
    #[schemars(schema_with = "boolean_templates")]
    pub conditions: Option<Value>,
    /// How test leads are recognised, and whether they run.
    pub test_leads: Option<TestLeadsFile>,
    /// Recognises the same lead when it comes twice: the first one runs, the others are kept as its duplicates.
    pub dedupe: Option<DedupeFile>,
    /// How many runs of the flow may work at once, and how many may wait for that.
    pub concurrency: Option<ConcurrencyFile>,
    /// A template that gives a list: one run for each item, which is `trigger.body` there.
    #[schemars(extend("x-template" = "plain"), example = &"{{trigger.body.items}}")]
    pub split_on: Option<String>,
    /// Raises an alert when no lead came for that long.
    #[schemars(extend("x-not-yet" = ""))]
    pub expect_every: Option<Value>,
    /// Addresses that may post.
    #[schemars(extend("x-not-yet" = "until then, let the proxy in front decide"))]
    pub allow_ips: Option<Value>,
}

/// Who may post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationFile {
    /// Whoever knows the signed URL.
    SignedUrl,
    /// Anybody.
    None,
}

/// How test leads are recognised, and whether they run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestLeadsFile {
    /// A lead with this text in any of its values is a test lead. Default: `MSFT_TEST`.
    #[schemars(length(min = 1), extend("x-fixed" = true, "default" = "MSFT_TEST"))]
    pub marker: Option<String>,
    /// `false`: test leads are stored as skipped. Default: true.
    #[schemars(extend("x-fixed" = true, "default" = true))]
    pub run: Option<bool>,
}

/// Recognises the same lead when it comes twice.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({
    "key": ["{{trigger.body.UserDetails.Email}}", "{{trigger.body.OfferTitle}}"], "window": "10m"
}))]
pub struct DedupeFile {
    /// Templates that give the same values for the same lead. Values are compared with their types and as they are
    /// rendered: `trim` and `toLower` make texts alike. If any of them is null or blank, the lead is not deduplicated.
    #[serde(default)]
    #[schemars(required, schema_with = "dedupe_key")]
    pub key: Option<Vec<String>>,
    /// For how long after the first lead the same one is a duplicate: `10m`. Default: 10m.
    #[schemars(extend("x-fixed" = true, "x-duration" = true, "default" = "10m"), example = &"10m")]
    pub window: Option<String>,
}

/// How many runs of the flow may work at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "runs": 1, "waiting": 1000 }))]
pub struct ConcurrencyFile {
    /// Runs at once, each from its beginning to its end: its waits for retries and delays included, and the time for
    /// which it is held. 1: one after the other, in the order in which they came. Default: 25.
    #[schemars(range(min = 1, max = CONCURRENT_RUNS_MAX), extend("x-fixed" = true, "default" = 25))]
    pub runs: Option<u32>,
    /// Runs that may wait for that; the request behind the last one is answered 429. Default: 100000.
    #[schemars(range(min = 0, max = CONCURRENCY_WAITING_MAX), extend("x-fixed" = true, "default" = 100_000))]
    pub waiting: Option<u64>,
}

/// Most runs that `concurrency.runs` may allow at once.
pub const CONCURRENT_RUNS_MAX: u32 = 1_000;

/// Most runs that `concurrency.waiting` may let wait.
pub const CONCURRENCY_WAITING_MAX: u64 = 1_000_000;

/// Most parts of a dedupe key.
const KEY_PARTS_MAX: usize = 20;

fn dedupe_key(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "x-template": "plain" },
        "minItems": 1,
        "maxItems": KEY_PARTS_MAX,
    })
}

/// Keys that every action has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct CommonKeys {
    /// The action's name: unique in the flow, `actions.NAME` in templates.
    #[schemars(required, regex(pattern = "^[A-Za-z][A-Za-z0-9_]{0,79}$"), example = &"create_lead")]
    pub name: Option<String>,
    /// What the action does.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub kind: Option<String>,
    /// What the action is for.
    pub description: Option<String>,
    /// The action runs only when this is true: a template that gives a boolean, or a list of them. One that is turned
    /// off counts as succeeded for those who wait for it.
    #[serde(default)]
    #[schemars(schema_with = "boolean_templates", example = &"{{ne trigger.body.ActionCode 'DNC'}}")]
    pub when: Option<Value>,
    /// What it waits for: `{NAME: [statuses], …}`, all of them, each with one of its statuses; `{}`: start at once.
    /// Without it the action waits until the one before it has succeeded.
    #[serde(default)]
    #[schemars(schema_with = "run_after", example = serde_json::json!({ "create_lead": ["failed", "timed_out"] }))]
    pub run_after: Option<Value>,
    /// When and how often to try again what may succeed later.
    pub retry: Option<RetryFile>,
    /// Longest time of one try: `30s`, `2m`. Default: 2m.
    #[schemars(extend("x-fixed" = true, "x-duration" = true), example = &"30s")]
    pub timeout: Option<String>,
    /// Hides its inputs, its outputs or both in history, dry runs and the API, with everything that is made of them.
    #[schemars(length(min = 1), extend("x-fixed" = true), example = serde_json::json!(["inputs", "outputs"]))]
    pub secure: Option<Vec<SecureFile>>,
    /// What to do when nobody knows whether a try was done, and doing it again may do it twice. `retry` (default): try
    /// again, and flag the run as a possible repeat. `hold`: stop the run until somebody decides.
    #[schemars(extend("x-fixed" = true, "default" = "retry"))]
    pub on_unknown: Option<OnUnknown>,
}

/// What an unknown outcome means where a repeat may act twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// The action is tried again, and the run is flagged as a possible repeat.
    Retry,
    /// The run is held until somebody decides.
    Hold,
}

/// What an action hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecureFile {
    /// What it is told.
    Inputs,
    /// What it gives.
    Outputs,
}

/// When and how often to try again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "policy": "fixed", "count": 3, "interval": "30s" }))]
pub struct RetryFile {
    /// `none`: never. `fixed`: always after `interval`. `exponential` (default): after waits that grow.
    #[schemars(extend("x-fixed" = true))]
    pub policy: Option<RetryKind>,
    /// Retries after the first try.
    #[schemars(range(min = 0, max = 10_000), extend("x-fixed" = true))]
    pub count: Option<u32>,
    /// The wait, or the first wait of `exponential`: `7s`.
    #[schemars(extend("x-fixed" = true, "x-duration" = true))]
    pub interval: Option<String>,
    /// Shortest wait of `exponential`. Default: 5s, or `interval` when that is shorter.
    #[schemars(extend("x-fixed" = true, "x-duration" = true))]
    pub min_interval: Option<String>,
    /// Longest wait of `exponential`. Default: 1h, or `interval` when that is longer.
    #[schemars(extend("x-fixed" = true, "x-duration" = true))]
    pub max_interval: Option<String>,
}

/// A JSON Schema: a file in `schemas/`, or the schema itself.
pub(crate) fn body_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "object" }] })
}

fn methods(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ],
        "default": "POST",
        "x-fixed": true,
    })
}

/// A template that gives a boolean, or a list of them.
pub(super) fn boolean_templates(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "boolean" },
            { "type": "string" },
            { "type": "array", "items": { "anyOf": [{ "type": "boolean" }, { "type": "string" }] }, "minItems": 1 },
        ],
        "x-template": "plain",
    })
}

fn run_after(_: &mut schemars::SchemaGenerator) -> Schema {
    let statuses = ["succeeded", "failed", "skipped", "timed_out", "cancelled"];
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": "array", "items": { "enum": statuses }, "minItems": 1 },
    })
}

//! What the compiler is told about actions and connectors. It imports neither: they declare, it checks.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use schemars::Schema;

/// One leaf action type, declared once by its file in `actions/`.
///
/// `keys` is the JSON Schema of a Rust struct with the action's own keys (not the common ones). Its properties may
/// carry: `x-template: plain|html|url` (texts below it may be templates, with that destination), `x-fixed: true`
/// (fixed at load; may hold `{{parameters.X}}` and nothing else), `x-not-yet: "…"` (declared, refused with `not_yet`).
/// A property without `x-template` or `x-fixed` is a plain constant.
#[derive(Debug, Clone)]
pub struct ActionSpec {
    /// `create_record`.
    pub kind: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// Its own keys.
    pub keys: Schema,
    /// Its outputs, name and meaning; empty: none.
    pub outputs: &'static [(&'static str, &'static str)],
    /// A complete action in YAML that compiles: a list item without its `- `.
    pub example: &'static str,
    /// What it asks of its connection.
    pub operation: Option<OperationKind>,
    /// Whether `connection` must be given.
    pub connection_required: bool,
    /// The key whose values from outside must not all be blank.
    pub blank_guard: Option<&'static str>,
    /// Whether it leaves the machine: then it has retry and timeout defaults.
    pub leaves_the_machine: bool,
    /// Whether it answers the request.
    pub responds: bool,
    /// A check of its own on the raw YAML value: (JSON pointer inside the action, code, message, help).
    pub check: Option<OwnCheck>,
}

impl ActionSpec {
    /// Whether `timeout` bounds it, and it may end as `timed_out`: what leaves the machine, and what waits for another
    /// flow.
    pub fn is_timed(&self) -> bool {
        self.leaves_the_machine || self.kind == "run_flow"
    }
}

/// An action's own check of its raw YAML value (templates not rendered).
pub type OwnCheck = fn(&serde_json::Value) -> Vec<OwnFinding>;

/// A finding of an [`OwnCheck`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFinding {
    /// JSON pointer inside the action: `/to`.
    pub pointer: String,
    /// A code of the catalogue of codes.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// What an action can ask of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// `create_record`.
    Create,
    /// `update_record`.
    Update,
    /// `upsert_record`.
    Upsert,
    /// `get_record`.
    Get,
    /// `list_records`.
    List,
    /// `send_email`.
    Email,
    /// `http`.
    Http,
}

impl OperationKind {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Upsert, Self::Get, Self::List, Self::Email, Self::Http];
    /// The whole family of records.
    pub const RECORDS: [Self; 5] = [Self::Create, Self::Update, Self::Upsert, Self::Get, Self::List];

    /// The action type that asks for it.
    pub fn action(self) -> &'static str {
        match self {
            Self::Create => "create_record",
            Self::Update => "update_record",
            Self::Upsert => "upsert_record",
            Self::Get => "get_record",
            Self::List => "list_records",
            Self::Email => "send_email",
            Self::Http => "http",
        }
    }

    /// What it does, behind "cannot".
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Create => "make records",
            Self::Update => "change records",
            Self::Upsert => "make or change records by a key",
            Self::Get => "read a record",
            Self::List => "list records",
            Self::Email => "send mail",
            Self::Http => "call HTTP",
        }
    }
}

/// Whether sending one operation twice is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeat {
    /// The same result however often.
    Safe,
    /// A repeat is recognised by its key.
    Recognised,
    /// A repeat may act twice.
    Unsafe,
}

/// Whether an HTTP request with this method may be sent again: it changes nothing, or the same however often (RFC 9110,
/// 9.2.2).
pub fn is_repeatable_method(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].iter().any(|one| one.eq_ignore_ascii_case(method))
}

/// One connector type, declared once by its file in `connectors/`.
#[derive(Debug, Clone)]
pub struct ConnectorSpec {
    /// `records`, `smtp`, …
    pub kind: Cow<'static, str>,
    /// One line: what it speaks to.
    pub summary: Cow<'static, str>,
    /// Its settings in leadflow.yaml without the common keys; secrets carry `x-secret: true`.
    pub settings: Schema,
    /// What it can be asked for, and whether a repeat of that is harmless.
    pub operations: Vec<(OperationKind, Repeat)>,
}

impl ConnectorSpec {
    /// Whether a repeat of `operation` is harmless; `None`: it cannot be asked for that.
    pub fn repeat(&self, operation: OperationKind) -> Option<Repeat> {
        self.operations.iter().find(|(kind, _)| *kind == operation).map(|(_, repeat)| *repeat)
    }

    /// Whether it can be asked for `operation`.
    pub fn serves(&self, operation: OperationKind) -> bool {
        self.repeat(operation).is_some()
    }
}

/// Everything that can be named by `type:` in an action or a connection.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Action types, in the order of the reference.
    pub actions: Vec<ActionSpec>,
    /// Connector types.
    pub connectors: Vec<ConnectorSpec>,
    /// The whole schema of each action type, made when the first flow needs it: thousands of flows share it.
    whole: OnceLock<HashMap<&'static str, serde_json::Value>>,
}

impl Catalogue {
    /// A catalogue of these.
    pub fn new(actions: Vec<ActionSpec>, connectors: Vec<ConnectorSpec>) -> Self {
        Self { actions, connectors, whole: OnceLock::new() }
    }

    /// The schema of an action of this catalogue: the common keys and its own.
    pub(super) fn keys_of(&self, spec: &ActionSpec) -> Option<&serde_json::Value> {
        let all = || self.actions.iter().map(|spec| (spec.kind, super::schema::of_action(spec))).collect();
        self.whole.get_or_init(all).get(spec.kind)
    }

    /// The action type `kind`.
    pub fn action(&self, kind: &str) -> Option<&ActionSpec> {
        self.actions.iter().find(|spec| spec.kind == kind)
    }

    /// The connector type `kind`.
    pub fn connector(&self, kind: &str) -> Option<&ConnectorSpec> {
        self.connectors.iter().find(|spec| spec.kind == kind)
    }
}

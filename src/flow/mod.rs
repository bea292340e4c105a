//! The flow file: from YAML text to a [`Flow`] that the engine can run, with every finding on the way.
//!
//! Compiling does no I/O: it is handed the text, the schema files and the catalogue of actions and connectors.

pub mod catalogue;
pub mod check;
pub mod control;
pub mod declared;
pub mod format;
pub mod plan;
pub mod retry;
pub mod schema;
pub mod secure;
pub mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use self::format::OnUnknown;
use crate::diagnostic::{Diagnostic, Place};
use crate::schema::{BodySchema, Validation};
use crate::template::{PathRef, Template, Tree};
use crate::yaml::{self, Doc};
use catalogue::Catalogue;
use control::Control;
use plan::Plan;
use retry::RetryPolicy;
use secure::Secure;
use variables::Variable;

/// The action type whose output is HTML that is escaped already.
pub const HTML_TABLE: &str = "html_table";

/// A compiled flow, ready to run. Immutable; shared by every run that is pinned to its text.
#[derive(Debug)]
pub struct Flow {
    /// Its name: the URL belongs to it.
    pub name: String,
    /// Its description, for people and for `flow.description`.
    pub description: Option<String>,
    /// Whether its URL answers.
    pub enabled: bool,
    /// Old names whose URLs stay alive.
    pub aliases: Vec<String>,
    /// Constants (an object): `parameters:` of leadflow.yaml overlaid by the flow's.
    pub parameters: Value,
    /// Variables, in the order of the file.
    pub variables: Vec<Variable>,
    /// What starts a run.
    pub trigger: Trigger,
    /// The graph of actions; node `n` of the plan is `actions[n]`.
    pub plan: Plan,
    /// The actions, by plan node.
    pub actions: Vec<Action>,
    /// Whether an action answers the request (`respond`): then the request waits.
    pub responds: bool,
    /// Whether it does so with `async: true`: the request is answered at once, with the URL of the answer to come.
    pub answers_later: bool,
    /// SHA-256 of the bundle, hexadecimal: what runs are pinned to.
    pub digest: String,
    /// What the digest is of.
    pub bundle: Bundle,
}

impl Flow {
    /// The flow as one file: for a flow of a blueprint the blueprint with the flow's own name and parameters put in.
    /// `{{parameters.X}}` stays as it is; the parameters that hold stand at the top.
    pub fn expansion(&self) -> String {
        check::blueprint::expansion(self)
    }
}

/// The text that a run is pinned to: enough to compile the same flow again, years later, with no file on disk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bundle {
    /// The flow file's path as the user knows it.
    pub file: String,
    /// The flow file's text.
    pub text: String,
    /// The blueprint that it names, if it does and the file is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<BlueprintText>,
    /// The schema files that it names, by name, as text.
    pub schemas: BTreeMap<String, String>,
    /// `parameters:` of leadflow.yaml at the time of loading, as JSON.
    pub parameters: Value,
    /// Defaults of leadflow.yaml at the time of loading.
    pub defaults: Defaults,
}

/// A blueprint: the body of the flows that name it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlueprintText {
    /// Its file's path as the user knows it.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// `defaults:` of leadflow.yaml: what an action or trigger has that says nothing else.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Defaults {
    /// Retry of actions that leave the machine.
    pub retry: RetryPolicy,
    /// Per-try timeout.
    pub timeout: Duration,
    /// Body validation.
    pub validation: Validation,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), timeout: Duration::from_secs(120), validation: Validation::Lenient }
    }
}

/// A request trigger.
#[derive(Debug)]
pub struct Trigger {
    /// Upper-case methods that it answers.
    pub methods: Vec<String>,
    /// Relative path with `{parameters}`.
    pub path: Option<PathPattern>,
    /// Who may post.
    pub authentication: Authentication,
    /// How strictly the body must fit.
    pub validation: Validation,
    /// The body's schema.
    pub schema: Option<Arc<BodySchema>>,
    /// All must be true, or the lead is stored as skipped.
    pub conditions: Vec<Template>,
    /// How test leads are recognised.
    pub test_leads: TestLeads,
    /// One run for each item of a list.
    pub split_on: Option<SplitOn>,
    /// Recognises the same lead.
    pub dedupe: Option<Dedupe>,
    /// How many runs work at once.
    pub concurrency: Option<Concurrency>,
}

impl Trigger {
    /// The schema of `trigger.body` as templates see it: with `split_on`, that of an item, as far as it is known.
    pub fn seen_schema(&self) -> Option<&Arc<BodySchema>> {
        match &self.split_on {
            Some(split) => split.item_schema.as_ref(),
            None => self.schema.as_ref(),
        }
    }
}

/// One run for each item of a list.
#[derive(Debug)]
pub struct SplitOn {
    /// Gives the list.
    pub list: Template,
    /// Where the list stands in the body, when the template is nothing but that path: then an item can be folded again
    /// from what came.
    pub path: Option<Vec<String>>,
    /// What the body's schema says of an item.
    pub item_schema: Option<Arc<BodySchema>>,
}

/// Recognises the same lead.
#[derive(Debug)]
pub struct Dedupe {
    /// The parts of the key.
    pub key: Vec<Template>,
    /// For how long after the first lead the same one is a duplicate.
    pub window: Duration,
}

/// How many runs of a flow work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Runs at once.
    pub runs: u32,
    /// Runs that may wait.
    pub waiting: u64,
}

/// Who may post to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Whoever knows the signed URL.
    SignedUrl,
    /// Anybody.
    None,
}

impl Authentication {
    /// As the flow file says it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SignedUrl => "signed_url",
            Self::None => "none",
        }
    }
}

/// How test leads are recognised and whether they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestLeads {
    /// Looked for in every text of the body.
    pub marker: String,
    /// `false`: stored as skipped, answered 202.
    pub run: bool,
}

impl Default for TestLeads {
    fn default() -> Self {
        Self { marker: "MSFT_TEST".into(), run: true }
    }
}

/// A relative path pattern: `customers/{id}/orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// The pattern as written, without slashes at its ends.
    pub source: String,
    /// Its segments.
    pub segments: Vec<Segment>,
}

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text that must match exactly.
    Literal(String),
    /// `{name}`: matches one non-empty segment.
    Parameter(String),
}

impl PathPattern {
    /// The parameters' values when `segments` (decoded) match.
    pub fn matches(&self, segments: &[String]) -> Option<Vec<(String, String)>> {
        if segments.len() != self.segments.len() {
            return None;
        }
        let mut found = Vec::new();
        for (want, got) in self.segments.iter().zip(segments) {
            match want {
                Segment::Literal(text) if text == got => {}
                Segment::Parameter(name) if !got.is_empty() => found.push((name.clone(), got.clone())),
                _ => return None,
            }
        }
        Some(found)
    }
}

/// One compiled action.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state in disguise")]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Its type: a name in the catalogue of actions.
    pub kind: String,
    /// The connection it uses, by name.
    pub connection: Option<String>,
    /// All must be true, or it is skipped (and counts as succeeded).
    pub when: Vec<Template>,
    /// Its own keys except `connection`, as an object; fixed keys are constants.
    pub inputs: Tree,
    /// Retry, if it says so itself; else its connection's, else the default.
    pub retry: Option<RetryPolicy>,
    /// Per try, if it says so itself; else its connection's, else the default.
    pub timeout: Option<Duration>,
    /// What an unknown outcome means, if it says so itself; else its connection's, else another try.
    pub on_unknown: Option<OnUnknown>,
    /// Whether its inputs must be journalled before the first send, because a second rendering could differ.
    pub volatile: bool,
    /// Paths from outside whose values must not all be blank (`create_record`: those that `fields` uses).
    pub guard: Vec<PathRef>,
    /// Whether a value from outside chooses the host of `url`: then private addresses are refused.
    pub url_from_value: bool,
    /// Whether it works on the items of the list `from`.
    pub takes_items: bool,
    /// Keys that are rendered once for each item of `from`, with `item` in scope; empty for most actions.
    pub per_item: Vec<(String, Tree)>,
    /// What a container decides by; `None`: a leaf.
    pub control: Option<Control>,
    /// Whether some template reads its outputs.
    pub outputs_read: bool,
    /// The schema that it validates by (`parse_json`).
    pub schema: Option<Arc<BodySchema>>,
    /// Whether it leaves the machine.
    pub leaves_the_machine: bool,
    /// What of it is hidden: as written, and because of what its templates read.
    pub secure: Secure,
}

impl Action {
    /// Calls `visit` with every template of the action.
    pub fn each_template<'a>(&'a self, visit: &mut dyn FnMut(&'a Template)) {
        self.when.iter().for_each(&mut *visit);
        self.inputs.each_template(visit);
        self.per_item.iter().for_each(|(_, tree)| tree.each_template(visit));
        if let Some(control) = &self.control {
            control.each_template(visit);
        }
    }
}

/// What a flow is compiled against.
#[derive(Debug, Clone)]
pub struct Environment<'a> {
    /// Known actions and connectors.
    pub catalogue: &'a Catalogue,
    /// Connections of leadflow.yaml: name to connector type. `None`: not known here (a pinned text is compiled
    /// again), so connections are not checked.
    pub connections: Option<&'a BTreeMap<String, String>>,
    /// Those of them that say themselves what an unknown outcome means.
    pub connections_decided: &'a [String],
    /// Names of all schema files, for suggestions; the bundle holds only those that the flow names.
    pub schemas_known: &'a [String],
    /// Names of all blueprints, for suggestions.
    pub blueprints_known: &'a [String],
    /// Most actions in a flow.
    pub actions_per_flow_max: usize,
    /// Most levels of containers.
    pub nesting_max: usize,
}

/// A name under which a flow answers, and where its file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The flow's name or an alias.
    pub word: String,
    /// Dotted path in the file: `name`, `aliases[0]`.
    pub path: String,
    /// Where in the file.
    pub place: Place,
}

/// A flow file's text, parsed once: what it names can be asked before it is compiled.
#[derive(Debug)]
pub struct Parsed {
    doc: Option<Doc>,
    findings: Vec<Diagnostic>,
}

impl Parsed {
    /// The blueprint that it names, whether it is there or not.
    pub fn blueprint(&self) -> Option<&str> {
        self.doc.as_ref()?.value.get("blueprint")?.as_str()
    }

    /// The files in the folder of schemas that it names, whether they are there or not.
    pub fn schema_files(&self) -> Vec<String> {
        let Some(Doc { value, .. }) = &self.doc else { return Vec::new() };
        let trigger = value.pointer("/trigger/schema").and_then(Value::as_str);
        let mut named: Vec<String> = trigger.map(str::to_owned).into_iter().collect();
        schemas_of_actions(value.get("actions").unwrap_or(&Value::Null), &mut named);
        named.sort();
        named.dedup();
        named
    }
}

/// What compiling gave: the flow if there was no error, and every finding.
#[derive(Debug)]
pub struct Compiled {
    /// The flow, absent when a finding is an error.
    pub flow: Option<Flow>,
    /// The flow's name as far as it is known: also for a file that does not compile.
    pub name: String,
    /// Findings, in the order of the file.
    pub findings: Vec<Diagnostic>,
    /// The names that it claims, its own first; none of text that is no YAML.
    pub claims: Vec<Claim>,
    /// The flows that it calls, each where an action names it.
    pub calls: Vec<Claim>,
}

/// The schema files that actions below `value` name.
fn schemas_of_actions(value: &Value, named: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            let validates = entries.get("type").is_some_and(|kind| kind == "parse_json");
            let schema = entries.get("schema").and_then(Value::as_str);
            named.extend(schema.filter(|_| validates).map(str::to_owned));
            entries.values().for_each(|inner| schemas_of_actions(inner, named));
        }
        Value::Array(items) => items.iter().for_each(|item| schemas_of_actions(item, named)),
        _ => {}
    }
}

/// Compiles a bundle. `findings` hold everything that can be told at once.
pub fn compile(bundle: Bundle, environment: &Environment<'_>) -> Compiled {
    let parsed = parse(&bundle.file, &bundle.text);
    compile_parsed(parsed, bundle, environment)
}

/// Parses the text of a flow file.
pub fn parse(file: &str, text: &str) -> Parsed {
    let (doc, findings) = yaml::parse(file, text);
    Parsed { doc, findings }
}

/// [`compile`], of a text that is parsed already. `parsed` must come from the bundle's own file and text.
pub fn compile_parsed(parsed: Parsed, bundle: Bundle, environment: &Environment<'_>) -> Compiled {
    check::compile(parsed, bundle, environment)
}

//! The declarations of a connector file: each block once, as a struct with doc comments. Linter, editor schema and
//! reader all come from here.
//!
//! Extra keywords of the schema: `x-template` (texts below it may be templates, with that destination). What is not
//! marked so is a constant.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::connectors::OnDuplicate;
use crate::flow::catalogue::Repeat;

/// A kind of connection to a system with an HTTP API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the name may come from the file's; operations are read with what entities change")]
pub(super) struct ConnectorFile {
    /// The name: what `type:` of a connection says. Lower-case letters, digits and `_`. Default: the file's name without
    /// its extension.
    pub name: Option<String>,
    /// One line: what it speaks to.
    #[schemars(extend("minLength" = 1))]
    pub summary: String,
    /// Keys of a connection of this type in leadflow.yaml, besides `auth` and those that every connection has. Templates
    /// read them as `settings.NAME`.
    #[serde(default)]
    pub settings: BTreeMap<String, SettingFile>,
    /// What the paths of all requests are appended to. Sees `settings` only.
    #[schemars(extend("x-template" = "plain", "minLength" = 1))]
    pub base_url: String,
    /// The kinds of `auth` that a connection may have, each with what its keys are when the connection says nothing else
    /// (`{}`: nothing). With `none` among them, `auth` may be left out.
    #[serde(default)]
    #[schemars(extend("x-template" = "plain"))]
    pub auth: BTreeMap<String, Map<String, Value>>,
    /// Headers of every request. They see `settings` only.
    #[serde(default)]
    #[schemars(extend("x-template" = "plain"))]
    pub headers: Map<String, Value>,
    /// A request that proves that the connection is let in, and changes nothing: what `check --live` sends. It sees
    /// `settings` only.
    pub login: Option<CallFile>,
    /// Requests before each operation, in order: a session, a number that the system wants. What they gave is
    /// `before.NAME`.
    #[serde(default)]
    pub before: Vec<CallFile>,
    /// What answers mean, for every operation; the first rule that fits counts. Rules of an entity and of an operation
    /// come first. Without any: 2xx is fine, 404 for one record is `not_found`, 429 and 503 with `Retry-After` ask to
    /// wait, 408 and 5xx may work later, 401 refuses the credentials, the rest never works.
    #[serde(default)]
    pub answers: Vec<RuleFile>,
    /// The system's own error code in an answer. Shown when it looks like a code; never a sentence.
    #[schemars(extend("x-template" = "plain"))]
    pub error_code: Option<String>,
    /// Where people see the record `id` of `entity`; null: nowhere.
    #[schemars(extend("x-template" = "plain"))]
    pub url: Option<String>,
    /// What the system can be asked for.
    pub operations: OperationsFile,
    /// How a record is found by a key, for operations that take only ids (`by: id`).
    pub find: Option<CallFile>,
    /// Where an entity differs from the rest: what is said here counts, key by key.
    #[serde(default)]
    pub entities: BTreeMap<String, EntityFile>,
    /// Whether entities that are not named under `entities` exist too (default).
    pub any_entity: Option<bool>,
    /// Bounds of the system.
    #[serde(default)]
    pub limits: LimitsFile,
    /// Operations in, requests out; canned answers in, outcomes out. `leadflow check` runs them.
    #[serde(default)]
    pub tests: Vec<TestFile>,
}

/// One key of a connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingFile {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// One sentence: what to write.
    #[schemars(extend("minLength" = 1))]
    pub description: String,
    /// Whether a connection must have it.
    #[serde(default)]
    pub required: bool,
    /// What it is when the connection does not say. Without a default it is null then.
    pub default: Option<Value>,
    /// The only values that it may have.
    pub one_of: Option<Vec<Value>>,
}

/// What a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SettingKind {
    /// A text.
    Text,
    /// A text that is never shown. Templates put it in as a whole; helpers see a stand-in.
    Secret,
    /// A URL.
    Url,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
}

/// What the system can be asked for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OperationsFile {
    /// `create_record`.
    pub create: Option<CallFile>,
    /// `update_record`.
    pub update: Option<CallFile>,
    /// `upsert_record`. Without a `path`: `find`, then `update` or `create`.
    pub upsert: Option<CallFile>,
    /// `get_record`.
    pub get: Option<CallFile>,
    /// `list_records`.
    pub list: Option<CallFile>,
    /// `send_email`.
    pub email: Option<CallFile>,
}

/// A request and what its answer tells.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CallFile {
    /// What it is called: `before.NAME`.
    pub name: Option<String>,
    /// Whether it is sent at all: a template that gives true or false.
    #[schemars(extend("x-template" = "plain"))]
    pub when: Option<String>,
    /// The HTTP method. Default: GET for what reads, else POST.
    #[schemars(extend("minLength" = 1))]
    pub method: Option<String>,
    /// What is appended to `base_url`: starts with `/`, or is empty. Values in it are percent-encoded.
    #[schemars(extend("x-template" = "url"))]
    pub path: Option<String>,
    /// Query parameters; null ones are left out.
    #[schemars(extend("x-template" = "plain"))]
    pub query: Map<String, Value>,
    /// Headers; null ones are left out.
    #[schemars(extend("x-template" = "plain"))]
    pub headers: Map<String, Value>,
    /// The JSON body. A member whose template gives null is left out. `{$each: LIST, $do: VALUE}` is a list: VALUE for
    /// each `item` of LIST; inside a list it adds its items to it, and a member that it leaves empty is left out.
    #[schemars(extend("x-template" = "plain"))]
    pub body: Option<Value>,
    /// What an answer that is fine looks like.
    pub expect: Expect,
    /// Whether sending it twice is harmless. Default: `unsafe` for `create` and `email`, else `safe`.
    pub repeat: Option<Repeat>,
    /// What tells it which record is meant.
    pub by: By,
    /// The most fields that a key (of `list`: `where`) may have.
    #[schemars(range(min = 1))]
    pub key_fields: Option<usize>,
    /// What answers mean; the first rule that fits counts.
    pub answers: Vec<RuleFile>,
    /// What a request before gives: `before.NAME`.
    #[schemars(extend("x-template" = "plain"))]
    pub value: Option<String>,
    /// The record's id in the answer. An answer without it is none of the system's: `unexpected_answer`.
    #[schemars(extend("x-template" = "plain"))]
    pub id: Option<String>,
    /// The record in the answer. Default: the fields that were sent; for `get`, the whole answer. For `list`, the record
    /// in each `item` of `records`.
    #[schemars(extend("x-template" = "plain"))]
    pub record: Option<String>,
    /// The list of records in the answer. Default: the whole answer.
    #[schemars(extend("x-template" = "plain"))]
    pub records: Option<String>,
    /// What the next page is asked for with, as `page`; null: this was the last one.
    #[schemars(extend("x-template" = "plain"))]
    pub next: Option<String>,
    /// `created` or `updated`. Default: by the status, 201 is `created`.
    #[schemars(extend("x-template" = "plain"))]
    pub did: Option<String>,
    /// A request that is sent first when an earlier try may have been done: it looks for what that try has made.
    pub recognise: Option<RecogniseFile>,
    /// What a dry run takes for the answer.
    pub simulated: SimulatedFile,
}

/// A request that looks for what an earlier try has made.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RecogniseFile {
    /// Whether it can be sent: a template that gives true or false.
    #[schemars(extend("x-template" = "plain"))]
    pub when: Option<String>,
    /// The HTTP method. Default: GET.
    #[schemars(extend("minLength" = 1))]
    pub method: Option<String>,
    /// What is appended to `base_url`.
    #[schemars(extend("x-template" = "url"))]
    pub path: Option<String>,
    /// Query parameters; null ones are left out.
    #[schemars(extend("x-template" = "plain"))]
    pub query: Map<String, Value>,
    /// Headers; null ones are left out.
    #[schemars(extend("x-template" = "plain"))]
    pub headers: Map<String, Value>,
    /// The JSON body.
    #[schemars(extend("x-template" = "plain"))]
    pub body: Option<Value>,
    /// The id of what was found; null: nothing was.
    #[schemars(extend("x-template" = "plain"))]
    pub id: Option<String>,
}

impl RecogniseFile {
    /// The same as a request like any other.
    pub(super) fn as_call(&self) -> CallFile {
        let RecogniseFile { when, method, path, query, headers, body, id } = self.clone();
        CallFile { when, method, path, query, headers, body, id, ..CallFile::default() }
    }
}

/// What an answer that is fine looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expect {
    /// A JSON object or list; anything else is `unexpected_answer`.
    #[default]
    Json,
    /// Whatever it is, HTML excepted.
    Any,
}

/// What tells an operation which record is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// Its id; a key is looked up with `find` first.
    #[default]
    Id,
    /// The fields of a key; an id is refused.
    Key,
    /// Either, as the templates see it: `id` or `key` is null.
    Both,
}

/// What one kind of answer means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    /// The statuses that it is about. Default: any.
    pub status: Option<Statuses>,
    /// A template that gives true or false. One that cannot be evaluated on an answer is false: answers come in every
    /// shape.
    #[schemars(extend("x-template" = "plain"))]
    pub when: Option<String>,
    /// What it means.
    pub means: Means,
    /// The existing record's id, for `duplicate`.
    #[schemars(extend("x-template" = "plain"))]
    pub id: Option<String>,
    /// For `duplicate`: whether only our own key can have met it, so that it is our own earlier try that made the record.
    #[serde(default)]
    pub ours: bool,
}

/// One status or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Statuses {
    /// One.
    One(u16),
    /// Several.
    Several(Vec<u16>),
}

impl Statuses {
    /// Whether `status` is one of them.
    pub(super) fn hold(&self, status: u16) -> bool {
        match self {
            Self::One(one) => *one == status,
            Self::Several(all) => all.contains(&status),
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Means {
    /// It was done.
    Fine,
    /// The record is there already.
    Duplicate,
    /// There is no such record.
    NotFound,
    /// The whole connection must wait.
    Throttled,
    /// It was not done, and may work later.
    Retryable,
    /// The credentials are refused.
    Credentials,
    /// It will never work.
    Failed,
}

/// What a dry run takes for an answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SimulatedFile {
    /// The status. Default: 200.
    pub status: Option<u16>,
    /// The headers.
    #[schemars(extend("x-template" = "plain"))]
    pub headers: Map<String, Value>,
    /// The body. Default: an empty object.
    #[schemars(extend("x-template" = "plain"))]
    pub body: Option<Value>,
}

/// Where an entity differs from the rest.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EntityFile {
    /// What differs in its operations.
    pub operations: OperationsFile,
    /// How one of its records is found by a key.
    pub find: Option<CallFile>,
    /// Where people see one of its records.
    #[schemars(extend("x-template" = "plain"))]
    pub url: Option<String>,
    /// What answers mean; these rules come before those of the file.
    pub answers: Vec<RuleFile>,
}

/// Bounds of the system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsFile {
    /// Requests at once, where the connection does not say `concurrency`.
    #[schemars(range(min = 1))]
    pub concurrency: Option<usize>,
    /// The most records that one page of `list` may have. Default: 100.
    #[schemars(range(min = 1))]
    pub page: Option<usize>,
}

/// One test: an operation, the requests that it must send, their answers, and what must come of it. In requests,
/// answers and outputs, `$KEY` and `$UUID` stand for the operation's key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// What it shows, in a few words.
    pub name: String,
    /// Settings of the connection; `auth` may be left out.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The operation.
    pub operation: OperationWord,
    /// Its entity.
    pub entity: Option<String>,
    /// Its fields.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// What a duplicate means.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
    /// The id of the record that is meant.
    pub id: Option<String>,
    /// The key of the record that is meant.
    pub key: Option<Map<String, Value>>,
    /// The fields that listed records must have.
    #[serde(default, rename = "where")]
    pub filter: Map<String, Value>,
    /// The fields wanted of listed records.
    #[serde(default)]
    pub select: Vec<String>,
    /// The order of listed records: a field, or `-` and a field for the other direction.
    #[serde(default)]
    pub order_by: Vec<String>,
    /// At most so many records. Default: 100.
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// The mail.
    pub mail: Option<MailFile>,
    /// Whether an earlier try may have been done.
    #[serde(default)]
    pub possible_repeat: bool,
    /// The requests, in order, each with its answer. None: it fails before it asks anything.
    #[serde(default)]
    pub calls: Vec<ExchangeFile>,
    /// Outputs that must be there, each whole; others may be there too.
    pub outputs: Option<Map<String, Value>>,
    /// Whether the outcome must be flagged as a possible repeat.
    pub flagged: Option<bool>,
    /// The failure that must come of it.
    pub failure: Option<FailureFile>,
}

/// An operation, by the action that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OperationWord {
    /// `create_record`.
    CreateRecord,
    /// `update_record`.
    UpdateRecord,
    /// `upsert_record`.
    UpsertRecord,
    /// `get_record`.
    GetRecord,
    /// `list_records`.
    ListRecords,
    /// `send_email`.
    SendEmail,
}

/// A mail of a test.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MailFile {
    /// Sender.
    pub from: Option<String>,
    /// Recipients.
    pub to: Vec<String>,
    /// Copies.
    #[serde(default)]
    pub cc: Vec<String>,
    /// Blind copies.
    #[serde(default)]
    pub bcc: Vec<String>,
    /// Where answers go.
    #[serde(default)]
    pub reply_to: Vec<String>,
    /// Subject.
    #[serde(default)]
    pub subject: String,
    /// Text part.
    pub text: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// `low`, `normal`, `high`.
    pub importance: Option<String>,
    /// Attachments.
    #[serde(default)]
    pub attachments: Vec<AttachmentFile>,
}

/// An attachment of a test's mail.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachmentFile {
    /// File name.
    pub name: String,
    /// Content, as text.
    pub content: String,
    /// MIME type.
    pub content_type: String,
}

/// A request that must be sent, and its answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeFile {
    /// The request.
    #[serde(default)]
    pub request: RequestFile,
    /// The answer. None: the connection breaks, and nobody knows whether it was done.
    pub answer: Option<AnswerFile>,
}

/// What must be true of a request; what is not said may be anything.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestFile {
    /// The method.
    pub method: Option<String>,
    /// The whole URL, query included.
    pub url: Option<String>,
    /// Headers that must be there; others may be there too.
    pub headers: Map<String, Value>,
    /// The whole body.
    pub body: Option<Value>,
}

/// An answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AnswerFile {
    /// The status. Default: 200.
    pub status: Option<u16>,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

/// A failure that must come.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureFile {
    /// Its code.
    pub code: String,
    /// Whether another try may help.
    pub class: Option<ClassWord>,
    /// Words that its message must have.
    pub message: Option<String>,
}

/// Whether another try may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClassWord {
    /// It may work later.
    Retryable,
    /// The whole connection waits.
    Throttled,
    /// The credentials are refused.
    Credentials,
    /// Nobody knows whether it was done.
    Unknown,
    /// It took too long.
    TimedOut,
    /// It will never work.
    Terminal,
}

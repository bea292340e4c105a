//! What an action asks of a connection: the same words for every system behind it.

use serde_json::{Map, Value};

use crate::flow::catalogue::OperationKind;
use crate::outbound::{Attachment, HttpBody};

/// What an action asks of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make a record.
    CreateRecord(CreateRecord),
    /// Change a record that is there.
    UpdateRecord(UpdateRecord),
    /// Change a record, or make it when it is not there.
    UpsertRecord(UpsertRecord),
    /// Read one record.
    GetRecord(GetRecord),
    /// Read records that fit.
    ListRecords(ListRecords),
    /// Send a mail.
    SendEmail(SendEmail),
    /// Call HTTP.
    Http(HttpCall),
}

impl Operation {
    /// Its kind.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::CreateRecord(_) => OperationKind::Create,
            Self::UpdateRecord(_) => OperationKind::Update,
            Self::UpsertRecord(_) => OperationKind::Upsert,
            Self::GetRecord(_) => OperationKind::Get,
            Self::ListRecords(_) => OperationKind::List,
            Self::SendEmail(_) => OperationKind::Email,
            Self::Http(_) => OperationKind::Http,
        }
    }

    /// The entity that a record operation names.
    pub fn entity(&self) -> Option<&str> {
        match self {
            Self::CreateRecord(create) => Some(&create.entity),
            Self::UpdateRecord(update) => Some(&update.entity),
            Self::UpsertRecord(upsert) => Some(&upsert.entity),
            Self::GetRecord(get) => Some(&get.entity),
            Self::ListRecords(list) => Some(&list.entity),
            Self::SendEmail(_) | Self::Http(_) => None,
        }
    }
}

/// Which record is meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The one with this id of the system.
    Id(String),
    /// The one with these values in the fields of a key. Never empty, no value null.
    Key(Map<String, Value>),
}

/// Make a record.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRecord {
    /// The entity (a CRM table).
    pub entity: String,
    /// Its fields, nulls left out.
    pub fields: Map<String, Value>,
    /// What a duplicate means.
    pub on_duplicate: OnDuplicate,
}

/// Change a record that is there; one that is not fails as `not_found`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRecord {
    /// The entity.
    pub entity: String,
    /// Which one.
    pub target: Target,
    /// The fields to set: nulls left out, blank texts too unless the flow says otherwise.
    pub fields: Map<String, Value>,
}

/// Change a record, or make it with the fields of its key too.
#[derive(Debug, Clone, PartialEq)]
pub struct UpsertRecord {
    /// The entity.
    pub entity: String,
    /// Which one.
    pub target: Target,
    /// The fields to set.
    pub fields: Map<String, Value>,
}

/// Read one record; one that is not there fails as `not_found`.
#[derive(Debug, Clone, PartialEq)]
pub struct GetRecord {
    /// The entity.
    pub entity: String,
    /// Which one.
    pub target: Target,
}

/// Read records that fit; none is an empty list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRecords {
    /// The entity.
    pub entity: String,
    /// Fields that must have these values, all of them; null: must be empty.
    pub filter: Map<String, Value>,
    /// The fields wanted; empty: all.
    pub select: Vec<String>,
    /// The order: field, and whether descending.
    pub order_by: Vec<(String, bool)>,
    /// At most so many.
    pub limit: usize,
}

/// What a duplicate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// The action succeeds with the existing id.
    #[default]
    Ok,
    /// The existing record is updated.
    Update,
    /// The action fails.
    Fail,
}

/// Send a mail.
#[derive(Debug, Clone, PartialEq)]
pub struct SendEmail {
    /// Sender; `None`: the connection's.
    pub from: Option<String>,
    /// Recipients, parsed addresses.
    pub to: Vec<String>,
    /// Copies.
    pub cc: Vec<String>,
    /// Blind copies.
    pub bcc: Vec<String>,
    /// Where answers go.
    pub reply_to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Text part.
    pub text: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// `low`, `normal`, `high`.
    pub importance: Option<String>,
    /// Attachments.
    pub attachments: Vec<Attachment>,
}

/// Call HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCall {
    /// Upper-case method.
    pub method: String,
    /// Absolute, or relative to the connection's base.
    pub url: String,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<HttpBody>,
    /// Whether the whole URL came from a value.
    pub url_from_value: bool,
}

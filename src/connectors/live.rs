//! What `check --live` asks of a connection: whether it lets us in, and which fields an entity has.
//!
//! Promise: a dialect gives only effects that read. Like operations they are data: the caller performs them.

use serde_json::Value;

use super::refused;
use crate::outbound::{Effect, Reply};
use crate::run::Failure;

/// How far the description of an entity has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Described {
    /// This must be asked too; its answer is the next one of `so_far`.
    Ask(Effect),
    /// This is the entity.
    Shape(EntityShape),
    /// There is no such entity; those that there are, as far as the system tells.
    NoEntity(Vec<String>),
    /// The system tells nothing of its entities.
    Untold,
}

/// What a system tells of one entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntityShape {
    /// Its fields.
    pub fields: Vec<FieldShape>,
    /// Whether it takes fields that it does not list.
    pub is_open: bool,
    /// Whether `Name` and `name` are different fields.
    pub case_matters: bool,
}

/// What a system tells of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldShape {
    /// Its name, as a flow writes it.
    pub name: String,
    /// What it takes.
    pub kind: FieldKind,
    /// Whether a new record needs it.
    pub need: Need,
    /// The longest text in characters; `None`: no limit is told.
    pub chars_max: Option<usize>,
    /// The values that it takes; empty: any of its kind.
    pub choices: Vec<Choice>,
    /// Whether a new record may set it.
    pub on_create: bool,
    /// Whether an update may set it.
    pub on_update: bool,
}

impl FieldShape {
    /// A field that takes any value of `kind`, whenever.
    pub fn new(name: impl Into<String>, kind: FieldKind) -> Self {
        Self {
            name: name.into(),
            kind,
            need: Need::Optional,
            chars_max: None,
            choices: Vec::new(),
            on_create: true,
            on_update: true,
        }
    }
}

/// What a field takes, as far as a constant in a flow can miss it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A date without a time, as text: `2026-11-21`.
    Date,
    /// A point in time, as text.
    Timestamp,
    /// Something else: not looked at.
    Other,
}

/// Whether a new record needs a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// No.
    Optional,
    /// People must fill it in; the API does not insist.
    Expected,
    /// The system refuses a record without it.
    Required,
}

/// One value that a field takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// As a flow writes it.
    pub value: Value,
    /// What people see.
    pub label: String,
}

/// What an answer to a login says where the API answers with JSON: success is JSON with a status of success. A page of
/// HTML is how login pages and proxies answer, so it is none.
pub fn logged_in(reply: &Reply) -> Result<(), Failure> {
    match reply {
        Reply::LoggedIn => Ok(()),
        Reply::Http(http) if (200..=299).contains(&http.status) => match &http.body {
            Value::Object(_) | Value::Array(_) => Ok(()),
            _ => Err(Failure::terminal("unexpected_answer", "the login was answered with something that is not JSON")),
        },
        Reply::Http(http) => Err(refused("the login", http, None)),
        Reply::Failed(failure) => Err(failure.clone()),
        _ => Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
    }
}

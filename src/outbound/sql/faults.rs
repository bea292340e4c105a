//! What goes wrong in a database, and what it means for an action. Messages name codes, columns and constraints: the
//! server's own texts and details repeat values.

use std::error::Error as _;

use tokio_postgres::error::{DbError, SqlState};

use super::Parameter;
use crate::outbound::{causes, tls_failure};
use crate::run::{Class, Failure};

/// Where a fault happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault<'a> {
    /// The parameters of the statement, so that the server's `$2` has a name.
    pub(super) parameters: &'a [Parameter],
    /// Whether something may have been changed when there is no answer.
    pub(super) writes: bool,
}

impl<'a> Fault<'a> {
    /// Where nothing can have been changed.
    pub(super) fn reading(parameters: &'a [Parameter]) -> Self {
        Self { parameters, writes: false }
    }
}

/// The database is not there, or cannot work now. Nothing was done.
pub(super) fn unreachable(why: &str) -> Failure {
    Failure::retryable("database_failed", format!("the database: {why}"))
}

/// There was no answer in time.
pub(super) fn too_late(writes: bool) -> Failure {
    let message =
        if writes { "no answer in time (timeout); it may have been done" } else { "no answer in time (timeout)" };
    let class = if writes { Class::TimedOut } else { Class::Retryable };
    Failure { class, ..Failure::retryable("timeout", message) }
}

/// The connection broke while an answer was awaited.
pub(super) fn no_answer(writes: bool) -> Failure {
    if writes {
        return Failure::unknown("unknown_outcome", "the connection to the database broke before it answered");
    }
    unreachable("the connection broke before it answered")
}

/// What an error of PostgreSQL's driver means.
pub(super) fn of_postgres(error: &tokio_postgres::Error, fault: Fault<'_>) -> Failure {
    if let Some(said) = error.as_db_error() {
        return refused(said, fault);
    }
    let text = error.to_string();
    if let Some(tls) = causes(error).into_iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return tls_failure(tls, "the database");
    }
    match text.as_str() {
        "authentication error" => Failure::credentials(
            "database_login",
            "the database asks for a password that `url` does not have, or for a way to log in that is not known",
        ),
        "invalid configuration" | "invalid connection string" => {
            Failure::terminal("bad_request", "`url` of the connection cannot be used")
        }
        "error connecting to server" => unreachable(&reason(error)),
        "error performing TLS handshake" => unreachable(&format!("no TLS: {}", reason(error))),
        text if text.starts_with("error serializing parameter") || text.starts_with("expected ") => {
            Failure::terminal("internal_error", "a statement and its parameters do not fit")
        }
        _ => no_answer(fault.writes),
    }
}

/// The cause of a connection error: the system's words, which hold no values.
fn reason(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| "it cannot be reached".to_owned(), ToString::to_string)
}

/// What the server itself says. It has ended the statement: nothing was done, except where it says that it does not know.
fn refused(said: &DbError, fault: Fault<'_>) -> Failure {
    let state = said.code();
    let code = state.code();
    let column = said.column().map(|column| format!(" `{column}`")).unwrap_or_default();
    let named = |what: &str| match said.constraint() {
        Some(constraint) => format!("{what} (`{constraint}`)"),
        None => what.to_owned(),
    };
    match (&code[..2], code) {
        (_, "40003" | "08007") => no_answer(fault.writes),
        ("28", _) | (_, "3D000") => Failure::credentials(
            "database_login",
            format!("PostgreSQL refuses the login ({code}): user, password or database"),
        ),
        (_, "23505" | "23P01") => Failure::terminal("duplicate", named("another record has this key")),
        (_, "23502") => Failure::terminal("required_field", format!("the column{column} must have a value")),
        (_, "23503") => {
            let message = named("a foreign key names a record that is not there, or another record names this one");
            Failure::terminal("refused", format!("{message} ({code})"))
        }
        ("23" | "44", _) => Failure::terminal("refused", format!("{} ({code})", named("a check of the table fails"))),
        (_, "22001") => Failure::terminal("value_too_long", format!("a text is longer than its column{column} takes")),
        ("22", _) => {
            let column = parameter(said, fault.parameters).map(|column| format!(" of `{column}`")).unwrap_or(column);
            Failure::terminal("wrong_type", format!("the value{column} does not fit the column's type ({code})"))
        }
        (_, "42P01" | "3F000") => Failure::terminal("unknown_entity", "the table is not there any more"),
        (_, "42703") => Failure::terminal("unknown_field", "a column is not there any more"),
        (_, "42501") => Failure::terminal("refused", "the login has no right to do this (42501)"),
        ("40" | "53" | "55" | "57" | "58" | "08" | "XX", _) | (_, "25006") => {
            let what = match *state {
                SqlState::READ_ONLY_SQL_TRANSACTION => "it is read-only (a replica?)",
                SqlState::TOO_MANY_CONNECTIONS => "it has no free connection",
                SqlState::DISK_FULL => "its disk is full",
                SqlState::QUERY_CANCELED => "it ended the statement, which took too long",
                SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
                    "others changed the same records"
                }
                _ => "it cannot work now",
            };
            unreachable(&format!("{what} ({code})"))
        }
        _ => Failure::terminal("refused", format!("{} ({code})", named("PostgreSQL refuses the statement"))),
    }
}

/// The column of the parameter that the server could not read: it says `$2`.
fn parameter<'a>(said: &DbError, parameters: &'a [Parameter]) -> Option<&'a str> {
    let (_, rest) = said.where_()?.split_once("parameter $")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let number: usize = digits.parse().ok()?;
    parameters.get(number.checked_sub(1)?).map(|parameter| parameter.column.as_str())
}

/// What an error of SQLite means. It is on this machine: it always answers.
pub(super) fn of_sqlite(error: &rusqlite::Error) -> Failure {
    use rusqlite::ErrorCode;
    let Some(said) = error.sqlite_error() else {
        return Failure::terminal("internal_error", "a statement and its parameters do not fit");
    };
    // SQLite names `table.column` behind its words for a constraint; values it never repeats.
    let columns = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => {
            message.split_once("failed: ").map(|(_, columns)| columns.to_owned()).unwrap_or_default()
        }
        _ => String::new(),
    };
    let number = said.extended_code;
    match (said.code, number) {
        (_, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
            Failure::terminal("duplicate", format!("another record has this key (`{columns}`)"))
        }
        (_, rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL) => {
            Failure::terminal("required_field", format!("the column `{columns}` must have a value"))
        }
        (_, rusqlite::ffi::SQLITE_CONSTRAINT_DATATYPE) => {
            Failure::terminal("wrong_type", "a value does not fit its column's type")
        }
        (ErrorCode::ConstraintViolation, _) => {
            Failure::terminal("refused", format!("a constraint of the table fails ({number})"))
        }
        (ErrorCode::TooBig, _) => Failure::terminal("value_too_long", "a value is longer than SQLite takes"),
        (ErrorCode::TypeMismatch, _) => Failure::terminal("wrong_type", "a value does not fit its column's type"),
        (ErrorCode::OperationInterrupted, _) => too_late(false),
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => unreachable("another process is writing to it"),
        (ErrorCode::CannotOpen, _) => unreachable("the file is not there or cannot be opened"),
        (ErrorCode::ReadOnly | ErrorCode::PermissionDenied, _) => unreachable("the file cannot be written"),
        (ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory, _) => {
            unreachable(&format!("the disk is full or fails ({number})"))
        }
        (ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt, _) => {
            Failure::terminal("refused", format!("the file is no SQLite database, or is damaged ({number})"))
        }
        _ => Failure::terminal("refused", format!("SQLite refuses the statement ({number})")),
    }
}

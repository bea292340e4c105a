//! What goes wrong inside a verb, and what it means to the caller. No text of it repeats a stored value.

use std::error::Error as _;

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::SqlState;

use crate::store::values::Unreadable;
use crate::store::{StoreError, StoreResult};

/// Why a verb did not do its work.
#[derive(Debug)]
pub(super) enum Fault {
    /// Decided by the verb itself.
    Refused(StoreError),
    /// The database, or the way to it, says no.
    Sql(tokio_postgres::Error),
    /// A row is there and cannot be understood.
    Unreadable(Unreadable),
    /// A value cannot be written as JSON.
    Unwritable,
}

/// What a verb answers inside the store.
pub(super) type Done<T> = Result<T, Fault>;

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(_: serde_json::Error) -> Self {
        Self::Unwritable
    }
}

impl Fault {
    /// A fault that the other side may heal.
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::Refused(StoreError::Unavailable(why.into()))
    }

    /// What the caller is told.
    pub(super) fn store_error(&self) -> StoreError {
        match self {
            Self::Refused(error) => error.clone(),
            Self::Sql(error) => sql(error),
            Self::Unreadable(why) => StoreError::Unusable(format!(
                "a stored row cannot be read ({why}); was it written by a newer leadflow?"
            )),
            Self::Unwritable => StoreError::Unavailable("a value cannot be written as JSON".to_owned()),
        }
    }

    /// Whether one request of a group may be to blame, so that the others may pass without it.
    pub(super) fn may_be_one_request(&self) -> bool {
        match self {
            Self::Sql(error) => error.code().is_some_and(|state| {
                // Data, integrity, transaction rollback (deadlock), limits, not in the right state (a lock not had).
                ["22", "23", "40", "54", "55"].contains(&&state.code()[..2])
            }),
            Self::Unreadable(_) | Self::Unwritable => true,
            Self::Refused(_) => false,
        }
    }
}

/// PostgreSQL's primary messages name tables, columns and constraints; values stand in details, which are left out.
fn sql(error: &tokio_postgres::Error) -> StoreError {
    let Some(said) = error.as_db_error() else {
        return match error.source().filter(|_| !is_misread(error)) {
            Some(cause) => StoreError::Unavailable(format!("{error}: {cause}")),
            None if is_misread(error) => StoreError::Unusable(format!(
                "a stored row cannot be read ({error}); was it written by a newer leadflow?"
            )),
            None => StoreError::Unavailable(error.to_string()),
        };
    };
    let (state, message) = (said.code(), said.message());
    if *state == SqlState::UNDEFINED_TABLE || *state == SqlState::UNDEFINED_COLUMN {
        return StoreError::Unusable(format!(
            "the tables in the database are not those of this leadflow ({message}); run `leadflow store migrate`"
        ));
    }
    let hint = if *state == SqlState::READ_ONLY_SQL_TRANSACTION {
        "; is it a replica? store.url must lead to the primary"
    } else {
        ""
    };
    StoreError::Unavailable(format!("PostgreSQL: {message} ({}){hint}", state.code()))
}

/// A value that does not fit its type: the one error of the driver that no other connection heals.
fn is_misread(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error deserializing column")
}

/// Why no connection was to be had.
pub(super) fn pool_error(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => sql(error),
        PoolError::PostCreateHook(HookError::Message(why)) => StoreError::Unavailable(why.to_string()),
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => {
            StoreError::Unavailable("all connections to the database are busy (store.pool)".to_owned())
        }
        PoolError::Timeout(_) => StoreError::Unavailable("the database does not answer".to_owned()),
        PoolError::Closed | PoolError::NoRuntimeSpecified => StoreError::Unavailable("the store is closed".to_owned()),
    }
}

/// Whether the database refuses us for good: retrying at start would only hide what the user must change.
pub(super) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| {
        [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ]
        .contains(state)
    })
}

/// The answer of a verb, for its caller.
pub(super) fn answered<T>(done: Done<T>) -> StoreResult<T> {
    done.map_err(|fault| fault.store_error())
}

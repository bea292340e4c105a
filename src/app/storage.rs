//! The store that the settings name, for a server and for commands beside it.

use std::sync::Arc;

use anyhow::Context as _;

use super::connect::read_all;
use crate::settings::{Settings, StoreSettings};
use crate::store::Store;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::{self, SqliteStore};
pub use sqlite::Mode;

/// Opens the store. Blocks for as long as a migration takes; only [`Mode::Serve`] migrates.
pub fn open_store(settings: &Settings, mode: Mode) -> anyhow::Result<Arc<dyn Store>> {
    let opened: anyhow::Result<Arc<dyn Store>> = match &settings.store {
        StoreSettings::Sqlite => {
            let options = sqlite::OpenOptions::new(settings.database(), mode);
            SqliteStore::open(options).map(|store| Arc::new(store) as Arc<dyn Store>).map_err(Into::into)
        }
        StoreSettings::Postgres { .. } => {
            let options = postgres_options(settings, mode)?;
            PostgresStore::open(&options).map(|store| Arc::new(store) as Arc<dyn Store>).map_err(Into::into)
        }
    };
    opened.with_context(|| format!("cannot open the store {}", settings.store_place()))
}

/// What leads to the database of `store: { type: postgres }`.
pub fn postgres_options(settings: &Settings, mode: Mode) -> anyhow::Result<postgres::OpenOptions> {
    let StoreSettings::Postgres { url, ca, connections } = &settings.store else {
        anyhow::bail!("the store is {}", settings.store_place());
    };
    let url = url.clone().context("`store.url` is not known: its variable is not set here")?;
    Ok(postgres::OpenOptions { url, authorities: read_all(ca)?, connections: *connections, mode })
}

//! Tables of a SQLite file.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::sql::{self, Flavour, Sql};
use super::{Connector, Opened, Reach, declared, spec_once};
use crate::flow::catalogue::ConnectorSpec;
use crate::outbound::Transport;
use crate::outbound::sql::{Database, Sqlite as File};

/// Tables of a SQLite file.
#[derive(Debug, Clone, Copy)]
pub struct Sqlite;

/// A connection of type `sqlite`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The database file, relative to leadflow.yaml. It must be there: leadflow makes no file and no table.
    path: PathBuf,
}

impl Connector for Sqlite {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "sqlite".into(),
            summary: "tables of a SQLite file".into(),
            settings: declared::<Settings>(),
            operations: sql::operations(),
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let settings: Settings = super::read(settings)?;
        Ok(Opened {
            dialect: Arc::new(Sql { flavour: Flavour::Sqlite, schema: None }),
            transport: Transport::Sql(Arc::new(Database::sqlite(File::new(reach.folder.join(settings.path))))),
        })
    }
}

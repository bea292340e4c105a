//! Tables of a PostgreSQL database.

use std::sync::Arc;

use serde_json::Value;

use super::sql::{self, Flavour, Sql};
use super::{Connector, Opened, Reach, declared, spec_once};
use crate::flow::catalogue::ConnectorSpec;
use crate::outbound::Transport;
use crate::outbound::sql::{Database, Postgres as Server};
use crate::secret::Secret;

/// What stands for a URL that is not known yet.
const UNSET: &str = "postgres://unset.invalid/unset";

/// Tables of a PostgreSQL database.
#[derive(Debug, Clone, Copy)]
pub struct Postgres;

/// A connection of type `postgres`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`: the words of PostgreSQL's own clients. `sslmode` is
    /// `disable`, `prefer` (default: encrypted if the server can, its certificate not verified), `require`, `verify-ca`
    /// or `verify-full`; name the authority's file under `ca`.
    url: Secret,
    /// The schema in which the tables of `entity` lie. Default: where the login looks by itself (its `search_path`).
    #[serde(default)]
    schema: Option<String>,
}

impl Connector for Postgres {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "postgres".into(),
            summary: "tables of a PostgreSQL database".into(),
            settings: declared::<Settings>(),
            operations: sql::operations(),
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let settings: Settings = super::read(settings)?;
        // Only a dry run and a check come here with a variable that is not set: they reach nothing.
        let url = if settings.url.expose().contains("${") { Secret::new(UNSET) } else { settings.url };
        let server = Server::new(&url, &reach.authorities(), reach.concurrency)?;
        Ok(Opened {
            dialect: Arc::new(Sql { flavour: Flavour::Postgres, schema: settings.schema }),
            transport: Transport::Sql(Arc::new(Database::postgres(server))),
        })
    }
}

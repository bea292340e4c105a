//! From settings to what the engine works with: open connections and bounds.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::connectors::{self, Reach};
use crate::engine::ports::{Connections, Limits, OpenConnection};
use crate::outbound::Transport;
use crate::outbound::http::{AllowPrivate, HttpTransport};
use crate::settings::{Connection, Settings};
use crate::template;

/// Every connection of the settings, and plain HTTP under the name `""`.
pub(super) fn connections(settings: &Settings) -> anyhow::Result<Connections> {
    let mut open = Connections::new();
    let reach = Common::new(settings)?;
    for (name, connection) in &settings.connections {
        let connector = connectors::find(&connection.kind)
            .with_context(|| format!("connection `{name}`: there is no connector type `{}`", connection.kind))?;
        let reach = reach.of(connection).with_context(|| format!("connection `{name}`"))?;
        let transport = connector
            .connect(&connection.settings, &reach)
            .map_err(|message| anyhow::anyhow!("connection `{name}`: {message}"))?;
        open.insert(
            name.clone(),
            Arc::new(OpenConnection {
                name: name.clone(),
                connector,
                transport,
                concurrency: connection.concurrency.unwrap_or(settings.limits.workers),
                timeout: connection.timeout,
                retry: connection.retry,
            }),
        );
    }
    let transport =
        HttpTransport::anonymous(&reach.reach.http).map_err(|message| anyhow::anyhow!("outbound: {message}"))?;
    open.insert(
        String::new(),
        Arc::new(OpenConnection {
            name: String::new(),
            connector: &connectors::http::Http,
            transport: Transport::Http(Arc::new(transport)),
            concurrency: settings.limits.workers,
            timeout: None,
            retry: None,
        }),
    );
    Ok(open)
}

/// What every connection starts from.
struct Common {
    reach: Reach,
    allow_private: Vec<String>,
}

impl Common {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut reach = Reach::new(&settings.data);
        reach.http.response_bytes_max = settings.limits.response_bytes_max;
        reach.http.ca = read_all(&settings.outbound_ca)?;
        reach.http.allow_private = allow_private(&settings.outbound_allow_private, &[])?;
        Ok(Self { reach, allow_private: settings.outbound_allow_private.clone() })
    }

    /// With what the connection's own settings add.
    fn of(&self, connection: &Connection) -> anyhow::Result<Reach> {
        let mut reach = self.reach.clone();
        reach.ca = read_all(&connection.ca)?;
        reach.http.allow_private = allow_private(&self.allow_private, &connection.allow_private)?;
        Ok(reach)
    }
}

fn allow_private(common: &[String], own: &[String]) -> anyhow::Result<AllowPrivate> {
    AllowPrivate::parse(&[common, own].concat()).map_err(|message| anyhow::anyhow!("allow_private: {message}"))
}

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    files
        .iter()
        .map(|file| std::fs::read(file).with_context(|| format!("cannot read the certificate {}", file.display())))
        .collect()
}

/// The engine's bounds.
pub(super) fn limits(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    Limits {
        workers: limits.workers,
        waiting_runs_per_flow_max: limits.waiting_runs_per_flow,
        outputs_bytes_max: limits.outputs_bytes_max,
        iterations_max: limits.iterations,
        template: template::Limits {
            output_bytes_max: limits.template_output_bytes_max,
            ..template::Limits::default()
        },
        body: limits.body,
        run_duration: limits.run_duration,
        ..Limits::default()
    }
}

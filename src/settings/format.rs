//! Declarations of `leadflow.yaml`: each block once, as a struct with doc comments. The linter's schema and the typed
//! values both come from here.
//!
//! Extra keywords of the schema: `x-unit` (how a text is read), `x-secret`, `x-one-of` (exactly one of these keys),
//! `x-not-yet` (known, refused for now).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::flow::format::OnUnknown;
use crate::flow::retry::{RetryKind, RetryPolicy};
use crate::schema::Validation;
use crate::secret::Secret;
use crate::units;

/// The settings of leadflow. None of them is required; null means the default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys with x-not-yet are declared so that the linter knows them")]
pub(super) struct File {
    /// What `url`, `serve` and the console print; default: follows `public.listen`. Behind a proxy: the outside address.
    #[schemars(extend("x-unit" = "url"))]
    pub public_url: Option<String>,
    /// The data folder; made on first start, private to its user.
    pub data: String,
    /// Overrides the signing key that was made on first start: set it to keep URLs over a new store.
    pub signing_key: Option<Secret>,
    /// The listener that receives leads.
    pub public: Public,
    /// The listener for people and monitoring.
    pub admin: Admin,
    /// Where runs are kept.
    pub store: Store,
    /// Constants for every flow.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Secrets that triggers name.
    pub secrets: BTreeMap<String, Secret>,
    /// Systems that actions speak to, by name.
    pub connections: BTreeMap<String, Map<String, Value>>,
    /// What actions and triggers have that say nothing else.
    pub defaults: Defaults,
    /// Bounds, each with its unit.
    pub limits: Limits,
    /// How long ended runs are kept.
    pub retention: Retention,
    /// How the folders are watched.
    pub reload: Reload,
    /// Calls to the outside.
    pub outbound: Outbound,
    /// Who is told when something needs a person.
    #[serde(default)]
    #[schemars(extend("x-not-yet" = "alerts"))]
    pub alerts: Value,
    /// How long a stop waits for actions in flight.
    pub shutdown_grace: Span,
    /// Logs.
    pub log: Log,
    /// Traces.
    #[serde(default)]
    #[schemars(extend("x-not-yet" = "telemetry"))]
    pub telemetry: Value,
}

/// The listener that receives leads.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys with x-not-yet are declared so that the linter knows them")]
pub(super) struct Public {
    /// Address and port.
    pub listen: Address,
    /// Certificate and key.
    #[serde(default)]
    #[schemars(extend("x-not-yet" = "TLS on the listener: put a reverse proxy in front"))]
    pub tls: Value,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks (`10.0.0.0/8`).
    #[schemars(extend("items" = { "type": "string", "x-unit": "network" }))]
    pub trusted_proxies: Vec<String>,
}

/// The listener for people and monitoring.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys with x-not-yet are declared so that the linter knows them")]
pub(super) struct Admin {
    /// Address and port.
    pub listen: Address,
    /// Required when the address is not loopback.
    pub token: Option<Secret>,
    /// Hide lead data in the console.
    #[serde(default)]
    #[schemars(extend("x-not-yet" = "masking in the console"))]
    pub mask: Value,
}

/// Where runs are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// The kind of database: `sqlite`, in the data folder, or `postgres`, which several nodes may share.
    #[serde(rename = "type")]
    pub kind: StoreKind,
    /// Of `postgres`: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`.
    pub url: Option<Secret>,
    /// Of `postgres`: PEM files of the authorities that may sign the server's certificate.
    pub ca: Option<Vec<String>>,
    /// Of `postgres`: connections of one node at most.
    #[schemars(range(min = 4, max = 1000))]
    pub pool: Option<usize>,
}

/// Kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreKind {
    /// Embedded.
    Sqlite,
    /// A server that nodes share.
    Postgres,
}

/// `defaults:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    /// Retry of actions that leave the machine.
    pub retry: Retry,
    /// Per try.
    pub timeout: Span,
    /// How strictly a body must fit its schema.
    pub validation: Validation,
}

/// When and how often to try again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// The kind of wait.
    pub policy: Option<RetryKind>,
    /// Retries after the first try.
    pub count: Option<u32>,
    /// The base interval.
    pub interval: Option<Span>,
    /// The shortest wait of `exponential`.
    pub min_interval: Option<Span>,
    /// The longest wait of `exponential`.
    pub max_interval: Option<Span>,
}

impl Retry {
    /// The policy; what is not said comes from `base`.
    pub(super) fn over(&self, base: RetryPolicy) -> RetryPolicy {
        let span = |own: &Option<Span>, base: Duration| own.as_ref().map_or(base, |span| span.0);
        let interval = span(&self.interval, base.interval);
        match self.policy.unwrap_or(base.kind) {
            RetryKind::None => RetryPolicy::none(),
            kind => RetryPolicy {
                kind,
                count: self.count.unwrap_or(base.count),
                interval,
                // Bounds that are not said do not stand in the way of an interval that is.
                min_interval: span(&self.min_interval, base.min_interval.min(interval)),
                max_interval: span(&self.max_interval, base.max_interval.max(interval)),
            },
        }
    }
}

/// `limits:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// A request's body as it comes.
    pub body: Size,
    /// A request's body after gzip is undone.
    pub body_unpacked: Size,
    /// Nesting of JSON.
    #[schemars(range(min = 1, max = 512))]
    pub json_depth: usize,
    /// A request's headers.
    pub headers: Size,
    /// A request's URL.
    pub url: Size,
    /// Open connections per listener.
    #[schemars(range(min = 1))]
    pub connections: usize,
    /// For the headers to arrive.
    pub header_timeout: Span,
    /// For the body to arrive.
    pub body_timeout: Span,
    /// Failed authentications per address.
    pub failed_auth_per_address: Rate,
    /// Requests per flow; null: no limit.
    pub rate_per_flow: Option<Rate>,
    /// Unfinished runs per flow, then 429.
    #[schemars(range(min = 1))]
    pub waiting_runs_per_flow: u64,
    /// Effects at once per connection.
    #[schemars(range(min = 1))]
    pub workers: usize,
    /// Actions in a flow.
    #[schemars(range(min = 1))]
    pub actions_per_flow: usize,
    /// Levels of containers.
    #[schemars(range(min = 1))]
    pub nesting: usize,
    /// Items of a loop, a list action or a table.
    #[schemars(range(min = 1))]
    pub iterations: usize,
    /// Text that one template may produce.
    pub template_output: Size,
    /// One action's outputs.
    pub outputs: Size,
    /// One answer from outside.
    pub response: Size,
    /// How long a request waits for `respond`.
    pub respond_wait: Span,
    /// Age at which an unfinished run ends as `timed_out`.
    pub run_duration: Span,
}

/// `retention:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    /// Succeeded and skipped runs.
    pub succeeded: Span,
    /// Failed, timed out and cancelled runs.
    pub failed: Span,
    /// Rejected requests.
    pub rejected: Span,
    /// Duplicates.
    pub duplicates: Span,
}

/// `reload:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    /// How often everything is read again, whatever the system said of changes.
    pub poll: Span,
    /// How long a changed file must be at rest before it is taken.
    pub quiet: Span,
    /// How long a file must be gone before its flow unloads.
    pub unload_after: Span,
    /// How long the flows of a folder that is empty all at once go on to answer.
    pub empty_folder_grace: Span,
}

/// `outbound:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys with x-not-yet are declared so that the linter knows them")]
pub(super) struct Outbound {
    /// Private addresses that calls may reach although a value chose the host (networks or host names).
    pub allow_private: Vec<String>,
    /// PEM files of further certificate authorities.
    pub ca: Vec<String>,
    /// A proxy for calls to the outside.
    #[serde(default)]
    #[schemars(extend("x-not-yet" = "an outbound proxy"))]
    pub proxy: Value,
}

/// `log:`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// `auto`: for people on a terminal, JSON otherwise.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
}

/// Formats of the log.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Levels of the log.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What every connection may have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    /// The kind of system.
    #[serde(rename = "type")]
    pub kind: String,
    /// At most so many effects at once; default `limits.workers`.
    #[schemars(range(min = 1))]
    pub concurrency: Option<usize>,
    /// At most so many calls in a time, evenly spread: `10/s`, `100/m`.
    pub rate: Option<Rate>,
    /// Per try; overrides `defaults.timeout`.
    pub timeout: Option<Span>,
    /// Overrides `defaults.retry`.
    pub retry: Option<Retry>,
    /// What an unknown outcome means where a repeat may act twice: `retry` (default) or `hold`.
    pub on_unknown: Option<OnUnknown>,
    /// PEM files of further certificate authorities.
    pub ca: Option<Vec<String>>,
    /// Private addresses that it may reach although a value chose the host (networks or host names).
    pub allow_private: Option<Vec<String>>,
}

/// Implements a value that is one text with a unit: how it is read, and what the schema says.
macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $unit:literal, $types:tt, $read:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = match Value::deserialize(deserializer)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                $read(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "x-unit": $unit })
            }
        }
    };
}

unit!(
    /// A duration: `30s`, `PT30S`.
    Span(Duration), "duration", "string", units::duration
);
unit!(
    /// A size in bytes: `1MiB`.
    Size(usize), "size", ["string", "integer"], |text: &str| {
        units::size(text).and_then(|size| usize::try_from(size).map_err(|_| "too large for this machine".to_owned()))
    }
);
unit!(
    /// So many per time: `20/s`.
    Rate(units::Rate), "rate", "string", units::rate
);
unit!(
    /// An IP address and a port: `127.0.0.1:8080`.
    Address(SocketAddr), "address", "string", |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| "an address is an IP address and a port".to_owned())
    }
);

/// The schema of `T` with every part inlined, so that the linter never follows a reference.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

//! From a document without errors to [`Settings`]: paths made whole, blocks typed, defaults applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::check::Marks;
use super::format::StoreKind;
use super::layers::Layers;
use super::load::LoadOptions;
use super::{Connection, Limits, Settings, StoreSettings, format};
use crate::connectors::Registry;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::Retention;
use crate::flow::Defaults;
use crate::flow::catalogue::Catalogue;
use crate::flow::retry::RetryPolicy;
use crate::library::reload::{Rules, Timing};
use crate::store::postgres::POOL_DEFAULT;
use crate::triggers::request::BodyLimits;
use crate::yaml::{child, dotted};

/// The shortest `reload.poll`: everything is read each time.
const POLL_MIN: Duration = Duration::from_millis(100);

/// Where relative paths start, and the file that the settings come from.
#[derive(Debug)]
pub(super) struct Place {
    pub base: PathBuf,
    pub file: Option<PathBuf>,
}

/// A document that the linter let pass and that still does not fit its declaration.
#[derive(Debug)]
pub(super) struct Misfit {
    pointer: String,
    message: String,
}

impl Misfit {
    /// The finding, with its place.
    pub(super) fn at(self, layers: &Layers) -> Diagnostic {
        Diagnostic::new("wrong_type", layers.value_place(&self.pointer), dotted(&self.pointer), self.message)
    }
}

/// `value` with the default (or nothing) where a reference could not be followed. Texts of connections stay as they
/// are written: a dry run needs a connection that is complete, not its secrets.
pub(super) fn without_unresolved(
    value: &Value,
    unresolved: &BTreeSet<String>,
    marks: &Marks,
    layers: &Layers,
) -> Value {
    let mut known = value.clone();
    for pointer in unresolved {
        if pointer.starts_with("/connections/") && marks.unknown_texts.contains(pointer) {
            continue;
        }
        if let Some(value) = known.pointer_mut(pointer) {
            *value = layers.default_at(pointer);
        }
    }
    // An item that is not known leaves its list.
    for pointer in unresolved {
        let parent = pointer.rfind('/').map_or("", |at| &pointer[..at]);
        if let Some(Value::Array(items)) = known.pointer_mut(parent) {
            items.retain(|item| !item.is_null());
        }
    }
    known
}

/// Puts defaults in the place of whatever an error was found in; of a faulty connection, its name and type stay.
pub(super) fn forget_faulty(value: &mut Value, findings: &[Diagnostic], layers: &Layers) {
    let Value::Object(entries) = value else { return };
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
        // The first of two equal keys was kept, and it is fine.
        if finding.code == "duplicate_key" {
            continue;
        }
        let mut path = finding.path.split(['.', '[']);
        let key = path.next().unwrap_or_default();
        let connection = path.next().and_then(|name| entries.get_mut("connections")?.get_mut(name));
        if let (Some(connection), "connections") = (connection, key) {
            let kind = connection.get("type").filter(|kind| kind.is_string()).cloned().unwrap_or_else(|| "".into());
            *connection = Value::Object(Map::from_iter([("type".to_owned(), kind)]));
            continue;
        }
        match layers.default_at(&child("", key)) {
            Value::Null => entries.remove(key),
            default => entries.insert(key.to_owned(), default),
        };
    }
}

/// Types `value`.
pub(super) fn settings(
    mut value: Value,
    place: Place,
    options: &LoadOptions,
    connectors: Arc<Registry>,
) -> Result<Settings, Misfit> {
    // A secret that is not known (its variable is unset, and this is no `serve`) is left out.
    if let Some(secrets) = value.get_mut("secrets").and_then(Value::as_object_mut) {
        secrets.retain(|_, secret| !secret.is_null());
    }
    let file: format::File = typed("", value)?;
    let whole = |path: &String| place.base.join(path);
    let folder = |asked: &Option<PathBuf>, name: &str| asked.clone().unwrap_or_else(|| place.base.join(name));
    let defaults = Defaults {
        retry: file.defaults.retry.over(RetryPolicy::default()),
        timeout: file.defaults.timeout.0,
        validation: file.defaults.validation,
    };
    let mut connections = BTreeMap::new();
    for (name, entries) in file.connections {
        let pointer = child("/connections", &name);
        connections.insert(name, connection(&pointer, entries, defaults.retry, &place)?);
    }
    Ok(Settings {
        public_url: file.public_url.map(|url| url.trim_end_matches('/').to_owned()),
        data: options.data.clone().unwrap_or_else(|| whole(&file.data)),
        flows: folder(&options.flows, "flows"),
        schemas: folder(&options.schemas, "schemas"),
        signing_key: file.signing_key,
        store: store(file.store, &place),
        public_listen: file.public.listen.0,
        trusted_proxies: file.public.trusted_proxies,
        admin_listen: file.admin.listen.0,
        admin_token: file.admin.token,
        parameters: Value::Object(file.parameters),
        secrets: file.secrets,
        connections,
        catalogue: catalogue(&connectors),
        connectors,
        defaults,
        limits: limits(&file.limits),
        retention: retention(&file.retention),
        reload: Timing {
            poll: file.reload.poll.0.max(POLL_MIN),
            quiet: file.reload.quiet.0,
            rules: Rules {
                unload_after: file.reload.unload_after.0,
                empty_folder_grace: file.reload.empty_folder_grace.0,
            },
        },
        outbound_allow_private: file.outbound.allow_private,
        outbound_ca: file.outbound.ca.iter().map(whole).collect(),
        shutdown_grace: file.shutdown_grace.0,
        log_format: lowercase(file.log.format),
        log_level: lowercase(file.log.level),
        environment: options.env.clone(),
        file: place.file,
    })
}

/// That of the connectors that come with leadflow is shared.
fn catalogue(connectors: &Arc<Registry>) -> Arc<Catalogue> {
    if Arc::ptr_eq(connectors, Registry::builtin()) {
        return crate::actions::shared_catalogue();
    }
    Arc::new(crate::actions::catalogue_with(connectors))
}

fn typed<T: serde::de::DeserializeOwned>(pointer: &str, value: Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut pointer = pointer.to_owned();
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Map { key } => pointer = child(&pointer, key),
                Segment::Seq { index } => pointer = child(&pointer, &index.to_string()),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        // The declaration and the linter's schema are one; the cause is named without the value, which may be a secret.
        Misfit { pointer, message: "the value does not fit its declaration".into() }
    })
}

fn connection(
    pointer: &str,
    entries: Map<String, Value>,
    retry: RetryPolicy,
    place: &Place,
) -> Result<Connection, Misfit> {
    let common_keys = format::schema_of::<format::Common>();
    let is_common = |key: &str| common_keys.pointer(&child("/properties", key)).is_some();
    let (common, own): (Map<_, _>, Map<_, _>) = entries.into_iter().partition(|(key, _)| is_common(key));
    let common: format::Common = typed(pointer, Value::Object(common))?;
    Ok(Connection {
        kind: common.kind,
        settings: Value::Object(own.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        concurrency: common.concurrency,
        timeout: common.timeout.map(|span| span.0),
        retry: common.retry.map(|own| own.over(retry)),
        rate: common.rate.map(|rate| rate.0),
        on_unknown: common.on_unknown,
        ca: common.ca.unwrap_or_default().iter().map(|path| place.base.join(path)).collect(),
        allow_private: common.allow_private.unwrap_or_default(),
    })
}

fn limits(limits: &format::Limits) -> Limits {
    Limits {
        body: BodyLimits {
            body_bytes_max: limits.body.0,
            unpacked_bytes_max: limits.body_unpacked.0,
            json_depth_max: limits.json_depth,
        },
        headers_bytes_max: limits.headers.0,
        url_bytes_max: limits.url.0,
        connections_max: limits.connections,
        header_timeout: limits.header_timeout.0,
        body_timeout: limits.body_timeout.0,
        failed_auth_per_address: limits.failed_auth_per_address.0,
        rate_per_flow: limits.rate_per_flow.map(|rate| rate.0),
        waiting_runs_per_flow: limits.waiting_runs_per_flow,
        workers: limits.workers,
        actions_per_flow: limits.actions_per_flow,
        nesting: limits.nesting,
        iterations: limits.iterations,
        template_output_bytes_max: limits.template_output.0,
        outputs_bytes_max: limits.outputs.0,
        response_bytes_max: limits.response.0,
        respond_wait: limits.respond_wait.0,
        run_duration: limits.run_duration.0,
    }
}

fn retention(retention: &format::Retention) -> Retention {
    Retention {
        succeeded: retention.succeeded.0,
        failed: retention.failed.0,
        rejected: retention.rejected.0,
        duplicates: retention.duplicates.0,
    }
}

fn store(store: format::Store, place: &Place) -> StoreSettings {
    match store.kind {
        StoreKind::Sqlite => StoreSettings::Sqlite,
        StoreKind::Postgres => StoreSettings::Postgres {
            url: store.url,
            ca: store.ca.unwrap_or_default().iter().map(|path| place.base.join(path)).collect(),
            connections: store.pool.unwrap_or(POOL_DEFAULT),
        },
    }
}

fn lowercase(word: impl std::fmt::Debug) -> String {
    format!("{word:?}").to_lowercase()
}

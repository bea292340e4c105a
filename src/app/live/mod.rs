//! `check --live`: logs in to connections, reads what the systems tell of their entities, and compares the mappings of
//! the flows with that.
//!
//! Promise: nothing is sent but logins and reads; an effect that could change something is not performed.

mod compare;
mod mapping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::connect;
use crate::connectors::Described;
use crate::diagnostic::{Diagnostic, Place, nearest};
use crate::engine::ports::OpenConnection;
use crate::library::load::Loaded;
use crate::outbound::sql::SqlRequest;
use crate::outbound::{Call, Effect, Effects, Real, Reply};
use crate::run::Failure;
use crate::settings::Settings;
use crate::store::Store;
use mapping::Mapping;

/// For one answer, where the connection says nothing else.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most questions about one entity: a connector that asks for more is broken.
const QUESTIONS_MAX: usize = 20;

/// Most entities that a finding lists.
const NAMES_SHOWN_MAX: usize = 5;

/// Kinds of connection that lead nowhere: what they take stays on this machine.
const LOCAL: &[&str] = &["records", "outbox"];

/// What is compared.
pub struct Live<'a> {
    /// The settings, secrets resolved.
    pub settings: &'a Settings,
    /// Where the settings stand: JSON pointer to place.
    pub place: &'a dyn Fn(&str) -> Place,
    /// The flows.
    pub flows: &'a [Arc<Loaded>],
    /// Whether connections that none of the flows uses are looked at too.
    pub every_connection: bool,
    /// Keeps refresh tokens, so that a login here does not make the server's useless.
    pub store: Option<Arc<dyn Store>>,
}

/// Logs in, reads and compares. The error: a connection that cannot even be opened.
pub async fn check(live: Live<'_>) -> anyhow::Result<Vec<Diagnostic>> {
    let connections = match &live.store {
        Some(store) => connect::open_on(store, live.settings)?.connections,
        None => connect::connections(live.settings)?,
    };
    let mappings: Vec<Mapping> = live.flows.iter().flat_map(|flow| mapping::of(flow)).collect();
    let used: BTreeSet<&str> = mapping::connections(live.flows);
    // One task each: a system that is down does not hold up the others.
    let mut tasks = Vec::new();
    for (name, connection) in &live.settings.connections {
        let Some(open) = connections.get(name).filter(|_| live.every_connection || used.contains(name.as_str())) else {
            continue;
        };
        let own = mappings.iter().filter(|mapping| mapping.connection == *name);
        let entities: BTreeSet<String> = own.map(|mapping| mapping.entity.clone()).collect();
        let is_local = LOCAL.contains(&connection.kind.as_str());
        tasks.push((name, &connection.kind, tokio::spawn(look(Arc::clone(open), entities, is_local))));
    }
    let mut findings = Vec::new();
    for (name, kind, task) in tasks {
        let seen = task.await?;
        let place = || (live.place)(&format!("/connections/{name}"));
        findings.extend(of_login(name, kind, &seen.login, place));
        for mapping in mappings.iter().filter(|mapping| mapping.connection == **name) {
            match seen.entities.get(&mapping.entity) {
                Some(Ok(shape)) => findings.extend(of_entity(mapping, shape)),
                Some(Err(failure)) => findings.push(unreadable(mapping, failure)),
                None => {}
            }
        }
    }
    // Flows of one blueprint say the same of it.
    let mut told = Vec::new();
    findings.retain(|finding| {
        let is_new = !told.contains(finding);
        told.push(finding.clone());
        is_new
    });
    Ok(findings)
}

/// What was seen of one connection.
struct Seen {
    login: Login,
    entities: BTreeMap<String, Result<Described, Failure>>,
}

/// How a login went.
enum Login {
    In,
    Refused(Failure),
    /// The kind has no call that would prove it.
    NoWay,
    /// There is nothing to log in to.
    Local,
}

async fn look(connection: Arc<OpenConnection>, entities: BTreeSet<String>, is_local: bool) -> Seen {
    let mut seen = Seen { login: Login::Local, entities: BTreeMap::new() };
    if is_local {
        return seen;
    }
    seen.login = match connection.dialect.login() {
        None => Login::NoWay,
        Some(effect) => {
            let reply = perform(&connection, &effect).await;
            match connection.dialect.logged_in(&reply) {
                Ok(()) => Login::In,
                Err(failure) => Login::Refused(failure),
            }
        }
    };
    // Who is not let in is told nothing, and asking again with bad credentials can lock an account.
    if matches!(seen.login, Login::Refused(_)) {
        return seen;
    }
    for entity in entities {
        let described = describe(&connection, &entity).await;
        seen.entities.insert(entity, described);
    }
    seen
}

async fn describe(connection: &OpenConnection, entity: &str) -> Result<Described, Failure> {
    let mut so_far: Vec<Reply> = Vec::new();
    while so_far.len() < QUESTIONS_MAX {
        match connection.dialect.describe(entity, &so_far)? {
            Described::Ask(effect) => so_far.push(perform(connection, &effect).await),
            described => return Ok(described),
        }
    }
    Err(Failure::terminal("internal_error", format!("more than {QUESTIONS_MAX} questions about one entity")))
}

async fn perform(connection: &OpenConnection, effect: &Effect) -> Reply {
    if !is_harmless(effect) {
        return Reply::Failed(Failure::terminal("internal_error", "check --live performs only what changes nothing"));
    }
    let simulated = Reply::Failed(Failure::terminal("internal_error", "nothing is simulated here"));
    Real.perform(Call {
        action: "check",
        secure: true,
        idx: "",
        connection: &connection.name,
        transport: &connection.transport,
        effect,
        timeout: connection.timeout.unwrap_or(TIMEOUT).min(TIMEOUT),
        simulated,
    })
    .await
}

fn is_harmless(effect: &Effect) -> bool {
    match effect {
        Effect::Http(request) => matches!(request.method.as_str(), "GET" | "HEAD"),
        Effect::LogIn | Effect::ReadRecords(_) => true,
        Effect::Sql(request) => matches!(**request, SqlRequest::Describe(_)),
        Effect::Email(_) | Effect::Record(_) => false,
    }
}

fn of_login(name: &str, kind: &str, login: &Login, place: impl Fn() -> Place) -> Option<Diagnostic> {
    let path = format!("connections.{name}");
    match login {
        Login::In | Login::Local => None,
        Login::Refused(failure) => {
            let message = format!("connection `{name}` does not let us in: {}", failure.message);
            let help = format!("leadflow explain {}", failure.code);
            Some(Diagnostic::new("login_failed", place(), path, message).help(help))
        }
        Login::NoWay => {
            let message =
                format!("connection `{name}` ({kind}) has no call that proves the login without doing anything");
            Some(Diagnostic::new("login_not_checked", place(), path, message))
        }
    }
}

fn of_entity(mapping: &Mapping, described: &Described) -> Vec<Diagnostic> {
    match described {
        Described::Shape(shape) => compare::compare(mapping, shape),
        Described::NoEntity(names) => vec![no_entity(mapping, names)],
        Described::Untold | Described::Ask(_) => Vec::new(),
    }
}

fn no_entity(mapping: &Mapping, names: &[String]) -> Diagnostic {
    let message = format!("connection `{}` has no entity `{}`", mapping.connection, mapping.entity);
    let finding = mapping.at_entity("unknown_entity", message);
    let near = nearest(&mapping.entity, names.iter().map(String::as_str));
    match near {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None if names.is_empty() || names.len() > NAMES_SHOWN_MAX => {
            finding.help("write the name that the API of the system uses")
        }
        None => finding.help(format!("there are: {}", names.join(", "))),
    }
}

/// The entity cannot be looked at, though the login went well.
fn unreadable(mapping: &Mapping, failure: &Failure) -> Diagnostic {
    let message = format!("the fields of `{}` cannot be read: {}", mapping.entity, failure.message);
    mapping.at_entity("entity_not_checked", message).help(format!("leadflow explain {}", failure.code))
}

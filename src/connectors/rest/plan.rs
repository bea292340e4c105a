//! A connector file, compiled: what a connection of its kind speaks by.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::format::{By, CallFile, ConnectorFile, Expect, Means, RuleFile, SettingFile, Statuses, TestFile};
use super::shape::{Shape, template};
use crate::flow::catalogue::{OperationKind, Repeat};
use crate::template::{Destination, Template};

/// The most records of one page, where the file does not say.
const PAGE_RECORDS_DEFAULT: usize = 100;

/// The operations of a connector file, with their keys in it.
pub(super) const KINDS: [(OperationKind, &str); 6] = [
    (OperationKind::Create, "create"),
    (OperationKind::Update, "update"),
    (OperationKind::Upsert, "upsert"),
    (OperationKind::Get, "get"),
    (OperationKind::List, "list"),
    (OperationKind::Email, "email"),
];

/// A compiled connector file.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name.
    pub kind: String,
    /// One line: what it speaks to.
    pub summary: String,
    /// Keys of a connection.
    pub settings: BTreeMap<String, SettingFile>,
    /// What paths are appended to.
    pub base_url: Option<Template>,
    /// Kinds of credentials, each with its defaults.
    pub auth: BTreeMap<String, Vec<(String, Shape)>>,
    /// Headers of every request.
    pub headers: Vec<(String, Shape)>,
    /// The system's own error code.
    pub error_code: Option<Template>,
    /// What proves that the connection is let in.
    pub login: Option<Call>,
    /// Requests before each operation.
    pub before: Vec<(String, Call)>,
    /// What holds for entities that say nothing else.
    pub common: Entity,
    /// Entities that differ.
    pub entities: BTreeMap<String, Entity>,
    /// Whether others exist.
    pub any_entity: bool,
    /// The most records of one page.
    pub page: usize,
    /// Requests at once.
    pub concurrency: Option<usize>,
    /// Its tests.
    pub tests: Vec<TestFile>,
}

/// What an entity can be asked for.
#[derive(Debug)]
pub(super) struct Entity {
    /// By kind.
    pub operations: BTreeMap<OperationKind, Call>,
    /// How a record is found by a key.
    pub find: Option<Call>,
    /// Where people see a record.
    pub url: Option<Template>,
}

/// A request, and what its answer tells.
#[derive(Debug)]
pub(super) struct Call {
    /// Whether it is sent.
    pub when: Option<Template>,
    /// Upper-case method.
    pub method: String,
    /// The path; `None`: an upsert that is put together of others.
    pub path: Option<Template>,
    /// Query parameters.
    pub query: Vec<(String, Shape)>,
    /// Headers.
    pub headers: Vec<(String, Shape)>,
    /// The body.
    pub body: Option<Shape>,
    /// What a fine answer looks like.
    pub expect: Expect,
    /// Whether a repeat is harmless.
    pub repeat: Repeat,
    /// What tells which record is meant.
    pub by: By,
    /// The most fields of a key.
    pub key_fields: Option<usize>,
    /// What answers mean.
    pub rules: Vec<Rule>,
    /// What a request before gives.
    pub value: Option<Template>,
    /// The record's id.
    pub id: Option<Template>,
    /// The record.
    pub record: Option<Template>,
    /// The records of a page.
    pub records: Option<Template>,
    /// What asks for the next page.
    pub next: Option<Template>,
    /// What an upsert did.
    pub did: Option<Template>,
    /// What looks for the work of an earlier try.
    pub recognise: Option<Box<Call>>,
    /// The answer of a dry run: status, headers, body.
    pub simulated: (u16, Vec<(String, Shape)>, Shape),
}

/// What one kind of answer means.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The statuses.
    pub status: Option<Statuses>,
    /// The condition.
    pub when: Option<Template>,
    /// What it means.
    pub means: Means,
    /// The existing record's id.
    pub id: Option<Template>,
    /// Whether only our own key can have met it.
    pub ours: bool,
}

impl Plan {
    /// Compiles a file that the check let pass. `value` is the file, `kind` its name.
    pub(super) fn new(kind: String, value: &Value, file: ConnectorFile) -> Self {
        let common_rules: Vec<Rule> = file.answers.iter().map(Rule::new).collect();
        let none = Value::Object(Map::new());
        let common = Entity::new(&value["operations"], &none, &file, None, &common_rules);
        let mut entities = BTreeMap::new();
        for (name, own) in &file.entities {
            let rules: Vec<Rule> = own.answers.iter().map(Rule::new).chain(common_rules.iter().cloned()).collect();
            let over = &value["entities"][name]["operations"];
            entities.insert(name.clone(), Entity::new(&value["operations"], over, &file, Some(name), &rules));
        }
        let before = file
            .before
            .iter()
            .map(|call| (call.name.clone().unwrap_or_default(), Call::new(call, "GET", Repeat::Safe, &common_rules)));
        Self {
            login: file.login.as_ref().map(|call| Call::new(call, "GET", Repeat::Safe, &common_rules)),
            before: before.collect(),
            base_url: plain(Some(&file.base_url)),
            auth: file.auth.iter().map(|(kind, keys)| (kind.clone(), shapes(keys))).collect(),
            headers: shapes(&file.headers),
            error_code: plain(file.error_code.as_ref()),
            common,
            entities,
            any_entity: file.any_entity.unwrap_or(true),
            page: file.limits.page.unwrap_or(PAGE_RECORDS_DEFAULT),
            concurrency: file.limits.concurrency,
            tests: file.tests,
            settings: file.settings,
            summary: file.summary,
            kind,
        }
    }

    /// The entity `name`; `None`: the system has none of that name.
    pub(super) fn entity(&self, name: Option<&str>) -> Option<&Entity> {
        let Some(name) = name else { return Some(&self.common) };
        self.entities.get(name).or_else(|| self.any_entity.then_some(&self.common))
    }

    /// What it can be asked for: of several entities the least harmless repeat.
    pub(super) fn operations(&self) -> Vec<(OperationKind, Repeat)> {
        let entities = || self.any_entity.then_some(&self.common).into_iter().chain(self.entities.values());
        let rank = |repeat: &Repeat| match repeat {
            Repeat::Safe => 0,
            Repeat::Recognised => 1,
            Repeat::Unsafe => 2,
        };
        let worst = |kind: OperationKind| {
            let own = entities().chain(std::iter::once(&self.common)).filter_map(|entity| entity.operations.get(&kind));
            own.map(|call| call.repeat).max_by_key(rank)
        };
        let own = KINDS.iter().filter_map(|(kind, _)| Some((*kind, worst(*kind)?)));
        own.chain([(OperationKind::Http, Repeat::Unsafe)]).collect()
    }
}

impl Entity {
    fn new(common: &Value, own: &Value, file: &ConnectorFile, name: Option<&String>, rules: &[Rule]) -> Self {
        let entity = name.and_then(|name| file.entities.get(name));
        let mut operations = BTreeMap::new();
        for (kind, key) in KINDS {
            let mut merged = common.get(key).and_then(Value::as_object).cloned();
            if let Some(own) = own.get(key).and_then(Value::as_object) {
                merged.get_or_insert_default().extend(own.clone());
            }
            let call = merged.map(|call| serde_json::from_value::<CallFile>(Value::Object(call)));
            if let Some(Ok(call)) = call {
                let (method, repeat) = match kind {
                    OperationKind::Create | OperationKind::Email => ("POST", Repeat::Unsafe),
                    OperationKind::Get | OperationKind::List => ("GET", Repeat::Safe),
                    _ => ("POST", Repeat::Safe),
                };
                operations.insert(kind, Call::new(&call, method, repeat, rules));
            }
        }
        let find = entity.and_then(|entity| entity.find.as_ref()).or(file.find.as_ref());
        let url = entity.and_then(|entity| entity.url.as_ref()).or(file.url.as_ref());
        Self { operations, find: find.map(|call| Call::new(call, "GET", Repeat::Safe, rules)), url: plain(url) }
    }
}

impl Call {
    fn new(file: &CallFile, method: &str, repeat: Repeat, rules: &[Rule]) -> Self {
        let own = file.answers.iter().map(Rule::new);
        let recognise = file.recognise.as_ref().map(super::format::RecogniseFile::as_call);
        let simulated = &file.simulated;
        Self {
            when: plain(file.when.as_ref()),
            method: file.method.clone().unwrap_or_else(|| method.to_owned()).to_ascii_uppercase(),
            path: file.path.as_ref().and_then(|path| template(path, Destination::Url)),
            query: shapes(&file.query),
            headers: shapes(&file.headers),
            body: file.body.as_ref().map(Shape::new),
            expect: file.expect,
            repeat: file.repeat.unwrap_or(repeat),
            by: file.by,
            key_fields: file.key_fields,
            rules: own.chain(rules.iter().cloned()).collect(),
            value: plain(file.value.as_ref()),
            id: plain(file.id.as_ref()),
            record: plain(file.record.as_ref()),
            records: plain(file.records.as_ref()),
            next: plain(file.next.as_ref()),
            did: plain(file.did.as_ref()),
            recognise: recognise.map(|call| Box::new(Self::new(&call, "GET", Repeat::Safe, rules))),
            simulated: (
                simulated.status.unwrap_or(200),
                shapes(&simulated.headers),
                simulated.body.as_ref().map_or_else(|| Shape::Object(Vec::new()), Shape::new),
            ),
        }
    }
}

impl Rule {
    fn new(file: &RuleFile) -> Self {
        Self {
            status: file.status.clone(),
            when: plain(file.when.as_ref()),
            means: file.means,
            id: plain(file.id.as_ref()),
            ours: file.ours,
        }
    }
}

fn shapes(entries: &Map<String, Value>) -> Vec<(String, Shape)> {
    entries.iter().map(|(key, value)| (key.clone(), Shape::new(value))).collect()
}

fn plain(text: Option<&String>) -> Option<Template> {
    text.and_then(|text| template(text, Destination::Plain))
}

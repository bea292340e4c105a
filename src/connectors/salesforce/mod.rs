//! Salesforce by its REST API: sobjects, upsert by external id, queries.
//!
//! A repeat is recognised where the connection names an `external_id_field`: a create is then an upsert by that field
//! with the idempotency key as its value, and Salesforce makes at most one record of it. Without one, Salesforce cannot
//! tell a repeat from a second lead, so its `create` counts as unsafe.

mod answer;
mod live;

use serde_json::{Map, Value, json};

use super::api::{self, Asked, encoded, name, request};
use super::http::Http;
use super::{
    Connector, CreateRecord, Described, Dialect, Did, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome,
    Progress, Reach, Talk, Target, Written, declared, not_served, spec_once, unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::http::Credentials;
use crate::outbound::{Effect, HttpReply, Reply};
use crate::run::Failure;
use answer::{existing, is_duplicate, refusal};

/// The most records of a query that asks for all fields: Salesforce's own bound for `FIELDS(ALL)`.
const ALL_FIELDS_RECORDS_MAX: usize = 200;

/// Which pages of a list one try reads at most.
const PAGES_MAX: u32 = 40;

/// Salesforce.
#[derive(Debug, Clone, Copy)]
pub struct Salesforce;

/// A connection of type `salesforce`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// My Domain: `https://contoso.my.salesforce.com`.
    #[schemars(extend("x-unit" = "url"))]
    url: String,
    /// The version of the REST API. Default: `v62.0`.
    #[serde(default = "api_version")]
    api_version: String,
    /// A text field, marked as external id and unique, of every object that flows create: `Leadflow_Key__c`. With it a
    /// repeated create is recognised.
    #[serde(default)]
    external_id_field: Option<String>,
    /// Credentials: `oauth2_client_credentials` or `jwt_bearer` of a connected app.
    #[serde(default)]
    auth: Credentials,
}

fn api_version() -> String {
    "v62.0".into()
}

impl Connector for Salesforce {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "salesforce".into(),
            summary: "Salesforce".into(),
            settings: declared::<Settings>(),
            operations: vec![
                (OperationKind::Create, Repeat::Unsafe),
                (OperationKind::Update, Repeat::Safe),
                (OperationKind::Upsert, Repeat::Safe),
                (OperationKind::Get, Repeat::Safe),
                (OperationKind::List, Repeat::Safe),
                (OperationKind::Http, Repeat::Unsafe),
            ],
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let settings: Settings = super::read(settings)?;
        let site = api::site("url", &settings.url, "https://contoso.my.salesforce.com")?;
        if !api::is_version(&settings.api_version) {
            return Err("`api_version` is not a version of the REST API; write v62.0".into());
        }
        if settings.external_id_field.as_deref().is_some_and(|field| name(field).is_err()) {
            return Err("`external_id_field` is not the name of a field; write Leadflow_Key__c".into());
        }
        let path = format!("/services/data/{}/", settings.api_version);
        let base = format!("{site}{}", path.trim_end_matches('/'));
        let dialect = Org { site, path, external_id_field: settings.external_id_field };
        api::open(base, &[("Accept", "application/json")], settings.auth, reach, dialect)
    }
}

/// Salesforce with the address of one org.
struct Org {
    /// `https://contoso.my.salesforce.com`.
    site: String,
    /// The REST API below it, with slashes at its ends.
    path: String,
    external_id_field: Option<String>,
}

/// Which effect of an operation was answered last, between the effects of one try.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The first one.
    #[default]
    First,
    /// The ids of the records with a key.
    Find,
    /// The duplicate with this id is changed.
    Change(String),
    /// The record that an upsert wrote without telling its id.
    Read {
        /// Whether the upsert made it.
        created: bool,
    },
    /// Pages of a list so far.
    Pages(Vec<Value>),
}

impl Dialect for Org {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let asked = Asked::new(operation, cx);
        Ok(Effect::Http(match operation {
            Operation::CreateRecord(create) => {
                let entity = name(&create.entity)?;
                let body = Some(Value::Object(create.fields.clone()));
                match &self.external_id_field {
                    Some(field) => request("PATCH", format!("sobjects/{entity}/{field}/{}", cx.key.hex()), &[], body),
                    None => request("POST", format!("sobjects/{entity}"), &[], body),
                }
            }
            Operation::UpsertRecord(upsert) => {
                let entity = name(&upsert.entity)?;
                let address = match &upsert.target {
                    Target::Id(id) => record(entity, id, asked)?,
                    Target::Key(key) => external(entity, key, asked)?,
                };
                request("PATCH", address, &[], Some(Value::Object(upsert.fields.clone())))
            }
            Operation::UpdateRecord(update) => match &update.target {
                Target::Id(id) => {
                    let body = Value::Object(update.fields.clone());
                    request("PATCH", record(name(&update.entity)?, id, asked)?, &[], Some(body))
                }
                Target::Key(key) => find(&update.entity, key)?,
            },
            Operation::GetRecord(get) => match &get.target {
                Target::Id(id) => request("GET", record(name(&get.entity)?, id, asked)?, &[], None),
                Target::Key(key) => find(&get.entity, key)?,
            },
            Operation::ListRecords(list) => query(&listing(list, asked)?),
            Operation::Http(_) => return Http::OF_AN_API.start(operation, cx),
            Operation::SendEmail(_) => return Err(not_served(cx.connection)),
        }))
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress {
        if let Operation::Http(_) = operation {
            return Http::OF_AN_API.on_reply(operation, cx, talk, reply);
        }
        let asked = Asked::new(operation, cx);
        let stage: Stage = serde_json::from_value(talk.notes.take()).unwrap_or_default();
        let next = match reply {
            Reply::Http(reply) => match operation {
                Operation::CreateRecord(create) => self.created(create, cx, stage, &reply, asked),
                Operation::UpsertRecord(_) => self.upserted(&stage, &reply, asked),
                Operation::UpdateRecord(_) => self.updated(stage, &reply, asked),
                Operation::GetRecord(_) => got(&stage, &reply, asked),
                Operation::ListRecords(list) => self.listed(list, stage, talk.n, &reply, asked),
                Operation::SendEmail(_) | Operation::Http(_) => return unexpected(),
            },
            Reply::Failed(failure) => Err(failure),
            _ => return unexpected(),
        };
        match next {
            Ok(Next::Done(outcome)) => Progress::Done(Ok(outcome)),
            Ok(Next::Send(effect, stage)) => match serde_json::to_value(stage) {
                Ok(notes) => {
                    talk.notes = notes;
                    Progress::Send(effect)
                }
                Err(_) => unexpected(),
            },
            Err(failure) => Progress::Done(Err(failure)),
        }
    }

    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, talk: &Talk, effect: &Effect) -> Reply {
        let Effect::Http(sent) = effect else { return Reply::Record };
        let id = simulated_id(operation, cx);
        let found = json!({"totalSize": 1, "done": true, "records": [{"Id": id}]});
        let (status, body) = match operation {
            Operation::CreateRecord(_) | Operation::UpsertRecord(_) => {
                (201, json!({"id": id, "success": true, "errors": [], "created": true}))
            }
            Operation::UpdateRecord(_) if sent.method == "PATCH" => (204, Value::Null),
            Operation::GetRecord(get) if !sent.url.starts_with("query") => {
                let mut fields = match &get.target {
                    Target::Id(_) => Map::new(),
                    Target::Key(key) => key.clone(),
                };
                fields.insert("Id".into(), json!(id));
                (200, Value::Object(fields))
            }
            Operation::UpdateRecord(_) | Operation::GetRecord(_) => (200, found),
            Operation::ListRecords(_) => (200, json!({"totalSize": 0, "done": true, "records": []})),
            Operation::SendEmail(_) | Operation::Http(_) => {
                return Http::OF_AN_API.simulate(operation, cx, talk, effect);
            }
        };
        Reply::Http(HttpReply { status, headers: Vec::new(), body, retry_after: None })
    }

    /// A field for our keys is what makes a repeated create known.
    fn repeat(&self, operation: OperationKind) -> Option<Repeat> {
        let is_known = operation == OperationKind::Create && self.external_id_field.is_some();
        is_known.then_some(Repeat::Recognised)
    }

    fn login(&self) -> Option<Effect> {
        Some(Effect::Http(super::http::get("limits")))
    }

    fn describe(&self, entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
        live::describe(entity, so_far)
    }
}

/// What follows an answer.
enum Next {
    Done(Outcome),
    Send(Effect, Stage),
}

type Judged = Result<Next, Failure>;

impl Org {
    fn created(
        &self,
        create: &CreateRecord,
        cx: &OpContext<'_>,
        stage: Stage,
        reply: &HttpReply,
        asked: Asked<'_>,
    ) -> Judged {
        match stage {
            Stage::Change(id) if reply.status == 204 => Ok(self.done(Did::Updated, id, reply, asked)),
            Stage::Read { .. } => match reply.body["Id"].as_str() {
                Some(id) if reply.status == 200 => Ok(self.done(Did::Created, id.to_owned(), reply, asked)),
                _ => Err(refusal(reply, asked)),
            },
            Stage::First if is_success(reply) => match (&self.external_id_field, reply.body["id"].as_str()) {
                // The key is this operation's own, so whatever has it is this operation's record, made now or before.
                (Some(_), Some(id)) => Ok(self.done(Did::Created, id.to_owned(), reply, asked)),
                (Some(field), None) if reply.status == 204 => {
                    Ok(self.read(format!("sobjects/{}/{field}/{}", create.entity, cx.key.hex()), true))
                }
                (None, Some(id)) if reply.status == 201 => {
                    let Next::Done(outcome) = self.done(Did::Created, id.to_owned(), reply, asked) else {
                        return Err(asked.unexpected_answer());
                    };
                    Ok(Next::Done(outcome.flagged(cx.possible_repeat)))
                }
                _ => Err(asked.unexpected_answer()),
            },
            Stage::First if is_duplicate(reply) => self.duplicate(create, cx, reply, asked),
            _ => Err(refusal(reply, asked)),
        }
    }

    fn duplicate(&self, create: &CreateRecord, cx: &OpContext<'_>, reply: &HttpReply, asked: Asked<'_>) -> Judged {
        let existing = existing(reply, &create.entity);
        // Without a key of our own, a duplicate behind an unknown try may well be what that try made.
        if cx.possible_repeat && self.external_id_field.is_none() {
            let Next::Done(outcome) = self.end(Did::Created, existing, reply, asked) else {
                return Err(asked.unexpected_answer());
            };
            return Ok(Next::Done(outcome.flagged(true)));
        }
        match (create.on_duplicate, existing) {
            (OnDuplicate::Ok, existing) => Ok(self.end(Did::Duplicate, existing, reply, asked)),
            (OnDuplicate::Update, Some(id)) => {
                let url = record(name(&create.entity)?, &id, asked)?;
                let body = Some(Value::Object(create.fields.clone()));
                Ok(Next::Send(Effect::Http(request("PATCH", url, &[], body)), Stage::Change(id)))
            }
            (OnDuplicate::Update, None) => {
                Err(asked.duplicate(", and Salesforce does not say which one: use upsert_record with a key"))
            }
            (OnDuplicate::Fail, _) => Err(asked.duplicate("")),
        }
    }

    fn upserted(&self, stage: &Stage, reply: &HttpReply, asked: Asked<'_>) -> Judged {
        if let Stage::Read { created } = stage {
            let did = if *created { Did::Created } else { Did::Updated };
            return match reply.body["Id"].as_str() {
                Some(id) if reply.status == 200 => Ok(self.done(did, id.to_owned(), reply, asked)),
                _ => Err(refusal(reply, asked)),
            };
        }
        if !is_success(reply) {
            return Err(refusal(reply, asked));
        }
        let created = reply.body["created"].as_bool().unwrap_or(reply.status == 201);
        match (reply.body["id"].as_str().or(asked.id()), asked.key()) {
            (Some(id), _) if reply.body.is_object() || reply.status == 204 => {
                let did = if created { Did::Created } else { Did::Updated };
                Ok(self.done(did, id.to_owned(), reply, asked))
            }
            // Old versions of the API tell no id of a record that they changed.
            (None, Some(key)) if reply.status == 204 => {
                Ok(self.read(external(name(asked.entity())?, key, asked)?, created))
            }
            _ => Err(asked.unexpected_answer()),
        }
    }

    fn updated(&self, stage: Stage, reply: &HttpReply, asked: Asked<'_>) -> Judged {
        let id = match (stage, asked.id()) {
            (Stage::Change(id), _) => id,
            (Stage::First, Some(id)) => id.to_owned(),
            (Stage::First, None) => {
                let id = found(reply, asked)?;
                let body = asked.fields().cloned().map(Value::Object);
                let url = record(name(asked.entity())?, &id, asked)?;
                return Ok(Next::Send(Effect::Http(request("PATCH", url, &[], body)), Stage::Change(id)));
            }
            _ => return Err(refusal(reply, asked)),
        };
        match reply.status {
            204 => Ok(self.done(Did::Updated, id, reply, asked)),
            _ => Err(refusal(reply, asked)),
        }
    }

    fn listed(&self, list: &ListRecords, stage: Stage, n: u32, reply: &HttpReply, asked: Asked<'_>) -> Judged {
        let mut records = match stage {
            Stage::Pages(records) => records,
            _ => Vec::new(),
        };
        let page = records_of(reply, asked)?;
        records.extend(page.iter().cloned().map(without_attributes));
        let next = reply.body["nextRecordsUrl"].as_str().filter(|_| records.len() < list.limit);
        let Some(next) = next else {
            records.truncate(list.limit);
            return Ok(Next::Done(Outcome::listed(records)));
        };
        // The next page is below the same API, or it is not asked for.
        let next = next.strip_prefix(&self.path).filter(|next| next.starts_with("query/") && n + 1 < PAGES_MAX);
        let next = next.ok_or_else(|| asked.unexpected_answer())?;
        Ok(Next::Send(Effect::Http(request("GET", next.to_owned(), &[], None)), Stage::Pages(records)))
    }

    #[expect(clippy::unused_self, reason = "it stands with its siblings")]
    fn read(&self, url: String, created: bool) -> Next {
        Next::Send(Effect::Http(request("GET", url, &[], None)), Stage::Read { created })
    }

    fn done(&self, did: Did, id: String, reply: &HttpReply, asked: Asked<'_>) -> Next {
        self.end(did, Some(id), reply, asked)
    }

    fn end(&self, did: Did, id: Option<String>, reply: &HttpReply, asked: Asked<'_>) -> Next {
        let url = id.as_ref().map(|id| format!("{}/lightning/r/{}/{}/view", self.site, asked.entity(), encoded(id)));
        let record = Value::Object(asked.fields().cloned().unwrap_or_default());
        Next::Done(Written { did, id, url, record, raw: reply.body.clone() }.outcome())
    }
}

fn is_success(reply: &HttpReply) -> bool {
    (200..=299).contains(&reply.status)
}

fn got(stage: &Stage, reply: &HttpReply, asked: Asked<'_>) -> Judged {
    if *stage == Stage::First && asked.id().is_none() {
        let id = found(reply, asked)?;
        let url = record(name(asked.entity())?, &id, asked)?;
        return Ok(Next::Send(Effect::Http(request("GET", url, &[], None)), Stage::Find));
    }
    match &reply.body {
        Value::Object(fields) if reply.status == 200 && fields.contains_key("Id") => {
            Ok(Next::Done(Outcome::found(without_attributes(reply.body.clone()))))
        }
        _ => Err(refusal(reply, asked)),
    }
}

/// The id of the one record that a query found.
fn found(reply: &HttpReply, asked: Asked<'_>) -> Result<String, Failure> {
    match records_of(reply, asked)?.as_slice() {
        [] => Err(asked.not_found()),
        [one] => one["Id"].as_str().map(str::to_owned).ok_or_else(|| asked.unexpected_answer()),
        _ => Err(asked.bad_key("several records have this key")),
    }
}

fn records_of<'a>(reply: &'a HttpReply, asked: Asked<'_>) -> Result<&'a Vec<Value>, Failure> {
    if reply.status != 200 {
        return Err(refusal(reply, asked));
    }
    reply.body["records"].as_array().ok_or_else(|| asked.unexpected_answer())
}

/// `sobjects/Lead/00Q…`. An id of Salesforce has 15 or 18 letters and digits; anything else could lead elsewhere.
fn record(entity: &str, id: &str, asked: Asked<'_>) -> Result<String, Failure> {
    let id = id.trim();
    if !matches!(id.len(), 15 | 18) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(asked.bad_key("an id of Salesforce has 15 or 18 letters and digits"));
    }
    Ok(format!("sobjects/{entity}/{id}"))
}

/// `sobjects/Lead/Email_Key__c/…`: the record with a value in an external id field.
fn external(entity: &str, key: &Map<String, Value>, asked: Asked<'_>) -> Result<String, Failure> {
    let mut fields = key.iter();
    let (Some((field, value)), None) = (fields.next(), fields.next()) else {
        return Err(asked.bad_key("Salesforce knows a record by one external id field; give `key` one field"));
    };
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(asked.bad_key("an external id is a text or a number")),
    };
    // As a segment of the path these would name the object itself.
    if value.trim().is_empty() || matches!(value.trim(), "." | "..") {
        return Err(asked.bad_key("an external id is neither empty nor dots"));
    }
    Ok(format!("sobjects/{entity}/{}/{}", name(field)?, encoded(&value)))
}

fn query(soql: &str) -> crate::outbound::HttpRequest {
    request("GET", format!("query?q={}", encoded(soql)), &[], None)
}

/// Asks for the ids of the records with these values: two are enough to know that it is not one.
fn find(entity: &str, key: &Map<String, Value>) -> Result<crate::outbound::HttpRequest, Failure> {
    Ok(query(&format!("SELECT Id FROM {}{} LIMIT 2", name(entity)?, conditions(key)?)))
}

fn listing(list: &ListRecords, asked: Asked<'_>) -> Result<String, Failure> {
    let fields = if list.select.is_empty() { "FIELDS(ALL)".to_owned() } else { api::names(&list.select)? };
    if list.select.is_empty() && list.limit > ALL_FIELDS_RECORDS_MAX {
        let why =
            format!("Salesforce gives all fields of {ALL_FIELDS_RECORDS_MAX} records at most: name them (`select`)");
        return Err(asked.bad_key(&why));
    }
    let order = |(field, descending): &(String, bool)| {
        Ok(format!("{}{}", name(field)?, if *descending { " DESC" } else { "" }))
    };
    let order = list.order_by.iter().map(order).collect::<Result<Vec<_>, Failure>>()?;
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(",")) };
    let (entity, conditions) = (name(&list.entity)?, conditions(&list.filter)?);
    Ok(format!("SELECT {fields} FROM {entity}{conditions}{order} LIMIT {}", list.limit))
}

fn conditions(fields: &Map<String, Value>) -> Result<String, Failure> {
    let one = |(field, value): (&String, &Value)| Ok(format!("{} = {}", name(field)?, literal(field, value)?));
    let all = fields.iter().map(one).collect::<Result<Vec<_>, Failure>>()?;
    Ok(if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) })
}

/// A value in SOQL. A text stays one literal whatever is in it.
fn literal(field: &str, value: &Value) -> Result<String, Failure> {
    match value {
        Value::Null => Ok("null".into()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::String(text) if is_time(field, text) => Ok(text.clone()),
        Value::String(text) => {
            let mut literal = String::from("'");
            for c in text.chars() {
                match c {
                    '\'' | '\\' | '"' => literal.extend(['\\', c]),
                    '\n' => literal.push_str("\\n"),
                    '\r' => literal.push_str("\\r"),
                    '\t' => literal.push_str("\\t"),
                    c => literal.push(c),
                }
            }
            literal.push('\'');
            Ok(literal)
        }
        Value::Array(_) | Value::Object(_) => {
            Err(Failure::terminal("bad_key", "a list or an object cannot be looked for; give a text or a number"))
        }
    }
}

/// Whether `text` is a date or a time for a field whose name says that it holds one: these stand without quotes.
fn is_time(field: &str, text: &str) -> bool {
    let field = field.trim_end_matches("__c").to_ascii_lowercase();
    let holds_one = ["date", "datetime", "modstamp", "timestamp"].iter().any(|end| field.ends_with(end));
    let bare = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:TZ.+".contains(&byte));
    holds_one && bare && (text.parse::<jiff::civil::Date>().is_ok() || text.parse::<jiff::Timestamp>().is_ok())
}

/// `attributes` is where the record stands in the API, and no field.
fn without_attributes(mut record: Value) -> Value {
    if let Value::Object(fields) = &mut record {
        fields.remove("attributes");
    }
    record
}

/// An id that looks like one of Salesforce.
fn simulated_id(operation: &Operation, cx: &OpContext<'_>) -> String {
    let target = match operation {
        Operation::UpdateRecord(update) => Some(&update.target),
        Operation::UpsertRecord(upsert) => Some(&upsert.target),
        Operation::GetRecord(get) => Some(&get.target),
        _ => None,
    };
    match target {
        Some(Target::Id(id)) => id.clone(),
        _ => cx.key.hex().chars().take(18).collect(),
    }
}

#[cfg(test)]
mod tests;

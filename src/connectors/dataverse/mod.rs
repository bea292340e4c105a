//! Dynamics 365 and everything else on Dataverse, by its Web API (`OData` v4).
//!
//! A new record gets its id from the idempotency key, and is made only if that id is free (`If-None-Match: *`). When
//! Dataverse says that something is there already, one read of that id tells our own record from a duplicate, so a
//! repeat is recognised for certain. Duplicate detection rules are asked only when the flow cares (`on_duplicate` is
//! `update` or `fail`): otherwise a lead that resembles another one is kept, as Dataverse itself does by default.

mod live;

use serde_json::{Map, Value, json};

use super::api::{self, Asked, encoded, header, name, request};
use super::http::Http;
use super::{
    Connector, CreateRecord, Described, Dialect, Did, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome,
    Progress, Reach, Talk, Target, Written, declared, not_served, odata, refused, spec_once, unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::http::Credentials;
use crate::outbound::{Effect, HttpReply, Reply};
use crate::run::Failure;

/// The most records of one answer: what Dataverse gives at most.
const PAGE_RECORDS_MAX: usize = 5000;

/// Which pages of a list one try reads at most.
const PAGES_MAX: u32 = 40;

/// A duplicate detection rule matched. The status differs (412, 500).
const RULE_MATCHED: &str = "0x80040333";

/// Codes of duplicates: a rule, the id, an alternate key.
const DUPLICATES: &[&str] = &[RULE_MATCHED, "0x80040237", "0x80060892"];

/// There is no such entity set: a mistake in the flow, not a record that is missing.
const NO_ENTITY_SET: &str = "0x80060888";

/// Dynamics 365 and Dataverse.
#[derive(Debug, Clone, Copy)]
pub struct Dataverse;

/// A connection of type `dataverse`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The environment: `https://contoso.crm4.dynamics.com`.
    #[schemars(extend("x-unit" = "url"))]
    url: String,
    /// The version of the Web API. Default: `v9.2`.
    #[serde(default = "api_version")]
    api_version: String,
    /// Credentials: `oauth2_client_credentials` of an app registration; with `tenant` its `scope` is `URL/.default`, if it
    /// says nothing.
    #[serde(default)]
    auth: Credentials,
}

fn api_version() -> String {
    "v9.2".into()
}

impl Connector for Dataverse {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "dataverse".into(),
            summary: "Dynamics 365 and Dataverse".into(),
            settings: declared::<Settings>(),
            operations: vec![
                (OperationKind::Create, Repeat::Recognised),
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
        let org = api::site("url", &settings.url, "https://contoso.crm4.dynamics.com")?;
        if !api::is_version(&settings.api_version) {
            return Err("`api_version` is not a version of the Web API; write v9.2".into());
        }
        let base = format!("{org}/api/data/{}", settings.api_version);
        let mut auth = settings.auth;
        if let Credentials::Oauth2ClientCredentials(own) = &mut auth
            && own.tenant.is_some()
            && own.scope.is_none()
        {
            own.scope = Some(format!("{org}/.default"));
        }
        let dialect = Organisation { org, base: base.clone() };
        api::open(base, HEADERS, auth, reach, dialect)
    }
}

/// Of every request.
const HEADERS: &[(&str, &str)] =
    &[("OData-MaxVersion", "4.0"), ("OData-Version", "4.0"), ("Accept", "application/json")];

/// Ask for the record as it is after a write.
const REPRESENTATION: (&str, &str) = ("Prefer", "return=representation");

/// Dataverse with the address of one organisation.
struct Organisation {
    /// `https://contoso.crm4.dynamics.com`.
    org: String,
    /// The Web API below it.
    base: String,
}

impl Dialect for Organisation {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let asked = Asked::new(operation, cx);
        Ok(Effect::Http(match operation {
            Operation::CreateRecord(create) => {
                let own = format!("{}({})", name(&create.entity)?, cx.key.uuid());
                let mut headers = vec![REPRESENTATION, ("If-None-Match", "*")];
                if create.on_duplicate != OnDuplicate::Ok {
                    headers.push(("MSCRM.SuppressDuplicateDetection", "false"));
                }
                request("PATCH", own, &headers, Some(Value::Object(create.fields.clone())))
            }
            Operation::UpdateRecord(update) => {
                let headers = [REPRESENTATION, ("If-Match", "*")];
                let url = address(&update.entity, &update.target, asked)?;
                request("PATCH", url, &headers, Some(Value::Object(update.fields.clone())))
            }
            Operation::UpsertRecord(upsert) => {
                let url = address(&upsert.entity, &upsert.target, asked)?;
                let mut fields = upsert.fields.clone();
                if let Target::Key(key) = &upsert.target {
                    fields.extend(key.clone());
                }
                request("PATCH", url, &[REPRESENTATION], Some(Value::Object(fields)))
            }
            Operation::GetRecord(get) => request("GET", address(&get.entity, &get.target, asked)?, &[], None),
            Operation::ListRecords(list) => request("GET", query(list)?, &[("Prefer", &page_size(list))], None),
            Operation::Http(_) => return Http::OF_AN_API.start(operation, cx),
            Operation::SendEmail(_) => return Err(not_served(cx.connection)),
        }))
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress {
        if let Operation::Http(_) = operation {
            return Http::OF_AN_API.on_reply(operation, cx, talk, reply);
        }
        let asked = Asked::new(operation, cx);
        match reply {
            Reply::Http(reply) => match operation {
                Operation::CreateRecord(create) => self.created(create, cx, talk, &reply, asked),
                Operation::UpdateRecord(_) | Operation::UpsertRecord(_) => Progress::Done(self.wrote(&reply, asked)),
                Operation::GetRecord(_) => Progress::Done(got(&reply, asked)),
                Operation::ListRecords(list) => self.listed(list, talk, &reply, asked),
                Operation::SendEmail(_) | Operation::Http(_) => unexpected(),
            },
            Reply::Failed(failure) => Progress::Done(Err(failure)),
            _ => unexpected(),
        }
    }

    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, talk: &Talk, effect: &Effect) -> Reply {
        let (status, fields) = match operation {
            Operation::CreateRecord(create) => (201, create.fields.clone()),
            Operation::UpdateRecord(update) => (200, update.fields.clone()),
            Operation::UpsertRecord(upsert) => (201, upsert.fields.clone()),
            Operation::GetRecord(get) => (200, key_of(&get.target)),
            Operation::ListRecords(_) => (200, Map::from_iter([("value".to_owned(), json!([]))])),
            Operation::SendEmail(_) | Operation::Http(_) => {
                return Http::OF_AN_API.simulate(operation, cx, talk, effect);
            }
        };
        let mut body = Map::from_iter([("@odata.context".to_owned(), json!("dry run"))]);
        body.extend(fields);
        let entity = operation.entity().unwrap_or_default();
        let id = format!("{}/{entity}({})", self.base, simulated_id(operation, cx));
        let headers = vec![("odata-entityid".to_owned(), id)];
        Reply::Http(HttpReply { status, headers, body: Value::Object(body), retry_after: None })
    }

    fn login(&self) -> Option<Effect> {
        Some(Effect::Http(super::http::get("WhoAmI")))
    }

    fn describe(&self, entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
        live::describe(entity, so_far)
    }
}

impl Organisation {
    fn created(
        &self,
        create: &CreateRecord,
        cx: &OpContext<'_>,
        talk: &mut Talk,
        reply: &HttpReply,
        asked: Asked<'_>,
    ) -> Progress {
        let own = cx.key.uuid().to_string();
        let was_duplicate = talk.notes["duplicate"].as_str().map(str::to_owned);
        match was_duplicate {
            // Something is there already: is it ours?
            Some(_) if reply.status == 200 => Progress::Done(self.written(Did::Created, Some(own), reply, asked)),
            Some(code) if reply.status == 404 => duplicate(create, &code, asked),
            None if is_duplicate(reply) => {
                talk.notes = json!({ "duplicate": error(reply).0 });
                let url = format!("{}({own})", create.entity);
                Progress::Send(Effect::Http(request("GET", url, &[], None)))
            }
            None if is_success(reply) => Progress::Done(self.written(Did::Created, Some(own), reply, asked)),
            _ => Progress::Done(Err(refusal(reply, asked))),
        }
    }

    /// The end of an update or upsert.
    fn wrote(&self, reply: &HttpReply, asked: Asked<'_>) -> Result<Outcome, Failure> {
        if is_success(reply) {
            // Only an upsert makes records, and only with a representation the answer says so.
            let did = if reply.status == 201 { Did::Created } else { Did::Updated };
            return self.written(did, None, reply, asked);
        }
        if is_duplicate(reply) {
            return Err(asked.duplicate(" with these values in a key or a duplicate detection rule"));
        }
        Err(refusal(reply, asked))
    }

    fn written(&self, did: Did, own: Option<String>, reply: &HttpReply, asked: Asked<'_>) -> Result<Outcome, Failure> {
        let header = header(&reply.headers, "odata-entityid");
        let is_answer = match &reply.body {
            Value::Object(body) => body.contains_key("@odata.context") || body.contains_key("@odata.etag"),
            Value::Null => header.is_some(),
            _ => false,
        };
        if !is_answer {
            return Err(asked.unexpected_answer());
        }
        let entity = asked.entity();
        let key = primary_key(entity, &reply.body, own.as_deref());
        let id = own
            .or_else(|| header.and_then(id_in_url).map(str::to_owned))
            .or_else(|| asked.id().map(str::to_owned))
            .or_else(|| key.as_ref().map(|key| key.id.clone()));
        let url = id.as_ref().zip(key.and_then(|key| key.table)).map(|(id, table)| {
            format!("{}/main.aspx?etn={}&id={}&pagetype=entityrecord", self.org, encoded(&table), encoded(id))
        });
        let sent = || Value::Object(asked.fields().cloned().unwrap_or_default());
        let record = if reply.body.is_null() { sent() } else { without_context(reply.body.clone()) };
        Ok(Written { did, id, url, record, raw: reply.body.clone() }.outcome())
    }

    fn listed(&self, list: &ListRecords, talk: &mut Talk, reply: &HttpReply, asked: Asked<'_>) -> Progress {
        if reply.status != 200 {
            return Progress::Done(Err(refusal(reply, asked)));
        }
        let Some(page) = reply.body["value"].as_array() else {
            return Progress::Done(Err(asked.unexpected_answer()));
        };
        let mut records = match talk.notes.take() {
            Value::Array(records) => records,
            _ => Vec::new(),
        };
        records.extend(page.iter().cloned());
        let next = match reply.body["@odata.nextLink"].as_str().filter(|_| records.len() < list.limit) {
            None => {
                records.truncate(list.limit);
                return Progress::Done(Ok(Outcome::listed(records)));
            }
            Some(link) => self.below(link).filter(|_| talk.n + 1 < PAGES_MAX),
        };
        let Some(next) = next else { return Progress::Done(Err(asked.unexpected_answer())) };
        talk.notes = Value::Array(records);
        Progress::Send(Effect::Http(request("GET", next, &[("Prefer", &page_size(list))], None)))
    }

    /// A link to a next page, relative to the API. One that leads elsewhere is none: it would get the credentials.
    fn below(&self, link: &str) -> Option<String> {
        let relative = match link.strip_prefix(&self.base) {
            Some(rest) => rest.strip_prefix('/')?,
            None => link,
        };
        (!relative.contains("://") && !relative.starts_with('/')).then(|| relative.to_owned())
    }
}

/// What a record that is there, and is not ours, means for a create. Dataverse does not say which one it is.
fn duplicate(create: &CreateRecord, code: &str, asked: Asked<'_>) -> Progress {
    let why = if code == RULE_MATCHED { " (a duplicate detection rule)" } else { " (a key of the table)" };
    match create.on_duplicate {
        OnDuplicate::Ok => Written {
            did: Did::Duplicate,
            id: None,
            url: None,
            record: Value::Object(create.fields.clone()),
            raw: Value::Null,
        }
        .done(),
        OnDuplicate::Update => {
            let why = format!("{why}, and Dataverse does not say which one: use upsert_record with a key");
            Progress::Done(Err(asked.duplicate(&why)))
        }
        OnDuplicate::Fail => Progress::Done(Err(asked.duplicate(why))),
    }
}

fn got(reply: &HttpReply, asked: Asked<'_>) -> Result<Outcome, Failure> {
    match (reply.status, &reply.body) {
        (200, Value::Object(body)) if body.contains_key("@odata.context") => {
            Ok(Outcome::found(without_context(reply.body.clone())))
        }
        (200, _) => Err(asked.unexpected_answer()),
        _ => Err(refusal(reply, asked)),
    }
}

/// `leads(6f1e…)` or `leads(emailaddress1='…')`.
fn address(entity: &str, target: &Target, asked: Asked<'_>) -> Result<String, Failure> {
    let inside = match target {
        Target::Id(id) => guid(id).ok_or_else(|| asked.bad_key("an id of Dataverse is a GUID"))?.to_owned(),
        Target::Key(key) => odata::key(key, is_reference)?,
    };
    Ok(format!("{}({inside})", name(entity)?))
}

/// The GUID in `text`, braces round it or not.
fn guid(text: &str) -> Option<&str> {
    let bare = text.trim().trim_start_matches('{').trim_end_matches('}');
    odata::is_guid(bare).then_some(bare)
}

/// Fields whose values are GUIDs, by their names: `leadid`, `_parentaccountid_value`.
fn is_reference(field: &str) -> bool {
    field.ends_with("id") || (field.starts_with('_') && field.ends_with("_value"))
}

fn query(list: &ListRecords) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if !list.filter.is_empty() {
        parts.push(format!("$filter={}", encoded(&odata::filter(&list.filter, is_reference)?)));
    }
    if !list.select.is_empty() {
        parts.push(format!("$select={}", api::names(&list.select)?));
    }
    if !list.order_by.is_empty() {
        let one = |(field, descending): &(String, bool)| {
            Ok(format!("{}{}", name(field)?, if *descending { "%20desc" } else { "" }))
        };
        parts.push(format!(
            "$orderby={}",
            list.order_by.iter().map(one).collect::<Result<Vec<_>, Failure>>()?.join(",")
        ));
    }
    // $top and paging exclude one another.
    if list.limit <= PAGE_RECORDS_MAX {
        parts.push(format!("$top={}", list.limit));
    }
    Ok(format!("{}?{}", name(&list.entity)?, parts.join("&")))
}

fn page_size(list: &ListRecords) -> String {
    format!("odata.maxpagesize={}", list.limit.clamp(1, PAGE_RECORDS_MAX))
}

fn is_success(reply: &HttpReply) -> bool {
    (200..=299).contains(&reply.status)
}

/// The system's code and message.
fn error(reply: &HttpReply) -> (&str, &str) {
    let text = |key: &str| reply.body["error"][key].as_str().unwrap_or_default();
    (text("code"), text("message"))
}

fn is_duplicate(reply: &HttpReply) -> bool {
    !is_success(reply) && (reply.status == 412 || DUPLICATES.contains(&error(reply).0))
}

fn refusal(reply: &HttpReply, asked: Asked<'_>) -> Failure {
    if is_success(reply) {
        return asked.unexpected_answer();
    }
    let (code, message) = error(reply);
    let no_entity_set = code == NO_ENTITY_SET || message.contains("Resource not found for the segment");
    if reply.status == 404 && !no_entity_set && asked.wants_a_record() && reply.body["error"].is_object() {
        return asked.not_found();
    }
    let said = if no_entity_set {
        Some(format!("there is no entity set `{}`; it is the plural name, as in leads", asked.entity()))
    } else {
        asked.said(code, message)
    };
    refused(&asked.to_string(), reply, said.as_deref())
}

/// The id in `…/leads(6f1e…)`.
fn id_in_url(url: &str) -> Option<&str> {
    guid(url.rsplit_once('(')?.1.strip_suffix(')')?)
}

/// What a record says of its table.
struct PrimaryKey {
    id: String,
    /// The table's own name (`lead` for the entity set `leads`), as far as its key tells.
    table: Option<String>,
}

/// The key of a record: the field `TABLEid` that holds a GUID (`own`, where that is known), for the table whose plural
/// the entity set is. Without metadata only the names tell.
fn primary_key(entity: &str, record: &Value, own: Option<&str>) -> Option<PrimaryKey> {
    let fields = record.as_object()?.iter().filter_map(|(field, value)| {
        let id = value.as_str().filter(|id| odata::is_guid(id))?;
        let table = field.strip_suffix("id").filter(|table| !table.is_empty() && !table.starts_with('_'))?;
        let is_own = own.is_none_or(|own| own.eq_ignore_ascii_case(id));
        let common = table.chars().zip(entity.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        // `opportunity` and `opportunities` part at the last letter.
        (is_own && common + 1 >= table.chars().count()).then_some((common, table, id))
    });
    let (_, table, id) = fields.max_by_key(|(common, ..)| *common)?;
    Some(PrimaryKey { id: id.to_owned(), table: Some(table.to_owned()) })
}

fn without_context(mut record: Value) -> Value {
    if let Value::Object(fields) = &mut record {
        fields.remove("@odata.context");
    }
    record
}

/// What a dry run knows of a record that it does not read.
fn key_of(target: &Target) -> Map<String, Value> {
    match target {
        Target::Id(_) => Map::new(),
        Target::Key(key) => key.clone(),
    }
}

fn simulated_id(operation: &Operation, cx: &OpContext<'_>) -> String {
    let target = match operation {
        Operation::UpdateRecord(update) => Some(&update.target),
        Operation::UpsertRecord(upsert) => Some(&upsert.target),
        _ => None,
    };
    match target {
        Some(Target::Id(id)) => id.clone(),
        _ => cx.key.uuid().to_string(),
    }
}

#[cfg(test)]
mod tests;

//! Azure Table storage: one entity a record, with keys that the flow gives or the run makes.
//!
//! A record whose `fields` hold no `RowKey` gets the idempotency key as its own, so a repeat is recognised: what has that
//! key is what an earlier try made. With a `RowKey` of the flow's, a record that is there behind an unknown try counts as
//! created, flagged: it may be another one's.

mod answer;
mod live;
mod types;

use serde_json::{Map, Value, json};

use super::api::{self, Asked, encoded, header, name, request};
use super::http::Http;
use super::{
    Connector, CreateRecord, Described, Dialect, Did, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome,
    Progress, Reach, Talk, Written, declared, not_served, odata, spec_once, unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::http::Credentials;
use crate::outbound::{Effect, HttpReply, Reply};
use crate::run::Failure;
use answer::refusal;
use types::{Keys, typed, untyped};

/// The partition of records whose `fields` name none.
const PARTITION: &str = "leadflow";

/// The most records of one answer: what the service gives at most.
const PAGE_RECORDS_MAX: usize = 1000;

/// Which pages of a list one try reads at most.
const PAGES_MAX: u32 = 40;

/// Of every request.
const HEADERS: &[(&str, &str)] = &[
    ("Accept", "application/json;odata=minimalmetadata"),
    ("DataServiceVersion", "3.0"),
    ("MaxDataServiceVersion", "3.0"),
    ("x-ms-version", "2020-12-06"),
];

/// Azure Table storage.
#[derive(Debug, Clone, Copy)]
pub struct AzureTable;

/// A connection of type `azure_table`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The storage account's name.
    account: String,
    /// Where its tables are. Default: `https://ACCOUNT.table.core.windows.net`.
    #[serde(default)]
    #[schemars(extend("x-unit" = "url"))]
    endpoint: Option<String>,
    /// Credentials: `shared_key` (an account key) or `sas` (a shared access signature).
    #[serde(default)]
    auth: Credentials,
}

impl Connector for AzureTable {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "azure_table".into(),
            summary: "Azure Table storage".into(),
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
        let account = settings.account.trim();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(3..=24).contains(&account.len()) || !account.bytes().all(fits) {
            return Err("`account` is not a storage account: 3 to 24 lower-case letters and digits".into());
        }
        let usual = format!("https://{account}.table.core.windows.net");
        let endpoint = settings.endpoint.unwrap_or(usual);
        let base = api::site("endpoint", &endpoint, "https://contoso.table.core.windows.net")?;
        api::open(base, HEADERS, settings.auth, reach, Service)
    }
}

/// The service behind one connection: every address is relative to it.
struct Service;

/// What was asked before, between the effects of one try.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Nothing.
    #[default]
    First,
    /// An upsert found nothing to change and inserts.
    Insert,
    /// What is there is changed.
    Change,
}

impl Dialect for Service {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        let asked = Asked::new(operation, cx);
        Ok(Effect::Http(match operation {
            Operation::CreateRecord(create) => {
                let keys = Keys::of_new(&create.fields, cx, asked)?;
                request("POST", name(&create.entity)?.to_owned(), &[], Some(typed(&create.fields, Some(&keys))))
            }
            Operation::UpdateRecord(update) => {
                merge(&update.entity, &Keys::of(&update.target, asked)?, &update.fields)?
            }
            Operation::UpsertRecord(upsert) => {
                merge(&upsert.entity, &Keys::of(&upsert.target, asked)?, &upsert.fields)?
            }
            Operation::GetRecord(get) => {
                request("GET", address(&get.entity, &Keys::of(&get.target, asked)?)?, &[], None)
            }
            Operation::ListRecords(list) => query(list, list.limit, None, asked)?,
            Operation::Http(_) => return Http::OF_AN_API.start(operation, cx),
            Operation::SendEmail(_) => return Err(not_served(cx.connection)),
        }))
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress {
        if let Operation::Http(_) = operation {
            return Http::OF_AN_API.on_reply(operation, cx, talk, reply);
        }
        let asked = Asked::new(operation, cx);
        let reply = match reply {
            Reply::Http(reply) => reply,
            Reply::Failed(failure) => return Progress::Done(Err(failure)),
            _ => return unexpected(),
        };
        let judged = match operation {
            Operation::CreateRecord(create) => created(create, cx, talk, &reply, asked),
            Operation::UpdateRecord(update) => {
                Keys::of(&update.target, asked).and_then(|keys| merged(Did::Updated, &keys, &reply, asked))
            }
            Operation::UpsertRecord(upsert) => Keys::of(&upsert.target, asked)
                .and_then(|keys| upserted(&upsert.entity, &upsert.fields, &keys, talk, &reply, asked)),
            Operation::GetRecord(_) => got(&reply, asked),
            Operation::ListRecords(list) => listed(list, talk, &reply, asked),
            Operation::SendEmail(_) | Operation::Http(_) => return unexpected(),
        };
        judged.unwrap_or_else(|failure| Progress::Done(Err(failure)))
    }

    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, talk: &Talk, effect: &Effect) -> Reply {
        let Effect::Http(sent) = effect else { return Reply::Record };
        let etag = vec![("etag".to_owned(), "W/\"dry run\"".to_owned())];
        let (status, headers, body) = match operation {
            Operation::CreateRecord(_) | Operation::UpsertRecord(_) if sent.method == "POST" => {
                let body = match &sent.body {
                    Some(crate::outbound::HttpBody::Json(body)) => body.clone(),
                    _ => json!({}),
                };
                (201, etag, body)
            }
            Operation::CreateRecord(_) | Operation::UpdateRecord(_) => (204, etag, Value::Null),
            // Nothing is there in a dry run: an upsert inserts.
            Operation::UpsertRecord(_) => {
                (404, Vec::new(), json!({"odata.error": {"code": "ResourceNotFound", "message": {"value": ""}}}))
            }
            Operation::GetRecord(get) => {
                let keys = Keys::of(&get.target, Asked::new(operation, cx)).map(|keys| keys.fields());
                (200, etag, Value::Object(keys.unwrap_or_default()))
            }
            Operation::ListRecords(_) => (200, Vec::new(), json!({"value": []})),
            Operation::SendEmail(_) | Operation::Http(_) => {
                return Http::OF_AN_API.simulate(operation, cx, talk, effect);
            }
        };
        Reply::Http(HttpReply { status, headers, body, retry_after: None })
    }

    fn login(&self) -> Option<Effect> {
        Some(Effect::Http(super::http::get("Tables?$top=1")))
    }

    fn logged_in(&self, reply: &Reply) -> Result<(), Failure> {
        live::logged_in(reply)
    }

    fn describe(&self, entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
        live::describe(entity, so_far)
    }
}

/// `leads(PartitionKey='a',RowKey='b')`.
fn address(entity: &str, keys: &Keys) -> Result<String, Failure> {
    Ok(format!("{}({})", name(entity)?, odata::key(&keys.fields(), |_| false)?))
}

/// Changes a record that is there.
fn merge(entity: &str, keys: &Keys, fields: &Map<String, Value>) -> Result<crate::outbound::HttpRequest, Failure> {
    Ok(request("MERGE", address(entity, keys)?, &[("If-Match", "*")], Some(typed(fields, Some(keys)))))
}

fn created(
    create: &CreateRecord,
    cx: &OpContext<'_>,
    talk: &mut Talk,
    reply: &HttpReply,
    asked: Asked<'_>,
) -> Result<Progress, Failure> {
    let keys = Keys::of_new(&create.fields, cx, asked)?;
    if stage(talk) == Stage::Change {
        return merged(Did::Updated, &keys, reply, asked);
    }
    if reply.status != 409 || answer::error(reply).0 != "EntityAlreadyExists" {
        return inserted(&keys, reply, asked);
    }
    // What has the run's own key is what an earlier try made. A key of the flow's may be anybody's.
    let (is_ours, may_be_ours) = (keys.is_own, cx.possible_repeat);
    if is_ours || may_be_ours {
        let outcome = written(Did::Created, &keys, reply, asked).outcome();
        return Ok(Progress::Done(Ok(outcome.flagged(!is_ours))));
    }
    match create.on_duplicate {
        OnDuplicate::Ok => Ok(written(Did::Duplicate, &keys, reply, asked).done()),
        OnDuplicate::Update => {
            talk.notes = json!(Stage::Change);
            Ok(Progress::Send(Effect::Http(merge(&create.entity, &keys, &create.fields)?)))
        }
        OnDuplicate::Fail => Err(asked.duplicate(" with this PartitionKey and RowKey")),
    }
}

/// A change, then an insert when nothing was there, then a change again when somebody else inserted meanwhile: only so is
/// it known whether the record is new.
fn upserted(
    entity: &str,
    fields: &Map<String, Value>,
    keys: &Keys,
    talk: &mut Talk,
    reply: &HttpReply,
    asked: Asked<'_>,
) -> Result<Progress, Failure> {
    match stage(talk) {
        Stage::First if reply.status == 404 && answer::error(reply).0 == "ResourceNotFound" => {
            talk.notes = json!(Stage::Insert);
            let body = Some(typed(fields, Some(keys)));
            Ok(Progress::Send(Effect::Http(request("POST", name(entity)?.to_owned(), &[], body))))
        }
        Stage::Insert if reply.status == 409 && answer::error(reply).0 == "EntityAlreadyExists" => {
            talk.notes = json!(Stage::Change);
            Ok(Progress::Send(Effect::Http(merge(entity, keys, fields)?)))
        }
        Stage::Insert => inserted(keys, reply, asked),
        Stage::First | Stage::Change => merged(Did::Updated, keys, reply, asked),
    }
}

fn stage(talk: &Talk) -> Stage {
    serde_json::from_value(talk.notes.clone()).unwrap_or_default()
}

fn inserted(keys: &Keys, reply: &HttpReply, asked: Asked<'_>) -> Result<Progress, Failure> {
    match (reply.status, &reply.body) {
        (201, Value::Object(body)) if body.contains_key("RowKey") => {
            Ok(written(Did::Created, keys, reply, asked).done())
        }
        (204, _) if header(&reply.headers, "etag").is_some() => Ok(written(Did::Created, keys, reply, asked).done()),
        _ => Err(refusal(reply, asked)),
    }
}

fn merged(did: Did, keys: &Keys, reply: &HttpReply, asked: Asked<'_>) -> Result<Progress, Failure> {
    match reply.status {
        204 if header(&reply.headers, "etag").is_some() => Ok(written(did, keys, reply, asked).done()),
        _ => Err(refusal(reply, asked)),
    }
}

fn written(did: Did, keys: &Keys, reply: &HttpReply, asked: Asked<'_>) -> Written {
    let record = match &reply.body {
        Value::Object(body) if body.contains_key("RowKey") => untyped(body.clone()),
        _ => {
            let mut sent = asked.fields().cloned().unwrap_or_default();
            sent.extend(keys.fields());
            Value::Object(sent)
        }
    };
    // People see tables in the portal or in Storage Explorer; neither has addresses of records.
    Written { did, id: Some(keys.id()), url: None, record, raw: reply.body.clone() }
}

fn got(reply: &HttpReply, asked: Asked<'_>) -> Result<Progress, Failure> {
    match &reply.body {
        Value::Object(body) if reply.status == 200 && body.contains_key("RowKey") => {
            Ok(Progress::Done(Ok(Outcome::found(untyped(body.clone())))))
        }
        _ => Err(refusal(reply, asked)),
    }
}

fn query(
    list: &ListRecords,
    wanted: usize,
    after: Option<(&str, &str)>,
    asked: Asked<'_>,
) -> Result<crate::outbound::HttpRequest, Failure> {
    if !list.order_by.is_empty() {
        return Err(
            asked.bad_key("Azure tables are always in the order of PartitionKey and RowKey: leave out `order_by`")
        );
    }
    let mut parts = vec![format!("$top={}", wanted.clamp(1, PAGE_RECORDS_MAX))];
    if !list.filter.is_empty() {
        if list.filter.values().any(Value::is_null) {
            return Err(
                asked.bad_key("Azure tables keep no empty fields, so none can be looked for (`null` in `where`)")
            );
        }
        parts.push(format!("$filter={}", encoded(&odata::filter(&list.filter, |_| false)?)));
    }
    if !list.select.is_empty() {
        parts.push(format!("$select={}", api::names(&list.select)?));
    }
    if let Some((partition, row)) = after {
        parts.push(format!("NextPartitionKey={}&NextRowKey={}", encoded(partition), encoded(row)));
    }
    Ok(request("GET", format!("{}()?{}", name(&list.entity)?, parts.join("&")), &[], None))
}

/// A page may hold fewer records than asked for, even none, and still have a next one.
fn listed(list: &ListRecords, talk: &mut Talk, reply: &HttpReply, asked: Asked<'_>) -> Result<Progress, Failure> {
    let page = match reply.body["value"].as_array() {
        Some(page) if reply.status == 200 => page,
        _ => return Err(refusal(reply, asked)),
    };
    let mut records = match talk.notes.take() {
        Value::Array(records) => records,
        _ => Vec::new(),
    };
    records.extend(page.iter().filter_map(Value::as_object).map(|record| untyped(record.clone())));
    let partition = header(&reply.headers, "x-ms-continuation-nextpartitionkey");
    let row = header(&reply.headers, "x-ms-continuation-nextrowkey").unwrap_or_default();
    match partition {
        Some(partition) if records.len() < list.limit => {
            if talk.n + 1 >= PAGES_MAX {
                return Err(asked.bad_key("the answer has too many pages; narrow `where`, best by PartitionKey"));
            }
            let next = query(list, list.limit - records.len(), Some((partition, row)), asked)?;
            talk.notes = Value::Array(records);
            Ok(Progress::Send(Effect::Http(next)))
        }
        _ => {
            records.truncate(list.limit);
            Ok(Progress::Done(Ok(Outcome::listed(records))))
        }
    }
}

#[cfg(test)]
mod tests;

//! How an operation of a connector file ends: outputs that are the same for every system.

use serde_json::{Value, json};

use super::judge::{Verdict, unexpected_answer};
use super::plan::Call;
use super::scope;
use super::speak::{Stage, Step, Turn, failed};
use crate::connectors::{Did, OnDuplicate, Operation, Outcome, Target, Written, not_served};
use crate::flow::catalogue::{OperationKind, Repeat};
use crate::outbound::HttpReply;
use crate::run::Failure;
use crate::template::{Scope, Template, text_or_json};

/// The most pages that one list asks for: a try may send 50 requests.
const LIST_PAGES_MAX: usize = 40;

impl Turn<'_> {
    /// What follows from the answer to the operation itself.
    pub(super) fn main(
        &mut self,
        kind: OperationKind,
        values: Value,
        verdict: Verdict,
        reply: HttpReply,
    ) -> Result<Step, Failure> {
        match verdict {
            Verdict::NotFound => Err(self.not_found()),
            Verdict::Duplicate { id, ours } => self.duplicate(kind, id, ours, values, reply),
            Verdict::Fine => match kind {
                OperationKind::Create => self.created(values, reply).map(Step::done),
                OperationKind::Update | OperationKind::Upsert => self.changed(kind, values, reply).map(Step::done),
                OperationKind::Get => self.got(&values, &reply).map(Step::done),
                OperationKind::List => self.page(&values, reply),
                OperationKind::Email => {
                    let id = self.id(self.call(kind).ok(), &values)?;
                    Ok(Step::done(self.sent(id).flagged(self.may_be_twice(kind))))
                }
                OperationKind::Http => Err(not_served(self.cx.connection)),
            },
        }
    }

    /// Whether an earlier try may have acted too, now that this one has.
    fn may_be_twice(&self, kind: OperationKind) -> bool {
        let Some(call) = self.entity.operations.get(&kind) else { return self.cx.possible_repeat };
        let certain = if call.recognise.is_some() { self.notes.looked } else { call.repeat != Repeat::Unsafe };
        self.cx.possible_repeat && !certain
    }

    fn created(&self, values: Value, reply: HttpReply) -> Result<Outcome, Failure> {
        let call = self.call(OperationKind::Create)?;
        let id = self.id(Some(call), &values)?;
        if call.id.is_some() && id.is_none() {
            return Err(self.odd(call, false));
        }
        let flagged = self.may_be_twice(OperationKind::Create);
        let record = call.record.as_ref();
        Ok(self.written(Did::Created, id, record, values, reply.body)?.flagged(flagged))
    }

    fn changed(&self, kind: OperationKind, values: Value, reply: HttpReply) -> Result<Outcome, Failure> {
        let call = self.call(kind)?;
        let target = match self.target() {
            Some(Target::Id(id)) => Some(id.clone()),
            _ => None,
        };
        let answered = self.id(Some(call), &values)?;
        if call.id.is_some() && answered.is_none() {
            return Err(self.odd(call, false));
        }
        let id = answered.or_else(|| self.notes.id.clone()).or(target);
        let did = match kind {
            OperationKind::Upsert => self.did(call, &values, reply.status)?,
            _ => Did::Updated,
        };
        // Whether a lost try has changed what is changed again: nobody is hurt, but nobody knows which one it was.
        let flagged = self.may_be_twice(kind);
        Ok(self.written(did, id, call.record.as_ref(), values, reply.body)?.flagged(flagged))
    }

    fn did(&self, call: &Call, values: &Value, status: u16) -> Result<Did, Failure> {
        let word = call.did.as_ref().map(|did| did.render(&self.scope(values))).transpose().map_err(failed)?;
        Ok(match word.as_ref().and_then(Value::as_str) {
            Some("created") => Did::Created,
            Some("updated") => Did::Updated,
            _ if word.is_none() && status == 201 => Did::Created,
            _ => Did::Updated,
        })
    }

    fn duplicate(
        &mut self,
        kind: OperationKind,
        id: Option<String>,
        ours: bool,
        values: Value,
        reply: HttpReply,
    ) -> Result<Step, Failure> {
        let system = &self.spoken.plan.kind;
        if let (Operation::UpsertRecord(_), OperationKind::Create, Some(id)) = (self.operation, kind, &id) {
            // It was not found, and is there all the same: an index that lags behind.
            self.notes.id = Some(id.clone());
            return self.go(Stage::Main(OperationKind::Update));
        }
        let Operation::CreateRecord(create) = self.operation else {
            let message = format!("{system} says that another record has these values already");
            return Err(Failure::terminal("duplicate", message));
        };
        if kind != OperationKind::Create {
            // The change of a duplicate has met a third record.
            let message = format!("{system} says that yet another record has these values");
            return Err(Failure::terminal("duplicate", message));
        }
        let own_work = self.cx.possible_repeat && ours;
        if create.on_duplicate == OnDuplicate::Update && !own_work {
            let Some(id) = id else {
                let message =
                    format!("{system} has this record already and does not say which one: it cannot be changed");
                return Err(Failure::terminal("duplicate", message));
            };
            self.notes.id = Some(id);
            self.notes.duplicate = true;
            return self.go(Stage::Main(OperationKind::Update));
        }
        if self.cx.possible_repeat {
            let outcome = self.written(Did::Created, id, None, values, reply.body)?;
            return Ok(Step::done(outcome.flagged(!ours)));
        }
        if create.on_duplicate == OnDuplicate::Fail {
            return Err(Failure::terminal("duplicate", format!("{system} has this record already")));
        }
        self.written(Did::Duplicate, id, None, values, reply.body).map(Step::done)
    }

    fn got(&self, values: &Value, reply: &HttpReply) -> Result<Outcome, Failure> {
        let call = self.call(OperationKind::Get)?;
        let record = match &call.record {
            Some(record) => record.render(&self.scope(values)).map_err(failed)?,
            None => reply.body.clone(),
        };
        if record.is_object() { Ok(Outcome::found(record)) } else { Err(self.not_found()) }
    }

    fn page(&mut self, values: &Value, reply: HttpReply) -> Result<Step, Failure> {
        let Operation::ListRecords(list) = self.operation else { return Err(not_served(self.cx.connection)) };
        let call = self.call(OperationKind::List)?;
        let records = match &call.records {
            Some(records) => records.render(&self.scope(values)).map_err(failed)?,
            None => reply.body,
        };
        let records = match records {
            Value::Array(records) => records,
            Value::Null if call.records.is_some() => Vec::new(),
            _ => return Err(self.odd(call, true)),
        };
        let came = records.len();
        let records = match &call.record {
            Some(record) => {
                records.iter().map(|item| self.record_in(record, values, item)).collect::<Result<_, _>>()?
            }
            None => records,
        };
        self.notes.records.extend(records);
        self.notes.pages += 1;
        let enough = self.notes.records.len() >= list.limit || self.notes.pages >= LIST_PAGES_MAX || came == 0;
        let mut after = values.clone();
        after["count"] = json!(self.notes.records.len());
        let next = call.next.as_ref().filter(|_| !enough);
        let next = next.map(|next| next.render(&self.scope(&after))).transpose().map_err(failed)?;
        match next.filter(|next| !next.is_null() && next.as_str() != Some("")) {
            Some(next) => {
                self.notes.page = next;
                self.go(Stage::Main(OperationKind::List))
            }
            None => {
                self.notes.records.truncate(list.limit);
                Ok(Step::done(Outcome::listed(std::mem::take(&mut self.notes.records))))
            }
        }
    }

    /// The record in one item of a page.
    fn record_in(&self, record: &Template, values: &Value, item: &Value) -> Result<Value, Failure> {
        let scope = Scope { item: Some(item), ..self.scope(values) };
        record.render(&scope).map_err(failed)
    }

    /// The end of a mail that was taken.
    pub(super) fn sent(&self, id: Option<String>) -> Outcome {
        let id = id.unwrap_or_else(|| scope::message_id(self.cx));
        Outcome::new(json!({ "message_id": id }))
    }

    /// The end of a write. `record`: where the answer has it.
    pub(super) fn written(
        &self,
        did: Did,
        id: Option<String>,
        record: Option<&Template>,
        mut values: Value,
        raw: Value,
    ) -> Result<Outcome, Failure> {
        if let Some(id) = &id {
            values["id"] = json!(id);
        }
        let scope = self.scope(&values);
        let render = |template: &Template| template.render(&scope).map_err(failed);
        let answered = record.map(render).transpose()?.filter(|record| !record.is_null());
        let url = match (&self.entity.url, &id) {
            (Some(url), Some(_)) => {
                render(url)?.as_str().map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned)
            }
            _ => None,
        };
        let record = answered.unwrap_or_else(|| values["record"].clone());
        Ok(Written { did, id, url, record, raw }.outcome())
    }

    /// The id that `call` finds in the answer.
    pub(super) fn id(&self, call: Option<&Call>, values: &Value) -> Result<Option<String>, Failure> {
        let Some(template) = call.and_then(|call| call.id.as_ref()) else { return Ok(None) };
        let id = template.render(&self.scope(values)).map_err(failed)?;
        Ok(match &id {
            Value::String(_) | Value::Number(_) => Some(text_or_json(&id).into_owned()).filter(|id| !id.is_empty()),
            _ => None,
        })
    }

    fn odd(&self, call: &Call, reads: bool) -> Failure {
        unexpected_answer(&call.method, self.cx.connection, &self.spoken.plan.kind, reads)
    }
}

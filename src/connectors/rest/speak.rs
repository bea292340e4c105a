//! The dialect of a connector file: from an operation to requests, from answers to an outcome. Pure: where a try stands
//! is in its notes, and the same operation gives the same requests.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::format::By;
use super::judge::{Asked, Verdict, judge, unexpected_answer};
use super::plan::{Call, Entity, Plan};
use super::scope;
use super::settings::Ready;
use crate::connectors::http::Http;
use crate::connectors::{Dialect, Did, OpContext, Operation, Outcome, Progress, Talk, Target, not_served, unexpected};
use crate::flow::catalogue::OperationKind;
use crate::outbound::{Effect, HttpBody, HttpReply, HttpRequest, Reply};
use crate::run::{Class, Failure};
use crate::template::{Limits, RenderError, Scope, text_of};

/// A connection of a connector file.
#[derive(Debug)]
pub(super) struct Spoken {
    /// The file.
    pub plan: Arc<Plan>,
    /// `settings`, with stand-ins for secrets.
    pub settings: Value,
    /// For `http` actions.
    pub http: Http,
}

impl Spoken {
    /// Speaks `plan` with `ready` settings.
    pub(super) fn new(plan: Arc<Plan>, ready: &Ready) -> Self {
        Self { plan, settings: ready.seen.clone(), http: Http::new(ready.authenticated) }
    }
}

/// The request that a try is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A request before the operation.
    Before(usize),
    /// The one that looks for the work of an earlier try.
    Recognise,
    /// The one that finds a record by a key.
    Find,
    /// The operation of this kind.
    Main(OperationKind),
}

/// What a try notes from one request to the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Where it is; `None`: nothing was asked yet.
    pub(super) stage: Option<Stage>,
    /// What the requests before gave.
    pub(super) before: Map<String, Value>,
    /// Whether an earlier try's work was looked for and is not there.
    pub(super) looked: bool,
    /// The record that was found, or that a duplicate has met.
    pub(super) id: Option<String>,
    /// Whether a key was looked up.
    pub(super) found: bool,
    /// Whether the operation goes on as a change of a duplicate.
    pub(super) duplicate: bool,
    /// The records of the pages so far.
    pub(super) records: Vec<Value>,
    /// What asks for this page.
    pub(super) page: Value,
    /// How many pages there were.
    pub(super) pages: usize,
}

/// One try, as it stands.
pub(super) struct Turn<'a> {
    /// The connection.
    pub(super) spoken: &'a Spoken,
    /// What the operation's entity can be asked for.
    pub(super) entity: &'a Entity,
    /// The operation.
    pub(super) operation: &'a Operation,
    /// What may be known of the run.
    pub(super) cx: &'a OpContext<'a>,
    /// How far it has come.
    pub(super) notes: Notes,
}

impl Dialect for Spoken {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        if operation.kind() == OperationKind::Http {
            return self.http.start(operation, cx);
        }
        let turn = self.turn(operation, cx, Notes::default())?;
        turn.allowed()?;
        let stage = turn.next(None)?;
        turn.effect(stage)
    }

    fn on_reply(&self, operation: &Operation, cx: &OpContext<'_>, talk: &mut Talk, reply: Reply) -> Progress {
        if operation.kind() == OperationKind::Http {
            return self.http.on_reply(operation, cx, talk, reply);
        }
        let notes: Notes = serde_json::from_value(talk.notes.clone()).unwrap_or_default();
        let answered = self.turn(operation, cx, notes).and_then(|mut turn| {
            let stage = turn.stage()?;
            let progress = turn.answered(stage, reply)?;
            Ok((progress, turn.notes))
        });
        match answered {
            Ok((Step::Done(outcome), _)) => Progress::Done(Ok(*outcome)),
            Ok((Step::Next(effect), notes)) => match serde_json::to_value(notes) {
                Ok(notes) => {
                    talk.notes = notes;
                    Progress::Send(*effect)
                }
                Err(_) => unexpected(),
            },
            Err(failure) => Progress::Done(Err(failure)),
        }
    }

    fn simulate(&self, operation: &Operation, cx: &OpContext<'_>, talk: &Talk, effect: &Effect) -> Reply {
        if operation.kind() == OperationKind::Http {
            return self.http.simulate(operation, cx, talk, effect);
        }
        let notes: Notes = serde_json::from_value(talk.notes.clone()).unwrap_or_default();
        let simulated = self.turn(operation, cx, notes).and_then(|turn| turn.simulated());
        simulated.map_or_else(Reply::Failed, Reply::Http)
    }

    /// A template that cannot be rendered over the settings is told when an operation needs it.
    fn login(&self) -> Option<Effect> {
        let values = json!({ "settings": self.settings });
        request(self.plan.login.as_ref()?, &Scope::of_connector(&values, 0, Limits::default()))?.ok()
    }

    fn logged_in(&self, reply: &Reply) -> Result<(), Failure> {
        let (Some(call), Reply::Http(reply)) = (&self.plan.login, reply) else {
            return crate::connectors::live::logged_in(reply);
        };
        let values = json!({ "settings": self.settings, "answer": scope::of_answer(reply) });
        let asked = Asked {
            method: &call.method,
            connection: "login",
            system: &self.plan.kind,
            finds_one: false,
            reads: true,
            error_code: self.plan.error_code.as_ref(),
        };
        judge(call, &asked, &Scope::of_connector(&values, 0, Limits::default()), reply).map(|_| ())
    }
}

/// What follows from an answer.
pub(super) enum Step {
    /// Another request.
    Next(Box<Effect>),
    /// The operation has ended.
    Done(Box<Outcome>),
}

impl Step {
    pub(super) fn done(outcome: Outcome) -> Self {
        Self::Done(Box::new(outcome))
    }
}

impl Spoken {
    fn turn<'a>(&'a self, operation: &'a Operation, cx: &'a OpContext<'a>, notes: Notes) -> Result<Turn<'a>, Failure> {
        let entity = self.plan.entity(operation.entity()).ok_or_else(|| {
            let known: Vec<&str> = self.plan.entities.keys().map(String::as_str).collect();
            let message = format!("{} has no such entity; it has: {}", self.plan.kind, known.join(", "));
            Failure::terminal("unknown_entity", message)
        })?;
        Ok(Turn { spoken: self, entity, operation, cx, notes })
    }
}

impl<'a> Turn<'a> {
    /// Whether the operation can be asked for at all, with this target.
    fn allowed(&self) -> Result<(), Failure> {
        let kind = self.operation.kind();
        let call = self.entity.operations.get(&kind).ok_or_else(|| not_served(self.cx.connection))?;
        let wrong = |why: String| Err(Failure::terminal("bad_key", format!("{}: {why}", self.spoken.plan.kind)));
        if let (Operation::ListRecords(list), Some(most)) = (self.operation, call.key_fields)
            && list.filter.len() > most
        {
            return wrong(format!("`where` has at most {most} field here"));
        }
        match (self.target(), call.by) {
            (Some(Target::Id(_)), By::Key) => wrong("it takes a `key` here, not an `id`".into()),
            (Some(Target::Id(_)), _) if kind == OperationKind::Upsert && call.path.is_none() => {
                wrong("an upsert here takes a `key`, not an `id`".into())
            }
            (Some(Target::Key(_)), By::Id) if self.entity.find.is_none() => {
                wrong("it takes an `id` here, not a `key`".into())
            }
            (Some(Target::Key(key)), by) => {
                let most = match (by, &self.entity.find) {
                    (By::Id, Some(find)) => find.key_fields,
                    _ => call.key_fields,
                };
                match most.filter(|most| key.len() > *most) {
                    Some(most) => wrong(format!("a `key` has at most {most} field here")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn target(&self) -> Option<&'a Target> {
        match self.operation {
            Operation::UpdateRecord(update) => Some(&update.target),
            Operation::UpsertRecord(upsert) => Some(&upsert.target),
            Operation::GetRecord(get) => Some(&get.target),
            _ => None,
        }
    }

    /// The stage that the last answer belongs to.
    fn stage(&self) -> Result<Stage, Failure> {
        self.notes.stage.map_or_else(|| self.next(None), Ok)
    }

    /// The stage behind `last`.
    fn next(&self, last: Option<Stage>) -> Result<Stage, Failure> {
        let kind = self.operation.kind();
        let first = match last {
            None => 0,
            Some(Stage::Before(at)) => at + 1,
            Some(_) => usize::MAX,
        };
        for (at, (_, call)) in self.spoken.plan.before.iter().enumerate().skip(first) {
            if self.is_sent(call)? {
                return Ok(Stage::Before(at));
            }
        }
        let before_recognise = matches!(last, None | Some(Stage::Before(_)));
        if before_recognise
            && self.cx.possible_repeat
            && self.recognise().map(|call| self.is_sent(call)) == Some(Ok(true))
        {
            return Ok(Stage::Recognise);
        }
        let call = self.call(kind)?;
        let by_id = call.by == By::Id || call.path.is_none();
        if last != Some(Stage::Find) && by_id && matches!(self.target(), Some(Target::Key(_))) {
            let is_native = kind == OperationKind::Upsert && call.path.is_some();
            if !is_native {
                return Ok(Stage::Find);
            }
        }
        Ok(Stage::Main(match (kind, call.path.is_some(), &self.notes.id) {
            (OperationKind::Upsert, false, Some(_)) => OperationKind::Update,
            (OperationKind::Upsert, false, None) => OperationKind::Create,
            _ => kind,
        }))
    }

    pub(super) fn recognise(&self) -> Option<&'a Call> {
        self.entity.operations.get(&self.operation.kind())?.recognise.as_deref()
    }

    fn is_sent(&self, call: &Call) -> Result<bool, Failure> {
        let Some(when) = &call.when else { return Ok(true) };
        let values = self.values();
        when.render_bool(&self.scope(&values)).map_err(failed)
    }

    pub(super) fn call(&self, kind: OperationKind) -> Result<&'a Call, Failure> {
        self.entity.operations.get(&kind).ok_or_else(|| not_served(self.cx.connection))
    }

    fn call_of(&self, stage: Stage) -> Result<&'a Call, Failure> {
        let gone = || not_served(self.cx.connection);
        match stage {
            Stage::Before(at) => self.spoken.plan.before.get(at).map(|(_, call)| call).ok_or_else(gone),
            Stage::Recognise => self.recognise().ok_or_else(gone),
            Stage::Find => self.entity.find.as_ref().ok_or_else(gone),
            Stage::Main(kind) => self.call(kind),
        }
    }

    /// What templates see.
    fn values(&self) -> Value {
        let mut values = scope::of_operation(self.operation, self.cx);
        values.insert("settings".into(), self.spoken.settings.clone());
        values.insert("before".into(), Value::Object(self.notes.before.clone()));
        if let Some(id) = &self.notes.id {
            values.insert("id".into(), json!(id));
        }
        if let Operation::ListRecords(list) = self.operation {
            let rest = list.limit.saturating_sub(self.notes.records.len());
            values.insert("limit".into(), json!(rest.min(self.spoken.plan.page)));
            values.insert("page".into(), self.notes.page.clone());
            values.insert("count".into(), json!(self.notes.records.len()));
        }
        Value::Object(values)
    }

    pub(super) fn scope<'v>(&self, values: &'v Value) -> Scope<'v> {
        // The time of the run, not of the try: a repeat sends the same bytes.
        Scope::of_connector(values, self.cx.received_at, Limits::default())
    }

    fn effect(&self, stage: Stage) -> Result<Effect, Failure> {
        let values = self.values();
        request(self.call_of(stage)?, &self.scope(&values)).ok_or_else(|| not_served(self.cx.connection))?
    }

    fn simulated(&self) -> Result<HttpReply, Failure> {
        let (status, headers, body) = &self.call_of(self.stage()?)?.simulated;
        let values = self.values();
        let scope = self.scope(&values);
        let body = body.render(&scope).map_err(failed)?;
        Ok(HttpReply { status: *status, headers: texts(headers, &scope)?, body, retry_after: None })
    }

    pub(super) fn go(&mut self, stage: Stage) -> Result<Step, Failure> {
        self.notes.stage = Some(stage);
        self.effect(stage).map(|effect| Step::Next(Box::new(effect)))
    }

    fn go_on(&mut self, last: Stage) -> Result<Step, Failure> {
        let next = self.next(Some(last))?;
        self.go(next)
    }

    fn answered(&mut self, stage: Stage, reply: Reply) -> Result<Step, Failure> {
        let reads = match stage {
            Stage::Main(kind) => matches!(kind, OperationKind::Get | OperationKind::List),
            _ => true,
        };
        let reply = match reply {
            Reply::Http(reply) => reply,
            Reply::Failed(failure) if reads && failure.class == Class::Unknown => {
                return Err(Failure { class: Class::Retryable, ..failure });
            }
            Reply::Failed(failure) => return Err(failure),
            _ => return Err(Failure::terminal("internal_error", "the reply does not belong to the effect")),
        };
        let mut values = self.values();
        values["answer"] = scope::of_answer(&reply);
        let call = self.call_of(stage)?;
        let finds_one = matches!(stage, Stage::Main(OperationKind::Get | OperationKind::Update) | Stage::Find);
        let asked = Asked {
            method: &call.method,
            connection: self.cx.connection,
            system: &self.spoken.plan.kind,
            finds_one,
            reads,
            error_code: self.spoken.plan.error_code.as_ref(),
        };
        let verdict = judge(call, &asked, &self.scope(&values), &reply)?;
        match stage {
            Stage::Before(at) => self.prepared(at, &values, verdict, &asked_failure(&asked)),
            Stage::Recognise => self.recognised(values, verdict, &reply, &asked_failure(&asked)),
            Stage::Find => self.looked_up(&values, verdict),
            Stage::Main(kind) => self.main(kind, values, verdict, reply),
        }
    }

    fn prepared(&mut self, at: usize, values: &Value, verdict: Verdict, odd: &Failure) -> Result<Step, Failure> {
        let Verdict::Fine = verdict else { return Err(odd.clone()) };
        let Some((name, call)) = self.spoken.plan.before.get(at) else { return Err(odd.clone()) };
        let value = call.value.as_ref().map(|value| value.render(&self.scope(values))).transpose().map_err(failed)?;
        let value = value.filter(|value| !value.is_null()).ok_or_else(|| odd.clone())?;
        self.notes.before.insert(name.clone(), value);
        self.go_on(Stage::Before(at))
    }

    fn recognised(
        &mut self,
        values: Value,
        verdict: Verdict,
        reply: &HttpReply,
        odd: &Failure,
    ) -> Result<Step, Failure> {
        let id = match verdict {
            Verdict::Fine => self.id(self.recognise(), &values)?,
            Verdict::NotFound => None,
            Verdict::Duplicate { .. } => return Err(odd.clone()),
        };
        let Some(id) = id else {
            self.notes.looked = true;
            return self.go_on(Stage::Recognise);
        };
        if self.operation.kind() == OperationKind::Email {
            return Ok(Step::done(self.sent(Some(id))));
        }
        self.written(Did::Created, Some(id), None, values, reply.body.clone()).map(Step::done)
    }

    fn looked_up(&mut self, values: &Value, verdict: Verdict) -> Result<Step, Failure> {
        self.notes.found = true;
        self.notes.id = match verdict {
            Verdict::Fine => self.id(self.entity.find.as_ref(), values)?,
            _ => None,
        };
        if self.notes.id.is_none() && self.operation.kind() != OperationKind::Upsert {
            return Err(self.not_found());
        }
        self.go_on(Stage::Find)
    }

    pub(super) fn not_found(&self) -> Failure {
        let message = format!("{} has no such record", self.spoken.plan.kind);
        Failure::terminal("not_found", message)
    }
}

/// The request that `call` makes of what `scope` holds; `None`: it has no path.
fn request(call: &Call, scope: &Scope<'_>) -> Option<Result<Effect, Failure>> {
    let path = call.path.as_ref()?;
    let make = || {
        let url = text_of(&path.render(scope).map_err(failed)?).map_err(failed)?.into_owned();
        let body = call.body.as_ref().map(|body| body.render(scope).map(HttpBody::Json)).transpose();
        Ok(Effect::Http(HttpRequest {
            method: call.method.clone(),
            url,
            query: texts(&call.query, scope)?,
            headers: texts(&call.headers, scope)?,
            body: body.map_err(failed)?,
            url_from_value: false,
        }))
    };
    Some(make())
}

fn asked_failure(asked: &Asked<'_>) -> Failure {
    unexpected_answer(asked.method, asked.connection, asked.system, true)
}

/// Queries and headers as texts; null ones are left out.
fn texts(entries: &[(String, super::shape::Shape)], scope: &Scope<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::with_capacity(entries.len());
    for (name, shape) in entries {
        let value = shape.render(scope).map_err(failed)?;
        if !value.is_null() {
            texts.push((name.clone(), text_of(&value).map_err(failed)?.into_owned()));
        }
    }
    Ok(texts)
}

/// A template that could not be rendered: its message never repeats a value.
pub(super) fn failed(error: RenderError) -> Failure {
    Failure::terminal(error.code, error.message)
}

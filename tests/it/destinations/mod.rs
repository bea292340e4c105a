//! One suite for every system that keeps records: what holds for one holds for all of them. A new system is one
//! implementation of [`Destination`] and one line in [`conforms!`]. What only holds behind a network is asked of a
//! [`Remote`], what only HTTP has (429, redirects, pages for people) of one [`OverHttp`]: the traits say which.

mod cases;
mod contacts;
mod live;
mod models;
mod modules;
mod persons;
mod proxy;
mod served;
mod systems;
mod tables;
mod tokens;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leadflow::connectors::{
    CreateRecord, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome, Progress, Reach, Registry, Talk,
};
use leadflow::ids::{IdempotencyKey, RunId};
use leadflow::outbound::{Call, Effects, HttpBody, HttpRequest, Real, Reply};
use leadflow::run::Failure;
use serde_json::{Map, Value};

use self::proxy::{Fate, Proxy};
use crate::support::sink::Sink;

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// What becomes of a create that is sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// It is known to be the same: one record.
    Recognised,
    /// It is refused, because a value is unique: one record, flagged, for it may have been there before.
    Refused,
    /// Nobody can tell: two records, flagged.
    Unseen,
}

impl Repeats {
    /// How many records there are in the end.
    pub(crate) fn records(self) -> usize {
        if self == Self::Unseen { 2 } else { 1 }
    }

    /// Whether the run says that it may be a repeat.
    pub(crate) fn flagged(self) -> bool {
        self != Self::Recognised
    }
}

/// A system that keeps records.
pub(crate) trait Destination: Sync {
    /// Its kind of connection.
    fn kind(&self) -> &'static str;
    /// Where the counterpart is, as a connection says it: a URL or a file. It is started by the first who asks.
    fn place(&self) -> String;
    /// A place that is not there, or not yet.
    fn nowhere(&self) -> String {
        "http://no-such-host.invalid".to_owned()
    }
    /// The settings of a connection to `place`, with the right secret or a wrong one.
    fn settings(&self, place: &str, right: bool) -> Value;
    /// The entity that the suite writes to.
    fn entity(&self) -> &'static str;
    /// A text field that tells the records of one test from all others.
    fn mark(&self) -> &'static str;
    /// A field of which no two records may have the same value; [`Destination::record`] gives each its own.
    fn unique(&self) -> Option<&'static str> {
        None
    }
    /// A whole record.
    fn record(&self, mark: &str) -> Map<String, Value>;
    /// What an update changes.
    fn change(&self) -> Map<String, Value>;
    /// A key by which a record can be upserted.
    fn key(&self, mark: &str) -> Map<String, Value>;
    /// An id that no record has.
    fn absent(&self) -> &'static str;
    /// What becomes of a create that is sent twice.
    fn repeats(&self) -> Repeats {
        Repeats::Recognised
    }
    /// Whether a login can be tried without any record.
    fn has_login(&self) -> bool {
        true
    }
    /// What must be posted once before anything works.
    fn prepare(&self) -> Option<(&'static str, Value)> {
        None
    }
}

/// A system behind a network, which wants a secret.
pub(crate) trait Remote: Destination {
    /// A way to it on which an answer can be lost.
    fn way(&self) -> Way;
    /// Places where nothing gets as far as being sent, and the code for each.
    fn refused(&self) -> Vec<(String, &'static str)>;
}

/// A system behind HTTP.
pub(crate) trait OverHttp: Destination {
    /// Where the counterpart listens.
    fn backend(&self) -> SocketAddr;
    /// Its URL.
    fn web(&self) -> String {
        format!("http://{}", self.backend())
    }
    /// How many requests that change nothing go before each operation.
    fn asked_before(&self) -> usize {
        0
    }
}

/// A way to a system.
pub(crate) struct Way {
    place: String,
    armed: Arc<AtomicBool>,
}

impl Way {
    /// The next operation is done, and its answer lost.
    pub(crate) fn lose_next(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}

impl<T: OverHttp> Remote for T {
    fn way(&self) -> Way {
        let armed = Arc::new(AtomicBool::new(false));
        let (is_armed, before, passed) = (Arc::clone(&armed), self.asked_before(), AtomicUsize::new(0));
        let fate = move |_| {
            let is_lost = is_armed.load(Ordering::SeqCst) && passed.fetch_add(1, Ordering::SeqCst) == before;
            if is_lost {
                is_armed.store(false, Ordering::SeqCst);
                passed.store(0, Ordering::SeqCst);
                return Fate::LoseAnswer;
            }
            Fate::Pass
        };
        Way { place: Proxy::start(self.backend(), fate).url(), armed }
    }

    fn refused(&self) -> Vec<(String, &'static str)> {
        static UNTRUSTED: OnceLock<Sink> = OnceLock::new();
        let untrusted = UNTRUSTED.get_or_init(|| Sink::start("tls"));
        vec![
            (format!("https://localhost:{}", untrusted.port), "tls_certificate"),
            (format!("https://{}", self.backend()), "tls_failed"),
            (self.nowhere(), "dns_failed"),
        ]
    }
}

/// A text that no other record has.
pub(crate) fn fresh_mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("m{}-{}@contoso.example", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A connection of leadflow.yaml, opened.
pub(crate) struct Line {
    opened: Opened,
}

impl Line {
    /// To `place`, with the right secret or a wrong one.
    pub(crate) fn to(system: &dyn Destination, place: &str, right: bool) -> Self {
        let connector = Registry::builtin().find(system.kind()).expect("a connector");
        let settings = system.settings(place, right);
        let opened = connector.open(&settings, &Reach::new("unused")).expect("settings");
        Self { opened }
    }

    /// To the counterpart itself, which is ready for records.
    pub(crate) async fn straight(system: &dyn Destination) -> Self {
        let line = Self::to(system, &system.place(), true);
        if let Some((url, body)) = system.prepare() {
            let request = HttpRequest {
                method: "POST".into(),
                url: url.into(),
                query: Vec::new(),
                headers: Vec::new(),
                body: Some(HttpBody::Json(body)),
                url_from_value: false,
            };
            let reply = line.perform(&leadflow::outbound::Effect::Http(request)).await;
            // Another test may have done it.
            assert!(matches!(&reply, Reply::Http(reply) if matches!(reply.status, 201 | 204 | 409)), "{reply:?}");
        }
        line
    }

    async fn perform(&self, effect: &leadflow::outbound::Effect) -> Reply {
        let simulated = Reply::Record;
        let call = Call {
            action: "act",
            secure: false,
            idx: "",
            connection: "crm",
            transport: &self.opened.transport,
            effect,
            timeout: LONG,
            simulated,
        };
        Real.perform(call).await
    }

    /// One try of one operation of `run`, as the engine makes it.
    pub(crate) async fn try_once(&self, run: RunId, operation: &Operation, again: bool) -> Result<Outcome, Failure> {
        let key = |n| IdempotencyKey::new(run, "act", "", n);
        let cx = OpContext {
            connection: "crm",
            run_id: run,
            key: key(0),
            received_at: 1_700_000_000_000_000,
            possible_repeat: again,
        };
        let mut effect = self.opened.dialect.start(operation, &cx)?;
        let mut talk = Talk { n: 0, key: key(0), notes: Value::Null };
        for n in 0..50 {
            (talk.n, talk.key) = (n, key(n));
            let reply = self.perform(&effect).await;
            match self.opened.dialect.on_reply(operation, &cx, &mut talk, reply) {
                Progress::Send(next) => effect = next,
                Progress::Done(result) => return result,
            }
        }
        panic!("no end after 50 effects")
    }

    /// [`Line::try_once`], of a run of its own.
    pub(crate) async fn once(&self, operation: &Operation) -> Result<Outcome, Failure> {
        self.try_once(run(), operation, false).await
    }

    /// The records with `mark`.
    pub(crate) async fn marked(&self, system: &dyn Destination, mark: &str) -> Vec<Value> {
        let operation = Operation::ListRecords(ListRecords {
            entity: system.entity().into(),
            filter: Map::from_iter([(system.mark().to_owned(), mark.into())]),
            select: vec![system.mark().to_owned()],
            order_by: Vec::new(),
            limit: 100,
        });
        let listed = self.once(&operation).await.expect("a list");
        listed.outputs["records"].as_array().expect("records").clone()
    }
}

/// A run.
pub(crate) fn run() -> RunId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    RunId::from_bytes(bytes)
}

/// Makes a record marked with `mark`.
pub(crate) fn create(system: &dyn Destination, mark: &str, on_duplicate: OnDuplicate) -> Operation {
    Operation::CreateRecord(CreateRecord { entity: system.entity().into(), fields: system.record(mark), on_duplicate })
}

/// What holds for any system, for one behind a network, for one behind HTTP.
macro_rules! cases {
    (any $system:expr) => {
        #[tokio::test]
        async fn records_are_made_changed_read_and_listed() {
            super::cases::records_are_made_changed_read_and_listed(&$system).await;
        }
        #[tokio::test]
        async fn one_key_is_one_record() {
            super::cases::one_key_is_one_record(&$system).await;
        }
        #[tokio::test]
        async fn values_are_values_whatever_is_in_them() {
            super::cases::values_are_values_whatever_is_in_them(&$system).await;
        }
        #[test]
        fn a_name_that_comes_back_costs_no_lead() {
            super::served::a_name_that_comes_back_costs_no_lead(&$system);
        }
    };
    (remote $system:expr) => {
        #[tokio::test]
        async fn a_lost_answer_is_no_second_record() {
            super::cases::a_lost_answer_is_no_second_record(&$system).await;
        }
        #[tokio::test]
        async fn a_wrong_secret_is_told_from_a_bad_record() {
            super::cases::a_wrong_secret_is_told_from_a_bad_record(&$system).await;
        }
        #[tokio::test]
        async fn what_is_not_sent_is_known_not_to_be() {
            super::cases::what_is_not_sent_is_known_not_to_be(&$system).await;
        }
        #[test]
        fn a_run_survives_a_lost_answer() {
            super::served::a_run_survives_a_lost_answer(&$system);
        }
    };
    (http $system:expr) => {
        #[tokio::test]
        async fn an_answer_of_somebody_else_is_no_success() {
            super::cases::an_answer_of_somebody_else_is_no_success(&$system).await;
        }
        #[test]
        fn nobody_calls_while_the_system_wants_to_rest() {
            super::served::nobody_calls_while_the_system_wants_to_rest(&$system);
        }
    };
}

/// The suite for each system: of every word before it, the cases that go by that word.
macro_rules! conforms {
    ($($name:ident: $($word:ident)+ => $system:expr,)*) => { $(
        mod $name {
            conforms! { @ $system; $($word)+ }
        }
    )* };
    (@ $system:expr; $($word:ident)+) => { $( cases! { $word $system } )+ };
}

conforms! {
    dataverse: any remote http => crate::destinations::systems::Dataverse,
    salesforce: any remote http => crate::destinations::systems::Salesforce { has_key_field: true },
    salesforce_without_a_key_field: any remote http => crate::destinations::systems::Salesforce { has_key_field: false },
    azure_table: any remote http => crate::destinations::systems::AzureTable,
    hubspot: any remote http => crate::destinations::contacts::HubSpot,
    pipedrive: any remote http => crate::destinations::persons::Pipedrive,
    zoho: any remote http => crate::destinations::modules::Zoho,
    odoo: any remote http => crate::destinations::models::Odoo,
    postgres: any remote => crate::destinations::tables::Postgres,
    sqlite: any => crate::destinations::tables::Sqlite,
}

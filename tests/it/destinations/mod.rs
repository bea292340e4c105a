//! One suite for every system that keeps records: what holds for one holds for all of them. A new system is one
//! implementation of [`Destination`] and one line in [`conforms!`].

mod cases;
mod live;
mod proxy;
mod served;
mod systems;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leadflow::connectors::{
    CreateRecord, ListRecords, OnDuplicate, OpContext, Opened, Operation, Outcome, Progress, Reach, Registry, Talk,
};
use leadflow::ids::{IdempotencyKey, RunId};
use leadflow::outbound::{Call, Effects, HttpBody, HttpRequest, Real, Reply};
use leadflow::run::Failure;
use serde_json::{Map, Value};

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A system that keeps records.
pub(crate) trait Destination: Sync {
    /// Its kind of connection.
    fn kind(&self) -> &'static str;
    /// Where the real counterpart listens; started by the first who asks.
    fn backend(&self) -> SocketAddr;
    /// The settings of a connection to `url`, with the right secret or a wrong one.
    fn settings(&self, url: &str, right: bool) -> Value;
    /// The entity that the suite writes to.
    fn entity(&self) -> &'static str;
    /// A text field that tells the records of one test from all others.
    fn mark(&self) -> &'static str;
    /// A whole record.
    fn record(&self, mark: &str) -> Map<String, Value>;
    /// What an update changes.
    fn change(&self) -> Map<String, Value>;
    /// A key by which a record can be upserted.
    fn key(&self, mark: &str) -> Map<String, Value>;
    /// An id that no record has.
    fn absent(&self) -> &'static str;
    /// Whether it makes one record of a create that is sent twice.
    fn recognises_repeats(&self) -> bool {
        true
    }
    /// What must be posted once before anything works.
    fn prepare(&self) -> Option<(&'static str, Value)> {
        None
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
    /// To `url`, with the right secret or a wrong one.
    pub(crate) fn to(system: &dyn Destination, url: &str, right: bool) -> Self {
        let connector = Registry::builtin().find(system.kind()).expect("a connector");
        let settings = system.settings(url, right);
        let opened = connector.open(&settings, &Reach::new("unused")).expect("settings");
        Self { opened }
    }

    /// To the counterpart itself, which is ready for records.
    pub(crate) async fn straight(system: &dyn Destination) -> Self {
        let line = Self::to(system, &format!("http://{}", system.backend()), true);
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

/// The suite for each system.
macro_rules! conforms {
    ($($name:ident: $system:expr,)*) => { $(
        mod $name {
            use super::{cases, served, systems};

            #[tokio::test]
            async fn records_are_made_changed_read_and_listed() {
                cases::records_are_made_changed_read_and_listed(&$system).await;
            }
            #[tokio::test]
            async fn one_key_is_one_record() {
                cases::one_key_is_one_record(&$system).await;
            }
            #[tokio::test]
            async fn a_lost_answer_is_no_second_record() {
                cases::a_lost_answer_is_no_second_record(&$system).await;
            }
            #[tokio::test]
            async fn values_are_values_whatever_is_in_them() {
                cases::values_are_values_whatever_is_in_them(&$system).await;
            }
            #[tokio::test]
            async fn a_wrong_secret_is_told_from_a_bad_record() {
                cases::a_wrong_secret_is_told_from_a_bad_record(&$system).await;
            }
            #[tokio::test]
            async fn an_answer_of_somebody_else_is_no_success() {
                cases::an_answer_of_somebody_else_is_no_success(&$system).await;
            }
            #[tokio::test]
            async fn what_is_not_sent_is_known_not_to_be() {
                cases::what_is_not_sent_is_known_not_to_be(&$system).await;
            }
            #[test]
            fn a_run_survives_a_lost_answer() {
                served::a_run_survives_a_lost_answer(&$system);
            }
            #[test]
            fn a_name_that_comes_back_costs_no_lead() {
                served::a_name_that_comes_back_costs_no_lead(&$system);
            }
            #[test]
            fn nobody_calls_while_the_system_wants_to_rest() {
                served::nobody_calls_while_the_system_wants_to_rest(&$system);
            }
        }
    )* };
}

conforms! {
    dataverse: systems::Dataverse,
    salesforce: systems::Salesforce { has_key_field: true },
    salesforce_without_a_key_field: systems::Salesforce { has_key_field: false },
    azure_table: systems::AzureTable,
}

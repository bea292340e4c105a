//! What every destination keeps, one try at a time.

use leadflow::connectors::{CreateRecord, GetRecord, OnDuplicate, Operation, Target, UpdateRecord, UpsertRecord};
use leadflow::run::Class;
use serde_json::{Value, json};

use super::proxy::{Fate, Proxy};
use super::{Destination, Line, OverHttp, Remote, create, fresh_mark, run};

fn get(system: &dyn Destination, target: Target) -> Operation {
    Operation::GetRecord(GetRecord { entity: system.entity().into(), target })
}

fn update(system: &dyn Destination, target: Target) -> Operation {
    Operation::UpdateRecord(UpdateRecord { entity: system.entity().into(), target, fields: system.change() })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(super) async fn records_are_made_changed_read_and_listed(system: &dyn Destination) {
    let (line, mark) = (Line::straight(system).await, fresh_mark());
    let (entity, fields) = (system.entity().to_owned(), system.record(&mark));
    let create = CreateRecord { entity, fields: fields.clone(), on_duplicate: OnDuplicate::Fail };
    let made = line.once(&Operation::CreateRecord(create)).await.expect("made").outputs;
    let keys: Vec<&str> = made.as_object().expect("outputs").keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 5, "{made}");
    assert!(["id", "url", "outcome", "record", "raw"].iter().all(|key| keys.contains(key)), "{made}");
    assert_eq!(made["outcome"], "created");
    let id = text(&made["id"]);

    let read = line.once(&get(system, Target::Id(id.clone()))).await.expect("read").outputs;
    for (field, value) in fields {
        assert_eq!(read["record"][&field], value, "{field} keeps its value and type: {read}");
    }
    let changed = line.once(&update(system, Target::Id(id.clone()))).await.expect("changed").outputs;
    assert_eq!((&changed["outcome"], &changed["id"]), (&json!("updated"), &json!(id)));
    let read = line.once(&get(system, Target::Id(id))).await.expect("read").outputs;
    for (field, value) in system.change() {
        assert_eq!(read["record"][&field], value, "{field} is changed: {read}");
    }
    assert_eq!(read["record"][system.mark()], mark, "what is not changed stays");

    for operation in
        [get(system, Target::Id(system.absent().into())), update(system, Target::Id(system.absent().into()))]
    {
        let failure = line.once(&operation).await.expect_err("nothing is there");
        assert_eq!((failure.code.as_str(), failure.class), ("not_found", Class::Terminal), "{}", failure.message);
    }

    let key = system.key(&fresh_mark());
    let upsert = |mark: &str| {
        let (entity, target) = (system.entity().to_owned(), Target::Key(key.clone()));
        Operation::UpsertRecord(UpsertRecord { entity, target, fields: system.record(mark) })
    };
    let (first, second) = (fresh_mark(), fresh_mark());
    let made = line.once(&upsert(&first)).await.expect("made").outputs;
    let changed = line.once(&upsert(&second)).await.expect("changed").outputs;
    assert_eq!((&made["outcome"], &changed["outcome"]), (&json!("created"), &json!("updated")));
    assert_eq!(made["id"], changed["id"], "one record");
    assert!(made["id"].is_string());
    assert_eq!((line.marked(system, &first).await.len(), line.marked(system, &second).await.len()), (0, 1));
}

pub(super) async fn one_key_is_one_record(system: &dyn Destination) {
    let (line, mark, run) = (Line::straight(system).await, fresh_mark(), run());
    let operation = create(system, &mark, OnDuplicate::Fail);
    let first = line.try_once(run, &operation, false).await.expect("made");
    let again = line.try_once(run, &operation, true).await.expect("made or recognised");
    assert_eq!(again.outputs["outcome"], "created");
    assert!(!first.possible_repeat);
    let records = line.marked(system, &mark).await.len();
    let repeats = system.repeats();
    assert_eq!((again.possible_repeat, records), (repeats.flagged(), repeats.records()), "{repeats:?}");
    assert_eq!(first.outputs["id"] == again.outputs["id"], records == 1);
}

pub(super) async fn a_lost_answer_is_no_second_record(system: &dyn Remote) {
    let (straight, mark, run) = (Line::straight(system).await, fresh_mark(), run());
    let way = system.way();
    let line = Line::to(system, &way.place, true);
    // What is asked only once is asked for this one.
    line.once(&create(system, &fresh_mark(), OnDuplicate::Fail)).await.expect("made");
    way.lose_next();
    let operation = create(system, &mark, OnDuplicate::Fail);
    let failure = line.try_once(run, &operation, false).await.expect_err("no answer");
    assert_eq!((failure.code.as_str(), failure.class), ("unknown_outcome", Class::Unknown));
    assert_eq!(straight.marked(system, &mark).await.len(), 1, "it was done all the same");
    let outcome = line.try_once(run, &operation, true).await.expect("made or recognised");
    assert_eq!(outcome.outputs["outcome"], "created", "our own record is no duplicate, even where those fail");
    assert!(outcome.outputs["id"].is_string());
    assert_eq!(outcome.possible_repeat, system.repeats().flagged());
    assert_eq!(straight.marked(system, &mark).await.len(), system.repeats().records());
}

pub(super) async fn values_are_values_whatever_is_in_them(system: &dyn Destination) {
    let line = Line::straight(system).await;
    let plain = fresh_mark();
    line.once(&create(system, &plain, OnDuplicate::Ok)).await.expect("made");
    // A filter that a value could end would find other records, or none at all.
    for evil in ["' or 1 eq 1 or 'a' eq '", "x' OR Email != '", "a\\' OR Id != null --", "../..", "a/b?c=d&e#f %27 +"] {
        assert_eq!(line.marked(system, evil).await, Vec::<Value>::new(), "{evil}");
    }
    let key = |value: &str| {
        let mut key = system.key("x");
        let (_, last) = key.iter_mut().last().expect("a field");
        *last = json!(value);
        Target::Key(key)
    };
    for evil in ["..", ".", "x')/leads('", "a' or 1 eq 1", "a%2F..%2F.."] {
        let failure = line.once(&get(system, key(evil))).await.expect_err(evil);
        assert!(matches!(failure.code.as_str(), "not_found" | "bad_key" | "unsafe_path"), "{evil}: {failure:?}");
        assert!(!failure.message.contains(evil) || evil.len() < 3, "{evil}: {}", failure.message);
    }
}

pub(super) async fn a_wrong_secret_is_told_from_a_bad_record(system: &dyn Remote) {
    let line = Line::to(system, &system.place(), false);
    let mark = fresh_mark();
    let failure = line.once(&create(system, &mark, OnDuplicate::Ok)).await.expect_err("refused");
    assert_eq!(failure.class, Class::Credentials, "{failure:?}");
    for secret in ["wrong-token", "d3Jvbmc", "stranger", mark.as_str()] {
        assert!(!failure.message.contains(secret), "{}", failure.message);
    }
    let straight = Line::straight(system).await;
    assert!(straight.marked(system, &mark).await.is_empty());
    let login = line.opened.dialect.login();
    assert_eq!(login.is_some(), system.has_login());
    let Some(login) = login else { return };
    let reply = line.perform(&login).await;
    assert_eq!(line.opened.dialect.logged_in(&reply).expect_err("refused").class, Class::Credentials);
    let reply = straight.perform(&login).await;
    assert_eq!(straight.opened.dialect.logged_in(&reply), Ok(()));
}

pub(super) async fn an_answer_of_somebody_else_is_no_success(system: &dyn OverHttp) {
    let make = create(system, &fresh_mark(), OnDuplicate::Ok);
    let read = get(system, Target::Id(system.absent().into()));
    // The first operation gets as far as itself: what goes before it is answered as ever.
    let through = |fate: Fate| {
        let before = system.asked_before();
        let proxy = Proxy::start(system.backend(), move |n| if n < before { Fate::Pass } else { fate.clone() });
        (Line::to(system, &proxy.url(), true), proxy)
    };
    let (line, _proxy) = through(Fate::login_page());
    let failure = line.once(&make).await.expect_err("a login page");
    assert_eq!((failure.code.as_str(), failure.class), ("unexpected_answer", Class::Unknown));
    let failure = line.once(&read).await.expect_err("a login page");
    assert_eq!((failure.code.as_str(), failure.class), ("unexpected_answer", Class::Terminal));
    if system.has_login() {
        let reply = line.perform(&line.opened.dialect.login().expect("a login")).await;
        assert_eq!(line.opened.dialect.logged_in(&reply).expect_err("a login page").code, "unexpected_answer");
    }

    let (line, _proxy) = through(Fate::redirect());
    let failure = line.once(&make).await.expect_err("a redirect");
    assert_eq!((failure.code.as_str(), failure.class), ("http_302", Class::Terminal));

    let (line, _proxy) = through(Fate::long());
    let failure = line.once(&read).await.expect_err("too long");
    assert_eq!(failure.code, "response_too_long");
    assert!(line.once(&make).await.is_err());

    let (line, _proxy) = through(Fate::too_many_requests(3));
    let failure = line.once(&make).await.expect_err("too many");
    assert_eq!((failure.class, failure.retry_after), (Class::Throttled, Some(3_000_000)));
}

pub(super) async fn what_is_not_sent_is_known_not_to_be(system: &dyn Remote) {
    let make = create(system, &fresh_mark(), OnDuplicate::Ok);
    for (place, code) in system.refused() {
        let failure = Line::to(system, &place, true).once(&make).await.expect_err(code);
        assert_eq!(failure.code, code, "{}", failure.message);
        assert!(matches!(failure.class, Class::Terminal | Class::Retryable), "nothing was sent: {failure:?}");
    }
}

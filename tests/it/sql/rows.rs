//! One row for one lead: creates, repeats, duplicates, changes, reads.

use leadflow::connectors::OnDuplicate::{Fail, Ok as Succeed, Update};
use leadflow::run::Class;
use serde_json::json;

use super::site::{Engine, Site, create, did, get, id, key, list, update, upsert};

/// A table that both databases take, with a key column and an email that is unique.
const LEADS: &str = "create table leads (id integer primary key, email varchar(40) unique, name text not null, \
                     city text, leadflow_key text unique)";
/// On PostgreSQL an integer key does not number itself.
const NUMBERED: &str = "create sequence ids; alter table leads alter id set default nextval('ids')";

fn sites() -> [Site; 2] {
    let sites = Site::both(LEADS);
    sites[0].sql(NUMBERED);
    sites
}

#[tokio::test]
async fn a_repeated_create_is_one_row() {
    for site in sites() {
        let lead = create("leads", &json!({"email": "a@b.example", "name": "Jane"}), Fail);
        let first = site.run(&lead, 1).await.expect("creates");
        assert_eq!((did(&first), first.outputs["id"].as_str()), ("created", Some("1")), "{:?}", site.engine);
        assert_eq!(first.outputs["record"]["name"], "Jane");
        assert!(first.outputs["record"]["city"].is_null() && first.outputs["url"].is_null());
        // Its answer was lost, and it comes again; or a resubmit brings it, which knows of no earlier try.
        for outcome in [site.again(&lead, 1).await, site.run(&lead, 1).await] {
            let outcome = outcome.expect("recognised");
            assert_eq!((did(&outcome), outcome.possible_repeat), ("created", false));
            assert_eq!(outcome.outputs["id"], "1");
        }
        assert_eq!(site.count("leads"), "1");
        // The answer was lost before anything was done.
        let other = create("leads", &json!({"email": "c@d.example", "name": "Jim"}), Succeed);
        assert_eq!(did(&site.again(&other, 2).await.expect("creates")), "created");
        assert_eq!(site.count("leads"), "2");
    }
}

#[tokio::test]
async fn a_duplicate_is_what_the_flow_says() {
    for site in sites() {
        let lead = |run, name: &str, on_duplicate| {
            let operation = create("leads", &json!({"email": "a@b.example", "name": name}), on_duplicate);
            let site = &site;
            async move { site.run(&operation, run).await }
        };
        lead(1, "Jane", Fail).await.expect("creates");
        let same = lead(2, "Jim", Succeed).await.expect("succeeds");
        assert_eq!(
            (did(&same), &same.outputs["id"], &same.outputs["record"]["name"]),
            ("duplicate", &json!("1"), &json!("Jane"))
        );
        let refused = lead(3, "Jim", Fail).await.expect_err("refused");
        assert_eq!((refused.code.as_str(), refused.class), ("duplicate", Class::Terminal));
        assert!(!refused.message.contains("a@b.example"), "{}", refused.message);
        let changed = lead(4, "Jo", Update).await.expect("changes");
        assert_eq!((did(&changed), &changed.outputs["record"]["name"]), ("updated", &json!("Jo")));
        assert_eq!(site.sql("select name from leads"), ["Jo"]);
    }
}

#[tokio::test]
async fn without_a_key_column_a_repeat_is_recognised_by_what_is_unique_or_flagged() {
    let tables = "create table contacts (email varchar(40) primary key, name text); create table notes (line text)";
    for site in Site::both(tables) {
        let contact = create("contacts", &json!({"email": "a@b.example", "name": "Jane"}), Fail);
        assert_eq!(did(&site.run(&contact, 1).await.expect("creates")), "created");
        let again = site.again(&contact, 1).await.expect("it may have been us");
        assert_eq!(
            (did(&again), again.possible_repeat, &again.outputs["id"]),
            ("created", true, &json!("a@b.example"))
        );
        assert_eq!(site.count("contacts"), "1");
        let note = create("notes", &json!({"line": "x"}), Fail);
        let first = site.run(&note, 1).await.expect("creates");
        assert_eq!((did(&first), first.possible_repeat, &first.outputs["id"]), ("created", false, &json!(null)));
        assert!(site.again(&note, 1).await.expect("creates").possible_repeat, "nobody knows");
        assert_eq!(site.count("notes"), "2");
    }
}

#[tokio::test]
async fn a_row_is_changed_by_its_id_or_by_a_key() {
    for site in sites() {
        for (run, email, city) in [(1, "a@b.example", "Bonn"), (2, "c@d.example", "Bonn"), (3, "e@f.example", "Ulm")] {
            let fields = json!({"email": email, "name": "Jane", "city": city});
            site.run(&create("leads", &fields, Fail), run).await.expect("creates");
        }
        let changed = site.run(&update("leads", id("2"), &json!({"name": "Jim"})), 9).await.expect("changes");
        assert_eq!((did(&changed), &changed.outputs["record"]["email"]), ("updated", &json!("c@d.example")));
        let by_key = update("leads", key(&json!({"email": "a@b.example"})), &json!({"name": "Jo"}));
        assert_eq!(site.run(&by_key, 9).await.expect("changes").outputs["id"], "1");
        let by_city = |city: &str| update("leads", key(&json!({"city": city})), &json!({"name": "Joe"}));
        assert_eq!(site.run(&by_city("Ulm"), 9).await.expect("one").outputs["id"], "3");
        let code = |outcome: Result<_, leadflow::run::Failure>| {
            outcome.map(|_: leadflow::connectors::Outcome| ()).expect_err("fails").code
        };
        assert_eq!(code(site.run(&by_city("Bonn"), 9).await), "ambiguous_key");
        assert_eq!(code(site.run(&by_city("Rome"), 9).await), "not_found");
        assert_eq!(code(site.run(&update("leads", id("77"), &json!({"name": "x"})), 9).await), "not_found");
        let taken = update("leads", id("1"), &json!({"email": "c@d.example"}));
        assert_eq!(code(site.run(&taken, 9).await), "duplicate");
        // Nothing to change: it is there, and stays.
        assert_eq!(did(&site.run(&update("leads", id("1"), &json!({})), 9).await.expect("is there")), "updated");
        assert_eq!(code(site.run(&update("leads", id("77"), &json!({})), 9).await), "not_found");
        assert_eq!(site.sql("select name from leads order by id"), ["Jo", "Jim", "Joe"]);
    }
}

#[tokio::test]
async fn an_upsert_ends_in_one_row_whoever_comes_at_the_same_moment() {
    for site in sites() {
        let lead =
            |name: &str| upsert("leads", key(&json!({"email": "a@b.example"})), &json!({"name": name, "city": "Bonn"}));
        let made = site.run(&lead("Jane"), 1).await.expect("makes");
        assert_eq!((did(&made), &made.outputs["id"]), ("created", &json!("1")), "{:?}", site.engine);
        let changed = site.run(&lead("Jim"), 2).await.expect("changes");
        assert_eq!((did(&changed), &changed.outputs["record"]["name"]), ("updated", &json!("Jim")));
        let same = site.again(&lead("Jim"), 2).await.expect("repeats");
        assert_eq!((did(&same), same.possible_repeat, site.count("leads").as_str()), ("updated", false, "1"));
        let by_id = site.run(&upsert("leads", id("70"), &json!({"name": "Jo"})), 3).await.expect("makes");
        assert_eq!((did(&by_id), &by_id.outputs["id"]), ("created", &json!("70")));
        let failure = site.run(&upsert("leads", key(&json!({"city": "Bonn"})), &json!({"name": "x"})), 4).await;
        assert_eq!(failure.expect_err("no unique index").code, "bad_key");
        let lead = |n: u8| upsert("leads", key(&json!({"email": "many@b.example"})), &json!({"name": n.to_string()}));
        let all = futures_of((10..40).map(|n| {
            let (site, lead) = (&site, lead(n));
            async move { site.run(&lead, n).await.map(|outcome| did(&outcome).to_owned()) }
        }))
        .await;
        let made = all.iter().filter(|outcome| *outcome == &Ok("created".to_owned())).count();
        assert_eq!((made, all.iter().filter(|outcome| outcome.is_err()).count()), (1, 0), "{all:?}");
        assert_eq!(site.sql("select count(*) from leads where email = 'many@b.example'"), ["1"]);
    }
}

/// All of them at once, on this task.
async fn futures_of<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            return std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect());
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test]
async fn rows_are_read() {
    for site in sites() {
        for (run, email, city) in
            [(1, "a@b.example", json!("Ulm")), (2, "c@d.example", json!(null)), (3, "e@f.example", json!("Bonn"))]
        {
            let mut fields = json!({"email": email, "name": "Jane", "city": city});
            fields.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
            site.run(&create("leads", &fields, Fail), run).await.expect("creates");
        }
        let one = site.run(&get("leads", id("3")), 9).await.expect("reads");
        assert_eq!((&one.outputs["record"]["id"], &one.outputs["record"]["city"]), (&json!(3), &json!("Bonn")));
        let one = site.run(&get("leads", key(&json!({"EMAIL": "c@d.example"}))), 9).await.expect("names ignore case");
        assert_eq!(one.outputs["record"]["id"], 2);
        assert_eq!(
            site.run(&get("leads", key(&json!({"name": "Jane"}))), 9).await.expect_err("three").code,
            "ambiguous_key"
        );
        assert_eq!(site.run(&get("leads", id("4")), 9).await.expect_err("none").code, "not_found");
        let lists = [
            (list("leads", &json!({}), &["id"], &[("city", false)], 9), json!([{"id": 3}, {"id": 1}, {"id": 2}])),
            (list("leads", &json!({}), &["id"], &[("city", true)], 2), json!([{"id": 1}, {"id": 3}])),
            (list("leads", &json!({"city": null}), &["email"], &[], 9), json!([{"email": "c@d.example"}])),
            (
                list("leads", &json!({"name": "Jane", "city": "Ulm"}), &["id", "city"], &[], 9),
                json!([{"id": 1, "city": "Ulm"}]),
            ),
            (list("leads", &json!({"name": "nobody"}), &[], &[], 9), json!([])),
        ];
        for (operation, records) in lists {
            assert_eq!(
                site.run(&operation, 9).await.expect("lists").outputs,
                json!({"records": records}),
                "{:?}",
                site.engine
            );
        }
        let all = site.run(&list("leads", &json!({}), &[], &[("id", false)], 9), 9).await.expect("lists");
        assert_eq!(all.outputs["records"][0]["email"], "a@b.example");
    }
}

#[tokio::test]
async fn what_a_lead_brings_is_data_and_never_sql() {
    let evil =
        ["' or 1=1; --", "\"); drop table leads; --", "$1 ?1 :a @a", "\\'; select 1", "名\u{202e} 😀 ..", "%' _"];
    for site in sites() {
        for (run, text) in (1..).zip(evil) {
            let made =
                site.run(&create("leads", &json!({"email": text, "name": text}), Fail), run).await.expect("creates");
            assert_eq!(made.outputs["record"]["name"], *text);
            let target = || key(&json!({"email": text}));
            assert_eq!(site.run(&get("leads", target()), 9).await.expect("reads").outputs["record"]["email"], *text);
            site.run(&update("leads", target(), &json!({"city": text})), 9).await.expect("changes");
            site.run(&upsert("leads", target(), &json!({"name": text})), 9).await.expect("changes");
            let found = site.run(&list("leads", &json!({"city": text}), &["city"], &[], 9), 9).await.expect("lists");
            assert_eq!(found.outputs["records"], json!([{"city": text}]));
            for odd in [id(text), key(&json!({"city\" = city --": text}))] {
                let failure = site.run(&get("leads", odd), 9).await.expect_err("names nothing");
                assert!(["wrong_type", "unknown_field"].contains(&failure.code.as_str()), "{failure:?}");
                assert!(!failure.message.contains(text), "{}", failure.message);
            }
            let failure = site.run(&create(text, &json!({"a": 1}), Fail), 9).await.expect_err("no table");
            assert_eq!(failure.code, "unknown_entity");
        }
        assert_eq!(site.count("leads"), evil.len().to_string());
    }
}

#[tokio::test]
async fn a_table_may_lie_in_a_schema() {
    let site = Site::new(
        Engine::Postgres,
        "create schema \"Sales Team\"; create table \"Sales Team\".\"Leads\" (id uuid primary key default gen_random_uuid(), \
         \"E-Mail\" text)",
    );
    let made = site.run(&create("Sales Team.Leads", &json!({"e-mail": "x"}), Fail), 1).await.expect("creates");
    assert_eq!(made.outputs["id"].as_str().map(str::len), Some(36));
    let failure = site.run(&create("Leads", &json!({"E-Mail": "x"}), Fail), 1).await.expect_err("not there");
    assert_eq!(failure.code, "unknown_entity");
}

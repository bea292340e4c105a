//! Values keep their type; what does not fit is refused with the column's name and without the value.

use leadflow::connectors::OnDuplicate::Fail;
use leadflow::run::Class;
use serde_json::{Value, json};

use super::site::{Engine, Site, create, get, id, list, update};

const TYPED: &str = "
    create domain short as varchar(5) check (value <> 'bad');
    create type state as enum ('new', 'won');
    create table leads (
        id bigint generated always as identity primary key, small smallint, whole integer, big bigint, real double precision,
        money numeric(12,2), yes boolean, day date, moment timestamptz, local timestamp, clock time, ref uuid, doc jsonb,
        plain json, short short, state state, tags text[], raw bytea, ip inet, twice integer generated always as (whole * 2) stored,
        name varchar(10) not null default 'x', owner integer, check (small > 0));
    create table owners (id integer primary key);
    alter table leads add foreign key (owner) references owners";

async fn made(site: &Site, fields: &Value) -> Value {
    site.run(&create("leads", fields, Fail), 1).await.unwrap_or_else(|error| panic!("{fields}: {error:?}")).outputs
}

#[tokio::test]
async fn every_type_of_postgres_is_written_and_read() {
    let site = Site::new(Engine::Postgres, TYPED);
    let fields = json!({
        "small": 1, "whole": "7", "big": 9_007_199_254_740_993_i64, "real": 1.5, "money": "1234567890.25", "yes": "true",
        "day": "2026-11-21", "moment": "2026-11-21T10:30:00+01:00", "local": "2026-11-21T10:30:00+01:00",
        "clock": "09:30", "ref": "0192A3B4-C5D6-7E8F-9A0B-1C2D3E4F5061", "doc": {"a": [1, null]}, "plain": "text",
        "short": "äöü", "state": "won", "ip": "10.0.0.1", "name": 42,
    });
    let outputs = made(&site, &fields).await;
    let record = &outputs["record"];
    assert_eq!(outputs["id"], "1");
    for (name, value) in [
        ("small", json!(1)),
        ("whole", json!(7)),
        ("big", json!(9_007_199_254_740_993_i64)),
        ("real", json!(1.5)),
        ("money", json!(1_234_567_890.25)),
        ("yes", json!(true)),
        ("day", json!("2026-11-21")),
        ("moment", json!("2026-11-21T09:30:00+00:00")),
        ("local", json!("2026-11-21T09:30:00")),
        ("clock", json!("09:30:00")),
        ("ref", json!("0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061")),
        ("doc", json!({"a": [1, null]})),
        ("plain", json!("text")),
        ("short", json!("äöü")),
        ("state", json!("won")),
        ("tags", json!(null)),
        ("ip", json!("10.0.0.1")),
        ("twice", json!(14)),
        ("name", json!("42")),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    // What was read can be asked for and written again.
    for name in ["small", "big", "money", "yes", "day", "moment", "local", "clock", "ref", "short", "state", "twice"] {
        let filter = json!({name: record[name]});
        let found = site
            .run(&list("leads", &filter, &["id"], &[], 9), 2)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(found.outputs["records"], json!([{"id": 1}]), "{name}");
        if name != "twice" {
            site.run(&update("leads", id("1"), &filter), 2).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
    assert_eq!(site.run(&get("leads", id("1")), 3).await.expect("reads").outputs["record"], *record);
}

#[tokio::test]
async fn every_type_of_sqlite_is_written_and_read() {
    let site = Site::new(
        Engine::Sqlite,
        "create table leads (id integer primary key, whole int, real real, money decimal(10,2), yes boolean, \
         day date, moment datetime, ref uuid, doc json, name varchar(5), anything)",
    );
    let fields = json!({
        "whole": 7.0, "real": "1.5", "money": 12.5, "yes": true, "day": "2026-11-21", "moment": "2026-11-21T10:30:00+01:00",
        "ref": "0192A3B4-C5D6-7E8F-9A0B-1C2D3E4F5061", "doc": {"a": [1]}, "name": 42, "anything": "7",
    });
    let record = made(&site, &fields).await["record"].clone();
    let wanted = json!({
        "id": 1, "whole": 7, "real": 1.5, "money": 12.5, "yes": true, "day": "2026-11-21", "moment": "2026-11-21T09:30:00Z",
        "ref": "0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061", "doc": {"a": [1]}, "name": "42", "anything": "7",
    });
    assert_eq!(record, wanted);
    assert_eq!(site.sql("select typeof(yes) || typeof(whole) || typeof(name) from leads"), ["integerintegertext"]);
    let found =
        site.run(&list("leads", &json!({"yes": true, "whole": "7"}), &["name"], &[], 9), 2).await.expect("lists");
    assert_eq!(found.outputs["records"], json!([{"name": "42"}]));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_column_without_its_value() {
    let site = Site::new(Engine::Postgres, TYPED);
    for (fields, code, word) in [
        (json!({"whole": "seven"}), "wrong_type", "`whole`"),
        (json!({"small": 70_000}), "wrong_type", "`small`"),
        (json!({"moment": "yesterday"}), "wrong_type", "`moment`"),
        (json!({"state": "lost-secret"}), "wrong_type", "`state`"),
        (json!({"ip": "secret"}), "wrong_type", "`ip`"),
        (json!({"money": "12345678901234567890"}), "wrong_type", "value"),
        (json!({"tags": ["secret"]}), "wrong_type", "`tags`"),
        (json!({"raw": "secret"}), "wrong_type", "`raw`"),
        (json!({"name": "secret secret"}), "value_too_long", "`name`"),
        (json!({"short": "secret"}), "value_too_long", "`short`"),
        (json!({"short": "bad"}), "refused", "short_check"),
        (json!({"small": -5}), "refused", "leads_small_check"),
        (json!({"owner": 4711}), "refused", "leads_owner_fkey"),
        (json!({"whole2": 1}), "unknown_field", "`whole`"),
        (json!({"twice": 1}), "unknown_field", "`twice`"),
        (json!({"id": 7}), "unknown_field", "`id`"),
    ] {
        let failure = site.run(&create("leads", &fields, Fail), 1).await.expect_err("refused");
        assert_eq!((failure.code.as_str(), failure.class), (code, Class::Terminal), "{fields}: {failure:?}");
        assert!(failure.message.contains(word), "{fields}: {}", failure.message);
        assert!(
            !["secret", "seven", "4711", "1234"].iter().any(|value| failure.message.contains(value)),
            "{failure:?}"
        );
    }
    assert_eq!(site.count("leads"), "0");
    let lite = Site::new(
        Engine::Sqlite,
        "create table owners (id integer primary key); create table leads (id integer primary key, name varchar(5) not null, \
         n int check (n > 0), owner int references owners)",
    );
    for (fields, code, word) in [
        (json!({"n": 1}), "required_field", "leads.name"),
        (json!({"name": "secret"}), "value_too_long", "`name`"),
        (json!({"name": "x", "n": "secret"}), "wrong_type", "`n`"),
        (json!({"name": "x", "n": -1}), "refused", "constraint"),
        (json!({"name": "x", "owner": 4711}), "refused", "constraint"),
        (json!({"nam": "x"}), "unknown_field", "`name`"),
    ] {
        let failure = lite.run(&create("leads", &fields, Fail), 1).await.expect_err("refused");
        assert_eq!((failure.code.as_str(), failure.class), (code, Class::Terminal), "{fields}: {failure:?}");
        assert!(failure.message.contains(word) && !failure.message.contains("secret"), "{fields}: {}", failure.message);
    }
    let needs = Site::new(Engine::Postgres, "create table leads (id serial primary key, name text not null, n int)");
    let failure = needs.run(&create("leads", &json!({"n": 1}), Fail), 1).await.expect_err("refused");
    assert_eq!((failure.code.as_str(), failure.message.contains("`name`")), ("required_field", true), "{failure:?}");
}

//! A database that goes away, answers too late, or not at all.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leadflow::connectors::OnDuplicate::Fail;
use leadflow::connectors::Reach;
use leadflow::run::Class;
use serde_json::json;

use super::site::{Engine, LONG, Site, create, did, get, id, update};
use crate::support::postgres::Server;

const LEADS: &str = "create table leads (id serial primary key, name text, leadflow_key uuid unique)";

/// A wire to the shared server that is cut, when armed, behind the next statement: it is done, its answer is lost.
struct Wire {
    port: u16,
    armed: Arc<AtomicBool>,
}

impl Wire {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let wire = Self { port: listener.local_addr().expect("bound").port(), armed: Arc::default() };
        let armed = Arc::clone(&wire.armed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), armed) = (client, Arc::clone(&armed)) else { return };
                std::thread::spawn(move || drop(carry(&client, &armed)));
            }
        });
        wire
    }
}

/// Carries both ways. A message that begins with `B` binds the parameters of a statement, and runs it.
fn carry(client: &TcpStream, armed: &AtomicBool) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", Server::shared().port))?;
    let cut = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client, is_cut) = (server.try_clone()?, client.try_clone()?, Arc::clone(&cut));
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            // What comes is the answer to what was done.
            if is_cut.load(Ordering::SeqCst) || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop((to_client.shutdown(Shutdown::Both), from_server.shutdown(Shutdown::Both)));
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from_client.read(&mut buffer) {
        if buffer[0] == b'B' && armed.swap(false, Ordering::SeqCst) {
            cut.store(true, Ordering::SeqCst);
        }
        to_server.write_all(&buffer[..read])?;
    }
    to_server.shutdown(Shutdown::Both)
}

#[tokio::test]
async fn an_answer_that_is_lost_behind_the_commit_makes_no_second_row() {
    let direct = Site::new(Engine::Postgres, LEADS);
    let wire = Wire::new();
    let url = format!("postgres://app@127.0.0.1:{}/{}?sslmode=disable", wire.port, direct.place);
    let site = Site::reached("postgres", &json!({"url": url}), &Reach::new("unused"), &direct.place);
    // The table is known and the statement prepared.
    site.run(&create("leads", &json!({"name": "first"}), Fail), 1).await.expect("creates");
    let lead = create("leads", &json!({"name": "second"}), Fail);
    wire.armed.store(true, Ordering::SeqCst);
    let lost = site.run(&lead, 2).await.expect_err("no answer");
    assert_eq!((lost.code.as_str(), lost.class), ("unknown_outcome", Class::Unknown), "{lost:?}");
    assert_eq!(direct.count("leads"), "2", "it was done");
    let again = site.again(&lead, 2).await.expect("recognised");
    assert_eq!((did(&again), again.possible_repeat), ("created", false));
    assert_eq!(direct.count("leads"), "2");
    // A read without an answer is only tried again.
    site.run(&get("leads", id("1")), 3).await.expect("reads");
    wire.armed.store(true, Ordering::SeqCst);
    let lost = site.run(&get("leads", id("1")), 3).await.expect_err("no answer");
    assert_eq!((lost.code.as_str(), lost.class), ("database_failed", Class::Retryable));
}

#[tokio::test]
async fn a_server_that_dies_is_waited_for_and_a_login_that_is_refused_is_named() {
    let server = Server::start();
    let place = server.fresh_database();
    server.execute(&place, LEADS);
    let site = |url: String| Site::reached("postgres", &json!({"url": url}), &Reach::new("unused"), &place);
    let good = site(server.url(&place));
    let lead = |run: u8| create("leads", &json!({"name": run.to_string()}), Fail);
    good.run(&lead(1), 1).await.expect("creates");
    for odd in [server.url(&place).replace("app@", "stranger@"), server.url("nowhere")] {
        let failure = site(odd).run(&lead(2), 2).await.expect_err("refused");
        assert_eq!((failure.code.as_str(), failure.class), ("database_login", Class::Credentials), "{failure:?}");
        assert!(!failure.message.contains("stranger"));
    }
    server.crash();
    let failure = good.run(&lead(2), 2).await.expect_err("gone");
    assert_eq!((failure.code.as_str(), failure.class), ("database_failed", Class::Retryable), "{failure:?}");
    server.restart();
    good.run(&lead(2), 2).await.expect("heals by itself");
    assert_eq!(server.execute(&place, "select count(*) from leads"), ["2"]);
    server.execute(&place, "alter table leads rename column name to label");
    assert_eq!(good.run(&lead(3), 3).await.expect_err("renamed").code, "unknown_field");
    let relabelled = create("leads", &json!({"label": "x"}), Fail);
    good.run(&relabelled, 3).await.expect("the table was looked at again");
    server.execute(&place, &format!("alter database {place} set default_transaction_read_only = on"));
    let replica = site(server.url(&place)).run(&relabelled, 4).await.expect_err("read-only");
    assert_eq!((replica.code.as_str(), replica.class), ("database_failed", Class::Retryable), "{replica:?}");
}

#[tokio::test]
async fn certificates_are_verified_as_the_url_asks() {
    let server = Server::shared();
    let direct = Site::new(Engine::Postgres, LEADS);
    let ca = std::fs::read(server.folder.join("ca.crt")).expect("the authority");
    let reached = |host: &str, mode: &str, ca: Vec<Vec<u8>>| {
        let url = format!("postgres://app@{host}:{}/{}?sslmode={mode}", server.port, direct.place);
        let reach = Reach { ca, ..Reach::new("unused") };
        Site::reached("postgres", &json!({"url": url}), &reach, &direct.place)
    };
    let lead = create("leads", &json!({"name": "x"}), Fail);
    for (host, mode, ca) in [
        ("localhost", "verify-full", vec![ca.clone()]),
        ("127.0.0.1", "verify-ca", vec![ca.clone()]),
        ("127.0.0.1", "require", vec![]),
        ("127.0.0.1", "prefer", vec![]),
    ] {
        reached(host, mode, ca).run(&lead, 1).await.unwrap_or_else(|error| panic!("{host} {mode}: {error:?}"));
    }
    for (host, mode, ca) in [("127.0.0.1", "verify-full", vec![ca]), ("localhost", "verify-full", vec![])] {
        let failure = reached(host, mode, ca).run(&lead, 1).await.expect_err("not trusted");
        assert_eq!((failure.code.as_str(), failure.class), ("tls_certificate", Class::Terminal), "{host}: {failure:?}");
    }
    assert_eq!(direct.count("leads"), "1");
}

#[tokio::test]
async fn a_statement_that_waits_too_long_is_cancelled_and_known_not_to_be_done() {
    let site = Site::new(Engine::Postgres, LEADS);
    site.run(&create("leads", &json!({"name": "first"}), Fail), 1).await.expect("creates");
    let (client, connection) =
        tokio_postgres::connect(&Server::shared().url(&site.place), tokio_postgres::NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    client.batch_execute("begin; update leads set name = 'held'").await.expect("holds the row");
    let change = update("leads", id("1"), &json!({"name": "second"}));
    let late = site.attempt(&change, 2, false, Duration::from_millis(300)).await.expect_err("too late");
    assert_eq!(late.class, Class::Retryable, "cancelled, so nothing was done: {late:?}");
    client.batch_execute("rollback").await.expect("lets go");
    assert_eq!(site.sql("select name from leads"), ["first"]);
    assert_eq!(did(&site.attempt(&change, 2, true, LONG).await.expect("changes")), "updated");
    drop(client);
    connection.await.expect("ends").expect("ends well");
}

#[tokio::test]
async fn more_leads_than_connections_wait_for_their_turn() {
    let site = Arc::new(Site::new(Engine::Postgres, LEADS));
    let writes: Vec<_> = (1..=60)
        .map(|run| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { site.run(&create("leads", &json!({"name": "x"}), Fail), run).await.map(drop) })
        })
        .collect();
    for write in writes {
        write.await.expect("no panic").expect("creates");
    }
    assert_eq!(site.count("leads"), "60");
    let sessions =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'leadflow'";
    assert!(site.sql(sessions)[0].parse::<u32>().expect("a number") <= 16);
}

#[tokio::test]
async fn a_sqlite_file_that_is_busy_or_not_there_is_waited_for() {
    let site = Site::new(Engine::Sqlite, "create table leads (id integer primary key, name text)");
    let lead = create("leads", &json!({"name": "x"}), Fail);
    site.run(&lead, 1).await.expect("creates");
    let other = rusqlite::Connection::open(&site.place).expect("opens");
    other.execute_batch("begin immediate; insert into leads (name) values ('held')").expect("holds the file");
    let late = site.attempt(&lead, 2, false, Duration::from_millis(300)).await.expect_err("busy");
    assert_eq!(late.class, Class::Retryable, "{late:?}");
    site.run(&get("leads", id("1")), 3).await.expect("reads go on or wait");
    other.execute_batch("rollback").expect("lets go");
    assert_eq!(site.count("leads"), "1", "what was too late was not done");
    site.run(&lead, 2).await.expect("creates");
    let nowhere = Site::reached("sqlite", &json!({"path": "/nowhere/crm.db"}), &Reach::new("unused"), "");
    let failure = nowhere.run(&lead, 1).await.expect_err("not there");
    assert_eq!((failure.code.as_str(), failure.class), ("database_failed", Class::Retryable), "{failure:?}");
}

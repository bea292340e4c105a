//! Migrations, databases that are refused, TLS.

use super::*;
use crate::store::conformance::{accepted, queued, stored};

fn refusal(url: &str, mode: Mode) -> String {
    match opened(url, mode) {
        Err(StoreError::Unusable(why)) => why,
        other => panic!("not refused as unusable: {other:?}"),
    }
}

#[tokio::test]
async fn nodes_that_start_together_migrate_once() {
    let server = Server::shared();
    let url = server.url(&server.fresh_database());
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || opened(&url, Mode::Serve))
        })
        .collect();
    let stores: Vec<PostgresStore> =
        starts.into_iter().map(|start| start.join().expect("no panic").expect("opens")).collect();
    let run = accepted(&stores[0], queued(0)).await;
    stored(&stores[5], run).await;
}

#[test]
fn a_newer_database_is_refused_untouched() {
    let (store, url) = serving();
    drop(store);
    sql(&url, "UPDATE meta SET v = '99' WHERE k = 'schema_version'");
    for mode in [Mode::Serve, Mode::Write, Mode::Read] {
        let why = refusal(&url, mode);
        assert!(why.contains("version 99") && why.contains(&format!("understands {VERSION}")), "{why}");
    }
    assert_eq!(sql(&url, "SELECT v FROM meta WHERE k = 'schema_version'"), ["99"]);
}

#[test]
fn commands_never_migrate_and_say_what_to_run() {
    let url = Server::shared().fresh();
    for mode in [Mode::Write, Mode::Read] {
        let why = refusal(&url, mode);
        assert!(why.contains("leadflow serve"), "{why}");
    }
    drop(serve(&url));
    sql(&url, "UPDATE meta SET v = '0' WHERE k = 'schema_version'");
    // Version 0 with all tables: what a half migration would look like if there were any.
    assert!(refusal(&url, Mode::Write).contains("run `leadflow"));
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    let server = Server::shared();
    let url = server.fresh();
    sql(&url, "CREATE TABLE runs (miles integer)");
    assert!(refusal(&url, Mode::Serve).contains("a table `runs` that is not leadflow's"));
    assert_eq!(sql(&url, "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"), ["1"]);
    // Without a search path the tables lie in a schema of their own, beside whatever else is there.
    let database = server.fresh_database();
    server.execute(&database, "CREATE TABLE runs (miles integer); CREATE TABLE meta (x integer)");
    drop(serve(&server.url(&database)));
    let tables = "SELECT schemaname FROM pg_tables WHERE tablename = 'runs' ORDER BY 1";
    assert_eq!(server.execute(&database, tables), ["leadflow", "public"]);
    let nowhere = format!("{}?options=-c%20search_path%3Dnowhere", server.url(&database));
    assert!(refusal(&nowhere, Mode::Serve).contains("no schema `nowhere`"));
}

#[test]
fn a_url_that_leads_nowhere_is_told() {
    let server = Server::shared();
    assert!(refusal(&server.url("missing"), Mode::Serve).contains("missing"));
    assert!(refusal("mysql://a@b/c", Mode::Serve).contains("postgres://"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let gone = opened(&format!("postgres://app@{free}/postgres"), Mode::Serve);
    assert!(matches!(&gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    let latin = server.fresh_database();
    server.execute("postgres", &format!("DROP DATABASE {latin}"));
    server.execute("postgres", &format!("CREATE DATABASE {latin} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0"));
    server.execute(&latin, "CREATE SCHEMA leadflow");
    assert!(refusal(&server.url(&latin), Mode::Serve).contains("LATIN1"));
}

#[tokio::test]
async fn a_command_that_reads_cannot_write() {
    let (store, url) = serving();
    let run = accepted(&store, queued(0)).await;
    let reader = opened(&url, Mode::Read).expect("opens");
    stored(&reader, run).await;
    for refused in [reader.accept(queued(1)).await, reader.ping().await] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
}

/// Opens by TLS; whether the session is encrypted.
async fn encrypted(host: &str, sslmode: &str, with_ca: bool) -> StoreResult<bool> {
    let server = Server::shared();
    let path = schema(&server.fresh()).to_owned();
    let url =
        format!("postgres://app@{host}:{}/postgres?sslmode={sslmode}&options=-c%20search_path%3D{path}", server.port);
    let authority = std::fs::read(server.folder.join("ca.crt")).expect("a certificate");
    let authorities = if with_ca { vec![authority] } else { Vec::new() };
    let store = PostgresStore::open(&OpenOptions { authorities, ..OpenOptions::new(Secret::new(url), Mode::Serve) })?;
    accepted(&store, queued(0)).await;
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    store.call(move |conn| async move { Ok(conn.query_one(ssl, &[]).await?.try_get(0)?) }).await
}

#[tokio::test]
async fn tls_is_what_sslmode_says() {
    for (host, sslmode, with_ca, is_encrypted) in [
        ("127.0.0.1", "disable", false, false),
        ("127.0.0.1", "prefer", false, true),
        ("127.0.0.1", "require", false, true),
        ("127.0.0.1", "require", true, true),
        ("127.0.0.1", "verify-ca", true, true),
        ("localhost", "verify-full", true, true),
    ] {
        assert_eq!(encrypted(host, sslmode, with_ca).await, Ok(is_encrypted), "{host} {sslmode} {with_ca}");
    }
    for (host, sslmode, with_ca) in
        [("127.0.0.1", "verify-full", true), ("localhost", "verify-full", false), ("127.0.0.1", "verify-ca", false)]
    {
        let refused = encrypted(host, sslmode, with_ca).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("TLS")), "{refused:?}");
    }
}

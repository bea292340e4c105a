//! Tables of databases as the suite needs them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{Destination, Remote, Way};
use crate::support::lossy::Wire;
use crate::support::postgres::Server;

/// The columns besides the id.
const COLUMNS: &str = "subject varchar(80) not null, email text, score double precision, agreed boolean, \
                       offer_key varchar(80) unique, leadflow_key varchar(80) unique";

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("an object") };
    fields
}

fn record(mark: &str) -> Map<String, Value> {
    object(json!({"subject": "O'Neil & \"Söhne\" 名; drop table leads", "email": mark, "score": 12.5, "agreed": true}))
}

/// The cases that a table has in common, whatever the database.
macro_rules! table {
    () => {
        fn entity(&self) -> &'static str {
            "leads"
        }

        fn mark(&self) -> &'static str {
            "email"
        }

        fn record(&self, mark: &str) -> Map<String, Value> {
            record(mark)
        }

        fn change(&self) -> Map<String, Value> {
            object(json!({"subject": "changed", "score": 1.5, "agreed": false}))
        }

        fn key(&self, mark: &str) -> Map<String, Value> {
            object(json!({ "offer_key": mark }))
        }

        fn absent(&self) -> &'static str {
            "999999999"
        }
    };
}

/// A table of PostgreSQL.
pub(crate) struct Postgres;

impl Postgres {
    /// The name of the database.
    fn database() -> &'static str {
        static NAME: OnceLock<String> = OnceLock::new();
        NAME.get_or_init(|| {
            let name = Server::shared().fresh_database();
            Server::shared().execute(&name, &format!("create table leads (id serial primary key, {COLUMNS})"));
            name
        })
    }

    fn url(host: &str, port: u16, mode: &str) -> String {
        format!("postgres://app@{host}:{port}/{}?sslmode={mode}", Self::database())
    }
}

impl Destination for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn place(&self) -> String {
        Self::url("127.0.0.1", Server::shared().port, "prefer")
    }

    fn nowhere(&self) -> String {
        Self::url("no-such-host.invalid", Server::shared().port, "prefer")
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        json!({ "url": if right { place.to_owned() } else { place.replace("app@", "stranger@") } })
    }

    table!();
}

impl Remote for Postgres {
    fn way(&self) -> Way {
        let wire = Wire::new();
        Way { place: Self::url("127.0.0.1", wire.port, "disable"), armed: wire.armed }
    }

    fn refused(&self) -> Vec<(String, &'static str)> {
        vec![
            (Self::url("localhost", Server::shared().port, "verify-full"), "tls_certificate"),
            (Self::url("127.0.0.1", without_tls(), "require"), "database_failed"),
            (self.nowhere(), "database_failed"),
        ]
    }
}

/// A server that has no TLS: it answers `N` to who asks for it.
fn without_tls() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // Who does not ask, or has gone, needs no answer.
            let _gone = client.read_exact(&mut [0; 8]).and_then(|()| client.write_all(b"N"));
        }
    });
    port
}

/// A table of SQLite: a file, so there is no way on which something is lost and no secret.
pub(crate) struct Sqlite;

impl Destination for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn place(&self) -> String {
        static PATH: OnceLock<String> = OnceLock::new();
        let path = PATH.get_or_init(|| {
            let folder = tempfile::Builder::new().prefix("tables-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
            let path = folder.expect("a folder").keep().join("crm.db");
            let table = format!("create table leads (id integer primary key, {COLUMNS})");
            rusqlite::Connection::open(&path).expect("opens").execute_batch(&table).expect("sets up");
            path.to_str().expect("utf-8").to_owned()
        });
        path.clone()
    }

    fn nowhere(&self) -> String {
        "/nowhere/crm.db".to_owned()
    }

    fn settings(&self, place: &str, _: bool) -> Value {
        json!({ "path": place })
    }

    table!();
}

//! A PostgreSQL database as a destination.
//!
//! A statement is sent with its parameters as text, which the server reads by the types of the columns they are for, and
//! rows come back as JSON that the server writes: every type that PostgreSQL has works without our knowing it.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::faults::{self, Fault};
use super::table::{Column, Kind, Table, TableName};
use super::{Run, SqlReply, Statement};
use crate::run::Failure;
use crate::secret::Secret;
use crate::store::postgres::{address, tls};

/// Most connections to one database, however many effects may be on their way: servers allow about a hundred in all.
pub(super) const POOL_MAX: usize = 16;

/// For a connection to be made, its TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What was sent and not acknowledged for so long ends its connection.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection at rest is asked so often whether its other side is still there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// How long a statement that took too long has for ending as cancelled: then it is known that nothing was done.
const CANCEL_GRACE: Duration = Duration::from_millis(700);

/// What a table is like, as JSON text. Types of domains are those that they are made of.
const DESCRIBE: &str = "\
SELECT json_build_object(
  'columns', (
    SELECT json_agg(json_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, a.atttypmod),
      'base', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL),
      'category', t.typcategory,
      'modifier', CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
      'nullable', NOT (a.attnotnull OR t.typnotnull),
      'default', a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
      'generated', a.attgenerated <> '' OR a.attidentity = 'a') ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'unique', (
    SELECT json_agg(json_build_object('primary', i.indisprimary, 'columns', (
      SELECT json_agg(a.attname ORDER BY k.n)
      FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
      WHERE k.n <= i.indnkeyatts)))
    FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL)
)::text
FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'f')";

/// A PostgreSQL database.
pub struct Postgres {
    pool: Pool,
    tls: MakeRustlsConnect,
}

impl Postgres {
    /// The database at `url`, with up to `connections` connections (no more than `POOL_MAX`: 16). Opens none yet. The error
    /// says what is wrong with the settings, without their values.
    pub fn new(url: &Secret, authorities: &[Vec<u8>], connections: usize) -> Result<Self, String> {
        let (mut config, mode) = address(url.expose()).map_err(|why| format!("`url` cannot be used: {why}"))?;
        let tls = tls::connector(mode, authorities)?;
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_EVERY).keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(2);
        config.tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("leadflow");
        }
        // A connection that died at rest is found before a statement is sent on it: that would have no known outcome.
        let how = ManagerConfig { recycling_method: RecyclingMethod::Verified };
        let manager = Manager::from_config(config, tls.clone(), how);
        // Not by `options` of the connection: poolers in between refuse those.
        let greet = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move {
                client.batch_execute("SET TIME ZONE 'UTC'; SET datestyle = ISO").await.map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(manager)
            .max_size(connections.clamp(1, POOL_MAX))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .post_create(greet)
            .build()
            .map_err(|error| format!("no pool of connections: {error}"))?;
        Ok(Self { pool, tls })
    }

    /// What the table `name` is like; `None`: there is none that the login may see.
    pub(super) async fn describe(&self, name: &TableName, timeout: Duration) -> Result<Option<Table>, Failure> {
        let deadline = Instant::now() + timeout;
        let client = self.client(deadline).await?;
        let quoted = name.quoted();
        let asked = async {
            let statement = client.prepare_cached(DESCRIBE).await?;
            client.query_opt(&statement, &[&Text(Some(quoted))]).await
        };
        let answer = timeout_at(deadline, asked).await.map_err(|_| faults::too_late(false))?;
        match answer.map_err(|error| faults::of_postgres(&error, Fault::reading(&[])))? {
            Some(row) => {
                let text: String = row.try_get(0).map_err(|error| faults::of_postgres(&error, Fault::reading(&[])))?;
                Ok(Some(table(&text)?))
            }
            None => Ok(None),
        }
    }

    /// Runs the one statement of `run`: a transaction of its own.
    pub(super) async fn run(&self, run: &Run, timeout: Duration) -> Result<SqlReply, Failure> {
        let [statement] = run.statements.as_slice() else {
            return Err(Failure::terminal("internal_error", "PostgreSQL takes one statement at a time"));
        };
        let deadline = Instant::now() + timeout;
        let client = self.client(deadline).await?;
        let fault = Fault { parameters: &statement.parameters, writes: false };
        let prepared = timeout_at(deadline, client.prepare_cached(&statement.text))
            .await
            .map_err(|_| faults::too_late(false))?
            .map_err(|error| faults::of_postgres(&error, fault))?;
        // From here on it may have been done.
        let fault = Fault { writes: run.writes, ..fault };
        let texts: Vec<Text> = statement.parameters.iter().map(|parameter| Text::of(&parameter.value)).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        match self.query(&client, &prepared, &parameters, deadline).await {
            Some(rows) => read(&rows.map_err(|error| faults::of_postgres(&error, fault))?, statement),
            None => {
                // It may still answer to this statement: nobody else may have the connection.
                drop(Object::take(client));
                Err(faults::too_late(run.writes))
            }
        }
    }

    /// Runs a statement. One that takes longer than until `deadline` is cancelled; `None`: and did not end then.
    async fn query(
        &self,
        client: &Object,
        statement: &tokio_postgres::Statement,
        parameters: &[&(dyn ToSql + Sync)],
        deadline: Instant,
    ) -> Option<Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>> {
        let mut answer = std::pin::pin!(client.query(statement, parameters));
        if let Ok(rows) = timeout_at(deadline, &mut answer).await {
            return Some(rows);
        }
        let (cancel, tls) = (client.cancel_token(), self.tls.clone());
        let ended = tokio::time::timeout(CANCEL_GRACE, async {
            // Whether the word arrives shows in the answer: the statement's own, or none.
            drop(cancel.cancel_query(tls).await);
            answer.await
        });
        ended.await.ok()
    }

    /// A connection that answers.
    async fn client(&self, deadline: Instant) -> Result<Object, Failure> {
        match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)))) => {
                Err(faults::of_postgres(&error, Fault::reading(&[])))
            }
            Ok(Err(PoolError::Timeout(_))) => Err(faults::unreachable("the server does not answer")),
            Ok(Err(_)) => Err(faults::unreachable("no connection can be made")),
            Err(_) => Err(faults::unreachable("no connection was free in time")),
        }
    }
}

/// Rows of JSON text, and whether they were inserted where the statement tells.
fn read(rows: &[tokio_postgres::Row], statement: &Statement) -> Result<SqlReply, Failure> {
    let unreadable = |_| Failure::terminal("unexpected_answer", "the database's answer is not what was asked for");
    let mut values = Vec::with_capacity(rows.len());
    let mut inserted = None;
    for row in rows {
        let text: &str = row.try_get(0).map_err(unreadable)?;
        values.push(serde_json::from_str(text).map_err(|_| {
            let what = statement.text.split_whitespace().next().unwrap_or_default();
            Failure::terminal("unexpected_answer", format!("the database's answer to {what} is not JSON"))
        })?);
        if row.len() > 1 {
            inserted = Some(row.try_get(1).map_err(unreadable)?);
        }
    }
    Ok(SqlReply::Rows { statement: 0, rows: values, inserted })
}

/// Reads the answer to [`DESCRIBE`].
fn table(text: &str) -> Result<Table, Failure> {
    let odd = || Failure::terminal("unexpected_answer", "what the database tells of the table cannot be read");
    let told: Value = serde_json::from_str(text).map_err(|_| odd())?;
    let word = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let is = |value: &Value, name: &str| value[name].as_bool().unwrap_or(false);
    let column = |value: &Value| {
        let base = word(value, "base");
        let has_length = base == "character varying" || base == "character";
        // The modifier of these types counts four bytes of its own.
        let length = value["modifier"].as_i64().filter(|_| has_length).and_then(|length| (length - 4).try_into().ok());
        Column {
            name: word(value, "name"),
            type_name: word(value, "type"),
            kind: Kind::of_postgres(&base, &word(value, "category")),
            nullable: is(value, "nullable"),
            has_default: is(value, "default"),
            generated: is(value, "generated"),
            length,
        }
    };
    let names = |value: &Value| -> Vec<String> {
        value["columns"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let unique = told["unique"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Table {
        columns: told["columns"].as_array().ok_or_else(odd)?.iter().map(column).collect(),
        primary_key: unique.iter().find(|index| is(index, "primary")).map(names).unwrap_or_default(),
        unique: unique.iter().map(names).collect(),
        is_assumed: false,
    })
}

/// A parameter as text, whatever its type: the server reads it.
#[derive(Debug)]
struct Text(Option<String>);

impl Text {
    fn of(value: &Value) -> Self {
        Self(match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_repeating_it() {
        for fine in [
            "postgres://app@localhost/leads",
            "postgresql://app:pa%40ss@db-1:5432,db-2:5432/leads?sslmode=verify-full&application_name=x",
        ] {
            assert!(Postgres::new(&Secret::new(fine), &[], 1).is_ok(), "{fine}");
        }
        for bad in [
            "mysql://app:hunter2@localhost/leads",
            "postgres://app:hunter2@localhost/leads?sslmode=maybe",
            "postgres://app:hunter2@localhost/leads?sslrootcert=/x.pem",
            "postgres://app:hunter2@localhost:notaport/leads",
        ] {
            let why = Postgres::new(&Secret::new(bad), &[], 1).err().expect("refused");
            assert!(!why.contains("hunter2") && why.contains("`url`"), "{why}");
        }
    }

    #[test]
    fn what_a_table_is_like_is_read() {
        let told = r#"{"columns": [
            {"name": "id", "type": "bigint", "base": "bigint", "category": "N", "modifier": -1,
             "nullable": false, "default": true, "generated": false},
            {"name": "email", "type": "character varying(50)", "base": "character varying", "category": "S",
             "modifier": 54, "nullable": false, "default": false, "generated": false}],
            "unique": [{"primary": false, "columns": ["email"]}, {"primary": true, "columns": ["id"]}]}"#;
        let table = table(told).expect("reads");
        assert_eq!((table.primary_key.as_slice(), table.unique.len()), (&["id".to_owned()][..], 2));
        assert_eq!((table.columns[1].length, table.columns[1].kind), (Some(50), Kind::Text));
        assert!(table.columns[0].has_default && !table.columns[0].nullable);
        assert_eq!(super::table("{}").expect_err("odd").code, "unexpected_answer");
    }
}

//! Telling other nodes that there is something to do, and hearing it from them.
//!
//! Only a hint: what is told may be lost, and polling finds it. A node tells at most every [`TELL_PAUSE`], beside its
//! writes and never within them: PostgreSQL commits transactions that notify one after the other.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};

use super::fault::Done;
use super::open::{CONNECT_TIMEOUT, Reach};

/// Between two messages of one node.
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// Between two tries to listen again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// While nothing can be heard, changes are taken for granted this often.
const BLIND_POLL: Duration = Duration::from_secs(1);

/// The channel of a schema: databases may hold several stores.
const SQL_CHANNEL: &str = "SELECT 'leadflow_' || current_schema()::regnamespace::oid, pg_backend_pid()";

const SQL_TELL: &str = "SELECT pg_notify('leadflow_' || current_schema()::regnamespace::oid, '')";

/// What one node hears and tells.
pub(super) struct Wake {
    changed: AtomicBool,
    tell: Notify,
    listens: watch::Sender<bool>,
    blind_since: Mutex<Instant>,
}

impl Wake {
    /// A node that has heard nothing yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            changed: AtomicBool::new(false),
            tell: Notify::new(),
            listens: watch::Sender::new(false),
            blind_since: Mutex::new(Instant::now()),
        })
    }

    /// Other nodes have something to do.
    pub(super) fn tell(&self) {
        self.tell.notify_one();
    }

    /// Whether something was heard since the last call; while nothing can be heard, once in a [`BLIND_POLL`].
    pub(super) fn take_changed(&self) -> bool {
        if self.changed.swap(false, Ordering::AcqRel) {
            return true;
        }
        let mut since = self.blind_since.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.listens.borrow() || since.elapsed() < BLIND_POLL {
            return false;
        }
        *since = Instant::now();
        true
    }

    /// Waits until it listens, at most as long as a connection may take.
    pub(super) async fn listening(&self) {
        let mut listens = self.listens.subscribe();
        // Not listening yet is no fault: polling is the truth.
        let _ = timeout(CONNECT_TIMEOUT, listens.wait_for(|listens| *listens)).await;
    }

    fn heard(&self) {
        self.changed.store(true, Ordering::Release);
    }
}

/// Tells at once, for a command that is about to end.
pub(super) async fn tell_now(conn: &ClientWrapper) -> Done<()> {
    conn.execute(&conn.prepare_cached(SQL_TELL).await?, &[]).await?;
    Ok(())
}

/// Listens and tells for as long as the store is open.
pub(super) async fn work(wake: Arc<Wake>, reach: Reach) {
    loop {
        if let Err(error) = session(&wake, &reach).await {
            tracing::debug!(%error, "cannot listen to other nodes now");
        }
        wake.listens.send_replace(false);
        sleep(RECONNECT_PAUSE).await;
        // What was told meanwhile is not known.
        wake.heard();
    }
}

async fn session(wake: &Wake, reach: &Reach) -> Result<(), tokio_postgres::Error> {
    let Ok(connected) = timeout(CONNECT_TIMEOUT, reach.config.connect(reach.tls.clone())).await else { return Ok(()) };
    let (client, mut connection) = connected?;
    let own = std::sync::atomic::AtomicI32::new(0);
    let hears = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message?
                && notification.process_id() != own.load(Ordering::Relaxed)
            {
                wake.heard();
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = hears => ended,
        ended = tells(wake, reach, &client, &own) => ended,
    }
}

async fn tells(
    wake: &Wake,
    reach: &Reach,
    client: &Client,
    own: &std::sync::atomic::AtomicI32,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&reach.greeting).await?;
    let row = client.query_one(SQL_CHANNEL, &[]).await?;
    let (channel, pid): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
    own.store(pid, Ordering::Relaxed);
    client.batch_execute(&format!("LISTEN {channel}")).await?;
    wake.listens.send_replace(true);
    let tell = client.prepare(SQL_TELL).await?;
    loop {
        wake.tell.notified().await;
        client.execute(&tell, &[]).await?;
        sleep(TELL_PAUSE).await;
    }
}

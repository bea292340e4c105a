//! The accept loop of one listener: a bounded number of connections, a deadline for the head of every request (the
//! first byte and the wait between two requests included), and a drain that loses no request in flight.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::late::{Late, LateHead};
use super::problem::Reply;
use super::stall::StallGuard;

/// Pause after an accept that failed for want of something (file descriptors, memory), lest the loop spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connections_max: usize,
    /// For the head of a request to arrive, from the first byte of silence on.
    pub(super) header_timeout: Duration,
    /// For a client to go on reading its answer.
    pub(super) write_stall_max: Duration,
    /// Bytes of a request's head that are buffered; what does not fit is answered 431 by hyper itself.
    pub(super) head_bytes_max: usize,
    /// How long requests in flight may take once the listener stops.
    pub(super) grace: Duration,
}

/// Serves `listener` until `stop` is true (or its sender is gone), then drains: nothing new is accepted, idle
/// connections are closed, requests in flight are answered within the grace.
/// `bounds` are asked for each connection: they may change.
pub(super) async fn serve<B, H, F>(listener: TcpListener, bounds: B, mut stop: watch::Receiver<bool>, handler: H)
where
    B: Fn() -> Bounds,
    H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let slots = Arc::new(Slots::default());
    let graceful = GracefulShutdown::new();
    {
        let mut stopped = pin!(stop.wait_for(|stop| *stop));
        loop {
            // The slot is taken first: connections over the limit wait in the kernel's backlog, not in our memory.
            let next = async { (slots.take(|| bounds().connections_max).await, accept(&listener).await) };
            let (slot, (stream, peer)) = tokio::select! {
                biased;
                _ = &mut stopped => break,
                next = next => next,
            };
            let (handler, bounds) = (handler.clone(), bounds());
            let service = service_fn(move |request| {
                let reply = handler(peer, request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let late = Late::default();
            let stream = LateHead::new(stream, late.clone());
            let io = TokioIo::new(StallGuard::new(stream, bounds.write_stall_max));
            let connection = graceful.watch(builder(&bounds).serve_connection(io, service));
            tokio::spawn(async move {
                let _slot = slot;
                // Pinned, so that the connection is still there when it is told why it ends.
                let mut connection = pin!(connection);
                if let Err(error) = connection.as_mut().await {
                    tracing::trace!(%error, "connection ended");
                    if error.is_timeout() {
                        late.tell();
                    }
                }
            });
        }
    }
    drop(listener);
    if tokio::time::timeout(bounds().grace + LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the grace time ended");
    }
}

/// Runs are handed back when the grace time ends; this long the requests that waited for them have to hear of it.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Open connections.
#[derive(Debug, Default)]
struct Slots {
    open: AtomicUsize,
    closed: Notify,
}

/// One of them; it is free again when dropped.
struct Slot(Arc<Slots>);

impl Slots {
    /// Waits until fewer than `most()` connections are open, and opens one. Called by one task alone.
    async fn take(self: &Arc<Self>, most: impl Fn() -> usize) -> Slot {
        loop {
            let closed = self.closed.notified();
            if self.open.load(Ordering::SeqCst) < most().max(1) {
                self.open.fetch_add(1, Ordering::SeqCst);
                return Slot(Arc::clone(self));
            }
            closed.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.closed.notify_one();
    }
}

/// HTTP/1 only: sniffing the protocol would run before any of hyper's timers.
fn builder(bounds: &Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(bounds.head_bytes_max.max(HYPER_BUFFER_BYTES_MIN));
    builder
}

/// hyper refuses a smaller buffer.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;

/// The next connection; failures of accepting are waited out, never fatal.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are one write; waiting to merge it with another only delays it.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::trace!(%error, "no TCP_NODELAY");
                }
                return (stream, peer.ip());
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

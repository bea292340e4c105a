//! A request whose head begins and does not arrive in time is answered 408 before its connection closes: hyper only
//! closes it. A connection that stays silent is closed without a word.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::problem::Refusal;
use crate::clock::{Clock, SystemClock};
use crate::ids::RunId;

/// Tells a [`LateHead`] that its connection ends because a head did not arrive in time.
#[derive(Debug, Clone, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    /// hyper's timer for the head ran out.
    pub(super) fn tell(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A connection that knows whether a request has begun that was not answered yet.
pub(super) struct LateHead {
    stream: TcpStream,
    begun: bool,
    late: Late,
}

impl LateHead {
    pub(super) fn new(stream: TcpStream, late: Late) -> Self {
        Self { stream, begun: false, late }
    }
}

impl Drop for LateHead {
    fn drop(&mut self) {
        if self.begun && self.late.0.load(Ordering::SeqCst) {
            // A full send buffer means that the client does not read either: then it is only closed.
            let _unread = self.stream.try_write(answer().as_bytes());
        }
    }
}

fn answer() -> String {
    let request_id = RunId::new(SystemClock.now());
    let detail = "the request's head did not arrive within limits.header_timeout";
    let problem = Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail).document(request_id).to_string();
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\nx-request-id: {request_id}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{problem}",
        problem.len()
    )
}

impl AsyncRead for LateHead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.begun |= buf.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LateHead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.begun = false;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begun = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

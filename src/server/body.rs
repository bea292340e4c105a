//! Reading a request's body: a cap on its size and one deadline for all of it, whatever trickles in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::problem::Refusal;

/// Bytes of a refused body that are read and thrown away: most senders read the answer only after they have sent.
const DISCARD_BYTES_MAX: usize = 4 << 20;

/// How long a refused body is thrown away before the connection is closed on its sender.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// Reads the whole body: 413 over `bytes_max` (announced or chunked), 408 after `time_max`.
pub(super) async fn read(mut body: Incoming, bytes_max: usize, time_max: Duration) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > bytes_max as u64 {
        discard(&mut body).await;
        return Err(Refusal::body_too_large(bytes_max).closing());
    }
    match tokio::time::timeout(time_max, collect(&mut body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Stopped::TooLarge)) => {
            discard(&mut body).await;
            Err(Refusal::body_too_large(bytes_max).closing())
        }
        Ok(Err(Stopped::Broken)) => {
            let detail = "the body ended early or its framing is broken";
            Err(Refusal::new(StatusCode::BAD_REQUEST, "incomplete_body", detail).closing())
        }
        Err(_) => {
            let detail = format!("the body did not arrive within limits.body_timeout ({time_max:?})");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail).closing())
        }
    }
}

/// Reads on for a moment after a refusal, so that the answer is not lost in a reset connection.
pub(super) async fn discard(body: &mut Incoming) {
    let mut left = DISCARD_BYTES_MAX;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // Running out of time is as good an end as any: what follows is the answer and a closed connection.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, all).await;
}

enum Stopped {
    TooLarge,
    Broken,
}

/// The usual body comes in one frame, which is then not copied.
async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, Stopped> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Stopped::Broken)?.into_data() else { continue };
        if first.len().max(whole.len()) + data.len() > bytes_max {
            return Err(Stopped::TooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

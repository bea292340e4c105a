//! Refusals as RFC 9457 problem documents: a stable code, a request id, and no lead data.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::ids::RunId;
use crate::schema::BodyError;
use crate::triggers::request;

/// What every handler answers.
pub(super) type Reply = Response<Full<Bytes>>;

/// Names a request in answers and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the run that a request made.
pub(super) const RUN_ID: HeaderName = HeaderName::from_static("x-leadflow-run-id");

/// Why a request is refused: everything that its answer holds but the request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// One line for the sender, without lead data.
    pub(super) detail: Cow<'static, str>,
    pub(super) errors: Vec<BodyError>,
    /// Seconds after which another try makes sense.
    pub(super) retry_after_secs: Option<u32>,
    /// The methods of a 405.
    pub(super) allow: Option<String>,
    /// How a 401 wants to be asked.
    pub(super) challenge: Option<Challenge>,
    /// The run that goes on although its request is refused.
    pub(super) run_id: Option<RunId>,
    /// The rest of the request was not read, so the connection cannot go on.
    pub(super) close: bool,
}

/// The scheme that a 401 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Challenge {
    SignedUrl,
    Bearer,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_secs: None,
            allow: None,
            challenge: None,
            run_id: None,
            close: false,
        }
    }

    pub(super) fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    pub(super) fn run(mut self, run_id: RunId) -> Self {
        self.run_id = Some(run_id);
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// A wrong signature, an unknown flow and a disabled one: one answer, so that nobody can ask which flows exist.
    pub(super) fn unauthorized() -> Self {
        let detail = "no flow answers to this URL; check that it is complete, with its signature";
        Self { challenge: Some(Challenge::SignedUrl), ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail) }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "nothing answers at this path")
    }

    pub(super) fn method_not_allowed(allow: String) -> Self {
        let detail = "the method is not allowed here; the header allow names those that are";
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail) }
    }

    pub(super) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is larger than limits.body ({bytes_max} bytes)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// The problem document (RFC 9457).
    pub(super) fn document(&self, request_id: RunId) -> Value {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        });
        if !self.errors.is_empty() {
            problem["errors"] = json!(self.errors);
        }
        problem
    }

    /// The answer.
    pub(super) fn reply(self, request_id: RunId) -> Reply {
        let mut reply = json_reply(self.status, &self.document(request_id), request_id);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(secs) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        if let Some(allow) = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some(challenge) = self.challenge {
            let scheme = match challenge {
                Challenge::SignedUrl => "SignedUrl",
                Challenge::Bearer => "Bearer",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(run_id) = self.run_id {
            headers.insert(RUN_ID, id_value(run_id));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

impl From<request::Problem> for Refusal {
    fn from(problem: request::Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { errors: problem.errors, ..Self::new(status, problem.code, problem.message) }
    }
}

/// A JSON answer.
pub(super) fn json_reply(status: StatusCode, body: &Value, request_id: RunId) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body.to_string())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(REQUEST_ID, id_value(request_id));
    reply
}

/// An id as a header value.
pub(super) fn id_value(id: RunId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("a UUID is printable ASCII")
}

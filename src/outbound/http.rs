//! HTTP requests: credentials attached, private addresses refused where a value chose the host, answers capped.

/// A connection's way to HTTP.
#[derive(Debug)]
pub struct HttpTransport {}

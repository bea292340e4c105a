//! Mail: messages built injection-safe, sent by SMTP with a deadline round the whole send.

/// A connection's way to SMTP.
#[derive(Debug)]
pub struct SmtpTransport {}

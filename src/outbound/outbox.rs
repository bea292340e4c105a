//! The outbox: each mail an .eml file, one folder a day, one writer thread, one sync per group.

/// A folder of mails.
#[derive(Debug)]
pub struct Outbox {}

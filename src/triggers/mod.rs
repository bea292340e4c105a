//! Triggers: what turns a request into a run.

pub mod request;
pub mod signature;

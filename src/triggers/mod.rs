//! Triggers: what turns a request into a run.

mod json;
pub mod request;
pub mod signature;

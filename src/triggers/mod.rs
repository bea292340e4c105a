//! Triggers: what turns a request into a run.

mod form;
pub mod items;
mod json;
pub mod request;
pub mod signature;

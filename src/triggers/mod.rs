//! Triggers: what turns a request into a run.

mod form;
pub mod items;
pub mod request;
pub mod signature;

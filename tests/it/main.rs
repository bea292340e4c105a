//! The integration tests: one binary, one link.

mod smtp;
mod support;

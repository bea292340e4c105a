//! The integration tests: one binary, one link.

mod architecture;
mod crash;
mod drain;
mod support;
mod synced;

//! The integration tests: one binary, one link.

mod architecture;
mod cli;
mod crash;
mod drain;
mod readme;
mod support;
mod synced;

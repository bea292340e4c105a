//! The integration tests: one binary, one link.

mod architecture;
mod crash;
mod drain;
mod fault_sweep;
mod main_path;
mod support;
mod synced;

//! The integration tests: one binary, one link.

mod architecture;
mod cli;
mod crash;
mod drain;
mod fault_sweep;
mod faulty_flows;
mod held;
mod http_answers;
mod main_path;
mod properties;
mod readme;
mod reload;
mod reload_edits;
mod reload_model;
mod reload_pinned;
mod reload_settings;
mod smtp;
mod smtp_flow;
mod support;
mod synced;

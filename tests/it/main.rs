//! The integration tests: one binary, one link.

mod architecture;
mod blueprints;
mod calls;
mod cli;
mod crash;
mod data_actions;
mod drain;
mod fault_sweep;
mod faulty_flows;
mod held;
mod http_answers;
mod main_path;
mod properties;
mod readme;
mod reload;
mod smtp;
mod smtp_flow;
mod support;
mod synced;
mod trigger_answers;
mod trigger_concurrency;
mod trigger_dedupe;
mod trigger_requests;
mod trigger_split;
mod variables_crash;

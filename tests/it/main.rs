//! The integration tests: one binary, one link.

mod architecture;
mod blueprints;
mod calls;
mod cli;
mod constructs;
mod containers;
mod containers_again;
mod containers_shown;
mod containers_sweep;
mod crash;
mod data_actions;
mod drain;
mod fault_sweep;
mod faulty_flows;
mod held;
mod http_answers;
mod main_path;
#[path = "../counterparts/postgres.rs"]
#[allow(dead_code, reason = "each user of the counterpart needs another part of it")]
mod postgres;
mod properties;
mod readme;
mod records;
mod reload;
mod reload_edits;
mod reload_model;
mod reload_pinned;
mod reload_settings;
mod smtp;
mod smtp_flow;
mod sql;
mod store_care;
mod support;
mod synced;
mod trigger_answers;
mod trigger_concurrency;
mod trigger_dedupe;
mod trigger_requests;
mod trigger_split;
mod variables_crash;

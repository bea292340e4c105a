//! leadflow turns YAML files into running flows: every lead kept, delivered, and provable.
//!
//! The modules stand in the order in which a request lives. **Layer rule: a module imports only what
//! stands above it in this list** (`tests/it/architecture.rs` holds it).
//!
//! *Ground*: words that everything else speaks.
//! - [`diagnostic`]: a finding with place, code, message and fix; its renderers; the catalogue of codes.
//! - [`ids`]: run ids and idempotency keys. [`clock`]: the one place that reads the time.
//! - [`secret`]: text that prints `***`. [`units`]: durations, sizes and rates as users type them.
//!
//! *Language*: text in, data out; nothing here does I/O.
//! - [`yaml`]: YAML into JSON with a place for every node. [`template`]: Handlebars into our own typed
//!   expressions. [`schema`]: JSON Schemas for bodies: compile, fold, validate, look up.
//! - [`flow`]: the flow file: its declarations, the linter, the compiler, the plan.
//! - [`run`]: the state of a run and the two pure functions that change it.
//!
//! *World*: the only modules that touch disk and network on behalf of runs.
//! - [`store`]: the durable record of everything. [`outbound`]: effects, performed or recorded.
//!
//! *Extension*: what grows.
//! - [`connectors`]: one file a kind of system. [`actions`]: one file a leaf action.
//!   [`triggers`]: the request trigger and URL signatures.
//!
//! *Engine*: [`library`] loads flows and holds the live set; [`engine`] runs them.
//!
//! *Surfaces and top*: [`settings`] (`leadflow.yaml`), [`server`] (HTTP), [`telemetry`] (logs), [`app`]
//! (wires, starts, drains), [`cli`] (one file a command).

pub mod actions;
pub mod app;
pub mod cli;
pub mod clock;
pub mod connectors;
pub mod diagnostic;
pub mod engine;
pub mod flow;
pub mod ids;
pub mod library;
pub mod outbound;
pub mod run;
pub mod schema;
pub mod secret;
pub mod server;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod template;
pub mod triggers;
pub mod units;
pub mod yaml;

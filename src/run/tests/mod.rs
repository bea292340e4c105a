//! The status algebra: as a table over every status and every `run_after` list, and as random plans against a reference.

mod algebra;
mod model;
pub(crate) mod player;
pub(crate) mod reference;

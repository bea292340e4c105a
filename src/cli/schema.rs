//! `leadflow schema`: JSON Schemas for editors.

use super::args::SchemaOf;
use super::{Exit, output, usage};
use crate::{actions, flow, settings};

pub(super) fn run(of: SchemaOf) -> Exit {
    match of {
        SchemaOf::Flow => output::json(&flow::schema::editor_schema(&actions::catalogue())),
        SchemaOf::Settings => output::json(&settings::settings_schema()),
        SchemaOf::Connector => return usage::later("schema connector"),
        SchemaOf::Infer => return usage::later("schema infer"),
    }
    Exit::Fine
}

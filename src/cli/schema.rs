//! `leadflow schema`: JSON Schemas for editors.

use super::args::SchemaOf;
use super::{Exit, output, usage};
use crate::{actions, flow, settings};

pub(super) fn run(of: SchemaOf, samples: &[std::path::PathBuf]) -> anyhow::Result<Exit> {
    if let (SchemaOf::Flow | SchemaOf::Settings, Some(sample)) = (of, samples.first()) {
        anyhow::bail!("`schema flow` and `schema settings` take no file, this is {}", sample.display());
    }
    match of {
        SchemaOf::Flow => output::json(&flow::schema::editor_schema(&actions::catalogue())),
        SchemaOf::Settings => output::json(&settings::settings_schema()),
        SchemaOf::Connector => return Ok(usage::later("schema connector")),
        SchemaOf::Infer => return Ok(usage::later("schema infer")),
    }
    Ok(Exit::Fine)
}

//! `leadflow schema`: JSON Schemas for editors.

use super::args::SchemaOf;
use super::{Exit, output, usage};
use crate::{actions, connectors, flow, settings};

pub(super) fn run(of: SchemaOf, samples: &[std::path::PathBuf]) -> anyhow::Result<Exit> {
    if let (SchemaOf::Flow | SchemaOf::Settings | SchemaOf::Connector, Some(sample)) = (of, samples.first()) {
        anyhow::bail!(
            "`schema flow`, `schema settings` and `schema connector` take no file, this is {}",
            sample.display()
        );
    }
    match of {
        SchemaOf::Flow => output::json(&flow::schema::editor_schema(&actions::catalogue())),
        SchemaOf::Settings => output::json(&settings::settings_schema()),
        SchemaOf::Connector => output::json(&connectors::rest::editor_schema()),
        SchemaOf::Infer => return Ok(usage::later("schema infer")),
    }
    Ok(Exit::Fine)
}

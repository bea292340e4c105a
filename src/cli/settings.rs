//! `leadflow settings`: the settings that hold, each with its place; secrets as `***`.

use super::args::Global;
use super::{Exit, context, output};
use crate::diagnostic::has_errors;
use crate::settings::{self, Mode, print};

pub(super) fn run(global: &Global) -> anyhow::Result<Exit> {
    let loaded = settings::load(&context::options(global), Mode::Check)?;
    if let Some(origins) = &loaded.origins {
        let style = output::Style::stdout();
        let rows: Vec<Vec<String>> =
            print::rows(origins).into_iter().map(|row| vec![row.key, row.value, row.origin]).collect();
        output::answer(&output::table(&rows, "", |column, cell| match column {
            2 => style.dim(cell),
            _ => cell.to_owned(),
        }));
    }
    if !loaded.findings.is_empty() {
        context::show_findings(&loaded.findings, &loaded.texts);
    }
    Ok(if has_errors(&loaded.findings) { Exit::Bad } else { Exit::Fine })
}

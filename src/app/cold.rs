//! The first set of a life: what is good on disk, and the stored last good version of what is not.

use std::collections::HashMap;
use std::sync::Arc;

use super::reload::keep;
use crate::actions;
use crate::clock::Clock;
use crate::engine::compile_pinned;
use crate::library::load::{Folder, Loaded, Loader, Look, Sources};
use crate::library::reload::{self, Rules};
use crate::library::{FlowSet, LiveFlow, Standing, Version};
use crate::store::{LiveRow, Store};

/// Texts or rows in one transaction while nobody waits yet.
const ROWS_PER_COMMIT: usize = 1024;

/// Loads everything; the set, pinned and noted in the store, and the loader that knows it.
pub(super) async fn load(
    sources: Sources,
    rules: Rules,
    store: &dyn Store,
    clock: &dyn Clock,
) -> anyhow::Result<(FlowSet, Loader)> {
    let looked = tokio::task::spawn_blocking(move || {
        let mut loader = Loader::default();
        (loader.look(&sources, &Look::once()), loader)
    });
    let (looked, live) = tokio::join!(looked, store.live());
    let ((folder, loader), live) = (looked?, live?);
    let now = clock.now();
    let previous = reload::remembered(versions(&live.rows, &folder, store).await?, live.generation, now);
    let decision = reload::plan(&previous, &folder, &[], now, rules);
    let is_new = decision.report.changes_flows() || live.generation == 0;
    let generation = live.generation + u64::from(is_new);
    let set = keep(store, decision, &previous, generation, now, ROWS_PER_COMMIT).await?;
    tell(&set);
    Ok((set, loader))
}

/// The stored last good versions, as far as somebody may need them. Of a file that is good on disk, and whose names
/// nobody else wants, the old version is never asked for.
async fn versions(rows: &[LiveRow], folder: &Folder, store: &dyn Store) -> anyhow::Result<Vec<(String, Version)>> {
    let on_disk: HashMap<&str, &Loaded> = folder.files.iter().map(|file| (&*file.file, &**file)).collect();
    let mut claimed: HashMap<&str, usize> = HashMap::new();
    for claim in folder.files.iter().flat_map(|file| &file.claims) {
        *claimed.entry(&claim.word).or_default() += 1;
    }
    let catalogue = actions::catalogue();
    let mut versions = Vec::new();
    for row in rows {
        let flow = on_disk.get(&*row.file).and_then(|loaded| Some((loaded, loaded.flow.as_ref()?)));
        let is_contested = |loaded: &Loaded| loaded.claims.iter().any(|claim| claimed[&*claim.word] > 1);
        let flow = match flow {
            Some((_, flow)) if flow.digest == row.digest => Arc::clone(flow),
            Some((loaded, _)) if !is_contested(loaded) && loaded.name == row.flow => continue,
            _ => {
                let Some(text) = store.text(row.text_id).await? else { continue };
                match compile_pinned(&text.bundle, &catalogue) {
                    Ok(flow) => Arc::new(flow),
                    Err(why) => {
                        tracing::error!(file = %row.file, why, "this version cannot read the flow's last good text");
                        continue;
                    }
                }
            }
        };
        let live = Arc::new(LiveFlow { flow, text_id: row.text_id });
        let version = Version { live, generation: row.generation, loaded_at: row.loaded_at };
        versions.push((row.file.clone(), version));
    }
    Ok(versions)
}

fn tell(set: &FlowSet) {
    for notice in &set.notices {
        let finding = &notice.finding;
        tracing::warn!(file = %finding.place.file, code = finding.code, "{}", finding.message);
    }
    for state in set.unresolved() {
        let Some(finding) = state.error().or_else(|| state.findings.first()) else { continue };
        let (file, line, code, message) = (&finding.place.file, finding.place.line, finding.code, &finding.message);
        match state.standing {
            Standing::Off => tracing::error!(%file, line, code, flow = %state.name, "flow is off: {message}"),
            _ => tracing::error!(%file, line, code, flow = %state.name, "flow serves its last good version: {message}"),
        }
    }
}

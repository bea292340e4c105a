//! What commands do without a server of their own: dry runs, resubmits.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::connect;
use crate::actions;
use crate::clock::{Clock, SystemClock};
use crate::engine::compile_pinned;
use crate::engine::dry::{self, DryInput, DryRun};
use crate::engine::ports::{Mocks, Sight};
use crate::engine::resubmit::{self as again, ResubmitError, Text};
use crate::flow::Flow;
use crate::ids::RunId;
use crate::library::{FlowSet, Library, load};
use crate::outbound::Effects;
use crate::outbound::recorded::Recorded;
use crate::settings::Settings;
use crate::store::{Arrival, FlowText, NewRun, RejectedRow, Store, StoredRun, TextId};
use crate::triggers::request::Problem;

/// Which text a resubmit runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The flow as it is on disk now; the original when the flow is gone.
    Current,
    /// The text that the run is pinned to.
    Original,
}

/// Runs `lead` through `flow` without a trace; the dry run and what it would have sent.
pub async fn dry_run(
    settings: &Settings,
    flow: Arc<Flow>,
    lead: Vec<u8>,
    mocks: Mocks,
) -> anyhow::Result<(DryRun, Vec<Value>)> {
    let recorded = Arc::new(Recorded::new());
    let effects: Arc<dyn Effects> = Arc::clone(&recorded) as Arc<dyn Effects>;
    let library = Library::default();
    library.swap(FlowSet::unpinned(
        load::load(&settings.sources()).files.into_iter().filter_map(|file| file.flow.clone()),
    ));
    let dry = dry::dry_run(DryInput {
        flow,
        library: Arc::new(library),
        connections: connect::connections(settings)?,
        effects,
        lead,
        mocks,
        environment: settings.environment.clone(),
        limits: connect::limits(settings),
    })
    .await;
    Ok((dry, recorded.effects_json()))
}

/// Makes a new run of an ended one, from the start or from `action`; a running server takes it at once. Several runs
/// where the flow splits a request that it did not split before.
pub async fn resubmit(
    store: &dyn Store,
    settings: &Settings,
    run: RunId,
    action: Option<&str>,
    origin: Origin,
) -> anyhow::Result<Vec<RunId>> {
    let stored = store.run(run).await?.with_context(|| format!("there is no run {run}"))?;
    let pinned = pinned(store, &stored).await;
    let current = match origin {
        Origin::Current => current(store, settings, &stored.run.flow).await?,
        Origin::Original => None,
    };
    let now = SystemClock.now();
    let (flow, id) = match (&current, &pinned) {
        (Some((flow, id)), _) => (&**flow, *id),
        (None, Ok(flow)) => (flow, stored.run.text_id),
        (None, Err(why)) => bail!("the run's flow text cannot be read ({why}) and no flow of that name is on disk"),
    };
    let text = Text { flow, id };
    let (environment, limits) = (environment(settings), connect::limits(settings).template);
    let new = match action {
        None => again::from_start(&stored, text, Sight { environment: &environment, limits }, now)?,
        Some(action) => {
            let origin_flow =
                pinned.as_ref().map_err(|why| anyhow::anyhow!("the run's flow text cannot be read: {why}"))?;
            vec![again::from_action(&stored, origin_flow, text, action, now)?]
        }
    };
    let runs = keep(store, new).await?;
    if !stored.run.status.is_final() {
        // It is held because nobody knew whether an action was done: now somebody has decided, and the new run goes on.
        store.request_cancel(run, now).await?;
    }
    Ok(runs)
}

/// Makes the runs of a refused request, on the flow as it is on disk now. The inner error: it is refused again.
pub async fn resubmit_rejected(
    store: &dyn Store,
    settings: &Settings,
    row: RejectedRow,
) -> anyhow::Result<Result<Vec<RunId>, Problem>> {
    if let Some(run) = row.resubmitted_as {
        bail!(
            "this request was resubmitted already, as run {run}; to repeat it: leadflow runs resubmit {}",
            run.short()
        );
    }
    let Some((flow, id)) = current(store, settings, &row.flow).await? else {
        bail!("there is no flow `{}` on disk; a refused request needs one to run on", row.flow);
    };
    let environment = environment(settings);
    let sight = Sight { environment: &environment, limits: connect::limits(settings).template };
    let text = Text { flow: &flow, id };
    match again::from_rejected(&row, text, &settings.limits.body, sight, SystemClock.now()) {
        Ok(new) => {
            let runs = keep(store, new).await?;
            if let Some(first) = runs.first() {
                store.mark_resubmitted(row.id, *first).await?;
            }
            Ok(Ok(runs))
        }
        Err(ResubmitError::Refused(problem)) => Ok(Err(problem)),
        Err(error) => Err(error.into()),
    }
}

/// Stores all of them or none. A resubmit is never taken for a duplicate.
async fn keep(store: &dyn Store, new: Vec<NewRun>) -> anyhow::Result<Vec<RunId>> {
    let runs = new.iter().map(|new| new.run.run_id).collect();
    let arrivals = new.into_iter().map(|new| Arrival { new, dedupe: None, gate: None }).collect();
    store.take_in(arrivals).await?;
    Ok(runs)
}

fn environment(settings: &Settings) -> Value {
    settings.environment.clone().map_or(Value::Null, Value::String)
}

/// The flow that the run is pinned to.
async fn pinned(store: &dyn Store, stored: &StoredRun) -> Result<Flow, String> {
    let text = store.text(stored.run.text_id).await.map_err(|error| error.to_string())?;
    let text = text.ok_or("it is not in the store")?;
    compile_pinned(&text.bundle, &actions::catalogue())
}

/// The flow of that name on disk, pinned in the store. A flow that does not check is an error: somebody means to fix it.
async fn current(store: &dyn Store, settings: &Settings, name: &str) -> anyhow::Result<Option<(Arc<Flow>, TextId)>> {
    let folder = load::load(&settings.sources());
    let Some(loaded) = folder.files.into_iter().find(|file| file.name == name) else { return Ok(None) };
    let Some(flow) = loaded.flow.clone() else {
        bail!("flow `{name}` ({}) does not check; fix it (leadflow check) or use --text original", loaded.file);
    };
    let bundle = serde_json::to_string(&flow.bundle)?;
    let text = FlowText { digest: flow.digest.clone(), flow: flow.name.clone(), bundle };
    let id = store.pin_text(text, SystemClock.now()).await?;
    Ok(Some((flow, id)))
}

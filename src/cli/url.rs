//! `leadflow url`: the complete URL of a flow, and nothing else, so that it can be pasted or piped.

use std::fmt::Write as _;
use std::sync::Arc;

use super::args::{self, Global};
use super::{Exit, context, output};
use crate::app;
use crate::clock::{self, Clock, SystemClock};
use crate::flow::{Authentication, Flow};
use crate::server::KeyRing;
use crate::settings::Settings;
use crate::store::sqlite::lock::DataLock;

pub(super) fn run(global: &Global, args: &args::Url) -> anyhow::Result<Exit> {
    let settings =
        context::settings(global, &["/data", "/store/url", "/signing_key", "/public_url", "/public/listen"])?;
    let base = args.base.clone().unwrap_or_else(|| base_url(&settings));
    let expires_at = args.expires.map(|after| SystemClock.now().saturating_add(clock::micros(after)));
    let slot = args.rotate.unwrap_or(args.slot).as_str();
    let targets = targets(&settings, args)?;
    let unsigned = |flow: &Flow| flow.trigger.authentication == Authentication::None;
    if args.rotate.is_some() && targets.iter().any(|(_, flow)| unsigned(flow)) {
        anyhow::bail!("this flow has `authentication: none`: there is no key to rotate");
    }
    let keys =
        if targets.iter().all(|(_, flow)| unsigned(flow)) { None } else { Some(keys(&settings, args, &targets)?) };
    let mut text = String::new();
    for (name, flow) in &targets {
        let query = keys.as_ref().map(|keys| keys.url_query(name, slot, expires_at)).unwrap_or_default();
        let url = app::flow_url(&base, flow, name, &query);
        let name = if args.all { format!("{name}  ") } else { String::new() };
        let _ = writeln!(text, "{name}{url}");
    }
    output::answer(&text);
    Ok(Exit::Fine)
}

/// What URLs start with: as the running server says, whose flags may differ from the file; else as the settings say.
fn base_url(settings: &Settings) -> String {
    let running = || DataLock::read(&settings.data)?.get("base_url")?.as_str().map(str::to_owned);
    settings.public_url.clone().or_else(running).unwrap_or_else(|| settings.base_url())
}

/// The names whose URLs are wanted, each with its flow.
fn targets(settings: &Settings, args: &args::Url) -> anyhow::Result<Vec<(String, Arc<Flow>)>> {
    let mut flows: Vec<Arc<Flow>> =
        context::folder(settings).files.into_iter().filter_map(|loaded| loaded.flow.clone()).collect();
    let Some(asked) = &args.flow else {
        return Ok(flows.into_iter().filter(|flow| flow.enabled).map(|flow| (flow.name.clone(), flow)).collect());
    };
    if let Some(at) = flows.iter().position(|flow| flow.name == *asked || flow.aliases.contains(asked)) {
        return Ok(vec![(asked.clone(), flows.swap_remove(at))]);
    }
    // A file, or a flow with errors: the loader says which.
    let loaded = context::one_flow(settings, asked)?;
    let flow = loaded.flow.clone().ok_or_else(|| anyhow::anyhow!("`{asked}` does not load"))?;
    Ok(vec![(flow.name.clone(), flow)])
}

fn keys(settings: &Settings, args: &args::Url, targets: &[(String, Arc<Flow>)]) -> anyhow::Result<KeyRing> {
    let store = match args.rotate {
        Some(_) => context::store_to_write(settings)?,
        None => context::store_to_read(settings)?,
    };
    context::block_on(async {
        if let Some(slot) = args.rotate {
            for (name, _) in targets {
                store.rotate_key(name, slot.as_str(), SystemClock.now()).await?;
            }
        }
        anyhow::Ok(KeyRing::load(store.as_ref(), settings.signing_key.clone()).await?)
    })?
}

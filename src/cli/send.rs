//! `leadflow send`: posts a lead for real to the running server, as the marketplace would, and shows the run.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::args::{self, Global};
use super::{Exit, beside, context, output, show};
use crate::app;
use crate::clock::{self, Clock, SystemClock};
use crate::flow::{Authentication, Flow};
use crate::ids::RunId;
use crate::outbound::http::{HttpClientSettings, HttpTransport};
use crate::outbound::{HttpBody, HttpReply, HttpRequest, Reply};
use crate::server::KeyRing;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::sqlite::lock::DataLock;

/// How long `--wait` waits for the run to end.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the run.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// For the server's answer: longer than `limits.respond_wait` is by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);

pub(super) fn run(global: &Global, args: &args::Send) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &["/data", "/store/url", "/signing_key"])?;
    let loaded = context::one_flow(&settings, &args.flow)?;
    let Some(flow) = loaded.flow.clone() else { anyhow::bail!("`{}` does not load", args.flow) };
    let lead = String::from_utf8(context::read_lead(&args.lead)?)
        .map_err(|_| anyhow::anyhow!("{} is not UTF-8 text", args.lead.display()))?;
    let store = context::store_to_read(&settings)?;
    context::block_on(async {
        let target = target(&settings, store.as_ref(), &flow).await?;
        let reply = post(&flow, target, lead).await?;
        output::answer(&format!("{} {}\n", reply.status, shown(&reply.body)));
        let run = reply.body.get("run_id").and_then(Value::as_str).and_then(|id| id.parse::<RunId>().ok());
        let accepted = (200..300).contains(&reply.status);
        match run {
            Some(run) if accepted => {
                for run in all_of(&reply.body).into_iter().chain([run]).filter(|_| args.wait) {
                    wait(store.as_ref(), run).await?;
                }
                let exit = show::run(&settings, store.as_ref(), run, false).await?;
                if let Some(runs) = reply.body.get("runs") {
                    output::answer(&format!(
                        "the first of {runs} runs; all: leadflow runs list --flow {}\n",
                        flow.name
                    ));
                }
                Ok(exit)
            }
            _ if accepted => Ok(Exit::Fine),
            _ => Ok(Exit::Bad),
        }
    })?
}

/// The runs that the answer names, where the request was split.
fn all_of(body: &Value) -> Vec<RunId> {
    let ids = body.get("run_ids").and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// The flow's complete URL at the address where the server listens.
async fn target(settings: &Settings, store: &dyn Store, flow: &Flow) -> anyhow::Result<String> {
    if let Some(path) = &flow.trigger.path {
        anyhow::bail!(
            "flow `{}` has the path `{}`, which `send` cannot fill in: use curl and `leadflow url`",
            flow.name,
            path.source
        );
    }
    let holder = DataLock::read(&settings.data).and_then(|holder| holder.get("public")?.as_str()?.parse().ok());
    let Some(address) = holder else {
        anyhow::bail!("no server runs on {}: start `leadflow serve` first", settings.data.display());
    };
    let query = match flow.trigger.authentication {
        Authentication::None => String::new(),
        Authentication::SignedUrl => {
            KeyRing::load(store, settings.signing_key.clone()).await?.url_query(&flow.name, "primary", None)
        }
    };
    Ok(app::flow_url(&format!("http://{}", beside::reachable(address)), flow, &flow.name, &query))
}

async fn post(flow: &Flow, url: String, lead: String) -> anyhow::Result<HttpReply> {
    let transport = HttpTransport::anonymous(&HttpClientSettings::default()).map_err(anyhow::Error::msg)?;
    let method = flow.trigger.methods.first().cloned().unwrap_or_else(|| "POST".to_owned());
    let bodiless = matches!(method.as_str(), "GET" | "HEAD");
    let request = HttpRequest {
        method,
        url,
        query: Vec::new(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: (!bodiless).then_some(HttpBody::Text(lead)),
        url_from_value: false,
    };
    match transport.send(&request, ANSWER_TIMEOUT).await {
        Reply::Http(reply) => Ok(reply),
        Reply::Failed(failure) => anyhow::bail!("the server does not answer: {}", failure.message),
        _ => anyhow::bail!("the server's answer is no HTTP"),
    }
}

fn shown(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn wait(store: &dyn Store, run: RunId) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let end = clock.now().saturating_add(clock::micros(WAIT_MAX));
    loop {
        if store.run(run).await?.is_some_and(|stored| stored.run.status.is_final()) {
            return Ok(());
        }
        let now = clock.now();
        if now >= end {
            output::note("the run goes on; this is how it stands now");
            return Ok(());
        }
        clock.sleep_until(now.saturating_add(clock::micros(LOOK_INTERVAL))).await;
    }
}

//! `leadflow connections`: how each connection stands, what it said last, and how many runs wait for it.

use super::args::{Connections, Global};
use super::{Exit, context, output};
use crate::clock::{Clock, Micros, SystemClock, human};
use crate::server::connections::{self, Listed};
use crate::settings::Settings;

/// Characters of the last error's message in the table; `--json` has all of it.
const MESSAGE_CHARS_MAX: usize = 100;

pub(super) fn run(global: &Global, args: &Connections) -> anyhow::Result<Exit> {
    let settings = context::settings(global, &["/data", "/connections"])?;
    let now = SystemClock.now();
    let listed = listed(&settings)?;
    if args.json {
        output::json(&connections::connections_json(&listed, now));
    } else {
        output::answer(&table(&listed, now));
    }
    Ok(Exit::Fine)
}

/// The connections of the settings; before the first start nothing is known of them.
fn listed(settings: &Settings) -> anyhow::Result<Vec<Listed>> {
    let named = settings.named_connections();
    if !settings.database().exists() {
        return Ok(connections::listed(&named, &[], &[]));
    }
    let store = context::store_to_read(settings)?;
    let (states, waiting) =
        context::block_on(async { anyhow::Ok((store.connections().await?, store.waiting_runs().await?)) })??;
    Ok(connections::listed(&named, &states, &waiting))
}

fn table(listed: &[Listed], now: Micros) -> String {
    if listed.is_empty() {
        return "no connections: leadflow.yaml has none\n".into();
    }
    let style = output::Style::stdout();
    let heads = ["connection", "type", "state", "waiting", "last success", "last error"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for one in listed {
        let state = one.state.as_ref();
        let error = state.and_then(|state| state.last_error.as_ref()).map(|(at, said)| {
            let message = output::one_line(&said.message, MESSAGE_CHARS_MAX);
            format!("{} {} {message}", human(*at), said.code)
        });
        rows.push(vec![
            one.name.clone(),
            one.kind.clone(),
            state.and_then(|state| connections::reason(state, now)).unwrap_or_else(|| "ok".into()),
            one.waiting.to_string(),
            state.and_then(|state| state.last_ok_at).map_or_else(|| "-".into(), human),
            error.unwrap_or_else(|| "-".into()),
        ]);
    }
    output::table(&rows, "", |column, cell| if column == 2 { style.status(cell) } else { cell.to_owned() })
}

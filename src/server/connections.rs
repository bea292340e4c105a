//! How connections stand, for people and monitors: one shape for the command line, the admin listener and its metrics.

use serde_json::{Value, json};

use crate::clock::{Micros, human, rfc3339};
use crate::store::{BlockKind, Condition, ConnectionState, RunRow};

/// A connection of the settings with what the store knows of it.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What is known of it under the settings that were seen last; `None`: no server has opened it yet.
    pub state: Option<ConnectionState>,
    /// Runs that wait in its lane.
    pub waiting: u64,
}

/// The connections `named` (name and type), each with its row of `states` and what waits in its lane.
pub fn listed(named: &[(String, String)], states: &[ConnectionState], waiting: &[(String, u64)]) -> Vec<Listed> {
    let one = |(name, kind): &(String, String)| Listed {
        name: name.clone(),
        kind: kind.clone(),
        state: of(states, name).cloned(),
        waiting: waiting.iter().find(|(lane, _)| lane == name).map_or(0, |(_, runs)| *runs),
    };
    named.iter().map(one).collect()
}

/// The row of the settings that hold: the store lists them first.
fn of<'a>(states: &'a [ConnectionState], name: &str) -> Option<&'a ConnectionState> {
    states.iter().find(|state| state.connection == name)
}

/// `[{name, type, state, since, until, code, failures, waiting_runs, last_success_at, last_error}]`; `state` is `ok`,
/// `throttled` (until `until`), `open` (it does not answer; the next probe is at `until`) or `held` (its credentials are
/// refused; likewise).
pub fn connections_json(listed: &[Listed], now: Micros) -> Value {
    listed.iter().map(|one| connection_json(one, now)).collect()
}

fn connection_json(one: &Listed, now: Micros) -> Value {
    let state = one.state.as_ref();
    let standing = Standing::of(state, now);
    let error = state.and_then(|state| state.last_error.as_ref());
    json!({
        "name": one.name,
        "type": one.kind,
        "state": standing.word,
        "since": standing.since.map(rfc3339),
        "until": standing.until.map(rfc3339),
        "code": standing.code,
        "failures": state.map_or(0, |state| state.failures),
        "waiting_runs": one.waiting,
        "last_success_at": state.and_then(|state| state.last_ok_at).map(rfc3339),
        "last_error": error.map(|(at, said)| json!({"at": rfc3339(*at), "code": said.code, "message": said.message})),
    })
}

/// How a connection stands, in the words of `state`.
pub(super) struct Standing<'a> {
    /// `ok`, `throttled`, `open` or `held`.
    pub(super) word: &'static str,
    since: Option<Micros>,
    until: Option<Micros>,
    code: Option<&'a str>,
}

impl<'a> Standing<'a> {
    pub(super) fn of(state: Option<&'a ConnectionState>, now: Micros) -> Self {
        match state.map_or(Condition::Well, |state| state.condition(now)) {
            Condition::Well => Self { word: "ok", since: None, until: None, code: None },
            Condition::Throttled(until) => {
                let said = state.and_then(|state| state.last_error.as_ref()).map(|(_, said)| said.code.as_str());
                Self { word: "throttled", since: None, until: Some(until), code: said }
            }
            Condition::Blocked(block) => Self {
                word: block.kind.as_str(),
                since: Some(block.since),
                until: Some(block.next_probe_at),
                code: Some(&block.code),
            },
        }
    }
}

/// Why nobody but probes gets through, in words behind the connection's name; `None`: everybody does.
pub fn reason(state: &ConnectionState, now: Micros) -> Option<String> {
    match state.condition(now) {
        Condition::Well => None,
        Condition::Throttled(until) => Some(format!("throttled until {}", human(until))),
        Condition::Blocked(block) => {
            let (code, since, next) = (&block.code, human(block.since), human(block.next_probe_at.max(now)));
            Some(match block.kind {
                BlockKind::Open => format!("does not answer ({code}) since {since}, next probe {next}"),
                BlockKind::Held => format!("held: credentials refused ({code}) since {since}, next probe {next}"),
            })
        }
    }
}

/// The connection that keeps a run waiting, if one does.
fn keeping<'a>(run: &RunRow, states: &'a [ConnectionState], now: Micros) -> Option<&'a ConnectionState> {
    let waits = !run.status.is_final() && run.owner.is_none() && !run.lane.is_empty();
    of(states, &run.lane).filter(|state| waits && state.condition(now) != Condition::Well)
}

/// Why a run waits, in words: `crm throttled until …`.
pub fn waiting_text(run: &RunRow, states: &[ConnectionState], now: Micros) -> Option<String> {
    let state = keeping(run, states, now)?;
    Some(format!("{} {}", state.connection, reason(state, now)?))
}

/// `{connection, state, since, until, code}` of the connection that keeps a run waiting; null when none does.
pub fn waiting_json(run: &RunRow, states: &[ConnectionState], now: Micros) -> Value {
    let Some(state) = keeping(run, states, now) else { return Value::Null };
    let Standing { word, since, until, code } = Standing::of(Some(state), now);
    json!({
        "connection": state.connection, "state": word, "since": since.map(rfc3339), "until": until.map(rfc3339),
        "code": code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunId;
    use crate::run::{RunStatus, TriggerData};
    use crate::store::{Said, Word};

    const NOW: Micros = 1_700_000_000_000_000;

    fn state(word: &Word) -> ConnectionState {
        let mut state = ConnectionState::new("crm", "d");
        state.note(NOW, word);
        state
    }

    fn said(code: &str) -> Said {
        Said { code: code.into(), message: "no".into() }
    }

    #[test]
    fn a_run_says_for_which_connection_it_waits_and_why() {
        let mut run = RunRow::queued(RunId::new(NOW), "a".into(), 1, NOW, TriggerData::default());
        run.lane = "crm".into();
        let held = [state(&Word::Credentials { said: said("http_401"), probe: false })];
        let want =
            "crm held: credentials refused (http_401) since 2023-11-14 22:13:20Z, next probe 2023-11-14 22:13:50Z";
        assert_eq!(waiting_text(&run, &held, NOW).as_deref(), Some(want));
        let throttled = [state(&Word::Throttled { said: said("http_429"), wait: Some(3_000_000) })];
        assert_eq!(
            waiting_json(&run, &throttled, NOW),
            json!({"connection": "crm", "state": "throttled", "since": null, "until": "2023-11-14T22:13:23.000Z",
                   "code": "http_429"})
        );
        assert_eq!(waiting_json(&run, &throttled, NOW + 3_000_000), Value::Null, "the pause is over");
        for other in [
            RunRow { lane: "mail".into(), ..run.clone() },
            RunRow { owner: Some("me".into()), ..run.clone() },
            RunRow { status: RunStatus::Failed, ..run.clone() },
        ] {
            assert_eq!(waiting_text(&other, &held, NOW), None);
        }
    }

    #[test]
    fn the_list_has_every_connection_of_the_settings() {
        let named = [("crm".to_owned(), "http".to_owned()), ("mail".to_owned(), "outbox".to_owned())];
        let mut down = ConnectionState::new("crm", "d");
        for _ in 0..5 {
            down.note(NOW, &Word::Down { said: said("http_503"), probe: false });
        }
        let shown = connections_json(&listed(&named, &[down], &[("crm".to_owned(), 7)]), NOW);
        assert_eq!(shown[0]["state"], "open");
        assert_eq!((shown[0]["waiting_runs"].as_u64(), shown[0]["failures"].as_u64()), (Some(7), Some(5)));
        assert_eq!(shown[0]["last_error"]["code"], "http_503");
        assert_eq!((shown[1]["state"].as_str(), &shown[1]["last_success_at"]), (Some("ok"), &Value::Null));
    }
}

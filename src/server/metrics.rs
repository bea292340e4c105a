//! Counters of the server and their Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::connections::{Listed, Standing};
use crate::clock::{MICROS_PER_SEC, Micros};
use crate::engine::lease::{LeaseReport, LeaseState};
use crate::library::{Library, Outcome};
use crate::run::RunStatus;
use crate::store::{LaneState, gated_flow};

/// Answers are counted by status: 100 to 599.
const STATUS_MIN: u16 = 100;
const STATUS_COUNT: usize = 500;

/// What the public listener counts.
#[derive(Debug)]
pub(super) struct Metrics {
    answers: [AtomicU64; STATUS_COUNT],
    rejected: AtomicU64,
    aliases: Mutex<BTreeMap<String, u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answers: [const { AtomicU64::new(0) }; STATUS_COUNT],
            rejected: AtomicU64::new(0),
            aliases: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts an answer of the public listener.
    pub(super) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status.saturating_sub(STATUS_MIN))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that went to the rejected inbox.
    pub(super) fn kept_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a hit of an old name; `true` for the first one since the start.
    pub(super) fn alias_hit(&self, alias: &str) -> bool {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = aliases.get_mut(alias) {
            *count += 1;
            return false;
        }
        aliases.insert(alias.to_owned(), 1);
        true
    }

    /// The text of `/metrics`.
    pub(super) fn render(&self, library: &Library, counted: &Counted, now: Micros) -> String {
        let Counted { runs, lanes, connections, lease } = counted;
        let mut page = Page::default();
        page.family("leadflow_build_info", "gauge", "The version that runs.");
        page.sample("leadflow_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.family("leadflow_requests_total", "counter", "Answers of the public listener by HTTP status.");
        for (at, count) in self.answers.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                page.sample(
                    "leadflow_requests_total",
                    &[("answer", &(at + usize::from(STATUS_MIN)).to_string())],
                    count,
                );
            }
        }
        page.family("leadflow_rejected_requests_total", "counter", "Requests kept in the rejected inbox.");
        page.sample("leadflow_rejected_requests_total", &[], self.rejected.load(Ordering::Relaxed));
        page.family("leadflow_alias_requests_total", "counter", "Requests to a flow's old name.");
        for (alias, count) in self.aliases.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.sample("leadflow_alias_requests_total", &[("alias", alias)], *count);
        }
        page.family("leadflow_runs", "gauge", "Runs in the store by status.");
        for status in RunStatus::ALL {
            let count = runs.iter().find(|(found, _)| *found == status).map_or(0, |(_, count)| *count);
            page.sample("leadflow_runs", &[("status", status.as_str())], count);
        }
        page.family("leadflow_active_runs", "gauge", "Runs that have not ended.");
        let active = runs.iter().filter(|(status, _)| !status.is_final()).map(|(_, count)| count).sum();
        page.sample("leadflow_active_runs", &[], active);
        page.family("leadflow_due_runs", "gauge", "Runs that could start now and wait for a slot, by connection.");
        for lane in lanes.iter().filter(|lane| gated_flow(&lane.lane).is_none()) {
            page.sample("leadflow_due_runs", &[("connection", &lane.lane)], lane.due);
        }
        page.family("leadflow_gate_waiting_runs", "gauge", "Runs that wait for `concurrency` of their flow.");
        for (lane, flow) in lanes.iter().filter_map(|lane| Some((lane, gated_flow(&lane.lane)?))) {
            page.sample("leadflow_gate_waiting_runs", &[("flow", flow)], lane.due);
        }
        page.connections(connections, now);
        page.lease(lease);
        page.library(library, now);
        page.0
    }
}

/// What the store counts.
pub(super) struct Counted {
    /// Runs by status.
    pub(super) runs: Vec<(RunStatus, u64)>,
    /// What is due, by lane.
    pub(super) lanes: Vec<LaneState>,
    /// How the connections stand.
    pub(super) connections: Vec<Listed>,
    /// How this node's lease stands.
    pub(super) lease: LeaseReport,
}

/// The words for how a connection stands.
const STATES: [&str; 4] = ["ok", "throttled", "open", "held"];

#[derive(Default)]
struct Page(String);

impl Page {
    /// How connections stand, what waits for them, and how often they were in trouble.
    fn connections(&mut self, connections: &[Listed], now: Micros) {
        self.family("leadflow_connection_state", "gauge", "1 for the state in which a connection is.");
        for one in connections {
            let word = Standing::of(one.state.as_ref(), now).word;
            for state in STATES {
                let labels = [("connection", one.name.as_str()), ("state", state)];
                self.sample("leadflow_connection_state", &labels, u64::from(word == state));
            }
        }
        self.family("leadflow_connection_waiting_runs", "gauge", "Runs that wait in the lane of a connection.");
        for one in connections {
            self.sample("leadflow_connection_waiting_runs", &[("connection", &one.name)], one.waiting);
        }
        let turns = "leadflow_connection_transitions_total";
        self.family(turns, "counter", "How often a connection went into a state of trouble.");
        for one in connections {
            let times = one.state.as_ref().map(|state| state.times).unwrap_or_default();
            for (state, count) in [("throttled", times.throttled), ("open", times.opened), ("held", times.held)] {
                self.sample(turns, &[("connection", &one.name), ("state", state)], count);
            }
        }
        let last = "leadflow_connection_last_success_seconds";
        self.family(last, "gauge", "When a connection last worked, in seconds since 1970; absent: never.");
        for one in connections {
            if let Some(at) = one.state.as_ref().and_then(|state| state.last_ok_at) {
                self.sample(last, &[("connection", &one.name)], (at / MICROS_PER_SEC).unsigned_abs());
            }
        }
    }

    /// Whether this node may work.
    fn lease(&mut self, lease: &LeaseReport) {
        self.family("leadflow_lease", "gauge", "How the lease of this node stands: 1 for the state that it is in.");
        for state in LeaseState::ALL {
            self.sample("leadflow_lease", &[("state", state.as_str())], u64::from(state == lease.state));
        }
        self.family("leadflow_leases_lost_total", "counter", "Leases that this node lost: its runs went to others.");
        self.sample("leadflow_leases_lost_total", &[], lease.lost);
    }

    /// What is live, and how reloads went.
    fn library(&mut self, library: &Library, now: Micros) {
        let set = library.live();
        self.family("leadflow_generation", "gauge", "Counts the sets of flows and settings that were live.");
        self.sample("leadflow_generation", &[], set.generation);
        self.family("leadflow_flows", "gauge", "Flows by state.");
        self.sample("leadflow_flows", &[("state", "live")], set.flows.len() as u64);
        self.sample("leadflow_flows", &[("state", "off")], set.off.len() as u64);
        self.family("leadflow_reload_total", "counter", "Reloads by what they came to.");
        for outcome in Outcome::ALL {
            self.sample("leadflow_reload_total", &[("outcome", outcome.as_str())], library.counters().of(outcome));
        }
        self.family("leadflow_reload_kept_back_files", "gauge", "Flow files whose content on disk is not live.");
        self.sample("leadflow_reload_kept_back_files", &[], set.unresolved().count() as u64);
        let oldest = "leadflow_reload_oldest_finding_age_seconds";
        self.family(oldest, "gauge", "Age of the oldest finding that keeps what is on disk from being live; 0: none.");
        let age = set.oldest_finding().map_or(0, |since| now.saturating_sub(since).max(0) / MICROS_PER_SEC);
        self.sample(oldest, &[], age as u64);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostic, Place};
    use crate::library::{FlowSet, Notice};
    use crate::store::{ConnectionState, Said, Word};

    #[test]
    fn the_page_has_a_line_for_everything_counted() {
        let metrics = Metrics::default();
        metrics.answered(202);
        metrics.answered(202);
        metrics.answered(599);
        metrics.answered(600);
        metrics.answered(0);
        assert!(metrics.alias_hit("old"));
        assert!(!metrics.alias_hit("old"));
        let lane = LaneState { lane: "c\"rm".into(), due: 3, next_due_at: None, inside: 0, inside_max: None };
        let runs = vec![(RunStatus::Waiting, 2), (RunStatus::Queued, 1), (RunStatus::Failed, 5)];
        let mut held = ConnectionState::new("crm", "d");
        let said = Said { code: "http_401".into(), message: "no".into() };
        held.note(1, &Word::Worked { began_at: 0 });
        held.note(2, &Word::Credentials { said, probe: false });
        let connections = vec![Listed { name: "crm".into(), kind: "http".into(), state: Some(held), waiting: 4 }];
        let library = Library::default();
        let finding = Diagnostic::new("needs_restart", Place::default(), "", "");
        let notices = vec![Notice { finding, since: 3_000_000 }];
        library.swap(FlowSet { generation: 7, notices, ..FlowSet::default() });
        library.counters().count(Outcome::KeptBack);
        let lease = LeaseReport { state: LeaseState::StoreUnreachable, owner: "a".into(), lost: 2 };
        let page = metrics.render(&library, &Counted { runs, lanes: vec![lane], connections, lease }, 45_500_000);
        for line in [
            "leadflow_requests_total{answer=\"202\"} 2",
            "leadflow_requests_total{answer=\"599\"} 1",
            "leadflow_alias_requests_total{alias=\"old\"} 2",
            "leadflow_runs{status=\"failed\"} 5",
            "leadflow_runs{status=\"held\"} 0",
            "leadflow_active_runs 3",
            "leadflow_due_runs{connection=\"c\\\"rm\"} 3",
            "leadflow_connection_state{connection=\"crm\",state=\"held\"} 1",
            "leadflow_connection_state{connection=\"crm\",state=\"ok\"} 0",
            "leadflow_connection_waiting_runs{connection=\"crm\"} 4",
            "leadflow_connection_transitions_total{connection=\"crm\",state=\"held\"} 1",
            "leadflow_connection_last_success_seconds{connection=\"crm\"} 0",
            "leadflow_lease{state=\"store_unreachable\"} 1",
            "leadflow_lease{state=\"held\"} 0",
            "leadflow_leases_lost_total 2",
            "leadflow_generation 7",
            "leadflow_flows{state=\"live\"} 0",
            "leadflow_reload_total{outcome=\"kept_back\"} 1",
            "leadflow_reload_total{outcome=\"applied\"} 0",
            "leadflow_reload_oldest_finding_age_seconds 42",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("leadflow_") && line.rsplit_once(' ').is_some(), "{line}");
        }
    }
}

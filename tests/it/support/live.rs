//! What is live on a running server, as its admin listener tells it.

use std::net::SocketAddr;

use serde_json::Value;

use super::traffic::{Traffic, said};
use super::{Server, Workspace, wire};

/// Looks so rarely that only events, or somebody who asks, can bring a change.
pub(crate) const EVENTS_ONLY: &str = "reload: { poll: 1h, quiet: 50ms, unload_after: 10s, empty_folder_grace: 1h }\n";

/// Looks often.
pub(crate) const POLLING: &str = "reload: { poll: 200ms, quiet: 50ms, unload_after: 10s, empty_folder_grace: 1h }\n";

impl Server {
    /// The address of its public listener.
    pub(crate) fn public(&self) -> SocketAddr {
        self.address("public").parse().expect("an address")
    }

    /// What `flow` answers; `None`: nobody answers to that name.
    pub(crate) fn said(&self, flow: &str) -> Option<String> {
        let answer = wire::post(&format!("http://{}/flows/{flow}", self.public()), "{\"n\":0}").expect("an answer");
        assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        said(&answer.body)
    }

    /// `GET /api/v1/flows`.
    pub(crate) fn flows(&self) -> Value {
        let url = format!("http://{}/api/v1/flows", self.address("admin"));
        wire::send("GET", &url, &[], b"").expect("an answer").json()
    }

    /// Of what is told of a flow, the value of `key`.
    pub(crate) fn told(&self, flow: &str, key: &str) -> Value {
        let flows = self.flows();
        let all = flows["flows"].as_array().expect("flows");
        let found = all.iter().find(|told| told["name"] == flow);
        found.unwrap_or_else(|| panic!("nothing is told of {flow}: {flows:#}"))[key].clone()
    }

    /// `POST /api/v1/reload?wait=true`: whether what is on disk is live, and the codes of the findings that say why not.
    pub(crate) fn reload(&self) -> (bool, Vec<String>) {
        let url = format!("http://{}/api/v1/reload?wait=true", self.address("admin"));
        let answer = wire::send("POST", &url, &[], b"").expect("an answer");
        let verdict = answer.json();
        let is_live = verdict["on_disk_is_live"].as_bool().unwrap_or_else(|| panic!("no verdict: {verdict:#}"));
        assert_eq!(answer.status, if is_live { 200 } else { 409 }, "{verdict:#}");
        let findings = verdict["findings"].as_array().expect("findings");
        (is_live, findings.iter().map(|finding| finding["code"].as_str().expect("a code").to_owned()).collect())
    }
}

/// Ends the traffic: nothing failed, and each lead that was answered is a run that succeeded. How many there were.
pub(crate) fn account(workspace: &Workspace, traffic: Traffic) -> usize {
    let answered = traffic.finish();
    let stored = workspace.until_ended();
    let succeeded = stored.iter().filter(|run| run["status"] == "succeeded").filter_map(|run| run["run_id"].as_str());
    let stored: std::collections::BTreeSet<&str> = succeeded.collect();
    let lost: Vec<&String> = answered.iter().filter(|run| !stored.contains(run.as_str())).collect();
    assert!(lost.is_empty(), "{} answered leads are lost: {lost:?}", lost.len());
    answered.len()
}

#![expect(clippy::print_stdout, reason = "the seed replays the run")]
//! Random good and bad edits under constant traffic, against a model of what must be live after each.
//!
//! `LEADFLOW_RELOAD_EDITS` sets how many edits, `LEADFLOW_RELOAD_SEED` replays a run: its seed is printed, and the tail
//! of its edits when it fails.

mod edits;
mod model;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::support::dice::Dice;
use edits::{ANCHOR, Edit};
use model::Model;

use crate::support::live::account;
use crate::support::traffic::Traffic;
use crate::support::{Server, Workspace};

/// Edits; `LEADFLOW_RELOAD_EDITS` sets another number.
const EDITS_DEFAULT: u64 = 1000;
/// Edits between two restarts of the server.
const EDITS_PER_LIFE: u64 = 250;
/// Edits between two looks at the answer of every flow, rather than of those that the edit concerned.
const EDITS_PER_FULL_LOOK: u64 = 20;
/// Edits that are told when the test fails.
const TOLD_MAX: usize = 25;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: a number, not {text:?}")))
}

#[test]
fn after_each_of_many_random_edits_what_is_live_is_the_last_good_version_of_each_file() {
    let count = number("LEADFLOW_RELOAD_EDITS").unwrap_or(EDITS_DEFAULT);
    let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_micros();
    let seed = number("LEADFLOW_RELOAD_SEED").unwrap_or_else(|| fresh() as u64);
    println!("seed {seed}, {count} edits: LEADFLOW_RELOAD_SEED={seed} LEADFLOW_RELOAD_EDITS={count} replays them");
    let workspace = Workspace::empty();
    let model = Model::begin(&workspace);
    let server = workspace.serve();
    let traffic = Traffic::start(server.public());
    let mut trial = Trial { workspace, model, server, traffic, told: VecDeque::new(), generation: 0, seed };
    let dice = Dice::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| trial.goes_through(count, dice)));
    if let Err(panic) = outcome {
        let told = trial.told.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        println!("the last edits before the failure:\n{told}\n{:#?}\n{}", trial.model, trial.server.flows());
        resume_unwind(panic);
    }
    let answered = account(&trial.workspace, trial.traffic);
    println!("{answered} requests, {} generations", trial.generation);
}

struct Trial {
    workspace: Workspace,
    model: Model,
    server: Server,
    traffic: Traffic,
    told: VecDeque<String>,
    generation: u64,
    seed: u64,
}

impl Trial {
    fn goes_through(&mut self, count: u64, mut dice: Dice) {
        self.settled(true, &[]);
        for index in 1..=count {
            let edit = Edit::random(&mut dice, &self.model, index);
            self.note(format!("{index}: {edit:?}"));
            self.make(&edit, &mut dice, index);
            if index.is_multiple_of(EDITS_PER_LIFE) && index < count {
                self.restart(index);
            }
        }
        self.restart(count);
    }

    fn note(&mut self, what: String) {
        self.told.push_back(what);
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
    }

    /// Makes one edit while requests come in, and holds what is live against the model.
    fn make(&mut self, edit: &Edit, dice: &mut Dice, index: u64) {
        let before = self.model.answers();
        let mut next = self.model.clone();
        next.edit(edit);
        let after = next.answers();
        // A name that goes or comes with this edit may answer or not while it is made.
        let during = before.iter().filter_map(|(name, old)| {
            let new = after.get(name)?;
            let both = if old == new { vec![old.clone()] } else { vec![old.clone(), new.clone()] };
            Some((name.as_str(), both))
        });
        self.traffic.allow(during);
        edit.make(&self.workspace, dice, &self.model);
        self.model = next;
        let (is_live, findings) = self.server.reload();
        assert_eq!(is_live, self.model.is_on_disk(), "edit {index}, seed {}: {edit:?}: {findings:?}", self.seed);
        let concerned: Vec<&str> = before
            .iter()
            .filter(|(name, old)| after.get(*name) != Some(old))
            .map(|(name, _)| name.as_str())
            .chain(after.keys().filter(|name| !before.contains_key(*name)).map(String::as_str))
            .collect();
        self.settled(index.is_multiple_of(EDITS_PER_FULL_LOOK), &concerned);
    }

    /// Holds what is live against the model: which names answer, from which files, and what they say.
    fn settled(&mut self, everything: bool, concerned: &[&str]) {
        let answers = self.model.answers();
        self.traffic.allow(answers.iter().map(|(name, answer)| (name.as_str(), vec![answer.clone()])));
        let told = self.server.flows();
        let generation = told["generation"].as_u64().expect("a generation");
        assert!(generation >= self.generation, "the generation fell from {} to {generation}", self.generation);
        self.generation = generation;
        let mut live = Vec::new();
        for flow in told["flows"].as_array().expect("flows").iter().filter(|flow| flow["state"] == "live") {
            let text = |key: &str| flow[key].as_str().map(str::to_owned).expect("text");
            live.push((text("name"), text("file"), flow["standing"] == "current"));
        }
        live.sort();
        assert_eq!(live, self.model.live(), "name, file, whether it is as on disk; seed {}", self.seed);
        let names: Vec<&str> =
            if everything { edits::names().collect() } else { concerned.iter().copied().chain([ANCHOR]).collect() };
        for name in names {
            assert_eq!(self.server.said(name).as_ref(), answers.get(name), "{name}; seed {}", self.seed);
        }
    }

    /// Stops the server, gently and cruelly in turn; the next one starts with what was live.
    fn restart(&mut self, index: u64) {
        // Settings that do not check are no matter for a running server, and no start for a new one.
        let mend = self.model.mend_settings();
        self.note(format!("{index}: restart, {mend:?}"));
        mend.make(&self.workspace, &mut Dice::new(index), &self.model);
        self.model.edit(&mend);
        self.traffic.allow([]);
        let (_, findings) = self.server.reload();
        assert!(!findings.iter().any(|code| code == "settings_not_applied"), "{findings:?}");
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        if (index / EDITS_PER_LIFE).is_multiple_of(2) {
            assert_eq!(self.server.stop(), Some(0));
        } else {
            self.server.crash();
        }
        self.server = Server::start(self.workspace.command(&arguments));
        self.traffic.moved(self.server.public());
        self.settled(true, &[]);
    }
}

//! Decisions over folders on a real disk, with the time and the store in the test's hands.

use std::path::PathBuf;

use super::*;
use crate::library::load::{Loader, Look, Sources};

const SECOND: Micros = crate::clock::MICROS_PER_SEC;

struct Site {
    folder: tempfile::TempDir,
    loader: Loader,
    sources: Sources,
    set: FlowSet,
    now: Micros,
    report: Report,
    look_again_at: Option<Micros>,
    pinned: TextId,
}

fn flow(name: &str, value: u32) -> String {
    format!(
        "name: {name}\ntrigger:\n  type: request\nactions:\n  - name: one\n    type: compose\n    inputs: {value}\n"
    )
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let sources = Sources {
            flows: folder.path().join("flows"),
            blueprints: folder.path().join("blueprints"),
            schemas: folder.path().join("schemas"),
            connections: BTreeMap::new(),
            connections_decided: Vec::new(),
            parameters: serde_json::json!({}),
            defaults: crate::flow::Defaults::default(),
            actions_per_flow_max: 10,
            nesting_max: 8,
            catalogue: Arc::new(crate::actions::catalogue()),
        };
        std::fs::create_dir(&sources.flows).expect("folder");
        let (loader, set, report) = (Loader::default(), FlowSet::default(), Report::default());
        let mut site = Self { folder, loader, sources, set, now: 0, report, look_again_at: None, pinned: 0 };
        for (file, text) in files {
            site.write(file, text);
        }
        site.step(1);
        site
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("flows").join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("write");
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.path(file)).expect("remove");
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::create_dir_all(self.path(to).parent().expect("a folder")).expect("folders");
        std::fs::rename(self.path(from), self.path(to)).expect("rename");
    }

    /// Looks and decides, `seconds` later.
    fn step(&mut self, seconds: i64) {
        self.now += seconds * SECOND;
        let rules = Rules { unload_after: Duration::from_secs(10), empty_folder_grace: Duration::from_secs(300) };
        let folder = self.loader.look(&self.sources, &Look { now: self.now, ..Look::default() });
        let decision = plan(&self.set, &folder, &[], self.now, rules);
        self.report = decision.report.clone();
        self.look_again_at = decision.look_again_at;
        let generation = self.set.generation + u64::from(decision.report.changes_flows());
        let ids = (0..decision.fresh().count()).map(|_| {
            self.pinned += 1;
            self.pinned
        });
        let ids = ids.collect();
        self.set = decision.into_set(&self.set, ids, generation, self.now);
    }

    /// Names of flows that answer, with the value in each.
    fn live(&self) -> Vec<(String, u64)> {
        let value = |live: &LiveFlow| -> u64 {
            let text = &live.flow.bundle.text;
            text.split("inputs: ").nth(1).and_then(|rest| rest.trim().parse().ok()).expect("a value")
        };
        self.set.flows.iter().map(|(name, live)| (name.clone(), value(live))).collect()
    }

    fn state(&self, file: &str) -> &FileState {
        &self.set.files[&super::super::files::shown(&self.path(file))]
    }

    fn told(told: &[crate::library::report::Told]) -> Vec<&str> {
        told.iter().map(|one| &*one.name).collect()
    }
}

fn live(flows: &[(&str, u64)]) -> Vec<(String, u64)> {
    flows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_the_others_update() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    assert_eq!((site.report.added.len(), site.set.generation), (2, 1));
    site.write("a.yaml", "name: a\ntrigger: {");
    site.write("b.yaml", &flow("b", 2));
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 1), ("b", 2)]));
    assert_eq!((Site::told(&site.report.changed), Site::told(&site.report.kept_back)), (vec!["b"], vec!["a"]));
    assert_eq!((site.state("a.yaml").standing, site.state("a.yaml").since), (Standing::KeptBack, Some(site.now)));
    assert!(!site.set.is_on_disk());
    let (digest, since) = (site.set.digest.clone(), site.set.oldest_finding());
    site.step(60);
    assert!(site.report.is_empty(), "told once");
    assert_eq!((site.set.generation, &site.set.digest, site.set.oldest_finding()), (2, &digest, since));
    site.write("a.yaml", &flow("a", 3));
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 3), ("b", 2)]));
    assert_eq!(site.report.resolved.len(), 1);
    assert!(site.set.is_on_disk());
}

#[test]
fn a_file_that_never_was_good_disables_its_own_flow_only() {
    let site = Site::new(&[("a.yaml", "name: a\n"), ("b.yaml", &flow("b", 1))]);
    assert_eq!(site.live(), live(&[("b", 1)]));
    assert_eq!(site.state("a.yaml").standing, Standing::Off);
    assert_eq!(site.set.off.len(), 1);
}

#[test]
fn what_has_not_changed_is_neither_compiled_nor_copied() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    let before = site.set.files.clone();
    site.write("b.yaml", &flow("b", 2));
    site.step(1);
    let same = |file: &str| {
        let file = super::super::files::shown(&site.path(file));
        Arc::ptr_eq(&before[&file], &site.set.files[&file])
    };
    assert!(same("a.yaml") && !same("b.yaml"));
    let folder = site.loader.look(&site.sources, &Look::default());
    assert_eq!(folder.compiled, 0);
    site.sources.parameters = serde_json::json!({"x": 1});
    assert_eq!(site.loader.look(&site.sources, &Look::default()).compiled, 2, "other settings");
}

#[test]
fn only_flows_that_name_a_schema_are_compiled_when_it_changes() {
    let with = flow("a", 1).replace("type: request", "type: request\n  schema: s.json");
    let mut site = Site::new(&[("a.yaml", &with), ("b.yaml", &flow("b", 1))]);
    assert_eq!(site.state("a.yaml").error().map(|finding| finding.code), Some("unknown_schema"));
    let schema = |text: &str| {
        std::fs::create_dir_all(&site.sources.schemas).expect("folder");
        std::fs::write(site.sources.schemas.join("s.json"), text).expect("write");
    };
    schema(r#"{"type":"object","required":["x"]}"#);
    let folder = site.loader.look(&site.sources, &Look::default());
    assert_eq!(folder.compiled, 1);
    schema(r#"{"type":"object","required":["y"]}"#);
    assert_eq!(site.loader.look(&site.sources, &Look::default()).compiled, 1);
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 1), ("b", 1)]));
}

#[test]
fn a_vanished_file_unloads_after_a_second_look() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.remove("a.yaml");
    site.step(60);
    assert_eq!(site.live(), live(&[("a", 1), ("b", 1)]), "missed for the first time");
    assert_eq!(site.look_again_at, Some(site.now + 10 * SECOND));
    assert_eq!(site.state("a.yaml").findings[0].code, "file_vanished");
    site.step(9);
    assert_eq!(site.live().len(), 2);
    site.step(1);
    assert_eq!(site.live(), live(&[("b", 1)]));
    assert_eq!(Site::told(&site.report.removed), ["a"]);
    assert!(site.set.is_on_disk() && site.look_again_at.is_none());
}

#[test]
fn a_file_that_comes_back_was_never_away() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.remove("a.yaml");
    site.step(1);
    site.write("a.yaml", &flow("a", 2));
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 2), ("b", 1)]));
    site.remove("a.yaml");
    site.step(60);
    assert_eq!(site.live().len(), 2, "the clock starts again");
}

#[test]
fn an_emptied_folder_has_a_grace_period_and_what_comes_back_late_has_its_own() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    std::fs::rename(site.folder.path().join("flows"), site.folder.path().join("away")).expect("rename");
    site.step(1);
    assert_eq!((site.live().len(), site.state("a.yaml").findings[0].code), (2, "folder_emptied"));
    site.step(299);
    assert_eq!(site.live().len(), 2);
    site.write("a.yaml", &flow("a", 2));
    site.step(0);
    assert_eq!(site.live(), live(&[("a", 2), ("b", 1)]), "a folder that fills again");
    site.step(9);
    assert_eq!(site.live().len(), 2);
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 2)]));
}

#[test]
fn an_emptied_folder_unloads_when_its_grace_is_over() {
    let mut site =
        Site::new(&[("team/a.yaml", &flow("a", 1)), ("team/b.yaml", &flow("b", 1)), ("c.yaml", &flow("c", 1))]);
    site.remove("team/a.yaml");
    site.remove("team/b.yaml");
    site.step(1);
    site.step(100);
    assert_eq!(site.live().len(), 3, "a sub-folder that is there and empty");
    site.step(200);
    assert_eq!(site.live(), live(&[("c", 1)]));
    std::fs::remove_dir(site.path("team")).expect("remove");
    site.remove("c.yaml");
    site.step(1);
    site.step(299);
    assert_eq!(site.live().len(), 1, "the last one of all");
    site.step(1);
    assert!(site.live().is_empty());
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_into_is_kept() {
    use std::os::unix::fs::symlink;
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.remove("a.yaml");
    symlink("nowhere", site.path("a.yaml")).expect("link");
    for _ in 0..3 {
        site.step(400);
        assert_eq!(site.live().len(), 2, "a link that leads nowhere");
    }
    assert_eq!(site.state("a.yaml").standing, Standing::KeptBack);
    assert_eq!(site.state("a.yaml").findings[0].code, "unreadable_file");
}

#[test]
fn a_renamed_file_and_a_moved_one_never_stop_answering() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.rename("a.yaml", "z.yaml");
    site.rename("b.yaml", "team/b.yaml");
    site.step(1);
    assert_eq!(site.live(), live(&[("a", 1), ("b", 1)]));
    assert_eq!(Site::told(&site.report.moved), ["a", "b"]);
    assert!(site.report.added.is_empty() && site.report.removed.is_empty() && site.set.is_on_disk());
    assert_eq!(site.set.files.len(), 2);
}

#[test]
fn a_file_that_is_renamed_and_broken_at_once_keeps_its_last_good_version() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.remove("a.yaml");
    site.write("z.yaml", &flow("a", 2).replace("compose", "compos"));
    site.step(1);
    site.step(60);
    assert_eq!(site.live(), live(&[("a", 1), ("b", 1)]));
    assert_eq!((site.state("z.yaml").standing, site.set.files.len()), (Standing::KeptBack, 2));
}

#[test]
fn a_flow_that_is_renamed_in_its_file_is_another_flow() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1))]);
    site.write("a.yaml", &flow("new", 1));
    site.step(1);
    assert_eq!(site.live(), live(&[("new", 1)]));
    assert_eq!((&*site.report.added, Site::told(&site.report.removed)), (&["new".to_owned()][..], vec!["a"]));
}

#[test]
fn whoever_holds_a_name_live_keeps_it() {
    let mut site = Site::new(&[("b.yaml", &flow("x", 1))]);
    site.write("a.yaml", &flow("x", 2));
    site.step(1);
    assert_eq!(site.live(), live(&[("x", 1)]), "the first by its path, but not the holder");
    let state = site.state("a.yaml");
    assert_eq!((state.standing, state.error().map(|finding| finding.code)), (Standing::Off, Some("duplicate_flow")));
    site.write("b.yaml", "broken: [");
    site.step(1);
    assert_eq!(site.live(), live(&[("x", 1)]), "its last good version holds it too");
    site.write("b.yaml", &flow("y", 3));
    site.step(1);
    assert_eq!(site.live(), live(&[("x", 2), ("y", 3)]), "it gave the name away");
}

#[test]
fn a_name_goes_over_when_its_file_is_replaced_by_a_copy() {
    let mut site = Site::new(&[("b.yaml", &flow("x", 1))]);
    site.write("a.yaml", &flow("x", 2));
    site.step(1);
    site.remove("b.yaml");
    site.step(1);
    assert_eq!(site.live(), live(&[("x", 1)]), "it may be being written anew");
    site.step(100);
    assert_eq!(site.live(), live(&[("x", 2)]));
    assert_eq!(Site::told(&site.report.moved), ["x"]);
}

#[test]
fn a_file_that_is_removed_and_created_anew_loses_its_name_to_nobody() {
    let mut site = Site::new(&[("m.yaml", &flow("x", 1)), ("other.yaml", &flow("other", 1))]);
    site.write("a.yaml", &flow("x", 7));
    site.write("b.yaml", &format!("{}colour: red\n", flow("x", 8)));
    site.step(1);
    assert_eq!(site.live(), live(&[("other", 1), ("x", 1)]));
    site.remove("m.yaml");
    site.step(1);
    assert_eq!(site.live(), live(&[("other", 1), ("x", 1)]), "nobody takes the place of what is being saved");
    site.write("m.yaml", &flow("x", 2));
    site.step(1);
    assert_eq!(site.live(), live(&[("other", 1), ("x", 2)]));
    assert_eq!(site.state("m.yaml").standing, Standing::Current);
}

#[test]
fn a_renamed_file_keeps_its_name_before_those_that_wait_for_it() {
    let mut site = Site::new(&[("m.yaml", &flow("x", 1)), ("other.yaml", &flow("other", 1))]);
    site.write("a.yaml", &flow("x", 7));
    site.step(1);
    site.rename("m.yaml", "z.yaml");
    site.step(1);
    assert_eq!(site.live(), live(&[("other", 1), ("x", 1)]));
    assert_eq!(Site::told(&site.report.moved), ["x"]);
}

#[test]
fn a_broken_file_that_was_there_before_inherits_when_the_good_one_stays_away() {
    let mut site = Site::new(&[("m.yaml", &flow("x", 1)), ("other.yaml", &flow("other", 1))]);
    site.write("b.yaml", &format!("{}colour: red\n", flow("x", 8)));
    site.step(1);
    site.remove("m.yaml");
    for _ in 0..2 {
        site.step(100);
        assert_eq!(site.live(), live(&[("other", 1), ("x", 1)]));
    }
    assert_eq!(site.state("b.yaml").standing, Standing::KeptBack);
    assert!(!site.set.files.contains_key(&*site.path("m.yaml").to_string_lossy()));
}

#[test]
fn bytes_that_are_no_text_are_told_in_every_look_and_not_new_in_each() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1))]);
    std::fs::write(site.path("a.yaml"), b"name: \xff").expect("write");
    for number in 1..=6 {
        let now = site.now + number * SECOND;
        let look = Look { now, quiet: Some(Duration::from_secs(1)), ..Look::default() };
        let folder = site.loader.look(&site.sources, &look);
        let first = number == 1;
        assert_eq!((folder.unsettled.len(), folder.files[0].flow.is_some()), (usize::from(first), first), "{number}");
    }
}

#[test]
fn a_disabled_flow_is_off_at_once_and_stays_off_when_its_file_breaks() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    site.write("a.yaml", &flow("a", 1).replace("name: a", "name: a\nenabled: false"));
    site.step(1);
    assert_eq!(site.live(), live(&[("b", 1)]));
    assert_eq!(Site::told(&site.report.removed), ["a"]);
    assert!(site.set.is_on_disk(), "off is what the disk says");
    site.write("a.yaml", "name: [");
    site.step(1);
    assert_eq!((site.live(), site.state("a.yaml").standing), (live(&[("b", 1)]), Standing::KeptBack));
}

#[test]
fn a_move_that_is_refused_for_another_name_leaves_the_flow_where_it_was() {
    let taken = flow("x", 2).replace("name: x", "name: x\naliases: [held]");
    let mut site = Site::new(&[("a.yaml", &flow("x", 1)), ("h.yaml", &flow("held", 1))]);
    site.remove("a.yaml");
    site.write("z.yaml", &taken);
    site.step(1);
    assert_eq!(site.live(), live(&[("held", 1), ("x", 1)]));
    assert_eq!(site.state("z.yaml").error().map(|finding| finding.code), Some("duplicate_flow"));
}

#[test]
fn a_set_that_was_remembered_is_the_same_set() {
    let mut site = Site::new(&[("a.yaml", &flow("a", 1)), ("b.yaml", &flow("b", 1))]);
    let versions = site.set.files.values().filter_map(|state| {
        let version = state.good.as_ref()?;
        let live = Arc::new(LiveFlow { flow: Arc::clone(version.flow()), text_id: version.live.text_id });
        Some((state.file.clone(), Version { live, generation: version.generation, loaded_at: version.loaded_at }))
    });
    let restored = remembered(versions.collect(), site.set.generation, site.now);
    assert_eq!(restored.digest, site.set.digest);
    site.set = restored;
    site.write("b.yaml", "name: [");
    site.step(1);
    assert!(!site.report.changes_flows());
    assert_eq!(site.live(), live(&[("a", 1), ("b", 1)]));
}

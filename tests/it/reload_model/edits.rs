//! The edits: what they do to the files, and by which hand.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::model::Model;
use crate::support::Workspace;
use crate::support::dice::Dice;
use crate::support::traffic::answering;

/// The flow that always answers.
pub(super) const ANCHOR: &str = "anchor";
pub(super) const ANCHOR_FILE: &str = "flows/anchor.yaml";

/// Names of flows. Fewer than files: they are fought over.
const NAMES: [&str; 8] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"];

/// Where files may lie.
const PATHS: [&str; 12] = [
    "flows/f0.yaml",
    "flows/f1.yaml",
    "flows/f2.yml",
    "flows/f3.yaml",
    "flows/a/f0.yaml",
    "flows/a/f1.yaml",
    "flows/a/f2.yaml",
    "flows/a/b/f0.yaml",
    "flows/a/b/f1.yml",
    "flows/z/f0.yaml",
    "flows/z/f1.yaml",
    "flows/z/f2.yaml",
];

/// Between the pieces of a slow write, and between a removal and what follows it.
const PAUSE: Duration = Duration::from_millis(4);

/// Every name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain([ANCHOR])
}

/// `leadflow.yaml` with one parameter.
pub(super) fn settings(parameter: u64) -> String {
    format!(
        "reload: {{ poll: 2s, quiet: 15ms, unload_after: 1m, empty_folder_grace: 1h }}\nparameters: {{ p: {parameter} }}\n\
         log: {{ level: warn }}\n"
    )
}

/// A flow that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) name: String,
    pub(super) said: u64,
    pub(super) enabled: bool,
    /// Something that has no effect.
    pub(super) comment: u64,
}

impl Good {
    pub(super) fn text(&self) -> String {
        let flow = answering(&self.name, &format!("{}/{{{{parameters.p}}}}", self.said));
        format!("# {}\n{flow}enabled: {}\n", self.comment, self.enabled)
    }
}

/// A text that is no flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bad {
    UnknownKey(Good),
    UnknownConnection(Good),
    /// Cut in the middle of a quoted text.
    HalfWritten(Good),
    Empty,
    NotUtf8,
}

impl Bad {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::UnknownKey(good) => format!("{}colour: red\n", good.text()).into_bytes(),
            Self::UnknownConnection(good) => {
                let action = "  - { name: keep, type: create_record, connection: nowhere, entity: x, fields: {} }\n";
                good.text().replace("enabled:", &format!("{action}enabled:")).into_bytes()
            }
            Self::HalfWritten(good) => {
                let text = good.text();
                let end = text.find("trigger.body").expect("a template");
                text.as_bytes()[..end].to_vec()
            }
            Self::Empty => Vec::new(),
            Self::NotUtf8 => b"name: \xff\xfe\n".to_vec(),
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Good(Good),
    Bad(Bad),
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Good(good) => good.text().into_bytes(),
            Self::Bad(bad) => bad.bytes(),
        }
    }
}

/// One edit.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Write(String, Content),
    /// Two files exchange what they hold.
    Exchange(String, String),
    Remove(String),
    Rename(String, String),
    /// Another parameter; `None`: settings that do not check.
    Settings(Option<u64>),
    /// The folder of flows goes away and comes back.
    Away,
}

impl Edit {
    /// An edit that can be made to what there is. `number` makes its version one that never was.
    pub(super) fn random(dice: &mut Dice, model: &Model, number: u64) -> Self {
        let others: Vec<String> =
            model.paths().into_iter().filter(|path| *path != ANCHOR_FILE).map(str::to_owned).collect();
        let free: Vec<&str> = PATHS.into_iter().filter(|path| model.disk(path).is_none()).collect();
        match dice.roll(100) {
            0..=9 => return Self::Write(ANCHOR_FILE.into(), content(dice, ANCHOR, number)),
            10..=14 => return Self::Settings((dice.roll(3) > 0).then_some(number)),
            15..=17 => return Self::Away,
            18..=34 if !free.is_empty() => {
                let name = *dice.pick(&NAMES);
                return Self::Write((*dice.pick(&free)).to_owned(), content(dice, name, number));
            }
            _ if others.is_empty() => return Self::Write(PATHS[0].into(), content(dice, NAMES[0], number)),
            _ => {}
        }
        let path = dice.pick(&others).clone();
        match dice.roll(10) {
            0 => Self::Remove(path),
            1 if !free.is_empty() => Self::Rename(path, (*dice.pick(&free)).to_owned()),
            2 => Self::Exchange(path, dice.pick(&others).clone()),
            3 => {
                let name = *dice.pick(&NAMES);
                Self::Write(path, content(dice, name, number))
            }
            // Only a comment.
            4 => match model.disk(&path) {
                Some(Content::Good(good)) => {
                    Self::Write(path.clone(), Content::Good(Good { comment: number, ..good.clone() }))
                }
                _ => Self::Remove(path),
            },
            _ => {
                let name = model.held_by(&path).unwrap_or(NAMES[0]).to_owned();
                Self::Write(path, content(dice, &name, number))
            }
        }
    }

    /// Makes it, to files as `before` has them.
    pub(super) fn make(&self, workspace: &Workspace, dice: &mut Dice, before: &Model) {
        let at = |path: &str| workspace.path().join(path);
        match self {
            // A file that never was good holds nothing while it is away, so it would matter whether anybody looked.
            Self::Write(path, content) if before.held_by(path).is_none() => replace(&at(path), &content.bytes(), dice),
            Self::Write(path, content) => put(&at(path), &content.bytes(), dice),
            Self::Exchange(one, other) => {
                let (a, b) = (fs::read(at(one)).expect("read"), fs::read(at(other)).expect("read"));
                replace(&at(one), &b, dice);
                replace(&at(other), &a, dice);
            }
            Self::Remove(path) => fs::remove_file(at(path)).expect("remove"),
            Self::Rename(from, to) => {
                fs::create_dir_all(at(to).parent().expect("a folder")).expect("folders");
                fs::rename(at(from), at(to)).expect("rename");
            }
            Self::Settings(Some(parameter)) => put(&at("leadflow.yaml"), settings(*parameter).as_bytes(), dice),
            Self::Settings(None) => {
                let broken = dice.pick(&["parameters: [", "parameterz: {}\n", "connections: { crm: { type: fax } }\n"]);
                put(&at("leadflow.yaml"), broken.as_bytes(), dice);
            }
            Self::Away => {
                fs::rename(at("flows"), at("away")).expect("away");
                std::thread::sleep(PAUSE * (1 + dice.roll(20) as u32));
                fs::rename(at("away"), at("flows")).expect("back");
            }
        }
    }
}

/// Good three times in five. An anchor is never turned off.
fn content(dice: &mut Dice, name: &str, said: u64) -> Content {
    let enabled = name == ANCHOR || dice.roll(10) > 0;
    let good = Good { name: name.to_owned(), said, enabled, comment: 0 };
    match dice.roll(10) {
        0 => Content::Bad(Bad::UnknownKey(good)),
        1 => Content::Bad(Bad::HalfWritten(good)),
        2 => Content::Bad(Bad::UnknownConnection(good)),
        3 => Content::Bad(dice.pick(&[Bad::Empty, Bad::NotUtf8]).clone()),
        _ => Content::Good(good),
    }
}

/// Writes a file by one of the ways in which people and programs do.
fn put(path: &Path, bytes: &[u8], dice: &mut Dice) {
    if dice.roll(4) > 0 {
        return replace(path, bytes, dice);
    }
    fs::remove_file(path).expect("remove");
    std::thread::sleep(PAUSE);
    fs::write(path, bytes).expect("write");
}

/// The ways in which the file is never away.
fn replace(path: &Path, bytes: &[u8], dice: &mut Dice) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    match dice.roll(3) {
        0 => fs::write(path, bytes).expect("write"),
        1 => {
            let fresh = path.with_extension("new");
            fs::write(&fresh, bytes).expect("write");
            fs::rename(&fresh, path).expect("rename");
        }
        _ => {
            let mut file = fs::File::create(path).expect("truncate");
            for piece in bytes.chunks((bytes.len() / 3).max(1)) {
                file.write_all(piece).expect("write");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

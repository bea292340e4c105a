//! Files of the watched folders: found, told apart, read.
//!
//! Promise: what cannot be read is a finding with a place. A file counts as unchanged only when its bytes are, or when
//! the system vouches for it ([`Stamp`]).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::clock::{MICROS_PER_SEC, Micros};
use crate::diagnostic::{Diagnostic, Place, Severity};

/// Bytes of one flow or schema file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Levels of sub-folders below `flows/` and `schemas/`.
const FOLDER_DEPTH_MAX: usize = 16;

/// How much older than the moment of reading a file's times must be before its stamp vouches for its bytes: times may
/// be as coarse as two seconds, and a second write within one tick leaves them as they are.
const STAMP_AGE_MIN: Micros = 3 * MICROS_PER_SEC;

/// SHA-256 of a content.
pub type Hash = [u8; 32];

/// The hash of several parts, each with its length, so that no two lists of parts look alike.
pub fn hash_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// What the system says of a file without reading it. Equal stamps of a file that had rested when it was read are equal
/// bytes: the time of the last change cannot be set by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    bytes: u64,
    inode: u64,
    device: u64,
    modified: Micros,
    changed: Micros,
}

impl Stamp {
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
    fn of(metadata: &std::fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let at = |secs: i64, nanos: i64| secs.saturating_mul(MICROS_PER_SEC).saturating_add(nanos / 1_000);
        Some(Self {
            bytes: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            modified: at(metadata.mtime(), metadata.mtime_nsec()),
            changed: at(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Elsewhere nothing vouches for a file's bytes.
    #[cfg(not(unix))]
    fn of(_: &std::fs::Metadata) -> Option<Self> {
        None
    }

    /// Whether the file had rested long enough at `now`.
    fn vouches(&self, now: Micros) -> bool {
        self.modified.max(self.changed).saturating_add(STAMP_AGE_MIN) <= now
    }
}

/// A content that was read.
#[derive(Debug)]
pub struct Content {
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The file's stamp, where it vouches for these bytes.
    pub stamp: Option<Stamp>,
}

/// Why a file gave no content.
#[derive(Debug)]
pub enum Unread {
    /// It is not there (any more).
    Gone,
    /// It cannot be read.
    Faulty(Box<Diagnostic>),
}

/// What reading a file gave.
#[derive(Debug)]
pub enum Reading {
    /// Certainly the bytes of the last time: not read.
    Same,
    /// Its bytes.
    Read(Content),
    /// None.
    Unread(Unread),
}

/// Reads a file, unless its stamp is `known`.
pub fn read(path: &Path, known: Option<Stamp>, now: Micros) -> Reading {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound if !path.is_symlink() => Reading::Unread(Unread::Gone),
        _ => Reading::Unread(Unread::Faulty(fault(path, &cause(path, &error)))),
    };
    if let Some(known) = known
        && let Ok(metadata) = std::fs::metadata(path)
        && Stamp::of(&metadata) == Some(known)
    {
        return Reading::Same;
    }
    let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(error),
    };
    let size = metadata.len();
    if size > FILE_BYTES_MAX {
        let message = format!("{size} bytes; a file may have {FILE_BYTES_MAX}");
        let finding = Diagnostic::new("file_too_large", at(path), "", message);
        return Reading::Unread(Unread::Faulty(Box::new(finding)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    if let Err(error) = file.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return failed(error);
    }
    let stamp = Stamp::of(&metadata).filter(|stamp| stamp.vouches(now) && stamp.bytes == bytes.len() as u64);
    Reading::Read(Content { hash: hash_of([&bytes[..]]), bytes, stamp })
}

/// The text of a content; a finding where it is not UTF-8.
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Box<Diagnostic>> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line = valid.matches('\n').count();
        let mut finding = fault(path, "not UTF-8");
        finding.place.line = u32::try_from(line).unwrap_or(0) + 1;
        finding.help = Some("save the file as UTF-8".to_owned());
        finding
    })
}

/// What a walk over folders found.
#[derive(Debug, Default)]
pub struct Walked {
    /// Files with the wanted extensions, sorted.
    pub files: Vec<PathBuf>,
    /// Folders that could be read.
    pub folders: Vec<PathBuf>,
    /// Files and folders that are there and cannot be looked into, or were asked for and are not there.
    pub faults: Vec<(PathBuf, Diagnostic)>,
}

/// Files with one of `extensions` below `roots`, links followed, names that start with `.` left out. A root that is a
/// file is taken whatever its name.
pub fn walk(roots: &[&Path], extensions: &[&str]) -> Walked {
    let mut walked = Walked::default();
    for root in roots {
        step(root, extensions, 0, &mut walked);
    }
    walked.files.sort();
    walked.files.dedup();
    walked
}

fn step(path: &Path, extensions: &[&str], depth: usize, walked: &mut Walked) {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink();
            // Below a folder it has gone since the folder was read: no fault of anybody.
            if depth == 0 || !missing {
                let mut finding = *fault(path, &cause(path, &error));
                if missing {
                    let help = "make it, start leadflow in the folder that has it, or name another: --flows DIR";
                    finding.help = Some(help.into());
                }
                walked.faults.push((path.to_owned(), finding));
            }
            return;
        }
    };
    if metadata.is_file() || (depth == 0 && !metadata.is_dir()) {
        // What was named outright is taken whatever it is; below a folder the extension decides.
        let wanted = path.extension().is_some_and(|found| extensions.iter().any(|want| found == *want));
        if wanted || depth == 0 {
            walked.files.push(path.to_owned());
        }
        return;
    }
    if !metadata.is_dir() {
        return;
    }
    if depth > FOLDER_DEPTH_MAX {
        let message = format!("folders nest deeper than {FOLDER_DEPTH_MAX} levels (a link to a parent?)");
        walked.faults.push((path.to_owned(), *fault(path, &message)));
        return;
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    match entries {
        Ok(entries) => {
            walked.folders.push(path.to_owned());
            for entry in entries {
                if !entry.file_name().to_string_lossy().starts_with('.') {
                    step(&entry.path(), extensions, depth + 1, walked);
                }
            }
        }
        Err(error) => walked.faults.push((path.to_owned(), *fault(path, &error.to_string()))),
    }
}

fn cause(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound if path.is_symlink() => "this link leads nowhere".to_owned(),
        std::io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        _ => error.to_string(),
    }
}

fn fault(path: &Path, message: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::new("unreadable_file", at(path), "", message).severity(Severity::Error))
}

/// The first character of a file.
pub fn at(path: &Path) -> Place {
    Place { file: shown(path), line: 1, column: 1, length: 1 }
}

/// A path as people write it: `flows/a.yaml`, not `./flows/a.yaml`.
pub fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_vouches_only_for_a_file_that_had_rested() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "one").expect("write");
        let changed = Stamp::of(&std::fs::metadata(&path).expect("metadata")).expect("a stamp").changed;
        let read_at = |known, now| read(&path, known, now);
        let Reading::Read(fresh) = read_at(None, changed) else { panic!("read") };
        assert!(fresh.stamp.is_none(), "a second write in the same tick would not show");
        let Reading::Read(rested) = read_at(None, changed + STAMP_AGE_MIN) else { panic!("read") };
        assert_eq!((rested.hash, rested.bytes), (fresh.hash, b"one".to_vec()));
        assert!(matches!(read_at(rested.stamp, changed), Reading::Same));
        // Same length, and the old time put back: the time of the change still tells.
        std::fs::write(&path, "two").expect("write");
        let times = std::fs::File::open(&path).expect("open");
        let old =
            std::time::UNIX_EPOCH + std::time::Duration::from_micros(rested.stamp.expect("a stamp").modified as u64);
        times.set_modified(old).expect("set");
        let Reading::Read(second) = read_at(rested.stamp, changed) else { panic!("read") };
        assert_ne!(second.hash, rested.hash);
    }

    #[test]
    fn what_is_not_there_is_gone_and_what_cannot_be_read_is_a_finding() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        assert!(matches!(read(&path, None, 0), Reading::Unread(Unread::Gone)));
        assert!(matches!(read(folder.path(), None, 0), Reading::Unread(Unread::Faulty(_))));
        std::fs::write(&path, vec![b'x'; FILE_BYTES_MAX as usize + 1]).expect("write");
        let Reading::Unread(Unread::Faulty(finding)) = read(&path, None, 0) else { panic!("too large") };
        assert_eq!(finding.code, "file_too_large");
        assert_eq!(text(&path, b"a\n\xFF".to_vec()).expect_err("no UTF-8").place.line, 2);
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(hash_of([&b"ab"[..], b"c"]), hash_of([&b"a"[..], b"bc"]));
    }
}

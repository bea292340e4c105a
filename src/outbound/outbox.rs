//! The outbox: each mail an .eml file, one folder a day, one writer thread, one sync per group.
//!
//! Promise: a mail that was answered for is on disk, whole, under a name made of its Message-ID: a repeat overwrites
//! the same file and never makes a second one. Files are written beside their places, synced together, and renamed; then
//! their folder is synced once. A group is whatever queued up meanwhile. Files are readable by their owner only.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{EmailMessage, Reply, mail};
use crate::run::Failure;

/// The folder below the data folder.
const FOLDER: &str = "outbox";

/// The most mails in one group: bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 256;

/// Up to so many files are synced one by one; more of them by one sync of the file system, which also waits for what
/// others have written there.
const SYNCED_SINGLY_MAX: usize = 3;

/// A folder of mails. Nothing is made on disk before the first mail.
#[derive(Debug)]
pub struct Outbox {
    root: PathBuf,
    /// To the writer thread, once there is one. It ends when the outbox is dropped.
    writer: Mutex<Option<mpsc::Sender<Letter>>>,
}

/// One mail on its way to the writer.
struct Letter {
    path: PathBuf,
    raw: Vec<u8>,
    done: oneshot::Sender<io::Result<()>>,
}

impl Outbox {
    /// The outbox below the data folder `data`. Does not touch the disk.
    pub fn open(data: impl Into<PathBuf>) -> Self {
        Self { root: data.into().join(FOLDER), writer: Mutex::new(None) }
    }

    /// The folder that holds one folder a day.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// Writes one mail; answers with its path when it is on disk. Writing the same mail again is harmless, so every
    /// fault may be retried, a missed deadline too.
    pub async fn write(&self, message: &EmailMessage, timeout: Duration) -> Reply {
        let raw = match mail::build(message, mail::OUTBOX_SENDER) {
            Ok((_, raw)) => raw,
            Err(failure) => return Reply::Failed(failure),
        };
        let path = self.path(message);
        let (done, answer) = oneshot::channel();
        if let Err(error) = self.queue(Letter { path: path.clone(), raw, done }) {
            return Reply::Failed(failed(&error));
        }
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(()))) => {
                Reply::Email { message_id: message.message_id.clone(), detail: path.display().to_string() }
            }
            Ok(Ok(Err(error))) => Reply::Failed(failed(&error)),
            Ok(Err(_)) => Reply::Failed(Failure::retryable("outbox_failed", "the outbox's writer has stopped")),
            Err(_) => Reply::Failed(Failure::retryable("outbox_failed", "the disk did not take the mail in time")),
        }
    }

    /// `outbox/2026-11-21/0f3a….eml`: the day the run was received, the local part of the Message-ID.
    fn path(&self, message: &EmailMessage) -> PathBuf {
        let day = crate::clock::rfc3339(message.date);
        let day = day.split('T').next().unwrap_or_default();
        let local = message.message_id.split('@').next().unwrap_or_default();
        let is_plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        let name: String = local.chars().filter(is_plain).collect();
        self.root.join(day).join(format!("{name}.eml"))
    }

    fn queue(&self, letter: Letter) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let letter = match writer.as_ref() {
            None => letter,
            Some(sender) => match sender.send(letter) {
                Ok(()) => return Ok(()),
                // The thread is gone (it panicked): a new one takes over.
                Err(mpsc::SendError(letter)) => letter,
            },
        };
        let sender = self.start()?;
        let queued = sender.send(letter).map_err(|_| io::Error::other("the writer has stopped"));
        *writer = Some(sender);
        queued
    }

    fn start(&self) -> io::Result<mpsc::Sender<Letter>> {
        let (sender, letters) = mpsc::channel();
        let root = self.root.clone();
        std::thread::Builder::new().name("outbox".into()).spawn(move || run(&root, &letters))?;
        Ok(sender)
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::retryable("outbox_failed", format!("the outbox cannot be written: {error}"))
}

/// Takes whatever queued up while the last group was written, until the outbox is dropped.
fn run(root: &Path, letters: &mpsc::Receiver<Letter>) {
    while let Ok(first) = letters.recv() {
        let mut group = vec![first];
        group.extend(letters.try_iter().take(GROUP_MAX - 1));
        write_group(root, group);
    }
}

/// Writes each mail of a group beside its place, makes all of them durable together, renames them into place and syncs
/// their folders, then answers.
fn write_group(root: &Path, group: Vec<Letter>) {
    let mut files: Vec<io::Result<File>> =
        group.iter().map(|letter| write_beside(root, &letter.path, &letter.raw)).collect();
    sync(root, &mut files);
    let mut results: Vec<io::Result<()>> =
        group.iter().zip(files).map(|(letter, file)| file.and_then(|_written| put_in_place(&letter.path))).collect();
    let folders: BTreeSet<&Path> = group.iter().filter_map(|letter| letter.path.parent()).collect();
    for folder in folders {
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            let of_folder = |letter: &Letter| letter.path.parent() == Some(folder);
            for (_, result) in
                group.iter().zip(&mut results).filter(|(letter, result)| of_folder(letter) && result.is_ok())
            {
                *result = Err(io::Error::new(error.kind(), error.to_string()));
            }
        }
    }
    for (letter, result) in group.into_iter().zip(results) {
        // A caller that stopped waiting learns of it by its next try, which writes the same file.
        let _gone = letter.done.send(result);
    }
}

/// Brings what was written to the disk: few files one by one, many with one sync of their file system.
fn sync(root: &Path, files: &mut [io::Result<File>]) {
    let together = files.len() > SYNCED_SINGLY_MAX && sync_file_system(root).is_ok();
    if together {
        return;
    }
    for file in files {
        if let Err(error) = file.as_ref().map_or(Ok(()), File::sync_data) {
            *file = Err(error);
        }
    }
}

#[cfg(target_os = "linux")]
fn sync_file_system(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where a mail is written before it is renamed into its place.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("eml.tmp")
}

fn put_in_place(path: &Path) -> io::Result<()> {
    match fs::rename(beside(path), path) {
        // The same mail twice in one group: the first rename took both.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_file() => Ok(()),
        renamed => renamed,
    }
}

fn write_beside(root: &Path, path: &Path, raw: &[u8]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(root);
    if !folder.is_dir() {
        make_folder(folder)?;
        // The new folder's own entry must survive a power cut too.
        File::open(root)?.sync_all()?;
        root.parent().map_or(Ok(()), |data| File::open(data)?.sync_all())?;
    }
    let mut file = create(&beside(path))?;
    file.write_all(raw)?;
    Ok(file)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::outbound::mail::message_for_tests;

    const LONG: Duration = Duration::from_secs(30);

    fn files(root: &Path) -> Vec<String> {
        let Ok(days) = fs::read_dir(root) else { return Vec::new() };
        let days = days.map(|day| day.expect("a folder").path());
        let files = days.flat_map(|day| fs::read_dir(day).expect("a folder"));
        let mut names: Vec<_> = files.map(|file| file.expect("a file").path().display().to_string()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_repeat_overwrites_itself_and_the_day_is_the_runs() {
        let data = tempfile::tempdir().expect("a folder");
        let outbox = Outbox::open(data.path());
        assert!(!outbox.folder().exists(), "nothing before the first mail");
        let message = message_for_tests("key1@leadflow");
        let first = outbox.write(&message, LONG).await;
        assert_eq!(first, outbox.write(&message, LONG).await);
        let path = data.path().join("outbox/2023-11-14/key1.eml");
        let detail = path.display().to_string();
        assert_eq!(first, Reply::Email { message_id: "key1@leadflow".into(), detail: detail.clone() });
        assert_eq!(files(outbox.folder()), [detail]);
        let raw = fs::read(&path).expect("the mail");
        assert_eq!(raw, mail::build(&message, mail::OUTBOX_SENDER).expect("builds").1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(outbox.folder())), (0o600, 0o700));
        }
    }

    #[test]
    fn the_same_mail_twice_in_one_group_is_one_file_and_two_answers() {
        let data = tempfile::tempdir().expect("a folder");
        let root = data.path().join(FOLDER);
        let path = root.join("2026-11-21/twice.eml");
        let mut answers = Vec::new();
        let mut group = Vec::new();
        for _ in 0..5 {
            let (done, answer) = oneshot::channel();
            answers.push(answer);
            group.push(Letter { path: path.clone(), raw: b"Subject: x\r\n\r\n".to_vec(), done });
        }
        write_group(&root, group);
        for mut answer in answers {
            answer.try_recv().expect("answered").expect("written");
        }
        assert_eq!(files(&root), [path.display().to_string()]);
    }

    #[tokio::test]
    async fn many_mails_at_once_are_all_there() {
        let data = tempfile::tempdir().expect("a folder");
        let outbox = Arc::new(Outbox::open(data.path()));
        let tasks: Vec<_> = (0..300)
            .map(|n| {
                let outbox = outbox.clone();
                tokio::spawn(async move { outbox.write(&message_for_tests(&format!("n{n}@leadflow")), LONG).await })
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.expect("no panic"), Reply::Email { .. }));
        }
        assert_eq!(files(outbox.folder()).len(), 300);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_a_retryable_failure_and_heals() {
        let data = tempfile::tempdir().expect("a folder");
        fs::write(data.path().join("outbox"), "in the way").expect("a file");
        let outbox = Outbox::open(data.path());
        let message = message_for_tests("key1@leadflow");
        let Reply::Failed(failure) = outbox.write(&message, LONG).await else { panic!("a failure") };
        assert_eq!((failure.code.as_str(), failure.class), ("outbox_failed", crate::run::Class::Retryable));
        fs::remove_file(data.path().join("outbox")).expect("removed");
        assert!(matches!(outbox.write(&message, LONG).await, Reply::Email { .. }));
    }

    #[tokio::test]
    async fn a_message_id_cannot_leave_the_folder() {
        let data = tempfile::tempdir().expect("a folder");
        let outbox = Outbox::open(data.path());
        let Reply::Email { detail, .. } = outbox.write(&message_for_tests("../../x@leadflow"), LONG).await else {
            panic!("written")
        };
        assert_eq!(Path::new(&detail), data.path().join("outbox/2023-11-14/x.eml"));
    }
}

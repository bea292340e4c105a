//! One server per data folder: an advisory lock on `serve.lock`, which ends with its process however that ends.
//!
//! The file says who holds it, so that a second server can name the first and commands can find it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::open;

/// The file in the data folder.
pub const FILE_NAME: &str = "serve.lock";

/// How often a start tries again while only commands look at the lock; each looks for microseconds.
const TRIES_MAX: u32 = 100;

/// The pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(2);

/// Why the lock was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LockError {
    /// A live server holds it. `holder` is what it wrote about itself; null while it is still starting.
    #[error("another `leadflow serve` uses this data folder ({holder}); stop it, or choose another --data")]
    Held {
        /// What the holder wrote about itself.
        holder: Value,
    },
    /// The file cannot be made, locked or written.
    #[error("cannot lock the data folder: {0}")]
    Unusable(String),
}

impl From<std::io::Error> for LockError {
    fn from(error: std::io::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataLock {
    file: Mutex<File>,
}

impl DataLock {
    /// Takes the lock of `folder`, which is made when missing, and writes `info` about the holder.
    pub fn acquire(folder: &Path, info: &Value) -> Result<Self, LockError> {
        open::private_folder(folder)?;
        let mut file = open::private_file(&folder.join(FILE_NAME))?;
        for _ in 0..TRIES_MAX {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file: Mutex::new(file) };
                    lock.update(info)?;
                    return Ok(lock);
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            // A shared lock can be had beside a command that looks, and not beside a server.
            match file.try_lock_shared() {
                Ok(()) => file.unlock()?,
                Err(TryLockError::WouldBlock) => return Err(LockError::Held { holder: content(&mut file) }),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            std::thread::sleep(TRY_PAUSE);
        }
        Err(LockError::Unusable(format!("{FILE_NAME} stays locked by other processes")))
    }

    /// Writes `info` in place of what was written before: addresses are known only after binding.
    pub fn update(&self, info: &Value) -> Result<(), LockError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!("{info}\n").into_bytes();
        // One write that covers the old text: a reader never finds half of each.
        let old_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        text.resize(text.len().max(old_bytes), b' ');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)?;
        Ok(())
    }

    /// What the live server of `folder` wrote about itself; `None` when no server holds the lock.
    pub fn read(folder: &Path) -> Option<Value> {
        let mut file = File::open(folder.join(FILE_NAME)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(content(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

fn content(file: &mut File) -> Value {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) => serde_json::from_str(&text).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("temp folder");
        assert_eq!(DataLock::read(folder.path()), None);
        let lock = DataLock::acquire(folder.path(), &json!({"pid": 1})).expect("free");
        lock.update(&json!({"pid": 1, "public": "127.0.0.1:8080"})).expect("writes");
        lock.update(&json!({"pid": 1})).expect("writes less");
        let held = DataLock::acquire(folder.path(), &json!({"pid": 2})).expect_err("held");
        assert_eq!(held, LockError::Held { holder: json!({"pid": 1}) });
        assert_eq!(DataLock::read(folder.path()), Some(json!({"pid": 1})));
        drop(lock);
        assert_eq!(DataLock::read(folder.path()), None, "what a dead server wrote says nothing");
        DataLock::acquire(folder.path(), &json!({"pid": 2})).expect("free again");
    }

    #[test]
    fn a_command_that_looks_does_not_keep_a_server_from_starting() {
        let folder = tempfile::tempdir().expect("temp folder");
        drop(DataLock::acquire(folder.path(), &json!({})).expect("free"));
        let looking = File::open(folder.path().join(FILE_NAME)).expect("opens");
        looking.lock_shared().expect("shared");
        let starting = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || DataLock::acquire(&folder, &json!({"pid": 3})).map(drop)
        });
        looking.unlock().expect("unlocks");
        starting.join().expect("no panic").expect("the look ended");
    }
}

//! What is live, as the store keeps it.

use super::TextId;
use crate::clock::Micros;

/// One row of `live`: the last good version of a flow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRow {
    /// The file as the user knows it.
    pub file: String,
    /// The flow's name.
    pub flow: String,
    /// The pinned text.
    pub text_id: TextId,
    /// The digest of the text. Read, never written: it belongs to the text.
    pub digest: String,
    /// The generation of the live set that brought this version.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Micros,
}

/// What was live last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// The last generation that was stored; 0: none yet.
    pub generation: u64,
    /// The files, by name. A row whose text is gone is left out.
    pub rows: Vec<LiveRow>,
}

/// A change of what is live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveChange {
    /// The generation of the live set after it. The stored one never goes back.
    pub generation: u64,
    /// Rows to write, one a file.
    pub put: Vec<LiveRow>,
    /// Files whose rows go. A file that is in `put` too keeps what that says.
    pub remove: Vec<String>,
}

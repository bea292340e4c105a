//! `${env:NAME}` and `${file:PATH}`: the only way in which a secret enters the settings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Mode;
use super::layers::Layers;
use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::{child, dotted};

/// Bytes of a file that `${file:…}` reads at most.
pub(super) const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// What stands in a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Env(&'a str),
    File(&'a str),
    /// `${…}` with no source that we know.
    Strange(&'a str),
}

/// Reads variables: the process's own, or a test's.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the references of a document were.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Values (JSON pointers) that hold a reference.
    pub used: BTreeSet<String>,
    /// Values whose reference could not be followed.
    pub unresolved: BTreeSet<String>,
    /// Files that were named, whether they can be read or not.
    pub files: BTreeSet<PathBuf>,
    /// What was wrong.
    pub findings: Vec<Diagnostic>,
}

/// Follows every reference in `value`. What cannot be followed stays as written.
pub(super) fn follow(
    value: &mut Value,
    layers: &Layers,
    base: &Path,
    variables: Variables<'_>,
    mode: Mode,
) -> References {
    let mut walk = Walk { layers, base, variables, mode, references: References::default() };
    walk.value("", value);
    walk.references
}

struct Walk<'a> {
    layers: &'a Layers,
    base: &'a Path,
    variables: Variables<'a>,
    mode: Mode,
    references: References,
}

impl Walk<'_> {
    fn value(&mut self, pointer: &str, value: &mut Value) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries.iter_mut() {
                    self.value(&child(pointer, key), value);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.value(&child(pointer, &index.to_string()), value);
                }
            }
            Value::String(text) if text.contains("${") => self.text(pointer, text),
            _ => {}
        }
    }

    fn text(&mut self, pointer: &str, text: &mut String) {
        self.references.used.insert(pointer.to_owned());
        let mut result = String::new();
        for part in parts(text) {
            let found = match part {
                Part::Text(text) => Ok(text.to_owned()),
                Part::Env(name) => (self.variables)(name).ok_or_else(|| {
                    self.missing(pointer, "unset_variable", format!("the environment variable {name} is not set"))
                }),
                Part::File(path) => {
                    let whole = self.base.join(path);
                    let read = read_secret(&whole);
                    self.references.files.insert(whole);
                    read.map_err(|cause| {
                        self.missing(pointer, "missing_file", format!("the file {path} cannot be read: {cause}"))
                    })
                }
                Part::Strange(text) => Err(Diagnostic::new(
                    "bad_reference",
                    self.layers.value_place(pointer),
                    dotted(pointer),
                    format!("`{text}` names neither a variable nor a file"),
                )
                .help("write ${env:NAME} or ${file:PATH}")),
            };
            match found {
                Ok(text) => result.push_str(&text),
                Err(finding) => {
                    self.references.findings.push(finding);
                    self.references.unresolved.insert(pointer.to_owned());
                }
            }
        }
        if !self.references.unresolved.contains(pointer) {
            *text = result;
        }
    }

    fn missing(&self, pointer: &str, code: &'static str, message: String) -> Diagnostic {
        let severity = if self.mode == Mode::Serve { Severity::Error } else { Severity::Note };
        Diagnostic::new(code, self.layers.value_place(pointer), dotted(pointer), message).severity(severity)
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else { break };
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let whole = &rest[start..=end];
        parts.push(match rest[start + 2..end].split_once(':') {
            Some(("env", name)) if !name.is_empty() => Part::Env(name),
            Some(("file", path)) if !path.is_empty() => Part::File(path),
            _ => Part::Strange(whole),
        });
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The text of a secret file without the line end that editors add.
fn read_secret(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| cause(&error))?.len();
    if size > SECRET_FILE_BYTES_MAX {
        return Err(format!("it has more than {SECRET_FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| cause(&error))?;
    Ok(text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
}

/// What the system says, in a few words.
pub(super) fn cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_its_references() {
        assert_eq!(parts("plain"), [Part::Text("plain")]);
        assert_eq!(parts("Bearer ${env:TOKEN}!"), [Part::Text("Bearer "), Part::Env("TOKEN"), Part::Text("!")]);
        assert_eq!(parts("${file:a/b}${env:X}"), [Part::File("a/b"), Part::Env("X")]);
        assert_eq!(parts("${HOME} ${env:}"), [Part::Strange("${HOME}"), Part::Text(" "), Part::Strange("${env:}")]);
        assert_eq!(parts("${open"), [Part::Text("${open")]);
    }

    #[test]
    fn a_secret_file_loses_one_line_end() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("secret");
        for (text, expected) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            std::fs::write(&path, text).expect("write");
            assert_eq!(read_secret(&path).expect("read"), expected);
        }
        std::fs::write(&path, vec![b'x'; SECRET_FILE_BYTES_MAX as usize + 1]).expect("write");
        assert!(read_secret(&path).is_err());
    }
}

//! YAML into JSON with a place for every key and value; all findings at once, never only the first.
//!
//! The YAML crate is known here and nowhere else.

mod events;
mod lines;
mod node;
mod syntax;
mod unquoted;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use serde_yaml::{Location, Spanned};

use crate::diagnostic::{Diagnostic, Place};
use node::Node;
use unquoted::Unquoted;

/// Longest file that is parsed.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most nodes of one file, after aliases.
const NODES_MAX: usize = 20_000;
/// Deepest nesting of maps and lists.
const DEPTH_MAX: usize = 32;
/// Most anchors and most aliases of one file.
const ANCHORS_MAX: usize = 100;
const ALIASES_MAX: usize = 500;
/// Most unquoted templates that are stepped over to go on reading.
const UNQUOTED_MAX: usize = 100;

/// Byte ranges of one node in the text. `key` is absent for list items and the root.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// The key's bytes.
    pub key: Option<Range<usize>>,
    /// The value's bytes (scalars exact, quotes included; maps and lists may give only their start).
    pub value: Range<usize>,
}

/// A parsed file: its JSON value and where each node stands. Nodes are named by JSON pointer (`/actions/0/name`).
#[derive(Debug, Clone)]
pub struct Doc {
    /// The path as the user knows it.
    pub file: String,
    /// The whole text (without a byte order mark).
    pub text: Arc<str>,
    /// The document as JSON.
    pub value: Value,
    /// JSON pointer to byte ranges.
    pub nodes: HashMap<String, Located>,
}

/// `value` as YAML in block style.
pub fn to_text(value: &Value) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}

/// Parses `text`. The document is there whenever there was no syntax error (duplicate keys, unquoted `{{` and
/// the like are findings beside it).
pub fn parse(file: &str, text: &str) -> (Option<Doc>, Vec<Diagnostic>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return (None, vec![Diagnostic::new("file_too_large", lines::place(file, text, &(0..0)), "", message)]);
    }
    let mut findings = Vec::new();
    let mut stepped_over: Vec<Unquoted> = Vec::new();
    let mut source = text.to_owned();
    let mut options = options();
    let root = loop {
        let error = match serde_yaml::from_str_with_options::<Spanned<Node>>(&source, options.clone()) {
            Ok(root) => break root,
            Err(error) => error,
        };
        if let serde_yaml::Error::DuplicateMappingKey { location, key } = error.without_snippet() {
            findings.extend(duplicates(file, &source, key.as_deref(), *location));
            options.duplicate_keys = serde_yaml::DuplicateKeyPolicy::FirstWins;
            continue;
        }
        let at = error.location().map_or(0, |location| lines::byte_at(&source, location.line(), location.column()));
        match unquoted::around(&source, at) {
            Some(found) if stepped_over.len() < UNQUOTED_MAX => {
                found.blank_out(&mut source);
                stepped_over.push(found);
            }
            _ => {
                findings.extend(stepped_over.iter().map(|found| found.finding(file, text, "")));
                findings.push(syntax::finding(file, &source, &error, at));
                return (None, findings);
            }
        }
    };
    let mut builder = Builder { file, text, stepped_over, nodes: HashMap::new(), findings };
    let value = builder.build(root, "", None);
    let Builder { nodes, findings, .. } = builder;
    (Some(Doc { file: file.to_owned(), text: Arc::from(text), value, nodes }), findings)
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::PassThrough,
        budget: serde_yaml::budget! {
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_anchors: ANCHORS_MAX,
            max_aliases: ALIASES_MAX,
            max_documents: 1,
        },
    }
}

/// All duplicate keys; the crate names only the first, and may know one that the event scan does not (`1` and `0x1`).
fn duplicates(file: &str, text: &str, key: Option<&str>, location: Location) -> Vec<Diagnostic> {
    let finding = |key: &str, path: &str, at: &Range<usize>, first: Option<&Range<usize>>| {
        let message = match first.map(|first| lines::place(file, text, first).line) {
            Some(line) => format!("the key `{key}` stands twice in one block; the first one is in line {line}"),
            None => format!("the key `{key}` stands twice in one block"),
        };
        Diagnostic::new("duplicate_key", lines::place(file, text, at), path, message)
            .help("keep one of them: the first one counts here")
    };
    let found = events::duplicate_keys(text);
    if found.is_empty() {
        let key = key.unwrap_or("?");
        return vec![finding(key, key, &byte_range(location), None)];
    }
    let findings = found.iter().map(|found| finding(&found.key, &found.path, &found.second, Some(&found.first)));
    findings.collect()
}

fn byte_range(location: Location) -> Range<usize> {
    let start = location.span().byte_offset().unwrap_or(0) as usize;
    start..start + location.span().byte_len().unwrap_or(0) as usize
}

/// From the crate's nodes to JSON and the map of places.
struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    stepped_over: Vec<Unquoted>,
    nodes: HashMap<String, Located>,
    findings: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn build(&mut self, node: Spanned<Node>, pointer: &str, key: Option<Range<usize>>) -> Value {
        let mut range = byte_range(node.defined);
        if let Some(found) = self.unquoted(&node.value, &range) {
            self.findings.push(found.finding(self.file, self.text, &dotted(pointer)));
            self.nodes.insert(pointer.to_owned(), Located { key, value: found.range.clone() });
            return Value::String(self.text[found.range].to_owned());
        }
        if matches!(node.value, Node::List(_) | Node::Map(_)) {
            range.end = lines::line_around(self.text, range.start).end.max(range.start);
        }
        self.nodes.insert(pointer.to_owned(), Located { key, value: range.clone() });
        match node.value {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::Text(text) => Value::String(text),
            Node::NotFinite => {
                self.ambiguous(pointer, &range);
                Value::Null
            }
            Node::Number(number) => {
                let raw = self.text.get(range.clone()).unwrap_or_default();
                if !is_plain_number(raw, &number) {
                    self.ambiguous(pointer, &range);
                }
                Value::Number(number)
            }
            Node::List(items) => {
                let build = |(index, item)| self.build(item, &child(pointer, &format!("{index}")), None);
                Value::Array(items.into_iter().enumerate().map(build).collect())
            }
            Node::Map(entries) => self.build_map(entries, pointer),
        }
    }

    fn build_map(&mut self, entries: Vec<(Spanned<Node>, Spanned<Node>)>, pointer: &str) -> Value {
        let mut object = Map::with_capacity(entries.len());
        for (key, value) in entries {
            let range = byte_range(key.defined);
            let text = match key.value {
                Node::Text(text) => text,
                Node::Map(_) | Node::List(_) => {
                    self.key_is_no_text(&range, pointer);
                    continue;
                }
                _ => self.text.get(range.clone()).unwrap_or_default().to_owned(),
            };
            let pointer = child(pointer, &text);
            let value = self.build(value, &pointer, Some(range));
            object.insert(text, value);
        }
        Value::Object(object)
    }

    /// The unquoted template that `node` is: a map in a map as the crate reads it, or one that was stepped over.
    fn unquoted(&self, node: &Node, range: &Range<usize>) -> Option<Unquoted> {
        match node {
            Node::Map(_) => unquoted::at(self.text, range.start),
            Node::Text(_) => self.stepped_over.iter().find(|found| found.range.start == range.start).cloned(),
            _ => None,
        }
    }

    fn key_is_no_text(&mut self, range: &Range<usize>, pointer: &str) {
        let finding = match unquoted::at(self.text, range.start) {
            Some(found) => {
                let place = lines::place(self.file, self.text, &found.range);
                Diagnostic::new("unquoted_template", place, dotted(pointer), "a key cannot be a template")
                    .help("keys are fixed texts: write the key out and put the template into its value, in quotes")
            }
            None => Diagnostic::new(
                "yaml_syntax",
                lines::place(self.file, self.text, range),
                dotted(pointer),
                "a key must be a text, this one is a list or a map",
            ),
        };
        self.findings.push(finding);
    }

    fn ambiguous(&mut self, pointer: &str, range: &Range<usize>) {
        let raw = self.text.get(range.clone()).unwrap_or_default();
        let message = format!("`{raw}` may be meant as a text or as a number");
        let place = lines::place(self.file, self.text, range);
        let key = pointer.rsplit('/').next().filter(|key| key.parse::<usize>().is_err()).map(unescape);
        let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
        self.findings.push(
            Diagnostic::new("ambiguous_number", place, dotted(pointer), message)
                .help(format!("quote it: write  {key}\"{raw}\"   (or a plain number such as 12 or 1.5)")),
        );
    }
}

/// Whether `raw` is a number as everybody writes it, and `number` is what it says: not `012`, `1_000`, `+1617…`, `0x1F`.
fn is_plain_number(raw: &str, number: &Number) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let is_integer = !digits.contains(['.', 'e', 'E']);
    all_digits(whole)
        && all_digits(fraction)
        && all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        && !leading_zero
        && (!is_integer || number.is_i64() || number.is_u64())
}

impl Doc {
    /// The place of the key at `pointer` (of the value, where there is no key).
    pub fn key_place(&self, pointer: &str) -> Place {
        match self.nodes.get(pointer).and_then(|located| located.key.as_ref()) {
            Some(key) => self.place(key),
            None => self.value_place(pointer),
        }
    }

    /// The place of the value at `pointer`; of its nearest existing parent when there is none.
    pub fn value_place(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(located) = self.nodes.get(pointer) {
                // An empty value has no bytes of its own: its key is what can be seen.
                let range = if located.value.is_empty() { located.key.as_ref() } else { None };
                return self.place(range.unwrap_or(&located.value));
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return self.place(&(0..0)),
            }
        }
    }

    /// The place of `range` (bytes within the *decoded* scalar at `pointer`): exact for plain, quoted and block
    /// scalars, the scalar's start where it cannot be told.
    pub fn place_within(&self, pointer: &str, range: Range<usize>) -> Place {
        let exact = || {
            let located = self.nodes.get(pointer)?;
            let raw = self.text.get(located.value.clone())?;
            let offsets = lines::align(raw, self.value.pointer(pointer)?.as_str()?)?;
            let last = offsets.get(range.end.saturating_sub(1).max(range.start))?;
            let start = located.value.start + offsets.get(range.start)?;
            Some(self.place(&(start..located.value.start + last + 1)))
        };
        exact().unwrap_or_else(|| self.value_place(pointer))
    }

    /// The place of a range of bytes of the text.
    pub fn place(&self, range: &Range<usize>) -> Place {
        lines::place(&self.file, &self.text, range)
    }
}

/// `/actions/0/fields/a~1b` as people write it: `actions[0].fields.a/b`.
pub fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    for segment in pointer.split('/').skip(1) {
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            let _ = write!(text, "[{segment}]");
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&unescape(segment));
        }
    }
    text
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Appends one segment to a JSON pointer, escaping `~` and `/`.
pub fn child(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;

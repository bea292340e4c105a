//! One compiled schema for all flows that name the same file: ten thousand flows of one schema hold it once.
//!
//! A memory of what is in use, nothing else: the same text gives the same schema, whether it was remembered or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use super::BodySchema;

/// Remembered texts beyond which those that nobody uses any more are forgotten.
const FORGET_FROM: usize = 256;

/// Schemas by name and text.
type Memory = HashMap<(String, String), Weak<BodySchema>>;

/// Schemas in use.
static IN_USE: Mutex<Option<Memory>> = Mutex::new(None);

impl BodySchema {
    /// The schema of a file. The error says in one line what is wrong with it.
    pub fn of_file(name: &str, text: &str) -> Result<Arc<Self>, String> {
        let key = (name.to_owned(), text.to_owned());
        if let Some(schema) = with_memory(|memory| memory.get(&key).and_then(Weak::upgrade)) {
            return Ok(schema);
        }
        let schema = Arc::new(compile(name, text)?);
        Ok(with_memory(|memory| {
            if memory.len() >= FORGET_FROM {
                memory.retain(|_, schema| schema.strong_count() > 0);
            }
            // Another thread may have been faster: then its schema is the one that is shared.
            let known = memory.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                memory.insert(key, Arc::downgrade(&schema));
                schema
            })
        }))
    }
}

fn with_memory<T>(work: impl FnOnce(&mut Memory) -> T) -> T {
    let mut memory = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    work(memory.get_or_insert_default())
}

fn compile(name: &str, text: &str) -> Result<BodySchema, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source: Value = serde_json::from_str(text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    BodySchema::compile(name, &source).map_err(|error| {
        let at = if error.pointer.is_empty() { String::new() } else { format!(" at {}", error.pointer) };
        format!("{name} is no JSON Schema{at}: {}", error.message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_share_a_schema_and_others_do_not() {
        let text = r#"{"type":"object","title":"shared"}"#;
        let of = |name, text: &str| BodySchema::of_file(name, text).expect("a schema");
        let first = of("shared-a.json", text);
        assert!(Arc::ptr_eq(&first, &of("shared-a.json", text)));
        assert!(!Arc::ptr_eq(&first, &of("shared-b.json", text)), "findings name the file");
        assert!(!Arc::ptr_eq(&first, &of("shared-a.json", r#"{"type":"object"}"#)));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(weak.upgrade().is_none(), "what nobody uses is not kept");
        assert!(BodySchema::of_file("x.json", "{").expect_err("no JSON").starts_with("x.json is not JSON"));
    }
}

//! `trigger:` into a trigger.

use std::sync::Arc;

use serde_json::Value;

use super::Linter;
use super::intake;
use super::references::{Known, Names};
use super::shape::Checked;
use super::texts::Texts;
use crate::diagnostic::{Diagnostic, nearest};
use crate::flow::format::{AuthenticationFile, TestLeadsFile, TriggerFile};
use crate::flow::{Authentication, PathPattern, Segment, TestLeads, Trigger};
use crate::schema::BodySchema;
use crate::yaml::dotted;

/// Methods that a trigger may answer.
const METHODS: &[&str] = &["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS"];
/// Most segments of a path.
const SEGMENTS_MAX: usize = 32;

impl Linter<'_> {
    /// The trigger of a checked flow file. Faults become findings and leave their default behind.
    pub(super) fn trigger(&mut self, checked: &Checked, file: &TriggerFile, parameters: &Value) -> Trigger {
        let schema = file.schema.as_ref().and_then(|schema| self.body_schema(schema));
        let path = file.path.as_deref().and_then(|path| self.path(path));
        let path_parameters = path.as_ref().map(PathPattern::parameters).unwrap_or_default();
        let split_on = self.split_on(checked, file, schema.as_deref(), parameters, &path_parameters);
        let seen = match &split_on {
            Some(split) => split.item_schema.as_deref(),
            None => schema.as_deref().filter(|_| file.split_on.is_none()),
        };
        let names = Names {
            schema: seen,
            parameters,
            path_parameters: &path_parameters,
            actions: &[],
            own: None,
            awaited: Vec::new(),
            loops: Vec::new(),
            per_item: false,
            sees_inside: false,
            known: Known::default(),
        };
        let conditions = file.conditions.as_ref().map(|conditions| {
            let mut texts =
                Texts { doc: self.doc, templates: &checked.templates, names: &names, findings: &mut self.findings };
            texts.conditions(conditions, "/trigger/conditions")
        });
        let dedupe = file.dedupe.as_ref().and_then(|dedupe| self.dedupe(checked, dedupe, &names));
        Trigger {
            methods: self.methods(file.method.as_ref()),
            authentication: match file.authentication {
                Some(AuthenticationFile::None) => Authentication::None,
                Some(AuthenticationFile::SignedUrl) | None => Authentication::SignedUrl,
            },
            validation: file.validation.unwrap_or(self.bundle.defaults.validation),
            conditions: conditions.unwrap_or_default(),
            test_leads: self.test_leads(file.test_leads.as_ref()),
            concurrency: file.concurrency.as_ref().map(intake::concurrency),
            dedupe,
            split_on,
            schema,
            path,
        }
    }

    fn body_schema(&mut self, written: &Value) -> Option<Arc<BodySchema>> {
        const POINTER: &str = "/trigger/schema";
        let schema = match written {
            Value::String(name) => self.schema_file(name)?,
            inline => BodySchema::compile("the inline schema", inline)
                .map(Arc::new)
                .map_err(|error| {
                    let pointer = format!("{POINTER}{}", error.pointer);
                    self.report("invalid_schema", &pointer, format!("this is no JSON Schema: {}", error.message), None);
                })
                .ok()?,
        };
        if schema.accepts_empty_object() {
            let message = format!("{} accepts `{{}}`: a lead without any field fits it", schema.name);
            let help = "name what a lead must have under `required`; create_record refuses an empty lead anyway";
            self.report("open_schema", POINTER, message, Some(help.into()));
        }
        Some(schema)
    }

    fn schema_file(&mut self, name: &str) -> Option<Arc<BodySchema>> {
        const POINTER: &str = "/trigger/schema";
        let Some(text) = self.bundle.schemas.get(name) else {
            let near = nearest(name, self.environment.schemas_known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("there is no `{name}` in the folder of schemas{near}");
            let help = "put the file there, or write the schema out under `schema:`";
            self.report("unknown_schema", POINTER, message, Some(help.into()));
            return None;
        };
        match BodySchema::of_file(name, text) {
            Ok(schema) => Some(schema),
            Err(message) => {
                self.report("invalid_schema", POINTER, message, None);
                None
            }
        }
    }

    fn methods(&mut self, written: Option<&Value>) -> Vec<String> {
        let (single, list) = (written.and_then(Value::as_str), written.and_then(Value::as_array));
        let listed = list.into_iter().flatten().enumerate();
        let listed = listed.filter_map(|(index, item)| Some((format!("/trigger/method/{index}"), item.as_str()?)));
        let written: Vec<_> =
            single.map(|method| ("/trigger/method".to_owned(), method)).into_iter().chain(listed).collect();
        let mut methods: Vec<String> = Vec::new();
        for (pointer, method) in written {
            let upper = method.to_ascii_uppercase();
            if !METHODS.contains(&upper.as_str()) {
                let near = nearest(method, METHODS.iter().copied());
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message = format!("`{method}` is not a method that a trigger answers{near}");
                let help = format!("one of: {}", METHODS.join(", "));
                self.report("invalid_value", &pointer, message, Some(help));
            } else if !methods.contains(&upper) {
                methods.push(upper);
            }
        }
        if methods.is_empty() { vec!["POST".into()] } else { methods }
    }

    fn path(&mut self, written: &str) -> Option<PathPattern> {
        parse_path(written)
            .map_err(|problem| {
                let help = "write relative segments and {parameters}: \"customers/{id}/orders\"";
                self.report("bad_path", "/trigger/path", problem, Some(help.into()));
            })
            .ok()
    }

    fn test_leads(&mut self, file: Option<&TestLeadsFile>) -> TestLeads {
        let mut test_leads = TestLeads::default();
        let Some(file) = file else { return test_leads };
        test_leads.run = file.run.unwrap_or(test_leads.run);
        if let Some(marker) = &file.marker {
            if marker.trim().is_empty() {
                let message = "a blank marker would make every lead a test lead";
                self.report("invalid_value", "/trigger/test_leads/marker", message.into(), None);
            }
            test_leads.marker.clone_from(marker);
        }
        test_leads
    }

    /// A finding at the value of `pointer`.
    /// A finding about a key, not its value.
    pub(super) fn report_key(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        let place = self.doc.key_place(pointer);
        self.findings.push(Diagnostic { help, ..Diagnostic::new(code, place, dotted(pointer), message) });
    }

    pub(super) fn report(&mut self, code: &'static str, pointer: &str, message: String, help: Option<String>) {
        let place = self.doc.value_place(pointer);
        self.findings.push(Diagnostic { help, ..Diagnostic::new(code, place, dotted(pointer), message) });
    }
}

impl PathPattern {
    /// The names of its parameters.
    pub(super) fn parameters(&self) -> Vec<String> {
        let name = |segment: &Segment| match segment {
            Segment::Parameter(name) => Some(name.clone()),
            Segment::Literal(_) => None,
        };
        self.segments.iter().filter_map(name).collect()
    }
}

/// A relative path: segments between `/`, each a literal or one `{parameter}`.
fn parse_path(written: &str) -> Result<PathPattern, String> {
    let source = written.trim_matches('/');
    let segments = source.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
    if segments.len() > SEGMENTS_MAX {
        return Err(format!("the path has more than {SEGMENTS_MAX} segments"));
    }
    let pattern = PathPattern { source: source.to_owned(), segments };
    let mut names: Vec<_> = pattern.parameters().iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the path names `{{{}}}` twice", pair[0])),
        None => Ok(pattern),
    }
}

fn parse_segment(segment: &str) -> Result<Segment, String> {
    if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        return if starts_well && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            Ok(Segment::Parameter(name.to_owned()))
        } else {
            Err(format!("`{{{name}}}` is no parameter: letters, digits and `_`, not starting with a digit"))
        };
    }
    let refused =
        |character: char| character.is_whitespace() || character.is_control() || "{}?#%\\".contains(character);
    match segment {
        "" => Err("the path is empty or has an empty segment".into()),
        "." | ".." => Err(format!("a path has no `{segment}` segments")),
        _ => match segment.chars().find(|character| refused(*character)) {
            Some('{' | '}') => Err(format!("`{segment}`: a parameter is a whole segment")),
            Some(character) => Err(format!("`{segment}`: a path has no `{}`", character.escape_debug())),
            None => Ok(Segment::Literal(segment.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_literals_and_whole_parameters() {
        let pattern = parse_path("/customers/{id}/orders/").expect("a path");
        assert_eq!(pattern.source, "customers/{id}/orders");
        assert_eq!(pattern.segments[1], Segment::Parameter("id".into()));
        for bad in ["", "/", "a//b", "a/../b", "a?b", "{id}x", "{1d}", "{}", "a b", "{id}/{ID}", "a%2fb"] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }
}

//! `split_on`, `dedupe` and `concurrency` of the trigger.

use std::time::Duration;

use serde_json::Value;

use super::Linter;
use super::references::{Known, Names};
use super::shape::Checked;
use super::texts::Texts;
use crate::flow::format::{ConcurrencyFile, DedupeFile, TriggerFile};
use crate::flow::{Concurrency, Dedupe, SplitOn};
use crate::schema::BodySchema;
use crate::template::{Destination, PathRef, Template, is_template};
use crate::units;

/// Where `split_on` stands.
const SPLIT_ON: &str = "/trigger/split_on";

/// The window of a `dedupe` that names none.
const WINDOW_DEFAULT: Duration = Duration::from_mins(10);
/// The longest window: a key is kept that long.
const WINDOW_MAX: Duration = Duration::from_hours(366 * 24);

/// Runs at once where `concurrency` does not say.
const RUNS_DEFAULT: u32 = 25;
/// Runs that may wait where `concurrency` does not say.
const WAITING_DEFAULT: u64 = 100_000;

/// The gate of a flow.
pub(super) fn concurrency(file: &ConcurrencyFile) -> Concurrency {
    Concurrency { runs: file.runs.unwrap_or(RUNS_DEFAULT), waiting: file.waiting.unwrap_or(WAITING_DEFAULT) }
}

impl Linter<'_> {
    /// `split_on`, with what the schema says of an item.
    pub(super) fn split_on(
        &mut self,
        checked: &Checked,
        file: &TriggerFile,
        schema: Option<&BodySchema>,
        parameters: &Value,
        path_parameters: &[String],
    ) -> Option<SplitOn> {
        let written = file.split_on.as_deref()?;
        let names = Names {
            schema,
            parameters,
            path_parameters,
            actions: &[],
            own: None,
            awaited: Vec::new(),
            loops: Vec::new(),
            per_item: false,
            sees_inside: false,
            known: Known::default(),
        };
        let help = "write the path of the list:  split_on: \"{{trigger.body.items}}\"";
        if !is_template(written) {
            let message = "`split_on` is a template that gives a list, this is a text without one".to_owned();
            self.report("bad_split_on", SPLIT_ON, message, Some(help.into()));
            return None;
        }
        let list = self.texts_of(checked, &names).template(written, SPLIT_ON, Destination::Plain)?;
        if !list.is_lone_expression() {
            let message = "with text around the expression it gives a text, never a list".to_owned();
            self.report("bad_split_on", SPLIT_ON, message, Some(help.into()));
            return None;
        }
        let path = path_of(&list);
        if let (Some(schema), Some(path)) = (schema, &path)
            && !schema.may_be_list(path)
        {
            let message = format!("{} says that this is no list", schema.name);
            self.report("bad_split_on", SPLIT_ON, message, Some(help.into()));
        }
        let item_schema = schema.zip(path.as_ref()).map(|(schema, path)| std::sync::Arc::new(schema.item_at(path)));
        Some(SplitOn { list, path, item_schema })
    }

    /// `dedupe`. A key that is the same for every lead would let one lead through and swallow all others.
    pub(super) fn dedupe(&mut self, checked: &Checked, file: &DedupeFile, names: &Names<'_>) -> Option<Dedupe> {
        let window = match file.window.as_deref().map(units::duration) {
            Some(Ok(window)) => window,
            Some(Err(_)) | None => WINDOW_DEFAULT,
        };
        if window.is_zero() || window > WINDOW_MAX {
            let longest = units::print_duration(WINDOW_MAX);
            let message = format!("`window` must be longer than nothing and at most {longest}");
            self.report("invalid_value", "/trigger/dedupe/window", message, None);
        }
        let mut key = Vec::new();
        for (index, part) in file.key.iter().flatten().enumerate() {
            let pointer = format!("/trigger/dedupe/key/{index}");
            let template = is_template(part)
                .then(|| self.texts_of(checked, names).template(part, &pointer, Destination::Plain))
                .flatten();
            if !is_template(part) || template.as_ref().is_some_and(is_constant) {
                let message = "this part of the key is the same for every lead".to_owned();
                let help = "name what differs from lead to lead: \"{{trigger.body.UserDetails.Email}}\"";
                self.report("constant_key", &pointer, message, Some(help.into()));
            }
            key.extend(template);
        }
        (!key.is_empty()).then_some(Dedupe { key, window })
    }

    fn texts_of<'t>(&'t mut self, checked: &'t Checked, names: &'t Names<'t>) -> Texts<'t> {
        Texts { doc: self.doc, templates: &checked.templates, names, findings: &mut self.findings }
    }
}

/// What is the same for every lead of a flow.
const CONSTANT_ROOTS: &[&str] = &["parameters", "flow", "environment"];

/// Whether nothing in it can differ from lead to lead.
fn is_constant(template: &Template) -> bool {
    let is_fixed = |path: &PathRef| CONSTANT_ROOTS.iter().any(|root| path.root.eq_ignore_ascii_case(root));
    !template.is_volatile() && template.paths().iter().all(is_fixed)
}

/// The path behind `trigger.body` when the template is that path and nothing else. A path that walks into another list
/// is none: its item cannot be put back where it stood.
fn path_of(template: &Template) -> Option<Vec<String>> {
    let [path] = template.paths().try_into().ok()?;
    let inner = template.source.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let PathRef { root, segments, range } = path;
    let (first, rest) = segments.split_first()?;
    let is_whole = template.source.get(range).is_some_and(|written| written == inner);
    let in_body = root.eq_ignore_ascii_case("trigger") && first.eq_ignore_ascii_case("body");
    let is_plain = rest.iter().all(|segment| segment.parse::<usize>().is_err());
    (is_whole && in_body && is_plain).then(|| rest.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_path_can_be_put_back() {
        let path = |text: &str| path_of(&Template::compile(text, Destination::Plain).expect("a template"));
        let segments = |path: &[&str]| Some(path.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(path("{{trigger.body}}"), segments(&[]));
        assert_eq!(path(" {{ Trigger.Body.Items.all }} "), segments(&["Items", "all"]));
        assert_eq!(path("{{trigger.body.[my items]}}"), segments(&["my items"]));
        for other in [
            "{{trigger.body.lists.[0]}}",
            "{{trigger.query.items}}",
            "{{parameters.items}}",
            "{{coalesce trigger.body.items trigger.body.all}}",
        ] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}

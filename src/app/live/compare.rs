//! A mapping against what the system tells of the entity: pure.

use serde_json::Value;

use super::mapping::{Does, Field, Mapping, Sets};
use crate::connectors::live::{Choice, EntityShape, FieldKind, FieldShape, Need};
use crate::diagnostic::{Diagnostic, Severity, nearest};

/// Most choices that a finding lists.
const CHOICES_SHOWN_MAX: usize = 12;

/// Everything in which `mapping` does not fit `shape`, in the order of the file; what is missing comes last.
pub(super) fn compare(mapping: &Mapping, shape: &EntityShape) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for named in &mapping.names {
        if find(shape, &named.name).is_none() && !may_be_there(shape, &named.name) {
            findings.push(unknown(mapping, shape, &named.name, named.pointer()));
        }
    }
    for field in &mapping.fields {
        match find(shape, &field.name) {
            Some(known) => findings.extend(of_field(mapping, field, known)),
            // A nested object makes or names another record: what it may hold is not told here.
            None if field.sets == Sets::Nested || may_be_there(shape, &field.name) => {}
            None => findings.push(unknown(mapping, shape, &field.name, field.pointer())),
        }
    }
    findings.extend(missing(mapping, shape));
    findings
}

fn find<'a>(shape: &'a EntityShape, name: &str) -> Option<&'a FieldShape> {
    let is_it = |field: &&FieldShape| {
        if shape.case_matters { field.name == name } else { field.name.eq_ignore_ascii_case(name) }
    };
    shape.fields.iter().find(is_it)
}

/// Names that no list of fields has: what another field refers to, and words of the protocol.
fn may_be_there(shape: &EntityShape, name: &str) -> bool {
    let is_reference = name.starts_with('_') && name.ends_with("_value");
    let is_path = name.contains(['.', '/']) && !name.contains('@');
    let is_annotation = name.contains("@odata.") && !name.ends_with("@odata.bind");
    shape.is_open || is_reference || is_path || is_annotation
}

fn unknown(mapping: &Mapping, shape: &EntityShape, name: &str, pointer: &str) -> Diagnostic {
    let message = format!("`{}` has no field `{name}`", mapping.entity);
    let finding = mapping.at_name("unknown_field", pointer, message);
    let names = || shape.fields.iter().map(|field| field.name.as_str());
    let lower = name.to_lowercase();
    // A lookup is set by another name than people see.
    let bound = names().find(|known| known.to_lowercase().strip_suffix("@odata.bind") == Some(&lower));
    match bound.or_else(|| nearest(name, names())) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help("write the name that the API of the system uses, not the label on its forms"),
    }
}

fn of_field(mapping: &Mapping, field: &Field, known: &FieldShape) -> Vec<Diagnostic> {
    let settable = match mapping.does {
        Does::Create => known.on_create,
        Does::Update => known.on_update,
        Does::Upsert => known.on_create || known.on_update,
        Does::Read => true,
    };
    if !settable {
        let message = format!("`{}` cannot be set: the system fills it in", known.name);
        let help = "leave it out";
        return vec![mapping.at_name("read_only_field", field.pointer(), message).help(help)];
    }
    let wrong = match &field.sets {
        Sets::Anything | Sets::Nested | Sets::Constant(Value::Null) => None,
        Sets::Text => text_fits(known),
        Sets::Constant(value) => fits(value, known),
    };
    wrong.map(|wrong| mapping.at_value(wrong.code, field, wrong.message).help(wrong.help)).into_iter().collect()
}

/// Why a value does not fit.
struct Wrong {
    code: &'static str,
    message: String,
    help: String,
}

fn wrong_type(known: &FieldShape, got: &str, help: String) -> Wrong {
    let message = format!("`{}` takes {}, this is {got}", known.name, words(known.kind));
    Wrong { code: "wrong_field_type", message, help }
}

fn words(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "a text",
        FieldKind::Integer => "a whole number",
        FieldKind::Number => "a number",
        FieldKind::Boolean => "true or false",
        FieldKind::Date => "a date",
        FieldKind::Timestamp => "a point in time",
        FieldKind::Other => "something else",
    }
}

/// A template with text round it never gives a number.
fn text_fits(known: &FieldShape) -> Option<Wrong> {
    match known.kind {
        FieldKind::Integer | FieldKind::Number | FieldKind::Boolean => {
            Some(wrong_type(known, "a text", "one expression and nothing else keeps its type: \"{{…}}\"".into()))
        }
        _ => None,
    }
}

fn fits(value: &Value, known: &FieldShape) -> Option<Wrong> {
    let wants = match (known.kind, value) {
        (FieldKind::Other, _)
        | (_, Value::Object(_) | Value::Array(_))
        | (FieldKind::Text, Value::String(_))
        | (FieldKind::Number, Value::Number(_))
        | (FieldKind::Boolean, Value::Bool(_)) => None,
        (FieldKind::Integer, Value::Number(number)) if is_whole(number) => None,
        (FieldKind::Date, Value::String(text)) if text.parse::<jiff::civil::Date>().is_ok() => None,
        (FieldKind::Timestamp, Value::String(text)) if is_time(text) => None,
        (FieldKind::Text, _) => Some(format!("write \"{value}\" (in quotes)")),
        (FieldKind::Integer, _) => Some(integer_help(value, known)),
        (FieldKind::Number, _) => Some("write a number without quotes".into()),
        (FieldKind::Boolean, _) => Some("write true or false, without quotes".into()),
        (FieldKind::Date, _) => Some("write \"2026-11-21\"".into()),
        (FieldKind::Timestamp, _) => Some("write \"2026-11-21T09:00:00Z\"".into()),
    };
    let wrong = wants.map(|help| wrong_type(known, kind_of(value), help));
    wrong.or_else(|| too_long(value, known)).or_else(|| no_choice(value, known))
}

/// A label in the place of a choice's number is what people write first.
fn integer_help(value: &Value, known: &FieldShape) -> String {
    let by_label = known.choices.iter().find(|choice| value.as_str().is_some_and(|text| is_label(choice, text)));
    match by_label {
        Some(choice) => format!("write {} (its label is {})", choice.value, choice.label),
        None => "write a whole number without quotes".into(),
    }
}

fn is_label(choice: &Choice, text: &str) -> bool {
    !choice.label.is_empty() && choice.label.eq_ignore_ascii_case(text)
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::Date>().is_ok()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn too_long(value: &Value, known: &FieldShape) -> Option<Wrong> {
    let (max, length) = (known.chars_max?, value.as_str()?.chars().count());
    (length > max).then(|| Wrong {
        code: "too_long_for_field",
        message: format!("`{}` takes {max} characters at most, these are {length}", known.name),
        help: "shorten it, or cut it with take: \"{{take text 100}}\"".into(),
    })
}

fn no_choice(value: &Value, known: &FieldShape) -> Option<Wrong> {
    if known.choices.is_empty() || known.choices.iter().any(|choice| choice.value == *value) {
        return None;
    }
    let shown = |choice: &Choice| match &choice.value {
        Value::String(text) => text.clone(),
        other if choice.label.is_empty() => other.to_string(),
        other => format!("{other} ({})", choice.label),
    };
    let listed: Vec<String> = known.choices.iter().take(CHOICES_SHOWN_MAX).map(shown).collect();
    let more = if known.choices.len() > CHOICES_SHOWN_MAX { ", …" } else { "" };
    Some(Wrong {
        code: "unknown_choice",
        message: format!("`{}` has no choice {value}", known.name),
        help: format!("there are: {}{more}", listed.join(", ")),
    })
}

/// What a new record needs and the mapping does not set.
fn missing<'a>(mapping: &'a Mapping, shape: &'a EntityShape) -> impl Iterator<Item = Diagnostic> + 'a {
    let makes = matches!(mapping.does, Does::Create | Does::Upsert);
    let is_set = |known: &FieldShape| {
        let same = |name: &str| find(shape, name).is_some_and(|found| found.name == known.name);
        mapping.fields.iter().any(|field| same(&field.name)) || mapping.names.iter().any(|named| same(&named.name))
    };
    let needed = shape.fields.iter().filter(move |known| makes && known.need != Need::Optional && !is_set(known));
    needed.map(|known| {
        let message = format!("`{}` wants the field `{}`", mapping.entity, known.name);
        let finding = mapping.at_fields("missing_field", message).help(format!("add `{}: …`", known.name));
        if known.need == Need::Expected {
            return finding
                .severity(Severity::Warning)
                .help(format!("people must fill it in on forms, the API does not insist; add `{}: …`", known.name));
        }
        finding
    })
}

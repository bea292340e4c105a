//! `variables:` into variables, and what can be told of a change of one before it happens.

use serde_json::Value;

use super::references::unknown_variable;
use super::{Linter, names};
use crate::flow::format::FlowFile;
use crate::flow::variables::{self, VARIABLES_MAX, Variable, VariableKind};
use crate::template::{Destination, Template, is_template, kind_of};
use crate::yaml::child;

impl Linter<'_> {
    /// The variables of a checked flow file. Faults become findings.
    pub(super) fn variables(&mut self, file: &FlowFile) -> Vec<Variable> {
        let mut declared: Vec<Variable> = Vec::new();
        for (name, initial) in file.variables.iter().flatten() {
            let pointer = child("/variables", name);
            if let Err(problem) = names::action(name) {
                let help = "a letter, then letters, digits and `_`; at most 80 characters";
                self.report_key("bad_name", &pointer, problem, Some(help.into()));
            }
            if variables::find(&declared, name).is_some() {
                let message = format!("there is a variable `{name}` already");
                let help = "names are unique, whatever their case";
                self.report_key("duplicate_name", &pointer, message, Some(help.into()));
                continue;
            }
            if declared.len() == VARIABLES_MAX {
                let message = format!("the flow has more than {VARIABLES_MAX} variables");
                let help = "hold what belongs together in one object";
                self.report_key("invalid_value", &pointer, message, Some(help.into()));
                break;
            }
            self.constant(initial, &pointer, "an initial value is a constant");
            let kind = VariableKind::of(initial);
            declared.push(Variable { name: name.clone(), kind, initial: initial.clone(), secure: false });
        }
        declared
    }

    /// A checked action of type `kind` that changes a variable: whether there is one of that name, and whether it can
    /// take what is known of the value.
    pub(super) fn change(&mut self, pointer: &str, kind: &str, checked: &Value) {
        let Some(name) = checked.get("variable").and_then(Value::as_str) else { return };
        if let Some((message, help)) = unknown_variable(&self.variables, name) {
            self.report("unknown_variable", &child(pointer, "variable"), message, Some(help));
            return;
        }
        let Some(variable) = variables::find(&self.variables, name) else { return };
        let value = checked.get("value");
        let Some((key, message)) = misfit(kind, variable, value) else { return };
        let help = format!("the initial value of `{}` fixes its type; null takes anything", variable.name);
        self.report("variable_type", &child(pointer, key), message, Some(help));
    }
}

/// The key of the change that cannot work, and why.
fn misfit(kind: &str, variable: &Variable, value: Option<&Value>) -> Option<(&'static str, String)> {
    use VariableKind::{Any, Integer, List, Number, Object, Text};
    let Variable { name, kind: held, .. } = variable;
    let words = held.words();
    let given = value.and_then(known_kind);
    let this = || value.map_or("null", kind_of);
    match (kind, held) {
        ("append_variable", Text) if matches!(given, Some(List | Object)) => {
            Some(("value", format!("`{name}` holds text, this is {}", this())))
        }
        ("append_variable", Any | List | Text) => None,
        ("append_variable", _) => {
            Some(("variable", format!("`{name}` holds {words}: only a list or a text can be appended to")))
        }
        ("increment_variable", Any | Integer | Number) => match given {
            Some(Integer) | None => None,
            Some(Number) if *held != Integer => None,
            Some(Number) => Some(("value", format!("`{name}` holds whole numbers, this is not one"))),
            Some(_) => Some(("value", format!("`value` is added to `{name}`: it is a number, this is {}", this()))),
        },
        ("increment_variable", _) => {
            Some(("variable", format!("`{name}` holds {words}: only a number can be added to")))
        }
        _ => {
            let given = given.filter(|given| !held.takes(*given))?;
            let this = if given == Number { "a number with decimals" } else { this() };
            Some(("value", format!("`{name}` holds {words}, this is {this}")))
        }
    }
}

/// The kind of a value as far as it is known before it is rendered: a template with text round it gives text.
fn known_kind(value: &Value) -> Option<VariableKind> {
    match value {
        Value::String(text) if is_template(text) => {
            let template = Template::compile(text, Destination::Plain).ok()?;
            (!template.is_lone_expression()).then_some(VariableKind::Text)
        }
        known => Some(VariableKind::of(known)),
    }
}

//! The variables of one run: what a change must fit, and how stored changes give the same values again.
//!
//! Promise: a change that fails leaves everything as it was. Changes are numbered as they happen; the same changes in
//! the order of their numbers give the same values, and a change holds what it adds, never the whole.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::Failure;
use super::size::size_of;
use crate::flow::variables::{Variable, VariableKind};
use crate::template::{kind_of, text_of};

/// A change that an action asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The variable's name, in any case.
    pub variable: String,
    /// What becomes of it.
    pub how: How,
}

/// How a variable changes.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// It holds this value from now on.
    Set(Value),
    /// The value becomes the last item of a list, or is written behind a text.
    Append(Value),
    /// The number is added to it.
    Increment(Value),
}

/// What one variable is bound by.
#[derive(Debug, Clone, Copy)]
struct Bound {
    kind: VariableKind,
    /// What it holds, in bytes as JSON, roughly: kept, so that a list may grow in a loop without being counted again.
    size: usize,
}

/// The variables of a run.
#[derive(Debug, Clone)]
pub struct Variables {
    /// What templates see.
    values: Value,
    bounds: BTreeMap<String, Bound>,
    /// The number of the last change.
    changes: u64,
}

impl Variables {
    /// The variables of a run that has not begun.
    pub fn new(declared: &[Variable]) -> Self {
        let bound = |variable: &Variable| Bound { kind: variable.kind, size: size_of(&variable.initial, usize::MAX) };
        Self {
            values: declared.iter().map(|variable| (variable.name.clone(), variable.initial.clone())).collect(),
            bounds: declared.iter().map(|variable| (variable.name.clone(), bound(variable))).collect(),
            changes: 0,
        }
    }

    /// What they hold, as an object.
    pub fn values(&self) -> &Value {
        &self.values
    }

    /// Makes a change and answers its number. A variable that would hold more than `bytes_max` is refused.
    pub fn change(&mut self, change: &Change, bytes_max: usize) -> Result<u64, Failure> {
        let Change { variable, how } = change;
        let found = self.bounds.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(variable));
        let held = self.values.as_object_mut();
        let Some((held, bound)) = found.and_then(|(name, bound)| Some((held?.get_mut(name)?, bound))) else {
            return Err(Failure::terminal("unknown_variable", format!("there is no variable `{variable}`")));
        };
        match how {
            How::Set(value) => set(variable, held, bound, value, bytes_max)?,
            How::Append(value) => append(variable, held, bound, value, bytes_max)?,
            How::Increment(value) => *held = sum(variable, held, bound.kind, value)?,
        }
        self.changes += 1;
        Ok(self.changes)
    }

    /// Makes stored changes again, in the order of their numbers. What cannot be made again, because the flow's text is
    /// another one by now, is answered and left out.
    pub fn replay(&mut self, mut stored: Vec<(u64, Change)>) -> Vec<Failure> {
        stored.sort_by_key(|(number, _)| *number);
        let mut failures = Vec::new();
        for (number, change) in stored {
            failures.extend(self.change(&change, usize::MAX).err());
            self.changes = number;
        }
        failures
    }
}

fn too_large(variable: &str, bytes_max: usize) -> Failure {
    let message = format!("`{variable}` would be larger than {bytes_max} bytes (limits.outputs)");
    Failure::terminal("variable_too_large", message)
}

fn misfit(message: String) -> Failure {
    Failure::terminal("variable_type", message)
}

fn set(variable: &str, held: &mut Value, bound: &mut Bound, value: &Value, bytes_max: usize) -> Result<(), Failure> {
    if !bound.kind.takes(VariableKind::of(value)) {
        let hint = if value.is_null() { "; `default` gives another value in its place" } else { "" };
        let message = format!("`{variable}` holds {}, this is {}{hint}", bound.kind.words(), kind_of(value));
        return Err(misfit(message));
    }
    let size = size_of(value, bytes_max);
    if size > bytes_max {
        return Err(too_large(variable, bytes_max));
    }
    bound.size = size;
    held.clone_from(value);
    Ok(())
}

fn append(variable: &str, held: &mut Value, bound: &mut Bound, value: &Value, bytes_max: usize) -> Result<(), Failure> {
    let size = match held {
        Value::Array(_) => bound.size.saturating_add(size_of(value, bytes_max)).saturating_add(1),
        Value::String(_) => {
            let text = text_of(value).map_err(|error| misfit(format!("`{variable}`: {}", error.message)))?;
            bound.size.saturating_add(text.len())
        }
        other => {
            let message = format!("`{variable}` is {}: only a list or a text can be appended to", kind_of(other));
            return Err(misfit(message));
        }
    };
    if size > bytes_max {
        return Err(too_large(variable, bytes_max));
    }
    bound.size = size;
    match held {
        Value::Array(items) => items.push(value.clone()),
        Value::String(text) => text.push_str(&text_of(value).unwrap_or_default()),
        _ => {}
    }
    Ok(())
}

/// Whole numbers stay whole; a sum that is out of range is an error, never another number.
fn sum(variable: &str, held: &Value, kind: VariableKind, by: &Value) -> Result<Value, Failure> {
    let (Value::Number(old), Value::Number(by)) = (held, by) else {
        let wrong = if held.is_number() { by } else { held };
        let what = if held.is_number() { "`value`".to_owned() } else { format!("`{variable}`") };
        return Err(misfit(format!("{what} must be a number, this is {}", kind_of(wrong))));
    };
    let out_of_range = || {
        let message = format!("`{variable}` would leave the range of its numbers");
        Failure::terminal("variable_overflow", message)
    };
    if let (Some(old), Some(by)) = (whole(old), whole(by)) {
        let sum = i64::try_from(old + by).map_err(|_| out_of_range())?;
        return Ok(Value::from(sum));
    }
    if kind == VariableKind::Integer {
        return Err(misfit(format!("`{variable}` holds whole numbers, `value` is not one")));
    }
    let sum = old.as_f64().zip(by.as_f64()).and_then(|(old, by)| Number::from_f64(old + by));
    sum.map(Value::Number).ok_or_else(out_of_range)
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// The object of what `variables` hold at the end, secure ones blotted out with `mask`.
pub fn shown(declared: &[Variable], variables: &Variables, mask: &str) -> Map<String, Value> {
    let one = |variable: &Variable| {
        let value = if variable.secure { Value::from(mask) } else { variables.values[&variable.name].clone() };
        (variable.name.clone(), value)
    };
    declared.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables(initial: Value) -> Variables {
        let kind = VariableKind::of(&initial);
        Variables::new(&[Variable { name: "Total".into(), kind, initial, secure: false }])
    }

    /// What is held after `changes`, or the code of the first failure.
    fn after(initial: Value, changes: Vec<How>) -> Result<Value, String> {
        let mut variables = variables(initial);
        for how in changes {
            variables.change(&Change { variable: "total".into(), how }, 100).map_err(|failure| failure.code)?;
        }
        Ok(variables.values()["Total"].clone())
    }

    #[test]
    fn a_value_of_another_type_is_refused_and_null_takes_anything() {
        let set = |initial: Value, value: Value| after(initial, vec![How::Set(value)]);
        assert_eq!(set(json!(""), json!("x")), Ok(json!("x")));
        assert_eq!(set(json!(0.5), json!(1)), Ok(json!(1)));
        for value in [json!(1.5), json!("x"), json!([]), json!({}), json!(true)] {
            assert_eq!(set(json!(null), value.clone()), Ok(value));
        }
        for (initial, value) in [
            (json!(0), json!(1.5)),
            (json!(""), json!(null)),
            (json!([]), json!({})),
            (json!({}), json!([])),
            (json!(true), json!("true")),
        ] {
            assert_eq!(set(initial, value), Err("variable_type".into()));
        }
    }

    #[test]
    fn a_list_grows_by_one_item_and_a_text_by_what_it_prints() {
        let items = vec![How::Append(json!([1])), How::Append(json!(null))];
        assert_eq!(after(json!([]), items), Ok(json!([[1], null])));
        let texts = vec![How::Append(json!("a")), How::Append(json!(null)), How::Append(json!(true))];
        assert_eq!(after(json!("x"), texts), Ok(json!("xatrue")));
        assert_eq!(after(json!("x"), vec![How::Append(json!({}))]), Err("variable_type".into()));
        assert_eq!(after(json!(null), vec![How::Append(json!(1))]), Err("variable_type".into()));
        let later_a_list = vec![How::Set(json!([])), How::Append(json!(1))];
        assert_eq!(after(json!(null), later_a_list), Ok(json!([1])));
    }

    #[test]
    fn whole_numbers_stay_whole_and_never_wrap() {
        let by = |initial: Value, by: Value| after(initial, vec![How::Increment(by)]);
        assert_eq!(by(json!(1), json!(-3)), Ok(json!(-2)));
        assert_eq!(by(json!(0.5), json!(1)), Ok(json!(1.5)));
        assert_eq!(by(json!(i64::MAX), json!(1)), Err("variable_overflow".into()));
        assert_eq!(by(json!(0), json!(u64::MAX)), Err("variable_overflow".into()));
        assert_eq!(by(json!(1e308), json!(1e308)), Err("variable_overflow".into()));
        assert_eq!(by(json!(1), json!(0.5)), Err("variable_type".into()));
        assert_eq!(by(json!(1), json!("1")), Err("variable_type".into()));
        assert_eq!(by(json!(""), json!(1)), Err("variable_type".into()));
    }

    #[test]
    fn what_is_too_large_changes_nothing() {
        let mut variables = variables(json!([]));
        let mut append = |text: &str| {
            variables
                .change(&Change { variable: "Total".into(), how: How::Append(json!(text)) }, 60)
                .map_err(|f| f.code)
        };
        assert_eq!(append(&"x".repeat(20)), Ok(1));
        assert_eq!(append(&"x".repeat(20)), Ok(2));
        assert_eq!(append(&"x".repeat(20)), Err("variable_too_large".into()));
        assert_eq!(append("y"), Ok(3), "a refused change has no number");
        assert_eq!(variables.values()["Total"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn stored_changes_give_the_same_values_in_whatever_order_they_are_read() {
        let change = |how| Change { variable: "Total".into(), how };
        let mut again = variables(json!(""));
        let stored = vec![
            (9, change(How::Append(json!("c")))),
            (2, change(How::Set(json!("a")))),
            (3, change(How::Append(json!("b")))),
            (10, Change { variable: "gone".into(), how: How::Append(json!("d")) }),
        ];
        assert_eq!(again.replay(stored).len(), 1, "what does not fit any more is told");
        assert_eq!(again.values()["Total"], "abc");
        assert_eq!(again.change(&change(How::Append(json!("d"))), 100), Ok(11), "numbers go on");
    }
}

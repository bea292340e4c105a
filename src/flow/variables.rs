//! The variables of a flow: their names, and the types that their initial values fix.

use serde_json::Value;

/// Most variables of a flow.
pub const VARIABLES_MAX: usize = 250;

/// The types of actions that change a variable.
pub const CHANGES: &[&str] = &["set_variable", "append_variable", "increment_variable"];

/// One variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name: `variables.NAME` in templates.
    pub name: String,
    /// What it may hold.
    pub kind: VariableKind,
    /// What it holds when a run begins.
    pub initial: Value,
    /// Whether some change of it is secure: then everything that reads it is.
    pub secure: bool,
}

/// What a variable may hold, fixed by its initial value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// Anything: the initial value is null.
    Any,
    /// True or false.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Any number.
    Number,
    /// Text.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl VariableKind {
    /// The kind that `initial` fixes.
    pub fn of(initial: &Value) -> Self {
        match initial {
            Value::Null => Self::Any,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }

    /// Whether a variable of this kind takes every value of the kind `other`.
    pub fn takes(self, other: Self) -> bool {
        self == Self::Any || self == other || (self == Self::Number && other == Self::Integer)
    }

    /// In words: `whole numbers`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Boolean => "true or false",
            Self::Integer => "whole numbers",
            Self::Number => "numbers",
            Self::Text => "text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// The variable `name`, ignoring case.
pub fn find<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    variables.iter().find(|variable| variable.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_initial_value_fixes_the_type() {
        let kinds = [
            (json!(null), VariableKind::Any),
            (json!(true), VariableKind::Boolean),
            (json!(0), VariableKind::Integer),
            (json!(0.0), VariableKind::Number),
            (json!(""), VariableKind::Text),
            (json!([]), VariableKind::List),
            (json!({}), VariableKind::Object),
        ];
        for (initial, kind) in &kinds {
            assert_eq!(VariableKind::of(initial), *kind, "{initial}");
            assert!(VariableKind::Any.takes(*kind) && kind.takes(*kind));
        }
        assert!(VariableKind::Number.takes(VariableKind::Integer));
        assert!(!VariableKind::Integer.takes(VariableKind::Number));
        assert!(!VariableKind::Text.takes(VariableKind::Any), "null is no text");
    }
}

//! What a helper's declaration is made of: its signature, the kinds of its values, its examples.

use serde_json::Value;

use super::{Evaluated, Given, Lazy};
use crate::template::{Destination, RenderError};

/// Helpers that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The heading in the reference.
    pub title: &'static str,
    /// Its helpers.
    pub helpers: &'static [HelperSpec],
}

/// A helper's declaration: `explain`, the reference, the linter and the evaluator all read it.
#[derive(Debug)]
pub struct HelperSpec {
    /// Its name, as Power Automate spells it. Templates may spell it in any case.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub arguments: Signature,
    /// Names of the options it takes as `name=value`; [`OPTIONS`] says what they mean.
    pub options: &'static [&'static str],
    /// What its answer can be.
    pub gives: Kind,
    /// One line: what it answers.
    pub summary: &'static str,
    /// Bounds, and what people trip over: a line each.
    pub notes: &'static [&'static str],
    /// Examples; they run as tests.
    pub examples: &'static [Example],
    /// Whether it answers differently from one moment to the next.
    pub is_volatile: bool,
    /// How it is evaluated.
    pub(crate) eval: Eval,
}

impl HelperSpec {
    /// Whether it decides itself which of its arguments are evaluated.
    pub fn is_lazy(&self) -> bool {
        matches!(self.eval, Eval::Lazy(_))
    }
}

/// What a declaration says where it says nothing.
pub(super) const PLAIN: HelperSpec = HelperSpec {
    name: "",
    aliases: &[],
    arguments: Signature::takes(&[], &[]),
    options: &[],
    gives: Kind::Any,
    summary: "",
    notes: &[],
    examples: &[],
    is_volatile: false,
    eval: Eval::Strict(|_| Ok(Value::Null)),
};

/// What the options mean, by name.
pub const OPTIONS: &[(&str, &str)] = &[
    ("tz", "a time zone, by its IANA name (`Europe/Berlin`) or its Windows name (`W. Europe Standard Time`)"),
    ("culture", "the language and country whose names, order and signs are used: `de-DE`"),
];

/// An example of a helper.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The template.
    pub template: &'static str,
    /// `trigger.body`, as JSON.
    pub body: &'static str,
    /// What it renders to, as JSON.
    pub result: &'static str,
}

/// Shorthand for the tables of examples.
pub(super) const fn example(template: &'static str, body: &'static str, result: &'static str) -> Example {
    Example { template, body, result }
}

/// What a helper takes.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments.
    pub max: usize,
    /// Names in order; the last one stands for all that follow.
    pub names: &'static [&'static str],
    /// The kind of each; the last one stands for all that follow.
    pub kinds: &'static [Kind],
}

impl Signature {
    /// Exactly the arguments `names`.
    pub(super) const fn takes(names: &'static [&'static str], kinds: &'static [Kind]) -> Self {
        Self { min: names.len(), max: names.len(), names, kinds }
    }

    /// The same, with the last `count` arguments left out at will.
    pub(super) const fn optional(self, count: usize) -> Self {
        Self { min: self.min - count, ..self }
    }

    /// The same, with any number of arguments from `min` on.
    pub(super) const fn many(self, min: usize) -> Self {
        Self { min, max: usize::MAX, ..self }
    }

    /// Whether it takes `count` arguments.
    pub fn accepts(&self, count: usize) -> bool {
        (self.min..=self.max).contains(&count)
    }

    /// The kind of argument `at`.
    pub fn kind(&self, at: usize) -> Kind {
        self.kinds.get(at).or(self.kinds.last()).copied().unwrap_or(Kind::Any)
    }

    /// The call as documentation writes it: `replace text old new`, `formatDateTime time [format]`.
    pub fn usage(&self, name: &str) -> String {
        let mut usage = name.to_owned();
        for (at, argument) in self.names.iter().enumerate() {
            let (open, close) = if at < self.min { ("", "") } else { ("[", "]") };
            usage.extend([" ", open, argument, close]);
        }
        if self.max == usize::MAX {
            usage.push_str(" …");
        }
        usage
    }

    /// Each argument with its kind and whether it may be left out.
    pub fn rows(&self) -> Vec<(&'static str, Kind, bool)> {
        self.names.iter().enumerate().map(|(at, name)| (*name, self.kind(at), at >= self.min)).collect()
    }

    pub(super) fn wanted(&self) -> String {
        let plural = |count: usize| if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
        match (self.min, self.max) {
            (min, max) if min == max => plural(min),
            (min, usize::MAX) => format!("at least {}", plural(min)),
            (min, max) => format!("{min} to {}", plural(max)),
        }
    }
}

/// The kind of an argument or an answer, for calls that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Text; null counts as empty.
    Text,
    /// A text that is there.
    SolidText,
    /// Text or a number.
    Comparable,
    /// A number.
    Number,
    /// A number without a fraction.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// What a number can be read from.
    Numeric,
    /// A text or a list.
    TextOrList,
    /// A number, or a list of them.
    NumberOrList,
    /// A list or an object.
    ListOrObject,
    /// A list.
    List,
    /// An object.
    Object,
    /// A text, a list or an object.
    Container,
    /// A text that stands for a time.
    Time,
    /// The name of a time zone.
    Zone,
    /// The name of a culture.
    Culture,
    /// A unit of time: `Day`.
    Unit,
    /// A .NET format of times.
    TimeFormat,
    /// A .NET format of numbers.
    NumberFormat,
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const INTEGER: u8 = 4;
const FRACTION: u8 = 8;
const TEXT: u8 = 16;
const LIST: u8 = 32;
const OBJECT: u8 = 64;

impl Kind {
    /// The JSON types that belong to it, a bit each.
    const fn types(self) -> u8 {
        match self {
            Self::Any => u8::MAX,
            Self::Text => TEXT | NULL,
            Self::SolidText
            | Self::Time
            | Self::Zone
            | Self::Culture
            | Self::Unit
            | Self::TimeFormat
            | Self::NumberFormat => TEXT,
            Self::Comparable => TEXT | INTEGER | FRACTION,
            Self::Number => INTEGER | FRACTION,
            Self::Integer => INTEGER,
            Self::Boolean => BOOLEAN,
            Self::Numeric => TEXT | INTEGER | FRACTION | BOOLEAN,
            Self::TextOrList => TEXT | LIST | NULL,
            Self::NumberOrList => INTEGER | FRACTION | LIST,
            Self::ListOrObject => LIST | OBJECT,
            Self::List => LIST,
            Self::Object => OBJECT,
            Self::Container => TEXT | LIST | OBJECT | NULL,
        }
    }

    /// Whether `value` belongs to it.
    pub(super) fn accepts(self, value: &Value) -> bool {
        let kind = match value {
            Value::Null => NULL,
            Value::Bool(_) => BOOLEAN,
            Value::Number(number) if number.is_f64() => FRACTION,
            Value::Number(_) => INTEGER,
            Value::String(_) => TEXT,
            Value::Array(_) => LIST,
            Value::Object(_) => OBJECT,
        };
        self.types() & kind != 0
    }

    /// Whether a value of this kind can be one of the other kind too.
    pub fn may_be(self, other: Self) -> bool {
        self.types() & other.types() != 0
    }

    /// The kind with its article: `a text`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Text | Self::SolidText => "a text",
            Self::Comparable => "a number or a text",
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Numeric => "a number, a text or a boolean",
            Self::TextOrList => "a text or a list",
            Self::NumberOrList => "numbers, or one list of numbers",
            Self::ListOrObject => "a list or an object",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Container => "a text, a list or an object",
            Self::Time => "a text with a time",
            Self::Zone => "the name of a time zone",
            Self::Culture => "the name of a culture",
            Self::Unit => "a unit of time",
            Self::TimeFormat => "a format of times",
            Self::NumberFormat => "a format of numbers",
        }
    }
}

/// The function behind a helper whose arguments are evaluated first.
type Strict = fn(&Given<'_>) -> Result<Value, RenderError>;

/// How a helper is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Eval {
    /// Its arguments first.
    Strict(Strict),
    /// Its arguments first; the answer is escaped for a destination already.
    Escaped(Destination, Strict),
    /// It decides which arguments are evaluated.
    Lazy(for<'e> fn(&Lazy<'e>) -> Result<Evaluated<'e>, RenderError>),
}

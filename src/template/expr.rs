//! The expressions that templates compile to.

use std::ops::Range;

use serde_json::Value;

use super::helpers::HelperSpec;
use super::{PathRef, Vocabulary};

/// A compiled template body.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// What it writes, in order.
    pub(super) nodes: Vec<Node>,
    /// The node that is the only one but for white space: its value keeps its JSON type.
    pub(super) lone: Option<usize>,
    /// Every path it may read, in order of appearance.
    pub(super) paths: Vec<PathRef>,
    /// Whether it reads the clock or chance.
    pub(super) is_volatile: bool,
}

impl Body {
    /// Marks the outputs of actions that `is_html` names: what is found there is HTML already.
    pub(super) fn trust_html(&mut self, is_html: &dyn Fn(&str) -> bool) {
        self.nodes.iter_mut().for_each(|node| node.trust_html(is_html));
    }
}

impl Node {
    fn trust_html(&mut self, is_html: &dyn Fn(&str) -> bool) {
        match self {
            Self::Text(_) => {}
            Self::Output(output) => output.expr.trust_html(is_html),
            Self::Block(block) => {
                block.body.iter_mut().chain(&mut block.otherwise).for_each(|node| node.trust_html(is_html));
            }
        }
    }
}

impl Expr {
    fn trust_html(&mut self, is_html: &dyn Fn(&str) -> bool) {
        match self {
            Self::Path(Path { base: Base::Root(Root::Actions), segments, is_html: mark }) => {
                if let [name, member] = segments.as_slice() {
                    *mark = member.eq_ignore_ascii_case("outputs") && is_html(name);
                }
            }
            Self::Call(call) => call.arguments.iter_mut().for_each(|argument| argument.trust_html(is_html)),
            Self::Path(_) | Self::Literal(_) => {}
        }
    }
}

/// One piece of a body.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text, written as it is.
    Text(String),
    /// `{{expression}}`.
    Output(Output),
    /// `{{#if}}`, `{{#unless}}`, `{{#each}}`, `{{#with}}`.
    Block(Box<Block>),
}

/// `{{expression}}`.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// What is written.
    pub(super) expr: Expr,
    /// The mustache's bytes in the source, for messages.
    pub(super) range: Range<usize>,
}

/// A block with its branches.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Which.
    pub(super) kind: BlockKind,
    /// Its argument.
    pub(super) subject: Expr,
    /// What it writes when its argument is there or true.
    pub(super) body: Vec<Node>,
    /// `{{else}}`.
    pub(super) otherwise: Vec<Node>,
    /// The opening mustache's bytes in the source, for messages.
    pub(super) range: Range<usize>,
}

/// The blocks of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Writes when true.
    If,
    /// Writes when false.
    Unless,
    /// Writes once per item.
    Each,
    /// Writes with its argument as the context.
    With,
}

impl BlockKind {
    /// The block's name in a template.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::Unless => "unless",
            Self::Each => "each",
            Self::With => "with",
        }
    }

    /// Finds a block by name, ignoring case.
    pub(super) fn find(name: &str) -> Option<Self> {
        [Self::If, Self::Unless, Self::Each, Self::With].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Whether it gives its body a context of its own.
    pub(super) fn has_frame(self) -> bool {
        matches!(self, Self::Each | Self::With)
    }
}

/// An expression: a value of the scope, a constant, or a helper's result.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// A constant.
    Literal(Value),
    /// A value of the scope.
    Path(Path),
    /// A helper's result.
    Call(Box<Call>),
}

/// A helper and what it is given.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The helper's declaration.
    pub(super) helper: &'static HelperSpec,
    /// Its arguments, as many as it allows.
    pub(super) arguments: Vec<Expr>,
    /// Its options; only declared ones.
    pub(super) options: Vec<(&'static str, Expr)>,
}

/// Where a value is found: a start and the names behind it.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// Where it starts.
    pub(super) base: Base,
    /// The names behind it.
    pub(super) segments: Vec<String>,
    /// What is found there is HTML, escaped by whoever made it.
    pub(super) is_html: bool,
}

/// Where a path starts. Frames are counted from the innermost block, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// A root of the scope.
    Root(Root),
    /// The value of a block.
    Frame(usize),
    /// `@index`.
    Index(usize),
    /// `@key`: the key in an object, the index in a list.
    Key(usize),
    /// `@first`.
    First(usize),
    /// `@last`.
    Last(usize),
    /// A name that nothing answers to: null.
    Nothing,
}

/// The roots of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Trigger,
    Actions,
    Parameters,
    Variables,
    Item,
    ItemIndex,
    Loops,
    Run,
    Flow,
    Environment,
    /// Of a connector file: its place in [`super::CONNECTOR_ROOTS`].
    Connector(usize),
}

impl Root {
    /// All roots, in the order of [`super::ROOTS`].
    const ALL: [Self; 10] = [
        Self::Trigger,
        Self::Actions,
        Self::Parameters,
        Self::Variables,
        Self::Item,
        Self::ItemIndex,
        Self::Loops,
        Self::Run,
        Self::Flow,
        Self::Environment,
    ];

    /// Finds a root of `vocabulary` by name, ignoring case.
    pub(super) fn find(name: &str, vocabulary: Vocabulary) -> Option<Self> {
        let at = |roots: &[&str]| roots.iter().position(|root| root.eq_ignore_ascii_case(name));
        match vocabulary {
            Vocabulary::Flow => at(super::ROOTS).map(|at| Self::ALL[at]),
            Vocabulary::Connector => match name.to_ascii_lowercase().as_str() {
                "item" => Some(Self::Item),
                "item_index" => Some(Self::ItemIndex),
                _ => at(super::CONNECTOR_ROOTS).map(Self::Connector),
            },
        }
    }

    /// The root's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connector(at) => super::CONNECTOR_ROOTS[at],
            _ => Self::ALL.iter().position(|root| *root == self).map_or("", |at| super::ROOTS[at]),
        }
    }
}

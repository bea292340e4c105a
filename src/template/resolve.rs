//! Walks the parser's tree beside the scan and resolves every name: helpers, paths, what blocks give.

use std::ops::Range;

use handlebars::template::{HelperTemplate, TemplateElement};
use serde_json::Value;

use super::compile::Inside;
use super::expr::{Base, Block, BlockKind, Call, Expr, Node, Output, Path, Root};
use super::helpers::{self, HelperSpec, Kind};
use super::scan::{Tag, TagKind};
use super::syntax::{self, NodeKind, PathSyntax};
use super::{PathRef, TemplateFinding, Vocabulary};
use crate::diagnostic::nearest;

/// A block around the place being compiled.
struct Frame {
    kind: BlockKind,
    /// Where its value comes from, when that is a path of the scope.
    origin: Option<(String, Vec<String>)>,
    /// The names behind `as`.
    names: Vec<String>,
}

/// Compiles mustache after mustache; what it found is taken from its fields at the end.
pub(super) struct Compiler<'s> {
    source: &'s str,
    tags: &'s [Tag],
    inside: &'s [Inside],
    vocabulary: Vocabulary,
    at: usize,
    frames: Vec<Frame>,
    /// Everything that is wrong.
    pub(super) findings: Vec<TemplateFinding>,
    /// Every path that is read.
    pub(super) paths: Vec<PathRef>,
    /// Whether a helper reads the clock or chance.
    pub(super) is_volatile: bool,
}

impl<'s> Compiler<'s> {
    /// Starts at the first mustache. `inside` holds the inside of each.
    pub(super) fn new(source: &'s str, tags: &'s [Tag], inside: &'s [Inside], vocabulary: Vocabulary) -> Self {
        Self {
            source,
            tags,
            inside,
            vocabulary,
            at: 0,
            frames: Vec::new(),
            findings: Vec::new(),
            paths: Vec::new(),
            is_volatile: false,
        }
    }

    /// Resolves the names of every mustache that could be read, for a template whose structure is broken.
    pub(super) fn names_only(&mut self) {
        for (tag, inside) in self.tags.iter().zip(self.inside) {
            match inside {
                Inside::Nothing => {}
                // Context is not known here: only helpers are looked at.
                Inside::Expression(node) => self.calls(node, true),
                Inside::Head(head, _) => {
                    self.block_kind(head, tag);
                    if let NodeKind::Call(call) = &head.kind {
                        call.arguments.iter().for_each(|argument| self.calls(argument, false));
                    }
                }
            }
        }
    }

    fn calls(&mut self, node: &syntax::Node, is_top: bool) {
        match &node.kind {
            NodeKind::Call(call) => {
                self.helper(call, &node.range);
                call.arguments.iter().for_each(|argument| self.calls(argument, false));
            }
            NodeKind::Path if !is_top => {
                self.needs_parentheses(&node.range);
            }
            _ => {}
        }
    }

    /// Compiles the parser's elements, taking one mustache of the scan for each.
    pub(super) fn elements(&mut self, elements: &[TemplateElement]) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(elements.len());
        for element in elements {
            match element {
                TemplateElement::RawString(text) => nodes.push(Node::Text(text.clone())),
                TemplateElement::Expression(_) | TemplateElement::HtmlExpression(_) => nodes.extend(self.output()),
                TemplateElement::HelperBlock(block) => {
                    nodes.extend(self.block(block));
                    self.next(&[TagKind::Close]);
                }
                // Comments write nothing; the rest was refused before the parser ran.
                _ => {}
            }
        }
        nodes
    }

    /// The next mustache that is no comment, if it is of one of `kinds`.
    fn next(&mut self, kinds: &[TagKind]) -> Option<usize> {
        while self.tags.get(self.at).is_some_and(|tag| tag.kind == TagKind::Comment) {
            self.at += 1;
        }
        let fits = self.tags.get(self.at).is_some_and(|tag| kinds.contains(&tag.kind));
        if fits {
            self.at += 1;
        }
        fits.then(|| self.at - 1)
    }

    /// The parser and the scan disagree: said, never guessed.
    fn lost(&mut self) {
        let range = self.tags.get(self.at).map_or(self.source.len()..self.source.len(), |tag| tag.range.clone());
        self.findings.push(TemplateFinding::error("template_syntax", range, "this template can be read in two ways"));
    }

    fn output(&mut self) -> Option<Node> {
        let at = self.next(&[TagKind::Expression, TagKind::Unescaped]);
        let inside = self.inside;
        let Some((at, Inside::Expression(node))) = at.map(|at| (at, &inside[at])) else {
            self.lost();
            return None;
        };
        let range = self.tags[at].range.clone();
        let expr = self.top(node)?;
        Some(Node::Output(Output { expr, range }))
    }

    /// A block from its opening mustache up to, not including, its closing one.
    fn block(&mut self, parsed: &HelperTemplate) -> Option<Node> {
        let at = self.next(&[TagKind::Open, TagKind::ElseChain]);
        let inside = self.inside;
        let Some((at, Inside::Head(head, names))) = at.map(|at| (at, &inside[at])) else {
            self.lost();
            return None;
        };
        let tag = &self.tags[at];
        let kind = self.block_kind(head, tag);
        let subject = match &head.kind {
            NodeKind::Call(call) => call.arguments.first().and_then(|argument| self.expr(argument)),
            _ => None,
        };
        if let (Some(kind), Some(subject)) = (kind, &subject) {
            self.block_subject(kind, subject, tag);
        }
        if kind.is_some_and(BlockKind::has_frame) {
            let origin = subject.as_ref().and_then(|subject| self.origin(subject));
            let names = names.iter().map(|name| self.source[name.clone()].to_owned()).collect();
            self.frames.push(Frame { kind: kind.unwrap_or(BlockKind::With), origin, names });
        } else if let Some(name) = names.first() {
            self.findings.push(TemplateFinding::error(
                "template_syntax",
                name.clone(),
                "only `#each` and `#with` give their values names",
            ));
        }
        let body = parsed.template.as_ref().map(|body| self.elements(&body.elements)).unwrap_or_default();
        if kind.is_some_and(BlockKind::has_frame) {
            self.frames.pop();
        }
        let otherwise = self.otherwise(parsed);
        Some(Node::Block(Box::new(Block { kind: kind?, subject: subject?, body, otherwise, range: tag.range.clone() })))
    }

    fn otherwise(&mut self, parsed: &HelperTemplate) -> Vec<Node> {
        let Some(inverse) = &parsed.inverse else { return Vec::new() };
        if self.next(&[TagKind::Else]).is_some() {
            return self.elements(&inverse.elements);
        }
        // A chain: one block that shares the closing mustache of the first.
        if let [TemplateElement::HelperBlock(next)] = inverse.elements.as_slice() {
            self.block(next).into_iter().collect()
        } else {
            self.lost();
            Vec::new()
        }
    }

    fn block_kind(&mut self, head: &syntax::Node, tag: &Tag) -> Option<BlockKind> {
        let NodeKind::Call(call) = &head.kind else { return None };
        let name = &self.source[call.name.clone()];
        let Some(kind) = BlockKind::find(name) else {
            let near = nearest(name, ["if", "unless", "each", "with"]);
            let help = near.map_or_else(
                || "blocks are #if, #unless, #each and #with".to_owned(),
                |near| format!("did you mean `#{near}`?"),
            );
            let message = format!("there is no block `#{name}`");
            self.findings.push(TemplateFinding::error("unknown_helper", call.name.clone(), message).help(help));
            return None;
        };
        if call.arguments.len() != 1 || !call.options.is_empty() {
            let count = call.arguments.len();
            let message = match call.options.first() {
                Some((option, _)) => format!("`#{name}` has no option `{}`", &self.source[option.clone()]),
                None => format!("`#{name}` takes one argument, not {count}"),
            };
            let help = match kind {
                BlockKind::If | BlockKind::Unless => format!("write  {{{{#{name} (eq trigger.body.A 'x')}}}}"),
                _ => format!("write  {{{{#{name} trigger.body.A}}}}"),
            };
            self.findings.push(TemplateFinding::error("wrong_arguments", tag.range.clone(), message).help(help));
        }
        Some(kind)
    }

    /// What a block can never work with: a constant, or a helper's answer of another kind.
    fn block_subject(&mut self, kind: BlockKind, subject: &Expr, tag: &Tag) {
        let is_condition = matches!(kind, BlockKind::If | BlockKind::Unless);
        let (code, got) = match (subject, helpers::result_kind(subject)) {
            (Expr::Literal(value), _) if !(is_condition && value.is_boolean()) => {
                ("literal_type", super::kind_of(value).to_owned())
            }
            (_, Some((name, given))) if is_condition && !given.may_be(Kind::Boolean) => {
                ("result_type", format!("{}, which `{name}` gives", given.name()))
            }
            (_, Some((name, given))) if kind == BlockKind::Each && !given.may_be(Kind::ListOrObject) => {
                ("result_type", format!("{}, which `{name}` gives", given.name()))
            }
            _ => return,
        };
        let wanted = match kind {
            _ if is_condition => "a boolean",
            BlockKind::Each if code == "result_type" => "a list",
            _ => "a value of the lead",
        };
        let message = format!("`#{}` wants {wanted}, not {got}", kind.name());
        self.findings.push(TemplateFinding::warning(code, tag.range.clone(), message));
    }

    /// The expression that fills a mustache: a bare helper name calls it.
    fn top(&mut self, node: &syntax::Node) -> Option<Expr> {
        if let NodeKind::Path = node.kind {
            let text = &self.source[node.range.clone()];
            // Inside a block, `{{length}}` can only mean the item's own field.
            let is_field = |spec: &HelperSpec| !self.frames.is_empty() && spec.arguments.min > 0;
            if let Some(spec) = helpers::find(text).filter(|spec| !self.is_value_name(text) && !is_field(spec)) {
                return self.call(spec, &node.range, &[], &[]);
            }
            return self.path(&node.range).map(Expr::Path);
        }
        self.expr(node)
    }

    fn expr(&mut self, node: &syntax::Node) -> Option<Expr> {
        match &node.kind {
            NodeKind::Literal(value) => Some(Expr::Literal(value.clone())),
            NodeKind::Path => {
                if self.needs_parentheses(&node.range) {
                    return None;
                }
                self.path(&node.range).map(Expr::Path)
            }
            NodeKind::Call(call) => {
                let name = &self.source[call.name.clone()];
                // `(name)` around a value is a value.
                if call.arguments.is_empty() && call.options.is_empty() && self.is_value_name(name) {
                    return self.path(&call.name).map(Expr::Path);
                }
                let spec = self.helper(call, &node.range);
                let arguments: Vec<_> = call.arguments.iter().map(|argument| self.expr(argument)).collect();
                let options: Vec<_> = call.options.iter().map(|(_, value)| self.expr(value)).collect();
                let arguments: Option<Vec<Expr>> = arguments.into_iter().collect();
                let options: Option<Vec<Expr>> = options.into_iter().collect();
                let keys: Vec<&str> = call.options.iter().map(|(key, _)| &self.source[key.clone()]).collect();
                let options: Vec<(&str, Expr)> = keys.into_iter().zip(options?).collect();
                self.call(spec?, &node.range, &arguments?, &options)
            }
        }
    }

    /// Whether a bare name is a value before it is a helper: a root or a name that a block gave.
    fn is_value_name(&self, name: &str) -> bool {
        Root::find(name, self.vocabulary).is_some()
            || name == "this"
            || self.frames.iter().any(|frame| frame.names.iter().any(|own| own.eq_ignore_ascii_case(name)))
    }

    fn needs_parentheses(&mut self, range: &Range<usize>) -> bool {
        let text = &self.source[range.clone()];
        let Some(spec) = helpers::find(text).filter(|_| !self.is_value_name(text)) else { return false };
        let message = format!("`{text}` is a helper: as an argument it needs parentheses");
        let help = if spec.arguments.min == 0 {
            format!("write  ({text})")
        } else {
            format!("write  ({text} {})", spec.arguments.names[..spec.arguments.min].join(" "))
        };
        let help = if self.frames.is_empty() { help } else { format!("{help}, or  this.{text}  for the field") };
        self.findings.push(TemplateFinding::error("helper_needs_parens", range.clone(), message).help(help));
        true
    }

    /// The helper of a call whose name is known.
    fn helper(&mut self, call: &syntax::Call, range: &Range<usize>) -> Option<&'static HelperSpec> {
        let name = &self.source[call.name.clone()];
        let Some(spec) = helpers::find(name) else {
            let finding = self.unknown_helper(name, call, range);
            self.findings.push(finding);
            return None;
        };
        let findings = helpers::check_arguments(spec, self.source, call, range);
        self.findings.extend(findings);
        Some(spec)
    }

    /// The finding for a call of what is no helper: a function that is a path here, one left out, or a slip.
    fn unknown_helper(&self, name: &str, call: &syntax::Call, range: &Range<usize>) -> TemplateFinding {
        let argument = match call.arguments.as_slice() {
            [] => Some(""),
            [only] => match &only.kind {
                NodeKind::Literal(Value::String(text)) => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        };
        if let Some(path) = helpers::path_of(name, argument.unwrap_or_default()) {
            return path_instead(name, &path, range.clone());
        }
        let message = format!("there is no helper `{name}`");
        if let Some((_, reason)) = helpers::LEFT_OUT.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return TemplateFinding::error("unknown_helper", call.name.clone(), message).help(*reason);
        }
        let help = match nearest(name, helpers::names()) {
            _ if self.is_value_name(name) => "a value takes no arguments".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => "`leadflow explain` lists them".to_owned(),
        };
        TemplateFinding::error("unknown_helper", call.name.clone(), message).help(help)
    }

    fn call(
        &mut self,
        spec: &'static HelperSpec,
        range: &Range<usize>,
        arguments: &[Expr],
        options: &[(&str, Expr)],
    ) -> Option<Expr> {
        if !spec.arguments.accepts(arguments.len()) {
            // A bare name has not been through `helper`.
            if arguments.is_empty() {
                self.findings.push(helpers::wrong_count(spec, 0, range));
            }
            return None;
        }
        self.is_volatile |= spec.is_volatile;
        let options = options
            .iter()
            .filter_map(|(key, value)| {
                let key = spec.options.iter().find(|option| option.eq_ignore_ascii_case(key))?;
                Some((*key, value.clone()))
            })
            .collect();
        Some(Expr::Call(Box::new(Call { helper: spec, arguments: arguments.to_vec(), options })))
    }

    fn path(&mut self, range: &Range<usize>) -> Option<Path> {
        let text = &self.source[range.clone()];
        let syntax = syntax::path(text)?;
        if syntax.is_local {
            return self.local(&syntax, range);
        }
        let path = self.resolve(syntax, range)?;
        if path.base == Base::Nothing
            && let Some(known) = function_path(text)
        {
            self.findings.push(path_instead(text, &known, range.clone()));
            return None;
        }
        self.report(&path, text, range);
        Some(path)
    }

    /// `@index`, `@key`, `@first`, `@last`, with `../` for outer loops.
    fn local(&mut self, syntax: &PathSyntax, range: &Range<usize>) -> Option<Path> {
        let loops = self.frames.iter().rev().enumerate().filter(|(_, frame)| frame.kind == BlockKind::Each);
        let depth = loops.map(|(depth, _)| depth).nth(syntax.up);
        let make: Option<fn(usize) -> Base> = match syntax.segments.as_slice() {
            [name] => match name.as_str() {
                "index" => Some(Base::Index),
                "key" => Some(Base::Key),
                "first" => Some(Base::First),
                "last" => Some(Base::Last),
                _ => None,
            },
            _ => None,
        };
        if let (Some(depth), Some(make)) = (depth, make) {
            return Some(Path { base: make(depth), segments: Vec::new(), is_html: false });
        }
        let text = &self.source[range.clone()];
        let message = match make {
            Some(_) => format!("`{text}` stands outside of `{{{{#each}}}}`"),
            None => format!("there is no `{text}`"),
        };
        self.findings.push(
            TemplateFinding::error("template_syntax", range.clone(), message)
                .help("inside {{#each}} there are @index, @key, @first and @last"),
        );
        None
    }

    fn resolve(&mut self, syntax: PathSyntax, range: &Range<usize>) -> Option<Path> {
        let PathSyntax { is_this, is_root, up, mut segments, .. } = syntax;
        let depth = self.frames.len();
        if up > depth {
            let message = "`../` climbs further out than there are `#each` and `#with` blocks";
            self.findings.push(TemplateFinding::error("template_syntax", range.clone(), message));
            return None;
        }
        if up < depth && (up > 0 || is_this) && !is_root {
            return Some(Path { base: Base::Frame(up), segments, is_html: false });
        }
        let names_root = is_root || up == depth;
        if segments.is_empty() {
            return Some(Path { base: Base::Nothing, segments, is_html: false });
        }
        let first = segments.remove(0);
        if !is_root
            && up == 0
            && let Some(base) = self.given_name(&first)
        {
            return Some(Path { base, segments, is_html: false });
        }
        if let Some(root) = Root::find(&first, self.vocabulary) {
            return Some(Path { base: Base::Root(root), segments, is_html: false });
        }
        if names_root || depth == 0 {
            return Some(Path { base: Base::Nothing, segments, is_html: false });
        }
        segments.insert(0, first);
        Some(Path { base: Base::Frame(0), segments, is_html: false })
    }

    /// A name that a block gave: behind `as`, or `item` and `item_index` inside `#each`.
    fn given_name(&self, name: &str) -> Option<Base> {
        for (depth, frame) in self.frames.iter().rev().enumerate() {
            match frame.names.iter().position(|own| own.eq_ignore_ascii_case(name)) {
                Some(0) => return Some(Base::Frame(depth)),
                Some(_) => return Some(Base::Key(depth)),
                None => {}
            }
            if frame.kind == BlockKind::Each {
                match Root::find(name, self.vocabulary) {
                    Some(Root::Item) => return Some(Base::Frame(depth)),
                    Some(Root::ItemIndex) => return Some(Base::Index(depth)),
                    _ => {}
                }
            }
        }
        None
    }

    /// Where an expression's value stands in the scope, when it is a path.
    fn origin(&self, expr: &Expr) -> Option<(String, Vec<String>)> {
        let Expr::Path(path) = expr else { return None };
        match path.base {
            Base::Root(root) => Some((root.name().to_owned(), path.segments.clone())),
            Base::Frame(up) => {
                let frame = &self.frames[self.frames.len() - 1 - up];
                let (root, mut segments) = frame.origin.clone()?;
                if frame.kind == BlockKind::Each {
                    segments.push("0".to_owned());
                }
                segments.extend(path.segments.iter().cloned());
                Some((root, segments))
            }
            _ => None,
        }
    }

    /// Notes a path that is read, as seen from the scope: inside `#each`, that of the first item.
    fn report(&mut self, path: &Path, text: &str, range: &Range<usize>) {
        let (root, segments) = match path.base {
            Base::Nothing => {
                let first = syntax::path(text).and_then(|path| path.segments.first().cloned());
                (first.unwrap_or_else(|| text.to_owned()), path.segments.clone())
            }
            _ => match self.origin(&Expr::Path(path.clone())) {
                Some(origin) => origin,
                // What a helper made is not a value of the scope.
                None => return,
            },
        };
        self.paths.push(PathRef { root, segments, range: range.clone() });
    }
}

/// The path for `triggerBody` or `triggerBody.A`: a function of Power Automate without its parentheses.
fn function_path(text: &str) -> Option<String> {
    let (function, rest) = text.split_once('.').unwrap_or((text, ""));
    let path = helpers::path_of(function, "").filter(|path| !path.contains("NAME"))?;
    Some(if rest.is_empty() { path } else { format!("{path}.{rest}") })
}

/// The finding for a function of Power Automate that is a path here.
fn path_instead(name: &str, path: &str, range: Range<usize>) -> TemplateFinding {
    let message = format!("`{name}` is no helper: what it tells stands at a path");
    TemplateFinding::error("habit_function", range, message).help(format!("write  {path}"))
}

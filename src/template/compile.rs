//! From text to expressions: the parser judges the syntax, this walks its tree and resolves every name.

use std::ops::Range;

use handlebars::template::{HelperTemplate, Template as Parsed, TemplateElement};
use serde_json::Value;

use super::expr::{Base, Block, BlockKind, Body, Call, Expr, Node, Output, Path, Root};
use super::helpers::{self, HelperSpec};
use super::scan::{Tag, TagKind, scan};
use super::syntax::{self, NodeKind, PathSyntax};
use super::{Destination, PathRef, TemplateFinding};
use crate::diagnostic::{Severity, nearest};

/// Longest template in bytes: the parser takes seconds for megabytes.
pub(super) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of parentheses: the parser recurses and would overflow its stack.
pub(super) const PARENTHESES_DEPTH_MAX: usize = 32;
/// Deepest nesting of blocks, for the same reason.
pub(super) const BLOCK_DEPTH_MAX: usize = 16;

/// Compiles `source`. The findings hold warnings only when there is a body.
pub(super) fn compile(source: &str, destination: Destination) -> (Option<Body>, Vec<TemplateFinding>) {
    if source.len() > TEMPLATE_BYTES_MAX {
        let message = format!("a template of {} bytes is too long: at most {TEMPLATE_BYTES_MAX}", source.len());
        return (None, vec![TemplateFinding::error("template_too_long", 0..0, message)]);
    }
    let tags = match scan(source) {
        Ok(tags) => tags,
        Err(finding) => return (None, vec![finding]),
    };
    if let Some(finding) = too_deep(source, &tags) {
        return (None, vec![finding]);
    }
    let mut findings = refused_tags(&tags, destination);
    findings.extend(unbalanced_blocks(source, &tags));
    let mut inside = Vec::with_capacity(tags.len());
    for tag in &tags {
        match read_inside(source, tag) {
            Ok(node) => inside.push(node),
            Err(finding) => {
                findings.push(finding);
                inside.push(Inside::Nothing);
            }
        }
    }
    let is_error = |finding: &TemplateFinding| finding.severity == Severity::Error;
    // What the scan refuses never reaches the parser.
    let parsed = if findings.iter().any(is_error) { None } else { parse(source, &tags, &mut findings) };
    let mut compiler = Compiler { source, tags: &tags, inside: &inside, ..Compiler::new() };
    let nodes = match &parsed {
        Some(parsed) => compiler.elements(&parsed.elements),
        None => {
            compiler.names_only();
            Vec::new()
        }
    };
    findings.append(&mut compiler.findings);
    findings.sort_by_key(|finding| finding.range.start);
    if parsed.is_none() || findings.iter().any(is_error) {
        return (None, findings);
    }
    let lone = lone(&nodes);
    (Some(Body { nodes, lone, paths: compiler.paths, is_volatile: compiler.is_volatile }), findings)
}

/// The only node that is not white space, if it is an expression.
fn lone(nodes: &[Node]) -> Option<usize> {
    let is_blank = |node: &Node| matches!(node, Node::Text(text) if text.trim().is_empty());
    let mut solid = nodes.iter().enumerate().filter(|(_, node)| !is_blank(node));
    match (solid.next(), solid.next()) {
        (Some((at, Node::Output(_))), None) => Some(at),
        _ => None,
    }
}

fn refused_tags(tags: &[Tag], destination: Destination) -> Vec<TemplateFinding> {
    let refuse = |tag: &Tag| {
        let range = tag.range.clone();
        Some(match tag.kind {
            TagKind::Partial => TemplateFinding::error("no_partials", range, "partials are not part of the language")
                .help("write the text here, or keep shared text in `parameters`"),
            TagKind::Decorator => TemplateFinding::error(
                "no_partials",
                range,
                "decorators and inline partials are not part of the language",
            )
            .help("write the text here, or keep shared text in `parameters`"),
            TagKind::Raw => TemplateFinding::error("template_syntax", range, "raw blocks are not part of the language")
                .help(r"a literal `{{` is written `\{{`"),
            TagKind::Unescaped => {
                let (severity, message) = match destination {
                    Destination::Html => (Severity::Error, "unescaped values in HTML let a lead's text become markup"),
                    _ => {
                        (Severity::Warning, "`{{{ }}}` and `{{& }}` do nothing here: the destination decides escaping")
                    }
                };
                TemplateFinding { severity, ..TemplateFinding::error("unescaped_html", range, message) }
                    .help("write  {{ }}  with two braces; `nl2br` keeps line breaks")
            }
            _ => return None,
        })
    };
    tags.iter().filter_map(refuse).collect()
}

fn too_deep(source: &str, tags: &[Tag]) -> Option<TemplateFinding> {
    let mut blocks = 0_usize;
    for tag in tags {
        match tag.kind {
            TagKind::Open => blocks += 1,
            TagKind::Close => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        if blocks > BLOCK_DEPTH_MAX {
            let message = format!("blocks are nested more than {BLOCK_DEPTH_MAX} deep");
            return Some(TemplateFinding::error("template_too_deep", tag.range.clone(), message));
        }
        let (mut depth, mut deepest) = (0_usize, 0_usize);
        // Quotes are not looked at on purpose: the parser must be safe even where it reads them differently.
        for byte in source[tag.inner.clone()].bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if tag.kind != TagKind::Comment && deepest > PARENTHESES_DEPTH_MAX {
            let message = format!("parentheses are nested more than {PARENTHESES_DEPTH_MAX} deep");
            return Some(TemplateFinding::error("template_too_deep", tag.range.clone(), message));
        }
    }
    None
}

/// Blocks that are not closed, closed by another name, or `{{else}}` outside of one.
fn unbalanced_blocks(source: &str, tags: &[Tag]) -> Vec<TemplateFinding> {
    let mut findings = Vec::new();
    let mut open: Vec<(&str, &Tag, bool)> = Vec::new();
    for tag in tags {
        let range = tag.range.clone();
        let name = first_word(&source[tag.inner.clone()]);
        match tag.kind {
            TagKind::Open => open.push((name, tag, false)),
            TagKind::Close => match open.pop() {
                None => findings.push(TemplateFinding::error(
                    "template_syntax",
                    range,
                    format!("`{{{{/{name}}}}}` closes a block that was never opened"),
                )),
                Some((opened, _, _)) if opened != name => findings.push(
                    TemplateFinding::error(
                        "template_syntax",
                        range,
                        format!("`{{{{/{name}}}}}` stands where `{{{{#{opened}}}}}` must be closed"),
                    )
                    .help(format!("write  {{{{/{opened}}}}}")),
                ),
                Some(_) => {}
            },
            TagKind::Else | TagKind::ElseChain => match open.last_mut() {
                None => findings.push(TemplateFinding::error(
                    "template_syntax",
                    range,
                    "`{{else}}` stands outside of a block",
                )),
                Some((opened, _, true)) => findings.push(TemplateFinding::error(
                    "template_syntax",
                    range,
                    format!("`{{{{#{opened}}}}}` has its `{{{{else}}}}` already"),
                )),
                Some((_, _, last)) => *last = tag.kind == TagKind::Else,
            },
            _ => {}
        }
    }
    findings.extend(open.into_iter().map(|(name, tag, _)| {
        TemplateFinding::error("template_syntax", tag.range.clone(), format!("`{{{{#{name}}}}}` is never closed"))
            .help(format!("close it with  {{{{/{name}}}}}"))
    }));
    findings
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !syntax::is_name_char(c)).next().unwrap_or_default()
}

/// The inside of a mustache as written.
enum Inside {
    /// A comment, `{{else}}`, a closing mustache, or one with a fault.
    Nothing,
    /// An expression.
    Expression(syntax::Node),
    /// A block's head and the names behind `as`.
    Head(syntax::Node, Vec<Range<usize>>),
}

fn read_inside(source: &str, tag: &Tag) -> Result<Inside, TemplateFinding> {
    match tag.kind {
        TagKind::Expression | TagKind::Unescaped => {
            let node = syntax::expression(source, &tag.inner)?;
            if let NodeKind::Literal(value) = &node.kind {
                return Err(lone_literal(tag, value));
            }
            Ok(Inside::Expression(node))
        }
        TagKind::Open | TagKind::ElseChain => {
            syntax::block(source, &tag.inner).map(|(head, names)| Inside::Head(head, names))
        }
        _ => Ok(Inside::Nothing),
    }
}

fn lone_literal(tag: &Tag, value: &Value) -> TemplateFinding {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    TemplateFinding::error("lone_literal", tag.range.clone(), "a constant needs no template")
        .help(format!("write the value itself:  {text}"))
}

/// The parser's verdict. Its own words name grammar rules, so only its place is used.
fn parse(source: &str, tags: &[Tag], findings: &mut Vec<TemplateFinding>) -> Option<Parsed> {
    let error = match Parsed::compile(source) {
        Ok(parsed) => return Some(parsed),
        Err(error) => error,
    };
    let at = error.pos().map_or(0, |(line, column)| offset(source, line, column));
    let tag = tags.iter().rev().find(|tag| tag.range.start <= at).or(tags.first());
    let range = tag.map_or(0..source.len(), |tag| tag.range.clone());
    findings.push(TemplateFinding::error("template_syntax", range, "this is not a Handlebars expression").help(
        "an expression is a path, or a helper and its arguments: {{trigger.body.A}}, {{toUpper trigger.body.A}}",
    ));
    None
}

/// The byte at a one-based line and column (characters).
fn offset(source: &str, line: usize, column: usize) -> usize {
    let start = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let rest = &source[start.min(source.len())..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

/// A block around the place being compiled.
struct Frame {
    kind: BlockKind,
    /// Where its value comes from, when that is a path of the scope.
    origin: Option<(String, Vec<String>)>,
    /// The names behind `as`.
    names: Vec<String>,
}

struct Compiler<'s> {
    source: &'s str,
    tags: &'s [Tag],
    inside: &'s [Inside],
    at: usize,
    frames: Vec<Frame>,
    findings: Vec<TemplateFinding>,
    paths: Vec<PathRef>,
    is_volatile: bool,
}

impl Compiler<'_> {
    fn new() -> Self {
        Self {
            source: "",
            tags: &[],
            inside: &[],
            at: 0,
            frames: Vec::new(),
            findings: Vec::new(),
            paths: Vec::new(),
            is_volatile: false,
        }
    }

    /// Resolves the names of every mustache that could be read, for a template whose structure is broken.
    fn names_only(&mut self) {
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
    fn elements(&mut self, elements: &[TemplateElement]) -> Vec<Node> {
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
        if let (Some(kind), Some(Expr::Literal(value))) = (kind, &subject) {
            self.block_literal(kind, value, tag);
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
        match inverse.elements.as_slice() {
            [TemplateElement::HelperBlock(next)] => self.block(next).into_iter().collect(),
            _ => {
                self.lost();
                Vec::new()
            }
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

    fn block_literal(&mut self, kind: BlockKind, value: &Value, tag: &Tag) {
        let fits = match kind {
            BlockKind::If | BlockKind::Unless => value.is_boolean(),
            BlockKind::Each | BlockKind::With => false,
        };
        if !fits {
            let wanted =
                if matches!(kind, BlockKind::If | BlockKind::Unless) { "a boolean" } else { "a value of the lead" };
            let message = format!("`#{}` wants {wanted}, not {}", kind.name(), super::kind_of(value));
            self.findings.push(TemplateFinding::warning("literal_type", tag.range.clone(), message));
        }
    }

    /// The expression that fills a mustache: a bare helper name calls it.
    fn top(&mut self, node: &syntax::Node) -> Option<Expr> {
        if let NodeKind::Path = node.kind {
            let text = &self.source[node.range.clone()];
            if let Some(spec) = helpers::find(text).filter(|_| !self.is_value_name(text)) {
                return self.call(spec, &node.range, &[], &[]);
            }
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
        Root::find(name).is_some()
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
        self.findings.push(TemplateFinding::error("helper_needs_parens", range.clone(), message).help(help));
        true
    }

    /// The helper of a call whose name is known.
    fn helper(&mut self, call: &syntax::Call, range: &Range<usize>) -> Option<&'static HelperSpec> {
        let name = &self.source[call.name.clone()];
        let Some(spec) = helpers::find(name) else {
            let near = nearest(name, helpers::names());
            let help = near.map_or_else(
                || "`leadflow explain helpers` lists them".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let help = if self.is_value_name(name) { "a value takes no arguments".to_owned() } else { help };
            let message = format!("there is no helper `{name}`");
            self.findings.push(TemplateFinding::error("unknown_helper", call.name.clone(), message).help(help));
            return None;
        };
        let findings = helpers::check_arguments(spec, self.source, call, range);
        self.findings.extend(findings);
        Some(spec)
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
            return Some(Path { base: make(depth), segments: Vec::new() });
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
            return Some(Path { base: Base::Frame(up), segments });
        }
        let names_root = is_root || up == depth;
        if segments.is_empty() {
            return Some(Path { base: Base::Nothing, segments });
        }
        let first = segments.remove(0);
        if !is_root
            && up == 0
            && let Some(base) = self.given_name(&first)
        {
            return Some(Path { base, segments });
        }
        if let Some(root) = Root::find(&first) {
            return Some(Path { base: Base::Root(root), segments });
        }
        if names_root || depth == 0 {
            return Some(Path { base: Base::Nothing, segments });
        }
        segments.insert(0, first);
        Some(Path { base: Base::Frame(0), segments })
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
                match Root::find(name) {
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

//! From text to expressions: limits first, then what the language leaves out, then the parser, then the names.

use std::ops::Range;

use handlebars::template::Template as Parsed;
use serde_json::Value;

use super::expr::{Body, Node};
use super::resolve::Compiler;
use super::scan::{Tag, TagKind, scan};
use super::syntax::{self, NodeKind};
use super::{Destination, TemplateFinding, Vocabulary};
use crate::diagnostic::Severity;

/// Longest template in bytes: the parser takes seconds for megabytes.
pub(super) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of parentheses: the parser recurses and would overflow its stack.
pub(super) const PARENTHESES_DEPTH_MAX: usize = 32;
/// Deepest nesting of blocks, for the same reason.
pub(super) const BLOCK_DEPTH_MAX: usize = 16;
/// Most `{{else if}}` that may be open at one place: the parser nests each in the one before.
const ELSE_DEPTH_MAX: usize = 64;
/// Longest run of backslashes: the parser looks through the whole run at each of them.
const BACKSLASHES_MAX: usize = 100;

/// Compiles `source`. The findings hold warnings only when there is a body.
pub(super) fn compile(
    source: &str,
    destination: Destination,
    vocabulary: Vocabulary,
) -> (Option<Body>, Vec<TemplateFinding>) {
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
    let mut compiler = Compiler::new(source, &tags, &inside, vocabulary);
    let nodes = if let Some(parsed) = &parsed {
        compiler.elements(&parsed.elements)
    } else {
        compiler.names_only();
        Vec::new()
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

/// What the parser could not take: it recurses, and looks ahead.
fn too_deep(source: &str, tags: &[Tag]) -> Option<TemplateFinding> {
    let finding =
        |range: Range<usize>, message: String| Some(TemplateFinding::error("template_too_deep", range, message));
    if let Some(start) = source.find(&"\\".repeat(BACKSLASHES_MAX + 1)) {
        let message = format!("more than {BACKSLASHES_MAX} backslashes stand in a row");
        return finding(start..start + BACKSLASHES_MAX + 1, message);
    }
    // For each open block, how many `{{else if}}` it has had.
    let mut open: Vec<usize> = Vec::new();
    for tag in tags {
        match tag.kind {
            TagKind::Open => open.push(0),
            TagKind::ElseChain => open.iter_mut().last().into_iter().for_each(|chained| *chained += 1),
            TagKind::Close => drop(open.pop()),
            _ => {}
        }
        let range = tag.range.clone();
        if open.len() > BLOCK_DEPTH_MAX {
            return finding(range, format!("blocks are nested more than {BLOCK_DEPTH_MAX} deep"));
        }
        if open.iter().sum::<usize>() > ELSE_DEPTH_MAX {
            return finding(range, format!("there are more than {ELSE_DEPTH_MAX} `{{{{else if}}}}` in a row"));
        }
        if tag.kind != TagKind::Comment && parentheses_depth(&source[tag.inner.clone()]) > PARENTHESES_DEPTH_MAX {
            return finding(range, format!("parentheses are nested more than {PARENTHESES_DEPTH_MAX} deep"));
        }
    }
    None
}

/// How deep brackets of any kind nest. Quotes are not looked at on purpose: the parser must be safe even where it
/// reads them differently.
fn parentheses_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
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
            // Refused elsewhere: what closes it is no fault of its own.
            TagKind::Partial | TagKind::Decorator if opens_a_block(&source[range.clone()]) => {
                let name = source[tag.inner.clone()].trim_start_matches(['>', '*', ' ']);
                open.push((first_word(name), tag, false));
            }
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

/// `{{#> partial}}`, `{{#*inline}}`.
fn opens_a_block(tag: &str) -> bool {
    tag.trim_start_matches(['{', '~', ' ']).starts_with('#')
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !syntax::is_name_char(c)).next().unwrap_or_default()
}

/// The inside of a mustache as written.
pub(super) enum Inside {
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

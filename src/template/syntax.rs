//! The inside of one mustache: words with their places, and the tree they form.

use std::ops::Range;

use serde_json::Value;

use super::scan::end_of_quote;
use super::{TemplateFinding, habits};

/// A word of a mustache.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: TokenKind,
    /// Bytes in the template's source.
    pub(super) range: Range<usize>,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// A quoted text, decoded; `None` where an escape is wrong.
    Quoted(Option<String>),
    /// A path, a name, a number or a keyword, as written.
    Word,
    /// `[…]` directly behind a word or `)`, which is no Handlebars.
    Index,
    /// `=`, `|`, `==`, `?.`, `,` and whatever else is neither.
    Sign,
}

/// Two signs that stand for one operator.
const LONG_SIGNS: &[&str] = &["===", "!==", "==", "!=", ">=", "<=", "&&", "||", "??", "?.", "?["];

/// Whether a character may stand in an unbracketed name.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$' | ':') || c >= '\u{80}'
}

/// Splits `source[range]` into words.
pub(super) fn tokens(source: &str, range: Range<usize>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(c) = source[at..range.end].chars().next() else { break };
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let touches = tokens.last().is_some_and(|last| last.range.end == at);
        let (kind, end) = match c {
            '(' => (TokenKind::Open, at + 1),
            ')' => (TokenKind::Close, at + 1),
            '\'' | '"' => quoted(source, at, range.end),
            '[' if touches && ends_operand(&tokens) => {
                (TokenKind::Index, bracket_end(source, at, range.end).unwrap_or(range.end))
            }
            _ => match word_end(source, at, range.end) {
                Some(end) => (TokenKind::Word, end),
                None => (TokenKind::Sign, at + sign_length(&source[at..range.end])),
            },
        };
        tokens.push(Token { kind, range: at..end });
        at = end;
    }
    tokens
}

fn ends_operand(tokens: &[Token]) -> bool {
    tokens.last().is_some_and(|last| matches!(last.kind, TokenKind::Word | TokenKind::Close | TokenKind::Index))
}

fn sign_length(text: &str) -> usize {
    // `?[` is an optional step: the bracket is a word of its own.
    if text.starts_with("?[") {
        return 1;
    }
    LONG_SIGNS
        .iter()
        .find(|sign| text.starts_with(**sign))
        .map_or_else(|| text.chars().next().map_or(1, char::len_utf8), |sign| sign.len())
}

fn quoted(source: &str, at: usize, end: usize) -> (TokenKind, usize) {
    let bytes = &source.as_bytes()[..end];
    let quote = bytes[at];
    match end_of_quote(bytes, at + 1, quote) {
        Some(close) => (TokenKind::Quoted(decode(&source[at + 1..close], quote)), close + 1),
        None => (TokenKind::Sign, at + 1),
    }
}

/// JSON escapes, and `\'` between single quotes.
fn decode(text: &str, quote: u8) -> Option<String> {
    let json = if quote == b'\'' {
        let mut json = String::with_capacity(text.len() + 2);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => json.push_str("\\\""),
                '\\' => match chars.next()? {
                    '\'' => json.push('\''),
                    '"' => return None,
                    other => json.extend(['\\', other]),
                },
                other => json.push(other),
            }
        }
        json
    } else {
        text.to_owned()
    };
    serde_json::from_str(&format!("\"{json}\"")).ok()
}

fn bracket_end(source: &str, at: usize, end: usize) -> Option<usize> {
    source[at..end].find(']').map(|length| at + length + 1)
}

/// Where the path or name that starts at `at` ends; `None` if none starts there.
fn word_end(source: &str, at: usize, end: usize) -> Option<usize> {
    let mut here = at;
    let mut may_bracket = true;
    while let Some(c) = source[here..end].chars().next() {
        if is_name_char(c) {
            here += c.len_utf8();
            may_bracket = false;
        } else if c == '.' || c == '/' {
            here += 1;
            may_bracket = true;
        } else if c == '@' && (here == at || source[at..here].ends_with(['/', '.'])) {
            here += 1;
        } else if c == '[' && may_bracket {
            let Some(close) = bracket_end(source, here, end) else { break };
            here = close;
            may_bracket = false;
        } else {
            break;
        }
    }
    (here > at).then_some(here)
}

/// A node of an expression as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: NodeKind,
    /// Bytes in the template's source.
    pub(super) range: Range<usize>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    /// A path or a bare name.
    Path,
    /// A number, `true`, `false`, `null` or a text.
    Literal(Value),
    /// A helper or block with its arguments.
    Call(Call),
}

/// A helper or block with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// The bytes of its name.
    pub(super) name: Range<usize>,
    /// In order.
    pub(super) arguments: Vec<Node>,
    /// `name=value`: the bytes of the name, and the value.
    pub(super) options: Vec<(Range<usize>, Node)>,
    /// Whether it stands in parentheses.
    pub(super) in_parentheses: bool,
}

/// Reads the inside of a mustache. A habit of another language is its finding, in place of a syntax error.
pub(super) fn expression(source: &str, range: &Range<usize>) -> Result<Node, TemplateFinding> {
    let tokens = tokens(source, range.clone());
    if tokens.is_empty() {
        return Err(TemplateFinding::error("template_syntax", range.clone(), "there is nothing between `{{` and `}}`"));
    }
    if let Some(finding) = habits::find(source, &tokens, false) {
        return Err(finding);
    }
    let mut parser = Parser { source, tokens: &tokens, at: 0, whole: range.clone() };
    parser.top()
}

/// Reads the inside of a block's opening mustache: its call, and the names behind `as |…|`.
pub(super) fn block(source: &str, range: &Range<usize>) -> Result<(Node, Vec<Range<usize>>), TemplateFinding> {
    let mut tokens = tokens(source, range.clone());
    let names = block_names(source, &mut tokens)?;
    if let Some(finding) = habits::find(source, &tokens, true) {
        return Err(finding);
    }
    let Some(first) = tokens.first() else {
        return Err(TemplateFinding::error("template_syntax", range.clone(), "a block needs a name, like `{{#if …}}`"));
    };
    let whole = first.range.start..tokens.last().map_or(first.range.end, |last| last.range.end);
    let mut parser = Parser { source, tokens: &tokens, at: 0, whole };
    Ok((parser.call(tokens.len(), false)?, names))
}

/// Cuts `as |a b|` off the end.
fn block_names(source: &str, tokens: &mut Vec<Token>) -> Result<Vec<Range<usize>>, TemplateFinding> {
    let is = |token: &Token, text: &str| source[token.range.clone()] == *text;
    let Some(start) = tokens.windows(2).position(|pair| is(&pair[0], "as") && is(&pair[1], "|")) else {
        return Ok(Vec::new());
    };
    let tail = tokens.split_off(start);
    let names = &tail[2..tail.len().max(3) - 1];
    let fits = (1..=2).contains(&names.len())
        && tail.last().is_some_and(|last| is(last, "|"))
        && names
            .iter()
            .all(|name| name.kind == TokenKind::Word && source[name.range.clone()].chars().all(is_name_char));
    if fits {
        return Ok(names.iter().map(|name| name.range.clone()).collect());
    }
    let range = tail[0].range.start..tail[tail.len() - 1].range.end;
    Err(TemplateFinding::error("template_syntax", range, "block parameters are one or two names between bars")
        .help("write  as |row index|"))
}

struct Parser<'s> {
    source: &'s str,
    tokens: &'s [Token],
    at: usize,
    whole: Range<usize>,
}

impl Parser<'_> {
    fn text(&self, token: &Token) -> &str {
        &self.source[token.range.clone()]
    }

    /// One expression that fills the mustache: a lone operand, or a call without parentheses.
    fn top(&mut self) -> Result<Node, TemplateFinding> {
        let first = &self.tokens[0];
        if self.tokens.len() > 1 && first.kind == TokenKind::Word && literal(self.text(first)).is_none() {
            return self.call(self.tokens.len(), false);
        }
        let node = self.operand()?;
        match self.tokens.get(self.at) {
            None => Ok(node),
            Some(extra) => Err(self.unexpected(extra)),
        }
    }

    /// `name argument… option=value…` up to token `end`.
    fn call(&mut self, end: usize, in_parentheses: bool) -> Result<Node, TemplateFinding> {
        let name = self.tokens[self.at].clone();
        let is_name = name.kind == TokenKind::Word && self.text(&name).chars().all(is_name_char);
        if !is_name {
            return Err(self.not_a_helper(&name));
        }
        self.at += 1;
        let (mut arguments, mut options) = (Vec::new(), Vec::new());
        while self.at < end {
            let token = &self.tokens[self.at];
            let is_option = token.kind == TokenKind::Word
                && self.text(token).chars().all(is_name_char)
                && self.tokens.get(self.at + 1).is_some_and(|next| self.text(next) == "=");
            if is_option && self.at + 2 < end {
                let key = token.range.clone();
                self.at += 2;
                options.push((key, self.operand()?));
            } else {
                arguments.push(self.operand()?);
            }
        }
        let range = name.range.start..self.tokens[end - 1].range.end;
        Ok(Node { kind: NodeKind::Call(Call { name: name.range, arguments, options, in_parentheses }), range })
    }

    fn operand(&mut self) -> Result<Node, TemplateFinding> {
        let token = &self.tokens[self.at];
        let range = token.range.clone();
        match &token.kind {
            TokenKind::Open => self.parenthesised(),
            TokenKind::Quoted(Some(text)) => {
                self.at += 1;
                Ok(Node { kind: NodeKind::Literal(Value::String(text.clone())), range })
            }
            TokenKind::Quoted(None) => Err(TemplateFinding::error(
                "template_syntax",
                range,
                "this text holds an escape or a line break that texts do not have",
            )
            .help(r#"escapes are those of JSON: \n \t \\ \" \u00e9, and \' between single quotes"#)),
            TokenKind::Word => {
                self.at += 1;
                match literal(self.text(token)) {
                    Some(Ok(value)) => Ok(Node { kind: NodeKind::Literal(value), range }),
                    Some(Err(())) => Err(self.bad_number(token)),
                    None => self.path(token),
                }
            }
            TokenKind::Close | TokenKind::Index | TokenKind::Sign => Err(self.unexpected(token)),
        }
    }

    fn parenthesised(&mut self) -> Result<Node, TemplateFinding> {
        let open = self.at;
        let mut depth = 0_usize;
        let close = (open..self.tokens.len()).find(|index| {
            match self.tokens[*index].kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let Some(close) = close else {
            let range = self.tokens[open].range.clone();
            return Err(TemplateFinding::error("template_syntax", range, "`(` is never closed with `)`"));
        };
        let range = self.tokens[open].range.start..self.tokens[close].range.end;
        self.at = open + 1;
        if self.at == close {
            return Err(TemplateFinding::error("template_syntax", range, "there is nothing between `(` and `)`"));
        }
        let first = &self.tokens[self.at];
        let lone_path = self.at + 1 == close
            && first.kind == TokenKind::Word
            && literal(self.text(first)).is_none()
            && !self.text(first).chars().all(is_name_char);
        let node = if lone_path { self.path(first)? } else { self.call(close, true)? };
        self.at = close + 1;
        Ok(if lone_path { node } else { Node { range, ..node } })
    }

    fn path(&self, token: &Token) -> Result<Node, TemplateFinding> {
        let (text, range) = (self.text(token), token.range.clone());
        if path(text).is_some() {
            return Ok(Node { kind: NodeKind::Path, range });
        }
        let help = match text.strip_prefix("../@") {
            Some(name) => format!("write  @../{name}"),
            None => {
                "names are joined by single dots; other characters go in brackets: value.[Name with spaces]".to_owned()
            }
        };
        Err(TemplateFinding::error("template_syntax", range, format!("`{text}` is not a path")).help(help))
    }

    fn bad_number(&self, token: &Token) -> TemplateFinding {
        TemplateFinding::error(
            "template_syntax",
            token.range.clone(),
            format!("`{}` is not a number as JSON writes it", self.text(token)),
        )
        .help("a text goes between quotes; numbers look like 7, -1.5 or 2E6")
    }

    fn not_a_helper(&self, token: &Token) -> TemplateFinding {
        let text = self.text(token);
        let message = match token.kind {
            TokenKind::Word if literal(text).is_none() => {
                format!("`{text}` is a value and takes no arguments: one mustache holds one expression")
            }
            TokenKind::Word | TokenKind::Quoted(_) => "a call starts with the name of a helper".to_owned(),
            _ => return self.unexpected(token),
        };
        TemplateFinding::error("template_syntax", token.range.clone(), message)
            .help("write  {{helper argument argument}}; join texts with  {{concat a ' ' b}}")
    }

    fn unexpected(&self, token: &Token) -> TemplateFinding {
        let text = self.text(token);
        let message = match (text, &token.kind) {
            (")", _) => "`)` has no `(` before it".to_owned(),
            ("'" | "\"", TokenKind::Sign) => format!("the text that starts with {text} is never closed"),
            _ if self.whole.start == token.range.start => format!("an expression cannot start with `{text}`"),
            _ => format!("`{text}` does not belong here"),
        };
        TemplateFinding::error("template_syntax", token.range.clone(), message).help(
            "an expression is a path, or a helper and its arguments: {{trigger.body.A}}, {{toUpper trigger.body.A}}",
        )
    }
}

/// Keywords and numbers; `Some(Err)` for what starts like a number and is none.
pub(super) fn literal(word: &str) -> Option<Result<Value, ()>> {
    match word {
        "true" => return Some(Ok(Value::Bool(true))),
        "false" => return Some(Ok(Value::Bool(false))),
        "null" => return Some(Ok(Value::Null)),
        _ => {}
    }
    let digits = word.strip_prefix('-').unwrap_or(word);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'E' | 'e' | '-'));
    if !numeric {
        return None;
    }
    // The grammar knows `E` alone.
    let parsed = if word.contains('e') { None } else { serde_json::from_str(word).ok() };
    Some(parsed.ok_or(()))
}

/// A path as written, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PathSyntax {
    /// It starts with `this` or `./`.
    pub(super) is_this: bool,
    /// It starts with `@root`.
    pub(super) is_root: bool,
    /// It starts with `@`: a loop's own value.
    pub(super) is_local: bool,
    /// How many `../`.
    pub(super) up: usize,
    /// The names, without brackets.
    pub(super) segments: Vec<String>,
}

/// Takes `text` apart as the grammar of the parser does; `None` where it is no path.
pub(super) fn path(text: &str) -> Option<PathSyntax> {
    let mut path = PathSyntax::default();
    let mut rest = text;
    if let Some(behind) = rest.strip_prefix("this.").or_else(|| rest.strip_prefix("this/")) {
        (path.is_this, rest) = (true, behind);
    } else if let Some(behind) = rest.strip_prefix("./") {
        (path.is_this, rest) = (true, behind);
    }
    if let Some(behind) = rest.strip_prefix("@root.").or_else(|| rest.strip_prefix("@root/")) {
        (path.is_root, rest) = (true, behind);
    }
    if let Some(behind) = rest.strip_prefix('@') {
        (path.is_local, rest) = (true, behind);
    }
    while let Some(behind) = rest.strip_prefix("../") {
        path.up += 1;
        rest = behind;
    }
    loop {
        let (name, behind) = path_item(rest)?;
        // The parser drops `this` wherever it stands.
        if name == "this" && !rest.starts_with('[') {
            path.is_this |= path.segments.is_empty();
        } else {
            path.segments.push(name.to_owned());
        }
        if behind.is_empty() {
            return Some(path);
        }
        rest = behind.strip_prefix(['.', '/'])?;
    }
}

fn path_item(text: &str) -> Option<(&str, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.split_once(']');
    }
    let end = text.find(|c| !is_name_char(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{PathSyntax, literal, path};

    fn segments(text: &str) -> Vec<String> {
        path(text).expect("a path").segments
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(
            segments("trigger.body.[a b].[0].x-forwarded-for"),
            ["trigger", "body", "a b", "0", "x-forwarded-for"]
        );
        assert_eq!(segments("item.[a/b]"), ["item", "a/b"]);
        assert_eq!(path("../../x"), Some(PathSyntax { up: 2, segments: vec!["x".into()], ..PathSyntax::default() }));
        assert!(path("@index").expect("a path").is_local);
        assert!(path("this").expect("a path").is_this);
        assert!(path("@root.trigger").expect("a path").is_root);
        assert_eq!(path("a..b"), None);
        assert_eq!(path("a."), None);
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(literal("1"), Some(Ok(1.into())));
        assert_eq!(literal("-1.50"), Some(Ok(Value::from(-1.5))));
        assert_eq!(literal("01"), Some(Err(())));
        assert_eq!(literal("x1"), None);
    }
}

//! What people write from habit of other languages, each with the form that works here.

use std::ops::Range;

use super::syntax::{Token, TokenKind, is_name_char, tokens};
use super::{TemplateFinding, helpers};

/// The first habit in a mustache's words; `in_block` when they start with a block's name.
pub(super) fn find(source: &str, tokens: &[Token], in_block: bool) -> Option<TemplateFinding> {
    let (at, code) = (0..tokens.len()).find_map(|at| habit_at(source, tokens, at).map(|code| (at, code)))?;
    let range = tokens[at].range.clone();
    let message = message(code, &source[range.clone()]);
    let skipped = usize::from(in_block && tokens.len() > 1);
    let block = if in_block { &source[tokens[0].range.clone()] } else { "" };
    let help = match rewrite(source, &tokens[skipped..]) {
        Some(form) if in_block => format!("write  {{{{#{block} {}}}}}", form.nested()),
        Some(form) => format!("write  {{{{{}}}}}", form.alone()),
        None => general_help(code).to_owned(),
    };
    Some(TemplateFinding::error(code, span(tokens, at, code), message).help(help))
}

/// `@{triggerBody()…}` or `@concat(…)` in a text: an expression there, nothing but text here.
pub(super) fn foreign(text: &str) -> Option<TemplateFinding> {
    let whole = text.len() - text.trim_start().len();
    let embedded = text.match_indices("@{").map(|(at, _)| (at, at + 2));
    let starts = embedded.chain(text[whole..].starts_with('@').then_some((whole, whole + 1)));
    let is_function = |at: &(usize, usize)| {
        let rest = text[at.1..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..end];
        rest[end..].starts_with('(') && (helpers::find(name).is_some() || helpers::path_of(name, "").is_some())
    };
    let (start, inner) = starts.into_iter().find(is_function)?;
    let end = if inner - start == 2 {
        text[inner..].find('}').map_or(text.len(), |length| inner + length)
    } else {
        text.trim_end().len()
    };
    let form = rewrite(text, &tokens(text, inner..end));
    let range = start..(end + usize::from(text[end..].starts_with('}')));
    let message = "this is an expression of Power Automate: here it is text, and stands there as it is";
    let help = form.map_or_else(
        || "expressions stand between braces: {{toUpper trigger.body.A}}".to_owned(),
        |form| format!("write  {{{{{}}}}}", form.alone()),
    );
    Some(TemplateFinding::warning("habit_expression", range, message).help(help))
}

/// The bytes to underline: a call and an index with what they hang on.
fn span(tokens: &[Token], at: usize, code: &str) -> Range<usize> {
    let range = tokens[at].range.clone();
    match code {
        "habit_call" | "habit_index" | "habit_optional_chain" if at > 0 => tokens[at - 1].range.start..range.end,
        _ => range,
    }
}

fn habit_at(source: &str, tokens: &[Token], at: usize) -> Option<&'static str> {
    let token = &tokens[at];
    let text = &source[token.range.clone()];
    let previous = at.checked_sub(1).map(|before| &tokens[before]);
    let touches = previous.is_some_and(|before| before.range.end == token.range.start);
    let is_quoted = |token: &Token| matches!(token.kind, TokenKind::Quoted(_));
    match &token.kind {
        TokenKind::Open if touches && previous.is_some_and(|before| before.kind == TokenKind::Word) => {
            Some("habit_call")
        }
        TokenKind::Quoted(_) if touches && previous.is_some_and(is_quoted) => Some("habit_quotes"),
        TokenKind::Index => Some("habit_index"),
        TokenKind::Sign => {
            let next = tokens.get(at + 1).filter(|next| next.range.start == token.range.end);
            let is_step = next.is_some_and(|next| source[next.range.clone()].starts_with('['));
            sign_habit(source, text, previous, is_step)
        }
        _ => None,
    }
}

fn sign_habit(source: &str, text: &str, previous: Option<&Token>, is_step: bool) -> Option<&'static str> {
    match text {
        "?." => Some("habit_optional_chain"),
        "?" if is_step => Some("habit_optional_chain"),
        "?" => Some("habit_operator"),
        "??" => Some("habit_coalesce"),
        "|" => Some("habit_pipe"),
        "=" => {
            // `name=value` is an option of a helper; `a.b = c` can only be meant as a comparison.
            let option = previous.is_some_and(|before| source[before.range.clone()].chars().all(is_name_char));
            (!option).then_some("habit_operator")
        }
        _ => helper_of(text).map(|_| "habit_operator"),
    }
}

/// The helper that does what an operator does elsewhere.
fn helper_of(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "=" | "==" | "===" => "eq",
        "!=" | "!==" => "ne",
        ">" => "gt",
        ">=" => "gte",
        "<" => "lt",
        "<=" => "lte",
        "&&" => "and",
        "||" => "or",
        "!" => "not",
        "??" => "coalesce",
        "+" => "concat",
        _ => return None,
    })
}

fn message(code: &str, text: &str) -> String {
    match code {
        "habit_call" => "arguments of a helper stand behind it, without parentheses and commas".to_owned(),
        "habit_index" => {
            "names and positions inside a value are reached with a dot, not with brackets alone".to_owned()
        }
        "habit_optional_chain" => "every path is safe without `?`: what is missing is null".to_owned(),
        "habit_pipe" => "`|` is not part of the language: a helper stands before its arguments".to_owned(),
        "habit_coalesce" => "`??` is not part of the language: use the helper `coalesce` or `default`".to_owned(),
        "habit_quotes" => "a doubled quote does not write a quote".to_owned(),
        _ => format!("`{text}` is not part of the language: comparing and combining are helpers"),
    }
}

fn general_help(code: &str) -> &'static str {
    match code {
        "habit_call" => "write  {{toUpper trigger.body.A}}, nested  {{toUpper (trim trigger.body.A)}}",
        "habit_index" => "write  value.Name, value.[Name with spaces] or list.[0]",
        "habit_optional_chain" => "write  value.Name",
        "habit_pipe" => "write  {{toUpper trigger.body.A}}",
        "habit_coalesce" => "write  {{coalesce trigger.body.A 'otherwise'}}",
        "habit_quotes" => r#"write  "it's"  or  'it\'s'"#,
        _ => {
            "write  (eq a b), (ne a b), (gt a b), (gte a b), (lt a b), (lte a b), (and a b), (or a b), (not a), (if a then else)"
        }
    }
}

/// A rewritten expression.
enum Form {
    Operand(String),
    Call(String),
}

impl Form {
    fn alone(&self) -> &str {
        match self {
            Self::Operand(text) | Self::Call(text) => text,
        }
    }

    fn nested(&self) -> String {
        match self {
            Self::Operand(text) => text.clone(),
            Self::Call(text) => format!("({text})"),
        }
    }
}

/// Deepest nesting that is worth rewriting.
const DEPTH_MAX: usize = 16;

/// The whole expression in our own words; `None` where it is not understood.
fn rewrite(source: &str, tokens: &[Token]) -> Option<Form> {
    let mut rewriter = Rewriter { source, tokens, at: 0 };
    let form = rewriter.expression(0)?;
    (rewriter.at == tokens.len()).then_some(form)
}

struct Rewriter<'s> {
    source: &'s str,
    tokens: &'s [Token],
    at: usize,
}

impl Rewriter<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|token| &self.source[token.range.clone()])
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.peek() == Some(text);
        self.at += usize::from(taken);
        taken
    }

    /// Operands joined by operators from left to right, or a helper with its arguments.
    fn expression(&mut self, depth: usize) -> Option<Form> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut left = self.operand(depth)?;
        loop {
            let Some(sign) = self.peek().map(str::to_owned) else { return Some(left) };
            if sign == ")" || sign == "," {
                return Some(left);
            }
            self.at += 1;
            if sign == "?" {
                let then = self.operand(depth)?;
                self.take(":").then_some(())?;
                let otherwise = self.expression(depth + 1)?;
                left = Form::Call(format!("if {} {} {}", left.nested(), then.nested(), otherwise.nested()));
            } else if sign == "|" {
                let helper = self.operand(depth)?;
                left = Form::Call(format!("{} {}", helper.alone(), left.nested()));
            } else if let Some(helper) = helper_of(&sign) {
                let right = self.operand(depth)?;
                left = Form::Call(format!("{helper} {} {}", left.nested(), right.nested()));
            } else {
                self.at -= 1;
                left = self.arguments(&left, depth)?;
            }
        }
    }

    /// `helper a b`, already in our own form but for its arguments.
    fn arguments(&mut self, name: &Form, depth: usize) -> Option<Form> {
        let Form::Operand(name) = name else { return None };
        let mut text = name.clone();
        // An operator behind the arguments takes the whole call.
        let ends = |token: &Token| token.kind == TokenKind::Sign && self.source[token.range.clone()] != *"!";
        while self.peek().is_some_and(|next| next != ")" && next != ",") && !ends(&self.tokens[self.at]) {
            text = format!("{text} {}", self.operand(depth)?.nested());
        }
        Some(Form::Call(text))
    }

    fn operand(&mut self, depth: usize) -> Option<Form> {
        if depth > DEPTH_MAX {
            return None;
        }
        if self.take("!") {
            return Some(Form::Call(format!("not {}", self.operand(depth + 1)?.nested())));
        }
        if self.take("(") {
            let inner = self.expression(depth + 1)?;
            return self.take(")").then_some(inner);
        }
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        match token.kind {
            TokenKind::Quoted(_) => self.quoted(token.range),
            TokenKind::Word => self.postfix(self.source[token.range].to_owned(), depth),
            _ => None,
        }
    }

    /// `'it''s'` is two texts that touch: one text with a quote in it.
    fn quoted(&mut self, first: Range<usize>) -> Option<Form> {
        let mut text = self.source[first.clone()].to_owned();
        let mut end = first.end;
        while let Some(next) = self.tokens.get(self.at) {
            if !matches!(next.kind, TokenKind::Quoted(_)) || next.range.start != end {
                break;
            }
            let more = &self.source[next.range.clone()];
            let quote = text.pop()?;
            text = format!("{text}\\{quote}{}", more.get(1..)?);
            end = next.range.end;
            self.at += 1;
        }
        Some(Form::Operand(text))
    }

    /// What hangs on a name: `(…)`, `['A']`, `[0]`, `?.A`, `?['A']`.
    fn postfix(&mut self, name: String, depth: usize) -> Option<Form> {
        let mut form = Form::Operand(name);
        loop {
            let touches = self.at > 0
                && self.tokens.get(self.at).is_some_and(|next| next.range.start == self.tokens[self.at - 1].range.end);
            if !touches {
                return Some(form);
            }
            let index = self.tokens[self.at].kind == TokenKind::Index;
            match self.peek()? {
                "(" => {
                    self.at += 1;
                    form = self.call(form.alone(), depth)?;
                }
                "?" | "?." => {
                    self.at += 1;
                    let next = self.tokens.get(self.at)?;
                    let step = step(&self.source[next.range.clone()])?;
                    self.at += 1;
                    form = Form::Operand(format!("{}.{step}", operand_text(&form)?));
                }
                text if index => {
                    let step = step(text)?;
                    self.at += 1;
                    form = Form::Operand(format!("{}.{step}", operand_text(&form)?));
                }
                text if text.starts_with('.') => {
                    let step = text.trim_start_matches('.').to_owned();
                    self.at += 1;
                    form = Form::Operand(format!("{}.{step}", operand_text(&form)?));
                }
                _ => return Some(form),
            }
        }
    }

    fn call(&mut self, name: &str, depth: usize) -> Option<Form> {
        let mut text = name.to_owned();
        while !self.take(")") {
            text = format!("{text} {}", self.expression(depth + 1)?.nested());
            self.take(",");
        }
        let argument = text.get(name.len()..)?.trim().trim_matches('\'');
        let path = helpers::path_of(name.trim_start_matches('@'), argument);
        Some(path.map_or(Form::Call(text), Form::Operand))
    }
}

fn operand_text(form: &Form) -> Option<&str> {
    match form {
        Form::Operand(text) => Some(text),
        Form::Call(_) => None,
    }
}

/// One step of a path, from `Name`, `['Name']` or `[0]`.
fn step(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return Some(text.trim_start_matches('.').to_owned());
    };
    let inner = inner.trim();
    if !inner.is_empty() && inner.chars().all(|c| c.is_ascii_digit()) {
        return Some(format!("[{inner}]"));
    }
    let name = inner
        .strip_prefix(['\'', '"'])
        .and_then(|rest| rest.strip_suffix(['\'', '"']))
        .filter(|name| !name.is_empty() && !name.contains(']'))?;
    // There, a slash in a name walks.
    let step = |name: &str| if name.chars().all(is_name_char) { name.to_owned() } else { format!("[{name}]") };
    let walks = name.contains('/') && name.split('/').all(|part| !part.is_empty());
    Some(if walks { name.split('/').map(step).collect::<Vec<_>>().join(".") } else { step(name) })
}

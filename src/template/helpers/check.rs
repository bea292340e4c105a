//! What the linter says of a call: the number of its arguments, its options, values that can never fit.

use std::ops::Range;

use serde_json::Value;

use super::{HelperSpec, Kind, culture, date_calendar, date_format, date_parse, date_zone, find, number_format};
use crate::diagnostic::nearest;
use crate::template::expr::Expr;
use crate::template::syntax::{self, NodeKind};
use crate::template::{TemplateFinding, kind_of};

/// What is wrong with a call: the number of its arguments, its options, values that cannot fit.
pub(in crate::template) fn check_arguments(
    spec: &HelperSpec,
    source: &str,
    call: &syntax::Call,
    range: &Range<usize>,
) -> Vec<TemplateFinding> {
    let mut findings = Vec::new();
    if !spec.arguments.accepts(call.arguments.len()) {
        findings.push(wrong_count(spec, call.arguments.len(), range));
    }
    for (at, argument) in call.arguments.iter().enumerate().take(spec.arguments.max) {
        findings.extend(argument_finding(spec, source, at, argument));
    }
    for (key, value) in &call.options {
        findings.extend(option_finding(spec, source, key, value));
    }
    findings
}

fn argument_finding(spec: &HelperSpec, source: &str, at: usize, argument: &syntax::Node) -> Option<TemplateFinding> {
    let (kind, place) = (spec.arguments.kind(at), argument.range.clone());
    let wants = |got: &str| format!("`{}` wants {} as argument {}, not {got}", spec.name, kind.name(), at + 1);
    match &argument.kind {
        NodeKind::Literal(value) if !kind.accepts(value) => {
            Some(TemplateFinding::warning("literal_type", place, wants(kind_of(value))))
        }
        NodeKind::Literal(Value::String(text)) => {
            let message = in_words(kind, text).err()?;
            Some(TemplateFinding::warning("literal_type", place, message))
        }
        NodeKind::Call(inner) => {
            let given = find(&source[inner.name.clone()])?;
            let message = wants(&format!("{}, which `{}` gives", given.gives.name(), given.name));
            (!given.gives.may_be(kind)).then(|| TemplateFinding::warning("result_type", place, message))
        }
        _ => None,
    }
}

fn option_finding(
    spec: &HelperSpec,
    source: &str,
    key: &Range<usize>,
    value: &syntax::Node,
) -> Option<TemplateFinding> {
    let name = &source[key.clone()];
    if !spec.options.iter().any(|option| option.eq_ignore_ascii_case(name)) {
        let message = format!("`{}` has no option `{name}`", spec.name);
        let help = nearest(name, spec.options.iter().copied()).map_or_else(
            || format!("write  ({})", spec.arguments.usage(spec.name)),
            |near| format!("did you mean `{near}`?"),
        );
        return Some(TemplateFinding::error("wrong_arguments", key.clone(), message).help(help));
    }
    let NodeKind::Literal(literal) = &value.kind else { return None };
    let problem = match literal.as_str() {
        None => Err(format!("`{name}` is a text in quotes")),
        Some(text) if name.eq_ignore_ascii_case("tz") => in_words(Kind::Zone, text),
        Some(text) => in_words(Kind::Culture, text),
    };
    problem.err().map(|message| TemplateFinding::error("wrong_arguments", value.range.clone(), message))
}

/// What is wrong with a text that is written out, where the kind knows which texts there are.
fn in_words(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Zone => date_zone::zone(text).map(drop),
        Kind::Culture => culture::find(text).map(drop),
        Kind::Unit => date_calendar::unit(text).map(drop),
        Kind::Time if date_parse::parse(text).is_none() => {
            Err("this text is no time: times look like 2018-03-15T13:05:00Z or 03/15/2018".to_owned())
        }
        Kind::TimeFormat => date_format::format(&date_parse::Moment::SAMPLE, text, culture::ENGLISH).map(drop),
        Kind::NumberFormat => number_format::check(text),
        _ => Ok(()),
    }
}

/// The finding for `count` arguments where `spec` takes another number.
pub(in crate::template) fn wrong_count(spec: &HelperSpec, count: usize, range: &Range<usize>) -> TemplateFinding {
    let message = format!("`{}` takes {}, not {count}", spec.name, spec.arguments.wanted());
    TemplateFinding::error("wrong_arguments", range.clone(), message)
        .help(format!("write  ({})", spec.arguments.usage(spec.name)))
}

/// What an expression gives, as far as that is known before it runs; `None` for values of the scope.
pub(in crate::template) fn result_kind(expr: &Expr) -> Option<(&'static str, Kind)> {
    match expr {
        Expr::Call(call) => Some((call.helper.name, call.helper.gives)),
        Expr::Literal(_) | Expr::Path(_) => None,
    }
}

//! What an answer means: the file's rules first, then what its status means for every API.

use serde_json::Value;

use super::format::{Expect, Means};
use super::plan::{Call, Rule};
use crate::connectors::{named, refused};
use crate::outbound::HttpReply;
use crate::run::{Class, Failure};
use crate::template::{Scope, Template, text_or_json};

/// Longest word of a system that is taken for an error code, in characters.
const CODE_CHARACTERS_MAX: usize = 80;

/// Whom an answer is from, and what to.
pub(super) struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The connection's name.
    pub connection: &'a str,
    /// The connector's name.
    pub system: &'a str,
    /// Whether it is about one record that must be there.
    pub finds_one: bool,
    /// Whether it changes nothing.
    pub reads: bool,
    /// Where the system's own error code is.
    pub error_code: Option<&'a Template>,
}

/// What an answer means, where it is no failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was done.
    Fine,
    /// The record is there already.
    Duplicate {
        /// Its id, where the system says so.
        id: Option<String>,
        /// Whether only our own key can have met it.
        ours: bool,
    },
    /// There is no such record.
    NotFound,
}

/// Judges the answer that `scope` and `reply` hold.
pub(super) fn judge(call: &Call, asked: &Asked<'_>, scope: &Scope<'_>, reply: &HttpReply) -> Result<Verdict, Failure> {
    let is_success = (200..=299).contains(&reply.status);
    match call.rules.iter().find(|rule| holds(rule, scope, reply.status)) {
        Some(rule) => match rule.means {
            Means::Fine => Ok(Verdict::Fine),
            Means::NotFound => Ok(Verdict::NotFound),
            Means::Duplicate => {
                Ok(Verdict::Duplicate { id: rule.id.as_ref().and_then(|id| word(id, scope)), ours: rule.ours })
            }
            Means::Throttled => Err(ruled(asked, scope, reply, Class::Throttled)),
            Means::Retryable => Err(ruled(asked, scope, reply, Class::Retryable)),
            Means::Credentials => Err(ruled(asked, scope, reply, Class::Credentials)),
            Means::Failed => Err(ruled(asked, scope, reply, Class::Terminal)),
        },
        None if is_success && !looks_right(call, reply) => {
            Err(unexpected_answer(asked.method, asked.connection, asked.system, asked.reads))
        }
        None if is_success => Ok(Verdict::Fine),
        None if reply.status == 404 && asked.finds_one => Ok(Verdict::NotFound),
        None => Err(refused(&to(asked), reply, said(asked, scope).as_deref())),
    }
}

fn to(asked: &Asked<'_>) -> String {
    format!("{} to connection `{}`", asked.method, asked.connection)
}

/// A condition that cannot be evaluated on this answer does not hold: answers come in every shape.
fn holds(rule: &Rule, scope: &Scope<'_>, status: u16) -> bool {
    rule.status.as_ref().is_none_or(|statuses| statuses.hold(status))
        && rule.when.as_ref().is_none_or(|when| when.render_bool(scope) == Ok(true))
}

/// Whether a success can be the system's: no page for people, and JSON where JSON is expected.
fn looks_right(call: &Call, reply: &HttpReply) -> bool {
    let is_page = reply.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.trim_start().to_ascii_lowercase().starts_with("text/html")
    });
    let is_json = reply.body.is_object() || reply.body.is_array();
    (!is_page || reply.body.is_null()) && (is_json || call.expect == Expect::Any)
}

/// The failure that a rule of the file makes of an answer.
fn ruled(asked: &Asked<'_>, scope: &Scope<'_>, reply: &HttpReply, class: Class) -> Failure {
    let said = said(asked, scope).map(|said| format!(": {said}")).unwrap_or_default();
    let advice = match class {
        Class::Credentials => "; check the credentials of the connection",
        _ => "",
    };
    let (code, what) = if (200..=299).contains(&reply.status) {
        ("api_error".to_owned(), "an error in a success".to_owned())
    } else {
        (format!("http_{}", reply.status), named(reply.status))
    };
    let message = format!("{} was answered with {what}{said}{advice}", to(asked));
    Failure { class, retry_after: reply.retry_after, ..Failure::terminal(code, message) }
}

/// The system's own error code, if it looks like one: a sentence could hold what a lead brought.
fn said(asked: &Asked<'_>, scope: &Scope<'_>) -> Option<String> {
    let word = word(asked.error_code?, scope)?;
    let fits = word.len() <= CODE_CHARACTERS_MAX
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'));
    fits.then_some(word)
}

fn word(template: &Template, scope: &Scope<'_>) -> Option<String> {
    match template.render(scope).ok()? {
        value @ (Value::String(_) | Value::Number(_)) => {
            Some(text_or_json(&value).trim().to_owned()).filter(|word| !word.is_empty())
        }
        _ => None,
    }
}

/// An answer that is none of the system's, though its status says success. Of a write nobody knows whether it was done.
pub(super) fn unexpected_answer(method: &str, connection: &str, system: &str, reads: bool) -> Failure {
    let message = format!(
        "{method} to connection `{connection}` was answered with a success that is none of {system}'s: a login page, a \
         proxy, or another system; check the URL of the connection"
    );
    if reads { Failure::terminal("unexpected_answer", message) } else { Failure::unknown("unexpected_answer", message) }
}

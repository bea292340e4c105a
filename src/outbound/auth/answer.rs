//! What a token endpoint's answer means. The messages name the server's error codes, never its sentences: those may
//! repeat what was sent.

use std::time::Duration;

use serde_json::Value;

use super::super::HttpReply;
use crate::clock::Micros;
use crate::run::{Class, Failure};
use crate::secret::Secret;

/// How long a token is used whose server does not say. Short: the shortest session of Salesforce, which says nothing.
const ASSUMED_LIFE: Duration = Duration::from_secs(15 * 60);

/// No token is used longer, whatever its server says.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The most characters of a server's error code that a failure repeats.
const CODE_CHARS_MAX: usize = 64;

/// Errors (RFC 6749, 5.2 and 4.1.2.1) that pass by themselves.
const PASSING: &[&str] = &["temporarily_unavailable", "server_error"];

/// Kinds of token that need more than to be shown.
const SIGNED_KINDS: &[&str] = &["dpop", "mac", "pop"];

/// What a server's word means, in ours.
const KNOWN: &[(&str, &str)] = &[
    ("AADSTS7000222", "the client secret has expired: make a new one"),
    ("AADSTS7000215", "the client secret is wrong: copy the secret's value, not its id"),
    ("AADSTS700016", "the tenant knows no application with this client id"),
    ("AADSTS900023", "the tenant does not exist"),
    ("AADSTS90002", "the tenant does not exist"),
    ("AADSTS500011", "the tenant does not know what `scope` names"),
    ("AADSTS65001", "nobody has agreed yet to what the application asks for"),
    ("AADSTS700082", "the refresh token has expired: let the person agree again"),
    ("AADSTS50173", "the refresh token was revoked: let the person agree again"),
    ("AADSTS70008", "the refresh token has expired: let the person agree again"),
    ("user hasn't approved this consumer", "the user has not approved the connected app at Salesforce"),
    ("invalid assertion", "the server does not accept the signed statement: issuer, audience, key or clock is wrong"),
    ("Token has been expired or revoked", "the refresh token was revoked: let the person agree again"),
    ("Invalid JWT Signature", "the private key does not belong to the account"),
];

/// A token, as its server gave it.
#[derive(Debug)]
pub(super) struct Granted {
    /// What is shown to the other side.
    pub(super) token: Secret,
    /// How long it is valid, from when it was asked for.
    pub(super) life: Duration,
    /// The refresh token that replaces the one that was used.
    pub(super) refresh_token: Option<Secret>,
}

/// The token in `reply` of the endpoint at `host`; `now` is the server's time.
pub(super) fn read(reply: &HttpReply, host: &str, now: Micros) -> Result<Granted, Failure> {
    let body = body(reply);
    let said = body.get("error").and_then(Value::as_str);
    match reply.status {
        200..=299 => match (body.get("access_token").and_then(Value::as_str), said) {
            (Some(token), _) => granted(token, &body, host, now),
            (None, Some(said)) => Err(refused(reply, host, &body, Some(said))),
            (None, None) => Err(no_answer(reply, host)),
        },
        300..=399 => {
            let what = format!("the token endpoint {host} redirects; redirects are not followed: write its final URL");
            Err(Failure::credentials("token_answer", what))
        }
        429 => Err(throttled(reply, host)),
        503 if reply.retry_after.is_some() => Err(throttled(reply, host)),
        408 | 500..=599 => {
            let message = format!("the token endpoint {host} answered with status {}; nothing was sent", reply.status);
            let failure = Failure::retryable("token_unavailable", message);
            Err(Failure { retry_after: reply.retry_after, ..failure })
        }
        _ => Err(refused(reply, host, &body, said)),
    }
}

/// JSON, also from a server that calls it otherwise.
fn body(reply: &HttpReply) -> Value {
    match &reply.body {
        Value::String(text) if text.trim_start().starts_with('{') => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

fn granted(token: &str, body: &Value, host: &str, now: Micros) -> Result<Granted, Failure> {
    let kind = body.get("token_type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    if SIGNED_KINDS.contains(&kind.as_str()) {
        let message =
            format!("the token endpoint {host} gives tokens of type {kind}; only bearer tokens are supported");
        return Err(Failure::credentials("token_answer", message));
    }
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("the token endpoint {host} gave a token that does not fit a header");
        return Err(Failure::credentials("token_answer", message));
    }
    let refresh_token = body.get("refresh_token").and_then(Value::as_str).filter(|token| !token.is_empty());
    Ok(Granted { token: Secret::new(token), life: life(body, now), refresh_token: refresh_token.map(Secret::new) })
}

/// `expires_in`, else `expires_on` (UNIX seconds) by the server's clock; numbers may be texts.
fn life(body: &Value, now: Micros) -> Duration {
    let seconds = |key: &str| match body.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let now = Duration::from_micros(now.max(0).unsigned_abs()).as_secs_f64();
    let left = seconds("expires_in").or_else(|| Some(seconds("expires_on")? - now));
    left.map_or(ASSUMED_LIFE, |left| Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(LIFE_MAX).min(LIFE_MAX))
}

fn throttled(reply: &HttpReply, host: &str) -> Failure {
    let message = format!("the token endpoint {host} asks to wait (status {})", reply.status);
    Failure::throttled(format!("http_{}", reply.status), message, reply.retry_after)
}

/// The server does not give this client a token. Whatever the reason, no lead is at fault: people have to look.
fn refused(reply: &HttpReply, host: &str, body: &Value, said: Option<&str>) -> Failure {
    let description = body.get("error_description").and_then(Value::as_str).unwrap_or_default();
    let code = said.map(code).filter(|code| !code.is_empty());
    if code.as_deref().is_some_and(|code| PASSING.contains(&code)) {
        let message = format!("the token endpoint {host} cannot answer now; nothing was sent");
        return Failure { retry_after: reply.retry_after, ..Failure::retryable("token_unavailable", message) };
    }
    let entra = entra_code(description);
    let words = [code, entra, Some(format!("status {}", reply.status))];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let meaning = KNOWN.iter().find(|(needle, _)| description.contains(needle)).map(|(_, meaning)| *meaning);
    let meaning = meaning.map(|meaning| format!(": {meaning}")).unwrap_or_default();
    let message =
        format!("the token endpoint {host} refuses ({}){meaning}; check `auth` of the connection", words.join(", "));
    Failure::credentials("token_refused", message)
}

fn no_answer(reply: &HttpReply, host: &str) -> Failure {
    let kind = reply.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, kind)| kind.as_str());
    let what = match (kind.contains("html"), &reply.body) {
        (true, _) => "a web page instead of a token",
        (_, Value::Null) => "nothing instead of a token",
        _ => "something that holds no token",
    };
    let message =
        format!("{host} answered with {what}; check where the tokens are given out (`auth` of the connection)");
    Failure::credentials("token_answer", message)
}

/// A server's error code: a word.
fn code(said: &str) -> String {
    let fits = |character: &char| character.is_ascii_alphanumeric() || "_-.".contains(*character);
    said.chars().take_while(fits).take(CODE_CHARS_MAX).collect()
}

/// Microsoft's own code (`AADSTS7000215`) in its sentence.
fn entra_code(description: &str) -> Option<String> {
    const PREFIX: &str = "AADSTS";
    let at = description.find(PREFIX)?;
    let number = description[at + PREFIX.len()..].chars().take_while(char::is_ascii_digit).take(CODE_CHARS_MAX);
    let number: String = number.collect();
    (!number.is_empty()).then(|| format!("{PREFIX}{number}"))
}

/// What a request for a token that got no answer means: the real request was never sent.
pub(super) fn unanswered(failure: Failure, host: &str) -> Failure {
    let Failure { code, message, class, retry_after, .. } = failure;
    match class {
        Class::Retryable => Failure { retry_after, ..Failure::retryable(code, format!("token endpoint: {message}")) },
        Class::Terminal if code == "tls_certificate" => Failure::terminal(code, format!("token endpoint: {message}")),
        Class::Unknown | Class::TimedOut => {
            let message = format!("the token endpoint {host} did not answer; nothing was sent");
            Failure::retryable("token_unavailable", message)
        }
        Class::Terminal | Class::Throttled | Class::Credentials => {
            Failure::credentials("token_answer", format!("token endpoint {host}: {message}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::MICROS_PER_SEC;

    fn reply(status: u16, kind: &str, body: Value, retry_after: Option<Micros>) -> HttpReply {
        HttpReply { status, headers: vec![("content-type".into(), kind.into())], body, retry_after }
    }

    fn judged(status: u16, body: Value) -> Failure {
        read(&reply(status, "application/json", body, None), "login.example", 0).expect_err("no token")
    }

    #[test]
    fn a_tokens_life_is_what_its_server_says() {
        let life = |more: Value| {
            let mut body = json!({"access_token": "t", "token_type": "Bearer"});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let now = 1_000 * MICROS_PER_SEC;
            read(&reply(200, "application/json", body, None), "h", now).expect("a token").life
        };
        assert_eq!(life(json!({"expires_in": 3})), Duration::from_secs(3));
        assert_eq!(life(json!({"expires_in": "3599"})), Duration::from_secs(3599));
        assert_eq!(life(json!({"expires_in": -5})), Duration::ZERO);
        assert_eq!(life(json!({"expires_in": 1e300})), LIFE_MAX);
        assert_eq!(life(json!({"expires_on": 1_060})), Duration::from_secs(60));
        assert_eq!(life(json!({"expires_on": "940"})), Duration::ZERO);
        for none in [json!({}), json!({"expires_in": null}), json!({"expires_in": "soon"})] {
            assert_eq!(life(none), ASSUMED_LIFE);
        }
    }

    #[test]
    fn a_token_may_come_in_other_dress_but_must_be_one() {
        let text = json!("{\"access_token\": \"t\", \"refresh_token\": \"r\"}");
        let granted = read(&reply(200, "text/plain", text, None), "h", 0).expect("a token");
        assert_eq!((granted.token.expose(), granted.refresh_token.expect("one").expose()), ("t", "r"));
        let web_page = reply(200, "text/html; charset=utf-8", json!("<html>Sign in</html>"), None);
        let failure = read(&web_page, "login.example", 0).expect_err("no token");
        assert_eq!((failure.code.as_str(), failure.class), ("token_answer", Class::Credentials));
        assert!(failure.message.contains("a web page"), "{}", failure.message);
        for body in [Value::Null, json!([]), json!({}), json!({"access_token": 7}), json!({"access_token": ""})] {
            assert_eq!(judged(200, body).code, "token_answer");
        }
        for token in ["a\r\nX: 1", "a b", "ä"] {
            let failure = judged(200, json!({"access_token": token}));
            assert_eq!(failure.code, "token_answer");
            assert!(!failure.message.contains(token));
        }
        assert_eq!(judged(200, json!({"access_token": "t", "token_type": "DPoP"})).code, "token_answer");
        assert_eq!(judged(302, Value::Null).code, "token_answer");
    }

    #[test]
    fn refusals_are_of_the_credentials_and_repeat_no_sentence() {
        for (status, error) in
            [(401, "invalid_client"), (400, "invalid_grant"), (400, "unauthorized_client"), (200, "invalid_code")]
        {
            let body = json!({"error": error, "error_description": "AADSTS7000222: hunter2 of lead@contoso.example"});
            let failure = judged(status, body);
            assert_eq!((failure.code.as_str(), failure.class), ("token_refused", Class::Credentials), "{error}");
            for word in [error, "AADSTS7000222", "has expired", "login.example"] {
                assert!(failure.message.contains(word), "{word} in {}", failure.message);
            }
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
        let bare = judged(404, Value::Null);
        assert_eq!((bare.class, bare.message.contains("status 404")), (Class::Credentials, true));
        assert!(!judged(400, json!({"error": "hun ter2\r\n"})).message.contains("ter2"));
    }

    #[test]
    fn what_passes_is_tried_again() {
        for (status, error) in
            [(500, Value::Null), (502, Value::Null), (408, Value::Null), (400, json!("server_error"))]
        {
            let failure = judged(status, json!({"error": error}));
            assert_eq!((failure.code.as_str(), failure.class), ("token_unavailable", Class::Retryable), "{status}");
        }
        for (status, wait, class) in
            [(429, None, Class::Throttled), (503, Some(7), Class::Throttled), (503, None, Class::Retryable)]
        {
            let failure = read(&reply(status, "text/plain", Value::Null, wait), "h", 0).expect_err("no token");
            assert_eq!((failure.class, failure.retry_after), (class, wait), "{status}");
        }
    }

    #[test]
    fn no_answer_means_that_nothing_was_sent() {
        let class = |failure| unanswered(failure, "login.example").class;
        assert_eq!(class(Failure::retryable("connect_failed", "x")), Class::Retryable);
        assert_eq!(class(Failure::unknown("unknown_outcome", "x")), Class::Retryable);
        assert_eq!(class(Failure::terminal("tls_certificate", "x")), Class::Terminal);
        assert_eq!(class(Failure::terminal("response_too_long", "x")), Class::Credentials);
    }
}
